//! A process at rest: what a session keeps of it between two calls besides its memory, and how it comes back over other files.
//!
//! A file is found again by its path, or by another name in the same directory, and must be the same one, by its number. What is
//! not there any more, or can't be carried (the end of a pipe), leaves a descriptor that answers every use with `EBADF`: never
//! another file's bytes, never a wait without end.

use bytes::Bytes;
use sandglass_snapshots::Kind;
use serde::{Deserialize, Serialize};

use super::open_file::Target;
use super::process::{Disposition, Pid, Process, signal};
use super::{FdFlags, OpenFileId, State, Whence};
use crate::vfs::Node;

/// What is kept of a process. See `docs/formats/tree.md`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessRest {
    /// Its working directory, when that has a name.
    directory: Option<File>,
    mask: u16,
    blocked: u64,
    restarting: u64,
    /// Signals that it ignores, and those that it handles, a bit each.
    ignored: u64,
    handled: u64,
    /// The descriptors that are not what every call begins with.
    open: Vec<Kept>,
    /// Standard descriptors that it has closed.
    closed: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    fd: u32,
    close_on_exec: bool,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum What {
    /// A file or directory, where it is read, and how it was opened.
    File {
        file: File,
        offset: u64,
        status: u32,
    },
    /// What a descriptor before it stands for, too: both share the place.
    Same(u32),
    /// One of the call's standard streams.
    Standard(u32),
    Lost,
}

/// A file by its path and its number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: Vec<u8>,
    inode: u64,
}

impl State {
    /// Returns where a file is now; one that has no single name is where it was opened.
    pub(crate) fn place_of(&mut self, node: Node, opened_at: Option<(Node, Bytes)>) -> Option<Vec<u8>> {
        if self.vfs.attributes(node).is_ok_and(|found| found.kind == Kind::Directory) {
            return self.vfs.path_of(node).ok();
        }
        let (directory, name) = self.vfs.name_of(node).or(opened_at)?;
        let mut path = self.vfs.path_of(directory).ok()?;
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        Some(path)
    }

    /// Finds a file where it was, by its number: it may have another name in the same directory now.
    pub(crate) fn found_again(&mut self, path: &[u8], inode: u64) -> Option<Node> {
        const ENTRIES_MAX: usize = 4096;
        let root = self.vfs.root();
        let place = self.vfs.resolve_from(root, path, false).ok()?;
        if let Some(node) = place.node.filter(|node| node.inode().0 == inode) {
            return Some(node);
        }
        let entries = self.vfs.read_directory(place.parent, 0, ENTRIES_MAX).ok()?;
        let found = entries.into_iter().find(|entry| entry.inode.0 == inode)?;
        self.vfs.lookup(place.parent, &found.name).ok()
    }

    /// Returns what a session keeps of a process, when nothing of it runs.
    pub(crate) fn at_rest(&mut self, pid: Pid) -> Option<ProcessRest> {
        let process = self.processes.get(pid)?;
        let (directory, dispositions) = (process.directory, process.dispositions());
        let bits = |wanted: Disposition| {
            (1..=signal::LAST)
                .filter(|number| dispositions[*number as usize] == wanted)
                .fold(0, |set, number| set | signal::bit(number))
        };
        let descriptors: Vec<(u32, OpenFileId, FdFlags)> = process.descriptors.iter().collect();
        let mut rest = ProcessRest {
            directory: None,
            mask: process.mask,
            blocked: process.blocked,
            restarting: process.restarting,
            ignored: bits(Disposition::Ignore),
            handled: bits(Disposition::Handle),
            open: Vec::new(),
            closed: (0..3).filter(|fd| descriptors.iter().all(|(open, ..)| open != fd)).collect(),
        };
        rest.directory = self.vfs.path_of(directory).ok().map(|path| File { path, inode: directory.inode().0 });
        for (place, (fd, id, flags)) in descriptors.iter().enumerate() {
            let before = descriptors[..place].iter().find(|(_, other, _)| other == id);
            let what = match (self.open_files.standard(*id), before) {
                (Some(number), _) if number == *fd => continue,
                (Some(number), _) => What::Standard(number),
                (None, Some((before, ..))) => What::Same(*before),
                (None, None) => self.kept(*id),
            };
            rest.open.push(Kept { fd: *fd, close_on_exec: flags.close_on_exec, what });
        }
        Some(rest)
    }

