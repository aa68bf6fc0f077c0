//! Where trees read their nodes: any source of bytes, with a cache of decoded directory nodes that trees share.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::directory::{Decoded, decode};
use crate::codec::CodecError;
use crate::error::StoreError;
use crate::id::NodeId;
use crate::node::{NodeKind, NodeSource};

/// Bytes that decoded directory nodes may take, by their own estimate.
const DECODED_BYTES_MAX: u64 = 64 << 20;
const ENTRY_BYTES: u64 = 192;

/// Directory nodes by name, decoded once for all trees of a store.
pub(crate) type DirectoryCache = Cache<NodeId, Decoded, ByEntries>;

/// Weighs a decoded node by what it holds.
#[derive(Clone, Debug)]
pub(crate) struct ByEntries;

impl Weighter<NodeId, Decoded> for ByEntries {
    fn weight(&self, _: &NodeId, node: &Decoded) -> u64 {
        match node {
            Decoded::Leaf(entries) => 64 + entries.len() as u64 * ENTRY_BYTES,
            Decoded::Branch(_) => 2048,
        }
    }
}

/// A source of nodes with its cache. A handle: clones share both.
#[derive(Clone)]
pub(crate) struct Nodes<'a> {
    source: Source<'a>,
    directories: Arc<DirectoryCache>,
}

#[derive(Clone)]
enum Source<'a> {
    Shared(Arc<dyn NodeSource>),
    Borrowed(&'a dyn NodeSource),
}

impl<'a> Nodes<'a> {
    pub(crate) fn new(source: Arc<dyn NodeSource>, directories: Arc<DirectoryCache>) -> Self {
        Self { source: Source::Shared(source), directories }
    }

    pub(crate) fn borrowed(source: &'a dyn NodeSource, directories: Arc<DirectoryCache>) -> Self {
        Self { source: Source::Borrowed(source), directories }
    }

    /// Returns a cache for the trees of one store.
    pub(crate) fn cache() -> Arc<DirectoryCache> {
        Arc::new(Cache::with_weighter(16 * 1024, DECODED_BYTES_MAX, ByEntries))
    }

    pub(crate) fn directory(&self, id: &NodeId) -> Result<Decoded, StoreError> {
        if let Some(known) = self.directories.get(id) {
            return Ok(known);
        }
        let decoded = decode(&self.node(id)?).map_err(|error| damaged(id, error))?;
        self.directories.insert(*id, decoded.clone());
        Ok(decoded)
    }

    pub(crate) fn source(&self) -> &dyn NodeSource {
        match &self.source {
            Source::Shared(source) => &**source,
            Source::Borrowed(source) => *source,
        }
    }

    pub(crate) fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        self.source().node(id)
    }

    /// Returns the bytes of a blob without its kind.
    pub(crate) fn blob(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        let bytes = self.node(id)?;
        if bytes.first() != Some(&(NodeKind::Blob as u8)) {
            return Err(damaged(id, CodecError::Range("the kind of a blob")));
        }
        Ok(bytes.slice(1..))
    }
}

pub(crate) fn damaged(id: &NodeId, error: CodecError) -> StoreError {
    StoreError::DamagedNode { node: *id, reason: error.to_string() }
}
