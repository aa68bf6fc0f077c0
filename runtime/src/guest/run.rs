//! One run: a program, a fresh instance, and how it ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sandglass_snapshots::{FsError, StoreError, Transaction};
use wasmtime::{Engine, InstancePre, Linker, Module, ResourceLimiter, Store, Trap};

use super::lock::Entry;
use super::{GuestError, imports};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::limits::{Limit, LimitExceeded, ProcExit};
use crate::vfs::{Library, Mount, Vfs};
use crate::wasi::{self, Output, Wasi, WasiOptions};

/// Instructions between two chances for others: about a millisecond.
pub(crate) const YIELD_FUEL: u64 = 1_000_000;

/// Elements that a guest's tables may have together. The largest guest has 47,157, and never more.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// What every program finds in its environment, unless the caller says otherwise. Bytecode is not cached: what a call
/// changed should be what its program did.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/workspace"),
    ("LANG", "C.UTF-8"),
    ("TMPDIR", "/tmp"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// A compiled guest, ready for instances.
pub struct Guest {
    name: String,
    hash: [u8; 32],
    instance: InstancePre<Context>,
    entry: String,
    argv0: String,
    prelude: Option<String>,
    preopens: Vec<Vec<u8>>,
    env: BTreeMap<String, String>,
    library_at: Vec<u8>,
    library: Arc<Library>,
    /// A directory of the library, and the name that the guest knows it by.
    data: Option<(String, String)>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Python code, as `python3 -c` takes it.
    Code(String),
    /// A command line. Its first word is `python`, `python3` or a name like `python3.14`.
    Argv(Vec<String>),
}

/// A program and its surroundings.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What to run.
    pub program: Program,
    /// Variables besides the usual ones, which they override. `PWD` is always `cwd`.
    pub env: Vec<(String, String)>,
    /// The directory to start in, an absolute path of the sandbox.
    pub cwd: String,
    /// All of standard input.
    pub stdin: Bytes,
}

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Instructions.
    pub fuel: u64,
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// Standard output and standard error together, in bytes.
    pub output_bytes: u64,
    /// Descriptors open at once.
    pub open_files: u32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program ended by itself with this status.
    Exited(i32),
    /// The guest did what no guest may, or its stack overflowed. One line for people.
    Trapped(String),
    /// It reached a limit.
    LimitExceeded(LimitExceeded),
}

/// What a run did.
pub struct Run {
    /// How it ended.
    pub end: End,
    /// Instructions spent.
    pub fuel: u64,
    /// The most linear memory that it had, in bytes.
    pub memory_peak_bytes: u64,
    /// What it printed, in bytes.
    pub output_bytes: u64,
    /// The files as the program left them. Only a program that ended by itself leaves any.
    pub transaction: Option<Transaction>,
}

/// Names and values of environment variables.
type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// The linker of all guests.
pub(super) type GuestLinker = Linker<Context>;

/// What the host keeps beside a running instance.
pub(super) struct Context {
    wasi: Wasi,
    limiter: Limiter,
}

struct Limiter {
    memory_bytes_max: u64,
    memory_peak_bytes: u64,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let desired = u64::try_from(desired)?;
        if desired > self.memory_bytes_max {
            // Ending the call says why; a failed growth would leave the interpreter to die of it in some odd way.
            return Err(LimitExceeded { limit: Limit::Memory, allowed: self.memory_bytes_max }.into());
        }
        self.memory_peak_bytes = self.memory_peak_bytes.max(desired);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }

    fn memories(&self) -> usize {
        1
    }
}

/// Returns the linker with everything that a guest may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<GuestLinker> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker, |context: &mut Context| &mut context.wasi)?;
    imports::add_to_linker(&mut linker)?;
    Ok(linker)
}

impl Guest {
    pub(super) fn new(
        linker: &GuestLinker,
        module: &Module,
        entry: &Entry,
        hash: [u8; 32],
        library: &Bytes,
    ) -> Result<Self, GuestError> {
        let instance = linker.instantiate_pre(module).map_err(|error| GuestError::engine(&error))?;
        let (library_at, library) = super::library::lay_out(&entry.library, library)?;
        Ok(Self {
            name: entry.name.clone(),
            hash,
            instance,
            entry: entry.entry.clone(),
            argv0: entry.argv0.clone(),
            prelude: entry.prelude.clone(),
            preopens: entry.preopens.iter().map(|path| path.clone().into_bytes()).collect(),
            env: entry.env.clone(),
            library_at,
            library: Arc::new(library),
            data: entry.library.data.as_ref().map(|data| (data.folder.clone(), data.name.clone())),
        })
    }

    /// Returns the guest's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns BLAKE3 of the guest's module.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Returns what the guest needs mounted: its standard library.
    #[must_use]
    pub fn mounts(&self) -> Vec<Mount> {
        vec![Mount::Library { at: self.library_at.clone(), library: self.library.clone() }]
    }

