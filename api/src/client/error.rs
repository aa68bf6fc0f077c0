//! What can go wrong between a client and a service.

use crate::http::types::Problem;

/// Why a request gave no answer of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one that requests can go to.
    #[error("`{server}` is no address of a service: {reason}")]
    Address {
        /// What was given.
        server: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing answers at the address. Nothing was asked for, so nothing happened.
    #[error("no service answers at {server}: {reason}")]
    Unreachable {
        /// The address.
        server: String,
        /// What the system said.
        reason: String,
    },
    /// The connection broke after the request was sent, so that what became of it is not known.
    #[error("the connection to {server} was lost: {reason}")]
    Lost {
        /// The address.
        server: String,
        /// What the system said.
        reason: String,
    },
    /// The service refused.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// What answered is not a service of this kind, or of another version.
    #[error("{server} gave an answer that can't be read: {reason}")]
    Answer {
        /// The address.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was answered could not be written where it was to go.
    #[error("what was received can't be written: {0}")]
    Write(#[source] std::io::Error),
}

impl ClientError {
    /// Returns the code of the problem, if the service refused.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }
}
