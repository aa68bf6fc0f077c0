//! The published conformance suite, and WASI's functions against a model.

mod conformance;
mod model;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sandglass_snapshots::{Durability, Quota, Store, StoreOptions};

use super::{Output, Stream, WasiOptions};
use crate::clock::SystemClock;
use crate::entropy::SeededEntropy;
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

fn options(output: &Arc<Printed>) -> WasiOptions {
    WasiOptions {
        args: Vec::new(),
        env: Vec::new(),
        stdin: Bytes::new(),
        preopens: Vec::new(),
        output: Arc::clone(output) as Arc<dyn Output>,
        output_bytes_max: 1 << 20,
        open_files_max: 256,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::new(1)),
    }
}
