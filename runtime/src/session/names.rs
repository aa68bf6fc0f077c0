//! What differs between two states of a session, for people: which names appeared, changed or vanished.
//!
//! Each state is looked at in a copy of the session that is thrown away, with limits of its own. What is listed there is compared
//! here; `guests/python/names.py` does the looking.

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sandglass_snapshots::{Session, StateId};
use serde::Deserialize;

use super::look::unknown;
use crate::error::{Error, ErrorKind};
use crate::guest::{End, Invocation, Program, Request, Resumed, RunLimits};
use crate::record::{NameChange, NameChangeKind, NameSide, NamesDiff};
use crate::sandbox::Sandbox;
use crate::tool::WORKING_DIRECTORY;
use crate::wasi::{Output, Stream};

/// What a look may use: seconds of CPU time and on the clock, memory beside that of calls, and what code of the session prints.
const CPU_SECONDS: u64 = 2;
const WALL: Duration = Duration::from_secs(20);
const MEMORY_BYTES: u64 = 64 << 20;
const OUTPUT_BYTES: u64 = 64 << 10;

/// What a look told.
#[derive(Debug, Default, Deserialize)]
struct Listing {
    /// How many names there are; those that are listed are the first.
    total: u64,
    names: Vec<Name>,
}

/// A name: itself, its value's type, what it is shown as, its length, a digest of its content, and whether that is of all of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Name(String, String, String, Option<u64>, String, bool);

/// Compares a session in two states.
///
/// # Errors
/// Neither has it, it is of a tool whose sessions can't be compared, its memory was dropped, it can't be looked at, or the store fails.
pub(crate) fn diff(sandbox: &Sandbox, name: &str, from: StateId, to: StateId) -> Result<NamesDiff, Error> {
    let before = look(sandbox, name, from)?;
    let after = if from == to { None } else { Some(look(sandbox, name, to)?) };
    let (before, after) = match (before, after) {
        (None, None | Some(None)) => return Err(unknown(sandbox, name)),
        (before, None) => {
            let before = before.unwrap_or_default();
            let after = Listing { total: before.total, names: before.names.clone() };
            (before, after)
        }
        (before, Some(after)) => (before.unwrap_or_default(), after.unwrap_or_default()),
    };
    Ok(compared(from, to, before, after))
}

/// Lists a session's names in a state, where it is there.
fn look(sandbox: &Sandbox, name: &str, state: StateId) -> Result<Option<Listing>, Error> {
    let world = sandbox.world();
    let found = world.store.begin(state, sandbox.quota())?.session(name)?;
    let Some(Session { guest, image, .. }) = found else { return Ok(None) };
    let pins = world.store.guests(state)?;
    if !pins.iter().any(|(tool, hash)| tool == "python" && *hash == guest) {
        let message = format!("the session `{name}` is not one of Python: its names can't be compared");
        return Err(Error::invalid("no_session_diff", message).hinted("`diff` without a session compares the files"));
    }
    if image.is_none() {
        let message = format!("the memory of the session `{name}` was dropped in the state {state}");
        return Err(Error::conflict("session_without_memory", message));
    }
    // What shows a value may be code of the session, and may not end: then without.
    match run(sandbox, name, state, &pins, guest, false)? {
        Ok(listing) => Ok(Some(listing)),
        Err(first) => match run(sandbox, name, state, &pins, guest, true)? {
            Ok(listing) => Ok(Some(listing)),
            Err(_) => {
                let message = format!("the names of the session `{name}` can't be listed: {first}");
                Err(Error::new(ErrorKind::Invalid, "session_not_readable", message))
            }
        },
    }
}

/// Runs one look; gives the reason when it does not end as it should.
fn run(
    sandbox: &Sandbox,
    name: &str,
    state: StateId,
    pins: &[(String, [u8; 32])],
    guest: [u8; 32],
    is_plain: bool,
) -> Result<Result<Listing, String>, Error> {
    let world = sandbox.world();
    let guest = world.guests.pinned("python", &guest)?;
    let transaction = world.store.begin(state, sandbox.quota())?;
    let (going, begin, descriptors) = super::begin(world, sandbox.id(), &transaction, name, &guest, true)?;
    let invocation = Invocation {
        program: Program::Names { is_plain },
        env: Vec::new(),
        cwd: WORKING_DIRECTORY.to_owned(),
        stdin: Bytes::new(),
    };
    let limits = sandbox.limits();
    let limits = RunLimits {
        fuel: CPU_SECONDS * crate::call::FUEL_PER_CPU_SECOND,
        memory_bytes: limits.memory.bytes().saturating_add(MEMORY_BYTES),
        output_bytes: OUTPUT_BYTES,
        open_files: limits.open_files,
    };
    let left = Arc::clone(&going.left);
    let (guests, pins) = (world.guests.clone(), pins.to_vec());
    let (clock, entropy) = (Arc::clone(&world.clock), Arc::clone(&world.entropy));
    let session = Some(Resumed { begin, descriptors, left: Arc::clone(&left), life: String::new() });
    let running = async move {
        crate::guest::run(Request {
            guests: &guests,
            guest: &guest,
            pins: &pins,
            invocation: &invocation,
            session,
            transaction,
            mounts: Vec::new(),
            limits: &limits,
            output: Arc::new(Nowhere),
            clock,
            entropy,
        })
        .await
    };
    let _runtime = world.threads.handle().enter();
    let ended = match world.processors.run(running, WALL, std::future::pending()) {
        Ok(ended) => ended?.end,
        Err(_) => return Ok(Err(format!("it takes more than {} s", WALL.as_secs()))),
    };
    let told = left.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(|rested| rested.told.result);
    Ok(match (ended, told) {
        (End::Exited(0), Some(told)) => serde_json::from_str(&told).map_err(|error| error.to_string()),
        (End::Exited(code), _) => Err(format!("its interpreter exits with {code}")),
        (End::Trapped(reason), _) => Err(reason),
        (End::LimitExceeded(limit), _) => Err(limit.to_string()),
    })
}

