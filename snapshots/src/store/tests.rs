//! The store's own tests: what it promises while it runs (`living`), what it holds after a crash (`crash`), and all of
//! it mixed, with collections, against a naive model (`machine`).

mod crash;
mod faults;
mod living;
mod machine;
mod rot;
mod sessions;
mod together;

use std::path::Path;
use std::sync::Arc;

use super::{Durability, Store, StoreOptions, take_lock};
use crate::error::StoreError;
use crate::id::{NodeId, SandboxId, StateId, Timestamp};
use crate::journal::disk::SegmentStore;
use crate::log::{Draft, EntryBody, Operation, OperationKind};
use crate::node::{NodeBatch, NodeKind};

fn options(durability: Durability, segment_bytes: u64) -> StoreOptions {
    StoreOptions { durability, segment_bytes, reserve_bytes: 0, cache_bytes: 1 << 20, salt: [7; 16] }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, options(Durability::Disk, 1 << 20)).unwrap()
}

/// Opens a store whose segments are on `disk` and whose index is in `directory`.
fn open_on(
    disk: &(impl SegmentStore + Clone + 'static),
    directory: &Path,
    options: &StoreOptions,
) -> Result<Store, StoreError> {
    let lock = take_lock(&directory.join("lock"))?;
    Store::open_on(Arc::new(disk.clone()), directory, options, lock)
}

fn sandbox(number: u8) -> SandboxId {
    SandboxId([number; 16])
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    let mut node = vec![NodeKind::Blob as u8];
    node.extend_from_slice(bytes);
    node
}

/// An operation to tell from others by `number`, and the nodes that it needs.
fn operation(number: u64, kind: OperationKind, nodes: &[Vec<u8>]) -> (Vec<Draft>, NodeBatch) {
    let mut batch = NodeBatch::new();
    let mut names = Vec::new();
    for node in nodes {
        names.extend_from_slice(batch.insert(node.clone()).as_bytes());
    }
    let mut state = vec![NodeKind::State as u8];
    state.extend_from_slice(&number.to_le_bytes());
    let state = StateId::from(batch.insert(state));
    let body = EntryBody::Operation(Operation {
        kind,
        before: None,
        after: state,
        generation: number,
        actor: "tester".to_owned(),
        target: None,
        policy_revision: 0,
        detail: names,
        call: None,
    });
    (vec![Draft { time: Timestamp(number as i64), body }], batch)
}

/// The names of the nodes that an operation of [`operation`] needs.
fn needs(body: &EntryBody) -> Vec<NodeId> {
    let EntryBody::Operation(operation) = body else { return Vec::new() };
    let named = operation.detail.as_chunks::<32>().0.iter().map(|name| NodeId(*name));
    named.chain([operation.after.into()]).collect()
}
