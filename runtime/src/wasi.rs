//! WASI preview 1 over a sandbox's file system: everything that a guest can ask of the host.
//!
//! `preview1.rs` is the interface as published, each function one line; what they do is here by family: `descriptor.rs`,
//! `file.rs` (descriptors of files), `path.rs` (names), `poll.rs` (waiting), `process.rs` (arguments, clocks, the rest) and
//! `requests.rs` (starting programs, which WASI has no function for).
//!
//! Three kinds of failure stay apart: an errno is the guest's business; a limit ends the call; a fault of the store ends the
//! call too and is never shown to the guest.

mod descriptor;
mod errno;
mod file;
mod path;
mod poll;
mod preview1;
mod process;
mod requests;
mod rest;
#[cfg(test)]
mod tests;

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use sandglass_snapshots::FsError;

use self::descriptor::{Descriptors, Opened};
pub(crate) use self::preview1::add_to_linker;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::kernel::{Kernel, Pid, State};
use crate::vfs::Vfs;

/// Where a guest prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes what a guest prints, on the guest's thread.
pub trait Output: Send + Sync {
    /// Takes the next bytes of a stream.
    fn write(&self, stream: Stream, bytes: &[u8]);
}

/// What a guest is started with.
pub(crate) struct WasiOptions {
    /// Its arguments, the program's name first.
    pub(crate) args: Vec<Vec<u8>>,
    /// Its environment, as `NAME=value`.
    pub(crate) env: Vec<Vec<u8>>,
    /// Directories that are open from the start, as descriptors 3 and on.
    pub(crate) preopens: Vec<Vec<u8>>,
    /// How many descriptors it may have open.
    pub(crate) open_files_max: u32,
}

/// The host's side of one guest: a process of a call's kernel, with descriptors as WASI has them.
pub(crate) struct Wasi {
    kernel: Kernel,
    pid: Pid,
    descriptors: Descriptors,
    args: Arc<Vec<Vec<u8>>>,
    env: Arc<Vec<Vec<u8>>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What the call in progress may still copy, in bytes.
    hostcall_fuel: usize,
    /// What was asked at `/dev/processes` and is to be read there.
    answer: Vec<u8>,
    /// How far a session's clock is ahead of the host's, so that it never goes back.
    clock_ahead: Duration,
    /// What a session's program told of itself.
    told: Told,
}

/// What the program of a session tells before it rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The value of its last expression, in words.
    pub(crate) result: Option<String>,
    /// It wants to end, with this status.
    pub(crate) exit: Option<i32>,
}

/// A clone is a savepoint of files and descriptors.
impl Clone for Wasi {
    fn clone(&self) -> Self {
        Self {
            kernel: self.kernel.savepoint(),
            pid: self.pid,
            descriptors: self.descriptors.clone(),
            args: Arc::clone(&self.args),
            env: Arc::clone(&self.env),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            hostcall_fuel: self.hostcall_fuel,
            answer: self.answer.clone(),
            clock_ahead: self.clock_ahead,
            told: self.told.clone(),
        }
    }
}

/// The file system, for one operation.
pub(super) struct Files<'a>(MutexGuard<'a, State>);

impl Deref for Files<'_> {
    type Target = Vfs;

    fn deref(&self) -> &Vfs {
        &self.0.vfs
    }
}

impl DerefMut for Files<'_> {
    fn deref_mut(&mut self) -> &mut Vfs {
        &mut self.0.vfs
    }
}

impl Wasi {
    /// Returns the host's side for a process that is about to run a guest.
    ///
    /// # Errors
    /// A preopen is not a directory of the file system.
    pub(crate) fn new(kernel: Kernel, pid: Pid, options: WasiOptions) -> Result<Self, FsError> {
        let (clock, entropy, inherited) = {
            let state = kernel.lock();
            let inherited: Vec<u32> = state.processes.get(pid).map_or_else(Vec::new, |process| {
                process.descriptors.iter().map(|(fd, ..)| fd).filter(|fd| *fd < 3).collect()
            });
            (Arc::clone(&state.clock), Arc::clone(&state.entropy), inherited)
        };
        let mut wasi = Self {
            kernel,
            pid,
            descriptors: Descriptors::new(&inherited, options.open_files_max),
            args: Arc::new(options.args),
            env: Arc::new(options.env),
            clock,
            entropy,
            hostcall_fuel: usize::MAX,
            answer: Vec::new(),
            clock_ahead: Duration::ZERO,
            told: Told::default(),
        };
        for path in &options.preopens {
            wasi.open_from_start(path, path)?;
        }
        Ok(wasi)
    }

    /// Opens one more directory for a guest that has not started, which knows it as `name`. No directory need have that
    /// name: a guest may look for files below what is a file.
    ///
    /// # Errors
    /// `path` is not a directory of the file system.
    pub(crate) fn open_from_start(&mut self, path: &[u8], name: &[u8]) -> Result<(), FsError> {
        let node = {
            let mut vfs = self.vfs();
            let root = vfs.root();
            let node = vfs.resolve_from(root, if path.is_empty() { b"/" } else { path }, true)?.found()?;
            vfs.retain(node)?;
            node
        };
        self.descriptors.preopen(Opened::preopen(node, Bytes::copy_from_slice(name)));
        Ok(())
    }

    /// Returns the file system; nobody else uses it meanwhile.
    fn vfs(&self) -> Files<'_> {
        Files(self.kernel.lock())
    }

    /// Returns the time since some fixed moment, as the guest sees it.
    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + self.clock_ahead
    }

    /// Takes what the program told of itself.
    pub(crate) fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// Closes what a guest that has ended left open, and lets go of the kernel.
    pub(crate) fn finish(mut self) -> Kernel {
        let left: Vec<Opened> = self.descriptors.drain().collect();
        {
            let mut vfs = self.vfs();
            left.into_iter().for_each(|opened| vfs.release(opened.node));
        }
        self.kernel
    }
}
