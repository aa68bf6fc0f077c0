//! Linux's system calls, for the guests that are built here over musl (`guests/sysroot`): a thin layer over the kernel.
//!
//! A module imports six functions of `sandglass`. `syscall` is nearly everything: `table.rs` says which number is which function,
//! the functions are here by family. Numbers and layouts are those of Linux on 32-bit RISC-V. An answer is never below -4095
//! unless it is an error; what has to wait is tried again whenever something has changed.

mod abi;
mod files;
mod memory;
mod paths;
mod processes;
mod run;
mod session;
mod table;
mod time;

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::time::Duration;

use wasmtime::{Caller, Linker, Memory, ResourceLimiter};

use self::memory::Guest;
pub(crate) use self::run::{LinuxGuest, Start};
pub(crate) use self::session::{Origin, Resting, Turn, Turned};
use crate::kernel::{Disposition, Errno, Exec, Fault, Kernel, Pid, Program, State};

/// Elements that a guest's tables may have together.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// What the host keeps beside a running instance.
pub(crate) struct Linux {
    /// None while nothing runs.
    here: Option<Here>,
}

/// The host's side of one process that runs such a guest.
pub(crate) struct Here {
    kernel: Kernel,
    /// Who acts: the process itself, or a child that borrows it until it execs.
    pid: Pid,
    /// The processes that wait for theirs to be given back, the owner first.
    lenders: Vec<Pid>,
    exec: Exec,
    memory: Option<Memory>,
    /// Where the guest wants to see that a signal waits.
    signal_flag: u32,
    /// When the system call in progress gives up waiting, by the monotonic clock.
    deadline: Option<Duration>,
    /// What this process becomes when its instance has been left.
    becomes: Option<Program>,
    /// Whether somebody waits for it to rest.
    may_rest: bool,
    /// What it said when it came to rest.
    rest: Option<Rest>,
    guest: LinuxGuest,
}

/// What a program says when it rests: where it goes on, and what became of its turn.
pub(crate) struct Rest {
    entry: u32,
    argument: u32,
    status: i32,
    result: Option<String>,
}

/// Why an instance is left before its program returns.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Left {
    #[error("the program exited with {0}")]
    Exited(i32),
    #[error("the process became another program")]
    Became,
    #[error("the process was ended")]
    Killed,
    #[error("the program rests")]
    Rests,
}

/// One system call.
struct Call<'a> {
    guest: Guest<'a>,
    state: MutexGuard<'a, State>,
    pid: Pid,
    deadline: &'a mut Option<Duration>,
    arguments: [u32; 6],
}

impl Deref for Linux {
    type Target = Here;

    fn deref(&self) -> &Here {
        self.here.as_ref().expect(RUNS)
    }
}

impl DerefMut for Linux {
    fn deref_mut(&mut self) -> &mut Here {
        self.here.as_mut().expect(RUNS)
    }
}

/// Why the host's side is there.
const RUNS: &str = "a guest runs only where it was given its host's side";

impl ResourceLimiter for Linux {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) || self.here.is_none() {
            return Ok(false);
        }
        let owner = self.owner();
        // Ending the call says why; a failed growth would leave programs to die of it in some odd way.
        self.kernel.lock().grow(owner, desired.saturating_sub(current) as u64)?;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }

    fn memories(&self) -> usize {
        1
    }
}

impl Here {
    fn new(kernel: Kernel, pid: Pid, guest: LinuxGuest, exec: Exec) -> Self {
        Self {
            kernel,
            pid,
            lenders: Vec::new(),
            exec,
            memory: None,
            signal_flag: 0,
            deadline: None,
            becomes: None,
            may_rest: false,
            rest: None,
            guest,
        }
    }

    /// The process whose instance this is.
    fn owner(&self) -> Pid {
        self.lenders.first().copied().unwrap_or(self.pid)
    }

    /// The lender goes on where its child began.
    fn give_back(&mut self) -> bool {
        match self.lenders.pop() {
            Some(lender) => {
                self.pid = lender;
                true
            }
            None => false,
        }
    }
}

/// Returns the guest's memory and the host's side of it.
fn split<'a>(caller: &'a mut Caller<'_, Linux>) -> wasmtime::Result<(&'a mut [u8], &'a mut Here)> {
    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("the guest has no memory"))?;
    let (memory, linux) = memory.data_and_store_mut(caller);
    Ok((memory, linux))
}

