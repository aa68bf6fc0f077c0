//! Sessions: interpreters that go on from call to call, whose memory is part of the sandbox's state.
//!
//! A session belongs to a state as its files do: whoever goes back, forks or restarts the service finds it as that state has it.
//! An instance is entered again only by a call that follows on the very memory it has: the one it left, or another one that it was
//! given again. Every other call begins with a snapshot. What is kept at hand of all that is the pool's (`session/pool.rs`).

pub(crate) mod look;
pub(crate) mod names;
mod pool;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};

use sandglass_snapshots::{NodeBatch, SandboxId, Session, Transaction};

pub(crate) use self::pool::Pool;
use crate::error::{Error, ErrorKind};
use crate::guest::{Begin, Guest, Left, Rested, Resting, WrittenMemory};
use crate::host::World;
use crate::memory::Snapshot;

/// The longest name of a session, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Sessions that one sandbox may have.
const SESSIONS_MAX: usize = 32;
/// A call of a session that runs.
pub(crate) struct Going {
    name: String,
    guest: [u8; 32],
    /// What it began with.
    base: Arc<Snapshot>,
    pub(crate) left: Left,
}

/// What a call made of its session, to be kept at hand once it is durable.
pub(crate) struct Gone {
    name: String,
    resting: Resting,
    snapshot: Arc<Snapshot>,
    /// Pages that the instance has for itself.
    own_pages: usize,
}

/// Checks the name of a session.
///
/// # Errors
/// It is empty, too long, or has characters that names here don't have.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
        return Err(Error::invalid(
            "invalid_session",
            "a session's name has 1 to 64 letters, digits, `-`, `_` and `.`",
        ));
    }
    Ok(())
}

/// Keeps what a call left at hand, now that it is durable.
pub(crate) fn keep(pool: &Arc<Pool>, sandbox: SandboxId, gone: Gone) {
    let Gone { name, resting, snapshot, own_pages } = gone;
    pool.keep((sandbox, name), snapshot, resting, own_pages);
}

/// Returns what a call of a session begins with, and its open files.
///
/// # Errors
/// The guest can't have sessions, the session is another guest's, or the store or host fails.
pub(crate) fn begin(
    world: &World,
    sandbox: SandboxId,
    transaction: &Transaction,
    name: &str,
    guest: &Guest,
    is_dry: bool,
) -> Result<(Going, Begin, Vec<u8>), Error> {
    let found = transaction.session(name)?;
    if found.is_none() && transaction.sessions().count() >= SESSIONS_MAX {
        let message = format!("a sandbox has at most {SESSIONS_MAX} sessions");
        return Err(Error::new(ErrorKind::Limit, "too_many_sessions", message));
    }
    let going = |base| Going { name: name.to_owned(), guest: guest.hash(), base, left: Left::default() };
    let Some(Session { guest: hash, image: Some(image), globals, descriptors, .. }) = found else {
        let base = guest.beginning()?;
        return Ok((going(Arc::clone(&base)), Begin::Snapshot(base), Vec::new()));
    };
    if hash != guest.hash() {
        let message = format!("the session `{name}` is one of another tool");
        return Err(Error::conflict("session_of_another_tool", message).hinted("choose another name"));
    }
    let pool = &world.sessions;
    let snapshot = match pool.snapshot(image) {
        Some(snapshot) => snapshot,
        None => {
            let beginning = guest.beginning()?;
            let snapshot = Arc::new(Snapshot::load(&world.store, image, &beginning, globals)?);
            pool.put(&snapshot);
            snapshot
        }
    };
    let key = (sandbox, name.to_owned());
    let live = if is_dry { None } else { pool.take(&key, &snapshot) };
    let begin = live.map_or_else(
        || {
            pool.begins(&key, &snapshot);
            Begin::Snapshot(Arc::clone(&snapshot))
        },
        Begin::Live,
    );
    Ok((going(snapshot), begin, descriptors.to_vec()))
}

impl Going {
    /// Makes what the program left part of the call's transaction; nothing when it left nothing.
    ///
    /// # Errors
    /// The host does not say what was written.
    pub(crate) fn rest(self, transaction: &mut Transaction) -> Result<Option<(Gone, crate::wasi::Told)>, Error> {
        let rested = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Rested { mut resting, descriptors, globals, told }) = rested else { return Ok(None) };
        let mut nodes = NodeBatch::new();
        let failed = |error| Error::internal(format!("reading a session's memory: {error}"));
        let WrittenMemory { memory, pages, own_pages } = resting.written().map_err(failed)?;
        let snapshot = self.base.after(memory, pages, globals.clone(), &mut nodes);
        let Self { name, guest, .. } = self;
        let session =
            Session { name: name.clone(), guest, image: snapshot.id(), globals, descriptors: descriptors.into() };
        transaction.put_session(session, nodes);
        let gone = Gone { name, resting, snapshot: Arc::new(snapshot), own_pages };
        Ok(Some((gone, told)))
    }
}
