//! What base states have, found without walking through what they share with the new ones.
//!
//! The two sides are walked together, place by place, down where their nodes differ. Every base node on the way adds its
//! children to the set. So whatever a new state shares with a base is met as a child of a node that was looked at, also when
//! it was moved from one changed directory to another, and nothing below it needs to be known.

use std::collections::HashSet;

use crate::closure::{children, content_root};
use crate::codec::CodecError;
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::node::{NodeKind, NodeSource};
use crate::state::State;
use crate::tree::directory::{Decoded, Entry, Node, slot};
use crate::tree::source::damaged;
use crate::tree::{Content, Nodes, children_of, level_of};

/// Returns nodes of the base states such that whatever `roots` share with them is one of these or below one.
pub(super) fn known_of(
    source: &dyn NodeSource,
    roots: &[StateId],
    bases: &[StateId],
) -> Result<HashSet<NodeId>, StoreError> {
    let nodes = Nodes::borrowed(source, Nodes::cache());
    let mut walk = Walk { source, nodes, known: HashSet::new(), opened: HashSet::new(), waiting: Vec::new() };
    let bases: Vec<NodeId> = bases.iter().map(|base| NodeId::from(*base)).collect();
    walk.known.extend(&bases);
    if bases.is_empty() {
        return Ok(walk.known);
    }
    let mut done = HashSet::new();
    for root in roots {
        walk.pair(NodeId::from(*root), bases.clone(), 0);
        while let Some(place) = walk.waiting.pop() {
            // What two of the states share needs one look, at the place where it is met first.
            if done.insert(place.new) {
                walk.compare(place)?;
            }
        }
    }
    Ok(walk.known)
}

/// A node of a new state, and those of the bases at the same place.
struct Placed {
    new: NodeId,
    bases: Vec<NodeId>,
    /// Of a directory's node: how many branches are above it.
    level: usize,
}

struct Walk<'a> {
    source: &'a dyn NodeSource,
    /// The same, with directories decoded once.
    nodes: Nodes<'a>,
    known: HashSet<NodeId>,
    /// Base nodes whose children are known.
    opened: HashSet<NodeId>,
    waiting: Vec<Placed>,
}

