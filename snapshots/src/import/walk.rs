//! The walk over a directory of the host, by several threads at once.
//!
//! Every file is opened relative to its directory's descriptor and never through a symlink, so a path that is swapped while
//! the walk runs cannot lead it outside. What is found is kept in a flat list, parents before children; contents go to the
//! store as they come.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use super::content::{self, NotRead};
use super::{ImportOptions, ImportProgress};
use crate::error::StoreError;
use crate::id::Timestamp;
use crate::journal::lock;
use crate::node::NodeBatch;
use crate::store::Store;
use crate::tree::{Content, Nodes};

/// How many files one piece of work has.
const FILES_PER_TASK: usize = 32;
/// How many bytes of nodes are gathered before they go to the store.
pub(super) const BATCH_BYTES: u64 = 4 << 20;

/// Names an inode of the host.
pub(super) type HostInode = (u64, u64);

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The root, then the others, each after its parent.
    pub(super) directories: Vec<WalkedDirectory>,
    pub(super) skipped: Vec<(PathBuf, String)>,
}

#[derive(Debug)]
pub(super) struct WalkedDirectory {
    pub(super) parent: usize,
    pub(super) name: Box<[u8]>,
    pub(super) attributes: WalkedAttributes,
    pub(super) children: Vec<Child>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WalkedAttributes {
    pub(super) mode: u16,
    pub(super) modified: Timestamp,
}

/// An entry that is no directory.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: Box<[u8]>,
    pub(super) attributes: WalkedAttributes,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A file, read; with its inode when it has several names.
    File {
        content: Content,
        size: u64,
        linked: Option<HostInode>,
    },
    /// Another name of a file.
    Link(HostInode),
    Symlink(Vec<u8>),
}

enum Task {
    Directory { parent: Option<(usize, Arc<OwnedFd>)>, name: CString },
    Files { directory: usize, descriptor: Arc<OwnedFd>, names: Vec<CString> },
}

#[derive(Default)]
struct Tasks {
    waiting: Vec<Task>,
    running: usize,
    /// The store refused what was read: whoever waits for the walk will say so.
    is_stopped: bool,
}

struct Walk<'a> {
    root: &'a Path,
    progress: &'a (dyn Fn(ImportProgress) + Sync),
    tasks: Mutex<Tasks>,
    changed: Condvar,
    found: Mutex<Walked>,
    linked: Mutex<HashSet<HostInode>>,
    files: AtomicU64,
    bytes: AtomicU64,
}

/// Walks over `root` and hands the nodes of what it reads to `batches`.
pub(super) fn walk(
    store: &Store,
    root: &Path,
    options: &ImportOptions,
    progress: &(dyn Fn(ImportProgress) + Sync),
    batches: SyncSender<NodeBatch>,
) -> Result<Walked, StoreError> {
    let failed = |source: std::io::Error| StoreError::Io { action: "read", path: root.to_owned(), source };
    let name = CString::new(root.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    let walk = Walk {
        root,
        progress,
        tasks: Mutex::new(Tasks { waiting: vec![Task::Directory { parent: None, name }], ..Tasks::default() }),
        changed: Condvar::new(),
        found: Mutex::default(),
        linked: Mutex::default(),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let cache = Nodes::cache();
        let worker = || {
            let nodes = Nodes::borrowed(store, Arc::clone(&cache));
            Worker { walk: &walk, batches: batches.clone(), batch: NodeBatch::new(), nodes }
        };
        for _ in 1..options.threads.max(1) {
            let worker = worker();
            let spawned = std::thread::Builder::new().name("sandglass-import".to_owned());
            // With fewer threads it takes longer.
            drop(spawned.spawn_scoped(scope, move || worker.run()));
        }
        worker().run();
    });
    drop(batches);
    walk.report();
    let mut found = walk.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    match found.skipped.pop() {
        Some((_, reason)) if found.directories.is_empty() => Err(failed(std::io::Error::other(reason))),
        last => {
            found.skipped.extend(last);
            Ok(found)
        }
    }
}

impl Walk<'_> {
    /// Takes work, waiting for some while others may find more; none when all is done.
    fn take(&self) -> Option<Task> {
        let mut tasks = lock(&self.tasks);
        loop {
            if tasks.is_stopped {
                return None;
            }
            if let Some(task) = tasks.waiting.pop() {
                tasks.running += 1;
                return Some(task);
            }
            if tasks.running == 0 {
                return None;
            }
            tasks = self.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn skip(&self, directory: Option<usize>, name: &CStr, reason: impl Into<String>) {
        let mut found = lock(&self.found);
        let path = match directory {
            Some(directory) => path_of(self.root, &found.directories, directory, name.to_bytes()),
            None => self.root.to_owned(),
        };
        found.skipped.push((path, reason.into()));
    }

    fn report(&self) {
        (self.progress)(ImportProgress {
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        });
    }
}

/// A piece of work that a worker is at, and the work that it found.
struct Running<'a> {
    walk: &'a Walk<'a>,
    more: Vec<Task>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut tasks = lock(&self.walk.tasks);
        tasks.running -= 1;
        // The newest first: so the descriptors that stay open are those of one path down, not of a whole level.
        tasks.waiting.append(&mut self.more);
        self.walk.changed.notify_all();
    }
}

struct Worker<'a> {
    walk: &'a Walk<'a>,
    batches: SyncSender<NodeBatch>,
    batch: NodeBatch,
    nodes: Nodes<'a>,
}

