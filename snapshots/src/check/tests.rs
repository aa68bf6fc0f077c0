//! States made by hand, each wrong in one way, and the words for it.

use bytes::Bytes;

use super::*;
use crate::bundle::tests::{small, store};
use crate::codec::Writer;
use crate::id::Timestamp;
use crate::node::NodeBatch;
use crate::state::TreeUsage;
use crate::store::Store;
use crate::tree::{Content, Directory, Entry, Record};

fn check(store: &Store, state: StateId) -> Vec<String> {
    let mut report = CheckReport::default();
    check_state(store, state, &mut CheckMemo::default(), &mut report).unwrap();
    report.violations.into_iter().map(|violation| format!("{}: {}", violation.path, violation.reason)).collect()
}

fn file(inode: u64, bytes: &'static [u8]) -> Record {
    let content = Content::Inline(Bytes::from_static(bytes));
    Record { inode: Inode(inode), mode: 0o644, modified: Timestamp(0), size: bytes.len() as u64, links: 1, content }
}

fn with(mut record: Record, size: u64, content: Content) -> Record {
    (record.size, record.content) = (size, content);
    record
}

fn directory(inode: u64, root: Option<NodeId>) -> Record {
    with(file(inode, b""), 0, Content::Directory(root))
}

fn entry(name: &str, record: Record) -> Entry {
    Entry::new(Bytes::copy_from_slice(name.as_bytes()), record)
}

fn seal(batch: &mut NodeBatch, entries: Vec<Entry>) -> Option<NodeId> {
    let mut directory = Directory::from_entries(entries);
    directory.seal(batch)
}

fn put(store: &Store, mut batch: NodeBatch, root: Option<NodeId>, links: Option<NodeId>, usage: (u64, u64)) -> StateId {
    let state = State {
        root,
        root_mode: 0o755,
        root_modified: 0,
        links,
        next_inode: 100,
        usage: TreeUsage { bytes: usage.0, inodes: usage.1 },
        guests: Vec::new(),
        sessions: Vec::new(),
    };
    let id = state.put(&mut batch);
    store.put(&store.hold(), batch).unwrap();
    id
}

#[test]
fn a_good_state_is_good_and_read_once() {
    let (_directory, store) = store();
    let state = small(&store);
    let (mut memo, mut report) = (CheckMemo::default(), CheckReport::default());
    for _ in 0..2 {
        check_state(&store, state, &mut memo, &mut report).unwrap();
    }
    assert_eq!(report, CheckReport { states: 2, ..CheckReport::default() });
    let missing = check(&store, StateId([1; 32]));
    assert!(missing[0].contains("is not in the store"), "{missing:?}");
}

#[test]
fn entries_that_can_not_be_are_told_with_their_paths() {
    let (_directory, store) = store();
    let one = |record: Record, usage: (u64, u64)| {
        let mut batch = NodeBatch::new();
        let below = seal(&mut batch, vec![entry("x", record)]);
        let root = seal(&mut batch, vec![entry("d", directory(2, below))]);
        check(&store, put(&store, batch, root, None, usage))
    };
    assert_eq!(one(file(3, b"fine"), (4, 3)), [""; 0]);
    let mut batch = NodeBatch::new();
    let blob = batch.put_blob(&[1; 600]);
    let zeros = batch.put_blob(&[1, 0]);
    let mut branch = Writer::with_kind(NodeKind::File as u8);
    branch.u8(1).u8(1).raw(&[1]).raw(&[0; 31]).id(&zeros);
    let padded = batch.insert(branch.into_bytes());
    let mut hollow = Writer::with_kind(NodeKind::File as u8);
    hollow.u8(1).u8(1).raw(&[0; 32]);
    let hollow = batch.insert(hollow.into_bytes());
    store.put(&store.hold(), batch).unwrap();
    for (record, says) in [
        (file(1, b""), "its inode number"),
        (file(0, b""), "its inode number"),
        (Record { links: 2, ..file(3, b"") }, "counts several names"),
        (with(file(3, b""), 601, Content::Blob(blob)), "it has 600 bytes"),
        (with(file(3, b""), 600, Content::Blob(NodeId([9; 32]))), "is not in the store"),
        (with(file(3, b""), 600, Content::Blob(hollow)), "should be a blob"),
        (with(file(3, b""), 70_000, Content::Chunks(Some(blob))), "should be a branch"),
        (with(file(3, b""), 70_000, Content::Chunks(Some(padded))), "ends with a zero"),
        (with(file(3, b""), 70_000, Content::Chunks(Some(hollow))), "without children"),
        (with(file(3, b""), 1 << 40, Content::Chunks(Some(padded))), "of the level of its place"),
        (directory(3, Some(blob)), "is damaged"),
        (directory(3, Some(NodeId([9; 32]))), "is not in the store"),
    ] {
        let told = one(record, (0, 3));
        assert!(told.len() == 1 && told[0].starts_with("/d/x: ") && told[0].contains(says), "{says}: {told:?}");
    }
    for name in [".", "..", "a/b", "a\0b"] {
        let mut batch = NodeBatch::new();
        let root = seal(&mut batch, vec![entry(name, file(2, b""))]);
        let told = check(&store, put(&store, batch, root, None, (0, 2)));
        assert!(told[0].contains("its name is not allowed"), "{told:?}");
    }
}

