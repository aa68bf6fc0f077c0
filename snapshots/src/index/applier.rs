//! The thread that applies durable records to the database, many at a time.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::database::Database;
use super::{Job, Shared, Written};
use crate::error::StoreError;
use crate::journal::lock;

/// How long a record may wait for company: each batch writes the upper pages of SQLite's trees anew, whatever is in it.
const GATHER: Duration = Duration::from_millis(100);
/// How many nodes go into one batch.
const BATCH_NODES: usize = 20_000;
/// How long to wait before trying a failed batch again.
const RETRY: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(1) };

enum Work {
    Batch(Vec<Arc<Written>>),
    Job(Job, SyncSender<Result<(), StoreError>>),
}

pub(super) struct Applier {
    shared: Arc<Shared>,
    database: Database,
}

impl Applier {
    pub(super) const fn new(shared: Arc<Shared>, database: Database) -> Self {
        Self { shared, database }
    }

    pub(super) fn run(mut self) {
        while let Some(work) = self.next_work() {
            let batch = match work {
                Work::Batch(batch) => batch,
                Work::Job(job, answer) => {
                    let outcome = job(&mut self.database);
                    if let Err(StoreError::Index(error)) = &outcome {
                        super::database::mark_if_damaged(&self.shared.path, error);
                    }
                    drop(answer.send(outcome));
                    continue;
                }
            };
            let outcome = self.database.apply(batch.iter().map(|record| &**record));
            match outcome {
                Ok(()) => {
                    self.forget(&batch);
                    lock(&self.shared.todo).failed = None;
                    self.shared.room.notify_all();
                    self.database.checkpoint_if_large();
                }
                Err(error) => {
                    super::database::mark_if_damaged(&self.shared.path, &error);
                    tracing::error!(%error, "applying records to the index");
                    if self.retry_later(batch, error.to_string()) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for durable records, and a moment more for others to come, or for a job once there are none; nothing is returned
    /// when the index is closed and nothing is left.
    fn next_work(&self) -> Option<Work> {
        let mut todo = lock(&self.shared.todo);
        let mut since: Option<Instant> = None;
        loop {
            let synced = todo.synced;
            let mut nodes = 0;
            let ready = todo.waiting.iter().take_while(|record| record.position.seq <= synced);
            let count = ready.map_while(|record| {
                let fits = nodes < BATCH_NODES;
                nodes += record.placed.len();
                fits.then_some(())
            });
            let count = count.count();
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            let is_hurried = nodes >= BATCH_NODES || waited >= GATHER || todo.is_closed || !todo.jobs.is_empty();
            if count > 0 && is_hurried {
                return Some(Work::Batch(todo.waiting.drain(..count).collect()));
            }
            if let Some((job, answer)) = todo.jobs.pop_front() {
                return Some(Work::Job(job, answer));
            }
            if todo.is_closed {
                return None;
            }
            todo = if count > 0 {
                since.get_or_insert_with(Instant::now);
                let left = GATHER.saturating_sub(waited);
                self.shared.work.wait_timeout(todo, left).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.shared.work.wait(todo).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Takes out of memory what the database has now.
    fn forget(&self, batch: &[Arc<Written>]) {
        let mut pending = self.shared.pending.write().unwrap_or_else(PoisonError::into_inner);
        for record in batch {
            for (id, location) in &record.placed {
                if pending.nodes.get(id) == Some(location) {
                    pending.nodes.remove(id);
                }
            }
            for entry in &record.entries {
                let Some(entries) = pending.entries.get_mut(&entry.sandbox) else { continue };
                entries.pop_front();
                if entries.is_empty() {
                    pending.entries.remove(&entry.sandbox);
                }
            }
        }
        if pending.nodes.is_empty() {
            pending.nodes.shrink_to(1024);
        }
    }

    /// Puts a failed batch back and waits; says whether the index was closed meanwhile.
    fn retry_later(&self, batch: Vec<Arc<Written>>, reason: String) -> bool {
        let mut todo = lock(&self.shared.todo);
        // Nobody waits for a database that can't be written.
        for (_, answer) in todo.jobs.drain(..) {
            drop(answer.send(Err(StoreError::Stopped(format!("the index can't follow: {reason}")))));
        }
        todo.failed = Some(reason);
        batch.into_iter().rev().for_each(|record| todo.waiting.push_front(record));
        self.shared.room.notify_all();
        let until = Instant::now() + RETRY;
        while !todo.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            todo = self.shared.work.wait_timeout(todo, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
