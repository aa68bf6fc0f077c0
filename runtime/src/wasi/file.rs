//! Functions of descriptors: reading, writing, positions, sizes and times.

use sandglass_snapshots::{Attributes, FsError, Kind, Timestamp};
use wiggle::{GuestMemory, GuestPtr};

use super::Wasi;
use super::descriptor::{Descriptor, directory_rights, file_rights};
use super::preview1::types::{
    self, Advice, CiovecArray, Dircookie, Errno, Error, Fd, Fdflags, Fdstat, Filedelta, Filesize, Filestat, Filetype,
    Fstflags, IovecArray, Rights, Size, Whence,
};
use crate::kernel::{self, Fault, FileKind, status};

/// The most buffers of one call.
const IOVECS_MAX: u32 = 1024;
/// The most bytes that one call moves: what is left is for the next.
const TRANSFER_BYTES_MAX: u32 = 16 << 20;
/// Entries of a directory that are read at once.
const ENTRIES_AT_ONCE: usize = 128;
/// Cookies of `.` and `..`, before those of the entries.
const DOTS: u64 = 2;
/// Wasi's size of a `dirent`.
const DIRENT_BYTES: usize = 24;

/// All files of a sandbox are on one device.
const DEVICE: u64 = 1;

impl Wasi {
    pub(super) fn advise(&mut self, fd: Fd, offset: Filesize, length: Filesize, _: Advice) -> Result<(), Error> {
        self.file(fd, Rights::empty())?;
        offset.checked_add(length).ok_or(Errno::Inval)?;
        Ok(())
    }

    pub(super) fn allocate(&mut self, fd: Fd, offset: Filesize, length: Filesize) -> Result<(), Error> {
        let node = self.file(fd, Rights::FD_WRITE)?.node;
        if length == 0 {
            return Err(Errno::Inval.into());
        }
        let end = offset.checked_add(length).ok_or(Errno::Fbig)?;
        if end > self.vfs().attributes(node)?.size {
            self.vfs().set_size(node, end)?;
        }
        Ok(())
    }

    /// Every write is in the transaction at once, and durable with it: there is nothing to do.
    pub(super) fn sync(&mut self, fd: Fd) -> Result<(), Error> {
        self.descriptors.get(fd).map(drop)
    }

    pub(super) fn fdstat(&mut self, fd: Fd) -> Result<Fdstat, Error> {
        let stat = match self.descriptors.get(fd)? {
            Descriptor::Inherited(shared) => self.shared_stat(*shared)?,
            Descriptor::Opened(opened) => Fdstat {
                fs_filetype: if opened.is_directory {
                    Filetype::Directory
                } else if self.vfs().device(opened.node).is_some() {
                    Filetype::CharacterDevice
                } else {
                    Filetype::RegularFile
                },
                fs_flags: opened.flags,
                fs_rights_base: opened.base,
                fs_rights_inheriting: opened.inheriting,
            },
        };
        Ok(stat)
    }

    pub(super) fn set_flags(&mut self, fd: Fd, flags: Fdflags) -> Result<(), Error> {
        if flags.intersects(Fdflags::DSYNC | Fdflags::SYNC | Fdflags::RSYNC) {
            return Err(Errno::Inval.into());
        }
        match self.descriptors.get_mut(fd)? {
            Descriptor::Opened(opened) => opened.flags = flags,
            Descriptor::Inherited(_) => {}
        }
        Ok(())
    }

    /// Rights only ever become fewer.
    pub(super) fn set_rights(&mut self, fd: Fd, base: Rights, inheriting: Rights) -> Result<(), Error> {
        let opened = self.opened_mut(fd)?;
        if !opened.base.contains(base) || !opened.inheriting.contains(inheriting) {
            return Err(Errno::Notcapable.into());
        }
        (opened.base, opened.inheriting) = (base, inheriting);
        Ok(())
    }

