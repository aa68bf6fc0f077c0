//! A recorded workload, run again with every single step below the store failing in every way: what was answered is there,
//! and what is there is whole.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::machine::{QUOTA, bytes, read};
use super::*;
use crate::collect::CollectOptions;
use crate::id::Inode;
use crate::index::database::faults;
use crate::journal::disk::simulated::{Fault, SimulatedDisk};
use crate::retention::Retention;

const SANDBOXES: u8 = 2;
const TURNS: u64 = 14;

/// One run of the workload, with what was answered in it.
struct Run {
    disk: SimulatedDisk,
    directory: PathBuf,
    store: Option<Store>,
    /// For each sandbox: the content of the file after the newest answered operation, and how many there were.
    answered: Vec<(Option<Vec<u8>>, u64)>,
    refused: u64,
}

fn fault_options() -> StoreOptions {
    StoreOptions { cache_bytes: 16 << 10, ..options(Durability::Disk, 24 << 10) }
}

impl Run {
    fn new(directory: &Path) -> Self {
        let disk = SimulatedDisk::default();
        Self {
            disk,
            directory: directory.to_owned(),
            store: None,
            answered: vec![(None, 0); usize::from(SANDBOXES)],
            refused: 0,
        }
    }

    /// Returns the store, opening it again after it stopped: a failure while opening is one that people see and try again.
    fn store(&mut self) -> Store {
        if self.store.as_ref().is_some_and(|store| store.stopped().is_some()) {
            self.store = None;
        }
        let mut last = String::new();
        for _ in 0..3 {
            if let Some(store) = &self.store {
                return store.clone();
            }
            match open_on(&self.disk, &self.directory, &fault_options()) {
                Ok(store) => self.store = Some(store),
                Err(error) => {
                    self.refused += 1;
                    last = error.to_string();
                }
            }
        }
        panic!("the store does not open again: {last}");
    }

    fn write(&mut self, number: u8, turn: u64) {
        let store = self.store();
        let id = sandbox(number + 1);
        let head = store.head(id).ok();
        let length = if turn == 7 { 70_000 } else { 4000 };
        let content = bytes(turn as u8 ^ number, length);
        let sealed = (|| {
            let mut transaction = match head {
                Some(head) => store.begin(head.state, QUOTA)?,
                None => store.begin_empty(Vec::new(), QUOTA),
            };
            let file = match transaction.lookup(Inode::ROOT, b"file") {
                Ok(file) => file,
                Err(_) => transaction.create_file(Inode::ROOT, b"file", 0o644, Timestamp(1)).unwrap(),
            };
            transaction.set_size(file, 0, Timestamp(1)).unwrap();
            transaction.write(file, 0, &content, Timestamp(1)).unwrap();
            transaction.seal()
        })();
        let Ok(sealed) = sealed else {
            self.refused += 1;
            return;
        };
        let (mut drafts, _) = operation(turn, OperationKind::Call, &[]);
        let EntryBody::Operation(body) = &mut drafts[0].body else { unreachable!() };
        body.after = sealed.state;
        match store.append(id, head.map(|head| head.entry), drafts, sealed.nodes) {
            Ok(entries) => self.answered[usize::from(number)] = (Some(content), entries[0].seq),
            Err(_) => self.refused += 1,
        }
    }

    fn work(&mut self) {
        for turn in 0..TURNS {
            for number in 0..SANDBOXES {
                self.write(number, turn);
            }
            if turn % 4 == 3 {
                let store = self.store();
                let retention = Retention { operations: Some(2), ..Retention::default() };
                let found = store.expirable(sandbox(1), &retention, Timestamp(9));
                let given_up = found.and_then(|found| found.map_or(Ok(()), |found| store.expire(found)));
                self.refused += u64::from(given_up.is_err());
                drop(store);
                let all = CollectOptions { garbage_percent_min: 1, only_weigh: false };
                let store = self.store();
                self.refused += u64::from(store.collect(all, &mut |_| ControlFlow::Continue(())).is_err());
            }
            if turn % 5 == 4 {
                self.store = None;
            }
        }
    }

    /// After the power went, everything that was answered is there and whole.
    fn check(mut self, what: &str) {
        self.store = None;
        self.disk = self.disk.after_power_loss(|| false);
        let store = self.store();
        for number in 0..SANDBOXES {
            let (Some(content), seq) = &self.answered[usize::from(number)] else { continue };
            let head = store.head(sandbox(number + 1)).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(head.seq >= *seq, "{what}: answered entry {seq} of {number} is lost");
            let entry = store.entry(sandbox(number + 1), *seq).unwrap();
            let EntryBody::Operation(operation) = &entry.body else { panic!("{what}: {entry:?}") };
            assert_eq!(read(&store, operation.after)["file"], *content, "{what}");
        }
        let scratch = tempfile::tempdir().unwrap();
        let disk = Arc::new(self.disk.clone());
        let looked = Store::look_on(disk, &self.directory, scratch.path(), &fault_options(), &mut |_| {});
        let (looked, survey) = looked.unwrap();
        assert_eq!(survey.damaged, Vec::new(), "{what}");
        let verified = looked.verify(&mut |_| {}).unwrap();
        assert!(verified.is_whole(), "{what}: {verified:?}");
        // It goes on.
        self.write(0, 99);
        assert!(self.answered[0].0 == Some(bytes(99, 4000)), "{what}: the store does not go on");
    }
}

fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

#[test]
fn every_operation_on_the_disk_may_fail_once() {
    let directory = place();
    let mut run = Run::new(directory.path());
    run.work();
    assert_eq!(run.refused, 0, "nothing fails on a disk that works");
    let operations = run.disk.operations();
    run.check("a disk that works");
    let (mut runs, mut refused) = (0, 0);
    for fault in [Fault::Error, Fault::Full, Fault::Half] {
        for operation in 1..=operations {
            let directory = place();
            let mut run = Run::new(directory.path());
            run.disk.fail_at(operation, fault);
            run.work();
            runs += 1;
            refused += run.refused;
            run.check(&format!("{fault:?} at {operation} of {operations}"));
        }
    }
    println!("{runs} runs with one failure each, {refused} refused steps, nothing answered was lost");
}

#[test]
fn the_process_may_die_at_every_operation_on_the_disk() {
    let directory = place();
    let mut run = Run::new(directory.path());
    run.work();
    let operations = run.disk.operations();
    for operation in 1..=operations {
        let directory = place();
        let mut run = Run::new(directory.path());
        run.disk.break_at(operation);
        // From here on every operation fails, as after a death; then the power goes, too.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.work()));
        drop(ended);
        run.store = None;
        run.disk = run.disk.after_power_loss(|| operation % 2 == 0);
        run.check(&format!("death at {operation} of {operations}"));
    }
    println!("{operations} deaths, nothing answered was lost");
}

#[test]
fn every_commit_of_the_index_may_fail_once() {
    let directory = place();
    let index = directory.path().join("index.db");
    faults::fail_at(&index, u64::MAX);
    let mut run = Run::new(directory.path());
    run.work();
    run.store = None;
    let commits = faults::commits(&index);
    run.check("an index that works");
    assert!(commits > 6, "{commits} commits");
    for commit in 1..=commits {
        let directory = place();
        faults::fail_at(&directory.path().join("index.db"), commit);
        let mut run = Run::new(directory.path());
        run.work();
        run.check(&format!("commit {commit} of {commits}"));
    }
    println!("{commits} runs with a failed commit each, nothing answered was lost");
}
