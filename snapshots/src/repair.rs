//! Repairing: making a damaged store one that opens again, with everything that is whole, and healing what another copy has.
//!
//! Nothing is thrown away: segments that are damaged are rewritten without what does not verify, and the originals are
//! moved aside to `quarantine`. What is lost stays named: states that need it say so when they are read, and are healed by
//! any write of the same bytes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::closure::{self, roots_of};
use crate::collect::barrier::Names;
use crate::collect::rewrite::{Place, Show, rewrite};
use crate::error::StoreError;
use crate::id::{NodeId, SandboxId};
use crate::index::database::remove_database;
use crate::journal::disk::{LocalDisk, SegmentStore};
use crate::journal::reader::OpenedSegment;
use crate::journal::segment::{Placed, SegmentHeader, SegmentId};
use crate::log::{self, EntryBody, is_within, joined};
use crate::node::{NodeBatch, NodeSource};
use crate::store::{Inner, Store, StoreOptions, take_lock};
use crate::survey::{self, Found, Met};

const PAGE: usize = 512;
/// How many bytes of healed nodes are written at a time.
const HEAL_BYTES: u64 = 4 << 20;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Segments that were rewritten without what was damaged in them.
    pub segments_rewritten: u64,
    /// Segments of which nothing was left.
    pub segments_lost: u64,
    /// Places that were damaged.
    pub places: u64,
    /// Where the originals are now.
    pub quarantine: Option<PathBuf>,
    /// Nodes that other copies had.
    pub healed: u64,
    /// Nodes that are needed and that nobody had.
    pub missing: u64,
    /// Entries that were the end of their logs and that a copy had; they are among the healed.
    pub entries_returned: u64,
    /// Sandboxes that are in a copy and not here: lost with the place where they began, or given up since the copy was made.
    /// They stay away; what they hold can be exported from the copy.
    pub only_in_copies: Vec<SandboxId>,
}

/// Makes the store in a directory open again and heals what `copies` have: stores that were
/// looked at. A store that is whole stays as it is.
///
/// # Errors
/// [`StoreError::Locked`] while somebody has it open, or what reading and writing met.
pub fn repair(directory: &Path, options: &StoreOptions, copies: &[&Store]) -> Result<Repaired, StoreError> {
    let mut repaired = Repaired::default();
    {
        let _lock = take_lock(&directory.join("lock"))?;
        let segments = directory.join("segments");
        let disk = LocalDisk::open(&segments).map_err(|source| StoreError::Io {
            action: "open",
            path: segments.clone(),
            source,
        })?;
        repair_segments(&disk, &directory.join("quarantine"), &mut repaired)?;
        // Whether it is damaged can't be told as surely as it can be made anew.
        remove_database(&directory.join("index.db"))?;
    }
    let store = Store::open(directory, *options)?;
    lengthen_logs(&store, copies, &mut repaired)?;
    heal_logs(&store, copies, &mut repaired)?;
    heal(&store, copies, &mut repaired)?;
    store.sync()?;
    Ok(repaired)
}

fn repair_segments(disk: &dyn SegmentStore, quarantine: &Path, repaired: &mut Repaired) -> Result<(), StoreError> {
    let Found { segments, lost, .. } = survey::find(disk)?;
    let newest = segments.last().map(OpenedSegment::last_number);
    let after = |number: u32| segments.iter().find(|segment| segment.id().number > number);
    let before = |number: u32| segments.iter().rev().find(|segment| segment.last_number() < number);
    for (id, _) in &lost {
        repaired.places += 1;
        repaired.segments_lost += 1;
        let next = after(id.number);
        let Some(next) = next else {
            // Nothing follows: what was in it is gone, and the journal ends before it.
            aside(disk, *id, quarantine, repaired)?;
            continue;
        };
        let last_number = next.id().number - 1;
        if lost.iter().any(|(other, _)| {
            other.number < id.number && before(id.number).map(OpenedSegment::last_number) < Some(other.number)
        }) {
            // The first of several lost in a row stands for all of them.
            aside(disk, *id, quarantine, repaired)?;
            continue;
        }
        let (first_seq, previous) = match before(id.number) {
            Some(segment) => {
                let place = place_of(disk, segment, None)?;
                (place.last.0 + 1, place.last.2)
            }
            None => (1, [0; 32]),
        };
        let header = SegmentHeader { id: *id, epoch: next.header.epoch, first_seq, previous, key: next.header.key };
        let last = (next.header.first_seq - 1, next.header.epoch, next.header.previous);
        let place = Place { first: header, last_number, last };
        write(disk, &place, &[], &HashSet::new())?;
        aside(disk, *id, quarantine, repaired)?;
    }
    for segment in &segments {
        let mut whole: HashSet<Placed> = HashSet::new();
        let mut damaged = 0;
        let is_active = Some(segment.id().number) == newest;
        survey::read_all(disk, segment, is_active, &mut |met| {
            match met {
                Met::Record(_, placed, _) => whole.extend(placed),
                Met::Damage(..) => damaged += 1,
                Met::Torn(_) => {}
            }
            Ok(())
        })?;
        if damaged == 0 {
            continue;
        }
        repaired.places += damaged;
        repaired.segments_rewritten += 1;
        let place = place_of(disk, segment, after(segment.last_number()))?;
        write(disk, &place, std::slice::from_ref(segment), &whole)?;
        aside(disk, segment.id(), quarantine, repaired)?;
    }
    Ok(())
}

