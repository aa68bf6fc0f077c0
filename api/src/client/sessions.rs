//! Sessions through the client: listed, looked at, ended.

use ureq::http::Method;

use super::transport::{Ask, encode};
use super::{Asked, Client, at};
use crate::http::types::{Moved, Page, Session, SessionDiff};

impl Client {
    /// Returns a sandbox's sessions, by name. `GET /v1/sandboxes/{sandbox}/sessions`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError).
    pub fn sessions(&self, sandbox: &str) -> Asked<Vec<Session>> {
        self.get(at(sandbox, "/sessions")).map(|page: Page<Session>| page.items)
    }

    /// Returns a session. `GET /v1/sandboxes/{sandbox}/sessions/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); there is none of this name.
    pub fn session(&self, sandbox: &str, name: &str) -> Asked<Session> {
        self.get(at(sandbox, &format!("/sessions/{}", encode(name))))
    }

    /// Compares a session in two states, each named as for [`Client::diff`]. `GET /v1/sandboxes/{sandbox}/sessions/{name}/diff`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); neither state has it.
    pub fn session_diff(&self, sandbox: &str, name: &str, from: Option<&str>, to: Option<&str>) -> Asked<SessionDiff> {
        let words = [("from", from), ("to", to)];
        let words = words.iter().filter_map(|(key, value)| value.map(|value| format!("{key}={}", encode(value))));
        let query: Vec<_> = words.collect();
        let mark = if query.is_empty() { "" } else { "?" };
        self.get(at(sandbox, &format!("/sessions/{}/diff{mark}{}", encode(name), query.join("&"))))
    }

    /// Ends a session. `DELETE /v1/sandboxes/{sandbox}/sessions/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); there is none of this name.
    pub fn end_session(&self, sandbox: &str, name: &str) -> Asked<Moved> {
        let ask = Ask::new(Method::DELETE, at(sandbox, &format!("/sessions/{}", encode(name))));
        self.transport.json(self.transport.send(&ask)?)
    }
}
