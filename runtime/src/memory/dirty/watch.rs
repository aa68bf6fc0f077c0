//! Watching a memory: the kernel protects its pages and marks those that are written, without stopping anybody
//! (`userfaultfd` with asynchronous write protection, Linux 6.7).

#![expect(unsafe_code, reason = "system calls that have no safe wrappers")]

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use super::{PAGE_BYTES, scan};

const GROUP: u8 = 0xAA;
const VERSION: u64 = 0xAA;
/// What is asked of the kernel: protection for memory of files in memory, for pages that are not there yet, and no events.
const FEATURES: u64 = 1 << 0 | 1 << 12 | 1 << 13 | 1 << 15;
/// `UFFD_USER_MODE_ONLY`: needs no privilege.
const USER_MODE_ONLY: u32 = 1;
const REGISTER_PROTECT: u64 = 1 << 1;
const PROTECT: u64 = 1 << 0;

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    start: u64,
    length: u64,
    mode: u64,
}

/// One of the requests above, by its number.
struct Request<T>(u8, T);

// SAFETY: each number is used with the structure that the kernel has for it, which it may write into, and nothing else.
unsafe impl<T> Ioctl for &mut Request<T> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        ioctl::opcode::read_write::<T>(GROUP, self.0)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut::<T>(&mut self.1).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

const API: u8 = 0x3F;
const REGISTER: u8 = 0x00;
const WRITE_PROTECT: u8 = 0x06;

/// Returns the descriptor through which all memories of this process are watched, if this kernel can do that.
fn descriptor() -> Option<&'static OwnedFd> {
    static DESCRIPTOR: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let opened = DESCRIPTOR.get_or_init(|| {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
        let flags = flags | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: the descriptor alone changes nothing; what is registered with it is this module's.
        let opened = unsafe { userfaultfd(flags) }.ok()?;
        let mut api = Request(API, Api { version: VERSION, features: FEATURES, ioctls: 0 });
        // SAFETY: see the implementation of `Ioctl`.
        unsafe { ioctl::ioctl(&opened, &mut api) }.ok()?;
        Some(opened)
    });
    opened.as_ref()
}

#[cfg(test)]
pub(super) fn is_there() -> bool {
    descriptor().is_some()
}

/// A memory that is watched, for as long as it is mapped.
#[derive(Debug)]
pub(super) struct Watch {
    /// How much of it, in bytes.
    bytes: usize,
}

impl Watch {
    /// Begins to watch a memory, all of whose pages count as not written from now on. None where that can't be had.
    pub(super) fn new(memory: &[u8]) -> Option<Self> {
        protect(memory).ok()?;
        Some(Self { bytes: memory.len() })
    }

    /// Returns the pages that were written since this was asked last.
    pub(super) fn written(&mut self, memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
        let (watched, new) = memory.split_at(self.bytes.min(memory.len()));
        let mut found = scan::marked(watched)?;
        if !new.is_empty() {
            // It has grown since.
            let first = watched.len() / PAGE_BYTES;
            let own = super::pages(new)?;
            protect(new)?;
            own.into_iter().for_each(|range| super::push(&mut found, first + range.start..first + range.end));
            self.bytes = memory.len();
        }
        Ok(found)
    }
}

fn protect(memory: &[u8]) -> io::Result<()> {
    let descriptor = descriptor().ok_or(io::ErrorKind::Unsupported)?;
    let (start, length) = (memory.as_ptr().addr() as u64, memory.len() as u64);
    let mut register = Request(REGISTER, Register { start, length, mode: REGISTER_PROTECT, ioctls: 0 });
    // SAFETY: the kernel marks pages of this range when they are written; what they hold does not change, nobody waits for an
    // event (none is sent), and unmapping the memory ends it.
    unsafe { ioctl::ioctl(descriptor, &mut register)? };
    let mut protect = Request(WRITE_PROTECT, WriteProtect { start, length, mode: PROTECT });
    // SAFETY: as above.
    unsafe { ioctl::ioctl(descriptor, &mut protect)? };
    Ok(())
}
