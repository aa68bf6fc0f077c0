//! Functions of names: all walk through `vfs::resolve`.

use bytes::Bytes;
use sandglass_snapshots::{FsError, Kind};
use wiggle::{GuestMemory, GuestPtr};

use super::Wasi;
use super::descriptor::{Descriptor, Opened};
use super::file::{possible, slice};
use super::preview1::types::{self, Errno, Error, Fd, Fdflags, Filestat, Fstflags, Lookupflags, Oflags, Rights};
use crate::vfs::Device;
use crate::vfs::resolve::{PATH_BYTES_MAX, Resolved};

const FILE_MODE: u16 = 0o644;
const DIRECTORY_MODE: u16 = 0o755;

/// What `path_open` is asked for.
pub(super) struct Open {
    pub(super) lookup: Lookupflags,
    pub(super) flags: Oflags,
    pub(super) base: Rights,
    pub(super) inheriting: Rights,
    pub(super) descriptor_flags: Fdflags,
}

impl Wasi {
    /// Copies a path out of the guest, once its length is known to be possible. Names are bytes, as they are on Unix.
    fn path(memory: &GuestMemory<'_>, path: GuestPtr<str>) -> Result<Bytes, Error> {
        if path.len() as usize > PATH_BYTES_MAX {
            return Err(Errno::Nametoolong.into());
        }
        Ok(Bytes::copy_from_slice(slice(memory, path.as_bytes())?))
    }

    fn walk(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
        rights: Rights,
        follow: bool,
    ) -> Result<Resolved, Error> {
        let base = self.directory(fd, rights)?.node;
        let path = Self::path(memory, path)?;
        Ok(self.vfs().resolve(base, &path, follow)?)
    }

    pub(super) fn open(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
        open: &Open,
    ) -> Result<Fd, Error> {
        let mut needed = Rights::PATH_OPEN;
        needed.set(Rights::PATH_CREATE_FILE, open.flags.contains(Oflags::CREAT));
        needed.set(Rights::PATH_FILESTAT_SET_SIZE, open.flags.contains(Oflags::TRUNC));
        let inheriting = self.directory(fd, needed)?.inheriting;
        let follow = open.lookup.contains(Lookupflags::SYMLINK_FOLLOW) && !open.flags.contains(Oflags::EXCL);
        if open.flags.contains(Oflags::DIRECTORY) && open.flags.intersects(Oflags::CREAT | Oflags::EXCL | Oflags::TRUNC)
        {
            return Err(Errno::Inval.into());
        }
        let place = self.walk(memory, fd, path, needed, follow)?;
        self.descriptors.check_room()?;
        let wants_directory = open.flags.contains(Oflags::DIRECTORY) || place.trailing_slash;
        let node = match place.node {
            Some(_) if open.flags.contains(Oflags::CREAT | Oflags::EXCL) => return Err(Errno::Exist.into()),
            Some(node) => node,
            None if !open.flags.contains(Oflags::CREAT) => return Err(Errno::Noent.into()),
            None if wants_directory => return Err(Errno::Isdir.into()),
            None => self.vfs().create_file(place.parent, place.name()?, FILE_MODE)?,
        };
        let kind = self.vfs().attributes(node)?.kind;
        let is_directory = kind == Kind::Directory;
        match kind {
            Kind::Symlink => return Err(Errno::Loop.into()),
            Kind::File if wants_directory => return Err(Errno::Notdir.into()),
            _ => {}
        }
        let writes = open.base.intersects(Rights::FD_WRITE | Rights::FD_ALLOCATE | Rights::FD_FILESTAT_SET_SIZE);
        let truncates = open.flags.contains(Oflags::TRUNC);
        if is_directory && (open.base.contains(Rights::FD_WRITE) || truncates) {
            return Err(Errno::Isdir.into());
        }
        let device = self.vfs().device(node);
        if !is_directory && device.is_none() && (writes || truncates) && !self.vfs().is_writable(node) {
            return Err(Errno::Rofs.into());
        }
        if truncates && place.node.is_some() {
            self.vfs().set_size(node, 0)?;
        }
        self.vfs().retain(node)?;
        let opened = Opened {
            flags: open.descriptor_flags,
            base: open.base & inheriting & possible(is_directory),
            inheriting: open.inheriting & inheriting,
            is_channel: device == Some(Device::Processes),
            opened_at: place.name.map(|name| (place.parent, name)),
            ..Opened::found(node, is_directory)
        };
        self.descriptors.insert(Descriptor::Opened(opened))
    }

    pub(super) fn create_directory(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let place = self.walk(memory, fd, path, Rights::PATH_CREATE_DIRECTORY, false)?;
        if place.node.is_some() {
            return Err(Errno::Exist.into());
        }
        self.vfs().create_directory_at(place.parent, place.name()?, DIRECTORY_MODE)?;
        Ok(())
    }

