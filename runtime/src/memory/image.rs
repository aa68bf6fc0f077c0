//! Images: the memory that instances begin with, as sealed files in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use sandglass_snapshots::Page;

use super::PAGE_BYTES;
use super::gauge::Counted;
use super::mapping::View;
use super::spares::Spares;

static ZEROS: Page = [0; PAGE_BYTES];

/// What memory is, at one moment. Nobody can change it any more: a mapping of it can neither fail nor show other bytes.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    view: View,
    /// Pages that are not zeros.
    used_pages: usize,
    /// The memory that the module asks for when it starts, in bytes: by it the engine's request is recognised.
    minimum_bytes: usize,
    /// How much memory of the host it takes; what a guest's programs begin with belongs to no session and is not counted.
    counted: Option<Counted>,
    spares: Spares,
}

impl Image {
    /// Makes an image of a memory whose module asks for `minimum_bytes`.
    ///
    /// # Errors
    /// The host has no memory or no descriptors left.
    pub(crate) fn new(memory: &[u8], minimum_bytes: usize) -> io::Result<Self> {
        let pages = memory.as_chunks::<PAGE_BYTES>().0;
        let mut image = Self::of_pages(memory.len(), minimum_bytes, |page| pages.get(page as usize).unwrap_or(&ZEROS))?;
        image.counted = None;
        Ok(image)
    }

    /// Makes the image of a session: of `bytes` bytes, a whole number of pages, each of which `page` gives by its number.
    ///
    /// # Errors
    /// The host has no memory or no descriptors left.
    pub(crate) fn of_pages<'a>(bytes: usize, minimum_bytes: usize, page: impl Fn(u32) -> &'a Page) -> io::Result<Self> {
        /// Pages that are written at once.
        const RUN_PAGES: usize = 64;
        let file = File::from(memfd_create("image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(bytes as u64)?;
        let count = u32::try_from(bytes / PAGE_BYTES).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut run = Vec::with_capacity(RUN_PAGES * PAGE_BYTES);
        let (mut start, mut written) = (0, 0);
        for number in 0..count {
            let bytes = page(number);
            // Pages of zeros stay holes.
            let is_hole = bytes == &ZEROS;
            if is_hole || run.len() == RUN_PAGES * PAGE_BYTES {
                file.write_all_at(&run, start)?;
                written += run.len();
                run.clear();
            }
            if !is_hole {
                if run.is_empty() {
                    start = u64::from(number) * PAGE_BYTES as u64;
                }
                run.extend_from_slice(bytes);
            }
        }
        file.write_all_at(&run, start)?;
        written += run.len();
        seal(&file)?;
        let view = View::of(&file, bytes)?;
        let (used_pages, counted) = (written / PAGE_BYTES, Some(Counted::new(written)));
        Ok(Self { file, view, used_pages, minimum_bytes, counted, spares: Spares::default() })
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns how much memory it is, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.view.bytes().len()
    }

    /// Returns one page; behind the image all is zeros.
    pub(crate) fn page(&self, page: u32) -> &Page {
        let at = page as usize * PAGE_BYTES;
        self.view.bytes().get(at..).and_then(<[u8]>::first_chunk).unwrap_or(&ZEROS)
    }

    /// Returns how many pages of it are not zeros.
    pub(crate) const fn used_pages(&self) -> usize {
        self.used_pages
    }

    pub(crate) const fn minimum_bytes(&self) -> usize {
        self.minimum_bytes
    }

    /// Returns the memories that began with it and are not in use.
    pub(super) const fn spares(&self) -> &Spares {
        &self.spares
    }
}

/// Makes sure that nobody can change a file any more. The kernel refuses that while it holds one of the pages itself, which it does
/// for moments: then it is asked again.
fn seal(file: &File) -> io::Result<()> {
    const TRIES: usize = 200;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    for _ in 0..TRIES {
        match fcntl_add_seals(file, seals) {
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(1)),
            done => return Ok(done?),
        }
    }
    Ok(fcntl_add_seals(file, seals)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn an_image_is_what_it_was_made_of_and_stays_so() {
        let mut memory = vec![0; 3 * 65_536];
        memory[5] = 1;
        memory[70_000..80_000].fill(7);
        *memory.last_mut().unwrap() = 9;
        let image = Image::new(&memory, 65_536).unwrap();
        let mut read = vec![1; memory.len()];
        image.file().read_exact_at(&mut read, 0).unwrap();
        assert!(read == memory && image.bytes() == memory.len());
        assert_eq!(image.file().metadata().unwrap().blocks() * 512, 5 * PAGE_BYTES as u64, "zeros take nothing");
        assert_eq!(image.used_pages(), 5);
        assert!(image.page(17)[..] == memory[17 * PAGE_BYTES..18 * PAGE_BYTES] && image.page(1 << 20) == &ZEROS);
        image.file().write_all_at(b"x", 0).unwrap_err();
        image.file().set_len(1).unwrap_err();
    }
}
