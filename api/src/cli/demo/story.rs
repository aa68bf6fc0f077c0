//! The story that the demo tells, step by step, each a request to the service.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandglass_policy::{ByteSize, Policy, Span};
use serde_json::json;

use super::proof::{Difference, Listing};
use super::survey::{self, Survey};
use super::{Show, timed};
use crate::cli::console::Look;
use crate::cli::failure::Failure;
use crate::cli::progress::Waiting;
use crate::cli::{diff, size, terminal};
use crate::client::Client;
use crate::http::types::{Call, CallStatus, CreateCall, CreateFrom, CreateSandbox, Sandbox};

const ANALYSIS: &str = include_str!("analysis.py");
const CHANGE: &str = include_str!("change.py");
const CLEANUP: &str = include_str!("cleanup.py");
const SANDBOX: &str = "demo";
/// Lines of a diff that are shown.
const CHANGES_SHOWN: usize = 5;
/// Changes that a diff gives at most.
const CHANGES_MAX: usize = 100_000;
/// Where the files are in the sandbox, as archives name it.
const ROOT: &str = "workspace";

/// How the story ended.
pub(super) struct Ending {
    pub(super) sandbox: String,
    pub(super) proven: bool,
}

/// What the sandbox was made from.
struct Original {
    directory: PathBuf,
    survey: Survey,
    sandbox: Sandbox,
}

pub(super) fn tell(
    show: &mut Show<'_>,
    client: &Client,
    directory: &Path,
    all: bool,
    scratch: &Path,
) -> Result<Ending, Failure> {
    let original = take_in(show, client, directory, all, scratch)?;
    let name = original.sandbox.name.clone();

    let (call, took) = run(show, client, &name, ANALYSIS)?;
    show.head(1, "An analysis over the files, in CPython", &times(took, &call))?;
    printed(show, &call)?;
    show.measure("analysis", took);

    let (good, took) = run(show, client, &name, CHANGE)?;
    show.head(2, "A good change", &times(took, &good))?;
    printed(show, &good)?;
    show.say(&format!("   {}", size::changes(&good.changes)))?;
    show.measure("change", took);

    let (before, exported) = timed(|| archive(client, &good.after));
    let before = before?;
    show.measure("export before", exported);

    let (bad, took) = run(show, client, &name, CLEANUP)?;
    show.head(3, "The bad call: an agent's clean-up", &times(took, &bad))?;
    for line in CLEANUP.lines() {
        show.say(&format!("   {}", show.console.paint(Look::Faint, line)))?;
    }
    printed(show, &bad)?;
    show.measure("bad call", took);

    let (found, took) = timed(|| client.diff(&name, Some(&bad.before), Some(&bad.after), Some(CHANGES_SHOWN)));
    let found = found?;
    show.head(4, "The diff", &size::took(took))?;
    show.say(&format!("   {}", show.console.paint(Look::Bad, &size::changes(&found.summary))))?;
    for change in &found.changes {
        show.say(&format!(" {}", diff::line(show.console, change)))?;
    }
    if found.truncated {
        show.say(&format!("   {}", show.console.paint(Look::Faint, "...")))?;
    }
    show.measure("diff", took);
    show.measured.insert("removed".to_owned(), json!(found.summary.removed));

    let (moved, took) = timed(|| client.undo(&name, 1));
    let moved = moved?;
    show.head(5, "Undo", &size::took(took))?;
    show.say(&format!("   took back operation #{}: {}", bad.seq.unwrap_or_default(), size::changes(&moved.changes)))?;
    show.measure("undo", took);

    let (proven, took) = timed(|| prove(show, client, &original, &before, &good, &moved.after));
    show.measure("proof", took);
    Ok(Ending { sandbox: name, proven: proven? })
}

