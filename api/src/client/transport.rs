//! How a request gets to the service and its answer back: addresses, tokens, and what is tried again.
//!
//! Requests go straight to the address and nowhere else: no proxy of the environment, no redirect is followed, since each
//! carries a token that opens everything.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use super::error::ClientError;
use crate::http::types::Problem;

/// Waits before a request is sent again whose answer was lost: long enough for a service to be restarted.
const RETRY_AFTER: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest JSON answer: a call with all that it printed, escaped.
const JSON_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const KEY_BYTES: usize = 16;

/// A way to one service.
#[derive(Clone)]
pub(super) struct Transport {
    agent: Agent,
    server: String,
    token: Option<String>,
}

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Path and query, percent-encoded.
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<(&'static str, &'a [u8])>,
}

impl Ask<'_> {
    pub(super) const fn new(method: Method, target: String) -> Self {
        Self { method, target, headers: Vec::new(), body: None }
    }
}

impl Transport {
    pub(super) fn new(server: &str, token: Option<String>) -> Result<Self, ClientError> {
        let refused = |reason| ClientError::Address { server: server.to_owned(), reason };
        if server.starts_with("https://") {
            return Err(refused("this program speaks http only; put a tunnel in between"));
        }
        let authority = server.strip_prefix("http://").ok_or_else(|| refused("it starts with http://"))?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return Err(refused("it is http://HOST:PORT, without a path or a user"));
        }
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(refused("the token for it holds other than printable ASCII characters"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("sandglass/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: Agent::new_with_config(config), server: format!("http://{authority}"), token })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request that does no harm when it is sent twice: one that only reads, or one with an idempotency key.
    pub(super) fn send_again(&self, ask: &Ask<'_>) -> Result<Response<Body>, ClientError> {
        again(|| self.send(ask))
    }

    /// Sends such a request and reads its answer as JSON; an answer that breaks off is asked for again.
    pub(super) fn json_again<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, ClientError> {
        again(|| self.json(self.send(ask)?))
    }

    /// Sends a request once. Answers that refuse are errors.
    pub(super) fn send(&self, ask: &Ask<'_>) -> Result<Response<Body>, ClientError> {
        let request = self.request(ask);
        let answer = match ask.body {
            Some((kind, bytes)) => {
                let request = request.header("content-type", kind).body(bytes);
                self.agent.run(request.map_err(|error| self.unusable(&error))?)
            }
            None => self.agent.run(request.body(()).map_err(|error| self.unusable(&error))?),
        };
        self.answered(answer)
    }

    /// Sends a request once, with a body that is read while it is sent.
    pub(super) fn send_stream(
        &self,
        ask: &Ask<'_>,
        kind: &'static str,
        body: &mut dyn io::Read,
    ) -> Result<Response<Body>, ClientError> {
        let request = self.request(ask).header("content-type", kind).body(SendBody::from_reader(body));
        self.answered(self.agent.run(request.map_err(|error| self.unusable(&error))?))
    }

    fn request(&self, ask: &Ask<'_>) -> Builder {
        let mut request = Request::builder().method(ask.method.clone()).uri(format!("{}{}", self.server, ask.target));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        request
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> ClientError {
        self.unreadable(format!("the request can't be written: {error}"))
    }

    fn answered(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ClientError> {
        let answer = answer.map_err(|error| self.failed(error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer)) }
    }

    /// Reads an answer as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, answer: Response<Body>) -> Result<T, ClientError> {
        let bytes = answer
            .into_body()
            .into_with_config()
            .limit(JSON_BYTES_MAX)
            .read_to_vec()
            .map_err(|error| self.failed(error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.unreadable(error.to_string()))
    }

    pub(super) fn unreadable(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Answer { server: self.server.clone(), reason: reason.into() }
    }

    pub(super) fn lost(&self, error: &io::Error) -> ClientError {
        ClientError::Lost { server: self.server.clone(), reason: error.to_string() }
    }

    fn failed(&self, error: ureq::Error) -> ClientError {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        let server = self.server.clone();
        match error {
            ureq::Error::Io(error)
                if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) =>
            {
                ClientError::Unreachable { server, reason: error.to_string() }
            }
            ureq::Error::HostNotFound => {
                ClientError::Unreachable { server, reason: "there is no host of this name".to_owned() }
            }
            ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect) => {
                ClientError::Unreachable { server, reason: "nothing answered in time".to_owned() }
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => ClientError::Address { server, reason: "it is no URL" },
            ureq::Error::Io(error) => self.lost(&error),
            other => ClientError::Lost { server, reason: other.to_string() },
        }
    }

    /// Reads why a request was refused.
    fn refused(&self, answer: Response<Body>) -> ClientError {
        const PROBLEM_BYTES_MAX: u64 = 1024 * 1024;
        let status = answer.status();
        let bytes = match answer.into_body().into_with_config().limit(PROBLEM_BYTES_MAX).read_to_vec() {
            Ok(bytes) => bytes,
            Err(error) => return self.failed(error),
        };
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => {
                self.unreadable(format!("status {status} without a problem document; is this a Sandglass service?"))
            }
        }
    }
}

/// Tries until the connection holds, for some seconds.
fn again<T>(mut attempt: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut waits = RETRY_AFTER.iter();
    let mut reached = false;
    loop {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // What was never reached is not waited for, unless it was there a moment ago.
        reached |= matches!(error, ClientError::Lost { .. });
        match waits.next() {
            Some(wait) if reached && matches!(error, ClientError::Lost { .. } | ClientError::Unreachable { .. }) => {
                std::thread::sleep(*wait);
            }
            _ => return Err(error),
        }
    }
}

/// Makes an idempotency key: 128 random bits.
pub(super) fn idempotency_key() -> Result<String, ClientError> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).map_err(|error| ClientError::Write(io::Error::other(error)))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a text so that it is one part of a URL's path, or one value of its query.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    out
}

/// Writes a path of a sandbox so that it is part of a URL's path, without its first slash.
pub(super) fn encode_path(path: &str) -> String {
    path.trim_start_matches('/').split('/').map(encode).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_addresses_that_requests_may_go_to_are_taken() {
        for good in ["http://127.0.0.1:7777", "http://localhost:1/", "http://[::1]:80"] {
            assert!(Transport::new(good, None).is_ok(), "{good}");
        }
        for bad in
            ["", "127.0.0.1:7777", "https://a", "http://", "http://a/v1", "http://u:p@a", "http://a?b", "ftp://a"]
        {
            assert!(Transport::new(bad, None).is_err(), "{bad}");
        }
        assert!(Transport::new("http://a", Some("sg_\r\nX: y".to_owned())).is_err());
    }

    #[test]
    fn a_closed_port_is_unreachable_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let transport = Transport::new(&format!("http://{address}"), None).unwrap();
        let answer = transport.send_again(&Ask::new(Method::GET, "/healthz".to_owned()));
        assert!(matches!(answer, Err(ClientError::Unreachable { .. })));
    }

    proptest! {
        #[test]
        fn an_encoded_text_stays_one_part(text in ".{0,40}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte)));
            let mut bytes = Vec::new();
            let mut rest = encoded.as_bytes();
            while let Some((first, after)) = rest.split_first() {
                if *first == b'%' {
                    let digits = std::str::from_utf8(&after[..2]).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = &after[2..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(bytes, text.as_bytes());
        }
    }

    #[test]
    fn paths_keep_their_slashes() {
        assert_eq!(encode_path("/workspace/a b/ü?"), "workspace/a%20b/%C3%BC%3F");
    }
}
