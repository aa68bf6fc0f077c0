//! The file system of a sandbox: a transaction's tree with mounts on it.
//!
//! A `Node` is a file somewhere in it. Everything here takes nodes and single names; `resolve.rs` alone walks paths. It
//! knows no descriptors and no wasm, and asks the host's file system for nothing.

mod library;
mod mount;
mod paths;
pub(crate) mod resolve;
pub(crate) mod work;

use std::sync::Arc;

use bytes::Bytes;
use sandglass_snapshots::{Attributes, DirectoryEntry, FsError, Inode, Quota, Timestamp, Transaction, TreeUsage};

pub(crate) use self::library::Device;
pub use self::library::Library;
pub use self::mount::Mount;
use self::mount::{Backing, Mounts};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// A file, directory or link somewhere in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// Which mount it is in; 0 is the sandbox's own tree.
    mount: usize,
    inode: Inode,
}

impl Node {
    /// Returns its number, unique among all mounts.
    pub(crate) const fn inode(self) -> Inode {
        self.inode
    }
}

/// A file system; see the module's documentation. A clone is a savepoint.
#[derive(Clone)]
pub struct Vfs {
    transaction: Transaction,
    mounts: Mounts,
    clock: Arc<dyn Clock>,
    account: work::Account,
}

type Result<T> = std::result::Result<T, FsError>;

impl Vfs {
    /// Returns the file system of a transaction with these mounts, and `/dev`.
    ///
    /// # Errors
    /// The store can't be read, or what shall be a read-only mount is no directory of the tree.
    pub fn new(mut transaction: Transaction, mounts: Vec<Mount>, clock: Arc<dyn Clock>) -> Result<Self> {
        let mounts = Mounts::new(&mut transaction, mounts)?;
        Ok(Self { transaction, mounts, clock, account: work::Account::default() })
    }

    /// Returns the transaction with all that was written.
    #[must_use]
    pub fn into_transaction(self) -> Transaction {
        self.transaction
    }

    /// Counts work for a guest; see `work.rs`.
    pub(crate) fn spend(&mut self, fuel: u64) {
        self.account.owe(fuel);
    }

    /// A guest comes back from the host: counts what was done for it as its own work once it is a `slice`, and says whether
    /// it was.
    pub(crate) fn settle(&mut self, slice: u64) -> bool {
        self.spend(work::CALL);
        self.account.settle(slice)
    }

    /// Returns what was counted as guests' work, in instructions.
    pub(crate) fn paid(&self) -> u64 {
        self.account.paid()
    }