/// Takes what is printed while somebody looks.
struct Nowhere;

impl Output for Nowhere {
    fn write(&self, _stream: Stream, _bytes: &[u8]) {}
}

/// Compares two lists that are sorted by name. Where one ends before its names do, nothing is known of what comes after its last.
fn compared(from: StateId, to: StateId, before: Listing, after: Listing) -> NamesDiff {
    let mut diff = NamesDiff::new(from, to);
    let known_to = |listing: &Listing| {
        let last = listing.names.last().map(|name| name.0.clone()).unwrap_or_default();
        (listing.total > listing.names.len() as u64).then_some(last)
    };
    let ends = [known_to(&before), known_to(&after)];
    diff.is_complete = ends.iter().all(Option::is_none);
    let is_known = |name: &Name| ends.iter().flatten().all(|end| name.0 <= *end);
    let (mut before, mut after) =
        (before.names.into_iter().filter(&is_known).peekable(), after.names.into_iter().filter(&is_known).peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.0.cmp(&right.0),
        };
        let left = if order.is_le() { before.next() } else { None };
        let right = if order.is_ge() { after.next() } else { None };
        diff.add(left, right);
    }
    diff
}

impl NamesDiff {
    fn new(from: StateId, to: StateId) -> Self {
        Self {
            from,
            to,
            appeared: 0,
            changed: 0,
            vanished: 0,
            unchanged: 0,
            sampled: 0,
            changes: Vec::new(),
            is_complete: true,
        }
    }

    fn add(&mut self, before: Option<Name>, after: Option<Name>) {
        let kind = match (&before, &after) {
            (Some(before), Some(after)) if (&before.1, &before.4) == (&after.1, &after.4) => {
                self.unchanged += 1;
                self.sampled += u64::from(!(before.5 && after.5));
                return;
            }
            (Some(_), Some(_)) => NameChangeKind::Changed,
            (Some(_), None) => NameChangeKind::Vanished,
            (None, _) => NameChangeKind::Appeared,
        };
        match kind {
            NameChangeKind::Appeared => self.appeared += 1,
            NameChangeKind::Changed => self.changed += 1,
            NameChangeKind::Vanished => self.vanished += 1,
        }
        let name = before.as_ref().or(after.as_ref()).map(|name| name.0.clone()).unwrap_or_default();
        self.changes.push(NameChange {
            name,
            kind,
            before: before.map(NameSide::from),
            after: after.map(NameSide::from),
        });
    }
}

impl From<Name> for NameSide {
    fn from(Name(_, kind, text, length, _, is_whole): Name) -> Self {
        Self { kind, text, length, is_whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[(&str, &str)], total: u64) -> Listing {
        let name = |(name, digest): &(&str, &str)| {
            Name(
                (*name).to_owned(),
                "int".to_owned(),
                (*digest).to_owned(),
                None,
                (*digest).to_owned(),
                *digest != "part",
            )
        };
        Listing { total, names: names.iter().map(name).collect() }
    }

    fn told(diff: &NamesDiff) -> Vec<(&str, NameChangeKind)> {
        diff.changes.iter().map(|change| (change.name.as_str(), change.kind)).collect()
    }

    #[test]
    fn names_appear_change_and_vanish() {
        let (from, to) = (StateId([1; 32]), StateId([2; 32]));
        let before = listing(&[("a", "1"), ("b", "2"), ("c", "3"), ("p", "part")], 4);
        let diff = compared(from, to, before, listing(&[("a", "1"), ("c", "4"), ("d", "5"), ("p", "part")], 4));
        use NameChangeKind::{Appeared, Changed, Vanished};
        assert_eq!(told(&diff), [("b", Vanished), ("c", Changed), ("d", Appeared)]);
        assert_eq!((diff.unchanged, diff.sampled, diff.is_complete), (2, 1, true));
    }

    #[test]
    fn nothing_is_said_of_names_that_one_list_does_not_reach() {
        let (from, to) = (StateId([1; 32]), StateId([2; 32]));
        let diff = compared(from, to, listing(&[("a", "1"), ("b", "2")], 9), listing(&[("a", "1"), ("c", "3")], 2));
        assert_eq!(told(&diff), [("b", NameChangeKind::Vanished)]);
        assert!(!diff.is_complete);
    }
}
