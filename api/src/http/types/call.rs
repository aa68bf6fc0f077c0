//! Calls on the wire: what is asked for, how it ended, where it stands, what it prints.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Changes;

/// What a call shall do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tool": "python", "arguments": {"code": "print(6 * 7)"}, "timeout_ms": 10000}))]
pub struct CreateCall {
    /// The tool, such as `python` or `notes.add`; `GET /v1/tools` lists all.
    #[schema(min_length = 1, max_length = 255)]
    pub tool: String,
    /// The tool's arguments: an object. `python` takes `{code | argv, stdin?, env?, cwd?}`; `GET /v1/tools` has the schema of each
    /// tool.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// The session to run in: an interpreter that goes on from call to call, and that is made when there is none of this name. Absent:
    /// a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    pub session: Option<String>,
    /// A wall limit in milliseconds, shorter than the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub timeout_ms: Option<u64>,
    /// Standard input, when `arguments` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub stdin: Option<String>,
    /// Run on a fork that is thrown away: the answer tells what would have happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
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
    /// Returns the word on the wire.
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
}

/// A call that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// Its id.
    #[schema(example = "call_06ew1sk3p8z1m5n7v2q4r6t8w0")]
    pub id: String,
    /// The number of its log entry; a dry run has none.
    pub seq: Option<u64>,
    /// The id of its sandbox.
    pub sandbox: String,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// How it ended.
    pub status: CallStatus,
    /// What the program exited with; null when it did not end by itself.
    pub exit_code: Option<i32>,
    /// Why it ended, when not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it printed, with U+FFFD for what is not UTF-8.
    pub stdout: String,
    /// The exact bytes of `stdout`; only there when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// Whether `stdout` lacks its end.
    pub stdout_truncated: bool,
    /// What it printed on standard error, with U+FFFD for what is not UTF-8.
    pub stderr: String,
    /// The exact bytes of `stderr`; only there when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
    /// Whether `stderr` lacks its end.
    pub stderr_truncated: bool,
    /// The session that it ran in.
    #[serde(default)]
    pub session: Option<String>,
    /// The value of the code's last expression, as `repr` shows it, when it ran in a session; what the function of an uploaded tool
    /// returned.
    pub result: Option<Value>,
    /// The state before.
    pub before: String,
    /// The state after: the same if the call changed nothing or did not end by itself.
    pub after: String,
    /// What it changed.
    pub changes: Changes,
    /// What left the sandbox.
    #[schema(value_type = Vec<Object>)]
    pub effects: Vec<Value>,
    /// What it used.
    pub usage: CallUsage,
    /// Whether it can be taken back: `full`, `compensated`, `partial` or `none`.
    pub undo: String,
    /// Whether it left nothing behind.
    pub dry_run: bool,
    /// When it started.
    #[schema(format = DateTime)]
    pub time: String,
    /// Who asked for it.
    pub actor: String,
    /// The guest that ran it.
    pub guest: Option<String>,
}

/// What a call used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallUsage {
    /// Time on the clock, in milliseconds.
    pub wall_ms: f64,
    /// Instructions, in Wasmtime's fuel.
    pub fuel: u64,
    /// The largest size of the guest's memory.
    pub memory_peak_bytes: u64,
    /// What it printed.
    pub output_bytes: u64,
}

/// Where a call stands that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PendingStatus {
    /// It waits for the sandbox's turn.
    Queued,
    /// Its guest runs.
    Running,
}

/// A call that has not ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingCall {
    /// Its id.
    pub id: String,
    /// The id of its sandbox.
    pub sandbox: String,
    /// Where it stands.
    pub status: PendingStatus,
}

/// A call, ended or not; `status` tells.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CallView {
    /// It has ended.
    Ended(Box<Call>),
    /// It has not.
    Pending(PendingCall),
}

/// The data of an `output` event of a call's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputEvent {
    /// The number of the piece in its call, from 1; also the event's id.
    pub seq: u64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// What was printed, when it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was printed, when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}
