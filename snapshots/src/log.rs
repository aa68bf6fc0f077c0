//! The log: what happened to a sandbox, as a chain of entries that is only ever appended to.
//!
//! An entry is a node of kind [`NodeKind::Op`](crate::NodeKind::Op): its canonical bytes (`log/bytes.rs`) hold the id of the
//! entry before it, and its id is the hash of those bytes. So the id of a head names the whole history behind it.

mod bytes;

use crate::error::StoreError;
use crate::id::{CallId, EntryId, NodeId, SandboxId, StateId, Timestamp};

/// The longest `detail` of an operation, policy document, and body of another kind, in bytes.
pub(crate) const LONG_LIMIT: usize = 1 << 20;
/// The longest name, actor, tool and status, in bytes.
pub(crate) const NAME_LIMIT: usize = 4096;
/// The most ranges of entries that one entry can give up.
pub(crate) const RANGES_LIMIT: usize = 16_384;
/// The longest message of a call, in bytes.
pub(crate) const MESSAGE_LIMIT: usize = 64 << 10;

/// What moved the head of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OperationKind {
    /// The sandbox came to be.
    Create = 1,
    /// A tool call.
    Call = 2,
    /// Files were written from outside.
    Write = 3,
    /// The last operation was taken back.
    Undo = 4,
    /// What was taken back was brought back.
    Redo = 5,
    /// The head went to another state, or some paths of it did.
    Restore = 6,
    /// One operation was taken back and later ones kept.
    Revert = 7,
    /// The sandbox came to be as a copy of another one's state.
    Fork = 8,
    /// A directory of the host was brought in.
    Import = 9,
    /// Changes were written out to a directory of the host.
    Apply = 10,
    /// The sandbox was deleted: its log ends here.
    Delete = 11,
    /// The sandbox was taken back out of the trash.
    Undelete = 12,
    /// A session was ended from outside.
    End = 13,
}

impl OperationKind {
    pub(crate) const ALL: [Self; 13] = [
        Self::Create,
        Self::Call,
        Self::Write,
        Self::Undo,
        Self::Redo,
        Self::Restore,
        Self::Revert,
        Self::Fork,
        Self::Import,
        Self::Apply,
        Self::Delete,
        Self::Undelete,
        Self::End,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Returns the kind's lower-case name, as people and the API read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Call => "call",
            Self::Write => "write",
            Self::Undo => "undo",
            Self::Redo => "redo",
            Self::Restore => "restore",
            Self::Revert => "revert",
            Self::Fork => "fork",
            Self::Import => "import",
            Self::Apply => "apply",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::End => "end",
        }
    }
}

/// An entry that moves the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What moved it.
    pub kind: OperationKind,
    /// The state before; none for a sandbox's first.
    pub before: Option<StateId>,
    /// The state after: the new head.
    pub after: StateId,
    /// Grows at every restore and fork; tells clones apart.
    pub generation: u64,
    /// The principal who asked, at most 4,096 bytes.
    pub actor: String,
    /// For undo, redo and revert: the `seq` of the operation taken back or brought back.
    pub target: Option<u64>,
    /// The revision of the policy that held.
    pub policy_revision: u64,
    /// What else the operation needs to tell, in a form that its writer owns; at most 1 MiB.
    pub detail: Vec<u8>,
    /// The call's record, when a call moved the head.
    pub call: Option<CallRecord>,
}

