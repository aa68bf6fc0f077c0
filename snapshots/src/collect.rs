//! Collecting garbage: what no log entry and no hold leads to is taken out of the segments, while calls go on.
//!
//! 1. *Mark*: from every entry that was not given up (`retention.rs`), and from every hold, to everything below.
//! 2. *Weigh*: of each segment that nobody writes on any more, how much of it is left.
//! 3. *Sweep*: segments with enough garbage are rewritten without it, one after another.
//!
//! Each step is small and may be the last: a killed collection has changed nothing that anybody can see, or has finished
//! some segments and not others. What it may take is fixed by the log alone, so the next one goes on.

pub(crate) mod barrier;
mod mark;
pub(crate) mod rewrite;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use self::barrier::{Phase, Verdict};
use self::mark::Marker;
use self::rewrite::{Place, Show, every_record};
use crate::error::StoreError;
use crate::id::{EntryId, NodeId, SandboxId};
use crate::index::damaged_index;
use crate::index::swap::Swap;
use crate::journal::layout::Layout;
use crate::journal::reader::OpenedSegment;
use crate::journal::recovery::io_error;
use crate::journal::segment::{HEADER_BYTES, Placed, SegmentId};
use crate::journal::{is_full, lock};
use crate::store::{Inner, Store};

/// With less free space than this, a collection begins by using what was set aside.
const LOW_BYTES: u64 = 8 << 20;
/// How many nodes are marked between two looks at whether to go on.
const MARK_STEP: usize = 256;
/// Segments that are this much smaller than the largest are joined with their neighbours.
const SMALL_PART: u64 = 8;
/// How many small segments in a row are worth joining when there is no garbage in them.
const SMALL_RUN: usize = 8;

/// How a collection weighs cost against gain.
#[derive(Clone, Copy, Debug)]
pub struct CollectOptions {
    /// From which part of garbage on, in percent of its bytes, a segment is rewritten.
    pub garbage_percent_min: u8,
    /// Whether to stop before anything is taken: then only the numbers are of interest.
    pub only_weigh: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { garbage_percent_min: 25, only_weigh: false }
    }
}

/// Where a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectStep {
    /// So many nodes are marked.
    Mark(u64),
    /// So many segments are weighed.
    Weigh(u64),
    /// So many bytes are done, of so many.
    Sweep(u64, u64),
}

/// What a collection found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Different states that can be returned to.
    pub states: u64,
    /// Log entries.
    pub entries: u64,
    /// Sum of what the files of all those states would take each for itself, in bytes.
    pub logical_bytes: u64,
    /// Nodes and entries that are needed.
    pub nodes: u64,
    /// Bytes of them in the segments, each once.
    pub unique_bytes: u64,
    /// Bytes of the segments that were weighed that nobody needs, their share of tables included.
    pub reclaimable_bytes: u64,
    /// Bytes of all segments before.
    pub disk_bytes: u64,
    /// Segments that were rewritten or removed.
    pub segments_rewritten: u64,
    /// Bytes that had to be copied for that.
    pub copied_bytes: u64,
    /// Bytes that the disk got back.
    pub freed_bytes: u64,
    /// Purged sandboxes of which nothing is left now.
    pub purged: u64,
    /// Whether it was told to stop before it was done.
    pub stopped: bool,
}

/// A segment and what it is worth.
struct Weighed {
    segment: OpenedSegment,
    live_bytes: u64,
}