/// Makes the sandbox from the directory, and says what of it is not taken in.
fn take_in(
    show: &mut Show<'_>,
    client: &Client,
    directory: &Path,
    all: bool,
    scratch: &Path,
) -> Result<Original, Failure> {
    let waiting = Waiting::new(show.console, "looking at the directory");
    let survey = Survey::of(directory, all).map_err(|error| Failure::file(directory, &error))?;
    drop(waiting);
    let (files, bytes) = (size::counted(survey.files, "file", "files"), size::bytes(survey.bytes));
    let waiting = Waiting::new(show.console, &format!("taking in {files}, {bytes}"));
    // The service takes in whole directories: what shall not come along is left out of a copy.
    let source = if survey.caches.is_empty() {
        directory.to_owned()
    } else {
        let copy = scratch.join("copy");
        survey::copy(directory, &copy, &survey).map_err(|error| Failure::file(directory, &error))?;
        copy
    };
    let text = source.to_str().ok_or_else(|| Failure::new("the directory's path is not UTF-8, as paths in JSON must be"))?;
    let from = Some(CreateFrom::Directory(text.to_owned()));
    let policy = Some(policy(&survey));
    let request = CreateSandbox { name: Some(SANDBOX.to_owned()), policy, from };
    let (sandbox, took) = timed(|| match client.create_sandbox(&request) {
        // A data directory that has seen the demo before.
        Err(error) if error.code() == Some("name_taken") => client.create_sandbox(&CreateSandbox { name: None, ..request.clone() }),
        made => made,
    });
    drop(waiting);
    let sandbox = sandbox?;
    let parts = [
        files,
        size::counted(survey.directories, "directory", "directories"),
        size::counted(survey.links, "link", "links"),
        bytes,
    ];
    let shown = terminal::name(&directory.display().to_string());
    show.line("import", &format!("{shown}: {}", parts.join(", ")), took)?;
    for (cache, bytes) in &survey.caches {
        let cache = terminal::name(&cache.strip_prefix(directory).unwrap_or(cache).display().to_string());
        let text = format!("left out: {cache}/ (marked as a cache, {}); --all takes it in", size::bytes(*bytes));
        show.say(&format!("            {}", show.console.paint(Look::Faint, &text)))?;
    }
    if survey.others > 0 {
        let text = format!("left out: {} sockets, pipes or devices", size::count(survey.others));
        show.say(&format!("            {}", show.console.paint(Look::Faint, &text)))?;
    }
    show.measure("import", took);
    show.measured.insert(
        "import".to_owned(),
        json!({
            "directory": shown, "files": survey.files, "directories": survey.directories, "links": survey.links,
            "bytes": survey.bytes, "left_out": survey.caches.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        }),
    );
    Ok(Original { directory: directory.to_owned(), survey, sandbox })
}

/// The default limits, but room for the directory twice, and time for an analysis of it.
fn policy(survey: &Survey) -> Policy {
    let mut policy = Policy::default();
    let limits = &mut policy.limits;
    limits.disk = limits.disk.max(ByteSize(survey.bytes.saturating_mul(2).min(1 << 50)));
    limits.files = limits.files.max(survey.entries().saturating_mul(2).min(100_000_000));
    (limits.cpu, limits.wall) = (Span::seconds(600), Span::seconds(600));
    policy
}

/// Runs a program, which must end well.
fn run(show: &Show<'_>, client: &Client, sandbox: &str, code: &str) -> Result<(Call, Duration), Failure> {
    let arguments = json!({ "code": code });
    let request = CreateCall { tool: "python".to_owned(), arguments, ..CreateCall::default() };
    let _waiting = Waiting::new(show.console, "running Python");
    let (call, took) = timed(|| client.call(sandbox, &request));
    let call = call?;
    if call.status == CallStatus::Ok {
        return Ok((call, took));
    }
    let why = call.message.clone().unwrap_or_else(|| call.stderr.trim().to_owned());
    Err(Failure::new(format!("the call ended with {}: {why}", call.status.as_str())))
}

fn times(took: Duration, call: &Call) -> String {
    let wall = Duration::from_secs_f64((call.usage.wall_ms / 1e3).clamp(0.0, 1e9));
    format!("{} in Python, {} with the request", size::took(wall), size::took(took))
}

