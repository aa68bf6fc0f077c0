//! The canonical bytes of an entry, which are also what its id is the hash of.
//!
//! The kind byte `op`, a version, then the fields in the order below; `docs/formats/store.md` has the table. Whatever decodes
//! encodes to itself, so an entry has exactly one id.

use super::{
    CallRecord, Entry, EntryBody, LONG_LIMIT, MESSAGE_LIMIT, NAME_LIMIT, Operation, OperationKind, RANGES_LIMIT, Usage,
};
use crate::codec::{CodecError, Reader, Writer};
use crate::id::{CallId, EntryId, SandboxId, StateId, Timestamp};
use crate::node::{NodeKind, node_id};

/// The newest version of an entry's bytes. What version 1 can tell is still written as version 1.
pub(super) const ENTRY_VERSION: u32 = 3;

const OPERATION: u8 = 1;
const CHECKPOINT: u8 = 2;
const CHECKPOINT_DELETED: u8 = 3;
const POLICY: u8 = 4;
const OTHER: u8 = 5;
const EXPIRED: u8 = 6;
const PURGED: u8 = 7;

const STDOUT_CUT: u8 = 1;
const STDERR_CUT: u8 = 2;

/// Returns the version that an entry's bytes say they have.
pub(super) fn version(bytes: &[u8]) -> Option<u64> {
    let input = &mut Reader::new(bytes);
    (input.u8().ok()? == NodeKind::Op as u8).then(|| input.u64().ok())?
}

impl Entry {
    /// Makes an entry, giving it the id of its bytes, which are returned too.
    pub(crate) fn new(
        sandbox: SandboxId,
        seq: u64,
        previous: Option<EntryId>,
        time: Timestamp,
        body: EntryBody,
    ) -> (Self, Vec<u8>) {
        let mut entry = Self { id: EntryId([0; 32]), previous, seq, sandbox, time, body };
        let bytes = entry.to_bytes();
        entry.id = EntryId(node_id(&bytes).0);
        (entry, bytes)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_kind(NodeKind::Op as u8);
        out.u64(self.body.version()).raw(&self.sandbox.0).u64(self.seq);
        out.option(self.previous, |out, id| {
            out.raw(&id.0);
        });
        out.i64(self.time.0);
        match &self.body {
            EntryBody::Operation(operation) => write_operation(out.u8(OPERATION), operation),
            EntryBody::Checkpoint { name, state } => {
                out.u8(CHECKPOINT).bytes(name.as_bytes()).raw(&state.0);
            }
            EntryBody::CheckpointDeleted { name } => {
                out.u8(CHECKPOINT_DELETED).bytes(name.as_bytes());
            }
            EntryBody::Policy { revision, document } => {
                out.u8(POLICY).u64(*revision).bytes(document);
            }
            EntryBody::Other { kind, bytes } => {
                out.u8(OTHER).u64(u64::from(*kind)).bytes(bytes);
            }
            EntryBody::Expired { ranges } => {
                out.u8(EXPIRED).u64(ranges.len() as u64);
                for (first, last) in ranges {
                    out.u64(*first).u64(*last);
                }
            }
            EntryBody::Purged => {
                out.u8(PURGED);
            }
        }
        out.into_bytes()
    }

    /// Reads an entry, giving it the id that the caller verified its bytes against.
    pub(crate) fn from_bytes(id: EntryId, bytes: &[u8]) -> Result<Self, CodecError> {
        let input = &mut Reader::new(bytes);
        if input.u8()? != NodeKind::Op as u8 {
            return Err(CodecError::Range("a node's kind"));
        }
        let version = input.u64()?;
        let sandbox = SandboxId(short_id(input)?);
        let seq = input.u64()?;
        let previous = input.option(|input| input.hash().map(EntryId))?;
        if seq == 0 || previous.is_some() != (seq > 1) {
            return Err(CodecError::Range("an entry's number"));
        }
        let time = Timestamp(input.i64()?);
        let body = match input.u8()? {
            OPERATION => EntryBody::Operation(read_operation(input)?),
            CHECKPOINT => EntryBody::Checkpoint {
                name: text(input, NAME_LIMIT, "a checkpoint's name")?,
                state: StateId(input.hash()?),
            },
            CHECKPOINT_DELETED => {
                EntryBody::CheckpointDeleted { name: text(input, NAME_LIMIT, "a checkpoint's name")? }
            }
            POLICY => EntryBody::Policy { revision: input.u64()?, document: long(input, "a policy")? },
            OTHER => EntryBody::Other {
                kind: u16::try_from(input.u64()?).map_err(|_| CodecError::Range("a body's kind"))?,
                bytes: long(input, "a body")?,
            },
            EXPIRED => EntryBody::Expired { ranges: ranges(input)? },
            PURGED => EntryBody::Purged,
            _ => return Err(CodecError::Range("a body's tag")),
        };
        input.end()?;
        if version != body.version() {
            return Err(CodecError::Range("an entry's version"));
        }
        Ok(Self { id, previous, seq, sandbox, time, body })
    }
}

