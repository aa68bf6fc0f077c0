//! `sandglass store`: the store in the data directory, without the service.
//!
//! This is the way to one's data when the service is stopped, wedged or gone, and to a copy of the data directory. What only
//! looks (`ls`, `stats`, `verify`, `export`) changes nothing and works whoever has the store open.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use sandglass_runtime::{
    CollectStep, Components, GuestSettings, Guests, Host, Look, Progress, RestoreTarget, SurveyProgress, repair,
};
use serde_json::json;

use super::console::{Console, Look as Paint, Text};
use super::export::save;
use super::failure::{Failure, exit};
use super::progress::Steps;
use super::state::short;
use super::{size, terminal};
use crate::http::types::Verification;
use crate::http::upkeep::{wire_upkeep, wire_verification, wire_weight};

const EXAMPLES: &str = "\
Examples:
  sandglass store verify                           is every byte what was written?
  sandglass store stats --data /mnt/copy           what a copy of the data directory holds
  sandglass store export shop shop.tar             the files of a sandbox's head, of a state, of SANDBOX@CHECKPOINT
  sandglass store repair --from /mnt/backup        open again without what is lost, healed from a copy

`ls`, `stats`, `verify` and `export` change nothing and may run beside the service. `gc`, `restore` and `repair` need it
stopped.";

/// Look after the store in the data directory, without the service.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the sandboxes, those in the trash too.
    Ls,
    /// Say what the store holds, what it takes, and what could be given back.
    Stats,
    /// Read and hash every byte, walk every log and state, and name what is damaged.
    Verify,
    /// Write the files of a state as a tar archive.
    Export {
        /// A state's id, a sandbox by name or id (its head), or SANDBOX@CHECKPOINT.
        what: String,
        /// The archive to write.
        #[arg(value_name = "FILE.tar")]
        output: PathBuf,
    },
    /// Give up what is no longer kept, empty the trash of what was in it for long enough, and give the space back.
    Gc,
    /// Take a sandbox back to one of its states.
    Restore {
        /// The sandbox.
        sandbox: String,
        /// A state's id, the number of an operation, or @CHECKPOINT.
        state: String,
    },
    /// Make a damaged store open again, and heal what copies of it have.
    Repair {
        /// A copy of the data directory, however old or damaged. May be repeated.
        #[arg(long = "from", value_name = "DIR")]
        copies: Vec<PathBuf>,
    },
}

impl Store {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let store = console.data()?.join("store");
        match self.command {
            Command::Ls => list(console, &store),
            Command::Stats => stats(console, &store),
            Command::Verify => verify(console, &store),
            Command::Export { what, output } => export(console, &store, &what, &output),
            Command::Gc => collect(console),
            Command::Restore { sandbox, state } => restore(console, &sandbox, &state),
            Command::Repair { copies } => mend(console, &store, &copies),
        }
    }
}

/// Opens a store to look at it, with a bar.
fn look(console: &Console, store: &Path) -> Result<Look, Failure> {
    let steps = Steps::new(console);
    let mut show = |progress: SurveyProgress| {
        steps.step("reading the store", progress.bytes, Some(progress.bytes_total));
    };
    Look::open(store, &mut show).map_err(|error| {
        Failure::from(error).hinted("name the data directory with --data DIR: the store is `store` in it")
    })
}

fn list(console: &Console, store: &Path) -> Result<u8, Failure> {
    let seen = look(console, store)?.sandboxes()?;
    if console.json {
        let items = seen.iter().map(|one| {
            json!({
                "id": one.id.to_string(), "name": one.name, "state": one.state.to_string(), "seq": one.seq,
                "deleted": one.deleted.map(crate::http::view::time),
            })
        });
        console.object(&json!({ "items": items.collect::<Vec<_>>() }))?;
        return Ok(exit::OK);
    }
    let now = Timestamp::now();
    let rows = seen.iter().map(|one| {
        let name = one.name.as_deref().map_or_else(|| "(unreadable)".to_owned(), terminal::name);
        let deleted = one.deleted.map(|time| size::age(&crate::http::view::time(time), now));
        vec![
            Text::from(name).strong(),
            one.id.to_string().into(),
            size::count(one.seq).into(),
            deleted.unwrap_or_default().into(),
            short(&one.state.to_string()).into(),
        ]
    });
    console.table(&["NAME", "ID", "SEQ", "DELETED", "STATE"], &[2], rows.collect())?;
    Ok(exit::OK)
}

