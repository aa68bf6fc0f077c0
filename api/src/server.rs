//! Starts and stops the service: the data directory, the listener, signals, the graceful end.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sandglass_runtime::{Components, Durability, GuestError, GuestSettings, Guests, Host, Progress};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::auth::{TOKEN_FILE, TokenError, Tokens, open_token};
use crate::config::Settings;
use crate::control::{Control, FILE as CONTROL_FILE};
use crate::http::Service;
use crate::http::gate::THREADS_MAX;
use crate::origin::Origins;
use crate::router::router;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 2048;
/// How long a client may take for the head of a request, and how long a connection may rest between two.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// How long answers may take that are ready when the calls have ended.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// What a shell reports for a program that SIGINT ended.
const EXIT_FORCED: i32 = 130;

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could reach the address, and everything would be readable on the way.
    #[error(
        "{0} can be reached from other machines, and tokens and files would travel unencrypted: listen on 127.0.0.1 behind a \
         proxy that speaks TLS, or insist with --insecure-listen"
    )]
    NotLoopback(SocketAddr),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory can't be made or used.
    #[error("can't use the data directory {path}: {source}")]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The token can't be read or made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The guests can't be looked at.
    #[error(transparent)]
    Guests(#[from] GuestError),
    /// The store can't be opened.
    #[error(transparent)]
    Host(#[from] sandglass_runtime::Error),
    /// The control database can't be opened.
    #[error("can't open {CONTROL_FILE} in the data directory: {0}")]
    Control(#[from] rusqlite::Error),
    /// Threads or signals can't be had.
    #[error("can't start threads: {0}")]
    Threads(io::Error),
}

/// How `serve` tells that it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// `listening on http://127.0.0.1:7777`, and in the next line where the token is.
    Text,
    /// One line with a JSON object: `{"listening", "token_file", "data", "version", "pid"}`.
    Json,
}

/// A service that runs in threads of its own until it is stopped or dropped. To be dropped outside of async code.
pub struct Server {
    address: SocketAddr,
    token: String,
    data: PathBuf,
    grace: Duration,
    stopping: watch::Sender<bool>,
    /// Kept until the end: dropped by a task, it would take its threads down from within.
    host: Host,
    running: Option<(Runtime, JoinHandle<()>)>,
}

/// Opens the data directory, listens, and returns once requests are answered. Blocks; needs no async runtime around it.
/// Guests that are not compiled yet are compiled by the first call that needs them.
///
/// # Errors
/// The data directory is in use or can't be read, the address is taken, or it is not the loopback's.
pub fn start(settings: &Settings) -> Result<Server, ServeError> {
    start_after(settings, |_| Ok(()))
}

fn start_after(
    settings: &Settings,
    prepare: impl FnOnce(&Guests) -> Result<(), GuestError>,
) -> Result<Server, ServeError> {
    if !settings.listen.ip().is_loopback() && !settings.insecure_listen {
        return Err(ServeError::NotLoopback(settings.listen));
    }
    let unusable = |source| ServeError::Data { path: settings.data.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&settings.data).map_err(unusable)?;
    let data = settings.data.canonicalize().map_err(unusable)?;
    let refused = |source| ServeError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;

    let guests = Guests::open(GuestSettings::new(settings.guests.clone().unwrap_or_else(|| data.join("guests"))))?;
    prepare(&guests)?;
    guests.prepare_commands();
    let host = Host::open(host_settings(settings, &data), Components::default(), guests)?;
    host.start_upkeep();
    let token = open_token(&data)?;
    // The host has the store's lock, so that nobody else has this open.
    let control = Arc::new(Control::open(&data)?);
    let tokens = Tokens::open(&token, &control)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("api")
        .max_blocking_threads(THREADS_MAX)
        .enable_all()
        .build()
        .map_err(ServeError::Threads)?;
    let (stopping, stopped) = watch::channel(false);
    let service = Service::new(host.clone(), tokens, control, stopped.clone());
    let origins = Origins::new(address, &settings.hosts, &settings.origins);
    let routes = router(&service, origins);
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(refused)?
    };
    let accepting = runtime.spawn(accept(listener, routes, stopped));
    let running = Some((runtime, accepting));
    Ok(Server { address, token, data, grace: settings.grace, stopping, host, running })
}

