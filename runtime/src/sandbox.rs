//! A sandbox: its turn, its calls, and the operations that move its head. What they do is in the modules they name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandglass_policy::{Limits, Policy};
use sandglass_snapshots::{
    CallId, Diff, DiffSummary, Draft, Entry, EntryBody, Head, NodeBatch, Operation, OperationKind, Quota, SandboxId,
    StateId, Timestamp,
};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::error::{Error, ErrorKind};
use crate::history::HistoryCursor;
use crate::host::{Host, Settings, World, kind_word, unknown_state};
use crate::live::{LiveCall, LiveStatus};
use crate::record::{
    Call, CallRequest, CallStatus, CallSummary, Checkpoint, CreateDetail, ForkRequest, Moved, NamesDiff, OperationInfo,
    PathHistory, RestoreTarget, RevertTarget, SandboxInfo, SessionInfo, SessionSize,
};
use crate::turn::{NoTurn, Turn, TurnGuard};

/// Calls of one sandbox that are kept as they happened: running, or ended lately (`live::Ended`).
const LIVE_KEPT_MAX: usize = 256;
const EVENTS_WAITING_MAX: usize = 256;
const CHECKPOINT_NAME_BYTES_MAX: usize = 100;
/// The largest page of a listing.
const PAGE_MAX: usize = 1_000;

/// One sandbox of a host. A handle: clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) host: Host,
    pub(crate) shared: Arc<Shared>,
}

/// What lives as long as the process does: everything else of a sandbox is in its log.
pub(crate) struct Shared {
    id: SandboxId,
    detail: CreateDetail,
    policy_revision: u64,
    created: Timestamp,
    turn: Arc<Turn>,
    live: Mutex<HashMap<CallId, Arc<LiveCall>>>,
    events: broadcast::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(
        id: SandboxId,
        detail: CreateDetail,
        policy_revision: u64,
        created: Timestamp,
        settings: &Settings,
    ) -> Self {
        let turn = Turn::new(settings.queue_per_sandbox_max);
        let live = Mutex::default();
        Self { id, detail, policy_revision, created, turn, live, events: broadcast::Sender::new(EVENTS_WAITING_MAX) }
    }

    pub(crate) const fn id(&self) -> SandboxId {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.detail.name
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Arc<LiveCall>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cancel_all(&self) {
        self.calls().values().for_each(|call| call.cancel());
    }

    /// Adds a call, and forgets those that have ended and are too many.
    pub(crate) fn keep(&self, call: &Arc<LiveCall>) -> Result<(), Error> {
        let mut calls = self.calls();
        if calls.contains_key(&call.id()) {
            return Err(Error::conflict("call_exists", format!("there is a call {} already", call.id())));
        }
        while calls.len() >= LIVE_KEPT_MAX {
            let oldest = calls.iter().filter(|(_, other)| other.status() == LiveStatus::Ended).map(|(id, _)| *id).min();
            let Some(oldest) = oldest else { break };
            calls.remove(&oldest);
        }
        calls.insert(call.id(), Arc::clone(call));
        Ok(())
    }

    pub(crate) fn forget(&self, call: CallId) {
        self.calls().remove(&call);
    }

    pub(crate) const fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }
}

impl Sandbox {
    pub(crate) const fn new(host: Host, shared: Arc<Shared>) -> Self {
        Self { host, shared }
    }

