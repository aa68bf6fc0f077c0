//! `sandglass show`: one sandbox.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::console::{Console, Look};
use super::failure::{Failure, exit};
use super::{size, terminal};
use crate::http::types::SandboxStatus;

/// Show a sandbox: its head, what it holds, its guests, its policy.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its name or id.
    sandbox: String,
}

impl Show {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let sandbox = client.sandbox(&self.sandbox)?;
        let policy = client.policy(&self.sandbox)?;
        let checkpoints = client.checkpoints(&self.sandbox)?;
        if console.json {
            console.object(&json!({ "sandbox": sandbox, "policy": policy, "checkpoints": checkpoints }))?;
            return Ok(exit::OK);
        }
        let now = Timestamp::now();
        let names: Vec<_> = checkpoints.iter().map(|checkpoint| terminal::name(&checkpoint.name)).collect();
        let guests: Vec<_> =
            sandbox.guests.iter().map(|(tool, guest)| format!("{} by {}", terminal::name(tool), terminal::name(guest))).collect();
        let limits = policy["limits"].as_object().map(|limits| {
            let limits = limits.iter().map(|(name, value)| {
                format!("{} {}", terminal::name(name), terminal::name(value.as_str().unwrap_or(&value.to_string())))
            });
            limits.collect::<Vec<_>>().join(", ")
        });
        let files = sandbox.files;
        let holds = format!("{}, {}", size::counted(files.inodes, "entry", "entries"), size::bytes(files.bytes));
        let rows = [
            ("id", Some(terminal::name(&sandbox.id))),
            ("status", Some(if sandbox.status == SandboxStatus::Idle { "idle" } else { "running" }.to_owned())),
            ("state", Some(terminal::name(&sandbox.state))),
            ("seq", Some(format!("{} (generation {})", sandbox.seq, sandbox.generation))),
            ("holds", Some(holds)),
            ("created", Some(format!("{} ({})", terminal::name(&sandbox.created), size::age(&sandbox.created, now)))),
            ("changed", Some(format!("{} ({})", terminal::name(&sandbox.updated), size::age(&sandbox.updated, now)))),
            ("forked from", sandbox.parent.as_deref().map(terminal::name)),
            ("tools", Some(guests.join(", "))),
            ("checkpoints", Some(names.join(", ")).filter(|names| !names.is_empty())),
            ("limits", limits),
        ];
        console.print(&console.paint(Look::Strong, &terminal::name(&sandbox.name)))?;
        for (label, value) in rows {
            if let Some(value) = value {
                console.print(&format!("  {} {value}", console.paint(Look::Faint, &format!("{label:<12}"))))?;
            }
        }
        Ok(exit::OK)
    }
}