/// Returns where a damaged segment is in the journal: what follows it says with what it ended.
fn place_of(
    disk: &dyn SegmentStore,
    segment: &OpenedSegment,
    next: Option<&OpenedSegment>,
) -> Result<Place, StoreError> {
    let header = &segment.header;
    let mut last = (header.first_seq - 1, header.epoch, header.previous);
    survey::read_all(disk, segment, next.is_none(), &mut |met| {
        if let Met::Record(table, ..) = met {
            last = (table.header.seq, table.header.epoch, table.checksum);
        }
        Ok(())
    })?;
    if let Some(end) = segment.end() {
        last = (end.seq, end.epoch, end.checksum);
    }
    if let Some(next) = next {
        last = (next.header.first_seq - 1, last.1, next.header.previous);
    }
    Ok(Place { first: header.clone(), last_number: segment.last_number(), last })
}

fn write(
    disk: &dyn SegmentStore,
    place: &Place,
    segments: &[OpenedSegment],
    whole: &HashSet<Placed>,
) -> Result<(), StoreError> {
    let show: Show<'_> = &|segment, visit| {
        survey::read_all(disk, segment, false, &mut |met| match met {
            Met::Record(table, ..) => visit(table),
            Met::Damage(..) | Met::Torn(_) => Ok(()),
        })
    };
    rewrite(disk, place, segments, show, &|placed| whole.contains(placed), &mut || Ok(())).map(drop)
}

/// Moves a damaged file out of the way, if it is there.
fn aside(disk: &dyn SegmentStore, id: SegmentId, quarantine: &Path, repaired: &mut Repaired) -> Result<(), StoreError> {
    let from = disk.path(&id.name());
    if !from.exists() {
        return Ok(());
    }
    let failed = |source| StoreError::Io { action: "move aside", path: from.clone(), source };
    fs::create_dir_all(quarantine).map_err(failed)?;
    // An earlier repair may have put a file of this name there.
    let free = (0u32..).map(|turn| quarantine.join(format!("{}.{turn}", id.name()))).find(|path| !path.exists());
    fs::rename(&from, free.unwrap_or_else(|| quarantine.join(id.name()))).map_err(failed)?;
    repaired.quarantine = Some(quarantine.to_owned());
    Ok(())
}

/// Goes on with logs whose ends are lost, where a copy goes on from the very entry that they end with.
fn lengthen_logs(store: &Store, copies: &[&Store], repaired: &mut Repaired) -> Result<(), StoreError> {
    let ours = store.inner.index.logs();
    for (sandbox, tip) in &ours {
        let ends = copies.iter().filter_map(|copy| Some((copy, copy.inner.index.tip(*sandbox)?.head)));
        let Some((copy, end)) = ends.max_by_key(|(_, end)| end.seq).filter(|(_, end)| end.seq > tip.head.seq) else {
            continue;
        };
        let mut lost = Vec::new();
        let mut at = end.entry;
        let goes_on = loop {
            let Ok(bytes) = copy.inner.nodes.peek(&NodeId(at.0)) else { break false };
            let entry = log::decode(at, &bytes)?;
            let (seq, previous) = (entry.seq, entry.previous);
            lost.push((entry, bytes));
            match previous {
                Some(previous) if seq > tip.head.seq + 1 => at = previous,
                previous => break seq == tip.head.seq + 1 && previous == Some(tip.head.entry),
            }
        };
        // A copy that went another way is none.
        if goes_on {
            lost.reverse();
            repaired.entries_returned += lost.len() as u64;
            repaired.healed += lost.len() as u64;
            store.inner.journal.tell_again(*sandbox, lost)?;
        }
    }
    let theirs = copies.iter().flat_map(|copy| copy.inner.index.logs());
    repaired.only_in_copies =
        theirs.map(|(sandbox, _)| sandbox).filter(|id| ours.iter().all(|(our, _)| our != id)).collect();
    repaired.only_in_copies.sort_unstable();
    repaired.only_in_copies.dedup();
    store.sync()?;
    store.inner.index.with_database(|_| Ok(()))
}

