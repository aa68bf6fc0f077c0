//! An interpreter that goes on: a guest whose instance, or the memory of one, outlives the call.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::reactor::{Context, WasiGuest};
use crate::kernel::{End, Ended, Exec, Program, Started};
use crate::linux::{self, LinuxGuest, Origin, Turn, Turned};
pub(crate) use crate::memory::WrittenMemory;
use crate::memory::{Live, Snapshot};
use crate::wasi::Told;

/// An instance that rests between two calls of its session.
pub(crate) enum Resting {
    Wasi(Live<Context>),
    Linux(linux::Resting),
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
    /// Its open files and what else the host has of it, as its interface writes it.
    pub(crate) descriptors: Vec<u8>,
    pub(crate) globals: Vec<u64>,
    pub(crate) told: Told,
}

/// Where a call of a session leaves what it left.
pub(crate) type Left = Arc<Mutex<Option<Rested>>>;

impl Resting {
    /// Returns the instance's memory, and what was written of it since this was asked last.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn written(&mut self) -> io::Result<WrittenMemory<'_>> {
        match self {
            Self::Wasi(live) => live.written(),
            Self::Linux(resting) => resting.live().written(),
        }
    }

    /// Makes its memory, which is one snapshot, another one, if that costs less than a new instance; says whether it did.
    pub(crate) fn becomes(&mut self, now: &Snapshot, wanted: &Snapshot) -> bool {
        match self {
            Self::Wasi(live) => live.becomes(now, wanted),
            Self::Linux(resting) => resting.live().becomes(now, wanted),
        }
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
        let mut live = match begin {
            Begin::Live(Resting::Wasi(mut live)) => {
                *live.store.data_mut() = context;
                let bytes = live.memory().map_or(0, |memory| memory.len());
                kernel.lock().grow(pid, bytes as u64)?;
                live
            }
            Begin::Live(Resting::Linux(_)) => return Err(wasmtime::Error::msg("an instance of another interface")),
            Begin::Snapshot(snapshot) => {
                let mut store = self.store_of(context)?;
                self.count(&mut store, snapshot.image())?;
                Live::awaken(self.instance(), store, &snapshot).await?
            }
        };
        live.store.set_fuel(fuel)?;
        live.store.fuel_async_yield_interval(Some(crate::kernel::SLICE_FUEL))?;
        let entered = self.call_entry(&mut live.store, &live.instance).await;
        let spent = fuel.saturating_sub(live.store.get_fuel()?);
        let how = match entered {
            Ok(status) => {
                let told = live.store.data_mut().take_told();
                match told.exit {
                    // The session is as it was before: it does not rest after an end.
                    Some(status) => End::Exited(status),
                    None => {
                        let descriptors = live.store.data_mut().at_rest();
                        let globals = live.globals();
                        live.store.data_mut().leave();
                        let resting = Resting::Wasi(live);
                        let rested = Rested { resting, descriptors, globals, told };
                        *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(rested);
                        return Ok(Ended { how: End::Exited(status), fuel: spent });
                    }
                }
            }
            Err(error) => super::reactor::ending(error, fuel),
        };
        live.store.data_mut().leave();
        Ok(Ended { how, fuel: spent })
    }
}

/// Returns a program of a Linux guest that goes on with a session, and leaves what it becomes when it rests.
pub(super) fn linux_program(guest: &LinuxGuest, turn: Turn, begin: Begin, kept: Vec<u8>, left: Left) -> Program {
    let guest = guest.clone();
    Box::new(move |started| {
        Box::pin(async move {
            let fuel = started.fuel;
            let from = match begin {
                Begin::Live(Resting::Linux(resting)) => Origin::Live(resting),
                Begin::Snapshot(snapshot) => Origin::Snapshot(snapshot),
                Begin::Live(Resting::Wasi(_)) => {
                    let error = wasmtime::Error::msg("an instance of another interface");
                    return Ended { how: End::Call(error), fuel: 0 };
                }
            };
            match guest.go_on(from, &kept, turn, started).await {
                Ok((ended, rested)) => {
                    if let Some(Turned { resting, kept, globals, result }) = rested {
                        let resting = Resting::Linux(resting);
                        let told = Told { result, exit: None };
                        let rested = Rested { resting, descriptors: kept, globals, told };
                        *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(rested);
                    }
                    ended
                }
                Err(error) => Ended { how: End::Call(error), fuel },
            }
        })
    })
}
