//! Extractors that fail as problems: JSON bodies, paths, queries and raw bodies, each bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use super::problem::{Failure, Kind};
use crate::access::Pin;

/// Largest JSON body: code, arguments and standard input of a call. Files go through `files`, not through JSON.
pub(crate) const JSON_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest body of all: one file.
pub(crate) const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How much of a body that is too large is still taken, so that its sender gets to read why it was refused.
const PASSED_OVER_MAX: usize = 64 * 1024 * 1024;
/// How long a body may take: without it a client that sends a byte a minute would hold its connection for ever.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        expect_json(&parts.headers)?;
        parsed(&read(body, JSON_BYTES_MAX).await?).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct JsonOrDefault<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrDefault<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        if parts.headers.contains_key(CONTENT_TYPE) {
            expect_json(&parts.headers)?;
        }
        let bytes = read(body, JSON_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        expect_json(&parts.headers)?;
        parsed(&bytes).map(Self)
    }
}

/// A JSON body as it came, and its value. Who compares requests compares the bytes.
pub(crate) struct JsonBytes<T>(pub(crate) T, pub(crate) Bytes);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBytes<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        expect_json(&parts.headers)?;
        let bytes = read(body, JSON_BYTES_MAX).await?;
        Ok(Self(parsed(&bytes)?, bytes))
    }
}

/// The parameters in the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Pinned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let axum::extract::Path(mut value) = axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Failure::malformed("invalid_path", rejection.body_text()))?;
        if let Some(Pin(sandbox)) = parts.extensions.get() {
            value.pin(sandbox.to_string());
        }
        Ok(Self(value))
    }
}

/// Parameters of a path whose first is a sandbox where one is pinned (`access.rs`).
pub(crate) trait Pinned {
    fn pin(&mut self, sandbox: String);
}

impl Pinned for String {
    fn pin(&mut self, sandbox: String) {
        *self = sandbox;
    }
}

impl Pinned for (String, String) {
    fn pin(&mut self, sandbox: String) {
        self.0 = sandbox;
    }
}

/// The parameters after the question mark; unknown and repeated ones are refused by their types.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Failure::malformed("invalid_query", rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// Collects a body of at most `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let collected = tokio::time::timeout(BODY_TIME_MAX, collect(body, limit)).await;
    collected.map_err(|_| Failure::new(Kind::Slow, "body_too_slow", "the body of the request did not come in time"))?
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let mut pieces = body.into_data_stream();
    let mut collected = BytesMut::new();
    let mut passed = 0usize;
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|_| Failure::malformed("incomplete_body", "the body of the request ended before its end"))?;
        passed = passed.saturating_add(piece.len());
        if passed <= limit {
            collected.extend_from_slice(&piece);
        } else if passed > limit.saturating_add(PASSED_OVER_MAX) {
            break;
        } else {
            // Taken and thrown away: many clients send all of a body before they look for an answer.
            collected = BytesMut::new();
        }
    }
    if passed > limit { Err(too_large(limit)) } else { Ok(collected.freeze()) }
}

/// The failure of a body over `limit` bytes.
pub(crate) fn too_large(limit: usize) -> Failure {
    Failure::new(Kind::TooLarge, "body_too_large", format!("the body is larger than {limit} bytes"))
}

fn expect_json(headers: &HeaderMap) -> Result<(), Failure> {
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().ok().and_then(|text| text.split(';').next());
        essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    };
    if headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Ok(());
    }
    Err(Failure::new(Kind::MediaType, "not_json", "the body of this request is JSON")
        .hinted("send `Content-Type: application/json`"))
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // Serde would take the fields of a struct from an array as well, by position.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Failure::invalid("invalid_body", "the body is a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refused(&path, error.inner())
    })?;
    json.end().map_err(|error| refused(".", &error))?;
    Ok(value)
}

