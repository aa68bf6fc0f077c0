//! What a store holds after the machine lost power, the disk broke, or bytes rotted.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::EntryId;
use crate::journal::disk::simulated::SimulatedDisk;
use crate::log::Entry;
use crate::node::NodeSource;

const FIRST: &str = "00000001.seg";

/// A small generator: the tests need many coins, not good ones.
struct Coins(u64);

impl Coins {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What was asked of a store, and how much of it was answered.
#[derive(Debug, Default)]
struct Journaled {
    asked: BTreeMap<u8, Vec<u64>>,
    answered: BTreeMap<u8, usize>,
    heads: BTreeMap<u8, EntryId>,
}

impl Journaled {
    /// Appends until the store refuses or all is done.
    fn run(&mut self, store: &Store, coins: &mut Coins, appends: u64) {
        for _ in 0..appends {
            let number = (coins.next() % 3) as u8;
            let unique = coins.next();
            let nodes: Vec<_> =
                (0..coins.next() % 4).map(|_| blob(&vec![unique as u8; (coins.next() % 3000) as usize])).collect();
            let (drafts, nodes) = operation(unique, OperationKind::Call, &nodes);
            let head = self.heads.get(&number).copied();
            self.asked.entry(number).or_default().push(unique);
            if coins.next().is_multiple_of(5) && store.put(&store.hold(), nodes.clone()).is_err() {
                return;
            }
            let Ok(entries) = store.append(sandbox(number), head, drafts, nodes) else { return };
            self.heads.insert(number, entries[0].id);
            *self.answered.entry(number).or_default() += 1;
        }
    }

    /// Checks that a store holds, of each log, a prefix of what was asked with all that was answered (if that was durable).
    fn check(&mut self, store: &Store, answers_are_durable: bool) {
        for (number, asked) in &mut self.asked {
            let found: Vec<Entry> = store.entries(sandbox(*number), 0, usize::MAX).unwrap_or_default();
            let answered = self.answered.get(number).copied().unwrap_or(0);
            assert!(!answers_are_durable || found.len() >= answered, "{} of {answered} are left", found.len());
            assert!(found.len() <= asked.len());
            for (entry, unique) in found.iter().zip(&*asked) {
                let EntryBody::Operation(operation) = &entry.body else { panic!("not asked: {entry:?}") };
                assert_eq!(operation.generation, *unique);
                needs(&entry.body).iter().for_each(|id| drop(store.node(id).unwrap()));
            }
            asked.truncate(found.len());
            self.answered.insert(*number, found.len());
            match found.last() {
                Some(entry) => drop(self.heads.insert(*number, entry.id)),
                None => drop(self.heads.remove(number)),
            }
        }
    }
}

fn crash_and_go_on(durability: Durability, segment_bytes: u64, seed: u64, break_at: u64, keeps_index: bool) {
    let directory = tempfile::tempdir().unwrap();
    let options = options(durability, segment_bytes);
    let mut coins = Coins(seed | 1);
    let mut disk = SimulatedDisk::default();
    let mut journaled = Journaled::default();
    for _ in 0..4 {
        if coins.next().is_multiple_of(4) {
            // The disk breaks while what it holds is being recovered.
            disk.break_at(1 + coins.next() % 8);
        }
        match open_on(&disk, directory.path(), &options) {
            Ok(store) => {
                journaled.check(&store, durability == Durability::Disk);
                disk.break_at(break_at);
                journaled.run(&store, &mut coins, 40);
            }
            Err(StoreError::Io { .. }) => {}
            Err(error) => panic!("the store does not open: {error}"),
        }
        let odds = coins.next() % 100;
        disk = disk.after_power_loss(|| coins.next() % 100 < odds);
        if !keeps_index {
            drop(std::fs::remove_file(directory.path().join("index.db")));
        }
    }
    let store = open_on(&disk, directory.path(), &options).unwrap();
    journaled.check(&store, durability == Durability::Disk);
    journaled.run(&store, &mut coins, 10);
    journaled.check(&store, true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn power_loss_keeps_a_prefix_with_all_that_was_answered(
        seed: u64, break_at in 1..90u64, small: bool, keeps_index: bool, synced: bool,
    ) {
        let durability = if synced { Durability::Disk } else { Durability::Process };
        crash_and_go_on(durability, if small { 8 << 10 } else { 256 << 10 }, seed, break_at, keeps_index);
    }
}

#[test]
fn a_broken_disk_stops_the_journal_until_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let options = options(Durability::Disk, 64 << 10);
    let store = open_on(&disk, directory.path(), &options).unwrap();
    let (drafts, nodes) = operation(1, OperationKind::Create, &[]);
    let first = store.append(sandbox(1), None, drafts, nodes).unwrap().remove(0);
    disk.break_at(1);
    for number in 2..5 {
        let (drafts, nodes) = operation(number, OperationKind::Call, &[]);
        let refused = store.append(sandbox(1), Some(first.id), drafts, nodes);
        assert!(matches!(refused, Err(StoreError::Stopped(_))), "{refused:?}");
    }
    assert!(matches!(store.sync(), Err(StoreError::Stopped(_))));
    assert_eq!(store.head(sandbox(1)).unwrap().entry, first.id, "what failed is not published");
    assert_eq!(store.entries(sandbox(1), 0, 9).unwrap().len(), 1, "reading goes on");
    drop(store);
    let store = open_on(&disk.after_power_loss(|| false), directory.path(), &options).unwrap();
    let (drafts, nodes) = operation(6, OperationKind::Call, &[]);
    store.append(sandbox(1), Some(first.id), drafts, nodes).unwrap();
}

/// A store of three appends, closed, without its index; and where each record ends.
fn three_records(directory: &Path) -> (SimulatedDisk, Vec<usize>) {
    let disk = SimulatedDisk::default();
    let store = open_on(&disk, directory, &options(Durability::Disk, 16 << 10)).unwrap();
    let mut ends = Vec::new();
    let mut head = None;
    for number in 0..3 {
        let (drafts, nodes) = operation(number, OperationKind::Call, &[blob(&[number as u8 + 1; 90])]);
        head = Some(store.append(sandbox(1), head, drafts, nodes).unwrap()[0].id);
        ends.push(128 + store.stats().bytes_written as usize);
    }
    drop(store);
    std::fs::remove_file(directory.join("index.db")).unwrap();
    (disk, ends)
}

fn entries_left(disk: &SimulatedDisk, directory: &Path) -> Result<usize, StoreError> {
    drop(std::fs::remove_file(directory.join("index.db")));
    let store = open_on(disk, directory, &options(Durability::Disk, 16 << 10))?;
    Ok(store.entries(sandbox(1), 0, 9).map_or(0, |entries| entries.len()))
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, ends) = three_records(directory.path());
    let whole = disk.bytes(FIRST);
    for cut in ends[1]..ends[2] {
        let torn = disk.after_power_loss(|| true);
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        let lost_nothing = bytes == whole;
        torn.replace(FIRST, &bytes);
        assert_eq!(
            entries_left(&torn, directory.path()).unwrap(),
            if lost_nothing { 3 } else { 2 },
            "zeros from {cut}"
        );
        assert!(lost_nothing || torn.bytes(FIRST)[ends[1]..].iter().all(|&byte| byte == 0), "the tail is zeros again");
        torn.replace(FIRST, &whole[..cut]);
        assert_eq!(entries_left(&torn, directory.path()).unwrap(), 2, "cut at {cut}");
    }
}