impl EntryBody {
    /// Returns the first version of entries that could tell this.
    const fn version(&self) -> u64 {
        match self {
            Self::Expired { .. } | Self::Purged => 2,
            Self::Operation(operation) => match operation.kind {
                OperationKind::Undelete => 2,
                OperationKind::End => 3,
                _ => 1,
            },
            _ => 1,
        }
    }
}

/// Reads ranges of entries: in order, apart from one another, so that the same entries are always the same bytes.
fn ranges(input: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, CodecError> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for _ in 0..input.u64()? {
        let (first, last) = (input.u64()?, input.u64()?);
        let is_apart = ranges.last().is_none_or(|(_, before)| before.checked_add(1).is_some_and(|next| first > next));
        if first == 0 || first > last || !is_apart || ranges.len() == RANGES_LIMIT {
            return Err(CodecError::Range("a range of entries"));
        }
        ranges.push((first, last));
    }
    Ok(ranges)
}

fn write_operation(out: &mut Writer, operation: &Operation) {
    let Operation { kind, before, after, generation, actor, target, policy_revision, detail, call } = operation;
    out.u8(*kind as u8);
    out.option(*before, |out, id| {
        out.raw(&id.0);
    });
    out.raw(&after.0).u64(*generation).bytes(actor.as_bytes());
    out.option(*target, |out, seq| {
        out.u64(seq);
    });
    out.u64(*policy_revision).bytes(detail);
    out.option(call.as_ref(), write_call);
}

fn read_operation(input: &mut Reader<'_>) -> Result<Operation, CodecError> {
    Ok(Operation {
        kind: OperationKind::from_byte(input.u8()?).ok_or(CodecError::Range("an operation's kind"))?,
        before: input.option(|input| input.hash().map(StateId))?,
        after: StateId(input.hash()?),
        generation: input.u64()?,
        actor: text(input, NAME_LIMIT, "an actor")?,
        target: input.option(Reader::u64)?,
        policy_revision: input.u64()?,
        detail: long(input, "a detail")?,
        call: input.option(read_call)?,
    })
}

fn write_call(out: &mut Writer, call: &CallRecord) {
    let Usage { wall_ns, fuel, memory_peak_bytes, output_bytes } = call.usage;
    out.raw(&call.id.0).bytes(call.tool.as_bytes()).id(&call.arguments).bytes(call.status.as_bytes());
    out.option(call.exit_code, |out, code| {
        out.i64(i64::from(code));
    });
    out.option(call.message.as_ref(), |out, message| {
        out.bytes(message.as_bytes());
    });
    let cut = if call.stdout_cut { STDOUT_CUT } else { 0 } | if call.stderr_cut { STDERR_CUT } else { 0 };
    out.id(&call.stdout).id(&call.stderr).u8(cut);
    out.option(call.result, |out, id| {
        out.id(&id);
    });
    out.u64(wall_ns).u64(fuel).u64(memory_peak_bytes).u64(output_bytes);
    out.option(call.guest, |out, hash| {
        out.raw(&hash);
    });
}

fn read_call(input: &mut Reader<'_>) -> Result<CallRecord, CodecError> {
    let id = CallId(short_id(input)?);
    let tool = text(input, NAME_LIMIT, "a tool's name")?;
    let arguments = input.id()?;
    let status = text(input, NAME_LIMIT, "a status")?;
    let exit_code = input.option(|input| i32::try_from(input.i64()?).map_err(|_| CodecError::Range("an exit code")))?;
    let message = input.option(|input| text(input, MESSAGE_LIMIT, "a message"))?;
    let (stdout, stderr, cut) = (input.id()?, input.id()?, input.u8()?);
    if cut > STDOUT_CUT | STDERR_CUT {
        return Err(CodecError::Range("the flags of a call"));
    }
    Ok(CallRecord {
        id,
        tool,
        arguments,
        status,
        exit_code,
        message,
        stdout,
        stderr,
        stdout_cut: cut & STDOUT_CUT != 0,
        stderr_cut: cut & STDERR_CUT != 0,
        result: input.option(Reader::id)?,
        usage: Usage {
            wall_ns: input.u64()?,
            fuel: input.u64()?,
            memory_peak_bytes: input.u64()?,
            output_bytes: input.u64()?,
        },
        guest: input.option(Reader::hash)?,
    })
}

