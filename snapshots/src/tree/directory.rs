//! A directory: a canonical HAMT of entries by the hash of their names.
//!
//! Up to 48 entries are one leaf; more are a branch of 32 children by the next five bits of the hash. The same entries make
//! the same nodes whatever happened before. Entries in order of their hashes are what a guest lists: the position of an
//! entry does not change while others come and go.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{NAME_BYTES_MAX, Record};
use super::source::Nodes;
use crate::codec::{CodecError, Reader, Writer};
use crate::error::StoreError;
use crate::id::NodeId;
use crate::node::{NodeBatch, NodeKind};

/// Entries of a leaf.
pub(crate) const LEAF_ENTRIES_MAX: usize = 48;
const BITS: usize = 5;
/// Levels of branches: all bits of a hash but the last.
pub(crate) const LEVELS_MAX: usize = 256 / BITS;
const FORMAT: u8 = 1;

/// A name's place among all names.
pub(crate) type Hash = [u8; 32];

/// Returns the place of a name. The key keeps the positions apart from every other use of the hash function.
pub(crate) fn name_hash(name: &[u8]) -> Hash {
    const KEY: &[u8; 32] = b"sandglass directory positions v1";
    *blake3::keyed_hash(KEY, name).as_bytes()
}

/// Returns the child of a branch at `level` that a hash leads to.
pub(crate) fn slot(hash: &Hash, level: usize) -> usize {
    let bit = level * BITS;
    // Past the last bit all is one child: only a damaged or hostile tree is so deep.
    let byte = |index: usize| hash.get(index).copied().unwrap_or_default();
    let window = u16::from_be_bytes([byte(bit / 8), byte(bit / 8 + 1)]);
    usize::from(window >> (16 - BITS - bit % 8)) & 31
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hash: Hash,
    pub(crate) name: Bytes,
    pub(crate) record: Record,
}

impl Entry {
    pub(crate) fn new(name: Bytes, record: Record) -> Self {
        Self { hash: name_hash(&name), name, record }
    }
}

/// A node of a directory in memory.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// As in the store, with the number of entries below it.
    Stored(NodeId, u64),
    /// Changed since: entries in order of hash and name.
    Leaf(Arc<Vec<Entry>>),
    /// Changed since.
    Branch(Arc<Branch>),
}

#[derive(Clone, Debug)]
pub(crate) struct Branch {
    children: [Option<Node>; 32],
    entries: u64,
}

/// A stored node, decoded.
#[derive(Clone, Debug)]
pub(crate) enum Decoded {
    Leaf(Arc<Vec<Entry>>),
    Branch(Arc<Branch>),
}

/// A directory's entries. A clone shares everything that neither changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    root: Option<Node>,
}

impl Node {
    fn entries(&self) -> u64 {
        match self {
            Self::Stored(_, entries) => *entries,
            Self::Leaf(entries) => entries.len() as u64,
            Self::Branch(branch) => branch.entries,
        }
    }

    pub(crate) fn decoded(&self, nodes: &Nodes<'_>) -> Result<Decoded, StoreError> {
        Ok(match self {
            Self::Stored(id, _) => nodes.directory(id)?,
            Self::Leaf(entries) => Decoded::Leaf(Arc::clone(entries)),
            Self::Branch(branch) => Decoded::Branch(Arc::clone(branch)),
        })
    }
}

