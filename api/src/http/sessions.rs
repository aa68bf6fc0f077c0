//! Sessions: interpreters that go on from call to call. Calls make them and go on with them; here they are looked at and ended.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use sandglass_runtime::Sandbox;
use serde::Deserialize;
use utoipa::IntoParams;

use super::conditions::Tags;
use super::extract::{Path, Query};
use super::operations::states_between;
use super::problem::Failure;
use super::{Service, types, view};
use crate::auth::Caller;

/// List the sessions.
///
/// Those of the head state, by name: what goes back or forks takes them along.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/sessions", tag = "sessions",
    params(("sandbox" = String, Path, description = "Its id or name.")),
    responses((status = 200, body = types::Page<types::Session>)))]
pub(crate) async fn list(
    State(service): State<Service>,
    Path(sandbox): Path<String>,
) -> Result<Answer<types::Page<types::Session>>, Failure> {
    let found = service.look_in(sandbox, Sandbox::sessions).await?;
    let items = found.into_iter().map(|info| view::session(info, None)).collect();
    Ok(Answer(types::Page { items, next_cursor: None }))
}

/// Look at a session.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/sessions/{name}", tag = "sessions",
    params(("sandbox" = String, Path, description = "Its id or name."), ("name" = String, Path, description = "The session.")),
    responses((status = 200, body = types::Session,
        headers(("ETag" = String, description = "Another one after each call that changes it.")))))]
pub(crate) async fn get(
    State(service): State<Service>,
    Path((sandbox, name)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (info, size) = service.look_in(sandbox, move |sandbox| sandbox.session(&name)).await?;
    let etag = HeaderValue::try_from(format!("\"{}\"", info.etag)).map_err(Failure::internal)?;
    Ok(([(ETAG, etag)], Answer(view::session(info, Some(size)))).into_response())
}

/// Which states of a session to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionDiffQuery {
    /// The older state: an id, the number of an operation (the state after it), or a checkpoint's name. What the newest
    /// operation changed when both are absent.
    from: Option<String>,
    /// The newer state, in the same words; the head when only `from` is given.
    to: Option<String>,
}

/// Compare a session in two states.
///
/// Which names of a Python session appeared, changed or vanished. Both states are looked at in copies that are thrown away: nothing
/// changes. A session that is in one state only has no names in the other.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/sessions/{name}/diff", tag = "sessions",
    params(("sandbox" = String, Path, description = "Its id or name."), ("name" = String, Path, description = "The session."),
        SessionDiffQuery),
    responses((status = 200, body = types::SessionDiff)))]
pub(crate) async fn diff(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, name)): Path<(String, String)>,
    Query(query): Query<SessionDiffQuery>,
) -> Result<Answer<types::SessionDiff>, Failure> {
    let only = caller.bound();
    let found = service
        .look_in(sandbox, move |sandbox| {
            let (from, to) = states_between(only, sandbox, query.from.as_deref(), query.to.as_deref())?;
            Ok(view::session_diff(sandbox.session_diff(&name, from, to)?, name))
        })
        .await?;
    Ok(Answer(found))
}

/// End a session.
///
/// Its memory is no part of the head any more; its files stay. One operation: `undo` brings it back as it was.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}/sessions/{name}", tag = "sessions",
    params(("sandbox" = String, Path, description = "Its id or name."), ("name" = String, Path, description = "The session."),
        ("If-Match" = Option<String>, Header, description = "Only if the session has this tag.")),
    responses((status = 200, body = types::Moved)))]
pub(crate) async fn end(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Answer<types::Moved>, Failure> {
    let if_match = Tags::of(&headers, &IF_MATCH)?.map(Tags::only).transpose()?;
    let moved = service
        .change_in(sandbox, move |sandbox| sandbox.end_session(&name, if_match.as_deref(), caller.name()))
        .await?;
    Ok(Answer(view::moved(moved)))
}
