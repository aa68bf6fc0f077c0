//! Going back: undo, redo and restore. The log only grows: each is one more operation whose state is an older one.

use sandglass_snapshots::{EntryBody, Line, NodeBatch, OperationKind, StateId};
use serde_json::json;

use crate::error::Error;
use crate::operation::{Step, Steps, Target, redo_target, undo_target};
use crate::record::{Moved, RestoreTarget};
use crate::sandbox::{Sandbox, to_detail};

const STEPS_MAX: u32 = 1_000;
const PATHS_MAX: usize = 1_000;

/// A sandbox's log, read backwards in pages.
struct LogReader<'a> {
    sandbox: &'a Sandbox,
    /// Descending, as read last.
    page: Vec<(u64, Option<Step>)>,
}

impl Steps for LogReader<'_> {
    type Error = Error;

    fn step(&mut self, seq: u64) -> Result<Option<Step>, Error> {
        const PAGE: usize = 32;
        let known =
            |page: &[(u64, Option<Step>)]| page.iter().find(|(number, _)| *number == seq).map(|(_, step)| *step);
        if let Some(step) = known(&self.page) {
            return Ok(step);
        }
        let entries = self.sandbox.world().store.entries_before(self.sandbox.id(), seq.saturating_add(1), PAGE)?;
        self.page = entries
            .into_iter()
            .map(|entry| {
                let EntryBody::Operation(operation) = entry.body else { return (entry.seq, None) };
                let step = Step {
                    seq: entry.seq,
                    kind: operation.kind,
                    before: operation.before,
                    after: operation.after,
                    target: operation.target,
                };
                (entry.seq, Some(step))
            })
            .collect();
        Ok(known(&self.page).flatten())
    }
}

pub(crate) fn undo(sandbox: &Sandbox, steps: u32, actor: &str) -> Result<Moved, Error> {
    step_through(sandbox, steps, actor, OperationKind::Undo)
}

pub(crate) fn redo(sandbox: &Sandbox, steps: u32, actor: &str) -> Result<Moved, Error> {
    step_through(sandbox, steps, actor, OperationKind::Redo)
}

/// Appends one undo or redo for every step, so that each can be taken back by itself; all in one record, so that all or
/// none happen.
fn step_through(sandbox: &Sandbox, steps: u32, actor: &str, kind: OperationKind) -> Result<Moved, Error> {
    if steps == 0 || steps > STEPS_MAX {
        return Err(Error::invalid(
            "steps",
            format!("{steps} steps were asked for, and 1 to {STEPS_MAX} are possible"),
        ));
    }
    let turn = sandbox.take_turn()?;
    let head = sandbox.head()?;
    let mut log = Planned { log: LogReader { sandbox, page: Vec::new() }, newest: head.seq, planned: Vec::new() };
    let mut state = head.state;
    for done in 0..steps {
        let newest = head.seq + u64::from(done);
        let found =
            if kind == OperationKind::Undo { undo_target(&mut log, newest)? } else { redo_target(&mut log, newest)? };
        let Some(Target { seq, state: target }) = found else { return Err(nothing_left(kind, done)) };
        if !sandbox.world().store.contains_state(target) {
            return Err(given_up(seq));
        }
        log.planned.push(Step { seq: newest + 1, kind, before: Some(state), after: target, target: Some(seq) });
        state = target;
    }
    let mut generation = head.generation;
    let bodies = log.planned.iter().map(|step| {
        generation += 1;
        let mut operation = sandbox.operation(kind, &head, step.after, actor);
        operation.before = step.before;
        operation.generation = generation;
        operation.target = step.target;
        EntryBody::Operation(operation)
    });
    let entry = sandbox.append_body(&turn, &head, bodies.collect(), NodeBatch::new())?;
    let undone: Vec<u64> = log.planned.iter().filter_map(|step| step.target).collect();
    tracing::info!(sandbox.id = %sandbox.id(), ?kind, ?undone, state = %state, "went back");
    sandbox.moved(&entry, head.state, undone)
}

fn nothing_left(kind: OperationKind, done: u32) -> Error {
    let (code, verb) =
        if kind == OperationKind::Undo { ("nothing_to_undo", "undo") } else { ("nothing_to_redo", "redo") };
    let message = if done == 0 {
        format!("there is nothing to {verb}")
    } else {
        format!("there are only {done} steps to {verb}")
    };
    Error::conflict(code, message).hinted("the log shows every operation; `restore` goes to any of its states")
}

