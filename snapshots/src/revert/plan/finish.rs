//! The end of planning: files with several names, and what of that which comes back can be attached as it is.

use std::collections::{BTreeMap, HashMap};

use super::super::used::{Used, names_in_table};
use super::{
    Addition, ConflictReason, Content, Directory, Found, Inode, Line, Plan, Planner, Record, StoreError, TreeUsage,
    says_the_same,
};
use crate::diff::walk::{compare, every_entry, joined};

impl Planner<'_> {
    /// Compares files with several names: their content is in the link table, and no directory tells that it changed.
    pub(super) fn shared_files(&mut self) -> Result<(), StoreError> {
        let mut different = BTreeMap::new();
        compare(self.theirs.links.root(), self.base.links.root(), &self.nodes, &mut different)?;
        let mut lost = HashMap::new();
        for (name, (theirs, base)) in different {
            let (Some(theirs), Some(base)) = (theirs, base) else { continue };
            if says_the_same(&theirs, &base) {
                continue;
            }
            match self.ours.links.get(&name, &self.nodes)? {
                Some(ours) if says_the_same(&ours, &base) => self.plan.table.push(theirs),
                Some(ours) if says_the_same(&ours, &theirs) => {}
                Some(_) => drop(lost.insert(base.inode, ConflictReason::Changed)),
                None => drop(lost.insert(base.inode, ConflictReason::Removed)),
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let mut named = Vec::new();
        names_in_table(&self.nodes, self.base.root.clone(), |inode, path| {
            named.extend(lost.get(&inode).map(|reason| (path, inode, *reason)));
        })?;
        for (path, inode, reason) in named {
            // A name that the operation gave, too, was looked at with its path.
            if self.entry(&self.theirs.root, &path)?.is_some_and(|record| record.inode == inode) {
                self.plan.conflicts.add(path, reason);
            }
        }
        Ok(())
    }

    fn entry(&self, root: &Directory, path: &[u8]) -> Result<Option<Record>, StoreError> {
        let mut directory = root.clone();
        let mut found = None;
        for name in path.split(|byte| *byte == b'/').skip(1) {
            if let Some(Record { content: Content::Directory(root), .. }) = found {
                directory = Directory::stored(root, &self.nodes)?;
            }
            found = directory.get(name, &self.nodes)?;
            if found.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Decides what can be put as it is and what must be taken apart for it.
    pub(super) fn finish(
        mut self,
        mut used: Used,
        line: Option<Line>,
        totals_are_known: bool,
    ) -> Result<Plan, StoreError> {
        self.kept.iter().for_each(|inode| used.and(*inode));
        let (theirs, base, ours) = (&self.theirs.state, &self.base.state, &self.ours.state);
        if line.is_none() && !self.plan.additions.is_empty() {
            // The numbers of an unknown line mean nothing here.
            used = Used::Any;
        }
        let line = line.unwrap_or(Line { lowest: Inode(0), only_forward: false });
        let all_given_before = theirs.next_inode <= line.lowest.0 || line.lowest.0 >= ours.next_inode;
        let all_free = all_given_before && !used.any_below(theirs.next_inode);
        let same_links = theirs.links == base.links && base.links == ours.links;
        self.plan.next_inode = ours.next_inode;
        if !self.plan.additions.is_empty() && line.lowest.0 > 0 {
            self.plan.next_inode = ours.next_inode.max(theirs.next_inode);
        }
        if self.is_exact && totals_are_known && same_links && (all_free || self.plan.additions.is_empty()) {
            let sum = |ours: u64, theirs: u64, base: u64| (ours.saturating_add(theirs)).checked_sub(base);
            let bytes = sum(ours.usage.bytes, theirs.usage.bytes, base.usage.bytes);
            let inodes = sum(ours.usage.inodes, theirs.usage.inodes, base.usage.inodes);
            if let (Some(bytes), Some(inodes)) = (bytes, inodes) {
                self.plan.exact = Some(TreeUsage { bytes, inodes });
            }
        }
        if self.plan.exact.is_none() {
            let given_again = line.lowest.0..ours.next_inode;
            let is_free = |inode: Inode| !used.contains(inode) && !given_again.contains(&inode.0);
            let rewrites = self.plan.rewrites.iter().map(|(_, _, record)| record);
            self.rewritten = self.plan.table.iter().chain(rewrites).map(|record| record.inode).collect();
            let mut additions = std::mem::take(&mut self.plan.additions);
            for addition in &mut additions {
                self.take_apart(addition, &is_free)?;
            }
            self.plan.additions = additions;
        }
        self.plan.conflicts.cut();
        self.plan.links = self.theirs.links.clone();
        Ok(self.plan)
    }

    /// Walks what comes back, and finds what of it can't be attached as it is.
    fn take_apart(&mut self, addition: &mut Addition, is_free: &dyn Fn(Inode) -> bool) -> Result<(), StoreError> {
        let tree = &mut addition.tree;
        if tree.is_empty() {
            tree.push(Found::new(0, addition.name.clone(), addition.record.clone()));
        }
        let mut next = 0;
        while next < tree.len() {
            let found = &mut tree[next];
            let record = found.record.clone();
            found.keeps_inode = !found.is_way && is_free(record.inode);
            found.is_special = record.is_linked() || !found.keeps_inode;
            let is_way = found.is_way;
            if record.is_linked() {
                let path = path_in(tree, next, &addition.path);
                let is_another = self.shared_name(record.inode, path)?;
                tree[next].keeps_inode &= !is_another;
            }
            if let (Content::Directory(root), false) = (record.content, is_way) {
                let entries = Directory::stored(root, &self.nodes)?;
                every_entry(&entries, &self.nodes, |entry| {
                    tree.push(Found::new(next, entry.name.clone(), entry.record.clone()));
                })?;
            }
            next += 1;
        }
        for index in (1..tree.len()).rev() {
            if tree[index].is_special {
                let parent = tree[index].parent;
                tree[parent].is_special = true;
            }
        }
        Ok(())
    }

    /// A name of a file with several comes back: it can share the file that is there if that is still the
    /// same. Says whether it is another.
    fn shared_name(&mut self, inode: Inode, path: Vec<u8>) -> Result<bool, StoreError> {
        let name = inode.0.to_be_bytes();
        let Some(ours) = self.ours.links.get(&name, &self.nodes)? else { return Ok(false) };
        let theirs = self.theirs.links.get(&name, &self.nodes)?;
        if self.rewritten.contains(&inode) || theirs.is_some_and(|theirs| says_the_same(&theirs, &ours)) {
            self.plan.shared.insert(inode);
            return Ok(false);
        }
        if !self.is_graft {
            self.plan.conflicts.add(path, ConflictReason::OtherName);
        }
        Ok(true)
    }
}

/// Returns the path of an entry of what comes back.
fn path_in(tree: &[Found], index: usize, top: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = index;
    while at > 0 {
        names.push(&tree[at].name);
        at = tree[at].parent;
    }
    names.iter().rev().fold(top.to_vec(), |path, name| joined(&path, name))
}
