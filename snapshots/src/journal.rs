//! The journal: segments of records, the one place where anything becomes durable.
//!
//! Callers queue their work and wait; one writer thread (`writer.rs`) takes all that waits, writes it with one write, makes it
//! durable with one `fdatasync`, publishes it to the index, and answers. A second thread (`keeper.rs`) syncs what nobody
//! waits for and fills the next segment with zeros ahead of time. `recovery.rs` reads everything back when a store opens.
//! After a failed write or sync nothing more is written: what the disk holds then is known only after reading it again.

pub(crate) mod disk;
mod keeper;
pub(crate) mod layout;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod recovery;
pub(crate) mod segment;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use self::disk::{SegmentFile, SegmentStore};
use self::keeper::{Duties, Keeper};
use self::recovery::Recovered;
use self::segment::{Position, RESERVE, SegmentId};
use self::writer::Writer;
use crate::error::StoreError;
use crate::id::{EntryId, NodeId, SandboxId};
use crate::index::Index;
use crate::log::{Draft, Entry};

/// How the journal writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Answer appends only when they are durable.
    pub(crate) sync_appends: bool,
    /// How large a segment is.
    pub(crate) segment_bytes: u64,
    /// How much is set aside for giving up and deleting when the disk is full.
    pub(crate) reserve_bytes: u64,
    /// Makes segment keys unpredictable to whoever chooses what is stored.
    pub(crate) salt: [u8; 16],
}

/// Entries to append to one log, with the nodes that they need and the store lacks.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) sandbox: SandboxId,
    pub(crate) expected: Option<EntryId>,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) nodes: Vec<(NodeId, Bytes)>,
}

/// What a caller waits for.
#[derive(Debug)]
enum Work {
    Append(Append),
    Nodes(Vec<(NodeId, Bytes)>),
    /// Entries of one log that were lost, to be told again.
    History(SandboxId, Vec<(Entry, Bytes)>),
    Sync,
}

type Answer = Result<Vec<Entry>, StoreError>;

#[derive(Debug)]
struct Request {
    work: Work,
    answer: SyncSender<Answer>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Request>,
    is_closed: bool,
}

/// What the journal did since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) nodes: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) segments: AtomicU64,
}

/// What callers, the writer and the keeper share.
#[derive(Debug)]
struct Shared {
    disk: Arc<dyn SegmentStore>,
    index: Arc<Index>,
    settings: Settings,
    counters: Counters,
    queue: Mutex<Queue>,
    queued: Condvar,
    duties: Mutex<Duties>,
    duty: Condvar,
    /// The segment that is written on, named `number`.
    active: Mutex<Option<(SegmentId, Arc<dyn SegmentFile>)>>,
    /// Held while syncing: a failure is reported to one `fdatasync` only, so nobody may sync beside another.
    syncing: Mutex<()>,
    /// The newest record that was written.
    written: AtomicU64,
    /// The newest record that is durable.
    synced: AtomicU64,
    /// Why nothing more is written.
    stopped: OnceLock<String>,
}

/// The open journal. Dropping it writes and syncs what waits and ends its threads.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Journal {
    /// Goes on where recovery ended.
    pub(crate) fn start(
        disk: Arc<dyn SegmentStore>,
        index: Arc<Index>,
        settings: Settings,
        recovered: Recovered,
    ) -> Result<Self, StoreError> {
        let epoch = recovered.last.epoch.saturating_add(1);
        let (active, segments) = match recovered.active {
            Some(active) => (active, recovered.segments),
            None => {
                let number = recovered.next_number;
                let active = writer::begin_segment(&*disk, &settings, number, epoch, recovered.last)?;
                (active, recovered.segments + 1)
            }
        };
        let file = Arc::clone(&active.file);
        let shared = Arc::new(Shared::new(disk, index, settings, Some((active.id, file)), recovered.last));
        shared.counters.segments.store(segments, Ordering::Relaxed);
        let mut journal = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        let writer = Writer::new(Arc::clone(&shared), active, recovered.last, epoch);
        journal.spawn("sandglass-journal", move || writer.run())?;
        if settings.reserve_bytes > 0 {
            lock(&shared.duties).refill(&shared.duty);
        }
        let keeper = Keeper::new(shared);
        journal.spawn("sandglass-sync", move || keeper.run())?;
        Ok(journal)
    }

    /// Gives a journal that refuses everything.
    pub(crate) fn closed(disk: Arc<dyn SegmentStore>, index: Arc<Index>, reason: &str) -> Self {
        let settings = Settings { sync_appends: false, segment_bytes: 0, reserve_bytes: 0, salt: [0; 16] };
        let shared = Shared::new(disk, index, settings, None, Position::default());
        drop(shared.stopped.set(reason.to_owned()));
        lock(&shared.queue).is_closed = true;
        Self { shared: Arc::new(shared), threads: Vec::new() }
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let path = self.shared.disk.path("");
        self.threads.push(thread.map_err(|source| StoreError::Io { action: "start a thread for", path, source })?);
        Ok(())
    }

    /// Appends entries to a log; returns when they are durable as the settings say.
    pub(crate) fn append(&self, append: Append) -> Result<Vec<Entry>, StoreError> {
        self.shared.ask(Work::Append(append))
    }

    /// Writes nodes without syncing them; the next durable record makes them durable too.
    pub(crate) fn put(&self, nodes: Vec<(NodeId, Bytes)>) -> Result<(), StoreError> {
        self.shared.ask(Work::Nodes(nodes)).map(drop)
    }

    /// Tells entries of a log again that were lost; they are durable with the next append.
    pub(crate) fn tell_again(&self, sandbox: SandboxId, entries: Vec<(Entry, Bytes)>) -> Result<(), StoreError> {
        self.shared.ask(Work::History(sandbox, entries)).map(drop)
    }

    /// Returns when everything appended before is durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.shared.ask(Work::Sync).map(drop)
    }

    /// Gives back what was set aside, so that a full disk can be made less full.
    pub(crate) fn use_reserve(&self) {
        self.shared.use_reserve();
    }

    /// Sets aside anew what was used.
    pub(crate) fn refill_reserve(&self) {
        lock(&self.shared.duties).refill(&self.shared.duty);
    }

    /// Returns why nothing is written any more, if so.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.shared.stopped.get().cloned()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closed = true;
        self.shared.queued.notify_all();
        lock(&self.shared.duties).is_closed = true;
        self.shared.duty.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.stop("a thread of the journal died".to_owned());
            }
        }
        if let Err(error) = self.shared.sync()
            && self.shared.settings.segment_bytes > 0
        {
            tracing::error!(%error, "closing the journal");
        }
    }
}