/// Tells entries again that are lost and that somebody has: each names the one before it.
fn heal_logs(store: &Store, copies: &[&Store], repaired: &mut Repaired) -> Result<(), StoreError> {
    for (sandbox, tip) in store.inner.index.logs() {
        let mut healed = Vec::new();
        let mut next = Some(tip.head.entry);
        while let Some(id) = next {
            let node = NodeId(id.0);
            let entry = match store.inner.nodes.peek(&node) {
                Ok(bytes) => log::decode(id, &bytes)?,
                Err(StoreError::MissingNode(_) | StoreError::DamagedNode { .. }) => {
                    let found = copies.iter().find_map(|copy| copy.node(&node).ok());
                    let Some(bytes) = found.filter(|bytes| crate::node::node_id(bytes) == node) else { break };
                    let entry = log::decode(id, &bytes)?;
                    healed.push((entry.clone(), bytes));
                    entry
                }
                Err(error) => return Err(error),
            };
            next = entry.previous;
        }
        repaired.healed += healed.len() as u64;
        if !healed.is_empty() {
            store.inner.journal.tell_again(sandbox, healed)?;
        }
    }
    // What is not in the database yet is taken for newer than what is: here it is not.
    store.sync()?;
    store.inner.index.with_database(|_| Ok(()))
}

/// Writes what is missing and somebody has, until nobody has more: a healed directory may show what is missing below it.
fn heal(store: &Store, copies: &[&Store], repaired: &mut Repaired) -> Result<(), StoreError> {
    let hold = store.hold();
    loop {
        let missing = missing(&store.inner)?;
        repaired.missing = missing.len() as u64;
        let mut batch = NodeBatch::new();
        let mut healed = 0;
        for id in &missing {
            let found = copies.iter().find_map(|copy| copy.node(id).ok());
            let Some(bytes) = found.filter(|bytes| crate::node::node_id(bytes) == *id) else { continue };
            batch.insert(bytes);
            healed += 1;
            if batch.byte_len() >= HEAL_BYTES {
                store.put(&hold, std::mem::take(&mut batch))?;
            }
        }
        store.put(&hold, batch)?;
        repaired.healed += healed;
        repaired.missing -= healed;
        if healed == 0 {
            return Ok(());
        }
    }
}

/// Returns every node that a log leads to and that is not there.
fn missing(inner: &Inner) -> Result<Vec<NodeId>, StoreError> {
    let mut seen = Names::default();
    let mut missing = Vec::new();
    let mut waiting: Vec<(NodeId, bool)> = Vec::new();
    for (sandbox, _) in inner.index.logs() {
        let mut expired: Vec<(u64, u64)> = Vec::new();
        let mut before = u64::MAX;
        loop {
            let page = inner.unbelieved_before(sandbox, before, PAGE)?;
            let Some(last) = page.last() else { break };
            before = last.seq;
            for entry in &page {
                if let EntryBody::Expired { ranges } = &entry.body {
                    expired = joined(expired.into_iter().chain(ranges.iter().copied()).collect());
                }
                if !is_within(&expired, entry.seq) {
                    let roots = roots_of(&entry.body);
                    waiting.extend(roots.states.into_iter().map(|state| (state.into(), false)));
                    waiting.extend(roots.blobs.into_iter().map(|blob| (blob, true)));
                }
            }
        }
        while let Some((id, is_leaf)) = waiting.pop() {
            if !seen.insert(&id) {
                continue;
            }
            if is_leaf {
                if inner.index.locate(&id)?.is_none() {
                    missing.push(id);
                }
                continue;
            }
            match inner.nodes.peek(&id) {
                Ok(bytes) => closure::children(&id, &bytes, &mut |child, is_leaf| waiting.push((child, is_leaf)))?,
                Err(StoreError::MissingNode(_) | StoreError::DamagedNode { .. }) => missing.push(id),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(missing)
}
