//! The descriptor table: plain data that is cloned with the file system.

use bytes::Bytes;

use super::Wasi;
use super::errno::ended;
use super::preview1::types::{Errno, Error, Fd, Fdflags, Rights};
use crate::limits::Limit;
use crate::vfs::Node;

/// What a descriptor number stands for.
#[derive(Clone, Debug)]
pub(super) enum Descriptor {
    /// A descriptor of the process, shared with others: standard input, output, error.
    Inherited(u32),
    /// A file or directory.
    Opened(Opened),
}

/// An open file or directory.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) node: Node,
    pub(super) is_directory: bool,
    pub(super) offset: u64,
    pub(super) flags: Fdflags,
    /// What may be done with it.
    pub(super) base: Rights,
    /// What may be done with what is opened through it.
    pub(super) inheriting: Rights,
    /// The path of a directory that was open from the start.
    pub(super) preopen: Option<Bytes>,
    /// Whether it is `/dev/processes`: see `requests.rs`.
    pub(super) is_channel: bool,
    /// The directory and the name that it was opened by, if it is no directory.
    pub(super) opened_at: Option<(Node, Bytes)>,
}

/// What can be done with a directory.
pub(super) fn directory_rights() -> Rights {
    Rights::FD_FDSTAT_SET_FLAGS
        | Rights::FD_SYNC
        | Rights::FD_ADVISE
        | Rights::PATH_CREATE_DIRECTORY
        | Rights::PATH_CREATE_FILE
        | Rights::PATH_LINK_SOURCE
        | Rights::PATH_LINK_TARGET
        | Rights::PATH_OPEN
        | Rights::FD_READDIR
        | Rights::PATH_READLINK
        | Rights::PATH_RENAME_SOURCE
        | Rights::PATH_RENAME_TARGET
        | Rights::PATH_SYMLINK
        | Rights::PATH_REMOVE_DIRECTORY
        | Rights::PATH_UNLINK_FILE
        | Rights::PATH_FILESTAT_GET
        | Rights::PATH_FILESTAT_SET_SIZE
        | Rights::PATH_FILESTAT_SET_TIMES
        | Rights::FD_FILESTAT_GET
        | Rights::FD_FILESTAT_SET_TIMES
        | Rights::POLL_FD_READWRITE
}

/// What can be done with a file.
pub(super) fn file_rights() -> Rights {
    Rights::FD_DATASYNC
        | Rights::FD_READ
        | Rights::FD_SEEK
        | Rights::FD_FDSTAT_SET_FLAGS
        | Rights::FD_SYNC
        | Rights::FD_TELL
        | Rights::FD_WRITE
        | Rights::FD_ADVISE
        | Rights::FD_ALLOCATE
        | Rights::FD_FILESTAT_GET
        | Rights::FD_FILESTAT_SET_SIZE
        | Rights::FD_FILESTAT_SET_TIMES
        | Rights::POLL_FD_READWRITE
}

impl Opened {
    pub(super) fn preopen(node: Node, path: Bytes) -> Self {
        Self {
            node,
            is_directory: true,
            offset: 0,
            flags: Fdflags::empty(),
            base: directory_rights(),
            inheriting: directory_rights() | file_rights(),
            preopen: Some(path),
            is_channel: false,
            opened_at: None,
        }
    }

    /// Something open that nothing may be done with yet.
    pub(super) const fn found(node: Node, is_directory: bool) -> Self {
        Self {
            node,
            is_directory,
            offset: 0,
            flags: Fdflags::empty(),
            base: Rights::empty(),
            inheriting: Rights::empty(),
            preopen: None,
            is_channel: false,
            opened_at: None,
        }
    }
}

/// All descriptors of a guest, by number.
#[derive(Clone, Debug)]
pub(super) struct Descriptors {
    table: Vec<Option<Descriptor>>,
    open: usize,
    open_max: u32,
    /// Every number below it is taken.
    lowest_free: usize,
}

impl Descriptors {
    pub(super) fn new(inherited: &[u32], open_max: u32) -> Self {
        let standard = (0..3).map(|fd| inherited.contains(&fd).then_some(Descriptor::Inherited(fd)));
        Self { table: standard.collect(), open: inherited.len(), open_max, lowest_free: 0 }
    }

    pub(super) fn preopen(&mut self, opened: Opened) {
        self.table.push(Some(Descriptor::Opened(opened)));
        self.open += 1;
        self.lowest_free = self.table.len();
    }

    pub(super) fn get(&self, fd: Fd) -> Result<&Descriptor, Error> {
        self.table.get(u32::from(fd) as usize).and_then(Option::as_ref).ok_or_else(|| Errno::Badf.into())
    }