#[test]
fn damage_before_whole_records_is_reported_and_not_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, ends) = three_records(directory.path());
    for at in (128..ends[1]).step_by(7) {
        let rotten = disk.after_power_loss(|| true);
        rotten.flip(FIRST, at, 1);
        let opened = entries_left(&rotten, directory.path());
        assert!(matches!(opened, Err(StoreError::DamagedFile { .. })), "byte {at}: {opened:?}");
        rotten.flip(FIRST, at, 1);
        assert_eq!(entries_left(&rotten, directory.path()).unwrap(), 3, "nothing was touched");
    }
}

#[test]
fn an_index_that_saw_more_than_the_segments_hold_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, ends) = three_records(directory.path());
    assert_eq!(entries_left(&disk, directory.path()).unwrap(), 3);
    let mut bytes = disk.bytes(FIRST);
    bytes[ends[1]..].fill(0);
    disk.replace(FIRST, &bytes);
    let opened = open_on(&disk, directory.path(), &options(Durability::Disk, 16 << 10));
    assert!(matches!(opened, Err(StoreError::DamagedFile { .. })), "{opened:?}");
    assert_eq!(entries_left(&disk, directory.path()).unwrap(), 2, "without the index, what is left is taken");
}

#[test]
fn a_missing_segment_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let store = open_on(&disk, directory.path(), &options(Durability::Disk, 8 << 10)).unwrap();
    let mut head = None;
    while store.stats().segments < 4 {
        let number = store.stats().records;
        let (drafts, nodes) = operation(number, OperationKind::Call, &[blob(&number.to_le_bytes().repeat(200))]);
        head = Some(store.append(sandbox(1), head, drafts, nodes).unwrap()[0].id);
    }
    drop(store);
    for name in ["00000001.seg", "00000002.seg"] {
        let without = disk.after_power_loss(|| true);
        without.remove(name).unwrap();
        let opened = entries_left(&without, directory.path());
        assert!(matches!(opened, Err(StoreError::DamagedFile { .. })), "{name}: {opened:?}");
    }
}