    /// Runs one program to its end in a fresh instance, over the files of `transaction` with `mounts` over them.
    ///
    /// The future yields about every millisecond, so that the caller can bound the wall time or cancel; dropping it at
    /// any point frees everything and leaves nothing. The error of a program is not an error here: see [`End`].
    ///
    /// # Errors
    ///
    /// When the program cannot be started as asked, or the host's files or engine fail.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own that the caller owns")]
    pub async fn run(
        &self,
        invocation: &Invocation,
        transaction: Transaction,
        mounts: Vec<Mount>,
        limits: &RunLimits,
        output: Arc<dyn Output>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Run, GuestError> {
        let args = self.arguments(invocation)?;
        let env = self.environment(invocation)?;
        let mounts = self.mounts().into_iter().chain(mounts).collect();
        let vfs = Vfs::new(transaction, mounts, clock.clone()).map_err(|error| files(&error))?;
        let options = WasiOptions {
            args,
            env,
            stdin: invocation.stdin.clone(),
            preopens: self.preopens.clone(),
            output,
            output_bytes_max: limits.output_bytes,
            open_files_max: limits.open_files,
            clock,
            entropy,
        };
        let mut wasi = Wasi::new(vfs, options).map_err(|error| files(&error))?;
        if let Some((folder, name)) = &self.data {
            wasi.open_from_start(folder.as_bytes(), name.as_bytes()).map_err(|error| files(&error))?;
        }
        let limiter = Limiter { memory_bytes_max: limits.memory_bytes, memory_peak_bytes: 0 };
        let mut store = Store::new(self.instance.module().engine(), Context { wasi, limiter });
        store.limiter(|context| &mut context.limiter);
        store.set_fuel(limits.fuel).map_err(|error| GuestError::engine(&error))?;
        store.fuel_async_yield_interval(Some(YIELD_FUEL)).map_err(|error| GuestError::engine(&error))?;

        let end = match self.enter(&mut store).await {
            Ok(status) => End::Exited(status),
            Err(error) => ending(&error, limits)?,
        };
        let left = store.get_fuel().map_err(|error| GuestError::engine(&error))?;
        let Context { wasi, limiter } = store.into_data();
        let output_bytes = wasi.output_bytes();
        let transaction = matches!(end, End::Exited(_)).then(|| wasi.into_vfs().into_transaction());
        Ok(Run {
            end,
            fuel: limits.fuel.saturating_sub(left),
            memory_peak_bytes: limiter.memory_peak_bytes,
            output_bytes,
            transaction,
        })
    }

    async fn enter(&self, store: &mut Store<Context>) -> wasmtime::Result<i32> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        // Both guests are reactors whose image was taken after initialisation; one that has the export still wants it.
        if let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
            initialize.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await?;
        }
        instance.get_typed_func::<(), i32>(&mut *store, &self.entry)?.call_async(&mut *store, ()).await
    }

    fn arguments(&self, invocation: &Invocation) -> Result<Vec<Vec<u8>>, GuestError> {
        let mut args = vec![self.argv0.clone()];
        if let Some(prelude) = &self.prelude {
            args.extend(["-c".to_owned(), prelude.clone()]);
        }
        match &invocation.program {
            Program::Code(code) => args.extend(["-c".to_owned(), code.clone()]),
            Program::Argv(words) => {
                let program = words.first().map_or("", String::as_str);
                if !is_python(program) {
                    return Err(GuestError::UnknownProgram { guest: self.name.clone(), program: program.to_owned() });
                }
                args.extend_from_slice(&words[1..]);
            }
        }
        if args.iter().any(|argument| argument.contains('\0')) {
            return Err(GuestError::InvalidArgument { what: "an argument or the code" });
        }
        Ok(args.into_iter().map(String::into_bytes).collect())
    }

    fn environment(&self, invocation: &Invocation) -> Result<Variables, GuestError> {
        let mut env: BTreeMap<&str, &str> = ENVIRONMENT.into_iter().collect();
        env.extend(self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        env.extend(invocation.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        env.insert("PWD", &invocation.cwd);
        let bad = |(name, value): (&&str, &&str)| name.is_empty() || name.contains(['\0', '=']) || value.contains('\0');
        if env.iter().any(bad) {
            return Err(GuestError::InvalidArgument { what: "a variable or the directory" });
        }
        Ok(env.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
    }
}

/// Tells whether a command of this name is the interpreter.
fn is_python(program: &str) -> bool {
    match program.strip_prefix("python") {
        Some("" | "3") => true,
        Some(version) => version
            .strip_prefix("3.")
            .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())),
        None => false,
    }
}

/// Returns how a guest ended that did not return.
pub(crate) fn ending(error: &wasmtime::Error, limits: &RunLimits) -> Result<End, GuestError> {
    if let Some(ProcExit(status)) = error.downcast_ref() {
        return Ok(End::Exited(*status));
    }
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

fn files(error: &FsError) -> GuestError {
    GuestError::Files { message: error.to_string() }
}

#[cfg(test)]
mod tests;
