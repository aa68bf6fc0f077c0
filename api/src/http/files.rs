//! Files of a sandbox: read at the head or at any state, in whole or in part; written and removed at the head.

use std::ops::Range;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
    RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use sandglass_runtime::{Error, FileInfo, Kind as FileKind, Sandbox, StateId, WriteOptions};
use serde::Deserialize;
use utoipa::IntoParams;

use super::conditions::{Tags, range};
use super::extract::{FILE_BYTES_MAX, Path, Query, read};
use super::page::{List, PageQuery, page};
use super::problem::{Failure, Kind};
use super::{Service, state_id, types, view};
use crate::access::state_of;
use crate::auth::Caller;

/// Files up to this size are read in one piece; larger ones are sent as they are read.
const PIECE_BYTES: u64 = 1024 * 1024;

/// Which file, of which state.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// A state; the head when absent.
    #[param(pattern = "^[0-9a-f]{64}$")]
    state: Option<String>,
    /// Of a directory: at most this many entries.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Of a directory: the `next_cursor` of the page before.
    #[param(pattern = "^AQ[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// Read a file or list a directory.
///
/// The path is the one in the sandbox: `files/workspace/a.txt` is `/workspace/a.txt`. A file comes as bytes, with `ETag`; a
/// `Range` of it as 206. A directory comes as a page of entries by name. Symbolic links are followed inside the sandbox.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/files/{*path}", tag = "files",
    params(("sandbox" = String, Path, description = "Its id or name."), ("path" = String, Path, description = "The path."),
        ReadQuery, ("Range" = Option<String>, Header, description = "One range of bytes."),
        ("If-None-Match" = Option<String>, Header, description = "Answer 304 if the file has one of these tags."),
        ("If-Match" = Option<String>, Header, description = "Answer 412 unless the file has one of these tags.")),
    responses(
        (status = 200, description = "The file's bytes, or the directory's entries.", content(
            (Vec<u8> = "application/octet-stream"), (types::Page<types::FileEntry> = "application/json"))),
        (status = 206, description = "The range.", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The file is the one that the client has.")))]
pub(crate) async fn get(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, path)): Path<(String, String)>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    show(service, caller, sandbox, absolute(&path), query, headers, true).await
}

/// Look at a file.
///
/// As `GET`, without the bytes.
#[utoipa::path(head, path = "/v1/sandboxes/{sandbox}/files/{*path}", tag = "files",
    params(("sandbox" = String, Path, description = "Its id or name."), ("path" = String, Path, description = "The path."),
        ReadQuery),
    responses((status = 200, description = "It is there.")))]
pub(crate) async fn head(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, path)): Path<(String, String)>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    show(service, caller, sandbox, absolute(&path), query, headers, false).await
}

/// List the root directory.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/files", tag = "files",
    params(("sandbox" = String, Path, description = "Its id or name."), ReadQuery),
    responses((status = 200, body = types::Page<types::FileEntry>)))]
pub(crate) async fn root(
    State(service): State<Service>,
    caller: Caller,
    Path(sandbox): Path<String>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    show(service, caller, sandbox, "/".to_owned(), query, headers, true).await
}

fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// What was found at a path.
enum Shown {
    Directory(Vec<FileInfo>),
    /// A file, the state that it is of, and its bytes if they are few.
    File(FileInfo, StateId, Option<Bytes>),
}

async fn show(
    service: Service,
    caller: Caller,
    sandbox: String,
    path: String,
    query: ReadQuery,
    headers: HeaderMap,
    with_content: bool,
) -> Result<Response, Failure> {
    let state = query.state.as_deref().map(state_id).transpose()?;
    let listing = PageQuery::new(query.limit, query.cursor);
    let (limit, after) = (listing.limit()?, listing.position(List::Files)?);
    let (shown, sandbox) = service
        .look_in(sandbox, {
            let path = path.clone();
            move |sandbox| {
                let state = state.map(|state| state_of(caller.bound(), sandbox, state)).transpose()?;
                Ok((find(sandbox, state, &path, after.as_deref(), limit, with_content)?, sandbox.clone()))
            }
        })
        .await?;
    match shown {
        Shown::Directory(entries) => {
            let entries = entries.iter().map(view::file).collect();
            Ok(Answer(page(entries, limit, List::Files, |entry: &types::FileEntry| entry.name.clone())).into_response())
        }
        Shown::File(info, state, bytes) => {
            let source = Source { service, sandbox, state, path, bytes };
            send(source, &info, &headers, with_content)
        }
    }
}

