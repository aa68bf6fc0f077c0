//! `sandglass history` and `sandglass blame`: which operations touched a path.

use clap::Args;
use jiff::Timestamp;

use super::console::{Console, Text};
use super::failure::{Failure, exit};
use super::files::absolute;
use super::state::short;
use super::{size, terminal};
use crate::http::types::{ChangeKind, Page, PathEvent};

/// Show the operations that touched a path, newest first, through renames.
///
/// The path need not be there any more: then the first line is its removal.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The sandbox.
    sandbox: String,
    /// The path; relative ones are below /workspace.
    path: String,
    /// How many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// Say who last changed or deleted a path.
#[derive(Debug, Args)]
pub(crate) struct Blame {
    /// The sandbox.
    sandbox: String,
    /// The path; relative ones are below /workspace.
    path: String,
}

impl History {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let events = console.client()?.history(&self.sandbox, &absolute(&self.path), self.limit)?;
        if console.json {
            console.object(&Page { items: events, next_cursor: None })?;
            return Ok(exit::OK);
        }
        let now = Timestamp::now();
        let rows = events.iter().map(|event| {
            vec![
                format!("#{}", event.seq).into(),
                Text::from(word(event.change)).strong(),
                sizes(event).into(),
                size::age(&event.time, now).into(),
                short(&event.after_state).into(),
                terminal::name(&by(event)).into(),
                terminal::name(&event.path).into(),
            ]
        });
        console.table(&["SEQ", "CHANGE", "SIZE", "WHEN", "STATE", "BY", "PATH"], &[0], rows.collect())?;
        Ok(exit::OK)
    }
}

impl Blame {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let path = absolute(&self.path);
        let newest = console.client()?.history(&self.sandbox, &path, 1)?.into_iter().next();
        let Some(event) = newest else {
            let (path, sandbox) = (terminal::name(&path), terminal::name(&self.sandbox));
            return Err(Failure::new(format!("`{path}` was never in `{sandbox}`")).exiting(exit::NOT_FOUND));
        };
        if console.json {
            console.object(&event)?;
            return Ok(exit::OK);
        }
        let age = size::age(&event.time, Timestamp::now());
        let what = match (event.change, &event.from) {
            (ChangeKind::Renamed, Some(from)) if *from == path => format!("renamed to {}", event.path),
            (ChangeKind::Renamed, Some(from)) => format!("renamed from {from}"),
            (change, _) => word(change).to_owned(),
        };
        let call = event.call.as_ref().map_or_else(String::new, |call| format!(", call {call}"));
        let text = format!("{path} was {what} {age} by {}{call} (operation #{})", by(&event), event.seq);
        console.print(&terminal::name(&text))?;
        Ok(exit::OK)
    }
}

const fn word(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Modified => "modified",
        ChangeKind::Renamed => "renamed",
        ChangeKind::Attributes => "given other attributes",
    }
}

/// Says who did it: the tool of a call, or what else the operation was, and for whom.
fn by(event: &PathEvent) -> String {
    let what = match (&event.tool, event.target) {
        (Some(tool), _) => tool.clone(),
        (None, Some(target)) => format!("{} of #{target}", event.kind),
        (None, None) => event.kind.clone(),
    };
    format!("{what} for {}", event.actor)
}

fn sizes(event: &PathEvent) -> String {
    match (&event.before, &event.after) {
        (Some(before), Some(after)) if before.size != after.size => {
            format!("{} -> {}", size::bytes(before.size), size::bytes(after.size))
        }
        (_, Some(side)) | (Some(side), None) => size::bytes(side.size),
        (None, None) => String::new(),
    }
}