/// What a call was asked, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The call's name.
    pub id: CallId,
    /// The tool that was called.
    pub tool: String,
    /// The arguments, as a stored blob (`NodeBatch::put_blob`).
    pub arguments: NodeId,
    /// How it ended, in the API's word.
    pub status: String,
    /// The program's exit code, if it got that far.
    pub exit_code: Option<i32>,
    /// What there is to say about the end, at most 64 KiB.
    pub message: Option<String>,
    /// What it wrote to standard output, as a stored blob.
    pub stdout: NodeId,
    /// What it wrote to standard error, as a stored blob.
    pub stderr: NodeId,
    /// Says whether standard output was cut at its limit.
    pub stdout_cut: bool,
    /// Says whether standard error was cut at its limit.
    pub stderr_cut: bool,
    /// The result value, as a stored blob.
    pub result: Option<NodeId>,
    /// What it used.
    pub usage: Usage,
    /// The hash of the guest's module that served it.
    pub guest: Option<[u8; 32]>,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time from start to end, in nanoseconds.
    pub wall_ns: u64,
    /// Fuel, in the engine's units.
    pub fuel: u64,
    /// The largest linear memory, in bytes.
    pub memory_peak_bytes: u64,
    /// Standard output and error together, before any cut, in bytes.
    pub output_bytes: u64,
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most entries are operations")]
pub enum EntryBody {
    /// The head moved.
    Operation(Operation),
    /// A state got a name, which may have named another before.
    Checkpoint {
        /// The name, at most 4,096 bytes.
        name: String,
        /// The state.
        state: StateId,
    },
    /// A name was taken away.
    CheckpointDeleted {
        /// The name.
        name: String,
    },
    /// The policy changed.
    Policy {
        /// Its new revision.
        revision: u64,
        /// The document, at most 1 MiB.
        document: Vec<u8>,
    },
    /// A body whose meaning is its writer's: effects and decisions.
    Other {
        /// Which kind of body it is.
        kind: u16,
        /// The body, at most 1 MiB.
        bytes: Vec<u8>,
    },
    /// What earlier entries kept alive was given up: states, arguments and outputs. The entries themselves stay.
    Expired {
        /// Numbers of entries, first and last of each range; in order and apart from one another.
        ranges: Vec<(u64, u64)>,
    },
    /// The deleted sandbox is gone for good: nothing before this entry is kept.
    Purged,
}

/// What a caller wants appended; the store gives the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub body: EntryBody,
}

/// One record of a sandbox's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The hash of all that follows.
    pub id: EntryId,
    /// The entry before; none for the first.
    pub previous: Option<EntryId>,
    /// Its number in the sandbox's log, from 1, without gaps.
    pub seq: u64,
    /// Whose log it is in.
    pub sandbox: SandboxId,
    /// When it happened, by the clock of whoever appended.
    pub time: Timestamp,
    /// What happened.
    pub body: EntryBody,
}

/// The end of a sandbox's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The newest entry.
    pub entry: EntryId,
    /// Its number.
    pub seq: u64,
    /// The state after the newest operation.
    pub state: StateId,
    /// The generation that the newest operation gave.
    pub generation: u64,
}

/// Where a log stands: its head, and whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) head: Head,
    pub(crate) life: Life,
    /// The number of the newest operation, which gave the head its state.
    pub(crate) operation: u64,
}

/// Whether a log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Live,
    /// The sandbox was deleted then, and can be taken back.
    Deleted(Timestamp),
    /// Nothing can follow.
    Purged,
}

impl Tip {
    /// Returns the tip after `entry`; none when a log would begin with something other than an operation.
    ///
    /// Entries that a repair brought back are told again after ones that follow them: what counts is their number.
    pub(crate) fn after(tip: Option<Self>, entry: &Entry) -> Option<Self> {
        let told = match &entry.body {
            EntryBody::Operation(operation) => {
                let is_delete = operation.kind == OperationKind::Delete;
                let life = if is_delete { Life::Deleted(entry.time) } else { Life::Live };
                let (after, generation) = (operation.after, operation.generation);
                let head = Head { entry: entry.id, seq: entry.seq, state: after, generation };
                Some(Self { head, life, operation: entry.seq })
            }
            _ => None,
        };
        let mut tip = tip.or(told)?;
        if let Some(told) = told.filter(|told| told.operation > tip.operation) {
            (tip.head.state, tip.head.generation) = (told.head.state, told.head.generation);
            (tip.life, tip.operation) = (told.life, told.operation);
        }
        if entry.body == EntryBody::Purged {
            tip.life = Life::Purged;
        }
        if entry.seq > tip.head.seq {
            (tip.head.entry, tip.head.seq) = (entry.id, entry.seq);
        }
        Some(tip)
    }

