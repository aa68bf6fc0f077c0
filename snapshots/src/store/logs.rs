//! Reading logs. What the index says of them is checked against the entries themselves, whose names are hashes: a damaged
//! index is noticed and rebuilt, and never believed.

use super::{Inner, Store};
use crate::error::StoreError;
use crate::id::{CallId, EntryId, NodeId, SandboxId, StateId, Timestamp};
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

    /// Says whether a state occurs in a sandbox's log: every state before an operation is the one after another, or none.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn has_state(&self, sandbox: SandboxId, state: StateId) -> Result<bool, StoreError> {
        self.inner.log_exists(sandbox)?;
        self.inner.index.has_state(sandbox, state)
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
        // More may have come since.
        let (mut missing, mut next) = (None, after_seq.saturating_add(1));
        for entry in &entries {
            if entry.seq != next {
                missing = Some(entry.previous);
                break;
            }
            next = next.saturating_add(1);
        }
        if missing.is_none() && (entries.len() as u64) < newest.saturating_sub(after_seq).min(limit as u64) {
            missing = Some(self.index.tip(sandbox).map(|tip| tip.head.entry));
        }
        self.believe(sandbox, &entries, missing)?;
        Ok(entries)
    }

    pub(crate) fn entries_before(
        &self,
        sandbox: SandboxId,
        before_seq: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let head = self.log_exists(sandbox)?.head;
        let entries = self.unbelieved_before(sandbox, before_seq, limit)?;
        let mut missing = None;
        if let Some(first) = entries.first() {
            // More may have come since.
            if first.seq != before_seq.saturating_sub(1) && first.seq < head.seq {
                missing = Some(Some(head.entry));
            }
        } else if limit > 0 && before_seq > 1 {
            missing = Some(Some(head.entry));
        }
        for (above, below) in entries.iter().zip(entries.iter().skip(1)) {
            if above.seq != below.seq + 1 {
                missing = Some(above.previous);
            }
        }
        if entries.len() < limit
            && let Some(last) = entries.last().filter(|last| last.seq > 1)
        {
            missing = Some(last.previous);
        }
        self.believe(sandbox, &entries, missing)?;
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

    /// Refuses what the index found when an entry is another log's, or one is missing: it may have been lost, and then what
    /// should be there is named, or the index has forgotten it.
    fn believe(
        &self,
        sandbox: SandboxId,
        entries: &[Entry],
        missing: Option<Option<EntryId>>,
    ) -> Result<(), StoreError> {
        let is_purged = self.index.tip(sandbox).is_none();
        if is_purged || (missing.is_none() && entries.iter().all(|entry| entry.sandbox == sandbox)) {
            return Ok(());
        }
        if let Some(Some(lost)) = missing
            && self.index.locate(&NodeId(lost.0))?.is_none()
        {
            return Err(StoreError::MissingNode(NodeId(lost.0)));
        }
        Err(damaged_index(self.index.path(), &format!("entries of {sandbox} are missing in it")))
    }

    /// Checks where the index says that each log stands.
    pub(super) fn check_tips(&self) -> Result<(), StoreError> {
        for (sandbox, tip) in self.index.logs() {
            let wrong = || damaged_index(self.index.path(), &format!("it has another head for {sandbox}"));
            let mut before = u64::MAX;
            let operation = loop {
                let page = match self.entries_before(sandbox, before, 4) {
                    Ok(page) => page,
                    Err(error @ StoreError::MissingNode(_)) => {
                        tracing::error!(%sandbox, %error, "entries of a log are lost: verify the store");
                        break None;
                    }
                    Err(error) => return Err(error),
                };
                let (Some(first), Some(last)) = (page.first(), page.last()) else { return Err(wrong()) };
                if before == u64::MAX && (first.id, first.seq) != (tip.head.entry, tip.head.seq) {
                    return Err(wrong());
                }
                before = last.seq;
                let found = page.into_iter().find_map(|entry| match entry.body {
                    EntryBody::Operation(operation) => Some((operation, entry.time)),
                    _ => None,
                });
                if found.is_some() {
                    break found;
                }
            };
            let Some((operation, time)) = operation else { continue };
            let is_delete = operation.kind == OperationKind::Delete;
            let life = if is_delete { Life::Deleted(time) } else { Life::Live };
            if (operation.after, operation.generation, life) != (tip.head.state, tip.head.generation, tip.life) {
                return Err(wrong());
            }
        }
        Ok(())
    }
}
