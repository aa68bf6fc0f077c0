//! Files and what differs between states, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A summary of a diff: counts by kind of change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// How many paths are new.
    pub added: u64,
    /// How many paths are gone.
    pub removed: u64,
    /// How many files have other content.
    pub modified: u64,
    /// How many moved.
    pub renamed: u64,
    /// How many have only another mode or time.
    pub attributes: u64,
    /// By how much files grew or are new, in bytes.
    pub bytes_added: u64,
    /// By how much files shrank or are gone, in bytes.
    pub bytes_removed: u64,
}

/// What differs between two states.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Diff {
    /// The older state.
    pub from: String,
    /// The newer state.
    pub to: String,
    /// Counts; complete also when `changes` is cut.
    pub summary: Changes,
    /// The changes, by path.
    pub changes: Vec<Change>,
    /// Whether there are more changes than these.
    pub truncated: bool,
}

/// What happened to one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The path, with U+FFFD for what is not UTF-8.
    pub path: String,
    /// What happened.
    pub kind: ChangeKind,
    /// Where a renamed one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// How it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ChangeSide>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ChangeSide>,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has other content.
    Modified,
    /// It moved.
    Renamed,
    /// It has only another mode or time.
    Attributes,
}

/// One side of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeSide {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits in octal, such as `0644`.
    #[schema(pattern = "^[0-7]{4}$")]
    pub mode: String,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    #[schema(format = DateTime)]
    pub modified: String,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// A file, directory or link of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileEntry {
    /// Its absolute path, with U+FFFD for what is not UTF-8.
    pub path: String,
    /// The last part of the path.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits in octal, such as `0644`.
    #[schema(pattern = "^[0-7]{4}$")]
    pub mode: String,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    #[schema(format = DateTime)]
    pub modified: String,
    /// Where a symbolic link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A validator for `If-Match`, without quotes.
    pub etag: String,
}

/// States that were imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedStates {
    /// Their ids; of an archive there is one.
    pub states: Vec<String>,
    /// Nodes that came.
    pub nodes: u64,
    /// Of those, the ones that were new here.
    pub nodes_new: u64,
    /// Bytes of a bundle's nodes, or of an archive's files.
    pub bytes: u64,
    /// What was left out of an archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedEntry>,
}

/// An entry of an archive that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkippedEntry {
    /// Its path, as the archive has it.
    pub path: String,
    /// Why.
    pub reason: String,
}
