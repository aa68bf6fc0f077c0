//! The resources of the REST API, one a file, and what their handlers share.

pub(crate) mod calls;
pub(crate) mod checkpoints;
pub(crate) mod conditions;
pub(crate) mod events;
pub(crate) mod extract;
pub(crate) mod files;
pub(crate) mod gate;
pub(crate) mod guests;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod idempotency;
pub(crate) mod intake;
pub(crate) mod mounts;
pub(crate) mod operations;
pub(crate) mod output;
pub(crate) mod page;
pub(crate) mod problem;
pub(crate) mod sandboxes;
pub(crate) mod sessions;
pub(crate) mod states;
pub(crate) mod tokens;
pub(crate) mod tools;
pub mod types;
pub(crate) mod upkeep;
pub(crate) mod uploads;
pub(crate) mod view;

use std::ops::Deref;
use std::sync::Arc;

use sandglass_runtime::{CallId, Host, Sandbox, StateId};
use tokio::sync::{Semaphore, watch};

use crate::auth::Tokens;
use crate::control::Control;
use crate::telemetry::Metrics;
use gate::Gate;
use idempotency::Idempotency;
use problem::{Failure, Kind};
use uploads::Uploads;

/// Streams open at once; each holds a connection for as long as its reader likes.
const STREAMS_MAX: usize = 512;
/// Exports at once; each holds a thread for as long as its reader takes.
const EXPORTS_MAX: usize = 16;
/// Imports at once; each holds a thread for as long as its sender takes.
const IMPORTS_MAX: usize = 16;

/// What every handler has: the host and what stands between it and the network.
#[derive(Clone)]
pub(crate) struct Service(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) tokens: Tokens,
    pub(crate) control: Arc<Control>,
    pub(crate) gate: Gate,
    pub(crate) idempotency: Idempotency,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) imports: Arc<Semaphore>,
    pub(crate) uploads: Uploads,
    /// Turns true when the service shall end: streams end then.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Service {
    pub(crate) fn new(host: Host, tokens: Tokens, control: Arc<Control>, stopping: watch::Receiver<bool>) -> Self {
        let (idempotency, metrics) = (Idempotency::new(Arc::clone(&control)), Metrics::new(host.clone()));
        Self(Arc::new(Parts {
            host,
            tokens,
            control,
            gate: Gate::new(),
            idempotency,
            metrics,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            imports: Arc::new(Semaphore::new(IMPORTS_MAX)),
            uploads: Uploads::new(),
            stopping,
        }))
    }

    /// Runs what only looks, on a thread that may block.
    pub(crate) async fn look<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Host) -> Result<T, sandglass_runtime::Error> + Send + 'static,
    {
        let host = self.host.clone();
        self.gate.look(move || work(&host)).await?.map_err(Failure::from)
    }

    /// Runs what looks into one sandbox.
    pub(crate) async fn look_in<T, F>(&self, sandbox: String, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Sandbox) -> Result<T, sandglass_runtime::Error> + Send + 'static,
    {
        self.look(move |host| work(&host.sandbox(&sandbox)?)).await
    }

    /// Runs what changes things and may wait for a sandbox's turn.
    pub(crate) async fn change<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Host) -> Result<T, sandglass_runtime::Error> + Send + 'static,
    {
        let host = self.host.clone();
        self.gate.change(move || work(&host)).await?.map_err(Failure::from)
    }

    /// Runs what changes one sandbox.
    pub(crate) async fn change_in<T, F>(&self, sandbox: String, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Sandbox) -> Result<T, sandglass_runtime::Error> + Send + 'static,
    {
        self.change(move |host| work(&host.sandbox(&sandbox)?)).await
    }
}

impl Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Reads a state's id where a request names one.
pub(crate) fn state_id(text: &str) -> Result<StateId, Failure> {
    text.parse().map_err(|error: sandglass_runtime::IdError| Failure::invalid("invalid_state", error.to_string()))
}

/// Reads a call's id in a path; what is no id names no call.
pub(crate) fn call_id(text: &str) -> Result<CallId, Failure> {
    text.parse()
        .map_err(|error: sandglass_runtime::IdError| Failure::new(Kind::NotFound, "unknown_call", error.to_string()))
}
