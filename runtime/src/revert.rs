//! Revert: one earlier operation is taken back, and what came later stays. What that means for files is in
//! `sandglass_snapshots`; here the log is read and appended to.

use sandglass_snapshots::{
    ConflictReason, Conflicts, Entry, EntryBody, FsError, Head, Inode, Line, Operation, OperationKind, PathError,
    Reverted, StateId, StoreError, Transaction,
};
use serde_json::json;

use crate::error::Error;
use crate::record::{Moved, RestoreTarget, RevertConflict, RevertTarget};
use crate::sandbox::{Sandbox, to_detail};
use crate::session::look::EndDetail;

const PAGE: usize = 512;
/// So many entries are looked at to find a state's place in the log.
const SEARCHED_MAX: u64 = 10_000;

pub(crate) fn revert(sandbox: &Sandbox, target: &RevertTarget, actor: &str) -> Result<Moved, Error> {
    let turn = sandbox.take_turn()?;
    let head = sandbox.head()?;
    let store = &sandbox.world().store;
    let seq = match target {
        RevertTarget::Seq(seq) => *seq,
        RevertTarget::Call(call) => store.call_seq(sandbox.id(), *call)?.ok_or_else(|| {
            Error::not_found("unknown_call", format!("sandbox {} has no call {call}", sandbox.name()))
        })?,
    };
    let entry = store.entry(sandbox.id(), seq).map_err(|error| match error {
        StoreError::UnknownEntry { .. } => {
            Error::not_found("unknown_operation", format!("there is no operation {seq}"))
        }
        error => error.into(),
    })?;
    let (reverted, before) = revertible(&entry)?;
    // Held until the operation is in the log: what is taken from them is not copied.
    let held = |state| {
        store.hold_state(state).map_err(|error| match error {
            StoreError::MissingNode(_) => crate::restore::given_up(seq),
            error => error.into(),
        })
    };
    let _held = (held(before)?, held(reverted.after)?);
    let line = line_since(sandbox, seq, reverted, &head)?;
    let mut transaction = store.begin(head.state, sandbox.quota())?;
    if let Reverted::Conflicts(conflicts) =
        transaction.revert(before, reverted.after, line, sandbox.world().clock.now())?
    {
        return Err(refused(seq, &conflicts));
    }
    if reverted.kind == OperationKind::End && head.state != reverted.after {
        bring_back(seq, reverted, before, &mut transaction)?;
    }
    let sealed = transaction.seal()?;
    if sealed.state == head.state {
        return Err(nothing(seq, "all that it changed is again as it was before it"));
    }
    let mut operation = sandbox.operation(OperationKind::Revert, &head, sealed.state, actor);
    operation.generation += 1;
    operation.target = Some(seq);
    operation.detail = to_detail(&match &reverted.call {
        Some(call) => json!({ "call": call.id.to_string(), "tool": call.tool }),
        None => json!({}),
    })?;
    let entry = sandbox.append(&turn, &head, operation, sealed.nodes)?;
    tracing::info!(sandbox.id = %sandbox.id(), reverted = seq, state = %sealed.state, "reverted");
    sandbox.moved(&entry, head.state, vec![seq])
}

/// Returns the operation of an entry and the state before it, if it is one that can be reverted.
fn revertible(entry: &Entry) -> Result<(&Operation, StateId), Error> {
    let seq = entry.seq;
    let refused = |what: &str| {
        Error::invalid("not_revertible", format!("entry {seq} {what}: it can't be reverted"))
            .hinted("the log shows which operations changed files")
    };
    let EntryBody::Operation(operation) = &entry.body else { return Err(refused("changed no files")) };
    match (operation.kind, operation.before) {
        (OperationKind::Create | OperationKind::Fork, _) | (_, None) => Err(refused("began the sandbox")),
        (OperationKind::Delete | OperationKind::Undelete, _) => Err(refused("changed no files")),
        (_, Some(before)) if before == operation.after => Err(nothing(seq, "it changed nothing")),
        (_, Some(before)) => Ok((operation, before)),
    }
}

