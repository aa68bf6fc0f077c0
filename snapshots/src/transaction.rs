//! A transaction: writable work on top of a state, by inode and with POSIX's rules. It knows no paths and no descriptors.
//!
//! Inodes are read from the state as they are asked for and kept; what changes stays in memory until [`Transaction::seal`]
//! names it, once, from the leaves up. A clone is a savepoint: it shares everything that neither of the two changes.

mod attach;
pub(crate) mod directory;
mod file;
mod patch;
mod seal;
mod sessions;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
pub(crate) mod tests;

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

pub use self::sessions::Session;
use crate::error::{FsError, StoreError};
use crate::id::{Inode, NodeId, StateId, Timestamp};
use crate::node::{NodeBatch, NodeSource};
use crate::state::{State, TreeUsage};
use crate::store::Hold;
use crate::tree::record::MODE_MASK;
use crate::tree::{Content, Directory, DirectoryCache, File, Nodes, Record};

/// How much a sandbox may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Sum of the sizes of its files, in bytes.
    pub bytes: u64,
    /// Files, directories and symbolic links.
    pub inodes: u64,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// What is known of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub inode: Inode,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most `0o7777`.
    pub mode: u16,
    /// How many names it has; 0 once it is unlinked and only open.
    pub links: u64,
    /// Bytes of a file or of a link's target; 0 for a directory.
    pub size: u64,
    /// When it was last read, as far as this transaction knows.
    pub accessed: Timestamp,
    /// When its content last changed: the only time that a state keeps.
    pub modified: Timestamp,
    /// When its attributes last changed, as far as this transaction knows.
    pub changed: Timestamp,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: Bytes,
    /// Its inode.
    pub inode: Inode,
    /// What it is.
    pub kind: Kind,
    /// Where the listing goes on after it.
    pub cookie: u64,
}

/// A transaction's new state and the nodes that the store does not have yet.
#[derive(Debug)]
pub struct Sealed {
    /// The state's name.
    pub state: StateId,
    /// Whether it differs from the state that the transaction began with.
    pub changed: bool,
    /// What the state holds.
    pub usage: TreeUsage,
    /// Its new nodes.
    pub nodes: NodeBatch,
}

/// The largest size of a file, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = i64::MAX as u64;
/// The most names that a file can have.
pub(crate) const LINKS_MAX: u64 = 65_000;

/// Inode numbers are given one after another and need no protection against chosen collisions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InodeHasher(u64);

impl Hasher for InodeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 =
            (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
}

type InodeMap<T> = GenericHashMap<Inode, T, BuildHasherDefault<InodeHasher>, DefaultSharedPtr>;

/// Writable work on top of a state. See the module's documentation.
#[derive(Clone)]
pub struct Transaction {
    nodes: Nodes<'static>,
    /// The state that this one began with, or was last sealed as; none for a new tree.
    base: Option<StateId>,
    guests: Arc<Vec<(String, [u8; 32])>>,
    sessions: Arc<Vec<crate::state::SessionImage>>,
    /// Whether they differ from the base's, and what was put with them.
    sessions_changed: bool,
    session_nodes: NodeBatch,
    /// Every inode that was looked at or changed.
    live: InodeMap<Arc<Live>>,
    /// Of those, the ones that differ from the base.
    dirty: InodeMap<()>,
    /// Of those, the ones without a name that a descriptor keeps: no part of a state.
    nameless: InodeMap<()>,
    links: Directory,
    next_inode: u64,
    usage: TreeUsage,
    /// Further names that were given to files here: each takes memory, and with the files they are no more than there may be.
    named: u64,
    quota: Quota,
    /// What it reads and refers to.
    hold: Hold,
}

/// One inode in a transaction.
#[derive(Clone, Debug)]
struct Live {
    mode: u16,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
    /// Names; 0 once the last is gone.
    links: u64,
    /// Descriptors that keep it after that.
    retained: u32,
    place: Place,
    body: Body,
}

/// Where an inode's record is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The root directory: in the state itself.
    Root,
    /// In the entry of this name in this directory.
    Entry(Inode, Bytes),
    /// In the link table.
    Table,
    /// Nowhere: it has no name any more.
    Gone,
}

#[derive(Clone, Debug)]
enum Body {
    File(File),
    Directory(Directory),
    Symlink(Bytes),
}

impl Body {
    const fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Directory(_) => Kind::Directory,
            Self::Symlink(_) => Kind::Symlink,
        }
    }
}

impl Live {
    fn new(body: Body, mode: u16, place: Place, now: Timestamp) -> Self {
        Self { mode, accessed: now, modified: now, changed: now, links: 1, retained: 0, place, body }
    }

