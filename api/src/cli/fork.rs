//! `sandglass fork`: a sandbox that starts where another one is.

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::create::created;
use super::failure::{Failure, exit};
use super::state::StateName;
use crate::http::types::Fork as Request;

/// Make sandboxes that start where this one is, or was. It costs the same whatever the sandbox holds.
#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The sandbox.
    sandbox: String,
    /// Start here: @CHECKPOINT, the number of an operation, or a state's id or its first digits.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// The name of the fork; made up when absent.
    #[arg(long, value_name = "NAME", conflicts_with = "count")]
    name: Option<String>,
    /// Make this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
}

impl Fork {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let state = self.state.map(|text| StateName::find(&client, &self.sandbox, &text)?.id(&client, &self.sandbox));
        let request = Request { state: state.transpose()?, name: self.name, count: self.count };
        let forks = client.fork(&self.sandbox, &request)?;
        match (console.json, self.count, forks.as_slice()) {
            (true, None, [only]) => console.object(only)?,
            (true, ..) => console.object(&json!({ "sandboxes": forks }))?,
            (false, ..) => forks.iter().try_for_each(|fork| console.print(&created(console, fork)))?,
        }
        Ok(exit::OK)
    }
}
