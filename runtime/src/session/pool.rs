//! What is kept at hand of sessions, so that their next calls begin at once: instances at rest, and snapshots by their names in the store.
//!
//! All of it only saves time, and all of it together stays within a budget of memory: what was used longest ago is let go first. A
//! session that was let go sleeps: its memory is in the store, and its next call reads it from there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandglass_snapshots::{NodeId, SandboxId};

use crate::guest::Resting;
use crate::memory::{PAGE_BYTES, Snapshot, gauge};

/// Instances that rest, over all sandboxes: each takes some mappings, of which the kernel gives a process 65,530.
const RESTING_MAX: usize = 4096;
/// Images, over all sandboxes: each takes a descriptor.
const IMAGES_MAX: usize = 512;
/// Snapshots at hand, over all sandboxes.
const SNAPSHOTS_MAX: usize = 16_384;
/// What an instance takes besides the pages it has written, in bytes, about.
const INSTANCE_BYTES: usize = 160 << 10;
/// Pages that an instance may keep for itself once its snapshot has an image that others can share.
const OWN_PAGES_MAX: usize = 1024;
/// How long a session is left alone before it is given an image of its own: many small calls in a row are worth one.
const SETTLE_AFTER: Duration = Duration::from_millis(500);

/// What a session is known by.
pub(super) type Key = (SandboxId, String);

/// Everything at hand. Whoever has it may take, keep and forget; the rest is done behind.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    /// There is something to do, or it is due earlier.
    bell: Condvar,
    budget_bytes: usize,
}

/// What the pool did, for whoever watches the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolStats {
    /// Instances at rest.
    pub(crate) resting: usize,
    /// Snapshots at hand.
    pub(crate) snapshots: usize,
    /// Memory that all of it takes, in bytes.
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct Inner {
    resting: HashMap<Key, Rest>,
    snapshots: HashMap<NodeId, Known>,
    /// Who was used when, the longest ago first.
    used: BTreeMap<u64, Item>,
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
}

enum Item {
    Resting(Key),
    Snapshot(NodeId),
}

/// What is let go: giving its memory back takes longer than a call.
#[expect(dead_code, reason = "it is kept until it is dropped")]
enum Gone {
    Instance(Resting),
    Snapshot(Arc<Snapshot>),
}

/// What is to be done behind: a thread does it, which is there while there is something.
#[derive(Default)]
struct Chores {
    dropped: Vec<Gone>,
    /// Snapshots that want an image of their own, and from when on.
    settling: VecDeque<(Instant, Key, Arc<Snapshot>)>,
    has_thread: bool,
}

