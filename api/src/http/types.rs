//! What goes over the wire: the JSON of every request and answer, and nothing that is not.
//!
//! The server writes these types and clients read them, so each can be serialised and deserialised. Requests refuse fields
//! they do not know; answers may grow new ones. Ids are texts, times are RFC 3339 in UTC, sizes are bytes.

mod call;
mod mount;
mod session;
mod token;
mod tool;
mod tree;
mod upkeep;

use std::collections::BTreeMap;

use sandglass_policy::Policy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::{Ref, RefOr, Schema};

pub use call::{Call, CallStatus, CallUsage, CallView, CreateCall, OutputEvent, PendingCall, PendingStatus};
pub use mount::{CreateMount, Mount};
pub use session::{NameChange, NameChangeKind, NameChanges, NameSide, Session, SessionDiff};
pub use token::{CreateToken, CreatedToken, Scope, Secret, Token, TokenStatus, UnknownScope};
pub use tool::{Tool, ToolFunction, ToolKind, ToolUpload, ToolWords};
pub use tree::{Change, ChangeKind, ChangeSide, Changes, Diff, FileEntry, FileKind, ImportedStates, SkippedEntry};
pub use upkeep::{
    DamagedPlace, DamagedState, Keep, Retention, StateProblem, StoreInfo, StoreWeight, TrashItem, Undelete, Undeleted,
    Upkeep, Verification,
};

/// The policy document's schema is made by its own crate and put into the components by `openapi.rs`.
fn policy_schema() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name("Policy"))
}

/// A failure, as RFC 9457 says: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name of this kind of problem; documentation, never needed to be fetched.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "https://sandglass.dev/problems/unknown_sandbox")]
    pub type_uri: String,
    /// What kind of problem it is, for people.
    pub title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time, for people.
    pub detail: String,
    /// This occurrence: `urn:sandglass:request:` and the request id, as in `X-Request-Id` and in the logs.
    #[serde(default)]
    pub instance: String,
    /// The last part of `type`: what programs compare.
    #[schema(example = "unknown_sandbox")]
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same request may succeed later, unchanged.
    pub retryable: bool,
    /// Of `revert_conflict`: the paths that stand in the way, by path, at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Of `revert_conflict`: how many paths stand in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub conflicts_total: Option<u64>,
}

/// A path that stands in the way of a revert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// The absolute path.
    pub path: String,
    /// `changed`, `removed`, `made`, `not_empty`, `no_parent` or `other_name`.
    pub reason: String,
    /// The reason in words, to be read after the path.
    pub text: String,
}

/// A new sandbox. Every field may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "demo", "from": {"sandbox": "base"}}))]
pub struct CreateSandbox {
    /// A unique name; made up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    pub name: Option<String>,
    /// Its policy; the service's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = policy_schema)]
    pub policy: Option<Policy>,
    /// What it holds at first; an empty `/workspace` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub from: Option<CreateFrom>,
}

/// What a new sandbox holds at first: exactly one of these.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", try_from = "CreateFromFields")]
pub enum CreateFrom {
    /// A state that some sandbox has or had.
    State(String),
    /// The head of another sandbox, by name or id.
    Sandbox(String),
    /// A directory of the host, by absolute path, copied to `/workspace`.
    Directory(String),
}

/// The fields as they come, since `serde_json` says of two fields only that it expected something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateFromFields {
    state: Option<String>,
    sandbox: Option<String>,
    directory: Option<String>,
}

impl TryFrom<CreateFromFields> for CreateFrom {
    type Error = &'static str;

    fn try_from(fields: CreateFromFields) -> Result<Self, &'static str> {
        match (fields.state, fields.sandbox, fields.directory) {
            (Some(state), None, None) => Ok(Self::State(state)),
            (None, Some(sandbox), None) => Ok(Self::Sandbox(sandbox)),
            (None, None, Some(directory)) => Ok(Self::Directory(directory)),
            _ => Err("give exactly one of state, sandbox and directory"),
        }
    }
}

/// Whether something happens in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SandboxStatus {
    /// No call is queued or runs.
    Idle,
    /// A call is queued or runs.
    Running,
}

/// A sandbox as it is now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// Its id.
    #[schema(example = "sb_06ew1sk3p8z1m5n7v2q4r6t8w0")]
    pub id: String,
    /// Its name; every path takes it in place of the id.
    pub name: String,
    /// Whether something happens in it.
    pub status: SandboxStatus,
    /// Its head: the newest state.
    pub state: String,
    /// The number of its newest log entry.
    pub seq: u64,
    /// Grows at every restore and fork.
    pub generation: u64,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created: String,
    /// When its newest entry was written.
    #[schema(format = DateTime)]
    pub updated: String,
    /// How much it holds.
    pub files: SandboxFiles,
    /// Which guest serves which tool, fixed when the sandbox was created.
    pub guests: BTreeMap<String, String>,
    /// The sandbox that it was forked from.
    pub parent: Option<String>,
}

