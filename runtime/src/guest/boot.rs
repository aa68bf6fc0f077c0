//! Making the image that a guest's programs begin with: it runs once, in a world of its own with nothing in it but its library.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sandglass_snapshots::{Durability, Quota, Store, StoreOptions};

use super::GuestError;
use super::entrance::literal;
use super::reactor::WasiGuest;
use crate::clock::SystemClock;
use crate::entropy::SeededEntropy;
use crate::kernel::{self, Errno, Exec, FIRST, Fault, Kernel, Programs, Started, Surroundings};
use crate::linux::LinuxGuest;
use crate::memory::Image;
use crate::vfs::{Mount, Vfs};
use crate::wasi::{Output, Stream};

/// What making an image may use: many times what it takes.
const FUEL: u64 = 50_000_000_000;
const MEMORY_BYTES: u64 = 1 << 30;
const OUTPUT_BYTES: u64 = 64 << 10;
const OPEN_FILES: u32 = 64;

/// Runs what is given as its first argument as a module of its own, which nothing of the command line clears away.
const WRAPPER: &str = "\
import sys, types
sys.modules['_sandglass'] = types.ModuleType('_sandglass')
exec(compile(sys.argv[1], '_sandglass.py', 'exec'), sys.modules['_sandglass'].__dict__)
";

/// Runs the Python program `script` in a guest and returns the memory that it leaves.
///
/// # Errors
/// The program fails, or the host's files or engine do.
pub(super) fn image(guest: &WasiGuest, script: &str, mounts: Vec<Mount>) -> Result<Arc<Image>, GuestError> {
    let args = ["python3", "-c", WRAPPER, script].map(|word| word.as_bytes().to_vec()).into();
    let exec = Exec { args, env: vec![b"PWD=/".to_vec(), b"HOME=/".to_vec()] };
    let source = format!("import sys\nsys.argv = ['-c', {}.decode()]\n{WRAPPER}", literal(script.as_bytes()));
    in_nothing(mounts, |started| guest.image_after(exec, source, started))
}

/// Runs a program of a Linux guest until it rests, and returns the guest whose programs begin there.
///
/// # Errors
/// The program ends, or the host's files or engine fail.
pub(super) fn rested(guest: &LinuxGuest, code: &[String]) -> Result<LinuxGuest, GuestError> {
    let args = code.iter().take(1).map(|word| word.clone().into_bytes()).collect();
    in_nothing(Vec::new(), |started| guest.rested(Exec { args, env: Vec::new() }, started))
}

/// Runs something in a world of its own with nothing in it but its mounts.
fn in_nothing<T, F: Future<Output = wasmtime::Result<T>>>(
    mounts: Vec<Mount>,
    run: impl FnOnce(Started) -> F,
) -> Result<T, GuestError> {
    let directory = tempfile::tempdir().map_err(GuestError::io("making an image"))?;
    let options = StoreOptions {
        durability: Durability::Process,
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    let failed = |message: String| GuestError::Files { message };
    let store = Store::open(directory.path(), options).map_err(|error| failed(error.to_string()))?;
    let clock = Arc::new(SystemClock::new());
    let transaction = store.begin_empty(Vec::new(), Quota { bytes: OUTPUT_BYTES, inodes: 16 });
    let vfs = Vfs::new(transaction, mounts, clock.clone()).map_err(|error| failed(error.to_string()))?;
    let printed = Arc::new(Printed::default());
    let limits = kernel::Limits { output_bytes: OUTPUT_BYTES, memory_bytes: MEMORY_BYTES, open_files: OPEN_FILES };
    let kernel = Kernel::new(
        vfs,
        Surroundings {
            stdin: Bytes::new(),
            output: printed.clone(),
            clock,
            // The same on every machine. Whoever begins with the image draws its randomness anew.
            entropy: Arc::new(SeededEntropy::new(0)),
            limits,
            programs: Arc::new(Nothing),
        },
    );
    let mut making = pin!(run(Started { kernel, pid: FIRST, fuel: FUEL }));
    // It waits for nothing: all that it does between two polls is to spend its fuel.
    let made = loop {
        if let Poll::Ready(made) = making.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break made;
        }
    };
    made.map_err(|error| GuestError::engine(&error.context(printed.text())))
}

/// A world in which there is nothing to start.
struct Nothing;

impl Programs for Nothing {
    fn program(&self, _name: &str, _exec: Exec) -> Result<kernel::Program, Fault> {
        Err(Errno::ENOENT.into())
    }
}

/// What was printed, for whoever has to find out why it failed.
#[derive(Default)]
struct Printed(Mutex<Vec<u8>>);

impl Output for Printed {
    fn write(&self, _stream: Stream, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }
}

impl Printed {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
