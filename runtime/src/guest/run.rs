//! One run: a program over a transaction, everything that it starts, and how it ended.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sandglass_snapshots::{FsError, Kind, StoreError, Transaction};
use wasmtime::{Engine, Linker, Module};

use super::lock::Entry;
use super::reactor::{Context, WasiGuest};
use super::root::Root;
use super::session::{Begin, Left};
use super::{GuestError, Guests};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::kernel::{self, Errno, Exec, Fault, Kernel, Programs, Surroundings};
use crate::limits::{Limit, LimitExceeded};
use crate::linux::{Linux, LinuxGuest, Start, Turn};
use crate::memory::{Image, Snapshot};
use crate::tool::WORKING_DIRECTORY;
use crate::vfs::{Mount, Vfs};
use crate::wasi::Output;

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
    interface: Interface,
    /// The words before the code that its tool is given.
    code: Vec<String>,
    /// Whether it serves a tool: commands have no sessions.
    serves: bool,
    /// What its sessions begin with, once one has begun.
    beginning: OnceLock<Arc<Snapshot>>,
}

enum Interface {
    Wasi(WasiGuest),
    Linux(LinuxGuest),
}

impl Interface {
    /// Returns the images that programs begin with, and that the module began with, if a guest can have sessions.
    fn images(&self) -> Option<(&Arc<Image>, &Arc<Image>)> {
        match self {
            Self::Wasi(guest) if guest.may_have_sessions() => guest.images(),
            Self::Linux(guest) if guest.may_have_sessions() => Some(guest.images()),
            Self::Wasi(_) | Self::Linux(_) => None,
        }
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// Code of the tool: what `python3 -c`, `bash -c` or `node -e` take.
    Code(String),
    /// A command line. For Python its first word is `python`, `python3` or a name like `python3.14`.
    Argv(Vec<String>),
    /// No program: what the names of a Python session stand for; `is_plain` runs no code of the session at all.
    Names { is_plain: bool },
}

impl Program {
    /// Returns the code of a turn of a session.
    fn code(&self) -> Result<Vec<u8>, GuestError> {
        let what = match self {
            Self::Code(code) if !code.contains('\0') => return Ok(code.clone().into_bytes()),
            Self::Code(_) => "the code",
            Self::Argv(_) | Self::Names { .. } => "a session takes code, no argv; an argument",
        };
        Err(GuestError::InvalidArgument { what })
    }
}

/// A program and its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// What to run.
    pub(crate) program: Program,
    /// Variables besides the usual ones, which they override. `PWD` is always `cwd`.
    pub(crate) env: Vec<(String, String)>,
    /// The directory to start in, an absolute path of the sandbox.
    pub(crate) cwd: String,
    /// All of standard input.
    pub(crate) stdin: Bytes,
}

/// What one run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunLimits {
    /// Instructions.
    pub(crate) fuel: u64,
    /// Linear memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Standard output and standard error together, in bytes.
    pub(crate) output_bytes: u64,
    /// Descriptors open at once.
    pub(crate) open_files: u32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The program ended by itself with this status.
    Exited(i32),
    /// The guest did what no guest may, or its stack overflowed. One line for people.
    Trapped(String),
    /// It reached a limit.
    LimitExceeded(LimitExceeded),
}

/// What a run did.
pub(crate) struct Run {
    /// How it ended.
    pub(crate) end: End,
    /// Instructions spent.
    pub(crate) fuel: u64,
    /// The most linear memory that it had, in bytes.
    pub(crate) memory_peak_bytes: u64,
    /// What it printed, in bytes.
    pub(crate) output_bytes: u64,
    /// The files as the program left them. Only a program that ended by itself leaves any.
    pub(crate) transaction: Option<Transaction>,
}

/// A program to run as a call, and what it runs over.
pub(crate) struct Request<'a> {
    pub(crate) guests: &'a Guests,
    /// The guest that serves the tool.
    pub(crate) guest: &'a Arc<Guest>,
    /// The guests that the sandbox was created with.
    pub(crate) pins: &'a [(String, [u8; 32])],
    pub(crate) invocation: &'a Invocation,
    /// The session that the program goes on with; a fresh instance when there is none.
    pub(crate) session: Option<Resumed>,
    pub(crate) transaction: Transaction,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) limits: &'a RunLimits,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A session that is gone on with.
pub(crate) struct Resumed {
    pub(crate) begin: Begin,
    pub(crate) descriptors: Vec<u8>,
    pub(crate) left: Left,
    /// Which life of the sandbox it is: clones, and those who went back, see different ones.
    pub(crate) life: String,
}

/// The linkers of all guests.
pub(super) struct Linkers {
    pub(super) wasi: Linker<Context>,
    pub(super) linux: Linker<Linux>,
}

/// Returns the linkers with everything that guests may import.
pub(super) fn linkers(engine: &Engine) -> wasmtime::Result<Linkers> {
    let mut linux = Linker::new(engine);
    crate::linux::add_to_linker(&mut linux)?;
    Ok(Linkers { wasi: super::reactor::linker(engine)?, linux })
}

