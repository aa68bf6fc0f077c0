//! `sandglass demo`: a real directory, real Python, a bad call, and the way back, with the time each step took.
//!
//! It starts a service in this process and shows everything through its REST API. The proof at the end does not believe the
//! service: it compares archives from before and after, and the directory itself read afresh.

mod farewell;
mod place;
pub(crate) mod proof;
mod story;
mod survey;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};

use super::console::{Console, Look};
use super::failure::{Failure, exit};
use super::progress::Steps;
use super::{guests as catalogue, size};
use crate::client::Client;
use crate::config::Settings;
use crate::server;
use place::Place;

const EXAMPLES: &str = "\
Examples:
  sandglass demo                                   with a copy of the current directory
  sandglass demo --dir ~/shop
  sandglass demo --stay                            the service stays until Ctrl-C, also without a terminal
  sandglass demo --json                            the measurements as one object";

/// Show it: a directory taken in, analysed, changed, deleted by an agent's clean-up, and undone, with a proof.
///
/// Nothing of the directory itself is changed. Exits with 1 if the proof fails.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// The directory to take in; the current one when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Take in everything, also directories marked as caches (CACHEDIR.TAG), such as Cargo's target.
    #[arg(long)]
    all: bool,
    /// Keep the data directory, which is temporary unless --data names one.
    #[arg(long)]
    keep: bool,
    /// Keep the service running until Ctrl-C; that is so anyway on a terminal.
    #[arg(long)]
    stay: bool,
}

/// The demo as it goes: what is shown and what was measured.
pub(crate) struct Show<'a> {
    console: &'a Console,
    measured: Map<String, Value>,
    steps: Vec<Value>,
}

impl Demo {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let directory = self.dir.clone().unwrap_or_else(|| PathBuf::from("."));
        let directory = directory.canonicalize().map_err(|error| Failure::file(&directory, &error))?;
        let place = Place::new(console.data_flag(), self.keep)?;
        let mut show = Show { console, measured: Map::new(), steps: Vec::new() };
        let version = env!("CARGO_PKG_VERSION");
        show.say(
            &console.paint(Look::Strong, &format!("Sandglass {version}: a directory, a bad call, and the way back")),
        )?;
        show.say("")?;

        let (ready, took) = timed(|| {
            let guests = catalogue::open(console)?;
            guests.prepare(&Steps::new(console)).map_err(|error| catalogue::failed(&error))?;
            guests.default_for("python").map_err(|error| catalogue::failed(&error))
        });
        let guest = ready?.name;
        show.line("guest", &format!("{guest}, compiled"), took)?;
        show.measured.insert("guest".to_owned(), json!(guest));
        show.measure("guests", took);

        let mut settings = Settings::new(place.data().to_owned());
        settings.listen.set_port(0);
        settings.guests = Some(console.guests()?);
        let (server, took) = timed(|| server::start(&settings));
        let server = server?;
        let url = server.url();
        show.line("service", &format!("{url}, data in {}{}", place.data().display(), place.fate()), took)?;
        show.measure("service", took);

        let client = Client::new(&url, Some(server.token().to_owned()))?;
        let story = story::tell(&mut show, &client, &directory, self.all, place.scratch())?;
        show.measured.insert("steps".to_owned(), Value::Array(std::mem::take(&mut show.steps)));
        show.measured.insert(
            "service".to_owned(),
            json!({ "url": url, "data": place.data(), "token_file": server.token_file() }),
        );
        if console.json {
            console.object(&show.measured)?;
        }
        let stays = self.stay || (console.stdout_terminal && !console.json);
        if !console.json {
            farewell::say(console, &farewell::Way { stays, server: &server, place: &place, sandbox: &story.sandbox })?;
        }
        if stays {
            place.wait_for_interrupt();
        }
        server.stop();
        Ok(if story.proven { exit::OK } else { exit::DIFFERENT })
    }
}

impl Show<'_> {
    /// Prints a line, unless the output is an object.
    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.console.json { Ok(()) } else { self.console.print(text) }
    }

    /// Prints a line of the preparations, with its time.
    fn line(&self, label: &str, text: &str, took: Duration) -> Result<(), Failure> {
        let (label, took) = (format!("{label:<9}"), format!("({})", size::took(took)));
        self.say(&format!(
            "  {} {text} {}",
            self.console.paint(Look::Faint, &label),
            self.console.paint(Look::Faint, &took)
        ))
    }

    /// Prints the head of a step of the story.
    fn head(&self, number: usize, text: &str, took: &str) -> Result<(), Failure> {
        let title = self.console.paint(Look::Strong, &format!("{number}  {text}"));
        let took = if took.is_empty() { String::new() } else { format!("  {}", self.console.paint(Look::Faint, took)) };
        self.say(&format!("\n{title}{took}"))
    }

    /// Notes how long something took.
    fn measure(&mut self, step: &str, took: Duration) {
        self.steps.push(json!({ "step": step, "ms": milliseconds(took) }));
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}
