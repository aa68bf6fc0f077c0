//! What the service is told at its start: numbers and paths, from flags, then environment, then defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sandglass_runtime::UpkeepSettings;

/// Where the service listens when nothing else is said.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7777);

/// Everything that `server::start` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where states, guests, the token and the control database lie. Made when missing, for this user only.
    pub data: PathBuf,
    /// Where downloaded and compiled guests lie; `guests` in the data directory when absent. Services may share it.
    pub guests: Option<PathBuf>,
    /// Names besides the loopback's that requests may give as `Host`, each `name` or `name:port`.
    pub hosts: Vec<String>,
    /// Origins of web pages that may call the service, such as `https://console.example`. None by default.
    pub origins: Vec<String>,
    /// Listen on an address that others can reach, without TLS: tokens and files are then readable on the network.
    pub insecure_listen: bool,
    /// Whether an answered call is on the disk (true), or only with the operating system (false).
    pub durable: bool,
    /// Most calls that run at once.
    pub calls_running_max: usize,
    /// Most calls that wait for one sandbox.
    pub queue_per_sandbox_max: usize,
    /// What is kept, and how often the rest is collected.
    pub upkeep: UpkeepSettings,
    /// Most bytes of a bundle or archive that is imported, as it comes and unpacked.
    pub import_bytes_max: u64,
    /// Memory for sessions at hand, in bytes; those used longest ago sleep when it is used up.
    pub session_memory_bytes: usize,
    /// How long running requests may go on after the service was asked to stop.
    pub grace: Duration,
}

impl Settings {
    /// Returns the default settings over a data directory.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            listen: LISTEN_DEFAULT,
            data,
            guests: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            insecure_listen: false,
            durable: true,
            calls_running_max: 64,
            queue_per_sandbox_max: 64,
            upkeep: UpkeepSettings::default(),
            import_bytes_max: 16 << 30,
            session_memory_bytes: 1 << 30,
            grace: Duration::from_secs(10),
        }
    }
}
