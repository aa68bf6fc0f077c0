//! How much memory images and snapshots hold in this process: what the budget of sessions is measured by.

use std::sync::atomic::{AtomicUsize, Ordering};

use sandglass_snapshots::Page;

use super::PAGE_BYTES;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static IMAGES: AtomicUsize = AtomicUsize::new(0);

/// Counts an image for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    bytes: usize,
}

impl Counted {
    /// Counts an image that takes so many bytes of memory.
    pub(super) fn new(bytes: usize) -> Self {
        IMAGES.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        IMAGES.fetch_sub(1, Ordering::Relaxed);
        BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A page that a snapshot keeps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptPage(Page);

impl KeptPage {
    pub(super) fn new(page: &Page) -> Self {
        BYTES.fetch_add(PAGE_BYTES, Ordering::Relaxed);
        Self(*page)
    }

    pub(super) const fn bytes(&self) -> &Page {
        &self.0
    }
}

impl Drop for KeptPage {
    fn drop(&mut self) {
        BYTES.fetch_sub(PAGE_BYTES, Ordering::Relaxed);
    }
}

/// Returns the bytes that all images and kept pages take together.
pub(crate) fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// Returns how many images there are: each has a descriptor.
pub(crate) fn images() -> usize {
    IMAGES.load(Ordering::Relaxed)
}
