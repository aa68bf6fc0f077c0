//! Heads: where every log stands, and who may move it.
//!
//! The seam behind which heads live. Here they are in memory, derived from the journal; one journal is opened by one process
//! at a time, and each opening has a higher epoch. A store of heads for several machines keeps the same contract with
//! leases: whoever has an older epoch moves nothing.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::error::StoreError;
use crate::id::SandboxId;
use crate::log::{Entry, Life, Tip};

/// Where every log stands.
pub(crate) trait HeadStore: Send + Sync {
    /// Returns the end of a log; none when it has not begun or was purged.
    fn tip(&self, sandbox: SandboxId) -> Option<Tip>;

    /// Returns the ends of all logs, by id.
    fn logs(&self) -> Vec<(SandboxId, Tip)>;

    /// Moves heads to after these entries, in their order, all or none.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] for an epoch that is older than one that was seen: somebody else owns the heads since.
    fn advance(&self, epoch: u64, entries: &[&Entry]) -> Result<(), StoreError>;
}

/// Heads in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryHeads {
    state: RwLock<(u64, BTreeMap<SandboxId, Tip>)>,
}

impl MemoryHeads {
    pub(crate) fn new(tips: BTreeMap<SandboxId, Tip>) -> Self {
        Self { state: RwLock::new((0, tips)) }
    }
}

impl HeadStore for MemoryHeads {
    fn tip(&self, sandbox: SandboxId) -> Option<Tip> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).1.get(&sandbox).copied()
    }

    fn logs(&self) -> Vec<(SandboxId, Tip)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.1.iter().map(|(sandbox, tip)| (*sandbox, *tip)).collect()
    }

    fn advance(&self, epoch: u64, entries: &[&Entry]) -> Result<(), StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (newest, tips) = &mut *state;
        if epoch < *newest {
            return Err(StoreError::Stopped(format!("epoch {epoch} is over: {newest} has begun")));
        }
        *newest = epoch;
        for entry in entries {
            match Tip::after(tips.get(&entry.sandbox).copied(), entry) {
                Some(Tip { life: Life::Purged, .. }) => drop(tips.remove(&entry.sandbox)),
                Some(tip) => drop(tips.insert(entry.sandbox, tip)),
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{StateId, Timestamp};
    use crate::log::{EntryBody, Operation, OperationKind};

    fn operation(kind: OperationKind, state: u8) -> EntryBody {
        EntryBody::Operation(Operation {
            kind,
            before: None,
            after: StateId([state; 32]),
            generation: u64::from(state),
            actor: String::new(),
            target: None,
            policy_revision: 0,
            detail: Vec::new(),
            call: None,
        })
    }

    fn log(sandbox: SandboxId, bodies: Vec<EntryBody>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for (seq, body) in (1u64..).zip(bodies) {
            let previous = entries.last().map(|entry| entry.id);
            let time = Timestamp(i64::try_from(seq).unwrap());
            entries.push(Entry::new(sandbox, seq, previous, time, body).0);
        }
        entries
    }

    /// What every store of heads must do: the suite that any further implementation has to pass.
    fn keeps_the_contract(store: &dyn HeadStore) {
        let (one, two) = (SandboxId([1; 16]), SandboxId([2; 16]));
        assert_eq!(store.tip(one), None);
        assert_eq!(store.logs(), Vec::new());
        let first = log(
            one,
            vec![
                operation(OperationKind::Create, 1),
                EntryBody::Checkpoint { name: "named".to_owned(), state: StateId([1; 32]) },
                operation(OperationKind::Call, 2),
                operation(OperationKind::Delete, 2),
                operation(OperationKind::Undelete, 2),
                operation(OperationKind::Delete, 2),
                EntryBody::Purged,
            ],
        );
        let second = log(two, vec![operation(OperationKind::Create, 7)]);
        store.advance(3, &[&first[0], &second[0]]).unwrap();
        assert_eq!(store.logs().iter().map(|(sandbox, _)| *sandbox).collect::<Vec<_>>(), [one, two]);
        // An entry that is no operation moves the end and not the state.
        store.advance(3, &[&first[1]]).unwrap();
        let tip = store.tip(one).unwrap();
        assert_eq!((tip.head.entry, tip.head.seq, tip.head.state), (first[1].id, 2, StateId([1; 32])));
        store.advance(3, &[&first[2]]).unwrap();
        assert_eq!(store.tip(one).unwrap().head.state, StateId([2; 32]));
        // An entry that is told again moves nothing back.
        store.advance(3, &[&first[0], &first[1]]).unwrap();
        assert_eq!(store.tip(one).unwrap().head.seq, 3);
        // Deleted logs can still be found, and come back; purged ones are gone.
        store.advance(3, &[&first[3]]).unwrap();
        assert_eq!(store.tip(one).unwrap().life, Life::Deleted(first[3].time));
        store.advance(3, &[&first[4]]).unwrap();
        assert!(store.tip(one).unwrap().is_live());
        // The fence: a newer epoch takes over, and the older one moves nothing any more.
        store.advance(5, &[]).unwrap();
        assert!(matches!(store.advance(4, &[&first[5]]), Err(StoreError::Stopped(_))));
        assert_eq!(store.tip(one).unwrap().head.seq, 5);
        store.advance(5, &[&first[5], &first[6]]).unwrap();
        assert_eq!(store.tip(one), None);
        assert_eq!(store.logs().len(), 1);
    }

    #[test]
    fn heads_in_memory_keep_the_contract() {
        keeps_the_contract(&MemoryHeads::default());
    }
}
