//! `sandglass export`: a state as a tar archive or as a bundle.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::console::Console;
use super::failure::{Failure, exit};
use super::files::absolute;
use super::progress::Counted;
use super::size;
use super::state::{StateName, short};

const EXAMPLES: &str = "\
Examples:
  sandglass export shop shop.tar.zst               all files, for people and other programs
  sandglass export shop shop.sgb                   the state itself, for another store
  sandglass export shop more.sgb --base @monday    only what is new since a checkpoint
  sandglass export shop - --path src | tar -t      a part of it, to a pipe";

/// Write what a sandbox holds to a file: as a tar archive, or as a bundle that another store takes as it is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("place").required(true))]
pub(crate) struct Export {
    /// The sandbox, or the full id of a state.
    sandbox: String,
    /// The file to write, .tar, .tar.zst or .sgb; - for standard output.
    #[arg(value_name = "FILE", group = "place")]
    file: Option<PathBuf>,
    /// The same, as a flag.
    #[arg(long, short, value_name = "FILE", group = "place")]
    output: Option<PathBuf>,
    /// What to write it as, when the name of the file does not tell.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// What to write: @CHECKPOINT, the number of an operation, or a state's id or its first digits; the head when absent.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Of an archive: only this path and what is below it; relative ones are below /workspace.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Of a bundle: a state that the receiver has, named as for --state. May be repeated.
    #[arg(long = "base", value_name = "STATE")]
    bases: Vec<String>,
}

/// As what a state goes out or comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A tar archive.
    Tar,
    /// A tar archive, compressed with zstd.
    #[value(name = "tar.zst")]
    TarZst,
    /// A bundle, compressed with zstd.
    Bundle,
}

impl Format {
    /// Reads it off the name of a file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".tar.zst", ".tzst", ".tar.zstd"]) {
            return Some(Self::TarZst);
        }
        if ends(&[".sgb"]) {
            return Some(Self::Bundle);
        }
        ends(&[".tar"]).then_some(Self::Tar)
    }

    /// Returns the word that the service understands.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarZst => "tar.zst",
            Self::Bundle => "bundle",
        }
    }
}

impl Export {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let Some(file) = self.file.or(self.output) else { return Err(Failure::new("name a file to write")) };
        let is_stdout = file.as_os_str() == "-";
        let format = match (self.format, Format::of(&file)) {
            (Some(format), _) | (None, Some(format)) => format,
            // What `export` always wrote, whatever the file was called.
            (None, None) => Format::Tar,
        };
        if is_stdout && console.stdout_terminal {
            return Err(Failure::new("what is exported is not for a terminal").hinted("name a file, or pipe it on"));
        }
        let client = console.client()?;
        let find = |text: &str| -> Result<String, Failure> {
            match is_state(text) {
                true => Ok(text.to_owned()),
                false => StateName::find(&client, &self.sandbox, text)?.id(&client, &self.sandbox),
            }
        };
        let state = match &self.state {
            Some(text) => find(text)?,
            None if is_state(&self.sandbox) => self.sandbox.clone(),
            None => client.sandbox(&self.sandbox)?.state,
        };
        let bases = self.bases.iter().map(|base| find(base)).collect::<Result<Vec<_>, _>>()?;
        let path = self.path.as_deref().map(absolute);
        let export = client.export_as(&state, format.word(), path.as_deref(), &bases)?;
        let mut export = Counted::new(console, "exporting", None, export);
        if is_stdout {
            client.copy(&mut export, &mut io::stdout().lock())?;
            return Ok(exit::OK);
        }
        let written = save(&file, |out| Ok(client.copy(&mut export, out)?))?;
        drop(export);
        if console.json {
            console.object(&json!({ "state": state, "format": format.word(), "file": file, "bytes": written }))?;
        } else {
            let name = file.display();
            console.print(&format!("{name}: {} (state {})", size::bytes(written), short(&state)))?;
        }
        Ok(exit::OK)
    }
}

/// Says whether a text is the full id of a state; names of sandboxes are shorter.
fn is_state(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
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
