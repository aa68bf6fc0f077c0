//! Verifying a store: every byte of it was read by a survey; here the logs and the states are held against each other.

mod whole;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

pub use self::whole::Problem;
use self::whole::{Memory, WholeSource, problems_of};
use crate::closure::roots_of;
use crate::error::StoreError;
use crate::id::{EntryId, NodeId, SandboxId, StateId};
use crate::log::{EntryBody, is_within, joined};
use crate::store::{Inner, Store};

/// How much of each kind of damage is told; more is counted.
const TOLD_MAX: usize = 1_000;
/// Entries that are told to lead to one damaged state.
const SEQS_MAX: usize = 100;
const PAGE: usize = 512;

/// A state that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedState {
    /// The state.
    pub state: StateId,
    /// A sandbox whose log leads to it.
    pub sandbox: SandboxId,
    /// The entries of that log that lead to it.
    pub seqs: Vec<u64>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// What verifying the logs and states found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Log entries that were checked.
    pub entries: u64,
    /// Different states that were walked.
    pub states: u64,
    /// Of those, the ones that are whole.
    pub states_whole: u64,
    /// Those that are not, at most 1,000.
    pub damaged_states: Vec<DamagedState>,
    /// Logs that are not what they should be, in words; at most 1,000.
    pub damaged_logs: Vec<String>,
}

impl Verified {
    /// Says whether nothing is wrong.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.states == self.states_whole && self.damaged_logs.is_empty()
    }
}

impl WholeSource for Inner {
    fn blob_length(&self, id: &NodeId) -> Result<u64, StoreError> {
        let location = self.index.locate(id)?.ok_or(StoreError::MissingNode(*id))?;
        Ok(u64::from(location.length).saturating_sub(1))
    }
}

impl Store {
    /// Walks every log, and every state that a log leads to and did not give up.
    ///
    /// Blobs are not read again: [`Store::look`] has read and hashed everything, and a damaged one is not in its index.
    /// `progress` is called with the number of states walked.
    ///
    /// # Errors
    /// What reading met beyond missing and damaged nodes.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let mut memory = Memory::default();
        let mut known: HashMap<StateId, Option<usize>> = HashMap::new();
        for (sandbox, tip) in self.inner.index.logs() {
            let mut expired: Vec<(u64, u64)> = Vec::new();
            let mut expected = Some(tip.head.entry);
            let mut before = u64::MAX;
            loop {
                let page = match self.inner.unbelieved_before(sandbox, before, PAGE) {
                    Ok(page) => page,
                    Err(error @ (StoreError::MissingNode(_) | StoreError::DamagedNode { .. })) => {
                        verified.tell(format!("the log of {sandbox} can't be read before entry {before}: {error}"));
                        break;
                    }
                    Err(error) => return Err(error),
                };
                let Some(last) = page.last() else { break };
                before = last.seq;
                for entry in &page {
                    verified.entries += 1;
                    if expected != Some(entry.id) {
                        verified.tell(gap(sandbox, entry.seq, expected));
                    }
                    expected = entry.previous;
                    if let EntryBody::Expired { ranges } = &entry.body {
                        expired = joined(expired.into_iter().chain(ranges.iter().copied()).collect());
                    }
                    if is_within(&expired, entry.seq) {
                        continue;
                    }
                    let roots = roots_of(&entry.body);
                    for blob in &roots.blobs {
                        if self.inner.index.locate(blob)?.is_none() {
                            verified.tell(format!("entry {} of {sandbox}: its output {blob} is missing", entry.seq));
                        }
                    }
                    for state in roots.states {
                        let place = match known.entry(state) {
                            Place::Occupied(known) => *known.get(),
                            Place::Vacant(place) => {
                                let problems = problems_of(&*self.inner, state, &mut memory)?;
                                let found = *place.insert(verified.walked(state, sandbox, problems));
                                progress(verified.states);
                                found
                            }
                        };
                        if let Some(place) = place {
                            verified.leads_to(place, sandbox, entry.seq);
                        }
                    }
                }
            }
            if expected.is_some() {
                verified.tell(gap(sandbox, 0, expected));
            }
        }
        Ok(verified)
    }
}

fn gap(sandbox: SandboxId, seq: u64, expected: Option<EntryId>) -> String {
    match (seq, expected) {
        (0, _) => format!("the log of {sandbox} does not reach back to its first entry"),
        (_, Some(id)) => format!("the log of {sandbox} has a gap above entry {seq}: entry {id} is missing"),
        (_, None) => format!("the log of {sandbox} goes on before its first entry, at entry {seq}"),
    }
}

impl Verified {
    fn tell(&mut self, log: String) {
        if self.damaged_logs.len() < TOLD_MAX {
            self.damaged_logs.push(log);
        }
    }

    /// Counts a state; returns its place in the list when it is damaged.
    fn walked(&mut self, state: StateId, sandbox: SandboxId, problems: Vec<Problem>) -> Option<usize> {
        self.states += 1;
        if problems.is_empty() {
            self.states_whole += 1;
            return None;
        }
        if self.damaged_states.len() < TOLD_MAX {
            self.damaged_states.push(DamagedState { state, sandbox, seqs: Vec::new(), problems });
        }
        Some(self.damaged_states.len() - 1)
    }

    fn leads_to(&mut self, place: usize, sandbox: SandboxId, seq: u64) {
        if let Some(damaged) = self.damaged_states.get_mut(place)
            && damaged.sandbox == sandbox
            && damaged.seqs.len() < SEQS_MAX
            && damaged.seqs.last() != Some(&seq)
        {
            damaged.seqs.push(seq);
        }
    }
}