fn short_id(input: &mut Reader<'_>) -> Result<[u8; 16], CodecError> {
    let mut id = [0; 16];
    id.copy_from_slice(input.raw(16)?);
    Ok(id)
}

fn text(input: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<String, CodecError> {
    let text = input.text()?;
    if text.len() > limit { Err(CodecError::Range(what)) } else { Ok(text.to_owned()) }
}

fn long(input: &mut Reader<'_>, what: &'static str) -> Result<Vec<u8>, CodecError> {
    let bytes = input.bytes()?;
    if bytes.len() > LONG_LIMIT { Err(CodecError::Range(what)) } else { Ok(bytes.to_vec()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::NodeId;

    fn call() -> impl Strategy<Value = CallRecord> {
        (
            any::<[u8; 16]>(),
            any::<[[u8; 32]; 5]>(),
            ".{0,9}",
            ".{0,9}",
            any::<(Option<i32>, Option<String>)>(),
            any::<[u64; 4]>(),
            any::<[bool; 4]>(),
        )
            .prop_map(|(id, hashes, tool, status, (exit_code, message), usage, flags)| CallRecord {
                id: CallId(id),
                tool,
                arguments: NodeId(hashes[0]),
                status,
                exit_code,
                message,
                stdout: NodeId(hashes[1]),
                stderr: NodeId(hashes[2]),
                stdout_cut: flags[0],
                stderr_cut: flags[1],
                result: flags[2].then_some(NodeId(hashes[3])),
                usage: Usage { wall_ns: usage[0], fuel: usage[1], memory_peak_bytes: usage[2], output_bytes: usage[3] },
                guest: flags[3].then_some(hashes[4]),
            })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        (
            0..OperationKind::ALL.len(),
            any::<(Option<[u8; 32]>, [u8; 32], u64, Option<u64>, u64, Vec<u8>)>(),
            ".{0,9}",
            proptest::option::of(call()),
        )
            .prop_map(|(kind, (before, after, generation, target, policy_revision, detail), actor, call)| {
                Operation {
                    kind: OperationKind::ALL[kind],
                    before: before.map(StateId),
                    after: StateId(after),
                    generation,
                    actor,
                    target,
                    policy_revision,
                    detail,
                    call,
                }
            })
    }

    fn body() -> impl Strategy<Value = EntryBody> {
        prop_oneof![
            operation().prop_map(EntryBody::Operation),
            (".{0,9}", any::<[u8; 32]>())
                .prop_map(|(name, state)| EntryBody::Checkpoint { name, state: StateId(state) }),
            ".{0,9}".prop_map(|name| EntryBody::CheckpointDeleted { name }),
            any::<(u64, Vec<u8>)>().prop_map(|(revision, document)| EntryBody::Policy { revision, document }),
            any::<(u16, Vec<u8>)>().prop_map(|(kind, bytes)| EntryBody::Other { kind, bytes }),
            proptest::collection::vec((1..99u64, 0..9u64), 0..9).prop_map(|parts| {
                let mut next = 1;
                let ranges = parts.into_iter().map(|(gap, length)| {
                    let first = next + gap;
                    next = first + length + 1;
                    (first, first + length)
                });
                EntryBody::Expired { ranges: ranges.collect() }
            }),
            Just(EntryBody::Purged),
        ]
    }

    proptest! {
        #[test]
        fn entries_survive_their_bytes(seq in 1..u64::MAX, previous: [u8; 32], sandbox: [u8; 16], time: i64, body in body()) {
            let previous = (seq > 1).then_some(EntryId(previous));
            let (entry, bytes) = Entry::new(SandboxId(sandbox), seq, previous, Timestamp(time), body);
            prop_assert_eq!(&Entry::from_bytes(entry.id, &bytes).unwrap(), &entry);
        }

        #[test]
        fn whatever_decodes_encodes_to_itself(body in body(), place: prop::sample::Index, flip in 1u8..) {
            let (entry, mut bytes) = Entry::new(SandboxId([7; 16]), 1, None, Timestamp(0), body);
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(other) = Entry::from_bytes(entry.id, &bytes) {
                prop_assert_eq!(other.to_bytes(), bytes);
            }
        }
    }
}
