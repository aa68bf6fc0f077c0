//! One call as it happens: its output in numbered chunks, and its outcome.
//!
//! Every way of looking at a call (waiting for it, streaming it, asking later) reads this one record, so that a reader can
//! come late or come back and misses nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sandglass_snapshots::{CallId, SandboxId};
use tokio::sync::watch;

use crate::error::Error;
use crate::record::Call;
use crate::wasi::{Output, Stream};

/// Joined to the chunk before while that is smaller: a guest that prints single bytes must not make a chunk of each.
const CHUNK_BYTES: usize = 8 * 1024;
/// Ended calls stay readable as they happened for this long, for readers that come back.
const ENDED_KEPT_FOR: Duration = Duration::from_secs(300);
/// How much memory those of all sandboxes take together.
const ENDED_BYTES_MAX: usize = 64 << 20;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStatus {
    /// Waiting for the sandbox's turn.
    Queued,
    /// Its guest runs.
    Running,
    /// It has an outcome.
    Ended,
}

impl LiveStatus {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number in the call, from 1.
    pub seq: u64,
    /// Where it was printed.
    pub stream: Stream,
    /// What was printed.
    pub bytes: Bytes,
}

/// One call from its start to some minutes after its end.
pub struct LiveCall {
    id: CallId,
    sandbox: SandboxId,
    progress: Mutex<Progress>,
    /// Output and the end.
    changes: watch::Sender<u64>,
    /// The end alone: who waits for that is not woken for each line that is printed.
    ended: watch::Sender<()>,
    cancelled: watch::Sender<bool>,
}

struct Progress {
    status: LiveStatus,
    chunks: Vec<Chunk>,
    open: Option<(Stream, BytesMut)>,
    outcome: Option<Result<Arc<Call>, Arc<Error>>>,
}

impl LiveCall {
    pub(crate) fn new(id: CallId, sandbox: SandboxId) -> Self {
        let progress = Progress { status: LiveStatus::Queued, chunks: Vec::new(), open: None, outcome: None };
        Self {
            id,
            sandbox,
            progress: Mutex::new(progress),
            changes: watch::Sender::new(0),
            ended: watch::Sender::new(()),
            cancelled: watch::Sender::new(false),
        }
    }

    /// Returns the call's name.
    #[must_use]
    pub const fn id(&self) -> CallId {
        self.id
    }

    /// Returns whose call it is.
    #[must_use]
    pub const fn sandbox(&self) -> SandboxId {
        self.sandbox
    }

