//! The linear memory of guests: where it begins, what a program has written since, and how a copy is made without copying.
//!
//! A guest's memory begins as an [`Image`], a sealed file in memory that every instance maps privately: making an instance costs
//! nothing per megabyte, and what it writes is its own. [`dirty::pages`] asks the kernel which pages that were, so that
//! copying a running program costs what it has written (about 2 us a page), never what it has.
//!
//! `module.rs` rewrites modules so that their data is part of the image and of no instance; `mapping.rs` holds what the engine
//! needs to live in such memory.

pub(crate) mod dirty;
#[cfg(test)]
mod figures;
pub(crate) mod gauge;
mod image;
mod instance;
mod mapping;
pub(crate) mod module;
mod snapshot;
mod spares;
mod written;

pub(crate) use self::dirty::Tracking;
pub(crate) use self::image::Image;
pub(crate) use self::instance::{Live, WrittenMemory, globals, set_globals};
pub(crate) use self::mapping::{Memories, instantiate};
pub(crate) use self::snapshot::Snapshot;
pub(crate) use self::written::Written;

/// Bytes of what the kernel and the images count in.
pub(crate) const PAGE_BYTES: usize = 4096;
