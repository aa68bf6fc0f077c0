//! Random sequences of file operations through WASI's own functions, against a map of paths, with states taken, restored and
//! forked in between. `PROPTEST_CASES` makes it longer.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sandglass_snapshots::{Quota, StateId, Store};
use wiggle::{GuestMemory, GuestPtr};

use super::super::preview1::types::{self, Errno, Error, Fdflags, Lookupflags, Oflags, Rights};
use super::super::preview1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use super::super::{Wasi, WasiOptions};
use super::{Printed, options, store, vfs};
use crate::clock::SystemClock;
use crate::vfs::Vfs;

const ROOT: u32 = 3;
const MEMORY_BYTES: usize = 256 * 1024;
/// Where things lie in the guest's memory: two paths, a list of one buffer, the buffer.
const PATH: u32 = 0;
const OTHER_PATH: u32 = 1024;
const VECTOR: u32 = 2048;
const BUFFER: u32 = 4096;

/// A guest without wasm: memory, and the host's side.
struct Guest {
    wasi: Wasi,
    memory: Vec<u8>,
}

type Outcome<T> = Result<T, Errno>;

/// What the guest is told; a trap ends the test.
fn told<T>(result: Result<T, Error>) -> Outcome<T> {
    result.map_err(|error| error.downcast().expect("no operation of this test traps"))
}

/// Files answer at once: nothing waits, though a call may pass its turn on.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(future);
    for _ in 0..2 {
        if let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
    }
    panic!("a file made its reader wait")
}

impl Guest {
    fn new(vfs: Vfs) -> Self {
        let output = Arc::new(Printed::default());
        let wasi = super::wasi(vfs, &output, WasiOptions { preopens: vec![b"/".to_vec()], ..options() });
        Self { wasi, memory: vec![0; MEMORY_BYTES] }
    }

    fn path(&mut self, at: u32, path: &str) -> GuestPtr<str> {
        self.memory[at as usize..at as usize + path.len()].copy_from_slice(path.as_bytes());
        GuestPtr::new((at, u32::try_from(path.len()).unwrap()))
    }

    fn vector(&mut self, length: u32) {
        let at = VECTOR as usize;
        self.memory[at..at + 4].copy_from_slice(&BUFFER.to_le_bytes());
        self.memory[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Wasi, &mut GuestMemory<'_>) -> Result<T, Error>) -> Outcome<T> {
        told(work(&mut self.wasi, &mut GuestMemory::Unshared(&mut self.memory)))
    }

    fn open(&mut self, path: &str, flags: Oflags) -> Outcome<types::Fd> {
        let path = self.path(PATH, path);
        let rights = Rights::FD_READ | Rights::FD_WRITE | Rights::FD_SEEK | Rights::FD_FILESTAT_SET_SIZE;
        self.with(|wasi, memory| {
            at_once(wasi.path_open(
                memory,
                ROOT.into(),
                Lookupflags::SYMLINK_FOLLOW,
                path,
                flags,
                rights,
                Rights::empty(),
                Fdflags::empty(),
            ))
        })
    }

    fn close(&mut self, fd: types::Fd) {
        self.with(|wasi, memory| wasi.fd_close(memory, fd)).unwrap();
    }

    fn write_at(&mut self, fd: types::Fd, offset: u64, bytes: &[u8]) -> Outcome<u32> {
        self.memory[BUFFER as usize..BUFFER as usize + bytes.len()].copy_from_slice(bytes);
        self.vector(u32::try_from(bytes.len()).unwrap());
        self.with(|wasi, memory| at_once(wasi.fd_pwrite(memory, fd, GuestPtr::new((VECTOR, 1)), offset)))
    }

    fn read_all(&mut self, path: &str) -> Outcome<Vec<u8>> {
        let fd = self.open(path, Oflags::empty())?;
        let mut all = Vec::new();
        loop {
            self.vector(64 * 1024);
            let read = self.with(|wasi, memory| at_once(wasi.fd_read(memory, fd, GuestPtr::new((VECTOR, 1)))))?;
            if read == 0 {
                break;
            }
            all.extend_from_slice(&self.memory[BUFFER as usize..(BUFFER + read) as usize]);
        }
        self.close(fd);
        Ok(all)
    }

    /// Lists a directory through a buffer so small that it takes several calls.
    fn list(&mut self, path: &str) -> Outcome<Vec<String>> {
        const LENGTH: u32 = 64;
        let path = self.path(PATH, path);
        let fd = self.with(|wasi, memory| {
            at_once(wasi.path_open(
                memory,
                ROOT.into(),
                Lookupflags::empty(),
                path,
                Oflags::DIRECTORY,
                Rights::FD_READDIR,
                Rights::empty(),
                Fdflags::empty(),
            ))
        })?;
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let used =
                self.with(|wasi, memory| at_once(wasi.fd_readdir(memory, fd, GuestPtr::new(BUFFER), LENGTH, cookie)))?;
            let mut entries = &self.memory[BUFFER as usize..(BUFFER + used) as usize];
            while entries.len() >= 24 {
                let length = u32::from_le_bytes(entries[16..20].try_into().unwrap()) as usize;
                let Some(name) = entries.get(24..24 + length) else { break };
                cookie = u64::from_le_bytes(entries[..8].try_into().unwrap());
                names.push(String::from_utf8(name.to_vec()).unwrap());
                entries = &entries[24 + length..];
            }
            if used < LENGTH {
                break;
            }
        }
        self.close(fd);
        names.retain(|name| !matches!(name.as_str(), "." | ".." | "dev"));
        Ok(names)
    }
}

