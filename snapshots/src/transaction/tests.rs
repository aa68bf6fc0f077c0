//! Transactions against a naive model: a map of whole trees, with links, open files, holes, savepoints and reopening.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::diff::{ChangeKind, diff};
use crate::error::{FsError, StoreError};
use crate::store::Hold;

/// A store of nodes in memory, that counts what is read.
#[derive(Default)]
pub(crate) struct MemoryNodes {
    nodes: Mutex<NodeBatch>,
    reads: std::sync::atomic::AtomicUsize,
}

impl NodeSource for MemoryNodes {
    fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.nodes.lock().unwrap().get(id).cloned().ok_or(StoreError::MissingNode(*id))
    }
}

impl MemoryNodes {
    pub(crate) fn keep(&self, sealed: Sealed) -> StateId {
        self.nodes.lock().unwrap().merge(sealed.nodes);
        sealed.state
    }

    pub(crate) fn add(&self, nodes: NodeBatch) {
        self.nodes.lock().unwrap().merge(nodes);
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(std::sync::atomic::Ordering::Relaxed)
    }
}

pub(crate) const QUOTA: Quota = Quota { bytes: 1 << 40, inodes: 1_000_000 };
const NOW: Timestamp = Timestamp(7);

pub(crate) fn empty(store: &Arc<MemoryNodes>) -> Transaction {
    Transaction::empty(Arc::clone(store) as Arc<dyn NodeSource>, Nodes::cache(), Vec::new(), QUOTA, Hold::of_nothing())
}

pub(crate) fn open(store: &Arc<MemoryNodes>, state: StateId) -> Transaction {
    Transaction::open(Arc::clone(store) as Arc<dyn NodeSource>, Nodes::cache(), state, QUOTA, Hold::of_nothing())
        .unwrap()
}

/// The model: files by a number that stands for their inode, names by path.
#[derive(Clone, Debug, Default)]
struct Model {
    files: BTreeMap<u64, Vec<u8>>,
    names: BTreeMap<Vec<u8>, ModelNode>,
    next: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ModelNode {
    Directory,
    File(u64),
    Symlink(Vec<u8>),
}

impl Model {
    fn parent_exists(&self, path: &[u8]) -> bool {
        let parent = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap()];
        parent.is_empty() || self.names.get(parent) == Some(&ModelNode::Directory)
    }

    fn has_children(&self, path: &[u8]) -> bool {
        let prefix = [path, b"/"].concat();
        self.names.keys().any(|name| name.starts_with(&prefix))
    }

    fn collect_garbage(&mut self) {
        let used: Vec<u64> = self
            .names
            .values()
            .filter_map(|node| if let ModelNode::File(id) = node { Some(*id) } else { None })
            .collect();
        self.files.retain(|id, _| used.contains(id));
    }
}

#[derive(Clone, Debug)]
enum Action {
    CreateFile(usize),
    CreateDirectory(usize),
    CreateSymlink(usize),
    Write(usize, u32, usize),
    SetSize(usize, u32),
    Link(usize, usize),
    Unlink(usize),
    RemoveDirectory(usize),
    Rename(usize, usize),
    Savepoint,
    Rollback,
    Reopen,
}

/// Few paths, so that operations meet: three names at three levels.
fn path(number: usize) -> Vec<u8> {
    let names = [b"a", b"b", b"c"];
    let mut path = Vec::new();
    let (depth, mut rest) = (number % 3 + 1, number / 3);
    for _ in 0..depth {
        path.push(b'/');
        path.extend_from_slice(names[rest % 3]);
        rest /= 3;
    }
    path
}

fn action() -> impl Strategy<Value = Action> {
    let path = || 0..81usize;
    let offset = || prop_oneof![0..2000u32, 60_000..70_000u32, 130_000..132_000u32, Just(17_000_000u32)];
    prop_oneof![
        4 => path().prop_map(Action::CreateFile),
        4 => path().prop_map(Action::CreateDirectory),
        1 => path().prop_map(Action::CreateSymlink),
        6 => (path(), offset(), 0..3000usize).prop_map(|(path, offset, length)| Action::Write(path, offset, length)),
        2 => (path(), offset()).prop_map(|(path, size)| Action::SetSize(path, size)),
        3 => (path(), path()).prop_map(|(from, to)| Action::Link(from, to)),
        3 => path().prop_map(Action::Unlink),
        2 => path().prop_map(Action::RemoveDirectory),
        4 => (path(), path()).prop_map(|(from, to)| Action::Rename(from, to)),
        1 => Just(Action::Savepoint),
        1 => Just(Action::Rollback),
        2 => Just(Action::Reopen),
    ]
}

