//! The sessions of a state: live interpreters whose memory is part of it.

use std::sync::Arc;

use bytes::Bytes;

use super::Transaction;
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::node::{NodeBatch, NodeKind};
use crate::state::{SessionImage, State};

/// A session at rest, as a state keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name in the sandbox.
    pub name: String,
    /// The guest module, by its hash.
    pub guest: [u8; 32],
    /// Its memory; none if that was dropped.
    pub image: Option<NodeId>,
    /// Values of the module's changeable globals, in their order.
    pub globals: Vec<u64>,
    /// What else belongs to it: its open files, in the words of whoever runs it.
    pub descriptors: Bytes,
}

impl Transaction {
    /// Returns the names of the sessions, with the guest and image of each.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, [u8; 32], Option<NodeId>)> {
        self.sessions.iter().map(|session| (session.name.as_str(), session.guest, session.image))
    }

    /// Returns a session.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn session(&self, name: &str) -> Result<Option<Session>, StoreError> {
        let Some(found) = self.sessions.iter().find(|session| session.name == name) else { return Ok(None) };
        let descriptors = match &found.descriptors {
            None => Bytes::new(),
            Some(id) => match self.session_nodes.get(id) {
                Some(bytes) => bytes.slice(1..),
                None => self.nodes.source().node(id)?.slice(1..),
            },
        };
        let SessionImage { name, guest, image, globals, .. } = found.clone();
        Ok(Some(Session { name, guest, image, globals, descriptors }))
    }

    /// Adds or replaces a session; `nodes` are those of its image that the store may not have.
    pub fn put_session(&mut self, session: Session, nodes: NodeBatch) {
        self.session_nodes.merge(nodes);
        let Session { name, guest, image, globals, descriptors } = session;
        let descriptors = (!descriptors.is_empty()).then(|| {
            let mut bytes = vec![NodeKind::Blob as u8];
            bytes.extend_from_slice(&descriptors);
            self.session_nodes.insert(bytes)
        });
        self.set_session(SessionImage { name, guest, image, globals, descriptors });
    }

    /// Takes a session as another state has it, in place of one of the same name; says whether it has one. The state has to be
    /// kept until this one is in a log.
    ///
    /// # Errors
    /// There is no such state, or the store could not be read.
    pub fn take_session(&mut self, from: StateId, name: &str) -> Result<bool, StoreError> {
        let state = State::load(self.nodes.source(), from)?;
        let Some(image) = state.sessions.into_iter().find(|session| session.name == name) else { return Ok(false) };
        self.set_session(image);
        Ok(true)
    }

    fn set_session(&mut self, image: SessionImage) {
        let sessions = Arc::make_mut(&mut self.sessions);
        match sessions.binary_search_by(|session| session.name.cmp(&image.name)) {
            Ok(place) if sessions[place] == image => return,
            Ok(place) => sessions[place] = image,
            Err(place) => sessions.insert(place, image),
        }
        self.sessions_changed = true;
    }

    /// Removes a session; says whether it was there.
    pub fn remove_session(&mut self, name: &str) -> bool {
        let Some(place) = self.sessions.iter().position(|session| session.name == name) else { return false };
        Arc::make_mut(&mut self.sessions).remove(place);
        self.sessions_changed = true;
        true
    }
}
