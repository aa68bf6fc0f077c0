//! The files behind a mount: a transaction on a state or on a sandbox's head, by inode.
//!
//! The kernel knows inodes by number for as long as it likes; a transaction knows those that were looked up in it. So each
//! number that was given out is kept with the name it was found under, and looked up again where the head has moved on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sandglass_snapshots::{
    Attributes, DirectoryEntry, FsError, Head, Inode, Kind, NodeBatch, OperationKind, Quota, StateId, Timestamp,
    Transaction,
};
use serde_json::json;

use crate::clock::Clock;
use crate::error::Error;
use crate::host::Host;
use crate::sandbox::{Sandbox, to_detail};
use crate::turn::TurnGuard;

/// How long a change waits for a call to end before it is told that the sandbox is busy.
const TURN_WAIT: Duration = Duration::from_secs(10);
/// How long after the last change it is committed.
const REST: Duration = Duration::from_millis(200);
/// How long changes may go on before they are committed, so that calls get their turn.
const TURN_MAX: Duration = Duration::from_secs(2);

/// The longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Why an operation on a mounted file failed.
#[derive(Debug)]
pub(super) enum Failure {
    File(FsError),
    /// The file is not where the kernel saw it any more.
    Stale,
    /// A call runs.
    Busy,
    /// The store or the log refused; it was logged.
    Store,
    Permission,
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self::File(error)
    }
}

pub(super) type Outcome<T> = Result<T, Failure>;

/// An inode that the kernel knows.
struct Known {
    parent: Inode,
    name: Bytes,
    lookups: u64,
}

/// Changes that are not in the log yet.
struct Changes {
    turn: TurnGuard,
    since: Instant,
    last: Instant,
}

/// A sandbox whose head is mounted.
struct Live {
    sandbox: Sandbox,
    head: Head,
    actor: String,
    changes: Option<Changes>,
}

/// The files of one mount.
pub(super) struct Files {
    host: Host,
    transaction: Transaction,
    clock: Arc<dyn Clock>,
    /// None for a state, which can't be written.
    live: Option<Live>,
    known: HashMap<Inode, Known>,
    /// Open files, by inode: how often.
    open: HashMap<Inode, u32>,
    quota: Quota,
}

/// What to change of a file's attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) mode: Option<u16>,
    pub(super) size: Option<u64>,
    pub(super) accessed: Option<Timestamp>,
    pub(super) modified: Option<Timestamp>,
}

impl Files {
    pub(super) fn of_state(host: &Host, state: StateId) -> Result<Self, Error> {
        let quota = Quota { bytes: u64::MAX, inodes: u64::MAX };
        let transaction = host.world.store.begin(state, quota)?;
        Ok(Self::new(host.clone(), transaction, None, quota))
    }

    pub(super) fn of_sandbox(sandbox: Sandbox, actor: &str) -> Result<Self, Error> {
        let (host, quota, head) = (sandbox.host.clone(), sandbox.quota(), sandbox.head()?);
        let transaction = host.world.store.begin(head.state, quota)?;
        let live = Live { sandbox, head, actor: actor.to_owned(), changes: None };
        Ok(Self::new(host, transaction, Some(live), quota))
    }

    fn new(host: Host, transaction: Transaction, live: Option<Live>, quota: Quota) -> Self {
        let clock = Arc::clone(&host.world.clock);
        Self { host, transaction, clock, live, known: HashMap::new(), open: HashMap::new(), quota }
    }

    pub(super) const fn is_read_only(&self) -> bool {
        self.live.is_none()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) const fn quota(&self) -> Quota {
        self.quota
    }

    pub(super) fn usage(&self) -> sandglass_snapshots::TreeUsage {
        self.transaction.usage()
    }

    /// Goes to where the head is, unless there are changes on the old one; says whether it moved.
    pub(super) fn follow(&mut self) -> Outcome<bool> {
        let Some(live) = self.live.as_mut().filter(|live| live.changes.is_none()) else { return Ok(false) };
        let head = live.sandbox.head().map_err(|error| refused(&error))?;
        if head.state == live.head.state {
            live.head = head;
            return Ok(false);
        }
        live.head = head;
        let begun = self.host.world.store.begin(head.state, self.quota);
        self.transaction = begun.map_err(|error| refused(&error.into()))?;
        let open: Vec<(Inode, u32)> = self.open.iter().map(|(inode, count)| (*inode, *count)).collect();
        for (inode, count) in open {
            for _ in 0..count {
                // One that is gone is told of when it is used.
                if self.find(inode).is_ok() {
                    drop(self.transaction.retain(inode));
                }
            }
        }
        Ok(true)
    }

