//! What a tree of 100,000 files costs: a commit of few changes, a restore, a fork, a diff. Nothing is synced: the cost is that of
//! naming, encoding and the write; `store.rs` beside this measures syncs.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on ends")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sandglass_snapshots::{Durability, Inode, Quota, StateId, Store, StoreOptions, Timestamp, Transaction};

const QUOTA: Quota = Quota { bytes: u64::MAX, inodes: u64::MAX };
const NOW: Timestamp = Timestamp(0);

/// Fills 10 x 100 directories of 100 files each.
fn hundred_thousand(store: &Store) -> StateId {
    let mut transaction = store.begin_empty(Vec::new(), QUOTA);
    for outer in 0..10 {
        let directory = transaction.create_directory(Inode::ROOT, format!("{outer}").as_bytes(), 0o755, NOW).unwrap();
        for inner in 0..100 {
            let directory = transaction.create_directory(directory, format!("{inner}").as_bytes(), 0o755, NOW).unwrap();
            for number in 0..100 {
                let file = transaction.create_file(directory, format!("{number}").as_bytes(), 0o644, NOW).unwrap();
                transaction.write(file, 0, format!("{outer} {inner} {number}").as_bytes(), NOW).unwrap();
            }
        }
    }
    kept(store, transaction)
}

fn kept(store: &Store, transaction: Transaction) -> StateId {
    let sealed = transaction.seal().unwrap();
    store.put(&store.hold(), sealed.nodes).unwrap();
    sealed.state
}

/// Writes 4 KiB to each of `count` files in directories of their own, as far as there are so many.
fn changed(store: &Store, state: StateId, count: usize, round: u64) -> Transaction {
    let mut transaction = store.begin(state, QUOTA).unwrap();
    let content: Vec<u8> = round.to_le_bytes().into_iter().cycle().take(4096).collect();
    for number in 0..count {
        let outer = transaction.lookup(Inode::ROOT, (number % 10).to_string().as_bytes()).unwrap();
        let inner = transaction.lookup(outer, (number / 10 % 100).to_string().as_bytes()).unwrap();
        let file = transaction.lookup(inner, b"7").unwrap();
        transaction.write(file, 0, &content, NOW).unwrap();
    }
    transaction
}

fn trees(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Process, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    let state = hundred_thousand(&store);
    let mut round = 0;
    for count in [1, 10, 1_000] {
        criterion.bench_function(&format!("seal and write {count} changed files of 100,000"), |bencher| {
            let fresh = || {
                round += 1;
                changed(&store, state, count, round)
            };
            bencher.iter_batched(fresh, |transaction| kept(&store, transaction), BatchSize::PerIteration);
        });
    }
    criterion.bench_function("begin on a state of 100,000 files", |bencher| {
        bencher.iter(|| store.begin(black_box(state), QUOTA).unwrap());
    });
    let savepoint = changed(&store, state, 1_000, 0);
    criterion.bench_function("savepoint with 1,000 changed files", |bencher| bencher.iter(|| savepoint.clone()));
    let after = kept(&store, changed(&store, state, 10, u64::MAX));
    criterion.bench_function("diff of 10 changes among 100,000", |bencher| {
        bencher.iter(|| store.diff(state, black_box(after), 100).unwrap());
    });
}

criterion_group!(benches, trees);
criterion_main!(benches);