    /// Returns the root directory.
    #[expect(clippy::unused_self, reason = "the root belongs to a file system")]
    pub(crate) const fn root(&self) -> Node {
        Node { mount: 0, inode: Inode::ROOT }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the node of a name; a mount there is entered.
    pub(crate) fn lookup(&mut self, directory: Node, name: &[u8]) -> Result<Node> {
        self.spend(work::NAME);
        if let Some(entered) = self.mounts.entered(directory, name) {
            return Ok(entered);
        }
        let inode = match self.mounts.backing(directory) {
            Backing::State { .. } => self.transaction.lookup(directory.inode, name)?,
            Backing::Library(library) => library.lookup(directory.inode, name)?,
        };
        Ok(Node { mount: directory.mount, inode })
    }

    /// Returns the directory that a directory is in; the root is in itself.
    pub(crate) fn parent(&mut self, directory: Node) -> Result<Node> {
        self.spend(work::NAME);
        if let Some(outside) = self.mounts.left(directory) {
            return Ok(outside);
        }
        let inode = match self.mounts.backing(directory) {
            Backing::State { .. } => self.transaction.parent(directory.inode)?,
            Backing::Library(library) => library.parent(directory.inode)?,
        };
        Ok(Node { mount: directory.mount, inode })
    }

    pub(crate) fn attributes(&mut self, node: Node) -> Result<Attributes> {
        match self.mounts.backing(node) {
            Backing::State { .. } => self.transaction.attributes(node.inode),
            Backing::Library(library) => library.attributes(node.inode),
        }
    }

    /// Reads from a file; `entropy` feeds `/dev/urandom`.
    pub(crate) fn read(&mut self, node: Node, offset: u64, buffer: &mut [u8], entropy: &dyn Entropy) -> Result<usize> {
        let is_random = self.device(node) == Some(Device::Random);
        let read = match self.mounts.backing(node) {
            Backing::State { .. } => self.transaction.read(node.inode, offset, buffer),
            Backing::Library(library) => library.read(node.inode, offset, buffer, entropy),
        }?;
        self.spend(if is_random { work::random(read) } else { work::bytes(read) });
        Ok(read)
    }

    /// Writes all of `bytes`, or nothing.
    pub(crate) fn write(&mut self, node: Node, offset: u64, bytes: &[u8]) -> Result<()> {
        match self.device(node) {
            Some(Device::Null | Device::Zero) => return Ok(()),
            Some(Device::Full) => return Err(FsError::TooLarge),
            Some(Device::Random | Device::Processes) | None => {}
        }
        self.writable(node)?;
        self.spend(work::bytes(bytes.len()));
        let now = self.now();
        self.transaction.write(node.inode, offset, bytes, now)
    }

    pub(crate) fn set_size(&mut self, node: Node, size: u64) -> Result<()> {
        if self.device(node).is_some() {
            return Ok(());
        }
        self.writable(node)?;
        let now = self.now();
        self.transaction.set_size(node.inode, size, now)
    }

    pub(crate) fn set_times(
        &mut self,
        node: Node,
        accessed: Option<Timestamp>,
        modified: Option<Timestamp>,
    ) -> Result<()> {
        self.writable(node)?;
        let now = self.now();
        self.transaction.set_times(node.inode, accessed, modified, now)
    }

    pub(crate) fn set_mode(&mut self, node: Node, mode: u16) -> Result<()> {
        self.writable(node)?;
        let now = self.now();
        self.transaction.set_mode(node.inode, mode, now)
    }

    pub(crate) fn read_link_at(&mut self, node: Node) -> Result<Bytes> {
        match self.mounts.backing(node) {
            Backing::State { .. } => self.transaction.read_link(node.inode),
            Backing::Library(_) => Err(FsError::Invalid),
        }
    }

    pub(crate) fn create_file(&mut self, directory: Node, name: &[u8], mode: u16) -> Result<Node> {
        self.place_for(directory, name)?;
        let now = self.now();
        let inode = self.transaction.create_file(directory.inode, name, mode, now)?;
        Ok(Node { mount: directory.mount, inode })
    }

    pub(crate) fn create_directory_at(&mut self, directory: Node, name: &[u8], mode: u16) -> Result<Node> {
        self.place_for(directory, name)?;
        let now = self.now();
        let inode = self.transaction.create_directory(directory.inode, name, mode, now)?;
        Ok(Node { mount: directory.mount, inode })
    }

    pub(crate) fn create_symlink(&mut self, directory: Node, name: &[u8], target: &[u8]) -> Result<()> {
        self.place_for(directory, name)?;
        let now = self.now();
        self.transaction.create_symlink(directory.inode, name, target, now).map(drop)
    }

    pub(crate) fn link(&mut self, node: Node, directory: Node, name: &[u8]) -> Result<()> {
        self.place_for(directory, name)?;
        self.writable(node)?;
        if node.mount != directory.mount {
            return Err(FsError::CrossDevice);
        }
        let now = self.now();
        self.transaction.link(node.inode, directory.inode, name, now)
    }

    pub(crate) fn unlink(&mut self, directory: Node, name: &[u8]) -> Result<()> {
        self.not_a_mount(directory, name)?;
        self.writable(directory)?;
        let now = self.now();
        self.transaction.unlink(directory.inode, name, now)
    }

    pub(crate) fn remove_directory(&mut self, directory: Node, name: &[u8]) -> Result<()> {
        self.not_a_mount(directory, name)?;
        self.writable(directory)?;
        let now = self.now();
        self.transaction.remove_directory(directory.inode, name, now)
    }

    pub(crate) fn rename(&mut self, from: Node, from_name: &[u8], to: Node, to_name: &[u8]) -> Result<()> {
        for (directory, name) in [(from, from_name), (to, to_name)] {
            self.not_a_mount(directory, name)?;
            self.writable(directory)?;
        }
        if from.mount != to.mount {
            return Err(FsError::CrossDevice);
        }
        let now = self.now();
        self.transaction.rename(from.inode, from_name, to.inode, to_name, now)
    }

    /// Returns at most `limit` entries from `cookie` on, mounts among them.
    pub(crate) fn read_directory(&mut self, directory: Node, cookie: u64, limit: usize) -> Result<Vec<DirectoryEntry>> {
        let (mounted, rest) = self.mounts.listed(directory, cookie, limit);
        let mut entries = match (rest, self.mounts.backing(directory)) {
            (None, _) => Vec::new(),
            (Some(cookie), Backing::State { .. }) => {
                self.transaction.read_directory(directory.inode, cookie, limit - mounted.len())?
            }
            (Some(cookie), Backing::Library(library)) => {
                library.read_directory(directory.inode, cookie, limit - mounted.len())?
            }
        };
        // What a mount lies on can't be seen.
        entries.retain(|entry| self.mounts.entered(directory, &entry.name).is_none());
        let shift = self.mounts.listed_before(directory);
        entries.iter_mut().for_each(|entry| entry.cookie = entry.cookie.saturating_add(shift));
        self.spend(work::ENTRY * (mounted.len() + entries.len()) as u64);
        Ok(mounted.into_iter().chain(entries).collect())
    }

    pub(crate) fn retain(&mut self, node: Node) -> Result<()> {
        match self.mounts.backing(node) {
            Backing::State { .. } => self.transaction.retain(node.inode),
            Backing::Library(_) => Ok(()),
        }
    }

    pub(crate) fn release(&mut self, node: Node) {
        if matches!(self.mounts.backing(node), Backing::State { .. }) {
            self.transaction.release(node.inode);
        }
    }

    /// Returns the name of a program of the host, if a file is one.
    pub(crate) fn program(&self, node: Node) -> Option<Arc<str>> {
        match self.mounts.backing(node) {
            Backing::State { .. } => None,
            Backing::Library(library) => library.program(node.inode),
        }
    }

    /// Says whether a file is a device: no size, no position.
    pub(crate) fn device(&self, node: Node) -> Option<Device> {
        match self.mounts.backing(node) {
            Backing::State { .. } => None,
            Backing::Library(library) => library.device(node.inode),
        }
    }

    /// Returns what the sandbox's own files take, and may take.
    pub(crate) fn usage(&self) -> (TreeUsage, Quota) {
        (self.transaction.usage(), self.transaction.quota())
    }

    /// Returns the directory and name of a file of the sandbox; none for one with several names, or none any more.
    pub(crate) fn name_of(&self, node: Node) -> Option<(Node, Bytes)> {
        let Backing::State { .. } = self.mounts.backing(node) else { return None };
        let (directory, name) = self.transaction.place_of(node.inode)?;
        Some((Node { mount: node.mount, inode: directory }, name))
    }

    /// Returns the path of a directory, as `pwd` tells it.
    ///
    /// # Errors
    /// [`FsError::NotFound`] when it has been removed.
    pub(crate) fn path_of(&mut self, directory: Node) -> Result<Vec<u8>> {
        const PAGE: usize = 1024;
        let mut names = Vec::new();
        let mut at = directory;
        while at != self.root() {
            let above = self.parent(at)?;
            let mut cookie = 0;
            let name = 'found: loop {
                let page = self.read_directory(above, cookie, PAGE)?;
                cookie = page.last().ok_or(FsError::NotFound)?.cookie;
                for entry in page {
                    if entry.inode == at.inode && self.lookup(above, &entry.name)? == at {
                        break 'found entry.name;
                    }
                }
            };
            names.push(name);
            at = above;
        }
        if names.is_empty() {
            return Ok(b"/".to_vec());
        }
        Ok(names.iter().rev().flat_map(|name| [b"/", &name[..]].concat()).collect())
    }

    fn writable(&self, node: Node) -> Result<()> {
        match self.mounts.backing(node) {
            Backing::State { read_only: false } => Ok(()),
            Backing::State { read_only: true } | Backing::Library(_) => Err(FsError::ReadOnly),
        }
    }

    pub(crate) fn is_writable(&self, node: Node) -> bool {
        self.writable(node).is_ok()
    }

    /// Checks that a new name can be here: what exists is said first, as POSIX does.
    fn place_for(&mut self, directory: Node, name: &[u8]) -> Result<()> {
        self.spend(work::CHANGE);
        match self.lookup(directory, name) {
            Ok(_) => Err(FsError::Exists),
            Err(FsError::NotFound) => self.writable(directory),
            Err(error) => Err(error),
        }
    }

    /// A mount, and a directory that one lies in, stay where they are.
    fn not_a_mount(&mut self, directory: Node, name: &[u8]) -> Result<()> {
        self.spend(work::CHANGE);
        if self.mounts.entered(directory, name).is_some() {
            return Err(FsError::Busy);
        }
        match self.lookup(directory, name) {
            Ok(node) if self.mounts.holds_mount(node) => Err(FsError::Busy),
            _ => Ok(()),
        }
    }
}
