//! The keeper thread: syncs what was written and nobody waits for, and fills the next segment with zeros in steps, so that
//! the sync of a commit finds every block of its file in place.

use std::sync::{Arc, Condvar, PoisonError};
use std::time::{Duration, Instant};

use super::disk::SegmentFile;
use super::segment::{FILLING, RESERVE};
use super::{Shared, lock};

/// How long written records may wait for a sync that nobody asked for; with the sync itself it stays within 50 ms.
const SYNC_WITHIN: Duration = Duration::from_millis(25);
/// How much may be written before a sync starts at once.
const SYNC_BYTES: u64 = 16 << 20;
/// How many zeros are written and synced at a time.
const FILL_BYTES: u64 = 1 << 20;

type Filled = (Arc<dyn SegmentFile>, u64);

/// What the keeper has to do.
#[derive(Debug, Default)]
pub(super) struct Duties {
    pub(super) is_closed: bool,
    dirty_since: Option<Instant>,
    dirty_bytes: u64,
    wanted_bytes: Option<u64>,
    ready: Option<Filled>,
    /// The disk had no room for zeros.
    gave_up: bool,
    refills: bool,
}

impl Duties {
    /// Tells of records that nobody will sync otherwise.
    pub(super) fn unsynced(&mut self, bytes: u64, duty: &Condvar) {
        let was_clean = self.dirty_since.is_none();
        self.dirty_since.get_or_insert_with(Instant::now);
        self.dirty_bytes = self.dirty_bytes.saturating_add(bytes);
        if was_clean || self.dirty_bytes >= SYNC_BYTES {
            duty.notify_one();
        }
    }

    /// Asks for a segment of zeros, unless there is or will be one.
    pub(super) fn want(&mut self, bytes: u64, duty: &Condvar) {
        if self.ready.is_none() && self.wanted_bytes.is_none() && !self.gave_up {
            self.wanted_bytes = Some(bytes);
            duty.notify_one();
        }
    }

    /// Asks for the reserve to be there, and for zeros again if there was no room for them.
    pub(super) fn refill(&mut self, duty: &Condvar) {
        self.refills = true;
        self.gave_up = false;
        duty.notify_one();
    }

    /// Takes the segment of zeros if it is done and large enough.
    pub(super) fn take_ready(&mut self, bytes: u64) -> Option<Filled> {
        self.ready.take_if(|(_, length)| *length >= bytes)
    }

    fn next(&mut self) -> Option<Duty> {
        let since = self.dirty_since.map(|since| since.elapsed());
        if since.is_some_and(|since| since >= SYNC_WITHIN || self.dirty_bytes >= SYNC_BYTES) {
            self.dirty_since = None;
            self.dirty_bytes = 0;
            return Some(Duty::Sync);
        }
        if std::mem::take(&mut self.refills) {
            return Some(Duty::Reserve);
        }
        self.wanted_bytes.map(Duty::Fill)
    }
}

enum Duty {
    Sync,
    Fill(u64),
    Reserve,
}

#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    filling: Option<Filled>,
}

impl Keeper {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, filling: None }
    }

    pub(super) fn run(mut self) {
        while let Some(duty) = self.wait() {
            match duty {
                // A failure stops the journal, and is told to whoever writes next.
                Duty::Sync => drop(self.shared.sync()),
                Duty::Reserve => {
                    if let Err(error) = self.set_aside() {
                        tracing::warn!(%error, "setting space aside for when the disk is full");
                        drop(self.shared.disk.remove(RESERVE));
                    }
                }
                Duty::Fill(bytes) => {
                    if let Err(error) = self.fill(bytes) {
                        tracing::warn!(%error, "filling a segment ahead of time; commits go on without");
                        self.filling = None;
                        let mut duties = lock(&self.shared.duties);
                        duties.wanted_bytes = None;
                        duties.gave_up = true;
                    }
                }
            }
        }
        let made = self.filling.take().or_else(|| lock(&self.shared.duties).ready.take());
        if let Some(Err(error)) = made.map(|_| self.shared.disk.remove(FILLING)) {
            tracing::debug!(%error, "removing a segment that was filled ahead");
        }
    }

    fn wait(&self) -> Option<Duty> {
        let mut duties = lock(&self.shared.duties);
        loop {
            if duties.is_closed {
                return None;
            }
            if let Some(duty) = duties.next() {
                return Some(duty);
            }
            let left = duties.dirty_since.map(|since| SYNC_WITHIN.saturating_sub(since.elapsed()));
            let duty = &self.shared.duty;
            duties = match left {
                Some(left) => duty.wait_timeout(duties, left).unwrap_or_else(PoisonError::into_inner).0,
                None => duty.wait(duties).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Makes the reserve, unless it is there.
    fn set_aside(&self) -> std::io::Result<()> {
        let Shared { disk, settings, .. } = &*self.shared;
        let is_there = disk.list()?.iter().any(|name| name == RESERVE);
        if is_there && disk.open(RESERVE)?.length()? >= settings.reserve_bytes {
            return Ok(());
        }
        let file = disk.create(RESERVE)?;
        let mut offset = 0;
        while offset < settings.reserve_bytes {
            let step = (settings.reserve_bytes - offset).min(FILL_BYTES);
            file.write_all_at(&vec![0; usize::try_from(step).unwrap_or(0)], offset)?;
            offset += step;
        }
        Ok(())
    }

    /// Writes one step of zeros; when it was the last, the segment is ready.
    fn fill(&mut self, bytes: u64) -> std::io::Result<()> {
        let (file, filled) = match self.filling.take() {
            Some(filling) => filling,
            None => (self.shared.disk.create(FILLING)?, 0),
        };
        let step = bytes.saturating_sub(filled).min(FILL_BYTES);
        file.write_all_at(&vec![0; usize::try_from(step).unwrap_or(0)], filled)?;
        file.sync_data()?;
        if filled + step < bytes {
            self.filling = Some((file, filled + step));
            return Ok(());
        }
        let mut duties = lock(&self.shared.duties);
        duties.ready = Some((file, bytes));
        duties.wanted_bytes = None;
        Ok(())
    }
}
