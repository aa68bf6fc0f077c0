//! Carrying out what a revert or a graft has planned.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::attach::directory_record;
use super::{Body, Live, Place, Transaction};
use crate::diff::walk::every_entry;
use crate::error::{FsError, StoreError};
use crate::id::{Inode, StateId, Timestamp};
use crate::revert::{Addition, Plan, Removal};
use crate::state::TreeUsage;
use crate::tree::{Content, Directory, Entry, File, Nodes, Record};

impl Transaction {
    /// Returns the state that this one began with, if nothing was changed since.
    pub(crate) fn unchanged_base(&self) -> Option<StateId> {
        self.base.filter(|_| self.dirty.is_empty() && self.nameless.is_empty())
    }

    /// Returns where it reads.
    pub(crate) fn nodes(&self) -> Nodes<'static> {
        self.nodes.clone()
    }

    /// Keeps states that it reads from being collected.
    pub(crate) fn keep_states(&self, states: impl IntoIterator<Item = StateId>) {
        self.hold.keep(states.into_iter().map(|state| (state.into(), false)));
    }

    /// Becomes work on top of another state.
    pub(crate) fn reopen(&mut self, state: StateId) -> Result<(), StoreError> {
        let source = self.nodes.clone();
        *self = Self::open_in(source, state, self.quota, self.hold.clone())?;
        Ok(())
    }

    /// Carries a plan out. Nothing may have been changed before.
    pub(crate) fn apply(&mut self, plan: &Plan, now: Timestamp) -> Result<(), FsError> {
        let mut places = Vec::with_capacity(plan.places.len());
        for place in &plan.places {
            let inode = match &place.parent {
                None => Inode::ROOT,
                Some((parent, name)) => self.lookup(places[*parent], name)?,
            };
            places.push(inode);
        }
        self.next_inode = self.next_inode.max(plan.next_inode);
        if let Some(usage) = plan.exact {
            self.admit_usage(usage)?;
            for removal in &plan.removals {
                self.drop_whole(places[removal.place], removal, now)?;
            }
            for addition in &plan.additions {
                self.put_whole(places[addition.place], &addition.name, addition.record.clone(), now)?;
            }
            for (place, name, record) in &plan.rewrites {
                self.put_whole(places[*place], name, record.clone(), now)?;
            }
            self.usage = usage;
        } else {
            self.apply_in_parts(plan, &places, now)?;
        }
        // Filling a directory touched it; and what is deepest was found last.
        for (place, inode) in plan.places.iter().zip(&places).rev() {
            if self.live.get(inode).is_none_or(|live| live.links == 0) {
                continue;
            }
            if let Some(mode) = place.mode {
                self.set_mode(*inode, mode, now)?;
            }
            if let Some(modified) = place.modified
                && (self.live(*inode)?.modified != modified)
            {
                self.set_times(*inode, None, Some(modified), now)?;
            }
        }
        Ok(())
    }

    fn apply_in_parts(&mut self, plan: &Plan, places: &[Inode], now: Timestamp) -> Result<(), FsError> {
        for record in &plan.table {
            let entry = Record::linked(record.inode, matches!(record.content, Content::Symlink(_)));
            let inode = self.bring_in(Inode::ROOT, b"", entry)?;
            self.rewrite(inode, record, now)?;
        }
        for (place, name, record) in &plan.rewrites {
            let inode = self.lookup(places[*place], name)?;
            self.rewrite(inode, record, now)?;
        }
        for removal in plan.removals.iter().rev() {
            self.remove_planned(places[removal.place], removal, now)?;
        }
        let mut groups = HashMap::new();
        for addition in &plan.additions {
            self.bring_back(addition, plan, places, &mut groups, now)?;
        }
        Ok(())
    }

    fn admit_usage(&self, usage: TreeUsage) -> Result<(), FsError> {
        if usage.bytes > self.quota.bytes && usage.bytes > self.usage.bytes {
            return Err(FsError::QuotaBytes { limit_bytes: self.quota.bytes });
        }
        if usage.inodes > self.quota.inodes && usage.inodes > self.usage.inodes {
            return Err(FsError::QuotaInodes { limit_inodes: self.quota.inodes });
        }
        Ok(())
    }

    /// Puts an entry with all below it, by the name of its node. It is not counted.
    fn put_whole(&mut self, directory: Inode, name: &Bytes, record: Record, now: Timestamp) -> Result<(), FsError> {
        self.put_entry(directory, Entry::new(name.clone(), record), now)
    }

    /// Takes an entry away with all below it. It is not counted.
    fn drop_whole(&mut self, directory: Inode, removal: &Removal, now: Timestamp) -> Result<(), FsError> {
        self.drop_entry(directory, &removal.name, now)?;
        // Places are looked up before, never below what goes as a whole: but a caller may have looked at it.
        self.live.remove(&removal.record.inode);
        Ok(())
    }

    fn remove_planned(&mut self, directory: Inode, removal: &Removal, now: Timestamp) -> Result<(), FsError> {
        let Content::Directory(_) = removal.record.content else {
            return self.unlink(directory, &removal.name, now);
        };
        if !removal.is_whole {
            return self.remove_directory(directory, &removal.name, now);
        }
        if !self.links.is_empty() {
            return self.remove_tree(directory, &removal.name, now);
        }
        let gone = self.counted(&removal.record)?;
        self.drop_whole(directory, removal, now)?;
        self.usage.bytes = self.usage.bytes.saturating_sub(gone.bytes);
        self.usage.inodes = self.usage.inodes.saturating_sub(gone.inodes);
        Ok(())
    }

    /// Counts what is at and below an entry in which no file has several names.
    fn counted(&self, record: &Record) -> Result<TreeUsage, StoreError> {
        let mut usage = TreeUsage { bytes: record.size, inodes: 1 };
        let mut waiting = vec![record.content.clone()];
        while let Some(content) = waiting.pop() {
            let Content::Directory(root) = content else { continue };
            every_entry(&Directory::stored(root, &self.nodes)?, &self.nodes, |entry| {
                usage.bytes = usage.bytes.saturating_add(entry.record.size);
                usage.inodes += 1;
                if let content @ Content::Directory(Some(_)) = &entry.record.content {
                    waiting.push(content.clone());
                }
            })?;
        }
        Ok(usage)
    }

    /// Gives an inode another content, mode and time.
    fn rewrite(&mut self, inode: Inode, record: &Record, now: Timestamp) -> Result<(), FsError> {
        let before = self.live(inode)?.file_size();
        self.charge(before, record.size)?;
        let live = self.live_mut(inode)?;
        live.body = body(&record.content, record.size);
        (live.mode, live.modified, live.changed) = (record.mode, record.modified, now);
        self.mark(inode);
        Ok(())
    }

    /// Brings a subtree back whose entries are known: what can be attached as it is is, the rest is made anew.
    fn bring_back(
        &mut self,
        addition: &Addition,
        plan: &Plan,
        places: &[Inode],
        groups: &mut HashMap<Inode, Inode>,
        now: Timestamp,
    ) -> Result<(), FsError> {
        let mut made: HashMap<usize, Inode> = HashMap::new();
        let mut times = Vec::new();
        for (index, found) in addition.tree.iter().enumerate() {
            let parent = match index {
                0 => places[addition.place],
                _ => match made.get(&found.parent) {
                    Some(parent) => *parent,
                    // It came with its parent: it is only counted.
                    None => {
                        self.count_one(&found.record)?;
                        continue;
                    }
                },
            };
            if !found.is_special {
                self.count_one(&found.record)?;
                self.put_whole(parent, &found.name, found.record.clone(), now)?;
                continue;
            }
            let old = found.record.inode;
            if found.record.is_linked() {
                let known = match (groups.get(&old), plan.homes.get(&old)) {
                    (Some(known), _) => Some(*known),
                    (None, Some((place, name))) => match self.lookup(places[*place], name) {
                        Ok(home) => Some(home),
                        // The name went with what is taken back, and the file with it: it comes as a new one.
                        Err(FsError::NotFound) => None,
                        Err(error) => return Err(error),
                    },
                    (None, None) if plan.shared.contains(&old) && self.is_in_table(old)? => {
                        Some(self.bring_in(Inode::ROOT, b"", found.record.clone())?)
                    }
                    (None, None) => None,
                };
                if let Some(known) = known {
                    self.link(known, parent, &found.name, now)?;
                    groups.insert(old, known);
                    continue;
                }
            }
            let record = match found.record.is_linked() {
                true => plan.links.get(&old.0.to_be_bytes(), &self.nodes)?.ok_or(FsError::NotFound)?,
                false => found.record.clone(),
            };
            let number = found.keeps_inode.then_some(old).filter(|old| !self.live.contains_key(old));
            let inode = self.make(parent, &found.name, &record, number, now)?;
            if found.record.is_linked() {
                groups.insert(old, inode);
            } else if matches!(record.content, Content::Directory(_)) {
                made.insert(index, inode);
                if !found.is_way {
                    times.push((inode, record.modified));
                }
            }
        }
        for (inode, modified) in times {
            self.set_times(inode, None, Some(modified), now)?;
        }
        Ok(())
    }

    fn is_in_table(&self, inode: Inode) -> Result<bool, StoreError> {
        Ok(self.links.get(&inode.0.to_be_bytes(), &self.nodes)?.is_some())
    }

    fn count_one(&mut self, record: &Record) -> Result<(), FsError> {
        if self.usage.inodes >= self.quota.inodes {
            return Err(FsError::QuotaInodes { limit_inodes: self.quota.inodes });
        }
        self.charge(0, record.size)?;
        self.usage.inodes += 1;
        Ok(())
    }

    /// Makes an inode again, a directory without its entries, with a number that is free or with a new one.
    fn make(
        &mut self,
        parent: Inode,
        name: &Bytes,
        record: &Record,
        number: Option<Inode>,
        now: Timestamp,
    ) -> Result<Inode, FsError> {
        self.count_one(record)?;
        let inode = number.unwrap_or_else(|| {
            self.next_inode += 1;
            Inode(self.next_inode - 1)
        });
        let place = Place::Entry(parent, name.clone());
        let live = Live::new(body(&record.content, record.size), record.mode, place, record.modified);
        self.live.insert(inode, Arc::new(live));
        self.mark(inode);
        let entry = match &record.content {
            Content::Directory(_) => directory_record(inode),
            content => Record { inode, links: 1, content: content.clone(), ..record.clone() },
        };
        self.put_entry(parent, Entry::new(name.clone(), entry), now)?;
        Ok(inode)
    }
}

/// Returns what an inode made anew holds: of a directory nothing yet.
fn body(content: &Content, size: u64) -> Body {
    match content {
        Content::Directory(_) => Body::Directory(Directory::default()),
        Content::Symlink(target) => Body::Symlink(target.clone()),
        content => Body::File(File::stored(content.clone(), size)),
    }
}
