//! `sandglass import`: a bundle or an archive into the service, as a new sandbox.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::create::created;
use super::export::Format;
use super::failure::Failure;
use super::failure::exit;
use super::progress::Counted;
use super::state::short;
use super::{size, terminal};
use crate::http::types::{CreateFrom, CreateSandbox};

const EXAMPLES: &str = "\
Examples:
  sandglass import shop.sgb --name shop            the very state that was exported
  sandglass import more.sgb --state-only           only take it in, for a later `create --from-state`
  sandglass import files.tar.zst --name files      an archive, at /workspace
  ssh there sandglass export shop - --format bundle | sandglass import - --format bundle";

/// Take a bundle or a tar archive in and create a sandbox from it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// The file to read, .sgb, .tar or .tar.zst; - for standard input.
    file: PathBuf,
    /// What it is, when its name does not tell.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// The name of the sandbox; made up when absent.
    #[arg(long, value_name = "SANDBOX", conflicts_with = "state_only")]
    name: Option<String>,
    /// Create no sandbox; print the states.
    #[arg(long)]
    state_only: bool,
    /// Of an archive: how many leading directories are taken off each name.
    #[arg(long, value_name = "N", default_value_t = 0)]
    strip: u16,
}

impl Import {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let shown = self.file.display().to_string();
        let format = self.format.or_else(|| Format::of(&self.file)).ok_or_else(|| {
            Failure::new(format!("the name `{shown}` does not tell what it is"))
                .hinted("say --format bundle, tar or tar.zst; other archives have to be unpacked first")
        })?;
        let client = console.client()?;
        let failed = |error: &io::Error| Failure::file(&self.file, error);
        let (from, total): (Box<dyn Read>, Option<u64>) = if self.file.as_os_str() == "-" {
            (Box::new(io::stdin().lock()), None)
        } else {
            let file = File::open(&self.file).map_err(|error| failed(&error))?;
            let length = file.metadata().map_err(|error| failed(&error))?.len();
            (Box::new(file), Some(length))
        };
        let mut from = Counted::new(console, "importing", total, from);
        let imported = client.import(format.word(), self.strip, &mut from)?;
        drop(from);
        for skipped in imported.skipped.iter().take(20) {
            console.note(&format!("left out: {}: {}", terminal::name(&skipped.path), terminal::name(&skipped.reason)));
        }
        if imported.skipped.len() > 20 {
            console.note(&format!("and {} more were left out", imported.skipped.len() - 20));
        }
        // A bundle of several states has the newest last.
        let Some(state) = imported.states.last() else { return Err(Failure::new("nothing came in")) };
        if self.state_only {
            if console.json {
                console.object(&imported)?;
            } else {
                for state in &imported.states {
                    console.print(state)?;
                }
            }
            return Ok(exit::OK);
        }
        let from = Some(CreateFrom::State(state.clone()));
        let sandbox = client.create_sandbox(&CreateSandbox { name: self.name, policy: None, from })?;
        if console.json {
            console.object(&json!({ "imported": imported, "sandbox": sandbox }))?;
        } else {
            let (nodes, new) = (size::counted(imported.nodes, "node", "nodes"), imported.nodes_new);
            console.note(&format!(
                "{shown}: {nodes}, {new} new, {} (state {})",
                size::bytes(imported.bytes),
                short(state)
            ));
            console.print(&created(console, &sandbox))?;
        }
        Ok(exit::OK)
    }
}
