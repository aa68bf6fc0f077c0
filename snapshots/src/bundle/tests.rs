//! Bundles between stores: what goes in comes out under the same name, and nothing else does.

use proptest::prelude::*;

use super::*;
use crate::id::{Inode, Timestamp};
use crate::node::{NodeBatch, NodeSource, node_id};
use crate::state::State;
use crate::store::{Durability, Store, StoreOptions};
use crate::transaction::{Kind, Quota, Transaction};

const QUOTA: Quota = Quota { bytes: 1 << 40, inodes: 1 << 20 };
const NOW: Timestamp = Timestamp(1_790_000_000_123_456_789);

pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { durability: Durability::Process, segment_bytes: 1 << 20, ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    (directory, store)
}

fn seal(store: &Store, transaction: Transaction) -> StateId {
    let sealed = transaction.seal().unwrap();
    store.put(&store.hold(), sealed.nodes).unwrap();
    sealed.state
}

fn write(transaction: &mut Transaction, directory: Inode, name: &str, bytes: &[u8]) -> Inode {
    let file = transaction.create_file(directory, name.as_bytes(), 0o644, NOW).unwrap();
    transaction.write(file, 0, bytes, NOW).unwrap();
    file
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A small state with one of everything.
pub(crate) fn small(store: &Store) -> StateId {
    let mut transaction = store.begin_empty(vec![("python".to_owned(), [7; 32])], QUOTA);
    let directory = transaction.create_directory(Inode::ROOT, b"d", 0o755, NOW).unwrap();
    write(&mut transaction, directory, "inline", b"a");
    let file = write(&mut transaction, directory, "blob", &noise(1, 600));
    transaction.link(file, Inode::ROOT, b"second name", NOW).unwrap();
    transaction.create_symlink(Inode::ROOT, b"link", b"d/inline", NOW).unwrap();
    let sparse = transaction.create_file(directory, b"sparse", 0o600, NOW).unwrap();
    transaction.write(sparse, 1 << 26, b"far", NOW).unwrap();
    seal(store, transaction)
}

fn bundle(store: &Store, states: &[StateId], bases: &[StateId]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = export_bundle(store, states, bases, &mut bytes).unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    bytes
}

pub(crate) fn import(store: &Store, bytes: &[u8]) -> Result<ImportedBundle, BundleError> {
    import_bundle(store, &mut &bytes[..], &mut |_| {})
}

/// A bundle taken apart, to be put together wrongly.
#[derive(Clone)]
struct Parts {
    header: Header,
    nodes: Vec<Vec<u8>>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let mut at = 16 + number(12);
        let header = Header::decode(&bytes[16..at]).unwrap();
        let mut nodes = Vec::new();
        while number(at) != 0 {
            nodes.push(bytes[at + 4..at + 4 + number(at)].to_vec());
            at += 4 + number(at);
        }
        Self { header, nodes }
    }

    fn bytes(&self) -> Vec<u8> {
        with_header(&self.header.encode(), &self.nodes)
    }
}

fn with_header(header: &[u8], nodes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [&BUNDLE_MAGIC[..], &VERSION.to_le_bytes(), &(header.len() as u32).to_le_bytes(), header].concat();
    for node in nodes {
        bytes.extend((node.len() as u32).to_le_bytes());
        bytes.extend(node);
    }
    bytes.extend([0; 4]);
    bytes.extend((nodes.len() as u64).to_le_bytes());
    bytes.extend((nodes.iter().map(Vec::len).sum::<usize>() as u64).to_le_bytes());
    let hash = blake3::hash(&bytes);
    bytes.extend(hash.as_bytes());
    bytes
}