impl Pool {
    /// Returns a pool that may use so much memory, in bytes.
    pub(crate) fn new(budget_bytes: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), bell: Condvar::new(), budget_bytes })
    }

    /// Keeps what a call left, now that it is durable.
    pub(super) fn keep(self: &Arc<Self>, key: Key, snapshot: Arc<Snapshot>, resting: Resting, own_pages: usize) {
        let Some(id) = snapshot.id() else { return };
        let mut inner = self.lock();
        inner.put(id, Arc::clone(&snapshot));
        let wants_image = snapshot.wants_image();
        if wants_image {
            inner.settle(&key, &snapshot, SETTLE_AFTER);
        }
        if own_pages > OWN_PAGES_MAX && !wants_image {
            // The next call begins with the image, which others share.
            inner.chores.dropped.push(Gone::Instance(resting));
        } else {
            inner.rest(key, Rest { resting, snapshot, bytes: own_pages * PAGE_BYTES + INSTANCE_BYTES, used: 0 });
        }
        self.tidy(inner);
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
        inner.chores.dropped.push(Gone::Instance(resting));
        self.tidy(inner);
        None
    }

    /// Returns a snapshot that is at hand.
    pub(super) fn snapshot(&self, id: NodeId) -> Option<Arc<Snapshot>> {
        let mut inner = self.lock();
        let now = inner.tick();
        let inner = &mut *inner;
        let known = inner.snapshots.get_mut(&id)?;
        inner.used.remove(&known.used);
        inner.used.insert(now, Item::Snapshot(id));
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

    /// An instance is about to begin with a snapshot that is not its own: others will, too. Gives it an image of its own when that pays.
    pub(super) fn share(self: &Arc<Self>, key: &Key, snapshot: &Arc<Snapshot>) {
        if snapshot.wants_image() {
            let mut inner = self.lock();
            inner.settle(key, snapshot, Duration::ZERO);
            self.tidy(inner);
        }
    }

    /// Lets go of the instances of a sandbox's sessions.
    pub(crate) fn forget(self: &Arc<Self>, sandbox: SandboxId) {
        let mut inner = self.lock();
        let keys: Vec<Key> = inner.resting.keys().filter(|(of, _)| *of == sandbox).cloned().collect();
        for key in keys {
            inner.let_go(&key);
        }
        self.tidy(inner);
    }

    /// Returns what is at hand.
    pub(crate) fn stats(&self) -> PoolStats {
        let inner = self.lock();
        PoolStats {
            resting: inner.resting.len(),
            snapshots: inner.snapshots.len(),
            bytes: inner.resting_bytes + gauge::bytes(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what is too much, and sees that somebody does the chores.
    fn tidy(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        while inner.is_too_much(self.budget_bytes) {
            let Some((_, item)) = inner.used.pop_first() else { break };
            match item {
                Item::Resting(key) => inner.let_go(&key),
                Item::Snapshot(id) => {
                    let known = inner.snapshots.remove(&id);
                    inner.chores.dropped.extend(known.map(|known| Gone::Snapshot(known.snapshot)));
                }
            }
        }
        let chores = &mut inner.chores;
        if chores.dropped.is_empty() && chores.settling.is_empty() {
            return;
        }
        if chores.has_thread {
            self.bell.notify_one();
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
            let settling = &mut inner.chores.settling;
            let Some(place) = (0..settling.len()).min_by_key(|place| settling[*place].0) else {
                inner.chores.has_thread = false;
                return;
            };
            let wait = settling[place].0.saturating_duration_since(Instant::now());
            if wait > Duration::ZERO {
                inner = self.bell.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let due = settling.remove(place);
            drop(inner);
            if let Some((_, key, snapshot)) = due {
                self.settle(&key, &snapshot);
            }
            inner = self.lock();
        }
    }

    /// Gives a snapshot an image of its own; calls go on meanwhile, and the newest snapshot of the session is put over it.
    fn settle(&self, key: &Key, asked: &Arc<Snapshot>) {
        let Some(id) = asked.id() else { return };
        let newest = {
            let inner = self.lock();
            // What was let go or settled meanwhile wants nothing any more.
            if inner.snapshots.get(&id).is_none_or(|known| !known.snapshot.wants_image()) {
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
        let newest = newest.filter(|newest| newest.id() != Some(id) && newest.wants_image());
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
            if rest.bytes > OWN_PAGES_MAX * PAGE_BYTES {
                inner.let_go(key);
            }
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
        self.used.insert(used, Item::Snapshot(id));
        if let Some(old) = self.snapshots.insert(id, Known { snapshot, used }) {
            self.used.remove(&old.used);
        }
    }

    fn rest(&mut self, key: Key, mut rest: Rest) {
        self.let_go(&key);
        rest.used = self.tick();
        self.used.insert(rest.used, Item::Resting(key.clone()));
        self.resting_bytes += rest.bytes;
        self.resting.insert(key, rest);
    }

    fn unrest(&mut self, key: &Key) -> Option<Rest> {
        let rest = self.resting.remove(key)?;
        self.used.remove(&rest.used);
        self.resting_bytes -= rest.bytes;
        Some(rest)
    }

    fn let_go(&mut self, key: &Key) {
        let rest = self.unrest(key);
        self.chores.dropped.extend(rest.map(|rest| Gone::Instance(rest.resting)));
    }

    fn settle(&mut self, key: &Key, snapshot: &Arc<Snapshot>, after: Duration) {
        let due = Instant::now() + after;
        match self.chores.settling.iter_mut().find(|(_, of, _)| of == key) {
            // The newest one, at the earliest time that was asked for.
            Some((at, _, asked)) => {
                *at = due.min(*at);
                *asked = Arc::clone(snapshot);
            }
            None => self.chores.settling.push_back((due, key.clone(), Arc::clone(snapshot))),
        }
    }

    fn is_too_much(&self, budget_bytes: usize) -> bool {
        self.resting.len() > RESTING_MAX
            || self.snapshots.len() > SNAPSHOTS_MAX
            || gauge::images() > IMAGES_MAX
            || self.resting_bytes + gauge::bytes() > budget_bytes
    }
}
