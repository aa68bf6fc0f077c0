//! How people name states: by id or its first digits, by number of an operation, by checkpoint.

use super::failure::{Failure, exit};
use super::terminal;
use crate::client::Client;

/// Digits of a state's id that are shown, and enough to name it.
pub(crate) const SHORT: usize = 12;
const DIGITS: usize = 64;
/// Fewer digits than these are never taken for the start of an id.
const PREFIX_LEAST: usize = 6;
/// How far back a shortened id is looked for.
const OPERATIONS_SEARCHED: usize = 10_000;

/// What a person named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateName {
    /// The full id of a state.
    State(String),
    /// The state after the operation with this number.
    Seq(u64),
    /// A named checkpoint.
    Checkpoint(String),
}

impl StateName {
    /// Reads `@CHECKPOINT`, a number, an id, the start of an id, or a checkpoint's name, in this order.
    pub(crate) fn find(client: &Client, sandbox: &str, text: &str) -> Result<Self, Failure> {
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Self::Checkpoint(name.to_owned()));
        }
        let hexadecimal = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if hexadecimal && text.len() == DIGITS {
            return Ok(Self::State(text.to_owned()));
        }
        if let Some(seq) = text.parse().ok().filter(|_| text.len() < SHORT) {
            return Ok(Self::Seq(seq));
        }
        if hexadecimal && (PREFIX_LEAST..DIGITS).contains(&text.len()) {
            let mut found: Vec<String> = Vec::new();
            for operation in client.operations(sandbox, OPERATIONS_SEARCHED)? {
                for state in [Some(operation.after), operation.before].into_iter().flatten() {
                    if state.starts_with(text) && !found.contains(&state) {
                        found.push(state);
                    }
                }
            }
            match found.as_slice() {
                [only] => return Ok(Self::State(only.clone())),
                [] => {}
                _ => return Err(Failure::new(format!("`{text}` is the start of {} states: give more digits", found.len()))),
            }
        }
        if client.checkpoints(sandbox)?.iter().any(|checkpoint| checkpoint.name == text) {
            return Ok(Self::Checkpoint(text.to_owned()));
        }
        let shown = terminal::name(text);
        Err(Failure::new(format!("`{shown}` names no state, checkpoint or operation of `{}`", terminal::name(sandbox)))
            .hinted(format!("`sandglass log {}` lists operations and states", terminal::name(sandbox)))
            .exiting(exit::NOT_FOUND))
    }

    /// Returns the word that the service's `diff` understands.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::State(text) | Self::Checkpoint(text) => text.clone(),
            Self::Seq(seq) => seq.to_string(),
        }
    }

    /// Returns the state's id.
    pub(crate) fn id(&self, client: &Client, sandbox: &str) -> Result<String, Failure> {
        match self {
            Self::State(id) => Ok(id.clone()),
            // The service knows what the words mean: the difference from a state to itself names it.
            Self::Seq(_) | Self::Checkpoint(_) => {
                let word = self.word();
                Ok(client.diff(sandbox, Some(&word), Some(&word), Some(1))?.to)
            }
        }
    }
}

/// Returns the first digits of an id.
pub(crate) fn short(id: &str) -> String {
    terminal::name(&id.chars().take(SHORT).collect::<String>())
}
