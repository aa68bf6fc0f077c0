//! Checking directories: each node where its names belong, each entry what it may be, and what a tree holds in all.

use bytes::Bytes;

use super::content::check_content;
use super::{CheckMemo, CheckReport, tell};
use crate::error::StoreError;
use crate::id::{Inode, NodeId, StateId};
use crate::node::NodeSource;
use crate::transaction::directory::check_name;
use crate::tree::directory::{Decoded, Entry, Hash, LEAF_ENTRIES_MAX, LEVELS_MAX, Node, decode, slot};
use crate::tree::source::damaged;
use crate::tree::{Content, Record};

/// A directory's node at a place: the same node is right at one level and wrong at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TreeKey {
    node: NodeId,
    level: usize,
    /// Whether it is of the link table.
    is_table: bool,
}

/// What a directory's node holds, with everything below it.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Sum of the sizes of its files.
    pub(super) bytes: u64,
    /// Its files, directories and symbolic links, without names of linked files.
    pub(super) inodes: u64,
    /// The inode numbers in the node itself.
    pub(super) own: Vec<u64>,
    /// The names of linked files in the node itself: inode, and whether it is a symbolic link.
    pub(super) linked: Vec<(u64, bool)>,
    /// The linked files themselves, in a node of the link table: inode, names, and whether it is a symbolic link.
    pub(super) table: Vec<(u64, u64, bool)>,
    /// What is below the node, by its place among all summaries.
    pub(super) below: Vec<usize>,
    /// Entries of this directory in the node and below it.
    entries: u64,
    /// The place of one of them.
    place: Option<Hash>,
    /// Nothing of it is missing.
    is_whole: bool,
}

/// How a node is below another.
enum Link {
    Root,
    /// In this slot of a branch, which says that there are so many entries below.
    Slot(usize, u64),
    Subdirectory(Bytes),
}

struct Below {
    key: TreeKey,
    is_trusted: bool,
    link: Link,
}

/// A node that is being looked at.
struct Open {
    below: Below,
    /// How long the path was before it.
    path_bytes: usize,
    waiting: Vec<Below>,
    summary: Summary,
}

/// The walk over one tree of a state.
pub(super) struct TreeWalk<'a> {
    pub(super) source: &'a dyn NodeSource,
    pub(super) state: StateId,
    pub(super) memo: &'a mut CheckMemo,
    pub(super) report: &'a mut CheckReport,
}

