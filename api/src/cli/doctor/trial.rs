//! What runs on the machine: the store, the guests, and the whole way of a sandbox in a place that is thrown away.

use std::path::Path;
use std::time::Instant;

use sandglass_runtime::{Components, Host, Settings as HostSettings};

use super::Check;
use crate::cli::console::Console;
use crate::cli::{guests as catalogue, size};
use crate::client::{Client, ClientError};
use crate::config::Settings;
use crate::http::types::{CallStatus, CreateCall, CreateSandbox};
use crate::server;

pub(super) fn store(data: &Path, console: &Console) -> Check {
    let directory = data.join("store");
    if !directory.exists() {
        return Check::ok("store", "none yet");
    }
    let opened = catalogue::open(console).map(|guests| Host::open(HostSettings::new(directory.clone()), Components::default(), guests));
    match opened {
        Ok(Ok(host)) => Check::ok("store", format!("opens, {}", size::counted(host.stats().sandboxes as u64, "sandbox", "sandboxes"))),
        Ok(Err(error)) if error.code() == "store_in_use" => Check::ok("store", "in use by a service that runs"),
        Ok(Err(error)) => {
            let hint = error.hint().unwrap_or("keep a copy of the data directory before you try anything").to_owned();
            Check::fail("store", error.to_string(), hint)
        }
        Err(failure) => Check::warn("store", "not looked at", failure.text()),
    }
}

pub(super) fn guests(console: &Console) -> Vec<Check> {
    let guests = match catalogue::open(console) {
        Ok(guests) => guests,
        Err(failure) => return vec![Check::fail("guests", failure.text(), "choose another place with --guests DIR")],
    };
    let mut checks = Vec::new();
    for guest in guests.list().into_iter().map(catalogue::shown) {
        let found = format!("{} {} is {}", guest.name, guest.version, guest.status);
        checks.push(match guest.status.as_str() {
            "compiled" => Check::ok("guest", found),
            "installed" => {
                Check::warn("guest", found, "it is compiled by the next `sandglass serve` or `demo`, once, in about a minute")
            }
            _ => Check::ok("guest", format!("{found}; get it with `sandglass guests install {}`", guest.name)),
        });
    }
    if let Err(error) = guests.default_for("python") {
        checks.push(Check::fail("guest", error.to_string(), "reinstall the program: one guest for Python comes with it"));
    }
    checks
}

/// Starts a service in a place of its own, and takes a sandbox through its life there.
pub(super) fn whole_way(console: &Console) -> Vec<Check> {
    let failed = |error: String| vec![Check::fail("trial", error, "the lines above may say why; `sandglass serve --log debug` says more")];
    let place = match tempfile::Builder::new().prefix("sandglass-doctor-").tempdir() {
        Ok(place) => place,
        Err(error) => return failed(format!("no temporary directory can be made: {error}")),
    };
    let mut settings = Settings::new(place.path().to_owned());
    settings.listen.set_port(0);
    settings.guests = console.guests().ok();
    let server = match server::start(&settings) {
        Ok(server) => server,
        Err(error) => return failed(format!("a service can't be started: {error}")),
    };
    let compiled = catalogue::open(console).is_ok_and(|guests| {
        guests.list().into_iter().map(catalogue::shown).any(|guest| guest.tools.iter().any(|tool| tool == "python") && guest.status == "compiled")
    });
    let client = Client::new(&server.url(), Some(server.token().to_owned()));
    let checks = client.and_then(|client| life(&client, compiled));
    server.stop();
    checks.unwrap_or_else(|error| failed(error.to_string()))
}

fn life(client: &Client, compiled: bool) -> Result<Vec<Check>, ClientError> {
    let mut parts = Vec::new();
    let sandbox = timed(&mut parts, "create", || client.create_sandbox(&CreateSandbox::default()))?.name;
    timed(&mut parts, "write", || client.write(&sandbox, "/workspace/kept", b"before", None))?;
    timed(&mut parts, "overwrite", || client.write(&sandbox, "/workspace/kept", b"after", None))?;
    timed(&mut parts, "undo", || client.undo(&sandbox, 1))?;
    let content = timed(&mut parts, "read", || client.read(&sandbox, "/workspace/kept", None, 100))?;
    if content.as_deref() != Some(b"before") {
        return Ok(vec![Check::fail("trial", "undo did not bring the file back", "this is a fault of the program: please report it")]);
    }
    let mut checks = vec![Check::ok("trial", parts.join(", "))];
    if !compiled {
        checks.push(Check::warn("python", "not tried: no guest is compiled", "`sandglass demo` or `serve` compiles it, once"));
        return Ok(checks);
    }
    let mut parts = Vec::new();
    let request = |code: &str| CreateCall {
        tool: "python".to_owned(),
        arguments: serde_json::json!({ "code": code }),
        ..CreateCall::default()
    };
    let code = request("print(open('kept').read(), 6 * 7); open('made', 'w').write('x')");
    let first = timed(&mut parts, "first call", || client.call(&sandbox, &code))?;
    let second = timed(&mut parts, "next call", || client.call(&sandbox, &request("print(open('made').read())")))?;
    let good = first.status == CallStatus::Ok && first.stdout == "before 42\n" && second.stdout == "x\n";
    checks.push(if good {
        Check::ok("python", parts.join(", "))
    } else {
        let why = first.message.unwrap_or_else(|| format!("it printed {:?} and {:?}", first.stdout, first.stderr));
        Check::fail("python", format!("a call went wrong: {why}"), "try `sandglass guests verify`")
    });
    Ok(checks)
}

fn timed<T>(parts: &mut Vec<String>, name: &str, work: impl FnOnce() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let start = Instant::now();
    let done = work()?;
    parts.push(format!("{name} {}", size::took(start.elapsed())));
    Ok(done)
}
