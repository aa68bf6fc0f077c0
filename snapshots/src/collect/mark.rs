//! Marking: which nodes the logs and the holds lead to.

use super::barrier::{Names, Reached};
use crate::closure::{self, roots_of};
use crate::error::StoreError;
use crate::id::{NodeId, SandboxId};
use crate::index::damaged_index;
use crate::log::{EntryBody, is_within, joined};
use crate::store::Inner;

/// How many entries of a log are read at a time.
const PAGE: usize = 512;

/// What was marked so far.
#[derive(Debug, Default)]
pub(super) struct Marker {
    pub(super) live: Names,
    pub(super) states: u64,
    pub(super) entries: u64,
    pub(super) logical_bytes: u64,
    waiting: Vec<NodeId>,
}

impl Marker {
    /// Marks a log's entries and puts what they keep alive on the list.
    ///
    /// It believes nobody but the entries: from the newest on, each names the one before it, and what was given up is told
    /// after what it tells of.
    pub(super) fn log(&mut self, store: &Inner, sandbox: SandboxId) -> Result<(), StoreError> {
        let mut expired: Vec<(u64, u64)> = Vec::new();
        let mut before = u64::MAX;
        let mut expected = None;
        loop {
            let entries = store.entries_before(sandbox, before, PAGE)?;
            let Some(last) = entries.last() else { return Ok(()) };
            before = last.seq;
            for entry in &entries {
                if expected.is_some_and(|id| id != entry.id) {
                    return Err(damaged_index(
                        store.index.path(),
                        &format!("the log of {sandbox} is not a chain in it"),
                    ));
                }
                expected = entry.previous;
                self.entries += 1;
                self.live.insert(&NodeId(entry.id.0));
                if let EntryBody::Expired { ranges } = &entry.body {
                    expired = joined(expired.into_iter().chain(ranges.iter().copied()).collect());
                }
                if is_within(&expired, entry.seq) {
                    continue;
                }
                let roots = roots_of(&entry.body);
                for id in &roots.blobs {
                    self.live.insert(id);
                }
                self.waiting.extend(roots.states.into_iter().map(NodeId::from));
            }
        }
    }

    /// Puts nodes on the list, as far as they are in the store: one that is being written lies where nothing is judged, and
    /// what it names is held with it.
    pub(super) fn reach(&mut self, store: &Inner, nodes: impl IntoIterator<Item = Reached>) -> Result<(), StoreError> {
        for (id, is_leaf) in nodes {
            if is_leaf {
                self.live.insert(&id);
            } else if store.index.locate(&id)?.is_some() {
                self.waiting.push(id);
            }
        }
        Ok(())
    }

    /// Marks up to `budget` nodes that are on the list and what they name; says whether the list is empty.
    ///
    /// A node that can't be read ends the collection: nobody knows what it leads to.
    pub(super) fn step(&mut self, store: &Inner, mut budget: usize) -> Result<bool, StoreError> {
        while let Some(id) = self.waiting.pop() {
            if !self.live.insert(&id) {
                continue;
            }
            let bytes = store.nodes.peek(&id)?;
            if let Some(usage) = crate::state::usage_of(&bytes) {
                self.states += 1;
                self.logical_bytes = self.logical_bytes.saturating_add(usage.bytes);
            }
            let Self { live, waiting, .. } = self;
            closure::children(&id, &bytes, &mut |child, is_leaf| {
                if is_leaf {
                    live.insert(&child);
                } else if !live.contains(&child) {
                    waiting.push(child);
                }
            })?;
            budget -= 1;
            if budget == 0 {
                return Ok(self.waiting.is_empty());
            }
        }
        Ok(true)
    }
}
