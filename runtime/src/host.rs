//! The host: the one place where store, guests, policies and sandboxes are wired together.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandglass_policy::Policy;
use sandglass_snapshots::{
    CallId, Durability, EntryBody, ImportProgress, OperationKind, SandboxId, StateId, Store, StoreOptions, StoreStats,
    Timestamp,
};

use crate::clock::{Clock, SystemClock};
use crate::component::Tools;
use crate::entropy::{Entropy, SystemEntropy};
use crate::error::{Error, ErrorKind};
use crate::exchange::Kept;
use crate::guest::Guests;
use crate::processors::Processors;
use crate::record::{CreateDetail, CreateRequest, SandboxInfo};
use crate::sandbox::{Sandbox, Shared};
use crate::session::Pool;
use crate::upkeep::{Bell, Upkeep, UpkeepSettings};

/// Numbers of a host.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the store is.
    pub directory: PathBuf,
    /// Where uploaded tools are.
    pub tools_directory: PathBuf,
    /// What an answer promises.
    pub durability: Durability,
    /// Calls that run at once; more wait.
    pub calls_running_max: usize,
    /// Calls and operations that wait for one sandbox; more are refused as busy.
    pub queue_per_sandbox_max: usize,
    /// How long an operation waits for its sandbox's turn.
    pub turn_wait_max: Duration,
    /// The policy of sandboxes that bring none.
    pub policy: Policy,
    /// Threads that read files at an import.
    pub import_threads: usize,
    /// What is kept, and how often the rest is collected.
    pub upkeep: UpkeepSettings,
    /// Bytes that an imported bundle or archive may have, unpacked.
    pub import_bytes_max: u64,
    /// Memory for sessions at hand, in bytes; those used longest ago sleep when it is used up.
    pub session_memory_bytes: usize,
}

impl Settings {
    /// Returns the defaults for a store in `directory`.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            tools_directory: directory.join("tools"),
            directory,
            durability: Durability::Disk,
            calls_running_max: 64,
            queue_per_sandbox_max: 64,
            turn_wait_max: Duration::from_secs(30),
            policy: Policy::default(),
            upkeep: UpkeepSettings::default(),
            import_threads: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            import_bytes_max: 16 << 30,
            session_memory_bytes: 1 << 30,
        }
    }
}

/// What a host takes from outside: time and randomness.
#[derive(Clone)]
pub struct Components {
    /// Time for host and guests.
    pub clock: Arc<dyn Clock>,
    /// Randomness for host and guests.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Components {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) }
    }
}

/// Counts of a host, all since it started but the first four.
#[derive(Clone, Debug)]
pub struct HostStats {
    /// Sandboxes there are.
    pub sandboxes: usize,
    /// Calls that wait or run.
    pub calls_live: usize,
    /// Calls whose guest runs.
    pub calls_running: usize,
    /// Calls that may run at once.
    pub calls_running_max: usize,
    /// Memory of calls that have ended and are kept for readers that come back, in bytes.
    pub calls_kept_bytes: usize,
    /// Calls ended, by tool and status.
    pub calls_ended: BTreeMap<(String, &'static str), u64>,
    /// Time on the clock of all calls ended.
    pub calls_wall: Duration,
    /// Sessions whose instance rests in memory, ready to go on.
    pub sessions_awake: usize,
    /// Memory of sessions at hand, in bytes.
    pub sessions_bytes: usize,
    /// What the store counts.
    pub store: StoreStats,
}

/// Runs calls in sandboxes over one store. A handle: clones are the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) world: Arc<World>,
}