fn refused(path: &str, error: &serde_json::Error) -> Failure {
    let place = if matches!(path, "." | "?") { String::new() } else { format!("{path}: ") };
    match error.classify() {
        serde_json::error::Category::Data => Failure::invalid("invalid_body", format!("{place}{error}")),
        _ => Failure::malformed("malformed_json", format!("{place}{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::types::{CreateCall, CreateSandbox, Steps};

    async fn read_as<T: DeserializeOwned>(content_type: Option<&str>, body: &str) -> Result<T, Failure> {
        let mut request = Request::post("/");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        Json::<T>::from_request(request, &()).await.map(|Json(value)| value)
    }

    fn status_of<T>(outcome: Result<T, Failure>) -> (u16, String) {
        let problem = outcome.err().expect("it is refused").problem("r");
        (problem.status, problem.detail)
    }

    #[tokio::test]
    async fn bad_bodies_are_told_what_is_wrong() {
        let json = Some("application/json");
        for (content_type, body, status, says) in [
            (None, "{}", 415, "JSON"),
            (Some("text/plain"), "{}", 415, "JSON"),
            (Some("application/jsonp"), "{}", 415, "JSON"),
            (json, "", 400, "EOF"),
            (json, "{", 400, "EOF"),
            (json, r#"{"tool":"a","arguments":{}} {}"#, 400, "trailing"),
            (json, "\u{feff}{}", 400, "expected value"),
            (json, "[]", 422, "object"),
            (json, "null", 422, "null"),
            (json, r#"{"tool":"python"}"#, 422, "arguments"),
            (json, r#"{"tool":1,"arguments":{}}"#, 422, "tool: invalid type"),
            (json, r#"{"tool":"a","tool":"b","arguments":{}}"#, 422, "duplicate field `tool`"),
            (json, r#"{"tool":"a","arguments":{},"sudo":true}"#, 422, "unknown field `sudo`"),
            (json, r#"{"tool":"a","arguments":{},"timeout_ms":-1}"#, 422, "timeout_ms"),
        ] {
            let (found, detail) = status_of(read_as::<CreateCall>(content_type, body).await);
            assert_eq!(found, status, "{body}: {detail}");
            assert!(detail.contains(says), "{body}: {detail}");
        }
        let deep = "[".repeat(100_000);
        let text = format!(r#"{{"tool":"a","arguments":{deep}"#);
        assert_eq!(status_of(read_as::<CreateCall>(json, &text).await).0, 400);
    }

    #[tokio::test]
    async fn nested_documents_are_checked_too() {
        let json = Some("application/json; charset=utf-8");
        for (body, says) in [
            (r#"{"from":{"state":"x","sandbox":"y"}}"#, "from: give exactly one"),
            (r#"{"from":{}}"#, "from: give exactly one"),
            (r#"{"from":{"url":"x"}}"#, "unknown field `url`"),
            (r#"{"policy":{"version":1,"net":[]}}"#, "unknown field `net`"),
            (r#"{"policy":{"version":1,"limits":{"memory":"a lot"}}}"#, "policy.limits.memory"),
        ] {
            let (status, detail) = status_of(read_as::<CreateSandbox>(json, body).await);
            assert_eq!(status, 422, "{body}: {detail}");
            assert!(detail.contains(says), "{body}: {detail}");
        }
    }

    #[tokio::test]
    async fn a_pinned_sandbox_stands_in_place_of_its_name() {
        use axum::Router;
        use axum::routing::get;
        use sandglass_runtime::SandboxId;
        use tower::ServiceExt as _;
        let routes = Router::new().route("/{sandbox}", get(|Path(sandbox): Path<String>| async { sandbox })).route(
            "/{sandbox}/{*path}",
            get(|Path((sandbox, path)): Path<(String, String)>| async move { format!("{sandbox} {path}") }),
        );
        let id = SandboxId::new(1, [7; 10]);
        for (pin, path, expected) in [
            (None, "/name", "name".to_owned()),
            (Some(Pin(id)), "/name", id.to_string()),
            (Some(Pin(id)), "/name/a/b", format!("{id} a/b")),
        ] {
            let mut request = Request::get(path).body(Body::empty()).unwrap();
            pin.map(|pin| request.extensions_mut().insert(pin));
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(read(answer.into_body(), 1000).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(status_of(read(Body::from("123456"), 5).await).0, 413);
    }

    #[tokio::test]
    async fn a_body_can_be_left_out_where_all_of_it_can() {
        let request = |content_type: Option<&str>, body: &'static str| {
            let builder = Request::post("/");
            let builder = content_type.into_iter().fold(builder, |builder, value| builder.header(CONTENT_TYPE, value));
            builder.body(Body::from(body)).unwrap()
        };
        let outcome = |request| async { JsonOrDefault::<Steps>::from_request(request, &()).await };
        assert_eq!(outcome(request(None, "")).await.ok().unwrap().0.steps, None);
        assert_eq!(outcome(request(Some("application/json"), r#"{"steps":2}"#)).await.ok().unwrap().0.steps, Some(2));
        assert!(outcome(request(None, r#"{"steps":2}"#)).await.is_err());
        assert!(outcome(request(Some("text/plain"), "")).await.is_err());
    }
}
