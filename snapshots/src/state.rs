//! A state: everything that a sandbox is at one moment, as one node.

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::node::{NodeBatch, NodeKind, NodeSource};

const FORMAT: u8 = 1;

/// How much a sandbox's tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Sum of the sizes of its files, in bytes; holes count, and so does every name's file only once.
    pub bytes: u64,
    /// Files, directories and symbolic links, the root included.
    pub inodes: u64,
}

/// The memory of one live session, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionImage {
    pub(crate) name: String,
    /// The guest module, by its hash.
    pub(crate) guest: [u8; 32],
    /// The root of its pages; none if the memory was dropped.
    pub(crate) image: Option<NodeId>,
    /// Values of its mutable globals, in the module's order.
    pub(crate) globals: Vec<u64>,
    /// Its open files: a blob in the format of `docs/formats/tree.md`.
    pub(crate) descriptors: Option<NodeId>,
}

/// What a `state` node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) root: Option<NodeId>,
    pub(crate) root_mode: u16,
    pub(crate) root_modified: i64,
    /// Files with several names, by inode number: a directory whose names are eight big-endian bytes.
    pub(crate) links: Option<NodeId>,
    pub(crate) next_inode: u64,
    pub(crate) usage: TreeUsage,
    /// Guests by tool, sorted.
    pub(crate) guests: Vec<(String, [u8; 32])>,
    /// Sessions by name, sorted.
    pub(crate) sessions: Vec<SessionImage>,
}

impl State {
    pub(crate) fn put(&self, batch: &mut NodeBatch) -> StateId {
        let mut out = Writer::with_kind(NodeKind::State as u8);
        out.u8(FORMAT);
        out.optional_id(self.root.as_ref());
        out.u64(u64::from(self.root_mode)).i64(self.root_modified);
        out.optional_id(self.links.as_ref());
        out.u64(self.next_inode).u64(self.usage.bytes).u64(self.usage.inodes);
        out.u64(self.guests.len() as u64);
        for (tool, hash) in &self.guests {
            out.bytes(tool.as_bytes()).raw(hash);
        }
        out.u64(self.sessions.len() as u64);
        for session in &self.sessions {
            out.bytes(session.name.as_bytes()).raw(&session.guest);
            out.optional_id(session.image.as_ref());
            out.u64(session.globals.len() as u64);
            for value in &session.globals {
                out.u64(*value);
            }
            out.optional_id(session.descriptors.as_ref());
        }
        batch.insert(out.into_bytes()).into()
    }

    pub(crate) fn load(source: &dyn NodeSource, id: StateId) -> Result<Self, StoreError> {
        let node = NodeId::from(id);
        let bytes: Bytes = source.node(&node)?;
        Self::decode(&bytes).map_err(|error| StoreError::DamagedNode { node, reason: error.to_string() })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        if input.u8()? != NodeKind::State as u8 {
            return Err(CodecError::Range("the kind of a state"));
        }
        if input.u8()? != FORMAT {
            return Err(CodecError::Range("the version of a state"));
        }
        let root = input.option(Reader::id)?;
        let root_mode = u16::try_from(input.u64()?).map_err(|_| CodecError::Range("a mode"))?;
        let root_modified = input.i64()?;
        let links = input.option(Reader::id)?;
        let next_inode = input.u64()?;
        let usage = TreeUsage { bytes: input.u64()?, inodes: input.u64()? };
        let mut guests = Vec::new();
        for _ in 0..input.u64()? {
            guests.push((input.text()?.to_owned(), input.hash()?));
        }
        let mut sessions = Vec::new();
        for _ in 0..input.u64()? {
            let (name, guest, image) = (input.text()?.to_owned(), input.hash()?, input.option(Reader::id)?);
            let mut globals = Vec::new();
            for _ in 0..input.u64()? {
                globals.push(input.u64()?);
            }
            sessions.push(SessionImage { name, guest, image, globals, descriptors: input.option(Reader::id)? });
        }
        input.end()?;
        Ok(Self { root, root_mode, root_modified, links, next_inode, usage, guests, sessions })
    }
}

/// Returns what a state's tree holds; none for bytes that are no state.
pub(crate) fn usage_of(bytes: &[u8]) -> Option<TreeUsage> {
    if bytes.first() != Some(&(NodeKind::State as u8)) {
        return None;
    }
    State::decode(bytes).ok().map(|state| state.usage)
}
