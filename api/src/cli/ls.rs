//! `sandglass ls`: the sandboxes there are.

use clap::Args;
use jiff::Timestamp;

use super::console::{Console, Look};
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
                console.paint(Look::Strong, &terminal::name(&sandbox.name)),
                match sandbox.status {
                    SandboxStatus::Idle => "idle".to_owned(),
                    SandboxStatus::Running => console.paint(Look::Changed, "running"),
                },
                size::count(sandbox.files.inodes),
                size::bytes(sandbox.files.bytes),
                size::count(sandbox.seq),
                size::age(&sandbox.updated, now),
                short(&sandbox.state),
            ]
        });
        let head = ["NAME", "STATUS", "ENTRIES", "SIZE", "SEQ", "CHANGED", "STATE"];
        console.table(&head, &[2, 3, 4], rows.collect())?;
        Ok(exit::OK)
    }
}
