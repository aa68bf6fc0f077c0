//! System calls on descriptors.

use std::time::Duration;

use sandglass_snapshots::{FsError, Kind};

use super::abi::*;
use super::{Call, Errno, Fault};
use crate::kernel::{FdFlags, Whence, status};

/// The most buffers of one call, and the most bytes that it moves: what is left is for the next.
const VECTOR_MAX: u32 = 1024;
const TRANSFER_BYTES_MAX: u32 = 16 << 20;
/// Descriptors that one call asks about at most.
const POLL_MAX: u32 = 1024;
/// Cookies of `.` and `..`, before those of the entries.
const DOTS: u64 = 2;
const ENTRIES_AT_ONCE: usize = 128;
/// Bytes of an entry of a listing before its name.
const ENTRY_BYTES: usize = 19;

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_UNLCK: u32 = 2;

const POLLIN: u32 = 1;
const POLLOUT: u32 = 4;
const POLLHUP: u32 = 0x10;
const POLLNVAL: u32 = 0x20;

pub(super) const fn fd_flags(flags: u32) -> FdFlags {
    FdFlags { close_on_exec: flags & O_CLOEXEC != 0 }
}

impl Call<'_> {
    pub(super) fn read(&mut self) -> Result<u32, Fault> {
        let [fd, at, length, ..] = self.arguments;
        let id = self.state.open_file(self.pid, fd)?;
        let buffer = self.guest.slice_mut(at, length.min(TRANSFER_BYTES_MAX))?;
        count(self.state.read(id, buffer)?)
    }

    pub(super) fn write(&mut self) -> Result<u32, Fault> {
        let [fd, at, length, ..] = self.arguments;
        let id = self.state.open_file(self.pid, fd)?;
        let bytes = self.guest.slice(at, length.min(TRANSFER_BYTES_MAX))?;
        count(self.state.write(self.pid, id, bytes)?)
    }

    /// The buffers of a vector: where each begins, and how long it is.
    fn vector(&self) -> Result<Vec<(u32, u32)>, Fault> {
        let [_, at, length, ..] = self.arguments;
        if length > VECTOR_MAX {
            return Err(Errno::EINVAL.into());
        }
        let mut room = TRANSFER_BYTES_MAX;
        let mut buffers = Vec::new();
        for index in 0..length {
            let place = at.checked_add(index * 8).ok_or(Errno::EFAULT)?;
            let taken = self.guest.u32(place.checked_add(4).ok_or(Errno::EFAULT)?)?.min(room);
            room -= taken;
            if taken > 0 {
                buffers.push((self.guest.u32(place)?, taken));
            }
        }
        Ok(buffers)
    }

    pub(super) fn read_vector(&mut self) -> Result<u32, Fault> {
        let id = self.state.open_file(self.pid, self.arguments[0])?;
        let mut done = 0;
        for (at, length) in self.vector()? {
            let read = match self.state.read(id, self.guest.slice_mut(at, length)?) {
                // What was read already is an answer.
                Err(Fault::Wait | Fault::Errno(_)) if done > 0 => break,
                read => count(read?)?,
            };
            done += read;
            if read < length {
                break;
            }
        }
        Ok(done)
    }

    pub(super) fn write_vector(&mut self) -> Result<u32, Fault> {
        let id = self.state.open_file(self.pid, self.arguments[0])?;
        let mut done = 0;
        for (at, length) in self.vector()? {
            let written = match self.state.write(self.pid, id, self.guest.slice(at, length)?) {
                Err(Fault::Wait | Fault::Errno(_)) if done > 0 => break,
                written => count(written?)?,
            };
            done += written;
            if written < length {
                break;
            }
        }
        Ok(done)
    }

    /// An offset in two registers.
    pub(super) fn wide(&self, low: usize) -> u64 {
        u64::from(self.arguments[low]) | u64::from(self.arguments[low + 1]) << 32
    }

    pub(super) fn read_at(&mut self) -> Result<u32, Fault> {
        let [fd, at, length, ..] = self.arguments;
        let offset = self.wide(3);
        let id = self.state.open_file(self.pid, fd)?;
        count(self.state.read_at(id, offset, self.guest.slice_mut(at, length.min(TRANSFER_BYTES_MAX))?)?)
    }

    pub(super) fn write_at(&mut self) -> Result<u32, Fault> {
        let [fd, at, length, ..] = self.arguments;
        let offset = self.wide(3);
        let id = self.state.open_file(self.pid, fd)?;
        count(self.state.write_at(id, offset, self.guest.slice(at, length.min(TRANSFER_BYTES_MAX))?)?)
    }

    pub(super) fn seek(&mut self) -> Result<u32, Fault> {
        let [fd, high, low, to, whence, _] = self.arguments;
        let whence = match whence {
            0 => Whence::Start,
            1 => Whence::Position,
            2 => Whence::End,
            _ => return Err(Errno::EINVAL.into()),
        };
        let delta = (u64::from(high) << 32 | u64::from(low)).cast_signed();
        let id = self.state.open_file(self.pid, fd)?;
        let position = self.state.seek(id, delta, whence)?;
        self.guest.put_u64(to, position)?;
        Ok(0)
    }

    pub(super) fn close(&mut self) -> Result<u32, Fault> {
        self.state.close_fd(self.pid, self.arguments[0])?;
        Ok(0)
    }

    pub(super) fn must_be_open(&mut self) -> Result<u32, Fault> {
        self.state.open_file(self.pid, self.arguments[0])?;
        Ok(0)
    }

    pub(super) fn duplicate(&mut self) -> Result<u32, Fault> {
        self.state.duplicate(self.pid, self.arguments[0], 0, FdFlags::default())
    }

    pub(super) fn duplicate_to(&mut self) -> Result<u32, Fault> {
        let [from, to, flags, ..] = self.arguments;
        if from == to {
            return Err(Errno::EINVAL.into());
        }
        self.state.duplicate_to(self.pid, from, to, fd_flags(flags))
    }

    pub(super) fn pipe(&mut self) -> Result<u32, Fault> {
        let [to, flags, ..] = self.arguments;
        let blocking = if flags & O_NONBLOCK != 0 { status::NONBLOCK } else { 0 };
        let (reader, writer) = self.state.open_pipe(blocking);
        let reader = self.state.install(self.pid, reader, fd_flags(flags));
        let writer = self.state.install(self.pid, writer, fd_flags(flags));
        let (reader, writer) = (reader?, writer?);
        self.guest.put_u32(to, reader)?;
        self.guest.put_u32(to.checked_add(4).ok_or(Errno::EFAULT)?, writer)?;
        Ok(0)
    }

    pub(super) fn control(&mut self) -> Result<u32, Fault> {
        let [fd, command, value, ..] = self.arguments;
        let id = self.state.open_file(self.pid, fd)?;
        match command {
            F_DUPFD => self.state.duplicate(self.pid, fd, value, FdFlags::default()),
            F_DUPFD_CLOEXEC => self.state.duplicate(self.pid, fd, value, FdFlags { close_on_exec: true }),
            F_GETFD => {
                let (_, flags) = self.state.process(self.pid)?.descriptors.get(fd)?;
                Ok(u32::from(flags.close_on_exec))
            }
            F_SETFD => {
                let flags = FdFlags { close_on_exec: value & 1 != 0 };
                self.state.process_mut(self.pid)?.descriptors.set_flags(fd, flags)?;
                Ok(0)
            }
            F_GETFL => {
                let opened = self.state.open_files.status(id)?;
                let access = match (opened & status::READ != 0, opened & status::WRITE != 0) {
                    (true, true) => O_RDWR,
                    (false, true) => O_WRONLY,
                    _ => 0,
                };
                let set = |flag, value| if opened & flag != 0 { value } else { 0 };
                Ok(access | set(status::APPEND, O_APPEND) | set(status::NONBLOCK, O_NONBLOCK))
            }
            F_SETFL => {
                let opened = self.state.open_files.status(id)? & !(status::APPEND | status::NONBLOCK);
                let set = |flag, from| if value & from != 0 { flag } else { 0 };
                let changed = set(status::APPEND, O_APPEND) | set(status::NONBLOCK, O_NONBLOCK);
                self.state.open_files.set_status(id, opened | changed)?;
                Ok(0)
            }
            // Locks between the processes of one call are not kept: they run in turns, and files have one writer.
            F_GETLK | 12 => {
                self.guest.put(value, &[u8::try_from(F_UNLCK).unwrap_or_default(), 0])?;
                Ok(0)
            }
            F_SETLK | F_SETLKW | 13 | 14 => Ok(0),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// Nothing here is a terminal.
    pub(super) fn device_control(&mut self) -> Result<u32, Fault> {
        const FIONREAD: u32 = 0x541B;
        const FIONBIO: u32 = 0x5421;
        let [fd, request, at, ..] = self.arguments;
        let id = self.state.open_file(self.pid, fd)?;
        match request {
            FIONREAD => {
                let bytes = self.state.ready(id)?.read.unwrap_or(0);
                self.guest.put_u32(at, u32::try_from(bytes).unwrap_or(u32::MAX))?;
                Ok(0)
            }
            FIONBIO => {
                let opened = self.state.open_files.status(id)? & !status::NONBLOCK;
                let blocking = if self.guest.u32(at)? != 0 { status::NONBLOCK } else { 0 };
                self.state.open_files.set_status(id, opened | blocking)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn writable(&mut self, fd: u32) -> Result<(crate::vfs::Node, u64), Fault> {
        let id = self.state.open_file(self.pid, fd)?;
        let (node, attributes) = self.state.attributes(id)?.ok_or(Errno::EINVAL)?;
        if attributes.kind != Kind::File || self.state.open_files.status(id)? & status::WRITE == 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok((node, attributes.size))
    }

    pub(super) fn set_size(&mut self) -> Result<u32, Fault> {
        let (node, _) = self.writable(self.arguments[0])?;
        let size = self.wide(1);
        i64::try_from(size).map_err(|_| Errno::EINVAL)?;
        self.state.vfs.set_size(node, size)?;
        Ok(0)
    }

    pub(super) fn allocate(&mut self) -> Result<u32, Fault> {
        let [fd, mode, ..] = self.arguments;
        let (node, size) = self.writable(fd)?;
        if mode != 0 {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let end = self.wide(2).checked_add(self.wide(4)).ok_or(Errno::EFBIG)?;
        if end > size {
            self.state.vfs.set_size(node, end)?;
        }
        Ok(0)
    }

    pub(super) fn read_directory(&mut self) -> Result<u32, Fault> {
        let [fd, at, length, ..] = self.arguments;
        let id = self.state.open_file(self.pid, fd)?;
        let node = self.state.directory(id)?;
        let mut position = self.state.seek(id, 0, Whence::Position)?;
        let parent = self.state.vfs.parent(node).unwrap_or(node);
        let length = length.min(TRANSFER_BYTES_MAX);
        let mut done = 0;
        let target = self.guest.slice_mut(at, length)?;
        for (cookie, (name, inode)) in (1..).zip([(&b"."[..], node.inode()), (b"..", parent.inode())]) {
            if position < cookie && !put_entry(target, &mut done, cookie, inode.0, Kind::Directory, name) {
                return finished(&mut self.state, id, position, done);
            }
            position = position.max(cookie);
        }
        loop {
            let page = match self.state.vfs.read_directory(node, position - DOTS, ENTRIES_AT_ONCE) {
                // A directory that was removed is empty.
                Err(FsError::NotFound) => break,
                page => page?,
            };
            if page.is_empty() {
                break;
            }
            for entry in page {
                let cookie = entry.cookie.saturating_add(DOTS);
                if !put_entry(target, &mut done, cookie, entry.inode.0, entry.kind, &entry.name) {
                    return finished(&mut self.state, id, position, done);
                }
                position = cookie;
            }
        }
        finished(&mut self.state, id, position, done)
    }

    /// What a descriptor is ready for, of what is asked.
    fn events(&mut self, fd: u32, asked: u32) -> Result<u32, Fault> {
        let Ok(id) = self.state.open_file(self.pid, fd) else { return Ok(POLLNVAL) };
        let ready = self.state.ready(id)?;
        let read = if ready.read.is_some() { POLLIN } else { 0 };
        let write = if ready.write { POLLOUT } else { 0 };
        let hung_up = if ready.hung_up { POLLHUP } else { 0 };
        Ok((read | write) & asked | hung_up)
    }

    /// Sets when this call gives up, the first time it is tried.
    pub(super) fn wait_until(&mut self, at: u32) -> Result<(), Fault> {
        if self.deadline.is_none() && at != 0 {
            let wait = self.duration(at)?;
            *self.deadline = Some(self.state.clock.monotonic().saturating_add(wait));
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.state.clock.monotonic() >= deadline)
    }

    pub(super) fn poll(&mut self) -> Result<u32, Fault> {
        let [at, length, timeout, ..] = self.arguments;
        if length > POLL_MAX {
            return Err(Errno::EINVAL.into());
        }
        self.wait_until(timeout)?;
        let mut found = 0;
        for index in 0..length {
            let place = at.checked_add(index * 8).ok_or(Errno::EFAULT)?;
            let fd = self.guest.u32(place)?;
            let asked = self.guest.u32(place.checked_add(4).ok_or(Errno::EFAULT)?)? & 0xffff;
            let events = if fd.cast_signed() < 0 { 0 } else { self.events(fd, asked)? };
            self.guest.put_u32(place + 4, asked | events << 16)?;
            found += u32::from(events != 0);
        }
        if found > 0 || self.is_over() { Ok(found) } else { Err(Fault::Wait) }
    }

    pub(super) fn select(&mut self) -> Result<u32, Fault> {
        let [count, reads, writes, excepts, timeout, _] = self.arguments;
        if count > POLL_MAX {
            return Err(Errno::EINVAL.into());
        }
        self.wait_until(timeout)?;
        let bytes = count.div_ceil(32) * 4;
        let mut found = 0;
        let mut results = Vec::new();
        for (at, wanted) in [(reads, POLLIN), (writes, POLLOUT)] {
            if at == 0 {
                continue;
            }
            let asked = self.guest.slice(at, bytes)?.to_vec();
            let mut result = vec![0; asked.len()];
            for fd in 0..count {
                let (byte, bit) = ((fd / 8) as usize, 1u8 << (fd % 8));
                if asked[byte] & bit == 0 {
                    continue;
                }
                let events = self.events(fd, wanted)?;
                if events & POLLNVAL != 0 {
                    return Err(Errno::EBADF.into());
                }
                if events != 0 {
                    result[byte] |= bit;
                    found += 1;
                }
            }
            results.push((at, result));
        }
        if found == 0 && !self.is_over() {
            return Err(Fault::Wait);
        }
        for (at, result) in results {
            self.guest.put(at, &result)?;
        }
        if excepts != 0 {
            self.guest.slice_mut(excepts, bytes)?.fill(0);
        }
        Ok(found)
    }

    /// A time of 64-bit seconds and nanoseconds.
    pub(super) fn duration(&self, at: u32) -> Result<Duration, Fault> {
        let seconds = self.guest.i64(at)?;
        let nanoseconds = self.guest.u32(at.checked_add(8).ok_or(Errno::EFAULT)?)?;
        if nanoseconds >= 1_000_000_000 {
            return Err(Errno::EINVAL.into());
        }
        Ok(Duration::new(u64::try_from(seconds).map_err(|_| Errno::EINVAL)?, nanoseconds))
    }
}

pub(super) fn count(bytes: usize) -> Result<u32, Fault> {
    u32::try_from(bytes).map_err(|_| Errno::EINVAL.into())
}

fn finished(
    state: &mut crate::kernel::State,
    id: crate::kernel::OpenFileId,
    position: u64,
    done: usize,
) -> Result<u32, Fault> {
    state.seek(id, position.cast_signed(), Whence::Start)?;
    count(done)
}

/// Writes an entry of a listing if it fits, and says whether it did.
fn put_entry(target: &mut [u8], done: &mut usize, cookie: u64, inode: u64, kind: Kind, name: &[u8]) -> bool {
    let length = (ENTRY_BYTES + name.len() + 1).next_multiple_of(8);
    let Some(place) = target.get_mut(*done..*done + length) else { return false };
    place.fill(0);
    place[0..8].copy_from_slice(&inode.to_le_bytes());
    place[8..16].copy_from_slice(&cookie.to_le_bytes());
    place[16..18].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    place[18] = match kind {
        Kind::Directory => 4,
        Kind::File => 8,
        Kind::Symlink => 10,
    };
    place[ENTRY_BYTES..ENTRY_BYTES + name.len()].copy_from_slice(name);
    *done += length;
    true
}
