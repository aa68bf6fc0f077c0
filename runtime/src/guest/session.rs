//! An interpreter that goes on: a guest whose instance, or the memory of one, outlives the call.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Instance, Memory, Store, Val};

use super::reactor::{Context, WasiGuest};
use crate::kernel::{End, Ended, Exec, Program, Started};
use crate::limits::Limit;
use crate::memory::module::GLOBAL;
use crate::memory::{self, Snapshot, Tracking};
use crate::wasi::Told;

/// An instance that rests between two calls of its session.
pub(crate) struct Resting {
    store: Store<Context>,
    instance: Instance,
    tracking: Tracking,
}

/// What a call of a session begins with.
pub(crate) enum Begin {
    /// The instance that the call before left.
    Live(Resting),
    /// Memory as it was at some moment.
    Snapshot(Arc<Snapshot>),
}

/// What a call of a session left.
pub(crate) struct Rested {
    pub(crate) resting: Resting,
    /// Its open files, as `Wasi::at_rest` writes them.
    pub(crate) descriptors: Vec<u8>,
    pub(crate) globals: Vec<u64>,
    pub(crate) told: Told,
}

/// Where a call of a session leaves what it left.
pub(crate) type Left = Arc<Mutex<Option<Rested>>>;

/// The memory of an instance after a call.
pub(crate) struct WrittenMemory<'a> {
    pub(crate) memory: &'a [u8],
    /// Pages that may have been written.
    pub(crate) pages: Vec<Range<usize>>,
    /// How many pages the instance has for itself.
    pub(crate) own_pages: usize,
}

impl Resting {
    fn memory(&mut self) -> Option<&mut [u8]> {
        let memory = self.instance.get_memory(&mut self.store, "memory")?;
        Some(memory.data_mut(&mut self.store))
    }

    /// Returns the instance's memory, and what was written of it since this was asked last.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn written(&mut self) -> io::Result<WrittenMemory<'_>> {
        let memory = self.instance.get_memory(&mut self.store, "memory");
        let memory = memory.ok_or(io::ErrorKind::NotFound)?.data(&self.store);
        let pages = self.tracking.written(memory)?;
        Ok(WrittenMemory { memory, pages, own_pages: self.tracking.own_pages(memory.len()) })
    }

    /// Makes its memory, which is one snapshot, another one, if that costs less than a new instance; says whether it did.
    pub(crate) fn becomes(&mut self, now: &Snapshot, wanted: &Snapshot) -> bool {
        let memory = self.memory();
        memory.is_some_and(|memory| wanted.put_over(now, memory)) && self.set_globals(wanted.globals()).is_ok()
    }

    fn set_globals(&mut self, values: &[u64]) -> wasmtime::Result<()> {
        let Self { store, instance, .. } = self;
        for (name, value) in names(instance, store).into_iter().zip(values) {
            let Some(global) = instance.get_global(&mut *store, &name) else { continue };
            let value = match global.get(&mut *store) {
                Val::I32(_) => Val::I32(u32::try_from(*value).unwrap_or(0).cast_signed()),
                Val::F32(_) => Val::F32(u32::try_from(*value).unwrap_or(0)),
                Val::I64(_) => Val::I64(value.cast_signed()),
                _ => Val::F64(*value),
            };
            global.set(&mut *store, value)?;
        }
        Ok(())
    }
}

impl WasiGuest {
    /// Returns a program that goes on with a session, and leaves what it becomes when it ends by itself.
    pub(crate) fn session_program(&self, exec: Exec, begin: Begin, descriptors: Vec<u8>, left: Left) -> Program {
        let guest = self.clone();
        Box::new(move |started| {
            Box::pin(async move {
                let fuel = started.fuel;
                match guest.go_on(exec, begin, &descriptors, started, &left).await {
                    Ok(ended) => ended,
                    Err(error) => Ended { how: End::Call(error), fuel },
                }
            })
        })
    }

