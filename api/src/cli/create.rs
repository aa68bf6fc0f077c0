//! `sandglass create`: a new sandbox.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use sandglass_policy::Policy;

use super::console::{Console, Look};
use super::failure::{Failure, exit};
use super::progress::Waiting;
use super::state::short;
use super::{size, terminal};
use crate::http::types::{CreateFrom, CreateSandbox, Sandbox};

const EXAMPLES: &str = "\
Examples:
  sandglass create                                 an empty sandbox with a name made up
  sandglass create shop --from ~/shop              a copy of a directory, at /workspace
  sandglass create trial --from-sandbox shop       what another sandbox holds now
  sandglass create tight --policy policy.toml      with limits of its own";

/// Create a sandbox.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Create {
    /// Its name: lower-case letters, digits and hyphens; made up when absent.
    name: Option<String>,
    /// Copy this directory of the service's machine to /workspace.
    #[arg(long, value_name = "DIR", group = "source")]
    from: Option<PathBuf>,
    /// Start with what this sandbox holds.
    #[arg(long, value_name = "SANDBOX", group = "source")]
    from_sandbox: Option<String>,
    /// Start with this state (its full id).
    #[arg(long, value_name = "STATE", group = "source")]
    from_state: Option<String>,
    /// Its policy, as TOML; the service's default when absent.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Create {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let policy = self.policy.as_ref().map(|path| {
            let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
            text.parse::<Policy>()
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())).exiting(exit::FAILED))
        });
        let policy = policy.transpose()?;
        let from = match (self.from, self.from_sandbox, self.from_state) {
            (Some(directory), ..) => Some(CreateFrom::Directory(absolute(&directory)?)),
            (_, Some(sandbox), _) => Some(CreateFrom::Sandbox(sandbox)),
            (.., Some(state)) => Some(CreateFrom::State(state)),
            _ => None,
        };
        let waiting =
            matches!(from, Some(CreateFrom::Directory(_))).then(|| Waiting::new(console, "taking in the directory"));
        let sandbox = console.client()?.create_sandbox(&CreateSandbox { name: self.name, policy, from });
        drop(waiting);
        let sandbox = sandbox?;
        if console.json {
            console.object(&sandbox)?;
        } else {
            console.print(&created(console, &sandbox))?;
        }
        Ok(exit::OK)
    }
}

fn absolute(directory: &Path) -> Result<String, Failure> {
    let shown = directory.display().to_string();
    let path = fs::canonicalize(directory).map_err(|error| Failure::file(directory, &error))?;
    if !path.is_dir() {
        return Err(Failure::new(format!("{shown} is not a directory")));
    }
    path.into_os_string().into_string().map_err(|_| {
        Failure::new(format!("{shown} is not UTF-8, as paths in JSON must be"))
            .hinted("name it through a link with another name")
    })
}

/// Returns the line about a sandbox that has come to be.
pub(crate) fn created(console: &Console, sandbox: &Sandbox) -> String {
    format!(
        "{} created: {}, {} (state {})",
        console.paint(Look::Strong, &terminal::name(&sandbox.name)),
        size::counted(sandbox.files.inodes, "entry", "entries"),
        size::bytes(sandbox.files.bytes),
        short(&sandbox.state)
    )
}
