//! `sandglass undo` and `sandglass redo`: operations taken back and brought back.

use clap::Args;

use super::console::{Console, Look};
use super::failure::{Failure, exit};
use super::state::short;
use super::size;
use crate::http::types::Moved;

/// Take back the last operation that changed something.
///
/// An undo is an operation too: `redo` takes it back. Nothing is lost.
#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// The sandbox.
    sandbox: String,
    /// How many operations.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
}

/// Bring back what the last undo took back.
#[derive(Debug, Args)]
pub(crate) struct Redo {
    /// The sandbox.
    sandbox: String,
    /// How many undos.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
}

impl Undo {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let moved = console.client()?.undo(&self.sandbox, self.steps)?;
        show(console, &moved, "took back")
    }
}

impl Redo {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let moved = console.client()?.redo(&self.sandbox, self.steps)?;
        show(console, &moved, "brought back")
    }
}

/// Prints where an operation has led.
pub(crate) fn show(console: &Console, moved: &Moved, verb: &str) -> Result<u8, Failure> {
    if console.json {
        console.object(moved)?;
        return Ok(exit::OK);
    }
    let which: Vec<_> = moved.undone.iter().map(|seq| format!("#{seq}")).collect();
    let which = if which.is_empty() { String::new() } else { format!(" {}", which.join(", ")) };
    console.print(&format!(
        "{}{which}: {} (state {})",
        console.paint(Look::Good, verb),
        size::changes(&moved.changes),
        short(&moved.after)
    ))?;
    Ok(exit::OK)
}
