//! Memories that programs have left, cleaned and ready for the next program that begins with the same image.
//!
//! The pages that programs write of an image are mostly the same ones. In such a memory they are there already: writing them faults no more,
//! and no other processor has to forget what it knew of them. That is half of what a short call costs, and more beside calls
//! that keep the other processors busy.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Image;
use super::mapping::Mapped;

/// Memories that an image keeps.
const SPARES_MAX: usize = 4;
/// Pages that a memory may have of its own to be kept: cleaning costs a copy of each, and they take memory while nobody uses them.
const PAGES_MAX: usize = 512;

/// The memories of one image that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spares {
    free: Mutex<Vec<Mapped>>,
}

impl Spares {
    /// Returns a memory that is the image, with so much room and so large a guard.
    pub(super) fn take(&self, capacity_bytes: usize, guard_bytes: usize) -> Option<Mapped> {
        let mut free = self.free();
        let at = free.iter().rposition(|memory| memory.is_like(capacity_bytes, guard_bytes))?;
        Some(free.swap_remove(at))
    }

    /// Takes a memory that began as the image, and keeps it if that pays.
    pub(super) fn give(&self, mut memory: Mapped, image: &Image) {
        if self.free().len() >= SPARES_MAX || !memory.reset(image, PAGES_MAX).unwrap_or(false) {
            return;
        }
        let mut free = self.free();
        if free.len() < SPARES_MAX {
            free.push(memory);
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Mapped>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
