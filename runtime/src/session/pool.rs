//! What is kept at hand of sessions, so that their next calls begin at once: instances at rest, and snapshots by their names in the store.
//!
//! All of it only saves time, and all of it together stays within a budget of memory: what was used longest ago is let go first. A
//! session that was let go sleeps: its memory is in the store, and its next call reads it from there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandglass_snapshots::{NodeId, SandboxId};

use crate::guest::Resting;
use crate::memory::{PAGE_BYTES, Snapshot, gauge};

/// Instances that rest, over all sandboxes: each takes some mappings, of which the kernel gives a process 65,530.
const RESTING_MAX: usize = 4096;
/// Images, over all sandboxes: each takes a descriptor.
const IMAGES_MAX: usize = 512;
/// Snapshots at hand, over all sandboxes.
const SNAPSHOTS_MAX: usize = 16_384;
/// Moments of one session that it can go back to at once; those before are read from the store. Memory that is let go is used
/// again by the next call, where memory that was never used costs the kernel the clearing of it.
const MOMENTS_MAX: usize = 8;
/// What an instance takes besides the pages it has written, in bytes: its tables, and the stack that it ran on.
const INSTANCE_BYTES: usize = 640 << 10;

/// What a session is known by.
pub(super) type Key = (SandboxId, String);

/// Everything at hand. Whoever has it may take, keep and forget; the rest is done behind.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    budget_bytes: usize,
}

/// What is at hand, for whoever watches the service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolStats {
    /// Instances at rest.
    pub(crate) resting: usize,
    /// Memory that all of it takes, in bytes.
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct Inner {
    resting: HashMap<Key, Rest>,
    snapshots: HashMap<NodeId, Known>,
    /// The last moments of each session, the oldest first.
    moments: HashMap<Key, VecDeque<NodeId>>,
    /// Who was used when, the longest ago first.
    used_sessions: BTreeMap<u64, Key>,
    used_snapshots: BTreeMap<u64, NodeId>,
    clock: u64,
    /// Bytes that resting instances have for themselves.
    resting_bytes: usize,
    chores: Chores,
}

/// An instance that rests, and the moment that its memory is.
struct Rest {
    resting: Resting,
    snapshot: Arc<Snapshot>,
    bytes: usize,
    used: u64,
}

struct Known {
    snapshot: Arc<Snapshot>,
    used: u64,
    /// Instances that began with it.
    begun: usize,
}

/// What is needed least of all.
enum Least {
    Session(Key),
    Snapshot(NodeId),
}

/// What is to be done behind: a thread does it, which is there while there is something.
#[derive(Default)]
struct Chores {
    /// Instances that are let go: giving their memory back takes longer than a call.
    dropped: Vec<Resting>,
    /// Snapshots that are to have an image of their own.
    settling: VecDeque<(Key, Arc<Snapshot>)>,
    has_thread: bool,
}

