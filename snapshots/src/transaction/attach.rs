//! Taking in an imported directory: it gets inode numbers of this sandbox here, in the order of its sorted paths, so that
//! the same directory makes the same state.

use std::sync::Arc;

use bytes::Bytes;

use super::directory::check_name;
use super::{Body, LINKS_MAX, Live, Place, Transaction};
use crate::error::FsError;
use crate::id::{Inode, Timestamp};
use crate::import::{Imported, ImportedEntry, ImportedLeaf};
use crate::tree::{Content, Directory, Entry, Record};

impl Transaction {
    /// Puts an imported directory at a name that is free.
    ///
    /// # Errors
    /// [`FsError::Exists`], a quota (checked before anything is taken in), or a name that can't be.
    pub fn attach(
        &mut self,
        directory: Inode,
        name: &[u8],
        imported: &Imported,
        now: Timestamp,
    ) -> Result<(), FsError> {
        check_name(name)?;
        if self.entries(directory)?.get(name, &self.nodes)?.is_some() {
            return Err(FsError::Exists);
        }
        self.admit(imported)?;
        self.hold.absorb(&imported.hold);
        let groups = vec![None; imported.groups.len()];
        Attaching { transaction: self, imported, groups }.attach(directory, &Bytes::copy_from_slice(name), now)
    }

    /// Charges what an import holds to the quota, all or nothing.
    fn admit(&mut self, imported: &Imported) -> Result<(), FsError> {
        let bytes = self.usage.bytes.saturating_add(imported.bytes);
        if bytes > self.quota.bytes {
            return Err(FsError::QuotaBytes { limit_bytes: self.quota.bytes });
        }
        let inodes = self.usage.inodes.saturating_add(imported.inodes());
        if inodes > self.quota.inodes {
            return Err(FsError::QuotaInodes { limit_inodes: self.quota.inodes });
        }
        if imported.groups.iter().any(|group| group.names > LINKS_MAX) {
            return Err(FsError::TooManyLinks);
        }
        (self.usage.bytes, self.usage.inodes) = (bytes, inodes);
        Ok(())
    }
}

struct Attaching<'a> {
    transaction: &'a mut Transaction,
    imported: &'a Imported,
    /// The inodes of files with several names that were met already.
    groups: Vec<Option<Inode>>,
}

impl Attaching<'_> {
    fn attach(mut self, directory: Inode, name: &Bytes, now: Timestamp) -> Result<(), FsError> {
        let imported = self.imported;
        let mut inodes: Vec<Inode> = Vec::with_capacity(imported.tree.len());
        let mut entries: Vec<Vec<Entry>> = Vec::with_capacity(imported.tree.len());
        for (index, found) in imported.tree.iter().enumerate() {
            let inode = self.next_inode();
            inodes.push(inode);
            if index > 0 {
                // What is said here of a directory holds until it is sealed.
                entries[found.parent].push(Entry::new(found.name.clone(), directory_record(inode)));
            }
            let mut own = Vec::with_capacity(found.entries.len());
            for (name, entry) in &found.entries {
                own.push(Entry::new(name.clone(), self.record(entry)?));
            }
            entries.push(own);
        }
        for ((found, inode), entries) in imported.tree.iter().zip(&inodes).zip(entries) {
            let place = match inodes.first() {
                Some(first) if first == inode => Place::Entry(directory, name.clone()),
                _ => Place::Entry(inodes[found.parent], found.name.clone()),
            };
            let body = Body::Directory(Directory::from_entries(entries));
            self.transaction.live.insert(*inode, Arc::new(Live::new(body, found.mode, place, found.modified)));
            self.transaction.mark(*inode);
        }
        match inodes.first() {
            Some(root) => self.transaction.put_entry(directory, Entry::new(name.clone(), directory_record(*root)), now),
            None => Ok(()),
        }
    }

    fn next_inode(&mut self) -> Inode {
        let inode = Inode(self.transaction.next_inode);
        self.transaction.next_inode += 1;
        inode
    }

    fn record(&mut self, entry: &ImportedEntry) -> Result<Record, FsError> {
        let group = match entry {
            ImportedEntry::Own(leaf) => return Ok(record(self.next_inode(), leaf, 1)),
            ImportedEntry::Linked(group) => *group,
        };
        if let Some(inode) = self.groups[group] {
            return Ok(Record::linked(inode, false));
        }
        let inode = self.next_inode();
        self.groups[group] = Some(inode);
        let shared = &self.imported.groups[group];
        let name = Bytes::copy_from_slice(&inode.0.to_be_bytes());
        let nodes = self.transaction.nodes.clone();
        self.transaction.links.insert(Entry::new(name, record(inode, &shared.leaf, shared.names)), &nodes)?;
        Ok(Record::linked(inode, false))
    }
}

fn record(inode: Inode, leaf: &ImportedLeaf, links: u64) -> Record {
    let ImportedLeaf { mode, modified, size, content } = leaf.clone();
    Record { inode, mode, modified, size, links, content }
}

pub(super) fn directory_record(inode: Inode) -> Record {
    Record { inode, mode: 0, modified: Timestamp(0), size: 0, links: 1, content: Content::Directory(None) }
}