pub(crate) fn given_up(seq: u64) -> Error {
    Error::conflict("expired", format!("the state that operation {seq} leads back to was given up by retention"))
        .hinted("the log shows which operations can still be returned to")
}

/// The log with the operations that are about to be appended.
struct Planned<'a> {
    log: LogReader<'a>,
    newest: u64,
    planned: Vec<Step>,
}

impl Steps for Planned<'_> {
    type Error = Error;

    fn step(&mut self, seq: u64) -> Result<Option<Step>, Error> {
        match seq.checked_sub(self.newest + 1) {
            None => self.log.step(seq),
            Some(index) => Ok(usize::try_from(index).ok().and_then(|index| self.planned.get(index)).copied()),
        }
    }
}

pub(crate) fn restore(
    sandbox: &Sandbox,
    target: &RestoreTarget,
    paths: Option<&[String]>,
    actor: &str,
) -> Result<Moved, Error> {
    let turn = sandbox.take_turn()?;
    let head = sandbox.head()?;
    let state = target_state(sandbox, target)?;
    let (after, nodes) = match paths {
        None => (state, NodeBatch::new()),
        Some(paths) => {
            let line = crate::revert::line_since_state(sandbox, target, state, &head)?;
            some_paths(sandbox, head.state, state, paths, line)?
        }
    };
    let mut operation = sandbox.operation(OperationKind::Restore, &head, after, actor);
    operation.generation += 1;
    operation.detail = to_detail(&match target {
        RestoreTarget::State(_) => json!({ "state": state.to_string(), "paths": paths }),
        RestoreTarget::Checkpoint(name) => json!({ "state": state.to_string(), "checkpoint": name, "paths": paths }),
        RestoreTarget::Seq(seq) => json!({ "state": state.to_string(), "seq": seq, "paths": paths }),
    })?;
    let entry = sandbox.append(&turn, &head, operation, nodes)?;
    tracing::info!(sandbox.id = %sandbox.id(), state = %state, "restored");
    sandbox.moved(&entry, head.state, Vec::new())
}

fn target_state(sandbox: &Sandbox, target: &RestoreTarget) -> Result<StateId, Error> {
    match target {
        RestoreTarget::State(state) => sandbox.host.known_state(*state),
        RestoreTarget::Checkpoint(name) => Ok(sandbox.checkpoint_named(name)?.state),
        RestoreTarget::Seq(seq) => {
            let unknown = || Error::not_found("unknown_operation", format!("there is no operation {seq}"));
            let before = seq.checked_sub(1).ok_or_else(unknown)?;
            let found = sandbox.operations(before, 1)?.into_iter().next();
            let after = found.filter(|operation| operation.seq == *seq).ok_or_else(unknown)?.after;
            if sandbox.world().store.contains_state(after) { Ok(after) } else { Err(given_up(*seq)) }
        }
    }
}

/// Returns the head with some subtrees taken from another state; a path that is absent there is removed here.
fn some_paths(
    sandbox: &Sandbox,
    head: StateId,
    from: StateId,
    paths: &[String],
    line: Option<Line>,
) -> Result<(StateId, NodeBatch), Error> {
    if paths.is_empty() || paths.len() > PATHS_MAX {
        return Err(Error::invalid("paths", format!("{} paths were given, and 1 to {PATHS_MAX} can be", paths.len()))
            .hinted("leave `paths` out to restore everything"));
    }
    // Held until it is in the log: what is taken from it is not copied.
    let _held = sandbox.world().store.hold_state(from)?;
    let mut transaction = sandbox.world().store.begin(head, sandbox.quota())?;
    let now = sandbox.world().clock.now();
    let mut wanted = Vec::with_capacity(paths.len());
    for path in paths {
        let parts = crate::files::parts(path)?;
        if parts.is_empty() {
            return Err(Error::invalid("paths", "the root can't be restored as a path").hinted("leave `paths` out"));
        }
        wanted.push((parts, path));
    }
    // A path inside another comes with it.
    wanted.sort();
    wanted.dedup_by(|(inner, _), (outer, _)| inner.starts_with(outer));
    let parts: Vec<_> = wanted.iter().map(|(parts, _)| parts.clone()).collect();
    transaction.graft(from, &parts, line, now).map_err(|failure| {
        let path = wanted.get(failure.path).map_or("", |(_, path)| path.as_str());
        crate::revert::path_failure(failure, path)
    })?;
    let sealed = transaction.seal()?;
    Ok((sealed.state, sealed.nodes))
}