    fn stored(record: &Record, place: Place, nodes: &Nodes<'_>) -> Result<Self, StoreError> {
        let body = match &record.content {
            Content::Directory(root) => Body::Directory(Directory::stored(*root, nodes)?),
            Content::Symlink(target) => Body::Symlink(target.clone()),
            content => Body::File(File::stored(content.clone(), record.size)),
        };
        let mut live = Self::new(body, record.mode, place, record.modified);
        live.links = record.links;
        Ok(live)
    }

    fn file_size(&self) -> u64 {
        match &self.body {
            Body::File(file) => file.size,
            Body::Directory(_) | Body::Symlink(_) => 0,
        }
    }
}

impl Transaction {
    /// Returns work on top of a state.
    pub(crate) fn open(
        source: Arc<dyn NodeSource>,
        cache: Arc<DirectoryCache>,
        state: StateId,
        quota: Quota,
        hold: Hold,
    ) -> Result<Self, StoreError> {
        Self::open_in(Nodes::new(source, cache), state, quota, hold)
    }

    fn open_in(nodes: Nodes<'static>, state: StateId, quota: Quota, hold: Hold) -> Result<Self, StoreError> {
        let loaded = State::load(nodes.source(), state)?;
        let root = Directory::stored(loaded.root, &nodes)?;
        let mut live = InodeMap::default();
        let modified = Timestamp(loaded.root_modified);
        live.insert(Inode::ROOT, Arc::new(Live::new(Body::Directory(root), loaded.root_mode, Place::Root, modified)));
        Ok(Self {
            links: Directory::stored(loaded.links, &nodes)?,
            nodes,
            base: Some(state),
            guests: Arc::new(loaded.guests),
            sessions: Arc::new(loaded.sessions),
            sessions_changed: false,
            session_nodes: NodeBatch::new(),
            live,
            dirty: InodeMap::default(),
            nameless: InodeMap::default(),
            next_inode: loaded.next_inode,
            usage: loaded.usage,
            named: 0,
            quota,
            hold,
        })
    }

    /// Returns work on a new tree with nothing but a root.
    pub(crate) fn empty(
        source: Arc<dyn NodeSource>,
        cache: Arc<DirectoryCache>,
        mut guests: Vec<(String, [u8; 32])>,
        quota: Quota,
        hold: Hold,
    ) -> Self {
        guests.sort();
        let mut live = InodeMap::default();
        let root = Live::new(Body::Directory(Directory::default()), 0o755, Place::Root, Timestamp(0));
        live.insert(Inode::ROOT, Arc::new(root));
        Self {
            nodes: Nodes::new(source, cache),
            base: None,
            guests: Arc::new(guests),
            sessions: Arc::default(),
            sessions_changed: false,
            session_nodes: NodeBatch::new(),
            live,
            dirty: InodeMap::default(),
            nameless: InodeMap::default(),
            links: Directory::default(),
            next_inode: Inode::ROOT.0 + 1,
            usage: TreeUsage { bytes: 0, inodes: 1 },
            named: 0,
            quota,
            hold,
        }
    }

    /// Returns the root directory.
    #[must_use]
    pub const fn root(&self) -> Inode {
        Inode::ROOT
    }

    /// Returns how much the tree may hold.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns how much the tree holds.
    #[must_use]
    pub const fn usage(&self) -> TreeUsage {
        self.usage
    }

