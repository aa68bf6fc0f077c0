//! Compiling a guest, in a child process with limits of its own.
//!
//! The compiler is outside the promises of the WebAssembly engine: a module may make it slow or hungry. So the binary
//! starts itself again with hidden arguments, and the child bounds its memory and its time before it reads the module.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use crate::{component, engine, memory};

/// First argument of a process that compiles.
const WORKER: &str = "__compile";

/// Processor time that compiling one module may take, in seconds. The largest guest takes about 100.
const CPU_SECONDS_MAX: u64 = 1800;

/// Processor time that compiling an uploaded tool may take, in seconds.
const TOOL_CPU_SECONDS_MAX: u64 = 300;

/// Address space for compiling an uploaded tool, in bytes. One that carries an interpreter of 20 MB takes about half of it.
const TOOL_MEMORY_MAX_BYTES: u64 = 4 << 30;

/// What is compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// A guest, within so many bytes of address space.
    Guest(u64),
    /// An uploaded tool: a component or a core module.
    Tool,
}

impl Target {
    const fn memory_max(self) -> u64 {
        match self {
            Self::Guest(memory_max) => memory_max,
            Self::Tool => TOOL_MEMORY_MAX_BYTES,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Guest(_) => "guest",
            Self::Tool => "tool",
        }
    }
}

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// The program at this path, whose `main` calls [`compile_worker_main`] first.
    Child(PathBuf),
    /// This process, without limits. For tests, whose binary is not such a program.
    InProcess,
}

/// Does the work of a compiling child when this process was started as one, and tells whether it was.
///
/// A program that opens [`Guests`](crate::Guests) calls this first thing in `main` and returns when it gives true. A
/// failure ends the process with status 1 and a line on standard error.
pub fn compile_worker_main() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != WORKER) {
        return false;
    }
    let arguments: Vec<OsString> = arguments.collect();
    if let Err(message) = worker(&arguments) {
        eprintln!("{message}");
        std::process::exit(1);
    }
    true
}

fn worker(arguments: &[OsString]) -> Result<(), String> {
    let [kind, module, out, memory_max] = arguments else { return Err("four arguments are wanted".to_owned()) };
    let memory_max: u64 =
        memory_max.to_str().and_then(|text| text.parse().ok()).ok_or("the memory limit is not a number")?;
    let (target, cpu_seconds) = match kind.to_str() {
        Some("guest") => (Target::Guest(memory_max), CPU_SECONDS_MAX),
        Some("tool") => (Target::Tool, TOOL_CPU_SECONDS_MAX),
        _ => return Err("a guest or a tool is wanted".to_owned()),
    };
    let limit = |resource, value| {
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
            .map_err(|error| format!("limiting the compiler: {error}"))
    };
    limit(Resource::As, memory_max)?;
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::Core, 0)?;
    // Nobody wants the result once the parent is gone.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("watching the parent: {error}"))?;
    in_process(target, Path::new(module), Path::new(out))
}

/// Compiles the module in file `module` into the file `out`, which is made or written over.
///
/// # Errors
///
/// One line for people: the compiler could not start, ran out of its limits, or refused the module.
pub(crate) fn compile(compiler: &Compiler, target: Target, module: &Path, out: &Path) -> Result<(), String> {
    let program = match compiler {
        Compiler::InProcess => return in_process(target, module, out),
        Compiler::Child(program) => program,
    };
    let output = Command::new(program)
        .args([WORKER, target.word()])
        .args([module, out])
        .arg(target.memory_max().to_string())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("the compiler did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    // A child that runs out of memory says so first, and prints a backtrace after that.
    let why = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no word why");
    Err(format!("the compiler ended with {}, within {} MiB of memory: {why}", output.status, target.memory_max() >> 20))
}

fn in_process(target: Target, module: &Path, out: &Path) -> Result<(), String> {
    let mut wasm = fs::read(module).map_err(|error| format!("reading the module: {error}"))?;
    let engine = match target {
        Target::Guest(_) => {
            wasm = memory::module::rewrite(&wasm).map_err(|error| error.to_string())?;
            engine::new()
        }
        Target::Tool => component::for_compiling(),
    };
    let engine = engine.map_err(|error| format!("{error:#}"))?;
    // Core modules and components differ in their version, which follows the magic number.
    let is_component = wasm.get(4..8).is_some_and(|version| version[2] != 0);
    let code = if is_component { engine.precompile_component(&wasm) } else { engine.precompile_module(&wasm) };
    let code = code.map_err(|error| format!("{error:#}"))?;
    fs::write(out, code).map_err(|error| format!("writing the code: {error}"))
}
