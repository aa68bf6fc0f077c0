//! Calls: start one and wait, stream it, or look later; list, compare, cancel.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json as Answer;
use axum::extract::{OriginalUri, State};
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sandglass_runtime::{Call, CallId, CallRequest, ErrorKind, LiveCall, Sandbox};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{JsonBytes, Path, Query};
use super::idempotency::{self, Claim};
use super::operations::diff_limit;
use super::page::{List, PageQuery, page};
use super::problem::{Failure, Kind};
use super::{Service, call_id, output, types, view};
use crate::auth::Caller;
use crate::middleware::RequestId;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// A call that was asked for: it runs or ended lately, or it is in the log.
pub(crate) enum Found {
    Live(Arc<LiveCall>),
    Logged(Box<Call>),
}

/// Run a tool.
///
/// Runs it as one transaction: its outcome becomes the sandbox's next state, or nothing of it does. Waits for the end; the
/// call goes on when the client goes away. With `Accept: text/event-stream` the output streams as it comes (`call`, then
/// `output` events whose id is their number, then `result`). With `Prefer: respond-async` the answer is 202 at once, or,
/// with `Prefer: respond-async, wait=N`, after N seconds.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/calls", tag = "calls", request_body = types::CreateCall,
    params(("sandbox" = String, Path, description = "Its id or name."),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, and `wait=SECONDS`.")),
    responses(
        (status = 200, description = "It has ended, well or not: `status` tells.", content(
            (types::Call = "application/json"), (String = "text/event-stream"))),
        (status = 202, description = "It goes on; `Location` says where to look.", body = types::PendingCall)))]
pub(crate) async fn create(
    State(service): State<Service>,
    caller: Caller,
    request_id: RequestId,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Path(sandbox): Path<String>,
    JsonBytes(body, bytes): JsonBytes<types::CreateCall>,
) -> Result<Response, Failure> {
    let key = idempotency::key(&headers)?;
    let found = match key {
        None => Found::Live(start(&service, &caller, sandbox, request(body, new_call_id()?)).await?),
        Some(key) => {
            let name = idempotency::name(&caller, "POST", uri.path(), key);
            start_once(&service, &caller, name, sandbox, body, &bytes).await?
        }
    };
    if accepts_events(&headers) {
        return output::stream(&service, found, 0, true, &request_id);
    }
    let preference = Preference::of(&headers);
    let mut response = outcome(found, preference.asynchronous.then_some(preference.wait)).await?;
    if preference.asynchronous {
        response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    }
    Ok(response)
}

fn request(body: types::CreateCall, id: CallId) -> CallRequest {
    CallRequest {
        tool: body.tool,
        arguments: body.arguments,
        session: body.session,
        timeout: body.timeout_ms.map(Duration::from_millis),
        stdin: body.stdin.map(Bytes::from),
        dry_run: body.dry_run,
        id: Some(id),
    }
}

fn new_call_id() -> Result<CallId, Failure> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(Failure::internal)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(CallId::new(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), random))
}

async fn start(
    service: &Service,
    caller: &Caller,
    sandbox: String,
    request: CallRequest,
) -> Result<Arc<LiveCall>, Failure> {
    if request.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Failure::invalid("invalid_body", "timeout_ms is at least 1"));
    }
    let caller = caller.clone();
    let live = service.look_in(sandbox, move |sandbox| sandbox.start(request, caller.name())).await?;
    tracing::debug!(sandbox.id = %live.sandbox(), call.id = %live.id(), "call started");
    service.metrics.watch(Arc::clone(&live));
    Ok(live)
}

/// Starts a call unless the one of this key was started before; see `idempotency.rs`.
async fn start_once(
    service: &Service,
    caller: &Caller,
    name: idempotency::Name,
    sandbox: String,
    body: types::CreateCall,
    bytes: &[u8],
) -> Result<Found, Failure> {
    let fresh = new_call_id()?;
    let (claim, known) = service.idempotency.enter(name, bytes, Some(fresh.to_string())).await?;
    let Some(known) = known else {
        let started = start(service, caller, sandbox, request(body, fresh)).await;
        if started.is_err() {
            service.idempotency.forget(&claim).await?;
        }
        return started.map(Found::Live);
    };
    let known = known.call.as_deref().and_then(|id| id.parse().ok());
    let id: CallId = known.ok_or_else(|| Failure::internal("a call's idempotency key names no call"))?;
    match find(service, sandbox.clone(), id).await {
        Ok(Found::Live(live)) if certainly_nothing_happened(&live) => {
            restart(service, caller, &claim, sandbox, request(body, fresh)).await.map(Found::Live)
        }
        Ok(found) => Ok(found),
        Err(failure) if failure.code() == "unknown_call" => {
            // The service died before the call was committed: it never happened.
            start(service, caller, sandbox, request(body, id)).await.map(Found::Live)
        }
        Err(failure) => Err(failure),
    }
}

