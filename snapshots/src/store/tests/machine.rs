//! Everything that a store does, in any order, with crashes in between, against a naive model: a list of whole trees.

mod model;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use tempfile::TempDir;

use self::model::{Model, NAMES, SECOND, Step, TRASH, Tree, pick};
use super::*;
use crate::collect::CollectOptions;
use crate::id::{EntryId, Inode};
use crate::journal::disk::simulated::SimulatedDisk;
use crate::retention::Retention;
use crate::store::Hold;
use crate::transaction::{Kind, Quota, Transaction};

pub(super) const QUOTA: Quota = Quota { bytes: 1 << 30, inodes: 1 << 20 };

/// The store under test.
struct Real {
    disk: SimulatedDisk,
    directory: TempDir,
    store: Option<Store>,
    /// The state of every operation and name.
    states: HashMap<(usize, u64), StateId>,
}

pub(super) fn bytes(seed: u8, length: u32) -> Vec<u8> {
    (0..length).map(|place| seed.wrapping_add((place / 7) as u8) ^ (place as u8)).collect()
}

fn machine_options() -> StoreOptions {
    StoreOptions { cache_bytes: 64 << 10, ..options(Durability::Disk, 16 << 10) }
}

impl Real {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn head(&self, log: usize) -> Option<EntryId> {
        self.store().inner.index.tip(sandbox(log as u8)).map(|tip| tip.head.entry)
    }

    fn append(&mut self, log: usize, body: EntryBody, nodes: NodeBatch, now: i64) {
        let state = match &body {
            EntryBody::Operation(operation) => Some(operation.after),
            EntryBody::Checkpoint { state, .. } => Some(*state),
            _ => None,
        };
        let draft = Draft { time: Timestamp(now), body };
        let entries = self.store().append(sandbox(log as u8), self.head(log), vec![draft], nodes).unwrap();
        if let Some(state) = state {
            self.states.insert((log, entries[0].seq), state);
        }
    }

    fn operate(&mut self, log: usize, kind: OperationKind, after: StateId, nodes: NodeBatch, now: i64) {
        let body = EntryBody::Operation(Operation {
            kind,
            before: None,
            after,
            generation: 0,
            actor: String::new(),
            target: None,
            policy_revision: 0,
            detail: Vec::new(),
            call: None,
        });
        self.append(log, body, nodes, now);
    }

    fn edit(&mut self, log: usize, now: i64, edit: impl FnOnce(&mut Transaction)) {
        let head = self.store().head(sandbox(log as u8)).unwrap();
        let mut transaction = self.store().begin(head.state, QUOTA).unwrap();
        edit(&mut transaction);
        let sealed = transaction.seal().unwrap();
        self.operate(log, OperationKind::Call, sealed.state, sealed.nodes, now);
    }

    fn reopen(&mut self, keeps_index: bool) {
        self.store = None;
        if !keeps_index {
            drop(std::fs::remove_file(self.directory.path().join("index.db")));
        }
        self.store = Some(open_on(&self.disk, self.directory.path(), &machine_options()).unwrap());
    }

    fn lose_power(&mut self, keeps_index: bool, survives: u8) {
        let mut coin = u32::from(survives) + 7;
        let after = self.disk.after_power_loss(|| {
            coin = coin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (coin >> 16) % 100 < u32::from(survives)
        });
        self.store = None;
        self.disk = after;
        self.reopen(keeps_index);
    }

