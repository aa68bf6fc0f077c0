//! `Idempotency-Key`: a request that comes twice with one key happens once, also when the service died in between.
//!
//! Who sends a key is promised: the operation is not done twice, and a repetition gets the answer of the first time. A table
//! on disk holds what became of each key, for 24 hours. Two kinds of requests use it:
//!
//! - *Calls* (`calls.rs`) record their call's id under the key before they start. A repetition looks for that call, running
//!   or in the log; one that is in neither did not happen, and runs now.
//! - *All other operations* go through [`remember`]: the key is recorded before, the answer after. A key without an answer
//!   says that the service died (or failed) in between: the repetition is refused, because only the log can tell.
//!
//! Refusals (4xx) and 503 are not kept: nothing happened, so the same key may be used again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::watch;

use super::Service;
use super::extract::{JSON_BYTES_MAX, read};
use super::problem::{Failure, Kind};
use crate::auth::Caller;
use crate::control::{Answer, Control, Known};

/// The header of a request.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that is the one of an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;
/// How long a repetition waits for the first request to end.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Largest answer that is kept: a thousand forks.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a key is a key for: one principal, one method, one path.
pub(crate) type Name = [u8; 32];

/// The keys of this service.
pub(crate) struct Idempotency {
    control: Arc<Control>,
    running: Arc<Mutex<HashMap<Name, watch::Receiver<()>>>>,
}

/// A key that is being worked on by nobody else.
pub(crate) struct Claim {
    name: Name,
    running: Arc<Mutex<HashMap<Name, watch::Receiver<()>>>>,
    _ended: watch::Sender<()>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Returns the key of a request, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Failure> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(key), None)
            if (1..=KEY_BYTES_MAX).contains(&key.len())
                && key.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)) =>
        {
            Ok(Some(key))
        }
        _ => Err(Failure::malformed(
            "invalid_idempotency_key",
            "Idempotency-Key is one header of 1 to 255 printable ASCII characters",
        )),
    }
}

/// Returns the name of a key in the table: its parts can't be mistaken for one another, and none can be read back.
pub(crate) fn name(caller: &Caller, method: &str, path: &str, key: &HeaderValue) -> Name {
    let mut hasher = blake3::Hasher::new();
    for part in [caller.principal().id.as_bytes(), method.as_bytes(), path.as_bytes(), key.as_bytes()] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl Idempotency {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control, running: Arc::default() }
    }

    /// Waits until nobody else works on the key.
    async fn claim(&self, name: Name) -> Result<Claim, Failure> {
        let deadline = tokio::time::Instant::now() + WAIT_MAX;
        loop {
            let mut other = {
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                match running.get(&name) {
                    Some(other) => other.clone(),
                    None => {
                        let (ended, seen) = watch::channel(());
                        running.insert(name, seen);
                        return Ok(Claim { name, running: Arc::clone(&self.running), _ended: ended });
                    }
                }
            };
            // It only ever ends with the sender, which is an error here: that is what is waited for.
            if tokio::time::timeout_at(deadline, other.changed()).await.is_err() {
                let failure = Failure::new(
                    Kind::Conflict,
                    "idempotency_in_progress",
                    "the first request with this key still runs",
                );
                return Err(failure.with_header(RETRY_AFTER, HeaderValue::from_static("5")));
            }
        }
    }

    /// Takes a key, and returns what is known of it: nothing if it is new, and then it is recorded now, with `call`.
    pub(crate) async fn enter(
        &self,
        name: Name,
        body: &[u8],
        call: Option<String>,
    ) -> Result<(Claim, Option<Known>), Failure> {
        let claim = self.claim(name).await?;
        let digest = *blake3::hash(body).as_bytes();
        let known = self.with(move |control| control.enter(&name, &digest, call.as_deref())).await?;
        if known.as_ref().is_some_and(|known| known.digest != digest) {
            return Err(Failure::invalid("idempotency_key_reused", "this key was used with another body")
                .hinted("a key belongs to one request: make a new one for a new request"));
        }
        Ok((claim, known))
    }

    /// Records another call under a key, because the one before certainly did nothing.
    pub(crate) async fn replace_call(&self, claim: &Claim, call: String) -> Result<(), Failure> {
        let name = claim.name;
        self.with(move |control| control.set_call(&name, &call)).await
    }

    /// Forgets a key: nothing happened.
    pub(crate) async fn forget(&self, claim: &Claim) -> Result<(), Failure> {
        let name = claim.name;
        self.with(move |control| control.forget(&name)).await
    }

    async fn keep(&self, claim: &Claim, answer: Answer) -> Result<(), Failure> {
        let name = claim.name;
        self.with(move |control| control.answer(&name, &answer)).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Control) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let control = Arc::clone(&self.control);
        let done = tokio::task::spawn_blocking(move || work(&control)).await;
        done.map_err(Failure::internal)?.map_err(Failure::internal)
    }
}

