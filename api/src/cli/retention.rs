//! `sandglass retention`: what a sandbox keeps.

use std::time::Duration;

use clap::{ArgGroup, Args};
use sandglass_policy::{ByteSize, Span};

use super::console::Console;
use super::failure::{Failure, exit};
use super::{size, terminal};
use crate::http::types::Keep;

const EXAMPLES: &str = "\
Examples:
  sandglass retention shop                         what it keeps now
  sandglass retention shop --operations 500 --age 30d
  sandglass retention shop --inherit               what `serve` was started with

The newest operation and named checkpoints are always kept. What is given up can still be seen in the log, and not returned
to. The next round of upkeep gives it up.";

/// Show or set what a sandbox keeps at most.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("limits").multiple(true).args(["operations", "age", "bytes"]))]
pub(crate) struct Retention {
    /// The sandbox.
    sandbox: String,
    /// How many operations, the newest first.
    #[arg(long, value_name = "N")]
    operations: Option<u64>,
    /// How old operations may get.
    #[arg(long, value_name = "TIME")]
    age: Option<Span>,
    /// What its operations may take of the store together.
    #[arg(long, value_name = "SIZE")]
    bytes: Option<ByteSize>,
    /// Take the sandbox's own rule away.
    #[arg(long, conflicts_with = "limits")]
    inherit: bool,
}

impl Retention {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let Self { sandbox, operations, age, bytes, inherit } = self;
        let keep = Keep {
            operations,
            age_seconds: age.map(|age| Duration::from(age).as_secs()),
            bytes: bytes.map(ByteSize::bytes),
        };
        if inherit {
            client.set_retention(&sandbox, None)?;
        } else if keep != Keep::default() {
            client.set_retention(&sandbox, Some(&keep))?;
        }
        let now = client.retention(&sandbox)?;
        if console.json {
            console.object(&now)?;
            return Ok(exit::OK);
        }
        let mut limits = Vec::new();
        limits.extend(now.keep.operations.map(|count| size::counted(count, "operation", "operations")));
        limits.extend(now.keep.age_seconds.map(|age| format!("operations of the last {}", span(age))));
        limits.extend(now.keep.bytes.map(|bytes| format!("{} of the store", size::bytes(bytes))));
        let limits = if limits.is_empty() { "everything".to_owned() } else { format!("at most {}", limits.join(", ")) };
        let whose = if now.own { "its own rule" } else { "the service's rule" };
        console.print(&format!("{} keeps {limits} ({whose})", terminal::name(&sandbox)))?;
        Ok(exit::OK)
    }
}

/// Returns a time in the largest unit that divides it.
fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}
