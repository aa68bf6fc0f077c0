//! The engine of uploaded tools: a fresh instance a call, from pools that make that cheap.
//!
//! It differs from the guests' engine (`crate::engine`): less stack, no exceptions and so no garbage-collected heap, and
//! slots that are cleaned by asking the kernel which pages were touched. The child that compiles uses the same settings
//! without the pools, which have no part in the code.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy};

/// Stack that a tool's code may use, in bytes.
const WASM_STACK_BYTES: usize = 2 << 20;
/// Stack of one running call, with what host functions need, in bytes. Mapped, not touched.
const CALL_STACK_BYTES: usize = WASM_STACK_BYTES + (2 << 20);
/// Modules that one component may be made of. One that carries a Python interpreter has about twenty.
pub(super) const MODULES_MAX: u32 = 64;
/// Memories that one component may have.
pub(super) const MEMORIES_MAX: u32 = 8;
/// Tables that one component may have.
pub(super) const TABLES_MAX: u32 = 64;
/// Elements of one table.
pub(super) const TABLE_ELEMENTS_MAX: usize = 50_000;
/// Slots of each pool for every call that may run at once: most tools have one memory, few more than two.
const SLOTS_PER_CALL: u32 = 3;
/// How much of a slot's memory is kept from one call to the next, in bytes: clearing it is cheaper than faulting it in.
const KEPT_BYTES: usize = 1 << 20;

/// Returns the engine that runs tools, with room for so many calls at once.
pub(super) fn new(calls: usize) -> wasmtime::Result<Engine> {
    let calls = u32::try_from(calls).unwrap_or(u32::MAX).clamp(1, 4096);
    let mut pools = PoolingAllocationConfig::new();
    pools
        .total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(8).max(MODULES_MAX))
        .total_memories(calls.saturating_mul(SLOTS_PER_CALL).max(MEMORIES_MAX))
        .total_tables(calls.saturating_mul(SLOTS_PER_CALL).max(TABLES_MAX))
        .total_stacks(calls)
        .max_core_instances_per_component(MODULES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(8)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_component_instance_size(8 << 20)
        .max_core_instance_size(1 << 20)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pools));
    Engine::new(&config).or_else(|error| {
        // Address space may be short where the system limits it. Slower is better than not at all.
        tracing::warn!("tools run without pools, more slowly: {error:#}");
        Engine::new(&self::config())
    })
}

/// Returns the engine of the child that compiles.
pub(crate) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

fn config() -> Config {
    // Threads and the asynchronous component model are not compiled in.
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .consume_fuel(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .async_stack_zeroing(true)
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_exceptions(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .gc_support(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}
