//! Upkeep: giving up what sandboxes no longer keep, emptying the trash, collecting what nobody needs. In the background, in
//! small steps, stepping aside while calls run.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use sandglass_snapshots::{CollectOptions, CollectStep, Collected, EntryBody, NodeBatch, Retention, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::{Host, World};
use crate::offline::{Look, Verification};
use crate::sandbox::{Sandbox, busy};

/// The kind of a log entry that sets what its sandbox keeps.
const RETENTION_ENTRY: u16 = 1;
/// How long upkeep waits for the turn of a busy sandbox before it leaves it for the next time.
const TURN_WAIT: Duration = Duration::from_millis(200);
/// How long upkeep rests between two steps while calls run.
const STEP_ASIDE: Duration = Duration::from_millis(2);
/// Rounds do not follow one another faster than this.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What a sandbox keeps at most; a limit that is absent is none. The newest operation and named checkpoints are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Operations, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// How old an operation may get, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Bytes of the store that its operations take together, each node counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// How a host is kept up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepSettings {
    /// What sandboxes keep that have no rule of their own.
    pub keep: Keep,
    /// Bytes that the operations of all sandboxes may take together; the oldest are given up first.
    pub store_bytes: Option<u64>,
    /// How long what was deleted can be taken back.
    pub trash: Duration,
    /// How long upkeep rests between two rounds.
    pub interval: Duration,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            keep: Keep { operations: Some(10_000), age_seconds: Some(90 * DAY), bytes: None },
            store_bytes: None,
            trash: Duration::from_secs(7 * DAY),
            interval: Duration::from_secs(600),
        }
    }
}

/// What one round of upkeep did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upkeep {
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Sandboxes that gave something up.
    pub sandboxes_expired: u64,
    /// Sandboxes that were busy and are left for the next round.
    pub sandboxes_busy: u64,
    /// Deleted sandboxes that are gone for good now.
    pub sandboxes_purged: u64,
    /// What the collection found and did.
    pub collected: Collected,
}

impl Host {
    /// Does a round of upkeep. Blocks; calls go on beside it.
    ///
    /// # Errors
    /// Another round runs, or the store is damaged: then nothing is taken.
    pub fn keep_up(&self, progress: &mut dyn FnMut(CollectStep)) -> Result<Upkeep, Error> {
        let world = &*self.world;
        let settings = world.settings.upkeep;
        let now = world.clock.now();
        let mut done = Upkeep::default();
        for trashed in world.store.trash() {
            done.sandboxes_purged += u64::from(world.store.purge(trashed.sandbox, settings.trash, now)?);
        }
        let since = match settings.store_bytes {
            Some(bytes) => world.store.fits_since(bytes)?,
            None => None,
        };
        for sandbox in self.all_sandboxes() {
            match sandbox.expire(since, now) {
                Ok(true) => done.sandboxes_expired += 1,
                Ok(false) => {}
                Err(error) if error.code() == "busy" => done.sandboxes_busy += 1,
                // Deleted meanwhile, or one that is damaged: the others are kept up nevertheless.
                Err(error) => tracing::warn!(sandbox.id = %sandbox.id(), %error, "upkeep of a sandbox"),
            }
        }
        done.collected = self.collect(CollectOptions::default(), progress)?;
        done.ended = Some(world.clock.now());
        *world.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = done;
        tracing::info!(
            expired = done.sandboxes_expired,
            purged = done.sandboxes_purged,
            freed_bytes = done.collected.freed_bytes,
            reclaimable_bytes = done.collected.reclaimable_bytes,
            "upkeep"
        );
        Ok(done)
    }

    /// Weighs what the store holds; nothing is taken.
    ///
    /// # Errors
    /// A round of upkeep runs, or the store is damaged.
    pub fn weigh(&self, progress: &mut dyn FnMut(CollectStep)) -> Result<Collected, Error> {
        self.collect(CollectOptions { only_weigh: true, ..CollectOptions::default() }, progress)
    }

    /// Verifies the store: every byte is read anew, then every log and state is walked. Nothing is collected meanwhile.
    ///
    /// # Errors
    /// A round of upkeep runs, or the store can't be read.
    pub fn verify(&self) -> Result<Verification, Error> {
        let store = &self.world.store;
        let _paused = store.pause_collecting()?;
        Look::open(store.directory(), &mut |_| {})?.verify(&mut |_| {})
    }