    pub(super) fn filestat(&mut self, fd: Fd) -> Result<Filestat, Error> {
        match self.descriptors.get(fd)? {
            Descriptor::Inherited(shared) => {
                let kind = {
                    let state = self.kernel.lock();
                    let id = state.open_file(self.pid, *shared)?;
                    state.open_files.kind(id)?
                };
                if let FileKind::Node(node) = kind {
                    return Ok(self.stat(node)?);
                }
                Ok(Filestat {
                    dev: 0,
                    ino: u64::from(u32::from(fd)),
                    filetype: Filetype::Unknown,
                    nlink: 0,
                    size: 0,
                    atim: 0,
                    mtim: 0,
                    ctim: 0,
                })
            }
            Descriptor::Opened(opened) => {
                let node = opened.node;
                Ok(self.stat(node)?)
            }
        }
    }

    pub(super) fn stat(&mut self, node: crate::vfs::Node) -> Result<Filestat, FsError> {
        let mut stat = filestat(&self.vfs().attributes(node)?);
        if self.vfs().device(node).is_some() {
            stat.filetype = Filetype::CharacterDevice;
        }
        Ok(stat)
    }

    pub(super) fn set_size(&mut self, fd: Fd, size: Filesize) -> Result<(), Error> {
        if let Descriptor::Inherited(shared) = self.descriptors.get(fd)? {
            let mut state = self.kernel.lock();
            let id = state.open_file(self.pid, *shared)?;
            let FileKind::Node(node) = state.open_files.kind(id)? else { return Err(Errno::Inval.into()) };
            if state.open_files.status(id)? & status::WRITE == 0 {
                return Err(Errno::Badf.into());
            }
            return Ok(state.vfs.set_size(node, size)?);
        }
        let node = self.file(fd, Rights::FD_WRITE)?.node;
        Ok(self.vfs().set_size(node, size)?)
    }

    pub(super) fn set_times(
        &mut self,
        fd: Fd,
        accessed: types::Timestamp,
        modified: types::Timestamp,
        flags: Fstflags,
    ) -> Result<(), Error> {
        let node = self.opened(fd)?.node;
        let (accessed, modified) = self.new_times(accessed, modified, flags)?;
        Ok(self.vfs().set_times(node, accessed, modified)?)
    }

    pub(super) fn new_times(
        &self,
        accessed: types::Timestamp,
        modified: types::Timestamp,
        flags: Fstflags,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
        let one =
            |set: Fstflags, now: Fstflags, given: types::Timestamp| match (flags.contains(set), flags.contains(now)) {
                (true, true) => Err(Error::from(Errno::Inval)),
                (true, false) => Ok(Some(Timestamp(i64::try_from(given)?))),
                (false, true) => Ok(Some(self.clock.now())),
                (false, false) => Ok(None),
            };
        Ok((one(Fstflags::ATIM, Fstflags::ATIM_NOW, accessed)?, one(Fstflags::MTIM, Fstflags::MTIM_NOW, modified)?))
    }

    /// What WASI tells of a descriptor that the process shares with others.
    fn shared_stat(&self, shared: u32) -> Result<Fdstat, Error> {
        let state = self.kernel.lock();
        let id = state.open_file(self.pid, shared)?;
        let opened = state.open_files.status(id)?;
        let mut rights = Rights::empty();
        rights.set(Rights::FD_READ, opened & status::READ != 0);
        rights.set(Rights::FD_WRITE, opened & status::WRITE != 0);
        let FileKind::Node(node) = state.open_files.kind(id)? else { return Ok(stream_stat(rights)) };
        let is_device = state.vfs.device(node).is_some();
        let mut flags = Fdflags::empty();
        flags.set(Fdflags::APPEND, opened & status::APPEND != 0);
        Ok(Fdstat {
            fs_filetype: if is_device { Filetype::CharacterDevice } else { Filetype::RegularFile },
            fs_flags: flags,
            fs_rights_base: rights | Rights::FD_SEEK | Rights::FD_TELL | Rights::FD_FILESTAT_GET,
            fs_rights_inheriting: Rights::empty(),
        })
    }