fn printed(show: &Show<'_>, call: &Call) -> Result<(), Failure> {
    for line in call.stdout.lines().chain(call.stderr.lines()) {
        show.say(&format!("   {} {}", show.console.paint(Look::Faint, "|"), terminal::line(line)))?;
    }
    Ok(())
}

/// Lists what is in a state, from its archive.
fn archive(client: &Client, state: &str) -> Result<Listing, Failure> {
    let archive = client.export(state, None)?;
    Listing::of_tar(archive, ROOT).map_err(|error| Failure::new(format!("the archive of a state can't be read: {error}")))
}

/// Compares what is there after the undo with what was there before, and with the directory itself.
fn prove(
    show: &mut Show<'_>,
    client: &Client,
    original: &Original,
    before: &Listing,
    good: &Call,
    after: &str,
) -> Result<bool, Failure> {
    show.head(6, "The proof: names, bytes, modes, times and links", "")?;
    let after_undo = archive(client, after)?;
    let differences = before.differences(&after_undo);
    let entries = size::counted(after_undo.len() as u64, "entry", "entries");
    verdict(show, &differences, &format!("{entries} after the undo, each as it was before the bad call"))?;

    // What the good change did is allowed to differ from the directory; nothing else is.
    let changed = client.diff(&original.sandbox.name, Some(&original.sandbox.state), Some(&good.after), Some(CHANGES_MAX))?;
    let changed: BTreeSet<_> = changed.changes.iter().flat_map(|change| [Some(&change.path), change.renamed_from.as_ref()]).flatten().collect();
    let changed: BTreeSet<_> = changed.into_iter().filter_map(|path| below_root(path)).collect();
    let is_change = |found: &Difference| {
        let path = String::from_utf8_lossy(&found.path);
        // A directory gets a new time when something in it comes or goes.
        let holds_change = || changed.iter().any(|changed| changed.rsplit_once('/').map_or("", |(folder, _)| folder) == path);
        changed.contains(&*path) || (found.what == "another time" && holds_change())
    };
    let host = Listing::of_directory(&original.directory, &|path| original.survey.leaves_out(path));
    let host = host.map_err(|error| Failure::file(&original.directory, &error))?;
    let (expected, others): (Vec<_>, Vec<_>) = host.differences(&after_undo).into_iter().partition(is_change);
    let but = size::counted(expected.len() as u64, "path", "paths");
    verdict(show, &others, &format!("the same as the directory itself, read afresh, but for {but} of the good change"))?;

    let listed = |differences: &[Difference]| {
        let listed = differences.iter().take(100);
        listed.map(|found| json!({ "path": String::from_utf8_lossy(&found.path), "what": found.what })).collect::<Vec<_>>()
    };
    let proven = differences.is_empty() && others.is_empty();
    show.measured.insert(
        "proof".to_owned(),
        json!({
            "proven": proven, "entries": after_undo.len(), "changed_by_the_good_call": expected.len(),
            "differences_from_before": listed(&differences), "differences_from_the_directory": listed(&others),
            "state_before": good.after, "state_after": after,
        }),
    );
    Ok(proven)
}

/// Returns the path below the workspace.
fn below_root(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?.strip_prefix(ROOT)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn verdict(show: &Show<'_>, differences: &[Difference], claim: &str) -> Result<(), Failure> {
    if differences.is_empty() {
        return show.say(&format!("   {}  {claim}", show.console.paint(Look::Good, "ok")));
    }
    show.say(&format!("   {}  {claim}: {} differ", show.console.paint(Look::Bad, "NOT PROVEN"), differences.len()))?;
    for found in differences.iter().take(CHANGES_SHOWN) {
        let path = terminal::name(&String::from_utf8_lossy(&found.path));
        show.say(&format!("       {path}: {}", found.what))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_has_room_for_the_directory_and_holds() {
        for bytes in [0, 3 << 30, u64::MAX] {
            let policy = policy(&Survey { bytes, files: bytes, ..Survey::default() });
            policy.check().unwrap();
            assert!(policy.limits.disk >= ByteSize(bytes.min(1 << 50)));
        }
    }
}
