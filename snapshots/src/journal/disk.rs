//! The thin line between the journal and the operating system: everything that it writes goes through here, so that a
//! failing or forgetful disk can stand in for the real one.

#[cfg(test)]
mod contract;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
pub(crate) mod simulated;

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One file of the journal.
pub(crate) trait SegmentFile: Debug + Send + Sync {
    /// Fills the whole buffer from `offset`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`; it is durable only after [`Self::sync_data`].
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Returns the file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Where segments lie: the seam behind which a journal's files are. `disk/contract.rs` is what every implementation must do.
pub(crate) trait SegmentStore: Debug + Send + Sync {
    /// Returns the names in it.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file, replacing what has its name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;
    /// Opens a file to read and write it.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;
    /// Gives a file its name for good: durable when this returns.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns a file's path, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// A directory of the local file system.
#[derive(Debug)]
pub(crate) struct LocalDisk {
    directory: PathBuf,
    is_read_only: bool,
}

impl LocalDisk {
    /// Opens the directory, making it (for its owner alone) when it is not there.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        make_private_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), is_read_only: false })
    }

    /// Gives a directory of which nothing may be changed.
    pub(crate) fn read_only(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), is_read_only: true }
    }

    fn may_change(&self) -> io::Result<()> {
        if self.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

/// Makes a directory, and those above it, for its owner alone; one that is there is left as it is.
pub(crate) fn make_private_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

impl SegmentStore for LocalDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?;
        names.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        self.may_change()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(options.open(self.path(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(!self.is_read_only).open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        fs::rename(self.path(from), self.path(to))?;
        sync_directory(&self.directory)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_change()?;
        fs::remove_file(self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl SegmentFile for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