    pub(super) fn path_filestat(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        lookup: Lookupflags,
        path: GuestPtr<str>,
    ) -> Result<Filestat, Error> {
        let follow = lookup.contains(Lookupflags::SYMLINK_FOLLOW);
        let node = self.walk(memory, fd, path, Rights::PATH_FILESTAT_GET, follow)?.found()?;
        Ok(self.stat(node)?)
    }

    pub(super) fn path_set_times(
        &mut self,
        memory: &GuestMemory<'_>,
        (fd, lookup, path): (Fd, Lookupflags, GuestPtr<str>),
        accessed: types::Timestamp,
        modified: types::Timestamp,
        flags: Fstflags,
    ) -> Result<(), Error> {
        let follow = lookup.contains(Lookupflags::SYMLINK_FOLLOW);
        let node = self.walk(memory, fd, path, Rights::PATH_FILESTAT_SET_TIMES, follow)?.found()?;
        let (accessed, modified) = self.new_times(accessed, modified, flags)?;
        Ok(self.vfs().set_times(node, accessed, modified)?)
    }

    pub(super) fn link(
        &mut self,
        memory: &GuestMemory<'_>,
        (old_fd, lookup, old_path): (Fd, Lookupflags, GuestPtr<str>),
        (new_fd, new_path): (Fd, GuestPtr<str>),
    ) -> Result<(), Error> {
        // No system that programs come from follows a link here; asking for it is refused.
        if lookup.contains(Lookupflags::SYMLINK_FOLLOW) {
            return Err(Errno::Inval.into());
        }
        let source = self.walk(memory, old_fd, old_path, Rights::PATH_LINK_SOURCE, false)?;
        let node = source.found()?;
        let target = self.walk(memory, new_fd, new_path, Rights::PATH_LINK_TARGET, false)?;
        if target.node.is_some() {
            return Err(Errno::Exist.into());
        }
        if target.trailing_slash {
            return Err(Errno::Noent.into());
        }
        if self.vfs().attributes(node)?.kind == Kind::Directory {
            return Err(Errno::Perm.into());
        }
        Ok(self.vfs().link(node, target.parent, target.name()?)?)
    }

    pub(super) fn symlink(
        &mut self,
        memory: &GuestMemory<'_>,
        target: GuestPtr<str>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let base = self.directory(fd, Rights::PATH_SYMLINK)?.node;
        let target = Self::path(memory, target)?;
        // Below a directory that is not the root an absolute link leads outside of what the guest was given.
        if target.starts_with(b"/") && base != self.vfs().root() {
            return Err(Errno::Perm.into());
        }
        let place = self.walk(memory, fd, path, Rights::PATH_SYMLINK, false)?;
        if place.node.is_some() {
            return Err(Errno::Exist.into());
        }
        if place.trailing_slash {
            return Err(Errno::Noent.into());
        }
        Ok(self.vfs().create_symlink(place.parent, place.name()?, &target)?)
    }

    pub(super) fn read_link(&mut self, memory: &GuestMemory<'_>, fd: Fd, path: GuestPtr<str>) -> Result<Bytes, Error> {
        let node = self.walk(memory, fd, path, Rights::PATH_READLINK, false)?.found()?;
        Ok(self.vfs().read_link_at(node)?)
    }

    pub(super) fn remove_directory(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let place = self.walk(memory, fd, path, Rights::PATH_REMOVE_DIRECTORY, false)?;
        place.found()?;
        Ok(self.vfs().remove_directory(place.parent, place.name()?)?)
    }

    pub(super) fn unlink(&mut self, memory: &GuestMemory<'_>, fd: Fd, path: GuestPtr<str>) -> Result<(), Error> {
        let place = self.walk(memory, fd, path, Rights::PATH_UNLINK_FILE, false)?;
        if self.vfs().attributes(place.found()?)?.kind == Kind::Directory {
            return Err(Errno::Isdir.into());
        }
        Ok(self.vfs().unlink(place.parent, place.name()?)?)
    }

    pub(super) fn rename(
        &mut self,
        memory: &GuestMemory<'_>,
        (old_fd, old_path): (Fd, GuestPtr<str>),
        (new_fd, new_path): (Fd, GuestPtr<str>),
    ) -> Result<(), Error> {
        let from = self.walk(memory, old_fd, old_path, Rights::PATH_RENAME_SOURCE, false)?;
        let node = from.found()?;
        let to = self.walk(memory, new_fd, new_path, Rights::PATH_RENAME_TARGET, false)?;
        if to.trailing_slash && self.vfs().attributes(node)?.kind != Kind::Directory {
            return Err(FsError::NotADirectory.into());
        }
        let (from_name, to_name) = (from.name.as_ref().ok_or(FsError::Busy)?, to.name.as_ref().ok_or(FsError::Busy)?);
        Ok(self.vfs().rename(from.parent, from_name, to.parent, to_name)?)
    }
}