    pub(super) async fn read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffers: IovecArray,
    ) -> Result<Size, Error> {
        if let Descriptor::Inherited(shared) = self.descriptors.get(fd)? {
            return self.read_shared(memory, *shared, buffers).await;
        }
        let opened = self.file_for_data(fd, Rights::FD_READ)?;
        let offset = opened.offset;
        if opened.is_channel {
            return self.read_answer(memory, buffers);
        }
        let read = self.read_at(memory, fd, buffers, offset)?;
        self.opened_mut(fd)?.offset = offset.saturating_add(u64::from(read));
        Ok(read)
    }

    fn read_answer(&mut self, memory: &mut GuestMemory<'_>, buffers: IovecArray) -> Result<Size, Error> {
        let mut done = 0;
        for buffer in guest_buffers(memory, buffers)? {
            let target = slice_mut(memory, buffer)?;
            let length = target.len().min(self.answer.len());
            target[..length].copy_from_slice(&self.answer[..length]);
            self.answer.drain(..length);
            done += Size::try_from(length)?;
        }
        Ok(done)
    }

    /// Reads from what the process shares with others, and waits until there is something.
    async fn read_shared(&self, memory: &mut GuestMemory<'_>, shared: u32, buffers: IovecArray) -> Result<Size, Error> {
        let buffers = guest_buffers(memory, buffers)?;
        let mut done = 0;
        for buffer in buffers {
            let target = slice_mut(memory, buffer)?;
            let read = loop {
                let attempt = {
                    let mut state = self.kernel.lock();
                    let id = state.open_file(self.pid, shared)?;
                    state.read(id, target)
                };
                match attempt {
                    Err(Fault::Wait | Fault::Errno(_)) if done > 0 => return Ok(done),
                    Err(Fault::Wait) => self.kernel.next_change(None).await,
                    read => break read?,
                }
            };
            done += Size::try_from(read)?;
            if read < target.len() {
                break;
            }
        }
        Ok(done)
    }

    /// A directory is no file to read from: that is said as POSIX does.
    fn file_for_data(&self, fd: Fd, rights: Rights) -> Result<&super::Opened, Error> {
        if self.opened(fd)?.is_directory {
            return Err(if rights == Rights::FD_READ { Errno::Isdir } else { Errno::Badf }.into());
        }
        self.file(fd, rights)
    }

    pub(super) fn read_at(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffers: IovecArray,
        offset: Filesize,
    ) -> Result<Size, Error> {
        let node = self.file_for_data(fd, Rights::FD_READ)?.node;
        let mut done: u32 = 0;
        for buffer in guest_buffers(memory, buffers)? {
            let target = slice_mut(memory, buffer)?;
            let at = offset.checked_add(u64::from(done)).ok_or(Errno::Inval)?;
            let read = self.vfs().read(node, at, target, &*self.entropy)?;
            done += u32::try_from(read)?;
            if read < target.len() {
                break;
            }
        }
        Ok(done)
    }

    pub(super) async fn write(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        buffers: CiovecArray,
    ) -> Result<Size, Error> {
        if let Descriptor::Inherited(shared) = self.descriptors.get(fd)? {
            return self.write_shared(memory, *shared, buffers).await;
        }
        let opened = self.file_for_data(fd, Rights::FD_WRITE)?;
        if opened.is_channel {
            return self.request(memory, buffers).await;
        }
        let (node, appends) = (opened.node, opened.flags.contains(Fdflags::APPEND));
        let offset = if appends { self.vfs().attributes(node)?.size } else { opened.offset };
        let written = self.write_bytes(memory, node, buffers, offset)?;
        self.opened_mut(fd)?.offset = offset.saturating_add(u64::from(written));
        Ok(written)
    }

    /// Writes to what the process shares with others, and waits until there is room.
    async fn write_shared(&self, memory: &GuestMemory<'_>, shared: u32, buffers: CiovecArray) -> Result<Size, Error> {
        let mut done = 0;
        for buffer in guest_const_buffers(memory, buffers)? {
            let mut source = slice(memory, buffer)?;
            while !source.is_empty() {
                let attempt = {
                    let mut state = self.kernel.lock();
                    let id = state.open_file(self.pid, shared)?;
                    state.write(self.pid, id, source)
                };
                match attempt {
                    Err(Fault::Errno(_)) if done > 0 => return Ok(done),
                    Err(Fault::Wait) => self.kernel.next_change(None).await,
                    written => {
                        let written = written?;
                        done += Size::try_from(written)?;
                        source = &source[written..];
                    }
                }
            }
        }
        Ok(done)
    }

    pub(super) fn write_at(
        &mut self,
        memory: &GuestMemory<'_>,
        fd: Fd,
        buffers: CiovecArray,
        offset: Filesize,
    ) -> Result<Size, Error> {
        let opened = self.file_for_data(fd, Rights::FD_WRITE)?;
        let node = opened.node;
        // As on Linux, and as the conformance suite has it: a file that appends appends here too.
        let offset = if opened.flags.contains(Fdflags::APPEND) { self.vfs().attributes(node)?.size } else { offset };
        self.write_bytes(memory, node, buffers, offset)
    }

    fn write_bytes(
        &mut self,
        memory: &GuestMemory<'_>,
        node: crate::vfs::Node,
        buffers: CiovecArray,
        offset: Filesize,
    ) -> Result<Size, Error> {
        let mut done: u32 = 0;
        for buffer in guest_const_buffers(memory, buffers)? {
            let source = slice(memory, buffer)?;
            let at = offset.checked_add(u64::from(done)).ok_or(Errno::Fbig)?;
            self.vfs().write(node, at, source)?;
            done += buffer.len();
        }
        Ok(done)
    }

    pub(super) fn seek(&mut self, fd: Fd, delta: Filedelta, whence: Whence) -> Result<Filesize, Error> {
        let opened = match self.descriptors.get(fd)? {
            Descriptor::Opened(opened) => opened,
            Descriptor::Inherited(shared) => return self.seek_shared(*shared, delta, whence),
        };
        if opened.is_directory {
            return Err(Errno::Badf.into());
        }
        let needed = if delta == 0 && whence == Whence::Cur { Rights::FD_TELL } else { Rights::FD_SEEK };
        if !opened.base.intersects(needed | Rights::FD_SEEK) {
            return Err(Errno::Notcapable.into());
        }
        let (node, offset) = (opened.node, opened.offset);
        let from = match whence {
            Whence::Set => 0,
            Whence::Cur => offset,
            Whence::End => self.vfs().attributes(node)?.size,
        };
        let to = from.checked_add_signed(delta).filter(|to| i64::try_from(*to).is_ok()).ok_or(Errno::Inval)?;
        self.opened_mut(fd)?.offset = to;
        Ok(to)
    }

    fn seek_shared(&self, shared: u32, delta: Filedelta, whence: Whence) -> Result<Filesize, Error> {
        let whence = match whence {
            Whence::Set => kernel::Whence::Start,
            Whence::Cur => kernel::Whence::Position,
            Whence::End => kernel::Whence::End,
        };
        let mut state = self.kernel.lock();
        let id = state.open_file(self.pid, shared)?;
        Ok(state.seek(id, delta, whence)?)
    }

    pub(super) fn renumber(&mut self, from: Fd, to: Fd) -> Result<(), Error> {
        let replaced = self.descriptors.renumber(from, to)?;
        if from != to {
            self.close(&replaced);
        }
        Ok(())
    }

    /// Lists a directory from a cookie on: whole entries, and the beginning of the next one to fill the buffer.
    pub(super) fn read_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffer: GuestPtr<[u8]>,
        cookie: Dircookie,
    ) -> Result<Size, Error> {
        let node = self.directory(fd, Rights::FD_READDIR)?.node;
        let parent = self.vfs().parent(node).unwrap_or(node);
        let target = slice_mut(memory, buffer)?;
        let mut done = 0;
        let dots = [(&b"."[..], node), (b"..", parent)];
        for (index, (name, dot)) in (1..).zip(dots).filter(|(index, _)| *index > cookie) {
            done += put_dirent(&mut target[done..], index, dot.inode().0, Filetype::Directory, name);
        }
        let mut next = cookie.saturating_sub(DOTS);
        while done < target.len() {
            let page = match self.vfs().read_directory(node, next, ENTRIES_AT_ONCE) {
                // A directory that was removed is empty.
                Err(FsError::NotFound) => break,
                page => page?,
            };
            let Some(last) = page.last() else { break };
            next = last.cookie;
            for entry in page {
                let cookie = entry.cookie.saturating_add(DOTS);
                done += put_dirent(&mut target[done..], cookie, entry.inode.0, filetype(entry.kind), &entry.name);
            }
        }
        Ok(Size::try_from(done)?)
    }
}