pub(crate) fn walk(transaction: &mut Transaction, path: &[u8]) -> Result<Inode, FsError> {
    let mut inode = Inode::ROOT;
    for name in path.split(|byte| *byte == b'/').skip(1) {
        inode = transaction.lookup(inode, name)?;
    }
    Ok(inode)
}

fn parent_and_name<'a>(transaction: &mut Transaction, path: &'a [u8]) -> Result<(Inode, &'a [u8]), FsError> {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap();
    let parent = if slash == 0 { Inode::ROOT } else { walk(transaction, &path[..slash])? };
    Ok((parent, &path[slash + 1..]))
}

/// Applies an action to both, and says whether it succeeded in each.
fn apply(action: &Action, transaction: &mut Transaction, model: &mut Model) -> (bool, bool) {
    match action {
        Action::CreateFile(number) | Action::CreateDirectory(number) | Action::CreateSymlink(number) => {
            let path = path(*number);
            let real = parent_and_name(transaction, &path).and_then(|(parent, name)| match action {
                Action::CreateFile(_) => transaction.create_file(parent, name, 0o644, NOW),
                Action::CreateDirectory(_) => transaction.create_directory(parent, name, 0o755, NOW),
                _ => transaction.create_symlink(parent, name, b"target", NOW),
            });
            let possible = model.parent_exists(&path) && !model.names.contains_key(&path);
            if possible {
                let node = match action {
                    Action::CreateFile(_) => {
                        model.next += 1;
                        model.files.insert(model.next, Vec::new());
                        ModelNode::File(model.next)
                    }
                    Action::CreateDirectory(_) => ModelNode::Directory,
                    _ => ModelNode::Symlink(b"target".to_vec()),
                };
                model.names.insert(path, node);
            }
            (real.is_ok(), possible)
        }
        Action::Write(number, offset, length) => {
            let path = path(*number);
            let bytes: Vec<u8> = (0..*length).map(|index| (index * 7 + *offset as usize) as u8).collect();
            let real =
                walk(transaction, &path).and_then(|inode| transaction.write(inode, u64::from(*offset), &bytes, NOW));
            let Some(ModelNode::File(id)) = model.names.get(&path) else { return (real.is_ok(), false) };
            let content = model.files.get_mut(id).unwrap();
            let end = *offset as usize + length;
            if *length > 0 && content.len() < end {
                content.resize(end, 0);
            }
            content[..].get_mut(*offset as usize..end).unwrap_or_default().copy_from_slice(if *length > 0 {
                &bytes
            } else {
                &[]
            });
            (real.is_ok(), true)
        }
        Action::SetSize(number, size) => {
            let path = path(*number);
            let real = walk(transaction, &path).and_then(|inode| transaction.set_size(inode, u64::from(*size), NOW));
            let Some(ModelNode::File(id)) = model.names.get(&path) else { return (real.is_ok(), false) };
            model.files.get_mut(id).unwrap().resize(*size as usize, 0);
            (real.is_ok(), true)
        }
        Action::Link(from, to) => {
            let (from, to) = (path(*from), path(*to));
            let real = walk(transaction, &from).and_then(|inode| {
                let (parent, name) = parent_and_name(transaction, &to)?;
                transaction.link(inode, parent, name, NOW)
            });
            let node = model.names.get(&from).filter(|node| **node != ModelNode::Directory).cloned();
            // A model of links to symbolic links would have to number those as well.
            if matches!(node, Some(ModelNode::Symlink(_))) {
                if real.is_ok() {
                    let (parent, name) = parent_and_name(transaction, &to).unwrap();
                    transaction.unlink(parent, name, NOW).unwrap();
                }
                return (true, true);
            }
            let possible = node.is_some() && model.parent_exists(&to) && !model.names.contains_key(&to);
            if let (true, Some(node)) = (possible, node) {
                model.names.insert(to, node);
            }
            (real.is_ok(), possible)
        }
        Action::Unlink(number) | Action::RemoveDirectory(number) => {
            let path = path(*number);
            let directory = matches!(action, Action::RemoveDirectory(_));
            let real = parent_and_name(transaction, &path).and_then(|(parent, name)| {
                if directory {
                    transaction.remove_directory(parent, name, NOW)
                } else {
                    transaction.unlink(parent, name, NOW)
                }
            });
            let possible = match model.names.get(&path) {
                Some(ModelNode::Directory) => directory && !model.has_children(&path),
                Some(_) => !directory,
                None => false,
            };
            if possible {
                model.names.remove(&path);
                model.collect_garbage();
            }
            (real.is_ok(), possible)
        }
        Action::Rename(from, to) => {
            let (from, to) = (path(*from), path(*to));
            let real = parent_and_name(transaction, &from).and_then(|(old, old_name)| {
                let (new, new_name) = parent_and_name(transaction, &to)?;
                transaction.rename(old, old_name, new, new_name, NOW)
            });
            (real.is_ok(), rename_in_model(model, &from, &to))
        }
        Action::Savepoint | Action::Rollback | Action::Reopen => (true, true),
    }
}

