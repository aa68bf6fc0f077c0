//! What a store holds of sessions after the machine lost power: the memory of a state belongs to its files, or the state is not there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;

use super::machine::QUOTA;
use super::*;
use crate::collect::CollectOptions;
use crate::id::{EntryId, Inode};
use crate::image::{Groups, ImageChange, PAGE_BYTES, Page, Patches, read_image};
use crate::journal::disk::simulated::SimulatedDisk;
use crate::transaction::{Session, Transaction};

/// Logs, each with a session.
const LOGS: u8 = 3;
/// Pages of a memory that is larger than one record.
const LARGE: u32 = 2300;

fn coin(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

type Pages = BTreeMap<u32, Arc<Page>>;

/// A session that goes on: what it counts stands in its memory, in its globals and in a file.
#[derive(Clone, Default)]
struct Running {
    count: u64,
    pages: Pages,
    groups: Groups,
    image: Option<NodeId>,
    since: Vec<u32>,
    head: Option<EntryId>,
}

/// The sessions, and what each state that was asked for holds.
#[derive(Default)]
struct Sessions {
    running: BTreeMap<u8, Running>,
    asked: HashMap<StateId, (u64, Pages)>,
    answered: BTreeMap<u8, Vec<StateId>>,
}

impl Sessions {
    /// Goes on with one session; says whether the store took it.
    fn turn(&mut self, store: &Store, coins: &mut u64) -> bool {
        let log = (coin(coins) % u64::from(LOGS)) as u8;
        let running = self.running.entry(log).or_default();
        let mut next = running.clone();
        next.count = coin(coins);
        let before = next.pages.clone();
        let writes = if coin(coins).is_multiple_of(60) { LARGE } else { (coin(coins) % 12) as u32 };
        let mut changed = vec![0];
        changed.extend((0..writes).map(|number| if writes == LARGE { number } else { (coin(coins) % 4000) as u32 }));
        changed.sort_unstable();
        changed.dedup();
        for page in &changed {
            let bytes = Arc::make_mut(next.pages.entry(*page).or_insert_with(|| Arc::new([0; PAGE_BYTES])));
            let at = (coin(coins) % 500) as usize * 8;
            bytes[at..at + 8].copy_from_slice(&coin(coins).to_le_bytes());
        }
        Arc::make_mut(next.pages.get_mut(&0).unwrap())[..8].copy_from_slice(&next.count.to_le_bytes());
        let mut nodes = NodeBatch::new();
        let pages = &next.pages;
        let whole = |page: u32| pages.get(&page).map(|bytes| &**bytes);
        let id = match next.image.filter(|_| writes < LARGE && !coin(coins).is_multiple_of(4)) {
            Some(parent) => {
                let mut patches = Patches::default();
                for page in &changed {
                    let old = before.get(page).map_or([0; PAGE_BYTES], |bytes| **bytes);
                    patches.push(*page, &old, &pages[page]);
                }
                next.since.extend(&changed);
                ImageChange { parent, memory_bytes: 1 << 24, patches: &patches }.put(&mut nodes)
            }
            None => {
                let mut anew: Vec<u32> = next.since.drain(..).chain(changed).collect();
                if next.groups.is_empty() {
                    anew = pages.keys().copied().collect();
                }
                anew.sort_unstable();
                next.groups.update(&mut nodes, anew, &whole);
                next.groups.put(&mut nodes, 1 << 24)
            }
        };
        next.image = Some(id);
        let mut transaction = match store.head(sandbox(log)) {
            Ok(head) => store.begin(head.state, QUOTA).unwrap(),
            Err(_) => store.begin_empty(Vec::new(), QUOTA),
        };
        write_count(&mut transaction, next.count);
        let session = Session {
            name: "s".to_owned(),
            guest: [1; 32],
            image: Some(id),
            globals: vec![next.count],
            descriptors: next.count.to_le_bytes().to_vec().into(),
        };
        transaction.put_session(session, nodes);
        let sealed = transaction.seal().unwrap();
        let (mut drafts, _) = operation(next.count, OperationKind::Call, &[]);
        let EntryBody::Operation(body) = &mut drafts[0].body else { unreachable!() };
        (body.after, body.detail) = (sealed.state, Vec::new());
        self.asked.insert(sealed.state, (next.count, next.pages.clone()));
        let Ok(entries) = store.append(sandbox(log), next.head, drafts, sealed.nodes) else { return false };
        next.head = Some(entries[0].id);
        self.running.insert(log, next);
        self.answered.entry(log).or_default().push(sealed.state);
        true
    }

    /// Looks at every state that there is; goes on from there as a service does that starts anew.
    fn check(&mut self, store: &Store, answers_are_durable: bool) -> usize {
        let mut looked_at = 0;
        for log in 0..LOGS {
            let entries = store.entries(sandbox(log), 0, usize::MAX).unwrap_or_default();
            let answered = self.answered.entry(log).or_default();
            assert!(!answers_are_durable || entries.len() >= answered.len(), "an answer is lost");
            let states: Vec<StateId> = entries
                .iter()
                .map(|entry| {
                    let EntryBody::Operation(operation) = &entry.body else { panic!("not asked: {entry:?}") };
                    operation.after
                })
                .collect();
            assert!(states.iter().zip(&*answered).all(|(found, answered)| found == answered));
            looked_at += states.len();
            for state in &states {
                let (count, pages) = &self.asked[state];
                let (found, memory) = read(store, *state);
                assert_eq!((found, &memory), (*count, pages), "files and memory of {state}");
            }
            let mut running = Running { head: entries.last().map(|entry| entry.id), ..Running::default() };
            if let Some(state) = states.last() {
                (running.count, running.pages) = self.asked[state].clone();
            }
            *answered = states;
            self.running.insert(log, running);
        }
        looked_at
    }
}

fn write_count(transaction: &mut Transaction, count: u64) {
    let file = transaction
        .lookup(Inode::ROOT, b"count")
        .or_else(|_| transaction.create_file(Inode::ROOT, b"count", 0o644, Timestamp(0)))
        .unwrap();
    transaction.write(file, 0, &count.to_le_bytes(), Timestamp(count as i64)).unwrap();
}

/// Reads what a state counts, which is the same wherever it stands, and the memory of its session.
fn read(store: &Store, state: StateId) -> (u64, Pages) {
    let mut transaction = store.begin(state, QUOTA).unwrap();
    let file = transaction.lookup(Inode::ROOT, b"count").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(transaction.read(file, 0, &mut bytes).unwrap(), 8);
    let session = transaction.session("s").unwrap().expect("a state has its session");
    assert_eq!((session.globals, &session.descriptors[..]), (vec![u64::from_le_bytes(bytes)], &bytes[..]));
    let image = session.image.expect("its memory is stored with it");
    let memory = read_image(store, &image, &|_, page| page.fill(0)).unwrap();
    let pages: Pages = memory.pages.into_iter().map(|(number, bytes)| (number, Arc::from(bytes))).collect();
    assert_eq!(pages[&0][..8], bytes, "what is counted in memory is what is counted in the file");
    assert_eq!(store.image_size(image).unwrap().memory_bytes, 1 << 24);
    (u64::from_le_bytes(bytes), pages)
}

fn lose_power_and_go_on(durability: Durability, seed: u64, break_at: u64, keeps_index: bool) -> usize {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let options = options(durability, if seed.is_multiple_of(2) { 64 << 10 } else { 1 << 20 });
    let mut coins = seed | 1;
    let mut disk = SimulatedDisk::default();
    let mut sessions = Sessions::default();
    let mut looked_at = 0;
    for _ in 0..4 {
        if coin(&mut coins).is_multiple_of(4) {
            disk.break_at(1 + coin(&mut coins) % 8);
        }
        match open_on(&disk, directory.path(), &options) {
            Ok(store) => {
                looked_at += sessions.check(&store, durability == Durability::Disk);
                disk.break_at(break_at);
                for _ in 0..30 {
                    if !sessions.turn(&store, &mut coins) {
                        break;
                    }
                    if coin(&mut coins).is_multiple_of(16) {
                        // Nothing was given up, so nothing of any image may go.
                        let all = CollectOptions { garbage_percent_min: 1, only_weigh: false };
                        drop(store.collect(all, &mut |_| std::ops::ControlFlow::Continue(())));
                    }
                }
            }
            Err(StoreError::Io { .. }) => {}
            Err(error) => panic!("the store does not open: {error}"),
        }
        let odds = coin(&mut coins) % 100;
        disk = disk.after_power_loss(|| coin(&mut coins) % 100 < odds);
        if !keeps_index {
            drop(std::fs::remove_file(directory.path().join("index.db")));
        }
    }
    let store = open_on(&disk, directory.path(), &options).unwrap();
    looked_at += sessions.check(&store, durability == Durability::Disk);
    let verified = store.verify(&mut |_| {}).unwrap();
    assert!(verified.is_whole(), "{verified:?}");
    looked_at
}

#[test]
fn power_loss_never_tears_memory_from_its_files() {
    let number = std::env::var("SANDGLASS_SESSION_LOSSES").ok().and_then(|text| text.parse().ok());
    let cases = number.unwrap_or(12);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let looked_at = std::cell::Cell::new(0);
    let outcome = proptest::test_runner::TestRunner::new(config).run(
        &(any::<u64>(), 1..120u64, any::<bool>(), any::<bool>()),
        |(seed, break_at, keeps_index, synced)| {
            let durability = if synced { Durability::Disk } else { Durability::Process };
            looked_at.set(looked_at.get() + lose_power_and_go_on(durability, seed, break_at, keeps_index));
            Ok(())
        },
    );
    outcome.unwrap_or_else(|error| panic!("{error}"));
    println!("{cases} stores, 4 losses of power each, {} states with their memory, none torn", looked_at.get());
}
