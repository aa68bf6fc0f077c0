//! One call of a tool: a fresh instance, the function, its result as JSON.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sandglass_snapshots::{FsError, StoreError, Transaction};
use serde_json::Value;
use wasmtime::component::{InstancePre, ResourceTable, Val};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::{I32Exit, WasiCtx};

use super::host::{Accounts, Clocks, Context, Limiter};
use super::interface::{Function, Interface};
use super::module::Program;
use super::streams::{Input, Printed, Printer};
use super::value;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::guest::{End, GuestError, RunLimits};
use crate::kernel::SLICE_FUEL;
use crate::limits::{Limit, LimitExceeded, ProcExit};
use crate::vfs::{Mount, Vfs};
use crate::wasi::{Output, Stream};

/// Handles that the parts of a component may hold together.
const HANDLES_MAX: usize = 10_000;
/// What one call out of or into a component may copy, in bytes of our memory: a byte of a `list<u8>` that is a result takes
/// some forty.
const HOSTCALL_BYTES_MAX: usize = 64 << 20;
/// How much of an error's value stands in the call's message.
const MESSAGE_CHARS_MAX: usize = 500;

/// What is to be run of a tool.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A function, by its place in the tool's interface.
    Function(usize),
    /// The tool as a program.
    Command(Command),
}

/// A program's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: String,
    pub(crate) stdin: Bytes,
}

/// What a call of a tool did.
pub(crate) struct Ran {
    pub(crate) end: End,
    /// What it exited with, if it was a program or ended itself.
    pub(crate) exit_code: Option<i32>,
    /// The function's result.
    pub(crate) result: Option<Value>,
    /// What the result says went wrong.
    pub(crate) message: Option<String>,
    pub(crate) fuel: u64,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) transaction: Option<Transaction>,
}

/// What the host gives to one call.
pub(crate) struct Surroundings {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) limits: RunLimits,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A tool's code, ready for instances.
pub(super) enum Code {
    Component(InstancePre<Context>),
    Module(Program),
}

impl Code {
    /// Runs one call to its end. The future yields about every millisecond; dropping it at any point leaves nothing.
    ///
    /// # Errors
    /// The tool can't be started as asked, or the host's files or engine fail.
    pub(super) async fn run(
        &self,
        interface: &Interface,
        work: &Work,
        arguments: &Value,
        transaction: Transaction,
        surroundings: Surroundings,
    ) -> Result<Ran, Error> {
        let vfs = Vfs::new(transaction, surroundings.mounts.clone(), Arc::clone(&surroundings.clock)).map_err(files)?;
        match (self, work) {
            (Self::Module(program), Work::Command(command)) => program.run(command, vfs, surroundings).await,
            (Self::Module(_), Work::Function(_)) => Err(Error::internal("a core module has no functions to call")),
            (Self::Component(instance), work) => {
                component(instance, interface, (work, arguments), vfs, surroundings).await
            }
        }
    }
}

fn files(error: FsError) -> Error {
    error.into()
}

fn engine(error: &wasmtime::Error) -> Error {
    Error::internal(format!("the engine failed: {error:#}"))
}

async fn component(
    pre: &InstancePre<Context>,
    interface: &Interface,
    (work, arguments): (&Work, &Value),
    vfs: Vfs,
    surroundings: Surroundings,
) -> Result<Ran, Error> {
    let Surroundings { limits, output, clock, entropy, .. } = surroundings;
    let printed = Arc::new(Printed::new(output, limits.output_bytes));
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES_MAX);
    let context = Context {
        wasi: wasi(work, &printed, &clock),
        table,
        files: super::files::Files::new(vfs, Arc::clone(&entropy), limits.open_files, limits.fuel),
        limiter: Limiter::new(limits.memory_bytes),
        entropy,
        seed: OnceLock::new(),
    };
    let mut store = Store::new(pre.engine(), context);
    store.limiter(|context| &mut context.limiter);
    store.call_hook_async(Accounts);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_fuel(limits.fuel).map_err(|error| engine(&error))?;
    store.fuel_async_yield_interval(Some(SLICE_FUEL)).map_err(|error| engine(&error))?;

    let entered = match work {
        Work::Function(index) => {
            let function = interface.functions.get(*index).ok_or_else(|| Error::internal("no such function"))?;
            // They were read when the call was asked for, and not kept: as values they take far more memory.
            let arguments = value::arguments(&function.parameters, arguments).map_err(Error::internal)?;
            call(pre, &mut store, function, &arguments).await
        }
        Work::Command(_) => command(pre, &mut store, interface).await,
    };
    let fuel_left = store.get_fuel().map_err(|error| engine(&error))?;
    let is_command = matches!(work, Work::Command(_));
    let mut ran = Ran {
        end: End::Exited(0),
        exit_code: is_command.then_some(0),
        result: None,
        message: None,
        fuel: limits.fuel.saturating_sub(fuel_left).saturating_add(store.data().files.paid()).min(limits.fuel),
        memory_peak_bytes: store.data().limiter.memory_peak_bytes(),
        output_bytes: printed.bytes(),
        transaction: None,
    };
    match entered {
        Ok(Done::Value(value)) => ran.answered(interface, work, value.as_ref(), &limits),
        Ok(Done::Status(status)) => ran.exited(status, is_command),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => ran.exited(*status, true),
            None => ran.end = ended(&error, &limits)?,
        },
    }
    // Streams that the tool left open go with the table, before the files do.
    let Context { files, table, .. } = store.into_data();
    drop(table);
    if matches!(ran.end, End::Exited(_)) {
        let vfs = files.into_vfs().ok_or_else(|| Error::internal("the files are still in use"))?;
        ran.transaction = Some(vfs.into_transaction());
    }
    Ok(ran)
}

