//! What ends a call from within: a limit, or the guest's own exit. Both travel as the cause of a trap.

use sandglass_policy::ByteSize;

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Instructions.
    Cpu,
    /// Linear memory, in bytes.
    Memory,
    /// Standard output and standard error, in bytes.
    Output,
    /// Descriptors open at once.
    OpenFiles,
    /// Bytes of files.
    DiskBytes,
    /// Files, directories and links.
    Inodes,
}

impl Limit {
    /// Returns the key of a policy's `limits` that sets it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::OpenFiles => "open_files",
            Self::DiskBytes => "disk",
            Self::Inodes => "files",
        }
    }
}

/// The guest reached a limit: the call ends, and the state is the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call reached its limit of {} (limits.{} of the policy)", described(*limit, *allowed), limit.key())]
pub struct LimitExceeded {
    /// Which.
    pub limit: Limit,
    /// How much is allowed, in the limit's own unit: fuel, bytes or a count.
    pub allowed: u64,
}

fn described(limit: Limit, allowed: u64) -> String {
    match limit {
        Limit::Cpu => format!("{allowed} instructions"),
        Limit::Memory => format!("{} of memory", ByteSize(allowed)),
        Limit::Output => format!("{} of output", ByteSize(allowed)),
        Limit::OpenFiles => format!("{allowed} open files"),
        Limit::DiskBytes => format!("{} of files", ByteSize(allowed)),
        Limit::Inodes => format!("{allowed} files"),
    }
}

/// The guest ended by itself with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program exited with {0}")]
pub struct ProcExit(pub i32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_its_key_and_unit() {
        let text = LimitExceeded { limit: Limit::DiskBytes, allowed: 2 << 30 }.to_string();
        assert_eq!(text, "the call reached its limit of 2GiB of files (limits.disk of the policy)");
    }
}
