//! The naive model: logs as lists of whole trees, and the rules of retention told plainly.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use crate::log::{is_within, joined};

pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const TRASH: Duration = Duration::from_secs(100);
pub(super) const NAMES: [&str; 5] = ["a", "b", "c/d", "c/e", "f"];

/// A tree: what each file holds, as a seed and a length.
pub(super) type Tree = BTreeMap<&'static str, (u8, u32)>;

/// An entry of a log as the model sees it.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Operation(Tree),
    Name(u8, Tree),
    Unname(u8),
    Other,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// What was told and when.
    pub(super) entries: Vec<(Told, i64)>,
    pub(super) expired: Vec<(u64, u64)>,
    pub(super) deleted: Option<i64>,
    pub(super) is_purged: bool,
}

impl Log {
    fn head(&self) -> Tree {
        let operation = self.entries.iter().rev().find_map(|(told, _)| match told {
            Told::Operation(tree) => Some(tree.clone()),
            _ => None,
        });
        operation.unwrap_or_default()
    }

    pub(super) fn is_live(&self) -> bool {
        self.deleted.is_none() && !self.is_purged
    }

    /// The rule, told naively: what of the log is no longer kept.
    fn given_up(&self, operations: Option<u64>, since: Option<i64>, now: i64) -> Vec<(u64, u64)> {
        let mut given_up = Vec::new();
        for (index, (told, time)) in self.entries.iter().enumerate() {
            let later = &self.entries[index + 1..];
            let is_kept = match told {
                Told::Operation(_) => {
                    let newer = later.iter().filter(|(told, _)| matches!(told, Told::Operation(_))).count() as u64;
                    newer == 0 || (operations.is_none_or(|count| newer < count) && since.is_none_or(|at| *time >= at))
                }
                Told::Name(name, _) => later
                    .iter()
                    .find(|(told, _)| matches!(told, Told::Name(other, _) | Told::Unname(other) if other == name))
                    .is_none_or(|(_, dropped)| dropped + (TRASH.as_nanos() as i64) > now),
                Told::Unname(_) | Told::Other => true,
            };
            if !is_kept {
                given_up.push((index as u64 + 1, index as u64 + 1));
            }
        }
        joined(given_up)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) logs: Vec<Log>,
    pub(super) now: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Create,
    Write { log: u8, name: u8, seed: u8, length: u32 },
    Remove { log: u8, name: u8 },
    Restore { log: u8, to: u8 },
    Fork { log: u8, of: u8 },
    Name { log: u8, name: u8 },
    Unname { log: u8, name: u8 },
    Delete { log: u8 },
    Undelete { log: u8 },
    Wait { seconds: u8 },
    Expire { log: u8, operations: Option<u8>, seconds: Option<u8> },
    Purge,
    Collect { percent: u8, stop_after: Option<u8> },
    BreakWhileCollecting { at: u8, keeps_index: bool, survives: u8 },
    PowerLoss { keeps_index: bool, survives: u8 },
    Reopen { keeps_index: bool },
    Idle,
}

pub(super) fn pick<T>(all: &[T], number: u8) -> Option<&T> {
    (!all.is_empty()).then(|| &all[usize::from(number) % all.len()])
}

impl Model {
    pub(super) fn index(&self, log: u8) -> Option<usize> {
        (!self.logs.is_empty()).then(|| usize::from(log) % self.logs.len())
    }

    fn live(&mut self, log: u8) -> Option<&mut Log> {
        let index = self.index(log)?;
        Some(&mut self.logs[index]).filter(|log| log.is_live())
    }