/// What all sandboxes of a host share.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) guests: Guests,
    pub(crate) tools: Tools,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Where guests run: a thread each, apart from whoever asks.
    pub(crate) threads: tokio::runtime::Runtime,
    pub(crate) processors: Processors,
    pub(crate) counts: Counts,
    /// What the last round of upkeep did.
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) mounts: crate::mount::Mounts,
    /// The sessions at hand.
    pub(crate) sessions: Arc<Pool>,
    pub(crate) ended: crate::live::Ended,
    /// Wakes upkeep when the service stops.
    pub(crate) bell: Arc<Bell>,
    /// States that came from elsewhere and that no sandbox has yet.
    pub(crate) imported: Mutex<Kept>,
    sandboxes: Mutex<Registry>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Registry {
    by_name: HashMap<String, SandboxId>,
    by_id: BTreeMap<SandboxId, Arc<Shared>>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) live: AtomicUsize,
    pub(crate) running: AtomicUsize,
    wall_us: AtomicU64,
    ended: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Counts {
    pub(crate) fn ended(&self, tool: &str, status: &'static str, wall: Duration) {
        let microseconds = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        self.wall_us.fetch_add(microseconds, Ordering::Relaxed);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry((tool.to_owned(), status)).or_default() += 1;
    }
}

