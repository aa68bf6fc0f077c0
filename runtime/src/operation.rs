//! What undo and redo mean: which operation they take back or bring back, found in the log alone.
//!
//! Undo takes back the newest operation in effect that changed the state; again, the one before it. Redo brings back what
//! the newest undo took back. Both are operations themselves, and any other operation that changes the state ends what could
//! be redone, as in jj and in every editor. Restores and reverts are such other operations, and undone as any is. Operations that changed nothing are passed over.

use sandglass_snapshots::{OperationKind, StateId};

/// What undo and redo need to know of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) seq: u64,
    pub(crate) kind: OperationKind,
    pub(crate) before: Option<StateId>,
    pub(crate) after: StateId,
    /// Of an undo or redo: the operation that it took back or brought back.
    pub(crate) target: Option<u64>,
}

/// Where an undo or redo leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The operation taken back or brought back.
    pub(crate) seq: u64,
    /// The state that becomes the head.
    pub(crate) state: StateId,
}

/// A log as a function from an entry's number to its operation; `None` for an entry that is none.
pub(crate) trait Steps {
    type Error;

    fn step(&mut self, seq: u64) -> Result<Option<Step>, Self::Error>;
}

/// Returns what the next undo takes back, or nothing when all that could be is.
pub(crate) fn undo_target<S: Steps>(log: &mut S, newest: u64) -> Result<Option<Target>, S::Error> {
    let mut position = newest;
    while position > 0 {
        let Some(step) = log.step(position)? else {
            position -= 1;
            continue;
        };
        match (step.kind, step.target, step.before) {
            // All from the target on is taken back already: go on before it.
            (OperationKind::Undo, Some(target), _) if target < position => position = target - 1,
            // The target is in effect again, as if it were the newest.
            (OperationKind::Redo, Some(target), _) if target < position => position = target,
            (OperationKind::Create | OperationKind::Fork, ..) => return Ok(None),
            (_, _, Some(before)) if before != step.after => {
                return Ok(Some(Target { seq: step.seq, state: before }));
            }
            _ => position -= 1,
        }
    }
    Ok(None)
}

/// Returns what the next redo brings back, or nothing when no undo is left to take back.
pub(crate) fn redo_target<S: Steps>(log: &mut S, newest: u64) -> Result<Option<Target>, S::Error> {
    let mut brought_back = 0u64;
    for position in (1..=newest).rev() {
        let Some(step) = log.step(position)? else { continue };
        match step.kind {
            OperationKind::Redo => brought_back += 1,
            OperationKind::Undo if brought_back > 0 => brought_back -= 1,
            OperationKind::Undo => {
                let Some(undone) = step.target else { return Ok(None) };
                let target = log.step(undone)?;
                return Ok(target.map(|target| Target { seq: undone, state: target.after }));
            }
            _ if step.before == Some(step.after) => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    #[derive(Default)]
    struct Log(Vec<Option<Step>>);

    impl Steps for Log {
        type Error = Infallible;

        fn step(&mut self, seq: u64) -> Result<Option<Step>, Infallible> {
            Ok(self.0[usize::try_from(seq).unwrap() - 1])
        }
    }

    impl Log {
        fn head(&self) -> StateId {
            self.0.iter().rev().flatten().next().unwrap().after
        }

        fn newest(&self) -> u64 {
            self.0.len() as u64
        }

        fn push(&mut self, kind: OperationKind, after: StateId, target: Option<u64>) {
            let before = (!self.0.is_empty()).then(|| self.head());
            self.0.push(Some(Step { seq: self.newest() + 1, kind, before, after, target }));
        }
    }

    fn state(number: u8) -> StateId {
        StateId([number; 32])
    }

    #[derive(Clone, Copy, Debug)]
    enum Action {
        Change(u8),
        Nothing,
        Label,
        Undo,
        Redo,
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            3 => any::<u8>().prop_map(Action::Change),
            1 => Just(Action::Nothing),
            1 => Just(Action::Label),
            4 => Just(Action::Undo),
            3 => Just(Action::Redo),
        ]
    }

    proptest! {
        /// The model is an editor's two stacks of states.
        #[test]
        fn undo_and_redo_are_two_stacks(actions in prop::collection::vec(action(), 0..60)) {
            let mut log = Log::default();
            log.push(OperationKind::Create, state(0), None);
            let (mut current, mut undo, mut redo) = (state(0), Vec::new(), Vec::new());
            for action in actions {
                let newest = log.newest();
                match action {
                    Action::Change(number) => {
                        if state(number) != current {
                            undo.push(current);
                            redo.clear();
                            current = state(number);
                        }
                        log.push(OperationKind::Call, state(number), None);
                    }
                    Action::Nothing => log.push(OperationKind::Call, log.head(), None),
                    Action::Label => log.0.push(None),
                    Action::Undo => {
                        let Ok(found) = undo_target(&mut log, newest);
                        prop_assert_eq!(found.map(|target| target.state), undo.last().copied());
                        if let (Some(target), Some(older)) = (found, undo.pop()) {
                            redo.push(current);
                            current = older;
                            log.push(OperationKind::Undo, target.state, Some(target.seq));
                        }
                    }
                    Action::Redo => {
                        let Ok(found) = redo_target(&mut log, newest);
                        prop_assert_eq!(found.map(|target| target.state), redo.last().copied());
                        if let (Some(target), Some(newer)) = (found, redo.pop()) {
                            undo.push(current);
                            current = newer;
                            log.push(OperationKind::Redo, target.state, Some(target.seq));
                        }
                    }
                }
                prop_assert_eq!(log.head(), current);
            }
        }
    }
}
