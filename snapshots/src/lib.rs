//! States and the log: an immutable, content-addressed store of file trees and memory images.
//!
//! A [`Store`] holds *nodes* (directories, files, blobs, states) named by the BLAKE3 hash of their canonical bytes, and one
//! append-only, hash-chained *log* per sandbox. A [`Transaction`] is writable work on top of a state; sealing it gives the
//! new nodes, and [`Store::append`] makes nodes and log entries durable in one record: that is the only commit there is.
//!
//! This crate knows no wasm, no web, no policy and no async. Time and randomness are arguments.
//!
//! Start reading at `store.rs` (what a store is made of), then `transaction.rs` (how a call writes), then
//! `docs/formats/store.md` (what is on disk).

#![deny(missing_docs)]

mod bundle;
mod check;
mod closure;
mod codec;
mod collect;
mod diff;
mod error;
mod export;
mod history;
mod id;
mod image;
mod import;
mod index;
mod journal;
mod log;
mod node;
mod repair;
mod retention;
mod revert;
mod state;
mod store;
mod survey;
mod transaction;
mod tree;
mod verify;

pub use bundle::{
    BUNDLE_MAGIC, BundleError, BundleProgress, BundleSummary, ImportedBundle, export_bundle, import_bundle,
};
pub use check::{CheckMemo, CheckReport, Violation, check_state};
pub use collect::{CollectOptions, CollectStep, Collected};
pub use diff::{Change, ChangeKind, Diff, DiffSummary, Side, diff};
pub use error::{FsError, StoreError};
pub use export::export_tar;
pub use history::{Touch, touched};
pub use id::{CallId, EntryId, IdError, Inode, NodeId, SandboxId, StateId, Timestamp};
pub use image::{Groups, ImageChange, Layout, Memory, PAGE_BYTES, PATCH_BYTES_MAX, Page, Patches, read_image};
pub use import::{ImportOptions, ImportProgress, Imported, TarOptions, import_directory, import_tar};
pub use log::{CallRecord, Draft, Entry, EntryBody, Head, Operation, OperationKind, Usage};
pub use node::{NodeBatch, NodeKind, NodeSource, node_id};
pub use repair::{Repaired, repair};
pub use retention::{Expirable, Retention, Trashed, TrashedCheckpoint};
pub use revert::{Conflict, ConflictReason, Conflicts, Line, PathError, Reverted};
pub use state::TreeUsage;
pub use store::{Durability, Hold, ImageSize, Store, StoreOptions, StoreStats};
pub use survey::{DamagedPlace, Survey, SurveyProgress};
pub use transaction::{Attributes, DirectoryEntry, Kind, Quota, Sealed, Session, Transaction};
pub use verify::{DamagedState, Problem, Verified};
