//! Tools through the client: uploaded, described, listed, removed.

use std::io::Read;

use ureq::http::Method;

use super::transport::{Ask, encode};
use super::{Asked, Client, JSON};
use crate::http::types::{Page, Tool, ToolWords};

const WASM: &str = "application/wasm";

impl Client {
    /// Returns all tools. `GET /v1/tools`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError).
    pub fn tools(&self) -> Asked<Page<Tool>> {
        self.get("/v1/tools".to_owned())
    }

    /// Returns a tool. `GET /v1/tools/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); there is none of this name.
    pub fn tool(&self, name: &str) -> Asked<Tool> {
        self.get(format!("/v1/tools/{}", encode(name)))
    }

    /// Uploads a tool, in place of one of this name. `PUT /v1/tools/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); it can't be a tool.
    pub fn add_tool(
        &self,
        name: &str,
        description: Option<&str>,
        stub_imports: bool,
        wasm: &mut dyn Read,
    ) -> Asked<Tool> {
        let mut query = format!("?stub_imports={stub_imports}");
        if let Some(description) = description {
            query.push_str(&format!("&description={}", encode(description)));
        }
        let ask = Ask::new(Method::PUT, format!("/v1/tools/{}{query}", encode(name)));
        self.transport.json(self.transport.send_stream(&ask, WASM, wasm)?)
    }

    /// Says what a tool and its functions are good for. `PATCH /v1/tools/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); there is no such tool or function, or a text is too long.
    pub fn describe_tool(&self, name: &str, words: &ToolWords) -> Asked<Tool> {
        let body = self.body(words)?;
        let mut ask = Ask::new(Method::PATCH, format!("/v1/tools/{}", encode(name)));
        ask.body = Some((JSON, &body));
        self.transport.json(self.transport.send(&ask)?)
    }

    /// Removes a tool. `DELETE /v1/tools/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); there is none of this name.
    pub fn remove_tool(&self, name: &str) -> Asked<()> {
        self.transport.send(&Ask::new(Method::DELETE, format!("/v1/tools/{}", encode(name)))).map(drop)
    }
}
