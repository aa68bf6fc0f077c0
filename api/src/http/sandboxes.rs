//! Sandboxes: create, list, look at, delete, fork; and their policy.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sandglass_runtime::{CreateRequest, ForkRequest, SandboxId, Source};

use super::extract::{JsonOrDefault, Path, Query};
use super::page::{List, PageQuery, page};
use super::problem::Failure;
use super::{Service, state_id, types, view};
use crate::access::sandbox_for;
use crate::auth::Caller;

const FORKS_MAX: u32 = 1000;

/// Create a sandbox.
///
/// Empty, from a state, from another sandbox, or from a directory of the host (copied to `/workspace`).
#[utoipa::path(post, path = "/v1/sandboxes", tag = "sandboxes", request_body = types::CreateSandbox,
    responses((status = 201, body = types::Sandbox, headers(("Location" = String, description = "Where the sandbox is.")))))]
pub(crate) async fn create(
    State(service): State<Service>,
    caller: Caller,
    JsonOrDefault(body): JsonOrDefault<types::CreateSandbox>,
) -> Result<Response, Failure> {
    let from = match body.from {
        None => Source::Empty,
        Some(types::CreateFrom::State(state)) => Source::State(state_id(&state)?),
        Some(types::CreateFrom::Sandbox(sandbox)) => Source::Sandbox(sandbox),
        Some(types::CreateFrom::Directory(directory)) => {
            let directory = std::path::PathBuf::from(directory);
            if !directory.is_absolute() {
                return Err(Failure::invalid("invalid_directory", "from.directory is an absolute path of the host"));
            }
            Source::Directory(directory)
        }
    };
    let request = CreateRequest { name: body.name, policy: body.policy, from };
    let made = service.change(move |host| host.create(request, caller.name(), &|_| ())?.info()).await?;
    created(&view::sandbox(&made))
}

fn created(sandbox: &types::Sandbox) -> Result<Response, Failure> {
    let location = HeaderValue::try_from(format!("/v1/sandboxes/{}", sandbox.id)).map_err(Failure::internal)?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], Answer(sandbox)).into_response())
}

/// List the sandboxes.
///
/// By id, which is by the time they were created.
#[utoipa::path(get, path = "/v1/sandboxes", tag = "sandboxes", params(PageQuery),
    responses((status = 200, body = types::Page<types::Sandbox>)))]
pub(crate) async fn list(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Answer<types::Page<types::Sandbox>>, Failure> {
    let limit = query.limit()?;
    let after: Option<SandboxId> = query
        .position(List::Sandboxes)?
        .map(|id| id.parse().map_err(|_| Failure::malformed("invalid_cursor", "this is not a cursor of this list")))
        .transpose()?;
    let only = caller.bound();
    let found = match only {
        None => service.look(move |host| host.sandboxes(after, limit + 1)).await?,
        Some(only) if after.is_some_and(|after| after >= only) => Vec::new(),
        Some(only) => match service.look_in(only.to_string(), sandglass_runtime::Sandbox::info).await {
            Ok(info) => vec![info],
            Err(failure) if failure.code() == "unknown_sandbox" => Vec::new(),
            Err(failure) => return Err(failure),
        },
    };
    let found = found.iter().map(|info| sandbox_for(only, view::sandbox(info))).collect();
    Ok(Answer(page(found, limit, List::Sandboxes, |sandbox: &types::Sandbox| sandbox.id.clone())))
}

/// Look at a sandbox.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}", tag = "sandboxes",
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 200, body = types::Sandbox, headers(("ETag" = String, description = "Its head.")))))]
pub(crate) async fn get(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<Response, Failure> {
    let info = service.look_in(sandbox, sandglass_runtime::Sandbox::info).await?;
    let etag = HeaderValue::try_from(format!("\"{}-{}\"", info.state, info.seq)).map_err(Failure::internal)?;
    Ok(([(ETAG, etag)], Answer(sandbox_for(caller.bound(), view::sandbox(&info)))).into_response())
}

/// Delete a sandbox.
///
/// Calls that run are cancelled. Its states stay for the sandboxes that were forked from it.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}", tag = "sandboxes",
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
) -> Result<StatusCode, Failure> {
    service.change_in(sandbox, move |sandbox| sandbox.delete(caller.name())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fork a sandbox.
///
/// Makes a sandbox whose first state is one of this one's, whatever it holds, in the same time. With `count`, makes that
/// many and answers `{sandboxes: [...]}`.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/fork", tag = "sandboxes", request_body = types::Fork,
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 201, body = types::Forked)))]
pub(crate) async fn fork(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    JsonOrDefault(body): JsonOrDefault<types::Fork>,
) -> Result<Response, Failure> {
    let state = body.state.as_deref().map(state_id).transpose()?;
    if body.name.is_some() && body.count.is_some() {
        return Err(Failure::invalid("invalid_body", "name and count can't be given together")
            .hinted("leave `name` out: many forks get names of their own"));
    }
    let count = body.count.unwrap_or(1);
    if count == 0 || count > FORKS_MAX {
        return Err(Failure::invalid("invalid_body", format!("count is a number from 1 to {FORKS_MAX}")));
    }
    let request = ForkRequest { state, names: (0..count).map(|_| body.name.clone()).collect() };
    let forks = service
        .change_in(sandbox, move |sandbox| {
            let forks = sandbox.fork(request, caller.name())?;
            forks.iter().map(sandglass_runtime::Sandbox::info).collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let mut sandboxes: Vec<_> = forks.iter().map(view::sandbox).collect();
    match (body.count, sandboxes.pop()) {
        (None, Some(only)) => created(&only),
        (None, None) => Err(Failure::internal("a fork made no sandbox")),
        (Some(_), last) => {
            sandboxes.extend(last);
            Ok((StatusCode::CREATED, Answer(types::Forks { sandboxes })).into_response())
        }
    }
}

/// Read a sandbox's policy.
///
/// The document that it was created with, with every limit spelt out. The `ETag` is its revision.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/policy", tag = "sandboxes",
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 200, body = inline(serde_json::Value))))]
pub(crate) async fn policy(State(service): State<Service>, Path(sandbox): Path<String>) -> Result<Response, Failure> {
    let (revision, policy) = service.look_in(sandbox, sandglass_runtime::Sandbox::policy).await?;
    let etag = HeaderValue::try_from(format!("\"{revision}\"")).map_err(Failure::internal)?;
    Ok(([(ETAG, etag)], Answer(policy)).into_response())
}
