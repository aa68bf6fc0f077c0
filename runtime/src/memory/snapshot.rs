//! Snapshots: the memory of a session at one moment, as it is kept at hand and as it is stored.
//!
//! A snapshot is an image, and the pages that differ from it. Snapshots of one session share what is equal. An instance maps the
//! image and is given the few pages over it. Taking one costs what the call wrote.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use sandglass_snapshots::{
    Groups, ImageChange, Layout, Memory, NodeBatch, NodeId, NodeSource, PATCH_BYTES_MAX, Page, Patches, StoreError,
    read_image,
};

use super::gauge::KeptPage;
use super::mapping::prepare;
use super::{Image, PAGE_BYTES};

/// Changes on top of a whole image, after which the next one is whole again: who reads it reads so many nodes.
const CHAIN_MAX: u32 = 32;
/// Bytes of changes on top of a whole image, after which the next one is whole again.
const CHAIN_BYTES_MAX: usize = 4 << 20;
/// Pages over an image that are few: giving them to an instance takes less than the rest of a call.
const OVER_FEW: usize = 256;
/// Pages that are copied into a running instance rather than mapped into a new one.
const REWIND_MAX: usize = 512;

/// The memory of a session at one moment. Nothing of it changes any more.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// What the module begins with: the base of all that is stored.
    first: Arc<Image>,
    /// What instances map, and its pages that differ from the first memory.
    image: Arc<Image>,
    differing: Arc<BTreeSet<u32>>,
    /// The pages that differ from the image.
    over: OrdMap<u32, Arc<KeptPage>>,
    memory_bytes: usize,
    globals: Vec<u64>,
    /// The pages that the call which left it changed.
    changed: Arc<[u32]>,
    /// Those that the call before it changed as well: the next one will write most of them again.
    usual: Arc<[u32]>,
    /// Its name in the store, and how it lies there.
    stored: Stored,
}

#[derive(Clone, Default)]
struct Stored {
    id: Option<NodeId>,
    /// Nodes of the image that it builds on, which the store may not have yet.
    unsaved: Option<Arc<NodeBatch>>,
    /// The groups of the whole image that the changes build on.
    groups: Arc<Groups>,
    /// Pages that have changed since.
    since: OrdSet<u32>,
    changes: u32,
    change_bytes: usize,
}

impl Snapshot {
    /// Returns the snapshot of a memory that begins with `image`, which no session has had yet.
    pub(crate) fn beginning(first: Arc<Image>, image: Arc<Image>) -> Self {
        let differs = |page: &u32| first.page(*page) != image.page(*page);
        let differing: BTreeSet<u32> = pages_of(image.bytes()).filter(differs).collect();
        let (mut groups, mut nodes) = (Groups::default(), NodeBatch::new());
        groups
            .update(&mut nodes, differing.iter().copied(), &|page| differing.contains(&page).then(|| image.page(page)));
        let memory_bytes = image.bytes();
        let stored = Stored {
            id: Some(groups.put(&mut nodes, memory_bytes as u64)),
            unsaved: Some(Arc::new(nodes)),
            groups: Arc::new(groups),
            ..Stored::default()
        };
        let differing = Arc::new(differing);
        let (over, globals, changed) = (OrdMap::new(), Vec::new(), Arc::default());
        Self { first, image, differing, over, memory_bytes, globals, changed, usual: Arc::default(), stored }
    }