    /// Returns where the call stands.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        self.lock().status
    }

    /// Returns the chunks after number `after` (0 for all) that there are now.
    #[must_use]
    pub fn chunks(&self, after: u64) -> Vec<Chunk> {
        let mut progress = self.lock();
        progress.close_chunk();
        let skipped = usize::try_from(after).unwrap_or(usize::MAX).min(progress.chunks.len());
        progress.chunks[skipped..].to_vec()
    }

    /// Resolves when there is a chunk past `after`, or the call has ended.
    pub async fn changed(&self, after: u64) {
        let mut changes = self.changes.subscribe();
        loop {
            {
                let progress = self.lock();
                let known = progress.chunks.len() as u64 + u64::from(progress.open.is_some());
                if known > after || progress.outcome.is_some() {
                    return;
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns the outcome of a call that has ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<Arc<Call>, Arc<Error>>> {
        self.lock().outcome.clone()
    }

    /// Resolves with the outcome.
    ///
    /// # Errors
    /// The call could not be run or its outcome could not be kept; the state is the one before.
    pub async fn wait(&self) -> Result<Arc<Call>, Arc<Error>> {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if ended.changed().await.is_err() {
                return Err(Arc::new(Error::internal("the call was given up")));
            }
        }
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Resolves when somebody cancels the call.
    pub(crate) async fn cancelled(&self) {
        let mut cancelled = self.cancelled.subscribe();
        // An error means that the sender is gone, and with it whoever could cancel; `self` holds it.
        let _sender_is_ours = cancelled.wait_for(|cancelled| *cancelled).await.is_ok();
    }

    pub(crate) fn start(&self) {
        self.lock().status = LiveStatus::Running;
    }

    pub(crate) fn end(&self, outcome: Result<Arc<Call>, Arc<Error>>) {
        {
            let mut progress = self.lock();
            progress.close_chunk();
            progress.status = LiveStatus::Ended;
            progress.outcome = Some(outcome);
        }
        self.notify();
        self.ended.send_replace(());
    }

    /// Returns all that was printed on one stream.
    pub(crate) fn printed(&self, stream: Stream) -> Bytes {
        let mut progress = self.lock();
        progress.close_chunk();
        let parts: Vec<&Bytes> =
            progress.chunks.iter().filter(|chunk| chunk.stream == stream).map(|chunk| &chunk.bytes).collect();
        match parts[..] {
            [] => Bytes::new(),
            [only] => only.clone(),
            _ => parts.concat_bytes(),
        }
    }

    /// Returns about how much memory the call takes.
    fn kept_bytes(&self) -> usize {
        /// What it is made of besides what was said.
        const RECORD_BYTES: usize = 4 << 10;
        let progress = self.lock();
        let chunks: usize = progress.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        let outcome = match &progress.outcome {
            Some(Ok(call)) => {
                let values = [Some(&call.arguments), call.result.as_ref()];
                let values = values.into_iter().flatten().map(|value| value.to_string().len());
                call.stdout.len() + call.stderr.len() + values.sum::<usize>()
            }
            _ => 0,
        };
        RECORD_BYTES + chunks + outcome
    }

    fn notify(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // A panic while the lock was held leaves chunks that were whole: nothing here is half-done between two statements.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls of all sandboxes that have ended and are still kept, the oldest first.
#[derive(Default)]
pub(crate) struct Ended(Mutex<EndedCalls>);

#[derive(Default)]
struct EndedCalls {
    calls: VecDeque<(Forget, Instant, usize)>,
    bytes: usize,
}

/// Lets go of a call.
type Forget = Box<dyn FnOnce() + Send>;

impl Ended {
    /// Returns how much memory they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// Keeps a call that has just ended: `forget` is called when it was long ago, or when newer ones need the room. What is
    /// forgotten can still be read from the log.
    pub(crate) fn keep(&self, call: &LiveCall, forget: impl FnOnce() + Send + 'static) {
        let bytes = call.kept_bytes();
        let mut forgotten = Vec::new();
        {
            let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            ended.calls.push_back((Box::new(forget), Instant::now(), bytes));
            ended.bytes += bytes;
            while let Some((_, since, bytes)) = ended.calls.front()
                && (ended.bytes > ENDED_BYTES_MAX || since.elapsed() > ENDED_KEPT_FOR)
            {
                let bytes = *bytes;
                ended.bytes -= bytes;
                forgotten.extend(ended.calls.pop_front());
            }
        }
        forgotten.into_iter().for_each(|(forget, ..)| forget());
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Bytes;
}

impl ConcatBytes for [&Bytes] {
    fn concat_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.iter().map(|part| part.len()).sum());
        self.iter().for_each(|part| all.extend_from_slice(part));
        all.freeze()
    }
}

impl Progress {
    fn close_chunk(&mut self) {
        if let Some((stream, bytes)) = self.open.take() {
            let seq = self.chunks.len() as u64 + 1;
            self.chunks.push(Chunk { seq, stream, bytes: bytes.freeze() });
        }
    }
}

impl Output for LiveCall {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        {
            let mut progress = self.lock();
            let joins = progress
                .open
                .as_ref()
                .is_some_and(|(open, before)| *open == stream && before.len() + bytes.len() <= CHUNK_BYTES);
            if !joins {
                progress.close_chunk();
                progress.open = Some((stream, BytesMut::new()));
            }
            if let Some((_, open)) = &mut progress.open {
                open.extend_from_slice(bytes);
            }
        }
        self.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> LiveCall {
        LiveCall::new(CallId::new(0, [0; 10]), SandboxId::new(0, [0; 10]))
    }

    #[test]
    fn small_writes_join_and_streams_stay_apart() {
        let call = call();
        call.write(Stream::Stdout, b"a");
        call.write(Stream::Stdout, b"b");
        call.write(Stream::Stderr, b"!");
        call.write(Stream::Stdout, b"c");
        let texts: Vec<_> = call.chunks(0).into_iter().map(|chunk| (chunk.seq, chunk.bytes)).collect();
        assert_eq!(texts, [(1, "ab".into()), (2, "!".into()), (3, "c".into())]);
        assert_eq!(call.printed(Stream::Stdout), "abc");
        assert_eq!(call.chunks(2).len(), 1);
        assert_eq!(call.chunks(u64::MAX).len(), 0);
    }

    #[test]
    fn what_a_reader_has_seen_never_changes() {
        let call = call();
        call.write(Stream::Stdout, b"a");
        assert_eq!(call.chunks(0)[0].bytes, "a");
        call.write(Stream::Stdout, b"b");
        assert_eq!(call.chunks(1)[0].bytes, "b");
    }

    #[test]
    fn ended_calls_are_kept_up_to_a_bound() {
        let (ended, forgotten) = (Ended::default(), Arc::new(Mutex::new(Vec::new())));
        for number in 0..100 {
            let call = call();
            call.write(Stream::Stdout, &vec![b'x'; 1 << 20]);
            call.end(Err(Arc::new(Error::internal("gone"))));
            let forgotten = Arc::clone(&forgotten);
            ended.keep(&call, move || forgotten.lock().unwrap().push(number));
        }
        // What each takes is more than what it printed.
        assert_eq!(*forgotten.lock().unwrap(), (0..37).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_late_reader_gets_the_outcome() {
        let call = call();
        call.end(Err(Arc::new(Error::internal("gone"))));
        call.changed(7).await;
        assert_eq!(call.wait().await.err().map(|error| error.to_string()), Some("gone".to_owned()));
    }
}
