//! A large store: what collecting, verifying and opening it take, and how that grows.
//!
//! Runs when `SANDGLASS_SCALE` says how many sandboxes; each has 100 states. Numbers are printed, never asserted.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use sandglass_snapshots::{
    CollectOptions, Draft, Durability, EntryBody, EntryId, Inode, Operation, OperationKind, Quota, Retention,
    SandboxId, StateId, Store, StoreOptions, Timestamp,
};

const QUOTA: Quota = Quota { bytes: 1 << 40, inodes: 1 << 30 };
const STATES: u64 = 100;
/// Files of a sandbox and their size: about 100 KB in each state, so that 100,000 states are 10 GB.
const FILES: u64 = 25;
const FILE_BYTES: usize = 4096;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

fn sandbox(number: u64) -> SandboxId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    SandboxId(id)
}

fn append(store: &Store, number: u64, head: &mut Option<(EntryId, StateId)>, random: &mut Random, files: u64) {
    let mut transaction = match head {
        None => store.begin_empty(Vec::new(), QUOTA),
        Some((_, state)) => store.begin(*state, QUOTA).expect("the state is there"),
    };
    for file in 0..files {
        let pick = if files == FILES { file } else { random.next() % FILES };
        let name = format!("file{pick}");
        let inode = transaction
            .lookup(Inode::ROOT, name.as_bytes())
            .or_else(|_| transaction.create_file(Inode::ROOT, name.as_bytes(), 0o644, Timestamp(1)))
            .expect("there is a file");
        transaction.write(inode, 0, &random.bytes(FILE_BYTES), Timestamp(1)).expect("it takes the bytes");
    }
    let sealed = transaction.seal().expect("sealed");
    let body = EntryBody::Operation(Operation {
        kind: OperationKind::Call,
        before: head.map(|(_, state)| state),
        after: sealed.state,
        generation: 0,
        actor: "scale".to_owned(),
        target: None,
        policy_revision: 0,
        detail: Vec::new(),
        call: None,
    });
    let drafts = vec![Draft { time: Timestamp(1), body }];
    let entries = store.append(sandbox(number), head.map(|(entry, _)| entry), drafts, sealed.nodes).expect("appended");
    *head = Some((entries[0].id, sealed.state));
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    let took = begun.elapsed();
    println!("{what}: {:.2} s, peak memory so far {} MiB", took.as_secs_f64(), memory_mib());
    (done, took)
}

/// Returns what syncing a preallocated file takes, in the median of some tries.
fn bare_sync(directory: &std::path::Path) -> Duration {
    use std::os::unix::fs::FileExt;
    let file =
        std::fs::File::options().read(true).write(true).create(true).truncate(true).open(directory.join("probe"));
    let file = file.expect("a file");
    file.write_all_at(&vec![0; 1 << 20], 0).expect("filled");
    file.sync_all().expect("synced");
    let mut took: Vec<Duration> = (0..60u64)
        .map(|turn| {
            let begun = Instant::now();
            file.write_all_at(&[7; 4096], turn * 4096).expect("written");
            file.sync_data().expect("synced");
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

/// Durable commits of one changed file of 4 KiB each, by so many sandboxes at once, beside a bare sync in the same second.
#[test]
fn durable_commits() {
    if std::env::var_os("SANDGLASS_SCALE").is_none() {
        println!("skipped: SANDGLASS_SCALE absent");
        return;
    }
    for writers in [1u64, 8, 64, 256] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), StoreOptions::default()).expect("the store opens");
        let heads: Vec<_> = (0..writers)
            .map(|number| {
                let mut head = None;
                append(&store, number, &mut head, &mut Random(number + 1), FILES);
                head
            })
            .collect();
        let sync = bare_sync(directory.path());
        let (before, commits) = (store.stats(), 6_000 / writers.max(4));
        let begun = Instant::now();
        let mut took: Vec<Duration> = std::thread::scope(|scope| {
            let store = &store;
            let threads: Vec<_> = (0u64..)
                .zip(heads)
                .map(|(number, mut head)| {
                    scope.spawn(move || {
                        let mut random = Random(1000 + number);
                        let times = (0..commits).map(|_| {
                            let begun = Instant::now();
                            append(store, number, &mut head, &mut random, 1);
                            begun.elapsed()
                        });
                        times.collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("the thread ends")).collect()
        });
        let all = begun.elapsed();
        took.sort_unstable();
        let after = store.stats();
        let count = took.len() as u64;
        println!(
            "{writers} sandboxes: {:.0} commits/s, median {:.3} ms, p95 {:.3} ms, bare sync {:.3} ms, {:.1} commits a sync, {:.2} bytes written per changed byte",
            count as f64 / all.as_secs_f64(),
            took[took.len() / 2].as_secs_f64() * 1000.0,
            took[took.len() * 95 / 100].as_secs_f64() * 1000.0,
            sync.as_secs_f64() * 1000.0,
            count as f64 / (after.syncs - before.syncs) as f64,
            (after.bytes_written - before.bytes_written) as f64 / (count * FILE_BYTES as u64) as f64,
        );
    }
}

#[test]
fn a_large_store() {
    let Some(sandboxes) = std::env::var("SANDGLASS_SCALE").ok().and_then(|text| text.parse::<u64>().ok()) else {
        println!("skipped: SANDGLASS_SCALE absent");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let options = StoreOptions { durability: Durability::Process, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).expect("the store opens");
    let mut random = Random(7);
    let mut heads = vec![None; usize::try_from(sandboxes).expect("fits")];
    timed("build", || {
        for turn in 0..STATES {
            for (number, head) in (0u64..).zip(&mut heads) {
                append(&store, number, head, &mut random, if turn == 0 { FILES } else { 1 });
            }
        }
    });
    drop(store);
    let (store, _) = timed("open", || Store::open(directory.path(), options).expect("the store opens"));
    let weigh = CollectOptions { only_weigh: true, ..CollectOptions::default() };
    let (weight, _) =
        timed("weigh", || store.collect(weigh, &mut |_| ControlFlow::Continue(())).expect("the store is weighed"));
    println!("{weight:?}");
    let retention = Retention { operations: Some(50), ..Retention::default() };
    timed("give up half of all states", || {
        for number in 0..sandboxes {
            let found = store.expirable(sandbox(number), &retention, Timestamp(2)).expect("found");
            store.expire(found.expect("half of them")).expect("given up");
        }
    });
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    let (collected, _) = timed("collect", || {
        let options = CollectOptions::default();
        let collected = store.collect(options, &mut |_| {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            ControlFlow::Continue(())
        });
        collected.expect("collected")
    });
    println!("{collected:?}, longest step {:.1} ms", longest.as_secs_f64() * 1000.0);
    drop(store);
    let scratch = tempfile::tempdir().expect("a directory");
    let ((looked, survey), _) = timed("survey every byte", || {
        Store::look(directory.path(), scratch.path(), &options, &mut |_| {}).expect("the store can be looked at")
    });
    assert_eq!(survey.damaged, Vec::new());
    let (verified, _) = timed("walk every state", || looked.verify(&mut |_| {}).expect("verified"));
    assert!(verified.is_whole());
    println!("{} states, {} entries", verified.states, verified.entries);
    drop(looked);
    std::fs::remove_file(directory.path().join("index.db")).expect("removed");
    timed("open without an index", || Store::open(directory.path(), options).expect("the store opens"));
}
