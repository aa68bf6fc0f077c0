//! Open files: what descriptors stand for. Copies of a descriptor, in this process and in its children, share one, and with it
//! the position.

use std::collections::VecDeque;

use bytes::Bytes;
use sandglass_snapshots::{Attributes, FsError, Kind};

use super::errno::{Errno, Fault};
use super::{Pid, State, signal};
use crate::vfs::{Node, Vfs, work};
use crate::wasi::Stream;

/// Bytes that a pipe holds: Linux's usual size.
const PIPE_BYTES: usize = 64 << 10;
/// Where the numbers of pipes begin, after those of the streams.
const FIRST_PIPE: u64 = 16;
/// A write of so many bytes goes into a pipe whole or not at all.
const PIPE_ATOMIC_BYTES: usize = 4096;

/// How a file was opened.
pub(crate) mod status {
    pub(crate) const READ: u32 = 1;
    pub(crate) const WRITE: u32 = 2;
    pub(crate) const APPEND: u32 = 4;
    pub(crate) const NONBLOCK: u32 = 8;
    /// A path only: nothing can be read or written.
    pub(crate) const PATH: u32 = 16;
}

/// The number of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpenFileId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipeId(usize);

/// What is open.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A file or directory; for a directory, `offset` is the cookie of the next entry.
    Node { node: Node, offset: u64 },
    /// The end of a pipe that is read from.
    PipeReader(PipeId),
    /// The end of a pipe that is written to.
    PipeWriter(PipeId),
    /// The call's standard input.
    Stdin { position: usize },
    /// The call's standard output or error.
    Output(Stream),
    /// What a session had open and has no more: every use of it is an error.
    Lost,
}

/// What kind of thing is open, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Node(Node),
    /// A pipe; both of its ends have its number.
    Pipe(u64),
    /// A stream of the call, by its number.
    Stream(u64),
}

#[derive(Clone, Debug)]
struct OpenFile {
    target: Target,
    status: u32,
    references: usize,
    /// Which of the call's standard streams it is: 0, 1 or 2.
    standard: Option<u32>,
    /// By which directory and name it was opened, when it has those.
    opened_at: Option<(Node, Bytes)>,
}

#[derive(Clone, Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    readers: usize,
    writers: usize,
}

/// From where a position counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    Start,
    Position,
    End,
}

/// All open files and pipes of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenFiles {
    files: Vec<Option<OpenFile>>,
    pipes: Vec<Option<Pipe>>,
}

fn place<T>(slots: &mut Vec<Option<T>>, value: T) -> usize {
    let free = slots.iter().position(Option::is_none).unwrap_or_else(|| {
        slots.push(None);
        slots.len() - 1
    });
    slots[free] = Some(value);
    free
}

impl OpenFiles {
    pub(super) fn insert(&mut self, target: Target, status: u32) -> OpenFileId {
        let file = OpenFile { target, status, references: 1, standard: None, opened_at: None };
        OpenFileId(place(&mut self.files, file))
    }

    /// Opens one of the call's standard streams.
    pub(super) fn insert_standard(&mut self, number: u32, target: Target, status: u32) -> OpenFileId {
        let file = OpenFile { target, status, references: 1, standard: Some(number), opened_at: None };
        OpenFileId(place(&mut self.files, file))
    }

    /// Keeps by which directory and name a file was opened.
    pub(crate) fn set_opened_at(&mut self, id: OpenFileId, directory: Node, name: Bytes) {
        if let Ok(file) = self.get_mut(id) {
            file.opened_at = Some((directory, name));
        }
    }

    /// Returns the node of an open file or directory and the position in it.
    pub(super) fn node(&self, id: OpenFileId) -> Option<(Node, u64)> {
        match self.get(id).ok()?.target {
            Target::Node { node, offset } => Some((node, offset)),
            _ => None,
        }
    }

    pub(super) fn opened_at(&self, id: OpenFileId) -> Option<(Node, Bytes)> {
        self.get(id).ok()?.opened_at.clone()
    }

    /// Returns which of the call's standard streams an open file is, if it is one.
    pub(super) fn standard(&self, id: OpenFileId) -> Option<u32> {
        self.get(id).ok()?.standard
    }