impl Worker<'_> {
    fn run(mut self) {
        while let Some(task) = self.walk.take() {
            let mut running = Running { walk: self.walk, more: Vec::new() };
            match task {
                Task::Directory { parent, name } => self.directory(parent.as_ref(), &name, &mut running.more),
                Task::Files { directory, descriptor, names } => self.files(directory, &descriptor, &names),
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() && self.batches.send(batch).is_err() {
            lock(&self.walk.tasks).is_stopped = true;
            self.walk.changed.notify_all();
        }
    }

    fn directory(&self, parent: Option<&(usize, Arc<OwnedFd>)>, name: &CStr, more: &mut Vec<Task>) {
        let at = parent.map(|(index, _)| *index);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match parent {
            Some((_, descriptor)) => openat(&**descriptor, name, flags | OFlags::NOFOLLOW, Mode::empty()),
            None => openat(rustix::fs::CWD, name, flags, Mode::empty()),
        };
        let opened = opened.and_then(|descriptor| fstat(&descriptor).map(|stat| (descriptor, stat)));
        let opened =
            opened.and_then(|(descriptor, stat)| Dir::read_from(&descriptor).map(|dir| (descriptor, stat, dir)));
        let (descriptor, stat, dir) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.walk.skip(at, name, error.to_string()),
        };
        let index = {
            let directories = &mut lock(&self.walk.found).directories;
            let name = name.to_bytes().into();
            let parent = at.unwrap_or(0);
            directories.push(WalkedDirectory { parent, name, attributes: attributes(&stat), children: Vec::new() });
            directories.len() - 1
        };
        let descriptor = Arc::new(descriptor);
        let mut names = Vec::new();
        for entry in dir {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.walk.skip(at, name, format!("it was read in part: {error}")),
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => statat(&*descriptor, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| kind(&stat)),
                known => Ok(known),
            };
            match kind {
                Ok(FileType::Directory) => {
                    more.push(Task::Directory {
                        parent: Some((index, Arc::clone(&descriptor))),
                        name: name.to_owned(),
                    });
                }
                Ok(FileType::RegularFile | FileType::Symlink) => names.push(name.to_owned()),
                Ok(other) => self.walk.skip(Some(index), name, format!("it is {}", describe(other))),
                Err(error) => self.walk.skip(Some(index), name, error.to_string()),
            }
        }
        for names in names.chunks(FILES_PER_TASK) {
            let (descriptor, names) = (Arc::clone(&descriptor), names.to_vec());
            more.push(Task::Files { directory: index, descriptor, names });
        }
    }

    fn files(&mut self, directory: usize, descriptor: &OwnedFd, names: &[CString]) {
        let mut children = Vec::with_capacity(names.len());
        for name in names {
            match self.file(descriptor, name) {
                Ok(child) => children.push(child),
                Err(reason) => self.walk.skip(Some(directory), name, reason),
            }
            if self.batch.byte_len() >= BATCH_BYTES {
                self.flush();
            }
        }
        self.walk.files.fetch_add(children.len() as u64, Ordering::Relaxed);
        lock(&self.walk.found).directories[directory].children.extend(children);
        self.walk.report();
    }

    /// Reads one file or symlink; fails with the reason why it is left out.
    fn file(&mut self, descriptor: &OwnedFd, name: &CStr) -> Result<Child, String> {
        let stat = statat(descriptor, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| error.to_string())?;
        let child = |stat: &Stat, what| Child { name: name.to_bytes().into(), attributes: attributes(stat), what };
        match kind(&stat) {
            FileType::Symlink => {
                let target = readlinkat(descriptor, name, Vec::new()).map_err(|error| error.to_string())?;
                Ok(child(&stat, What::Symlink(target.into_bytes())))
            }
            FileType::RegularFile => {
                let linked = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
                if let Some(inode) = linked.filter(|inode| !lock(&self.walk.linked).insert(*inode)) {
                    return Ok(child(&stat, What::Link(inode)));
                }
                // A file may have turned into a pipe meanwhile; opening must not wait for its other end.
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = openat(descriptor, name, flags, Mode::empty()).map_err(|error| error.to_string())?;
                let file = File::from(opened);
                let (stat, content, size) =
                    content::read(&file, &mut self.batch, &self.nodes).map_err(|error| match error {
                        NotRead::Io(error) => error.to_string(),
                        NotRead::Changing => "it kept changing while it was read".to_owned(),
                        NotRead::NoFile => "it turned into something else while it was read".to_owned(),
                    })?;
                self.walk.bytes.fetch_add(size, Ordering::Relaxed);
                Ok(child(&stat, What::File { content, size, linked }))
            }
            other => Err(format!("it is {}", describe(other))),
        }
    }
}

/// Returns the path of a name in a directory that was found.
pub(super) fn path_of(root: &Path, directories: &[WalkedDirectory], directory: usize, name: &[u8]) -> PathBuf {
    let mut names = vec![OsStr::from_bytes(name)];
    let mut at = directory;
    while at != 0 {
        names.push(OsStr::from_bytes(&directories[at].name));
        at = directories[at].parent;
    }
    root.join(names.into_iter().rev().collect::<PathBuf>())
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn attributes(stat: &Stat) -> WalkedAttributes {
    let nanoseconds = stat.st_mtime.saturating_mul(1_000_000_000);
    let fraction = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let mode = u16::try_from(stat.st_mode & 0o7777).unwrap_or(0);
    WalkedAttributes { mode, modified: Timestamp(nanoseconds.saturating_add(fraction)) }
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no file, directory or symlink",
    }
}
