//! Retention, the trash and the store: what is kept, what can be taken back, what it takes.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use sandglass_runtime as runtime;

use super::extract::{Json, Path};
use super::problem::Failure;
use super::{Service, types, view};
use crate::auth::Caller;

/// Say what a sandbox keeps.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/retention", tag = "store",
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 200, body = types::Retention)))]
pub(crate) async fn retention(
    State(service): State<Service>,
    Path(sandbox): Path<String>,
) -> Result<Answer<types::Retention>, Failure> {
    let (keep, own) = service.look_in(sandbox, runtime::Sandbox::retention).await?;
    Ok(Answer(types::Retention { keep: wire_keep(keep), own }))
}

/// Set what a sandbox keeps.
///
/// Replaces the rule: a limit that is absent is none. The next round of upkeep gives up what is no longer kept; named
/// checkpoints and the newest operation always stay.
#[utoipa::path(put, path = "/v1/sandboxes/{sandbox}/retention", tag = "store",
    request_body = types::Keep,
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 200, body = types::Retention)))]
pub(crate) async fn set_retention(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Json(keep): Json<types::Keep>,
) -> Result<Answer<types::Retention>, Failure> {
    let wanted = runtime::Keep { operations: keep.operations, age_seconds: keep.age_seconds, bytes: keep.bytes };
    service.change_in(sandbox, move |sandbox| sandbox.set_retention(Some(wanted), caller.name())).await?;
    Ok(Answer(types::Retention { keep, own: true }))
}

/// Take a sandbox's rule away.
///
/// It keeps what the service's rule says from then on.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}/retention", tag = "store",
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 204, description = "The service's rule holds.")))]
pub(crate) async fn clear_retention(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<StatusCode, Failure> {
    service.change_in(sandbox, move |sandbox| sandbox.set_retention(None, caller.name())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the trash.
///
/// Deleted sandboxes and checkpoints that can be taken back, the newest first.
#[utoipa::path(get, path = "/v1/trash", tag = "store",
    responses((status = 200, body = types::Page<types::TrashItem>)))]
pub(crate) async fn trash(State(service): State<Service>) -> Result<Answer<types::Page<types::TrashItem>>, Failure> {
    let items = service.look(runtime::Host::trash).await?;
    let items = items.into_iter().map(|item| types::TrashItem {
        sandbox: item.sandbox.to_string(),
        name: item.name,
        checkpoint: item.checkpoint,
        state: item.state.to_string(),
        deleted: view::time(item.deleted),
        kept_until: view::time(item.kept_until),
    });
    Ok(Answer(types::Page { items: items.collect(), next_cursor: None }))
}

/// Take something out of the trash.
///
/// A sandbox is as it was when it was deleted, its whole log with it; a checkpoint names its state again.
#[utoipa::path(post, path = "/v1/trash/restore", tag = "store",
    request_body = types::Undelete,
    responses((status = 200, body = types::Undeleted)))]
pub(crate) async fn undelete(
    State(service): State<Service>,
    caller: Caller,
    Json(body): Json<types::Undelete>,
) -> Result<Answer<types::Undeleted>, Failure> {
    let types::Undelete { sandbox, checkpoint } = body;
    let undeleted = service.change(move |host| {
        let Some(name) = checkpoint else {
            let (sandbox, moved) = host.undelete(&sandbox, caller.name())?;
            let (id, name) = (sandbox.id().to_string(), sandbox.name().to_owned());
            return Ok(types::Undeleted { sandbox: id, name, checkpoint: None, state: moved.after.to_string() });
        };
        let sandbox = host.sandbox(&sandbox)?;
        let named = sandbox.undelete_checkpoint(&name, caller.name())?;
        Ok(types::Undeleted {
            sandbox: sandbox.id().to_string(),
            name: sandbox.name().to_owned(),
            checkpoint: Some(named.name),
            state: named.state.to_string(),
        })
    });
    Ok(Answer(undeleted.await?))
}

