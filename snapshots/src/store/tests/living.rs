//! What a store promises while it runs, and across clean closes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::Barrier;

use proptest::prelude::*;

use super::*;
use crate::id::EntryId;
use crate::log::{Entry, Head};
use crate::node::NodeSource;

fn create(store: &Store, number: u8) -> Entry {
    let (drafts, nodes) = operation(u64::from(number), OperationKind::Create, &[blob(&[number; 100])]);
    store.append(sandbox(number), None, drafts, nodes).unwrap().remove(0)
}

fn call(store: &Store, at: &Entry, number: u64, nodes: &[Vec<u8>]) -> Result<Entry, StoreError> {
    let (drafts, nodes) = operation(number, OperationKind::Call, nodes);
    store.append(at.sandbox, Some(at.id), drafts, nodes).map(|mut entries| entries.remove(0))
}

#[test]
fn what_was_appended_is_there_after_a_clean_close() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut entries = vec![create(&store, 1)];
    for number in 2..40 {
        let at = entries.last().unwrap().clone();
        entries.push(call(&store, &at, number, &[blob(&number.to_le_bytes())]).unwrap());
    }
    let (heads, head) = (store.sandboxes(), store.head(sandbox(1)).unwrap());
    assert_eq!(head, Head { entry: entries[38].id, seq: 39, state: head.state, generation: 39 });
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.stats().replayed_records, 0, "a clean close leaves nothing to replay");
    assert_eq!(store.sandboxes(), heads);
    assert_eq!(store.entries(sandbox(1), 0, usize::MAX).unwrap(), entries);
    assert_eq!(store.stats().cut_bytes, 0);
    for entry in &entries {
        assert!(store.contains_state(head.state));
        needs(&entry.body).iter().for_each(|id| drop(store.node(id).unwrap()));
        assert_eq!(store.entry(sandbox(1), entry.seq).unwrap(), *entry);
        let bytes = store.node(&NodeId(entry.id.0)).unwrap();
        assert_eq!(crate::node::node_id(&bytes).0, entry.id.0, "an entry is a node of its own name");
    }
}

#[test]
fn a_log_knows_its_own_states_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    let (first, other) = (create(&store, 1), create(&store, 2));
    let second = call(&store, &first, 3, &[]).unwrap();
    let state = |entry: &Entry| {
        let EntryBody::Operation(operation) = &entry.body else { panic!("{entry:?} is no operation") };
        operation.after
    };
    // As it is in memory, and as it is on disk.
    for _ in 0..2 {
        for entry in [&first, &second, &other] {
            let found = [1, 2].map(|number| store.has_state(sandbox(number), state(entry)).unwrap());
            assert_eq!(found, [entry.sandbox == sandbox(1), entry.sandbox == sandbox(2)]);
        }
        assert!(!store.has_state(sandbox(1), StateId([0; 32])).unwrap());
        assert!(matches!(store.has_state(sandbox(3), state(&first)), Err(StoreError::UnknownSandbox(_))));
        drop(store);
        store = open(directory.path());
    }
}

#[test]
fn only_who_knows_the_head_may_append() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = create(&store, 1);
    let second = call(&store, &first, 2, &[]).unwrap();
    let stale = call(&store, &first, 3, &[]);
    assert!(
        matches!(stale, Err(StoreError::StaleHead { expected, found, .. }) if expected == Some(first.id) && found == Some(second.id)),
        "{stale:?}"
    );
    let (drafts, nodes) = operation(9, OperationKind::Create, &[]);
    assert!(matches!(store.append(sandbox(1), None, drafts, nodes), Err(StoreError::StaleHead { .. })));
    let unknown = Entry { sandbox: sandbox(9), ..second };
    assert!(matches!(call(&store, &unknown, 3, &[]), Err(StoreError::StaleHead { found: None, .. })));
    assert_eq!(store.entries(sandbox(1), 0, 9).unwrap().len(), 2);
}

