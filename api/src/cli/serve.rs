//! `sandglass serve`: the service.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sandglass_policy::{ByteSize, Span};
use sandglass_runtime::{Keep, UpkeepSettings};

use super::console::Console;
use super::failure::{Failure, exit};
use crate::config::{LISTEN_DEFAULT, Settings};
use crate::server::{self, StartLine};
use crate::telemetry::{LogFormat, log_to_stderr};

const EXAMPLES: &str = "\
Examples:
  sandglass serve
  sandglass serve --listen 127.0.0.1:0 --json      a free port, told in one JSON line
  sandglass serve --durability process             faster answers; the last 50 ms may be lost with the power";

/// Start the service. The first start writes a token to the data directory; Ctrl-C ends it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, env = "SANDGLASS_LISTEN", hide_env_values = true, value_name = "ADDRESS", default_value_t = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Another name under which requests may reach it (name or name:port). May be repeated.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// A web page's origin that may call it, such as `https://console.example`. May be repeated.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Listen where others can reach it, without encryption.
    #[arg(long)]
    insecure_listen: bool,
    /// What an answer promises.
    #[arg(long, value_name = "MODE", default_value = "disk")]
    durability: Durability,
    /// Most calls that run at once; 64 when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    calls: Option<u16>,
    /// Most calls that wait for one sandbox.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,
    /// Most that an imported bundle or archive may have, as it comes and unpacked.
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    import_max: ByteSize,
    /// Memory for sessions at hand; those used longest ago sleep when it is used up, and wake with their next call.
    #[arg(long, env = "SANDGLASS_SESSION_MEMORY", hide_env_values = true, value_name = "SIZE", default_value = "1GiB")]
    session_memory: ByteSize,
    /// How long calls may go on after Ctrl-C.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    grace: Span,
    /// Operations that a sandbox keeps at most (`none` for any number); it can have a rule of its own.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = or_none::<u64>, help_heading = "Retention")]
    keep_operations: Limit<u64>,
    /// How old operations may get (`none` for any age).
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = or_none::<Span>, help_heading = "Retention")]
    keep_age: Limit<Span>,
    /// What the operations of a sandbox may take of the store together.
    #[arg(long, value_name = "SIZE", default_value = "none", value_parser = or_none::<ByteSize>, help_heading = "Retention")]
    keep_bytes: Limit<ByteSize>,
    /// What the operations of all sandboxes may take together; the oldest are given up first.
    #[arg(long, value_name = "SIZE", default_value = "none", value_parser = or_none::<ByteSize>, help_heading = "Retention")]
    keep_store_bytes: Limit<ByteSize>,
    /// How long deleted sandboxes and checkpoints can be taken back.
    #[arg(long, value_name = "TIME", default_value = "7d", help_heading = "Retention")]
    trash: Span,
    /// How long upkeep rests between two rounds of giving up and collecting.
    #[arg(long, value_name = "TIME", default_value = "10m", help_heading = "Retention")]
    upkeep_interval: Span,
    /// What is logged on standard error: error, warn, info, debug, or a filter such as sandglass=debug.
    #[arg(long, env = "SANDGLASS_LOG", hide_env_values = true, value_name = "FILTER", default_value = "info")]
    log: String,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Lines,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lines {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What an answer promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Durability {
    /// It is on the disk.
    Disk,
    /// It survives the end of this process, not that of the machine.
    Process,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit<T>(Option<T>);

fn or_none<T: FromStr<Err: Display>>(text: &str) -> Result<Limit<T>, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    text.parse().map(|limit| Limit(Some(limit))).map_err(|error: T::Err| error.to_string())
}

impl Serve {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        let mut settings = Settings::new(console.data()?);
        settings.guests = Some(console.guests()?);
        settings.listen = self.listen;
        settings.hosts = self.hosts;
        settings.origins = self.origins;
        settings.insecure_listen = self.insecure_listen;
        settings.durable = self.durability == Durability::Disk;
        if let Some(calls) = self.calls {
            settings.calls_running_max = usize::from(calls);
        }
        settings.queue_per_sandbox_max = usize::from(self.queue);
        settings.import_bytes_max = self.import_max.bytes();
        settings.session_memory_bytes = usize::try_from(self.session_memory.bytes()).unwrap_or(usize::MAX);
        settings.grace = Duration::from(self.grace);
        settings.upkeep = UpkeepSettings {
            keep: Keep {
                operations: self.keep_operations.0,
                age_seconds: self.keep_age.0.map(|age| Duration::from(age).as_secs()),
                bytes: self.keep_bytes.0.map(ByteSize::bytes),
            },
            store_bytes: self.keep_store_bytes.0.map(ByteSize::bytes),
            trash: Duration::from(self.trash),
            interval: Duration::from(self.upkeep_interval),
        };
        let filter = if console.quiet { "error" } else { &self.log };
        let format = if self.log_format == Lines::Json { LogFormat::Json } else { LogFormat::Text };
        log_to_stderr(filter, format).map_err(|error| Failure::new(format!("--log {filter}: {error}")).exiting(2))?;
        let start_line = if console.json { StartLine::Json } else { StartLine::Text };
        server::serve(&settings, start_line)?;
        Ok(exit::OK)
    }
}