#[test]
fn a_state_is_the_same_in_another_store() {
    let (_one, from) = store();
    let (_two, to) = store();
    let state = small(&from);
    let bytes = bundle(&from, &[state], &[]);
    assert_eq!(bundle(&from, &[state, state], &[]), bytes, "always the same bytes");
    assert_eq!(Parts::of(&bytes).bytes(), bytes);
    let imported = import(&to, &bytes).unwrap();
    assert_eq!((imported.states, imported.nodes), (vec![state], imported.nodes_new));
    assert!(to.diff(state, state, 1).unwrap().changes.is_empty());
    assert_eq!(bundle(&to, &[state], &[]), bytes, "it goes on as it came");
    let again = import(&to, &bytes).unwrap();
    assert_eq!(again.nodes_new, 0);
    let nothing = bundle(&from, &[state], &[state]);
    assert_eq!(import(&to, &nothing).unwrap().nodes, 0);
    let mut transaction = to.begin(state, QUOTA).unwrap();
    write(&mut transaction, Inode::ROOT, "more", b"it can be worked on");
    assert_ne!(seal(&to, transaction), state);
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (_one, from) = store();
    let base = small(&from);
    let mut transaction = from.begin(base, QUOTA).unwrap();
    write(&mut transaction, Inode::ROOT, "new", &noise(2, 520));
    let state = seal(&from, transaction);
    let (_two, to) = store();
    let whole = bundle(&from, &[base], &[]);
    let part = bundle(&from, &[state], &[base]);
    assert!(part.len() < whole.len());
    for (bytes, state) in [(&whole, base), (&part, state)] {
        for at in 0..bytes.len() {
            assert!(import(&to, &bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(import(&to, &flipped).is_err(), "bit {bit} of byte {at}");
            }
            assert!(!to.contains_state(state), "byte {at}");
        }
        let more = [&bytes[..], b"\0"].concat();
        assert!(matches!(import(&to, &more), Err(BundleError::Trailer(_))));
        assert!(!to.contains_state(state));
        import(&to, bytes).unwrap();
    }
}

#[test]
fn a_bundle_that_is_put_together_wrongly_is_refused_with_a_name() {
    let (_one, from) = store();
    let (_two, to) = store();
    let state = small(&from);
    let parts = Parts::of(&bundle(&from, &[state], &[]));
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        let error = import(&to, &parts.bytes()).expect_err("it is refused");
        assert!(!to.contains_state(state), "{error}");
        error
    };
    for at in 0..parts.nodes.len() {
        let id = node_id(&parts.nodes[at]);
        let missing = refused(&|parts| drop(parts.nodes.remove(at)));
        assert!(matches!(missing, BundleError::Missing(node) if node == id), "{missing}");
        let twice = refused(&|parts| parts.nodes.push(parts.nodes[at].clone()));
        assert!(matches!(twice, BundleError::Twice(node) if node == id), "{twice}");
        if at + 1 < parts.nodes.len() {
            let late = refused(&|parts| {
                let node = parts.nodes.remove(at);
                parts.nodes.push(node);
            });
            assert!(matches!(late, BundleError::Order(node) if node == id), "{late}");
        }
    }
    let surplus = refused(&|parts| parts.nodes.insert(0, b"\x04nobody needs this".to_vec()));
    assert!(matches!(surplus, BundleError::Surplus(_)), "{surplus}");
    for (bytes, says) in [
        (&b"\x09what"[..], "kind is 9"),
        (b"\x07an entry", "kind is 7"),
        (b"\x05memory", "the version of a memory image"),
        (b"\x01\x01\x00junk", "left over"),
        (b"\x01\x02\x00", "version"),
        (b"\x06\x01", "too early"),
    ] {
        let error = refused(&|parts| parts.nodes.insert(0, bytes.to_vec())).to_string();
        assert!(error.contains(says), "{error}");
    }
    let large = refused(&|parts| parts.nodes.insert(0, vec![1; 300 << 10])).to_string();
    assert!(large.contains("at most"), "{large}");
    let other = refused(&|parts| parts.header.roots = vec![StateId([1; 32])]);
    assert!(matches!(other, BundleError::Node { .. }), "{other}");
    let more = refused(&|parts| parts.header.roots.push(StateId([1; 32])));
    assert!(matches!(more, BundleError::Missing(_)), "{more}");
    let base = refused(&|parts| parts.header.bases.push(StateId([2; 32])));
    assert!(matches!(base, BundleError::MissingBase(StateId([2, ..]))), "{base}");
    // A node that the store happens to have is not one that its base states have: it could go at any time.
    let kept = NodeBatch::from_nodes(&parts.nodes[..1]);
    to.put(&to.hold(), kept).unwrap();
    let id = node_id(&parts.nodes[0]);
    let missing = refused(&|parts| drop(parts.nodes.remove(0)));
    assert!(matches!(missing, BundleError::Missing(node) if node == id), "{missing}");
}

