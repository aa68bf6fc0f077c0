//! Nodes that are not in the store: a dry run is looked at like any state, and leaves nothing.

use bytes::Bytes;
use sandglass_snapshots::{NodeBatch, NodeId, NodeSource, Store, StoreError};

/// A store with some nodes on top that it does not have.
pub(crate) struct Unsaved<'a> {
    store: &'a Store,
    nodes: NodeBatch,
}

impl<'a> Unsaved<'a> {
    pub(crate) const fn new(store: &'a Store, nodes: NodeBatch) -> Self {
        Self { store, nodes }
    }
}

impl NodeSource for Unsaved<'_> {
    fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        match self.nodes.get(id) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.store.node(id),
        }
    }
}
