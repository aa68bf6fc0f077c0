//! Names: looking them up, making, linking, moving and removing them, and listing them.

use bytes::Bytes;

use super::{Body, DirectoryEntry, Kind, LINKS_MAX, Live, Place, Transaction};
use crate::error::FsError;
use crate::id::{Inode, Timestamp};
use crate::tree::directory::{POSITION_BITS, position};
use crate::tree::record::{MODE_MASK, NAME_BYTES_MAX, TARGET_BYTES_MAX};
use crate::tree::{Content, Directory, Entry, File, Record};
use std::sync::Arc;

/// The most entries of a listing that are read at once.
const PAGE_MAX: usize = 4096;

impl Transaction {
    /// Returns the inode of a name.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], or the store failed.
    pub fn lookup(&mut self, directory: Inode, name: &[u8]) -> Result<Inode, FsError> {
        let record = self.entries(directory)?.get(name, &self.nodes)?.ok_or(FsError::NotFound)?;
        self.bring_in(directory, name, record)
    }

    /// Returns the directory that a directory is in; the root is in itself.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`]; [`FsError::NotFound`] if it was removed.
    pub fn parent(&mut self, directory: Inode) -> Result<Inode, FsError> {
        self.entries(directory)?;
        match &self.live(directory)?.place {
            Place::Root => Ok(Inode::ROOT),
            Place::Entry(parent, _) => Ok(*parent),
            Place::Table | Place::Gone => Err(FsError::NotFound),
        }
    }

    /// Returns the directory and name of an inode that was looked up; none for the root, and for a file with several names.
    #[must_use]
    pub fn place_of(&self, inode: Inode) -> Option<(Inode, Bytes)> {
        match &self.live.get(&inode)?.place {
            Place::Entry(parent, name) => Some((*parent, name.clone())),
            Place::Root | Place::Table | Place::Gone => None,
        }
    }

    /// Makes an empty file.
    ///
    /// # Errors
    /// [`FsError::Exists`], a name that can't be, or a quota.
    pub fn create_file(&mut self, directory: Inode, name: &[u8], mode: u16, now: Timestamp) -> Result<Inode, FsError> {
        self.create(directory, name, Body::File(File::empty()), mode, now)
    }

    /// Makes an empty directory.
    ///
    /// # Errors
    /// As for [`Self::create_file`].
    pub fn create_directory(
        &mut self,
        directory: Inode,
        name: &[u8],
        mode: u16,
        now: Timestamp,
    ) -> Result<Inode, FsError> {
        self.create(directory, name, Body::Directory(Directory::default()), mode, now)
    }

    /// Makes a symbolic link; the target is kept as it is.
    ///
    /// # Errors
    /// As for [`Self::create_file`]; [`FsError::NameTooLong`] for a target over 4,095 bytes.
    pub fn create_symlink(
        &mut self,
        directory: Inode,
        name: &[u8],
        target: &[u8],
        now: Timestamp,
    ) -> Result<Inode, FsError> {
        if target.len() > TARGET_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        if target.is_empty() || target.contains(&0) {
            return Err(FsError::InvalidName);
        }
        self.create(directory, name, Body::Symlink(Bytes::copy_from_slice(target)), 0o777, now)
    }