#[test]
fn one_of_many_racing_appends_wins() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut at = create(&store, 1);
    for round in 0..20 {
        let barrier = Barrier::new(4);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|racer| {
                    let (store, at, barrier) = (&store, &at, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        call(store, at, 10 * round + racer, &[])
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let mut won = outcomes.into_iter().filter_map(Result::ok);
        at = won.next().expect("one wins");
        assert_eq!(won.next(), None, "only one wins");
    }
    assert_eq!(store.head(sandbox(1)).unwrap().seq, 21);
}

#[test]
fn many_callers_share_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(Durability::Disk, 8 << 20)).unwrap();
    let before = store.stats();
    const CALLERS: u8 = 16;
    const CALLS: u64 = 20;
    std::thread::scope(|scope| {
        for caller in 1..=CALLERS {
            let store = &store;
            scope.spawn(move || {
                let mut at = create(store, caller);
                for number in 1..CALLS {
                    let unique = u64::from(caller) << 32 | number;
                    at = call(store, &at, unique, &[blob(&unique.to_le_bytes())]).unwrap();
                }
            });
        }
    });
    let after = store.stats();
    let commits = u64::from(CALLERS) * CALLS;
    assert_eq!(after.records - before.records, commits);
    assert!(after.syncs - before.syncs < commits, "{} syncs for {commits} commits", after.syncs - before.syncs);
    assert_eq!(store.sandboxes().len(), usize::from(CALLERS));
}

#[test]
fn nodes_are_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = create(&store, 1);
    let shared = [blob(b"shared"), blob(b"also")];
    let second = call(&store, &first, 2, &shared).unwrap();
    let before = store.stats();
    let third = call(&store, &second, 3, &shared).unwrap();
    let after = store.stats();
    assert_eq!((after.nodes - before.nodes, after.nodes_known - before.nodes_known), (1, 2));
    drop(store);
    let store = open(directory.path());
    call(&store, &third, 4, &shared).unwrap();
    assert_eq!((store.stats().nodes, store.stats().nodes_known), (1, 2), "the index knows them, too");
}

#[test]
fn put_nodes_are_readable_at_once_and_not_synced_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(Durability::Disk, 4 << 20)).unwrap();
    let syncs = store.stats().syncs;
    let mut ids = Vec::new();
    for number in 0..200u32 {
        let mut batch = NodeBatch::new();
        ids.push(batch.insert(blob(&number.to_le_bytes())));
        store.put(&store.hold(), batch).unwrap();
    }
    for id in &ids {
        assert_eq!(store.node(id).unwrap().len(), 5);
    }
    assert!(store.stats().syncs - syncs < 200);
    store.sync().unwrap();
    drop(store);
    let store = open(directory.path());
    ids.iter().for_each(|id| drop(store.node(id).unwrap()));
}

#[test]
fn batches_larger_than_records_and_segments_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let small = options(Durability::Disk, 64 << 10);
    let store = Store::open(directory.path(), small).unwrap();
    let first = create(&store, 1);
    let large: Vec<Vec<u8>> = (0..6u8).map(|number| blob(&vec![number; 3 << 20])).collect();
    let second = call(&store, &first, 2, &large).unwrap();
    let third = call(&store, &second, 3, &[blob(b"small")]).unwrap();
    assert!(store.stats().records >= 5, "more than one record for 18 MiB");
    drop(store);
    fs::remove_file(directory.path().join("index.db")).unwrap();
    let store = Store::open(directory.path(), small).unwrap();
    assert_eq!(store.entries(sandbox(1), 0, 9).unwrap(), [first, second.clone(), third.clone()]);
    needs(&second.body).iter().for_each(|id| drop(store.node(id).unwrap()));
    let too_large = call(&store, &third, 4, &[blob(&vec![0; super::super::NODE_LIMIT])]);
    assert!(matches!(too_large, Err(StoreError::TooLarge { .. })), "{too_large:?}");
}

#[test]
fn a_deleted_sandbox_is_gone_but_its_log_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = create(&store, 1);
    create(&store, 2);
    let (drafts, nodes) = operation(5, OperationKind::Delete, &[]);
    let last = store.append(sandbox(1), Some(first.id), drafts, nodes).unwrap().remove(0);
    let check = |store: Store| {
        assert!(matches!(store.head(sandbox(1)), Err(StoreError::UnknownSandbox(_))));
        assert_eq!(store.sandboxes().len(), 1);
        assert_eq!(store.entries(sandbox(1), 0, 9).unwrap(), [first.clone(), last.clone()]);
        assert!(matches!(call(&store, &last, 6, &[]), Err(StoreError::UnknownSandbox(_))));
    };
    check(store);
    check(open(directory.path()));
}

