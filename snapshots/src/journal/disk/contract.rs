//! What every store of segments must do: the suite that any further implementation has to pass.

use std::io::ErrorKind;

use super::simulated::SimulatedDisk;
use super::{LocalDisk, SegmentStore};

/// Runs the whole suite against a store that is empty.
fn keeps_the_contract(store: &dyn SegmentStore) {
    assert_eq!(store.list().unwrap(), Vec::<String>::new());
    assert_eq!(store.open("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.rename("a", "b").unwrap_err().kind(), ErrorKind::NotFound);
    // What is written can be read, also over what was there and behind the end, where zeros fill the gap.
    let file = store.create("a").unwrap();
    assert_eq!(file.length().unwrap(), 0);
    file.write_all_at(b"hello world", 0).unwrap();
    file.write_all_at(b"WORLD", 6).unwrap();
    file.write_all_at(b"far", 20).unwrap();
    assert_eq!(file.length().unwrap(), 23);
    let mut bytes = [0xff; 23];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"hello WORLD\0\0\0\0\0\0\0\0\0far");
    // A read is whole or an error.
    assert_eq!(file.read_exact_at(&mut [0; 4], 20).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_exact_at(&mut [0; 1], 23).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.read_exact_at(&mut [], 23).unwrap();
    file.sync_data().unwrap();
    // Two handles are one file.
    let again = store.open("a").unwrap();
    again.write_all_at(b"J", 0).unwrap();
    let mut first = [0];
    file.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, *b"J");
    // Cutting is cutting, and what comes after is zeros again.
    again.truncate(5).unwrap();
    assert_eq!(file.length().unwrap(), 5);
    file.write_all_at(b"!", 8).unwrap();
    let mut bytes = [0xff; 9];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"Jello\0\0\0!");
    // A name is given whole, in place of what had it; whoever has the old file open keeps it.
    let other = store.create("b").unwrap();
    other.write_all_at(b"other", 0).unwrap();
    store.rename("a", "b").unwrap();
    assert_eq!(store.list().unwrap(), ["b"]);
    let mut bytes = [0; 5];
    store.open("b").unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"Jello");
    other.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"other");
    // Creating begins anew.
    assert_eq!(store.create("b").unwrap().length().unwrap(), 0);
    let file = store.open("b").unwrap();
    file.write_all_at(b"kept", 0).unwrap();
    store.remove("b").unwrap();
    assert_eq!(store.list().unwrap(), Vec::<String>::new());
    assert_eq!(store.open("b").unwrap_err().kind(), ErrorKind::NotFound);
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"kept", "a removed file stays readable for whoever has it open");
    assert!(store.path("x").ends_with("x"));
}

#[test]
fn local_files_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    keeps_the_contract(&LocalDisk::open(directory.path()).unwrap());
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    keeps_the_contract(&SimulatedDisk::default());
}

#[test]
fn a_read_only_store_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    LocalDisk::open(directory.path()).unwrap().create("a").unwrap().write_all_at(b"x", 0).unwrap();
    let store = LocalDisk::read_only(directory.path());
    for refused in [store.create("b").map(drop), store.rename("a", "b"), store.remove("a")] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
    assert!(store.open("a").unwrap().write_all_at(b"y", 0).is_err());
}

#[test]
fn a_name_that_was_given_survives_a_power_loss_and_what_was_not_synced_need_not() {
    let disk = SimulatedDisk::default();
    let file = disk.create("new").unwrap();
    file.write_all_at(b"synced", 0).unwrap();
    file.sync_data().unwrap();
    disk.rename("new", "named").unwrap();
    file.write_all_at(b"unsynced", 0).unwrap();
    let after = disk.after_power_loss(|| false);
    assert_eq!(after.list().unwrap(), ["named"]);
    let mut bytes = [0; 6];
    after.open("named").unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"synced");
}
