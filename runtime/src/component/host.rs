//! What a tool's instance is given: the linker of all tools, and what the host keeps beside a running one.
//!
//! Clocks, randomness, files and streams are ours; `wasmtime-wasi` gives the rest of preview 2. Interfaces are added one by
//! one: sockets and HTTP are never linked.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasData, Linker, ResourceTable, ResourceType};
use wasmtime::{CallHook, CallHookHandler, Engine, ResourceLimiter, StoreContextMut};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::engine::{MEMORIES_MAX, MODULES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::files::{Files, HasFiles, View};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::limits::{Limit, LimitExceeded};

/// Random bytes that one call gives at most.
const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Elements that all tables of a component may have together.
const ALL_TABLE_ELEMENTS_MAX: usize = 4 * TABLE_ELEMENTS_MAX;

/// What the host keeps beside a running instance.
pub(super) struct Context {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) files: Files,
    pub(super) limiter: Limiter,
    pub(super) entropy: Arc<dyn Entropy>,
    /// What the instance was told when it asked for a seed: the same each time.
    pub(super) seed: OnceLock<(u64, u64)>,
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Context {
    fn view(&mut self) -> View<'_> {
        View { files: &mut self.files, table: &mut self.table }
    }
}

/// Has each call of a tool counted when it comes back from the host.
pub(super) struct Accounts;

#[wasmtime_wasi::async_trait]
impl CallHookHandler<Context> for Accounts {
    async fn handle_call_event(&self, mut store: StoreContextMut<'_, Context>, hook: CallHook) -> wasmtime::Result<()> {
        if matches!(hook, CallHook::ReturningFromHost) {
            store.data_mut().files.pay().await?;
        }
        Ok(())
    }
}

/// Holds what an instance takes against its limits; all its memories count together.
pub(super) struct Limiter {
    memory_bytes: u64,
    memory_bytes_max: u64,
    table_elements: usize,
}

impl Limiter {
    pub(super) const fn new(memory_bytes_max: u64) -> Self {
        Self { memory_bytes: 0, memory_bytes_max, table_elements: 0 }
    }

    /// Returns the most that the memories had, in bytes: they never shrink.
    pub(super) const fn memory_peak_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = u64::try_from(desired.saturating_sub(current))?;
        let total = self.memory_bytes.saturating_add(more);
        if total > self.memory_bytes_max {
            return Err(LimitExceeded { limit: Limit::Memory, allowed: self.memory_bytes_max }.into());
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if desired > TABLE_ELEMENTS_MAX || total > ALL_TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        // Adapters between the parts of a component count too.
        4 * MODULES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

/// Returns the linker with everything that a tool may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    io::error::add_to_linker::<Context, HasTable>(l, |context| &mut context.table)?;
    io::poll::add_to_linker::<Context, HasTable>(l, |context| &mut context.table)?;
    io::streams::add_to_linker::<Context, HasTable>(l, |context| &mut context.table)?;
    clocks::wall_clock::add_to_linker::<Context, WasiClocks>(l, WasiClocksView::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Context, WasiClocks>(l, WasiClocksView::clocks)?;
    cli::environment::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::exit::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::stdin::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::stdout::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::stderr::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_input::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_output::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stdin::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stdout::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stderr::add_to_linker::<Context, WasiCli>(l, WasiCliView::cli)?;
    random::random::add_to_linker::<Context, HasRandom>(l, |context| Random(context))?;
    random::insecure::add_to_linker::<Context, HasRandom>(l, |context| Random(context))?;
    random::insecure_seed::add_to_linker::<Context, HasRandom>(l, |context| Random(context))?;
    filesystem::types::add_to_linker::<Context, HasFiles>(l, Context::view)?;
    filesystem::preopens::add_to_linker::<Context, HasFiles>(l, Context::view)?;
    Ok(linker)
}

/// Puts stubs in place of imports that no tool is given: calling one ends the call, and says which it was.
pub(super) fn stub(linker: &mut Linker<Context>, component: &Component, missing: &[String]) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    for (name, import) in ty.imports(&engine).filter(|(name, _)| missing.iter().any(|missing| missing == name)) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            return Err(wasmtime::format_err!("`{name}` is no interface, so there is no stub for it"));
        };
        let mut stubs = linker.instance(name)?;
        for (export, item) in instance.exports(&engine) {
            let called = format!("{name}#{export}");
            match item.ty {
                ComponentItem::ComponentFunc(_) => stubs.func_new(export, move |_, _, _, _| {
                    Err(wasmtime::format_err!("`{called}` was called, which is a stub: no tool is given it"))
                })?,
                ComponentItem::Resource(_) => {
                    stubs.resource(export, resource(export), |_, _| Ok(()))?;
                }
                ComponentItem::Type(_) => {}
                _ => return Err(wasmtime::format_err!("`{called}` is no function, so there is no stub for it")),
            }
        }
    }
    Ok(())
}

/// Returns the type of a resource in a stubbed interface. Those that WASI's interfaces have in common are what they are
/// elsewhere; no value of the others ever comes to be.
fn resource(name: &str) -> ResourceType {
    match name {
        "pollable" => ResourceType::host::<DynPollable>(),
        "input-stream" => ResourceType::host::<DynInputStream>(),
        "output-stream" => ResourceType::host::<DynOutputStream>(),
        "error" | "io-error" => ResourceType::host::<IoError>(),
        "descriptor" => ResourceType::host::<filesystem::types::Descriptor>(),
        _ => ResourceType::host::<Stub>(),
    }
}

/// The type of resources that there are none of.
struct Stub;

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Randomness, which is the same whether the tool asks for it to be secure or not.
struct Random<'a>(&'a Context);

struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = Random<'a>;
}

impl Random<'_> {
    fn bytes(&self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > RANDOM_BYTES_MAX {
            return Err(wasmtime::format_err!("more than {RANDOM_BYTES_MAX} random bytes were asked for at once"));
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        self.fill(&mut bytes);
        Ok(bytes)
    }

    fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.files.spend_random(bytes.len());
        self.0.entropy.fill(bytes);
    }
}

impl random::random::Host for Random<'_> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.number())
    }
}

impl random::insecure::Host for Random<'_> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.number())
    }
}

impl random::insecure_seed::Host for Random<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(*self.0.seed.get_or_init(|| (self.number(), self.number())))
    }
}

/// The clocks as WASI asks for them.
pub(super) struct Clocks(pub(super) Arc<dyn Clock>);

impl HostWallClock for Clocks {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.now().0).unwrap_or_default())
    }
}

impl HostMonotonicClock for Clocks {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }
}
