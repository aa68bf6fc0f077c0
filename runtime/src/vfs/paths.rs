//! Operations by path for the host's own use: what the files API does. The walk is the guests' walk.

use bytes::Bytes;
use sandglass_snapshots::{Attributes, DirectoryEntry, FsError, Kind};

use super::resolve::PATH_BYTES_MAX;
use super::{Node, Result, Vfs};
use crate::entropy::SystemEntropy;

const WORKSPACE: &[u8] = b"workspace/";
const LIST_MAX: usize = 1_000_000;

impl Vfs {
    /// Takes the leading slash off; a relative path is one of `/workspace`.
    fn from_root(path: &[u8]) -> Vec<u8> {
        match path.strip_prefix(b"/") {
            Some(relative) => match relative.iter().position(|byte| *byte != b'/') {
                Some(start) => relative[start..].to_vec(),
                None => b".".to_vec(),
            },
            None => [WORKSPACE, path].concat(),
        }
    }

    fn find(&mut self, path: &[u8], follow: bool) -> Result<Node> {
        self.resolve(self.root(), &Self::from_root(path), follow)?.found()
    }

    /// Returns what is known of a file.
    ///
    /// # Errors
    /// [`FsError::NotFound`] and what a walk can meet.
    pub fn stat(&mut self, path: &[u8], follow: bool) -> Result<Attributes> {
        let node = self.find(path, follow)?;
        self.attributes(node)
    }

    /// Returns where a symbolic link points.
    ///
    /// # Errors
    /// [`FsError::Invalid`] for what is none.
    pub fn read_link(&mut self, path: &[u8]) -> Result<Bytes> {
        let node = self.find(path, false)?;
        self.read_link_at(node)
    }

    /// Returns up to `length` bytes of a file; the caller bounds them.
    ///
    /// # Errors
    /// As for [`Self::stat`]; [`FsError::IsADirectory`].
    pub fn read_range(&mut self, path: &[u8], offset: u64, length: u64) -> Result<Bytes> {
        let node = self.find(path, true)?;
        let size = self.attributes(node)?.size;
        let length = length.min(size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| FsError::TooLarge)?];
        let read = self.read(node, offset, &mut bytes, &SystemEntropy)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// Writes a whole file; missing parents are made. An existing file keeps its mode unless one is given.
    ///
    /// # Errors
    /// As for [`Self::stat`]; [`FsError::IsADirectory`], [`FsError::ReadOnly`], a quota.
    pub fn write_file(&mut self, path: &[u8], bytes: &[u8], mode: Option<u16>) -> Result<()> {
        let path = Self::from_root(path);
        self.make_parents(&path)?;
        let place = self.resolve(self.root(), &path, true)?;
        let node = match place.node {
            Some(node) if self.attributes(node)?.kind == Kind::Directory => return Err(FsError::IsADirectory),
            Some(node) => {
                self.set_size(node, 0)?;
                node
            }
            None if place.trailing_slash => return Err(FsError::IsADirectory),
            None => self.create_file(place.parent, place.name()?, mode.unwrap_or(0o644))?,
        };
        self.write(node, 0, bytes)?;
        match mode {
            Some(mode) => self.set_mode(node, mode),
            None => Ok(()),
        }
    }

    /// Makes a directory and its missing parents.
    ///
    /// # Errors
    /// [`FsError::Exists`] and as for [`Self::write_file`].
    pub fn create_directory(&mut self, path: &[u8], mode: u16) -> Result<()> {
        let path = Self::from_root(path);
        self.make_parents(&path)?;
        let place = self.resolve(self.root(), &path, true)?;
        if place.node.is_some() {
            return Err(FsError::Exists);
        }
        self.create_directory_at(place.parent, place.name()?, mode).map(drop)
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<()> {
        if path.len() > PATH_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let slashes = path[..end].iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        for slash in slashes {
            let place = self.resolve(self.root(), &path[..slash], true)?;
            if place.node.is_none() {
                self.create_directory_at(place.parent, place.name()?, 0o755)?;
            }
        }
        Ok(())
    }

    /// Returns the entries of a directory with their attributes, in no particular order.
    ///
    /// # Errors
    /// [`FsError::NotADirectory`]; [`FsError::TooLarge`] for more than a million entries.
    pub fn list(&mut self, path: &[u8]) -> Result<Vec<(DirectoryEntry, Attributes)>> {
        const PAGE: usize = 1024;
        let directory = self.find(path, true)?;
        let mut all = Vec::new();
        let mut cookie = 0;
        loop {
            let page = self.read_directory(directory, cookie, PAGE)?;
            let Some(last) = page.last() else { return Ok(all) };
            cookie = last.cookie;
            for entry in page {
                let node = self.lookup(directory, &entry.name)?;
                let attributes = self.attributes(node)?;
                all.push((entry, attributes));
            }
            if all.len() > LIST_MAX {
                return Err(FsError::TooLarge);
            }
        }
    }

    /// Removes a file or link, or a directory: an empty one, or with all it holds.
    ///
    /// # Errors
    /// [`FsError::NotEmpty`], [`FsError::ReadOnly`], [`FsError::Busy`].
    pub fn remove(&mut self, path: &[u8], recursive: bool) -> Result<()> {
        let place = self.resolve(self.root(), &Self::from_root(path), false)?;
        let node = place.found()?;
        let name = place.name.clone().ok_or(FsError::Busy)?;
        if self.attributes(node)?.kind != Kind::Directory {
            return self.unlink(place.parent, &name);
        }
        if !recursive {
            return self.remove_directory(place.parent, &name);
        }
        self.not_a_mount(place.parent, &name)?;
        self.writable(node)?;
        let now = self.now();
        self.transaction.remove_tree(place.parent.inode, &name, now)
    }
}
