//! `sandglass trash`: what was deleted and can be taken back.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::console::{Console, Text};
use super::failure::{Failure, exit};
use super::state::short;
use super::{size, terminal};
use crate::http::types::{Page, Undelete};

const EXAMPLES: &str = "\
Examples:
  sandglass trash ls
  sandglass trash restore shop                     a deleted sandbox, with its whole log
  sandglass trash restore shop before-cleanup      a deleted checkpoint of a sandbox";

/// List what was deleted, or take it back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Trash {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deleted sandboxes and checkpoints.
    Ls,
    /// Take one back, as it was.
    Restore {
        /// The deleted sandbox, or the one whose checkpoint was deleted.
        sandbox: String,
        /// The deleted checkpoint.
        checkpoint: Option<String>,
    },
}

impl Trash {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        match self.command {
            Command::Ls => {
                let items = client.trash()?;
                if console.json {
                    console.object(&Page { items, next_cursor: None })?;
                    return Ok(exit::OK);
                }
                if items.is_empty() {
                    console.note("the trash is empty");
                    return Ok(exit::OK);
                }
                let now = Timestamp::now();
                let rows = items.iter().map(|item| {
                    let checkpoint = item.checkpoint.as_ref();
                    let checkpoint = checkpoint.map_or_else(String::new, |name| format!("@{}", terminal::name(name)));
                    vec![
                        Text::from(terminal::name(&item.name)).strong(),
                        checkpoint.into(),
                        size::age(&item.deleted, now).into(),
                        terminal::name(&item.kept_until).into(),
                        short(&item.state).into(),
                    ]
                });
                console.table(&["SANDBOX", "CHECKPOINT", "DELETED", "KEPT UNTIL", "STATE"], &[], rows.collect())?;
            }
            Command::Restore { sandbox, checkpoint } => {
                let undeleted = client.undelete(&Undelete { sandbox, checkpoint })?;
                if console.json {
                    console.object(&undeleted)?;
                    return Ok(exit::OK);
                }
                let name = terminal::name(&undeleted.name);
                let what = match &undeleted.checkpoint {
                    Some(checkpoint) => format!("@{} of {name}", terminal::name(checkpoint)),
                    None => name,
                };
                console.print(&format!("{what} is back (state {})", short(&undeleted.state)))?;
            }
        }
        Ok(exit::OK)
    }
}
