//! One program of such a guest in an instance of its own: from its start, or from a copy of another one's memory.

use std::sync::Arc;

use wasmtime::{Caller, Engine, Extern, Global, InstancePre, Linker, Module, Store, Trap, Val};

use super::{Errno, Exec, Fault, Left, Linux};
use crate::kernel::{End, Ended, Launch, Pid, Program, SLICE_FUEL, Started};
use crate::limits::{Limit, LimitExceeded};
use crate::memory::{self, Image, Written};

/// What is kept below the stack pointer, to be sure.
const RED_ZONE_BYTES: usize = 4096;

/// A compiled guest, ready for instances. Clones share it.
#[derive(Clone)]
pub(crate) struct LinuxGuest {
    instance: Arc<InstancePre<Linux>>,
    image: Arc<Image>,
}

/// How a program begins.
pub(crate) enum Start {
    /// At its beginning.
    Main,
    /// In the middle of another one's work: with its memory, in a function.
    Copy { written: Written, stack: i32, signal_flag: u32, entry: u32, argument: u32 },
}

impl LinuxGuest {
    /// Returns a compiled module as a guest whose memory begins as an image.
    ///
    /// # Errors
    /// It imports what there is not.
    pub(crate) fn new(linker: &Linker<Linux>, module: &Module, image: Arc<Image>) -> wasmtime::Result<Self> {
        Ok(Self { instance: Arc::new(linker.instantiate_pre(module)?), image })
    }

    /// Returns a program that runs in a fresh instance.
    pub(crate) fn program(&self, exec: Exec, start: Start) -> Program {
        let guest = self.clone();
        Box::new(move |started| Box::pin(guest.run(exec, start, started)))
    }

    async fn run(self, exec: Exec, start: Start, started: Started) -> Ended {
        let Started { kernel, pid, fuel } = started;
        let engine: &Engine = self.instance.module().engine();
        let linux = Linux {
            kernel,
            pid,
            lenders: Vec::new(),
            exec,
            memory: None,
            signal_flag: 0,
            deadline: None,
            becomes: None,
            guest: self.clone(),
        };
        let mut store = Store::new(engine, linux);
        store.limiter(|linux| linux);
        let metered = store.set_fuel(fuel).and_then(|()| store.fuel_async_yield_interval(Some(SLICE_FUEL)));
        let how = match metered {
            Ok(()) => match self.enter(&mut store, start).await {
                // Whoever returns from where it began has ended well.
                Ok(()) => End::Exited(0),
                Err(error) => ending(error, &mut store, fuel),
            },
            Err(error) => End::Call(error),
        };
        let left = store.get_fuel().unwrap_or(0);
        // Children that still borrowed the instance end with it.
        let linux = store.into_data();
        let mut state = linux.kernel.lock();
        let borrowing = linux.lenders.iter().skip(1).chain(linux.lenders.first().map(|_| &linux.pid));
        borrowing.for_each(|child| state.exit(*child, crate::kernel::Status::Signaled(crate::kernel::signal::KILL)));
        Ended { how, fuel: fuel.saturating_sub(left) }
    }

    async fn enter(&self, store: &mut Store<Linux>, start: Start) -> wasmtime::Result<()> {
        let instance = memory::instantiate(&self.instance, store, &self.image).await?;
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("the guest exports no memory"))?;
        store.data_mut().memory = Some(memory);
        match start {
            Start::Main => instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call_async(store, ()).await,
            Start::Copy { written, stack, signal_flag, entry, argument } => {
                store.data_mut().signal_flag = signal_flag;
                let missing = written.memory_bytes().saturating_sub(memory.data_size(&*store));
                if missing > 0 {
                    memory.grow_async(&mut *store, (missing as u64).div_ceil(64 << 10)).await?;
                }
                written.put(memory.data_mut(&mut *store));
                drop(written);
                let pointer = instance.get_global(&mut *store, "__stack_pointer");
                let pointer = pointer.ok_or_else(|| wasmtime::Error::msg("the guest exports no stack pointer"))?;
                pointer.set(&mut *store, Val::I32(stack))?;
                let child = instance.get_typed_func::<(u32, u32), ()>(&mut *store, "sandglass_child")?;
                child.call_async(store, (entry, argument)).await
            }
        }
    }
}

fn ending(error: wasmtime::Error, store: &mut Store<Linux>, fuel: u64) -> End {
    match error.downcast_ref::<Left>() {
        Some(Left::Exited(code)) => return End::Exited(*code),
        Some(Left::Killed) => return End::Killed,
        Some(Left::Became) => {
            let becomes = store.data_mut().becomes.take();
            return becomes.map_or_else(|| End::Trapped("a program without a program".to_owned()), End::Became);
        }
        None => {}
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => End::Call(LimitExceeded { limit: Limit::Cpu, allowed: fuel }.into()),
        Some(trap) => End::Trapped(trap.to_string()),
        // Limits and faults of the store come as what they are; anything else is the guest's.
        None if error.is::<LimitExceeded>() || error.is::<sandglass_snapshots::StoreError>() => End::Call(error),
        None => {
            let text = error.root_cause().to_string();
            End::Trapped(text.lines().next().unwrap_or_default().to_owned())
        }
    }
}

/// Starts a process with a copy of what this one has written, in a function of its module.
pub(super) fn fork(caller: &mut Caller<'_, Linux>, entry: u32, argument: u32) -> Result<Pid, Fault> {
    let stack = stack_pointer(caller).ok_or(Errno::ENOSYS)?;
    let Val::I32(stack) = stack.get(&mut *caller) else { return Err(Errno::ENOSYS.into()) };
    let memory = caller.data().memory.ok_or(Errno::ENOSYS)?;
    // The stack is first in memory and grows down: what lies below is nobody's any more.
    let unused = usize::try_from(stack).unwrap_or(0).saturating_sub(RED_ZONE_BYTES);
    let written = Written::of(memory.data(&*caller), unused).map_err(|error| Fault::End(error.into()))?;
    let linux = caller.data_mut();
    let mut state = linux.kernel.lock();
    let child = state.fork(linux.pid)?;
    let start = Start::Copy { written, stack, signal_flag: linux.signal_flag, entry, argument };
    state.launch(Launch { pid: child, program: linux.guest.program(linux.exec.clone(), start) });
    Ok(child)
}

fn stack_pointer(caller: &mut Caller<'_, Linux>) -> Option<Global> {
    match caller.get_export("__stack_pointer") {
        Some(Extern::Global(global)) => Some(global),
        _ => None,
    }
}