impl NodeBatch {
    fn from_nodes(nodes: &[Vec<u8>]) -> Self {
        let mut batch = Self::new();
        for node in nodes {
            batch.insert(node.clone());
        }
        batch
    }
}

#[test]
fn hostile_headers_are_refused() {
    let (_one, to) = store();
    let id = [3; 32];
    let parameters = b"\x02\x0bchunk-bytes\x80\x80\x04\x0cleaf-entries\x30";
    let good = [&b"\x01"[..], &id, b"\x00", parameters].concat();
    let error = import(&to, &with_header(&good, &[])).unwrap_err();
    assert!(matches!(error, BundleError::Missing(_)), "the header itself is good: {error}");
    let other = b"\x02\x0bchunk-bytes\x80\x80\x08\x0cleaf-entries\x30";
    for header in [
        [&b"\x00\x00"[..], parameters].concat(),
        [&b"\x02"[..], &id, &id, b"\x00", parameters].concat(),
        [&b"\x01"[..], &id, b"\x00", other].concat(),
        [&b"\x01"[..], &id, b"\x00\x00"].concat(),
        [&b"\x81\x80\x04"[..], &id, b"\x00", parameters].concat(),
        [&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], &id].concat(),
        [&good[..], b"\x00"].concat(),
        Vec::new(),
    ] {
        let error = import(&to, &with_header(&header, &[])).unwrap_err();
        assert!(matches!(error, BundleError::Header(_)), "{header:?}: {error}");
    }
    let mut huge = [&BUNDLE_MAGIC[..], &VERSION.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
    assert!(matches!(import(&to, &huge), Err(BundleError::Header(_))));
    huge[8] = 2;
    assert!(matches!(import(&to, &huge), Err(BundleError::OtherFormat { found: 2 })));
    for other in [&b"PK\x03\x04 a zip archive"[..], b"sgsegmnt"] {
        assert!(matches!(import(&to, other), Err(BundleError::NoBundle)));
    }
    assert!(matches!(import(&to, b""), Err(BundleError::Truncated(_))));
    // A length that is promised and does not come costs nothing.
    let promise = [with_header(&good, &[])[..16 + good.len()].to_vec(), (100u32 << 20).to_le_bytes().to_vec()].concat();
    let promise = [&promise[..], b"\x04"].concat();
    assert!(matches!(import(&to, &promise), Err(BundleError::Truncated("a node"))));
}

#[test]
fn states_that_do_not_hold_together_are_refused() {
    let (_one, from) = store();
    let (_two, to) = store();
    let good = small(&from);
    let forged = |change: &dyn Fn(&mut State)| {
        let mut state = State::load(&from, good).unwrap();
        change(&mut state);
        let mut batch = NodeBatch::new();
        let id = state.put(&mut batch);
        from.put(&from.hold(), batch).unwrap();
        let refused = import(&to, &bundle(&from, &[id], &[])).expect_err("it is refused");
        assert!(!to.contains_state(id));
        assert!(matches!(refused, BundleError::Inconsistent { state, .. } if state == id), "{refused}");
        refused.to_string()
    };
    assert!(forged(&|state| state.usage.bytes += 1).contains("bytes of files"));
    assert!(forged(&|state| state.usage.inodes -= 1).contains("it counts"));
    assert!(forged(&|state| state.next_inode = 3).contains("is the next"));
    assert!(forged(&|state| state.links = None).contains("it counts"));
    assert!(forged(&|state| state.root_mode = 0o10_000).contains("mode"));
    assert!(forged(&|state| state.guests.push(("a".to_owned(), [0; 32]))).contains("guests"));
    assert!(forged(&|state| state.links = state.root).contains("link table"));
}

