//! HTTP as tests speak it: requests with anything in them, answers with nothing hidden, events as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use ureq::http;

/// Without it a service that never answers would hang the tests.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// A request that has not been sent.
pub(crate) struct Request {
    builder: http::request::Builder,
    body: Vec<u8>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

impl Request {
    pub(crate) fn new(method: &str, url: &str) -> Self {
        Self { builder: http::Request::builder().method(method).uri(url), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string().as_bytes())
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    fn answered(self) -> http::Response<ureq::Body> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_MAX))
            .allow_non_standard_methods(true)
            .build()
            .into();
        agent.run(self.builder.body(self.body).unwrap()).unwrap()
    }

    pub(crate) fn send(self) -> Answer {
        let (parts, body) = self.answered().into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes }
    }

    /// Sends the request and returns its events as they come, without heartbeats.
    pub(crate) fn events(self) -> impl Iterator<Item = Event> {
        let response = self.header("accept", "text/event-stream").answered();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut lines = BufReader::new(response.into_body().into_reader()).lines();
        std::iter::from_fn(move || {
            let (mut name, mut id, mut data) = (String::new(), None, String::new());
            for line in lines.by_ref() {
                let line = line.ok()?;
                match line.split_once(": ").unwrap_or((&line, "")) {
                    ("event", value) => name = value.to_owned(),
                    ("id", value) => id = Some(value.parse().unwrap()),
                    ("data", value) => data.push_str(value),
                    ("", "") if !data.is_empty() => {
                        return Some(Event { name, id, data: serde_json::from_str(&data).unwrap() });
                    }
                    _ => {}
                }
            }
            None
        })
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns the JSON of an answer that must have this status.
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the JSON of an answer to `Prefer: respond-async`, which is 200 when a call ended before it was written.
    pub(crate) fn started(&self) -> Value {
        self.ok(if self.status == 200 { 200 } else { 202 })
    }

    /// Returns the bytes of an answer that must have this status.
    pub(crate) fn ok_bytes(self, status: u16) -> Vec<u8> {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.body
    }

    /// Checks that the answer is a whole problem with this status and code, and returns it.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["status"], status, "{text}");
        assert_eq!(problem["type"], format!("https://sandglass.dev/problems/{code}"), "{text}");
        let request = self.header("x-request-id");
        assert_eq!(problem["instance"], format!("urn:sandglass:request:{request}"), "{text}");
        assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["retryable"].is_boolean());
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        problem
    }
}

/// Sends bytes as they are and returns the status and all that comes back, for requests that no client would send.
pub(crate) fn raw(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // The service may close before it has read everything, which shows as an error after the answer.
    let _whole = stream.read_to_end(&mut answer).is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in `{answer}`")), answer)
}
