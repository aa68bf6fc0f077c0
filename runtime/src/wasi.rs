//! WASI preview 1 over a sandbox's file system: everything that a guest can ask of the host.
//!
//! `preview1.rs` is the interface as published, each function one line; what they do is here by family: `descriptor.rs`,
//! `file.rs` (descriptors of files), `path.rs` (names), `poll.rs` (waiting) and `process.rs` (arguments, clocks, the rest).
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
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use sandglass_snapshots::FsError;

use self::descriptor::{Descriptors, Opened};
pub use self::preview1::add_to_linker;
use crate::clock::Clock;
use crate::entropy::Entropy;
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
pub struct WasiOptions {
    /// Its arguments, the program's name first.
    pub args: Vec<Vec<u8>>,
    /// Its environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its standard input.
    pub stdin: Bytes,
    /// Directories that are open from the start, as descriptors 3 and on.
    pub preopens: Vec<Vec<u8>>,
    /// Where it prints.
    pub output: Arc<dyn Output>,
    /// How much it may print.
    pub output_bytes_max: u64,
    /// How many descriptors it may have open.
    pub open_files_max: u32,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Its randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The host's side of one guest. A clone is a savepoint of files and descriptors.
#[derive(Clone)]
pub struct Wasi {
    vfs: Vfs,
    descriptors: Descriptors,
    args: Arc<Vec<Vec<u8>>>,
    env: Arc<Vec<Vec<u8>>>,
    stdin: Bytes,
    output: Arc<dyn Output>,
    output_bytes: u64,
    output_bytes_max: u64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What the call in progress may still copy, in bytes.
    hostcall_fuel: usize,
}

impl Wasi {
    /// Returns the host's side for a guest that is about to start.
    ///
    /// # Errors
    /// A preopen is not a directory of the file system.
    pub fn new(vfs: Vfs, options: WasiOptions) -> Result<Self, FsError> {
        let descriptors = Descriptors::new(options.open_files_max);
        let joined = |(name, value): (Vec<u8>, Vec<u8>)| [&name[..], b"=", &value].concat();
        let mut wasi = Self {
            vfs,
            descriptors,
            args: Arc::new(options.args),
            env: Arc::new(options.env.into_iter().map(joined).collect()),
            stdin: options.stdin,
            output: options.output,
            output_bytes: 0,
            output_bytes_max: options.output_bytes_max,
            clock: options.clock,
            entropy: options.entropy,
            hostcall_fuel: usize::MAX,
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
    pub fn open_from_start(&mut self, path: &[u8], name: &[u8]) -> Result<(), FsError> {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let relative = if relative.is_empty() { b"." } else { relative };
        let node = self.vfs.resolve(self.vfs.root(), relative, true)?.found()?;
        self.vfs.retain(node)?;
        self.descriptors.preopen(Opened::preopen(node, Bytes::copy_from_slice(name)));
        Ok(())
    }

    /// Returns the file system when the guest has ended; what it left open is closed.
    #[must_use]
    pub fn into_vfs(mut self) -> Vfs {
        for opened in self.descriptors.drain() {
            self.vfs.release(opened.node);
        }
        self.vfs
    }

    /// Returns how much the guest has printed, in bytes.
    #[must_use]
    pub const fn output_bytes(&self) -> u64 {
        self.output_bytes
    }
}
