//! Memory images: what the linear memory of a session holds beyond what its module begins with.
//!
//! An image is either *whole*, a table of the pages that differ from the module's first memory, or a *change* of another image:
//! a turn of an interpreter writes many pages and changes few bytes in each, so a change is small and is one node. Changes of
//! changes form a chain; whoever writes images ends it with a whole one now and then .
//!
//! So an image's name follows from how it came to be, not from its bytes alone: equal memories may have different names, one name
//! never means different memories. The layout is told in `docs/formats/tree.md`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::error::StoreError;
use crate::id::NodeId;
use crate::node::{NodeBatch, NodeKind, NodeSource};
use crate::tree::source::damaged;

/// Bytes of a page of an image.
pub const PAGE_BYTES: usize = 4096;
/// Pages of a group, the least that a whole image stores: 64 KiB.
const GROUP_PAGES: u32 = 16;
/// Groups below a branch: 16 MiB.
const BRANCH_GROUPS: u32 = 256;
/// The largest memory, in bytes: what 32-bit addresses reach.
const MEMORY_BYTES_MAX: u64 = 1 << 32;
/// So many pages can there be.
const PAGES_MAX: u32 = 1 << 20;
/// Equal bytes between two changes that are cheaper to store than a second place.
const GAP_BYTES: usize = 12;
/// Bytes of patches that one change may hold: what writes more is stored whole.
pub const PATCH_BYTES_MAX: usize = 2 << 20;

const FORMAT: u8 = 1;
const WHOLE: u8 = 0;
const BRANCH: u8 = 1;
const GROUP: u8 = 2;
const CHANGE: u8 = 3;

/// A page's bytes.
pub type Page = [u8; PAGE_BYTES];

/// The places of a memory that are not as they were, in order: what one call changed, or several one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patches {
    bytes: Vec<u8>,
}

impl Patches {
    /// Adds what differs in one page; says whether anything does.
    pub fn push(&mut self, page: u32, before: &Page, after: &Page) -> bool {
        const LINE_BYTES: usize = 64;
        const WORD_BYTES: usize = 8;
        /// Room for the places of most pages.
        const SPANS_USUAL: usize = 32;
        if before == after {
            return false;
        }
        let mut spans: Vec<(usize, usize)> = Vec::with_capacity(SPANS_USUAL);
        // Lines at a time, then words: most of a page is as it was.
        let lines = before.as_chunks::<LINE_BYTES>().0.iter().zip(after.as_chunks::<LINE_BYTES>().0);
        for (line, (before, after)) in lines.enumerate().filter(|(_, (before, after))| before != after) {
            let words = before.as_chunks::<WORD_BYTES>().0.iter().zip(after.as_chunks::<WORD_BYTES>().0);
            for (word, _) in words.enumerate().filter(|(_, (before, after))| before != after) {
                let start = line * LINE_BYTES + word * WORD_BYTES;
                let end = start + WORD_BYTES;
                match spans.last_mut() {
                    Some(last) if start - last.1 <= GAP_BYTES => last.1 = end,
                    _ => spans.push((start, end)),
                }
            }
        }
        let mut out = Writer::behind(std::mem::take(&mut self.bytes));
        out.u64(u64::from(page)).u64(spans.len() as u64);
        for (start, end) in spans {
            out.u64(start as u64).bytes(&after[start..end]);
        }
        self.bytes = out.into_bytes();
        true
    }

    /// Adds patches that come after these.
    pub fn extend(&mut self, later: &Self) {
        self.bytes.extend_from_slice(&later.bytes);
    }

    /// Returns how long they are, in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Calls `change` for each place: page, offset in it, bytes.
    fn each(bytes: &[u8], change: &mut dyn FnMut(u32, usize, &[u8])) -> Result<(), CodecError> {
        let mut input = Reader::new(bytes);
        while input.end().is_err() {
            let page = u32::try_from(input.u64()?).ok().filter(|page| *page < PAGES_MAX);
            let page = page.ok_or(CodecError::Range("a page"))?;
            for _ in 0..input.u64()? {
                let at = usize::try_from(input.u64()?).map_err(|_| CodecError::Range("an offset in a page"))?;
                let new = input.bytes()?;
                if at.checked_add(new.len()).is_none_or(|end| end > PAGE_BYTES) || new.is_empty() {
                    return Err(CodecError::Range("an offset in a page"));
                }
                change(page, at, new);
            }
        }
        Ok(())
    }
}

/// One image on top of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange<'a> {
    /// The image before.
    pub parent: NodeId,
    /// How large the memory is now, in bytes.
    pub memory_bytes: u64,
    /// What differs.
    pub patches: &'a Patches,
}

