//! Large bodies on their way to a thread that may block: piece by piece, never whole, bounded in size and in time.

use std::io::{self, Read};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::problem::{Failure, Kind};

/// Pieces on the way.
const PIECES: usize = 16;
/// A client that sends nothing for this long has gone.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How much of a body that nobody wants any more is still taken, so that its sender gets to read why.
const PASSED_OVER_MAX: u64 = 64 << 20;

/// What comes through: pieces, then a word that this was all. A channel that closes without it is a body that broke off.
enum Piece {
    Bytes(Bytes),
    End,
}

/// Where a body is put in.
pub(crate) struct Feeder(mpsc::Sender<Piece>);

/// Where a body comes out.
pub(crate) struct Incoming {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    is_whole: bool,
}

/// Returns the two ends of a way for one body.
pub(crate) fn intake() -> (Feeder, Incoming) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (Feeder(sender), Incoming { pieces, piece: Bytes::new(), is_whole: false })
}

impl Feeder {
    /// Puts a body of at most `limit` bytes in. When the other end is gone, the rest is passed over.
    pub(crate) async fn feed(self, body: Body, limit: u64) -> Result<(), Failure> {
        let mut pieces = body.into_data_stream();
        let (mut total, mut passed_over) = (0u64, 0u64);
        let mut sender = Some(self.0);
        loop {
            let piece = tokio::time::timeout(STALL_MAX, pieces.next()).await;
            let piece = piece.map_err(|_| {
                Failure::new(Kind::Slow, "body_too_slow", "the body of the request did not come in time")
            })?;
            let Some(piece) = piece else { break };
            let piece = piece
                .map_err(|_| Failure::malformed("incomplete_body", "the body of the request ended before its end"))?;
            let length = piece.len() as u64;
            total = total.saturating_add(length);
            if total > limit {
                sender = None;
            }
            match &sender {
                Some(open) => {
                    if open.send(Piece::Bytes(piece)).await.is_err() {
                        sender = None;
                    }
                }
                None => {
                    passed_over = passed_over.saturating_add(length);
                    if passed_over > PASSED_OVER_MAX {
                        break;
                    }
                }
            }
        }
        if total > limit {
            return Err(too_large(limit));
        }
        if let Some(sender) = sender {
            // Whoever reads no more has its own reasons, and tells them.
            sender.send(Piece::End).await.unwrap_or_default();
        }
        Ok(())
    }
}

/// The failure of a body over `limit` bytes.
pub(crate) fn too_large(limit: u64) -> Failure {
    Failure::new(Kind::TooLarge, "body_too_large", format!("the body is larger than {limit} bytes"))
        .hinted("`sandglass serve --import-max SIZE` sets how much is taken")
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_whole {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.is_whole = true,
                None => return Err(io::Error::other("the body broke off")),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn through(pieces: Vec<Result<&'static str, io::Error>>, limit: u64) -> (bool, io::Result<Vec<u8>>) {
        let (feeder, mut incoming) = intake();
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            incoming.read_to_end(&mut all).map(|_| all)
        });
        let fed = feeder.feed(Body::from_stream(futures::stream::iter(pieces)), limit).await;
        (fed.is_ok(), read.await.unwrap())
    }

    #[tokio::test]
    async fn a_body_comes_out_whole_or_fails() {
        let (fed, read) = through(vec![Ok("12"), Ok(""), Ok("345")], 5).await;
        assert!(fed);
        assert_eq!(read.unwrap(), b"12345");
        let (fed, read) = through(vec![Ok("12"), Ok("3456")], 5).await;
        assert!(!fed && read.is_err(), "too large");
        let (fed, read) = through(vec![Ok("12"), Err(io::Error::other("gone"))], 5).await;
        assert!(!fed && read.is_err(), "broken off");
    }

    #[tokio::test]
    async fn what_nobody_reads_is_passed_over() {
        let (feeder, incoming) = intake();
        drop(incoming);
        let pieces = (0..100).map(|_| Ok::<_, io::Error>("piece"));
        assert!(feeder.feed(Body::from_stream(futures::stream::iter(pieces)), 1000).await.is_ok());
    }
}