fn rename_in_model(model: &mut Model, from: &[u8], to: &[u8]) -> bool {
    let Some(node) = model.names.get(from).cloned() else { return false };
    if !model.parent_exists(to) {
        return false;
    }
    let inside = [from, b"/"].concat();
    if node == ModelNode::Directory && to.starts_with(&inside) {
        return false;
    }
    if from == to {
        return true;
    }
    match (model.names.get(to), &node) {
        (Some(ModelNode::Directory), ModelNode::Directory) if !model.has_children(to) => {}
        (Some(ModelNode::Directory), _) | (Some(_), ModelNode::Directory) => return false,
        (Some(target), node) if matches!(node, ModelNode::File(_)) && target == node => return true,
        _ => {}
    }
    model.names.remove(to);
    let moved: Vec<_> =
        model.names.keys().filter(|name| **name == *from || name.starts_with(&inside)).cloned().collect();
    for name in moved {
        let node = model.names.remove(&name).unwrap();
        model.names.insert([to, &name[from.len()..]].concat(), node);
    }
    model.collect_garbage();
    true
}

/// Compares every name, every byte, the links and the usage.
fn check(transaction: &mut Transaction, model: &Model) -> Result<(), TestCaseError> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, Inode> = BTreeMap::new();
    let mut waiting = vec![(Vec::new(), Inode::ROOT)];
    while let Some((path, directory)) = waiting.pop() {
        let mut cookie = 0;
        loop {
            let page = transaction.read_directory(directory, cookie, 2).unwrap();
            let Some(last) = page.last() else { break };
            cookie = last.cookie;
            for entry in page {
                let path = [&path[..], b"/", &entry.name].concat();
                let inode = transaction.lookup(directory, &entry.name).unwrap();
                prop_assert_eq!(inode, entry.inode);
                prop_assert_eq!(transaction.attributes(inode).unwrap().kind, entry.kind);
                if entry.kind == Kind::Directory {
                    waiting.push((path.clone(), inode));
                }
                found.insert(path, inode);
            }
        }
    }
    prop_assert_eq!(found.keys().collect::<Vec<_>>(), model.names.keys().collect::<Vec<_>>());
    for (path, inode) in &found {
        match &model.names[path] {
            ModelNode::Directory => prop_assert_eq!(transaction.attributes(*inode).unwrap().kind, Kind::Directory),
            ModelNode::Symlink(target) => prop_assert_eq!(&transaction.read_link(*inode).unwrap()[..], &target[..]),
            ModelNode::File(id) => {
                prop_assert_eq!(*inodes.entry(*id).or_insert(*inode), *inode);
                let content = &model.files[id];
                let attributes = transaction.attributes(*inode).unwrap();
                prop_assert_eq!(attributes.size, content.len() as u64);
                let names = model.names.values().filter(|node| **node == ModelNode::File(*id)).count();
                prop_assert_eq!(attributes.links, names as u64);
                let mut bytes = vec![1; content.len() + 9];
                let length = transaction.read(*inode, 0, &mut bytes).unwrap();
                prop_assert_eq!(length, content.len());
                prop_assert!(bytes[..length] == content[..], "the bytes of {:?}", String::from_utf8_lossy(path));
            }
        }
    }
    let symlinks_and_directories = model.names.values().filter(|node| !matches!(node, ModelNode::File(_))).count();
    let usage = transaction.usage();
    prop_assert_eq!(usage.inodes, (symlinks_and_directories + model.files.len() + 1) as u64);
    prop_assert_eq!(usage.bytes, model.files.values().map(|file| file.len() as u64).sum::<u64>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_transaction_is_a_map_of_trees(actions in prop::collection::vec(action(), 1..60)) {
        let store = Arc::new(MemoryNodes::default());
        let mut transaction = empty(&store);
        let mut model = Model::default();
        let mut savepoint = (transaction.clone(), model.clone());
        for action in &actions {
            match action {
                Action::Savepoint => savepoint = (transaction.clone(), model.clone()),
                Action::Rollback => (transaction, model) = savepoint.clone(),
                Action::Reopen => {
                    let state = store.keep(transaction.clone().seal().unwrap());
                    let again = store.keep(transaction.seal_in_place().unwrap());
                    prop_assert_eq!(state, again);
                    prop_assert!(!transaction.is_changed());
                    transaction = open(&store, state);
                    prop_assert_eq!(transaction.clone().seal().unwrap().state, state);
                }
                _ => {
                    let (real, expected) = apply(action, &mut transaction, &mut model);
                    prop_assert_eq!(real, expected, "{:?}", action);
                }
            }
        }
        check(&mut transaction, &model)?;
        let state = store.keep(transaction.seal().unwrap());
        check(&mut open(&store, state), &model)?;
    }

    /// What a directory is called by does not tell how it came about.
    #[test]
    fn a_directory_has_no_history(names in prop::collection::btree_set(0..400u32, 0..200), extra in prop::collection::btree_set(400..800u32, 0..200)) {
        let store = Arc::new(MemoryNodes::default());
        let nodes = Nodes::new(Arc::clone(&store) as Arc<dyn NodeSource>, Nodes::cache());
        let entry = |number: u32| crate::tree::Entry::new(number.to_string().into(), attach::directory_record(Inode(u64::from(number) + 2)));
        let mut grown = Directory::default();
        for number in extra.iter().chain(names.iter().rev()) {
            grown.insert(entry(*number), &nodes).unwrap();
        }
        for number in &extra {
            prop_assert!(grown.remove(number.to_string().as_bytes(), &nodes).unwrap());
        }
        let mut built = Directory::from_entries(names.iter().map(|number| entry(*number)).collect());
        prop_assert_eq!(grown.page(0, 1000, &nodes).unwrap().len(), names.len());
        let mut batch = NodeBatch::new();
        prop_assert_eq!(grown.seal(&mut batch), built.seal(&mut batch));
    }

    #[test]
    fn content_has_no_history(writes in prop::collection::vec((0..400_000u64, 0..70_000usize), 0..6), sizes in prop::collection::vec(0..500_000u64, 0..3), last in 0..400_000u64) {
        let store = Arc::new(MemoryNodes::default());
        let mut transaction = empty(&store);
        let file = transaction.create_file(Inode::ROOT, b"x", 0o644, NOW).unwrap();
        for (offset, length) in writes {
            transaction.write(file, offset, &vec![(offset % 3) as u8; length], NOW).unwrap();
            store.keep(transaction.seal_in_place().unwrap());
        }
        for size in sizes.into_iter().chain([last]) {
            transaction.set_size(file, size, NOW).unwrap();
            store.keep(transaction.seal_in_place().unwrap());
        }
        let mut content = vec![9; usize::try_from(last).unwrap() + 1];
        prop_assert_eq!(transaction.read(file, 0, &mut content).unwrap() as u64, last);
        content.pop();
        let state = store.keep(transaction.seal().unwrap());
        let mut fresh = empty(&store);
        let file = fresh.create_file(Inode::ROOT, b"x", 0o644, NOW).unwrap();
        fresh.write(file, 0, &content, NOW).unwrap();
        fresh.set_times(file, None, Some(NOW), NOW).unwrap();
        prop_assert_eq!(fresh.seal().unwrap().state, state);
    }
}

