//! `PAGEMAP_SCAN` (Linux 6.7): the kernel gives ranges of pages that are as one asks for.

#![expect(unsafe_code, reason = "a system call that has no safe wrapper")]

use std::ffi::c_void;
use std::io;
use std::ops::Range;

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};

use super::table::table;
use super::{PAGE_BYTES, push};

/// Ranges that one system call gives: with more the kernel may report one twice.
const RANGES_AT_ONCE: usize = 512;

const IS_WRITTEN: u64 = 1 << 1;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO_PAGE: u64 = 1 << 5;

/// Protects what is found, so that it counts as not written.
const PROTECT: u64 = 1 << 0;
/// Fails where memory is not watched.
const ONLY_WATCHED: u64 = 1 << 1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of the kernel.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

// SAFETY: the opcode is `PAGEMAP_SCAN`, whose argument is this structure; the kernel writes into it and into the regions it
// points to, of which there are as many as it says.
unsafe impl Ioctl for &mut Scan {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        ioctl::opcode::read_write::<Scan>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut::<Scan>(self).cast()
    }

    unsafe fn output_from_ptr(found: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        Ok(usize::try_from(found).unwrap_or(0))
    }
}

/// Returns the pages that are the process's own: written since its image was mapped.
pub(super) fn own(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
    let asked = Scan {
        category_inverted: IS_FILE | IS_ZERO_PAGE,
        category_mask: IS_FILE | IS_ZERO_PAGE,
        category_anyof_mask: IS_PRESENT | IS_SWAPPED,
        return_mask: IS_FILE,
        ..Scan::default()
    };
    scan(memory, &asked)
}

/// Returns the pages of a watched memory that were written, and protects them again.
pub(super) fn marked(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
    let flags = PROTECT | ONLY_WATCHED;
    let asked = Scan { flags, category_mask: IS_WRITTEN, return_mask: IS_WRITTEN, ..Scan::default() };
    scan(memory, &asked)
}

fn scan(memory: &[u8], asked: &Scan) -> io::Result<Vec<Range<usize>>> {
    let table = table()?;
    let base = memory.as_ptr().addr() as u64;
    let end = base + memory.len() as u64;
    let mut regions = [Region::default(); RANGES_AT_ONCE];
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = base;
    while start < end {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            start,
            end,
            regions: regions.as_mut_ptr().addr() as u64,
            regions_len: RANGES_AT_ONCE as u64,
            walk_end: 0,
            max_pages: 0,
            ..*asked
        };
        // SAFETY: see the implementation of `Ioctl`; the regions outlive the call. It reads and changes no memory of a guest.
        let count = unsafe { ioctl::ioctl(table, &mut scan)? };
        for region in &regions[..count.min(RANGES_AT_ONCE)] {
            let number = |at: u64| usize::try_from((at - base) / PAGE_BYTES as u64).unwrap_or(usize::MAX);
            push(&mut found, number(region.start)..number(region.end));
        }
        if scan.walk_end <= start {
            break;
        }
        start = scan.walk_end;
    }
    Ok(found)
}
