//! Importing a directory of the host: names, modes, times, symbolic and hard links and contents, as they are.
//!
//! Several threads walk and read (`import/walk.rs`); contents go to the store in batches while they do, and are durable with
//! the append that needs them. What is left in memory is the list of names, which [`Transaction::attach`](crate::Transaction::attach)
//! puts into a sandbox.

mod content;
mod tar;
mod walk;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use bytes::Bytes;

pub use self::tar::{TarOptions, import_tar};
use self::walk::{Child, HostInode, Walked, WalkedAttributes, WalkedDirectory, What, path_of, walk};
use crate::error::StoreError;
use crate::id::Timestamp;
use crate::node::NodeBatch;
use crate::store::{Hold, Store};
use crate::tree::Content;

/// How many batches wait for the store at a time: they are all that an import holds of contents.
const WAITING_BATCHES: usize = 2;

/// How a directory is imported.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// How many threads read; at least one does.
    pub threads: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8) }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportProgress {
    /// Files and symbolic links read.
    pub files: u64,
    /// Bytes of files read.
    pub bytes: u64,
}

/// A directory of the host, or an archive, whose contents are in the store and that is in no state yet.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Files; one with several names counts once.
    pub files: u64,
    /// Directories, with the imported one.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Sum of the files' sizes, in bytes.
    pub bytes: u64,
    /// What was left out, by path, and why.
    pub skipped: Vec<(PathBuf, String)>,
    /// The directory, then everything below it by sorted path.
    pub(crate) tree: Vec<ImportedDirectory>,
    pub(crate) groups: Vec<ImportedGroup>,
    pub(crate) hold: Hold,
}

/// A directory and what is in it but directories.
#[derive(Clone, Debug)]
pub(crate) struct ImportedDirectory {
    /// The place of its parent in the list.
    pub(crate) parent: usize,
    pub(crate) name: Bytes,
    pub(crate) mode: u16,
    pub(crate) modified: Timestamp,
    /// By sorted name.
    pub(crate) entries: Vec<(Bytes, ImportedEntry)>,
}

#[derive(Clone, Debug)]
pub(crate) enum ImportedEntry {
    Own(ImportedLeaf),
    /// A name of a file with several, by its place in the groups.
    Linked(usize),
}

/// A file or symbolic link.
#[derive(Clone, Debug)]
pub(crate) struct ImportedLeaf {
    pub(crate) mode: u16,
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
    pub(crate) content: Content,
}

/// A file with several names in the directory.
#[derive(Clone, Debug)]
pub(crate) struct ImportedGroup {
    pub(crate) leaf: ImportedLeaf,
    pub(crate) names: u64,
}

impl Imported {
    pub(crate) const fn inodes(&self) -> u64 {
        self.files.saturating_add(self.directories).saturating_add(self.symlinks)
    }
}

/// Reads a directory of the host into the store. Nothing is left out but sockets, pipes, devices and what can't be read;
/// symbolic links are kept and never followed, but for `directory` itself.
///
/// `progress` is called from the reading threads, often.
///
/// # Errors
/// `directory` can't be read, or the store refused a batch.
pub fn import_directory(
    store: &Store,
    directory: &Path,
    options: &ImportOptions,
    progress: &(dyn Fn(ImportProgress) + Sync),
) -> Result<Imported, StoreError> {
    let hold = &store.hold();
    let (batches, waiting) = sync_channel::<NodeBatch>(WAITING_BATCHES);
    let (walked, stored) = std::thread::scope(|scope| {
        // The store's writing and the walk's reading go on side by side; dropping `waiting` stops the walk.
        let storing = scope.spawn(move || waiting.into_iter().try_for_each(|batch| store.put(hold, batch)));
        let walked = walk(store, directory, options, progress, batches);
        let stored = storing.join().unwrap_or_else(|_| Err(StoreError::Stopped("an importing thread died".to_owned())));
        (walked, stored)
    });
    stored?;
    Ok(arrange(directory, walked?, hold.clone()))
}

