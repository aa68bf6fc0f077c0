//! Files that the host gives to guests: an interpreter's standard library, and the devices of `/dev`. Nobody can change them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sandglass_snapshots::{Attributes, DirectoryEntry, FsError, Inode, Kind, Timestamp};

use crate::entropy::Entropy;

/// Where the numbers of host files begin: no sandbox makes so many files of its own.
const FIRST_INODE: u64 = 1 << 62;
const NUMBERS_EACH: u64 = 1 << 32;

/// A special file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// Empty, and takes everything.
    Null,
    /// Zeros without end.
    Zero,
    /// Zeros without end, and takes nothing.
    Full,
    /// Random bytes without end.
    Random,
    /// Where guests without system calls for it start programs: see `wasi/requests.rs`.
    Processes,
}

#[derive(Clone, Debug)]
enum Item {
    Directory {
        parent: usize,
        entries: BTreeMap<Bytes, usize>,
    },
    File(Bytes),
    Device(Device),
    /// A program of the host, by its name there.
    Program(Arc<str>),
}

/// A read-only tree of files that are in no state.
#[derive(Clone, Debug)]
pub struct Library {
    /// The root first.
    items: Arc<Vec<Item>>,
    base: u64,
}

impl Library {
    /// Returns a tree of files by their paths below the mount; directories come by themselves. A path that ends in another
    /// file is left out.
    #[must_use]
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, Bytes)>) -> Self {
        Self::from_items(files.into_iter().map(|(path, bytes)| (path, Item::File(bytes))))
    }

    /// Returns a tree of programs of the host, by their paths below the mount.
    #[must_use]
    pub fn of_programs<'a>(programs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_items(programs.into_iter().map(|(path, name)| (path, Item::Program(Arc::from(name)))))
    }

    /// Adds files where nothing is yet.
    #[must_use]
    pub fn with_files<'a>(self, files: impl IntoIterator<Item = (&'a str, Bytes)>) -> Self {
        let mut items = Arc::unwrap_or_clone(self.items);
        put(&mut items, files.into_iter().map(|(path, bytes)| (path, Item::File(bytes))));
        Self { items: Arc::new(items), base: self.base }
    }

    pub(super) fn devices() -> Arc<Self> {
        let devices = [
            ("null", Device::Null),
            ("zero", Device::Zero),
            ("full", Device::Full),
            ("random", Device::Random),
            ("urandom", Device::Random),
            ("processes", Device::Processes),
        ];
        Arc::new(Self::from_items(devices.map(|(name, device)| (name, Item::Device(device)))))
    }

    fn from_items<'a>(named: impl IntoIterator<Item = (&'a str, Item)>) -> Self {
        let mut items = vec![Item::Directory { parent: 0, entries: BTreeMap::new() }];
        put(&mut items, named);
        Self { items: Arc::new(items), base: FIRST_INODE }
    }

    /// Returns the same files with numbers of their own.
    pub(super) fn numbered(&self, mount: u64) -> Self {
        Self { items: Arc::clone(&self.items), base: FIRST_INODE + mount.wrapping_mul(NUMBERS_EACH) }
    }

    pub(super) const fn root(&self) -> Inode {
        Inode(self.base)
    }

    fn item(&self, inode: Inode) -> Result<&Item, FsError> {
        let index = inode.0.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.items.get(index)).ok_or(FsError::NotFound)
    }

    fn inode(&self, index: usize) -> Inode {
        Inode(self.base + index as u64)
    }

    pub(super) fn lookup(&self, directory: Inode, name: &[u8]) -> Result<Inode, FsError> {
        match self.item(directory)? {
            Item::Directory { entries, .. } => {
                entries.get(name).map(|index| self.inode(*index)).ok_or(FsError::NotFound)
            }
            Item::File(_) | Item::Device(_) | Item::Program(_) => Err(FsError::NotADirectory),
        }
    }

    pub(super) fn parent(&self, directory: Inode) -> Result<Inode, FsError> {
        match self.item(directory)? {
            Item::Directory { parent, .. } => Ok(self.inode(*parent)),
            Item::File(_) | Item::Device(_) | Item::Program(_) => Err(FsError::NotADirectory),
        }
    }

    pub(super) fn attributes(&self, inode: Inode) -> Result<Attributes, FsError> {
        let (kind, mode, size) = match self.item(inode)? {
            Item::Directory { .. } => (Kind::Directory, 0o555, 0),
            Item::File(bytes) if bytes.starts_with(b"#!") => (Kind::File, 0o555, bytes.len() as u64),
            Item::File(bytes) => (Kind::File, 0o444, bytes.len() as u64),
            Item::Device(_) => (Kind::File, 0o666, 0),
            Item::Program(name) => (Kind::File, 0o755, program_text(name).len() as u64),
        };
        let zero = Timestamp(0);
        Ok(Attributes { inode, kind, mode, links: 1, size, accessed: zero, modified: zero, changed: zero })
    }

    pub(super) fn read(
        &self,
        inode: Inode,
        offset: u64,
        buffer: &mut [u8],
        entropy: &dyn Entropy,
    ) -> Result<usize, FsError> {
        match self.item(inode)? {
            Item::Directory { .. } => Err(FsError::IsADirectory),
            Item::File(bytes) => Ok(copy(bytes, offset, buffer)),
            Item::Program(name) => Ok(copy(program_text(name).as_bytes(), offset, buffer)),
            Item::Device(Device::Null | Device::Processes) => Ok(0),
            Item::Device(Device::Zero | Device::Full) => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            Item::Device(Device::Random) => {
                entropy.fill(buffer);
                Ok(buffer.len())
            }
        }
    }

    pub(super) fn read_directory(
        &self,
        directory: Inode,
        cookie: u64,
        limit: usize,
    ) -> Result<Vec<DirectoryEntry>, FsError> {
        let Item::Directory { entries, .. } = self.item(directory)? else { return Err(FsError::NotADirectory) };
        let start = usize::try_from(cookie).unwrap_or(usize::MAX);
        let page = entries.iter().zip(1..).skip(start).take(limit);
        Ok(page
            .map(|((name, index), next)| {
                let kind =
                    if matches!(self.items[*index], Item::Directory { .. }) { Kind::Directory } else { Kind::File };
                DirectoryEntry { name: name.clone(), inode: self.inode(*index), kind, cookie: next }
            })
            .collect())
    }

    pub(super) fn program(&self, inode: Inode) -> Option<Arc<str>> {
        match self.item(inode) {
            Ok(Item::Program(name)) => Some(Arc::clone(name)),
            _ => None,
        }
    }

    pub(super) fn device(&self, inode: Inode) -> Option<Device> {
        match self.item(inode) {
            Ok(Item::Device(device)) => Some(*device),
            _ => None,
        }
    }
}

fn put<'a>(items: &mut Vec<Item>, named: impl IntoIterator<Item = (&'a str, Item)>) {
    for (path, item) in named {
        let mut directory = 0;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        let mut item = Some(item);
        while let Some(name) = names.next() {
            let next = items.len();
            let Item::Directory { entries, .. } = &mut items[directory] else { break };
            let place = *entries.entry(Bytes::copy_from_slice(name.as_bytes())).or_insert(next);
            if place == next {
                let made = match (names.peek(), item.take()) {
                    (None, Some(item)) => item,
                    (_, rest) => {
                        item = rest;
                        Item::Directory { parent: directory, entries: BTreeMap::new() }
                    }
                };
                items.push(made);
            }
            directory = place;
        }
    }
}

/// What one reads who looks into a program of the host.
fn program_text(name: &str) -> String {
    format!("\0{name}: a program of the host\n")
}

fn copy(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let length = buffer.len().min(bytes.len() - start);
    buffer[..length].copy_from_slice(&bytes[start..start + length]);
    length
}