#[test]
fn what_is_too_large_or_headless_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let records = store.stats().records;
    let time = Timestamp(0);
    let headless = vec![Draft { time, body: EntryBody::CheckpointDeleted { name: "x".to_owned() } }];
    let refused = store.append(sandbox(1), None, headless, NodeBatch::new());
    assert!(matches!(refused, Err(StoreError::NoFirstOperation(_))), "{refused:?}");
    let large = vec![Draft { time, body: EntryBody::Other { kind: 1, bytes: vec![0; (1 << 20) + 1] } }];
    let refused = store.append(sandbox(1), None, large, NodeBatch::new());
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(store.stats().records, records);
    assert!(store.sandboxes().is_empty());
}

#[test]
fn a_store_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let second = Store::open(directory.path(), StoreOptions::default());
    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    drop(store);
    open(directory.path());
}

#[test]
fn nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("data");
    let store = open(&root);
    create(&store, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("segments")), 0o700);
    let files = fs::read_dir(&root).unwrap().chain(fs::read_dir(root.join("segments")).unwrap());
    let files: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(files.len() >= 3, "{files:?}");
    files.iter().for_each(|file| assert_eq!(mode(file), 0o600, "{}", file.display()));
}

#[test]
fn a_flipped_bit_in_a_node_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = create(&store, 1);
    let content = b"the content that rots".repeat(4);
    call(&store, &first, 2, &[blob(&content)]).unwrap();
    drop(store);
    let segment = directory.path().join("segments/00000001.seg");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(content.len()).position(|window| window == content).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
    let id = crate::node::node_id(&blob(&content));
    let opened = Store::open(directory.path(), options(Durability::Disk, 1 << 20));
    match opened {
        // It was the last record: opening looks at that one again.
        Err(StoreError::DamagedFile { .. }) => {}
        opened => {
            let damaged = opened.unwrap().node(&id);
            assert!(matches!(&damaged, Err(StoreError::DamagedNode { node, .. }) if *node == id), "{damaged:?}");
        }
    }
    file.write_all_at(&[bytes[at]], at as u64).unwrap();
    let store = open(directory.path());
    call(&store, &store.entry(sandbox(1), 2).unwrap(), 3, &[]).unwrap();
    drop(store);
    file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
    let damaged = open(directory.path()).node(&id).unwrap_err();
    assert!(matches!(&damaged, StoreError::DamagedNode { node, .. } if *node == id), "{damaged:?}");
    assert!(damaged.to_string().contains("00000001.seg"), "{damaged}");
}

#[test]
fn a_removed_or_damaged_index_is_rebuilt_equal() {
    let directory = tempfile::tempdir().unwrap();
    let small = options(Durability::Disk, 16 << 10);
    let store = Store::open(directory.path(), small).unwrap();
    for number in 1..5 {
        let mut at = create(&store, number);
        for call_number in 0..30u64 {
            at = call(&store, &at, call_number, &[blob(&[number, call_number as u8].repeat(100))]).unwrap();
        }
        let named =
            EntryBody::Checkpoint { name: format!("n{number}"), state: store.head(sandbox(number)).unwrap().state };
        let drafts = vec![Draft { time: Timestamp(1), body: named }];
        store.append(sandbox(number), Some(at.id), drafts, NodeBatch::new()).unwrap();
    }
    drop(store);
    let index = directory.path().join("index.db");
    let tables = |path: &Path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        ["nodes", "entries", "heads", "checkpoints", "applied"].map(|table| {
            let mut query = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
            let columns = query.column_count();
            let rows = query.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
            rows.unwrap().collect::<Result<Vec<Vec<rusqlite::types::Value>>, _>>().unwrap()
        })
    };
    let before = tables(&index);
    assert!(before.iter().all(|table| !table.is_empty()));
    let spoil: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&index).unwrap(),
        &|| fs::write(&index, b"not a database at all, but long enough to be looked at").unwrap(),
        &|| fs::write(&index, b"").unwrap(),
        &|| {
            let connection = rusqlite::Connection::open(&index).unwrap();
            connection.pragma_update(None, "user_version", 99).unwrap();
        },
    ];
    for spoil in spoil {
        spoil();
        let store = Store::open(directory.path(), small).unwrap();
        assert!(store.stats().replayed_records > 100);
        drop(store);
        assert_eq!(tables(&index), before);
    }
}

