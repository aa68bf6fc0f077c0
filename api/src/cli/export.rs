//! `sandglass export`: a state as a tar archive.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::failure::{Failure, exit};
use super::files::absolute;
use super::size;
use super::state::{StateName, short};

/// Write all files of a sandbox as a tar archive, with modes, times and links.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The sandbox.
    sandbox: String,
    /// The archive to write; - for standard output.
    #[arg(long, short, value_name = "FILE.tar")]
    output: PathBuf,
    /// What to write: @CHECKPOINT, the number of an operation, or a state's id or its first digits; the head when absent.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only this path and what is below it; relative ones are below /workspace.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

impl Export {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let state = match &self.state {
            Some(text) => StateName::find(&client, &self.sandbox, text)?.id(&client, &self.sandbox)?,
            None => client.sandbox(&self.sandbox)?.state,
        };
        let path = self.path.as_deref().map(absolute);
        let mut archive = client.export(&state, path.as_deref())?;
        if self.output.as_os_str() == "-" {
            if console.stdout_terminal {
                return Err(Failure::new("an archive is not for a terminal").hinted("name a file with --output FILE.tar"));
            }
            client.copy(&mut archive, &mut io::stdout().lock())?;
            return Ok(exit::OK);
        }
        let written = save(&self.output, |out| Ok(client.copy(&mut archive, out)?))?;
        if console.json {
            console.object(&json!({ "state": state, "file": self.output, "bytes": written }))?;
        } else {
            let name = self.output.display();
            console.print(&format!("{name}: {} (state {})", size::bytes(written), short(&state)))?;
        }
        Ok(exit::OK)
    }
}

/// Writes a file beside its place and puts it there when it is whole: a broken connection leaves what was there before.
pub(crate) fn save(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<u64, Failure>) -> Result<u64, Failure> {
    let failed = |error: &io::Error| Failure::file(path, error);
    let name = path.file_name().ok_or_else(|| Failure::new(format!("{} is no name for a file", path.display())))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(beside);
    let file = OpenOptions::new().write(true).create_new(true).open(&beside).map_err(|error| failed(&error))?;
    let mut out = BufWriter::new(file);
    let written = write(&mut out).and_then(|written| {
        out.flush().and_then(|()| fs::rename(&beside, path)).map_err(|error| failed(&error))?;
        Ok(written)
    });
    if written.is_err() {
        // What is left of it is of no use; that it can't be removed is less than the failure itself.
        let _left = fs::remove_file(&beside);
    }
    written
}