#[test]
fn a_small_change_of_a_large_state_is_a_small_bundle_that_reads_little() {
    let (_one, from) = store();
    let mut transaction = from.begin_empty(Vec::new(), QUOTA);
    for directory in 0..20 {
        let name = format!("directory {directory}");
        let inode = transaction.create_directory(Inode::ROOT, name.as_bytes(), 0o755, NOW).unwrap();
        for file in 0..200 {
            write(&mut transaction, inode, &format!("file {file}"), &noise(directory * 1000 + file, 700));
        }
    }
    let base = seal(&from, transaction);
    let mut transaction = from.begin(base, QUOTA).unwrap();
    let one = transaction.lookup(Inode::ROOT, b"directory 3").unwrap();
    let file = transaction.lookup(one, b"file 77").unwrap();
    transaction.write(file, 0, b"changed", NOW).unwrap();
    let two = transaction.lookup(Inode::ROOT, b"directory 5").unwrap();
    transaction.rename(one, b"file 5", two, b"moved", NOW).unwrap();
    transaction.rename(Inode::ROOT, b"directory 9", two, b"directory", NOW).unwrap();
    let state = seal(&from, transaction);
    let reads = || from.stats().cache_hits + from.stats().cache_misses;
    let before = reads();
    let bytes = bundle(&from, &[state], &[base]);
    let read = reads() - before;
    let parts = Parts::of(&bytes);
    assert!(parts.nodes.len() <= 12, "{} nodes", parts.nodes.len());
    assert!(parts.nodes.iter().filter(|node| node[0] == 4).count() == 1, "only the content that changed");
    assert!(read < 150, "{read} reads");
    let (_two, to) = store();
    let refused = import(&to, &bytes).unwrap_err();
    assert!(refused.to_string().contains(&base.to_string()), "{refused}");
    import(&to, &bundle(&from, &[base], &[])).unwrap();
    let before = to.stats().cache_misses;
    assert_eq!(import(&to, &bytes).unwrap().states, [state]);
    assert!(to.stats().cache_misses - before < 300, "directories are walked, contents are not read");
    assert_eq!(bundle(&to, &[base, state], &[]), bundle(&from, &[base, state], &[]));
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8, u8, u32, u16),
    Size(u8, u32),
    Remove(u8),
    Directory(u8, u8),
    Link(u8, u8),
    Rename(u8, u8),
    Symlink(u8),
    Many(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), any::<u8>(), 0u32..300_000, 0u16..2_000).prop_map(|(a, b, c, d)| Step::Write(a, b, c, d)),
        1 => (any::<u8>(), 0u32..20_000_000).prop_map(|(a, b)| Step::Size(a, b)),
        1 => any::<u8>().prop_map(Step::Remove),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Directory(a, b)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => any::<u8>().prop_map(Step::Symlink),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Many(a, b)),
    ]
}

/// Every name of the tree: its directory, itself and what it is.
fn names(transaction: &mut Transaction) -> Vec<(Inode, Vec<u8>, Inode, Kind)> {
    let mut found = Vec::new();
    let mut waiting = vec![Inode::ROOT];
    while let Some(directory) = waiting.pop() {
        for entry in transaction.read_directory(directory, 0, 10_000).unwrap() {
            let inode = transaction.lookup(directory, &entry.name).unwrap();
            if entry.kind == Kind::Directory {
                waiting.push(inode);
            }
            found.push((directory, entry.name.to_vec(), inode, entry.kind));
        }
    }
    found
}

