//! Reading nodes: from the cache, or from where the index says they lie, verified against their names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::StoreError;
use crate::id::NodeId;
use crate::index::Index;
use crate::journal::disk::{SegmentFile, SegmentStore};
use crate::journal::segment::{Location, SegmentId};
use crate::node::node_id;

/// How many segment files stay open for reading.
const OPEN_FILES: usize = 128;
/// What a cached node costs beside its bytes.
const OVERHEAD_BYTES: u64 = 128;
/// What the cache takes a node's size to be when it lays out its tables.
const TYPICAL_NODE_BYTES: u64 = 2048;

#[derive(Clone, Debug)]
struct ByteWeight;

impl Weighter<NodeId, Bytes> for ByteWeight {
    fn weight(&self, _: &NodeId, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD_BYTES
    }
}

pub(crate) struct StoredNodes {
    disk: Arc<dyn SegmentStore>,
    index: Arc<Index>,
    cache: Cache<NodeId, Bytes, ByteWeight>,
    files: Cache<SegmentId, Arc<dyn SegmentFile>>,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

impl StoredNodes {
    pub(super) fn new(disk: Arc<dyn SegmentStore>, index: Arc<Index>, cache_bytes: u64) -> Self {
        let items = usize::try_from(cache_bytes / TYPICAL_NODE_BYTES).unwrap_or(usize::MAX).clamp(64, 1 << 20);
        Self {
            disk,
            index,
            cache: Cache::with_weighter(items, cache_bytes, ByteWeight),
            files: Cache::new(OPEN_FILES),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Puts nodes that were just written into the cache.
    pub(super) fn keep(&self, nodes: impl Iterator<Item = (NodeId, Bytes)>) {
        nodes.for_each(|(id, bytes)| self.cache.insert(id, bytes));
    }

    pub(super) fn cached_bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(super) fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        let bytes = self.peek(id)?;
        // What was found in the cache is only touched by this.
        if self.cache.peek(id).is_none() {
            self.cache.insert(*id, bytes.clone());
        }
        Ok(bytes)
    }

    /// Returns a node without making room for it in the cache.
    pub(crate) fn peek(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.cached(id) {
            return Ok(bytes);
        }
        let location = self.index.locate(id)?.ok_or(StoreError::MissingNode(*id))?;
        self.read_moved(id, location)
    }

    /// Returns a node that was known to lie at a place.
    pub(super) fn at(&self, id: &NodeId, location: Location) -> Result<Bytes, StoreError> {
        match self.cached(id) {
            Some(bytes) => Ok(bytes),
            None => self.read_moved(id, location).inspect(|bytes| self.cache.insert(*id, bytes.clone())),
        }
    }

    /// Forgets a segment that is about to be removed: an open file would keep its space.
    pub(crate) fn forget(&self, segment: SegmentId) {
        self.files.remove(&segment);
    }

    /// Reads a node; when its segment was rewritten just now, from where it lies since.
    fn read_moved(&self, id: &NodeId, location: Location) -> Result<Bytes, StoreError> {
        const TRIES: usize = 8;
        let mut location = location;
        let mut outcome = self.read(id, location);
        for _ in 0..TRIES {
            let is_gone = |error: &StoreError| matches!(error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
            if !outcome.as_ref().is_err_and(is_gone) {
                return outcome;
            }
            match self.index.locate(id)? {
                None => return Err(StoreError::MissingNode(*id)),
                Some(moved) if moved == location => return outcome,
                Some(moved) => location = moved,
            }
            outcome = self.read(id, location);
        }
        outcome
    }

    fn cached(&self, id: &NodeId) -> Option<Bytes> {
        self.cache.get(id).inspect(|_| {
            self.hits.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn read(&self, id: &NodeId, location: Location) -> Result<Bytes, StoreError> {
        let Location { segment, offset, length } = location;
        self.misses.fetch_add(1, Ordering::Relaxed);
        let name = segment.name();
        let damaged = |what: &str| StoreError::DamagedNode {
            node: *id,
            reason: format!("{what} ({}, byte {offset}, {length} bytes)", self.disk.path(&name).display()),
        };
        let file = self.files.get_or_insert_with(&segment, || self.disk.open(&name));
        let file = file.map_err(|source| StoreError::Io { action: "open", path: self.disk.path(&name), source })?;
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, offset).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged("its segment ends before it"),
            _ => StoreError::Io { action: "read", path: self.disk.path(&name), source },
        })?;
        if node_id(&bytes) != *id {
            return Err(damaged("its bytes do not match its name"));
        }
        Ok(Bytes::from(bytes))
    }
}
