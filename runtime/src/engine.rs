//! The WebAssembly engine that runs guests, and why it is set up as it is.
//!
//! One engine serves all guests. Whatever changes here changes the compatibility hash, and with it the names of the
//! files in the code cache: old code is then compiled again, never loaded.

use std::sync::Arc;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, Strategy};

use crate::memory::Memories;

/// Stack that guest code may use, in bytes. CPython recurses deep, in C, long before its own recursion limit.
const WASM_STACK_BYTES: usize = 8 << 20;

/// Stack of one running call: the guest's and what host functions need below it, in bytes. Mapped, not touched.
const CALL_STACK_BYTES: usize = WASM_STACK_BYTES + (2 << 20);

/// Returns the engine of guests that live for one call.
pub(crate) fn new() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

fn config() -> Config {
    // Threads are not compiled in: shared memories could be neither limited nor taken back.
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // Metering and preemption in one: fuel counts instructions, the same on every run, and the store yields on it.
        .consume_fuel(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        // One stack may serve calls of different sandboxes in turn.
        .async_stack_zeroing(true)
        // The data Python unwinds C++ with them.
        .wasm_exceptions(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        // The one place where WebAssembly lets processors differ.
        .relaxed_simd_deterministic(true)
        // Interpreters come with tens of megabytes of initialised memory: our images of it are mapped, see `memory.rs`.
        .memory_init_cow(false)
        .with_host_memory(Arc::new(Memories))
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        // Guests' backtraces are of no use to anyone, and the tables for them make a tenth or more of the code.
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false);
    config
}
