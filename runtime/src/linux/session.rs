//! A program that rests: between two turns of a session it is its memory, its globals and what the host has of its process.
//!
//! A program that can have sessions says where it wants to go on, and rests (`SYS_REST`). Its instance is left in the middle of
//! that call and entered anew, in a function of its own, as a copied process is. The stack begins each turn where the program
//! came to rest first, so that turns don't pile up.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::{Caller, Extern, Global, Instance, Store};

use super::memory::Guest;
use super::run::{LinuxGuest, Start, ending};
use super::{Errno, Exec, Fault, Here, Left, Linux, Rest, answer, split};
use crate::clock::Clock;
use crate::kernel::{End, Ended, Kernel, Pid, ProcessRest, Started};
use crate::memory::{self, Image, Live, Snapshot};

const FORMAT: u32 = 1;

/// An instance that rests between two calls of its session.
pub(crate) struct Resting {
    live: Live<Linux>,
    /// What its memory began as.
    image: Arc<Image>,
}

/// What a turn begins with.
pub(crate) enum Origin {
    /// The instance that the turn before left.
    Live(Resting),
    /// Memory as it was at some moment.
    Snapshot(Arc<Snapshot>),
}

/// What a turn is given.
pub(crate) struct Turn {
    /// What a program is started with that has not rested yet. Its environment is that of this call.
    pub(crate) start: Exec,
    /// The arguments of the turn.
    pub(crate) args: Vec<Vec<u8>>,
}

/// What a turn left.
pub(crate) struct Turned {
    pub(crate) resting: Resting,
    /// What the host keeps of the process: see [`Kept`].
    pub(crate) kept: Vec<u8>,
    pub(crate) globals: Vec<u64>,
    pub(crate) result: Option<String>,
}

/// What is kept beside memory and globals, as JSON. See `docs/formats/tree.md`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    /// What the monotonic clock showed, in nanoseconds: it never goes back.
    monotonic_ns: u64,
    /// Where the program goes on.
    entry: u32,
    argument: u32,
    /// Where it wants to see that a signal waits.
    signal_flag: u32,
    /// The environment of the last call.
    env: Vec<String>,
    process: ProcessRest,
}

/// A clock that a session has seen further than this host's is.
struct Ahead {
    clock: Arc<dyn Clock>,
    by: Duration,
}

impl Clock for Ahead {
    fn now(&self) -> sandglass_snapshots::Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + self.by
    }
}

impl Resting {
    pub(crate) const fn live(&mut self) -> &mut Live<Linux> {
        &mut self.live
    }
}

/// A program says that it rests. Where nobody waits for that, it is told so and goes on.
pub(super) fn rest(caller: &mut Caller<'_, Linux>, arguments: [u32; 6]) -> wasmtime::Result<i32> {
    let (memory, linux) = split(caller)?;
    if !linux.may_rest || !linux.lenders.is_empty() {
        return Ok(-Errno::ENOSYS.0);
    }
    let [entry, argument, status, text, length, _] = arguments;
    let said = match text {
        0 => Ok(None),
        _ => Guest::new(memory).slice(text, length).map(|text| Some(String::from_utf8_lossy(text).into_owned())),
    };
    match said {
        Ok(result) => {
            linux.rest = Some(Rest { entry, argument, status: status.cast_signed() & 0xff, result });
            Err(wasmtime::Error::new(Left::Rests))
        }
        Err(fault) => answer(Err::<u32, Fault>(fault)),
    }
}

impl LinuxGuest {
    /// Runs a turn. Leaves something when it came to rest; whatever else its program does ends the session.
    ///
    /// # Errors
    /// What is kept is not what a turn leaves, or the host fails.
    pub(crate) async fn go_on(
        &self,
        from: Origin,
        kept: &[u8],
        turn: Turn,
        started: Started,
    ) -> wasmtime::Result<(Ended, Option<Turned>)> {
        let Started { kernel, pid, fuel } = started;
        let Turn { start, args } = turn;
        let env = start.env.clone();
        let kept: Option<Kept> = match kept {
            [] => None,
            bytes => Some(serde_json::from_slice(bytes)?),
        };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.format != FORMAT) {
            return Err(wasmtime::Error::msg(format!("a process of format {}", kept.format)));
        }
        let image = match &from {
            Origin::Live(resting) => Arc::clone(&resting.image),
            Origin::Snapshot(snapshot) => Arc::clone(snapshot.image()),
        };
        let mut here = Here::new(kernel.clone(), pid, self.over(Arc::clone(&image)), start);
        here.may_rest = true;
        let mut live = match from {
            Origin::Live(Resting { mut live, .. }) => {
                let bytes = live.memory().map_or(0, |memory| memory.len());
                live.store.data_mut().here = Some(here);
                kernel.lock().grow(pid, bytes as u64)?;
                live
            }
            Origin::Snapshot(snapshot) => Live::awaken(self.instance(), self.store(here)?, &snapshot).await?,
        };
        let instance = live.instance;
        let store = &mut live.store;
        store.set_fuel(fuel)?;
        store.data_mut().memory = instance.get_memory(&mut *store, "memory");
        let stack = stack_pointer(&instance, store)?;
        let given = match kept {
            Some(kept) => {
                store.data_mut().signal_flag = kept.signal_flag;
                let given = kept.come_back(&kernel, pid, &env).map_err(wasmtime::Error::msg)?;
                store.data_mut().rest =
                    Some(Rest { entry: kept.entry, argument: kept.argument, status: 0, result: None });
                given
            }
            // Its own beginning, as of every program.
            None => {
                let entered = self.enter(store, &instance, Start::Main).await;
                if let Some(how) = ended(entered, store, fuel) {
                    return Ok((finish(live.store, how, fuel), None));
                }
                Vec::new()
            }
        };
        let base = stack.get(&mut *store);
        store.data_mut().exec = Exec { args, env: given };
        let entered = Self::resume(store, &instance).await;
        if let Some(how) = ended(entered, store, fuel) {
            return Ok((finish(live.store, how, fuel), None));
        }
        stack.set(&mut *store, base)?;
        let rest = store.data_mut().rest.take();
        let Rest { entry, argument, status, result } = rest.ok_or_else(|| wasmtime::Error::msg("a rest unsaid"))?;
        let globals = memory::globals(&instance, store);
        let kept = {
            let mut state = kernel.lock();
            let process = state.at_rest(pid).ok_or_else(|| wasmtime::Error::msg("a process that is gone rests"))?;
            let monotonic_ns = u64::try_from(state.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
            let signal_flag = store.data().signal_flag;
            let env = env.iter().map(|variable| String::from_utf8_lossy(variable).into_owned()).collect();
            Kept { format: FORMAT, monotonic_ns, entry, argument, signal_flag, env, process }
        };
        let kept = serde_json::to_vec(&kept)?;
        let fuel = fuel.saturating_sub(store.get_fuel()?);
        store.data_mut().here = None;
        let left = Turned { resting: Resting { live, image }, kept, globals, result };
        Ok((Ended { how: End::Exited(status), fuel }, Some(left)))
    }