/// Brings a session back that an operation has ended, unless one of its name has begun since.
fn bring_back(seq: u64, ended: &Operation, before: StateId, transaction: &mut Transaction) -> Result<(), Error> {
    let detail: EndDetail = serde_json::from_slice(&ended.detail)
        .map_err(|error| Error::internal("the detail of an end does not parse").caused(error))?;
    let name = detail.session;
    if transaction.session(&name)?.is_some() {
        let message = format!("operation {seq} can't be taken back alone: there is a session `{name}` again");
        return Err(Error::conflict("session_exists", message).hinted("end that one first, or `restore` the state"));
    }
    transaction.take_session(before, &name)?;
    Ok(())
}

fn nothing(seq: u64, why: &str) -> Error {
    Error::conflict("nothing_to_revert", format!("there is nothing of operation {seq} to take back: {why}"))
}

fn refused(seq: u64, conflicts: &Conflicts) -> Error {
    let list = conflicts.listed.iter().map(|conflict| RevertConflict {
        path: String::from_utf8_lossy(&conflict.path).into_owned(),
        reason: conflict.reason.as_str(),
        text: conflict.reason.text(),
    });
    let list: Vec<_> = list.collect();
    let paths = if conflicts.total == 1 { "path was" } else { "paths were" };
    let mut message = format!("operation {seq} can't be taken back alone: {} {paths} changed since", conflicts.total);
    if let Some(first) = list.first() {
        message.push_str(&format!("; `{}` {}", first.path, first.text));
    }
    let mut error = Error::conflict("revert_conflict", message);
    let newer = conflicts.listed.iter().any(|conflict| conflict.reason != ConflictReason::NoParent);
    error = error.hinted(if newer {
        "`history` of a path shows who changed it: revert those operations first, or `restore` with `paths`"
    } else {
        "bring the directory back first: `restore` with `paths`"
    });
    error.with_conflicts(list, conflicts.total)
}

/// Returns what inode numbers went through between an operation and the head.
fn line_since(sandbox: &Sandbox, seq: u64, operation: &Operation, head: &Head) -> Result<Line, Error> {
    let next =
        |state| -> Result<Inode, Error> { Ok(sandbox.world().store.begin(state, sandbox.quota())?.next_inode()) };
    let mut line = Line { lowest: next(operation.after)?, only_forward: true };
    // The generation grows with everything that goes back.
    if operation.generation == head.generation {
        return Ok(line);
    }
    let mut after = seq;
    while after < head.seq {
        let page = sandbox.world().store.entries(sandbox.id(), after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in &page {
            let EntryBody::Operation(operation) = &entry.body else { continue };
            let is_forward = matches!(
                operation.kind,
                OperationKind::Call | OperationKind::Write | OperationKind::Import | OperationKind::End
            );
            if !is_forward {
                line.only_forward = false;
                line.lowest = line.lowest.min(next(operation.after)?);
            }
        }
    }
    Ok(line)
}

/// Returns what inode numbers went through since a state that is to be restored in part; nothing where it is not in the
/// recent log, so that numbers say nothing.
pub(crate) fn line_since_state(
    sandbox: &Sandbox,
    target: &RestoreTarget,
    state: StateId,
    head: &Head,
) -> Result<Option<Line>, Error> {
    let oldest = head.seq.saturating_sub(SEARCHED_MAX);
    let wanted = match target {
        RestoreTarget::Seq(seq) => Some(*seq),
        RestoreTarget::State(_) | RestoreTarget::Checkpoint(_) => None,
    };
    let mut before = head.seq.saturating_add(1);
    while before > oldest.max(1) {
        let page = sandbox.world().store.entries_before(sandbox.id(), before, PAGE)?;
        let Some(last) = page.last() else { break };
        before = last.seq;
        for entry in &page {
            let EntryBody::Operation(operation) = &entry.body else { continue };
            if operation.after == state && wanted.is_none_or(|wanted| wanted == entry.seq) {
                return line_since(sandbox, entry.seq, operation, head).map(Some);
            }
        }
    }
    Ok(None)
}

/// Says what went wrong with one of several paths.
pub(crate) fn path_failure(failure: PathError, path: &str) -> Error {
    match failure.error {
        FsError::NotFound => Error::not_found("no_such_file", format!("`{path}` is in neither state")),
        other => other.into(),
    }
}
