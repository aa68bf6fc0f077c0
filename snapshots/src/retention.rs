//! Retention: what a log gives up so that a collection may take it, and the trash before that.
//!
//! Nothing is given up silently: an entry of the log says which earlier entries no longer keep their states and outputs. The
//! entries stay, so that one can still see what happened. Named checkpoints keep their states by entries of their own, and
//! so does every fork; a name that was taken away, and a sandbox that was deleted, are kept until the trash's delay is over.

use std::collections::HashMap;
use std::time::Duration;

use crate::closure::{self, roots_of};
use crate::collect::barrier::Names;
use crate::error::StoreError;
use crate::id::{NodeId, SandboxId, StateId, Timestamp};
use crate::log::{Draft, Entry, EntryBody, Head, Life, RANGES_LIMIT, joined};
use crate::node::NodeBatch;
use crate::store::{Inner, Store};

/// How many entries of a log are read at a time.
const PAGE: usize = 512;

/// What a sandbox keeps. Whatever it says, the newest operation and named checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many operations, the newest first.
    pub operations: Option<u64>,
    /// Operations from this time on.
    pub since: Option<Timestamp>,
    /// As many operations, the newest first, as fit into so many bytes of the store, each node counted once.
    pub bytes: Option<u64>,
    /// How long what was deleted can be taken back.
    pub trash: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { operations: None, since: None, bytes: None, trash: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// What a sandbox no longer keeps, to be given up.
#[derive(Debug)]
pub struct Expirable {
    sandbox: SandboxId,
    ranges: Vec<(u64, u64)>,
    now: Timestamp,
}

/// A deleted sandbox that can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trashed {
    /// Which one.
    pub sandbox: SandboxId,
    /// The end of its log.
    pub head: Head,
    /// When it was deleted.
    pub deleted: Timestamp,
}

/// A name that was taken away from a state, or given to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashedCheckpoint {
    /// The name.
    pub name: String,
    /// What it named.
    pub state: StateId,
    /// The entry that gave the name.
    pub seq: u64,
    /// When it was taken away.
    pub dropped: Timestamp,
}

impl Store {
    /// Returns the ranges of a log's entries whose states and outputs were given up, in order and apart from one another.
    ///
    /// # Errors
    /// What reading met.
    pub fn expired(&self, sandbox: SandboxId) -> Result<Vec<(u64, u64)>, StoreError> {
        self.inner.index.expired(sandbox)
    }

    /// Returns the deleted sandboxes that can be taken back, by id.
    #[must_use]
    pub fn trash(&self) -> Vec<Trashed> {
        let logs = self.inner.index.logs();
        let deleted = logs.into_iter().filter_map(|(sandbox, tip)| match tip.life {
            Life::Deleted(deleted) => Some(Trashed { sandbox, head: tip.head, deleted }),
            Life::Live | Life::Purged => None,
        });
        deleted.collect()
    }

