//! Snapshots: the memory of a session at one moment, as it is kept at hand and as it is stored.
//!
//! Every snapshot knows the pages that differ from the module's first memory; snapshots of one session share those that are
//! equal. An instance begins with the snapshot's image and is given the few pages over it. Taking one costs what the call wrote.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use imbl::OrdMap;
use sandglass_snapshots::{
    Groups, ImageChange, Memory, NodeBatch, NodeId, PATCH_BYTES_MAX, Page, Patches, StoreError, read_image,
};

use super::{Image, PAGE_BYTES, dirty};

/// Changes on top of a whole image, after which the next one is whole again: who reads it reads so many nodes.
const CHAIN_MAX: u32 = 32;
/// Bytes of changes on top of a whole image, after which the next one is whole again.
const CHAIN_BYTES_MAX: usize = 4 << 20;
/// Pages over an image, from which an image of its own pays.
const OVER_MAX: usize = 512;

/// The memory of a session at one moment. Nothing of it changes any more.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// What the module begins with: the base of all that is stored.
    first: Arc<Image>,
    /// What instances map.
    image: Arc<Image>,
    /// The pages that differ from the first memory.
    pages: OrdMap<u32, Arc<Page>>,
    /// Those of them that the image does not have.
    over: Vec<u32>,
    memory_bytes: usize,
    globals: Vec<u64>,
    /// Its name in the store, and how it lies there.
    stored: Stored,
}

#[derive(Clone, Default)]
struct Stored {
    id: Option<NodeId>,
    /// The groups of the whole image that the changes build on.
    groups: Arc<Groups>,
    /// Pages that have changed since.
    since: Arc<std::collections::BTreeSet<u32>>,
    changes: u32,
    change_bytes: usize,
}

impl Snapshot {
    /// Returns the snapshot of a memory that begins with `image`, which no session has had yet.
    ///
    /// # Errors
    /// The image can't be read.
    pub(crate) fn beginning(first: Arc<Image>, image: Arc<Image>) -> io::Result<Self> {
        let mut pages = OrdMap::new();
        let (mut before, mut after) = (Box::new([0; PAGE_BYTES]), Box::new([0; PAGE_BYTES]));
        for page in 0..u32::try_from(image.bytes() / PAGE_BYTES).unwrap_or(u32::MAX) {
            first.page(page, &mut before)?;
            image.page(page, &mut after)?;
            if before != after {
                pages.insert(page, Arc::new(*after));
            }
        }
        let memory_bytes = image.bytes();
        Ok(Self { first, image, pages, over: Vec::new(), memory_bytes, globals: Vec::new(), stored: Stored::default() })
    }