impl Directory {
    /// Returns the directory with this root.
    pub(crate) fn stored(root: Option<NodeId>, nodes: &Nodes<'_>) -> Result<Self, StoreError> {
        let Some(id) = root else { return Ok(Self::default()) };
        let entries = match nodes.directory(&id)? {
            Decoded::Leaf(entries) => entries.len() as u64,
            Decoded::Branch(branch) => branch.entries,
        };
        Ok(Self { root: Some(Node::Stored(id, entries)) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub(crate) fn get(&self, name: &[u8], nodes: &Nodes<'_>) -> Result<Option<Record>, StoreError> {
        let hash = name_hash(name);
        let mut node = match &self.root {
            None => return Ok(None),
            Some(root) => root.clone(),
        };
        for level in 0.. {
            match node.decoded(nodes)? {
                Decoded::Leaf(entries) => {
                    let found = search(&entries, &hash, name).ok().map(|index| entries[index].record.clone());
                    return Ok(found);
                }
                Decoded::Branch(branch) => match &branch.children[slot(&hash, level)] {
                    None => return Ok(None),
                    Some(child) => node = child.clone(),
                },
            }
        }
        Ok(None)
    }

    /// Adds an entry, or replaces the one of the same name; says whether there was none.
    pub(crate) fn insert(&mut self, entry: Entry, nodes: &Nodes<'_>) -> Result<bool, StoreError> {
        match &mut self.root {
            None => {
                self.root = Some(Node::Leaf(Arc::new(vec![entry])));
                Ok(true)
            }
            Some(root) => insert(root, entry, 0, nodes),
        }
    }

    /// Removes an entry; says whether there was one.
    pub(crate) fn remove(&mut self, name: &[u8], nodes: &Nodes<'_>) -> Result<bool, StoreError> {
        let hash = name_hash(name);
        let Some(root) = &mut self.root else { return Ok(false) };
        let removed = remove(root, &hash, name, 0, nodes)?;
        if root.entries() == 0 {
            self.root = None;
        }
        Ok(removed)
    }

    /// Returns `limit` entries whose position is `from` or later, in order; more only where several share the last position.
    pub(crate) fn page(&self, from: u64, limit: usize, nodes: &Nodes<'_>) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        // A node with its level; the next to be looked at is last.
        let mut waiting: Vec<(Node, usize, bool)> = self.root.iter().map(|root| (root.clone(), 0, true)).collect();
        let first: Hash = first_hash(from);
        while let Some((node, level, on_edge)) = waiting.pop() {
            match node.decoded(nodes)? {
                Decoded::Leaf(entries) => {
                    let start = entries.partition_point(|entry| position(&entry.hash) < from);
                    for entry in &entries[start..] {
                        let last = found.last().map(|last: &Entry| position(&last.hash));
                        if found.len() >= limit && last != Some(position(&entry.hash)) {
                            return Ok(found);
                        }
                        found.push(entry.clone());
                    }
                }
                Decoded::Branch(branch) => {
                    let least = if on_edge { slot(&first, level) } else { 0 };
                    for index in (least..32).rev() {
                        if let Some(child) = &branch.children[index] {
                            waiting.push((child.clone(), level + 1, on_edge && index == least));
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Names every changed node, adds it to `batch`, and returns the root.
    pub(crate) fn seal(&mut self, batch: &mut NodeBatch) -> Option<NodeId> {
        self.root.as_mut().map(|root| seal(root, batch))
    }

    pub(crate) const fn root(&self) -> Option<&Node> {
        self.root.as_ref()
    }

    /// Builds a directory from all its entries at once.
    pub(crate) fn from_entries(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by(|left, right| (&left.hash, &left.name).cmp(&(&right.hash, &right.name)));
        Self { root: (!entries.is_empty()).then(|| build(entries, 0)) }
    }
}

/// The bits of a position that a listing's cookie carries; see [`position`].
pub(crate) const POSITION_BITS: u32 = 62;

/// Returns an entry's position in listings: the first bits of its hash.
pub(crate) fn position(hash: &Hash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first) >> (64 - POSITION_BITS)
}

fn first_hash(position: u64) -> Hash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(position << (64 - POSITION_BITS)).to_be_bytes());
    hash
}

fn search(entries: &[Entry], hash: &Hash, name: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|entry| (&entry.hash, &entry.name[..]).cmp(&(hash, name)))
}

fn build(entries: Vec<Entry>, level: usize) -> Node {
    if entries.len() <= LEAF_ENTRIES_MAX || level == LEVELS_MAX {
        return Node::Leaf(Arc::new(entries));
    }
    let total = entries.len() as u64;
    let mut children: [Vec<Entry>; 32] = std::array::from_fn(|_| Vec::new());
    for entry in entries {
        children[slot(&entry.hash, level)].push(entry);
    }
    let children = children.map(|share| (!share.is_empty()).then(|| build(share, level + 1)));
    Node::Branch(Arc::new(Branch { children, entries: total }))
}

fn insert(node: &mut Node, entry: Entry, level: usize, nodes: &Nodes<'_>) -> Result<bool, StoreError> {
    if let Node::Stored(..) = node {
        *node = node.decoded(nodes)?.into();
    }
    match node {
        Node::Stored(..) => Ok(false),
        Node::Leaf(entries) => {
            let list = Arc::make_mut(entries);
            match search(list, &entry.hash, &entry.name) {
                Ok(index) => {
                    list[index].record = entry.record;
                    Ok(false)
                }
                Err(index) => {
                    list.insert(index, entry);
                    if list.len() > LEAF_ENTRIES_MAX && level < LEVELS_MAX {
                        *node = build(std::mem::take(list), level);
                    }
                    Ok(true)
                }
            }
        }
        Node::Branch(branch) => {
            let branch = Arc::make_mut(branch);
            let place = &mut branch.children[slot(&entry.hash, level)];
            let added = match place {
                None => {
                    *place = Some(Node::Leaf(Arc::new(vec![entry])));
                    true
                }
                Some(child) => insert(child, entry, level + 1, nodes)?,
            };
            branch.entries += u64::from(added);
            Ok(added)
        }
    }
}

fn remove(node: &mut Node, hash: &Hash, name: &[u8], level: usize, nodes: &Nodes<'_>) -> Result<bool, StoreError> {
    if let Node::Stored(..) = node {
        *node = node.decoded(nodes)?.into();
    }
    match node {
        Node::Stored(..) => Ok(false),
        Node::Leaf(entries) => {
            let Ok(index) = search(entries, hash, name) else { return Ok(false) };
            Arc::make_mut(entries).remove(index);
            Ok(true)
        }
        Node::Branch(branch) => {
            let branch = Arc::make_mut(branch);
            let place = &mut branch.children[slot(hash, level)];
            let Some(child) = place else { return Ok(false) };
            if !remove(child, hash, name, level + 1, nodes)? {
                return Ok(false);
            }
            if child.entries() == 0 {
                *place = None;
            }
            branch.entries -= 1;
            if branch.entries <= LEAF_ENTRIES_MAX as u64 {
                let mut all = Vec::with_capacity(LEAF_ENTRIES_MAX);
                for child in branch.children.iter().flatten() {
                    gather(child, nodes, &mut all)?;
                }
                *node = Node::Leaf(Arc::new(all));
            }
            Ok(true)
        }
    }
}

/// Adds all entries below a node, in order. The depth is bounded by [`LEVELS_MAX`].
fn gather(node: &Node, nodes: &Nodes<'_>, all: &mut Vec<Entry>) -> Result<(), StoreError> {
    match node.decoded(nodes)? {
        Decoded::Leaf(entries) => all.extend(entries.iter().cloned()),
        Decoded::Branch(branch) => {
            for child in branch.children.iter().flatten() {
                gather(child, nodes, all)?;
            }
        }
    }
    Ok(())
}

fn seal(node: &mut Node, batch: &mut NodeBatch) -> NodeId {
    let entries = node.entries();
    let id = match node {
        Node::Stored(id, _) => return *id,
        Node::Leaf(entries) => batch.insert(encode_leaf(entries)),
        Node::Branch(branch) => {
            let branch = Arc::make_mut(branch);
            let mut bitmap = 0u32;
            let mut body = Writer::default();
            for (index, child) in branch.children.iter_mut().enumerate() {
                if let Some(child) = child {
                    bitmap |= 1 << index;
                    let entries = child.entries();
                    body.id(&seal(child, batch)).u64(entries);
                }
            }
            let mut out = Writer::with_kind(NodeKind::DirBranch as u8);
            out.u8(FORMAT).raw(&bitmap.to_le_bytes()).raw(&body.into_bytes());
            batch.insert(out.into_bytes())
        }
    };
    *node = Node::Stored(id, entries);
    id
}

fn encode_leaf(entries: &[Entry]) -> Vec<u8> {
    let mut out = Writer::with_kind(NodeKind::Dir as u8);
    out.u8(FORMAT).u64(entries.len() as u64);
    for entry in entries {
        out.bytes(&entry.name);
        entry.record.write(&mut out);
    }
    out.into_bytes()
}

/// Decodes a `dir` or `dirbranch` node.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, CodecError> {
    let mut input = Reader::new(bytes);
    let kind = input.u8()?;
    if input.u8()? != FORMAT {
        return Err(CodecError::Range("the version of a directory node"));
    }
    if kind == NodeKind::Dir as u8 {
        let count = input.u64()?;
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..count {
            let name = input.bytes()?;
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(CodecError::Range("a name"));
            }
            let entry = Entry::new(Bytes::copy_from_slice(name), Record::read(&mut input)?);
            if entries.last().is_some_and(|last| (&last.hash, &last.name) >= (&entry.hash, &entry.name)) {
                return Err(CodecError::Range("the order of entries"));
            }
            entries.push(entry);
        }
        input.end()?;
        return Ok(Decoded::Leaf(Arc::new(entries)));
    }
    if kind != NodeKind::DirBranch as u8 {
        return Err(CodecError::Range("the kind of a directory node"));
    }
    let mut bitmap = [0; 4];
    bitmap.copy_from_slice(input.raw(4)?);
    let bitmap = u32::from_le_bytes(bitmap);
    let mut branch = Branch { children: std::array::from_fn(|_| None), entries: 0 };
    for (index, child) in branch.children.iter_mut().enumerate() {
        if bitmap & (1 << index) != 0 {
            let (id, entries) = (input.id()?, input.u64()?);
            branch.entries = branch.entries.checked_add(entries).ok_or(CodecError::Number)?;
            *child = Some(Node::Stored(id, entries));
        }
    }
    input.end()?;
    Ok(Decoded::Branch(Arc::new(branch)))
}

impl From<Decoded> for Node {
    fn from(decoded: Decoded) -> Self {
        match decoded {
            Decoded::Leaf(entries) => Self::Leaf(entries),
            Decoded::Branch(branch) => Self::Branch(branch),
        }
    }
}

impl Branch {
    pub(crate) const fn children(&self) -> &[Option<Node>; 32] {
        &self.children
    }
}
