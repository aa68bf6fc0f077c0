//! The trash: deleted sandboxes and names of states that were taken away, until upkeep empties it.

use std::time::Duration;

use sandglass_snapshots::{EntryBody, NodeBatch, Operation, OperationKind, SandboxId, StateId, Timestamp, Trashed};

use crate::error::Error;
use crate::host::Host;
use crate::record::CreateDetail;
use crate::record::Moved;
use crate::sandbox::{Sandbox, operation_info};

/// Something deleted that can be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashItem {
    /// The sandbox: the deleted one, or whose checkpoint it is.
    pub sandbox: SandboxId,
    /// The sandbox's name.
    pub name: String,
    /// The checkpoint's name; none for a sandbox.
    pub checkpoint: Option<String>,
    /// The state that is kept for it.
    pub state: StateId,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// From when on upkeep may take it.
    pub kept_until: Timestamp,
}

impl Host {
    /// Returns what is in the trash, the newest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn trash(&self) -> Result<Vec<TrashItem>, Error> {
        let delay = self.world.settings.upkeep.trash;
        let mut items = Vec::new();
        for trashed in self.world.store.trash() {
            items.push(TrashItem {
                sandbox: trashed.sandbox,
                name: self.detail_of(trashed.sandbox)?.0.name,
                checkpoint: None,
                state: trashed.head.state,
                deleted: trashed.deleted,
                kept_until: after(trashed.deleted, delay),
            });
        }
        for sandbox in self.all_sandboxes() {
            let live = sandbox.checkpoints()?;
            for dropped in self.world.store.trashed_checkpoints(sandbox.id())? {
                // A name that was given to the same state again is not missing.
                if live.iter().any(|named| named.name == dropped.name && named.state == dropped.state) {
                    continue;
                }
                items.push(TrashItem {
                    sandbox: sandbox.id(),
                    name: sandbox.name().to_owned(),
                    checkpoint: Some(dropped.name),
                    state: dropped.state,
                    deleted: dropped.dropped,
                    kept_until: after(dropped.dropped, delay),
                });
            }
        }
        items.sort_by(|left, right| right.deleted.cmp(&left.deleted).then(left.sandbox.cmp(&right.sandbox)));
        Ok(items)
    }

    /// Takes a deleted sandbox back, as it was when it was deleted.
    ///
    /// # Errors
    /// There is none of this name or id in the trash, its name is taken, or the entry can't be written.
    pub fn undelete(&self, name_or_id: &str, actor: &str) -> Result<(Sandbox, Moved), Error> {
        self.world.running()?;
        let mut found: Vec<(Trashed, CreateDetail, Timestamp, u64)> = Vec::new();
        for trashed in self.world.store.trash() {
            let (detail, created, revision) = self.detail_of(trashed.sandbox)?;
            if detail.name == name_or_id || trashed.sandbox.to_string() == name_or_id {
                found.push((trashed, detail, created, revision));
            }
        }
        // Of several with one name, the one deleted last.
        let newest = found.into_iter().max_by_key(|(trashed, ..)| trashed.deleted);
        let Some((trashed, detail, created, revision)) = newest else {
            let shown: String = name_or_id.chars().take(80).collect();
            return Err(Error::not_found("not_in_trash", format!("there is no deleted sandbox `{shown}`"))
                .hinted("list the trash to see what can be taken back"));
        };
        let name = self.reserve(&detail.name, trashed.sandbox)?;
        let head = trashed.head;
        let operation = Operation {
            kind: OperationKind::Undelete,
            before: Some(head.state),
            after: head.state,
            generation: head.generation + 1,
            actor: actor.to_owned(),
            target: None,
            policy_revision: revision,
            detail: b"{}".to_vec(),
            call: None,
        };
        let time = self.world.clock.now();
        let draft = sandglass_snapshots::Draft { time, body: EntryBody::Operation(operation) };
        let entries = self.world.store.append(trashed.sandbox, Some(head.entry), vec![draft], NodeBatch::new())?;
        let sandbox = self.register(name, trashed.sandbox, detail, created, revision);
        tracing::info!(sandbox.id = %sandbox.id(), actor, "sandbox taken out of the trash");
        let entry = entries.first().and_then(operation_info);
        let operation = entry.ok_or_else(|| Error::internal("the store appended nothing"))?;
        let moved = Moved {
            operation,
            before: head.state,
            after: head.state,
            changes: sandglass_snapshots::DiffSummary::default(),
            undone: Vec::new(),
        };
        Ok((sandbox, moved))
    }
}

impl Sandbox {
    /// Gives a name back to the state that it named before it was deleted.
    ///
    /// # Errors
    /// There is none of this name in the trash, the name is taken, the sandbox is busy, or the entry can't be written.
    pub fn undelete_checkpoint(&self, name: &str, actor: &str) -> Result<crate::record::Checkpoint, Error> {
        let turn = self.take_turn()?;
        if self.checkpoints()?.iter().any(|known| known.name == name) {
            return Err(Error::conflict("checkpoint_exists", format!("there is a checkpoint `{name}` already"))
                .hinted("delete it first"));
        }
        let dropped = self.world().store.trashed_checkpoints(self.id())?;
        let found = dropped.into_iter().find(|dropped| dropped.name == name).ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            Error::not_found("not_in_trash", format!("sandbox {} has no deleted checkpoint `{shown}`", self.name()))
                .hinted("list the trash to see what can be taken back")
        })?;
        let head = self.head()?;
        let body = EntryBody::Checkpoint { name: name.to_owned(), state: found.state };
        let entry = self.append_body(&turn, &head, vec![body], NodeBatch::new())?;
        tracing::info!(sandbox.id = %self.id(), checkpoint = name, actor, "checkpoint taken out of the trash");
        Ok(crate::record::Checkpoint { name: name.to_owned(), state: found.state, seq: entry.seq, time: entry.time })
    }
}

fn after(time: Timestamp, delay: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX)))
}