    fn get(&self, id: OpenFileId) -> Result<&OpenFile, Fault> {
        let file = self.files.get(id.0).and_then(Option::as_ref);
        file.filter(|file| !matches!(file.target, Target::Lost)).ok_or_else(|| Errno::EBADF.into())
    }

    fn get_mut(&mut self, id: OpenFileId) -> Result<&mut OpenFile, Fault> {
        let file = self.files.get_mut(id.0).and_then(Option::as_mut);
        file.filter(|file| !matches!(file.target, Target::Lost)).ok_or_else(|| Errno::EBADF.into())
    }

    fn pipe(&mut self, id: PipeId) -> Result<&mut Pipe, Fault> {
        self.pipes.get_mut(id.0).and_then(Option::as_mut).ok_or_else(|| Errno::EBADF.into())
    }

    /// Says that one more descriptor stands for it.
    pub(crate) fn share(&mut self, id: OpenFileId) {
        if let Some(file) = self.files.get_mut(id.0).and_then(Option::as_mut) {
            file.references += 1;
        }
    }

    pub(crate) fn status(&self, id: OpenFileId) -> Result<u32, Fault> {
        Ok(self.get(id)?.status)
    }

    pub(crate) fn set_status(&mut self, id: OpenFileId, status: u32) -> Result<(), Fault> {
        self.get_mut(id)?.status = status;
        Ok(())
    }

    pub(crate) fn kind(&self, id: OpenFileId) -> Result<FileKind, Fault> {
        Ok(match &self.get(id)?.target {
            Target::Node { node, .. } => FileKind::Node(*node),
            Target::PipeReader(pipe) | Target::PipeWriter(pipe) => FileKind::Pipe(FIRST_PIPE + pipe.0 as u64),
            Target::Stdin { .. } => FileKind::Stream(1),
            Target::Output(Stream::Stdout) => FileKind::Stream(2),
            Target::Output(Stream::Stderr) => FileKind::Stream(3),
            Target::Lost => return Err(Errno::EBADF.into()),
        })
    }

    /// Says whether some process can still print.
    pub(super) fn has_output(&self) -> bool {
        self.files.iter().flatten().any(|file| matches!(file.target, Target::Output(_)))
    }
}

impl State {
    /// Opens a node that was walked to.
    pub(crate) fn open_node(&mut self, node: Node, status: u32) -> Result<OpenFileId, Fault> {
        self.vfs.retain(node)?;
        Ok(self.open_files.insert(Target::Node { node, offset: 0 }, status))
    }

    /// Makes a pipe: the end to read from, the end to write to.
    pub(crate) fn open_pipe(&mut self, status: u32) -> (OpenFileId, OpenFileId) {
        let pipe = PipeId(place(&mut self.open_files.pipes, Pipe { bytes: VecDeque::new(), readers: 1, writers: 1 }));
        let reader = self.open_files.insert(Target::PipeReader(pipe), status | self::status::READ);
        (reader, self.open_files.insert(Target::PipeWriter(pipe), status | self::status::WRITE))
    }

    /// Says that one descriptor less stands for an open file.
    pub(crate) fn close(&mut self, id: OpenFileId) {
        let Some(file) = self.open_files.files.get_mut(id.0).and_then(Option::as_mut) else { return };
        file.references -= 1;
        if file.references > 0 {
            return;
        }
        let target = self.open_files.files[id.0].take().map(|file| file.target);
        let pipe = match target {
            Some(Target::Node { node, .. }) => return self.vfs.release(node),
            Some(Target::PipeReader(pipe)) => {
                self.open_files.pipes[pipe.0].as_mut().into_iter().for_each(|ends| ends.readers -= 1);
                pipe
            }
            Some(Target::PipeWriter(pipe)) => {
                self.open_files.pipes[pipe.0].as_mut().into_iter().for_each(|ends| ends.writers -= 1);
                pipe
            }
            Some(Target::Stdin { .. } | Target::Output(_) | Target::Lost) | None => return self.changed(),
        };
        if self.open_files.pipes[pipe.0].as_ref().is_some_and(|ends| ends.readers == 0 && ends.writers == 0) {
            self.open_files.pipes[pipe.0] = None;
        }
        self.changed();
    }