/// Weigh the store.
///
/// Walks everything that can be returned to: it takes seconds for a large store, and calls go on beside it.
#[utoipa::path(get, path = "/v1/store", tag = "store", responses((status = 200, body = types::StoreInfo)))]
pub(crate) async fn store(State(service): State<Service>) -> Result<Answer<types::StoreInfo>, Failure> {
    let info = service.look(|host| {
        let store = wire_weight(&host.weigh(&mut |_| {})?);
        Ok(types::StoreInfo { store, last_upkeep: wire_upkeep(&host.last_upkeep()) })
    });
    Ok(Answer(info.await?))
}

/// Do a round of upkeep now.
///
/// Gives up what is no longer kept, empties the trash of what was in it for long enough, and gives the space back.
#[utoipa::path(post, path = "/v1/store/upkeep", tag = "store", responses((status = 200, body = types::Upkeep)))]
pub(crate) async fn upkeep(State(service): State<Service>) -> Result<Answer<types::Upkeep>, Failure> {
    let done = service.change(|host| host.keep_up(&mut |_| {})).await?;
    Ok(Answer(wire_upkeep(&done)))
}

/// Verify the store.
///
/// Reads and hashes every byte of it anew, then walks every log and every state: it takes as long as reading it takes. Calls
/// go on beside it. A copy of the data directory is verified with `sandglass store verify`.
#[utoipa::path(post, path = "/v1/store/verify", tag = "store", responses((status = 200, body = types::Verification)))]
pub(crate) async fn verify(State(service): State<Service>) -> Result<Answer<types::Verification>, Failure> {
    let found = service.look(runtime::Host::verify).await?;
    Ok(Answer(wire_verification(&found)))
}

pub(crate) fn wire_verification(found: &runtime::Verification) -> types::Verification {
    const TOLD_MAX: usize = 1_000;
    let runtime::Verification { survey, verified } = found;
    let places = survey.damaged.iter().take(TOLD_MAX).map(|place| types::DamagedPlace {
        path: place.path.display().to_string(),
        offset: place.offset,
        reason: place.reason.clone(),
        node: place.node.map(|node| node.to_string()),
    });
    let states = verified.damaged_states.iter().map(|damaged| types::DamagedState {
        state: damaged.state.to_string(),
        sandbox: damaged.sandbox.to_string(),
        seqs: damaged.seqs.clone(),
        problems: damaged
            .problems
            .iter()
            .map(|problem| types::StateProblem {
                path: String::from_utf8_lossy(&problem.path).into_owned(),
                reason: problem.reason.clone(),
            })
            .collect(),
    });
    types::Verification {
        whole: found.is_whole(),
        segments: survey.segments,
        bytes: survey.bytes,
        nodes: survey.nodes,
        entries: verified.entries,
        states: verified.states,
        states_whole: verified.states_whole,
        torn_bytes: survey.torn_bytes,
        damaged_places: places.collect(),
        damaged_states: states.collect(),
        damaged_logs: verified.damaged_logs.clone(),
    }
}

const fn wire_keep(keep: runtime::Keep) -> types::Keep {
    types::Keep { operations: keep.operations, age_seconds: keep.age_seconds, bytes: keep.bytes }
}

pub(crate) const fn wire_weight(collected: &runtime::Collected) -> types::StoreWeight {
    types::StoreWeight {
        states: collected.states,
        entries: collected.entries,
        logical_bytes: collected.logical_bytes,
        unique_bytes: collected.unique_bytes,
        reclaimable_bytes: collected.reclaimable_bytes,
        disk_bytes: collected.disk_bytes,
    }
}

pub(crate) fn wire_upkeep(done: &runtime::Upkeep) -> types::Upkeep {
    types::Upkeep {
        ended: done.ended.map(view::time),
        sandboxes_expired: done.sandboxes_expired,
        sandboxes_busy: done.sandboxes_busy,
        sandboxes_purged: done.sandboxes_purged,
        freed_bytes: done.collected.freed_bytes,
        copied_bytes: done.collected.copied_bytes,
        store: wire_weight(&done.collected),
    }
}