    fn kept(&mut self, id: OpenFileId) -> What {
        let Some((node, offset)) = self.open_files.node(id) else { return What::Lost };
        let opened_at = self.open_files.opened_at(id);
        let Some(path) = self.place_of(node, opened_at) else { return What::Lost };
        let status = self.open_files.status(id).unwrap_or(0);
        What::File { file: File { path, inode: node.inode().0 }, offset, status }
    }

    /// Makes a process what it was, over the files that there are now. It stays where the call has put it unless `moves`.
    ///
    /// # Errors
    /// A descriptor is beyond the limit of this call.
    pub(crate) fn come_back(&mut self, pid: Pid, rest: &ProcessRest, moves: bool) -> Result<(), String> {
        let directory = rest.directory.as_ref().filter(|_| moves);
        if let Some(node) = directory.and_then(|kept| self.found_again(&kept.path, kept.inode)) {
            drop(self.enter(pid, node));
        }
        let standard: Vec<Option<OpenFileId>> = (0..3).map(|fd| self.open_file(pid, fd).ok()).collect();
        standard.iter().flatten().for_each(|id| self.open_files.share(*id));
        for fd in &rest.closed {
            drop(self.close_fd(pid, *fd));
        }
        let mut failed = None;
        for Kept { fd, close_on_exec, what } in &rest.open {
            let id = match what {
                What::Standard(number) => {
                    let shared = standard.get(*number as usize).copied().flatten();
                    shared.inspect(|id| self.open_files.share(*id))
                }
                What::Same(before) => {
                    let shared = self.open_file(pid, *before).ok();
                    shared.inspect(|id| self.open_files.share(*id))
                }
                What::File { file, offset, status } => self.reopened(file, *offset, *status),
                What::Lost => None,
            };
            let id = id.unwrap_or_else(|| self.open_files.insert(Target::Lost, 0));
            let flags = FdFlags { close_on_exec: *close_on_exec };
            match self.processes.get_mut(pid).map(|process| process.descriptors.put(*fd, id, flags)) {
                Some(Ok(before)) => before.into_iter().for_each(|before| self.close(before)),
                _ => {
                    self.close(id);
                    failed = Some(format!("descriptor {fd} of a session is beyond the limit"));
                    break;
                }
            }
        }
        standard.into_iter().flatten().for_each(|id| self.close(id));
        if let Some(process) = self.processes.get_mut(pid) {
            rest.signals(process);
        }
        failed.map_or(Ok(()), Err)
    }

    fn reopened(&mut self, file: &File, offset: u64, status: u32) -> Option<OpenFileId> {
        let node = self.found_again(&file.path, file.inode)?;
        let id = self.open_node(node, status).ok()?;
        if let Ok(offset) = i64::try_from(offset) {
            drop(self.seek(id, offset, Whence::Start));
        }
        // Files of the host are known by where they were opened only.
        let root = self.vfs.root();
        if let Ok(place) = self.vfs.resolve_from(root, &file.path, false)
            && let Some(name) = place.name
        {
            self.open_files.set_opened_at(id, place.parent, name);
        }
        Some(id)
    }
}

impl ProcessRest {
    fn signals(&self, process: &mut Process) {
        (process.mask, process.blocked, process.restarting) = (self.mask, self.blocked, self.restarting);
        for number in 1..=signal::LAST {
            let is_in = |set: u64| set & signal::bit(number) != 0;
            let disposition = if is_in(self.ignored) {
                Disposition::Ignore
            } else if is_in(self.handled) {
                Disposition::Handle
            } else {
                Disposition::Default
            };
            process.set_disposition(number, disposition);
        }
    }
}