    /// Reads what is there, at most as much as fits.
    pub(crate) fn read(&mut self, id: OpenFileId, buffer: &mut [u8]) -> Result<usize, Fault> {
        let file = self.open_files.get_mut(id)?;
        if file.status & status::READ == 0 {
            return Err(Errno::EBADF.into());
        }
        let nonblocking = file.status & status::NONBLOCK != 0;
        match &mut file.target {
            Target::Node { node, offset } => {
                let (node, from) = (*node, *offset);
                let read = read_node(&mut self.vfs, node, from, buffer, &*self.entropy)?;
                if let Target::Node { offset, .. } = &mut self.open_files.get_mut(id)?.target {
                    *offset = from.saturating_add(read as u64);
                }
                Ok(read)
            }
            Target::Stdin { position } => {
                let left = self.stdin.get(*position..).unwrap_or_default();
                let length = buffer.len().min(left.len());
                buffer[..length].copy_from_slice(&left[..length]);
                *position += length;
                self.vfs.spend(work::bytes(length));
                Ok(length)
            }
            Target::PipeReader(pipe) => {
                let pipe = *pipe;
                let ends = self.open_files.pipe(pipe)?;
                if ends.bytes.is_empty() && !buffer.is_empty() {
                    return match (ends.writers, nonblocking) {
                        (0, _) => Ok(0),
                        (_, true) => Err(Errno::EAGAIN.into()),
                        (_, false) => Err(Fault::Wait),
                    };
                }
                let length = buffer.len().min(ends.bytes.len());
                let (front, back) = ends.bytes.as_slices();
                let first = length.min(front.len());
                buffer[..first].copy_from_slice(&front[..first]);
                buffer[first..length].copy_from_slice(&back[..length - first]);
                ends.bytes.drain(..length);
                self.vfs.spend(work::bytes(length));
                self.changed();
                Ok(length)
            }
            Target::PipeWriter(_) | Target::Output(_) | Target::Lost => Err(Errno::EBADF.into()),
        }
    }

    /// Writes as much as there is room for. Nobody reading a pipe any more is a signal, too.
    pub(crate) fn write(&mut self, pid: Pid, id: OpenFileId, bytes: &[u8]) -> Result<usize, Fault> {
        let file = self.open_files.get(id)?;
        if file.status & status::WRITE == 0 {
            return Err(Errno::EBADF.into());
        }
        let (appends, nonblocking) = (file.status & status::APPEND != 0, file.status & status::NONBLOCK != 0);
        match &file.target {
            Target::Node { node, offset } => {
                let (node, offset) = (*node, *offset);
                let at = if appends { self.vfs.attributes(node)?.size } else { offset };
                self.vfs.write(node, at, bytes)?;
                if let Target::Node { offset, .. } = &mut self.open_files.get_mut(id)?.target {
                    *offset = at.saturating_add(bytes.len() as u64);
                }
                Ok(bytes.len())
            }
            Target::Output(stream) => {
                let stream = *stream;
                self.print(stream, bytes)
            }
            Target::PipeWriter(pipe) => {
                let pipe = *pipe;
                let ends = self.open_files.pipe(pipe)?;
                if ends.readers == 0 {
                    self.signal(pid, signal::PIPE);
                    return Err(Errno::EPIPE.into());
                }
                let room = PIPE_BYTES - ends.bytes.len();
                let must_fit = if bytes.len() <= PIPE_ATOMIC_BYTES { bytes.len() } else { 1 };
                if room < must_fit {
                    return Err(if nonblocking { Errno::EAGAIN.into() } else { Fault::Wait });
                }
                let taken = bytes.len().min(room);
                ends.bytes.extend(&bytes[..taken]);
                self.vfs.spend(work::bytes(taken));
                self.changed();
                Ok(taken)
            }
            Target::PipeReader(_) | Target::Stdin { .. } | Target::Lost => Err(Errno::EBADF.into()),
        }
    }

    /// Reads at a position, which stays where it is.
    pub(crate) fn read_at(&mut self, id: OpenFileId, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let file = self.open_files.get(id)?;
        let Target::Node { node, .. } = file.target else { return Err(Errno::ESPIPE.into()) };
        if file.status & status::READ == 0 {
            return Err(Errno::EBADF.into());
        }
        read_node(&mut self.vfs, node, offset, buffer, &*self.entropy)
    }