fn stats(console: &Console, store: &Path) -> Result<u8, Failure> {
    let weight = wire_weight(&look(console, store)?.weigh()?);
    if console.json {
        console.object(&weight)?;
        return Ok(exit::OK);
    }
    let lines = [
        ("states", size::count(weight.states), "can be returned to"),
        ("logical", size::bytes(weight.logical_bytes), "if every state were stored by itself"),
        ("unique", size::bytes(weight.unique_bytes), "is needed, each piece once"),
        (
            "reclaimable",
            size::bytes(weight.reclaimable_bytes),
            "is needed by nobody, or belongs to what is written next",
        ),
        ("on disk", size::bytes(weight.disk_bytes), "in segments"),
    ];
    for (name, number, meaning) in lines {
        console.print(&format!("{name:<12}{number:>12}  {}", console.paint(Paint::Faint, meaning)))?;
    }
    Ok(exit::OK)
}

fn verify(console: &Console, store: &Path) -> Result<u8, Failure> {
    let look = look(console, store)?;
    let steps = Steps::new(console);
    let found = look.verify(&mut |states| steps.step(&format!("walking states, {states} so far"), states, None))?;
    drop(steps);
    let found = wire_verification(&found);
    if console.json {
        console.object(&found)?;
    } else {
        tell(console, &found)?;
    }
    Ok(if found.whole { exit::OK } else { exit::DIFFERENT })
}

fn tell(console: &Console, found: &Verification) -> Result<(), Failure> {
    const SHOWN_MAX: usize = 20;
    let mut text = String::new();
    for place in found.damaged_places.iter().take(SHOWN_MAX) {
        let path = terminal::name(&place.path);
        let node = place.node.as_deref().map_or_else(String::new, |node| format!(" (node {})", short(node)));
        writeln!(text, "damaged: {path}, byte {}: {}{node}", place.offset, terminal::name(&place.reason)).ok();
    }
    for log in found.damaged_logs.iter().take(SHOWN_MAX) {
        writeln!(text, "damaged: {}", terminal::name(log)).ok();
    }
    for state in found.damaged_states.iter().take(SHOWN_MAX) {
        let seqs: Vec<String> = state.seqs.iter().take(5).map(u64::to_string).collect();
        writeln!(
            text,
            "not whole: state {} of {}, entries {}",
            short(&state.state),
            terminal::name(&state.sandbox),
            seqs.join(", ")
        )
        .ok();
        for problem in state.problems.iter().take(3) {
            writeln!(text, "    /{}: {}", terminal::name(&problem.path), terminal::name(&problem.reason)).ok();
        }
    }
    if !text.is_empty() {
        console.print(text.trim_end())?;
    }
    let states = format!("{} of {} states whole", size::count(found.states_whole), size::count(found.states));
    let read =
        format!("{} in {} segments, {} entries", size::bytes(found.bytes), found.segments, size::count(found.entries));
    let (look, verdict) = if found.whole { (Paint::Good, "whole") } else { (Paint::Bad, "damaged") };
    console.print(&format!("{}: {states}; {read}", console.paint(look, verdict)))?;
    if !found.whole {
        console.note("`sandglass store repair` makes a damaged store open again; --from DIR heals it from a copy");
    }
    Ok(())
}

fn export(console: &Console, store: &Path, what: &str, output: &Path) -> Result<u8, Failure> {
    let look = look(console, store)?;
    let state = look.find(what)?;
    let written = save(output, |out| {
        let mut counting = Counting { out, bytes: 0 };
        look.export(state, &mut counting)?;
        Ok(counting.bytes)
    })?;
    if console.json {
        console.object(&json!({ "state": state.to_string(), "file": output, "bytes": written }))?;
    } else {
        let name = output.display();
        console.print(&format!("{name}: {} (state {})", size::bytes(written), short(&state.to_string())))?;
    }
    Ok(exit::OK)
}