impl ImageChange<'_> {
    /// Adds the image to a batch and returns its name.
    #[must_use]
    pub fn put(&self, batch: &mut NodeBatch) -> NodeId {
        let mut out = Writer::with_kind(NodeKind::Mem as u8);
        out.u8(FORMAT).u8(CHANGE).id(&self.parent).u64(self.memory_bytes).raw(&self.patches.bytes);
        batch.insert(out.into_bytes())
    }
}

/// The groups of a whole image, for the next one to build on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    all: BTreeMap<u32, NodeId>,
}

impl Groups {
    /// Makes the groups of these pages anew; `page` gives the bytes of one that differs from the module's first memory, and nothing
    /// for one that does not.
    pub fn update<'a>(
        &mut self,
        batch: &mut NodeBatch,
        changed: impl IntoIterator<Item = u32>,
        page: &dyn Fn(u32) -> Option<&'a Page>,
    ) {
        let mut last = None;
        for group in changed.into_iter().map(|page| page / GROUP_PAGES) {
            if last.replace(group) == Some(group) {
                continue;
            }
            let places = 0..GROUP_PAGES;
            let pages: Vec<(u32, &Page)> =
                places.filter_map(|place| Some((place, page(group * GROUP_PAGES + place)?))).collect();
            if pages.is_empty() {
                self.all.remove(&group);
                continue;
            }
            let mask = pages.iter().fold(0u64, |mask, (place, _)| mask | 1 << place);
            let mut out = Writer::with_room(NodeKind::Mem as u8, pages.len() * PAGE_BYTES);
            out.u8(FORMAT).u8(GROUP).u64(mask);
            for (_, bytes) in pages {
                out.raw(bytes);
            }
            self.all.insert(group, batch.insert(out.into_bytes()));
        }
    }

    /// Says whether there is none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds the whole image of these groups to a batch and returns its name.
    #[must_use]
    pub fn put(&self, batch: &mut NodeBatch, memory_bytes: u64) -> NodeId {
        let mut branches: BTreeMap<u32, Vec<(u32, NodeId)>> = BTreeMap::new();
        for (group, id) in &self.all {
            branches.entry(group / BRANCH_GROUPS).or_default().push((group % BRANCH_GROUPS, *id));
        }
        let mut table = Vec::new();
        for (branch, entries) in branches {
            let mut out = Writer::with_kind(NodeKind::Mem as u8);
            out.u8(FORMAT).u8(BRANCH);
            put_entries(&mut out, &entries);
            table.push((branch, batch.insert(out.into_bytes())));
        }
        let mut out = Writer::with_kind(NodeKind::Mem as u8);
        out.u8(FORMAT).u8(WHOLE).u64(memory_bytes);
        put_entries(&mut out, &table);
        batch.insert(out.into_bytes())
    }
}

fn put_entries(out: &mut Writer, entries: &[(u32, NodeId)]) {
    out.u64(entries.len() as u64);
    for (place, id) in entries {
        out.u64(u64::from(*place)).id(id);
    }
}

/// What a node of an image holds.
enum Decoded<'a> {
    Whole { memory_bytes: u64, branches: Vec<(u32, NodeId)> },
    Branch(Vec<(u32, NodeId)>),
    Group { mask: u64, content: &'a [u8] },
    Change { parent: NodeId, memory_bytes: u64, patches: &'a [u8] },
}

fn decode(bytes: &[u8]) -> Result<Decoded<'_>, CodecError> {
    let mut input = Reader::new(bytes);
    if input.u8()? != NodeKind::Mem as u8 || input.u8()? != FORMAT {
        return Err(CodecError::Range("the version of a memory image"));
    }
    let decoded = match input.u8()? {
        WHOLE => {
            let memory_bytes = size(input.u64()?)?;
            Decoded::Whole { memory_bytes, branches: entries(&mut input)? }
        }
        BRANCH => Decoded::Branch(entries(&mut input)?),
        GROUP => {
            let mask = input.u64()?;
            let length = mask.count_ones() as usize * PAGE_BYTES;
            if mask >= 1 << GROUP_PAGES {
                return Err(CodecError::Range("the pages of a group"));
            }
            Decoded::Group { mask, content: input.raw(length)? }
        }
        CHANGE => {
            let parent = input.id()?;
            let memory_bytes = size(input.u64()?)?;
            let patches = input.rest();
            Patches::each(patches, &mut |_, _, _| ())?;
            return Ok(Decoded::Change { parent, memory_bytes, patches });
        }
        _ => return Err(CodecError::Range("the kind of a memory image")),
    };
    input.end()?;
    Ok(decoded)
}

