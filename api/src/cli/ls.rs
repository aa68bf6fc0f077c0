//! `sandglass ls`: the sandboxes there are.

use clap::Args;
use jiff::Timestamp;

use super::console::{Console, Look, Text};
use super::failure::{Failure, exit};
use super::state::short;
use super::{size, terminal};
use crate::http::types::{Page, SandboxStatus};

/// List the sandboxes.
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {}

impl Ls {
    #[expect(clippy::unused_self, reason = "every command is run the same way")]
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let sandboxes = console.client()?.sandboxes()?;
        if console.json {
            console.object(&Page { items: sandboxes, next_cursor: None })?;
            return Ok(exit::OK);
        }
        if sandboxes.is_empty() {
            console.note("there are no sandboxes; make one with `sandglass create`");
            return Ok(exit::OK);
        }
        let now = Timestamp::now();
        let rows = sandboxes.iter().map(|sandbox| {
            vec![
                Text::from(terminal::name(&sandbox.name)).strong(),
                match sandbox.status {
                    SandboxStatus::Idle => Text::from("idle"),
                    SandboxStatus::Running => Text::from("running").with(Look::Changed),
                },
                size::count(sandbox.files.inodes).into(),
                size::bytes(sandbox.files.bytes).into(),
                size::count(sandbox.seq).into(),
                size::age(&sandbox.updated, now).into(),
                short(&sandbox.state).into(),
            ]
        });
        let head = ["NAME", "STATUS", "ENTRIES", "SIZE", "SEQ", "CHANGED", "STATE"];
        console.table(&head, &[2, 3, 4], rows.collect())?;
        Ok(exit::OK)
    }
}
