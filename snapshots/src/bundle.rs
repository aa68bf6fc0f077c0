//! Bundles: states as one stream, exactly as they are, for another store. The format is `docs/formats/bundle.md`.
//!
//! A bundle holds every node of its states but those that its *base* states have. Whoever receives one recomputes all names
//! and takes it whole or not at all: `bundle/write.rs` makes it, `bundle/read.rs` checks it, and both ask `bundle/known.rs`
//! what the base states have.

mod known;
mod read;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
pub(crate) mod tests;
mod write;

use std::io;

pub use self::read::{BundleProgress, ImportedBundle, import_bundle};
pub use self::write::{BundleSummary, export_bundle};
use crate::codec::{CodecError, Reader, Writer};
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::node::NodeKind;
use crate::store::NODE_LIMIT;
use crate::tree::directory::LEAF_ENTRIES_MAX;
use crate::tree::record::CHUNK_BYTES;

/// The first bytes of every bundle.
pub const BUNDLE_MAGIC: &[u8; 8] = b"sgbundle";
const VERSION: u32 = 1;
/// States that one bundle may carry, and states that it may build on.
const STATES_MAX: u64 = 65_536;
const HEADER_BYTES_MAX: usize = 8 << 20;
/// Numbers by which trees are cut into nodes. With others the same content has other names, and such a bundle is refused.
const PARAMETERS: [(&str, u64); 2] = [("chunk-bytes", CHUNK_BYTES as u64), ("leaf-entries", LEAF_ENTRIES_MAX as u64)];

/// Why a bundle was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its bytes could not be read.
    #[error("reading a bundle: {0}")]
    Read(#[source] io::Error),
    /// Its bytes could not be written.
    #[error("writing a bundle: {0}")]
    Write(#[source] io::Error),
    /// It does not begin as bundles do.
    #[error("this is no bundle: it does not begin with `sgbundle`")]
    NoBundle,
    /// It was made by a newer version.
    #[error("the bundle has format version {found}, and this program knows {VERSION}")]
    OtherFormat {
        /// Its version.
        found: u32,
    },
    /// It ends before its end.
    #[error("the bundle ends within {0}")]
    Truncated(&'static str),
    /// Its header is not what it should be.
    #[error("the header of the bundle is damaged: {0}")]
    Header(String),
    /// One of its nodes is not what it should be.
    #[error("node {number} of the bundle is damaged: {reason}")]
    Node {
        /// Which, from 1.
        number: u64,
        /// What was found.
        reason: String,
    },
    /// A node comes after one that refers to it.
    #[error("the bundle is out of order: node {0} comes after what refers to it")]
    Order(NodeId),
    /// A node is in it twice.
    #[error("node {0} is in the bundle twice")]
    Twice(NodeId),
    /// A node is neither in it nor in its base states.
    #[error("node {0} is missing: it is neither in the bundle nor in the states that it builds on")]
    Missing(NodeId),
    /// A node is in it that none of its states needs.
    #[error("node {0} is in the bundle, and none of its states needs it")]
    Surplus(NodeId),
    /// Its end does not match what came before.
    #[error("the end of the bundle does not match: {0}")]
    Trailer(&'static str),
    /// It builds on a state that is not here.
    #[error("the bundle builds on state {0}, which is not here")]
    MissingBase(StateId),
    /// A state to be exported is not here.
    #[error("there is no state {0}")]
    MissingState(StateId),
    /// Too many states were given, or none.
    #[error("a bundle has 1 to {STATES_MAX} states, and as many that it builds on")]
    Count,
    /// A state that it holds does not hold together.
    #[error("state {state} does not hold together: {reason}")]
    Inconsistent {
        /// The state.
        state: StateId,
        /// What was found, and where.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a bundle says of itself first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    roots: Vec<StateId>,
    bases: Vec<StateId>,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        for states in [&self.roots, &self.bases] {
            out.u64(states.len() as u64);
            for state in states {
                out.id(&NodeId::from(*state));
            }
        }
        out.u64(PARAMETERS.len() as u64);
        for (name, value) in PARAMETERS {
            out.bytes(name.as_bytes()).u64(value);
        }
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let mut states = || -> Result<Vec<StateId>, CodecError> {
            let count = input.u64()?;
            if count > STATES_MAX {
                return Err(CodecError::Range("the number of states"));
            }
            let mut states = Vec::new();
            for _ in 0..count {
                states.push(StateId::from(input.id()?));
            }
            let distinct: std::collections::HashSet<_> = states.iter().collect();
            if distinct.len() == states.len() {
                Ok(states)
            } else {
                Err(CodecError::Range("a state that is named twice"))
            }
        };
        let (roots, bases) = (states()?, states()?);
        if roots.is_empty() {
            return Err(CodecError::Range("the number of states"));
        }
        if input.u64()? != PARAMETERS.len() as u64 {
            return Err(CodecError::Range("the number of parameters"));
        }
        for (name, value) in PARAMETERS {
            if input.text()? != name || input.u64()? != value {
                return Err(CodecError::Range("a parameter"));
            }
        }
        input.end()?;
        Ok(Self { roots, bases })
    }
}

/// Returns the most bytes that a node of this kind can have; none for a kind that no state of this version has.
const fn length_max(kind: NodeKind) -> Option<usize> {
    match kind {
        // 48 entries with the longest names and targets.
        NodeKind::Dir => Some(256 << 10),
        NodeKind::DirBranch | NodeKind::File => Some(16 << 10),
        NodeKind::State => Some(1 << 20),
        NodeKind::Blob => Some(NODE_LIMIT),
        NodeKind::Mem => Some(crate::image::PATCH_BYTES_MAX + (64 << 10)),
        NodeKind::Op => None,
    }
}
