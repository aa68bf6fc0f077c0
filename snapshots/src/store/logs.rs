//! Reading logs. What the index says of them is checked against the entries themselves, whose names are hashes: a damaged
//! index is noticed and rebuilt, and never believed.

use super::{Inner, Store};
use crate::error::StoreError;
use crate::id::{CallId, NodeId, SandboxId, StateId, Timestamp};
use crate::index::{Found, damaged_index};
use crate::log::{self, Entry, EntryBody, Life, OperationKind, Tip};

impl Store {
    /// Returns the entries of a log after `after_seq` (0 for all), oldest first, at most `limit`.
    ///
    /// The log of a deleted sandbox can still be read.
    ///
    /// # Errors
    /// [`StoreError::UnknownSandbox`], or what reading met.
    pub fn entries(&self, sandbox: SandboxId, after_seq: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.entries(sandbox, after_seq, limit)
    }

    /// Returns the entries of a log before `before_seq` (`u64::MAX` for all), newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn entries_before(&self, sandbox: SandboxId, before_seq: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.entries_before(sandbox, before_seq, limit)
    }

    /// Returns one entry of a log.
    ///
    /// # Errors
    /// [`StoreError::UnknownEntry`], and as [`Self::entries`].
    pub fn entry(&self, sandbox: SandboxId, seq: u64) -> Result<Entry, StoreError> {
        let unknown = || StoreError::UnknownEntry { sandbox, seq };
        let found = self.entries(sandbox, seq.checked_sub(1).ok_or_else(unknown)?, 1)?;
        found.into_iter().next().ok_or_else(unknown)
    }

    /// Returns the number of the entry that records a call, if the sandbox's log has one.
    ///
    /// # Errors
    /// What reading met.
    pub fn call_seq(&self, sandbox: SandboxId, call: CallId) -> Result<Option<u64>, StoreError> {
        let Some(seq) = self.inner.index.call_seq(sandbox, call)? else { return Ok(None) };
        match self.entry(sandbox, seq)?.body {
            EntryBody::Operation(operation) if operation.call.as_ref().is_some_and(|found| found.id == call) => {
                Ok(Some(seq))
            }
            _ => Err(damaged_index(self.inner.index.path(), "it gives a call another entry's number")),
        }
    }

    /// Returns the newest entry of a log whose body is its writer's and of this kind: its number and the body.
    ///
    /// # Errors
    /// What reading met.
    pub fn newest_other(&self, sandbox: SandboxId, kind: u16) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let Some(seq) = self.inner.index.newest_other(sandbox, kind)? else { return Ok(None) };
        match self.entry(sandbox, seq)?.body {
            EntryBody::Other { kind: found, bytes } if found == kind => Ok(Some((seq, bytes))),
            _ => Err(damaged_index(self.inner.index.path(), "it takes an entry for one of another kind")),
        }
    }

    /// Returns a sandbox's named checkpoints: name, state, number of the entry that named it, and when; oldest first.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn checkpoints(&self, sandbox: SandboxId) -> Result<Vec<(String, StateId, u64, Timestamp)>, StoreError> {
        self.inner.log_exists(sandbox)?;
        let named = self.inner.index.checkpoints(sandbox)?;
        for (name, state, seq, _) in &named {
            let told = self.entry(sandbox, *seq)?.body;
            if !matches!(&told, EntryBody::Checkpoint { name: is, state: at } if (is, at) == (name, state)) {
                return Err(damaged_index(self.inner.index.path(), "it names a checkpoint that no entry names"));
            }
        }
        Ok(named)
    }
}

impl Inner {
    pub(crate) fn log_exists(&self, sandbox: SandboxId) -> Result<Tip, StoreError> {
        self.index.tip(sandbox).ok_or(StoreError::UnknownSandbox(sandbox))
    }

    pub(crate) fn entries(&self, sandbox: SandboxId, after_seq: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let newest = self.log_exists(sandbox)?.head.seq;
        let entries = self.load(self.index.entries(sandbox, after_seq, limit)?)?;
        let expected = newest.saturating_sub(after_seq).min(limit as u64);
        let follows = entries.iter().zip(1..).all(|(entry, place)| entry.seq == after_seq.saturating_add(place));
        // More may have come since.
        self.believe(sandbox, &entries, follows && entries.len() as u64 >= expected)?;
        Ok(entries)
    }

    pub(crate) fn entries_before(
        &self,
        sandbox: SandboxId,
        before_seq: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let newest = self.log_exists(sandbox)?.head.seq;
        let entries = self.load(self.index.entries_before(sandbox, before_seq, limit)?)?;
        let from = before_seq.saturating_sub(1);
        let first = entries.first().map_or(0, |entry| entry.seq);
        let is_first = first == from || (first >= newest && from > first) || (limit == 0 || from == 0);
        let follows = entries.iter().zip(0..).all(|(entry, place)| entry.seq.saturating_add(place) == first);
        let is_whole = entries.len() >= limit || entries.last().is_none_or(|entry| entry.seq == 1);
        self.believe(sandbox, &entries, is_first && follows && is_whole)?;
        Ok(entries)
    }

    /// Reads what there is of a log before an entry, newest first, whatever is missing.
    pub(crate) fn unbelieved_before(
        &self,
        sandbox: SandboxId,
        before_seq: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.load(self.index.entries_before(sandbox, before_seq, limit)?)
    }

    /// Reads entries that the index found.
    fn load(&self, found: Vec<Found>) -> Result<Vec<Entry>, StoreError> {
        let load = |found| match found {
            Found::Pending(entry) => Ok(*entry),
            Found::Stored(id, location) => log::decode(id, &self.nodes.at(&NodeId(id.0), location)?),
        };
        found.into_iter().map(load).collect()
    }

    /// Refuses what the index found when an entry is missing, or another log's.
    fn believe(&self, sandbox: SandboxId, entries: &[Entry], is_whole: bool) -> Result<(), StoreError> {
        let is_purged = self.index.tip(sandbox).is_none();
        if is_purged || (is_whole && entries.iter().all(|entry| entry.sandbox == sandbox)) {
            return Ok(());
        }
        Err(damaged_index(self.index.path(), &format!("entries of {sandbox} are missing in it")))
    }

    /// Checks where the index says that each log stands.
    pub(super) fn check_tips(&self) -> Result<(), StoreError> {
        for (sandbox, tip) in self.index.logs() {
            let wrong = || damaged_index(self.index.path(), &format!("it has another head for {sandbox}"));
            let mut before = u64::MAX;
            let operation = loop {
                let page = self.entries_before(sandbox, before, 4)?;
                let (Some(first), Some(last)) = (page.first(), page.last()) else { return Err(wrong()) };
                if before == u64::MAX && (first.id, first.seq) != (tip.head.entry, tip.head.seq) {
                    return Err(wrong());
                }
                before = last.seq;
                let found = page.into_iter().find_map(|entry| match entry.body {
                    EntryBody::Operation(operation) => Some((operation, entry.time)),
                    _ => None,
                });
                if let Some(found) = found {
                    break found;
                }
            };
            let (operation, time) = operation;
            let is_delete = operation.kind == OperationKind::Delete;
            let life = if is_delete { Life::Deleted(time) } else { Life::Live };
            if (operation.after, operation.generation, life) != (tip.head.state, tip.head.generation, tip.life) {
                return Err(wrong());
            }
        }
        Ok(())
    }
}
