//! Starts and stops the service: the data directory, the listener, signals, the graceful end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::Settings;

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServeError {
    message: String,
}

/// How `serve` tells that it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// `listening on http://127.0.0.1:7777`, then where the token is.
    Text,
    /// One JSON object: `{"listening", "token_file", "data", "version", "pid"}`.
    Json,
}

/// A service that runs in threads of its own until it is stopped or dropped.
pub struct Server {
    address: SocketAddr,
    token: String,
    token_file: PathBuf,
}

/// Opens the data directory, listens, and returns once requests are answered. Blocks; needs no async runtime around it.
///
/// # Errors
/// The data directory is in use or can't be read, the address is taken, or it is not the loopback's.
pub fn start(settings: &Settings) -> Result<Server, ServeError> {
    Err(ServeError { message: format!("not there yet: {}", settings.data.display()) })
}

/// Starts the service, prints its start line, and returns when a signal has stopped it. What `sandglass serve` does.
///
/// # Errors
/// As [`start`], or the listener failed.
pub fn serve(settings: &Settings, start_line: StartLine) -> Result<(), ServeError> {
    let _start_line = start_line;
    start(settings).map(Server::stop)
}

impl Server {
    /// Returns the address that it listens on, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the file that the token is in.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Stops it: no new requests, running ones may end within the grace, then everything is flushed. Blocks.
    pub fn stop(self) {}
}
