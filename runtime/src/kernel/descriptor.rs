//! Descriptors: a process's numbers for open files.

use super::errno::{Errno, Fault};
use super::open_file::OpenFileId;
use crate::limits::Limit;

/// What belongs to a number and not to the open file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FdFlags {
    /// Closed when the process becomes another program.
    pub(crate) close_on_exec: bool,
}

/// A process's descriptors, by number.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    table: Vec<Option<(OpenFileId, FdFlags)>>,
    open: usize,
    open_max: u32,
    /// A lower number that no descriptor shall reach, if the process set one.
    lowered: Option<u32>,
}

impl Descriptors {
    pub(crate) const fn new(open_max: u32) -> Self {
        Self { table: Vec::new(), open: 0, open_max, lowered: None }
    }

    pub(crate) fn get(&self, fd: u32) -> Result<(OpenFileId, FdFlags), Fault> {
        self.table.get(fd as usize).copied().flatten().ok_or_else(|| Errno::EBADF.into())
    }

    pub(crate) fn set_flags(&mut self, fd: u32, flags: FdFlags) -> Result<(), Fault> {
        let place = self.table.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        place.1 = flags;
        Ok(())
    }

    /// Fails before anything is opened when one more would be too many: reaching a limit ends the call.
    pub(crate) fn check_room(&self) -> Result<(), Fault> {
        if self.open >= self.open_max as usize {
            return Err(Fault::limit(Limit::OpenFiles, u64::from(self.open_max)));
        }
        if self.lowered.is_some() && self.free(0) >= self.limit() as usize {
            return Err(Errno::EMFILE.into());
        }
        Ok(())
    }

    /// Returns the lowest free number that is not below `lowest`.
    fn free(&self, lowest: u32) -> usize {
        let mut number = lowest as usize;
        while self.table.get(number).is_some_and(Option::is_some) {
            number += 1;
        }
        number
    }

    /// Sets the number that no new descriptor reaches; it can't be more than the call's own.
    pub(crate) const fn lower(&mut self, limit: u32) {
        self.lowered = Some(limit);
    }

    /// Gives the lowest free number that is not below `lowest`, as POSIX does.
    pub(crate) fn insert(&mut self, id: OpenFileId, flags: FdFlags, lowest: u32) -> Result<u32, Fault> {
        self.check_room()?;
        if lowest >= self.limit() {
            return Err(Errno::EINVAL.into());
        }
        let fd = u32::try_from(self.free(lowest)).map_err(|_| Errno::EMFILE)?;
        if fd >= self.limit() {
            return Err(Errno::EMFILE.into());
        }
        self.put(fd, id, flags)?;
        Ok(fd)
    }

    /// Makes a number stand for an open file, and returns what it stood for.
    pub(crate) fn put(&mut self, fd: u32, id: OpenFileId, flags: FdFlags) -> Result<Option<OpenFileId>, Fault> {
        if fd >= self.limit() {
            return Err(Errno::EBADF.into());
        }
        let number = fd as usize;
        if number >= self.table.len() {
            self.table.resize(number + 1, None);
        }
        let before = self.table[number].replace((id, flags)).map(|(id, _)| id);
        self.open += usize::from(before.is_none());
        Ok(before)
    }

    pub(crate) fn remove(&mut self, fd: u32) -> Result<OpenFileId, Fault> {
        let removed = self.table.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::EBADF)?;
        self.open -= 1;
        Ok(removed.0)
    }

    /// Returns all numbers in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, OpenFileId, FdFlags)> {
        (0..).zip(&self.table).filter_map(|(fd, place)| place.map(|(id, flags)| (fd, id, flags)))
    }

    /// The number that no descriptor reaches: shells keep some high ones for themselves.
    pub(crate) const fn limit(&self) -> u32 {
        let all = self.open_max.saturating_add(1024);
        match self.lowered {
            Some(lowered) if lowered < all => lowered,
            _ => all,
        }
    }
}
