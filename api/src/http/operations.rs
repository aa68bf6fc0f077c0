//! The log and the ways through it: operations, diff, undo, redo, restore.

use axum::Json as Answer;
use axum::extract::State;
use sandglass_runtime::{Error, RestoreTarget, Sandbox, SandboxId, StateId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json, JsonOrDefault, Path, Query};
use super::page::{List, PageQuery, page};
use super::problem::Failure;
use super::{Service, state_id, types, view};
use crate::access::{operation_for, state_of};
use crate::auth::Caller;

const DIFF_LIMIT_DEFAULT: usize = 1000;
const DIFF_LIMIT_MAX: usize = 100_000;

/// List the operations.
///
/// The log of the sandbox, newest first.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/operations", tag = "operations",
    params(("sandbox" = String, Path, description = "Its id or name."), PageQuery),
    responses((status = 200, body = types::Page<types::Operation>)))]
pub(crate) async fn list(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Answer<types::Page<types::Operation>>, Failure> {
    let limit = query.limit()?;
    let before = query.number(List::Operations)?;
    let found = service.look_in(sandbox, move |sandbox| sandbox.operations_before(before, limit + 1)).await?;
    let found = found.into_iter().map(|one| operation_for(caller.bound(), view::operation(one))).collect();
    Ok(Answer(page(found, limit, List::Operations, |operation: &types::Operation| operation.seq.to_string())))
}

/// Take back operations.
///
/// Takes back the newest `steps` operations in effect that changed the state. That is an operation too: `redo` takes it back.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/undo", tag = "operations", request_body = types::Steps,
    params(("sandbox" = String, Path, description = "Its id or name.")), responses((status = 200, body = types::Moved)))]
pub(crate) async fn undo(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    JsonOrDefault(body): JsonOrDefault<types::Steps>,
) -> Result<Answer<types::Moved>, Failure> {
    let steps = body.steps.unwrap_or(1);
    let moved = service.change_in(sandbox, move |sandbox| sandbox.undo(steps, caller.name())).await?;
    Ok(Answer(view::moved(moved)))
}

/// Bring back operations.
///
/// Brings back what the newest `steps` undos took back.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/redo", tag = "operations", request_body = types::Steps,
    params(("sandbox" = String, Path, description = "Its id or name.")), responses((status = 200, body = types::Moved)))]
pub(crate) async fn redo(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    JsonOrDefault(body): JsonOrDefault<types::Steps>,
) -> Result<Answer<types::Moved>, Failure> {
    let steps = body.steps.unwrap_or(1);
    let moved = service.change_in(sandbox, move |sandbox| sandbox.redo(steps, caller.name())).await?;
    Ok(Answer(view::moved(moved)))
}

/// Go to any state.
///
/// Back or forward, all of it or only some paths. That is an operation too: `undo` takes it back.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/restore", tag = "operations", request_body = types::Restore,
    params(("sandbox" = String, Path, description = "Its id or name.")), responses((status = 200, body = types::Moved)))]
pub(crate) async fn restore(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Json(body): Json<types::Restore>,
) -> Result<Answer<types::Moved>, Failure> {
    let target = match (body.state, body.checkpoint, body.seq) {
        (Some(state), None, None) => RestoreTarget::State(state_id(&state)?),
        (None, Some(name), None) => RestoreTarget::Checkpoint(name),
        (None, None, Some(seq)) => RestoreTarget::Seq(seq),
        _ => return Err(Failure::invalid("invalid_body", "give exactly one of state, checkpoint and seq")),
    };
    let paths = body.paths;
    let moved = service
        .change_in(sandbox, move |sandbox| {
            if let RestoreTarget::State(state) = target {
                state_of(caller.bound(), sandbox, state)?;
            }
            sandbox.restore(&target, paths.as_deref(), caller.name())
        })
        .await?;
    Ok(Answer(view::moved(moved)))
}

/// Which states to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    /// The older state: an id, the number of an operation (the state after it), or a checkpoint's name. What the newest
    /// operation changed when both are absent.
    from: Option<String>,
    /// The newer state, in the same words; the head when only `from` is given.
    to: Option<String>,
    /// At most this many changes; 1,000 when absent. The summary is always complete.
    #[param(minimum = 1, maximum = 100_000)]
    limit: Option<usize>,
}

/// Compare two states.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/diff", tag = "operations",
    params(("sandbox" = String, Path, description = "Its id or name."), DiffQuery),
    responses((status = 200, body = types::Diff)))]
pub(crate) async fn diff(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Result<Answer<types::Diff>, Failure> {
    let (limit, only) = (diff_limit(query.limit)?, caller.bound());
    let diff = service
        .look_in(sandbox, move |sandbox| {
            let (from, to) = states_between(only, sandbox, query.from.as_deref(), query.to.as_deref())?;
            Ok(view::diff(from.to_string(), to.to_string(), sandbox.diff(Some(from), Some(to), limit)?))
        })
        .await?;
    Ok(Answer(diff))
}

/// Finds the two states to compare: what the newest operation changed where nothing is said, the head for a newer one.
pub(crate) fn states_between(
    only: Option<SandboxId>,
    sandbox: &Sandbox,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(StateId, StateId), Error> {
    let named = |text: Option<&str>| text.map(|text| state_named(only, sandbox, text)).transpose();
    Ok(match (named(from)?, named(to)?) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => (from, sandbox.info()?.state),
        (None, to) => {
            let newest = sandbox.operations_before(None, 1)?.into_iter().next();
            let newest = newest.map(|operation| (operation.before.unwrap_or(operation.after), operation.after));
            let (before, after) = match newest {
                Some(states) => states,
                None => (sandbox.info()?.state, sandbox.info()?.state),
            };
            (before, to.unwrap_or(after))
        }
    })
}

pub(crate) fn diff_limit(limit: Option<usize>) -> Result<usize, Failure> {
    match limit.unwrap_or(DIFF_LIMIT_DEFAULT) {
        limit @ 1..=DIFF_LIMIT_MAX => Ok(limit),
        _ => Err(Failure::malformed("invalid_query", format!("limit is a number from 1 to {DIFF_LIMIT_MAX}"))),
    }
}

/// Finds a state by id, by the number of the operation that made it, or by a checkpoint's name.
fn state_named(only: Option<SandboxId>, sandbox: &Sandbox, text: &str) -> Result<StateId, Error> {
    if let Ok(state) = text.parse() {
        return state_of(only, sandbox, state);
    }
    if let Some(checkpoint) = sandbox.checkpoints()?.into_iter().find(|checkpoint| checkpoint.name == text) {
        return Ok(checkpoint.state);
    }
    let before = text.parse().ok().and_then(|seq: u64| seq.checked_sub(1));
    let operation = match before {
        Some(before) => sandbox.operations(before, 1)?.into_iter().next().filter(|found| found.seq == before + 1),
        None => None,
    };
    operation.map(|operation| operation.after).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let kind = sandglass_runtime::ErrorKind::NotFound;
        Error::new(kind, "unknown_state", format!("`{shown}` is no state, checkpoint or operation of this sandbox"))
            .hinted("`operations` lists the states of a sandbox")
    })
}
