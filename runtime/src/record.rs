//! What is known of a sandbox and of what happened in it: the plain data that the API shows.

use std::time::Duration;

use bytes::Bytes;
use sandglass_policy::Policy;
use sandglass_snapshots::{CallId, ChangeKind, DiffSummary, EntryId, Kind, SandboxId, Side, StateId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::HistoryCursor;
use std::path::PathBuf;

/// What a new sandbox shall be.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// A unique name of letters, digits and hyphens; made up when absent.
    pub name: Option<String>,
    /// Its policy; the host's default when absent.
    pub policy: Option<Policy>,
    /// What it holds at first.
    pub from: Source,
}

/// What a sandbox holds at first.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// An empty `/workspace`.
    #[default]
    Empty,
    /// A state that some sandbox has or had.
    State(StateId),
    /// The head of another sandbox, by name or id.
    Sandbox(String),
    /// A directory of the host, copied to `/workspace`.
    Directory(PathBuf),
}

/// A sandbox as it is now.
#[derive(Clone, Debug)]
pub struct SandboxInfo {
    /// Its id.
    pub id: SandboxId,
    /// Its name.
    pub name: String,
    /// Its head: the newest state.
    pub state: StateId,
    /// The number of its newest log entry.
    pub seq: u64,
    /// Grows at every restore and fork.
    pub generation: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When its newest entry was written.
    pub updated: Timestamp,
    /// Sum of the sizes of its files, in bytes.
    pub files_bytes: u64,
    /// How many files, directories and links it has.
    pub inodes: u64,
    /// Which guest serves which tool.
    pub guests: Vec<(String, String)>,
    /// The sandbox that it was forked from.
    pub parent: Option<SandboxId>,
    /// Whether a call is queued or running.
    pub running: bool,
}

/// What a call shall do.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// The tool, such as `python`.
    pub tool: String,
    /// The tool's arguments: an object.
    pub arguments: Value,
    /// The session to run in; none for a fresh interpreter.
    pub session: Option<String>,
    /// A shorter wall limit than the policy's.
    pub timeout: Option<Duration>,
    /// Standard input, if `arguments` has none.
    pub stdin: Option<Bytes>,
    /// Run on a fork that is thrown away.
    pub dry_run: bool,
    /// The id that the call shall have: made up when absent. A caller that fixed it can find the call again.
    pub id: Option<CallId>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// The program exited with 0.
    Ok,
    /// The program exited with another code.
    Error,
    /// It ran past its wall limit.
    Timeout,
    /// It ran past another limit.
    Limit,
    /// The guest trapped.
    Trapped,
    /// Policy forbade it.
    Denied,
    /// Policy holds it for approval.
    Held,
    /// Somebody cancelled it.
    Cancelled,
}

