//! The history of a path: the operations that touched it, newest first, followed through renames.

use sandglass_snapshots::{ChangeKind, EntryBody, Touch};

use crate::error::Error;
use crate::host::kind_word;
use crate::record::{PathEvent, PathHistory};
use crate::sandbox::{Sandbox, operation_info};

const PAGE: usize = 256;
/// So many entries are looked at for one page of a history, however few of them touched the path.
const SEARCHED_MAX: usize = 20_000;

/// Where a history goes on: the log before this entry, and what the path was called then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryCursor {
    /// Entries before this one come next.
    pub before: u64,
    /// The path at that time, in bytes.
    pub path: Vec<u8>,
}

pub(crate) fn history(
    sandbox: &Sandbox,
    path: &str,
    cursor: Option<HistoryCursor>,
    limit: usize,
) -> Result<PathHistory, Error> {
    let first: Vec<Vec<u8>> = crate::files::parts(path)?.into_iter().map(<[u8]>::to_vec).collect();
    let (mut before, mut names) = match cursor {
        Some(cursor) => (cursor.before, split(&cursor.path)),
        None => (u64::MAX, first),
    };
    let mut events = Vec::new();
    let mut searched = 0;
    loop {
        let entries = sandbox.world().store.entries_before(sandbox.id(), before, PAGE)?;
        if entries.is_empty() {
            return Ok(PathHistory { events, next: None });
        }
        for entry in &entries {
            if events.len() >= limit || searched >= SEARCHED_MAX {
                let path = names.iter().flat_map(|name| [b"/", &name[..]].concat()).collect();
                return Ok(PathHistory { events, next: Some(HistoryCursor { before, path }) });
            }
            searched += 1;
            before = entry.seq;
            let EntryBody::Operation(operation) = &entry.body else { continue };
            let parts: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            let touch = sandbox.world().store.touched(operation.before, operation.after, &parts)?;
            let (Some(Touch { change, before: was }), Some(info)) = (touch, operation_info(entry)) else { continue };
            events.push(PathEvent {
                seq: entry.seq,
                kind: kind_word(operation.kind),
                change: change.kind.clone(),
                path: String::from_utf8_lossy(&change.path).into_owned(),
                from: match &change.kind {
                    ChangeKind::Renamed { from } => Some(String::from_utf8_lossy(from).into_owned()),
                    _ => None,
                },
                before: change.before,
                after: change.after,
                before_state: operation.before,
                after_state: operation.after,
                target: operation.target,
                call: info.call,
                time: entry.time,
                actor: operation.actor.clone(),
            });
            if let Some(was) = was {
                names = split(&was);
            }
        }
    }
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}
