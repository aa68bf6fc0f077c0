//! Core modules that are programs: `_start` over WASI preview 1, run as the guests of the host are.

use std::sync::Arc;

use wasmtime::{Engine, Module};

use super::run::{Command, Ran, Surroundings};
use crate::error::Error;
use crate::guest::{End, WasiGuest, run_over, wasi_linker};
use crate::kernel::{self, Errno, Exec, Fault, Programs};
use crate::vfs::Vfs;

/// A program, ready for instances.
pub(super) struct Program(WasiGuest);

/// An uploaded program starts no others.
struct NoPrograms;

impl Programs for NoPrograms {
    fn program(&self, _name: &str, _exec: Exec) -> Result<kernel::Program, Fault> {
        Err(Errno::ENOENT.into())
    }
}

impl Program {
    /// Makes a module ready.
    ///
    /// # Errors
    /// In words: it has no `_start`, or imports something else than preview 1.
    pub(super) fn new(engine: &Engine, module: &Module) -> Result<Self, String> {
        let starts = module.get_export("_start").and_then(|export| export.func().cloned());
        if !starts.is_some_and(|start| start.params().len() == 0 && start.results().len() == 0) {
            return Err("it is a core module without `_start`: a tool is a component, or a program".to_owned());
        }
        if let Some(import) = module.imports().find(|import| import.module() != "wasi_snapshot_preview1") {
            let name: String = format!("{}.{}", import.module(), import.name()).chars().take(120).collect();
            return Err(format!("it imports `{name}`; a core module has `wasi_snapshot_preview1` and nothing else"));
        }
        let made = wasi_linker(engine).and_then(|linker| WasiGuest::of_command(&linker, module));
        made.map(Self).map_err(|error| format!("{error:#}").chars().take(500).collect())
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The host's files or engine fail.
    pub(super) async fn run(&self, command: &Command, vfs: Vfs, surroundings: Surroundings) -> Result<Ran, Error> {
        let Surroundings { limits, output, clock, entropy, .. } = surroundings;
        let exec = Exec {
            args: command.argv.iter().map(|word| word.clone().into_bytes()).collect(),
            env: command
                .environment()
                .into_iter()
                .map(|(name, value)| format!("{name}={value}").into_bytes())
                .collect(),
        };
        let surroundings = kernel::Surroundings {
            stdin: command.stdin.clone(),
            output,
            clock,
            entropy,
            limits: kernel::Limits {
                output_bytes: limits.output_bytes,
                memory_bytes: limits.memory_bytes,
                open_files: limits.open_files,
            },
            programs: Arc::new(NoPrograms),
        };
        let run = run_over(vfs, surroundings, &command.cwd, self.0.program(exec), &limits).await?;
        let mut ran = Ran {
            end: run.end,
            exit_code: None,
            result: None,
            message: None,
            fuel: run.fuel,
            memory_peak_bytes: run.memory_peak_bytes,
            output_bytes: run.output_bytes,
            transaction: run.transaction,
        };
        if let End::Exited(status) = ran.end {
            ran.exited(status, true);
        }
        Ok(ran)
    }
}
