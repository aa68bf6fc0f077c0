//! The lines that differ in text files of two states.

use similar::{ChangeTag, TextDiff};

use super::console::{Console, Look};
use super::failure::Failure;
use super::terminal;
use crate::client::{Client, ClientError};
use crate::http::types::{Change, ChangeKind, Diff, FileKind};

/// Files larger than this are not compared line by line.
const FILE_BYTES_MAX: u64 = 128 * 1024;
/// Files that are shown when nothing else is said.
const FILES_MAX: usize = 10;
/// Lines of one new file that are shown when nothing else is said.
const LINES_MAX: usize = 60;
const CONTEXT_LINES: usize = 3;

/// Shows the changed lines of the small text files in a diff; `all` shows every one of them.
pub(crate) fn show(console: &Console, client: &Client, sandbox: &str, diff: &Diff, all: bool) -> Result<(), Failure> {
    let mut files = diff.changes.iter().filter(|change| may_show(change));
    let shown: Vec<_> = files.by_ref().take(if all { usize::MAX } else { FILES_MAX }).collect();
    for change in shown {
        let before = match (&change.before, change.kind) {
            (Some(_), ChangeKind::Modified | ChangeKind::Renamed) => {
                text(client, sandbox, change.renamed_from.as_ref().unwrap_or(&change.path), &diff.from)?
            }
            _ => Some(String::new()),
        };
        let after = text(client, sandbox, &change.path, &diff.to)?;
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            file(console, &change.path, &before, &after, if all { usize::MAX } else { LINES_MAX })?;
        }
    }
    if files.next().is_some() {
        console.print(&console.paint(Look::Faint, "\nmore files changed (--all shows them)"))?;
    }
    Ok(())
}

fn may_show(change: &Change) -> bool {
    let small_file = |side: &crate::http::types::ChangeSide| side.kind == FileKind::File && side.size <= FILE_BYTES_MAX;
    // A path with a replaced character can't be asked for.
    let exact = !change.path.contains(char::REPLACEMENT_CHARACTER);
    let kinds = matches!(change.kind, ChangeKind::Added | ChangeKind::Modified | ChangeKind::Renamed);
    kinds && exact && change.after.as_ref().is_some_and(small_file) && change.before.as_ref().is_none_or(small_file)
}

/// Reads a text; nothing when it is none.
fn text(client: &Client, sandbox: &str, path: &str, state: &str) -> Result<Option<String>, Failure> {
    match client.read(sandbox, path, Some(state), FILE_BYTES_MAX) {
        Ok(bytes) => Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'))),
        // Another name, such as one that was not UTF-8: the list above has it.
        Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn file(console: &Console, path: &str, before: &str, after: &str, lines_max: usize) -> Result<(), Failure> {
    let diff = TextDiff::from_lines(before, after);
    console.print(&format!("\n{}", console.paint(Look::Strong, &terminal::name(path))))?;
    let mut lines = 0;
    for hunk in diff.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        console.print(&console.paint(Look::Faint, &hunk.header().to_string()))?;
        for change in hunk.iter_changes() {
            if lines == lines_max {
                console.print(&console.paint(Look::Faint, "... (--all shows the rest)"))?;
                return Ok(());
            }
            lines += 1;
            let text = terminal::line(change.value().strip_suffix('\n').unwrap_or_else(|| change.value()));
            let line = match change.tag() {
                ChangeTag::Equal => format!(" {text}"),
                ChangeTag::Delete => console.paint(Look::Bad, &format!("-{text}")),
                ChangeTag::Insert => console.paint(Look::Good, &format!("+{text}")),
            };
            console.print(&line)?;
            if change.missing_newline() {
                console.print(&console.paint(Look::Faint, "\\ no line feed at the end"))?;
            }
        }
    }
    Ok(())
}