fn find(
    sandbox: &Sandbox,
    state: Option<StateId>,
    path: &str,
    after: Option<&str>,
    limit: usize,
    with_content: bool,
) -> Result<Shown, Error> {
    // The state is fixed first: all pieces of an answer must be of one.
    let state = match state {
        Some(state) => state,
        None => sandbox.info()?.state,
    };
    let seen = sandbox.stat(Some(state), path)?;
    let pieces = if with_content && seen.size <= PIECE_BYTES { None } else { Some(0..0) };
    let whole = pieces.is_none();
    let found = match seen.kind {
        FileKind::Directory => return sandbox.list(Some(state), path, after, limit + 1).map(Shown::Directory),
        FileKind::File => sandbox.read(Some(state), path, pieces),
        // What a link leads to is only known when it is read.
        FileKind::Symlink => sandbox.read(Some(state), path, Some(0..0)),
    };
    match found {
        Ok((info, bytes)) if seen.kind == FileKind::File => Ok(Shown::File(info, state, whole.then_some(bytes))),
        Ok((info, _)) => Ok(Shown::File(info, state, None)),
        Err(error) if error.code() == "is_a_directory" => {
            sandbox.list(Some(state), path, after, limit + 1).map(Shown::Directory)
        }
        Err(error) => Err(error),
    }
}

/// Where a file's bytes come from.
struct Source {
    service: Service,
    sandbox: Sandbox,
    state: StateId,
    path: String,
    bytes: Option<Bytes>,
}

fn send(source: Source, info: &FileInfo, headers: &HeaderMap, with_content: bool) -> Result<Response, Failure> {
    let etag = HeaderValue::try_from(format!("\"{}\"", info.etag)).map_err(Failure::internal)?;
    let modified = HeaderValue::try_from(view::http_date(info.modified)).map_err(Failure::internal)?;
    if Tags::of(headers, &IF_MATCH)?.is_some_and(|tags| !tags.hold(&info.etag)) {
        return Err(Failure::new(
            Kind::Precondition,
            "precondition_failed",
            "the file is not the one that the request expects",
        ));
    }
    let named = [(ETAG, etag.clone()), (LAST_MODIFIED, modified)];
    if Tags::of(headers, &IF_NONE_MATCH)?.is_some_and(|tags| tags.hold(&info.etag)) {
        return Ok((StatusCode::NOT_MODIFIED, named).into_response());
    }
    let range_holds = headers.get(IF_RANGE).is_none_or(|wanted| *wanted == etag);
    let wanted = if range_holds { headers.get(RANGE).and_then(|wanted| range(wanted, info.size)) } else { None };
    let (status, span) = match wanted {
        None => (StatusCode::OK, 0..info.size),
        Some(Ok(span)) => (StatusCode::PARTIAL_CONTENT, span),
        Some(Err(failure)) => return Err(failure),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.extend(named);
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    out.insert(CONTENT_LENGTH, HeaderValue::from(span.end - span.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{}", span.start, span.end.saturating_sub(1), info.size);
        out.insert(CONTENT_RANGE, HeaderValue::try_from(text).map_err(Failure::internal)?);
    }
    if with_content {
        *response.body_mut() = body(source, span);
    }
    Ok(response)
}

fn body(source: Source, span: Range<u64>) -> Body {
    if let Some(bytes) = &source.bytes {
        let within = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        return Body::from(bytes.slice(within(span.start)..within(span.end)));
    }
    Body::from_stream(stream::try_unfold((source, span), |(source, span)| async move {
        if span.is_empty() {
            return Ok(None);
        }
        let end = span.end.min(span.start.saturating_add(PIECE_BYTES));
        let (sandbox, state, path) = (source.sandbox.clone(), source.state, source.path.clone());
        let piece = source.service.look(move |_| sandbox.read(Some(state), &path, Some(span.start..end))).await;
        match piece {
            Ok((_, bytes)) if !bytes.is_empty() => Ok(Some((bytes, (source, end..span.end)))),
            _ => Err(std::io::Error::other("the file could not be read to its end")),
        }
    }))
}

/// How to write.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// `file` or `directory`; a file when absent.
    #[param(pattern = "^(file|directory)$")]
    kind: Option<String>,
    /// Permission bits in octal, such as `0755`; kept, or 0644 for a new file, when absent.
    #[param(pattern = "^[0-7]{3,4}$")]
    mode: Option<String>,
}

/// Write a file or make a directory.
///
/// The body is the whole file, up to 256 MiB; missing parents are made. One operation: `undo` takes it back. `If-Match`
/// guards against lost updates, `If-None-Match: *` against overwriting.
#[utoipa::path(put, path = "/v1/sandboxes/{sandbox}/files/{*path}", tag = "files",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("sandbox" = String, Path, description = "Its id or name."), ("path" = String, Path, description = "The path."),
        WriteQuery, ("If-Match" = Option<String>, Header, description = "Only if the file has this tag."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such file.")),
    responses((status = 200, description = "It was there.", body = types::Moved),
        (status = 201, description = "It is new.", body = types::Moved)))]
