//! Taking back what one operation did and keeping what came later: three states, compared path by path.
//!
//! `base` is the state after the operation, `theirs` the one before it, `ours` the head. Only paths that the operation changed
//! are looked at. A path that is in ours as in base becomes what it is in theirs; one that is as in theirs already stays; any
//! other is a conflict, and then nothing changes at all. Content is never merged.
//!
//! Two things are the same when kind, mode, time and content are; inode numbers do not count. Of a directory, kind and mode
//! count: its time changes with every name in it, and its names are paths of their own. A file with several names is one file:
//! its content is compared once, by inode number, and its names are paths like any other.
//!
//! What comes back keeps its inode number unless the head uses it or may have given it to something else. A subtree of
//! which that is known is attached by the name of its node, and never walked.

mod plan;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod used;

use crate::error::{FsError, StoreError};
use crate::id::{Inode, StateId, Timestamp};
use crate::transaction::Transaction;

pub(crate) use plan::{Addition, Plan, Planner, Removal};

/// The most conflicts that are listed.
const CONFLICTS_LISTED_MAX: usize = 1_000;

/// What happened to a sandbox between an older state and its head, as far as inode numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The smallest `next_inode` of any state since: smaller numbers were given to nothing new.
    pub lowest: Inode,
    /// Whether nothing went back or brought anything back since, so that only new numbers came into use.
    pub only_forward: bool,
}

/// Why a path can't become again what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictReason {
    /// It was changed since.
    Changed,
    /// It was removed since.
    Removed,
    /// Something else was made there since.
    Made,
    /// It is a directory that would go, and something that the operation did not make is in it.
    NotEmpty,
    /// The directory that it was in is gone, or is no directory any more.
    NoParent,
    /// It was one of several names of a file, and the file was changed since under another.
    OtherName,
}

impl ConflictReason {
    /// Returns a word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Made => "made",
            Self::NotEmpty => "not_empty",
            Self::NoParent => "no_parent",
            Self::OtherName => "other_name",
        }
    }

    /// Returns what it means, to be read after the path.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Changed => "was changed since",
            Self::Removed => "was removed since",
            Self::Made => "was made anew since",
            Self::NotEmpty => "is a directory that holds something newer",
            Self::NoParent => "was in a directory that is gone",
            Self::OtherName => "is a name of a file that was changed since under another name",
        }
    }
}

/// One path that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The absolute path, in bytes.
    pub path: Vec<u8>,
    /// Why.
    pub reason: ConflictReason,
}

/// All that stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// The first of them by path, at most 1,000.
    pub listed: Vec<Conflict>,
    /// How many there are.
    pub total: u64,
}

impl Conflicts {
    fn add(&mut self, path: Vec<u8>, reason: ConflictReason) {
        self.total += 1;
        self.listed.push(Conflict { path, reason });
        // Twice the limit is kept, so that the sort is paid for rarely and memory stays bounded.
        if self.listed.len() >= 2 * CONFLICTS_LISTED_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.listed.sort_unstable();
        self.listed.truncate(CONFLICTS_LISTED_MAX);
    }
}

/// What came of a revert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// It is done, in the transaction.
    Done,
    /// Nothing was changed.
    Conflicts(Conflicts),
}

impl Transaction {
    /// Takes back what led from `before` to `after`, and keeps everything else. The cost is that of what was changed; where
    /// `line` does not say that only new inode numbers came into use since, also that of what was changed since. Inodes that
    /// were looked up before must be looked up again.
    ///
    /// # Errors
    /// [`FsError::Invalid`] in a transaction in which something was changed already, a quota, or the store failed. The
    /// transaction may be changed in part then.
    pub fn revert(&mut self, before: StateId, after: StateId, line: Line, now: Timestamp) -> Result<Reverted, FsError> {
        let head = self.unchanged_base().ok_or(FsError::Invalid)?;
        self.keep_states([before, after]);
        // What is known of inodes would go stale where whole subtrees come and go.
        self.reopen(if head == after { before } else { head })?;
        if head == after {
            return Ok(Reverted::Done);
        }
        let plan = Planner::new(self.nodes(), before, after, head)?.plan(line)?;
        if plan.conflicts.total > 0 {
            return Ok(Reverted::Conflicts(plan.conflicts));
        }
        self.apply(&plan, now)?;
        Ok(Reverted::Done)
    }

    /// Makes paths what they are in another state: subtrees are taken from there, or removed if they are not there. None of
    /// the paths may be inside another.
    ///
    /// Names, bytes, modes, times and links inside the subtrees are those of the other state; a hard link to a file outside
    /// becomes a file of its own, unless that file is here as it is there. Inode numbers are kept where `line`, of that state,
    /// shows that they are free. Where nothing but the paths differs between the states the cost is their depth; otherwise
    /// what comes back is walked, to count it, but its content is not read.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if neither has a path, [`FsError::NotADirectory`] if a parent here is none,
    /// [`FsError::Invalid`] for the root or if something was changed already, or a quota.
    pub fn graft(
        &mut self,
        other: StateId,
        paths: &[Vec<&[u8]>],
        line: Option<Line>,
        now: Timestamp,
    ) -> Result<(), PathError> {
        let nowhere = |error: FsError| PathError { path: 0, error };
        let head = self.unchanged_base().ok_or_else(|| nowhere(FsError::Invalid))?;
        self.keep_states([other]);
        self.reopen(head)?;
        let plan = Planner::new(self.nodes(), other, head, head)
            .map_err(|error| nowhere(error.into()))?
            .plan_paths(paths, line)?;
        self.apply(&plan, now).map_err(nowhere)
    }
}

/// A failure, and the number of the path that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct PathError {
    /// The number of the path, from 0.
    pub path: usize,
    /// The failure.
    #[source]
    pub error: FsError,
}

impl From<StoreError> for PathError {
    fn from(error: StoreError) -> Self {
        Self { path: 0, error: error.into() }
    }
}
