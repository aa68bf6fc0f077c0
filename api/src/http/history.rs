//! One operation taken back, and the operations that touched a path.

use axum::Json as Answer;
use axum::extract::State;
use sandglass_runtime::{HistoryCursor, RevertTarget};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json, Path, Query};
use super::page::{List, PageQuery, encode, refused};
use super::problem::Failure;
use super::{Service, call_id, types, view};
use crate::auth::Caller;

/// Take back one operation.
///
/// Takes back what one earlier operation changed and keeps what came later. Paths that were changed since are conflicts: all
/// are listed, and nothing changes. It is an operation too: `undo` takes it back.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/revert", tag = "operations", request_body = types::Revert,
    params(("sandbox" = String, Path, description = "Its id or name.")), responses((status = 200, body = types::Moved)))]
pub(crate) async fn revert(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Json(body): Json<types::Revert>,
) -> Result<Answer<types::Moved>, Failure> {
    let target = match (body.call, body.seq) {
        (Some(call), None) => RevertTarget::Call(call_id(&call)?),
        (None, Some(seq)) => RevertTarget::Seq(seq),
        _ => return Err(Failure::invalid("invalid_body", "give exactly one of call and seq")),
    };
    let moved = service.change_in(sandbox, move |sandbox| sandbox.revert(&target, caller.name())).await?;
    Ok(Answer(view::moved(moved)))
}

/// Which path, and which page of its history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// The absolute path; it need not be there any more.
    path: String,
    /// At most this many operations; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when absent.
    #[param(pattern = "^AQ[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// List what touched a path.
///
/// The operations that touched a path, newest first, through renames. Of a path that is gone, the first one removed it. A
/// directory is touched by what happens below it. A page may be short or empty and still have a next one.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/history", tag = "operations",
    params(("sandbox" = String, Path, description = "Its id or name."), HistoryQuery),
    responses((status = 200, body = types::Page<types::PathEvent>)))]
pub(crate) async fn history(
    State(service): State<Service>,
    Path(sandbox): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Answer<types::Page<types::PathEvent>>, Failure> {
    let page = PageQuery::new(query.limit, query.cursor);
    let limit = page.limit()?;
    let cursor = page.position(List::History)?.map(|text| read(&text).ok_or_else(refused)).transpose()?;
    let path = query.path;
    let found = service.look_in(sandbox, move |sandbox| sandbox.history(&path, cursor, limit)).await?;
    Ok(Answer(types::Page {
        items: found.events.into_iter().map(view::path_event).collect(),
        next_cursor: found.next.map(|next| encode(List::History, &write(&next))),
    }))
}

/// Paths need not be UTF-8: they are written as hexadecimal.
fn write(cursor: &HistoryCursor) -> String {
    let path: String = cursor.path.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {path}", cursor.before)
}

fn read(text: &str) -> Option<HistoryCursor> {
    let (before, path) = text.split_once(' ')?;
    let digits = path.as_bytes().chunks(2);
    let path = digits.map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    Some(HistoryCursor { before: before.parse().ok()?, path: path.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_were_written() {
        let cursor = HistoryCursor { before: 7, path: b"/a\xff/b".to_vec() };
        assert_eq!(read(&write(&cursor)), Some(cursor));
        for text in ["", "7", "x 2f", "7 zz", "-1 2f"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