/// Returns how a call ended that did not return.
pub(super) fn ended(error: &wasmtime::Error, limits: &RunLimits) -> Result<End, Error> {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return Err(Error::new(ErrorKind::Busy, "busy", "the service runs as many tools as it can at the moment"));
    }
    if let Some(ProcExit(status)) = error.downcast_ref() {
        return Ok(End::Exited(*status));
    }
    Ok(match ending(error, limits)? {
        End::Trapped(reason) => End::Trapped(reason.chars().take(MESSAGE_CHARS_MAX).collect()),
        end => end,
    })
}

impl Ran {
    pub(super) fn exited(&mut self, status: i32, tells: bool) {
        self.end = End::Exited(status);
        self.exit_code = tells.then_some(status);
    }

    fn answered(&mut self, interface: &Interface, work: &Work, value: Option<&Val>, limits: &RunLimits) {
        let Work::Function(index) = work else { return };
        let Some((value, shape)) = value.zip(interface.functions.get(*index).and_then(|one| one.result.as_ref()))
        else {
            return;
        };
        let written = match value::json(shape, value) {
            Ok(written) => written,
            Err(reason) => {
                self.end = End::Trapped(reason);
                return;
            }
        };
        // A result is output too, as far as its size goes.
        let bytes = Counted::of(&written);
        if bytes > limits.output_bytes {
            self.end = End::LimitExceeded(LimitExceeded { limit: Limit::Output, allowed: limits.output_bytes });
            return;
        }
        if matches!(value, Val::Result(Err(_))) {
            let why = written.get("err").filter(|why| !why.is_null());
            let text = why.map_or_else(String::new, |why| why.as_str().map_or_else(|| why.to_string(), str::to_owned));
            let text: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
            let colon = if text.is_empty() { "" } else { ": " };
            self.message = Some(format!("the tool answered with an error{colon}{text}"));
            self.end = End::Exited(1);
        }
        self.result = Some(written);
    }
}

/// Counts bytes and keeps none.
struct Counted(u64);

impl Counted {
    fn of(value: &Value) -> u64 {
        let mut counted = Self(0);
        serde_json::to_writer(&mut counted, value).map_or(u64::MAX, |()| counted.0)
    }
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a function or program returned.
enum Done {
    Value(Option<Val>),
    Status(i32),
}

async fn call(
    pre: &InstancePre<Context>,
    store: &mut Store<Context>,
    function: &Function,
    arguments: &[Val],
) -> wasmtime::Result<Done> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let gone = || wasmtime::format_err!("the function `{}` is gone", function.name);
    let within = match &function.interface {
        Some(interface) => Some(instance.get_export_index(&mut *store, None, interface).ok_or_else(gone)?),
        None => None,
    };
    let index = instance.get_export_index(&mut *store, within.as_ref(), &function.export).ok_or_else(gone)?;
    let entry = instance.get_func(&mut *store, index).ok_or_else(gone)?;
    let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
    entry.call_async(&mut *store, arguments, &mut results).await?;
    Ok(Done::Value(results.pop()))
}

async fn command(
    pre: &InstancePre<Context>,
    store: &mut Store<Context>,
    interface: &Interface,
) -> wasmtime::Result<Done> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let gone = || wasmtime::format_err!("the program's entry is gone");
    let run = interface.run.as_ref().ok_or_else(gone)?;
    let within = instance.get_export_index(&mut *store, None, run).ok_or_else(gone)?;
    let index = instance.get_export_index(&mut *store, Some(&within), "run").ok_or_else(gone)?;
    let (status,) =
        instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, index)?.call_async(&mut *store, ()).await?;
    Ok(Done::Status(i32::from(status.is_err())))
}

fn wasi(work: &Work, printed: &Arc<Printed>, clock: &Arc<dyn Clock>) -> WasiCtx {
    let printer = |stream| Printer { printed: Arc::clone(printed), stream };
    let mut builder = WasiCtx::builder();
    builder
        .stdout(printer(Stream::Stdout))
        .stderr(printer(Stream::Stderr))
        .wall_clock(Clocks(Arc::clone(clock)))
        .monotonic_clock(Clocks(Arc::clone(clock)));
    if let Work::Command(command) = work {
        builder
            .stdin(Input::new(command.stdin.clone()))
            .args(&command.argv)
            .envs(&command.environment())
            .initial_cwd(&command.cwd);
    }
    builder.build()
}

/// Returns how a component ended that did not return.
fn ending(error: &wasmtime::Error, limits: &RunLimits) -> Result<End, GuestError> {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        return Ok(End::LimitExceeded(*limit));
    }
    if let Some(fault) = error.downcast_ref::<StoreError>() {
        return Err(GuestError::Files { message: fault.to_string() });
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Ok(End::LimitExceeded(LimitExceeded { limit: Limit::Cpu, allowed: limits.fuel })),
        Some(trap) => Ok(End::Trapped(trap.to_string())),
        None => {
            let text = error.root_cause().to_string();
            Ok(End::Trapped(text.lines().next().unwrap_or_default().to_owned()))
        }
    }
}

impl Command {
    /// Returns the variables: the usual ones, then those that were given, and always where it starts.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let usual = [("HOME", "/workspace"), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp")];
        let mut all: std::collections::BTreeMap<&str, &str> = usual.into_iter().collect();
        all.extend(self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.insert("PWD", &self.cwd);
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