/// Gives a guest its imports.
///
/// # Errors
/// The linker has one of them already.
pub(crate) fn add_to_linker(linker: &mut Linker<Linux>) -> wasmtime::Result<()> {
    const MODULE: &str = "sandglass";
    linker.func_wrap_async(
        MODULE,
        "syscall",
        |caller: Caller<'_, Linux>, arguments: (u32, u32, u32, u32, u32, u32, u32)| {
            let (number, a, b, c, d, e, f) = arguments;
            Box::new(system_call(caller, number, [a, b, c, d, e, f]))
        },
    )?;
    linker.func_wrap(MODULE, "start_size", |caller: Caller<'_, Linux>| processes::start_bytes(&caller.data().exec))?;
    linker.func_wrap(MODULE, "start", |mut caller: Caller<'_, Linux>, to: u32, flag: u32| {
        let (memory, linux) = split(&mut caller)?;
        linux.signal_flag = flag;
        processes::put_start(&mut Guest::new(memory), &linux.exec, to).map_err(ended)
    })?;
    linker.func_wrap(MODULE, "signal", |caller: Caller<'_, Linux>| {
        let linux = caller.data();
        linux.kernel.lock().take_signal(linux.pid).unwrap_or(0)
    })?;
    linker.func_wrap(MODULE, "borrow", |mut caller: Caller<'_, Linux>| -> wasmtime::Result<i32> {
        let linux = caller.data_mut();
        let made = linux.kernel.lock().fork(linux.pid);
        answer(made.map(|child| {
            let lender = std::mem::replace(&mut linux.pid, child);
            linux.lenders.push(lender);
            child.0
        }))
    })?;
    linker.func_wrap(
        MODULE,
        "fork",
        |mut caller: Caller<'_, Linux>, entry: u32, argument: u32| -> wasmtime::Result<i32> {
            let copied = run::fork(&mut caller, entry, argument);
            answer(copied.map(|child| child.0))
        },
    )?;
    Ok(())
}

/// What a program is told: a number, or a negative error.
fn answer(outcome: Result<u32, Fault>) -> wasmtime::Result<i32> {
    match outcome {
        Ok(value) => Ok(value.cast_signed()),
        Err(Fault::Errno(errno)) => Ok(-errno.0),
        Err(fault) => Err(ended(fault)),
    }
}

/// What ends the call. Nothing waits where this is asked.
fn ended(fault: Fault) -> wasmtime::Error {
    match fault {
        Fault::End(error) => error,
        Fault::Errno(errno) => wasmtime::Error::msg(format!("error {} where there can be none", errno.0)),
        Fault::Wait => wasmtime::Error::msg("a wait where there can be none"),
    }
}

async fn system_call(mut caller: Caller<'_, Linux>, number: u32, arguments: [u32; 6]) -> wasmtime::Result<i32> {
    match number {
        abi::SYS_EXECVE => return processes::exec(&mut caller, arguments),
        abi::SYS_EXIT | abi::SYS_EXIT_GROUP => return processes::exit(&mut caller, arguments[0]),
        abi::SYS_REST => return session::rest(&mut caller, arguments),
        _ => {}
    }
    caller.data_mut().deadline = None;
    loop {
        let (memory, linux) = split(&mut caller)?;
        let (outcome, waits_until, is_interrupted) = {
            let mut state = linux.kernel.lock();
            state.ring(linux.pid);
            state.heed(linux.pid);
            let alarm = state.process(linux.pid).ok().and_then(|process| process.alarm).map(|(time, _)| time);
            let guest = Guest::new(memory);
            let mut call = Call { guest, state, pid: linux.pid, deadline: &mut linux.deadline, arguments };
            let outcome = table::dispatch(&mut call, number);
            if call.state.ended(call.pid).is_some() && linux.lenders.is_empty() {
                return Err(wasmtime::Error::new(Left::Killed));
            }
            let process = call.state.process(call.pid).ok();
            let interrupted = process.is_some_and(|process| process.is_interrupted(abi::restarts(number)));
            if process.is_some_and(|process| process.deliverable().is_some()) {
                // The library looks there when the call comes back.
                drop(call.guest.put_u32(linux.signal_flag, 1));
            }
            let until = call.deadline.iter().copied().chain(alarm).min();
            (outcome, until, interrupted)
        };
        match outcome {
            Err(Fault::Wait) if is_interrupted => {
                return Ok(-Errno::EINTR.0);
            }
            Err(Fault::Wait) => {
                let kernel = linux.kernel.clone();
                let now = kernel.lock().clock.monotonic();
                kernel.next_change(waits_until.map(|until| until.saturating_sub(now))).await;
            }
            outcome => {
                let kernel = linux.kernel.clone();
                kernel.charge().await;
                return answer(outcome);
            }
        }
    }
}

/// Programs handle a signal when they next come to the host; this is how they say what they will do about one.
const fn disposition(number: u32) -> Disposition {
    match number {
        1 => Disposition::Ignore,
        2 => Disposition::Handle,
        _ => Disposition::Default,
    }
}
