//! What happens in a sandbox, as server-sent events: every operation, in order, from any point of the log on.

use std::collections::VecDeque;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures::stream;
use sandglass_runtime::{OperationInfo, Sandbox, SandboxId};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::output::{event, last_event_id, place, sse};
use super::problem::Failure;
use super::{Service, types, view};
use crate::access::operation_for;
use crate::auth::Caller;

/// Log entries that are read at once.
const PAGE: usize = 200;

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Start after the operation with this number; 0 for all. New ones only when absent.
    after: Option<u64>,
}

/// Follow a sandbox.
///
/// An `operation` event for each operation; its id is the operation's number. `Last-Event-ID` resumes after one.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/events", tag = "operations",
    params(("sandbox" = String, Path, description = "Its id or name."), EventsQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "Resume after this event.")),
    responses((status = 200, description = "Events whose data is an operation.", content_type = "text/event-stream",
        body = String)))]
pub(crate) async fn events(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let after = last_event_id(&headers)?.or(query.after);
    let place = place(&service)?;
    let (sandbox, news, head) = service
        .look_in(sandbox, |sandbox| {
            // Subscribed before the head is read, so that nothing falls between.
            let news = sandbox.subscribe();
            Ok((sandbox.clone(), news, sandbox.info()?.seq))
        })
        .await?;
    let stopping = service.stopping.clone();
    let after = after.unwrap_or(head);
    let only = caller.bound();
    let reader =
        Reader { service, sandbox, only, news, after, waiting: VecDeque::new(), ended: false, stopping, _place: place };
    Ok(sse(stream::unfold(reader, |mut reader| async move { reader.next().await.map(|event| (event, reader)) })))
}

struct Reader {
    service: Service,
    sandbox: Sandbox,
    /// The only sandbox that the reader may know of.
    only: Option<SandboxId>,
    news: broadcast::Receiver<u64>,
    /// The newest entry that has been looked at.
    after: u64,
    waiting: VecDeque<OperationInfo>,
    ended: bool,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(operation) = self.waiting.pop_front() {
                self.ended = operation.kind == "delete";
                let operation: types::Operation = operation_for(self.only, view::operation(operation));
                return Some(event("operation", Some(operation.seq), &operation));
            }
            if self.ended || *self.stopping.borrow() {
                return None;
            }
            self.fill().await?;
            if !self.waiting.is_empty() {
                continue;
            }
            tokio::select! {
                news = self.news.recv() => match news {
                    // Entries that are no operations give nothing to send: they are passed over here.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                stopped = self.stopping.wait_for(|stopping| *stopping) => {
                    drop(stopped);
                    return None;
                }
            }
        }
    }

    /// Reads the next operations from the log; nothing when the sandbox can't be read any more.
    async fn fill(&mut self) -> Option<()> {
        let (sandbox, after) = (self.sandbox.clone(), self.after);
        let found = self
            .service
            .look(move |_| {
                let mut after = after;
                loop {
                    let operations = sandbox.operations(after, PAGE)?;
                    let passed = after.saturating_add(PAGE as u64);
                    // A page of entries without an operation among them is no end of the log.
                    if operations.is_empty() && sandbox.info()?.seq > passed {
                        after = passed;
                        continue;
                    }
                    return Ok(operations);
                }
            })
            .await;
        let operations = found.ok()?;
        if let Some(last) = operations.last() {
            self.after = last.seq;
        }
        self.waiting.extend(operations);
        Some(())
    }
}
