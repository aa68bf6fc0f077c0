//! What the programs of one call share: files, open files, pipes, processes and their signals.
//!
//! A process is a guest with a number, descriptors and a working directory; all processes of a call run in turns on the call's
//! own thread (`schedule.rs`), over one transaction. Nothing here knows wasm: the two interfaces that guests see, `wasi/` and
//! `linux/`, are thin layers over it. What has to wait (a pipe, a child) waits in [`Kernel::wait`].

mod descriptor;
mod errno;
mod exec;
mod open_file;
mod process;
mod rest;
mod schedule;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;

pub(crate) use self::descriptor::{Descriptors, FdFlags};
pub(crate) use self::errno::{Errno, Fault};
pub(crate) use self::exec::{Exec, Programs};
pub(crate) use self::open_file::{FileKind, OpenFileId, Whence, status};
use self::open_file::{OpenFiles, Target};
pub(crate) use self::process::{Disposition, Pid, Process, Processes, Status, WaitFor, signal};
pub(crate) use self::rest::ProcessRest;
pub(crate) use self::schedule::{End, Ended, FirstEnd, Launch, Program, SLICE_FUEL, Started, pass, run};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::limits::{Limit, LimitExceeded};
use crate::vfs::Vfs;
use crate::wasi::{Output, Stream};

/// The first process of a call.
pub(crate) const FIRST: Pid = Pid(1);
/// Processes alive at once: a program that starts others without end is told so.
const PROCESSES_MAX: usize = 128;

/// What the programs of a call share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Kernel {
    state: Arc<Mutex<State>>,
}

/// What is behind the lock; nobody holds it while waiting.
pub(crate) struct State {
    pub(crate) vfs: Vfs,
    pub(crate) open_files: OpenFiles,
    pub(crate) processes: Processes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Processes that are to be started.
    launches: Vec<Launch>,
    stdin: Bytes,
    output: Arc<dyn Output>,
    output_bytes: u64,
    limits: Limits,
    /// What can be started.
    programs: Arc<dyn Programs>,
    /// Linear memory of all processes.
    memory_bytes: u64,
    memory_peak_bytes: u64,
    /// Who waits for something to change.
    sleepers: Vec<Waker>,
    /// Whether the process that was polled last waits for something, or has paid for its turn.
    slept: bool,
}

/// What all processes of a call may use together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) output_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) open_files: u32,
}

/// What a call's first process is started with.
pub(crate) struct Surroundings {
    pub(crate) stdin: Bytes,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Limits,
    pub(crate) programs: Arc<dyn Programs>,
}

impl Kernel {
    /// Returns the kernel of a call, with its first process: standard input, output and error are open in it.
    pub(crate) fn new(vfs: Vfs, surroundings: Surroundings) -> Self {
        let Surroundings { stdin, output, clock, entropy, limits, programs } = surroundings;
        let root = vfs.root();
        let mut state = State {
            vfs,
            open_files: OpenFiles::default(),
            processes: Processes::default(),
            clock,
            entropy,
            launches: Vec::new(),
            stdin,
            output,
            output_bytes: 0,
            limits,
            programs,
            memory_bytes: 0,
            memory_peak_bytes: 0,
            sleepers: Vec::new(),
            slept: false,
        };
        let mut descriptors = Descriptors::new(limits.open_files);
        // Programs that search what is piped into them, or else the directory, ask what their standard input is.
        let nothing = state.stdin.is_empty().then(|| state.vfs.resolve_from(root, b"/dev/null", true).ok());
        let nothing =
            nothing.flatten().and_then(|found| found.found().ok()).filter(|node| state.vfs.retain(*node).is_ok());
        let stdin = nothing.map_or(Target::Stdin { position: 0 }, |node| Target::Node { node, offset: 0 });
        let targets = [
            (stdin, status::READ),
            (Target::Output(Stream::Stdout), status::WRITE),
            (Target::Output(Stream::Stderr), status::WRITE),
        ];
        for (number, (target, flags)) in (0..).zip(targets) {
            let id = state.open_files.insert_standard(number, target, flags);
            // Three are never too many.
            drop(descriptors.insert(id, FdFlags::default(), 0));
        }
        state.processes.add_first(descriptors, root);
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries again whenever something has changed, until there is an answer.
    pub(crate) async fn wait<T>(&self, mut attempt: impl FnMut(&mut State) -> Option<T>) -> T {
        poll_fn(|context| {
            let mut state = self.lock();
            if let Some(answer) = attempt(&mut state) {
                return Poll::Ready(answer);
            }
            state.sleepers.push(context.waker().clone());
            state.slept = true;
            Poll::Pending
        })
        .await
    }

    /// Waits until something has changed, or until `time` is over. There is no change between the attempt before and this:
    /// the processes of a call run on one thread.
    pub(crate) async fn next_change(&self, time: Option<std::time::Duration>) {
        let mut is_first = true;
        let changed = self.wait(|_| (!std::mem::take(&mut is_first)).then_some(()));
        match time {
            None => changed.await,
            Some(time) => {
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep(time) => {}
                }
            }
        }
    }

