//! States as such: export and import.

use std::io::{self, Write};
use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use sandglass_runtime::{ExportFormat, ExportRequest, ImportFormat, StateId};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::intake::intake;
use super::problem::{Failure, Kind};
use super::{Service, state_id, types};
use crate::auth::Caller;

/// The media type of bundles.
const BUNDLE: &str = "application/vnd.sandglass.bundle";
const PIECE_BYTES: usize = 64 * 1024;
/// A reader that takes nothing for this long has gone: its thread is needed.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What to export.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// As what; `tar` when absent. A `bundle` is the state itself, for another store.
    #[param(inline)]
    format: Option<Format>,
    /// Of an archive: only this path of the sandbox and what is below it.
    #[param(pattern = "^/")]
    path: Option<String>,
    /// Of a bundle: a state that its receiver has, so that what it holds is left out. May be repeated.
    #[param(required = false)]
    base: Vec<String>,
    /// Of a bundle: `false` leaves it uncompressed.
    compress: Option<bool>,
}

/// As what a state goes out or comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
enum Format {
    /// A tar archive.
    #[serde(rename = "tar")]
    Tar,
    /// A tar archive, compressed with zstd.
    #[serde(rename = "tar.zst")]
    TarZst,
    /// A bundle.
    #[serde(rename = "bundle")]
    Bundle,
}

impl Format {
    fn of(text: &str) -> Result<Self, Failure> {
        match text {
            "tar" => Ok(Self::Tar),
            "tar.zst" => Ok(Self::TarZst),
            "bundle" => Ok(Self::Bundle),
            _ => Err(Failure::malformed("invalid_query", "format is `tar`, `tar.zst` or `bundle`")),
        }
    }
}

impl ExportQuery {
    /// Reads the pairs of a query: only `base` may come more than once.
    fn of(pairs: Vec<(String, String)>) -> Result<Self, Failure> {
        let refused = |text: String| Err(Failure::malformed("invalid_query", text));
        let mut query = Self::default();
        for (name, value) in pairs {
            let repeated = match &*name {
                "format" => query.format.replace(Format::of(&value)?).is_some(),
                "path" => query.path.replace(value).is_some(),
                "compress" => match &*value {
                    "true" | "false" => query.compress.replace(value == "true").is_some(),
                    _ => return refused("compress is `true` or `false`".to_owned()),
                },
                "base" => {
                    query.base.push(value);
                    false
                }
                _ => return refused(format!("unknown field `{}`", name.chars().take(80).collect::<String>())),
            };
            if repeated {
                return refused(format!("duplicate field `{name}`"));
            }
        }
        Ok(query)
    }

    fn request(&self) -> Result<ExportRequest, Failure> {
        let format = match (self.format.unwrap_or(Format::Tar), self.compress) {
            (Format::Bundle, Some(false)) => ExportFormat::PlainBundle,
            (Format::Bundle, _) => ExportFormat::Bundle,
            (_, Some(_)) => {
                return Err(Failure::invalid("invalid_export", "compress is for bundles")
                    .hinted("`format=tar.zst` is a compressed archive"));
            }
            (Format::Tar, None) => ExportFormat::Tar,
            (Format::TarZst, None) => ExportFormat::TarZstd,
        };
        let bases = self.base.iter().map(|base| state_id(base)).collect::<Result<_, _>>()?;
        Ok(ExportRequest { format, path: self.path.clone(), bases })
    }
}

/// Export a state.
///
/// As a tar archive: all its files with modes, times and links, in one fixed order. As a bundle: the state itself, without
/// what the base states have. The same state gives the same bytes.
#[utoipa::path(get, path = "/v1/states/{state}/export", tag = "states",
    params(("state" = String, Path, description = "Its id."), ExportQuery),
    responses((status = 200, content((Vec<u8> = "application/x-tar"), (Vec<u8> = "application/zstd"),
        (Vec<u8> = "application/vnd.sandglass.bundle")))))]