    /// Enters an instance where its program wanted to go on.
    async fn resume(store: &mut Store<Linux>, instance: &Instance) -> wasmtime::Result<()> {
        let rest = store.data_mut().rest.take();
        let Rest { entry, argument, .. } = rest.ok_or_else(|| wasmtime::Error::msg("a program that does not rest"))?;
        let child = instance.get_typed_func::<(u32, u32), ()>(&mut *store, "sandglass_child")?;
        child.call_async(store, (entry, argument)).await
    }

    /// Runs a program in a fresh instance until it rests, and returns the guest whose programs begin there.
    ///
    /// # Errors
    /// It does something else.
    pub(crate) async fn rested(&self, exec: Exec, started: Started) -> wasmtime::Result<Self> {
        let Started { kernel, pid, fuel } = started;
        let mut here = Here::new(kernel, pid, self.clone(), exec);
        here.may_rest = true;
        let mut store = self.store(here)?;
        store.set_fuel(fuel)?;
        let instance = memory::instantiate(self.instance(), &mut store, self.image()).await?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        store.data_mut().memory = Some(memory);
        match self.enter(&mut store, &instance, Start::Main).await {
            Err(error) if matches!(error.downcast_ref(), Some(Left::Rests)) => {}
            Err(error) => return Err(error),
            Ok(()) => return Err(wasmtime::Error::msg("the program ended instead of resting")),
        }
        let rest = store.data_mut().rest.take();
        let rest = rest.ok_or_else(|| wasmtime::Error::msg("a rest unsaid"))?;
        let globals = memory::globals(&instance, &mut store);
        let image = Arc::new(Image::new(memory.data(&store), self.image().minimum_bytes())?);
        let signal_flag = store.data().signal_flag;
        Ok(self.beginning_with(image, Place { entry: rest.entry, argument: rest.argument, signal_flag, globals }))
    }
}

/// Where programs begin that begin in the middle.
pub(super) struct Place {
    pub(super) entry: u32,
    pub(super) argument: u32,
    pub(super) signal_flag: u32,
    pub(super) globals: Vec<u64>,
}

impl Kept {
    /// Makes the process what it was, and returns what is new in the environment of this call.
    fn come_back(&self, kernel: &Kernel, pid: Pid, env: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
        let is_place = |variable: &[u8]| variable.starts_with(b"PWD=");
        let knows = |variable: &[u8]| self.env.iter().any(|before| before.as_bytes() == variable);
        // The directory that this call names goes before the one that the last turn went to.
        let moves = env.iter().filter(|variable| is_place(variable)).all(|place| knows(place));
        let mut state = kernel.lock();
        let now = u64::try_from(state.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        let by = Duration::from_nanos(self.monotonic_ns.saturating_sub(now));
        if !by.is_zero() {
            state.clock = Arc::new(Ahead { clock: Arc::clone(&state.clock), by });
        }
        state.come_back(pid, &self.process, moves)?;
        Ok(env.iter().filter(|variable| !is_place(variable) && !knows(variable)).cloned().collect())
    }
}

/// Returns how a program ended, if it did anything but rest.
fn ended(entered: wasmtime::Result<()>, store: &mut Store<Linux>, fuel: u64) -> Option<End> {
    match entered {
        Ok(()) => Some(End::Exited(0)),
        Err(error) if matches!(error.downcast_ref(), Some(Left::Rests)) => None,
        Err(error) => Some(ending(error, store, fuel)),
    }
}

/// Leaves an instance for good.
pub(super) fn finish(mut store: Store<Linux>, how: End, fuel: u64) -> Ended {
    let left = store.get_fuel().unwrap_or(0);
    if let Some(here) = store.data_mut().here.take() {
        // Children that still borrowed the instance end with it.
        let mut state = here.kernel.lock();
        let borrowing = here.lenders.iter().skip(1).chain(here.lenders.first().map(|_| &here.pid));
        borrowing.for_each(|child| state.exit(*child, crate::kernel::Status::Signaled(crate::kernel::signal::KILL)));
    }
    Ended { how, fuel: fuel.saturating_sub(left) }
}

fn stack_pointer(instance: &Instance, store: &mut Store<Linux>) -> wasmtime::Result<Global> {
    match instance.get_export(&mut *store, "__stack_pointer") {
        Some(Extern::Global(global)) => Ok(global),
        _ => Err(wasmtime::Error::msg("the guest exports no stack pointer")),
    }
}