/// Puts what was found, in whatever order, into that of sorted paths.
fn arrange(root: &Path, walked: Walked, hold: Hold) -> Imported {
    let Walked { directories, mut skipped } = walked;
    let mut groups = Groups::of(&directories);
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); directories.len()];
    for (index, directory) in directories.iter().enumerate().skip(1) {
        below[directory.parent].push(index);
    }
    for list in &mut below {
        // The last is taken first.
        list.sort_unstable_by(|left, right| directories[*right].name.cmp(&directories[*left].name));
    }
    let mut imported = Imported {
        files: 0,
        directories: 0,
        symlinks: 0,
        bytes: 0,
        skipped: Vec::new(),
        tree: Vec::new(),
        groups: Vec::new(),
        hold,
    };
    // A directory with the place of its parent in the new list.
    let mut waiting = vec![(0, 0)];
    while let Some((index, parent)) = waiting.pop() {
        let WalkedDirectory { name, attributes, children, .. } = &directories[index];
        let WalkedAttributes { mode, modified } = *attributes;
        let mut children: Vec<&Child> = children.iter().collect();
        children.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        let mut entries = Vec::with_capacity(children.len());
        for child in children {
            match groups.entry(child, &mut imported) {
                Some(entry) => entries.push((Bytes::copy_from_slice(&child.name), entry)),
                None => {
                    let path = path_of(root, &directories, index, &child.name);
                    skipped.push((path, "its other name could not be read".to_owned()));
                }
            }
        }
        let place = imported.tree.len();
        waiting.extend(below[index].iter().map(|below| (*below, place)));
        imported.directories += 1;
        imported.tree.push(ImportedDirectory { parent, name: Bytes::copy_from_slice(name), mode, modified, entries });
    }
    skipped.sort_unstable();
    Imported { skipped, ..imported }
}

/// Files of the host with several names, by inode: the file, how many of its names were found, and its place once it has one.
struct Groups(HashMap<HostInode, (Option<ImportedLeaf>, u64, Option<usize>)>);

impl Groups {
    fn of(directories: &[WalkedDirectory]) -> Self {
        let mut groups: HashMap<HostInode, (Option<ImportedLeaf>, u64, Option<usize>)> = HashMap::new();
        for child in directories.iter().flat_map(|directory| &directory.children) {
            let inode = match &child.what {
                What::File { linked: Some(inode), .. } | What::Link(inode) => inode,
                What::File { linked: None, .. } | What::Symlink(_) => continue,
            };
            let (leaf, names, _) = groups.entry(*inode).or_default();
            *names += 1;
            if let What::File { content, size, .. } = &child.what {
                *leaf = Some(leaf_of(child, *size, content.clone()));
            }
        }
        Self(groups)
    }

    /// Returns what an entry becomes, and counts it; none for a name of a file that was not read.
    fn entry(&mut self, child: &Child, imported: &mut Imported) -> Option<ImportedEntry> {
        match &child.what {
            What::Symlink(target) => {
                imported.symlinks += 1;
                let target = Bytes::copy_from_slice(target);
                Some(ImportedEntry::Own(leaf_of(child, 0, Content::Symlink(target))))
            }
            What::File { content, size, linked: None } => {
                imported.files += 1;
                imported.bytes = imported.bytes.saturating_add(*size);
                Some(ImportedEntry::Own(leaf_of(child, *size, content.clone())))
            }
            What::File { linked: Some(inode), .. } | What::Link(inode) => {
                let (leaf, names, place) = self.0.get_mut(inode)?;
                if let Some(place) = place {
                    return Some(ImportedEntry::Linked(*place));
                }
                let leaf = leaf.take()?;
                imported.files += 1;
                imported.bytes = imported.bytes.saturating_add(leaf.size);
                // Its other names are outside of the directory.
                if *names == 1 {
                    return Some(ImportedEntry::Own(leaf));
                }
                *place = Some(imported.groups.len());
                imported.groups.push(ImportedGroup { leaf, names: *names });
                place.map(ImportedEntry::Linked)
            }
        }
    }
}

fn leaf_of(child: &Child, size: u64, content: Content) -> ImportedLeaf {
    let WalkedAttributes { mode, modified } = child.attributes;
    ImportedLeaf { mode, modified, size, content }
}