/// Takes a step, where it is possible.
fn take(transaction: &mut Transaction, step: &Step, number: usize) {
    let all = names(transaction);
    let mut directories = vec![Inode::ROOT];
    directories.extend(all.iter().filter(|name| name.3 == Kind::Directory).map(|name| name.2));
    let files: Vec<Inode> = all.iter().filter(|name| name.3 == Kind::File).map(|name| name.2).collect();
    let directory = |which: u8| directories[usize::from(which) % directories.len()];
    let file = |which: u8| files.get(usize::from(which) % files.len().max(1)).copied();
    let name = format!("{number}");
    let done = match step {
        Step::Write(at, seed, offset, length) => {
            let target = file(*at).filter(|_| seed % 2 == 0);
            let target =
                target.or_else(|| transaction.create_file(directory(*at), name.as_bytes(), 0o644, NOW).ok()).unwrap();
            transaction.write(target, u64::from(*offset), &noise(u64::from(*seed), usize::from(*length)), NOW)
        }
        Step::Size(at, size) => file(*at).map_or(Ok(()), |file| transaction.set_size(file, u64::from(*size), NOW)),
        Step::Remove(at) => match all.get(usize::from(*at) % all.len().max(1)) {
            Some((directory, name, ..)) => transaction.remove_tree(*directory, name, NOW),
            None => Ok(()),
        },
        Step::Directory(at, mode) => {
            transaction.create_directory(directory(*at), name.as_bytes(), 0o700 | u16::from(*mode), NOW).map(drop)
        }
        Step::Link(at, to) => {
            file(*at).map_or(Ok(()), |file| transaction.link(file, directory(*to), name.as_bytes(), NOW))
        }
        Step::Rename(at, to) => match all.get(usize::from(*at) % all.len().max(1)) {
            // A directory can't go into itself: then nothing happens.
            Some((from, old, ..)) => {
                drop(transaction.rename(*from, old, directory(*to), name.as_bytes(), NOW));
                Ok(())
            }
            None => Ok(()),
        },
        Step::Symlink(at) => transaction.create_symlink(directory(*at), name.as_bytes(), b"anywhere", NOW).map(drop),
        Step::Many(at, count) => {
            let directory = directory(*at);
            for one in 0..*count {
                write(transaction, directory, &format!("{number} {one}"), &[one]);
            }
            Ok(())
        }
    };
    done.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn chains_of_states_arrive_whole(chain in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..6)) {
        let (_one, from) = store();
        let mut states: Vec<StateId> = Vec::new();
        let mut number = 0;
        for steps in &chain {
            let mut transaction = match states.last() {
                Some(last) => from.begin(*last, QUOTA).unwrap(),
                None => from.begin_empty(Vec::new(), QUOTA),
            };
            for step in steps {
                number += 1;
                take(&mut transaction, step, number);
            }
            states.push(seal(&from, transaction));
        }
        // One by one, each on top of the one before.
        let (_two, to) = store();
        let mut total = 0;
        for (index, state) in states.iter().enumerate() {
            let bytes = bundle(&from, &[*state], &states[..index][index.saturating_sub(1)..]);
            let imported = import(&to, &bytes).unwrap();
            prop_assert_eq!(&imported.states, &[*state]);
            total += imported.nodes;
        }
        // All at once, and the last on top of the first; whatever way they came, they go on the same.
        let all = bundle(&from, &states, &[]);
        let (_three, other) = store();
        let nodes = import(&other, &all).unwrap().nodes;
        prop_assert!(nodes <= total);
        prop_assert_eq!(&bundle(&to, &states, &[]), &all);
        let last = bundle(&from, &states[states.len() - 1..], &states[..1]);
        let (_four, third) = store();
        import(&third, &bundle(&from, &states[..1], &[])).unwrap();
        import(&third, &last).unwrap();
        prop_assert_eq!(bundle(&third, &states[states.len() - 1..], &[]), bundle(&from, &states[states.len() - 1..], &[]));
    }

    #[test]
    fn a_node_that_decodes_is_the_only_form_of_itself(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (_one, from) = store();
        let state = small(&from);
        let bytes = from.node(&state.into()).unwrap();
        let mut flipped = bytes.to_vec();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        if let Ok(state) = State::decode(&flipped) {
            let mut batch = NodeBatch::new();
            let id = state.put(&mut batch);
            prop_assert_eq!(id, StateId::from(node_id(&flipped)));
        }
    }
}
