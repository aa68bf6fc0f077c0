//! `sandglass files`: files of a sandbox, now or in any state.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::console::{Console, Text};
use super::export::save;
use super::failure::{Failure, exit};
use super::state::StateName;
use super::terminal::{self, Tamed};
use super::undo::show;
use super::size;
use crate::client::{Client, Content, FileBody};
use crate::http::types::{FileEntry, FileKind, Page};

const EXAMPLES: &str = "\
Examples:
  sandglass files shop ls src
  sandglass files shop cat README.md --state @before
  sandglass files shop put notes.txt < notes.txt
  sandglass files shop get data/out.csv -o out.csv
  sandglass files shop rm -r build";

/// Read and write files of a sandbox. Relative paths are below /workspace.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Files {
    /// The sandbox.
    sandbox: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List a directory.
    Ls {
        /// The directory.
        #[arg(default_value = "")]
        path: String,
        #[command(flatten)]
        at: At,
    },
    /// Print a file.
    Cat {
        /// The file.
        path: String,
        /// Give terminals all that is in it, also sequences that control them.
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        at: At,
    },
    /// Copy a file to this machine.
    Get {
        /// The file.
        path: String,
        /// Where to; its own name here when absent.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// Write a file: one operation that `undo` takes back.
    Put {
        /// The file in the sandbox; missing directories are made.
        path: String,
        /// The file of this machine; standard input when absent or -.
        file: Option<PathBuf>,
        /// Its permission bits in octal; kept, or 0644 for a new file, when absent.
        #[arg(long, value_name = "MODE")]
        mode: Option<String>,
    },
    /// Make a directory, with its parents.
    Mkdir {
        /// The directory.
        path: String,
    },
    /// Remove a file or directory: one operation that `undo` takes back.
    Rm {
        /// The path.
        path: String,
        /// Remove a directory with all it holds.
        #[arg(long, short)]
        recursive: bool,
    },
}

/// Which state.
#[derive(Debug, Args)]
struct At {
    /// A state: @CHECKPOINT, the number of an operation, or a state's id or its first digits; the head when absent.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

impl At {
    fn id(&self, client: &Client, sandbox: &str) -> Result<Option<String>, Failure> {
        self.state.as_ref().map(|text| StateName::find(client, sandbox, text)?.id(client, sandbox)).transpose()
    }
}

/// Returns the absolute path in a sandbox: relative ones are below /workspace.
pub(crate) fn absolute(path: &str) -> String {
    match path {
        "" | "." => "/workspace".to_owned(),
        _ if path.starts_with('/') => path.to_owned(),
        _ => format!("/workspace/{}", path.strip_prefix("./").unwrap_or(path)),
    }
}

impl Files {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let sandbox = self.sandbox.as_str();
        match self.action {
            Action::Ls { path, at } => list(console, &client, sandbox, &absolute(&path), &at),
            Action::Cat { path, raw, at } => {
                let (path, state) = (absolute(&path), at.id(&client, sandbox)?);
                let file = open(&client, sandbox, &path, state.as_deref())?;
                cat(console, &client, file, raw)
            }
            Action::Get { path, output, at } => {
                let (path, state) = (absolute(&path), at.id(&client, sandbox)?);
                let mut file = open(&client, sandbox, &path, state.as_deref())?;
                let output = output.map_or_else(|| own_name(&path), Ok)?;
                let bytes = save(&output, |out| Ok(client.copy(&mut file, out)?))?;
                if console.json {
                    console.object(&json!({ "path": path, "file": output, "bytes": bytes }))?;
                } else {
                    console.print(&format!("{}: {}", terminal::name(&output.display().to_string()), size::bytes(bytes)))?;
                }
                Ok(exit::OK)
            }
            Action::Put { path, file, mode } => {
                let bytes = content(file.as_deref())?;
                show(console, &client.write(sandbox, &absolute(&path), &bytes, mode.as_deref())?, "written")
            }
            Action::Mkdir { path } => show(console, &client.create_directory(sandbox, &absolute(&path))?, "made"),
            Action::Rm { path, recursive } => {
                show(console, &client.remove(sandbox, &absolute(&path), recursive)?, "removed")
            }
        }
    }
}

