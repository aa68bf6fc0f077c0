//! Sessions over the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A session: an interpreter that goes on from call to call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// The guest that it is an instance of.
    pub guest: String,
    /// The tool that calls name it with; empty when the guest serves none in this sandbox.
    #[serde(default)]
    pub tool: String,
    /// Whether its memory is there; without, its next call begins anew.
    pub has_memory: bool,
    /// How large its memory is, in bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Bytes of its memory in the store; what it shares with other states and sessions counts, too. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub stored_bytes: Option<u64>,
}

/// What differs between two states of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionDiff {
    /// The session.
    pub session: String,
    /// The older state.
    pub from: String,
    /// The newer state.
    pub to: String,
    /// Counts.
    pub summary: NameChanges,
    /// The names that appeared, changed or vanished, by name.
    pub changes: Vec<NameChange>,
    /// Whether there are more names than were compared: the first 1,000 of each state are.
    pub truncated: bool,
}

/// How many names of a session differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameChanges {
    /// New names.
    pub appeared: u64,
    /// Names that stand for something else, or for something that has changed.
    pub changed: u64,
    /// Names that are gone.
    pub vanished: u64,
    /// Names that stand for what they stood for.
    pub unchanged: u64,
    /// Of the unchanged: those so large that parts of them were not compared.
    pub sampled: u64,
}

/// What happened to one name of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameChange {
    /// The name.
    pub name: String,
    /// What happened.
    pub kind: NameChangeKind,
    /// What it stood for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<NameSide>,
    /// What it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<NameSide>,
}

/// What can happen to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameChangeKind {
    /// It was not there before.
    Appeared,
    /// It stands for something else, or for something that has changed.
    Changed,
    /// It is gone.
    Vanished,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameSide {
    /// The type of the value.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is shown as, cut to some 160 characters.
    pub text: String,
    /// How many parts it has, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub length: Option<u64>,
    /// Whether all of it was compared: of very large values, parts are.
    pub whole: bool,
}
