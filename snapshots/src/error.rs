//! What can go wrong: in the store, and in a file operation on a transaction.

use std::path::PathBuf;

use crate::id::{EntryId, NodeId, SandboxId};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such sandbox has a log here, or it was deleted.
    #[error("sandbox {0} is not in the store")]
    UnknownSandbox(SandboxId),
    /// No such entry in a log.
    #[error("sandbox {sandbox} has no entry {seq}")]
    UnknownEntry {
        /// Whose log.
        sandbox: SandboxId,
        /// The number asked for.
        seq: u64,
    },
    /// A node that something names is not in the store.
    #[error("node {0} is not in the store")]
    MissingNode(NodeId),
    /// A node's bytes do not hash to its name, or do not decode.
    #[error("node {node} is damaged: {reason}")]
    DamagedNode {
        /// The damaged node.
        node: NodeId,
        /// What was found, and where.
        reason: String,
    },
    /// A file of the store does not have the form that it should.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// Somebody else appended first: this is the fence.
    #[error("the head of {sandbox} is {found:?}, not {expected:?}")]
    StaleHead {
        /// Whose log.
        sandbox: SandboxId,
        /// The head that the caller had seen.
        expected: Option<EntryId>,
        /// The head that is.
        found: Option<EntryId>,
    },
    /// A state has no such path.
    #[error("the state has no `{0}`")]
    UnknownPath(String),
    /// A log can only begin with an operation, which gives it a head.
    #[error("the log of {0} does not begin with an operation")]
    NoFirstOperation(SandboxId),
    /// The store was written by a newer version.
    #[error("{what} has format version {found}, and this program knows up to {known}")]
    NewerFormat {
        /// The file or node kind.
        what: String,
        /// Its version.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// Something of which there can be only one is under way, or was told to stop.
    #[error("{0}")]
    Busy(&'static str),
    /// Another process has the store open.
    #[error("{path} is in use by {}", holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// The other process, if its number can be read.
        holder: Option<u32>,
    },
    /// A value is larger than its format allows.
    #[error("{what} has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// How large.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// An earlier write or sync failed, and nothing more is written until the store is opened again.
    #[error("the journal stopped after a failed write: {0}")]
    Stopped(String),
    /// The disk is full: nothing of what was asked for was written, and everything before is as it was.
    #[error("there is no space left for {path}: delete sandboxes or checkpoints, or keep less, and collect")]
    NoSpace {
        /// What could not be written.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// The derived index refused.
    #[error("the index: {0}")]
    Index(#[from] rusqlite::Error),
    /// An archive can't be taken in.
    #[error("the archive can't be taken in: {0}")]
    Archive(String),
    /// Writing an export failed.
    #[error("writing an export: {0}")]
    Export(std::io::Error),
}

/// A file operation's failure, in POSIX terms.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// `ENOENT`
    #[error("no such file or directory")]
    NotFound,
    /// `EEXIST`
    #[error("the name exists already")]
    Exists,
    /// `ENOTDIR`
    #[error("not a directory")]
    NotADirectory,
    /// `EISDIR`
    #[error("is a directory")]
    IsADirectory,
    /// `ENOTEMPTY`
    #[error("the directory is not empty")]
    NotEmpty,
    /// `ENAMETOOLONG`: a name is at most 255 bytes, a symlink's target at most 4,095.
    #[error("the name is too long")]
    NameTooLong,
    /// `EINVAL`: empty, `.`, `..`, or a name with a slash or a NUL.
    #[error("the name is not allowed")]
    InvalidName,
    /// `EINVAL`: a directory into itself, a read of what is no file.
    #[error("the operation does not fit the file")]
    Invalid,
    /// `EBUSY`: the root can't be removed or renamed.
    #[error("the file is in use")]
    Busy,
    /// `EMLINK`
    #[error("too many links")]
    TooManyLinks,
    /// `EFBIG`: past the largest file size, 2^63 - 1 bytes.
    #[error("the file is too large")]
    TooLarge,
    /// `EROFS`: the file is in a read-only mount.
    #[error("the file system is read-only")]
    ReadOnly,
    /// `EXDEV`: the two names are in different mounts.
    #[error("the names are on different file systems")]
    CrossDevice,
    /// `ELOOP`: more than 40 symbolic links on the way, or one where none may be followed.
    #[error("too many symbolic links")]
    Loop,
    /// `EPERM`: the path leaves the directory that was given.
    #[error("the path leads outside")]
    Outside,
    /// The sandbox may not hold so many bytes.
    #[error("the sandbox may hold at most {limit_bytes} bytes of files")]
    QuotaBytes {
        /// The limit.
        limit_bytes: u64,
    },
    /// The sandbox may not hold so many files.
    #[error("the sandbox may hold at most {limit_inodes} files, directories and links")]
    QuotaInodes {
        /// The limit.
        limit_inodes: u64,
    },
    /// `EIO`: the store below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