pub(crate) async fn put(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, path)): Path<(String, String)>,
    Query(query): Query<WriteQuery>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let options = write_options(&query, &parts.headers)?;
    let _place = service.uploads.place(&parts.headers).await?;
    let bytes = read(body, FILE_BYTES_MAX).await?;
    if options.directory && !bytes.is_empty() {
        return Err(Failure::invalid("invalid_body", "a directory has no content: send an empty body"));
    }
    let path = absolute(&path);
    let (moved, etag) = service
        .change_in(sandbox, move |sandbox| {
            let moved = sandbox.write(&path, &bytes, &options, caller.name())?;
            let etag = sandbox.stat(Some(moved.after), &path)?.etag;
            Ok((moved, etag))
        })
        .await?;
    let status = if moved.changes.added > 0 { StatusCode::CREATED } else { StatusCode::OK };
    let etag = HeaderValue::try_from(format!("\"{etag}\"")).map_err(Failure::internal)?;
    Ok((status, [(ETAG, etag)], Answer(view::moved(moved))).into_response())
}

fn write_options(query: &WriteQuery, headers: &HeaderMap) -> Result<WriteOptions, Failure> {
    let directory = match query.kind.as_deref() {
        None | Some("file") => false,
        Some("directory") => true,
        Some(_) => return Err(Failure::malformed("invalid_query", "kind is `file` or `directory`")),
    };
    let octal = |text: &str| {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        if digits { u16::from_str_radix(text, 8).ok() } else { None }
    };
    let mode = match query.mode.as_deref() {
        None => None,
        Some(text) => {
            Some(octal(text).ok_or_else(|| Failure::malformed("invalid_query", "mode is octal, such as 0644"))?)
        }
    };
    let if_match = Tags::of(headers, &IF_MATCH)?.map(Tags::only).transpose()?;
    let if_none_match_any = match Tags::of(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(_)) => {
            return Err(Failure::malformed("invalid_condition", "If-None-Match of a PUT can only be `*`"));
        }
    };
    Ok(WriteOptions { mode, if_match, if_none_match_any, directory })
}

/// What to remove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveQuery {
    /// Remove a directory with all it holds.
    #[serde(default)]
    recursive: bool,
}

/// Remove a file or directory.
///
/// One operation: `undo` takes it back.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}/files/{*path}", tag = "files",
    params(("sandbox" = String, Path, description = "Its id or name."), ("path" = String, Path, description = "The path."),
        RemoveQuery, ("If-Match" = Option<String>, Header, description = "Only if the file has this tag.")),
    responses((status = 200, body = types::Moved)))]
pub(crate) async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Path((sandbox, path)): Path<(String, String)>,
    Query(query): Query<RemoveQuery>,
    headers: HeaderMap,
) -> Result<Answer<types::Moved>, Failure> {
    let if_match = Tags::of(&headers, &IF_MATCH)?.map(Tags::only).transpose()?;
    let path = absolute(&path);
    let moved = service
        .change_in(sandbox, move |sandbox| sandbox.remove(&path, query.recursive, if_match.as_deref(), caller.name()))
        .await?;
    Ok(Answer(view::moved(moved)))
}
