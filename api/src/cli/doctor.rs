//! `sandglass doctor`: is everything there that calls need, and does the whole way work? Each answer with a way out.

mod machine;
mod trial;

use clap::Args;
use serde::Serialize;

use super::console::{Console, Look};
use super::failure::{Failure, exit};
use super::terminal;

/// Check this machine, the data directory and the guests, and try the whole way: create, write, undo.
///
/// Exits with 1 if something fails that calls need. Starts no service that stays and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Leave out the trial.
    #[arg(long)]
    no_trial: bool,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grade {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    name: &'static str,
    grade: Grade,
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, grade: Grade::Ok, found: found.into(), hint: None }
    }

    pub(crate) fn warn(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, grade: Grade::Warn, found: found.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn fail(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, grade: Grade::Fail, found: found.into(), hint: Some(hint.into()) }
    }
}

#[derive(Serialize)]
struct Report {
    grade: Grade,
    version: &'static str,
    checks: Vec<Check>,
}

impl Doctor {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let data = console.data()?;
        let mut checks = vec![
            machine::system(),
            machine::memory(),
            machine::clock(),
            machine::disk(&data),
            machine::data_directory(&data),
            machine::token(&data),
        ];
        let service = machine::service(console);
        let serves = service.grade == Grade::Ok;
        checks.push(service);
        if !serves {
            checks.push(machine::port(console.server()));
        }
        checks.push(trial::store(&data, console));
        checks.extend(trial::guests(console));
        checks.push(machine::installer());
        if !self.no_trial {
            checks.extend(trial::whole_way(console));
        }
        let grade = checks.iter().map(|check| check.grade).max_by_key(|grade| *grade as u8).unwrap_or(Grade::Ok);
        if console.json {
            console.object(&Report { grade, version: env!("CARGO_PKG_VERSION"), checks })?;
        } else {
            checks.iter().try_for_each(|check| print(console, check))?;
        }
        Ok(if grade == Grade::Fail { exit::DIFFERENT } else { exit::OK })
    }
}

fn print(console: &Console, check: &Check) -> Result<(), Failure> {
    let (word, look) = match check.grade {
        Grade::Ok => ("ok  ", Look::Good),
        Grade::Warn => ("warn", Look::Changed),
        Grade::Fail => ("fail", Look::Bad),
    };
    console.print(&format!("{}  {:<12} {}", console.paint(look, word), check.name, terminal::name(&check.found)))?;
    if let Some(hint) = &check.hint {
        console.print(&format!("                    {}", console.paint(Look::Faint, &terminal::name(hint))))?;
    }
    Ok(())
}
