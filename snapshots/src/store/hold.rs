//! Holds: what work under way needs before the log names it.
//!
//! A collection takes what no log entry leads to. Between the moment a node is read, written ahead or found to be there
//! already and the append that needs it, only a hold says so.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Store;
use crate::collect::barrier::{Barrier, Reached};
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::journal::lock;
use crate::node::NodeBatch;

/// Keeps nodes, and all that they lead to, from being collected for as long as a clone of it lives.
///
/// Transactions, imports and the batches that they give hold what they need by themselves.
#[derive(Clone)]
pub struct Hold {
    held: Arc<Held>,
}

struct Held {
    number: u64,
    nodes: Mutex<Vec<Reached>>,
    holds: Arc<Holds>,
}

/// All holds there are.
#[derive(Default)]
pub(crate) struct Holds {
    barrier: Arc<Barrier>,
    next: AtomicU64,
    live: Mutex<HashMap<u64, std::sync::Weak<Held>>>,
}

impl Holds {
    pub(super) fn new(barrier: Arc<Barrier>) -> Self {
        Self { barrier, ..Self::default() }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Hold {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Held { number, nodes: Mutex::default(), holds: Arc::clone(self) });
        lock(&self.live).insert(number, Arc::downgrade(&held));
        Hold { held }
    }

    /// Returns everything that is held.
    pub(crate) fn nodes(&self) -> Vec<Reached> {
        let live: Vec<Arc<Held>> = lock(&self.live).values().filter_map(std::sync::Weak::upgrade).collect();
        live.iter().flat_map(|held| lock(&held.nodes).clone()).collect()
    }
}

impl Hold {
    /// Returns a hold for work on nodes that are in no store.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Arc::new(Holds::default()).begin()
    }

    /// Holds nodes with all that they lead to. Whether they are there to stay is for the caller to know.
    pub(crate) fn keep(&self, nodes: impl IntoIterator<Item = Reached>) {
        let phase = self.held.holds.barrier.enter();
        let nodes: Vec<Reached> = nodes.into_iter().collect();
        phase.reach(nodes.iter().copied());
        lock(&self.held.nodes).extend(nodes);
    }

    /// Holds what another hold holds, too.
    pub(crate) fn absorb(&self, other: &Self) {
        let nodes = lock(&other.held.nodes).clone();
        self.keep(nodes);
    }
}

impl Store {
    /// Begins a hold on nothing.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.inner.holds.begin()
    }

    /// Holds a state: it can be read as long as the hold lives, whatever becomes of the log.
    ///
    /// # Errors
    /// [`StoreError::MissingNode`] when it is not in the store.
    pub fn hold_state(&self, state: StateId) -> Result<Hold, StoreError> {
        let hold = self.hold();
        self.keep_state(&hold, state)?;
        Ok(hold)
    }

    /// Holds one more state.
    ///
    /// # Errors
    /// As [`Self::hold_state`].
    pub fn keep_state(&self, hold: &Hold, state: StateId) -> Result<(), StoreError> {
        let id = NodeId::from(state);
        // Held first: a verdict that comes between finds it held, and one that was there before is asked.
        hold.keep([(id, false)]);
        if self.inner.has(&id, &self.inner.barrier.enter())? { Ok(()) } else { Err(StoreError::MissingNode(id)) }
    }

    /// Writes nodes ahead of the append that needs them, and holds them until then. They are readable when this returns, and
    /// durable with the next append.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn put(&self, hold: &Hold, nodes: NodeBatch) -> Result<(), StoreError> {
        self.put_counted(hold, nodes).map(drop)
    }

    /// Does what [`Self::put`] does, and returns how many of the nodes the store did not have.
    pub(crate) fn put_counted(&self, hold: &Hold, nodes: NodeBatch) -> Result<u64, StoreError> {
        hold.keep(nodes.reached());
        self.put_held(nodes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.holds.live).remove(&self.number);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hold({} nodes)", lock(&self.held.nodes).len())
    }
}
