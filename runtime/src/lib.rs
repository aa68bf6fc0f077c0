//! Calls: runs a guest in a transaction over a state, and takes it back.
//!
//! A [`Host`] owns a store and the guests; a [`Sandbox`] is one named, persistent world in it. A call is a transaction: its
//! files become the next state, or nothing of it does. Undo, redo, restore and fork append to the sandbox's log.
//!
//! This crate knows no HTTP and no command line, and no guest ever touches a file or a socket of the host.
//!
//! Start reading at `call.rs` (one call, top to bottom), then `restore.rs` (one way back), `vfs/resolve.rs` (can a path
//! escape?) and `wasi/` (what guests see).

#![deny(missing_docs)]

mod call;
mod clock;
mod code_cache;
mod compile;
mod component;
mod create;
mod engine;
mod entropy;
mod error;
mod exchange;
mod files;
mod guest;
mod history;
mod host;
mod kernel;
mod limits;
mod linux;
mod live;
mod memory;
mod mount;
mod mounts;
mod offline;
mod operation;
mod processors;
mod record;
mod restore;
mod revert;
mod sandbox;
mod session;
#[cfg(test)]
mod testsuite;
mod tool;
mod trash;
mod turn;
mod unsaved;
mod upkeep;
pub mod vfs;
pub mod wasi;

pub use call::FUEL_PER_CPU_SECOND;
pub use clock::{Clock, SystemClock};
pub use compile::{Compiler, compile_worker_main};
pub use component::{NewTool, TOOL_BYTES_MAX, ToolFunction, ToolInfo, ToolKind, ToolWords, Upload};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use error::{Error, ErrorKind};
pub use exchange::{ExportFormat, ExportRequest, ImportFormat, ImportedStates};
pub use files::FILE_BYTES_MAX;
pub use guest::{GuestError, GuestInfo, GuestSettings, GuestStatus, Guests, Pin, Progress, Verdict};
pub use history::HistoryCursor;
pub use host::{Components, Host, HostStats, Settings};
pub use limits::{Limit, LimitExceeded, ProcExit};
pub use live::{Chunk, LiveCall, LiveStatus};
pub use mount::{MountInfo, MountTarget};
pub use offline::{Look, Seen, Verification, repair};
pub use record::{
    Call, CallRequest, CallStatus, CallSummary, CallUsage, Checkpoint, CreateRequest, FileInfo, ForkRequest, Moved,
    NameChange, NameChangeKind, NameSide, NamesDiff, OperationInfo, PathEvent, PathHistory, RestoreTarget,
    RevertConflict, RevertTarget, SandboxInfo, SessionInfo, SessionSize, Source, WriteOptions,
};
pub use sandbox::Sandbox;
pub use sandglass_snapshots::{
    CallId, Change, ChangeKind, CollectStep, Collected, DamagedPlace, DamagedState, Diff, DiffSummary, Durability,
    EntryId, Hold, IdError, ImportProgress, Kind, Repaired, SandboxId, Side, StateId, StoreStats, SurveyProgress,
    Timestamp,
};
pub use trash::TrashItem;
pub use upkeep::{Keep, Upkeep, UpkeepSettings};
