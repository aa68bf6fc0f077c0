//! Retention, the trash and the store, as they go over the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a sandbox keeps at most; a limit that is absent is none. The newest operation and named checkpoints are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"operations": 1000, "age_seconds": 2_592_000}))]
pub struct Keep {
    /// Operations, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub operations: Option<u64>,
    /// How old an operation may get, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub age_seconds: Option<u64>,
    /// Bytes of the store that its operations take together, each piece counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub bytes: Option<u64>,
}

/// What a sandbox keeps, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retention {
    /// What it keeps at most.
    pub keep: Keep,
    /// Whether that is a rule of its own; else it is the service's.
    pub own: bool,
}

/// Something deleted that can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrashItem {
    /// The sandbox: the deleted one, or whose checkpoint it is.
    pub sandbox: String,
    /// The sandbox's name.
    pub name: String,
    /// The checkpoint's name; none for a sandbox.
    pub checkpoint: Option<String>,
    /// The state that is kept for it.
    pub state: String,
    /// When it was deleted.
    #[schema(format = DateTime)]
    pub deleted: String,
    /// From when on it may be gone.
    #[schema(format = DateTime)]
    pub kept_until: String,
}

/// What to take out of the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sandbox": "shop"}))]
pub struct Undelete {
    /// The deleted sandbox, or whose checkpoint it is, by id or name.
    pub sandbox: String,
    /// The checkpoint's name; absent for a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub checkpoint: Option<String>,
}

/// What was taken out of the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Undeleted {
    /// The sandbox.
    pub sandbox: String,
    /// Its name.
    pub name: String,
    /// The checkpoint that names a state again.
    pub checkpoint: Option<String>,
    /// The state of the sandbox, or that the checkpoint names.
    pub state: String,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreWeight {
    /// Different states that can be returned to.
    pub states: u64,
    /// Log entries.
    pub entries: u64,
    /// What the files of all those states would take each for itself, in bytes.
    pub logical_bytes: u64,
    /// What is stored of them, each piece once, in bytes.
    pub unique_bytes: u64,
    /// What nobody needs any more and upkeep can give back, in bytes.
    pub reclaimable_bytes: u64,
    /// What the store takes on the disk, in bytes; its index not counted.
    pub disk_bytes: u64,
}

/// What a round of upkeep did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upkeep {
    /// When it ended; none when there was no round since the service started.
    #[schema(format = DateTime)]
    pub ended: Option<String>,
    /// Sandboxes that gave something up.
    pub sandboxes_expired: u64,
    /// Sandboxes that were busy and are left for the next round.
    pub sandboxes_busy: u64,
    /// Deleted sandboxes that are gone for good now.
    pub sandboxes_purged: u64,
    /// Bytes that the disk got back.
    pub freed_bytes: u64,
    /// Bytes that had to be copied for that.
    pub copied_bytes: u64,
    /// What the store held before.
    pub store: StoreWeight,
}

/// The store's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreInfo {
    /// What it holds now.
    pub store: StoreWeight,
    /// What the last round of upkeep did.
    pub last_upkeep: Upkeep,
}

/// A place in a file of the store that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamagedPlace {
    /// The file.
    pub path: String,
    /// From which byte on.
    pub offset: u64,
    /// What was found.
    pub reason: String,
    /// The node that lay there, when its name could still be read.
    pub node: Option<String>,
}

/// A state that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamagedState {
    /// The state.
    pub state: String,
    /// A sandbox whose log leads to it.
    pub sandbox: String,
    /// The entries of that log that lead to it, at most 100.
    pub seqs: Vec<u64>,
    /// What is wrong, and where in its tree; at most 100.
    pub problems: Vec<StateProblem>,
}

/// Something in a state that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateProblem {
    /// The path; empty when it is the state itself.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Whether nothing is wrong.
    pub whole: bool,
    /// Segment files that were read.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Nodes and entries that were hashed anew and match.
    pub nodes: u64,
    /// Log entries that were checked.
    pub entries: u64,
    /// Different states that were walked.
    pub states: u64,
    /// Of those, the ones that are whole.
    pub states_whole: u64,
    /// Bytes at the end that nobody was ever answered.
    pub torn_bytes: u64,
    /// Places in files; at most 1,000.
    pub damaged_places: Vec<DamagedPlace>,
    /// States; at most 1,000.
    pub damaged_states: Vec<DamagedState>,
    /// Logs that are not what they should be, in words; at most 1,000.
    pub damaged_logs: Vec<String>,
}