    fn check(&self, model: &Model) {
        let store = self.store();
        for (number, log) in model.logs.iter().enumerate() {
            let id = sandbox(number as u8);
            if log.is_purged {
                assert!(matches!(store.entries(id, 0, 1), Err(StoreError::UnknownSandbox(_))), "log {number}");
                continue;
            }
            assert_eq!(store.head(id).is_ok(), log.is_live(), "log {number}");
            let entries = store.entries(id, 0, usize::MAX).unwrap();
            assert_eq!(entries.len(), log.entries.len(), "log {number}");
            assert_eq!(store.expired(id).unwrap(), log.expired, "log {number}");
            for (seq, tree) in Model::kept(log) {
                let found = read(store, self.states[&(number, seq)]);
                assert_eq!(found, tree_bytes(&tree), "log {number}, entry {seq}");
            }
        }
        let live = model.logs.iter().filter(|log| log.is_live()).count();
        assert_eq!(store.sandboxes().len(), live);
        let trashed = model.logs.iter().filter(|log| log.deleted.is_some() && !log.is_purged).count();
        assert_eq!(store.trash().len(), trashed);
    }
}

fn tree_bytes(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    tree.iter().map(|(name, (seed, length))| ((*name).to_owned(), bytes(*seed, *length))).collect()
}

/// Reads a whole state.
pub(super) fn read(store: &Store, state: StateId) -> BTreeMap<String, Vec<u8>> {
    let mut transaction = store.begin(state, QUOTA).unwrap_or_else(|error| panic!("{state}: {error}"));
    let mut found = BTreeMap::new();
    let mut waiting = vec![(Inode::ROOT, String::new())];
    while let Some((directory, prefix)) = waiting.pop() {
        for entry in transaction.read_directory(directory, 0, 100).unwrap() {
            let name = format!("{prefix}{}", std::str::from_utf8(&entry.name).unwrap());
            let inode = transaction.lookup(directory, &entry.name).unwrap();
            if entry.kind == Kind::Directory {
                waiting.push((inode, format!("{name}/")));
                continue;
            }
            let mut bytes = vec![0; transaction.attributes(inode).unwrap().size as usize];
            assert_eq!(transaction.read(inode, 0, &mut bytes).unwrap(), bytes.len());
            found.insert(name, bytes);
        }
    }
    found
}