async fn restart(
    service: &Service,
    caller: &Caller,
    claim: &Claim,
    sandbox: String,
    request: CallRequest,
) -> Result<Arc<LiveCall>, Failure> {
    if let Some(id) = request.id {
        service.idempotency.replace_call(claim, id.to_string()).await?;
    }
    start(service, caller, sandbox, request).await
}

/// Whether a call ended without being run or kept, for a reason that excludes that it was committed after all.
fn certainly_nothing_happened(live: &LiveCall) -> bool {
    match live.outcome() {
        Some(Err(error)) => {
            !matches!(error.kind(), ErrorKind::Internal | ErrorKind::Corrupt) && error.code() != "store_stopped"
        }
        Some(Ok(_)) | None => false,
    }
}

/// Finds a call: as it runs, as it ended lately, or in the log.
pub(crate) async fn find(service: &Service, sandbox: String, id: CallId) -> Result<Found, Failure> {
    service
        .look_in(sandbox, move |sandbox| match sandbox.live_call(id) {
            Some(live) => Ok(Found::Live(live)),
            None => sandbox.call(id).map(|call| Found::Logged(Box::new(call))),
        })
        .await
}

/// Answers with a call: its end, or where it stands after `wait` at most.
async fn outcome(found: Found, wait: Option<Duration>) -> Result<Response, Failure> {
    let live = match found {
        Found::Logged(call) => return Ok(ended(&call)),
        Found::Live(live) => live,
    };
    let call = match wait {
        None => Some(live.wait().await),
        Some(Duration::ZERO) => live.outcome(),
        Some(wait) => tokio::time::timeout(wait, live.wait()).await.ok(),
    };
    match call {
        Some(call) => Ok(ended(&*call?)),
        None => {
            let body = view::pending(&live);
            Ok((StatusCode::ACCEPTED, [(LOCATION, location(live.sandbox(), live.id()))], Answer(body)).into_response())
        }
    }
}

fn ended(call: &Call) -> Response {
    ([(LOCATION, location(call.sandbox, call.id))], Answer(view::call(call))).into_response()
}

pub(crate) fn location(sandbox: sandglass_runtime::SandboxId, call: CallId) -> HeaderValue {
    HeaderValue::try_from(format!("/v1/sandboxes/{sandbox}/calls/{call}")).expect("ids are letters and digits")
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = values.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// What `Prefer` (RFC 7240) says that is understood here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Preference {
    asynchronous: bool,
    wait: Duration,
}

impl Preference {
    fn of(headers: &HeaderMap) -> Self {
        /// Longer waits are cut: whoever waits an hour asks again.
        const WAIT_SECONDS_MAX: u64 = 3600;
        let mut preference = Self::default();
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for token in values.flat_map(|value| value.split(',')) {
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"').parse()) {
                ("respond-async", _) => preference.asynchronous = true,
                ("wait", Ok(seconds)) => preference.wait = Duration::from_secs(WAIT_SECONDS_MAX.min(seconds)),
                _ => {}
            }
        }
        preference
    }
}

/// List the calls.
///
/// Those that have ended, newest first. Output is cut to 4 KiB here; the call itself has all of it.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/calls", tag = "calls",
    params(("sandbox" = String, Path, description = "Its id or name."), PageQuery),
    responses((status = 200, body = types::Page<types::Call>)))]