    async fn go_on(
        &self,
        exec: Exec,
        begin: Begin,
        descriptors: &[u8],
        started: Started,
        left: &Left,
    ) -> wasmtime::Result<Ended> {
        let (fuel, kernel, pid) = (started.fuel, started.kernel.clone(), started.pid);
        let mut context = self.context(exec, &started)?;
        context.come_back(descriptors).map_err(wasmtime::Error::msg)?;
        let mut resting = match begin {
            Begin::Live(mut resting) => {
                *resting.store.data_mut() = context;
                let bytes = resting.memory().map_or(0, |memory| memory.len());
                kernel.lock().grow(pid, bytes as u64)?;
                resting
            }
            Begin::Snapshot(snapshot) => self.woken(context, &snapshot).await?,
        };
        resting.store.set_fuel(fuel)?;
        resting.store.fuel_async_yield_interval(Some(crate::kernel::SLICE_FUEL))?;
        let entered = self.call_entry(&mut resting.store, &resting.instance).await;
        let spent = fuel.saturating_sub(resting.store.get_fuel()?);
        let how = match entered {
            Ok(status) => {
                let told = resting.store.data_mut().take_told();
                match told.exit {
                    // The session is as it was before: it does not rest after an end.
                    Some(status) => End::Exited(status),
                    None => {
                        let descriptors = resting.store.data_mut().at_rest();
                        let globals = globals(&mut resting);
                        resting.store.data_mut().leave();
                        let rested = Rested { resting, descriptors, globals, told };
                        *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(rested);
                        return Ok(Ended { how: End::Exited(status), fuel: spent });
                    }
                }
            }
            Err(error) => super::reactor::ending(error, fuel),
        };
        resting.store.data_mut().leave();
        Ok(Ended { how, fuel: spent })
    }

    async fn woken(&self, context: Context, snapshot: &Snapshot) -> wasmtime::Result<Resting> {
        let mut store = self.store_of(context)?;
        let instance = memory::instantiate(self.instance(), &mut store, snapshot.image()).await?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        grow(&mut store, memory, snapshot.memory_bytes()).await?;
        snapshot.put(memory.data_mut(&mut store));
        let mut resting = Resting { store, instance, tracking: Tracking::default() };
        resting.set_globals(snapshot.globals())?;
        Ok(resting)
    }
}

async fn grow(store: &mut Store<Context>, memory: Memory, bytes: usize) -> wasmtime::Result<()> {
    let missing = bytes.saturating_sub(memory.data_size(&*store));
    if missing > 0 {
        memory.grow_async(&mut *store, (missing as u64).div_ceil(64 << 10)).await?;
    }
    if memory.data_size(&*store) > bytes {
        // Memory can't become smaller: no snapshot is of a smaller one than its image.
        return Err(wasmtime::Error::msg(format!("{} of a session is smaller than its image", Limit::Memory.key())));
    }
    Ok(())
}

/// Returns the exported changeable globals, in the module's order.
fn names(instance: &Instance, store: &mut Store<Context>) -> Vec<String> {
    let mut numbers: Vec<u32> = instance
        .exports(store)
        .filter_map(|export| export.name().strip_prefix(GLOBAL).and_then(|number| number.parse().ok()))
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| format!("{GLOBAL}{number}")).collect()
}

fn globals(resting: &mut Resting) -> Vec<u64> {
    let Resting { store, instance, .. } = resting;
    let mut values = Vec::new();
    for name in names(instance, store) {
        let value = instance.get_global(&mut *store, &name).map(|global| global.get(&mut *store));
        values.push(match value {
            Some(Val::I32(value)) => u64::from(value.cast_unsigned()),
            Some(Val::I64(value)) => value.cast_unsigned(),
            Some(Val::F32(bits)) => u64::from(bits),
            Some(Val::F64(bits)) => bits,
            _ => 0,
        });
    }
    values
}
