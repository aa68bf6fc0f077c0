//! What an instance is between two turns: its memory and its globals, taken and given back.

use std::io;
use std::ops::Range;

use wasmtime::{Instance, InstancePre, Memory, Store, Val};

use super::mapping::instantiate_for_good;
use super::module::GLOBAL;
use super::{Snapshot, Tracking};
use crate::limits::Limit;

/// An instance that is entered again and again, and what is known of its memory.
pub(crate) struct Live<T: 'static> {
    pub(crate) store: Store<T>,
    pub(crate) instance: Instance,
    tracking: Tracking,
}

/// The memory of an instance after a call.
pub(crate) struct WrittenMemory<'a> {
    pub(crate) memory: &'a [u8],
    /// Pages that may have been written.
    pub(crate) pages: Vec<Range<usize>>,
    /// How many pages the instance has for itself.
    pub(crate) own_pages: usize,
}

impl<T: Send + 'static> Live<T> {
    /// Makes an instance that is what a snapshot is of.
    ///
    /// # Errors
    /// The host has no memory, or the limits allow no more.
    pub(crate) async fn awaken(
        instance: &InstancePre<T>,
        mut store: Store<T>,
        snapshot: &Snapshot,
    ) -> wasmtime::Result<Self> {
        let instance = instantiate_for_good(instance, &mut store, snapshot.image()).await?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        grow(&mut store, memory, snapshot.memory_bytes()).await?;
        snapshot.put(memory.data_mut(&mut store));
        set_globals(&instance, &mut store, snapshot.globals())?;
        Ok(Self { store, instance, tracking: Tracking::default() })
    }

    /// Returns its memory.
    pub(crate) fn memory(&mut self) -> Option<&mut [u8]> {
        let memory = self.instance.get_memory(&mut self.store, "memory")?;
        Some(memory.data_mut(&mut self.store))
    }

    /// Returns its memory, and what was written of it since this was asked last.
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
        memory.is_some_and(|memory| wanted.put_over(now, memory))
            && set_globals(&self.instance, &mut self.store, wanted.globals()).is_ok()
    }

    /// Returns the values of its globals.
    pub(crate) fn globals(&mut self) -> Vec<u64> {
        globals(&self.instance, &mut self.store)
    }
}

async fn grow<T: Send>(store: &mut Store<T>, memory: Memory, bytes: usize) -> wasmtime::Result<()> {
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
fn names<T>(instance: &Instance, store: &mut Store<T>) -> Vec<String> {
    let mut numbers: Vec<u32> = instance
        .exports(store)
        .filter_map(|export| export.name().strip_prefix(GLOBAL).and_then(|number| number.parse().ok()))
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| format!("{GLOBAL}{number}")).collect()
}

/// Returns the values of an instance's globals.
pub(crate) fn globals<T>(instance: &Instance, store: &mut Store<T>) -> Vec<u64> {
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

/// Gives an instance's globals the values that [`globals`] gave.
///
/// # Errors
/// A value is none of its global's.
pub(crate) fn set_globals<T>(instance: &Instance, store: &mut Store<T>, values: &[u64]) -> wasmtime::Result<()> {
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
