//! What a program has written over its image: all that a copy of its memory needs.

use std::io;
use std::ops::Range;

use super::{PAGE_BYTES, dirty};

/// The pages of a memory that are not its image's, with their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    memory_bytes: usize,
    pages: Vec<Range<usize>>,
    content: Vec<u8>,
}

impl Written {
    /// Takes what was written; pages that end before `from` are nobody's any more and count as the image's.
    ///
    /// # Errors
    /// The kernel does not say what was written.
    pub(crate) fn of(memory: &[u8], from: usize) -> io::Result<Self> {
        let first = from / PAGE_BYTES;
        let mut pages = dirty::pages(memory)?;
        pages.retain_mut(|range| {
            range.start = range.start.max(first);
            range.start < range.end
        });
        let mut content = Vec::with_capacity(pages.iter().map(|range| range.len() * PAGE_BYTES).sum());
        for range in &pages {
            content.extend_from_slice(&memory[range.start * PAGE_BYTES..range.end * PAGE_BYTES]);
        }
        Ok(Self { memory_bytes: memory.len(), pages, content })
    }

    /// Returns how large the memory was, in bytes.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Makes a memory that begins with the same image, and is as large, the same.
    pub(crate) fn put(&self, memory: &mut [u8]) {
        let mut content = &self.content[..];
        for range in &self.pages {
            let (here, rest) = content.split_at(range.len() * PAGE_BYTES);
            if let Some(to) = memory.get_mut(range.start * PAGE_BYTES..range.end * PAGE_BYTES) {
                to.copy_from_slice(here);
            }
            content = rest;
        }
    }
}