/// Writes as much of an entry as fits and returns how much that was.
fn put_dirent(target: &mut [u8], next: u64, inode: u64, kind: Filetype, name: &[u8]) -> usize {
    let mut header = [0; DIRENT_BYTES];
    header[0..8].copy_from_slice(&next.to_le_bytes());
    header[8..16].copy_from_slice(&inode.to_le_bytes());
    header[16..20].copy_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    header[20] = kind as u8;
    let length = target.len().min(DIRENT_BYTES);
    target[..length].copy_from_slice(&header[..length]);
    let rest = &mut target[length..];
    let named = rest.len().min(name.len());
    rest[..named].copy_from_slice(&name[..named]);
    length + named
}

/// Terminals are not what a guest has, and nothing can be sought in a stream.
const fn stream_stat(rights: Rights) -> Fdstat {
    Fdstat {
        fs_filetype: Filetype::Unknown,
        fs_flags: Fdflags::empty(),
        fs_rights_base: rights,
        fs_rights_inheriting: Rights::empty(),
    }
}

pub(super) const fn filetype(kind: Kind) -> Filetype {
    match kind {
        Kind::File => Filetype::RegularFile,
        Kind::Directory => Filetype::Directory,
        Kind::Symlink => Filetype::SymbolicLink,
    }
}

