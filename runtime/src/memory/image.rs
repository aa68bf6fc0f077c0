//! Images: the memory that instances begin with, as sealed files in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::PAGE_BYTES;

/// What memory is, at one moment. Nobody can change it any more: a mapping of it can neither fail nor show other bytes.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    bytes: usize,
    /// The memory that the module asks for when it starts, in bytes: by it the engine's request is recognised.
    minimum_bytes: usize,
}

impl Image {
    /// Makes an image of a memory whose module asks for `minimum_bytes`.
    ///
    /// # Errors
    /// The host has no memory or no descriptors left.
    pub(crate) fn new(memory: &[u8], minimum_bytes: usize) -> io::Result<Self> {
        let file = File::from(memfd_create("image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(memory.len() as u64)?;
        // Pages of zeros stay holes.
        let mut pages = memory.chunks(PAGE_BYTES).enumerate().peekable();
        while let Some((first, page)) = pages.next() {
            if is_zero(page) {
                continue;
            }
            let start = first * PAGE_BYTES;
            let mut end = start + page.len();
            while let Some((_, page)) = pages.next_if(|(_, page)| !is_zero(page)) {
                end += page.len();
            }
            file.write_all_at(&memory[start..end], start as u64)?;
        }
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        Ok(Self { file, bytes: memory.len(), minimum_bytes })
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns how much memory it is, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads one page; behind the image all is zeros.
    ///
    /// # Errors
    /// The host fails.
    pub(crate) fn page(&self, page: u32, bytes: &mut [u8; PAGE_BYTES]) -> io::Result<()> {
        let at = u64::from(page) * PAGE_BYTES as u64;
        if at >= self.bytes as u64 {
            bytes.fill(0);
            return Ok(());
        }
        self.file.read_exact_at(bytes, at)
    }

    /// Reads from the beginning; behind the image all is zeros.
    ///
    /// # Errors
    /// The host fails.
    pub(crate) fn read(&self, memory: &mut [u8]) -> io::Result<()> {
        let length = memory.len().min(self.bytes);
        memory[length..].fill(0);
        self.file.read_exact_at(&mut memory[..length], 0)
    }

    pub(crate) const fn minimum_bytes(&self) -> usize {
        self.minimum_bytes
    }
}

fn is_zero(page: &[u8]) -> bool {
    page.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
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
        image.file().write_all_at(b"x", 0).unwrap_err();
        image.file().set_len(1).unwrap_err();
    }
}
