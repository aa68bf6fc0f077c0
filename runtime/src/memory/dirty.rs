//! Which pages of a memory were written since its image was mapped, as the kernel knows it.
//!
//! A page that was written is the process's own: present or swapped out, of no file, and not the kernel's page of zeros. The
//! kernel gives ranges of them (`PAGEMAP_SCAN`, Linux 6.7); older ones have the table of all pages to read.

#![expect(unsafe_code, reason = "one system call that has no safe wrapper")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};

use super::PAGE_BYTES;

/// Ranges that one system call gives: with more the kernel may report one twice.
const RANGES_AT_ONCE: usize = 512;

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO_PAGE: u64 = 1 << 5;

/// Bits of an entry of the table.
const ENTRY_PRESENT: u64 = 1 << 63;
const ENTRY_SWAPPED: u64 = 1 << 62;
const ENTRY_FILE: u64 = 1 << 61;
const ENTRY_BYTES: usize = 8;
/// Entries that are read at once.
const ENTRIES_AT_ONCE: usize = 8192;

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

fn table() -> io::Result<&'static File> {
    static TABLE: OnceLock<File> = OnceLock::new();
    if let Some(table) = TABLE.get() {
        return Ok(table);
    }
    let opened = File::open("/proc/self/pagemap")?;
    Ok(TABLE.get_or_init(|| opened))
}

/// Returns the pages of a memory that were written, as ranges of their numbers, in order.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn pages(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
    static IS_OLD: OnceLock<()> = OnceLock::new();
    if IS_OLD.get().is_none() {
        match pages_by_scan(memory) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTTY.raw_os_error()) => {
                IS_OLD.get_or_init(|| ());
            }
            found => return found,
        }
    }
    pages_by_table(memory)
}

fn pages_by_scan(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
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
            category_inverted: IS_FILE | IS_ZERO_PAGE,
            category_mask: IS_FILE | IS_ZERO_PAGE,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_FILE,
            ..Scan::default()
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

/// The same from the table of all pages: eight bytes a page are read, whatever was written.
pub(crate) fn pages_by_table(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
    let table = table()?;
    let first = memory.as_ptr().addr() / PAGE_BYTES;
    let count = memory.len() / PAGE_BYTES;
    let mut entries = vec![0; ENTRIES_AT_ONCE.min(count) * ENTRY_BYTES];
    let mut found = Vec::new();
    let mut done = 0;
    while done < count {
        let now = (count - done).min(ENTRIES_AT_ONCE);
        let buffer = &mut entries[..now * ENTRY_BYTES];
        table.read_exact_at(buffer, ((first + done) * ENTRY_BYTES) as u64)?;
        for (number, entry) in (done..).zip(buffer.as_chunks::<ENTRY_BYTES>().0) {
            let entry = u64::from_ne_bytes(*entry);
            if entry & (ENTRY_PRESENT | ENTRY_SWAPPED) != 0 && entry & ENTRY_FILE == 0 {
                push(&mut found, number..number + 1);
            }
        }
        done += now;
    }
    Ok(found)
}

fn push(found: &mut Vec<Range<usize>>, range: Range<usize>) {
    match found.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => found.push(range),
    }
}