impl Host {
    /// Opens the store and finds its sandboxes.
    ///
    /// # Errors
    /// The store is in use, damaged or of a newer version, or threads can't be had.
    pub fn open(settings: Settings, components: Components, guests: Guests) -> Result<Self, Error> {
        let mut salt = [0; 16];
        components.entropy.fill(&mut salt);
        let options = StoreOptions { durability: settings.durability, salt, ..StoreOptions::default() };
        let store = Store::open(&settings.directory, options)?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(settings.calls_running_max.max(1))
            .thread_name("call")
            .enable_time()
            .build()
            .map_err(|error| Error::internal("the threads for calls can't be made").caused(error))?;
        let processors = Processors::new(std::thread::available_parallelism().map_or(2, usize::from))
            .map_err(|error| Error::internal("the threads for long calls can't be made").caused(error))?;
        let tools = Tools::open(settings.tools_directory.clone(), guests.compiler(), settings.calls_running_max)?;
        let sessions = Pool::new(settings.session_memory_bytes);
        let world = World {
            store,
            guests,
            tools,
            settings,
            clock: components.clock,
            entropy: components.entropy,
            threads,
            processors,
            counts: Counts::default(),
            upkeep: Mutex::default(),
            bell: Arc::default(),
            mounts: crate::mount::Mounts::default(),
            sessions,
            ended: crate::live::Ended::default(),
            imported: Mutex::default(),
            sandboxes: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        let host = Self { world: Arc::new(world) };
        host.find_sandboxes()?;
        Ok(host)
    }

    /// Reads who is in the store. One that can't be read is left out and told of: the others are served.
    fn find_sandboxes(&self) -> Result<(), Error> {
        for (id, _) in self.world.store.sandboxes() {
            let (detail, created, revision) = match self.detail_of(id) {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(sandbox.id = %id, %error, "the sandbox is damaged and not served: verify the store");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let shared = Shared::new(id, detail, revision, created, &self.world.settings);
            let mut registry = self.world.registry();
            registry.by_name.insert(shared.name().to_owned(), id);
            registry.by_id.insert(id, Arc::new(shared));
        }
        Ok(())
    }

    /// Reads a log's first entry, which says the sandbox's name and policy: those, when it was created, and the policy's
    /// revision.
    pub(crate) fn detail_of(&self, id: SandboxId) -> Result<(CreateDetail, Timestamp, u64), Error> {
        let damaged = |what: &str| Error::new(ErrorKind::Corrupt, "damaged", format!("the log of {id} {what}"));
        let first = self.world.store.entries(id, 0, 1)?.into_iter().next();
        let Some((time, EntryBody::Operation(operation))) = first.map(|entry| (entry.time, entry.body)) else {
            return Err(damaged("has no first operation"));
        };
        let detail = serde_json::from_slice(&operation.detail)
            .map_err(|error| damaged("begins with an entry that does not parse").caused(error))?;
        Ok((detail, time, operation.policy_revision))
    }

    /// Returns all sandboxes, by id.
    pub(crate) fn all_sandboxes(&self) -> Vec<Sandbox> {
        let all: Vec<_> = self.world.registry().by_id.values().map(Arc::clone).collect();
        all.into_iter().map(|shared| self.handle(shared)).collect()
    }

    /// Creates a sandbox and commits its first state.
    ///
    /// # Errors
    /// The name is taken or not allowed, the policy can't be used, the source can't be read or is over the limits.
    pub fn create(
        &self,
        request: CreateRequest,
        actor: &str,
        progress: &(dyn Fn(ImportProgress) + Sync),
    ) -> Result<Sandbox, Error> {
        crate::create::create(self, request, actor, progress)
    }

    /// Returns sandboxes by id, after one.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn sandboxes(&self, after: Option<SandboxId>, limit: usize) -> Result<Vec<SandboxInfo>, Error> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let found: Vec<_> = self
            .world
            .registry()
            .by_id
            .range((from, std::ops::Bound::Unbounded))
            .take(limit)
            .map(|(_, one)| Arc::clone(one))
            .collect();
        found.into_iter().map(|shared| self.handle(shared).info()).collect()
    }

    /// Returns a sandbox by name or id.
    ///
    /// # Errors
    /// There is none.
    pub fn sandbox(&self, name_or_id: &str) -> Result<Sandbox, Error> {
        let registry = self.world.registry();
        let by_name = registry.by_name.get(name_or_id).copied();
        let id = by_name.or_else(|| name_or_id.parse().ok());
        let shared = id.and_then(|id| registry.by_id.get(&id)).map(Arc::clone);
        drop(registry);
        shared.map(|shared| self.handle(shared)).ok_or_else(|| unknown_sandbox(name_or_id))
    }

    /// Returns a sandbox by name or id if it is the one that the asker may know of.
    ///
    /// # Errors
    /// It is another one or none: both fail alike, so that nothing shows of what others there are.
    pub fn sandbox_only(&self, name_or_id: &str, only: SandboxId) -> Result<Sandbox, Error> {
        let found = self.sandbox(name_or_id)?;
        if found.id() == only { Ok(found) } else { Err(unknown_sandbox(name_or_id)) }
    }

    /// Returns the state, if the store has it.
    pub(crate) fn known_state(&self, state: StateId) -> Result<StateId, Error> {
        if self.world.store.contains_state(state) { Ok(state) } else { Err(unknown_state(state)) }
    }

    /// Returns the guests of this host.
    #[must_use]
    pub fn guests(&self) -> &Guests {
        &self.world.guests
    }

    /// Returns counts.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        let counts = &self.world.counts;
        let sessions = self.world.sessions.stats();
        HostStats {
            sandboxes: self.world.registry().by_id.len(),
            calls_live: counts.live.load(Ordering::Relaxed),
            calls_running: counts.running.load(Ordering::Relaxed),
            calls_running_max: self.world.settings.calls_running_max,
            calls_kept_bytes: self.world.ended.bytes(),
            calls_ended: counts.ended.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            calls_wall: Duration::from_micros(counts.wall_us.load(Ordering::Relaxed)),
            sessions_awake: sessions.resting,
            sessions_bytes: sessions.bytes,
            store: self.world.store.stats(),
        }
    }

