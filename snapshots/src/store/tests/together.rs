//! A collection among writers: threads that write, fork, go back and give up, while one collects without a pause.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::machine::{QUOTA, bytes, read};
use super::*;
use crate::collect::CollectOptions;
use crate::id::Inode;
use crate::retention::Retention;

const WRITERS: u8 = 4;
const TURNS: u64 = 1500;

fn operate(store: &Store, number: u8, kind: OperationKind, after: StateId, nodes: NodeBatch) {
    let (mut drafts, _) = operation(1, kind, &[]);
    let EntryBody::Operation(body) = &mut drafts[0].body else { unreachable!() };
    body.after = after;
    let head = store.inner.index.tip(sandbox(number)).map(|tip| tip.head.entry);
    store.append(sandbox(number), head, drafts, nodes).unwrap();
}

/// Each writer has a sandbox of its own; there are forty contents and room for three,
/// so that what one gives up another soon writes anew.
fn write_on(store: &Store, number: u8, shown: &Mutex<Vec<StateId>>) {
    let mut random = u64::from(number) + 1;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let sealed = store.begin_empty(Vec::new(), QUOTA).seal().unwrap();
    operate(store, number, OperationKind::Create, sealed.state, sealed.nodes);
    for turn in 0..TURNS {
        match next() % 8 {
            // Another sandbox's state, which may be given up or collected at this moment: it is there or it is not.
            0 => {
                let state = {
                    let shown = shown.lock().unwrap();
                    if shown.is_empty() { continue } else { shown[next() as usize % shown.len()] }
                };
                if let Ok(hold) = store.hold_state(state) {
                    std::thread::yield_now();
                    operate(store, number, OperationKind::Restore, state, NodeBatch::new());
                    drop(hold);
                }
            }
            1 => {
                let retention = Retention { operations: Some(next() % 4), ..Retention::default() };
                let found = store.expirable(sandbox(number), &retention, Timestamp(turn as i64)).unwrap();
                found.into_iter().for_each(|found| store.expire(found).unwrap());
            }
            _ => {
                let head = store.head(sandbox(number)).unwrap();
                let mut transaction = store.begin(head.state, QUOTA).unwrap();
                for _ in 0..3 {
                    let name = [b'a' + (next() % 3) as u8];
                    let file = transaction
                        .lookup(Inode::ROOT, &name)
                        .or_else(|_| transaction.create_file(Inode::ROOT, &name, 0o644, Timestamp(1)))
                        .unwrap();
                    transaction.set_size(file, 0, Timestamp(1)).unwrap();
                    transaction.write(file, 0, &bytes((next() % 40) as u8, 900), Timestamp(1)).unwrap();
                }
                let sealed = transaction.seal().unwrap();
                operate(store, number, OperationKind::Call, sealed.state, sealed.nodes);
                shown.lock().unwrap().push(sealed.state);
            }
        }
    }
}

#[test]
fn a_collection_takes_nothing_that_anybody_refers_to() {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let options = StoreOptions { cache_bytes: 4 << 10, ..options(Durability::Process, 16 << 10) };
    let store = Store::open(directory.path(), options).unwrap();
    let shown = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    let (collections, rewritten) = std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let (mut collections, mut rewritten) = (0, 0);
            while !is_over.load(Ordering::SeqCst) {
                let all = CollectOptions { garbage_percent_min: 1, only_weigh: false };
                let collected = store.collect(all, &mut |_| ControlFlow::Continue(())).unwrap();
                collections += 1;
                rewritten += collected.segments_rewritten;
            }
            (collections, rewritten)
        });
        let (store, shown) = (&store, &shown);
        let writers: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || write_on(store, number, shown))).collect();
        let ended: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(|ended| ended.unwrap());
        collector.join().unwrap()
    });
    assert!(collections > 3 && rewritten > 3, "{collections} collections rewrote {rewritten} segments");
    let check = |store: &Store| {
        for number in 0..WRITERS {
            let expired = store.expired(sandbox(number)).unwrap();
            for entry in store.entries(sandbox(number), 0, usize::MAX).unwrap() {
                let EntryBody::Operation(operation) = &entry.body else { continue };
                if !crate::log::is_within(&expired, entry.seq) {
                    drop(read(store, operation.after));
                }
            }
        }
    };
    check(&store);
    drop(store);
    std::fs::remove_file(directory.path().join("index.db")).unwrap();
    check(&Store::open(directory.path(), options).unwrap());
}