fn size(bytes: u64) -> Result<u64, CodecError> {
    let fits = bytes <= MEMORY_BYTES_MAX && bytes.is_multiple_of(PAGE_BYTES as u64);
    if fits { Ok(bytes) } else { Err(CodecError::Range("the size of a memory")) }
}

fn entries(input: &mut Reader<'_>) -> Result<Vec<(u32, NodeId)>, CodecError> {
    let count = input.u64()?;
    let mut entries: Vec<(u32, NodeId)> = Vec::new();
    for _ in 0..count {
        let place = u32::try_from(input.u64()?).ok().filter(|place| *place < BRANCH_GROUPS);
        let place = place.filter(|place| entries.last().is_none_or(|(last, _)| last < place));
        entries.push((place.ok_or(CodecError::Range("a place in a memory image"))?, input.id()?));
    }
    Ok(entries)
}

/// Returns the nodes that a node of an image names.
pub(crate) fn children(bytes: &[u8]) -> Result<Vec<NodeId>, CodecError> {
    Ok(match decode(bytes)? {
        Decoded::Whole { branches: entries, .. } | Decoded::Branch(entries) => {
            entries.into_iter().map(|(_, id)| id).collect()
        }
        Decoded::Group { .. } => Vec::new(),
        Decoded::Change { parent, .. } => vec![parent],
    })
}

/// Says whether the nodes that a node of an image names are groups of pages, which name none.
pub(crate) fn names_pages(bytes: &[u8]) -> bool {
    matches!(decode(bytes), Ok(Decoded::Branch(_)))
}

/// Returns the size of the memory that an image is of, in bytes, from its first node.
pub(crate) fn memory_bytes(bytes: &[u8], id: &NodeId) -> Result<u64, StoreError> {
    match decode(bytes).map_err(|error| damaged(id, error))? {
        Decoded::Whole { memory_bytes, .. } | Decoded::Change { memory_bytes, .. } => Ok(memory_bytes),
        Decoded::Branch(_) | Decoded::Group { .. } => Err(damaged(id, CodecError::Range("the kind of a memory image"))),
    }
}

/// A memory as an image tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its size in bytes.
    pub memory_bytes: u64,
    /// The pages that may differ from the module's first memory.
    pub pages: BTreeMap<u32, Box<Page>>,
    /// How it lies in the store.
    pub layout: Layout,
}

/// How an image lies in the store: a whole one, and changes on top of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The groups of the whole image.
    pub groups: Groups,
    /// The pages that the changes are of.
    pub changed: BTreeSet<u32>,
    /// How many changes there are.
    pub changes: u32,
    /// How long they are together, in bytes.
    pub change_bytes: usize,
}

/// Reads an image; `first` gives a page of the module's first memory.
///
/// # Errors
/// A node is missing or damaged, or reading failed.
pub fn read_image(source: &dyn NodeSource, id: &NodeId, first: &dyn Fn(u32, &mut Page)) -> Result<Memory, StoreError> {
    let mut changes: Vec<(NodeId, Bytes)> = Vec::new();
    let mut memory = Memory::default();
    let mut size_now = None;
    let mut current = *id;
    loop {
        let bytes = source.node(&current)?;
        match decode(&bytes).map_err(|error| damaged(&current, error))? {
            Decoded::Change { parent, memory_bytes, .. } => {
                size_now.get_or_insert(memory_bytes);
                changes.push((current, bytes));
                current = parent;
            }
            Decoded::Whole { memory_bytes, branches } => {
                memory.memory_bytes = size_now.unwrap_or(memory_bytes);
                for (branch, id) in branches {
                    read_branch(source, branch, &id, &mut memory)?;
                }
                break;
            }
            Decoded::Branch(_) | Decoded::Group { .. } => {
                return Err(damaged(&current, CodecError::Range("the kind of a memory image")));
            }
        }
    }
    for (id, bytes) in changes.iter().rev() {
        let decoded = decode(bytes).map_err(|error| damaged(id, error))?;
        let Decoded::Change { patches, .. } = decoded else { continue };
        memory.layout.changes = memory.layout.changes.saturating_add(1);
        memory.layout.change_bytes = memory.layout.change_bytes.saturating_add(patches.len());
        let changed = Patches::each(patches, &mut |page, at, new| {
            memory.layout.changed.insert(page);
            let bytes = memory.pages.entry(page).or_insert_with(|| {
                let mut bytes = Box::new([0; PAGE_BYTES]);
                first(page, &mut bytes);
                bytes
            });
            bytes[at..at + new.len()].copy_from_slice(new);
        });
        changed.map_err(|error| damaged(id, error))?;
    }
    Ok(memory)
}

