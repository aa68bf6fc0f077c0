//! What is asked of sessions from outside of calls: which there are, how large one is, and that one ends.

use sandglass_snapshots::{NodeId, OperationKind, StateId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::record::{Moved, SessionInfo, SessionSize};
use crate::sandbox::{Sandbox, to_detail};

/// The detail of an `end` operation, as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndDetail {
    pub(crate) session: String,
}

/// Returns the sessions that a state has, by name.
///
/// # Errors
/// The store can't be read.
pub(crate) fn list(sandbox: &Sandbox, state: StateId) -> Result<Vec<SessionInfo>, Error> {
    let world = sandbox.world();
    let pins = world.store.guests(state)?;
    let transaction = world.store.begin(state, sandbox.quota())?;
    let found = transaction.sessions().map(|(name, guest, image)| {
        let tool = pins.iter().find(|(_, hash)| *hash == guest).map(|(tool, _)| tool.clone());
        Ok(SessionInfo {
            name: name.to_owned(),
            guest: world.guests.name_of(&guest),
            tool: tool.unwrap_or_default(),
            has_memory: image.is_some(),
            memory_bytes: image.map_or(Ok(0), |image| world.store.memory_bytes(image))?,
            etag: etag(image),
        })
    });
    found.collect()
}

/// Returns one session of the head, and how much the store has of it.
///
/// # Errors
/// There is none of this name, or the store can't be read.
pub(crate) fn one(sandbox: &Sandbox, name: &str) -> Result<(SessionInfo, SessionSize), Error> {
    let world = sandbox.world();
    let state = sandbox.head()?.state;
    let found = list(sandbox, state)?.into_iter().find(|session| session.name == name);
    let info = found.ok_or_else(|| unknown(sandbox, name))?;
    let transaction = world.store.begin(state, sandbox.quota())?;
    let session = transaction.session(name)?.ok_or_else(|| unknown(sandbox, name))?;
    let stored = session.image.map(|image| world.store.image_size(image)).transpose()?;
    let stored_bytes = stored.map_or(0, |size| size.stored_bytes) + session.descriptors.len() as u64;
    Ok((info, SessionSize { stored_bytes }))
}

/// Ends a session: one more operation in the log. What is at hand for it is let go of.
///
/// # Errors
/// There is none of this name, it is not the one that the caller has seen, the sandbox is busy, or the entry can't be written.
pub(crate) fn end(sandbox: &Sandbox, name: &str, if_match: Option<&str>, actor: &str) -> Result<Moved, Error> {
    let turn = sandbox.take_turn()?;
    let head = sandbox.head()?;
    let world = sandbox.world();
    let mut transaction = world.store.begin(head.state, sandbox.quota())?;
    let image = transaction.sessions().find(|(known, ..)| *known == name).map(|(.., image)| image);
    let image = image.ok_or_else(|| unknown(sandbox, name))?;
    if if_match.is_some_and(|wanted| wanted != "*" && wanted != etag(image)) {
        let message = "a call has gone on with the session since";
        return Err(Error::new(ErrorKind::Precondition, "precondition_failed", message)
            .hinted("look at the session again and decide with its new etag"));
    }
    transaction.remove_session(name);
    let sealed = transaction.seal()?;
    let mut operation = sandbox.operation(OperationKind::End, &head, sealed.state, actor);
    operation.detail = to_detail(&EndDetail { session: name.to_owned() })?;
    let entry = sandbox.append(&turn, &head, operation, sealed.nodes)?;
    world.sessions.forget_one(sandbox.id(), name);
    tracing::info!(sandbox.id = %sandbox.id(), session = name, "session ended");
    sandbox.moved(&entry, head.state, Vec::new())
}

pub(crate) fn unknown(sandbox: &Sandbox, name: &str) -> Error {
    let shown: String = name.chars().take(super::NAME_BYTES_MAX).collect();
    Error::not_found("no_such_session", format!("sandbox {} has no session `{shown}`", sandbox.name()))
        .hinted("`sessions` lists those there are; a call that names one makes it")
}

/// A validator of what a session is.
fn etag(image: Option<NodeId>) -> String {
    image.map_or_else(|| "dropped".to_owned(), |image| image.to_string())
}