/// The commands that programs of a call find.
struct Commands {
    guests: Guests,
    root: Arc<Root>,
}

impl Programs for Commands {
    fn program(&self, name: &str, exec: Exec) -> Result<kernel::Program, Fault> {
        let command = self.root.command(name).ok_or(Errno::ENOENT)?;
        let guest = self.guests.pinned(&command.tool, &command.hash);
        let guest = guest.map_err(|error| Fault::End(wasmtime::Error::new(error)))?;
        Ok(guest.program(exec))
    }
}

impl Guest {
    pub(super) fn over_wasi(
        linker: &Linker<Context>,
        module: &Module,
        entry: &Entry,
        hash: [u8; 32],
        image: Arc<Image>,
        mounts: Vec<Mount>,
    ) -> Result<Self, GuestError> {
        let mut guest = WasiGuest::new(linker, module, entry, image).map_err(|error| GuestError::engine(&error))?;
        if let Some(script) = super::embedded::boot(entry) {
            guest = guest.beginning_with(super::boot::image(&guest, script, mounts)?);
        }
        Ok(Self::new(entry, hash, Interface::Wasi(guest)))
    }

    pub(super) fn over_linux(
        linker: &Linker<Linux>,
        module: &Module,
        entry: &Entry,
        hash: [u8; 32],
        image: Arc<Image>,
    ) -> Result<Self, GuestError> {
        let mut guest = LinuxGuest::new(linker, module, image).map_err(|error| GuestError::engine(&error))?;
        if entry.rests {
            guest = super::boot::rested(&guest, &entry.code)?;
        }
        Ok(Self::new(entry, hash, Interface::Linux(guest)))
    }