#[test]
fn an_open_file_outlives_its_name() {
    let store = Arc::new(MemoryNodes::default());
    let mut transaction = empty(&store);
    let before = transaction.usage();
    let file = transaction.create_file(Inode::ROOT, b"x", 0o644, NOW).unwrap();
    transaction.write(file, 0, b"content", NOW).unwrap();
    transaction.retain(file).unwrap();
    transaction.unlink(Inode::ROOT, b"x", NOW).unwrap();
    assert_eq!(transaction.attributes(file).unwrap().links, 0);
    transaction.write(file, 7, b"!", NOW).unwrap();
    let mut bytes = [0; 9];
    assert_eq!(transaction.read(file, 0, &mut bytes).unwrap(), 8);
    let mut reopened = open(&store, store.keep(transaction.clone().seal().unwrap()));
    assert!(matches!(reopened.lookup(Inode::ROOT, b"x"), Err(FsError::NotFound)));
    assert_eq!(reopened.usage(), before, "a file without a name is no part of a state");
    transaction.release(file);
    assert!(matches!(transaction.attributes(file), Err(FsError::NotFound)));
    assert_eq!(transaction.usage(), before);
}

#[test]
fn quotas_are_checked_before_anything_grows() {
    let store = Arc::new(MemoryNodes::default());
    let quota = Quota { bytes: 1000, inodes: 3 };
    let source = Arc::clone(&store) as Arc<dyn NodeSource>;
    let mut transaction = Transaction::empty(source, Nodes::cache(), Vec::new(), quota, Hold::of_nothing());
    let file = transaction.create_file(Inode::ROOT, b"x", 0o644, NOW).unwrap();
    assert!(matches!(transaction.set_size(file, i64::MAX as u64, NOW), Err(FsError::QuotaBytes { limit_bytes: 1000 })));
    assert!(matches!(transaction.set_size(file, u64::MAX, NOW), Err(FsError::TooLarge)));
    assert!(matches!(transaction.write(file, 1 << 62, b"x", NOW), Err(FsError::QuotaBytes { .. })));
    assert!(matches!(transaction.write(file, u64::MAX, b"x", NOW), Err(FsError::TooLarge)));
    transaction.write(file, 0, &[1; 1000], NOW).unwrap();
    transaction.create_file(Inode::ROOT, b"y", 0o644, NOW).unwrap();
    assert!(matches!(
        transaction.create_file(Inode::ROOT, b"z", 0o644, NOW),
        Err(FsError::QuotaInodes { limit_inodes: 3 })
    ));
}