    /// Says whether calls can be served.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), Error> {
        self.world.running()?;
        match self.world.store.stopped() {
            Some(reason) => Err(Error::new(ErrorKind::Unavailable, "store_stopped", reason)
                .hinted("free space or replace the disk, then restart the service")),
            None => Ok(()),
        }
    }

    /// Ends the service: refuses new work, waits for running calls up to `grace`, then cancels them; all that was answered
    /// stays. Blocks.
    pub fn shutdown(&self, grace: Duration) {
        self.world.stopping.store(true, Ordering::SeqCst);
        self.world.bell.ring();
        self.world.mounts.end_all();
        let until = Instant::now() + grace;
        self.wait_for_calls(until);
        let all: Vec<_> = self.world.registry().by_id.values().map(Arc::clone).collect();
        all.iter().for_each(|shared| shared.cancel_all());
        self.wait_for_calls(Instant::now() + Duration::from_secs(10));
        if let Err(error) = self.world.store.sync() {
            tracing::error!(error = %error, "the last sync failed");
        }
    }

    fn wait_for_calls(&self, until: Instant) {
        while self.world.counts.live.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn handle(&self, shared: Arc<Shared>) -> Sandbox {
        Sandbox::new(self.clone(), shared)
    }

    /// Takes a name for a sandbox that is about to be; the guard gives it back unless the sandbox comes to be.
    pub(crate) fn reserve(&self, name: &str, id: SandboxId) -> Result<NameGuard<'_>, Error> {
        let mut registry = self.world.registry();
        if registry.by_name.contains_key(name) {
            return Err(Error::conflict("name_taken", format!("there is a sandbox `{name}` already"))
                .hinted("choose another name, or leave it out"));
        }
        registry.by_name.insert(name.to_owned(), id);
        Ok(NameGuard { world: &self.world, name: name.to_owned(), kept: false })
    }

    pub(crate) fn register(
        &self,
        mut name: NameGuard<'_>,
        id: SandboxId,
        detail: CreateDetail,
        time: Timestamp,
        policy_revision: u64,
    ) -> Sandbox {
        let shared = Arc::new(Shared::new(id, detail, policy_revision, time, &self.world.settings));
        self.world.registry().by_id.insert(id, Arc::clone(&shared));
        name.kept = true;
        self.handle(shared)
    }

    pub(crate) fn unregister(&self, shared: &Shared) {
        let mut registry = self.world.registry();
        registry.by_id.remove(&shared.id());
        registry.by_name.remove(shared.name());
        drop(registry);
        self.world.sessions.forget(shared.id());
    }
}

fn unknown_sandbox(name_or_id: &str) -> Error {
    let shown: String = name_or_id.chars().take(80).collect();
    Error::not_found("unknown_sandbox", format!("there is no sandbox `{shown}`"))
        .hinted("list the sandboxes to see their names and ids")
}

pub(crate) fn unknown_state(state: StateId) -> Error {
    Error::not_found("unknown_state", format!("there is no state {state}"))
        .hinted("`operations` lists the states of a sandbox")
}

/// A name that is taken while its sandbox is being made.
pub(crate) struct NameGuard<'a> {
    world: &'a World,
    name: String,
    kept: bool,
}

impl Drop for NameGuard<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.world.registry().by_name.remove(&self.name);
        }
    }
}

impl World {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses work once the service stops.
    pub(crate) fn running(&self) -> Result<(), Error> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "stopping", "the service is stopping")
                .hinted("try again in a moment"));
        }
        Ok(())
    }

    fn unix_ms(&self) -> u64 {
        u64::try_from(self.clock.now().0 / 1_000_000).unwrap_or_default()
    }

    fn random(&self) -> [u8; 10] {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        random
    }

    pub(crate) fn new_sandbox_id(&self) -> SandboxId {
        SandboxId::new(self.unix_ms(), self.random())
    }

    pub(crate) fn new_call_id(&self) -> CallId {
        CallId::new(self.unix_ms(), self.random())
    }
}

/// Returns the word for an operation's kind.
pub(crate) const fn kind_word(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Create => "create",
        OperationKind::Call => "call",
        OperationKind::Write => "write",
        OperationKind::Undo => "undo",
        OperationKind::Redo => "redo",
        OperationKind::Restore => "restore",
        OperationKind::Revert => "revert",
        OperationKind::Fork => "fork",
        OperationKind::Import => "import",
        OperationKind::Apply => "apply",
        OperationKind::Delete => "delete",
        OperationKind::Undelete => "undelete",
        OperationKind::End => "end",
    }
}