    /// Returns the names of a sandbox that were taken away and whose states are kept, newest first.
    ///
    /// # Errors
    /// [`StoreError::UnknownSandbox`], or what reading met.
    pub fn trashed_checkpoints(&self, sandbox: SandboxId) -> Result<Vec<TrashedCheckpoint>, StoreError> {
        let expired = self.expired(sandbox)?;
        let mut newer: HashMap<String, Timestamp> = HashMap::new();
        let mut found = Vec::new();
        self.backwards(sandbox, &expired, &mut |entry| {
            match entry.body {
                EntryBody::Checkpoint { name, state } => {
                    if let Some(dropped) = newer.insert(name.clone(), entry.time) {
                        found.push(TrashedCheckpoint { name, state, seq: entry.seq, dropped });
                    }
                }
                EntryBody::CheckpointDeleted { name } => drop(newer.insert(name, entry.time)),
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Finds what a sandbox no longer keeps. Others may append meanwhile: what is not kept now won't be kept later.
    ///
    /// # Errors
    /// [`StoreError::UnknownSandbox`], or what reading met.
    pub fn expirable(
        &self,
        sandbox: SandboxId,
        retention: &Retention,
        now: Timestamp,
    ) -> Result<Option<Expirable>, StoreError> {
        let expired = self.expired(sandbox)?;
        let mut plan = Plan { retention, now, operations: 0, is_over: false, newer: HashMap::new() };
        let mut budget = Budget::default();
        let mut given_up = Vec::new();
        self.backwards(sandbox, &expired, &mut |entry| {
            if !plan.keeps(&entry, |limit| budget.admits(&self.inner, &entry.body, limit))? {
                given_up.push((entry.seq, entry.seq));
            }
            Ok(())
        })?;
        let mut ranges = joined(given_up);
        // What does not fit into one entry is for the next time; the oldest first.
        ranges.truncate(RANGES_LIMIT);
        Ok((!ranges.is_empty()).then_some(Expirable { sandbox, ranges, now }))
    }

    /// Gives up what was found. The caller sees to it that nobody appends meanwhile.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn expire(&self, Expirable { sandbox, ranges, now }: Expirable) -> Result<(), StoreError> {
        let Some(tip) = self.inner.index.tip(sandbox) else { return Err(StoreError::UnknownSandbox(sandbox)) };
        let draft = Draft { time: now, body: EntryBody::Expired { ranges } };
        self.append(sandbox, Some(tip.head.entry), vec![draft], NodeBatch::new())?;
        Ok(())
    }

    /// Ends the log of a deleted sandbox for good when it was in the trash for long enough; says whether it did.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn purge(&self, sandbox: SandboxId, trash: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let Some(tip) = self.inner.index.tip(sandbox) else { return Err(StoreError::UnknownSandbox(sandbox)) };
        let Life::Deleted(deleted) = tip.life else { return Ok(false) };
        if !is_over(deleted, trash, now) {
            return Ok(false);
        }
        let draft = Draft { time: now, body: EntryBody::Purged };
        self.append(sandbox, Some(tip.head.entry), vec![draft], NodeBatch::new())?;
        Ok(true)
    }

    /// Returns the time from which on all operations of all sandboxes fit into so many bytes of the store, each node counted
    /// once; `None` when everything fits.
    ///
    /// # Errors
    /// What reading met.
    pub fn fits_since(&self, bytes: u64) -> Result<Option<Timestamp>, StoreError> {
        let mut operations = Vec::new();
        let mut budget = Budget::default();
        for (sandbox, _) in self.inner.index.logs() {
            let expired = self.expired(sandbox)?;
            let mut is_newest = true;
            self.backwards(sandbox, &expired, &mut |entry| {
                // What is kept anyway comes first.
                let is_kept = matches!(entry.body, EntryBody::Checkpoint { .. })
                    || (matches!(entry.body, EntryBody::Operation(_)) && std::mem::take(&mut is_newest));
                if is_kept {
                    budget.admits(&self.inner, &entry.body, u64::MAX)?;
                } else if matches!(entry.body, EntryBody::Operation(_)) {
                    operations.push((entry.time, sandbox, entry.seq));
                }
                Ok(())
            })?;
        }
        operations.sort_unstable_by(|left, right| right.cmp(left));
        for (time, sandbox, seq) in operations {
            let entry = self.entry(sandbox, seq)?;
            if !budget.admits(&self.inner, &entry.body, bytes)? {
                return Ok(Some(Timestamp(time.0.saturating_add(1))));
            }
        }
        Ok(None)
    }

    /// Shows the entries of a log that were not given up, newest first.
    fn backwards(
        &self,
        sandbox: SandboxId,
        expired: &[(u64, u64)],
        visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut before = u64::MAX;
        loop {
            let page = self.entries_before(sandbox, before, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            before = last.seq;
            for entry in page {
                let place = expired.partition_point(|(_, last)| *last < entry.seq);
                match expired.get(place) {
                    // The whole range is stepped over, however long it is.
                    Some((first, _)) if *first <= entry.seq => before = before.min(*first),
                    _ => visit(entry)?,
                }
            }
        }
    }
}

fn is_over(since: Timestamp, delay: Duration, now: Timestamp) -> bool {
    let delay = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
    since.0.saturating_add(delay) <= now.0
}

/// Decides for each entry of a log, newest first, whether it is kept.
struct Plan<'a> {
    retention: &'a Retention,
    now: Timestamp,
    operations: u64,
    /// The bytes are used up.
    is_over: bool,
    /// When the name of a checkpoint was given anew or taken away next.
    newer: HashMap<String, Timestamp>,
}

impl Plan<'_> {
    fn keeps(&mut self, entry: &Entry, fits: impl FnOnce(u64) -> Result<bool, StoreError>) -> Result<bool, StoreError> {
        Ok(match &entry.body {
            EntryBody::Operation(_) => {
                let place = self.operations;
                self.operations += 1;
                let Retention { operations, since, bytes, .. } = *self.retention;
                if let Some(bytes) = bytes
                    && !self.is_over
                {
                    self.is_over = !fits(bytes)?;
                }
                let is_within = operations.is_none_or(|count| place < count)
                    && since.is_none_or(|since| entry.time >= since)
                    && !self.is_over;
                place == 0 || is_within
            }
            EntryBody::Checkpoint { name, .. } => {
                let dropped = self.newer.insert(name.clone(), entry.time);
                dropped.is_none_or(|dropped| !is_over(dropped, self.retention.trash, self.now))
            }
            EntryBody::CheckpointDeleted { name } => {
                self.newer.insert(name.clone(), entry.time);
                true
            }
            EntryBody::Policy { .. } | EntryBody::Other { .. } | EntryBody::Expired { .. } | EntryBody::Purged => true,
        })
    }
}

/// How many bytes of the store are spoken for.
#[derive(Debug, Default)]
struct Budget {
    names: Names,
    bytes: u64,
}

impl Budget {
    /// Adds what an entry keeps alive; says whether all of it together is within the limit.
    fn admits(&mut self, store: &Inner, body: &EntryBody, limit: u64) -> Result<bool, StoreError> {
        let roots = roots_of(body);
        let mut waiting: Vec<(NodeId, bool)> = roots.states.into_iter().map(|state| (state.into(), false)).collect();
        waiting.extend(roots.blobs.into_iter().map(|blob| (blob, true)));
        while let Some((id, is_leaf)) = waiting.pop() {
            if !self.names.insert(&id) {
                continue;
            }
            let location = store.index.locate(&id)?.ok_or(StoreError::MissingNode(id))?;
            self.bytes = self.bytes.saturating_add(u64::from(location.length));
            if self.bytes > limit {
                return Ok(false);
            }
            if !is_leaf {
                let bytes = store.nodes.peek(&id)?;
                closure::children(&id, &bytes, &mut |child, is_leaf| waiting.push((child, is_leaf)))?;
            }
        }
        Ok(true)
    }
}