fn hundred_thousand(store: &Arc<MemoryNodes>) -> StateId {
    let mut transaction = empty(store);
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
    store.keep(transaction.seal().unwrap())
}

#[test]
fn ten_changes_among_a_hundred_thousand_cost_tens_of_nodes() {
    let store = Arc::new(MemoryNodes::default());
    let before = hundred_thousand(&store);
    let reads = store.reads();
    let mut transaction = open(&store, before);
    for number in 0..10 {
        let file = walk(&mut transaction, format!("/{number}/50/7").as_bytes()).unwrap();
        transaction.write(file, 0, b"changed", Timestamp(8)).unwrap();
    }
    let sealed = transaction.seal().unwrap();
    assert!(sealed.nodes.len() < 80, "{} nodes written", sealed.nodes.len());
    assert!(store.reads() - reads < 80, "{} nodes read", store.reads() - reads);
    let after = store.keep(sealed);
    let reads = store.reads();
    let found = diff(&*store, before, after, 100).unwrap();
    assert_eq!((found.summary.modified, found.changes.len()), (10, 10));
    assert_eq!(found.changes[0].path, b"/0/50/7");
    assert!(store.reads() - reads < 160, "{} nodes read", store.reads() - reads);
    let unchanged = open(&store, after).seal().unwrap();
    assert_eq!((unchanged.changed, unchanged.nodes.len(), unchanged.state), (false, 0, after));
}