    /// Returns a kernel that goes its own way from here, with everything as it is; nothing runs in it.
    pub(crate) fn savepoint(&self) -> Self {
        let state = self.lock();
        let copy = State {
            vfs: state.vfs.clone(),
            open_files: state.open_files.clone(),
            processes: state.processes.clone(),
            clock: Arc::clone(&state.clock),
            entropy: Arc::clone(&state.entropy),
            launches: Vec::new(),
            stdin: state.stdin.clone(),
            output: Arc::clone(&state.output),
            output_bytes: state.output_bytes,
            limits: state.limits,
            programs: Arc::clone(&state.programs),
            memory_bytes: state.memory_bytes,
            memory_peak_bytes: state.memory_peak_bytes,
            sleepers: Vec::new(),
            slept: false,
        };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    /// Returns the files when all programs have ended.
    ///
    /// # Errors
    /// Somebody else still has the kernel.
    pub(crate) fn into_vfs(self) -> Result<Vfs, Self> {
        match Arc::try_unwrap(self.state) {
            Ok(state) => Ok(state.into_inner().unwrap_or_else(PoisonError::into_inner).vfs),
            Err(state) => Err(Self { state }),
        }
    }
}

impl State {
    /// Something has changed that somebody may wait for.
    pub(crate) fn changed(&mut self) {
        self.sleepers.drain(..).for_each(Waker::wake);
    }

    /// Passes output on as far as its limit allows; past it the call ends.
    fn print(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, Fault> {
        let room = usize::try_from(self.limits.output_bytes - self.output_bytes).unwrap_or(usize::MAX);
        let taken = bytes.len().min(room);
        self.output.write(stream, &bytes[..taken]);
        self.output_bytes += taken as u64;
        if taken < bytes.len() {
            return Err(Fault::limit(Limit::Output, self.limits.output_bytes));
        }
        Ok(taken)
    }

    /// Counts linear memory that a process wants to have; all processes share the limit.
    pub(crate) fn grow(&mut self, pid: Pid, bytes: u64) -> Result<(), LimitExceeded> {
        let wanted = self.memory_bytes.saturating_add(bytes);
        if wanted > self.limits.memory_bytes {
            return Err(LimitExceeded { limit: Limit::Memory, allowed: self.limits.memory_bytes });
        }
        if let Some(process) = self.processes.get_mut(pid) {
            process.memory_bytes += bytes;
            self.memory_bytes = wanted;
            self.memory_peak_bytes = self.memory_peak_bytes.max(wanted);
        }
        Ok(())
    }

    /// The instance of a process is gone, and its memory with it.
    fn shrink(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(pid) {
            self.memory_bytes = self.memory_bytes.saturating_sub(std::mem::take(&mut process.memory_bytes));
        }
    }

    /// Returns how much linear memory there may be, and how much there is.
    pub(crate) const fn memory(&self) -> (u64, u64) {
        (self.limits.memory_bytes, self.memory_bytes)
    }

    pub(crate) const fn open_files_max(&self) -> u32 {
        self.limits.open_files
    }

    pub(crate) const fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    pub(crate) const fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes
    }

    pub(crate) fn process(&self, pid: Pid) -> Result<&Process, Fault> {
        self.processes.get(pid).ok_or_else(|| Errno::ESRCH.into())
    }

    pub(crate) fn process_mut(&mut self, pid: Pid) -> Result<&mut Process, Fault> {
        self.processes.get_mut(pid).ok_or_else(|| Errno::ESRCH.into())
    }

    /// Returns what a descriptor of a process stands for.
    pub(crate) fn open_file(&self, pid: Pid, fd: u32) -> Result<OpenFileId, Fault> {
        Ok(self.process(pid)?.descriptors.get(fd)?.0)
    }

    /// Starts a process as soon as its parent pauses.
    pub(crate) fn launch(&mut self, launch: Launch) {
        self.launches.push(launch);
        self.changed();
    }
}
