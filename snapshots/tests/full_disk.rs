//! A disk that is full: a clear error, every state intact, and still room to delete and collect.
//!
//! The disk is a small file system in memory, mounted for the test; where that is not permitted the test says so.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandglass_snapshots::{
    CollectOptions, Draft, EntryBody, EntryId, Inode, NodeBatch, Operation, OperationKind, Quota, Retention, SandboxId,
    StateId, Store, StoreError, StoreOptions, Timestamp,
};

const QUOTA: Quota = Quota { bytes: 1 << 30, inodes: 1 << 20 };

/// A mounted file system of some mebibytes, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().ok()?.keep();
        let options = format!("size={mebibytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&directory).output();
        if mounted.is_ok_and(|done| done.status.success()) {
            return Some(Self(directory));
        }
        println!("skipped: mounting a small file system is not permitted");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).output());
        drop(std::fs::remove_dir(&self.0));
    }
}

fn open(directory: &Path) -> Store {
    let options = StoreOptions { segment_bytes: 4 << 20, cache_bytes: 1 << 20, ..StoreOptions::default() };
    Store::open(directory, options).expect("the store opens")
}

fn content(number: u64) -> Vec<u8> {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    };
    (0..12_500).flat_map(|_| next()).collect()
}

fn operation(kind: OperationKind, after: StateId) -> Vec<Draft> {
    let body = EntryBody::Operation(Operation {
        kind,
        before: None,
        after,
        generation: 0,
        actor: "tester".to_owned(),
        target: None,
        policy_revision: 0,
        detail: Vec::new(),
        call: None,
    });
    vec![Draft { time: Timestamp(1), body }]
}

/// Writes 100 kB anew into the one file of a sandbox.
fn write(store: &Store, sandbox: SandboxId, number: u64) -> Result<(EntryId, StateId), StoreError> {
    let head = store.head(sandbox).ok();
    let mut transaction = match head {
        Some(head) => store.begin(head.state, QUOTA)?,
        None => store.begin_empty(Vec::new(), QUOTA),
    };
    let file = transaction
        .lookup(Inode::ROOT, b"file")
        .or_else(|_| transaction.create_file(Inode::ROOT, b"file", 0o644, Timestamp(1)))
        .expect("there is a file");
    transaction.write(file, 0, &content(number), Timestamp(1)).expect("the file takes it");
    let sealed = transaction.seal()?;
    let drafts = operation(OperationKind::Call, sealed.state);
    let entries = store.append(sandbox, head.map(|head| head.entry), drafts, sealed.nodes)?;
    Ok((entries[0].id, sealed.state))
}

fn read(store: &Store, state: StateId) -> Vec<u8> {
    let mut transaction = store.begin(state, QUOTA).expect("the state is there");
    let file = transaction.lookup(Inode::ROOT, b"file").expect("there is a file");
    let mut bytes = vec![0; 100_000];
    assert_eq!(transaction.read(file, 0, &mut bytes).expect("the file can be read"), 100_000);
    bytes
}

#[test]
fn a_full_disk_loses_nothing_and_can_be_emptied() {
    let Some(disk) = SmallDisk::mount(40) else { return };
    let directory = disk.0.join("store");
    let store = open(&directory);
    let sandboxes: Vec<SandboxId> = (1..=4).map(|number| SandboxId([number; 16])).collect();
    let mut states = Vec::new();
    let mut full = None;
    for number in 0..1000u64 {
        let sandbox = sandboxes[usize::try_from(number % 4).expect("small")];
        match write(&store, sandbox, number) {
            Ok((_, state)) => states.push((sandbox, number, state)),
            Err(error) => {
                full = Some(error);
                break;
            }
        }
    }
    let full = full.expect("the disk gets full");
    assert!(matches!(full, StoreError::NoSpace { .. }), "{full}");
    assert_eq!(store.stopped(), None, "a full disk stops nobody");
    assert!(states.len() > 50, "{} states fit", states.len());
    for (_, number, state) in &states {
        assert_eq!(read(&store, *state), content(*number), "every earlier state is intact");
    }
    // Again and again: what is refused changes nothing.
    for number in 0..20 {
        let before = store.head(sandboxes[0]).expect("there is a head");
        if write(&store, sandboxes[0], 5000 + number).is_err() {
            assert_eq!(store.head(sandboxes[0]).expect("there is a head"), before);
        } else {
            states.retain(|(sandbox, ..)| *sandbox != sandboxes[0]);
        }
    }
    // Deleting is possible, and so is giving up what is old.
    let head = store.head(sandboxes[3]).expect("there is a head");
    let deleted = operation(OperationKind::Delete, head.state);
    store.append(sandboxes[3], Some(head.entry), deleted, NodeBatch::new()).expect("a sandbox can be deleted");
    assert!(store.purge(sandboxes[3], std::time::Duration::ZERO, Timestamp(2)).expect("and purged"));
    let retention = Retention { operations: Some(2), ..Retention::default() };
    for sandbox in &sandboxes[1..3] {
        let found = store.expirable(*sandbox, &retention, Timestamp(2)).expect("old operations are found");
        found.into_iter().for_each(|found| store.expire(found).expect("old operations can be given up"));
    }
    let collected = store.collect(CollectOptions::default(), &mut |_| ControlFlow::Continue(()));
    let collected = collected.expect("a collection runs");
    assert!(collected.freed_bytes > 4 << 20, "{collected:?}");
    for number in 0..10 {
        write(&store, sandboxes[1], 9000 + number).expect("there is room again");
    }
    let kept: Vec<_> = states.iter().filter(|(sandbox, ..)| *sandbox == sandboxes[0]).copied().collect();
    drop(store);
    let store = open(&directory);
    for (_, number, state) in kept {
        assert_eq!(read(&store, state), content(number), "what was not given up is there after a restart");
    }
}