/// Counts what is written.
struct Counting<'a> {
    out: &'a mut dyn std::io::Write,
    bytes: u64,
}

impl std::io::Write for Counting<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Opens the host that the service would have.
fn host(console: &Console) -> Result<Host, Failure> {
    let data = console.data()?;
    let guests =
        Guests::open(GuestSettings::new(console.guests()?)).map_err(|error| Failure::new(error.to_string()))?;
    let settings = sandglass_runtime::Settings::new(data.join("store"));
    Host::open(settings, Components::default(), guests).map_err(|error| {
        let in_use = error.code() == "store_in_use";
        let failure = Failure::from(error);
        if in_use { failure.hinted("stop the service first") } else { failure }
    })
}

fn collect(console: &Console) -> Result<u8, Failure> {
    let host = host(console)?;
    let steps = Steps::new(console);
    let done = host.keep_up(&mut |step| match step {
        CollectStep::Mark(nodes) => steps.step("marking what is needed", nodes, None),
        CollectStep::Weigh(segments) => steps.step("weighing segments", segments, None),
        CollectStep::Sweep(bytes, total) => steps.step("rewriting segments", bytes, Some(total)),
    })?;
    drop(steps);
    let done = wire_upkeep(&done);
    if console.json {
        console.object(&done)?;
    } else {
        let left = size::bytes(done.store.reclaimable_bytes.saturating_sub(done.freed_bytes));
        console.print(&format!("{} given back, {left} not worth it yet", size::bytes(done.freed_bytes)))?;
    }
    Ok(exit::OK)
}

fn restore(console: &Console, sandbox: &str, state: &str) -> Result<u8, Failure> {
    let host = host(console)?;
    let target = match (state.strip_prefix('@'), state.parse()) {
        (Some(name), _) => RestoreTarget::Checkpoint(name.to_owned()),
        (None, Ok(seq)) => RestoreTarget::Seq(seq),
        (None, Err(_)) => RestoreTarget::State(state.parse().map_err(|_| {
            let shown = terminal::name(state);
            Failure::new(format!("`{shown}` is no state's id, number of an operation or @CHECKPOINT"))
        })?),
    };
    let moved = host.sandbox(sandbox)?.restore(&target, None, "store restore")?;
    if console.json {
        console.object(&crate::http::view::moved(moved))?;
    } else {
        console.print(&format!("{} is at state {}", terminal::name(sandbox), short(&moved.after.to_string())))?;
    }
    Ok(exit::OK)
}

fn mend(console: &Console, store: &Path, copies: &[PathBuf]) -> Result<u8, Failure> {
    let looks = copies.iter().map(|copy| look(console, &copy.join("store"))).collect::<Result<Vec<_>, _>>()?;
    let repaired = repair(store, &looks)?;
    if console.json {
        console.object(&json!({
            "damaged_places": repaired.places, "segments_rewritten": repaired.segments_rewritten,
            "segments_lost": repaired.segments_lost, "healed": repaired.healed, "missing": repaired.missing,
            "entries_returned": repaired.entries_returned, "quarantine": repaired.quarantine,
            "only_in_copies": repaired.only_in_copies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else if repaired.places == 0 && repaired.missing == 0 && repaired.healed == 0 {
        console.print("nothing is damaged; the index was made anew")?;
    } else {
        let places = size::counted(repaired.places, "damaged place", "damaged places");
        let missing = size::counted(repaired.missing, "node is lost", "nodes are lost");
        console.print(&format!("{places}; {} healed from copies, {missing}", size::count(repaired.healed)))?;
        if let Some(quarantine) = &repaired.quarantine {
            console.note(&format!("the damaged originals are in {}", quarantine.display()));
        }
        if repaired.entries_returned > 0 {
            let entries = size::counted(repaired.entries_returned, "of them is an operation", "of them are operations");
            console.note(&format!("{entries} that had been the last of a log"));
        }
        console.note("`sandglass store verify` names what needs what is lost");
    }
    for sandbox in &repaired.only_in_copies {
        console.note(&format!("{sandbox} is in a copy only: `sandglass --data COPY store export {sandbox} FILE`"));
    }
    Ok(if repaired.missing == 0 { exit::OK } else { exit::DIFFERENT })
}