pub(crate) async fn export(
    State(service): State<Service>,
    caller: Caller,
    Path(text): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let request = ExportQuery::of(pairs)?.request()?;
    let state: StateId = text.parse().map_err(|error: sandglass_runtime::IdError| {
        Failure::new(Kind::NotFound, "unknown_state", error.to_string())
    })?;
    if let Some(only) = caller.bound() {
        let bases = request.bases.clone();
        let own = service.look_in(only.to_string(), move |sandbox| {
            bases.into_iter().try_for_each(|base| sandbox.own_state(base).map(drop))?;
            sandbox.own_state(state)
        });
        // Its sandbox may be gone, and then it has no states either.
        own.await.map_err(|failure| if failure.code() == "unknown_sandbox" { unknown(state) } else { failure })?;
    }
    let (content_type, ending) = match request.format {
        ExportFormat::Tar => ("application/x-tar", "tar"),
        ExportFormat::TarZstd => ("application/zstd", "tar.zst"),
        ExportFormat::Bundle | ExportFormat::PlainBundle => (BUNDLE, "sgb"),
    };
    let (sender, mut pieces) = mpsc::channel::<io::Result<Bytes>>(8);
    let place = service.exports.clone().try_acquire_owned();
    let place = place.map_err(|_| Failure::new(Kind::Busy, "busy", "too many exports are running"))?;
    let host = service.host.clone();
    let handle = Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut out = Pieces { sender, handle, buffer: BytesMut::with_capacity(PIECE_BYTES), begun: false };
        let exported = host.export_state(state, &request, &mut out);
        match &exported {
            // It fails when the reader has gone, and then nobody is there to be told.
            Ok(()) => out.flush().unwrap_or_default(),
            // An answer that has begun can only be cut off.
            Err(_) if out.begun => out.give(Err(io::Error::other("the export failed"))).unwrap_or_default(),
            Err(_) => {}
        }
        exported
    });
    // The answer begins with the first piece, so that what is wrong from the start is a problem and not a cut archive.
    let Some(first) = pieces.recv().await else {
        work.await.map_err(Failure::internal)??;
        return Err(Failure::internal("an export gave nothing"));
    };
    let body = Body::from_stream(stream::iter([first]).chain(ReceiverStream::new(pieces)));
    let name = format!("attachment; filename=\"{}.{ending}\"", &text[..12]);
    let name = HeaderValue::try_from(name).map_err(Failure::internal)?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(content_type)), (CONTENT_DISPOSITION, name)], body).into_response())
}

/// What comes in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// What the body is; `bundle` when absent. Whether it is compressed is found out.
    #[param(inline)]
    format: Option<Format>,
    /// Of an archive: how many leading directories are taken off each name.
    strip: Option<u16>,
}

/// Import states.
///
/// The body is a bundle, or a tar archive whose files become `/workspace` of a new state; either may be compressed with zstd.
/// It is taken whole or not at all. The states stay for sandboxes to be created from them: create one soon.
#[utoipa::path(post, path = "/v1/states", tag = "states", params(ImportQuery),
    request_body(content((Vec<u8> = "application/vnd.sandglass.bundle"), (Vec<u8> = "application/x-tar"),
        (Vec<u8> = "application/zstd"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 201, body = types::ImportedStates)))]
pub(crate) async fn import(
    State(service): State<Service>,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let format = match (query.format.unwrap_or(Format::Bundle), query.strip) {
        (Format::Bundle, None) => ImportFormat::Bundle,
        (Format::Bundle, Some(_)) => return Err(Failure::invalid("invalid_import", "strip is for archives")),
        (Format::Tar | Format::TarZst, strip) => ImportFormat::Tar { strip: usize::from(strip.unwrap_or(0)) },
    };
    expect_kind(&headers, format)?;
    let place = service.imports.clone().try_acquire_owned();
    let place = place.map_err(|_| Failure::new(Kind::Busy, "busy", "too many imports are running"))?;
    let (feeder, mut incoming) = intake();
    let host = service.host.clone();
    let span = tracing::Span::current();
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        span.in_scope(|| host.import_states(format, &mut incoming))
    });
    let fed = feeder.feed(body, service.host.import_bytes_max()).await;
    let imported = work.await.map_err(Failure::internal)?;
    fed?;
    let imported = imported?;
    let skipped = imported.skipped.into_iter().map(|(path, reason)| types::SkippedEntry { path, reason });
    let answer = types::ImportedStates {
        states: imported.states.iter().map(ToString::to_string).collect(),
        nodes: imported.nodes,
        nodes_new: imported.nodes_new,
        bytes: imported.bytes,
        skipped: skipped.collect(),
    };
    Ok((StatusCode::CREATED, Answer(answer)).into_response())
}

/// Refuses a body that says to be something else.
fn expect_kind(headers: &HeaderMap, format: ImportFormat) -> Result<(), Failure> {
    let own: &[&str] = match format {
        ImportFormat::Bundle => &[BUNDLE],
        ImportFormat::Tar { .. } => &["application/x-tar", "application/zstd"],
    };
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    let known = own.iter().chain(&["application/octet-stream"]).any(|known| essence.eq_ignore_ascii_case(known));
    if known {
        return Ok(());
    }
    Err(Failure::new(Kind::MediaType, "not_importable", "the body does not say that it is what this request imports")
        .hinted(format!("send `Content-Type: {}` or `application/octet-stream`", own.join("` or `"))))
}

fn unknown(state: StateId) -> Failure {
    Failure::new(Kind::NotFound, "unknown_state", format!("there is no state {state}"))
}

/// Writes into a channel, from a thread that may block, in pieces.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    handle: Handle,
    buffer: BytesMut,
    begun: bool,
}

impl Pieces {
    fn give(&mut self, piece: io::Result<Bytes>) -> io::Result<()> {
        self.begun = true;
        let given = self.handle.block_on(async { tokio::time::timeout(STALL_MAX, self.sender.send(piece)).await });
        match given {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader has gone")),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(PIECE_BYTES));
        self.give(Ok(piece.freeze()))
    }
}
