//! Mounts: states and sandboxes as directories of the machine on which the service runs.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use sandglass_runtime::{MountInfo, MountTarget};

use super::extract::{Json, Path};
use super::problem::Failure;
use super::{Service, state_id, types};
use crate::auth::Caller;

/// Mount a state or a sandbox's head.
///
/// On an empty directory of the service's machine, by FUSE. A state is read-only. What is written into a sandbox becomes one
/// operation when it has come to rest, at `fsync`, and when the mount ends; calls wait meanwhile. Mounts end with the service.
#[utoipa::path(post, path = "/v1/mounts", tag = "mounts", request_body = types::CreateMount,
    responses((status = 201, body = types::Mount)))]
pub(crate) async fn create(
    State(service): State<Service>,
    caller: Caller,
    Json(body): Json<types::CreateMount>,
) -> Result<(StatusCode, Answer<types::Mount>), Failure> {
    let target = match (body.sandbox, body.state) {
        (Some(sandbox), None) => MountTarget::Sandbox(sandbox),
        (None, Some(state)) => MountTarget::State(state_id(&state)?),
        _ => return Err(Failure::invalid("invalid_target", "name exactly one of `sandbox` and `state`")),
    };
    let directory = std::path::PathBuf::from(body.directory);
    let mounted = service.change(move |host| host.mount(&target, &directory, body.allow_others, caller.name()));
    Ok((StatusCode::CREATED, Answer(wire(&mounted.await?))))
}

/// List the mounts.
#[utoipa::path(get, path = "/v1/mounts", tag = "mounts",
    responses((status = 200, body = types::Page<types::Mount>)))]
pub(crate) async fn list(State(service): State<Service>) -> Result<Answer<types::Page<types::Mount>>, Failure> {
    let mounts = service.look(|host| Ok(host.mounts())).await?;
    Ok(Answer(types::Page { items: mounts.iter().map(wire).collect(), next_cursor: None }))
}

/// End a mount.
///
/// What was changed through it is committed first.
#[utoipa::path(delete, path = "/v1/mounts/{id}", tag = "mounts",
    params(("id" = u64, Path, description = "The mount's number.")),
    responses((status = 204, description = "It is no longer mounted.")))]
pub(crate) async fn delete(State(service): State<Service>, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    // What is no number names no mount.
    let id = id.parse().unwrap_or(0);
    service.change(move |host| host.unmount(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wire(info: &MountInfo) -> types::Mount {
    types::Mount {
        id: info.id,
        directory: info.directory.display().to_string(),
        sandbox: info.sandbox.map(|sandbox| sandbox.to_string()),
        state: info.state.map(|state| state.to_string()),
        writable: info.writable,
    }
}