    pub(super) fn create(
        &mut self,
        directory: Inode,
        name: &[u8],
        body: Body,
        mode: u16,
        now: Timestamp,
    ) -> Result<Inode, FsError> {
        check_name(name)?;
        if self.writable(directory)?.get(name, &self.nodes)?.is_some() {
            return Err(FsError::Exists);
        }
        let inode = self.new_inode()?;
        let name = Bytes::copy_from_slice(name);
        let live = Live::new(body, mode & MODE_MASK, Place::Entry(directory, name.clone()), now);
        let record = placeholder(inode, &live.body);
        self.live.insert(inode, Arc::new(live));
        self.mark(inode);
        self.put_entry(directory, Entry::new(name, record), now)?;
        Ok(inode)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// [`FsError::Exists`], [`FsError::IsADirectory`], [`FsError::TooManyLinks`], [`FsError::QuotaInodes`], a name that can't be.
    pub fn link(&mut self, inode: Inode, directory: Inode, name: &[u8], now: Timestamp) -> Result<(), FsError> {
        check_name(name)?;
        let live = self.live(inode)?;
        match (&live.body, live.links) {
            (Body::Directory(_), _) => return Err(FsError::IsADirectory),
            (_, 0) => return Err(FsError::NotFound),
            (_, LINKS_MAX..) => return Err(FsError::TooManyLinks),
            _ => {}
        }
        let place = live.place.clone();
        if self.usage.inodes.saturating_add(self.named) >= self.quota.inodes {
            return Err(FsError::QuotaInodes { limit_inodes: self.quota.inodes });
        }
        if self.writable(directory)?.get(name, &self.nodes)?.is_some() {
            return Err(FsError::Exists);
        }
        if let Place::Entry(parent, first_name) = place {
            // From now on the entry says only where the file is.
            let entry = Entry::new(first_name, linked(inode, self.live(inode)?.body.kind()));
            let nodes = self.nodes.clone();
            self.entries_mut(parent)?.insert(entry, &nodes)?;
            self.mark(parent);
        }
        self.named += 1;
        let live = self.live_mut(inode)?;
        live.links += 1;
        live.changed = now;
        live.place = Place::Table;
        let kind = live.body.kind();
        self.mark(inode);
        self.put_entry(directory, Entry::new(Bytes::copy_from_slice(name), linked(inode, kind)), now)
    }

    /// Takes a name of a file or link away; the last one takes the file with it, once nothing retains it.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsADirectory`].
    pub fn unlink(&mut self, directory: Inode, name: &[u8], now: Timestamp) -> Result<(), FsError> {
        let inode = self.lookup(directory, name)?;
        if self.live(inode)?.body.kind() == Kind::Directory {
            return Err(FsError::IsADirectory);
        }
        self.drop_entry(directory, name, now)?;
        self.unname(inode, now)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::NotEmpty`].
    pub fn remove_directory(&mut self, directory: Inode, name: &[u8], now: Timestamp) -> Result<(), FsError> {
        let inode = self.lookup(directory, name)?;
        if !self.entries(inode)?.is_empty() {
            return Err(FsError::NotEmpty);
        }
        self.drop_entry(directory, name, now)?;
        self.unname(inode, now)
    }

    /// Removes a name with everything below it, without recursion.
    ///
    /// # Errors
    /// [`FsError::NotFound`], or the store failed.
    pub fn remove_tree(&mut self, directory: Inode, name: &[u8], now: Timestamp) -> Result<(), FsError> {
        const PAGE: usize = 512;
        let inode = self.lookup(directory, name)?;
        if self.entries(inode).is_err() {
            return self.unlink(directory, name, now);
        }
        let mut path = vec![(directory, Bytes::copy_from_slice(name), inode)];
        while let Some((parent, name, inode)) = path.last().cloned() {
            let page = self.read_directory(inode, 0, PAGE)?;
            if page.is_empty() {
                self.remove_directory(parent, &name, now)?;
                path.pop();
                continue;
            }
            for entry in page {
                if entry.kind == Kind::Directory {
                    let child = self.lookup(inode, &entry.name)?;
                    path.push((inode, entry.name, child));
                    break;
                }
                self.unlink(inode, &entry.name, now)?;
            }
        }
        Ok(())
    }

    /// Moves a name, replacing a file by a file and an empty directory by a directory: rename(2) of POSIX.
    ///
    /// # Errors
    /// What POSIX names: among them [`FsError::Invalid`] for a directory into itself, [`FsError::NotEmpty`],
    /// [`FsError::IsADirectory`], [`FsError::NotADirectory`].
    pub fn rename(
        &mut self,
        from: Inode,
        from_name: &[u8],
        to: Inode,
        to_name: &[u8],
        now: Timestamp,
    ) -> Result<(), FsError> {
        check_name(to_name)?;
        let inode = self.lookup(from, from_name)?;
        self.writable(to)?;
        let is_directory = self.live(inode)?.body.kind() == Kind::Directory;
        if is_directory && self.is_inside(to, inode)? {
            return Err(FsError::Invalid);
        }
        match self.lookup(to, to_name) {
            Err(FsError::NotFound) => {}
            Err(error) => return Err(error),
            // Two names of one file, or one name: nothing happens.
            Ok(target) if target == inode => return Ok(()),
            Ok(target) => match (&self.live(target)?.body, is_directory) {
                (Body::Directory(_), false) => return Err(FsError::IsADirectory),
                (Body::Directory(entries), true) if !entries.is_empty() => return Err(FsError::NotEmpty),
                (Body::Directory(_), true) => self.remove_directory(to, to_name, now)?,
                (_, true) => return Err(FsError::NotADirectory),
                (_, false) => self.unlink(to, to_name, now)?,
            },
        }
        let record = self.entries(from)?.get(from_name, &self.nodes)?.ok_or(FsError::NotFound)?;
        self.drop_entry(from, from_name, now)?;
        let name = Bytes::copy_from_slice(to_name);
        let live = self.live_mut(inode)?;
        live.changed = now;
        if live.place != Place::Table {
            live.place = Place::Entry(to, name.clone());
        }
        self.mark(inode);
        self.put_entry(to, Entry::new(name, record), now)
    }

    /// Returns about `limit` entries from `cookie` on; 0 starts. `.` and `..` are not among them.
    ///
    /// The order is that of the names' hashes, so a cookie stays good while entries come and go.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`], or the store failed.
    pub fn read_directory(
        &mut self,
        directory: Inode,
        cookie: u64,
        limit: usize,
    ) -> Result<Vec<DirectoryEntry>, FsError> {
        let from = cookie.min(1 << POSITION_BITS);
        let page = self.entries(directory)?.page(from, limit.min(PAGE_MAX), &self.nodes)?;
        // A cookie can't tell names of one position apart (whoever looks for such names finds some): all of them are given
        // together, and only the last leads past them, so that none is missed.
        let mut nexts: Vec<u64> = page.iter().map(|entry| position(&entry.hash)).collect();
        for index in 0..nexts.len() {
            if nexts.get(index + 1) != Some(&nexts[index]) {
                nexts[index] += 1;
            }
        }
        let entries = page.into_iter().zip(nexts).map(|(entry, cookie)| {
            let (inode, kind) = (entry.record.inode, entry.record.kind());
            DirectoryEntry { name: entry.name, inode, kind, cookie }
        });
        Ok(entries.collect())
    }

    /// Says whether `inside` is `directory` or below it.
    fn is_inside(&self, inside: Inode, directory: Inode) -> Result<bool, FsError> {
        let mut current = inside;
        loop {
            if current == directory {
                return Ok(true);
            }
            match &self.live(current)?.place {
                Place::Entry(parent, _) => current = *parent,
                Place::Root | Place::Table | Place::Gone => return Ok(false),
            }
        }
    }

    /// Puts the inode of an entry among the live ones.
    pub(super) fn bring_in(&mut self, directory: Inode, name: &[u8], record: Record) -> Result<Inode, FsError> {
        let inode = record.inode;
        if self.live.contains_key(&inode) {
            return Ok(inode);
        }
        let (record, place) = if record.is_linked() {
            let found = self.links.get(&inode.0.to_be_bytes(), &self.nodes)?;
            (found.ok_or(FsError::NotFound)?, Place::Table)
        } else {
            (record, Place::Entry(directory, Bytes::copy_from_slice(name)))
        };
        let live = Live::stored(&record, place, &self.nodes)?;
        self.live.insert(inode, Arc::new(live));
        Ok(inode)
    }

    pub(super) fn entries(&self, directory: Inode) -> Result<&Directory, FsError> {
        match &self.live(directory)?.body {
            Body::Directory(entries) => Ok(entries),
            Body::File(_) | Body::Symlink(_) => Err(FsError::NotADirectory),
        }
    }

    pub(super) fn entries_mut(&mut self, directory: Inode) -> Result<&mut Directory, FsError> {
        match &mut self.live_mut(directory)?.body {
            Body::Directory(entries) => Ok(entries),
            Body::File(_) | Body::Symlink(_) => Err(FsError::NotADirectory),
        }
    }

    /// A directory that was removed takes no new names.
    fn writable(&self, directory: Inode) -> Result<&Directory, FsError> {
        let entries = self.entries(directory)?;
        if self.live(directory)?.links == 0 {
            return Err(FsError::NotFound);
        }
        Ok(entries)
    }

    pub(super) fn put_entry(&mut self, directory: Inode, entry: Entry, now: Timestamp) -> Result<(), FsError> {
        let nodes = self.nodes.clone();
        self.entries_mut(directory)?.insert(entry, &nodes)?;
        self.touch_directory(directory, now)
    }

    pub(super) fn drop_entry(&mut self, directory: Inode, name: &[u8], now: Timestamp) -> Result<(), FsError> {
        let nodes = self.nodes.clone();
        self.entries_mut(directory)?.remove(name, &nodes)?;
        self.touch_directory(directory, now)
    }

    fn touch_directory(&mut self, directory: Inode, now: Timestamp) -> Result<(), FsError> {
        let live = self.live_mut(directory)?;
        (live.modified, live.changed) = (now, now);
        self.mark(directory);
        Ok(())
    }
}

fn linked(inode: Inode, kind: Kind) -> Record {
    Record::linked(inode, kind == Kind::Symlink)
}

/// What an entry says of an inode until it is sealed: only its number and kind count.
fn placeholder(inode: Inode, body: &Body) -> Record {
    let content = match body {
        Body::File(_) => Content::Inline(Bytes::new()),
        Body::Directory(_) => Content::Directory(None),
        Body::Symlink(target) => Content::Symlink(target.clone()),
    };
    Record { inode, mode: 0, modified: Timestamp(0), size: 0, links: 1, content }
}

pub(crate) fn check_name(name: &[u8]) -> Result<(), FsError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
        return Err(FsError::InvalidName);
    }
    Ok(())
}
