//! The published conformance suite, and WASI's functions against a model.

mod conformance;
mod model;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sandglass_snapshots::{Durability, Quota, Store, StoreOptions};

use super::{Output, Stream, Wasi, WasiOptions};
use crate::clock::SystemClock;
use crate::entropy::SeededEntropy;
use crate::kernel::{self, Errno, Exec, Fault, Kernel, Limits, Program, Programs, Surroundings};
use crate::vfs::Vfs;

/// Collects what is printed.
#[derive(Default)]
struct Printed {
    streams: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl Output for Printed {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut streams = self.streams.lock().unwrap();
        match stream {
            Stream::Stdout => streams.0.extend_from_slice(bytes),
            Stream::Stderr => streams.1.extend_from_slice(bytes),
        }
    }
}

/// A store in a directory of its own.
fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Process, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    (directory, store)
}

fn vfs(store: &Store) -> Vfs {
    let quota = Quota { bytes: 1 << 40, inodes: 1_000_000 };
    Vfs::new(store.begin_empty(Vec::new(), quota), Vec::new(), Arc::new(SystemClock::new())).unwrap()
}

/// Programs of these tests start no others.
struct NoPrograms;

impl Programs for NoPrograms {
    fn program(&self, _name: &str, _exec: Exec) -> Result<Program, Fault> {
        Err(Errno::ENOENT.into())
    }
}

/// Returns the host's side of a guest over a file system of its own.
fn wasi(vfs: Vfs, output: &Arc<Printed>, options: WasiOptions) -> Wasi {
    let surroundings = Surroundings {
        stdin: Bytes::new(),
        output: Arc::clone(output) as Arc<dyn Output>,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::new(1)),
        limits: Limits { output_bytes: 1 << 20, memory_bytes: 1 << 30, open_files: options.open_files_max },
        programs: Arc::new(NoPrograms),
    };
    Wasi::new(Kernel::new(vfs, surroundings), kernel::FIRST, options).unwrap()
}

fn options() -> WasiOptions {
    WasiOptions { args: Vec::new(), env: Vec::new(), preopens: Vec::new(), open_files_max: 256 }
}
