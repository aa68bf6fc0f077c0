//! Reading and writing files and links.

use bytes::Bytes;

use super::{Body, FILE_BYTES_MAX, Transaction};
use crate::error::FsError;
use crate::id::{Inode, Timestamp};

impl Transaction {
    /// Reads from `offset` into `buffer` and returns how many bytes there were: 0 at the end. Holes are zeros.
    ///
    /// # Errors
    /// [`FsError::IsADirectory`], [`FsError::Invalid`] for a link, or the store failed.
    pub fn read(&mut self, file: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
        match &self.live(file)?.body {
            Body::File(content) => Ok(content.read(offset, buffer, &self.nodes)?),
            Body::Directory(_) => Err(FsError::IsADirectory),
            Body::Symlink(_) => Err(FsError::Invalid),
        }
    }

    /// Writes all of `bytes` at `offset`, or nothing.
    ///
    /// # Errors
    /// [`FsError::TooLarge`], [`FsError::QuotaBytes`], as for [`Self::read`].
    pub fn write(&mut self, file: Inode, offset: u64, bytes: &[u8], now: Timestamp) -> Result<(), FsError> {
        let end =
            offset.checked_add(bytes.len() as u64).filter(|end| *end <= FILE_BYTES_MAX).ok_or(FsError::TooLarge)?;
        let size = self.file_size(file)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.charge(size, size.max(end))?;
        let nodes = self.nodes.clone();
        let live = self.live_mut(file)?;
        let Body::File(content) = &mut live.body else { return Err(FsError::Invalid) };
        content.write(offset, bytes, &nodes)?;
        (live.modified, live.changed) = (now, now);
        self.mark_file(file);
        Ok(())
    }

    /// Cuts a file off, or makes it longer by a hole.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn set_size(&mut self, file: Inode, size: u64, now: Timestamp) -> Result<(), FsError> {
        let before = self.file_size(file)?;
        if size > FILE_BYTES_MAX {
            return Err(FsError::TooLarge);
        }
        self.charge(before, size)?;
        let nodes = self.nodes.clone();
        let live = self.live_mut(file)?;
        let Body::File(content) = &mut live.body else { return Err(FsError::Invalid) };
        content.set_size(size, &nodes)?;
        (live.modified, live.changed) = (now, now);
        self.mark_file(file);
        Ok(())
    }

    /// Returns where a symbolic link points.
    ///
    /// # Errors
    /// [`FsError::Invalid`] for what is none.
    pub fn read_link(&mut self, inode: Inode) -> Result<Bytes, FsError> {
        match &self.live(inode)?.body {
            Body::Symlink(target) => Ok(target.clone()),
            Body::File(_) | Body::Directory(_) => Err(FsError::Invalid),
        }
    }

    fn file_size(&self, file: Inode) -> Result<u64, FsError> {
        match &self.live(file)?.body {
            Body::File(content) => Ok(content.size),
            Body::Directory(_) => Err(FsError::IsADirectory),
            Body::Symlink(_) => Err(FsError::Invalid),
        }
    }

    /// A file without a name is no part of the next state.
    fn mark_file(&mut self, file: Inode) {
        if self.live(file).is_ok_and(|live| live.links > 0) {
            self.mark(file);
        }
    }
}
