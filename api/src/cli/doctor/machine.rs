//! What the machine is: kernel, memory, clock, disk, directories, ports, programs.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;

use super::Check;
use crate::auth::TOKEN_FILE;
use crate::cli::console::Console;
use crate::cli::size;
use crate::client::Client;

const MEMORY_LEAST: u64 = 512 * 1024 * 1024;
const MEMORY_WANTED: u64 = 2 * 1024 * 1024 * 1024;
const DISK_LEAST: u64 = 256 * 1024 * 1024;
const DISK_WANTED: u64 = 4 * 1024 * 1024 * 1024;
/// No machine of today is before this time: 2025-01-01.
const CLOCK_LEAST_S: i64 = 1_735_689_600;

pub(super) fn system() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let found = format!("{} {} {}", std::env::consts::OS, release.trim(), std::env::consts::ARCH);
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Check::ok("system", found);
    }
    Check::warn("system", found, "only Linux on x86-64 is tested")
}

pub(super) fn memory() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: u64 = line.trim_start_matches(':').trim().split(' ').next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    let (Some(available), Some(total)) = (value("MemAvailable"), value("MemTotal")) else {
        return Check::warn("memory", "not known", "/proc/meminfo can't be read");
    };
    let found = format!("{} of {} available", size::bytes(available), size::bytes(total));
    match () {
        () if available < MEMORY_LEAST => {
            Check::fail("memory", found, "a Python call needs 64 MiB and more; end other programs")
        }
        () if available < MEMORY_WANTED => {
            Check::warn("memory", found, "few calls can run at once; compiling python-data needs 2 GiB")
        }
        () => Check::ok("memory", found),
    }
}

pub(super) fn clock() -> Check {
    let now = Timestamp::now();
    if now.as_second() < CLOCK_LEAST_S {
        return Check::fail("clock", now.to_string(), "set the clock: the log's times and ids come from it");
    }
    Check::ok("clock", format!("{now:.0}"))
}

/// Finds the directory or the nearest one above it that there is.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"))
}

pub(super) fn disk(data: &Path) -> Check {
    let Ok(found) = rustix::fs::statvfs(existing(data)) else {
        return Check::warn("disk", "not known", "the file system of the data directory can't be asked");
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let text = format!("{} free for {}", size::bytes(free), data.display());
    match () {
        () if free < DISK_LEAST => Check::fail("disk", text, "free space, or choose another place with --data DIR"),
        () if free < DISK_WANTED => Check::warn("disk", text, "python-data takes 1 GiB installed and compiled"),
        () => Check::ok("disk", text),
    }
}

pub(super) fn data_directory(data: &Path) -> Check {
    let shown = data.display();
    match fs::metadata(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = existing(data);
            if rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_err() {
                return Check::fail(
                    "data",
                    format!("{shown} can't be made in {}", parent.display()),
                    "choose another place with --data DIR",
                );
            }
            Check::ok("data", format!("{shown} will be made by the first start"))
        }
        Err(error) => Check::fail("data", format!("{shown}: {error}"), "choose another place with --data DIR"),
        Ok(found) if !found.is_dir() => {
            Check::fail("data", format!("{shown} is no directory"), "choose another place with --data DIR")
        }
        Ok(_) if rustix::fs::access(data, rustix::fs::Access::WRITE_OK).is_err() => Check::fail(
            "data",
            format!("{shown} can't be written"),
            "its owner runs the service; or choose another place with --data DIR",
        ),
        Ok(found) if found.mode() & 0o077 != 0 => Check::warn(
            "data",
            format!("{shown} can be entered by other users (mode {:04o})", found.mode() & 0o7777),
            format!("chmod 700 {shown}"),
        ),
        Ok(_) => Check::ok("data", shown.to_string()),
    }
}

pub(super) fn token(data: &Path) -> Check {
    let path = data.join(TOKEN_FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Check::ok("token", "will be made by the first start"),
        Err(error) => Check::fail("token", format!("{}: {error}", path.display()), "its owner runs the service"),
        Ok(found) if found.mode() & 0o077 != 0 => Check::fail(
            "token",
            format!("{} can be read by other users (mode {:04o})", path.display(), found.mode() & 0o7777),
            format!("chmod 600 {}", path.display()),
        ),
        Ok(_) => Check::ok("token", path.display().to_string()),
    }
}

pub(super) fn service(console: &Console) -> Check {
    let server = console.server();
    match Client::new(server, None).and_then(|client| client.ready()) {
        Ok(health) => Check::ok("service", format!("{server} is {} (version {})", health.status, health.version)),
        Err(error) => Check::warn("service", error.to_string(), "start it with `sandglass serve`"),
    }
}

pub(super) fn port(server: &str) -> Check {
    let address = server.trim_start_matches("http://").trim_end_matches('/').replace("localhost", "127.0.0.1");
    match address.parse::<std::net::SocketAddr>().map(TcpListener::bind) {
        Ok(Ok(_)) => Check::ok("port", format!("{address} is free")),
        Ok(Err(error)) => Check::warn(
            "port",
            format!("{address}: {error}"),
            "another program has it: `sandglass serve --listen 127.0.0.1:0` picks a free one",
        ),
        Err(_) => Check::ok("port", format!("{address} is not on this machine")),
    }
}

pub(super) fn installer() -> Check {
    let version =
        Command::new("python3").args(["-m", "pip", "--version"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match version {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let words: Vec<_> = text.split_whitespace().take(2).collect();
            Check::ok("pip", words.join(" "))
        }
        _ => Check::warn(
            "pip",
            "python3 with pip is not there",
            "`sandglass guests install NAME` fetches with it; --from FILE does without",
        ),
    }
}
