//! The command line: one command a file, each a client of the REST service; `serve`, `guests`, `doctor` and `demo` do more.
//!
//! What a command prints for people goes through `console.rs`; whatever came from a sandbox is made harmless by
//! `terminal.rs` first. With `--json` a command prints one JSON object, the one that the service answered where there is one.

mod call;
mod checkpoint;
mod completions;
mod console;
mod content;
mod create;
mod demo;
mod diff;
mod doctor;
mod export;
mod failure;
mod files;
mod fork;
mod guests;
mod history;
mod import;
mod log;
mod ls;
mod mount;
mod openapi;
mod place;
mod progress;
mod reference;
mod restore;
mod retention;
mod revert;
mod rm;
mod serve;
mod sessions;
mod show;
mod size;
mod state;
mod store;
mod terminal;
mod tokens;
mod tools;
mod trash;
mod undo;
mod wit;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use console::Console;
use failure::Failure;
pub use reference::reference;

const ABOUT: &str = "Runs the tool calls of AI agents inside WebAssembly sandboxes and can take any of them back.";

const EXAMPLES: &str = "\
Examples:
  sandglass demo                                   a directory, a bad call, and the way back
  sandglass serve                                  start the service; the commands below ask it
  sandglass create shop --from ~/shop              a sandbox with a copy of a directory
  sandglass call shop --code 'print(6 * 7)'        run Python in it
  sandglass diff shop                              what the last operation changed
  sandglass undo shop                              take it back

Exit codes: the program's own for `call`; 1 different or not proven; 2 usage; 124 timeout; 125 failure;
126 denied; 127 not found; 130 cancelled; 134 trapped; 137 limit reached.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "sandglass", version, about = ABOUT, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The service to ask.
    #[arg(long, global = true, env = "SANDGLASS_SERVER", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:7777")]
    server: String,
    /// The data directory [default: sandglass in the XDG data home, ~/.local/share].
    #[arg(long, global = true, env = "SANDGLASS_DATA", hide_env_values = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The directory of the guests [default: sandglass/guests in the XDG cache home, ~/.cache].
    #[arg(long, global = true, env = "SANDGLASS_GUESTS", hide_env_values = true, value_name = "DIR")]
    guests: Option<PathBuf>,
    /// The file with the service's token [default: token in the data directory, or what SANDGLASS_TOKEN holds].
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Print only what was asked for: no notes, no progress.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// When to use colours; NO_COLOR is obeyed.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorWhen,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ColorWhen {
    /// On terminals.
    Auto,
    /// Also into pipes.
    Always,
    /// Nowhere.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Guests(guests::Guests),
    Doctor(doctor::Doctor),
    Create(create::Create),
    Ls(ls::Ls),
    Show(show::Show),
    Call(call::Call),
    Sessions(sessions::Sessions),
    Log(log::Log),
    Diff(diff::Diff),
    Undo(undo::Undo),
    Redo(undo::Redo),
    Restore(restore::Restore),
    Revert(revert::Revert),
    History(history::History),
    Blame(history::Blame),
    Fork(fork::Fork),
    Checkpoint(checkpoint::Checkpoint),
    Files(files::Files),
    Rm(rm::Rm),
    Trash(trash::Trash),
    Retention(retention::Retention),
    Export(export::Export),
    Import(import::Import),
    Mount(mount::Mount),
    Unmount(mount::Unmount),
    Store(store::Store),
    Tokens(tokens::Tokens),
    Tools(tools::Tools),
    Openapi(openapi::Openapi),
    Completions(completions::Completions),
}

/// Runs the command line of this process; what `main` does.
#[must_use]
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let line = Line::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let data_is_a_flag =
        matches.subcommand().is_some_and(|(_, matches)| matches.value_source("data") == Some(ValueSource::CommandLine));
    let console = Console::new(line.global, data_is_a_flag);
    let code = line.command.run(&console).unwrap_or_else(|failure| {
        console.failed(&failure);
        failure.exit_code()
    });
    ExitCode::from(code)
}

impl Command {
    fn run(self, console: &Console) -> Result<u8, Failure> {
        match self {
            Self::Demo(demo) => demo.run(console),
            Self::Serve(serve) => serve.run(console),
            Self::Guests(guests) => guests.run(console),
            Self::Doctor(doctor) => doctor.run(console),
            Self::Create(create) => create.run(console),
            Self::Ls(ls) => ls.run(console),
            Self::Show(show) => show.run(console),
            Self::Call(call) => call.run(console),
            Self::Sessions(sessions) => sessions.run(console),
            Self::Log(log) => log.run(console),
            Self::Diff(diff) => diff.run(console),
            Self::Undo(undo) => undo.run(console),
            Self::Redo(redo) => redo.run(console),
            Self::Restore(restore) => restore.run(console),
            Self::Revert(revert) => revert.run(console),
            Self::History(history) => history.run(console),
            Self::Blame(blame) => blame.run(console),
            Self::Fork(fork) => fork.run(console),
            Self::Checkpoint(checkpoint) => checkpoint.run(console),
            Self::Files(files) => files.run(console),
            Self::Rm(rm) => rm.run(console),
            Self::Trash(trash) => trash.run(console),
            Self::Retention(retention) => retention.run(console),
            Self::Mount(mount) => mount.run(console),
            Self::Unmount(unmount) => unmount.run(console),
            Self::Store(store) => store.run(console),
            Self::Export(export) => export.run(console),
            Self::Import(import) => import.run(console),
            Self::Tokens(tokens) => tokens.run(console),
            Self::Tools(tools) => tools.run(console),
            Self::Openapi(openapi) => openapi.run(console),
            Self::Completions(completions) => completions.run(console),
        }
    }
}

/// Returns the description of the command line.
fn command() -> clap::Command {
    Line::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