    pub(crate) fn world(&self) -> &World {
        &self.host.world
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> SandboxId {
        self.shared.id
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// Returns its policy and the policy's revision.
    ///
    /// # Errors
    /// None today: a policy is fixed when its sandbox is created.
    pub fn policy(&self) -> Result<(u64, Policy), Error> {
        Ok((self.shared.policy_revision, self.shared.detail.policy.clone()))
    }

    pub(crate) fn shared_policy(&self) -> &Policy {
        &self.shared.detail.policy
    }

    pub(crate) fn limits(&self) -> Limits {
        self.shared.detail.policy.limits
    }

    pub(crate) fn quota(&self) -> Quota {
        let limits = self.limits();
        Quota { bytes: limits.disk.bytes(), inodes: limits.files }
    }

    /// Returns what the sandbox is now.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn info(&self) -> Result<SandboxInfo, Error> {
        let store = &self.world().store;
        let head = self.head()?;
        let usage = store.begin(head.state, self.quota())?.usage();
        let newest = store.entries_before(self.id(), head.seq.saturating_add(1), 1)?;
        let detail = &self.shared.detail;
        Ok(SandboxInfo {
            id: self.id(),
            name: detail.name.clone(),
            state: head.state,
            seq: head.seq,
            generation: head.generation,
            created: self.shared.created,
            updated: newest.first().map_or(self.shared.created, |entry| entry.time),
            files_bytes: usage.bytes,
            inodes: usage.inodes,
            guests: detail.guests.clone(),
            parent: detail.parent.as_deref().and_then(|parent| parent.parse().ok()),
            running: self.shared.turn.is_taken(),
        })
    }

    pub(crate) fn head(&self) -> Result<Head, Error> {
        Ok(self.world().store.head(self.id())?)
    }

    /// Puts the sandbox into the trash: nobody can reach it any more, until it is taken back or the trash is emptied.
    ///
    /// # Errors
    /// The sandbox is busy, or the entry can't be written.
    pub fn delete(&self, actor: &str) -> Result<(), Error> {
        self.shared.cancel_all();
        let turn = self.take_turn()?;
        let head = self.head()?;
        let operation = self.operation(OperationKind::Delete, &head, head.state, actor);
        self.append(&turn, &head, operation, NodeBatch::new())?;
        self.host.unregister(&self.shared);
        tracing::info!(sandbox.id = %self.id(), "sandbox deleted");
        Ok(())
    }

    /// Checks a call, queues it, and returns at once: the call goes on whether or not anyone looks.
    ///
    /// # Errors
    /// The tool or its arguments are not possible, too many calls wait, or the service stops.
    pub fn start(&self, request: CallRequest, actor: &str) -> Result<Arc<LiveCall>, Error> {
        crate::call::start(self, request, actor)
    }

    /// Returns a call that runs or ended in the last minutes.
    #[must_use]
    pub fn live_call(&self, id: CallId) -> Option<Arc<LiveCall>> {
        self.shared.calls().get(&id).map(Arc::clone)
    }

    /// Returns a call that has ended, from the log.
    ///
    /// # Errors
    /// There is none, or the store can't be read.
    pub fn call(&self, id: CallId) -> Result<Call, Error> {
        let unknown = || Error::not_found("unknown_call", format!("sandbox {} has no call {id}", self.name()));
        let seq = self.world().store.call_seq(self.id(), id)?.ok_or_else(unknown)?;
        let entry = self.world().store.entries(self.id(), seq - 1, 1)?.into_iter().next().ok_or_else(unknown)?;
        crate::call::from_entry(self, &entry, None)?.ok_or_else(unknown)
    }

    /// Returns calls, newest first, those before entry `before_seq`; their output is cut to 4 KiB.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn calls(&self, before_seq: Option<u64>, limit: usize) -> Result<Vec<Call>, Error> {
        const LISTED_OUTPUT_BYTES: usize = 4 * 1024;
        let mut found = Vec::new();
        let mut before = before_seq.unwrap_or(u64::MAX);
        while found.len() < limit.min(PAGE_MAX) {
            let page = self.world().store.entries_before(self.id(), before, PAGE_MAX)?;
            let Some(oldest) = page.last() else { break };
            before = oldest.seq;
            for entry in &page {
                if found.len() == limit.min(PAGE_MAX) {
                    break;
                }
                found.extend(crate::call::from_entry(self, entry, Some(LISTED_OUTPUT_BYTES))?);
            }
        }
        Ok(found)
    }

    /// Stops a call that waits or runs; the state stays the one before it.
    ///
    /// # Errors
    /// There is no such call, or it has ended.
    pub fn cancel(&self, id: CallId) -> Result<(), Error> {
        let live = self.live_call(id).filter(|call| call.outcome().is_none());
        match live {
            Some(call) => call.cancel(),
            None => {
                self.call(id)?;
                return Err(Error::conflict("call_ended", format!("call {id} has ended"))
                    .hinted("`undo` takes back what it changed"));
            }
        }
        Ok(())
    }

