//! Taking in what another state has at a path.

use std::collections::HashMap;

use super::{Body, Transaction};
use crate::error::FsError;
use crate::id::{Inode, StateId, Timestamp};
use crate::state::State;
use crate::tree::{Content, Directory, File, Record};

impl Transaction {
    /// Makes a path what it is in another state: its subtree is copied from there, or removed if it is not there.
    ///
    /// Names, bytes, modes, times and links inside the subtree are those of the other state; inode numbers are new. A hard
    /// link to a file outside the subtree becomes a file of its own.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if neither has the path, [`FsError::NotADirectory`] if a parent here is none, or a quota.
    pub fn graft(&mut self, other: StateId, path: &[&[u8]], now: Timestamp) -> Result<(), FsError> {
        let Some((name, parents)) = path.split_last() else { return Err(FsError::Invalid) };
        self.hold.keep([(other.into(), false)]);
        let state = State::load(self.nodes.source(), other)?;
        let there = Other { links: Directory::stored(state.links, &self.nodes)?, groups: HashMap::new() };
        let mut from = Some(Directory::stored(state.root, &self.nodes)?);
        let mut here = Inode::ROOT;
        for part in parents {
            let record = match &from {
                Some(directory) => directory.get(part, &self.nodes)?,
                None => None,
            };
            let root = record.as_ref().and_then(|record| match record.content {
                Content::Directory(root) => Some(root),
                _ => None,
            });
            from = root.map(|root| Directory::stored(root, &self.nodes)).transpose()?;
            here = match self.lookup(here, part) {
                Ok(inode) => inode,
                // The parent is in neither: then the path is not either.
                Err(FsError::NotFound) if from.is_none() => return Err(FsError::NotFound),
                Err(FsError::NotFound) => {
                    let mode = record.as_ref().map_or(0o755, |record| record.mode);
                    self.create_directory(here, part, mode, now)?
                }
                Err(error) => return Err(error),
            };
        }
        let record = match &from {
            Some(directory) => directory.get(name, &self.nodes)?,
            None => None,
        };
        match (self.lookup(here, name), &record) {
            (Ok(_), _) => self.remove_tree(here, name, now)?,
            (Err(FsError::NotFound), Some(_)) => {}
            (Err(error), _) => return Err(error),
        }
        match record {
            Some(record) => self.copy_tree(there, here, name, record, now),
            None => Ok(()),
        }
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
        let mut path = vec![(directory, bytes::Bytes::copy_from_slice(name), inode)];
        while let Some((parent, name, inode)) = path.last().cloned() {
            let page = self.read_directory(inode, 0, PAGE)?;
            if page.is_empty() {
                self.remove_directory(parent, &name, now)?;
                path.pop();
                continue;
            }
            for entry in page {
                if entry.kind == super::Kind::Directory {
                    let child = self.lookup(inode, &entry.name)?;
                    path.push((inode, entry.name, child));
                    break;
                }
                self.unlink(inode, &entry.name, now)?;
            }
        }
        Ok(())
    }

    fn copy_tree(
        &mut self,
        mut other: Other,
        directory: Inode,
        name: &[u8],
        record: Record,
        now: Timestamp,
    ) -> Result<(), FsError> {
        const PAGE: usize = 512;
        let mut waiting = vec![(directory, bytes::Bytes::copy_from_slice(name), record)];
        let mut times = Vec::new();
        while let Some((parent, name, record)) = waiting.pop() {
            let linked = record.is_linked().then_some(record.inode);
            if let Some(known) = linked.and_then(|old| other.groups.get(&old).copied()) {
                self.link(known, parent, &name, now)?;
                continue;
            }
            let record = match linked {
                Some(old) => other.links.get(&old.0.to_be_bytes(), &self.nodes)?.ok_or(FsError::NotFound)?,
                None => record,
            };
            let body = match &record.content {
                Content::Directory(_) => Body::Directory(Directory::default()),
                Content::Symlink(target) => Body::Symlink(target.clone()),
                content => Body::File(File::stored(content.clone(), record.size)),
            };
            self.charge(0, record.size)?;
            let inode = self.create(parent, &name, body, record.mode, record.modified)?;
            times.push((inode, record.modified));
            if let Some(old) = linked {
                other.groups.insert(old, inode);
            }
            if let Content::Directory(root) = record.content {
                let from = Directory::stored(root, &self.nodes)?;
                let mut position = 0;
                loop {
                    let page = from.page(position, PAGE, &self.nodes)?;
                    let Some(last) = page.last() else { break };
                    position = crate::tree::directory::position(&last.hash) + 1;
                    waiting.extend(page.into_iter().map(|entry| (inode, entry.name, entry.record)));
                }
            }
        }
        // Filling a directory touched it: its time is the other state's again.
        for (inode, modified) in times {
            self.set_times(inode, None, Some(modified), now)?;
        }
        Ok(())
    }
}

/// The state that a subtree is copied from.
struct Other {
    links: Directory,
    /// Files with several names that were copied already: their old inodes and their new ones.
    groups: HashMap<Inode, Inode>,
}
