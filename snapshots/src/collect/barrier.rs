//! Between a collection and those who write: nothing that somebody is about to refer to is taken.
//!
//! While the collection *marks*, whatever a writer finds to be in the store already, or names in the log, is marked too. Once
//! it *sweeps*, what was not marked counts as gone: a writer writes it again, and who asks for it learns that it is not there.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::id::NodeId;
use crate::journal::lock;
use crate::journal::segment::SegmentId;

/// How long a collection steps aside for writers before it makes them wait.
const POLITE: Duration = Duration::from_secs(5);

/// A node that must be kept, and whether it is known to lead to no others.
pub(crate) type Reached = (NodeId, bool);

/// Names of nodes by their first 16 bytes: enough to tell apart all that a store can hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(HashSet<u128, BuildHasherDefault<Low>>);

/// The names are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

impl Names {
    /// Adds a name; says whether it was not there.
    pub(crate) fn insert(&mut self, id: &NodeId) -> bool {
        self.0.insert(short(id))
    }

    pub(crate) fn contains(&self, id: &NodeId) -> bool {
        self.0.contains(&short(id))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn short(id: &NodeId) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&id.0[..16]);
    u128::from_le_bytes(first)
}

/// What a collection decided.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The nodes that stay.
    pub(crate) live: Names,
    /// Only segments with smaller numbers were judged.
    pub(crate) below: u32,
}

impl Verdict {
    /// Says whether a node that lies in a segment is there to stay.
    pub(crate) fn counts(&self, id: &NodeId, segment: SegmentId) -> bool {
        segment.number >= self.below || self.live.contains(id)
    }
}

/// What a collection is doing.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// What writers reach meanwhile is gathered here.
    Marking(Mutex<Vec<Reached>>),
    Sweeping(Arc<Verdict>),
}

impl Phase {
    /// Says whether a node that lies in a segment may be referred to.
    pub(crate) fn counts(&self, id: &NodeId, segment: SegmentId) -> bool {
        match self {
            Self::Sweeping(verdict) => verdict.counts(id, segment),
            Self::Idle | Self::Marking(_) => true,
        }
    }

    /// Tells of nodes that are about to be referred to.
    pub(crate) fn reach(&self, nodes: impl IntoIterator<Item = Reached>) {
        if let Self::Marking(reached) = self {
            lock(reached).extend(nodes);
        }
    }
}

/// Where writers and the collection meet.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    phase: RwLock<Phase>,
}

impl Barrier {
    /// Keeps the phase as it is while somebody refers to nodes.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, Phase> {
        self.phase.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the phase when nobody is inside. Those who come are let in first, for a while.
    pub(crate) fn change(&self) -> RwLockWriteGuard<'_, Phase> {
        let until = Instant::now() + POLITE;
        while Instant::now() < until {
            if let Ok(phase) = self.phase.try_write() {
                return phase;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        self.phase.write().unwrap_or_else(PoisonError::into_inner)
    }
}
