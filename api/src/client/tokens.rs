//! Tokens through the client: made once, listed, revoked.

use ureq::http::Method;

use super::transport::{Ask, encode};
use super::{Asked, Client, JSON};
use crate::http::types::{CreateToken, CreatedToken, Token};

impl Client {
    /// Makes a token. `POST /v1/tokens`. Sent once: its secret is told once, and no answer that got lost can be had again.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); the scopes don't fit, or there is no such sandbox.
    pub fn create_token(&self, request: &CreateToken) -> Asked<CreatedToken> {
        let body = self.body(request)?;
        let mut ask = Ask::new(Method::POST, "/v1/tokens".to_owned());
        ask.body = Some((JSON, &body));
        self.transport.json(self.transport.send(&ask)?)
    }

    /// Returns all tokens, oldest first, without their secrets. `GET /v1/tokens`, page by page.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError).
    pub fn tokens(&self) -> Asked<Vec<Token>> {
        self.pages(|page| format!("/v1/tokens?{page}"), usize::MAX)
    }

    /// Revokes a token. `DELETE /v1/tokens/{id}`.
    ///
    /// # Errors
    /// See [`ClientError`](super::ClientError); there is none of this id.
    pub fn revoke_token(&self, id: &str) -> Asked<()> {
        self.transport.send(&Ask::new(Method::DELETE, format!("/v1/tokens/{}", encode(id)))).map(drop)
    }
}
