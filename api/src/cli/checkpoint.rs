//! `sandglass checkpoint`: names for states.

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde_json::json;

use super::console::{Console, Look, Text};
use super::failure::{Failure, exit};
use super::state::short;
use super::{size, terminal};
use crate::http::types::Page;

const EXAMPLES: &str = "\
Examples:
  sandglass checkpoint shop before-cleanup         name what it holds now
  sandglass checkpoint shop --list
  sandglass restore shop @before-cleanup";

/// Name what a sandbox holds now, or list or delete such names.
///
/// Every operation is a checkpoint by itself; a name makes one easy to find.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").required(true).args(["name", "list", "delete"]))]
pub(crate) struct Checkpoint {
    /// The sandbox.
    sandbox: String,
    /// The name to give.
    name: Option<String>,
    /// List the names.
    #[arg(long)]
    list: bool,
    /// Take this name away; `sandglass trash restore` gives it back.
    #[arg(long, value_name = "NAME")]
    delete: Option<String>,
}

impl Checkpoint {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        if let Some(name) = self.delete {
            client.delete_checkpoint(&self.sandbox, &name)?;
            if console.json {
                console.object(&json!({ "deleted": name }))?;
            } else {
                console.print(&format!("{} is no checkpoint any more", terminal::name(&name)))?;
            }
        } else if let Some(name) = self.name {
            let made = client.create_checkpoint(&self.sandbox, &name)?;
            if console.json {
                console.object(&made)?;
            } else {
                let name = console.paint(Look::Strong, &format!("@{}", terminal::name(&made.name)));
                console.print(&format!("{name} names state {}", short(&made.state)))?;
            }
        } else {
            let checkpoints = client.checkpoints(&self.sandbox)?;
            if console.json {
                console.object(&Page { items: checkpoints, next_cursor: None })?;
                return Ok(exit::OK);
            }
            if checkpoints.is_empty() {
                console.note("there are no named checkpoints");
                return Ok(exit::OK);
            }
            let now = Timestamp::now();
            let rows = checkpoints.iter().map(|checkpoint| {
                let name = format!("@{}", terminal::name(&checkpoint.name));
                let (seq, age) = (size::count(checkpoint.seq), size::age(&checkpoint.time, now));
                vec![Text::from(name).strong(), seq.into(), age.into(), short(&checkpoint.state).into()]
            });
            console.table(&["NAME", "SEQ", "SET", "STATE"], &[1], rows.collect())?;
        }
        Ok(exit::OK)
    }
}