impl Store {
    /// Collects garbage. Calls may go on; `control` is asked after each small step whether to go on, and may wait.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another collection runs, [`StoreError::DamagedNode`] and [`StoreError::MissingNode`] when the
    /// store is damaged: then nothing is taken. What was rewritten before any error stays so.
    pub fn collect(
        &self,
        options: CollectOptions,
        control: &mut dyn FnMut(CollectStep) -> ControlFlow<()>,
    ) -> Result<Collected, StoreError> {
        let inner = &*self.inner;
        let _turn = self.pause_collecting()?;
        let options = CollectOptions { only_weigh: options.only_weigh || inner.is_look, ..options };
        let _idle = BackToIdle(inner);
        let free = rustix::fs::statvfs(&inner.directory).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let is_low = free.is_ok_and(|bytes| bytes < LOW_BYTES);
        if is_low && !options.only_weigh {
            inner.journal.use_reserve();
        }
        let mut collection =
            Collection { inner, options, is_low, found: Collected::default(), tombstones: HashMap::new(), control };
        let outcome = collection.run();
        if inner.reserve_bytes > 0 && !inner.is_look {
            inner.journal.refill_reserve();
        }
        match outcome {
            Ok(()) => Ok(collection.found),
            Err(StoreError::Busy(_)) => Ok(Collected { stopped: true, ..collection.found }),
            Err(error) => Err(error),
        }
    }
}

/// Ends the phases, however a collection ended.
struct BackToIdle<'a>(&'a Inner);

impl Drop for BackToIdle<'_> {
    fn drop(&mut self) {
        *self.0.barrier.change() = Phase::Idle;
    }
}

struct Collection<'a> {
    inner: &'a Inner,
    options: CollectOptions,
    /// The disk is nearly full.
    is_low: bool,
    found: Collected,
    /// The last entries of purged sandboxes, and whether something else of theirs is left.
    tombstones: HashMap<SandboxId, (EntryId, bool)>,
    control: &'a mut dyn FnMut(CollectStep) -> ControlFlow<()>,
}