impl Shared {
    fn new(
        disk: Arc<dyn SegmentStore>,
        index: Arc<Index>,
        settings: Settings,
        active: Option<(SegmentId, Arc<dyn SegmentFile>)>,
        last: Position,
    ) -> Self {
        Self {
            disk,
            index,
            settings,
            counters: Counters::default(),
            queue: Mutex::default(),
            queued: Condvar::new(),
            duties: Mutex::default(),
            duty: Condvar::new(),
            active: Mutex::new(active),
            syncing: Mutex::new(()),
            written: AtomicU64::new(last.seq),
            synced: AtomicU64::new(last.seq),
            stopped: OnceLock::new(),
        }
    }

    fn ask(&self, work: Work) -> Answer {
        let (answer, answered) = sync_channel(1);
        {
            let mut queue = lock(&self.queue);
            if queue.is_closed {
                return Err(self
                    .check()
                    .err()
                    .unwrap_or_else(|| StoreError::Stopped("the store is closed".to_owned())));
            }
            queue.waiting.push(Request { work, answer });
        }
        self.queued.notify_one();
        answered.recv().unwrap_or_else(|_| Err(self.stop("the writer died".to_owned())))
    }

    /// Returns all work that waits, waiting for some; none when the journal is closed and nothing waits.
    fn take_work(&self) -> Option<Vec<Request>> {
        let mut queue = lock(&self.queue);
        loop {
            if !queue.waiting.is_empty() {
                return Some(std::mem::take(&mut queue.waiting));
            }
            if queue.is_closed {
                return None;
            }
            queue = self.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<(), StoreError> {
        let _turn = lock(&self.syncing);
        self.check()?;
        let seq = self.written.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) >= seq {
            return Ok(());
        }
        // The writer changes segments only after a sync of its own, which waits for this one.
        if let Some((segment, file)) = lock(&self.active).clone() {
            self.sync_file(segment, &*file)?;
        }
        self.synced.store(seq, Ordering::Release);
        self.index.synced(seq);
        Ok(())
    }

    fn sync_file(&self, segment: SegmentId, file: &dyn SegmentFile) -> Result<(), StoreError> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        file.sync_data().map_err(|source| self.fail("sync", &segment.name(), &source))
    }

    fn use_reserve(&self) -> bool {
        let used = self.disk.remove(RESERVE).is_ok();
        if used {
            tracing::warn!("the disk is full: what was set aside for that is used now");
        }
        used
    }

    /// Says why nothing is written any more, if so.
    fn check(&self) -> Result<(), StoreError> {
        self.stopped.get().map_or(Ok(()), |reason| Err(StoreError::Stopped(reason.clone())))
    }

    fn fail(&self, action: &str, name: &str, source: &std::io::Error) -> StoreError {
        if action != "sync" && is_full(source) {
            return StoreError::NoSpace { path: self.disk.path(name) };
        }
        self.stop(format!("{action} {}: {source}", self.disk.path(name).display()))
    }

    /// Stops the journal for good, unless it has stopped before; returns the first reason.
    fn stop(&self, reason: String) -> StoreError {
        let reason = self.stopped.get_or_init(|| {
            tracing::error!(%reason, "the journal stops");
            reason
        });
        StoreError::Stopped(reason.clone())
    }
}

/// Says whether an error means that nothing more fits.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Locks, also after another thread died holding the lock: what it guards is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