fn read_branch(source: &dyn NodeSource, branch: u32, id: &NodeId, memory: &mut Memory) -> Result<(), StoreError> {
    let bytes = source.node(id)?;
    let Decoded::Branch(groups) = decode(&bytes).map_err(|error| damaged(id, error))? else {
        return Err(damaged(id, CodecError::Range("the kind of a memory image")));
    };
    for (group, id) in groups {
        let bytes = source.node(&id)?;
        let Decoded::Group { mask, content } = decode(&bytes).map_err(|error| damaged(&id, error))? else {
            return Err(damaged(&id, CodecError::Range("the kind of a memory image")));
        };
        let group = branch * BRANCH_GROUPS + group;
        memory.layout.groups.all.insert(group, id);
        let first = group * GROUP_PAGES;
        let present = (0..GROUP_PAGES).filter(|place| mask & (1 << place) != 0);
        for (place, page) in present.zip(content.as_chunks::<PAGE_BYTES>().0) {
            memory.pages.insert(first + place, Box::new(*page));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::transaction::tests::MemoryNodes;

    fn first(page: u32, bytes: &mut Page) {
        if page.is_multiple_of(3) {
            bytes.fill(page.to_le_bytes()[0]);
        }
    }

    fn first_page(page: u32) -> Box<Page> {
        let mut bytes = Box::new([0; PAGE_BYTES]);
        first(page, &mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Turns write places of a memory; whatever was stored whole or as a change, each state reads as it was.
        #[test]
        fn every_image_reads_as_the_memory_was(
            turns in prop::collection::vec(
                (prop::collection::vec((0u32..5000, 0usize..PAGE_BYTES, any::<u8>(), 1usize..200), 0..20), any::<bool>()),
                1..12,
            ),
        ) {
            let store = Arc::new(MemoryNodes::default());
            let (mut groups, mut memory): (Groups, BTreeMap<u32, Box<Page>>) = Default::default();
            let mut batch = NodeBatch::new();
            let mut id = groups.put(&mut batch, 1 << 26);
            let mut taken = Vec::new();
            for (writes, whole) in turns {
                let before = memory.clone();
                for (page, at, value, length) in writes {
                    let bytes = memory.entry(page).or_insert_with(|| first_page(page));
                    let end = (at + length).min(PAGE_BYTES);
                    bytes[at..end].fill(value);
                }
                if whole {
                    groups.update(&mut batch, memory.keys().copied(), &|page| memory.get(&page).map(|page| &**page));
                    id = groups.put(&mut batch, 1 << 26);
                } else {
                    let mut patches = Patches::default();
                    for (page, after) in &memory {
                        let old = before.get(page).cloned().unwrap_or_else(|| first_page(*page));
                        patches.push(*page, &old, after);
                    }
                    id = ImageChange { parent: id, memory_bytes: 1 << 26, patches: &patches }.put(&mut batch);
                }
                taken.push((id, memory.clone()));
            }
            store.add(batch);
            for (id, expected) in taken {
                let read = read_image(&*store, &id, &first).unwrap();
                prop_assert_eq!(read.memory_bytes, 1 << 26);
                // Whoever goes on from here stores what changed since, and has the whole image.
                let Layout { mut groups, changed, .. } = read.layout;
                let mut batch = NodeBatch::new();
                groups.update(&mut batch, changed, &|page| expected.get(&page).map(|page| &**page));
                let whole = groups.put(&mut batch, 1 << 26);
                store.add(batch);
                let again = read_image(&*store, &whole, &first).unwrap();
                for (page, bytes) in &expected {
                    prop_assert_eq!(again.pages.get(page).cloned().unwrap_or_else(|| first_page(*page)), bytes.clone());
                }
                for (page, bytes) in &expected {
                    let found = read.pages.get(page).cloned().unwrap_or_else(|| first_page(*page));
                    prop_assert!(found == *bytes, "page {}", page);
                }
                for (page, bytes) in &read.pages {
                    let meant = expected.get(page).cloned().unwrap_or_else(|| first_page(*page));
                    prop_assert!(meant == *bytes, "page {}", page);
                }
            }
        }

        #[test]
        fn damaged_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..5) {
            let mut node = vec![NodeKind::Mem as u8, FORMAT, kind];
            node.extend(bytes);
            let read = decode(&node).map(drop).is_ok();
            prop_assert_eq!(read, children(&node).is_ok());
        }
    }
}
