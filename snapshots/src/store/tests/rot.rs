//! Bytes that rot: whatever bit flips and wherever a file is cut, it is noticed, and nothing wrong is ever served.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::machine::{QUOTA, bytes, read};
use super::*;
use crate::collect::CollectOptions;
use crate::id::Inode;
use crate::retention::Retention;
use crate::survey::Survey;

/// What a sandbox should hold: the state of every entry that keeps one, and the files in it.
type Expected = BTreeMap<(u8, u64), (StateId, BTreeMap<String, Vec<u8>>)>;

fn rot_options() -> StoreOptions {
    StoreOptions { cache_bytes: 64 << 10, ..options(Durability::Disk, 16 << 10) }
}

/// Makes a store with three sandboxes, of which much was given up and collected.
fn make(directory: &Path) -> Expected {
    let store = Store::open(directory, rot_options()).unwrap();
    for number in 1..4u8 {
        let mut head = None;
        for turn in 0..30u8 {
            let mut transaction = match head {
                None => store.begin_empty(Vec::new(), QUOTA),
                Some((_, state)) => store.begin(state, QUOTA).unwrap(),
            };
            let name = [b'a' + turn % 7];
            let file = transaction
                .lookup(Inode::ROOT, &name)
                .or_else(|_| transaction.create_file(Inode::ROOT, &name, 0o644, Timestamp(1)))
                .unwrap();
            let length = if turn == 20 { 140_000 } else { u32::from(turn) * 70 };
            transaction.write(file, 0, &bytes(turn ^ number, length), Timestamp(1)).unwrap();
            let sealed = transaction.seal().unwrap();
            let (mut drafts, _) = operation(u64::from(turn), OperationKind::Call, &[]);
            let EntryBody::Operation(body) = &mut drafts[0].body else { unreachable!() };
            body.after = sealed.state;
            let entries = store.append(sandbox(number), head.map(|(entry, _)| entry), drafts, sealed.nodes).unwrap();
            head = Some((entries[0].id, sealed.state));
        }
        let retention = Retention { operations: Some(8), ..Retention::default() };
        store.expire(store.expirable(sandbox(number), &retention, Timestamp(9)).unwrap().unwrap()).unwrap();
    }
    let all = CollectOptions { garbage_percent_min: 20, only_weigh: false };
    let collected = store.collect(all, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(collected.segments_rewritten > 0);
    let mut expected = Expected::new();
    for number in 1..4u8 {
        let expired = store.expired(sandbox(number)).unwrap();
        for entry in store.entries(sandbox(number), 0, usize::MAX).unwrap() {
            let EntryBody::Operation(operation) = &entry.body else { continue };
            if !crate::log::is_within(&expired, entry.seq) {
                let tree = read(&store, operation.after);
                expected.insert((number, entry.seq), (operation.after, tree));
            }
        }
    }
    expected
}

fn look(directory: &Path) -> Result<Survey, StoreError> {
    let scratch = tempfile::tempdir().unwrap();
    Store::look(directory, scratch.path(), &rot_options(), &mut |_| {}).map(|(_, survey)| survey)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("segments")).unwrap();
    for file in files(from) {
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let names = |below: &Path| {
        let names = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let mut all = names(directory);
    all.extend(names(&directory.join("segments")));
    all.retain(|path| !path.ends_with("lock"));
    all.sort();
    all.iter().map(|path| path.strip_prefix(directory).unwrap().to_owned()).collect()
}

/// Reads everything through the store: right, or an error. Says whether there was an error.
fn serves_nothing_wrong(directory: &Path, expected: &Expected) -> bool {
    let Ok(store) = Store::open(directory, rot_options()) else { return true };
    let mut noticed = false;
    for number in 1..4u8 {
        let Ok(entries) = store.entries(sandbox(number), 0, usize::MAX) else {
            noticed = true;
            continue;
        };
        // A tail that was damaged looks like one that was torn: then the store said so when it was opened.
        if entries.len() < 31 {
            assert!(store.stats().cut_bytes > 0, "entries are missing and nobody said so");
            noticed = true;
        }
        for entry in entries {
            let EntryBody::Operation(operation) = &entry.body else { continue };
            let Some((state, tree)) = expected.get(&(number, entry.seq)) else { continue };
            assert_eq!(operation.after, *state);
            let Ok(mut transaction) = store.begin(*state, QUOTA) else {
                noticed = true;
                continue;
            };
            for (name, content) in tree {
                let mut found = vec![0; content.len() + 1];
                let got = transaction
                    .lookup(Inode::ROOT, name.as_bytes())
                    .and_then(|inode| transaction.read(inode, 0, &mut found));
                match got {
                    Ok(length) => assert_eq!(&found[..length], &content[..], "{name} of {state} is wrong"),
                    Err(_) => noticed = true,
                }
            }
        }
    }
    noticed
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed_and_none_is_served() {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let whole = scratch.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let expected = make(&whole);
    let survey = look(&whole).unwrap();
    assert_eq!((survey.damaged, survey.torn_bytes), (Vec::new(), 0));
    let rounds = std::env::var("SANDGLASS_ROT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300u64);
    let mut random = 0x5eed_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let files = files(&whole);
    let (mut in_segments, mut cuts) = (0, 0);
    for round in 0..rounds {
        let broken = scratch.path().join("broken");
        copy(&whole, &broken);
        // There are many segments and one index: it gets its share.
        let index = PathBuf::from("index.db");
        let file = if next() % 4 == 0 { &index } else { &files[next() as usize % files.len()] };
        let path = broken.join(file);
        let mut content = fs::read(&path).unwrap();
        if content.is_empty() {
            continue;
        }
        let at = next() as usize % content.len();
        let is_cut = round % 5 == 0;
        // Zeros that were written ahead are nothing that could be lost.
        let was_zeros = content[at..].iter().all(|&byte| byte == 0);
        if is_cut {
            content.truncate(at);
        } else {
            content[at] ^= 1 << (next() % 8);
        }
        fs::write(&path, &content).unwrap();
        let told = serves_nothing_wrong(&broken, &expected);
        if file.starts_with("segments") {
            // Opening may have cut a torn tail: the survey looks at the damage as it was.
            fs::write(&path, &content).unwrap();
            let found = look(&broken).map(|survey| survey.damaged.len() as u64 + survey.torn_bytes).unwrap_or(1);
            let is_harmless = is_cut && was_zeros;
            assert!(found > 0 || told || is_harmless, "{} at {at} (cut: {is_cut}) was not noticed", file.display());
            in_segments += 1;
            cuts += u64::from(is_cut);
        }
        fs::remove_dir_all(&broken).unwrap();
    }
    println!("{rounds} rounds, {in_segments} in segments, {cuts} of them cuts: all noticed, none served");
}

#[test]
fn verifying_names_the_path_and_the_states_that_are_damaged() {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let whole = scratch.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let expected = make(&whole);
    // The file `g` of every sandbox has 140,000 bytes, in three chunks; one of the second sandbox's is spoilt.
    let store = Store::open(&whole, rot_options()).unwrap();
    let wanted: Vec<u8> = blob(&bytes(20 ^ 2, 140_000)[65_536..131_072]);
    let id = crate::node::node_id(&wanted);
    let location = store.inner.index.locate(&id).unwrap().unwrap();
    drop(store);
    let path = whole.join("segments").join(location.segment.name());
    let mut content = fs::read(&path).unwrap();
    content[location.offset as usize + 1000] ^= 4;
    fs::write(&path, content).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let (store, survey) = Store::look(&whole, outside.path(), &rot_options(), &mut |_| {}).unwrap();
    assert_eq!(survey.damaged.len(), 1, "{:?}", survey.damaged);
    assert_eq!((survey.damaged[0].node, survey.damaged[0].offset), (Some(id), location.offset));
    let verified = store.verify(&mut |_| {}).unwrap();
    assert!(!verified.is_whole());
    assert_eq!(verified.damaged_logs, Vec::<String>::new());
    assert!(!verified.damaged_states.is_empty());
    for damaged in &verified.damaged_states {
        assert_eq!(damaged.sandbox, sandbox(2));
        assert!(damaged.problems.iter().all(|problem| problem.path == b"g"), "{damaged:?}");
    }
    // What verifying calls whole can be read, and the rest says what is missing.
    let damaged: Vec<StateId> = verified.damaged_states.iter().map(|damaged| damaged.state).collect();
    for (state, tree) in expected.values() {
        if damaged.contains(state) {
            let mut transaction = store.begin(*state, QUOTA).unwrap();
            let file = transaction.lookup(Inode::ROOT, b"g").unwrap();
            let read = transaction.read(file, 65_536, &mut [0; 10]);
            assert!(read.unwrap_err().to_string().contains(&id.to_string()), "the error names the chunk");
        } else {
            assert_eq!(read(&store, *state), *tree);
        }
    }
}

#[test]
fn a_damaged_store_is_repaired_and_healed_from_a_copy() {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let whole = scratch.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let expected = make(&whole);
    let segments: Vec<PathBuf> = files(&whole).into_iter().filter(|file| file.starts_with("segments")).collect();
    let mut random = 77u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let mut healed = 0;
    for round in 0..60 {
        let broken = scratch.path().join("broken");
        copy(&whole, &broken);
        for _ in 0..=round % 3 {
            let file = broken.join(&segments[next() as usize % segments.len()]);
            if round % 7 == 6 {
                drop(fs::remove_file(&file));
                continue;
            }
            let Ok(mut content) = fs::read(&file) else { continue };
            let at = next() as usize % content.len();
            content[at] ^= 1 << (next() % 8);
            fs::write(&file, content).unwrap();
        }
        let outside = tempfile::tempdir().unwrap();
        let (copy, survey) = Store::look(&whole, outside.path(), &rot_options(), &mut |_| {}).unwrap();
        assert_eq!(survey.damaged, Vec::new());
        assert!(copy.verify(&mut |_| {}).unwrap().is_whole());
        let repaired = crate::repair::repair(&broken, &rot_options(), &[&copy]).unwrap();
        healed += repaired.healed;
        let store = Store::open(&broken, rot_options()).unwrap();
        for ((number, seq), (state, tree)) in &expected {
            match store.entry(sandbox(*number), *seq) {
                Ok(entry) => {
                    let EntryBody::Operation(operation) = &entry.body else { panic!("{entry:?}") };
                    assert_eq!(operation.after, *state);
                    assert_eq!(read(&store, *state), *tree, "round {round}: {repaired:?}");
                }
                // A file that is gone may be where a sandbox began.
                Err(error) => {
                    assert!(
                        round % 7 == 6 && repaired.only_in_copies.contains(&sandbox(*number)),
                        "round {round}: {error}"
                    );
                }
            }
        }
        // It goes on, and is whole for whoever opens it next.
        let trees: Vec<_> = store.sandboxes();
        drop(store);
        assert_eq!(Store::open(&broken, rot_options()).unwrap().sandboxes(), trees);
        fs::remove_dir_all(&broken).unwrap();
    }
    assert!(healed > 0, "something was damaged that the copy had");
}
