//! One tool call as one transaction: its whole outcome becomes the sandbox's next state, or nothing does.
//!
//! Read [`run`] top to bottom; every step is one line here and one module elsewhere.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sandglass_policy::Policy;
use sandglass_snapshots::{
    CallRecord, Entry, EntryBody, Head, NodeBatch, Operation, OperationKind, StateId, Timestamp, Transaction, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::component::{Ran, Surroundings, ToolCall};
use crate::error::{Error, ErrorKind};
use crate::guest::{End, Guest, Invocation, Request, Resumed, RunLimits};
use crate::host::World;
use crate::live::LiveCall;
use crate::processors::Stopped;
use crate::record::{Call, CallRequest, CallStatus, CallUsage};
use crate::sandbox::{Sandbox, busy};
use crate::turn::TurnGuard;
use crate::wasi::Stream;

/// Fuel that one second of CPU time buys: what an interpreter that allocates spends in one second of one core; tight loops
/// spend twice as much.
pub const FUEL_PER_CPU_SECOND: u64 = 5_000_000_000;
const ARGUMENTS_BYTES_MAX: usize = 16 << 20;
const STDIN_BYTES_MAX: usize = 64 << 20;

/// A call that has been checked and can run.
struct Prepared {
    sandbox: Sandbox,
    live: Arc<LiveCall>,
    tool: String,
    arguments: Arc<Value>,
    session: Option<String>,
    work: Work,
    timeout: Duration,
    dry_run: bool,
    actor: String,
}

/// What runs.
enum Work {
    /// A program of a guest that the sandbox pins.
    Guest(Arc<Invocation>),
    /// An uploaded tool.
    Tool(ToolCall),
}

/// How the guest's run ended, in the words of a call.
struct Outcome {
    status: CallStatus,
    exit_code: Option<i32>,
    message: Option<String>,
    result: Option<Value>,
    fuel: u64,
    memory_peak_bytes: u64,
    output_bytes: u64,
    /// What is to be committed: only a program that ended by itself leaves anything.
    transaction: Option<Transaction>,
    /// The session that it left.
    session: Option<crate::session::Gone>,
}

/// What the log keeps of a call besides its record: when it started; the entry's own time is when it ended.
#[derive(Deserialize, Serialize)]
struct Started {
    started_ns: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

/// Checks a call and queues it; see [`Sandbox::start`].
pub(crate) fn start(sandbox: &Sandbox, request: CallRequest, actor: &str) -> Result<Arc<LiveCall>, Error> {
    let world = sandbox.world();
    world.running()?;
    allowed(sandbox.shared_policy(), &request.tool)?;
    if let Some(name) = &request.session {
        crate::session::check_name(name)?;
    }
    let size = serde_json::to_vec(&request.arguments).map_or(usize::MAX, |bytes| bytes.len());
    if size > ARGUMENTS_BYTES_MAX || request.stdin.as_ref().is_some_and(|stdin| stdin.len() > STDIN_BYTES_MAX) {
        let message = format!("arguments may have {ARGUMENTS_BYTES_MAX} bytes, standard input {STDIN_BYTES_MAX}");
        return Err(Error::new(ErrorKind::Limit, "too_large", message).hinted("write large inputs to files first"));
    }
    let work = match world.tools.call(&request.tool, &request.arguments, request.stdin.as_ref())? {
        Some(_) if request.session.is_some() => {
            let message = format!("the tool `{}` runs in a fresh instance each time", request.tool);
            return Err(Error::invalid("no_sessions", message).hinted("leave `session` out"));
        }
        Some(call) => Work::Tool(call),
        None => {
            let read = crate::tool::invocation(&request.tool, &request.arguments, request.stdin.as_ref())?;
            Work::Guest(Arc::new(read))
        }
    };
    let wall = Duration::from(sandbox.limits().wall);
    let timeout = request.timeout.map_or(wall, |asked| asked.min(wall));
    let live = Arc::new(LiveCall::new(request.id.unwrap_or_else(|| world.new_call_id()), sandbox.id()));
    sandbox.shared.keep(&live)?;
    let prepared = Prepared {
        sandbox: sandbox.clone(),
        live: Arc::clone(&live),
        tool: request.tool,
        arguments: Arc::new(request.arguments),
        session: request.session,
        work,
        timeout,
        dry_run: request.dry_run,
        actor: actor.to_owned(),
    };
    world.counts.live.fetch_add(1, Ordering::SeqCst);
    let queued = if prepared.dry_run {
        spawn(prepared, None);
        Ok(())
    } else {
        queue(prepared)
    };
    if let Err(refused) = queued {
        world.counts.live.fetch_sub(1, Ordering::SeqCst);
        sandbox.shared.forget(live.id());
        return Err(refused);
    }
    Ok(live)
}

/// Refuses what the policy lets no call name.
fn allowed(policy: &Policy, tool: &str) -> Result<(), Error> {
    const SHOWN: usize = 20;
    if policy.allows_tool(tool) {
        return Ok(());
    }
    let shown: String = tool.chars().take(80).collect();
    let named = policy.tools.as_deref().unwrap_or_default();
    let mut listed: Vec<_> = named.iter().take(SHOWN).map(ToString::to_string).collect();
    if named.len() > listed.len() {
        listed.push("...".to_owned());
    }
    let there = if listed.is_empty() { "no tool at all".to_owned() } else { listed.join(", ") };
    let message = format!("`tools` in the policy of this sandbox does not name `{shown}`");
    Err(Error::new(ErrorKind::Denied, "tool_denied", message).hinted(format!(
        "it names {there}; a sandbox that was created with \"{shown}\" among its policy's `tools` can call it"
    )))
}

fn queue(prepared: Prepared) -> Result<(), Error> {
    let turn = Arc::clone(prepared.sandbox.shared.turn());
    turn.take_then(move |guard| spawn(prepared, Some(guard))).map_err(busy)
}

/// Gives the call a thread of its own; a call without the sandbox's turn leaves nothing behind.
fn spawn(prepared: Prepared, turn: Option<TurnGuard>) {
    let host = prepared.sandbox.host.clone();
    drop(host.world.threads.spawn_blocking(move || {
        stand_back();
        let world = Arc::clone(&prepared.sandbox.host.world);
        let live = Arc::clone(&prepared.live);
        world.counts.running.fetch_add(1, Ordering::SeqCst);
        live.start();
        let ended = catch_unwind(AssertUnwindSafe(|| run(&prepared, turn.as_ref())));
        let outcome = ended.unwrap_or_else(|_| Err(Error::internal("the call met a fault of the service")));
        // The turn passes on before anyone hears of the end, so that who hears of it finds the sandbox free.
        drop(turn);
        if let Err(error) = &outcome {
            tracing::error!(call.id = %live.id(), sandbox.id = %live.sandbox(), error = %error, "call failed");
        }
        world.counts.running.fetch_sub(1, Ordering::SeqCst);
        world.counts.live.fetch_sub(1, Ordering::SeqCst);
        live.end(outcome.map(Arc::new).map_err(Arc::new));
        let (shared, id) = (Arc::downgrade(&prepared.sandbox.shared), live.id());
        world.ended.keep(&live, move || {
            if let Some(shared) = shared.upgrade() {
                shared.forget(id);
            }
        });
    }));
}

/// Lets the service's own threads before: who asks for its health, or for another call, is answered whatever guests do.
fn stand_back() {
    const NICE: i32 = 5;
    std::thread_local! {
        static IS_BACK: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_BACK.replace(true) {
        // Where it is refused, all are equal.
        rustix::process::setpriority_process(None, NICE).ok();
    }
}

fn run(call: &Prepared, turn: Option<&TurnGuard>) -> Result<Call, Error> {
    let sandbox = &call.sandbox;
    let world = sandbox.world();
    let started = Instant::now();
    let time = world.clock.now();
    let head = sandbox.head()?; // This is the checkpoint: states are immutable.
    let transaction = || Ok::<_, Error>(world.store.begin(head.state, sandbox.quota())?);
    let (mut outcome, hash) = match &call.work {
        Work::Guest(invocation) => {
            let guest = guest_for(world, &call.tool, head.state)?;
            let hash = guest.hash();
            (run_guest(call, Arc::clone(invocation), guest, &head, transaction()?)?, hash)
        }
        Work::Tool(tool) => (run_tool(call, tool, transaction()?)?, tool.hash()),
    };
    let wall = started.elapsed();
    let sealed = outcome.transaction.take().map(Transaction::seal).transpose()?;
    let (after, nodes) = sealed.map_or_else(|| (head.state, NodeBatch::new()), |sealed| (sealed.state, sealed.nodes));
    let mut ended = described(call, &outcome, &head, after, wall, time);
    ended.guest = Some(world.guests.name_of(&hash));
    match turn {
        None => {
            ended.changes = sandbox_summary_unsaved(sandbox, head.state, after, nodes)?;
            ended.undo = "none";
        }
        Some(turn) => {
            let (operation, nodes) = recorded(sandbox, &ended, &head, nodes, hash)?;
            let entry = sandbox.append(turn, &head, operation, nodes)?; // The durable moment.
            if let Some(gone) = outcome.session.take() {
                crate::session::keep(&world.sessions, sandbox.id(), gone);
            }
            ended.seq = Some(entry.seq);
            ended.changes = sandbox.summary(head.state, after)?;
        }
    }
    world.counts.ended(&ended.tool, ended.status.as_str(), wall);
    tracing::info!(
        call.id = %ended.id, sandbox.id = %ended.sandbox, tool = %ended.tool, status = ended.status.as_str(),
        wall_ms = wall.as_secs_f64() * 1e3, "call ended"
    );
    Ok(ended)
}

fn guest_for(world: &World, tool: &str, state: StateId) -> Result<Arc<Guest>, Error> {
    let pinned = world.store.guests(state)?;
    let hash = pinned.iter().find(|(name, _)| name == tool).map(|(_, hash)| hash);
    let hash = hash.ok_or_else(|| {
        let message = format!("this sandbox was created without a guest for `{tool}`");
        Error::new(ErrorKind::Unavailable, "no_guest", message).hinted("create a new sandbox")
    })?;
    Ok(world.guests.pinned(tool, hash)?)
}

/// Runs a guest until it ends, its time is over or somebody cancels it.
fn run_guest(
    call: &Prepared,
    invocation: Arc<Invocation>,
    guest: Arc<Guest>,
    head: &Head,
    transaction: Transaction,
) -> Result<Outcome, Error> {
    let world = call.sandbox.world();
    let pins = world.store.guests(head.state)?;
    let (going, session) = match &call.session {
        None => (None, None),
        Some(name) => {
            let id = call.sandbox.id();
            let (going, begin, descriptors) =
                crate::session::begin(world, id, &transaction, name, &guest, call.dry_run)?;
            let left = Arc::clone(&going.left);
            // Generations of two sandboxes may be equal, and a state may be in both.
            let life = format!("{id}:{}", head.generation);
            (Some(going), Some(Resumed { begin, descriptors, left, life }))
        }
    };
    let Surroundings { mounts, limits, output, clock, entropy } = surroundings(call);
    let guests = world.guests.clone();
    // It owns what it needs: it may go on in the background.
    let running = async move {
        let (guests, guest, pins, invocation, limits) = (&guests, &guest, &pins, &*invocation, &limits);
        crate::guest::run(Request {
            guests,
            guest,
            pins,
            invocation,
            session,
            transaction,
            mounts,
            limits,
            output,
            clock,
            entropy,
        })
        .await
    };
    let mut outcome = until_ended(call, running, |run| {
        let exit_code = if let End::Exited(code) = run.end { Some(code) } else { None };
        let (status, message) = ending(run.end);
        Outcome {
            status,
            exit_code,
            message,
            result: None,
            fuel: run.fuel,
            memory_peak_bytes: run.memory_peak_bytes,
            output_bytes: run.output_bytes,
            transaction: run.transaction,
            session: None,
        }
    })?;
    if let (Some(going), Some(transaction)) = (going, &mut outcome.transaction) {
        match going.rest(transaction)? {
            Some((gone, told)) => {
                outcome.result = told.result.map(Value::String);
                outcome.session = Some(gone);
            }
            // A session can't go on from its end: it and the files are as before.
            None => {
                outcome.transaction = None;
                outcome.status = CallStatus::Error;
                outcome.message = Some("the program ended: session and files are as before the call".to_owned());
            }
        }
    }
    Ok(outcome)
}

/// Runs an uploaded tool, as a guest is run.
fn run_tool(call: &Prepared, tool: &ToolCall, transaction: Transaction) -> Result<Outcome, Error> {
    // Before its time runs: the code may have to be compiled for a new version of the program.
    let ready = call.sandbox.world().tools.load(tool)?;
    let running = ready.run(Arc::clone(&call.arguments), transaction, surroundings(call));
    until_ended(call, running, |ran: Ran| {
        let (status, message) = ending(ran.end);
        Outcome {
            status,
            exit_code: ran.exit_code.filter(|_| ran.transaction.is_some()),
            message: message.or(ran.message),
            result: ran.result,
            fuel: ran.fuel,
            memory_peak_bytes: ran.memory_peak_bytes,
            output_bytes: ran.output_bytes,
            transaction: ran.transaction,
            session: None,
        }
    })
}

/// Returns what the host gives to a call.
fn surroundings(call: &Prepared) -> Surroundings {
    let limits = call.sandbox.limits();
    let world = call.sandbox.world();
    let fuel = u128::from(limits.cpu.milliseconds()) * u128::from(FUEL_PER_CPU_SECOND) / 1_000;
    Surroundings {
        mounts: crate::mounts::read_only(call.sandbox.shared_policy()),
        limits: RunLimits {
            fuel: u64::try_from(fuel).unwrap_or(u64::MAX),
            memory_bytes: limits.memory.bytes(),
            output_bytes: limits.output.bytes(),
            open_files: limits.open_files,
        },
        output: Arc::clone(&call.live) as Arc<dyn crate::wasi::Output>,
        clock: Arc::clone(&world.clock),
        entropy: Arc::clone(&world.entropy),
    }
}

/// Lets something run until it ends, its time is over or somebody cancels the call.
fn until_ended<T: Send + 'static, E: Into<Error> + Send + 'static>(
    call: &Prepared,
    running: impl Future<Output = Result<T, E>> + Send + 'static,
    outcome: impl FnOnce(T) -> Outcome,
) -> Result<Outcome, Error> {
    let stopped = |status, message: String| Outcome {
        status,
        exit_code: None,
        message: Some(message),
        result: None,
        fuel: 0,
        memory_peak_bytes: 0,
        output_bytes: 0,
        transaction: None,
        session: None,
    };
    if call.live.is_cancelled() {
        return Ok(stopped(CallStatus::Cancelled, "the call was cancelled before it ran".to_owned()));
    }
    let world = call.sandbox.world();
    // What runs may sleep and wait by the runtime's clock.
    let _runtime = world.threads.handle().enter();
    let ended = world.processors.run(running, call.timeout, call.live.cancelled());
    match ended {
        Ok(ran) => ran.map(outcome).map_err(Into::into),
        Err(Stopped::Late) => {
            let milliseconds = call.timeout.as_millis();
            let message = format!("the call ran for more than {milliseconds} ms (limits.wall, or its own timeout)");
            Ok(stopped(CallStatus::Timeout, message))
        }
        Err(Stopped::Asked) => Ok(stopped(CallStatus::Cancelled, "the call was cancelled".to_owned())),
    }
}

/// Returns how a run ended in the words of a call, and why when it did not end by itself.
fn ending(end: End) -> (CallStatus, Option<String>) {
    match end {
        End::Exited(0) => (CallStatus::Ok, None),
        End::Exited(_) => (CallStatus::Error, None),
        End::LimitExceeded(limit) => (CallStatus::Limit, Some(limit.to_string())),
        End::Trapped(reason) => (CallStatus::Trapped, Some(reason)),
    }
}

fn described(call: &Prepared, outcome: &Outcome, head: &Head, after: StateId, wall: Duration, time: Timestamp) -> Call {
    // Reaching the output limit is what cuts output: what is there was printed, and more would have come.
    let cut = outcome.status == CallStatus::Limit && outcome.output_bytes >= call.sandbox.limits().output.bytes();
    Call {
        id: call.live.id(),
        seq: None,
        sandbox: call.sandbox.id(),
        tool: call.tool.clone(),
        arguments: Value::clone(&call.arguments),
        status: outcome.status,
        exit_code: outcome.exit_code,
        message: outcome.message.clone(),
        stdout: call.live.printed(Stream::Stdout),
        stderr: call.live.printed(Stream::Stderr),
        stdout_cut: cut,
        stderr_cut: cut,
        session: call.session.clone(),
        result: outcome.result.clone(),
        before: head.state,
        after,
        changes: sandglass_snapshots::DiffSummary::default(),
        usage: CallUsage {
            wall,
            fuel: outcome.fuel,
            memory_peak_bytes: outcome.memory_peak_bytes,
            output_bytes: outcome.output_bytes,
        },
        undo: "full",
        time,
        actor: call.actor.clone(),
        guest: None,
        dry_run: call.dry_run,
    }
}

/// Returns the log's record of a call, and its nodes with the call's arguments and output among them.
fn recorded(
    sandbox: &Sandbox,
    call: &Call,
    head: &Head,
    mut nodes: NodeBatch,
    guest: [u8; 32],
) -> Result<(Operation, NodeBatch), Error> {
    let arguments = crate::sandbox::to_detail(&call.arguments)?;
    let result = call.result.as_ref().map(crate::sandbox::to_detail).transpose()?;
    let record = CallRecord {
        id: call.id,
        tool: call.tool.clone(),
        arguments: nodes.put_blob(&arguments),
        status: call.status.as_str().to_owned(),
        exit_code: call.exit_code,
        message: call.message.clone(),
        stdout: nodes.put_blob(&call.stdout),
        stderr: nodes.put_blob(&call.stderr),
        stdout_cut: call.stdout_cut,
        stderr_cut: call.stderr_cut,
        result: result.map(|json| nodes.put_blob(&json)),
        usage: Usage {
            wall_ns: u64::try_from(call.usage.wall.as_nanos()).unwrap_or(u64::MAX),
            fuel: call.usage.fuel,
            memory_peak_bytes: call.usage.memory_peak_bytes,
            output_bytes: call.usage.output_bytes,
        },
        guest: Some(guest),
    };
    let mut operation = sandbox.operation(OperationKind::Call, head, call.after, &call.actor);
    operation.detail = crate::sandbox::to_detail(&Started { started_ns: call.time.0, session: call.session.clone() })?;
    operation.call = Some(record);
    Ok((operation, nodes))
}

/// Returns what a dry run changed; its nodes are looked at and thrown away.
fn sandbox_summary_unsaved(
    sandbox: &Sandbox,
    before: StateId,
    after: StateId,
    nodes: NodeBatch,
) -> Result<sandglass_snapshots::DiffSummary, Error> {
    if before == after {
        return Ok(sandglass_snapshots::DiffSummary::default());
    }
    let source = crate::unsaved::Unsaved::new(&sandbox.world().store, nodes);
    Ok(sandglass_snapshots::diff(&source, before, after, 0)?.summary)
}

/// Returns the call that an entry records, its output cut to `output_bytes_max`, or nothing if it records none.
pub(crate) fn from_entry(
    sandbox: &Sandbox,
    entry: &Entry,
    output_bytes_max: Option<usize>,
) -> Result<Option<Call>, Error> {
    let EntryBody::Operation(operation) = &entry.body else { return Ok(None) };
    let Some(record) = &operation.call else { return Ok(None) };
    let store = &sandbox.world().store;
    let output = |id| -> Result<(Bytes, bool), Error> {
        let bytes = store.blob(id)?;
        let length = output_bytes_max.map_or(bytes.len(), |most| most.min(bytes.len()));
        Ok((bytes.slice(..length), length < bytes.len()))
    };
    let (stdout, stdout_shortened) = output(&record.stdout)?;
    let (stderr, stderr_shortened) = output(&record.stderr)?;
    let result = record.result.map(|id| store.blob(&id)).transpose()?;
    let before = operation.before.unwrap_or(operation.after);
    let kept: Option<Started> = serde_json::from_slice(&operation.detail).ok();
    Ok(Some(Call {
        id: record.id,
        seq: Some(entry.seq),
        sandbox: sandbox.id(),
        tool: record.tool.clone(),
        arguments: serde_json::from_slice(&store.blob(&record.arguments)?).unwrap_or(Value::Null),
        status: CallStatus::from_word(&record.status).unwrap_or(CallStatus::Error),
        exit_code: record.exit_code,
        message: record.message.clone(),
        stdout,
        stderr,
        stdout_cut: record.stdout_cut || stdout_shortened,
        stderr_cut: record.stderr_cut || stderr_shortened,
        result: result.map(|json| serde_json::from_slice(&json).unwrap_or(Value::Null)),
        before,
        after: operation.after,
        changes: sandbox.summary(before, operation.after)?,
        usage: CallUsage {
            wall: Duration::from_nanos(record.usage.wall_ns),
            fuel: record.usage.fuel,
            memory_peak_bytes: record.usage.memory_peak_bytes,
            output_bytes: record.usage.output_bytes,
        },
        undo: "full",
        time: kept.as_ref().map_or(entry.time, |kept| Timestamp(kept.started_ns)),
        session: kept.and_then(|kept| kept.session),
        actor: operation.actor.clone(),
        guest: record.guest.map(|hash| sandbox.world().guests.name_of(&hash)),
        dry_run: false,
    }))
}
