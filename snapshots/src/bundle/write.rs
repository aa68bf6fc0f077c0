//! Writing a bundle: every node after all that it refers to, so that whoever reads it can check each as it comes.

use std::collections::HashSet;
use std::io::Write;

use bytes::Bytes;

use super::known::known_of;
use super::{BUNDLE_MAGIC, BundleError, Header, STATES_MAX, VERSION};
use crate::closure::children;
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::node::NodeSource;
use crate::store::Store;

/// What a bundle holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleSummary {
    /// Nodes.
    pub nodes: u64,
    /// Bytes of these nodes.
    pub node_bytes: u64,
    /// Bytes of the whole bundle.
    pub bytes: u64,
}

/// Writes `states` as a bundle without what `bases` have. The same states over the same bases are the same bytes.
///
/// Memory grows with the number of nodes written, by their names alone.
///
/// # Errors
/// [`BundleError::MissingState`], [`BundleError::Count`], [`BundleError::Write`], or what reading the store met.
pub fn export_bundle(
    store: &Store,
    states: &[StateId],
    bases: &[StateId],
    out: &mut dyn Write,
) -> Result<BundleSummary, BundleError> {
    let header = Header { roots: distinct(states), bases: distinct(bases) };
    let counts = [header.roots.len() as u64, header.bases.len() as u64];
    if header.roots.is_empty() || counts.iter().any(|count| *count > STATES_MAX) {
        return Err(BundleError::Count);
    }
    let mut holds = Vec::new();
    for state in header.roots.iter().chain(&header.bases) {
        holds.push(store.hold_state(*state).map_err(|error| match error {
            StoreError::MissingNode(_) => BundleError::MissingState(*state),
            other => BundleError::Store(other),
        })?);
    }
    let known = known_of(store, &header.roots, &header.bases)?;
    let out = Hashed { out, hasher: blake3::Hasher::new(), bytes: 0 };
    let mut bundle = Bundle { source: store, out, known, sent: HashSet::new(), node_bytes: 0 };
    bundle.header(&header)?;
    for root in &header.roots {
        bundle.tree(NodeId::from(*root))?;
    }
    bundle.end()
}

fn distinct(states: &[StateId]) -> Vec<StateId> {
    let mut seen = HashSet::new();
    states.iter().copied().filter(|state| seen.insert(*state)).collect()
}

struct Bundle<'a> {
    source: &'a dyn NodeSource,
    out: Hashed<'a>,
    known: HashSet<NodeId>,
    sent: HashSet<NodeId>,
    node_bytes: u64,
}

/// A node on the way down, with the children that are still to come, the next one last.
struct Open {
    id: NodeId,
    bytes: Bytes,
    waiting: Vec<NodeId>,
}

impl Bundle<'_> {
    fn header(&mut self, header: &Header) -> Result<(), BundleError> {
        let bytes = header.encode();
        let length = u32::try_from(bytes.len()).map_err(|_| BundleError::Count)?;
        self.out.write(BUNDLE_MAGIC)?;
        self.out.write(&VERSION.to_le_bytes())?;
        self.out.write(&length.to_le_bytes())?;
        self.out.write(&bytes)
    }

    fn tree(&mut self, root: NodeId) -> Result<(), BundleError> {
        let mut open: Vec<Open> = self.opened(root)?.into_iter().collect();
        while let Some(node) = open.last_mut() {
            if let Some(child) = node.waiting.pop() {
                open.extend(self.opened(child)?);
            } else if let Some(Open { id, bytes, .. }) = open.pop() {
                self.node(id, &bytes)?;
            }
        }
        Ok(())
    }

    /// Reads a node that has to be sent.
    fn opened(&self, id: NodeId) -> Result<Option<Open>, BundleError> {
        if self.known.contains(&id) || self.sent.contains(&id) {
            return Ok(None);
        }
        let bytes = self.source.node(&id)?;
        let mut waiting = Vec::new();
        children(&id, &bytes, &mut |child, _| waiting.push(child))?;
        waiting.reverse();
        Ok(Some(Open { id, bytes, waiting }))
    }

    fn node(&mut self, id: NodeId, bytes: &[u8]) -> Result<(), BundleError> {
        let reason = || "it is too large for a bundle".to_owned();
        let length = u32::try_from(bytes.len()).map_err(|_| StoreError::DamagedNode { node: id, reason: reason() })?;
        self.out.write(&length.to_le_bytes())?;
        self.out.write(bytes)?;
        self.node_bytes += u64::from(length);
        self.sent.insert(id);
        Ok(())
    }

    fn end(mut self) -> Result<BundleSummary, BundleError> {
        let nodes = self.sent.len() as u64;
        self.out.write(&0u32.to_le_bytes())?;
        self.out.write(&nodes.to_le_bytes())?;
        self.out.write(&self.node_bytes.to_le_bytes())?;
        let hash = self.out.hasher.finalize();
        self.out.write(hash.as_bytes())?;
        self.out.out.flush().map_err(BundleError::Write)?;
        Ok(BundleSummary { nodes, node_bytes: self.node_bytes, bytes: self.out.bytes })
    }
}

struct Hashed<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(BundleError::Write)
    }
}
