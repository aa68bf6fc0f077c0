//! What a commit costs, beside what the disk alone costs in the same run.
//!
//! `probe` is one `fdatasync` after overwriting a few KiB of a file that was filled before: no durable commit can be faster.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sandglass_snapshots::{
    Draft, Durability, Entry, EntryBody, NodeBatch, NodeKind, Operation, OperationKind, SandboxId, StateId, Store,
    StoreOptions, Timestamp,
};

/// A changed file of 4 KiB is a blob and what leads to it: as many bytes as a small directory path.
const BLOB_BYTES: usize = 4096;
const PATH_BYTES: usize = 3400;

static UNIQUE: AtomicU64 = AtomicU64::new(1);

fn node(kind: NodeKind, bytes: usize) -> Vec<u8> {
    let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
    let mut node = vec![kind as u8];
    node.extend_from_slice(&unique.to_le_bytes());
    node.resize(bytes, 0x5a);
    node
}

fn commit(store: &Store, sandbox: SandboxId, head: Option<&Entry>, files: usize) -> Entry {
    let mut nodes = NodeBatch::new();
    for _ in 0..files {
        nodes.insert(node(NodeKind::Blob, BLOB_BYTES));
    }
    nodes.insert(node(NodeKind::Dir, PATH_BYTES));
    let after = StateId::from(nodes.insert(node(NodeKind::State, 100)));
    let body = EntryBody::Operation(Operation {
        kind: OperationKind::Call,
        before: None,
        after,
        generation: 0,
        actor: "bench".to_owned(),
        target: None,
        policy_revision: 0,
        detail: Vec::new(),
        call: None,
    });
    let drafts = vec![Draft { time: Timestamp(0), body }];
    let mut entries = store.append(sandbox, head.map(|head| head.id), drafts, nodes).expect("the store takes it");
    entries.remove(0)
}

fn open(durability: Durability) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on this disk");
    let options = StoreOptions { durability, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).expect("a new store");
    (directory, store)
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for (name, durability) in [("disk", Durability::Disk), ("process", Durability::Process)] {
        for files in [1, 10, 1000] {
            let (_directory, store) = open(durability);
            let mut head = None;
            group.bench_function(BenchmarkId::new(name, files), |bencher| {
                bencher.iter(|| head = Some(commit(&store, SandboxId([1; 16]), head.as_ref(), files)));
            });
        }
    }
    let probe = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file on this disk");
    let file = OpenOptions::new().write(true).open(probe.path()).expect("the file opens");
    file.write_all_at(&vec![0; 64 << 20], 0).expect("room for zeros");
    file.sync_all().expect("a sync");
    let record = vec![0xa5; 8192];
    let mut offset = 0;
    group.bench_function("probe", |bencher| {
        bencher.iter(|| {
            file.write_all_at(black_box(&record), offset).expect("a write");
            file.sync_data().expect("a sync");
            offset = (offset + 8192) % (64 << 20);
        });
    });
    group.finish();
}

/// Each of `sandboxes` threads commits one file after another; returns the time that `commits` took in all.
fn race(store: &Store, sandboxes: u64, commits: u64) -> Duration {
    let left = AtomicU64::new(commits);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..sandboxes {
            let left = &left;
            scope.spawn(move || {
                let sandbox = SandboxId::new(UNIQUE.fetch_add(1, Ordering::Relaxed), [0; 10]);
                let mut head = None;
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    head = Some(commit(store, sandbox, head.as_ref(), 1));
                }
            });
        }
    });
    start.elapsed()
}

fn group_commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sandboxes");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for sandboxes in [1, 8, 64] {
        let (_directory, store) = open(Durability::Disk);
        group.bench_function(BenchmarkId::from_parameter(sandboxes), |bencher| {
            bencher.iter_custom(|iterations| race(&store, sandboxes, iterations));
        });
    }
    group.finish();
}

criterion_group!(benches, commits, group_commits);
criterion_main!(benches);
