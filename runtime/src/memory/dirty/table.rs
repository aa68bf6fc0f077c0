//! Written pages from the table of all pages, which every Linux has: eight bytes a page are read, whatever was written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use super::{PAGE_BYTES, push};

/// Bits of an entry of the table.
const ENTRY_PRESENT: u64 = 1 << 63;
const ENTRY_SWAPPED: u64 = 1 << 62;
const ENTRY_FILE: u64 = 1 << 61;
const ENTRY_BYTES: usize = 8;
/// Entries that are read at once.
const ENTRIES_AT_ONCE: usize = 8192;

/// Returns the table of this process's pages.
pub(super) fn table() -> io::Result<&'static File> {
    static TABLE: OnceLock<File> = OnceLock::new();
    if let Some(table) = TABLE.get() {
        return Ok(table);
    }
    let opened = File::open("/proc/self/pagemap")?;
    Ok(TABLE.get_or_init(|| opened))
}

/// Returns the pages that are the process's own. Pages of zeros that were only read may be among them.
pub(super) fn own(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
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