    /// Reads a snapshot from the store.
    ///
    /// # Errors
    /// A node is missing or damaged, or reading failed.
    pub(crate) fn load(
        source: &dyn sandglass_snapshots::NodeSource,
        id: NodeId,
        first: Arc<Image>,
        globals: Vec<u64>,
    ) -> Result<Self, StoreError> {
        let base = Arc::clone(&first);
        let Memory { memory_bytes, pages } = read_image(source, &id, &|page, bytes: &mut Page| {
            if base.page(page, bytes).is_err() {
                bytes.fill(0);
            }
        })?;
        let over = pages.keys().copied().collect();
        let pages = pages.into_iter().map(|(page, bytes)| (page, Arc::from(bytes))).collect();
        let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX).max(first.bytes());
        // Its next image is whole: it is not known here how it lies.
        let stored = Stored { id: Some(id), changes: CHAIN_MAX, ..Stored::default() };
        Ok(Self { image: Arc::clone(&first), first, pages, over, memory_bytes, globals, stored })
    }

    /// Returns what a memory that began as this snapshot has become, and puts it into a batch; and how many pages its instance has
    /// written.
    ///
    /// # Errors
    /// The kernel does not say what was written.
    pub(crate) fn after(&self, memory: &[u8], globals: Vec<u64>, batch: &mut NodeBatch) -> io::Result<(Self, usize)> {
        let mut next = Self { memory_bytes: memory.len(), globals, ..self.clone() };
        let mut patches = Patches::default();
        let mut changed = Vec::new();
        let mut before = Box::new([0; PAGE_BYTES]);
        let written = dirty::pages(memory)?;
        let count = written.iter().map(Range::len).sum();
        for page in written.into_iter().flatten() {
            let Some(bytes) = memory[page * PAGE_BYTES..].first_chunk::<PAGE_BYTES>() else { continue };
            let page = u32::try_from(page).unwrap_or(u32::MAX);
            let known = self.pages.get(&page);
            let differs = match known {
                Some(known) => patches.push(page, known, bytes),
                None => {
                    self.first.page(page, &mut before)?;
                    patches.push(page, &before, bytes)
                }
            };
            if differs {
                next.pages.insert(page, Arc::new(*bytes));
                changed.push(page);
            }
        }
        if let Some(id) = self.stored.id
            && changed.is_empty()
            && self.memory_bytes == next.memory_bytes
        {
            next.stored.id = Some(id);
            return Ok((next, count));
        }
        next.over = merged(&self.over, &changed);
        next.store(&changed, &patches, batch);
        Ok((next, count))
    }

    /// Names the snapshot: as a change of the one before, or whole when there are many of those.
    fn store(&mut self, changed: &[u32], patches: &Patches, batch: &mut NodeBatch) {
        let stored = &mut self.stored;
        let memory_bytes = self.memory_bytes as u64;
        stored.changes += 1;
        stored.change_bytes += patches.byte_len();
        let is_small = stored.changes < CHAIN_MAX
            && stored.change_bytes < CHAIN_BYTES_MAX
            && patches.byte_len() <= PATCH_BYTES_MAX;
        if let Some(parent) = stored.id.filter(|_| is_small) {
            Arc::make_mut(&mut stored.since).extend(changed);
            stored.id = Some(ImageChange { parent, memory_bytes, patches }.put(batch));
            return;
        }
        let groups = Arc::make_mut(&mut stored.groups);
        let pages = &self.pages;
        let page = |page: u32| pages.get(&page).map(|bytes| &**bytes);
        if groups.is_empty() {
            groups.update(batch, pages.keys().copied(), &page);
        } else {
            let since = std::mem::take(Arc::make_mut(&mut stored.since));
            groups.update(batch, merged(&since.into_iter().collect::<Vec<_>>(), changed), &page);
        }
        stored.since = Arc::default();
        (stored.changes, stored.change_bytes) = (0, 0);
        stored.id = Some(groups.put(batch, memory_bytes));
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

    /// Makes a memory that begins with the image, and is as large, this snapshot.
    pub(crate) fn put(&self, memory: &mut [u8]) {
        for page in &self.over {
            let at = *page as usize * PAGE_BYTES;
            if let (Some(bytes), Some(to)) = (self.pages.get(page), memory.get_mut(at..at + PAGE_BYTES)) {
                to.copy_from_slice(&bytes[..]);
            }
        }
    }

    /// Says whether an image of its own would make beginning with it cheaper.
    pub(crate) fn wants_image(&self) -> bool {
        self.over.len() > OVER_MAX
    }

    /// Makes that image.
    ///
    /// # Errors
    /// The host has no memory left.
    pub(crate) fn own_image(&self) -> io::Result<Arc<Image>> {
        let mut memory = vec![0; self.memory_bytes];
        self.first.read(&mut memory)?;
        for (page, bytes) in &self.pages {
            let at = *page as usize * PAGE_BYTES;
            if let Some(to) = memory.get_mut(at..at + PAGE_BYTES) {
                to.copy_from_slice(&bytes[..]);
            }
        }
        Ok(Arc::new(Image::new(&memory, self.first.minimum_bytes())?))
    }

    /// Returns the same snapshot over the image that was made of an earlier one of the same session.
    pub(crate) fn over_image(&self, image: Arc<Image>, of: &Self) -> Option<Self> {
        if image.bytes() > self.memory_bytes {
            return None;
        }
        let mut over: BTreeMap<u32, ()> = BTreeMap::new();
        for difference in of.pages.diff(&self.pages) {
            use imbl::ordmap::DiffItem;
            let (DiffItem::Add(page, _) | DiffItem::Remove(page, _) | DiffItem::Update { new: (page, _), .. }) =
                difference;
            over.insert(*page, ());
        }
        Some(Self { image, over: over.into_keys().collect(), ..self.clone() })
    }

    /// Returns how much memory it holds that no other snapshot need hold, at most, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }
}

fn merged(left: &[u32], right: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = left.iter().chain(right).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
