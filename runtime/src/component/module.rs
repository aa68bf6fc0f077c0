//! Core modules that are programs: `_start` over WASI preview 1, the host of which is the guests' own (`crate::wasi`).

use wasmtime::{Engine, InstancePre, Linker, Module, Store};

use super::host::Limiter;
use super::run::{Command, Ran, Surroundings, ended};
use crate::error::Error;
use crate::guest::{End, YIELD_FUEL};
use crate::vfs::Vfs;
use crate::wasi::{self, Wasi, WasiOptions};

/// A program, ready for instances.
pub(super) struct Program(InstancePre<Context>);

/// What the host keeps beside a running one.
struct Context {
    wasi: Wasi,
    limiter: Limiter,
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
        let mut linker = Linker::new(engine);
        let made = wasi::add_to_linker(&mut linker, |context: &mut Context| &mut context.wasi)
            .and_then(|()| linker.instantiate_pre(module));
        made.map(Self).map_err(|error| format!("{error:#}").chars().take(500).collect())
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The host's files or engine fail.
    pub(super) async fn run(&self, command: &Command, vfs: Vfs, surroundings: Surroundings) -> Result<Ran, Error> {
        let Surroundings { limits, output, clock, entropy, .. } = surroundings;
        let bytes = |(name, value): (String, String)| (name.into_bytes(), value.into_bytes());
        let options = WasiOptions {
            args: command.argv.iter().map(|word| word.clone().into_bytes()).collect(),
            env: command.environment().into_iter().map(bytes).collect(),
            stdin: command.stdin.clone(),
            preopens: vec![b"/".to_vec()],
            output,
            output_bytes_max: limits.output_bytes,
            open_files_max: limits.open_files,
            clock,
            entropy,
        };
        let wasi = Wasi::new(vfs, options)?;
        let context = Context { wasi, limiter: Limiter::new(limits.memory_bytes) };
        let mut store = Store::new(self.0.module().engine(), context);
        let failed = |error: wasmtime::Error| Error::internal(format!("the engine failed: {error:#}"));
        store.limiter(|context| &mut context.limiter);
        store.set_fuel(limits.fuel).map_err(failed)?;
        store.fuel_async_yield_interval(Some(YIELD_FUEL)).map_err(failed)?;
        let end = match self.enter(&mut store).await {
            Ok(()) => End::Exited(0),
            Err(error) => ended(&error, &limits)?,
        };
        let left = store.get_fuel().map_err(failed)?;
        let Context { wasi, limiter } = store.into_data();
        let mut ran = Ran {
            end,
            exit_code: None,
            result: None,
            message: None,
            fuel: limits.fuel.saturating_sub(left),
            memory_peak_bytes: limiter.memory_peak_bytes(),
            output_bytes: wasi.output_bytes(),
            transaction: None,
        };
        if let End::Exited(status) = ran.end {
            ran.exited(status, true);
            ran.transaction = Some(wasi.into_vfs().into_transaction());
        }
        Ok(ran)
    }

    async fn enter(&self, store: &mut Store<Context>) -> wasmtime::Result<()> {
        let instance = self.0.instantiate_async(&mut *store).await?;
        instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call_async(&mut *store, ()).await
    }
}
