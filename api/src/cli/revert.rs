//! `sandglass revert`: one operation taken back, later ones kept.

use clap::Args;

use super::console::Console;
use super::failure::Failure;
use super::undo::show;
use crate::http::types::Revert as Request;

const EXAMPLES: &str = "\
Examples:
  sandglass revert shop 7                                  operation 7 of `sandglass log shop`
  sandglass history shop src/app.py                        who touched a path, to find the operation";

/// Take back one earlier operation and keep the later ones.
///
/// Paths that were changed since stand in the way: all are listed, and nothing changes. A revert is an operation too: `undo`
/// takes it back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Revert {
    /// The sandbox.
    sandbox: String,
    /// The id of a call, or the number of an operation.
    #[arg(value_name = "CALL|SEQ")]
    target: String,
}

impl Revert {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let request = match self.target.trim_start_matches('#').parse() {
            Ok(seq) => Request { seq: Some(seq), call: None },
            Err(_) => Request { call: Some(self.target), seq: None },
        };
        show(console, &console.client()?.revert(&self.sandbox, &request)?, "reverted")
    }
}