#[test]
fn a_newer_segment_is_told_apart_from_a_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let segment = directory.path().join("segments/00000001.seg");
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(&7u32.to_le_bytes(), 8).unwrap();
    let opened = Store::open(directory.path(), StoreOptions::default());
    assert!(matches!(opened, Err(StoreError::NewerFormat { found: 7, known: 2, .. })), "{opened:?}");
}

/// A service that is killed again and again never closes its index: SQLite's log must not grow with every life.
#[test]
fn the_log_of_the_index_stays_small() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut at = create(&store, 1);
    for number in 2..900 {
        at = call(&store, &at, number, &[blob(&number.to_le_bytes())]).unwrap();
        // One batch each, as when little is written at a time.
        store.inner.index.with_database(|_| Ok(())).unwrap();
    }
    let log = fs::metadata(directory.path().join("index.db-wal")).unwrap().len();
    assert!(log < 12 << 20, "{log} bytes");
}

#[derive(Clone, Debug)]
enum Step {
    Call,
    Name(u8),
    Unname(u8),
    Other,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Call),
        2 => (0..4u8).prop_map(Step::Name),
        1 => (0..4u8).prop_map(Step::Unname),
        2 => Just(Step::Other),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Logs read the same whether entries are still in memory or already in the database, and as a plain vector would.
    #[test]
    fn logs_and_checkpoints_follow_a_model(steps in steps(), windows in prop::collection::vec((0..30u64, 0..8usize), 6)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut log = vec![create(&store, 1)];
        for (number, step) in steps.into_iter().enumerate() {
            let number = number as u64;
            let state = store.head(sandbox(1)).unwrap().state;
            let mut nodes = NodeBatch::new();
            let body = match step {
                Step::Reopen => {
                    drop(store);
                    store = open(directory.path());
                    continue;
                }
                Step::Call => {
                    let (mut drafts, needed) = operation(number, OperationKind::Call, &[]);
                    nodes = needed;
                    drafts.remove(0).body
                }
                Step::Name(name) => EntryBody::Checkpoint { name: name.to_string(), state },
                Step::Unname(name) => EntryBody::CheckpointDeleted { name: name.to_string() },
                Step::Other => EntryBody::Other { kind: 3, bytes: vec![1, 2] },
            };
            let previous = log.last().map(|entry| entry.id);
            let draft = Draft { time: Timestamp(number as i64), body };
            log.extend(store.append(sandbox(1), previous, vec![draft], nodes).unwrap());
        }
        let previous: Vec<Option<EntryId>> = log.iter().map(|entry| entry.previous).collect();
        let ids: Vec<Option<EntryId>> = std::iter::once(None).chain(log.iter().map(|entry| Some(entry.id))).collect();
        prop_assert_eq!(&previous[..], &ids[..log.len()]);
        prop_assert_eq!(log.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=log.len() as u64).collect::<Vec<_>>());
        for (seq, limit) in windows {
            let after: Vec<Entry> = log.iter().filter(|entry| entry.seq > seq).take(limit).cloned().collect();
            prop_assert_eq!(store.entries(sandbox(1), seq, limit).unwrap(), after);
            let before: Vec<Entry> = log.iter().rev().filter(|entry| entry.seq < seq).take(limit).cloned().collect();
            prop_assert_eq!(store.entries_before(sandbox(1), seq, limit).unwrap(), before);
        }
        let mut named = std::collections::BTreeMap::new();
        for entry in &log {
            match &entry.body {
                EntryBody::Checkpoint { name, state } => drop(named.insert(name.clone(), (*state, entry.seq))),
                EntryBody::CheckpointDeleted { name } => drop(named.remove(name)),
                _ => {}
            }
        }
        let found: BTreeSet<_> =
            store.checkpoints(sandbox(1)).unwrap().into_iter().map(|(name, state, seq, _)| (name, (state, seq))).collect();
        prop_assert_eq!(found, named.into_iter().collect::<BTreeSet<_>>());
    }
}