    /// Takes back the newest `steps` operations in effect that changed the state.
    ///
    /// # Errors
    /// There are not so many, the sandbox is busy, or the entries can't be written. Nothing changes then.
    pub fn undo(&self, steps: u32, actor: &str) -> Result<Moved, Error> {
        crate::restore::undo(self, steps, actor)
    }

    /// Brings back the newest `steps` operations that undo took back.
    ///
    /// # Errors
    /// As for [`Self::undo`].
    pub fn redo(&self, steps: u32, actor: &str) -> Result<Moved, Error> {
        crate::restore::redo(self, steps, actor)
    }

    /// Goes back (or forward) to any state, or takes only some paths from it.
    ///
    /// # Errors
    /// There is no such state or path, the sandbox is busy, or the entry can't be written.
    pub fn restore(&self, target: &RestoreTarget, paths: Option<&[String]>, actor: &str) -> Result<Moved, Error> {
        crate::restore::restore(self, target, paths, actor)
    }

    /// Takes back one earlier operation and keeps the later ones.
    ///
    /// # Errors
    /// There is no such operation, it can't be reverted, paths that it changed were changed since
    /// ([`Error::conflicts`]), the sandbox is busy, or the entry can't be written. Nothing changes then.
    pub fn revert(&self, target: &RevertTarget, actor: &str) -> Result<Moved, Error> {
        crate::revert::revert(self, target, actor)
    }

    /// Returns the operations that touched a path, newest first, those after a cursor. A page may be short, or empty, where
    /// much of the log did not touch the path.
    ///
    /// # Errors
    /// It is no path, or the store can't be read.
    pub fn history(&self, path: &str, cursor: Option<HistoryCursor>, limit: usize) -> Result<PathHistory, Error> {
        crate::history::history(self, path, cursor, limit.min(PAGE_MAX))
    }

    /// Creates sandboxes whose first state is one of this one's.
    ///
    /// # Errors
    /// A name is taken or not allowed, there is no such state, or the count is out of range.
    pub fn fork(&self, request: ForkRequest, actor: &str) -> Result<Vec<Self>, Error> {
        crate::create::fork(&self.host, self, request, actor)
    }

