//! `sandglass restore`: to any state, whole or in part.

use clap::Args;

use super::console::Console;
use super::failure::Failure;
use super::files::absolute;
use super::state::StateName;
use super::undo::show;
use crate::http::types::Restore as Request;

const EXAMPLES: &str = "\
Examples:
  sandglass restore shop @before-cleanup           a named checkpoint
  sandglass restore shop 4                         the state after operation 4
  sandglass restore shop 3f9c02d41ab7 --path src   only what lies at /workspace/src";

/// Go to any state of a sandbox, back or forward.
///
/// A restore is an operation too: `undo` takes it back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Restore {
    /// The sandbox.
    sandbox: String,
    /// @CHECKPOINT, the number of an operation, or a state's id or its first digits.
    #[arg(value_name = "STATE")]
    target: String,
    /// Restore only this path; relative ones are below /workspace. May be repeated.
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
}

impl Restore {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let mut request = Request::default();
        match StateName::find(&client, &self.sandbox, &self.target)? {
            StateName::State(state) => request.state = Some(state),
            StateName::Seq(seq) => request.seq = Some(seq),
            StateName::Checkpoint(name) => request.checkpoint = Some(name),
        }
        if !self.paths.is_empty() {
            request.paths = Some(self.paths.iter().map(|path| absolute(path)).collect());
        }
        show(console, &client.restore(&self.sandbox, &request)?, "restored")
    }
}