/// Returns the directory of a path of [`NAMES`], making it.
fn parent<'a>(transaction: &mut Transaction, path: &'a str, now: i64) -> (Inode, &'a [u8]) {
    match path.split_once('/') {
        None => (Inode::ROOT, path.as_bytes()),
        Some((directory, name)) => {
            let found = transaction.lookup(Inode::ROOT, directory.as_bytes());
            let made = found
                .or_else(|_| transaction.create_directory(Inode::ROOT, directory.as_bytes(), 0o755, Timestamp(now)));
            (made.unwrap(), name.as_bytes())
        }
    }
}

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let mut real =
            Self { disk: SimulatedDisk::default(), directory: directory.unwrap(), store: None, states: HashMap::new() };
        real.reopen(true);
        real
    }

    fn apply(mut real: Self, model: &Model, step: Step) -> Self {
        // The model has taken the step already: what it would have refused before is found in its last entries.
        let now = model.now;
        let told = |log: usize| model.logs[log].entries.last().is_some_and(|(_, time)| *time == now);
        let index = |log: u8| model.index(log);
        match step {
            Step::Create => {
                if model.logs.len() > real.logs() {
                    let sealed = real.store().begin_empty(Vec::new(), QUOTA).seal().unwrap();
                    let log = model.logs.len() - 1;
                    real.operate(log, OperationKind::Create, sealed.state, sealed.nodes, now);
                }
            }
            Step::Write { log, name, seed, length } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    let name = NAMES[usize::from(name) % NAMES.len()];
                    real.edit(log, now, |transaction| {
                        let (directory, name) = parent(transaction, name, now);
                        let found = transaction.lookup(directory, name);
                        let file =
                            found.or_else(|_| transaction.create_file(directory, name, 0o644, Timestamp(now))).unwrap();
                        transaction.set_size(file, 0, Timestamp(now)).unwrap();
                        transaction.write(file, 0, &bytes(seed, length), Timestamp(now)).unwrap();
                    });
                }
            }
            Step::Remove { log, name } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    let name = NAMES[usize::from(name) % NAMES.len()];
                    real.edit(log, now, |transaction| {
                        let (directory, name) = parent(transaction, name, now);
                        drop(transaction.unlink(directory, name, Timestamp(now)));
                    });
                }
            }
            Step::Restore { log, to } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    let mut before = model.logs[log].clone();
                    before.entries.pop();
                    let (seq, _) = pick(&Model::kept(&before), to).unwrap().clone();
                    let state = real.states[&(log, seq)];
                    real.operate(log, OperationKind::Restore, state, NodeBatch::new(), now);
                }
            }
            Step::Fork { log, of } => {
                let logs = real.logs();
                if model.logs.len() > logs {
                    let log = usize::from(log) % logs;
                    let (seq, _) = pick(&Model::kept(&model.logs[log]), of).unwrap().clone();
                    let state = real.states[&(log, seq)];
                    real.operate(logs, OperationKind::Fork, state, NodeBatch::new(), now);
                }
            }
            Step::Name { log, name } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    let state = real.store().head(sandbox(log as u8)).unwrap().state;
                    real.append(log, EntryBody::Checkpoint { name: name.to_string(), state }, NodeBatch::new(), now);
                }
            }
            Step::Unname { log, name } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    real.append(log, EntryBody::CheckpointDeleted { name: name.to_string() }, NodeBatch::new(), now);
                }
            }
            Step::Delete { log } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    let state = real.store().head(sandbox(log as u8)).unwrap().state;
                    real.operate(log, OperationKind::Delete, state, NodeBatch::new(), now);
                }
            }
            Step::Undelete { log } => {
                if let Some(log) = index(log).filter(|log| told(*log)) {
                    let trashed = real.store().trash();
                    let found = trashed.iter().find(|trashed| trashed.sandbox == sandbox(log as u8)).unwrap();
                    real.operate(log, OperationKind::Undelete, found.head.state, NodeBatch::new(), now);
                }
            }
            Step::Expire { log, operations, seconds } => {
                if let Some(log) = index(log).filter(|log| !model.logs[*log].is_purged) {
                    let since = seconds.map(|seconds| Timestamp(now - i64::from(seconds) * SECOND));
                    let operations = operations.map(u64::from);
                    let retention = Retention { operations, since, bytes: None, trash: TRASH };
                    let found = real.store().expirable(sandbox(log as u8), &retention, Timestamp(now)).unwrap();
                    assert_eq!(found.is_some(), told(log));
                    found.into_iter().for_each(|found| real.store().expire(found).unwrap());
                }
            }
            Step::Purge => {
                for (log, _) in model.logs.iter().enumerate() {
                    drop(real.store().purge(sandbox(log as u8), TRASH, Timestamp(now)));
                }
            }
            Step::Collect { percent, stop_after } => {
                let options = CollectOptions { garbage_percent_min: percent, only_weigh: false };
                let mut steps = 0;
                let collected = real.store().collect(options, &mut |_| {
                    steps += 1;
                    let stops = stop_after.is_some_and(|after| steps > u32::from(after));
                    if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                collected.unwrap();
                real.check(model);
            }
            Step::BreakWhileCollecting { at, keeps_index, survives } => {
                real.disk.break_at(u64::from(at));
                let options = CollectOptions { garbage_percent_min: 1, only_weigh: false };
                drop(real.store().collect(options, &mut |_| ControlFlow::Continue(())));
                real.lose_power(keeps_index, survives);
                real.check(model);
            }
            Step::PowerLoss { keeps_index, survives } => {
                real.lose_power(keeps_index, survives);
                real.check(model);
            }
            Step::Reopen { keeps_index } => {
                real.reopen(keeps_index);
                real.check(model);
            }
            Step::Wait { .. } | Step::Idle => {}
        }
        real
    }

    fn teardown(mut real: Self, model: Model) {
        real.check(&model);
        real.reopen(false);
        real.check(&model);
        // Whoever looks from outside finds everything whole, too.
        let scratch = tempfile::tempdir().unwrap();
        let disk = Arc::new(real.disk.clone());
        let looked = Store::look_on(disk, real.directory.path(), scratch.path(), &machine_options(), &mut |_| {});
        let (store, survey) = looked.unwrap();
        assert_eq!(survey.damaged, Vec::new());
        let verified = store.verify(&mut |_| {}).unwrap();
        assert!(verified.is_whole(), "{verified:?}");
        assert_eq!(store.sandboxes(), real.store().sandboxes());
    }
}

