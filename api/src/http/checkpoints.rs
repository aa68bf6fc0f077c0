//! Named checkpoints: labels on states.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Json, Path, Query};
use super::page::{List, PageQuery, page};
use super::problem::Failure;
use super::{Service, types, view};
use crate::auth::Caller;

/// Name the head.
///
/// Every operation is a checkpoint by itself; this gives one a name, so that it can be found and is kept.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/checkpoints", tag = "checkpoints",
    request_body = types::CreateCheckpoint,
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 201, body = types::Checkpoint)))]
pub(crate) async fn create(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Json(body): Json<types::CreateCheckpoint>,
) -> Result<(StatusCode, Answer<types::Checkpoint>), Failure> {
    let made = service.change_in(sandbox, move |sandbox| sandbox.checkpoint(&body.name, caller.name())).await?;
    Ok((StatusCode::CREATED, Answer(view::checkpoint(made))))
}

/// List the checkpoints.
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/checkpoints", tag = "checkpoints",
    params(("sandbox" = String, Path, description = "Its id or name."), PageQuery),
    responses((status = 200, body = types::Page<types::Checkpoint>)))]
pub(crate) async fn list(
    State(service): State<Service>,
    Path(sandbox): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Answer<types::Page<types::Checkpoint>>, Failure> {
    let limit = query.limit()?;
    let after = query.number(List::Checkpoints)?.unwrap_or(0);
    let found = service.look_in(sandbox, sandglass_runtime::Sandbox::checkpoints).await?;
    let found = found.into_iter().filter(|one| one.seq > after).take(limit + 1).map(view::checkpoint).collect();
    Ok(Answer(page(found, limit, List::Checkpoints, |checkpoint: &types::Checkpoint| checkpoint.seq.to_string())))
}

/// Take a checkpoint's name away.
///
/// Its state stays in the log and can be restored by id or number.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}/checkpoints/{name}", tag = "checkpoints",
    params(("sandbox" = String, Path, description = "Its id or name."), ("name" = String, Path, description = "The checkpoint.")),
    responses((status = 204, description = "Nothing has this name any more.")))]
pub(crate) async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, name)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    service.change_in(sandbox, move |sandbox| sandbox.delete_checkpoint(&name, caller.name())).await?;
    Ok(StatusCode::NO_CONTENT)
}