    /// Makes sure that the transaction knows an inode that the kernel knows.
    fn find(&mut self, inode: Inode) -> Outcome<()> {
        let mut missing = Vec::new();
        let mut at = inode;
        while at != Inode::ROOT && self.transaction.attributes(at).is_err() {
            let known = self.known.get(&at).ok_or(Failure::Stale)?;
            missing.push((at, known.parent, known.name.clone()));
            at = known.parent;
            if missing.len() > 4096 {
                return Err(Failure::Stale);
            }
        }
        while let Some((inode, parent, name)) = missing.pop() {
            match self.transaction.lookup(parent, &name) {
                Ok(found) if found == inode => {}
                Ok(_) | Err(FsError::NotFound | FsError::NotADirectory) => return Err(Failure::Stale),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn see(&mut self, inode: Inode) -> Outcome<()> {
        self.follow()?;
        self.find(inode)
    }

    /// Takes the sandbox's turn for a change, if it is not taken yet.
    fn begin(&mut self) -> Outcome<Timestamp> {
        let Some(live) = self.live.as_mut() else { return Err(FsError::ReadOnly.into()) };
        let now = Instant::now();
        match live.changes.as_mut() {
            Some(changes) => changes.last = now,
            None => {
                let turn = live.sandbox.shared.turn().take(TURN_WAIT).map_err(|_| Failure::Busy)?;
                self.follow()?;
                if let Some(live) = self.live.as_mut() {
                    live.changes = Some(Changes { turn, since: now, last: now });
                }
            }
        }
        Ok(self.now())
    }

    /// Commits changes that have come to rest, or that keep others waiting.
    pub(super) fn commit_if_due(&mut self) {
        let is_due = |changes: &Changes| changes.last.elapsed() >= REST || changes.since.elapsed() >= TURN_MAX;
        if self.live.as_ref().and_then(|live| live.changes.as_ref()).is_some_and(is_due) {
            drop(self.commit());
        }
    }

    /// Makes all changes one operation, durably.
    pub(super) fn commit(&mut self) -> Outcome<()> {
        let Some(live) = self.live.as_mut() else { return Ok(()) };
        let Some(Changes { turn, .. }) = live.changes.take() else { return Ok(()) };
        if !self.transaction.is_changed() {
            return Ok(());
        }
        let outcome = self.transaction.seal_in_place().map_err(Error::from).and_then(|sealed| {
            if !sealed.changed {
                return Ok(());
            }
            let mut operation = live.sandbox.operation(OperationKind::Write, &live.head, sealed.state, &live.actor);
            operation.detail = to_detail(&json!({ "action": "mount" }))?;
            let nodes: NodeBatch = sealed.nodes;
            live.sandbox.append(&turn, &live.head, operation, nodes)?;
            live.head = live.sandbox.head()?;
            Ok(())
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "changes through a mount were lost");
            // What the log has is what there is.
            live.head.state = StateId([0; 32]);
            drop(turn);
            self.follow()?;
            return Err(Failure::Store);
        }
        Ok(())
    }

    fn remember(&mut self, inode: Inode, parent: Inode, name: &[u8], lookups: u64) {
        let name = Bytes::copy_from_slice(name);
        let known = self.known.entry(inode).or_insert_with(|| Known { parent, name: name.clone(), lookups: 0 });
        known.lookups += lookups;
        (known.parent, known.name) = (parent, name);
    }

    pub(super) fn forget(&mut self, inode: Inode, lookups: u64) {
        if let Some(known) = self.known.get_mut(&inode) {
            known.lookups = known.lookups.saturating_sub(lookups);
            if known.lookups == 0 {
                self.known.remove(&inode);
            }
        }
    }

    /// Returns the inodes that the kernel knows.
    pub(super) fn known(&self) -> Vec<Inode> {
        self.known.keys().copied().chain([Inode::ROOT]).collect()
    }

    pub(super) fn lookup(&mut self, parent: Inode, name: &[u8]) -> Outcome<Attributes> {
        self.see(parent)?;
        let inode = match name {
            b"." => parent,
            b".." => self.transaction.parent(parent)?,
            _ if name.len() > NAME_BYTES_MAX => return Err(FsError::NameTooLong.into()),
            _ => {
                let inode = self.transaction.lookup(parent, name)?;
                self.remember(inode, parent, name, 1);
                inode
            }
        };
        Ok(self.transaction.attributes(inode)?)
    }

    pub(super) fn attributes(&mut self, inode: Inode) -> Outcome<Attributes> {
        self.see(inode)?;
        Ok(self.transaction.attributes(inode)?)
    }

    pub(super) fn change(&mut self, inode: Inode, change: Change) -> Outcome<Attributes> {
        let now = self.begin()?;
        self.find(inode)?;
        if let Some(mode) = change.mode {
            self.transaction.set_mode(inode, mode, now)?;
        }
        if let Some(size) = change.size {
            self.transaction.set_size(inode, size, now)?;
        }
        if change.accessed.is_some() || change.modified.is_some() {
            self.transaction.set_times(inode, change.accessed, change.modified, now)?;
        }
        Ok(self.transaction.attributes(inode)?)
    }

    pub(super) fn read_link(&mut self, inode: Inode) -> Outcome<Bytes> {
        self.see(inode)?;
        Ok(self.transaction.read_link(inode)?)
    }

    pub(super) fn create(&mut self, parent: Inode, name: &[u8], kind: Kind, mode: u16) -> Outcome<Attributes> {
        let now = self.begin()?;
        self.find(parent)?;
        let inode = match kind {
            Kind::Directory => self.transaction.create_directory(parent, name, mode, now)?,
            _ => self.transaction.create_file(parent, name, mode, now)?,
        };
        self.remember(inode, parent, name, 1);
        Ok(self.transaction.attributes(inode)?)
    }

    pub(super) fn symlink(&mut self, parent: Inode, name: &[u8], target: &[u8]) -> Outcome<Attributes> {
        let now = self.begin()?;
        self.find(parent)?;
        let inode = self.transaction.create_symlink(parent, name, target, now)?;
        self.remember(inode, parent, name, 1);
        Ok(self.transaction.attributes(inode)?)
    }

    pub(super) fn link(&mut self, inode: Inode, parent: Inode, name: &[u8]) -> Outcome<Attributes> {
        let now = self.begin()?;
        self.find(inode)?;
        self.find(parent)?;
        self.transaction.link(inode, parent, name, now)?;
        self.remember(inode, parent, name, 1);
        Ok(self.transaction.attributes(inode)?)
    }

    pub(super) fn remove(&mut self, parent: Inode, name: &[u8], directory: bool) -> Outcome<()> {
        let now = self.begin()?;
        self.find(parent)?;
        if directory {
            self.transaction.remove_directory(parent, name, now)?;
        } else {
            self.transaction.unlink(parent, name, now)?;
        }
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        parent: Inode,
        name: &[u8],
        new_parent: Inode,
        new_name: &[u8],
        keep_existing: bool,
    ) -> Outcome<()> {
        let now = self.begin()?;
        self.find(parent)?;
        self.find(new_parent)?;
        let inode = self.transaction.lookup(parent, name)?;
        if keep_existing && self.transaction.lookup(new_parent, new_name).is_ok() {
            return Err(FsError::Exists.into());
        }
        self.transaction.rename(parent, name, new_parent, new_name, now)?;
        if self.known.contains_key(&inode) {
            self.remember(inode, new_parent, new_name, 0);
        }
        Ok(())
    }

    pub(super) fn open(&mut self, inode: Inode) -> Outcome<()> {
        self.see(inode)?;
        self.transaction.retain(inode)?;
        *self.open.entry(inode).or_default() += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, inode: Inode) {
        if let Some(count) = self.open.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&inode);
            }
            self.transaction.release(inode);
        }
    }

    pub(super) fn read(&mut self, inode: Inode, offset: u64, length: u32) -> Outcome<Vec<u8>> {
        self.see(inode)?;
        let size = self.transaction.attributes(inode)?.size;
        let length = size.saturating_sub(offset).min(u64::from(length));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = self.transaction.read(inode, offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> Outcome<()> {
        let now = self.begin()?;
        self.find(inode)?;
        Ok(self.transaction.write(inode, offset, bytes, now)?)
    }

    /// Returns the number of a directory's parent, and entries from a cookie on.
    pub(super) fn list(
        &mut self,
        directory: Inode,
        cookie: u64,
        limit: usize,
    ) -> Outcome<(Inode, Vec<DirectoryEntry>)> {
        self.see(directory)?;
        let parent = self.transaction.parent(directory)?;
        Ok((parent, self.transaction.read_directory(directory, cookie, limit)?))
    }
}

/// Logs what the store answered: a program only learns that it failed.
fn refused(error: &Error) -> Failure {
    tracing::error!(%error, "a mounted sandbox can't be read");
    Failure::Store
}
