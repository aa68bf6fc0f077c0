//! `sandglass mount`: old states and sandboxes as directories, for one's own tools.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::failure::{Failure, exit};
use super::state::StateName;
use super::terminal;
use crate::http::types::CreateMount;

const EXAMPLES: &str = "\
Examples:
  mkdir look && sandglass mount shop look          the sandbox's head, to read and write while no call runs
  sandglass mount shop look --state @before        an old state, read-only
  sandglass unmount look

What is written becomes one operation when it has come to rest; `undo` takes it back. The directory is one of the machine
on which the service runs.";

/// Mount a sandbox's head or an old state on an empty directory, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mount {
    /// The sandbox, or a state's id.
    target: String,
    /// The empty directory.
    directory: PathBuf,
    /// A state of the sandbox: @CHECKPOINT, the number of an operation, or an id or its first digits.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Let other users of the machine look, too.
    #[arg(long)]
    allow_others: bool,
    /// Return at once; `sandglass unmount` or the end of the service ends it.
    #[arg(long)]
    detach: bool,
}

/// End a mount.
#[derive(Debug, Args)]
pub(crate) struct Unmount {
    /// Where it is mounted.
    directory: PathBuf,
}

impl Mount {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let is_state = self.target.len() == 64 && self.target.bytes().all(|digit| digit.is_ascii_hexdigit());
        let (sandbox, state) = match &self.state {
            Some(text) => {
                let state = StateName::find(&client, &self.target, text)?.id(&client, &self.target)?;
                (None, Some(state))
            }
            None if is_state => (None, Some(self.target.clone())),
            None => (Some(self.target.clone()), None),
        };
        let directory = absolute(&self.directory)?;
        let request = CreateMount { sandbox, state, directory, allow_others: self.allow_others };
        let mount = client.mount(&request)?;
        if console.json {
            console.object(&mount)?;
        } else {
            let (name, access) =
                (terminal::name(&self.target), if mount.writable { "read-write" } else { "read-only" });
            console.print(&format!("{name} is mounted on {} ({access})", terminal::name(&mount.directory)))?;
        }
        if self.detach {
            return Ok(exit::OK);
        }
        console.note("Ctrl-C ends the mount");
        wait_for_signal()?;
        client.unmount(mount.id)?;
        Ok(exit::OK)
    }
}

impl Unmount {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let directory = absolute(&self.directory)?;
        let found = client.mounts()?.into_iter().find(|mount| mount.directory == directory);
        let Some(mount) = found else {
            return Err(Failure::new(format!("nothing of this service is mounted on {}", terminal::name(&directory)))
                .exiting(exit::NOT_FOUND));
        };
        client.unmount(mount.id)?;
        if console.json {
            console.object(&json!({ "unmounted": directory }))?;
        } else {
            console.print(&format!("{} is unmounted", terminal::name(&directory)))?;
        }
        Ok(exit::OK)
    }
}

/// Returns a directory's absolute path, without looking into it: a mount that is stale can't be looked into.
fn absolute(directory: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(directory).map_err(|error| Failure::file(directory, &error))?;
    let found = path.canonicalize().unwrap_or(path);
    found.into_os_string().into_string().map_err(|_| Failure::new("the directory's name is no text"))
}

/// Returns when somebody asks this program to end.
fn wait_for_signal() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("signals can't be waited for: {error}")))?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        Ok(())
    })
}
