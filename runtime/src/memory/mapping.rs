//! Memory that the engine's instances live in: reserved address space with an image mapped into it.

#![expect(unsafe_code, reason = "mapping memory that compiled code uses without checks")]

use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{SealFlags, fcntl_get_seals};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap};
use wasmtime::{Instance, InstancePre, LinearMemory, MemoryCreator, MemoryType, Store};

use super::{Image, PAGE_BYTES, dirty};

/// Address space before a memory that nothing may touch, in bytes: what a wrong sign extension of an address would reach.
const GUARD_BEFORE_BYTES: usize = 2 << 30;

thread_local! {
    /// What the memory that this thread is about to make begins with.
    static OFFERED: RefCell<Option<Offered>> = const { RefCell::new(None) };
}

/// An image for a memory.
#[derive(Clone)]
struct Offered {
    image: Arc<Image>,
    /// Whether the memory is one for others afterwards.
    comes_back: bool,
}

/// A sealed file in memory, mapped to be read.
#[derive(Debug)]
pub(super) struct View {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is owned by the value, and nobody writes to it.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Maps the first `bytes` bytes of a file whose seals forbid that it changes or becomes shorter.
    ///
    /// # Errors
    /// The file is not sealed or not as long, or the host has no memory left.
    pub(super) fn of(file: &File, bytes: usize) -> io::Result<Self> {
        let sealed = SealFlags::WRITE | SealFlags::SHRINK;
        if !fcntl_get_seals(file)?.contains(sealed) || file.metadata()?.len() < bytes as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), bytes });
        }
        // SAFETY: a new mapping where the kernel finds room.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped for as long as the value lives. The file is sealed (checked in `of`): it can't change
        // under the mapping or become shorter, so that no access faults.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: the mapping is this value's, and every borrow of it has ended.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
    }
}

/// Makes the memories of an engine.
#[derive(Debug, Default)]
pub(crate) struct Memories;

/// Makes an instance whose memory begins as an image, for one run: what it leaves is cleaned and used again.
///
/// # Errors
/// What making the instance says.
pub(crate) async fn instantiate<T: Send + 'static>(
    instance: &InstancePre<T>,
    store: &mut Store<T>,
    image: &Arc<Image>,
) -> wasmtime::Result<Instance> {
    instantiate_in(instance, store, Offered { image: Arc::clone(image), comes_back: true }).await
}

/// Makes an instance whose memory begins as an image and goes with it.
///
/// # Errors
/// What making the instance says.
pub(super) async fn instantiate_for_good<T: Send + 'static>(
    instance: &InstancePre<T>,
    store: &mut Store<T>,
    image: &Arc<Image>,
) -> wasmtime::Result<Instance> {
    instantiate_in(instance, store, Offered { image: Arc::clone(image), comes_back: false }).await
}

async fn instantiate_in<T: Send + 'static>(
    instance: &InstancePre<T>,
    store: &mut Store<T>,
    offered: Offered,
) -> wasmtime::Result<Instance> {
    let mut making = pin!(instance.instantiate_async(store));
    poll_fn(|context| {
        // The engine asks for the memory on this thread, while this runs.
        let _offer = Offer::new(&offered);
        making.as_mut().poll(context)
    })
    .await
}

/// Has the kernel make pages of a memory its own, in one go for pages that lie together: who writes them then finds them there.
pub(super) fn prepare(memory: &mut [u8], pages: &[u32]) {
    /// Pages between two that are made with them: asking again costs as much.
    const BETWEEN_MAX: u32 = 2;
    for run in pages.chunk_by(|one, next| next - one <= BETWEEN_MAX) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let range = *first as usize * PAGE_BYTES..(*last as usize + 1) * PAGE_BYTES;
        if let Some(run) = memory.get_mut(range) {
            // SAFETY: the range can be written, and is borrowed alone; what it holds stays the same.
            let prepared = unsafe { madvise(run.as_mut_ptr().cast(), run.len(), Advice::LinuxPopulateWrite) };
            if prepared.is_err() {
                // An older kernel does not know how (before 5.14), or has no memory left: then pages come one by one, or not.
                return;
            }
        }
    }
}

/// Takes the offer back when the thread goes on to something else.
struct Offer;

