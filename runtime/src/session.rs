//! Sessions: interpreters that go on from call to call, whose memory is part of the sandbox's state.
//!
//! A session belongs to a state as its files do: whoever goes back, forks or restarts the service finds it as that state has it.
//! What is kept at hand here only saves time: the instance that the last call left, and snapshots by their names in the store.
//! An instance is entered again only by the call that follows on the very image it left; every other call begins with a snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandglass_snapshots::{NodeBatch, NodeId, SandboxId, Session, Transaction};

use crate::error::{Error, ErrorKind};
use crate::guest::{Begin, Guest, Left, Rested, Resting};
use crate::host::World;
use crate::memory::Snapshot;

/// The longest name of a session, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Sessions that one sandbox may have.
const SESSIONS_MAX: usize = 32;
/// Instances that rest, over all sandboxes; the one that rested longest goes first.
const RESTING_MAX: usize = 64;
/// Snapshots at hand, over all sandboxes, and the bytes of pages that they may keep.
const SNAPSHOTS_MAX: usize = 4096;
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// Pages that a resting instance may have written.
const WRITTEN_MAX: usize = 2048;

/// What a session is known by.
type Key = (SandboxId, String);

/// The sessions at hand.
#[derive(Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    resting: HashMap<Key, (NodeId, Resting, u64)>,
    /// Sessions that are given an image of their own, and the newest snapshot of each.
    settling: HashMap<Key, Arc<Snapshot>>,
    snapshots: HashMap<NodeId, (Arc<Snapshot>, u64)>,
    snapshot_bytes: usize,
    clock: u64,
}

/// A call of a session that runs.
pub(crate) struct Going {
    name: String,
    guest: [u8; 32],
    /// What it began with.
    base: Arc<Snapshot>,
    pub(crate) left: Left,
}

/// What a call made of its session, to be kept at hand once it is durable.
pub(crate) struct Gone {
    name: String,
    resting: Resting,
    snapshot: Arc<Snapshot>,
    /// Whether it has written so much that the next call had better begin anew.
    is_heavy: bool,
}

/// Checks the name of a session.
///
/// # Errors
/// It is empty, too long, or has characters that names here don't have.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
        return Err(Error::invalid(
            "invalid_session",
            "a session's name has 1 to 64 letters, digits, `-`, `_` and `.`",
        ));
    }
    Ok(())
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a call left, now that it is durable; makes an image of the snapshot when that pays.
    pub(crate) fn keep(self: &Arc<Self>, sandbox: SandboxId, gone: Gone) {
        let Gone { name, resting, snapshot, is_heavy } = gone;
        let Some(id) = snapshot.id() else { return };
        let key = (sandbox, name);
        let mut dropped = Vec::new();
        let mut settles = false;
        {
            let mut inner = self.lock();
            inner.put(id, Arc::clone(&snapshot));
            match inner.settling.get_mut(&key) {
                Some(newest) => *newest = Arc::clone(&snapshot),
                None if snapshot.wants_image() => {
                    inner.settling.insert(key.clone(), Arc::clone(&snapshot));
                    settles = true;
                }
                None => {}
            }
            let now = inner.tick();
            // Every call looks through all that its instance has written: one that has written much is left behind.
            if is_heavy {
                dropped.push(resting);
            } else {
                dropped.extend(inner.resting.insert(key.clone(), (id, resting, now)).map(|(_, old, _)| old));
            }
            while inner.resting.len() > RESTING_MAX {
                let oldest = inner.resting.iter().min_by_key(|(_, (.., used))| *used).map(|(key, _)| key.clone());
                let Some(oldest) = oldest else { break };
                dropped.extend(inner.resting.remove(&oldest).map(|(_, old, _)| old));
            }
        }
        let sessions = Arc::clone(self);
        if dropped.is_empty() && !settles {
            return;
        }
        // Off the way of calls: giving memory back takes longer than a call.
        let worker = std::thread::Builder::new().name("sessions".to_owned()).spawn(move || {
            drop(dropped);
            if settles {
                sessions.settle(&key, &snapshot);
            }
        });
        if let Err(error) = worker {
            tracing::warn!(%error, "a session keeps more memory than it need");
        }
    }

    /// Gives a session an image of its own; calls go on meanwhile, and the newest snapshot gets it.
    fn settle(&self, key: &Key, snapshot: &Snapshot) {
        let made = snapshot.own_image();
        let mut inner = self.lock();
        let newest = inner.settling.remove(key);
        match (made, newest) {
            (Ok(image), Some(newest)) => {
                let settled = newest.over_image(image, snapshot);
                if let Some((id, settled)) = newest.id().zip(settled) {
                    inner.put(id, Arc::new(settled));
                    // The next call begins with the image.
                    let left = inner.resting.remove(key);
                    drop(inner);
                    drop(left);
                }
            }
            (Err(error), _) => tracing::warn!(%error, "making an image of a session"),
            (Ok(_), None) => {}
        }
    }

    fn take(&self, sandbox: SandboxId, name: &str, id: NodeId) -> Option<Resting> {
        let mut inner = self.lock();
        let (found, resting, _) = inner.resting.remove(&(sandbox, name.to_owned()))?;
        (found == id).then_some(resting)
    }

    fn snapshot(&self, id: NodeId) -> Option<Arc<Snapshot>> {
        let mut inner = self.lock();
        let now = inner.tick();
        let (snapshot, used) = inner.snapshots.get_mut(&id)?;
        *used = now;
        Some(Arc::clone(snapshot))
    }

    /// Lets go of everything that is at hand for a sandbox's sessions.
    pub(crate) fn forget(&self, sandbox: SandboxId) {
        let gone: Vec<_> = {
            let mut inner = self.lock();
            let keys: Vec<Key> = inner.resting.keys().filter(|(of, _)| *of == sandbox).cloned().collect();
            keys.iter().filter_map(|key| inner.resting.remove(key)).collect()
        };
        drop(gone);
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn put(&mut self, id: NodeId, snapshot: Arc<Snapshot>) {
        let now = self.tick();
        self.snapshot_bytes += snapshot.weight();
        if let Some((old, _)) = self.snapshots.insert(id, (snapshot, now)) {
            self.snapshot_bytes -= old.weight();
        }
        while self.snapshots.len() > SNAPSHOTS_MAX
            || (self.snapshot_bytes > SNAPSHOT_BYTES_MAX && self.snapshots.len() > 1)
        {
            let oldest = self.snapshots.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            let Some((old, _)) = oldest.and_then(|oldest| self.snapshots.remove(&oldest)) else { break };
            self.snapshot_bytes -= old.weight();
        }
    }
}