    /// Says whether an entry may follow: after a delete only its undoing, the purge and what retention has to say.
    pub(crate) const fn admits(&self, body: Option<&EntryBody>) -> bool {
        match (self.life, body) {
            (Life::Live, Some(EntryBody::Purged)) | (Life::Purged, _) => false,
            (Life::Live, _) | (Life::Deleted(_), Some(EntryBody::Purged | EntryBody::Expired { .. })) => true,
            (Life::Deleted(_), Some(EntryBody::Operation(operation))) => {
                matches!(operation.kind, OperationKind::Undelete)
            }
            (Life::Deleted(_), _) => false,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.life == Life::Live
    }
}

/// Puts ranges in order and joins those that touch.
pub(crate) fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len().min(64));
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, before)) if first <= before.saturating_add(1) => *before = last.max(*before),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Says whether a number is in one of the ranges, which are in order and apart.
pub(crate) fn is_within(ranges: &[(u64, u64)], seq: u64) -> bool {
    let place = ranges.partition_point(|(_, last)| *last < seq);
    ranges.get(place).is_some_and(|(first, _)| *first <= seq)
}

impl EntryBody {
    /// Says whether the entry makes room: it must be possible when there is none.
    pub(crate) fn gives_up(&self) -> bool {
        match self {
            Self::Operation(operation) => operation.kind == OperationKind::Delete,
            Self::CheckpointDeleted { .. } | Self::Expired { .. } | Self::Purged => true,
            Self::Checkpoint { .. } | Self::Policy { .. } | Self::Other { .. } => false,
        }
    }

    /// Checks every text and byte string against its limit.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let within = |what: &'static str, length: usize, limit: usize| {
            if length <= limit {
                Ok(())
            } else {
                Err(StoreError::TooLarge { what, bytes: length as u64, limit: limit as u64 })
            }
        };
        match self {
            Self::Operation(operation) => {
                within("an operation's actor", operation.actor.len(), NAME_LIMIT)?;
                within("an operation's detail", operation.detail.len(), LONG_LIMIT)?;
                let Some(call) = &operation.call else { return Ok(()) };
                within("a tool's name", call.tool.len(), NAME_LIMIT)?;
                within("a call's status", call.status.len(), NAME_LIMIT)?;
                within("a call's message", call.message.as_ref().map_or(0, String::len), MESSAGE_LIMIT)
            }
            Self::Checkpoint { name, .. } | Self::CheckpointDeleted { name } => {
                within("a checkpoint's name", name.len(), NAME_LIMIT)
            }
            Self::Policy { document, .. } => within("a policy", document.len(), LONG_LIMIT),
            Self::Other { bytes, .. } => within("an entry's body", bytes.len(), LONG_LIMIT),
            Self::Expired { ranges } => within("a list of ranges", ranges.len(), RANGES_LIMIT),
            Self::Purged => Ok(()),
        }
    }
}

/// Reads an entry's verified bytes.
///
/// # Errors
/// [`StoreError::NewerFormat`], or [`StoreError::DamagedNode`] when they are no entry.
pub(crate) fn decode(id: EntryId, bytes: &[u8]) -> Result<Entry, StoreError> {
    let newer = bytes::version(bytes).filter(|&version| version > u64::from(bytes::ENTRY_VERSION));
    if let Some(version) = newer {
        return Err(StoreError::NewerFormat {
            what: format!("entry {id}"),
            found: u32::try_from(version).unwrap_or(u32::MAX),
            known: bytes::ENTRY_VERSION,
        });
    }
    Entry::from_bytes(id, bytes)
        .map_err(|error| StoreError::DamagedNode { node: NodeId(id.0), reason: error.to_string() })
}