    /// The operations of a log whose states are kept, by number.
    pub(super) fn kept(log: &Log) -> Vec<(u64, Tree)> {
        let numbered = log.entries.iter().zip(1..);
        let kept = numbered.filter(|(_, seq)| !is_within(&log.expired, *seq));
        let trees = kept.filter_map(|((told, _), seq)| match told {
            Told::Operation(tree) | Told::Name(_, tree) => Some((seq, tree.clone())),
            _ => None,
        });
        trees.collect()
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let length = prop_oneof![6 => 0..3000u32, 1 => 60_000..140_000u32];
        prop_oneof![
            2 => Just(Step::Create),
            12 => (any::<u8>(), any::<u8>(), any::<u8>(), length)
                .prop_map(|(log, name, seed, length)| Step::Write { log, name, seed, length }),
            3 => any::<(u8, u8)>().prop_map(|(log, name)| Step::Remove { log, name }),
            2 => any::<(u8, u8)>().prop_map(|(log, to)| Step::Restore { log, to }),
            2 => any::<(u8, u8)>().prop_map(|(log, of)| Step::Fork { log, of }),
            2 => (any::<u8>(), 0..3u8).prop_map(|(log, name)| Step::Name { log, name }),
            1 => (any::<u8>(), 0..3u8).prop_map(|(log, name)| Step::Unname { log, name }),
            1 => any::<u8>().prop_map(|log| Step::Delete { log }),
            1 => any::<u8>().prop_map(|log| Step::Undelete { log }),
            2 => any::<u8>().prop_map(|seconds| Step::Wait { seconds }),
            3 => (any::<u8>(), proptest::option::of(0..6u8), proptest::option::of(any::<u8>()))
                .prop_map(|(log, operations, seconds)| Step::Expire { log, operations, seconds }),
            1 => Just(Step::Purge),
            3 => (prop_oneof![Just(1u8), Just(50u8)], proptest::option::of(0..40u8))
                .prop_map(|(percent, stop_after)| Step::Collect { percent, stop_after }),
            1 => (1..30u8, any::<bool>(), 0..=100u8)
                .prop_map(|(at, keeps_index, survives)| Step::BreakWhileCollecting { at, keeps_index, survives }),
            1 => (any::<bool>(), 0..=100u8)
                .prop_map(|(keeps_index, survives)| Step::PowerLoss { keeps_index, survives }),
            1 => any::<bool>().prop_map(|keeps_index| Step::Reopen { keeps_index }),
            1 => Just(Step::Idle),
        ]
        .boxed()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.now += SECOND;
        let now = model.now;
        match step {
            Step::Create => {
                if model.logs.len() < 6 {
                    let entries = vec![(Told::Operation(Tree::new()), now)];
                    model.logs.push(Log { entries, ..Log::default() });
                }
            }
            Step::Write { log, name, seed, length } => {
                if let Some(log) = model.live(*log) {
                    let mut tree = log.head();
                    tree.insert(NAMES[usize::from(*name) % NAMES.len()], (*seed, *length));
                    log.entries.push((Told::Operation(tree), now));
                }
            }
            Step::Remove { log, name } => {
                if let Some(log) = model.live(*log) {
                    let mut tree = log.head();
                    tree.remove(NAMES[usize::from(*name) % NAMES.len()]);
                    log.entries.push((Told::Operation(tree), now));
                }
            }
            Step::Restore { log, to } => {
                if let Some(log) = model.live(*log)
                    && let Some((_, tree)) = pick(&Self::kept(log), *to)
                {
                    log.entries.push((Told::Operation(tree.clone()), now));
                }
            }
            Step::Fork { log, of } => {
                if model.logs.len() < 6
                    && let Some(log) = model.index(*log).map(|index| &model.logs[index]).filter(|log| !log.is_purged)
                    && let Some((_, tree)) = pick(&Self::kept(log), *of)
                {
                    let entries = vec![(Told::Operation(tree.clone()), now)];
                    model.logs.push(Log { entries, ..Log::default() });
                }
            }
            Step::Name { log, name } => {
                if let Some(log) = model.live(*log) {
                    log.entries.push((Told::Name(*name, log.head()), now));
                }
            }
            Step::Unname { log, name } => {
                if let Some(log) = model.live(*log) {
                    log.entries.push((Told::Unname(*name), now));
                }
            }
            Step::Delete { log } => {
                if let Some(log) = model.live(*log) {
                    log.entries.push((Told::Operation(log.head()), now));
                    log.deleted = Some(now);
                }
            }
            Step::Undelete { log } => {
                if let Some(index) = model.index(*log)
                    && let log = &mut model.logs[index]
                    && log.deleted.is_some()
                    && !log.is_purged
                {
                    log.entries.push((Told::Operation(log.head()), now));
                    log.deleted = None;
                }
            }
            Step::Wait { seconds } => model.now += i64::from(*seconds) * SECOND,
            Step::Expire { log, operations, seconds } => {
                if let Some(index) = model.index(*log)
                    && let log = &mut model.logs[index]
                    && !log.is_purged
                {
                    let since = seconds.map(|seconds| now - i64::from(seconds) * SECOND);
                    let given_up = log.given_up(operations.map(u64::from), since, now);
                    let before = log.expired.clone();
                    log.expired = joined(before.iter().chain(&given_up).copied().collect());
                    if log.expired != before {
                        log.entries.push((Told::Other, now));
                    }
                }
            }
            Step::Purge => {
                for log in &mut model.logs {
                    log.is_purged |= log.deleted.is_some_and(|deleted| deleted + (TRASH.as_nanos() as i64) <= now);
                }
            }
            Step::Collect { .. }
            | Step::BreakWhileCollecting { .. }
            | Step::PowerLoss { .. }
            | Step::Reopen { .. }
            | Step::Idle => {}
        }
        model
    }
}
