//! States as such: export.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use sandglass_runtime::StateId;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::Service;
use super::extract::{Path, Query};
use super::problem::{Failure, Kind};
use crate::auth::Caller;

const PIECE_BYTES: usize = 64 * 1024;
/// A reader that takes nothing for this long has gone: its thread is needed.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What to export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// Only this path of the sandbox and what is below it.
    #[param(pattern = "^/")]
    path: Option<String>,
}

/// Export a state.
///
/// All its files as a tar archive, with modes, times and links, in one fixed order: the same state gives the same bytes.
#[utoipa::path(get, path = "/v1/states/{state}/export", tag = "states",
    params(("state" = String, Path, description = "Its id."), ExportQuery),
    responses((status = 200, content_type = "application/x-tar", body = Vec<u8>)))]
pub(crate) async fn export(
    State(service): State<Service>,
    caller: Caller,
    Path(text): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Failure> {
    let state: StateId = text.parse().map_err(|error: sandglass_runtime::IdError| {
        Failure::new(Kind::NotFound, "unknown_state", error.to_string())
    })?;
    if let Some(only) = caller.bound() {
        let own = service.look_in(only.to_string(), move |sandbox| sandbox.own_state(state)).await;
        // Its sandbox may be gone, and then it has no states either.
        own.map_err(|failure| if failure.code() == "unknown_sandbox" { unknown(state) } else { failure })?;
    }
    let (sender, mut pieces) = mpsc::channel::<io::Result<Bytes>>(8);
    let place = service.exports.clone().try_acquire_owned();
    let place = place.map_err(|_| Failure::new(Kind::Busy, "busy", "too many exports are running"))?;
    let host = service.host.clone();
    let handle = Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut out = Pieces { sender, handle, buffer: BytesMut::with_capacity(PIECE_BYTES), begun: false };
        let exported = host.export_state(state, query.path.as_deref(), &mut out);
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
    let name = format!("attachment; filename=\"{}.tar\"", &text[..12]);
    let name = HeaderValue::try_from(name).map_err(Failure::internal)?;
    let content_type = HeaderValue::from_static("application/x-tar");
    Ok(([(CONTENT_TYPE, content_type), (CONTENT_DISPOSITION, name)], body).into_response())
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