fn filestat(attributes: &Attributes) -> Filestat {
    let time = |time: Timestamp| u64::try_from(time.0).unwrap_or_default();
    Filestat {
        dev: DEVICE,
        ino: attributes.inode.0,
        filetype: filetype(attributes.kind),
        nlink: attributes.links,
        size: attributes.size,
        atim: time(attributes.accessed),
        mtim: time(attributes.modified),
        ctim: time(attributes.changed),
    }
}

/// Returns what a descriptor of a kind can have of the rights asked for.
pub(super) fn possible(is_directory: bool) -> Rights {
    if is_directory { directory_rights() } else { file_rights() }
}

/// Reads a list of buffers: at most so many, and together at most so large.
fn bounded(buffers: impl Iterator<Item = Result<GuestPtr<[u8]>, Error>>) -> Result<Vec<GuestPtr<[u8]>>, Error> {
    let mut room = TRANSFER_BYTES_MAX;
    let mut all = Vec::new();
    for buffer in buffers {
        let buffer = buffer?;
        let length = buffer.len().min(room);
        room -= length;
        if length > 0 {
            all.push(buffer.as_ptr().as_array(length));
        }
    }
    Ok(all)
}

fn guest_buffers(memory: &GuestMemory<'_>, buffers: IovecArray) -> Result<Vec<GuestPtr<[u8]>>, Error> {
    if buffers.len() > IOVECS_MAX {
        return Err(Errno::Inval.into());
    }
    bounded(buffers.iter().map(|buffer| {
        let buffer = memory.read(buffer?)?;
        Ok(buffer.buf.as_array(buffer.buf_len))
    }))
}

pub(super) fn guest_const_buffers(
    memory: &GuestMemory<'_>,
    buffers: CiovecArray,
) -> Result<Vec<GuestPtr<[u8]>>, Error> {
    if buffers.len() > IOVECS_MAX {
        return Err(Errno::Inval.into());
    }
    bounded(buffers.iter().map(|buffer| {
        let buffer = memory.read(buffer?)?;
        Ok(buffer.buf.as_array(buffer.buf_len))
    }))
}

/// Shared memories are never made for a guest, so its memory can be lent.
pub(super) fn slice<'a>(memory: &'a GuestMemory<'_>, buffer: GuestPtr<[u8]>) -> Result<&'a [u8], Error> {
    memory.as_slice(buffer)?.ok_or_else(|| Errno::Notsup.into())
}

pub(super) fn slice_mut<'a>(memory: &'a mut GuestMemory<'_>, buffer: GuestPtr<[u8]>) -> Result<&'a mut [u8], Error> {
    memory.as_slice_mut(buffer)?.ok_or_else(|| Errno::Notsup.into())
}
