//! `sandglass diff`: what differs between two states, summary first.

use clap::Args;

use super::console::{Console, Look};
use super::content;
use super::failure::{Failure, exit};
use super::state::{StateName, short};
use super::{size, terminal};
use crate::http::types::{Change, ChangeKind, Changes, FileKind, NameChangeKind, NameChanges, NameSide, SessionDiff};

/// Changes that are listed when nothing else is said.
const LISTED: usize = 40;
/// Most changes that the service gives.
const LIMIT_MAX: usize = 100_000;

const EXAMPLES: &str = "\
Examples:
  sandglass diff shop                              what the last operation changed
  sandglass diff shop 1                            all since operation 1
  sandglass diff shop @before 7                    from a checkpoint to operation 7
  sandglass diff shop --session notes 5            which variables changed since operation 5";

/// Compare two states of a sandbox: what changed, and the lines of small text files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Diff {
    /// The sandbox.
    sandbox: String,
    /// The older state: @CHECKPOINT, the number of an operation, or a state's id or its first digits.
    from: Option<String>,
    /// The newer state, in the same words; the head when absent.
    to: Option<String>,
    /// List the changes only, not the lines of files.
    #[arg(long)]
    stat: bool,
    /// List all changes and show all text files, however many.
    #[arg(long, short)]
    all: bool,
    /// Compare the names of this session of Python instead of the files.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["stat", "all"])]
    session: Option<String>,
    /// Exit with 1 if there is a difference.
    #[arg(long)]
    exit_code: bool,
}

impl Diff {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let client = console.client()?;
        let word = |text: &Option<String>| {
            text.as_ref().map(|text| StateName::find(&client, &self.sandbox, text).map(|name| name.word())).transpose()
        };
        let (from, to) = (word(&self.from)?, word(&self.to)?);
        if let Some(session) = &self.session {
            let diff = client.session_diff(&self.sandbox, session, from.as_deref(), to.as_deref())?;
            let code = if self.exit_code && !diff.changes.is_empty() { exit::DIFFERENT } else { exit::OK };
            names(console, &diff)?;
            return Ok(code);
        }
        let limit = self.all.then_some(LIMIT_MAX);
        let diff = client.diff(&self.sandbox, from.as_deref(), to.as_deref(), limit)?;
        let differs = diff.summary != Changes::default() || diff.from != diff.to;
        let code = if self.exit_code && differs { exit::DIFFERENT } else { exit::OK };
        if console.json {
            console.object(&diff)?;
            return Ok(code);
        }
        console.print(&format!("{} ({} to {})", size::changes(&diff.summary), short(&diff.from), short(&diff.to)))?;
        let listed = if self.all { usize::MAX } else { LISTED };
        for change in diff.changes.iter().take(listed) {
            console.print(&line(console, change))?;
        }
        let total = [
            diff.summary.added,
            diff.summary.removed,
            diff.summary.modified,
            diff.summary.renamed,
            diff.summary.attributes,
        ]
        .into_iter()
        .fold(0, u64::saturating_add);
        let rest = total.saturating_sub(diff.changes.len().min(listed) as u64);
        if rest > 0 {
            console
                .print(&console.paint(Look::Faint, &format!("  and {} more (--all lists them)", size::count(rest))))?;
        }
        if !self.stat {
            content::show(console, &client, &self.sandbox, &diff, self.all)?;
        }
        Ok(code)
    }
}

/// Prints what differs between two states of a session.
fn names(console: &Console, diff: &SessionDiff) -> Result<(), Failure> {
    if console.json {
        return console.object(diff);
    }
    let NameChanges { appeared, changed, vanished, unchanged, sampled } = diff.summary;
    let counts = [(appeared, "appeared"), (changed, "changed"), (vanished, "vanished")];
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let counts = if counts.is_empty() { "no names differ".to_owned() } else { counts.join(", ") };
    console.print(&format!("{counts}, {unchanged} unchanged ({} to {})", short(&diff.from), short(&diff.to)))?;
    let shown = |side: &NameSide| {
        let length = side.length.map_or_else(String::new, |length| format!("[{length}]"));
        format!("{}{length} {}", terminal::name(&side.type_name), terminal::name(&side.text))
    };
    for change in &diff.changes {
        let (sign, look) = match change.kind {
            NameChangeKind::Appeared => ("A", Look::Good),
            NameChangeKind::Changed => ("M", Look::Changed),
            NameChangeKind::Vanished => ("D", Look::Bad),
        };
        let sides: Vec<_> = change.before.iter().chain(&change.after).map(shown).collect();
        console.print(&format!(
            "  {} {}: {}",
            console.paint(look, sign),
            terminal::name(&change.name),
            sides.join(" => ")
        ))?;
    }
    if sampled > 0 {
        console.note(&format!("of {} only parts were compared", size::counted(sampled, "large value", "large values")));
    }
    if diff.truncated {
        console.note("there are more names than were compared");
    }
    Ok(())
}

/// Returns the line about one change.
pub(crate) fn line(console: &Console, change: &Change) -> String {
    let (sign, look) = match change.kind {
        ChangeKind::Added => ("A", Look::Good),
        ChangeKind::Removed => ("D", Look::Bad),
        ChangeKind::Modified => ("M", Look::Changed),
        ChangeKind::Renamed => ("R", Look::Changed),
        ChangeKind::Attributes => ("T", Look::Faint),
    };
    let slash = |kind: Option<FileKind>| match kind {
        Some(FileKind::Directory) => "/",
        Some(FileKind::Symlink) => "@",
        _ => "",
    };
    let side = change.after.as_ref().or(change.before.as_ref());
    let mut text = match &change.renamed_from {
        Some(from) => format!("{} => {}", terminal::name(from), terminal::name(&change.path)),
        None => terminal::name(&change.path),
    };
    text.push_str(slash(side.map(|side| side.kind)));
    if let (Some(before), Some(after)) = (&change.before, &change.after) {
        if before.mode != after.mode {
            text.push_str(&format!(" (mode {} to {})", terminal::name(&before.mode), terminal::name(&after.mode)));
        }
        if before.size != after.size {
            text.push_str(&format!(" ({} to {})", size::bytes(before.size), size::bytes(after.size)));
        }
    } else if let Some(side) = side.filter(|side| side.kind == FileKind::File) {
        text.push_str(&format!(" ({})", size::bytes(side.size)));
    }
    format!("  {} {text}", console.paint(look, sign))
}