impl TreeWalk<'_> {
    /// Checks a directory with everything below it, without recursion; returns the place of its summary.
    pub(super) fn tree(&mut self, root: NodeId, is_table: bool) -> Result<usize, StoreError> {
        let key = TreeKey { node: root, level: 0, is_table };
        if let Some(known) = self.memo.trees.get(&key) {
            return Ok(*known);
        }
        let mut path = if is_table { b"/(link table)".to_vec() } else { Vec::new() };
        let is_trusted = self.memo.trusted.contains(&root);
        let mut open = vec![self.opened(Below { key, is_trusted, link: Link::Root }, &mut path)?];
        loop {
            let Some(top) = open.last_mut() else { return Ok(0) };
            if let Some(below) = top.waiting.pop() {
                match self.memo.trees.get(&below.key) {
                    Some(known) => {
                        let known = *known;
                        self.join(top, &below, known, &path);
                    }
                    None => open.push(self.opened(below, &mut path)?),
                }
                continue;
            }
            let Some(Open { below, path_bytes, summary, .. }) = open.pop() else { return Ok(0) };
            let index = self.memo.summaries.len();
            self.memo.summaries.push(summary);
            self.memo.trees.insert(below.key, index);
            path.truncate(path_bytes);
            match open.last_mut() {
                Some(above) => self.join(above, &below, index, &path),
                None => return Ok(index),
            }
        }
    }

    fn opened(&mut self, below: Below, path: &mut Vec<u8>) -> Result<Open, StoreError> {
        let path_bytes = path.len();
        if let Link::Subdirectory(name) = &below.link {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        let mut open = Open { below, path_bytes, waiting: Vec::new(), summary: Summary::default() };
        let TreeKey { node, level, .. } = open.below.key;
        let read = self.source.node(&node).and_then(|bytes| decode(&bytes).map_err(|error| damaged(&node, error)));
        match read {
            Err(error) => tell(error, |reason| self.add(path, &reason))?,
            Ok(Decoded::Leaf(entries)) => {
                open.summary.is_whole = true;
                self.leaf(&mut open, &entries, path)?;
            }
            Ok(Decoded::Branch(branch)) => {
                open.summary.is_whole = true;
                if level >= LEVELS_MAX {
                    self.add(path, "a directory has more branches than names have bits");
                    return Ok(open);
                }
                for (index, child) in branch.children().iter().enumerate().rev() {
                    let Some(Node::Stored(child, entries)) = child else { continue };
                    let key = TreeKey { node: *child, level: level + 1, ..open.below.key };
                    let is_trusted = self.trusts(&open, child);
                    open.waiting.push(Below { key, is_trusted, link: Link::Slot(index, *entries) });
                }
                if open.waiting.is_empty() {
                    self.add(path, "a branch of a directory has nothing below it");
                }
            }
        }
        Ok(open)
    }

    fn leaf(&mut self, open: &mut Open, entries: &[Entry], path: &[u8]) -> Result<(), StoreError> {
        let level = open.below.key.level;
        if entries.is_empty() || (entries.len() > LEAF_ENTRIES_MAX && level < LEVELS_MAX) {
            self.add(path, &format!("a leaf of a directory has {} entries", entries.len()));
        }
        open.summary.entries = entries.len() as u64;
        open.summary.place = entries.first().map(|entry| entry.hash);
        if let Some(first) = entries.first() {
            let shared =
                entries.iter().all(|entry| (0..level).all(|at| slot(&entry.hash, at) == slot(&first.hash, at)));
            if !shared {
                self.add(path, "a leaf of a directory has names that belong elsewhere");
            }
        }
        // The first by name is looked at first.
        for entry in entries.iter().rev() {
            let wrong = if open.below.key.is_table {
                table_entry(entry, &mut open.summary).map(str::to_owned)
            } else {
                tree_entry(entry, &mut open.summary).map(str::to_owned)
            };
            let wrong = match wrong {
                None if !open.below.is_trusted => check_content(self.source, self.memo, &entry.record)?,
                wrong => wrong,
            };
            if let Some(reason) = wrong {
                self.add(&[path, b"/", &entry.name].concat(), &reason);
            }
            if let Content::Directory(Some(root)) = &entry.record.content
                && !open.below.key.is_table
            {
                let key = TreeKey { node: *root, level: 0, is_table: false };
                let is_trusted = self.trusts(open, root);
                open.waiting.push(Below { key, is_trusted, link: Link::Subdirectory(entry.name.clone()) });
            }
        }
        Ok(())
    }

    fn trusts(&self, open: &Open, child: &NodeId) -> bool {
        open.below.is_trusted || self.memo.trusted.contains(child)
    }

    /// Adds what a node holds to the one above it.
    fn join(&mut self, above: &mut Open, below: &Below, index: usize, path: &[u8]) {
        let found = &self.memo.summaries[index];
        let summary = &mut above.summary;
        summary.bytes = summary.bytes.saturating_add(found.bytes);
        summary.inodes = summary.inodes.saturating_add(found.inodes);
        summary.below.push(index);
        summary.is_whole &= found.is_whole;
        let mut wrong = None;
        if let Link::Slot(place, claimed) = below.link {
            let level = above.below.key.level;
            summary.entries = summary.entries.saturating_add(found.entries);
            let hash = found.place.or(summary.place);
            let first = *summary.place.get_or_insert(hash.unwrap_or_default());
            let belongs = found.place.is_none_or(|hash| {
                slot(&hash, level) == place && (0..level).all(|at| slot(&hash, at) == slot(&first, at))
            });
            if found.is_whole && found.entries != claimed {
                wrong = Some(format!("a branch of a directory counts {claimed} entries and has {}", found.entries));
            } else if !belongs {
                wrong = Some("a branch of a directory has names that belong elsewhere".to_owned());
            } else if above.waiting.is_empty() && summary.is_whole && summary.entries <= LEAF_ENTRIES_MAX as u64 {
                wrong = Some(format!("a branch of a directory has only {} entries", summary.entries));
            }
        }
        if let Some(reason) = wrong {
            self.add(path, &reason);
        }
    }

    fn add(&mut self, path: &[u8], reason: &str) {
        let path = if path.is_empty() { "/".to_owned() } else { path.escape_ascii().to_string() };
        self.report.add(self.state, path, reason.to_owned());
    }
}

/// Counts an entry of a directory; returns what is wrong with it.
fn tree_entry(entry: &Entry, summary: &mut Summary) -> Option<&'static str> {
    let Record { inode, size, links, content, .. } = &entry.record;
    if let Content::Linked { symlink } = content {
        summary.linked.push((inode.0, *symlink));
    } else {
        summary.own.push(inode.0);
        summary.inodes = summary.inodes.saturating_add(1);
        summary.bytes = summary.bytes.saturating_add(*size);
        if *links != 1 {
            return Some("it counts several names and is not in the link table");
        }
    }
    if *inode <= Inode::ROOT {
        return Some("its inode number is that of the root directory, or 0");
    }
    check_name(&entry.name).err().map(|_| "its name is not allowed")
}

/// Counts an entry of the link table; returns what is wrong with it.
fn table_entry(entry: &Entry, summary: &mut Summary) -> Option<&'static str> {
    let Record { inode, size, links, content, .. } = &entry.record;
    summary.inodes = summary.inodes.saturating_add(1);
    summary.bytes = summary.bytes.saturating_add(*size);
    summary.table.push((inode.0, *links, matches!(content, Content::Symlink(_))));
    if entry.name[..] != inode.0.to_be_bytes() {
        return Some("its name in the link table is not its inode number");
    }
    matches!(content, Content::Directory(_) | Content::Linked { .. }).then_some("it can't be in the link table")
}
