//! What callers of the runtime are told when something does not work, and what they can do about it.

use sandglass_policy::PolicyError;
use sandglass_snapshots::{FsError, StoreError};

use crate::guest::GuestError;
use crate::record::RevertConflict;

/// A failure, by what the caller should do next; `Display` is one sentence for users.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    hint: Option<String>,
    conflicts: Option<Box<(Vec<RevertConflict>, u64)>>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request can't be carried out as it is: change it.
    Invalid,
    /// What the request names does not exist.
    NotFound,
    /// The request does not fit what is there: look, then decide.
    Conflict,
    /// A condition that the request made does not hold.
    Precondition,
    /// Policy forbids it.
    Denied,
    /// It is larger or takes more than it may.
    Limit,
    /// Others are being served: try again soon.
    Busy,
    /// The service can't do it now: it stops, or misses a guest.
    Unavailable,
    /// The store is damaged.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl Error {
    /// Returns a failure with a stable code in `snake_case` and a sentence for users.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), hint: None, conflicts: None, source: None }
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what stands in the way, path by path, and how many paths there are in all.
    pub(crate) fn with_conflicts(mut self, listed: Vec<RevertConflict>, total: u64) -> Self {
        self.conflicts = Some(Box::new((listed, total)));
        self
    }

    pub(crate) fn caused(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
    }

    /// Returns what the caller should do, in kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns a stable code in `snake_case`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the paths that stand in the way, the first thousand of them, and how many there are.
    #[must_use]
    pub fn conflicts(&self) -> Option<(&[RevertConflict], u64)> {
        self.conflicts.as_deref().map(|(listed, total)| (listed.as_slice(), *total))
    }

    /// Returns what the caller can do about it, in words.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let (kind, code) = match &error {
            StoreError::UnknownSandbox(_) => (ErrorKind::NotFound, "unknown_sandbox"),
            StoreError::UnknownEntry { .. } => (ErrorKind::NotFound, "unknown_operation"),
            StoreError::UnknownPath(_) => (ErrorKind::NotFound, "no_such_file"),
            StoreError::MissingNode(_) => (ErrorKind::Corrupt, "missing_node"),
            StoreError::NoSpace { .. } => (ErrorKind::Unavailable, "disk_full"),
            StoreError::Busy(_) => (ErrorKind::Busy, "busy"),
            StoreError::DamagedNode { .. } | StoreError::DamagedFile { .. } => (ErrorKind::Corrupt, "damaged"),
            StoreError::StaleHead { .. } => (ErrorKind::Conflict, "stale_head"),
            StoreError::NewerFormat { .. } => (ErrorKind::Unavailable, "newer_format"),
            StoreError::Locked { .. } => (ErrorKind::Unavailable, "store_in_use"),
            StoreError::TooLarge { .. } => (ErrorKind::Limit, "too_large"),
            StoreError::Archive(_) => (ErrorKind::Invalid, "invalid_archive"),
            StoreError::Stopped(_) => (ErrorKind::Unavailable, "store_stopped"),
            _ => (ErrorKind::Internal, "store"),
        };
        Self::new(kind, code, message).caused(error)
    }
}

impl From<FsError> for Error {
    fn from(error: FsError) -> Self {
        let message = error.to_string();
        let (kind, code) = match error {
            FsError::Store(error) => return error.into(),
            FsError::NotFound => (ErrorKind::NotFound, "no_such_file"),
            FsError::Exists => (ErrorKind::Conflict, "file_exists"),
            FsError::NotADirectory => (ErrorKind::Conflict, "not_a_directory"),
            FsError::IsADirectory => (ErrorKind::Conflict, "is_a_directory"),
            FsError::NotEmpty => (ErrorKind::Conflict, "directory_not_empty"),
            FsError::QuotaBytes { .. } => (ErrorKind::Limit, "disk_limit"),
            FsError::QuotaInodes { .. } => (ErrorKind::Limit, "files_limit"),
            FsError::TooLarge | FsError::TooManyLinks => (ErrorKind::Limit, "too_large"),
            FsError::Busy => (ErrorKind::Denied, "file_in_use"),
            _ => (ErrorKind::Invalid, "invalid_path"),
        };
        Self::new(kind, code, message).caused(error)
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::invalid("invalid_policy", error.to_string()).caused(error)
    }
}

impl From<GuestError> for Error {
    fn from(error: GuestError) -> Self {
        let kind = if error.is_callers() { ErrorKind::Invalid } else { ErrorKind::Unavailable };
        Self::new(kind, error.code(), error.to_string()).caused(error)
    }
}
