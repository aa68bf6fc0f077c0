//! What every request passes before its handler and every answer after it: one list of layers, each with its reason.

use std::any::Any;
use std::future::ready;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::access::{OPEN, admit};
use crate::auth::Caller;
use crate::http::extract::{FILE_BYTES_MAX, too_large};
use crate::http::problem::Failure;
use crate::http::{Service, intake};
use crate::origin::Origins;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The route whose bodies are streamed, and may be as large as the service's settings say.
const IMPORTS: &str = "/v1/states";

/// Puts the layers around the routes. Read it from the bottom: the last one added is the first that a request meets.
pub(crate) fn around(routes: Router, service: &Service, origins: Origins) -> Router {
    routes
        // 7. Who is it, and may they? Behind all that needs no answer to this, before all that does.
        .layer(from_fn_with_state(service.clone(), authenticate))
        // 6. A body that says that it is too long is refused before it is sent. Extractors bound the others.
        .layer(from_fn_with_state(service.clone(), bound_body))
        // 5. A handler that panics takes one request with it and nothing else.
        .layer(CatchPanicLayer::custom(panicked))
        // 4. One span, one log line and one count for each request, also for those that panicked.
        .layer(from_fn_with_state(service.clone(), observe))
        // 3. Answers are data of the moment: not to be kept by caches, not to be taken for something else by browsers.
        .layer(from_fn(protect))
        // 2. A name for the request, and failures become problems that carry it.
        .layer(from_fn(identify))
        // 1. Requests that are not meant for us or come from foreign pages have no effect at all.
        .layer(from_fn_with_state(origins, guard))
}

/// The name of a request: the client's, or one made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// Takes the client's id if it can stand in logs and URIs as it is, and makes one otherwise.
    fn of(headers: &HeaderMap) -> Self {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        let given =
            given.filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(plain));
        Self(given.map_or_else(Self::made, str::to_owned))
    }

    fn made() -> String {
        // Without randomness requests would still be served, only with a name that is not unique.
        let random = getrandom::u64().unwrap_or_default();
        format!("req_{random:016x}")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).unwrap_or(HeaderValue::from_static("-"))
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or_else(|| Failure::internal("a handler that needs a request id is behind no layer that makes one"))
    }
}

async fn guard(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    match origins.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => {
            let id = RequestId::of(request.headers());
            tracing::warn!(request.id = id.as_str(), code = failure.code(), "a request from elsewhere was refused");
            let mut response = failure.render(id.as_str(), &HeaderMap::new());
            response.headers_mut().insert(X_REQUEST_ID, id.header());
            response
        }
    }
}

async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = failure.render(id.as_str(), response.headers());
    }
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    response
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn observe(State(service): State<Service>, id: RequestId, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // The pattern of the route, never the path: that holds names of sandboxes and files.
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request.id = id.as_str(), http.method = %method, http.route = route);
    let response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), started.elapsed());
    service.metrics.answered(&method, &route, status, took);
    span.in_scope(|| {
        let code = response.extensions().get::<Failure>().map(Failure::code);
        tracing::debug!(http.status = status.as_u16(), code, took_ms = took.as_secs_f64() * 1e3, "answered");
    });
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer gives it away")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let what = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::internal(format!("a handler panicked: {}", what.unwrap_or("with no text"))).into_response()
}

async fn bound_body(State(service): State<Service>, request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<u64> = length.and_then(|text| text.parse().ok());
    if request.uri().path() == IMPORTS {
        let limit = service.host.import_bytes_max();
        if length.is_some_and(|length| length > limit) {
            return intake::too_large(limit).into_response();
        }
    } else if length.is_some_and(|length| length > FILE_BYTES_MAX as u64) {
        return too_large(FILE_BYTES_MAX).into_response();
    }
    next.run(request).await
}

async fn authenticate(State(service): State<Service>, request: Request, next: Next) -> Result<Response, Failure> {
    if OPEN.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let caller = service.tokens.authenticate(request.headers())?;
    let (mut parts, body) = request.into_parts();
    admit(&service, &caller, &mut parts).await?;
    parts.extensions.insert(caller.clone());
    let only_looks = parts.method.is_safe();
    let response = next.run(Request::from_parts(parts, body)).await;
    if only_looks {
        // It may have waited for an hour. What was done is answered all the same: it has happened.
        caller.check()?;
    }
    let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    Ok(if is_stream && caller.can_end() { while_valid(caller, response) } else { response })
}

/// Cuts a stream off once its token has ended: before the next event, which may be a heartbeat.
fn while_valid(caller: Caller, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let pieces = body.into_data_stream().take_while(move |_| ready(caller.check().is_ok()));
    Response::from_parts(parts, Body::from_stream(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_taken_if_they_are_harmless() {
        let of = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            RequestId::of(&headers).0
        };
        assert_eq!(of(b"a-B_9.z"), "a-B_9.z");
        for bad in [&b""[..], b"a b", b"a\"b", b"a/b", b"\xff", &[b'x'; 129]] {
            assert!(of(bad).starts_with("req_"));
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
