//! The way to a store that does not share a fate with the service: looking, verifying, exporting and repairing work on the
//! data directory with the service stopped or wedged, and on a copy of it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use sandglass_snapshots::{
    CollectOptions, Collected, EntryBody, Repaired, SandboxId, StateId, Store, StoreOptions, Survey, SurveyProgress,
    Timestamp, Verified, export_tar, repair as repair_store,
};

use crate::error::Error;
use crate::record::CreateDetail;

/// A store that was opened to look at it: nothing in it is changed, whoever else has it open.
pub struct Look {
    store: Store,
    survey: Survey,
    /// The index of this look; gone with it.
    _scratch: tempfile::TempDir,
}

/// What a verification found: in the files, and in the logs and states.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// What reading every byte found.
    pub survey: Survey,
    /// What walking every log and state found.
    pub verified: Verified,
}

impl Verification {
    /// Says whether nothing is wrong.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.survey.damaged.is_empty() && self.verified.is_whole()
    }
}

/// A sandbox as its log tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: SandboxId,
    /// Its name; none when the entry that says it is damaged.
    pub name: Option<String>,
    /// Its head.
    pub state: StateId,
    /// The number of its newest entry.
    pub seq: u64,
    /// When it was deleted, if it is in the trash.
    pub deleted: Option<Timestamp>,
}

impl Look {
    /// Reads every byte of the store in a directory (`store` in the data directory) and indexes what is whole. The index is
    /// made in the system's directory for temporary files.
    ///
    /// # Errors
    /// There is no store, or it can't be read.
    pub fn open(directory: &Path, progress: &mut dyn FnMut(SurveyProgress)) -> Result<Self, Error> {
        let scratch = tempfile::Builder::new().prefix("sandglass-look-").tempdir();
        let scratch =
            scratch.map_err(|error| Error::internal("there is no room for a temporary index").caused(error))?;
        let (store, survey) = Store::look(directory, scratch.path(), &StoreOptions::default(), progress)?;
        Ok(Self { store, survey, _scratch: scratch })
    }

    /// Walks every log and every state. `progress` is called with the number of states walked.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Verification, Error> {
        Ok(Verification { survey: self.survey.clone(), verified: self.store.verify(progress)? })
    }

    /// Weighs what the store holds.
    ///
    /// # Errors
    /// The store is damaged, or can't be read.
    pub fn weigh(&self) -> Result<Collected, Error> {
        let options = CollectOptions { only_weigh: true, ..CollectOptions::default() };
        Ok(self.store.collect(options, &mut |_| ControlFlow::Continue(()))?)
    }

    /// Returns all sandboxes, those in the trash too.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn sandboxes(&self) -> Result<Vec<Seen>, Error> {
        let live = self.store.sandboxes().into_iter().map(|(id, head)| (id, head, None));
        let trashed = self.store.trash().into_iter().map(|one| (one.sandbox, one.head, Some(one.deleted)));
        let seen = live.chain(trashed).map(|(id, head, deleted)| Seen {
            id,
            name: self.name(id),
            state: head.state,
            seq: head.seq,
            deleted,
        });
        Ok(seen.collect())
    }

    fn name(&self, id: SandboxId) -> Option<String> {
        let first = self.store.entries(id, 0, 1).ok()?.into_iter().next()?;
        let EntryBody::Operation(operation) = first.body else { return None };
        let detail: CreateDetail = serde_json::from_slice(&operation.detail).ok()?;
        Some(detail.name)
    }

    /// Finds a state: by its id, by the name or id of a sandbox (its head), or by `SANDBOX@CHECKPOINT`.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, text: &str) -> Result<StateId, Error> {
        let unknown = || {
            let shown: String = text.chars().take(80).collect();
            Error::not_found("unknown_state", format!("`{shown}` names no state or sandbox of this store"))
                .hinted("`sandglass store ls` lists the sandboxes")
        };
        if let Some(state) = text.parse().ok().filter(|state| self.store.contains_state(*state)) {
            return Ok(state);
        }
        let (sandbox, checkpoint) = text.split_once('@').map_or((text, None), |(left, right)| (left, Some(right)));
        let seen = self.sandboxes()?;
        let is_it = |seen: &&Seen| seen.name.as_deref() == Some(sandbox) || seen.id.to_string() == sandbox;
        // Of several with one name, the one that is not deleted.
        let found = seen.iter().filter(is_it).min_by_key(|seen| seen.deleted.is_some()).ok_or_else(unknown)?;
        let Some(checkpoint) = checkpoint else { return Ok(found.state) };
        let named = self.store.checkpoints(found.id)?;
        named.into_iter().find(|(name, ..)| name == checkpoint).map(|(_, state, ..)| state).ok_or_else(unknown)
    }

    /// Writes a state's files as a tar archive.
    ///
    /// # Errors
    /// The state is not whole, or `out` fails.
    pub fn export(&self, state: StateId, out: &mut dyn Write) -> Result<(), Error> {
        Ok(export_tar(&self.store, state, &[], out)?)
    }
}

/// Makes a damaged store open again, without what is lost, and heals what copies of it have.
///
/// # Errors
/// The service has the store open, a copy can't be read, or writing failed.
pub fn repair(directory: &Path, copies: &[Look]) -> Result<Repaired, Error> {
    let copies: Vec<&Store> = copies.iter().map(|look| &look.store).collect();
    let mut salt = [0; 16];
    crate::entropy::Entropy::fill(&crate::entropy::SystemEntropy, &mut salt);
    Ok(repair_store(directory, &StoreOptions { salt, ..StoreOptions::default() }, &copies)?)
}