/// How much a sandbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxFiles {
    /// Sum of the sizes of its files.
    pub bytes: u64,
    /// How many files, directories and links it has.
    pub inodes: u64,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Gives the next page as `?cursor=`; null on the last page. Opaque: don't take it apart.
    pub next_cursor: Option<String>,
}

/// How many operations to take back or bring back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    /// How many; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    pub steps: Option<u32>,
}

/// What to take back: exactly one of `call` and `seq`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"seq": 7}))]
pub struct Revert {
    /// The id of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub call: Option<String>,
    /// The number of an operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub seq: Option<u64>,
}

/// An operation that touched a path.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PathEvent {
    /// The operation's number.
    pub seq: u64,
    /// What the operation was: `call`, `write`, `undo`, ...
    pub kind: String,
    /// What it did to the path.
    pub change: ChangeKind,
    /// The path after it; of a removed one, the path before.
    pub path: String,
    /// The path before, if it was renamed.
    pub from: Option<String>,
    /// As it was.
    pub before: Option<ChangeSide>,
    /// As it became.
    pub after: Option<ChangeSide>,
    /// The state before; a new sandbox has none.
    pub before_state: Option<String>,
    /// The state after.
    pub after_state: String,
    /// The number of the operation that it took back or brought back.
    pub target: Option<u64>,
    /// The tool that was called.
    pub tool: Option<String>,
    /// The call's id.
    pub call: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// Who asked for it.
    pub actor: String,
}

/// What to go back to: exactly one of `state`, `checkpoint` and `seq`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"checkpoint": "before-cleanup", "paths": ["/workspace/src"]}))]
pub struct Restore {
    /// A state of this sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{64}$")]
    pub state: Option<String>,
    /// A named checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub checkpoint: Option<String>,
    /// The state after the operation with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub seq: Option<u64>,
    /// Only these paths; everything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1, max_items = 1000)]
    pub paths: Option<Vec<String>>,
}

/// What forks shall be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The state to start from; the head when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{64}$")]
    pub state: Option<String>,
    /// The name of the one fork; made up when absent. Not together with `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    pub name: Option<String>,
    /// Make this many; the answer is then `{sandboxes: [...]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    pub count: Option<u32>,
}

/// Many forks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Forks {
    /// The new sandboxes.
    pub sandboxes: Vec<Sandbox>,
}

/// What a fork answers: one sandbox, or many when `count` was given.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Forked {
    /// `count` was given.
    Many(Forks),
    /// It was not.
    One(Box<Sandbox>),
}

/// A new named checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "before-cleanup"}))]
pub struct CreateCheckpoint {
    /// Its name, unique in the sandbox.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
}

/// A named checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// Its name.
    pub name: String,
    /// The state that it names.
    pub state: String,
    /// The number of its log entry.
    pub seq: u64,
    /// When it was set.
    #[schema(format = DateTime)]
    pub time: String,
}

/// One operation of a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// The number of its log entry.
    pub seq: u64,
    /// The entry's id: a hash that covers the entry before it.
    pub id: String,
    /// What it was: `create`, `call`, `write`, `undo`, `redo`, `restore`, `revert`, `fork`, ...
    pub kind: String,
    /// When it was written.
    #[schema(format = DateTime)]
    pub time: String,
    /// Who asked for it.
    pub actor: String,
    /// The state before; a new sandbox has none.
    pub before: Option<String>,
    /// The state after.
    pub after: String,
    /// Whether the state after differs from the one before.
    pub changed: bool,
    /// Whether its states and outputs were given up: it can be looked at, and not returned to.
    #[serde(default)]
    pub expired: bool,
    /// The sandbox's generation after it.
    pub generation: u64,
    /// The number of the operation that it took back or brought back.
    pub target: Option<u64>,
    /// The call that it was.
    pub call: Option<OperationCall>,
    /// What else is known of it.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// A call, in a list of operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationCall {
    /// Its id.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// How it ended.
    pub status: CallStatus,
    /// What the program exited with.
    pub exit_code: Option<i32>,
    /// Time on the clock, in milliseconds.
    pub wall_ms: f64,
}

/// An operation that moved the head.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Moved {
    /// The operation.
    pub operation: Operation,
    /// The state before.
    pub before: String,
    /// The state after.
    pub after: String,
    /// What differs between them.
    pub changes: Changes,
    /// The numbers of the operations taken back or brought back, newest first.
    pub undone: Vec<u64>,
}

/// A program that serves a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// Where it comes from.
    pub source: String,
    /// The SHA-256 of what is fetched, in hexadecimal.
    pub sha256: String,
    /// `available`, `installed` or `compiled`.
    pub status: String,
    /// The tools that it serves.
    pub tools: Vec<String>,
}

/// Whether the service is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok` or `ready`.
    pub status: String,
    /// The version of the service.
    pub version: String,
}

/// What the service is and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Index {
    /// `sandglass`.
    pub name: String,
    /// The version of the service.
    pub version: String,
    /// Where its parts are, by name.
    pub links: BTreeMap<String, String>,
}