    pub(super) fn get_mut(&mut self, fd: Fd) -> Result<&mut Descriptor, Error> {
        self.table.get_mut(u32::from(fd) as usize).and_then(Option::as_mut).ok_or_else(|| Errno::Badf.into())
    }

    /// Fails before anything is opened when one more would be too many.
    pub(super) fn check_room(&self) -> Result<(), Error> {
        if self.open >= self.open_max as usize {
            return Err(ended(Limit::OpenFiles, u64::from(self.open_max)));
        }
        Ok(())
    }

    /// Gives the lowest free number, as POSIX does.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<Fd, Error> {
        self.check_room()?;
        while self.table.get(self.lowest_free).is_some_and(Option::is_some) {
            self.lowest_free += 1;
        }
        let number = self.lowest_free;
        if number == self.table.len() {
            self.table.push(None);
        }
        self.table[number] = Some(descriptor);
        self.open += 1;
        Ok(Fd::from(u32::try_from(number)?))
    }

    pub(super) fn remove(&mut self, fd: Fd) -> Result<Descriptor, Error> {
        let number = u32::from(fd) as usize;
        let removed = self.table.get_mut(number).and_then(Option::take).ok_or(Errno::Badf)?;
        self.open -= 1;
        self.lowest_free = self.lowest_free.min(number);
        Ok(removed)
    }

    /// Makes `to` stand for what `from` did, and returns what it stood for.
    pub(super) fn renumber(&mut self, from: Fd, to: Fd) -> Result<Descriptor, Error> {
        self.get(from)?;
        let replaced = self.get(to)?.clone();
        if from != to {
            let moved = self.remove(from)?;
            *self.get_mut(to)? = moved;
        }
        Ok(replaced)
    }

    /// Makes a number stand for something, and returns what it stood for.
    pub(super) fn replace(&mut self, fd: Fd, descriptor: Descriptor) -> Result<Option<Descriptor>, Error> {
        let number = u32::from(fd) as usize;
        if number >= (self.open_max as usize).max(self.table.len()) {
            return Err(Errno::Badf.into());
        }
        if number >= self.table.len() {
            self.table.resize(number + 1, None);
        }
        let before = self.table[number].replace(descriptor);
        self.open += usize::from(before.is_none());
        Ok(before)
    }

    pub(super) fn all(&self) -> &[Option<Descriptor>] {
        &self.table
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Opened> {
        std::mem::take(&mut self.table).into_iter().flatten().filter_map(|descriptor| match descriptor {
            Descriptor::Opened(opened) => Some(opened),
            Descriptor::Inherited(_) => None,
        })
    }
}

impl Wasi {
    /// Returns an open file or directory.
    pub(super) fn opened(&self, fd: Fd) -> Result<&Opened, Error> {
        match self.descriptors.get(fd)? {
            Descriptor::Opened(opened) => Ok(opened),
            Descriptor::Inherited(_) => Err(Errno::Notsup.into()),
        }
    }

    /// Returns an open file with all of these rights.
    pub(super) fn file(&self, fd: Fd, rights: Rights) -> Result<&Opened, Error> {
        let opened = self.opened(fd)?;
        if opened.is_directory {
            return Err(Errno::Badf.into());
        }
        if !opened.base.contains(rights) {
            let about_data = rights.intersects(Rights::FD_READ | Rights::FD_WRITE);
            return Err(if about_data { Errno::Badf } else { Errno::Notcapable }.into());
        }
        Ok(opened)
    }

    /// Returns an open directory with all of these rights.
    pub(super) fn directory(&self, fd: Fd, rights: Rights) -> Result<&Opened, Error> {
        let Descriptor::Opened(opened) = self.descriptors.get(fd)? else { return Err(Errno::Notdir.into()) };
        if !opened.is_directory {
            return Err(Errno::Notdir.into());
        }
        if !opened.base.contains(rights) {
            return Err(Errno::Notcapable.into());
        }
        Ok(opened)
    }

    pub(super) fn opened_mut(&mut self, fd: Fd) -> Result<&mut Opened, Error> {
        match self.descriptors.get_mut(fd)? {
            Descriptor::Opened(opened) => Ok(opened),
            Descriptor::Inherited(_) => Err(Errno::Notsup.into()),
        }
    }

    pub(super) fn close(&mut self, descriptor: &Descriptor) {
        match descriptor {
            Descriptor::Opened(opened) => self.vfs().release(opened.node),
            // It is there: it was never closed before.
            Descriptor::Inherited(fd) => drop(self.kernel.lock().close_fd(self.pid, *fd)),
        }
    }
}
