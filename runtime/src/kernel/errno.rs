//! Linux's error numbers, and the three ways an operation fails: the program is told, it must wait, or the call ends.

use sandglass_snapshots::FsError;

use crate::limits::{Limit, LimitExceeded};

/// An error that a program is told, as Linux numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

macro_rules! errnos {
    ($($name:ident = $number:literal)*) => {
        impl Errno {
            $(pub(crate) const $name: Self = Self($number);)*
        }
    };
}

errnos! {
    EPERM = 1 ENOENT = 2 ESRCH = 3 EINTR = 4 E2BIG = 7 ENOEXEC = 8 EBADF = 9 ECHILD = 10 EAGAIN = 11
    EACCES = 13 EFAULT = 14 EBUSY = 16 EEXIST = 17 EXDEV = 18 ENOTDIR = 20 EISDIR = 21 EINVAL = 22 EMFILE = 24
    ENOTTY = 25 EFBIG = 27 ESPIPE = 29 EROFS = 30 EMLINK = 31 EPIPE = 32 ERANGE = 34 ENAMETOOLONG = 36 ENOSYS = 38
    ENOTEMPTY = 39 ELOOP = 40 EOPNOTSUPP = 95 EAFNOSUPPORT = 97
}

/// Why an operation did not come to an answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The program's business.
    Errno(Errno),
    /// Nothing is there yet: wait for a change and try again.
    Wait,
    /// A limit, or a fault of the host: the call ends.
    End(wasmtime::Error),
}

impl Fault {
    pub(crate) fn limit(limit: Limit, allowed: u64) -> Self {
        LimitExceeded { limit, allowed }.into()
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<LimitExceeded> for Fault {
    fn from(limit: LimitExceeded) -> Self {
        Self::End(wasmtime::Error::new(limit))
    }
}

impl From<FsError> for Fault {
    fn from(error: FsError) -> Self {
        let errno = match error {
            FsError::NotFound => Errno::ENOENT,
            FsError::Exists => Errno::EEXIST,
            FsError::NotADirectory => Errno::ENOTDIR,
            FsError::IsADirectory => Errno::EISDIR,
            FsError::NotEmpty => Errno::ENOTEMPTY,
            FsError::NameTooLong => Errno::ENAMETOOLONG,
            FsError::InvalidName | FsError::Invalid => Errno::EINVAL,
            FsError::Busy => Errno::EBUSY,
            FsError::TooManyLinks => Errno::EMLINK,
            FsError::TooLarge => Errno::EFBIG,
            FsError::ReadOnly => Errno::EROFS,
            FsError::CrossDevice => Errno::EXDEV,
            FsError::Loop => Errno::ELOOP,
            FsError::Outside => Errno::EPERM,
            FsError::QuotaBytes { limit_bytes } => return Self::limit(Limit::DiskBytes, limit_bytes),
            FsError::QuotaInodes { limit_inodes } => return Self::limit(Limit::Inodes, limit_inodes),
            FsError::Store(error) => return Self::End(wasmtime::Error::new(error)),
        };
        Self::Errno(errno)
    }
}