impl Collection<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        let below = self.begin()?;
        let verdict = self.mark(below)?;
        self.found.nodes = verdict.live.len() as u64;
        // What the verdict rests on (entries that give up and purge) must not be lost while what it takes is.
        if !self.inner.is_look {
            self.inner.journal.sync()?;
        }
        let weighed = self.weigh(&verdict)?;
        if self.options.only_weigh {
            return Ok(());
        }
        self.sweep(&verdict, weighed)
    }

    fn step(&mut self, step: CollectStep) -> Result<(), StoreError> {
        match (self.control)(step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(StoreError::Busy("the collection was told to stop")),
        }
    }

    /// Begins to mark; returns the first segment number that is not judged.
    fn begin(&mut self) -> Result<u32, StoreError> {
        if self.inner.is_look {
            *self.inner.barrier.change() = Phase::Marking(Mutex::default());
            return Ok(u32::MAX);
        }
        // What is judged must be in the database, and stay there whatever happens.
        self.inner.journal.sync()?;
        let applied = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&applied);
        self.inner.index.with_database(move |database| {
            *lock(&asked) = database.applied()?;
            database.checkpoint()?;
            Ok(())
        })?;
        let applied: Option<crate::journal::segment::Position> = *lock(&applied);
        let below = applied.map_or(0, |position| position.segment.number);
        *self.inner.barrier.change() = Phase::Marking(Mutex::default());
        Ok(below)
    }

    /// Marks until nothing is left to mark, and lets the verdict hold from that moment on.
    fn mark(&mut self, below: u32) -> Result<Arc<Verdict>, StoreError> {
        let stopped = || StoreError::Busy("the collection was told to stop");
        let mut marker = Marker::default();
        for (sandbox, _) in self.inner.index.logs() {
            marker.log(self.inner, sandbox)?;
            while !marker.step(self.inner, MARK_STEP)? {
                self.step(CollectStep::Mark(marker.live.len() as u64))?;
            }
            self.step(CollectStep::Mark(marker.live.len() as u64))?;
        }
        for (sandbox, entry) in self.inner.index.purged()? {
            marker.live.insert(&NodeId(entry.0));
            self.tombstones.insert(sandbox, (entry, false));
        }
        marker.reach(self.inner, self.inner.holds.nodes())?;
        loop {
            while !marker.step(self.inner, MARK_STEP)? {
                self.step(CollectStep::Mark(marker.live.len() as u64))?;
            }
            let reached = {
                let phase = self.inner.barrier.enter();
                let Phase::Marking(reached) = &*phase else { return Err(stopped()) };
                std::mem::take(&mut *lock(reached))
            };
            if !reached.is_empty() {
                marker.reach(self.inner, reached)?;
                continue;
            }
            // Perhaps nothing is left: then nobody may come in before the verdict holds.
            let mut phase = self.inner.barrier.change();
            let Phase::Marking(reached) = &mut *phase else { return Err(stopped()) };
            let reached = std::mem::take(reached.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner));
            if reached.is_empty() {
                self.found.states = marker.states;
                self.found.entries = marker.entries;
                self.found.logical_bytes = marker.logical_bytes;
                let verdict = Arc::new(Verdict { live: marker.live, below });
                *phase = if self.options.only_weigh { Phase::Idle } else { Phase::Sweeping(Arc::clone(&verdict)) };
                return Ok(verdict);
            }
            drop(phase);
            marker.reach(self.inner, reached)?;
        }
    }

    /// Reads the tables of all segments.
    fn weigh(&mut self, verdict: &Verdict) -> Result<Vec<Weighed>, StoreError> {
        let disk = &*self.inner.disk;
        let layout = Layout::read(disk)?;
        let mut weighed = Vec::new();
        // A log that the index has lost would be taken whole.
        let logs = self.inner.index.logs().into_iter().map(|(sandbox, _)| sandbox);
        let known: HashSet<SandboxId> =
            logs.chain(self.inner.index.purged()?.into_iter().map(|(sandbox, _)| sandbox)).collect();
        for &(id, last_number) in &layout.segments {
            let segment = OpenedSegment::open(disk, id)?;
            self.found.disk_bytes += segment.length;
            if last_number >= verdict.below {
                continue;
            }
            let mut live_bytes = 0;
            let mut records = segment.records(disk);
            while let Some(table) = records.next()? {
                if table.header.entries > 0 && !known.contains(&table.header.sandbox) {
                    let reason = format!("it does not know {}, of which there are entries", table.header.sandbox);
                    return Err(damaged_index(self.inner.index.path(), &reason));
                }
                let live = table.items.iter().filter(|(id, _)| verdict.live.contains(id));
                live_bytes += live.map(|(_, location)| u64::from(location.length)).sum::<u64>();
                if let Some((entry, others)) = self.tombstones.get_mut(&table.header.sandbox) {
                    let entries = &table.items[..table.header.entries as usize];
                    *others |= entries.iter().any(|(id, _)| id.0 != entry.0);
                }
            }
            self.found.unique_bytes += live_bytes;
            self.found.reclaimable_bytes += segment.length.saturating_sub(HEADER_BYTES + live_bytes);
            weighed.push(Weighed { segment, live_bytes });
            self.step(CollectStep::Weigh(weighed.len() as u64))?;
        }
        Ok(weighed)
    }

    fn sweep(&mut self, verdict: &Arc<Verdict>, weighed: Vec<Weighed>) -> Result<(), StoreError> {
        let last_words: HashMap<EntryId, SandboxId> = self
            .tombstones
            .iter()
            .filter(|(_, (_, others))| !others)
            .map(|(sandbox, (entry, _))| (*entry, *sandbox))
            .collect();
        // On a full disk what is left of one segment may fit where what is left of several does not.
        let joined_bytes = if self.is_low { 0 } else { self.inner.segment_bytes };
        let runs = runs(weighed, self.options.garbage_percent_min, self.inner.segment_bytes, joined_bytes);
        let total = runs.iter().flatten().map(|segment| segment.length).sum();
        let mut done = 0;
        let mut full = None;
        for run in runs {
            self.step(CollectStep::Sweep(done, total))?;
            let forgotten: HashSet<EntryId> = HashSet::new();
            let forgotten = Mutex::new(forgotten);
            let stays = |(id, _): &Placed| {
                let entry = EntryId(id.0);
                if last_words.contains_key(&entry) {
                    lock(&forgotten).insert(entry);
                    return false;
                }
                verdict.live.contains(id)
            };
            let control = &mut *self.control;
            let mut pause = || match control(CollectStep::Sweep(done, total)) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(StoreError::Busy("the collection was told to stop")),
            };
            let disk = &*self.inner.disk;
            let Some(place) = Place::of(disk, &run)? else { continue };
            let show: Show<'_> = &|segment, visit| every_record(disk, segment, visit);
            let rewrite = match rewrite::rewrite(disk, &place, &run, show, &stays, &mut pause) {
                // The runs that take the least space came first, and what they gave back may still be enough for later ones.
                Err(StoreError::Io { source, path, .. }) if is_full(&source) => {
                    full = Some(path);
                    continue;
                }
                outcome => outcome?,
            };
            done += rewrite.bytes_before;
            let old: Vec<SegmentId> = run.iter().map(OpenedSegment::id).collect();
            drop(run);
            let gone = lock(&forgotten).iter().filter_map(|entry| last_words.get(entry).copied()).collect();
            self.replace(Swap { new: rewrite.id, last_number: rewrite.last_number, old }, gone)?;
            self.found.segments_rewritten += 1;
            self.found.copied_bytes += rewrite.bytes_after;
            self.found.freed_bytes += rewrite.bytes_before.saturating_sub(rewrite.bytes_after);
        }
        match full {
            Some(path) if self.found.freed_bytes == 0 => Err(StoreError::NoSpace { path }),
            _ => Ok(()),
        }
    }

    /// Lets the index look into the new segment, then removes the old ones.
    fn replace(&mut self, swap: Swap, purged: Vec<SandboxId>) -> Result<(), StoreError> {
        let (disk, old) = (Arc::clone(&self.inner.disk), swap.old.clone());
        self.found.purged += purged.len() as u64;
        self.inner.index.with_database(move |database| {
            database.swap(&*disk, &swap)?;
            database.forget_purged(&purged)?;
            Ok(())
        })?;
        for id in old {
            self.inner.nodes.forget(id);
            let name = id.name();
            self.inner.disk.remove(&name).map_err(|source| io_error(&*self.inner.disk, "remove", &name, source))?;
        }
        Ok(())
    }
}

