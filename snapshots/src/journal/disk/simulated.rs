//! A disk in memory that loses power: what was not synced survives in part, sector by sector, in no order.
//!
//! It can also break at its n-th operation, after which nothing succeeds any more.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::{SegmentFile, SegmentStore};
use crate::journal::lock;

/// What a power loss keeps or loses as a whole.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    operations: u64,
    breaks_at: Option<u64>,
    /// Only this operation fails, in this way.
    fails_at: Option<(u64, Fault)>,
}

/// How one operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk answers with an error, and nothing was done.
    Error,
    /// It is full; of a write, half was done.
    Full,
    /// Half of a write was done, and it answers with an error.
    Half,
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl State {
    /// Counts an operation that changes something; false once the disk is broken.
    fn works(&mut self) -> bool {
        self.operations += 1;
        self.breaks_at.is_none_or(|at| self.operations < at)
    }

    fn change(&mut self) -> io::Result<()> {
        self.attempt().map_err(|(error, _)| error)
    }

    /// As [`Self::change`]; a failure says whether half of a write is done nevertheless.
    fn attempt(&mut self) -> Result<(), (io::Error, bool)> {
        if !self.works() {
            return Err((io::Error::other("the simulated disk is broken"), true));
        }
        match self.fails_at {
            Some((at, fault)) if at == self.operations => Err(match fault {
                Fault::Error => (io::Error::other("the simulated disk failed once"), false),
                Fault::Full => (io::ErrorKind::StorageFull.into(), true),
                Fault::Half => (io::Error::other("the simulated disk failed once"), true),
            }),
            _ => Ok(()),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl SimulatedDisk {
    /// Lets the `operation`-th change from now, and every one after it, fail.
    pub(crate) fn break_at(&self, operation: u64) {
        let mut state = lock(&self.state);
        state.breaks_at = Some(state.operations + operation);
    }

    /// Lets only the `operation`-th change from now fail.
    pub(crate) fn fail_at(&self, operation: u64, fault: Fault) {
        let mut state = lock(&self.state);
        state.fails_at = Some((state.operations + operation, fault));
    }

    /// Returns how many changes were asked for.
    pub(crate) fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    /// Returns what a machine finds that lost power now: each unsynced sector is there or not, as `survives` says.
    pub(crate) fn after_power_loss(&self, mut survives: impl FnMut() -> bool) -> Self {
        let state = lock(&self.state);
        let files = state.files.iter().map(|file| {
            let mut left = file.durable.clone();
            for (offset, bytes) in &file.unsynced {
                let mut at = *offset;
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (sector, later) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    if survives() {
                        put(&mut left, at, sector);
                    }
                    at += sector.len();
                    rest = later;
                }
            }
            Content { now: left.clone(), durable: left, unsynced: Vec::new() }
        });
        let names = state.durable_names.clone();
        let state = State { files: files.collect(), durable_names: names.clone(), names, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes a byte of a file, as rot does.
    pub(crate) fn flip(&self, name: &str, offset: usize, bits: u8) {
        let mut state = lock(&self.state);
        let file = state.names[name];
        state.files[file].now[offset] ^= bits;
        state.files[file].durable[offset] ^= bits;
    }

    /// Returns a file's bytes.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = lock(&self.state);
        state.files[state.names[name]].now.clone()
    }

    /// Replaces a file's bytes.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let file = state.names[name];
        state.files[file] = Content { now: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
    }

    fn file(&self, file: usize) -> Arc<dyn SegmentFile> {
        Arc::new(SimulatedFile { state: Arc::clone(&self.state), file })
    }
}

impl SegmentStore for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.state).names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = lock(&self.state);
        state.change()?;
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.names.insert(name.to_owned(), file);
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let state = lock(&self.state);
        state.names.get(name).map(|file| self.file(*file)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change()?;
        state.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }
}

impl SegmentFile for SimulatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = lock(&self.state);
        let from = offset as usize;
        let bytes = state.files[self.file].now.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let outcome = state.attempt();
        // A write that fails may have done half of its work.
        let bytes = match &outcome {
            Ok(()) => bytes,
            Err((_, true)) => &bytes[..bytes.len() / 2],
            Err((_, false)) => &[],
        };
        let file = &mut state.files[self.file];
        put(&mut file.now, offset as usize, bytes);
        file.unsynced.push((offset as usize, bytes.to_vec()));
        outcome.map_err(|(error, _)| error)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change()?;
        let file = &mut state.files[self.file];
        file.durable.clone_from(&file.now);
        file.unsynced.clear();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.state).files[self.file].now.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change()?;
        state.files[self.file].now.truncate(length as usize);
        Ok(())
    }
}