#[test]
fn a_diff_tells_renames_links_and_attributes() {
    let store = Arc::new(MemoryNodes::default());
    let mut transaction = empty(&store);
    let directory = transaction.create_directory(Inode::ROOT, b"d", 0o755, NOW).unwrap();
    for name in [&b"moved"[..], b"mode", b"gone", b"linked"] {
        let file = transaction.create_file(directory, name, 0o644, NOW).unwrap();
        transaction.write(file, 0, name, NOW).unwrap();
    }
    let linked = transaction.lookup(directory, b"linked").unwrap();
    transaction.link(linked, Inode::ROOT, b"second", NOW).unwrap();
    let before = store.keep(transaction.seal_in_place().unwrap());
    transaction.rename(directory, b"moved", Inode::ROOT, b"away", NOW).unwrap();
    let mode = transaction.lookup(directory, b"mode").unwrap();
    transaction.set_mode(mode, 0o600, NOW).unwrap();
    transaction.unlink(directory, b"gone", NOW).unwrap();
    transaction.write(linked, 0, b"LINKED", NOW).unwrap();
    transaction.rename(Inode::ROOT, b"d", Inode::ROOT, b"e", NOW).unwrap();
    let after = store.keep(transaction.seal_in_place().unwrap());
    let found = diff(&*store, before, after, 100).unwrap();
    let told: Vec<(String, ChangeKind)> =
        found.changes.into_iter().map(|change| (String::from_utf8(change.path).unwrap(), change.kind)).collect();
    let renamed = |from: &str| ChangeKind::Renamed { from: from.into() };
    assert_eq!(
        told,
        [
            ("/away".to_owned(), renamed("/d/moved")),
            ("/d/gone".to_owned(), ChangeKind::Removed),
            ("/e".to_owned(), renamed("/d")),
            ("/e/linked".to_owned(), ChangeKind::Modified),
            ("/e/mode".to_owned(), ChangeKind::Attributes),
            ("/second".to_owned(), ChangeKind::Modified),
        ]
    );
}

#[test]
fn a_graft_brings_back_a_subtree() {
    let store = Arc::new(MemoryNodes::default());
    let mut transaction = empty(&store);
    let directory = transaction.create_directory(Inode::ROOT, b"d", 0o700, NOW).unwrap();
    let inner = transaction.create_directory(directory, b"inner", 0o755, NOW).unwrap();
    let file = transaction.create_file(inner, b"file", 0o640, NOW).unwrap();
    transaction.write(file, 100_000, b"end", NOW).unwrap();
    transaction.link(file, inner, b"same", NOW).unwrap();
    transaction.create_symlink(inner, b"link", b"file", NOW).unwrap();
    let before = store.keep(transaction.seal_in_place().unwrap());
    transaction.remove_tree(Inode::ROOT, b"d", NOW).unwrap();
    transaction.create_file(Inode::ROOT, b"new", 0o644, NOW).unwrap();
    let mut restored = open(&store, store.keep(transaction.seal().unwrap()));
    let nowhere = restored.graft(before, &[vec![b"x", b"y"]], None, Timestamp(9));
    assert!(matches!(nowhere.unwrap_err().error, FsError::NotFound));
    restored.graft(before, &[vec![b"d", b"inner"], vec![b"new"]], None, Timestamp(9)).unwrap();
    let state = store.keep(restored.seal().unwrap());
    let mut restored = open(&store, state);
    assert!(matches!(restored.lookup(Inode::ROOT, b"new"), Err(FsError::NotFound)));
    let file = walk(&mut restored, b"/d/inner/file").unwrap();
    let attributes = restored.attributes(file).unwrap();
    assert_eq!((attributes.mode, attributes.links, attributes.size, attributes.modified), (0o640, 2, 100_003, NOW));
    assert_eq!(walk(&mut restored, b"/d/inner/same").unwrap(), file);
    let mut bytes = [0; 4];
    assert_eq!(restored.read(file, 99_999, &mut bytes).unwrap(), 4);
    assert_eq!(&bytes, b"\0end");
    let inner = walk(&mut restored, b"/d/inner").unwrap();
    assert_eq!(restored.attributes(inner).unwrap().modified, NOW);
    assert_eq!(restored.usage(), open(&store, before).usage());
}