    fn new(entry: &Entry, hash: [u8; 32], interface: Interface) -> Self {
        Self {
            name: entry.name.clone(),
            hash,
            interface,
            code: entry.code.clone(),
            serves: entry.tool.is_some(),
            beginning: OnceLock::new(),
        }
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

    /// Returns a program that goes on with a session.
    fn session_program(&self, exec: Exec, session: Resumed, program: &Program) -> Result<kernel::Program, GuestError> {
        let Resumed { begin, descriptors, left, life } = session;
        let life = life.into_bytes();
        match &self.interface {
            Interface::Wasi(guest) if self.images().is_some() => {
                // See `turn` in guests/python/boot.py.
                const TURN: &str = "import _sandglass; _sandglass.turn()";
                let bytes = |word: &str| word.as_bytes().to_vec();
                let args = match program {
                    Program::Names { is_plain } => names(*is_plain).map(bytes).into(),
                    _ => ["python3", "-c", TURN].map(bytes).into_iter().chain([program.code()?, life]).collect(),
                };
                Ok(guest.session_program(Exec { args, env: exec.env }, begin, descriptors, left))
            }
            Interface::Linux(guest) if self.images().is_some() => {
                let name = self.code.first().map(|word| word.as_bytes().to_vec()).unwrap_or_default();
                let start = Exec { args: vec![name.clone()], env: exec.env };
                let turn = Turn { start, args: vec![name, program.code()?, life] };
                Ok(super::session::linux_program(guest, turn, begin, descriptors, left))
            }
            _ => Err(GuestError::NoSessions { guest: self.name.clone() }),
        }
    }

    /// Returns the images that programs begin with, and that the module began with, if the guest can have sessions.
    fn images(&self) -> Option<(&Arc<Image>, &Arc<Image>)> {
        self.interface.images().filter(|_| self.serves)
    }

    /// Returns what a new session of the guest begins with.
    ///
    /// # Errors
    /// The guest can't have sessions.
    pub(crate) fn beginning(&self) -> Result<Arc<Snapshot>, GuestError> {
        if let Some(beginning) = self.beginning.get() {
            return Ok(Arc::clone(beginning));
        }
        let (image, first) = self.images().ok_or_else(|| GuestError::NoSessions { guest: self.name.clone() })?;
        let beginning = || Arc::new(Snapshot::beginning(Arc::clone(first), Arc::clone(image)));
        Ok(Arc::clone(self.beginning.get_or_init(beginning)))
    }

    fn program(&self, exec: Exec) -> kernel::Program {
        match &self.interface {
            Interface::Wasi(guest) => guest.program(exec),
            Interface::Linux(guest) => guest.program(exec, Start::Main),
        }
    }
}

/// Runs one program, and whatever it starts, to its end in fresh instances over the files of a transaction.
///
/// The future yields about every millisecond, so that the caller can bound the wall time or cancel; dropping it at
/// any point frees everything and leaves nothing. The error of a program is not an error here: see [`End`].
///
/// # Errors
///
/// When the program cannot be started as asked, or the host's files or engine fail.
pub(crate) async fn run(request: Request<'_>) -> Result<Run, GuestError> {
    let Request { guests, guest, pins, invocation, session, transaction, mounts, limits, output, clock, entropy } =
        request;
    let exec = Exec { args: invocation.arguments(guest)?, env: invocation.environment()? };
    let program = match session {
        None => guest.program(exec),
        Some(session) => guest.session_program(exec, session, &invocation.program)?,
    };
    let root = guests.root(pins)?;
    let mounts = root.mounts().iter().cloned().chain(mounts).collect();
    let vfs = Vfs::new(transaction, mounts, clock.clone()).map_err(|error| files(&error))?;
    let surroundings = Surroundings {
        stdin: invocation.stdin.clone(),
        output,
        clock,
        entropy,
        limits: kernel::Limits {
            output_bytes: limits.output_bytes,
            memory_bytes: limits.memory_bytes,
            open_files: limits.open_files,
        },
        programs: Arc::new(Commands { guests: guests.clone(), root }),
    };
    run_over(vfs, surroundings, &invocation.cwd, program, limits).await
}

/// Runs one program, and whatever it starts, over a file system; it starts in the directory `cwd`. Where an earlier call has taken
/// away the usual one, that is the root.
///
/// # Errors
///
/// When there is no such directory, or the host's files or engine fail.
pub(crate) async fn run_over(
    mut vfs: Vfs,
    surroundings: Surroundings,
    cwd: &str,
    program: kernel::Program,
    limits: &RunLimits,
) -> Result<Run, GuestError> {
    let root = vfs.root();
    let directory = vfs.resolve_from(root, cwd.as_bytes(), true).ok().and_then(|place| place.node);
    let directory = directory.filter(|node| vfs.attributes(*node).is_ok_and(|found| found.kind == Kind::Directory));
    if directory.is_none() && cwd != WORKING_DIRECTORY {
        return Err(GuestError::NoDirectory { cwd: cwd.to_owned() });
    }
    let kernel = Kernel::new(vfs, surroundings);
    if let Some(directory) = directory {
        drop(kernel.lock().enter(kernel::FIRST, directory));
    }
    let outcome = kernel::run(&kernel, program, limits.fuel).await;
    let end = match outcome.end {
        Ok(kernel::FirstEnd::Exited(code)) => End::Exited(code),
        Ok(kernel::FirstEnd::Trapped(reason)) => End::Trapped(reason),
        Err(error) => ending(&error, limits)?,
    };
    let (output_bytes, memory_peak_bytes) = {
        let state = kernel.lock();
        (state.output_bytes(), state.memory_peak_bytes())
    };
    let vfs = kernel.into_vfs().map_err(|_| GuestError::Files { message: "a program is still there".to_owned() })?;
    let transaction = matches!(end, End::Exited(_)).then(|| vfs.into_transaction());
    Ok(Run { end, fuel: outcome.fuel.min(limits.fuel), memory_peak_bytes, output_bytes, transaction })
}

impl Invocation {
    fn arguments(&self, guest: &Guest) -> Result<Vec<Vec<u8>>, GuestError> {
        let words = match &self.program {
            Program::Code(code) => guest.code.iter().chain([code]).cloned().collect(),
            Program::Names { is_plain } => names(*is_plain).map(str::to_owned).into(),
            Program::Argv(words) => {
                let program = words.first().map_or("", String::as_str);
                if matches!(guest.interface, Interface::Wasi(_)) && !is_python(program) {
                    return Err(GuestError::UnknownProgram { guest: guest.name.clone(), program: program.to_owned() });
                }
                words.clone()
            }
        };
        if words.iter().any(|argument| argument.contains('\0')) {
            return Err(GuestError::InvalidArgument { what: "an argument or the code" });
        }
        Ok(words.into_iter().map(String::into_bytes).collect())
    }

    fn environment(&self) -> Result<Vec<Vec<u8>>, GuestError> {
        let mut env: BTreeMap<&str, &str> = ENVIRONMENT.into_iter().collect();
        env.extend(self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        env.insert("PWD", &self.cwd);
        let bad = |(name, value): (&&str, &&str)| name.is_empty() || name.contains(['\0', '=']) || value.contains('\0');
        if env.iter().any(bad) {
            return Err(GuestError::InvalidArgument { what: "a variable or the directory" });
        }
        Ok(env.into_iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect())
    }
}

/// Returns the arguments of a look at a session's names. The program goes along: the session may have been made by another version.
const fn names(is_plain: bool) -> [&'static str; 4] {
    const NAMES: &str = include_str!("../../../guests/python/names.py");
    ["python3", "-c", NAMES, if is_plain { "plain" } else { "full" }]
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

/// Returns why all programs of a call were ended.
fn ending(error: &wasmtime::Error, limits: &RunLimits) -> Result<End, GuestError> {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        // What one program had left is not what the call was given.
        let allowed = if limit.limit == Limit::Cpu { limits.fuel } else { limit.allowed };
        return Ok(End::LimitExceeded(LimitExceeded { limit: limit.limit, allowed }));
    }
    if let Some(fault) = error.downcast_ref::<StoreError>() {
        return Err(GuestError::Files { message: fault.to_string() });
    }
    Err(GuestError::engine(error))
}

fn files(error: &FsError) -> GuestError {
    GuestError::Files { message: error.to_string() }
}

#[cfg(test)]
mod tests;