/// Roots of the tree and of the link table, and what the state shall count.
type Made = (Option<NodeId>, Option<NodeId>, (u64, u64));

#[test]
fn trees_that_do_not_fit_together_are_told() {
    let (_directory, store) = store();
    let says = |make: &dyn Fn(&mut NodeBatch) -> Made, says: &str| {
        let mut batch = NodeBatch::new();
        let (root, links, usage) = make(&mut batch);
        let told = check(&store, put(&store, batch, root, links, usage));
        assert!(told.iter().any(|told| told.contains(says)), "{says}: {told:?}");
    };
    let linked = |inode| Record::linked(Inode(inode), false);
    let key = |inode: u64| Bytes::copy_from_slice(&inode.to_be_bytes());
    let table = |batch: &mut NodeBatch, inode: u64, record: Record| seal(batch, vec![Entry::new(key(inode), record)]);
    // Doubled over and over: a walk that looked at each path would never end.
    says(
        &|batch| {
            let mut below = seal(batch, vec![entry("x", file(2, b""))]);
            for level in 0..70 {
                let names = vec![entry("a", directory(3 + level, below)), entry("b", directory(3 + level, below))];
                below = seal(batch, names);
            }
            (below, None, (0, u64::MAX))
        },
        "under two names",
    );
    says(&|batch| (seal(batch, vec![entry("a", file(7, b"")), entry("b", file(7, b""))]), None, (0, 3)), "given twice");
    says(&|batch| (seal(batch, vec![entry("a", file(100, b""))]), None, (0, 2)), "100 is the next");
    says(&|batch| (seal(batch, vec![entry("a", linked(7))]), None, (0, 1)), "linked files have names");
    says(&|batch| (None, table(batch, 7, file(7, b"")), (0, 2)), "has no name");
    says(&|batch| (None, table(batch, 7, file(8, b"")), (0, 2)), "is not its inode number");
    says(&|batch| (None, table(batch, 7, directory(7, None)), (0, 2)), "can't be in the link table");
    let two = |batch: &mut NodeBatch| seal(batch, vec![entry("a", linked(7)), entry("b", linked(7))]);
    says(
        &|batch| (two(batch), table(batch, 7, Record { links: 3, ..file(7, b"") }), (0, 2)),
        "counts 3 names and has 2",
    );
    let symlink = with(Record { links: 2, ..file(7, b"") }, 0, Content::Symlink(Bytes::from_static(b"t")));
    says(&|batch| (two(batch), table(batch, 7, symlink.clone()), (0, 2)), "say another kind");
    // Two directories that hold nothing but names of one file are the same node, and right.
    let mut batch = NodeBatch::new();
    let names = seal(&mut batch, vec![entry("n", linked(7))]);
    let root = seal(&mut batch, vec![entry("a", directory(2, names)), entry("b", directory(3, names))]);
    let links = table(&mut batch, 7, Record { links: 2, ..file(7, b"!") });
    assert_eq!(check(&store, put(&store, batch, root, links, (1, 4))), [""; 0]);
}

#[test]
fn directories_that_are_cut_wrongly_are_told() {
    let (_directory, store) = store();
    let entries: Vec<_> = (0..200).map(|number| entry(&number.to_string(), file(number + 2, b""))).collect();
    let mut batch = NodeBatch::new();
    let root = seal(&mut batch, entries.clone()).unwrap();
    let good = batch.get(&root).unwrap().to_vec();
    let check_root = |bytes: Vec<u8>| {
        let mut batch = batch.clone();
        let root = batch.insert(bytes);
        check(&store, put(&store, batch, Some(root), None, (0, 201)))
    };
    let mut fewer = good.clone();
    // The first child: 32 bytes of id after kind, version and bitmap, then its count.
    fewer[2 + 4 + 32] ^= 1;
    assert!(check_root(fewer)[0].contains("a branch of a directory counts"));
    let mut moved = good.clone();
    let (first, second) = (6, 6 + 33);
    for at in 0..33 {
        moved.swap(first + at, second + at);
    }
    assert!(check_root(moved).iter().any(|told| told.contains("belong elsewhere")));
    assert!(check_root(vec![2, 1, 0, 0, 0, 0])[0].contains("nothing below"));
    assert!(check_root(vec![1, 1, 0])[0].contains("has 0 entries"));
    let mut small = NodeBatch::new();
    let leaf = seal(&mut small, vec![entry("a", file(2, b""))]).unwrap();
    let place = crate::tree::directory::slot(&crate::tree::directory::name_hash(b"a"), 0);
    let mut branch = Writer::with_kind(NodeKind::DirBranch as u8);
    branch.u8(1).raw(&(1u32 << place).to_le_bytes()).id(&leaf).u64(1);
    let root = small.insert(branch.into_bytes());
    let told = check(&store, put(&store, small, Some(root), None, (0, 2)));
    assert!(told[0].contains("has only 1 entries"), "{told:?}");
}