    /// Writes at a position, which stays where it is.
    pub(crate) fn write_at(&mut self, id: OpenFileId, offset: u64, bytes: &[u8]) -> Result<usize, Fault> {
        let file = self.open_files.get(id)?;
        let Target::Node { node, .. } = file.target else { return Err(Errno::ESPIPE.into()) };
        if file.status & status::WRITE == 0 {
            return Err(Errno::EBADF.into());
        }
        // As on Linux: a file that appends appends here too.
        let appends = file.status & status::APPEND != 0;
        let offset = if appends { self.vfs.attributes(node)?.size } else { offset };
        self.vfs.write(node, offset, bytes)?;
        Ok(bytes.len())
    }

    pub(crate) fn seek(&mut self, id: OpenFileId, delta: i64, whence: Whence) -> Result<u64, Fault> {
        let Target::Node { node, offset } = self.open_files.get(id)?.target else { return Err(Errno::ESPIPE.into()) };
        let from = match whence {
            Whence::Start => 0,
            Whence::Position => offset,
            Whence::End => self.vfs.attributes(node)?.size,
        };
        let to = from.checked_add_signed(delta).filter(|to| i64::try_from(*to).is_ok()).ok_or(Errno::EINVAL)?;
        if let Target::Node { offset, .. } = &mut self.open_files.get_mut(id)?.target {
            *offset = to;
        }
        Ok(to)
    }

    /// Returns what is known of an open file, if it is one of the file system.
    pub(crate) fn attributes(&mut self, id: OpenFileId) -> Result<Option<(Node, Attributes)>, Fault> {
        match self.open_files.kind(id)? {
            FileKind::Node(node) => Ok(Some((node, self.vfs.attributes(node)?))),
            FileKind::Pipe(_) | FileKind::Stream(_) => Ok(None),
        }
    }

    /// Returns the node of an open directory.
    pub(crate) fn directory(&mut self, id: OpenFileId) -> Result<Node, Fault> {
        match self.attributes(id)? {
            Some((node, attributes)) if attributes.kind == Kind::Directory => Ok(node),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    /// Says whether reading would answer at once, and with how many bytes; and whether writing would.
    pub(crate) fn ready(&mut self, id: OpenFileId) -> Result<Ready, Fault> {
        let (position, target) = match &self.open_files.get(id)?.target {
            Target::Node { node, offset } => {
                let (node, offset) = (*node, *offset);
                let left = self.vfs.attributes(node)?.size.saturating_sub(offset);
                return Ok(Ready { read: Some(left), write: true, hung_up: false });
            }
            Target::Stdin { position } => (*position, None),
            Target::Output(_) => return Ok(Ready { read: None, write: true, hung_up: false }),
            Target::PipeReader(pipe) => (0, Some((*pipe, true))),
            Target::PipeWriter(pipe) => (0, Some((*pipe, false))),
            Target::Lost => return Err(Errno::EBADF.into()),
        };
        let Some((pipe, is_reader)) = target else {
            let left = self.stdin.len().saturating_sub(position) as u64;
            return Ok(Ready { read: Some(left), write: false, hung_up: left == 0 });
        };
        let ends = self.open_files.pipe(pipe)?;
        Ok(if is_reader {
            let hung_up = ends.writers == 0;
            let read = (!ends.bytes.is_empty() || hung_up).then_some(ends.bytes.len() as u64);
            Ready { read, write: false, hung_up }
        } else {
            let hung_up = ends.readers == 0;
            Ready { read: None, write: hung_up || PIPE_BYTES - ends.bytes.len() >= PIPE_ATOMIC_BYTES, hung_up }
        })
    }
}

/// What an open file is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) read: Option<u64>,
    pub(crate) write: bool,
    pub(crate) hung_up: bool,
}

/// Fills the buffer as far as the file goes.
fn read_node(
    vfs: &mut Vfs,
    node: Node,
    offset: u64,
    buffer: &mut [u8],
    entropy: &dyn crate::entropy::Entropy,
) -> Result<usize, Fault> {
    match vfs.read(node, offset, buffer, entropy) {
        Err(FsError::Invalid) => Err(Errno::EISDIR.into()),
        read => Ok(read?),
    }
}