impl Offer {
    fn new(offered: &Offered) -> Self {
        OFFERED.set(Some(offered.clone()));
        Self
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        OFFERED.set(None);
    }
}

/// One memory: a reservation of addresses, of which the first `bytes` after the guard can be used.
#[derive(Debug)]
pub(super) struct Mapped {
    /// The reservation, guards included. It is this value's alone, and goes with it.
    reserved: NonNull<u8>,
    reserved_bytes: usize,
    bytes: usize,
    capacity_bytes: usize,
}

// SAFETY: the mapping is owned by the value; which thread uses or unmaps it makes no difference.
unsafe impl Send for Mapped {}
// SAFETY: shared references give out numbers and a pointer only.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Returns how many addresses a memory takes with its guards; none if there are not so many.
    fn reserved_bytes(capacity_bytes: usize, guard_bytes: usize) -> Option<usize> {
        [GUARD_BEFORE_BYTES, capacity_bytes, guard_bytes].into_iter().try_fold(0, usize::checked_add)
    }

    fn new(image: Option<&Image>, bytes: usize, capacity_bytes: usize, guard_bytes: usize) -> io::Result<Self> {
        let reserved_bytes = Self::reserved_bytes(capacity_bytes, guard_bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes > capacity_bytes || image.is_some_and(|image| image.bytes() > bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping where the kernel finds room; nothing else is there.
        let reserved = unsafe { mmap_anonymous(std::ptr::null_mut(), reserved_bytes, ProtFlags::empty(), flags)? };
        let reserved = NonNull::new(reserved.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut mapped = Self { reserved, reserved_bytes, bytes: 0, capacity_bytes };
        if let Some(image) = image {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            let flags = flags | MapFlags::FIXED;
            // SAFETY: the range lies in the reservation just made, since the image is not larger than the capacity, and nobody
            // uses it yet. The file is sealed: it can't become shorter, so no access faults, nor change under the mapping.
            unsafe { mmap(mapped.as_ptr().cast(), image.bytes(), protection, flags, image.file(), 0)? };
            mapped.bytes = image.bytes();
        }
        mapped.extend(bytes)?;
        Ok(mapped)
    }

    /// Makes more of the reservation usable; it reads as zeros.
    fn extend(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.capacity_bytes {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            // SAFETY: the range lies in this value's reservation (checked above), behind what is in use.
            unsafe {
                let from = self.as_ptr().add(self.bytes);
                mprotect(from.cast(), more, MprotectFlags::READ | MprotectFlags::WRITE)?;
            }
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Says whether it has so much room and so large a guard.
    pub(super) fn is_like(&self, capacity_bytes: usize, guard_bytes: usize) -> bool {
        self.capacity_bytes == capacity_bytes
            && Self::reserved_bytes(capacity_bytes, guard_bytes) == Some(self.reserved_bytes)
    }

    /// Makes a memory that began as an image that image again; says that it did not, if more than so many pages were written.
    ///
    /// # Errors
    /// The kernel does not say what was written, or takes nothing back. Then it is of no use any more.
    pub(super) fn reset(&mut self, image: &Image, pages_max: usize) -> io::Result<bool> {
        // SAFETY: so many bytes can be read and written, and nobody else has them: the value is borrowed alone.
        let memory = unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.bytes) };
        let written = dirty::pages(memory)?;
        if written.iter().map(Range::len).sum::<usize>() > pages_max {
            return Ok(false);
        }
        let (begun, grown) = memory.split_at_mut(image.bytes());
        let pages = begun.as_chunks_mut::<PAGE_BYTES>().0;
        for page in written.into_iter().flatten() {
            if let (Some(to), Ok(page)) = (pages.get_mut(page), u32::try_from(page)) {
                *to = *image.page(page);
            }
        }
        if !grown.is_empty() {
            let (start, bytes) = (grown.as_mut_ptr().cast(), grown.len());
            // SAFETY: the range is this value's and in use by nobody; it is anonymous, so that it reads as zeros when it is used again.
            unsafe {
                madvise(start, bytes, Advice::LinuxDontNeed)?;
                mprotect(start, bytes, MprotectFlags::empty())?;
            }
            self.bytes = image.bytes();
        }
        Ok(true)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the reservation is this value's, and the engine drops it when nothing uses it any more.
        let unmapped = unsafe { munmap(self.reserved.as_ptr().cast(), self.reserved_bytes) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

// SAFETY: the memory never moves, its first `bytes` can be read and written, and what follows up to the end of the guard behind
// the capacity is mapped without access for as long as the value lives.
unsafe impl LinearMemory for Mapped {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        self.capacity_bytes
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        Ok(self.extend(new_size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        // SAFETY: the reservation is longer than the guard.
        unsafe { self.reserved.as_ptr().add(GUARD_BEFORE_BYTES) }
    }
}

/// A memory that goes back to its image when the engine needs it no more.
struct Lent {
    /// There until it is dropped.
    memory: Option<Mapped>,
    image: Arc<Image>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.image.spares().give(memory, &self.image);
        }
    }
}

// SAFETY: as for `Mapped`, to which all goes; without one it is a memory of no bytes.
unsafe impl LinearMemory for Lent {
    fn byte_size(&self) -> usize {
        self.memory.as_ref().map_or(0, Mapped::byte_size)
    }

    fn byte_capacity(&self) -> usize {
        self.memory.as_ref().map_or(0, Mapped::byte_capacity)
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.memory.as_mut().map_or(Ok(()), |memory| memory.grow_to(new_size))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ref().map_or(std::ptr::null_mut(), Mapped::as_ptr)
    }
}

// SAFETY: memories are made as the engine asks: with its capacity reserved and its guard behind, see `Mapped`.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _kind: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let offered = OFFERED.with_borrow_mut(|offered| offered.take_if(|it| it.image.minimum_bytes() == minimum));
        let image = offered.as_ref().map(|offered| &*offered.image);
        let bytes = image.map_or(minimum, |image| image.bytes().max(minimum));
        let capacity = reserved_size_in_bytes.or(maximum).unwrap_or(bytes).max(bytes);
        let spare = image.and_then(|image| image.spares().take(capacity, guard_size_in_bytes));
        let made = match spare {
            Some(mut spare) => spare.extend(bytes).map(|()| spare),
            None => Mapped::new(image, bytes, capacity, guard_size_in_bytes),
        };
        let memory = made.map_err(|error| error.to_string())?;
        Ok(match offered {
            Some(Offered { image, comes_back: true }) => Box::new(Lent { memory: Some(memory), image }),
            _ => Box::new(memory),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::memory::Tracking;

    #[test]
    fn memories_of_an_image_share_it_and_keep_what_they_write() {
        let mut content = vec![0; 2 * 65_536];
        content[70_000] = 1;
        let image = Arc::new(Image::new(&content, 65_536).unwrap());
        let make = || Mapped::new(Some(&image), 3 * 65_536, 8 * 65_536, 65_536).unwrap();
        let (mut one, other) = (make(), make());
        one.grow_to(4 * 65_536).unwrap();
        one.grow_to(9 * 65_536).unwrap_err();
        assert_eq!((one.byte_size(), other.byte_size()), (4 * 65_536, 3 * 65_536));
        // SAFETY: both live, and nobody else has them.
        let (written, read) = unsafe {
            (
                std::slice::from_raw_parts_mut(one.as_ptr(), one.byte_size()),
                std::slice::from_raw_parts(other.as_ptr(), other.byte_size()),
            )
        };
        assert!(written[..content.len()] == content && written[content.len()..].iter().all(|byte| *byte == 0));
        assert_eq!(dirty::pages(written).unwrap(), [], "reading is not writing");
        let places = [5, 70_000, 2 * 65_536 + 1, 4 * 65_536 - 1];
        places.into_iter().for_each(|at| written[at] = 7);
        assert!(read[..content.len()] == content);
        let found: Vec<usize> = dirty::pages(written).unwrap().into_iter().flatten().collect();
        assert_eq!(found, places.map(|at| at / PAGE_BYTES));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whatever was written to a memory, and however large it became: who is given it next finds the image.
        #[test]
        fn a_memory_that_comes_back_is_the_image_again(
            runs in prop::collection::vec((prop::collection::vec((0usize..400, 1u8..), 0..80), 0usize..3), 1..8),
        ) {
            let mut content = vec![0; 128 * PAGE_BYTES];
            content.chunks_mut(PAGE_BYTES).step_by(3).for_each(|page| page.fill(5));
            let image = Arc::new(Image::new(&content, 65_536).unwrap());
            let (capacity, guard) = (1024 * PAGE_BYTES, 65_536);
            for (writes, growth) in runs {
                let memory = image.spares().take(capacity, guard);
                let mut memory = memory.unwrap_or_else(|| Mapped::new(Some(&image), content.len(), capacity, guard).unwrap());
                prop_assert!(memory.is_like(capacity, guard) && !memory.is_like(capacity, 0));
                prop_assert_eq!(memory.byte_size(), content.len());
                memory.grow_to((128 + growth * 16) * PAGE_BYTES).unwrap();
                // SAFETY: it lives, and nobody else has it.
                let bytes = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) };
                prop_assert!(bytes[..content.len()] == content && bytes[content.len()..].iter().all(|byte| *byte == 0));
                for (page, value) in writes {
                    if let Some(byte) = bytes.get_mut(page * PAGE_BYTES + 9) {
                        *byte = value;
                    }
                }
                drop(Lent { memory: Some(memory), image: Arc::clone(&image) });
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Turns write pages, and make the memory larger, of an instance that began with an image; each way of asking the kernel
        /// tells at least the pages of the turn, and none that was never written.
        #[test]
        fn every_written_page_is_told_in_every_way(
            turns in prop::collection::vec((prop::collection::vec(0usize..400, 0..80), 0usize..3), 1..8),
            way in 0usize..dirty::WAYS.len(),
        ) {
            let content = vec![1; 128 * PAGE_BYTES];
            let image = Image::new(&content, 65_536).unwrap();
            let mut mapped = Mapped::new(Some(&image), 160 * PAGE_BYTES, 1024 * PAGE_BYTES, 65_536).unwrap();
            let mut tracking = Tracking::new(dirty::WAYS[way]);
            let mut ever = BTreeSet::new();
            for (writes, growth) in turns {
                let larger = mapped.byte_size() + growth * 16 * PAGE_BYTES;
                mapped.grow_to(larger).unwrap();
                // SAFETY: it lives, and nobody else has it.
                let memory = unsafe { std::slice::from_raw_parts_mut(mapped.as_ptr(), mapped.byte_size()) };
                let pages = memory.len() / PAGE_BYTES;
                let writes: BTreeSet<usize> = writes.into_iter().filter(|page| *page < pages).collect();
                for page in &writes {
                    memory[page * PAGE_BYTES + 7] = memory[page * PAGE_BYTES + 7].wrapping_add(1);
                }
                ever.extend(writes.iter().copied());
                let told: BTreeSet<usize> = tracking.written(memory).unwrap().into_iter().flatten().collect();
                prop_assert!(told.is_superset(&writes), "{:?} of {:?}", told, writes);
                prop_assert!(told.is_subset(&ever), "{:?} of {:?}", told, ever);
            }
        }
    }

    #[test]
    fn a_watched_memory_tells_what_was_written_last() {
        let image = Image::new(&vec![1; 1024 * PAGE_BYTES], 65_536).unwrap();
        let mapped = Mapped::new(Some(&image), 1024 * PAGE_BYTES, 1024 * PAGE_BYTES, 65_536).unwrap();
        // SAFETY: it lives, and nobody else has it.
        let memory = unsafe { std::slice::from_raw_parts_mut(mapped.as_ptr(), mapped.byte_size()) };
        let mut tracking = Tracking::default();
        let mut turn = |pages: std::ops::Range<usize>, add: u8| {
            pages.for_each(|page| memory[page * PAGE_BYTES] += add);
            tracking.written(memory).unwrap().into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(turn(0..900, 1).len(), 900);
        let told = turn(910..912, 1);
        if dirty::can_watch() {
            assert_eq!(told, [910, 911], "what was written before it was asked last is not told again");
            assert!(turn(0..0, 1).is_empty());
            assert_eq!(turn(5..6, 1), [5]);
        } else {
            eprintln!("skipped: this kernel watches no memory");
        }
    }
}
