//! One program of such a guest in an instance of its own: from its start, or from a copy of another one's memory.

use std::sync::Arc;

use wasmtime::{Caller, Engine, Extern, Global, Instance, InstancePre, Linker, Module, Store, Trap, Val};

use super::session::{Place, finish};
use super::{Errno, Exec, Fault, Here, Left, Linux};
use crate::kernel::{End, Ended, Launch, Pid, Program, SLICE_FUEL, Started};
use crate::limits::{Limit, LimitExceeded};
use crate::memory::{self, Image, Written};

/// What is kept below the stack pointer, to be sure.
const RED_ZONE_BYTES: usize = 4096;

/// A compiled guest, ready for instances. Clones share it.
#[derive(Clone)]
pub(crate) struct LinuxGuest {
    instance: Arc<InstancePre<Linux>>,
    /// What the memory of its programs begins as.
    image: Arc<Image>,
    /// What the module itself begins with.
    first: Arc<Image>,
    /// Where its programs begin, when the image is of one that had begun.
    place: Option<Arc<Place>>,
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
        let first = Arc::clone(&image);
        Ok(Self { instance: Arc::new(linker.instantiate_pre(module)?), image, first, place: None })
    }

    /// Returns the same guest, whose programs begin with another image, in the middle of what made it.
    pub(super) fn beginning_with(&self, image: Arc<Image>, place: Place) -> Self {
        Self { image, place: Some(Arc::new(place)), ..self.clone() }
    }

    /// Returns the same guest, whose copied processes begin with another image.
    pub(super) fn over(&self, image: Arc<Image>) -> Self {
        Self { image, ..self.clone() }
    }

    pub(super) fn instance(&self) -> &InstancePre<Linux> {
        &self.instance
    }

    pub(super) const fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Says whether an instance is its memory and its globals, and nothing else.
    pub(crate) fn may_have_sessions(&self) -> bool {
        memory::module::may_have_sessions(self.instance.module())
    }

    /// Returns the images that programs begin with, and that the module began with.
    pub(crate) const fn images(&self) -> (&Arc<Image>, &Arc<Image>) {
        (&self.image, &self.first)
    }

    /// Returns a program that runs in a fresh instance.
    pub(crate) fn program(&self, exec: Exec, start: Start) -> Program {
        let guest = self.clone();
        Box::new(move |started| Box::pin(guest.run(exec, start, started)))
    }

    /// Returns what an instance of a process needs.
    pub(super) fn store(&self, here: Here) -> wasmtime::Result<Store<Linux>> {
        let engine: &Engine = self.instance.module().engine();
        let mut store = Store::new(engine, Linux { here: Some(here) });
        store.limiter(|linux| linux);
        // Making an instance costs nothing that is counted, and must not fail for want of it.
        store.set_fuel(u64::MAX)?;
        store.fuel_async_yield_interval(Some(SLICE_FUEL))?;
        Ok(store)
    }

    async fn run(self, exec: Exec, start: Start, started: Started) -> Ended {
        let Started { kernel, pid, fuel } = started;
        let mut store = match self.store(Here::new(kernel, pid, self.clone(), exec)) {
            Ok(store) => store,
            Err(error) => return Ended { how: End::Call(error), fuel: 0 },
        };
        let how = match self.begin(&mut store, start, fuel).await {
            // Whoever returns from where it began has ended well.
            Ok(()) => End::Exited(0),
            Err(error) => ending(error, &mut store, fuel),
        };
        finish(store, how, fuel)
    }

    async fn begin(&self, store: &mut Store<Linux>, start: Start, fuel: u64) -> wasmtime::Result<()> {
        store.set_fuel(fuel)?;
        let instance = memory::instantiate(&self.instance, store, &self.image).await?;
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("the guest exports no memory"))?;
        store.data_mut().memory = Some(memory);
        self.enter(store, &instance, start).await
    }

    /// Enters an instance whose memory is the guest's image.
    pub(super) async fn enter(
        &self,
        store: &mut Store<Linux>,
        instance: &Instance,
        start: Start,
    ) -> wasmtime::Result<()> {
        match (start, &self.place) {
            (Start::Main, None) => {
                instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call_async(store, ()).await
            }
            (Start::Main, Some(place)) => {
                memory::set_globals(instance, store, &place.globals)?;
                store.data_mut().signal_flag = place.signal_flag;
                let child = instance.get_typed_func::<(u32, u32), ()>(&mut *store, "sandglass_child")?;
                child.call_async(store, (place.entry, place.argument)).await
            }
            (Start::Copy { written, stack, signal_flag, entry, argument }, _) => {
                let memory = store.data().memory.ok_or_else(|| wasmtime::Error::msg("a guest without memory"))?;
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

pub(super) fn ending(error: wasmtime::Error, store: &mut Store<Linux>, fuel: u64) -> End {
    match error.downcast_ref::<Left>() {
        Some(Left::Exited(code)) => return End::Exited(*code),
        Some(Left::Killed) => return End::Killed,
        Some(Left::Became) => {
            let becomes = store.data_mut().becomes.take();
            return becomes.map_or_else(|| End::Trapped("a program without a program".to_owned()), End::Became);
        }
        Some(Left::Rests) => return End::Trapped("a program that rests where nobody waits".to_owned()),
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