/// Chooses which segments are rewritten together: those with garbage, with small neighbours as long as there is room.
/// Those of which the least is left come first.
fn runs(weighed: Vec<Weighed>, percent: u8, segment_bytes: u64, joined_bytes: u64) -> Vec<Vec<OpenedSegment>> {
    let is_small = |one: &Weighed| one.live_bytes < segment_bytes / SMALL_PART;
    let has_garbage = |one: &Weighed| {
        let garbage = one.segment.length.saturating_sub(HEADER_BYTES + one.live_bytes);
        // Tables and headers are no garbage, and a rewritten segment has some too.
        let overhead = one.live_bytes / 8 + 1024;
        garbage > overhead && u128::from(garbage) * 100 >= u128::from(one.segment.length) * u128::from(percent)
    };
    let mut runs = Vec::new();
    let mut run: Vec<Weighed> = Vec::new();
    let finish = |run: &mut Vec<Weighed>, runs: &mut Vec<(u64, Vec<OpenedSegment>)>| {
        let taken = std::mem::take(run);
        if taken.iter().any(has_garbage) || taken.len() >= SMALL_RUN {
            let left = taken.iter().map(|one| one.live_bytes).sum();
            runs.push((left, taken.into_iter().map(|one| one.segment).collect()));
        }
    };
    for one in weighed {
        let joins = has_garbage(&one) || is_small(&one);
        let bytes: u64 = run.iter().map(|one| one.live_bytes).sum();
        if !joins || bytes + one.live_bytes > joined_bytes {
            finish(&mut run, &mut runs);
        }
        if joins {
            run.push(one);
        }
    }
    finish(&mut run, &mut runs);
    runs.sort_by_key(|(left, _)| *left);
    runs.into_iter().map(|(_, run)| run).collect()
}
