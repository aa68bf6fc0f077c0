//! `sandglass rm`: sandboxes deleted.

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::failure::{Failure, exit};
use super::terminal;

/// Delete sandboxes. They are in the trash for a while: `sandglass trash restore` takes them back.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Their names or ids.
    #[arg(required = true, value_name = "SANDBOX")]
    sandboxes: Vec<String>,
    /// Do not ask; nobody is asked without a terminal.
    #[arg(long, short)]
    yes: bool,
}

impl Rm {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let mut deleted = Vec::new();
        for name in self.sandboxes {
            let sandbox = client.sandbox(&name)?;
            let shown = terminal::name(&sandbox.name);
            let question = format!("delete {shown} with {} operations?", sandbox.seq);
            if !self.yes && !console.json && !console.agreed(&question)? {
                console.note(&format!("{shown} stays"));
                continue;
            }
            client.delete_sandbox(&sandbox.id)?;
            if !console.json {
                console.print(&format!("{shown} deleted"))?;
                console.note(&format!("`sandglass trash restore {shown}` takes it back"));
            }
            deleted.push(sandbox.name);
        }
        if console.json {
            console.object(&json!({ "deleted": deleted }))?;
        }
        Ok(exit::OK)
    }
}
