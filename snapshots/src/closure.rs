//! What a node refers to: the one place that knows how to walk from any node to everything below it.
//!
//! Collecting garbage, verifying, bundles and copies of states all ask here, so that a new kind of node is taught once.

use crate::codec::CodecError;
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::log::{EntryBody, Operation};
use crate::node::NodeKind;
use crate::state::State;
use crate::tree::directory::{Decoded, Node, decode};
use crate::tree::source::damaged;
use crate::tree::{Content, children_of, level_of};

/// Calls `visit` for every node that a node's canonical bytes name, and says whether that one is a blob, which names none.
/// Log entries refer to states by [`roots_of`] instead.
///
/// # Errors
/// [`StoreError::DamagedNode`] when the bytes are not what their kind should be.
pub(crate) fn children(id: &NodeId, bytes: &[u8], visit: &mut dyn FnMut(NodeId, bool)) -> Result<(), StoreError> {
    let kind = bytes.first().copied().and_then(NodeKind::from_byte);
    match kind.ok_or_else(|| damaged(id, CodecError::Range("the kind of a node")))? {
        NodeKind::Dir | NodeKind::DirBranch => match decode(bytes).map_err(|error| damaged(id, error))? {
            Decoded::Leaf(entries) => {
                for entry in entries.iter() {
                    if let Some(root) = content_root(&entry.record.content) {
                        visit(root, matches!(entry.record.content, Content::Blob(_)));
                    }
                }
            }
            Decoded::Branch(branch) => {
                let stored = branch.children().iter().flatten();
                stored.for_each(|child| {
                    if let Node::Stored(id, _) = child {
                        visit(*id, false);
                    }
                });
            }
        },
        NodeKind::File => {
            let holds_chunks = level_of(bytes, id)? == 1;
            children_of(bytes, id)?.into_iter().flatten().for_each(|child| visit(child, holds_chunks));
        }
        NodeKind::State => {
            let state = State::decode(bytes).map_err(|error| damaged(id, error))?;
            [state.root, state.links].into_iter().flatten().for_each(|id| visit(id, false));
            for session in &state.sessions {
                session.image.iter().for_each(|id| visit(*id, false));
                session.descriptors.iter().for_each(|id| visit(*id, true));
            }
        }
        NodeKind::Mem => {
            let below = crate::image::children(bytes).map_err(|error| damaged(id, error))?;
            below.into_iter().for_each(|id| visit(id, false));
        }
        NodeKind::Blob | NodeKind::Op => {}
    }
    Ok(())
}

/// Says whether a node of this kind names no others, so that it need not be read to walk on.
pub(crate) const fn is_leaf(kind: NodeKind) -> bool {
    matches!(kind, NodeKind::Blob | NodeKind::Op)
}

/// Returns the node below a file or directory entry, if it has one.
pub(crate) const fn content_root(content: &Content) -> Option<NodeId> {
    match content {
        Content::Blob(id) => Some(*id),
        Content::Chunks(root) | Content::Directory(root) => *root,
        Content::Inline(_) | Content::Symlink(_) | Content::Linked { .. } => None,
    }
}

/// What a log entry keeps alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    /// States that one can return to by it.
    pub(crate) states: Vec<StateId>,
    /// Arguments, output and result of a call.
    pub(crate) blobs: Vec<NodeId>,
}

/// Returns what an entry keeps alive.
pub(crate) fn roots_of(body: &EntryBody) -> Roots {
    match body {
        EntryBody::Operation(Operation { before, after, call, .. }) => {
            let states = before.iter().copied().chain([*after]).collect();
            let call = call.iter().flat_map(|call| {
                [Some(call.arguments), Some(call.stdout), Some(call.stderr), call.result].into_iter().flatten()
            });
            Roots { states, blobs: call.collect() }
        }
        EntryBody::Checkpoint { state, .. } => Roots { states: vec![*state], blobs: Vec::new() },
        EntryBody::CheckpointDeleted { .. }
        | EntryBody::Policy { .. }
        | EntryBody::Other { .. }
        | EntryBody::Expired { .. }
        | EntryBody::Purged => Roots::default(),
    }
}