/// The layer of the routes that do something and are no calls.
pub(crate) async fn remember(
    State(service): State<Service>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
    let name = name(&caller, request.method().as_str(), request.uri().path(), key);
    let (parts, body) = request.into_parts();
    let body = read(body, JSON_BYTES_MAX).await?;
    let (claim, known) = service.idempotency.enter(name, &body, None).await?;
    if let Some(known) = known {
        return known.answer.map_or_else(|| Err(unknown_outcome()), replay);
    }
    let request = Request::from_parts(parts, Body::from(body));
    // A task of its own: who goes away must not leave a key without an answer.
    let span = tracing::Span::current();
    let work = async move {
        let response = next.run(request).await;
        settle(&service, &claim, response).await
    };
    tokio::spawn(tracing::Instrument::instrument(work, span)).await.map_err(Failure::internal)?
}

async fn settle(service: &Service, claim: &Claim, response: Response) -> Result<Response, Failure> {
    let status = response.status();
    let store_stopped = response.extensions().get::<Failure>().is_some_and(|failure| failure.code() == "store_stopped");
    if status.is_client_error() || (status == StatusCode::SERVICE_UNAVAILABLE && !store_stopped) {
        service.idempotency.forget(claim).await?;
        return Ok(response);
    }
    if !status.is_success() {
        return Ok(response); // What happened is not known: the key stays without an answer.
    }
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(Failure::internal)?;
    let header = |name: HeaderName| {
        parts.headers.get(&name).and_then(|value| value.to_str().ok()).map(|value| (name.to_string(), value.to_owned()))
    };
    let headers = [CONTENT_TYPE, LOCATION, ETAG].into_iter().filter_map(header).collect();
    let answer = Answer { status: status.as_u16(), headers, body: bytes.to_vec() };
    if let Err(failure) = service.idempotency.keep(claim, answer).await {
        // The operation is done and its answer is good; only a repetition will be told that the outcome is unknown.
        tracing::warn!(failure = failure.code(), "an answer could not be kept for its idempotency key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn unknown_outcome() -> Failure {
    Failure::new(
        Kind::Conflict,
        "outcome_unknown",
        "the service ended, or failed, while it carried out the first request with this key: it may have happened",
    )
    .hinted("look at the sandboxes and their operations; if it did not happen, send it again with a new key")
}

fn replay(answer: Answer) -> Result<Response, Failure> {
    let status = StatusCode::from_u16(answer.status).map_err(Failure::internal)?;
    let mut response = (status, Bytes::from(answer.body)).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).map_err(Failure::internal)?;
        headers.insert(name, HeaderValue::try_from(value).map_err(Failure::internal)?);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (tempfile::TempDir, Idempotency) {
        let data = tempfile::tempdir().unwrap();
        let control = Control::open(data.path()).unwrap();
        (data, Idempotency::new(Arc::new(control)))
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first() {
        let (_data, keys) = keys();
        let keys = Arc::new(keys);
        let (first, known) = keys.enter([1; 32], b"body", None).await.ok().unwrap();
        assert!(known.is_none());
        let second = tokio::spawn({
            let keys = Arc::clone(&keys);
            async move { keys.enter([1; 32], b"body", None).await.map(|(_, known)| known.and_then(|known| known.answer)) }
        });
        let other = keys.enter([2; 32], b"body", None).await;
        assert!(other.is_ok_and(|(_, known)| known.is_none()));
        let answer = Answer { status: 201, headers: Vec::new(), body: b"done".to_vec() };
        keys.keep(&first, answer.clone()).await.ok().unwrap();
        drop(first);
        assert_eq!(second.await.unwrap().ok().unwrap(), Some(answer));
    }

    #[tokio::test]
    async fn a_key_belongs_to_one_body_until_it_is_forgotten() {
        let (_data, keys) = keys();
        let (claim, _) = keys.enter([1; 32], b"one", None).await.ok().unwrap();
        drop(claim);
        assert_eq!(
            keys.enter([1; 32], b"two", None).await.err().map(|failure| failure.code()),
            Some("idempotency_key_reused")
        );
        let (claim, known) = keys.enter([1; 32], b"one", None).await.ok().unwrap();
        assert!(known.is_some_and(|known| known.answer.is_none()));
        keys.forget(&claim).await.ok().unwrap();
        drop(claim);
        assert!(keys.enter([1; 32], b"two", None).await.is_ok_and(|(_, known)| known.is_none()));
    }

    #[test]
    fn keys_are_one_printable_header() {
        let parsed = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
            }
            key(&headers).map(|key| key.map(|key| key.as_bytes().to_vec())).map_err(|failure| failure.code())
        };
        assert_eq!(parsed(&[]), Ok(None));
        assert_eq!(parsed(&[b"a b-c"]), Ok(Some(b"a b-c".to_vec())));
        for bad in [&[&b""[..]][..], &[&b"\xff"[..]], &[&[b'x'; 256][..]], &[&b"a"[..], &b"b"[..]], &[&b"a\tb"[..]]] {
            assert_eq!(parsed(bad), Err("invalid_idempotency_key"));
        }
    }
}
