//! A call's output as server-sent events: numbered pieces, then the result. A reader that comes back misses nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use sandglass_runtime::{Call, Chunk, LiveCall, wasi};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::calls::{Found, location};
use super::problem::{Failure, Kind};
use super::{Service, view};
use crate::middleware::RequestId;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A comment is sent after this much silence, so that proxies and readers know that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Reads after which event a reader resumes.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some)
        .ok_or_else(|| Failure::malformed("invalid_event_id", "Last-Event-ID is the id of an event of this stream"))
}

/// Takes a place for a stream.
pub(crate) fn place(service: &Service) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(&service.streams)
        .try_acquire_owned()
        .map_err(|_| Failure::new(Kind::Busy, "too_many_streams", "too many streams are open"))
}

/// Sends events with heartbeats in between.
pub(crate) fn sse(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    use futures::StreamExt as _;
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive).into_response()
}

/// Makes an event; what can't be written as JSON is our fault and shows as an empty one.
pub(crate) fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).unwrap_or_else(|error| {
        tracing::error!(error = %error, "an event could not be written");
        "{}".to_owned()
    });
    let event = Event::default().event(name).data(data);
    match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}

/// Streams a call after event `after`; `announced` puts the call's id first.
pub(crate) fn stream(
    service: &Service,
    found: Found,
    after: u64,
    announced: bool,
    request_id: &RequestId,
) -> Result<Response, Failure> {
    let place = place(service)?;
    let (sandbox, id) = match &found {
        Found::Live(live) => (live.sandbox(), live.id()),
        Found::Logged(call) => (call.sandbox, call.id),
    };
    let mut response = match found {
        Found::Logged(call) if after > logged_chunks(&call).len() as u64 => StatusCode::NO_CONTENT.into_response(),
        Found::Logged(call) => sse(stream::iter(logged(&call, after, announced))),
        Found::Live(live) => {
            if live.outcome().is_some() && after > live.chunks(0).len() as u64 {
                StatusCode::NO_CONTENT.into_response()
            } else {
                sse(follow(Follower::new(live, after, announced, request_id.clone(), place)))
            }
        }
    };
    response.headers_mut().insert(LOCATION, location(sandbox, id));
    Ok(response)
}

/// The output of a call that is only in the log: one piece for each stream.
fn logged_chunks(call: &Call) -> Vec<Chunk> {
    let parts = [(wasi::Stream::Stdout, &call.stdout), (wasi::Stream::Stderr, &call.stderr)];
    let parts = parts.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    parts.zip(1..).map(|((stream, bytes), seq)| Chunk { seq, stream, bytes: bytes.clone() }).collect()
}

/// The events of a call that is only in the log. The pieces it was printed in are no longer known, so a reader that has seen
/// some of them gets the result alone, which holds all that was printed.
fn logged(call: &Call, after: u64, announced: bool) -> Vec<Event> {
    let chunks = logged_chunks(call);
    let mut events = Vec::new();
    if announced {
        events.push(event(
            "call",
            None,
            &serde_json::json!({ "id": call.id.to_string(), "sandbox": call.sandbox.to_string() }),
        ));
    }
    if after == 0 {
        events.extend(chunks.iter().map(|chunk| event("output", Some(chunk.seq), &view::output(chunk))));
    }
    events.push(event("result", Some(chunks.len() as u64 + 1), &view::call(call)));
    events
}

/// Where a reader of a live call is.
struct Follower {
    live: Arc<LiveCall>,
    after: u64,
    announced: bool,
    waiting: VecDeque<Chunk>,
    ended: bool,
    request_id: RequestId,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    const fn new(
        live: Arc<LiveCall>,
        after: u64,
        announced: bool,
        request_id: RequestId,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { live, after, announced, waiting: VecDeque::new(), ended: false, request_id, _place: place }
    }

    async fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.announced) {
            let data =
                serde_json::json!({ "id": self.live.id().to_string(), "sandbox": self.live.sandbox().to_string() });
            return Some(event("call", None, &data));
        }
        loop {
            if let Some(chunk) = self.waiting.pop_front() {
                self.after = chunk.seq;
                return Some(event("output", Some(chunk.seq), &view::output(&chunk)));
            }
            if self.ended {
                return None;
            }
            // Asked before the pieces: what ended has printed all.
            let outcome = self.live.outcome();
            self.waiting = self.live.chunks(self.after).into();
            if !self.waiting.is_empty() {
                continue;
            }
            match outcome {
                None => self.live.changed(self.after).await,
                Some(outcome) => {
                    self.ended = true;
                    let id = Some(self.live.chunks(0).len() as u64 + 1);
                    return Some(match outcome {
                        Ok(call) => event("result", id, &view::call(&call)),
                        Err(error) => event("problem", id, &Failure::from(error).problem(self.request_id.as_str())),
                    });
                }
            }
        }
    }
}

fn follow(follower: Follower) -> impl Stream<Item = Event> + Send + 'static {
    stream::unfold(follower, |mut follower| async move { follower.next().await.map(|event| (event, follower)) })
}