    /// Reads a snapshot from the store, as one over the image of `beginning`.
    ///
    /// # Errors
    /// A node is missing or damaged, or reading failed.
    pub(crate) fn load(
        source: &dyn NodeSource,
        id: NodeId,
        beginning: &Self,
        globals: Vec<u64>,
    ) -> Result<Self, StoreError> {
        let (first, image) = (&beginning.first, &beginning.image);
        let Memory { memory_bytes, pages, layout } = read_image(source, &id, &|page, bytes: &mut Page| {
            bytes.copy_from_slice(first.page(page));
        })?;
        let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX).max(first.bytes());
        // Sessions of an earlier version may have begun with less.
        let (image, differing) = if memory_bytes < image.bytes() {
            (first, Arc::default())
        } else {
            (image, Arc::clone(&beginning.differing))
        };
        let mut over = OrdMap::new();
        for (page, bytes) in &pages {
            if image.page(*page) != &**bytes {
                over.insert(*page, Arc::new(KeptPage::new(bytes)));
            }
        }
        // What only the image has is as the module begins here.
        for page in differing.iter().filter(|page| !pages.contains_key(page)) {
            over.insert(*page, Arc::new(KeptPage::new(first.page(*page))));
        }
        let (first, image) = (Arc::clone(first), Arc::clone(image));
        let Layout { groups, changed, changes, change_bytes } = layout;
        let (groups, since) = (Arc::new(groups), changed.into_iter().collect());
        let stored = Stored { id: Some(id), unsaved: None, groups, since, changes, change_bytes };
        let (changed, usual) = (Arc::default(), Arc::default());
        Ok(Self { first, image, differing, over, memory_bytes, globals, changed, usual, stored })
    }

    /// Returns what a memory that began as this snapshot has become, of whose pages these were written; and puts it into a batch.
    pub(crate) fn after(
        &self,
        memory: &[u8],
        written: impl IntoIterator<Item = Range<usize>>,
        globals: Vec<u64>,
        batch: &mut NodeBatch,
    ) -> Self {
        let mut next = Self { memory_bytes: memory.len(), globals, ..self.clone() };
        let mut patches = Patches::default();
        let mut changed = Vec::new();
        let all = memory.as_chunks::<PAGE_BYTES>().0;
        for page in written.into_iter().flatten() {
            let Some(bytes) = all.get(page) else { continue };
            let page = u32::try_from(page).unwrap_or(u32::MAX);
            if patches.push(page, self.page(page), bytes) {
                if bytes == self.image.page(page) {
                    next.over.remove(&page);
                } else {
                    next.over.insert(page, Arc::new(KeptPage::new(bytes)));
                }
                changed.push(page);
            }
        }
        if let Some(unsaved) = &self.stored.unsaved {
            // Whether the store has them already is its to find out: it writes what it lacks.
            batch.merge(NodeBatch::clone(unsaved));
        }
        if changed.is_empty() && self.memory_bytes == next.memory_bytes && self.stored.id.is_some() {
            return next;
        }
        next.store(&changed, &patches, batch);
        next.usual = changed.iter().copied().filter(|page| self.changed.binary_search(page).is_ok()).collect();
        next.changed = changed.into();
        next
    }

    /// Names the snapshot: as a change of the one before, or whole when there are many of those.
    fn store(&mut self, changed: &[u32], patches: &Patches, batch: &mut NodeBatch) {
        let mut stored = std::mem::take(&mut self.stored);
        let memory_bytes = self.memory_bytes as u64;
        stored.changes += 1;
        stored.change_bytes += patches.byte_len();
        stored.unsaved = None;
        let is_small = stored.changes < CHAIN_MAX
            && stored.change_bytes < CHAIN_BYTES_MAX
            && patches.byte_len() <= PATCH_BYTES_MAX;
        if let Some(parent) = stored.id.filter(|_| is_small) {
            stored.since.extend(changed.iter().copied());
            stored.id = Some(ImageChange { parent, memory_bytes, patches }.put(batch));
        } else {
            let groups = Arc::make_mut(&mut stored.groups);
            let differing = |page: u32| {
                let bytes = self.page(page);
                (bytes != self.first.page(page)).then_some(bytes)
            };
            let mut pages: BTreeSet<u32> = std::mem::take(&mut stored.since).into_iter().collect();
            if groups.is_empty() {
                pages.extend(self.differing.iter().chain(self.over.keys()));
            }
            pages.extend(changed);
            groups.update(batch, pages, &differing);
            (stored.changes, stored.change_bytes) = (0, 0);
            stored.id = Some(groups.put(batch, memory_bytes));
        }
        self.stored = stored;
    }

    /// Returns its name in the store.
    pub(crate) const fn id(&self) -> Option<NodeId> {
        self.stored.id
    }

    pub(crate) const fn image(&self) -> &Arc<Image> {
        &self.image
    }

    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(crate) fn globals(&self) -> &[u64] {
        &self.globals
    }

    fn page(&self, page: u32) -> &Page {
        self.over.get(&page).map_or_else(|| self.image.page(page), |kept| kept.bytes())
    }

    /// Makes a memory that begins with the image, and is as large, this snapshot.
    pub(crate) fn put(&self, memory: &mut [u8]) {
        let mut pages: Vec<u32> = self.over.keys().chain(&*self.usual).copied().collect();
        pages.sort_unstable();
        prepare(memory, &pages);
        put(self.over.iter().map(|(page, kept)| (*page, kept.bytes())), memory);
    }

    /// Makes a memory that is another snapshot this one, if that costs less than a new instance; says whether it did.
    pub(crate) fn put_over(&self, other: &Self, memory: &mut [u8]) -> bool {
        if !Arc::ptr_eq(&self.image, &other.image) || self.memory_bytes != other.memory_bytes {
            return false;
        }
        let mut pages = Vec::new();
        for difference in other.over.diff(&self.over) {
            let (DiffItem::Add(page, _) | DiffItem::Remove(page, _) | DiffItem::Update { new: (page, _), .. }) =
                difference;
            pages.push(*page);
            if pages.len() > REWIND_MAX {
                return false;
            }
        }
        put(pages.into_iter().map(|page| (page, self.page(page))), memory);
        true
    }

    /// Says whether an image of its own pays when so many instances have begun with it: making one costs about half a microsecond for
    /// each page of the memory that is in use, and giving an instance a page over its image costs two.
    pub(crate) fn wants_image(&self, begun: usize) -> bool {
        let over = self.over.len();
        over > OVER_FEW && begun.saturating_mul(over) > (self.image.used_pages() + over) / 4
    }

    /// Returns the same snapshot with an image of its own.
    ///
    /// # Errors
    /// The host has no memory or no descriptors left.
    pub(crate) fn settled(&self) -> io::Result<Self> {
        let image = Image::of_pages(self.memory_bytes, self.first.minimum_bytes(), |page| self.page(page))?;
        let mut differing = BTreeSet::clone(&self.differing);
        for page in self.over.keys() {
            if self.page(*page) == self.first.page(*page) {
                differing.remove(page);
            } else {
                differing.insert(*page);
            }
        }
        let (image, differing) = (Arc::new(image), Arc::new(differing));
        Ok(Self { image, differing, over: OrdMap::new(), ..self.clone() })
    }

    /// Returns the same snapshot over the image of another one, from which it differs in few pages.
    pub(crate) fn over_image_of(&self, other: &Self) -> Option<Self> {
        if other.image.bytes() > self.memory_bytes {
            return None;
        }
        let mut over = OrdMap::new();
        let mine = self.differing.iter().chain(self.over.keys()).chain(other.differing.iter());
        for page in mine.copied().collect::<BTreeSet<_>>() {
            let bytes = self.page(page);
            if bytes != other.image.page(page) {
                let kept = self.over.get(&page).cloned();
                over.insert(page, kept.unwrap_or_else(|| Arc::new(KeptPage::new(bytes))));
            }
        }
        let (image, differing) = (Arc::clone(&other.image), Arc::clone(&other.differing));
        Some(Self { image, differing, over, ..self.clone() })
    }
}

fn pages_of(bytes: usize) -> Range<u32> {
    0..u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX)
}

fn put<'a>(pages: impl IntoIterator<Item = (u32, &'a Page)>, memory: &mut [u8]) {
    for (page, bytes) in pages {
        let at = page as usize * PAGE_BYTES;
        if let Some(to) = memory.get_mut(at..at + PAGE_BYTES) {
            to.copy_from_slice(bytes);
        }
    }
}