fn list(console: &Console, client: &Client, sandbox: &str, path: &str, at: &At) -> Result<u8, Failure> {
    let state = at.id(client, sandbox)?;
    let Some(entries) = client.list(sandbox, path, state.as_deref())? else {
        return Err(Failure::new(format!("{} is no directory", terminal::name(path))).hinted("`cat` prints files"));
    };
    if console.json {
        console.object(&Page { items: entries, next_cursor: None })?;
        return Ok(exit::OK);
    }
    if !entries.is_empty() {
        console.table(&["MODE", "SIZE", "MODIFIED", "NAME"], &[1], entries.iter().map(row).collect())?;
    }
    Ok(exit::OK)
}

fn row(entry: &FileEntry) -> Vec<Text> {
    let name = terminal::name(&entry.name);
    let (letter, name) = match entry.kind {
        FileKind::File => ('-', Text::from(name)),
        FileKind::Directory => ('d', Text::from(format!("{name}/")).strong()),
        FileKind::Symlink => {
            let target = entry.target.as_deref().map(terminal::name).unwrap_or_default();
            ('l', Text::from(format!("{name} -> {target}")))
        }
    };
    let size = if entry.kind == FileKind::File { size::bytes(entry.size) } else { String::new() };
    let modified = entry.modified.get(..19).map_or_else(|| entry.modified.clone(), |time| time.replace('T', " "));
    vec![format!("{letter}{}", terminal::name(&entry.mode)).into(), size.into(), terminal::name(&modified).into(), name]
}

fn open(client: &Client, sandbox: &str, path: &str, state: Option<&str>) -> Result<FileBody, Failure> {
    match client.open(sandbox, path, state)? {
        Content::File(file) => Ok(file),
        Content::Directory(_) => {
            Err(Failure::new(format!("{} is a directory", terminal::name(path))).hinted("`ls` lists directories"))
        }
    }
}

fn cat(console: &Console, client: &Client, mut file: FileBody, raw: bool) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    if !console.stdout_terminal || raw {
        client.copy(&mut file, &mut out)?;
        out.flush()?;
        return Ok(exit::OK);
    }
    let mut tame = Taming { out, tamed: Tamed::new(console.stdout_colours) };
    client.copy(&mut file, &mut tame)?;
    let end = tame.tamed.end();
    tame.out.write_all(end.as_bytes())?;
    tame.out.flush()?;
    Ok(exit::OK)
}

/// A terminal that is written to through a filter.
struct Taming<W> {
    out: W,
    tamed: Tamed,
}

impl<W: Write> Write for Taming<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(self.tamed.pass(bytes).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The last part of a sandbox's path as a name in the current directory: it can't lead anywhere else.
fn own_name(path: &str) -> Result<PathBuf, Failure> {
    let name = path.rsplit('/').find(|part| !part.is_empty()).filter(|name| !matches!(*name, "." | ".."));
    name.map(PathBuf::from).ok_or_else(|| Failure::new("this path has no name").hinted("say where to with --output FILE"))
}

fn content(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match file {
        Some(path) if path.as_os_str() != "-" => fs::read(path).map_err(|error| Failure::file(path, &error)),
        _ => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|error| Failure::new(format!("standard input can't be read: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_below_the_workspace() {
        for (given, absolute_path) in
            [("", "/workspace"), (".", "/workspace"), ("a/b", "/workspace/a/b"), ("./a", "/workspace/a"), ("/tmp/x", "/tmp/x")]
        {
            assert_eq!(absolute(given), absolute_path);
        }
    }

    #[test]
    fn a_copy_stays_where_the_user_is() {
        assert_eq!(own_name("/workspace/a/b.txt").unwrap(), PathBuf::from("b.txt"));
        assert_eq!(own_name("/workspace/a/").unwrap(), PathBuf::from("a"));
        assert!(own_name("/workspace/..").is_err());
        assert!(own_name("/").is_err());
    }
}
