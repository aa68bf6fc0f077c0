//! From the failures of the file system to what a guest is told, in one table.

use sandglass_snapshots::FsError;

use super::preview1::types::{Errno, Error};
use crate::kernel::Fault;
use crate::limits::{Limit, LimitExceeded};

impl wiggle::GuestErrorType for Errno {
    fn success() -> Self {
        Self::Success
    }
}

impl From<FsError> for Error {
    fn from(error: FsError) -> Self {
        let errno = match error {
            FsError::NotFound => Errno::Noent,
            FsError::Exists => Errno::Exist,
            FsError::NotADirectory => Errno::Notdir,
            FsError::IsADirectory => Errno::Isdir,
            FsError::NotEmpty => Errno::Notempty,
            FsError::NameTooLong => Errno::Nametoolong,
            FsError::InvalidName | FsError::Invalid => Errno::Inval,
            FsError::Busy => Errno::Busy,
            FsError::TooManyLinks => Errno::Mlink,
            FsError::TooLarge => Errno::Fbig,
            FsError::ReadOnly => Errno::Rofs,
            FsError::CrossDevice => Errno::Xdev,
            FsError::Loop => Errno::Loop,
            FsError::Outside => Errno::Perm,
            FsError::QuotaBytes { limit_bytes } => return ended(Limit::DiskBytes, limit_bytes),
            FsError::QuotaInodes { limit_inodes } => return ended(Limit::Inodes, limit_inodes),
            FsError::Store(error) => return Self::trap(wasmtime::Error::new(error)),
        };
        errno.into()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        use crate::kernel::Errno as Linux;
        let errno = match fault {
            Fault::End(error) => return Self::trap(error),
            // Whoever waits asks for it before.
            Fault::Wait | Fault::Errno(Linux::EAGAIN) => Errno::Again,
            Fault::Errno(Linux::EBADF) => Errno::Badf,
            Fault::Errno(Linux::EPIPE) => Errno::Pipe,
            Fault::Errno(Linux::ESPIPE) => Errno::Spipe,
            Fault::Errno(Linux::EISDIR) => Errno::Isdir,
            Fault::Errno(Linux::EFBIG) => Errno::Fbig,
            Fault::Errno(Linux::EROFS) => Errno::Rofs,
            Fault::Errno(Linux::ENOENT) => Errno::Noent,
            Fault::Errno(Linux::ESRCH) => Errno::Srch,
            Fault::Errno(Linux::ECHILD) => Errno::Child,
            Fault::Errno(Linux::EACCES) => Errno::Acces,
            Fault::Errno(Linux::EPERM) => Errno::Perm,
            Fault::Errno(Linux::ENOEXEC) => Errno::Noexec,
            Fault::Errno(Linux::ENOTDIR) => Errno::Notdir,
            Fault::Errno(Linux::E2BIG) => Errno::TooBig,
            Fault::Errno(Linux::ELOOP) => Errno::Loop,
            Fault::Errno(Linux::ENAMETOOLONG) => Errno::Nametoolong,
            Fault::Errno(Linux::EMFILE) => Errno::Mfile,
            Fault::Errno(_) => Errno::Inval,
        };
        errno.into()
    }
}

/// Ends the call at a limit.
pub(super) fn ended(limit: Limit, allowed: u64) -> Error {
    Error::trap(wasmtime::Error::new(LimitExceeded { limit, allowed }))
}

impl From<wiggle::GuestError> for Error {
    fn from(error: wiggle::GuestError) -> Self {
        use wiggle::GuestError as Guest;
        match error {
            Guest::InvalidFlagValue { .. } | Guest::InvalidEnumValue { .. } => Errno::Inval.into(),
            Guest::PtrOutOfBounds { .. } | Guest::PtrOverflow | Guest::SliceLengthsDiffer => Errno::Fault.into(),
            Guest::InvalidUtf8(_) => Errno::Ilseq.into(),
            Guest::TryFromIntError(_) => Errno::Overflow.into(),
            Guest::InFunc { err, .. } => Self::from(*err),
            // A misaligned pointer traps, as the specification of pointers says.
            other => Self::trap(wasmtime::Error::new(other)),
        }
    }
}

impl From<std::num::TryFromIntError> for Error {
    fn from(_: std::num::TryFromIntError) -> Self {
        Errno::Overflow.into()
    }
}
