//! From a transaction to a state: what changed is named once, from the leaves up.

use std::collections::HashMap;

use super::{Body, Place, Sealed, Transaction};
use crate::error::{FsError, StoreError};
use crate::id::Inode;
use crate::node::NodeBatch;
use crate::state::State;
use crate::tree::{Content, Entry, Record};

impl Transaction {
    /// Gives the state that the work amounts to. Unlinked files that are only open are no part of it.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn seal(mut self) -> Result<Sealed, StoreError> {
        self.seal_in_place()
    }

    /// Gives the state as [`Self::seal`] does, and goes on from it.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn seal_in_place(&mut self) -> Result<Sealed, StoreError> {
        let unchanged = self.base.filter(|_| self.dirty.is_empty() && !self.sessions_changed);
        if let Some(state) = unchanged {
            return Ok(Sealed { state, changed: false, usage: self.usage_of_names(), nodes: NodeBatch::new() });
        }
        let mut batch = NodeBatch::new();
        batch.hold(self.hold.clone());
        batch.merge(std::mem::take(&mut self.session_nodes));
        self.sessions_changed = false;
        for inode in self.deepest_first() {
            self.seal_inode(inode, &mut batch).map_err(into_store_error)?;
        }
        let usage = self.usage_of_names();
        let Some(root) = self.live.get_mut(&Inode::ROOT).map(std::sync::Arc::make_mut) else {
            return Err(no_root());
        };
        let Body::Directory(entries) = &mut root.body else { return Err(no_root()) };
        let state = State {
            root: entries.seal(&mut batch),
            root_mode: root.mode,
            root_modified: root.modified.0,
            links: self.links.seal(&mut batch),
            next_inode: self.next_inode,
            usage,
            guests: self.guests.to_vec(),
            sessions: self.sessions.to_vec(),
        };
        let id = state.put(&mut batch);
        let changed = self.base != Some(id);
        self.base = Some(id);
        self.dirty.clear();
        Ok(Sealed { state: id, changed, usage, nodes: batch })
    }

    /// Returns the changed inodes and all directories above them, the deepest first; the root is left out.
    fn deepest_first(&self) -> Vec<Inode> {
        let mut depths: HashMap<Inode, usize> = HashMap::from([(Inode::ROOT, 0)]);
        let mut table = Vec::new();
        let mut path = Vec::new();
        for inode in self.dirty.keys() {
            let mut current = *inode;
            let depth = loop {
                if let Some(depth) = depths.get(&current) {
                    break *depth;
                }
                match self.live.get(&current).map(|live| &live.place) {
                    Some(Place::Entry(parent, _)) => {
                        path.push(current);
                        current = *parent;
                    }
                    Some(Place::Table) => {
                        table.push(current);
                        break 0;
                    }
                    // A directory that was removed while open, and what was under it.
                    _ => {
                        path.clear();
                        break 0;
                    }
                }
            };
            for (above, inode) in path.drain(..).rev().enumerate() {
                depths.insert(inode, depth + above + 1);
            }
        }
        let mut ordered: Vec<_> = depths.into_iter().filter(|(inode, _)| *inode != Inode::ROOT).collect();
        ordered.sort_unstable_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(&right.0)));
        table.sort_unstable();
        table.into_iter().chain(ordered.into_iter().map(|(inode, _)| inode)).collect()
    }

    /// Names an inode's content and puts its record where it belongs.
    fn seal_inode(&mut self, inode: Inode, batch: &mut NodeBatch) -> Result<(), FsError> {
        let nodes = self.nodes.clone();
        let live = self.live_mut(inode)?;
        let (size, content) = match &mut live.body {
            Body::File(file) => (file.size, file.seal(batch, &nodes)?),
            Body::Directory(entries) => (0, Content::Directory(entries.seal(batch))),
            Body::Symlink(target) => (0, Content::Symlink(target.clone())),
        };
        let record = Record { inode, mode: live.mode, modified: live.modified, size, links: live.links, content };
        match live.place.clone() {
            Place::Entry(parent, name) => {
                self.entries_mut(parent)?.insert(Entry::new(name, record), &nodes)?;
            }
            Place::Table => {
                let name = bytes::Bytes::copy_from_slice(&inode.0.to_be_bytes());
                self.links.insert(Entry::new(name, record), &nodes)?;
            }
            Place::Root | Place::Gone => {}
        }
        Ok(())
    }
}

fn no_root() -> StoreError {
    let node = crate::id::NodeId([0; 32]);
    StoreError::DamagedNode { node, reason: "the tree has no root directory".to_owned() }
}

fn into_store_error(error: FsError) -> StoreError {
    match error {
        FsError::Store(error) => error,
        other => {
            let node = crate::id::NodeId([0; 32]);
            StoreError::DamagedNode { node, reason: format!("the tree does not hold together: {other}") }
        }
    }
}
