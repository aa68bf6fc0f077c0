//! A guest's descriptors at rest: what a session keeps of them between two calls, and how they come back over other files.
//!
//! Files are found again as `kernel/rest.rs` does it; what is not there any more, or can't be carried, answers `EBADF`.

use serde::{Deserialize, Serialize};

use super::Wasi;
use super::descriptor::{Descriptor, Descriptors, Opened};
use super::preview1::types::{Fd, Fdflags, Rights};
use crate::kernel::{FdFlags, FileKind, State, Whence, status};
use crate::vfs::Device;

const FORMAT: u32 = 1;
/// A number that no descriptor of a process has: what it stands for is lost.
const LOST: u32 = u32::MAX;

/// What is kept, as JSON. See `docs/formats/tree.md`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    format: u32,
    /// What the monotonic clock showed, in nanoseconds: it never goes back.
    monotonic_ns: u64,
    /// Standard descriptors that the guest has closed.
    closed: Vec<u32>,
    open: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    fd: u32,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum What {
    /// A file or directory.
    File {
        path: Vec<u8>,
        inode: u64,
        offset: u64,
        flags: u16,
        base: u64,
        inheriting: u64,
        shared: bool,
    },
    /// Another number of a standard stream.
    Standard(u32),
    Lost,
}

impl Wasi {
    /// Returns what a session keeps of its descriptors, when nothing of it runs.
    pub(crate) fn at_rest(&self) -> Vec<u8> {
        let monotonic = self.monotonic();
        let mut rest = Rest {
            format: FORMAT,
            monotonic_ns: u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX),
            ..Rest::default()
        };
        rest.closed = (0..3).filter(|fd| self.descriptors.get(Fd::from(*fd)).is_err()).collect();
        let mut state = self.kernel.lock();
        for (fd, descriptor) in self.descriptors.iter() {
            let what = match descriptor {
                Descriptor::Opened(opened) if opened.preopen.is_some() => continue,
                Descriptor::Opened(opened) => kept(&mut state, opened, opened.offset, false),
                Descriptor::Inherited(shared) if fd < 3 && *shared == fd => continue,
                Descriptor::Inherited(shared) => self.inherited(&mut state, *shared),
            };
            rest.open.push(Kept { fd, what });
        }
        serde_json::to_vec(&rest).unwrap_or_default()
    }

    fn inherited(&self, state: &mut State, shared: u32) -> What {
        let Ok(id) = state.open_file(self.pid, shared) else { return What::Lost };
        match state.open_files.kind(id) {
            Ok(FileKind::Node(node)) => {
                let flags = state.open_files.status(id).unwrap_or(0);
                let offset = state.seek(id, 0, Whence::Position).unwrap_or(0);
                let mut opened = Opened::found(node, false);
                opened.base.set(Rights::FD_READ, flags & status::READ != 0);
                opened.base.set(Rights::FD_WRITE, flags & status::WRITE != 0);
                opened.flags.set(Fdflags::APPEND, flags & status::APPEND != 0);
                kept(state, &opened, offset, true)
            }
            Ok(FileKind::Stream(number)) => What::Standard(u32::try_from(number).unwrap_or(1) - 1),
            Ok(FileKind::Pipe(_)) | Err(_) => What::Lost,
        }
    }

    /// Opens what a session had open.
    ///
    /// # Errors
    /// The bytes are not what [`Self::at_rest`] gives.
    pub(crate) fn come_back(&mut self, rest: &[u8]) -> Result<(), String> {
        if rest.is_empty() {
            return Ok(());
        }
        let rest: Rest = serde_json::from_slice(rest).map_err(|error| error.to_string())?;
        if rest.format != FORMAT {
            return Err(format!("descriptors of format {}", rest.format));
        }
        let now = u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        self.clock_ahead = std::time::Duration::from_nanos(rest.monotonic_ns.saturating_sub(now));
        for fd in rest.closed.iter().filter(|fd| **fd < 3) {
            drop(self.descriptors.remove(Fd::from(*fd)));
        }
        for Kept { fd, what } in rest.open {
            let descriptor = match what {
                What::Standard(number) if number < 3 => {
                    let flags = FdFlags { close_on_exec: true };
                    let copy = self.kernel.lock().duplicate(self.pid, number, 3, flags);
                    Descriptor::Inherited(copy.unwrap_or(LOST))
                }
                What::Standard(_) | What::Lost => Descriptor::Inherited(LOST),
                file @ What::File { .. } => self.reopened(file),
            };
            if self.descriptors.replace(Fd::from(fd), descriptor).is_err() {
                return Err(format!("descriptor {fd} is beyond the limit"));
            }
        }
        Ok(())
    }

    fn reopened(&mut self, file: What) -> Descriptor {
        let What::File { path, inode, offset, flags, base, inheriting, shared } = file else {
            return Descriptor::Inherited(LOST);
        };
        let mut state = self.kernel.lock();
        let found = state.found_again(&path, inode);
        let Some(node) = found else { return Descriptor::Inherited(LOST) };
        let is_directory =
            state.vfs.attributes(node).is_ok_and(|found| found.kind == sandglass_snapshots::Kind::Directory);
        let (base, flags) = (Rights::from_bits_truncate(base), Fdflags::from_bits_truncate(flags));
        if shared {
            let mut opened = if base.contains(Rights::FD_READ) { status::READ } else { 0 };
            opened |= if base.contains(Rights::FD_WRITE) { status::WRITE } else { 0 };
            opened |= if flags.contains(Fdflags::APPEND) { status::APPEND } else { 0 };
            let Ok(id) = state.open_node(node, opened) else { return Descriptor::Inherited(LOST) };
            drop(i64::try_from(offset).map(|offset| state.seek(id, offset, Whence::Start)));
            let number = state.install(self.pid, id, FdFlags { close_on_exec: true });
            return Descriptor::Inherited(number.unwrap_or(LOST));
        }
        if state.vfs.retain(node).is_err() {
            return Descriptor::Inherited(LOST);
        }
        let is_channel = state.vfs.device(node) == Some(Device::Processes);
        Descriptor::Opened(Opened {
            offset,
            flags,
            base,
            inheriting: Rights::from_bits_truncate(inheriting),
            is_channel,
            ..Opened::found(node, is_directory)
        })
    }
}

fn kept(state: &mut State, opened: &Opened, offset: u64, shared: bool) -> What {
    let Some(path) = state.place_of(opened.node, opened.opened_at.clone()) else { return What::Lost };
    What::File {
        path,
        inode: opened.node.inode().0,
        offset,
        flags: opened.flags.bits(),
        base: opened.base.bits(),
        inheriting: opened.inheriting.bits(),
        shared,
    }
}

impl Descriptors {
    fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        (0..).zip(self.all()).filter_map(|(fd, descriptor)| descriptor.as_ref().map(|descriptor| (fd, descriptor)))
    }
}