    /// Names the head, so that it can be found and is kept.
    ///
    /// # Errors
    /// The name is taken or not allowed, the sandbox is busy, or the entry can't be written.
    pub fn checkpoint(&self, name: &str, actor: &str) -> Result<Checkpoint, Error> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > CHECKPOINT_NAME_BYTES_MAX || !name.chars().all(fits) {
            return Err(Error::invalid("invalid_name", "this can't be a checkpoint's name").hinted(format!(
                "use 1 to {CHECKPOINT_NAME_BYTES_MAX} letters, digits, hyphens, dots and underscores"
            )));
        }
        let turn = self.take_turn()?;
        if self.checkpoints()?.iter().any(|known| known.name == name) {
            return Err(Error::conflict("checkpoint_exists", format!("there is a checkpoint `{name}` already"))
                .hinted("delete it first, or choose another name"));
        }
        let head = self.head()?;
        let body = EntryBody::Checkpoint { name: name.to_owned(), state: head.state };
        let entry = self.append_body(&turn, &head, vec![body], NodeBatch::new())?;
        tracing::info!(sandbox.id = %self.id(), checkpoint = name, actor, "checkpoint named");
        Ok(Checkpoint { name: name.to_owned(), state: head.state, seq: entry.seq, time: entry.time })
    }

    /// Returns the sessions that the head has, by name.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, Error> {
        crate::session::look::list(self, self.head()?.state)
    }

    /// Returns one session of the head, and what the store has of it.
    ///
    /// # Errors
    /// There is none of this name, or the store can't be read.
    pub fn session(&self, name: &str) -> Result<(SessionInfo, SessionSize), Error> {
        crate::session::look::one(self, name)
    }

    /// Compares a session in two states: which names appeared, changed and vanished. The states stay as they are.
    ///
    /// # Errors
    /// Neither state has it, its tool has no names to compare, its memory was dropped, it can't be looked at, or the store fails.
    pub fn session_diff(&self, name: &str, from: StateId, to: StateId) -> Result<NamesDiff, Error> {
        let (from, to) = (self.host.known_state(from)?, self.host.known_state(to)?);
        crate::session::names::diff(self, name, from, to)
    }

    /// Ends a session, if `if_match` is absent, `*` or its etag.
    ///
    /// # Errors
    /// There is none of this name, it is another one by now, the sandbox is busy, or the entry can't be written.
    pub fn end_session(&self, name: &str, if_match: Option<&str>, actor: &str) -> Result<Moved, Error> {
        crate::session::look::end(self, name, if_match, actor)
    }

    /// Returns the named checkpoints, oldest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, Error> {
        let found = self.world().store.checkpoints(self.id())?;
        Ok(found.into_iter().map(|(name, state, seq, time)| Checkpoint { name, state, seq, time }).collect())
    }

    /// Takes a checkpoint's name away; the state stays in the log.
    ///
    /// # Errors
    /// There is none of this name, the sandbox is busy, or the entry can't be written.
    pub fn delete_checkpoint(&self, name: &str, actor: &str) -> Result<(), Error> {
        let turn = self.take_turn()?;
        self.checkpoint_named(name)?;
        let head = self.head()?;
        self.append_body(&turn, &head, vec![EntryBody::CheckpointDeleted { name: name.to_owned() }], NodeBatch::new())?;
        tracing::info!(sandbox.id = %self.id(), checkpoint = name, actor, "checkpoint's name deleted");
        Ok(())
    }

    pub(crate) fn checkpoint_named(&self, name: &str) -> Result<Checkpoint, Error> {
        let shown: String = name.chars().take(CHECKPOINT_NAME_BYTES_MAX).collect();
        self.checkpoints()?.into_iter().find(|known| known.name == name).ok_or_else(|| {
            Error::not_found("unknown_checkpoint", format!("sandbox {} has no checkpoint `{shown}`", self.name()))
        })
    }

    /// Returns a state if this sandbox has or had it. States are shared by all sandboxes, so whoever may know of one sandbox
    /// only must be asked for more than a state's id.
    ///
    /// # Errors
    /// No operation of this sandbox led to it, which says nothing of whether the store has it; or the store can't be read.
    pub fn own_state(&self, state: StateId) -> Result<StateId, Error> {
        if self.world().store.has_state(self.id(), state)? { Ok(state) } else { Err(unknown_state(state)) }
    }

    /// Returns what differs between two states: by default, what the newest operation changed.
    ///
    /// # Errors
    /// There is no such state, or the store can't be read.
    pub fn diff(&self, from: Option<StateId>, to: Option<StateId>, limit: usize) -> Result<Diff, Error> {
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (Some(from), None) => (from, self.head()?.state),
            (None, Some(to)) => (self.newest_operation()?.before.unwrap_or(to), to),
            (None, None) => {
                let newest = self.newest_operation()?;
                (newest.before.unwrap_or(newest.after), newest.after)
            }
        };
        let (from, to) = (self.host.known_state(from)?, self.host.known_state(to)?);
        Ok(self.world().store.diff(from, to, limit)?)
    }

    fn newest_operation(&self) -> Result<OperationInfo, Error> {
        let newest = self.operations_before(None, 1)?.into_iter().next();
        newest.ok_or_else(|| Error::internal(format!("the log of {} has no operation", self.id())))
    }

    pub(crate) fn summary(&self, from: StateId, to: StateId) -> Result<DiffSummary, Error> {
        if from == to {
            return Ok(DiffSummary::default());
        }
        Ok(self.world().store.diff(from, to, 0)?.summary)
    }

    /// Returns operations after entry `after_seq`, oldest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn operations(&self, after_seq: u64, limit: usize) -> Result<Vec<OperationInfo>, Error> {
        let entries = self.world().store.entries(self.id(), after_seq, limit.min(PAGE_MAX))?;
        self.told(entries.iter().filter_map(operation_info).collect())
    }

    /// Returns operations before entry `before_seq` (none for the newest), newest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn operations_before(&self, before_seq: Option<u64>, limit: usize) -> Result<Vec<OperationInfo>, Error> {
        let mut found: Vec<OperationInfo> = Vec::new();
        let mut before = before_seq.unwrap_or(u64::MAX);
        while found.len() < limit.min(PAGE_MAX) {
            let wanted = limit.min(PAGE_MAX) - found.len();
            let page = self.world().store.entries_before(self.id(), before, wanted)?;
            let Some(oldest) = page.last() else { break };
            before = oldest.seq;
            found.extend(page.iter().filter_map(operation_info));
        }
        self.told(found)
    }

    /// Marks the operations whose states were given up.
    fn told(&self, mut operations: Vec<OperationInfo>) -> Result<Vec<OperationInfo>, Error> {
        let expired = self.expired()?;
        operations.iter_mut().for_each(|operation| operation.expired = expired.contains(operation.seq));
        Ok(operations)
    }

    /// Tells of every new log entry by its number; a slow reader misses some and reads the log.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<u64> {
        self.shared.events.subscribe()
    }

    pub(crate) fn take_turn(&self) -> Result<TurnGuard, Error> {
        self.world().running()?;
        self.shared.turn.take(self.world().settings.turn_wait_max).map_err(busy)
    }

    /// Returns an operation of this sandbox with nothing special about it.
    pub(crate) fn operation(&self, kind: OperationKind, head: &Head, after: StateId, actor: &str) -> Operation {
        Operation {
            kind,
            before: Some(head.state),
            after,
            generation: head.generation,
            actor: actor.to_owned(),
            target: None,
            policy_revision: self.shared.policy_revision,
            detail: b"{}".to_vec(),
            call: None,
        }
    }

    /// Makes one operation durable: the moment at which it has happened. The turn is asked for as proof of having it.
    pub(crate) fn append(
        &self,
        turn: &TurnGuard,
        head: &Head,
        operation: Operation,
        nodes: NodeBatch,
    ) -> Result<Entry, Error> {
        self.append_body(turn, head, vec![EntryBody::Operation(operation)], nodes)
    }

    /// Makes entries durable in one record and returns the last.
    pub(crate) fn append_body(
        &self,
        _turn: &TurnGuard,
        head: &Head,
        bodies: Vec<EntryBody>,
        nodes: NodeBatch,
    ) -> Result<Entry, Error> {
        let time = self.world().clock.now();
        let drafts = bodies.into_iter().map(|body| Draft { time, body }).collect();
        let entries = self.world().store.append(self.id(), Some(head.entry), drafts, nodes)?;
        let last = entries.into_iter().next_back().ok_or_else(|| Error::internal("the store appended nothing"))?;
        // Nobody listening is no failure.
        drop(self.shared.events.send(last.seq));
        Ok(last)
    }

    /// Describes an operation that moved the head.
    pub(crate) fn moved(&self, entry: &Entry, before: StateId, undone: Vec<u64>) -> Result<Moved, Error> {
        let operation = operation_info(entry).ok_or_else(|| Error::internal("the newest entry is no operation"))?;
        let after = operation.after;
        Ok(Moved { operation, before, after, changes: self.summary(before, after)?, undone })
    }
}