impl CallStatus {
    const ALL: [Self; 8] =
        [Self::Ok, Self::Error, Self::Timeout, Self::Limit, Self::Trapped, Self::Denied, Self::Held, Self::Cancelled];

    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Trapped => "trapped",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the status that a stored word names.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallUsage {
    /// Time on the clock.
    pub wall: Duration,
    /// Instructions, in Wasmtime's fuel.
    pub fuel: u64,
    /// The largest size of the guest's memory, in bytes.
    pub memory_peak_bytes: u64,
    /// What it printed, in bytes.
    pub output_bytes: u64,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// The number of its log entry; a dry run has none.
    pub seq: Option<u64>,
    /// Whose it is.
    pub sandbox: SandboxId,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
    /// How it ended.
    pub status: CallStatus,
    /// What the program exited with, where it did.
    pub exit_code: Option<i32>,
    /// Why it ended, when not by itself.
    pub message: Option<String>,
    /// What it printed.
    pub stdout: Bytes,
    /// What it printed on standard error.
    pub stderr: Bytes,
    /// Whether `stdout` lacks its end.
    pub stdout_cut: bool,
    /// Whether `stderr` lacks its end.
    pub stderr_cut: bool,
    /// The session that it ran in; a fresh interpreter when there is none.
    pub session: Option<String>,
    /// A session's final expression, or what the function of an uploaded tool returned.
    pub result: Option<Value>,
    /// The state before.
    pub before: StateId,
    /// The state after: the same, if the call did not end by itself.
    pub after: StateId,
    /// What it changed.
    pub changes: DiffSummary,
    /// What it used.
    pub usage: CallUsage,
    /// Whether it can be taken back: `full`, or `none` for a dry run.
    pub undo: &'static str,
    /// When it started.
    pub time: Timestamp,
    /// Who asked for it.
    pub actor: String,
    /// The guest that ran it.
    pub guest: Option<String>,
    /// Whether it left nothing behind.
    pub dry_run: bool,
}

/// A session of a sandbox: an interpreter that goes on from call to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its name.
    pub name: String,
    /// The guest that it is an instance of.
    pub guest: String,
    /// The tool that the guest serves; empty when it serves none here.
    pub tool: String,
    /// Whether its memory is there; without, its next call begins anew.
    pub has_memory: bool,
    /// How large its memory is, in bytes.
    pub memory_bytes: u64,
    /// A validator for conditional requests, without quotes.
    pub etag: String,
}

/// What the store has of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSize {
    /// Bytes of its memory's image; what it shares with other states and sessions counts, too.
    pub stored_bytes: u64,
}

/// What differs between two states of a session.
#[derive(Clone, Debug)]
pub struct NamesDiff {
    /// The older state.
    pub from: StateId,
    /// The newer state.
    pub to: StateId,
    /// How many names are new.
    pub appeared: u64,
    /// How many names stand for something else, or for something that has changed.
    pub changed: u64,
    /// How many names are gone.
    pub vanished: u64,
    /// How many names stand for what they stood for.
    pub unchanged: u64,
    /// Of those that look unchanged: how many are so large that parts of them were not compared.
    pub sampled: u64,
    /// The names that are new, changed or gone, in their order.
    pub changes: Vec<NameChange>,
    /// Whether all names were compared: of very many, the first are.
    pub is_complete: bool,
}

/// What happened to a name of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The name.
    pub name: String,
    /// What happened.
    pub kind: NameChangeKind,
    /// What it stood for.
    pub before: Option<NameSide>,
    /// What it stands for.
    pub after: Option<NameSide>,
}

/// What can happen to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameChangeKind {
    /// It was not there before.
    Appeared,
    /// It stands for something else, or for something that has changed.
    Changed,
    /// It is gone.
    Vanished,
}

/// What a name stands for, shortly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSide {
    /// The type of the value.
    pub kind: String,
    /// What it is shown as, cut to some 160 characters.
    pub text: String,
    /// How many parts it has, where it says so.
    pub length: Option<u64>,
    /// Whether all of it was looked at.
    pub is_whole: bool,
}

/// A call, in a list of operations.
#[derive(Clone, Debug)]
pub struct CallSummary {
    /// Its id.
    pub id: CallId,
    /// The tool.
    pub tool: String,
    /// How it ended.
    pub status: CallStatus,
    /// What the program exited with, where it did.
    pub exit_code: Option<i32>,
    /// Time on the clock.
    pub wall: Duration,
}

/// One operation of a sandbox.
#[derive(Clone, Debug)]
pub struct OperationInfo {
    /// The number of its log entry.
    pub seq: u64,
    /// The entry's id.
    pub entry: EntryId,
    /// What it was: `create`, `call`, `undo`, ...
    pub kind: &'static str,
    /// When it was written.
    pub time: Timestamp,
    /// Who asked for it.
    pub actor: String,
    /// The state before; a new sandbox has none.
    pub before: Option<StateId>,
    /// The state after.
    pub after: StateId,
    /// The sandbox's generation after it.
    pub generation: u64,
    /// The operation that it took back or brought back.
    pub target: Option<u64>,
    /// The call that it was.
    pub call: Option<CallSummary>,
    /// What else is known of it.
    pub detail: Value,
    /// Whether the state after differs from the one before.
    pub changed: bool,
    /// Whether its states and outputs were given up: it can be looked at, and not returned to.
    pub expired: bool,
}