impl Real {
    /// How many logs were begun.
    fn logs(&self) -> usize {
        self.states.keys().map(|(log, _)| log + 1).max().unwrap_or(0)
    }
}

fn cases() -> u32 {
    std::env::var("SANDGLASS_STORE_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_list_of_whole_trees(sequential 1..60 => Real);
}

/// Appends an operation whose state holds one file of its own.
fn append_file(store: &Store, at: Option<EntryId>, name: &[u8], contents: &[u8]) -> (EntryId, StateId) {
    let mut batch = store.begin_empty(Vec::new(), QUOTA);
    let file = batch.create_file(Inode::ROOT, name, 0o644, Timestamp(1)).unwrap();
    batch.write(file, 0, contents, Timestamp(1)).unwrap();
    let sealed = batch.seal().unwrap();
    let (mut drafts, _) = operation(1, OperationKind::Call, &[]);
    let EntryBody::Operation(body) = &mut drafts[0].body else { unreachable!() };
    body.after = sealed.state;
    (store.append(sandbox(1), at, drafts, sealed.nodes).unwrap().remove(0).id, sealed.state)
}

const ALL: CollectOptions = CollectOptions { garbage_percent_min: 1, only_weigh: false };

#[test]
fn a_hold_keeps_what_the_log_gave_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(Durability::Disk, 16 << 10)).unwrap();
    let (mut at, state) = append_file(&store, None, b"kept", &bytes(1, 100_000));
    let hold: Hold = store.hold_state(state).unwrap();
    for number in 0..40u8 {
        (at, _) = append_file(&store, Some(at), b"other", &bytes(number, 5000));
    }
    let retention = Retention { operations: Some(1), ..Retention::default() };
    store.expire(store.expirable(sandbox(1), &retention, Timestamp(9)).unwrap().unwrap()).unwrap();
    let collected = store.collect(ALL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(collected.freed_bytes > 100_000, "{collected:?}");
    assert_eq!(read(&store, state)["kept"], bytes(1, 100_000));
    drop(hold);
    let collected = store.collect(ALL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(collected.freed_bytes > 60_000, "{collected:?}");
    assert!(!store.contains_state(state));
    assert!(matches!(store.begin(state, QUOTA), Err(StoreError::MissingNode(_))));
}

#[test]
fn what_is_named_after_it_was_found_expirable_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), options(Durability::Disk, 16 << 10)).unwrap();
    let (mut at, named) = append_file(&store, None, b"named", &bytes(1, 100_000));
    let mut states = Vec::new();
    for number in 0..20u8 {
        let state;
        (at, state) = append_file(&store, Some(at), b"other", &bytes(number, 5000));
        states.push(state);
    }
    let retention = Retention { operations: Some(1), ..Retention::default() };
    let found = store.expirable(sandbox(1), &retention, Timestamp(9)).unwrap().unwrap();
    let body = EntryBody::Checkpoint { name: "late".to_owned(), state: named };
    at = store.append(sandbox(1), Some(at), vec![Draft { time: Timestamp(9), body }], NodeBatch::new()).unwrap()[0].id;
    let (_, newest) = append_file(&store, Some(at), b"newest", &bytes(99, 5000));
    store.expire(found).unwrap();
    store.collect(ALL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(read(&store, named)["named"], bytes(1, 100_000));
    assert_eq!(read(&store, newest)["newest"], bytes(99, 5000));
    assert_eq!(read(&store, states[19])["other"], bytes(19, 5000), "the newest when it was looked for");
    assert!(!store.contains_state(states[0]));
}