    fn collect(&self, options: CollectOptions, progress: &mut dyn FnMut(CollectStep)) -> Result<Collected, Error> {
        let world = &*self.world;
        let collected = world.store.collect(options, &mut |step| {
            progress(step);
            if world.running().is_err() {
                return ControlFlow::Break(());
            }
            if world.counts.running.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                std::thread::sleep(STEP_ASIDE);
            }
            ControlFlow::Continue(())
        })?;
        Ok(collected)
    }

    /// Returns what the last round of upkeep did.
    #[must_use]
    pub fn last_upkeep(&self) -> Upkeep {
        *self.world.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts doing rounds of upkeep in a thread of its own until the host is gone.
    pub fn start_upkeep(&self) {
        let world = Arc::downgrade(&self.world);
        let interval = self.world.settings.upkeep.interval.max(INTERVAL_MIN);
        let bell = Arc::clone(&self.world.bell);
        let started = std::thread::Builder::new().name("upkeep".to_owned()).spawn(move || run(&world, interval, &bell));
        if let Err(error) = started {
            tracing::error!(%error, "upkeep can't be started: nothing is given up or collected");
        }
    }
}

/// Rings when the service stops.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    is_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rings.notify_all();
    }

    /// Waits; says whether it rang meanwhile.
    fn wait(&self, time: Duration) -> bool {
        let is_rung = self.is_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.rings.wait_timeout_while(is_rung, time, |is_rung| !*is_rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn run(world: &Weak<World>, interval: Duration, bell: &Bell) {
    while !bell.wait(interval) {
        let Some(world) = world.upgrade() else { return };
        let host = Host { world };
        if let Err(error) = host.keep_up(&mut |_| {}) {
            tracing::error!(%error, "upkeep");
        }
    }
}

impl Sandbox {
    /// Returns what this sandbox keeps, and whether that is a rule of its own.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn retention(&self) -> Result<(Keep, bool), Error> {
        let own = self.world().store.newest_other(self.id(), RETENTION_ENTRY)?;
        let parsed = own.and_then(|(_, bytes)| serde_json::from_slice::<Option<Keep>>(&bytes).ok().flatten());
        Ok(parsed.map_or((self.world().settings.upkeep.keep, false), |keep| (keep, true)))
    }

    /// Sets what this sandbox keeps; `None` takes its rule away. What is kept from then on is decided by the next upkeep.
    ///
    /// # Errors
    /// The sandbox is busy, or the entry can't be written.
    pub fn set_retention(&self, keep: Option<Keep>, actor: &str) -> Result<(), Error> {
        let bytes = serde_json::to_vec(&keep)
            .map_err(|error| Error::internal("what to keep can't be written").caused(error))?;
        let turn = self.take_turn()?;
        let head = self.head()?;
        self.append_body(&turn, &head, vec![EntryBody::Other { kind: RETENTION_ENTRY, bytes }], NodeBatch::new())?;
        tracing::info!(sandbox.id = %self.id(), ?keep, actor, "retention set");
        Ok(())
    }

    /// Gives up what the sandbox no longer keeps; says whether there was anything.
    fn expire(&self, since: Option<Timestamp>, now: Timestamp) -> Result<bool, Error> {
        let (keep, _) = self.retention()?;
        let oldest = keep.age_seconds.map(|seconds| {
            let age = i64::try_from(u128::from(seconds) * 1_000_000_000).unwrap_or(i64::MAX);
            Timestamp(now.0.saturating_sub(age))
        });
        let retention = Retention {
            operations: keep.operations,
            since: oldest.into_iter().chain(since).max(),
            bytes: keep.bytes,
            trash: self.world().settings.upkeep.trash,
        };
        let store = &self.world().store;
        // A log may be long: calls go on while it is read.
        let Some(found) = store.expirable(self.id(), &retention, now)? else { return Ok(false) };
        let _turn = self.shared.turn().take(TURN_WAIT).map_err(busy)?;
        store.expire(found)?;
        Ok(true)
    }

    /// Says which of the sandbox's entries gave up their states and outputs.
    pub(crate) fn expired(&self) -> Result<Expired, Error> {
        Ok(Expired(self.world().store.expired(self.id())?))
    }
}

/// Entries of a log that no longer keep their states and outputs.
pub(crate) struct Expired(Vec<(u64, u64)>);

impl Expired {
    pub(crate) fn contains(&self, seq: u64) -> bool {
        let place = self.0.partition_point(|(_, last)| *last < seq);
        self.0.get(place).is_some_and(|(first, _)| *first <= seq)
    }
}
