//! Nodes: immutable pieces named by the hash of what they are.
//!
//! A node's canonical bytes begin with its [`NodeKind`] byte; its [`NodeId`] is BLAKE3 over all of them. What each kind
//! holds is told in `tree/`, `state.rs` and `log/bytes.rs`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;

use crate::error::StoreError;
use crate::id::NodeId;
use crate::store::Hold;

/// What a node is: the first of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NodeKind {
    /// A leaf of a directory: up to 48 entries.
    Dir = 1,
    /// A branch of a directory: up to 32 children by five bits of a name's hash.
    DirBranch = 2,
    /// A branch of a file's content: up to 256 chunks or branches.
    File = 3,
    /// Bytes: a chunk of a file, an output, arguments.
    Blob = 4,
    /// A branch or a page group of a memory image.
    Mem = 5,
    /// A state.
    State = 6,
    /// A log entry.
    Op = 7,
}

impl NodeKind {
    /// Returns the kind that a first byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Dir,
            2 => Self::DirBranch,
            3 => Self::File,
            4 => Self::Blob,
            5 => Self::Mem,
            6 => Self::State,
            7 => Self::Op,
            _ => return None,
        })
    }
}

/// Returns the name of a node with these canonical bytes.
#[must_use]
pub fn node_id(bytes: &[u8]) -> NodeId {
    NodeId(*blake3::hash(bytes).as_bytes())
}

/// Whoever gives a node's canonical bytes by name.
pub trait NodeSource: Send + Sync {
    /// Returns the bytes, kind byte first, verified against the name.
    ///
    /// # Errors
    /// [`StoreError::MissingNode`], [`StoreError::DamagedNode`], or what reading them met.
    fn node(&self, id: &NodeId) -> Result<Bytes, StoreError>;
}

/// New nodes on their way to the journal, each once.
#[derive(Clone, Debug, Default)]
pub struct NodeBatch {
    nodes: HashMap<NodeId, Bytes>,
    order: Vec<NodeId>,
    bytes: u64,
    /// What the nodes refer to and the batch does not hold itself.
    holds: Vec<Hold>,
}

impl NodeBatch {
    /// Returns an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node's canonical bytes, kind byte first, and returns its name.
    pub fn insert(&mut self, bytes: impl Into<Bytes>) -> NodeId {
        let bytes = bytes.into();
        let id = node_id(&bytes);
        self.insert_named(id, bytes);
        id
    }

    /// Adds a node whose name is already known.
    pub(crate) fn insert_named(&mut self, id: NodeId, bytes: Bytes) {
        if let Entry::Vacant(place) = self.nodes.entry(id) {
            self.bytes += bytes.len() as u64;
            self.order.push(id);
            place.insert(bytes);
        }
    }

    /// Keeps what a hold holds for as long as this batch lives.
    pub(crate) fn hold(&mut self, hold: Hold) {
        self.holds.push(hold);
    }

    /// Returns a node of this batch.
    #[must_use]
    pub fn get(&self, id: &NodeId) -> Option<&Bytes> {
        self.nodes.get(id)
    }

    /// Adds all nodes of another batch.
    pub fn merge(&mut self, other: Self) {
        let Self { mut nodes, order, holds, .. } = other;
        self.holds.extend(holds);
        for id in order {
            if let Some(bytes) = nodes.remove(&id) {
                self.insert_named(id, bytes);
            }
        }
    }

    /// Returns the names of all nodes, and whether each leads to no others.
    pub(crate) fn reached(&self) -> impl Iterator<Item = (NodeId, bool)> {
        self.iter().map(|(id, bytes)| (*id, bytes.first() == Some(&(NodeKind::Blob as u8))))
    }

    /// Returns how many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the sum of the nodes' sizes in bytes.
    #[must_use]
    pub const fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Gives the nodes away, in no order.
    pub(crate) fn into_nodes(self) -> impl Iterator<Item = (NodeId, Bytes)> {
        self.nodes.into_iter()
    }

    /// Gives the nodes in the order in which they came: children before parents.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Bytes)> {
        self.order.iter().filter_map(|id| self.nodes.get_key_value(id))
    }
}