pub(crate) fn busy(reason: NoTurn) -> Error {
    let message = match reason {
        NoTurn::Full => "too many calls wait for this sandbox",
        NoTurn::TimedOut => "the sandbox is busy with another call",
    };
    Error::new(ErrorKind::Busy, "busy", message).hinted("wait for the running call, or cancel it")
}

pub(crate) fn to_detail(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::internal("an operation's detail can't be written").caused(error))
}

pub(crate) fn operation_info(entry: &Entry) -> Option<OperationInfo> {
    let EntryBody::Operation(operation) = &entry.body else { return None };
    let call = operation.call.as_ref().map(|call| CallSummary {
        id: call.id,
        tool: call.tool.clone(),
        status: CallStatus::from_word(&call.status).unwrap_or(CallStatus::Error),
        exit_code: call.exit_code,
        wall: Duration::from_nanos(call.usage.wall_ns),
    });
    Some(OperationInfo {
        seq: entry.seq,
        entry: entry.id,
        kind: kind_word(operation.kind),
        time: entry.time,
        actor: operation.actor.clone(),
        before: operation.before,
        after: operation.after,
        generation: operation.generation,
        target: operation.target,
        call,
        detail: serde_json::from_slice(&operation.detail).unwrap_or(Value::Null),
        changed: operation.before != Some(operation.after),
        expired: false,
    })
}