/// An operation that moved the head.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The operation.
    pub operation: OperationInfo,
    /// The state before.
    pub before: StateId,
    /// The state after.
    pub after: StateId,
    /// What differs between them.
    pub changes: DiffSummary,
    /// The operations taken back or brought back, newest first.
    pub undone: Vec<u64>,
}

/// A named checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its name.
    pub name: String,
    /// The state that it names.
    pub state: StateId,
    /// The number of its log entry.
    pub seq: u64,
    /// When it was set.
    pub time: Timestamp,
}

/// What a restore goes back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreTarget {
    /// A state of this sandbox.
    State(StateId),
    /// A named checkpoint.
    Checkpoint(String),
    /// The state after the operation with this number.
    Seq(u64),
}

/// Which operation a revert takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevertTarget {
    /// That of a call.
    Call(CallId),
    /// The one with this number.
    Seq(u64),
}

/// A path that stands in the way of a revert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertConflict {
    /// Its absolute path, with U+FFFD for what is not UTF-8.
    pub path: String,
    /// Why, as a stable word.
    pub reason: &'static str,
    /// Why, to be read after the path.
    pub text: &'static str,
}

/// An operation that touched a path.
#[derive(Clone, Debug)]
pub struct PathEvent {
    /// The operation's number.
    pub seq: u64,
    /// What the operation was: `call`, `write`, `undo`, ...
    pub kind: &'static str,
    /// What it did to the path.
    pub change: ChangeKind,
    /// The path after it; of a removed one, the path before.
    pub path: String,
    /// The path before, if it was renamed.
    pub from: Option<String>,
    /// As it was.
    pub before: Option<Side>,
    /// As it became.
    pub after: Option<Side>,
    /// The state before; a new sandbox has none.
    pub before_state: Option<StateId>,
    /// The state after.
    pub after_state: StateId,
    /// The operation that it took back or brought back.
    pub target: Option<u64>,
    /// The call that it was.
    pub call: Option<CallSummary>,
    /// When.
    pub time: Timestamp,
    /// Who asked for it.
    pub actor: String,
}

/// A page of the history of a path.
#[derive(Clone, Debug)]
pub struct PathHistory {
    /// The operations that touched it, newest first.
    pub events: Vec<PathEvent>,
    /// Where it goes on, if there is more of the log.
    pub next: Option<HistoryCursor>,
}

/// What forks shall be.
#[derive(Clone, Debug)]
pub struct ForkRequest {
    /// The state to start from; the head when absent.
    pub state: Option<StateId>,
    /// One name per fork, 1 to 1,000 of them; made up where absent.
    pub names: Vec<Option<String>>,
}

/// A file of a sandbox.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// Its absolute path, with U+FFFD for what is not UTF-8.
    pub path: String,
    /// The last part of the path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Timestamp,
    /// Where a symbolic link points.
    pub target: Option<String>,
    /// A validator for conditional requests, without quotes.
    pub etag: String,
}

/// How a file shall be written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Permission bits; kept, or 0644 for a new file, when absent.
    pub mode: Option<u16>,
    /// Only if the file has this etag.
    pub if_match: Option<String>,
    /// Only if there is no such file.
    pub if_none_match_any: bool,
    /// Make a directory instead of a file.
    pub directory: bool,
}

/// The detail of a `create` operation, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CreateDetail {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// Guest names by tool, for people; the state pins the hashes.
    pub(crate) guests: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    /// Where the content came from, in words.
    pub(crate) from: String,
}
