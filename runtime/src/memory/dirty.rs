//! Which pages of a memory were written, as the kernel knows it.
//!
//! A page that was written since its image was mapped is the process's own: present or swapped out, of no file, and not the
//! kernel's page of zeros. [`pages`] finds those: by ranges (`scan.rs`, Linux 6.7), or from the table of all pages (`table.rs`).
//! That costs what was written since the beginning. An instance that has written much is *watched* (`watch.rs`): then its pages are
//! protected, the kernel marks those that are written, and asking costs what was written since it was asked last.

mod scan;
mod table;
mod watch;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use self::watch::Watch;
use super::PAGE_BYTES;

/// Pages that an instance has written, from which watching it pays: each page of a call costs a fault then, but the kernel looks at no
/// page to tell which they were, and those that a call did not write need not be compared.
const WATCH_FROM_PAGES: usize = 128;
/// To ask about a watched memory costs something for each of its pages; so many cost what looking at one written page costs.
const PAGES_PER_WRITTEN: usize = 64;

/// Returns the pages of a memory that were written since its image was mapped, as ranges of their numbers, in order.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn pages(memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
    static IS_OLD: AtomicBool = AtomicBool::new(false);
    if !IS_OLD.load(Ordering::Relaxed) {
        match scan::own(memory) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTTY.raw_os_error()) => {
                IS_OLD.store(true, Ordering::Relaxed);
            }
            found => return found,
        }
    }
    table::own(memory)
}

/// Says whether this kernel can watch memory.
#[cfg(test)]
pub(super) fn can_watch() -> bool {
    watch::is_there()
}

/// How the kernel is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// As it pays, of what the kernel can.
    #[default]
    Best,
    /// By ranges, never watching.
    #[cfg(test)]
    Scan,
    /// From the table of all pages, as kernels have to that can do nothing else.
    #[cfg(test)]
    Table,
    /// Watching from the first time on.
    #[cfg(test)]
    Watch,
}

/// All of them.
#[cfg(test)]
pub(super) const WAYS: [Way; 4] = [Way::Best, Way::Scan, Way::Table, Way::Watch];

/// What is known of an instance's writes from call to call.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    way: Way,
    watch: Option<Watch>,
    /// The pages that it had written, all in all, when that was asked last.
    written: usize,
}

impl Tracking {
    #[cfg(test)]
    pub(super) fn new(way: Way) -> Self {
        Self { way, ..Self::default() }
    }

    /// Returns the pages that were written since this was asked last, or since the image was mapped; some may be told that were not.
    /// From now on they count as not written where the memory is watched.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn written(&mut self, memory: &[u8]) -> io::Result<Vec<Range<usize>>> {
        if let Some(watch) = &mut self.watch {
            let found = watch.written(memory)?;
            self.written += found.iter().map(Range::len).sum::<usize>();
            return Ok(found);
        }
        let found = match self.way {
            #[cfg(test)]
            Way::Table => table::own(memory)?,
            _ => pages(memory)?,
        };
        self.written = found.iter().map(Range::len).sum();
        let pays = match self.way {
            Way::Best => self.written > WATCH_FROM_PAGES.max(memory.len() / PAGE_BYTES / PAGES_PER_WRITTEN),
            #[cfg(test)]
            way => way == Way::Watch,
        };
        if pays {
            self.watch = Watch::new(memory);
        }
        Ok(found)
    }

    /// Returns how many pages it may have of its own.
    pub(crate) fn own_pages(&self, memory_bytes: usize) -> usize {
        self.written.min(memory_bytes / PAGE_BYTES)
    }
}

/// Adds a range of pages to others that come before it.
fn push(found: &mut Vec<Range<usize>>, range: Range<usize>) {
    match found.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => found.push(range),
    }
}