    /// Says whether anything differs from the state that it began with.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.base.is_none() || !self.dirty.is_empty() || self.sessions_changed
    }

    /// Returns the smallest inode number that was never given.
    #[must_use]
    pub const fn next_inode(&self) -> Inode {
        Inode(self.next_inode)
    }

    /// Returns what is known of an inode.
    ///
    /// # Errors
    /// [`FsError::NotFound`] for a number that no lookup gave, or that is gone.
    pub fn attributes(&mut self, inode: Inode) -> Result<Attributes, FsError> {
        let live = self.live(inode)?;
        let size = match &live.body {
            Body::File(file) => file.size,
            Body::Directory(_) => 0,
            Body::Symlink(target) => target.len() as u64,
        };
        Ok(Attributes {
            inode,
            kind: live.body.kind(),
            mode: live.mode,
            links: live.links,
            size,
            accessed: live.accessed,
            modified: live.modified,
            changed: live.changed,
        })
    }

    /// Sets the times of an inode; those that are `None` stay.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn set_times(
        &mut self,
        inode: Inode,
        accessed: Option<Timestamp>,
        modified: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), FsError> {
        let live = self.live_mut(inode)?;
        live.accessed = accessed.unwrap_or(live.accessed);
        live.modified = modified.unwrap_or(live.modified);
        live.changed = now;
        if modified.is_some() {
            self.mark(inode);
        }
        Ok(())
    }

    /// Sets the permission bits of an inode.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn set_mode(&mut self, inode: Inode, mode: u16, now: Timestamp) -> Result<(), FsError> {
        let live = self.live_mut(inode)?;
        live.mode = mode & MODE_MASK;
        live.changed = now;
        self.mark(inode);
        Ok(())
    }

    /// Keeps an inode after its last name is gone, until as many [`Self::release`]s: for open descriptors.
    ///
    /// # Errors
    /// [`FsError::NotFound`].
    pub fn retain(&mut self, inode: Inode) -> Result<(), FsError> {
        let live = self.live_mut(inode)?;
        live.retained = live.retained.saturating_add(1);
        Ok(())
    }

    /// Takes one [`Self::retain`] back; an inode without a name goes with the last.
    pub fn release(&mut self, inode: Inode) {
        let Ok(live) = self.live_mut(inode) else { return };
        live.retained = live.retained.saturating_sub(1);
        if live.retained == 0 && live.links == 0 {
            self.forget(inode);
        }
    }

    fn live(&self, inode: Inode) -> Result<&Arc<Live>, FsError> {
        self.live.get(&inode).ok_or(FsError::NotFound)
    }

    fn live_mut(&mut self, inode: Inode) -> Result<&mut Live, FsError> {
        self.live.get_mut(&inode).map(Arc::make_mut).ok_or(FsError::NotFound)
    }

    fn mark(&mut self, inode: Inode) {
        self.dirty.insert(inode, ());
    }

    /// Takes an inode out of the tree for good, with what it used.
    fn forget(&mut self, inode: Inode) {
        if let Some(live) = self.live.remove(&inode) {
            self.usage.bytes = self.usage.bytes.saturating_sub(live.file_size());
            self.usage.inodes = self.usage.inodes.saturating_sub(1);
        }
        self.dirty.remove(&inode);
        self.nameless.remove(&inode);
    }

    /// Returns what the tree holds without the files that have no name any more.
    fn usage_of_names(&self) -> TreeUsage {
        let mut usage = self.usage;
        for live in self.nameless.keys().filter_map(|inode| self.live.get(inode)) {
            usage.bytes = usage.bytes.saturating_sub(live.file_size());
            usage.inodes = usage.inodes.saturating_sub(1);
        }
        usage
    }

    /// One name of an inode is gone.
    fn unname(&mut self, inode: Inode, now: Timestamp) -> Result<(), FsError> {
        let live = self.live_mut(inode)?;
        live.links = live.links.saturating_sub(1);
        live.changed = now;
        let in_table = live.place == Place::Table;
        if live.links > 0 {
            self.named = self.named.saturating_sub(1);
            self.mark(inode);
            return Ok(());
        }
        live.place = Place::Gone;
        let kept = live.retained > 0;
        if in_table {
            self.links.remove(&inode.0.to_be_bytes(), &self.nodes)?;
        }
        self.dirty.remove(&inode);
        self.nameless.insert(inode, ());
        if !kept {
            self.forget(inode);
        }
        Ok(())
    }

    fn new_inode(&mut self) -> Result<Inode, FsError> {
        if self.usage.inodes >= self.quota.inodes {
            return Err(FsError::QuotaInodes { limit_inodes: self.quota.inodes });
        }
        let inode = Inode(self.next_inode);
        self.next_inode += 1;
        self.usage.inodes += 1;
        Ok(inode)
    }

    /// Makes room for a file that grows from `before` to `after` bytes, before anything is allocated.
    fn charge(&mut self, before: u64, after: u64) -> Result<(), FsError> {
        let rest = self.usage.bytes.saturating_sub(before);
        match rest.checked_add(after) {
            Some(total) if total <= self.quota.bytes || after <= before => {
                self.usage.bytes = total;
                Ok(())
            }
            _ => Err(FsError::QuotaBytes { limit_bytes: self.quota.bytes }),
        }
    }
}

impl NodeBatch {
    /// Adds bytes of any size and returns the name by which [`crate::Store::blob`] finds them.
    pub fn put_blob(&mut self, bytes: &[u8]) -> NodeId {
        let mut node = Vec::with_capacity(bytes.len() + 1);
        node.push(crate::node::NodeKind::Blob as u8);
        node.extend_from_slice(bytes);
        self.insert(node)
    }
}

/// Returns the bytes that [`NodeBatch::put_blob`] put.
pub(crate) fn read_blob(source: &dyn NodeSource, id: &NodeId) -> Result<Bytes, StoreError> {
    let bytes = source.node(id)?;
    if bytes.first() != Some(&(crate::node::NodeKind::Blob as u8)) {
        return Err(StoreError::DamagedNode { node: *id, reason: "it is no blob".to_owned() });
    }
    Ok(bytes.slice(1..))
}
