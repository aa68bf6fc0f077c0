//! Why a policy is refused.

/// A policy that can't be used. Nothing of it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The document does not parse: bad TOML, an unknown field, a key twice, a value of the wrong kind.
    #[error("the policy does not parse: {0}")]
    Syntax(String),
    /// A version that this program does not know.
    #[error("policy version {found} is not known: this program knows version 1")]
    Version {
        /// The version given.
        found: u64,
    },
    /// A limit outside what is possible.
    #[error("limits.{key} is {value}, and must be between {least} and {most}")]
    Limit {
        /// Which limit.
        key: &'static str,
        /// What was given.
        value: String,
        /// The smallest value.
        least: String,
        /// The largest value.
        most: String,
    },
    /// A mount that can't be.
    #[error("fs.\"{path}\": {reason}")]
    Mount {
        /// Where it should be.
        path: String,
        /// Why not.
        reason: String,
    },
}