impl Pool {
    /// Returns a pool that may use so much memory, in bytes.
    pub(crate) fn new(budget_bytes: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), budget_bytes })
    }

    /// Keeps what a call left, now that it is durable.
    pub(super) fn keep(self: &Arc<Self>, key: Key, snapshot: Arc<Snapshot>, resting: Resting, own_pages: usize) {
        let Some(id) = snapshot.id() else { return };
        let mut inner = self.lock();
        inner.put(id, Arc::clone(&snapshot));
        let old = inner.passed(&key, id);
        inner.rest(key, Rest { resting, snapshot, bytes: own_pages * PAGE_BYTES + INSTANCE_BYTES, used: 0 });
        self.tidy(inner);
        drop(old);
    }

    /// Takes the instance of a session, if its memory is this snapshot or can be made so for little.
    pub(super) fn take(self: &Arc<Self>, key: &Key, wanted: &Arc<Snapshot>) -> Option<Resting> {
        let mut inner = self.lock();
        let Rest { mut resting, snapshot, .. } = inner.unrest(key)?;
        if snapshot.id() == wanted.id() {
            return Some(resting);
        }
        drop(inner);
        if resting.becomes(&snapshot, wanted) {
            return Some(resting);
        }
        let mut inner = self.lock();
        inner.chores.dropped.push(resting);
        self.tidy(inner);
        None
    }

    /// Returns a snapshot that is at hand.
    pub(super) fn snapshot(&self, id: NodeId) -> Option<Arc<Snapshot>> {
        let mut inner = self.lock();
        let now = inner.tick();
        let inner = &mut *inner;
        let known = inner.snapshots.get_mut(&id)?;
        inner.used_snapshots.remove(&known.used);
        inner.used_snapshots.insert(now, id);
        known.used = now;
        Some(Arc::clone(&known.snapshot))
    }

    /// Keeps a snapshot that was read.
    pub(super) fn put(self: &Arc<Self>, snapshot: &Arc<Snapshot>) {
        let Some(id) = snapshot.id() else { return };
        let mut inner = self.lock();
        inner.put(id, Arc::clone(snapshot));
        self.tidy(inner);
    }

    /// An instance begins with a snapshot that is no other's memory. Gives it an image of its own once that pays: when so many began
    /// with it that copying what lies over its image has cost as much as making one.
    pub(super) fn begins(self: &Arc<Self>, key: &Key, snapshot: &Arc<Snapshot>) {
        let Some(id) = snapshot.id() else { return };
        let mut inner = self.lock();
        let Some(known) = inner.snapshots.get_mut(&id) else { return };
        known.begun += 1;
        if known.snapshot.wants_image(known.begun) && inner.chores.settling.iter().all(|(_, of)| of.id() != Some(id)) {
            inner.chores.settling.push_back((key.clone(), Arc::clone(snapshot)));
            self.tidy(inner);
        }
    }

    /// Lets go of the instance of one session.
    pub(super) fn forget_one(self: &Arc<Self>, sandbox: SandboxId, name: &str) {
        let mut inner = self.lock();
        let key = (sandbox, name.to_owned());
        drop(inner.let_go(&key));
        inner.moments.remove(&key);
        self.tidy(inner);
    }

    /// Lets go of the instances of a sandbox's sessions.
    pub(crate) fn forget(self: &Arc<Self>, sandbox: SandboxId) {
        let mut inner = self.lock();
        let keys: Vec<Key> = inner.resting.keys().filter(|(of, _)| *of == sandbox).cloned().collect();
        for key in keys {
            drop(inner.let_go(&key));
        }
        inner.moments.retain(|(of, _), _| *of != sandbox);
        self.tidy(inner);
    }

    /// Returns what is at hand.
    pub(crate) fn stats(&self) -> PoolStats {
        let inner = self.lock();
        PoolStats { resting: inner.resting.len(), bytes: inner.resting_bytes + gauge::bytes() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what is too much, and sees that somebody does the chores.
    fn tidy<'a>(self: &'a Arc<Self>, mut inner: MutexGuard<'a, Inner>) {
        while let Some(least) = inner.least_needed(self.budget_bytes) {
            let gone = match least {
                Least::Session(key) => inner.let_go(&key),
                Least::Snapshot(id) => inner.snapshots.remove(&id).map(|known| known.snapshot),
            };
            // What it holds has to be given back before one can say whether that was enough.
            drop(inner);
            drop(gone);
            inner = self.lock();
        }
        let chores = &mut inner.chores;
        if chores.dropped.is_empty() && chores.settling.is_empty() {
            return;
        }
        if chores.has_thread {
            return;
        }
        let pool = Arc::clone(self);
        match std::thread::Builder::new().name("sessions".to_owned()).spawn(move || pool.work()) {
            Ok(_) => chores.has_thread = true,
            Err(error) => {
                tracing::warn!(%error, "sessions keep more memory than they need");
                let chores = std::mem::take(chores);
                drop(inner);
                drop(chores);
            }
        }
    }

    /// Does the chores until there are none.
    fn work(&self) {
        let mut inner = self.lock();
        loop {
            let dropped = std::mem::take(&mut inner.chores.dropped);
            if !dropped.is_empty() {
                drop(inner);
                drop(dropped);
                inner = self.lock();
                continue;
            }
            let Some((key, snapshot)) = inner.chores.settling.pop_front() else {
                inner.chores.has_thread = false;
                return;
            };
            drop(inner);
            self.settle(&key, &snapshot);
            inner = self.lock();
        }
    }

    /// Gives a snapshot an image of its own; calls go on meanwhile, and the newest snapshot of the session is put over it.
    fn settle(&self, key: &Key, asked: &Arc<Snapshot>) {
        let Some(id) = asked.id() else { return };
        let newest = {
            let inner = self.lock();
            // What was let go or settled meanwhile wants nothing any more.
            if inner.snapshots.get(&id).is_none_or(|known| !known.snapshot.wants_image(known.begun)) {
                return;
            }
            inner.resting.get(key).map(|rest| Arc::clone(&rest.snapshot))
        };
        let settled = match asked.settled() {
            Ok(settled) => Arc::new(settled),
            Err(error) => {
                tracing::warn!(%error, "making an image of a session");
                return;
            }
        };
        let newest = newest.filter(|newest| newest.id() != Some(id));
        let moved = newest.and_then(|newest| newest.over_image_of(&settled)).map(Arc::new);
        let mut inner = self.lock();
        for snapshot in [Some(settled), moved].into_iter().flatten() {
            let Some(id) = snapshot.id() else { continue };
            if let Some(known) = inner.snapshots.get_mut(&id) {
                known.snapshot = Arc::clone(&snapshot);
            }
            let rest = inner.resting.get_mut(key).filter(|rest| rest.snapshot.id() == Some(id));
            let Some(rest) = rest else { continue };
            rest.snapshot = snapshot;
        }
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn put(&mut self, id: NodeId, snapshot: Arc<Snapshot>) {
        let used = self.tick();
        self.used_snapshots.insert(used, id);
        if let Some(old) = self.snapshots.insert(id, Known { snapshot, used, begun: 0 }) {
            self.used_snapshots.remove(&old.used);
        }
    }

    /// A session has come to another moment. Returns one that is too long ago, unless others began with it.
    fn passed(&mut self, key: &Key, id: NodeId) -> Option<Arc<Snapshot>> {
        let moments = self.moments.entry(key.clone()).or_default();
        if moments.back() != Some(&id) {
            moments.push_back(id);
        }
        let old = if moments.len() > MOMENTS_MAX { moments.pop_front() } else { None };
        let old = old.filter(|old| !moments.contains(old))?;
        let known = self.snapshots.get(&old).filter(|known| known.begun == 0)?;
        self.used_snapshots.remove(&known.used);
        self.snapshots.remove(&old).map(|known| known.snapshot)
    }

    fn rest(&mut self, key: Key, mut rest: Rest) {
        drop(self.let_go(&key));
        rest.used = self.tick();
        self.used_sessions.insert(rest.used, key.clone());
        self.resting_bytes += rest.bytes;
        self.resting.insert(key, rest);
    }

    fn unrest(&mut self, key: &Key) -> Option<Rest> {
        let rest = self.resting.remove(key)?;
        self.used_sessions.remove(&rest.used);
        self.resting_bytes -= rest.bytes;
        Some(rest)
    }

    /// Lets go of a session's instance, and returns the snapshot that it was.
    fn let_go(&mut self, key: &Key) -> Option<Arc<Snapshot>> {
        let Rest { resting, snapshot, .. } = self.unrest(key)?;
        self.chores.dropped.push(resting);
        Some(snapshot)
    }

    /// Takes out of the order what is to be let go next, while there is too much: what was used longest ago. What a session rests on is
    /// needed for as long as it rests: it would only be read again, once for each that begins with it.
    fn least_needed(&mut self, budget_bytes: usize) -> Option<Least> {
        let is_too_much = self.resting_bytes + gauge::bytes() > budget_bytes;
        let are_many = self.snapshots.len() > SNAPSHOTS_MAX || gauge::images() > IMAGES_MAX;
        if !is_too_much && !are_many && self.resting.len() <= RESTING_MAX {
            return None;
        }
        let session = self.used_sessions.first_key_value().map(|(used, _)| *used);
        let older = || self.used_snapshots.range(..session.unwrap_or(u64::MAX));
        let is_free = |id: &NodeId| self.snapshots.get(id).is_none_or(|known| Arc::strong_count(&known.snapshot) == 1);
        let snapshot = match older().find(|(_, id)| is_free(id)) {
            // With nobody at rest there are those that calls have just begun with.
            None if session.is_none() => older().next(),
            found => found,
        };
        let snapshot = snapshot.map(|(used, _)| *used);
        match snapshot {
            Some(used) => self.used_snapshots.remove(&used).map(Least::Snapshot),
            None => self.used_sessions.pop_first().map(|(_, key)| Least::Session(key)),
        }
    }
}