/// Returns what a call of a session begins with, and its open files.
///
/// # Errors
/// The guest can't have sessions, the session is another guest's, or the store or host fails.
pub(crate) fn begin(
    world: &World,
    sandbox: SandboxId,
    transaction: &Transaction,
    name: &str,
    guest: &Guest,
    is_dry: bool,
) -> Result<(Going, Begin, Vec<u8>), Error> {
    let found = transaction.session(name)?;
    if found.is_none() && transaction.sessions().count() >= SESSIONS_MAX {
        let message = format!("a sandbox has at most {SESSIONS_MAX} sessions");
        return Err(Error::new(ErrorKind::Limit, "too_many_sessions", message));
    }
    let going = |base| Going { name: name.to_owned(), guest: guest.hash(), base, left: Left::default() };
    let Some(Session { guest: hash, image: Some(image), globals, descriptors, .. }) = found else {
        let base = guest.beginning()?;
        return Ok((going(Arc::clone(&base)), Begin::Snapshot(base), Vec::new()));
    };
    if hash != guest.hash() {
        let message = format!("the session `{name}` is one of another tool");
        return Err(Error::conflict("session_of_another_tool", message).hinted("choose another name"));
    }
    let snapshot = match world.sessions.snapshot(image) {
        Some(snapshot) => snapshot,
        None => {
            let first = guest.first_image()?;
            let snapshot = Arc::new(Snapshot::load(&world.store, image, first, globals)?);
            world.sessions.lock().put(image, Arc::clone(&snapshot));
            snapshot
        }
    };
    let begin = match world.sessions.take(sandbox, name, image).filter(|_| !is_dry) {
        Some(resting) => Begin::Live(resting),
        None => Begin::Snapshot(Arc::clone(&snapshot)),
    };
    Ok((going(snapshot), begin, descriptors.to_vec()))
}

impl Going {
    /// Makes what the program left part of the call's transaction; nothing when it left nothing.
    ///
    /// # Errors
    /// The host does not say what was written.
    pub(crate) fn rest(self, transaction: &mut Transaction) -> Result<Option<(Gone, crate::wasi::Told)>, Error> {
        let rested = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Rested { mut resting, descriptors, globals, told }) = rested else { return Ok(None) };
        let mut nodes = NodeBatch::new();
        let memory = resting.memory().ok_or_else(|| Error::internal("a session without memory"))?;
        let snapshot = self.base.after(memory, globals.clone(), &mut nodes);
        let (snapshot, written) =
            snapshot.map_err(|error| Error::internal(format!("reading a session's memory: {error}")))?;
        let Self { name, guest, .. } = self;
        let session =
            Session { name: name.clone(), guest, image: snapshot.id(), globals, descriptors: descriptors.into() };
        transaction.put_session(session, nodes);
        let gone = Gone { name, resting, snapshot: Arc::new(snapshot), is_heavy: written > WRITTEN_MAX };
        Ok(Some((gone, told)))
    }
}
