//! `sandglass sessions`: the interpreters of a sandbox that go on from call to call.

use clap::{Args, Subcommand};
use serde_json::json;

use super::console::{Console, Text};
use super::failure::{Failure, exit};
use super::{size, terminal};
use crate::http::types::{Page, Session};

const EXAMPLES: &str = "\
Examples:
  sandglass sessions shop                          those that it has
  sandglass sessions show shop notes               how large one is
  sandglass sessions rm shop notes                 end one; `sandglass undo shop` brings it back";

/// List the sessions of a sandbox, look at one, or end some. `call --session NAME` makes and uses them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Sessions {
    /// The sandbox.
    #[arg(required = true)]
    sandbox: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the sessions of a sandbox.
    #[command(visible_alias = "list")]
    Ls {
        /// The sandbox.
        sandbox: String,
    },
    /// Show a session: its tool and how large it is.
    Show {
        /// The sandbox.
        sandbox: String,
        /// The session's name.
        name: String,
    },
    /// End sessions. Files stay, and `undo` brings a session back as it was.
    Rm {
        /// The sandbox.
        sandbox: String,
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

impl Sessions {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        match self.action {
            None => list(console, &self.sandbox.unwrap_or_default()),
            Some(Action::Ls { sandbox }) => list(console, &sandbox),
            Some(Action::Show { sandbox, name }) => show(console, &sandbox, &name),
            Some(Action::Rm { sandbox, names }) => remove(console, &sandbox, names),
        }
    }
}

fn list(console: &Console, sandbox: &str) -> Result<u8, Failure> {
    let sessions = console.client()?.sessions(sandbox)?;
    if console.json {
        console.object(&Page { items: sessions, next_cursor: None })?;
        return Ok(exit::OK);
    }
    if sessions.is_empty() {
        console.note("there are no sessions; `sandglass call --session NAME` makes one");
        return Ok(exit::OK);
    }
    let rows = sessions.iter().map(|session| {
        vec![
            Text::from(terminal::name(&session.name)).strong(),
            terminal::name(&session.tool).into(),
            terminal::name(&session.guest).into(),
            memory(session).into(),
        ]
    });
    console.table(&["NAME", "TOOL", "GUEST", "MEMORY"], &[3], rows.collect())?;
    Ok(exit::OK)
}

fn memory(session: &Session) -> String {
    if session.has_memory { size::bytes(session.memory_bytes) } else { "dropped".to_owned() }
}

fn show(console: &Console, sandbox: &str, name: &str) -> Result<u8, Failure> {
    let session = console.client()?.session(sandbox, name)?;
    if console.json {
        console.object(&session)?;
        return Ok(exit::OK);
    }
    let (tool, guest) = (terminal::name(&session.tool), terminal::name(&session.guest));
    console.print(&format!("{}  tool {tool}, guest {guest}", terminal::name(&session.name)))?;
    let stored = size::bytes(session.stored_bytes.unwrap_or(0));
    console.print(&format!("memory {}, {stored} of it in the store", memory(&session)))?;
    Ok(exit::OK)
}

fn remove(console: &Console, sandbox: &str, names: Vec<String>) -> Result<u8, Failure> {
    let client = console.client()?;
    let mut ended = Vec::new();
    for name in names {
        let moved = client.end_session(sandbox, &name)?;
        if !console.json {
            console.print(&format!("{} ended", terminal::name(&name)))?;
        }
        ended.push(json!({ "session": name, "seq": moved.operation.seq }));
    }
    if console.json {
        console.object(&json!({ "ended": ended }))?;
    } else {
        console.note(&format!("`sandglass undo {}` takes it back", terminal::name(sandbox)));
    }
    Ok(exit::OK)
}