pub(crate) async fn list(
    State(service): State<Service>,
    Path(sandbox): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Answer<types::Page<types::Call>>, Failure> {
    let limit = query.limit()?;
    let before = query.number(List::Calls)?;
    let found = service.look_in(sandbox, move |sandbox| sandbox.calls(before, limit + 1)).await?;
    let found = found.iter().map(view::call).collect();
    Ok(Answer(page(found, limit, List::Calls, |call: &types::Call| call.seq.unwrap_or_default().to_string())))
}

/// Look at a call.
///
/// Answers at once, or, with `Prefer: wait=N`, when it has ended but after N seconds at most. A dry run can be looked at for
/// some minutes, since it is in no log.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/calls/{call}", tag = "calls",
    params(("sandbox" = String, Path, description = "Its id or name."), ("call" = String, Path, description = "Its id."),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`.")),
    responses((status = 200, body = types::CallView)))]
pub(crate) async fn get(
    State(service): State<Service>,
    Path((sandbox, call)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = find(&service, sandbox, call_id(&call)?).await?;
    let mut response = outcome(found, Some(Preference::of(&headers).wait)).await?;
    if response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::OK;
    }
    Ok(response)
}

/// Follow a call.
///
/// Its output as it comes, as when it was started with `Accept: text/event-stream`. `Last-Event-ID` resumes after an event;
/// 204 says that there is nothing left to come.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/calls/{call}/events", tag = "calls",
    params(("sandbox" = String, Path, description = "Its id or name."), ("call" = String, Path, description = "Its id."),
        ("Last-Event-ID" = Option<u64>, Header, description = "Resume after this event.")),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 204, description = "All has been seen.")))]
pub(crate) async fn events(
    State(service): State<Service>,
    request_id: RequestId,
    Path((sandbox, call)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let after = output::last_event_id(&headers)?;
    let found = find(&service, sandbox, call_id(&call)?).await?;
    output::stream(&service, found, after.unwrap_or(0), after.is_none(), &request_id)
}

/// How many changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallDiffQuery {
    /// At most this many changes; 1,000 when absent. The summary is always complete.
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<usize>,
}

/// See what a call changed.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/calls/{call}/diff", tag = "calls",
    params(("sandbox" = String, Path, description = "Its id or name."), ("call" = String, Path, description = "Its id."),
        CallDiffQuery),
    responses((status = 200, body = types::Diff)))]
pub(crate) async fn diff(
    State(service): State<Service>,
    Path((sandbox, call)): Path<(String, String)>,
    Query(query): Query<CallDiffQuery>,
) -> Result<Answer<types::Diff>, Failure> {
    let (id, limit) = (call_id(&call)?, diff_limit(query.limit)?);
    let diff = service
        .look_in(sandbox, move |sandbox: &Sandbox| {
            let call = sandbox.call(id)?;
            let diff = sandbox.diff(Some(call.before), Some(call.after), limit)?;
            Ok(view::diff(call.before.to_string(), call.after.to_string(), diff))
        })
        .await?;
    Ok(Answer(diff))
}

/// Cancel a call.
///
/// It ends at once or nearly so, and the state stays the one before it. 409 when it has ended: `undo` takes back what it changed.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}/calls/{call}", tag = "calls",
    params(("sandbox" = String, Path, description = "Its id or name."), ("call" = String, Path, description = "Its id.")),
    responses((status = 202, description = "It is about to end.", body = types::PendingCall)))]
pub(crate) async fn cancel(
    State(service): State<Service>,
    Path((sandbox, call)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let id = call_id(&call)?;
    let live = service
        .look_in(sandbox, move |sandbox| {
            let live = sandbox.live_call(id);
            sandbox.cancel(id).map(|()| live)
        })
        .await?;
    let Some(live) = live else {
        return Err(Failure::new(Kind::Conflict, "call_ended", format!("call {id} has ended")));
    };
    let headers = [(LOCATION, location(live.sandbox(), live.id()))];
    Ok((StatusCode::ACCEPTED, headers, Answer(view::pending(&live))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn preferences_are_read_leniently() {
        let of = |values: &[&'static str]| {
            let preference = Preference::of(&header(&PREFER, values));
            (preference.asynchronous, preference.wait.as_secs())
        };
        assert_eq!(of(&[]), (false, 0));
        assert_eq!(of(&["respond-async"]), (true, 0));
        assert_eq!(of(&["Respond-Async , wait=10"]), (true, 10));
        assert_eq!(of(&["wait = \"5\"", "respond-async"]), (true, 5));
        assert_eq!(of(&["handling=strict, wait=-1, wait=999999"]), (false, 3600));
    }

    #[test]
    fn events_are_sent_to_who_asks_for_them() {
        for (values, expected) in [
            (&["text/event-stream"][..], true),
            (&["application/json, Text/Event-Stream;q=0.5"], true),
            (&["application/json", "text/event-stream"], true),
            (&["*/*"], false),
            (&["text/*"], false),
            (&[], false),
        ] {
            assert_eq!(accepts_events(&header(&ACCEPT, values)), expected, "{values:?}");
        }
    }
}