/// The model: a node by path; files by a number, so that several names can be one.
#[derive(Clone, Debug, Default)]
struct Model {
    nodes: BTreeMap<String, Node>,
    files: BTreeMap<usize, Vec<u8>>,
    next: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

impl Model {
    fn parent(&self, path: &str) -> Outcome<()> {
        match path.rsplit_once('/') {
            None => Ok(()),
            Some((parent, _)) => match self.nodes.get(parent) {
                Some(Node::Directory) => Ok(()),
                Some(Node::File(_)) => Err(Errno::Notdir),
                None => self.parent(parent).and(Err(Errno::Noent)),
            },
        }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "." { String::new() } else { format!("{path}/") };
        let below = self.nodes.keys().filter_map(|name| name.strip_prefix(&prefix));
        below.filter(|rest| !rest.contains('/')).map(str::to_owned).collect()
    }

    fn write(&mut self, path: &str, offset: usize, bytes: &[u8]) -> Outcome<()> {
        self.parent(path)?;
        let file = match self.nodes.get(path) {
            Some(Node::Directory) => return Err(Errno::Isdir),
            Some(Node::File(file)) => *file,
            None => {
                self.next += 1;
                self.files.insert(self.next, Vec::new());
                self.nodes.insert(path.to_owned(), Node::File(self.next));
                self.next
            }
        };
        let content = self.files.get_mut(&file).unwrap();
        if !bytes.is_empty() {
            content.resize(content.len().max(offset + bytes.len()), 0);
            content[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Outcome<()> {
        self.parent(from)?;
        let node = self.nodes.get(from).cloned().ok_or(Errno::Noent)?;
        self.parent(to)?;
        if to.starts_with(&format!("{from}/")) {
            return Err(Errno::Inval);
        }
        if from == to {
            return Ok(());
        }
        match (self.nodes.get(to), &node) {
            (Some(Node::Directory), Node::File(_)) => return Err(Errno::Isdir),
            (Some(Node::File(_)), Node::Directory) => return Err(Errno::Notdir),
            (Some(Node::Directory), Node::Directory) if !self.children(to).is_empty() => return Err(Errno::Notempty),
            (Some(target), node) if target == node && *node != Node::Directory => return Ok(()),
            _ => {}
        }
        let inside = format!("{from}/");
        let moved: Vec<String> =
            self.nodes.keys().filter(|name| *name == from || name.starts_with(&inside)).cloned().collect();
        for name in moved {
            let node = self.nodes.remove(&name).unwrap();
            self.nodes.insert(format!("{to}{}", &name[from.len()..]), node);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Action {
    Write { path: String, offset: u16, length: u16 },
    Truncate { path: String, size: u32 },
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Link(String, String),
    Rename(String, String),
    Take,
    Restore,
    Fork,
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.join("/"))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (paths(), 0..60_000u16, 0..9_000u16).prop_map(|(path, offset, length)| Action::Write { path, offset, length }),
        2 => (paths(), 0..200_000u32).prop_map(|(path, size)| Action::Truncate { path, size }),
        5 => paths().prop_map(Action::Mkdir),
        2 => paths().prop_map(Action::Rmdir),
        3 => paths().prop_map(Action::Unlink),
        2 => (paths(), paths()).prop_map(|(from, to)| Action::Link(from, to)),
        4 => (paths(), paths()).prop_map(|(from, to)| Action::Rename(from, to)),
        2 => Just(Action::Take),
        1 => Just(Action::Restore),
        1 => Just(Action::Fork),
    ]
}

fn in_model(model: &mut Model, action: &Action, bytes: &[u8]) -> Outcome<()> {
    match action {
        Action::Write { path, offset, .. } => model.write(path, usize::from(*offset), bytes),
        Action::Truncate { path, size } => {
            model.parent(path)?;
            match model.nodes.get(path) {
                Some(Node::File(file)) => {
                    model.files.get_mut(file).unwrap().resize(*size as usize, 0);
                    Ok(())
                }
                Some(Node::Directory) => Err(Errno::Isdir),
                None => Err(Errno::Noent),
            }
        }
        Action::Mkdir(path) => {
            model.parent(path)?;
            if model.nodes.contains_key(path) {
                return Err(Errno::Exist);
            }
            model.nodes.insert(path.clone(), Node::Directory);
            Ok(())
        }
        Action::Rmdir(path) => {
            model.parent(path)?;
            match model.nodes.get(path) {
                None => Err(Errno::Noent),
                Some(Node::File(_)) => Err(Errno::Notdir),
                Some(Node::Directory) if !model.children(path).is_empty() => Err(Errno::Notempty),
                Some(Node::Directory) => {
                    model.nodes.remove(path);
                    Ok(())
                }
            }
        }
        Action::Unlink(path) => {
            model.parent(path)?;
            match model.nodes.get(path) {
                None => Err(Errno::Noent),
                Some(Node::Directory) => Err(Errno::Isdir),
                Some(Node::File(_)) => {
                    model.nodes.remove(path);
                    Ok(())
                }
            }
        }
        Action::Link(from, to) => {
            model.parent(from)?;
            let node = model.nodes.get(from).cloned().ok_or(Errno::Noent)?;
            model.parent(to)?;
            if model.nodes.contains_key(to) {
                return Err(Errno::Exist);
            }
            if node == Node::Directory {
                return Err(Errno::Perm);
            }
            model.nodes.insert(to.clone(), node);
            Ok(())
        }
        Action::Rename(from, to) => model.rename(from, to),
        Action::Take | Action::Restore | Action::Fork => Ok(()),
    }
}

fn in_guest(guest: &mut Guest, action: &Action, bytes: &[u8]) -> Outcome<()> {
    match action {
        Action::Write { path, offset, .. } => {
            let fd = guest.open(path, Oflags::CREAT)?;
            let written = guest.write_at(fd, u64::from(*offset), bytes)?;
            assert_eq!(written as usize, bytes.len());
            guest.close(fd);
            Ok(())
        }
        Action::Truncate { path, size } => {
            let fd = guest.open(path, Oflags::empty())?;
            let set = guest.with(|wasi, memory| wasi.fd_filestat_set_size(memory, fd, u64::from(*size)));
            guest.close(fd);
            set
        }
        Action::Mkdir(path) => {
            let path = guest.path(PATH, path);
            guest.with(|wasi, memory| at_once(wasi.path_create_directory(memory, ROOT.into(), path)))
        }
        Action::Rmdir(path) => {
            let path = guest.path(PATH, path);
            guest.with(|wasi, memory| at_once(wasi.path_remove_directory(memory, ROOT.into(), path)))
        }
        Action::Unlink(path) => {
            let path = guest.path(PATH, path);
            guest.with(|wasi, memory| at_once(wasi.path_unlink_file(memory, ROOT.into(), path)))
        }
        Action::Link(from, to) => {
            let (from, to) = (guest.path(PATH, from), guest.path(OTHER_PATH, to));
            guest.with(|wasi, memory| {
                at_once(wasi.path_link(memory, ROOT.into(), Lookupflags::empty(), from, ROOT.into(), to))
            })
        }
        Action::Rename(from, to) => {
            let (from, to) = (guest.path(PATH, from), guest.path(OTHER_PATH, to));
            guest.with(|wasi, memory| at_once(wasi.path_rename(memory, ROOT.into(), from, ROOT.into(), to)))
        }
        Action::Take | Action::Restore | Action::Fork => Ok(()),
    }
}

fn reopened(store: &Store, state: StateId) -> Guest {
    let quota = Quota { bytes: 1 << 40, inodes: 1_000_000 };
    let transaction = store.begin(state, quota).unwrap();
    Guest::new(Vfs::new(transaction, Vec::new(), Arc::new(SystemClock::new())).unwrap())
}

/// A savepoint of the files, without what is open.
fn files(wasi: &Wasi) -> Vfs {
    wasi.clone().finish().into_vfs().ok().expect("nobody else has the savepoint")
}

fn taken(store: &Store, guest: &Guest) -> StateId {
    let sealed = files(&guest.wasi).into_transaction().seal().unwrap();
    store.put(&store.hold(), sealed.nodes).unwrap();
    sealed.state
}

fn compare(guest: &mut Guest, model: &Model) -> Result<(), TestCaseError> {
    let directories = model.nodes.iter().filter(|(_, node)| **node == Node::Directory).map(|(path, _)| path.as_str());
    for directory in directories.chain(["."]) {
        let mut names = guest.list(directory).unwrap();
        names.sort();
        prop_assert_eq!(names, model.children(directory), "the entries of {}", directory);
    }
    for (path, node) in &model.nodes {
        if let Node::File(file) = node {
            prop_assert!(guest.read_all(path).unwrap() == model.files[file], "the bytes of {}", path);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn files_are_a_map_of_paths(actions in prop::collection::vec(action(), 1..40)) {
        let (_directory, store) = store();
        let mut guest = Guest::new(vfs(&store));
        let mut model = Model::default();
        let mut kept: Option<(StateId, Model)> = None;
        for (step, action) in actions.iter().enumerate() {
            match (action, &kept) {
                (Action::Take, _) => kept = Some((taken(&store, &guest), model.clone())),
                (Action::Restore, Some((state, then))) => {
                    guest = reopened(&store, *state);
                    model = then.clone();
                }
                // A fork goes its own way and is forgotten; nobody else may notice.
                (Action::Fork, _) => {
                    let mut fork = reopened(&store, taken(&store, &guest));
                    for path in ["a", "b", "c"] {
                        let write = Action::Write { path: path.into(), offset: 0, length: 3 };
                        // Whether it is possible there does not matter.
                        let _wrote = in_guest(&mut fork, &write, b"own").is_ok();
                        let _moved = in_guest(&mut fork, &Action::Rename("a".into(), "b".into()), b"").is_ok();
                    }
                }
                _ => {
                    let length = if let Action::Write { length, .. } = action { usize::from(*length) } else { 0 };
                    let bytes: Vec<u8> = (0..length).map(|index| (index + step).to_le_bytes()[0]).collect();
                    let expected = in_model(&mut model, action, &bytes);
                    let real = in_guest(&mut guest, action, &bytes);
                    prop_assert_eq!(real, expected, "{:?}", action);
                }
            }
        }
        compare(&mut guest, &model)?;
        let state = taken(&store, &guest);
        compare(&mut reopened(&store, state), &model)?;
    }
}