fn host_settings(settings: &Settings, data: &Path) -> sandglass_runtime::Settings {
    sandglass_runtime::Settings {
        durability: if settings.durable { Durability::Disk } else { Durability::Process },
        calls_running_max: settings.calls_running_max,
        queue_per_sandbox_max: settings.queue_per_sandbox_max,
        upkeep: settings.upkeep,
        import_bytes_max: settings.import_bytes_max,
        session_memory_bytes: settings.session_memory_bytes,
        tools_directory: data.join("tools"),
        ..sandglass_runtime::Settings::new(data.join("store"))
    }
}

/// Starts the service, prints its start line, and returns when a signal has stopped it. What `sandglass serve` does: guests
/// are compiled before anything is served. A second signal ends the process at once.
///
/// # Errors
/// As [`start`], or guests can't be compiled.
pub fn serve(settings: &Settings, start_line: StartLine) -> Result<(), ServeError> {
    let server = start_after(settings, |guests| guests.prepare(&Steps))?;
    server.announce(start_line);
    server.wait_for_signal()?;
    tracing::info!(grace_s = settings.grace.as_secs_f64(), "stopping: running calls may end within the grace");
    server.stop();
    Ok(())
}

/// Tells on standard error what the start takes its time for.
struct Steps;

impl Progress for Steps {
    fn step(&self, what: &str, done: u64, total: Option<u64>) {
        if total.is_none() || total == Some(done) || done == 0 {
            tracing::info!(done, total, "{what}");
        }
    }
}

impl Server {
    /// Returns the address that it listens on, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the file that the token is in.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.data.join(TOKEN_FILE)
    }

    /// Stops it: no new requests, running calls may end within the grace and are cancelled then, and everything that was
    /// answered is flushed. Blocks.
    pub fn stop(mut self) {
        self.halt(self.grace);
    }

    fn halt(&mut self, grace: Duration) {
        let Some((runtime, accepting)) = self.running.take() else { return };
        self.stopping.send_replace(true);
        self.host.shutdown(grace);
        if runtime.block_on(async { tokio::time::timeout(LAST_ANSWERS, accepting).await }).is_err() {
            tracing::warn!("some connections were cut off");
        }
        runtime.shutdown_timeout(LAST_ANSWERS);
    }

    fn announce(&self, start_line: StartLine) {
        let (url, token_file) = (self.url(), self.token_file());
        let text = match start_line {
            StartLine::Text => format!("listening on {url}\nthe token is in {}\n", token_file.display()),
            StartLine::Json => {
                let line = serde_json::json!({
                    "listening": url, "token_file": token_file, "data": self.data,
                    "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(),
                });
                format!("{line}\n")
            }
        };
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            tracing::warn!("nobody reads the start line");
        }
        tracing::info!(listening = url, token_file = %token_file.display(), "serving");
    }

    fn wait_for_signal(&self) -> Result<(), ServeError> {
        let Some((runtime, _)) = &self.running else { return Ok(()) };
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Threads)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Threads)?;
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            tokio::spawn(async move {
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
                tracing::warn!("a second signal: ending at once");
                std::process::exit(EXIT_FORCED);
            });
            Ok(())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt(Duration::ZERO);
    }
}

/// Resolves when the service stops. Its own function, so that the guard which `wait_for` gives does not live on.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the service is gone, which is no different.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// Accepts connections until the service stops, then waits for those there are.
async fn accept(listener: tokio::net::TcpListener, routes: Router, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, routes.clone(), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Such as too many open files: others will be closed, and until then asking again at once would spin.
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(stream: TcpStream, routes: Router, mut stopping: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "a connection was lost at once");
        return;
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