impl Walk<'_> {
    /// Remembers a place to be looked at, if its nodes differ.
    fn pair(&mut self, new: NodeId, bases: Vec<NodeId>, level: usize) {
        if !bases.is_empty() && !bases.contains(&new) {
            self.waiting.push(Placed { new, bases, level });
        }
    }

    /// Reads a base node; its children are known from then on.
    fn open(&mut self, id: &NodeId) -> Result<bytes::Bytes, StoreError> {
        let bytes = self.source.node(id)?;
        if self.opened.insert(*id) {
            let known = &mut self.known;
            children(id, &bytes, &mut |child, _| {
                known.insert(child);
            })?;
        }
        Ok(bytes)
    }

    fn compare(&mut self, place: Placed) -> Result<(), StoreError> {
        let Placed { new, bases, level } = place;
        let bytes = self.source.node(&new)?;
        match kind_of(&bytes, &new)? {
            NodeKind::State => self.states(&new, &bytes, &bases),
            NodeKind::Dir | NodeKind::DirBranch => {
                match self.nodes.directory(&new)? {
                    Decoded::Leaf(entries) => {
                        for entry in entries.iter() {
                            self.entry(entry, &bases, level)?;
                        }
                    }
                    Decoded::Branch(branch) => {
                        for (index, child) in branch.children().iter().enumerate() {
                            let Some(Node::Stored(child, _)) = child else { continue };
                            let mut below = Vec::new();
                            for base in &bases {
                                below.extend(self.child_of_directory(base, index)?);
                            }
                            self.pair(*child, below, level + 1);
                        }
                    }
                }
                Ok(())
            }
            NodeKind::File => self.files(&new, &bytes, &bases),
            NodeKind::Blob | NodeKind::Op | NodeKind::Mem => Ok(()),
        }
    }

    fn states(&mut self, new: &NodeId, bytes: &[u8], bases: &[NodeId]) -> Result<(), StoreError> {
        let state = State::decode(bytes).map_err(|error| damaged(new, error))?;
        let (mut roots, mut tables) = (Vec::new(), Vec::new());
        for base in bases {
            let bytes = self.open(base)?;
            let base = State::decode(&bytes).map_err(|error| damaged(base, error))?;
            roots.extend(base.root);
            tables.extend(base.links);
        }
        if let Some(root) = state.root {
            self.pair(root, roots, 0);
        }
        if let Some(links) = state.links {
            self.pair(links, tables, 0);
        }
        Ok(())
    }

    /// Finds an entry of a leaf in the bases, and compares what is below.
    fn entry(&mut self, entry: &Entry, bases: &[NodeId], level: usize) -> Result<(), StoreError> {
        let mut below = Vec::new();
        for base in bases {
            let mut at = *base;
            for level in level.. {
                let bytes = self.open(&at)?;
                if !matches!(kind_of(&bytes, &at)?, NodeKind::Dir | NodeKind::DirBranch) {
                    break;
                }
                match self.nodes.directory(&at)? {
                    Decoded::Leaf(entries) => {
                        let found = entries.iter().find(|other| other.name == entry.name);
                        below.extend(found.and_then(|found| content_root(&found.record.content)));
                        break;
                    }
                    Decoded::Branch(branch) => match &branch.children()[slot(&entry.hash, level)] {
                        Some(Node::Stored(child, _)) => at = *child,
                        _ => break,
                    },
                }
            }
        }
        // A blob has nothing below it.
        if let Content::Chunks(Some(root)) | Content::Directory(Some(root)) = &entry.record.content {
            self.pair(*root, below, 0);
        }
        Ok(())
    }

    /// Returns what a base has where the new side has the child of a branch. A leaf stands for all children of its place.
    fn child_of_directory(&mut self, base: &NodeId, index: usize) -> Result<Option<NodeId>, StoreError> {
        let bytes = self.open(base)?;
        if !matches!(kind_of(&bytes, base)?, NodeKind::Dir | NodeKind::DirBranch) {
            return Ok(None);
        }
        Ok(match self.nodes.directory(base)? {
            Decoded::Leaf(_) => Some(*base),
            Decoded::Branch(branch) => match &branch.children()[index] {
                Some(Node::Stored(child, _)) => Some(*child),
                _ => None,
            },
        })
    }

    /// Two files of different size may have roots of different levels; the smaller is the first child of the larger.
    fn files(&mut self, new: &NodeId, bytes: &[u8], bases: &[NodeId]) -> Result<(), StoreError> {
        let level = level_of(bytes, new)?;
        let own = children_of(bytes, new)?;
        let mut below: Vec<Vec<NodeId>> = vec![Vec::new(); own.len()];
        for base in bases {
            let mut at = *base;
            loop {
                let bytes = self.open(&at)?;
                if kind_of(&bytes, &at)? != NodeKind::File {
                    break;
                }
                let (found, children) = (level_of(&bytes, &at)?, children_of(&bytes, &at)?);
                if found < level {
                    below[0].push(at);
                    break;
                }
                if found == level {
                    below.iter_mut().zip(children).for_each(|(below, child)| below.extend(child));
                    break;
                }
                match children[0] {
                    Some(first) => at = first,
                    None => break,
                }
            }
        }
        if level > 1 {
            for (child, below) in own.into_iter().zip(below) {
                if let Some(child) = child {
                    self.pair(child, below, 0);
                }
            }
        }
        Ok(())
    }
}

fn kind_of(bytes: &[u8], id: &NodeId) -> Result<NodeKind, StoreError> {
    let kind = bytes.first().copied().and_then(NodeKind::from_byte);
    kind.ok_or_else(|| damaged(id, CodecError::Range("the kind of a node")))
}
