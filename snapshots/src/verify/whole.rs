//! Whether a state of this store is whole: every node below it is there and is what its kind should be, and it adds up.
//!
//! What was found whole is remembered, so that checking a thousand states of one sandbox costs little more than checking
//! one. What is not whole is told with its path, each time it is met.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::image;
use crate::node::{NodeKind, NodeSource};
use crate::state::State;
use crate::tree::directory::{Decoded, LEAF_ENTRIES_MAX, Node, decode, slot};
use crate::tree::record::{CHUNK_BYTES, Record};
use crate::tree::source::damaged;
use crate::tree::{Content, children_of, level_of};

/// Problems of one state that are told; more are counted.
const PROBLEMS_MAX: usize = 100;

/// Something in a state that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path in the state's tree, without a slash in front; empty when it is the state itself.
    pub path: Vec<u8>,
    /// What is wrong.
    pub reason: String,
}

/// Whoever can be checked: it gives nodes, and can tell of blobs without reading them.
pub(crate) trait WholeSource: NodeSource {
    /// Returns how many bytes a blob holds.
    fn blob_length(&self, id: &NodeId) -> Result<u64, StoreError> {
        let bytes = self.node(id)?;
        if bytes.first() == Some(&(NodeKind::Blob as u8)) {
            return Ok(bytes.len() as u64 - 1);
        }
        Err(StoreError::DamagedNode { node: *id, reason: "it should be a blob".to_owned() })
    }
}

/// What a directory holds with everything below it.
#[derive(Clone, Debug, Default)]
struct Summary {
    bytes: u64,
    inodes: u64,
    inode_max: u64,
    /// Names of files that are in the link table, by inode number.
    linked: Arc<BTreeMap<u64, u64>>,
}

impl Summary {
    fn add(&mut self, other: &Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
        self.inode_max = self.inode_max.max(other.inode_max);
        if !other.linked.is_empty() {
            let linked = Arc::make_mut(&mut self.linked);
            other.linked.iter().for_each(|(inode, names)| *linked.entry(*inode).or_default() += names);
        }
    }
}

/// What was found whole before.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    directories: HashMap<NodeId, Summary>,
    files: HashMap<(NodeId, u64), ()>,
    images: HashSet<NodeId>,
}

/// Checks one state; returns what is wrong with it, at most 100 problems.
///
/// # Errors
/// What reading met beyond missing and damaged nodes.
pub(crate) fn problems_of(
    source: &dyn WholeSource,
    state: StateId,
    memory: &mut Memory,
) -> Result<Vec<Problem>, StoreError> {
    let mut check = Walk { source, memory, problems: Vec::new() };
    let Some(loaded) = check.survives(b"", State::load(source, state))? else { return Ok(check.problems) };
    let mut whole = Summary { inodes: 1, inode_max: crate::id::Inode::ROOT.0, ..Summary::default() };
    if let Some(root) = loaded.root {
        whole.add(&check.tree(root)?);
    }
    let mut names = BTreeMap::new();
    if let Some(root) = loaded.links {
        let mut links = Vec::new();
        check.entries(&root, 0, &[], b"", &mut links)?;
        for (name, record) in links {
            let inode = <[u8; 8]>::try_from(&name[..]).map(u64::from_be_bytes).unwrap_or(0);
            if inode != record.inode.0 || record.is_linked() || matches!(record.content, Content::Directory(_)) {
                check.tell(b"", "the link table has an entry that is no file of its number");
                continue;
            }
            check.content(b"", &record)?;
            names.insert(inode, record.links);
            whole.add(&Summary { bytes: record.size, inodes: 1, inode_max: inode, ..Summary::default() });
        }
    }
    if check.problems.is_empty() {
        if *whole.linked != names {
            check.tell(b"", "the link table does not count the names that there are");
        }
        if (loaded.usage.bytes, loaded.usage.inodes) != (whole.bytes, whole.inodes) {
            check.tell(b"", "the state does not say how much it holds");
        }
        if loaded.next_inode <= whole.inode_max {
            check.tell(b"", "the state would give a file's number to another");
        }
    }
    for session in &loaded.sessions {
        if let Some(descriptors) = &session.descriptors {
            let length = source.blob_length(descriptors);
            check.survives(b"", length)?;
        }
        if let Some(image) = &session.image {
            check.image(image)?;
        }
    }
    Ok(check.problems)
}

struct Walk<'a> {
    source: &'a dyn WholeSource,
    memory: &'a mut Memory,
    problems: Vec<Problem>,
}

/// A directory on the way down.
struct Frame {
    root: NodeId,
    path: Vec<u8>,
    summary: Summary,
    below: Vec<(Bytes, NodeId)>,
    /// How many problems there were before it.
    problems: usize,
}

impl Walk<'_> {
    fn tell(&mut self, path: &[u8], reason: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { path: path.to_owned(), reason: reason.to_owned() });
        }
    }

    /// Tells of a missing or damaged node; any other error ends the check.
    fn survives<T>(&mut self, path: &[u8], outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error @ (StoreError::MissingNode(_) | StoreError::DamagedNode { .. })) => {
                self.tell(path, &error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Walks a tree without recursion: a guest decides how deep it is.
    fn tree(&mut self, root: NodeId) -> Result<Summary, StoreError> {
        if let Some(known) = self.memory.directories.get(&root) {
            return Ok(known.clone());
        }
        let mut stack = vec![self.frame(root, Vec::new())?];
        loop {
            let Some(top) = stack.last_mut() else { return Ok(Summary::default()) };
            if let Some((name, below)) = top.below.pop() {
                match self.memory.directories.get(&below) {
                    Some(known) => top.summary.add(&known.clone()),
                    None => {
                        let path = joined(&top.path, &name);
                        let frame = self.frame(below, path)?;
                        stack.push(frame);
                    }
                }
                continue;
            }
            let Some(done) = stack.pop() else { return Ok(Summary::default()) };
            if self.problems.len() == done.problems && self.problems.len() < PROBLEMS_MAX {
                self.memory.directories.insert(done.root, done.summary.clone());
            }
            match stack.last_mut() {
                Some(above) => above.summary.add(&done.summary),
                None => return Ok(done.summary),
            }
        }
    }

    fn frame(&mut self, root: NodeId, path: Vec<u8>) -> Result<Frame, StoreError> {
        let problems = self.problems.len();
        let mut entries = Vec::new();
        self.entries(&root, 0, &[], &path, &mut entries)?;
        let mut summary = Summary::default();
        let mut below = Vec::new();
        for (name, record) in entries {
            let inode = record.inode.0;
            match &record.content {
                Content::Linked { .. } => {
                    summary.add(&Summary { linked: Arc::new(BTreeMap::from([(inode, 1)])), ..Summary::default() });
                    continue;
                }
                Content::Directory(Some(root)) => below.push((name.clone(), *root)),
                _ => self.content(&joined(&path, &name), &record)?,
            }
            if record.links != 1 {
                self.tell(&joined(&path, &name), "a file with several names is not in the link table");
            }
            summary.add(&Summary { bytes: record.size, inodes: 1, inode_max: inode, ..Summary::default() });
        }
        Ok(Frame { root, path, summary, below, problems })
    }

    /// Gathers the entries of a directory and checks that each is where its name belongs. The depth is bounded by the hash.
    fn entries(
        &mut self,
        id: &NodeId,
        level: usize,
        slots: &[usize],
        path: &[u8],
        found: &mut Vec<(Bytes, Record)>,
    ) -> Result<u64, StoreError> {
        let decoded = self.source.node(id).and_then(|bytes| decode(&bytes).map_err(|error| damaged(id, error)));
        let Some(decoded) = self.survives(path, decoded)? else { return Ok(0) };
        match decoded {
            Decoded::Leaf(entries) => {
                let belongs = |hash| slots.iter().enumerate().all(|(level, expected)| slot(hash, level) == *expected);
                if !entries.iter().all(|entry| belongs(&entry.hash)) {
                    self.tell(path, "a name is not where it belongs in its directory");
                }
                if entries.is_empty() || entries.len() > LEAF_ENTRIES_MAX {
                    self.tell(path, "a leaf of the directory has too few or too many names");
                }
                found.extend(entries.iter().map(|entry| (entry.name.clone(), entry.record.clone())));
                Ok(entries.len() as u64)
            }
            Decoded::Branch(branch) => {
                let problems = self.problems.len();
                let mut count = 0;
                for (place, child) in branch.children().iter().enumerate() {
                    let Some(Node::Stored(id, entries)) = child else { continue };
                    if level > 255 / 5 {
                        self.tell(path, "the directory is deeper than hashes are long");
                        return Ok(0);
                    }
                    let slots: Vec<usize> = slots.iter().copied().chain([place]).collect();
                    let below = self.entries(id, level + 1, &slots, path, found)?;
                    if below != *entries && self.problems.len() == problems {
                        self.tell(path, "a branch of the directory does not count its names");
                    }
                    count += below;
                }
                if count <= LEAF_ENTRIES_MAX as u64 && self.problems.len() == problems {
                    self.tell(path, "a branch of the directory has so few names that it should be a leaf");
                }
                Ok(count)
            }
        }
    }

    /// Checks that every node of a memory image is there and is one.
    fn image(&mut self, root: &NodeId) -> Result<(), StoreError> {
        let mut waiting = vec![*root];
        while let Some(id) = waiting.pop() {
            if self.memory.images.contains(&id) {
                continue;
            }
            let below = self.source.node(&id).and_then(|bytes| image::children(&bytes).map_err(|e| damaged(&id, e)));
            let Some(below) = self.survives(b"", below)? else { continue };
            waiting.extend(below);
            if self.problems.is_empty() {
                self.memory.images.insert(id);
            }
        }
        Ok(())
    }

    fn content(&mut self, path: &[u8], record: &Record) -> Result<(), StoreError> {
        match &record.content {
            Content::Blob(id) => {
                let length = self.source.blob_length(id);
                if self.survives(path, length)?.is_some_and(|length| length > record.size) {
                    self.tell(path, "there is more content than the file is long");
                }
                Ok(())
            }
            Content::Chunks(Some(root)) => self.chunks(path, *root, record.size),
            _ => Ok(()),
        }
    }

    fn chunks(&mut self, path: &[u8], root: NodeId, size: u64) -> Result<(), StoreError> {
        if self.memory.files.contains_key(&(root, size)) {
            return Ok(());
        }
        let problems = self.problems.len();
        let chunks = size.div_ceil(CHUNK_BYTES as u64);
        // (node, its level, its first chunk); the level of the root is its own.
        let mut waiting = vec![(root, None, 0u64)];
        while let Some((id, expected, first)) = waiting.pop() {
            let read = self.source.node(&id).and_then(|bytes| Ok((level_of(&bytes, &id)?, children_of(&bytes, &id)?)));
            let Some((level, children)) = self.survives(path, read)? else { continue };
            if expected.is_some_and(|expected: u8| expected != level) {
                self.tell(path, "a branch of the file is of another level than its place");
                continue;
            }
            let span = 1u64.checked_shl(8 * u32::from(level - 1)).unwrap_or(u64::MAX);
            for (place, child) in children.iter().enumerate() {
                let Some(child) = child else { continue };
                let at = first.saturating_add(span.saturating_mul(place as u64));
                if at >= chunks {
                    self.tell(path, "there is more content than the file is long");
                    break;
                }
                if level > 1 {
                    waiting.push((*child, Some(level - 1), at));
                    continue;
                }
                let length = self.source.blob_length(child);
                if self.survives(path, length)?.is_some_and(|length| length > CHUNK_BYTES as u64) {
                    self.tell(path, "a chunk of the file is too long");
                }
            }
        }
        if self.problems.len() == problems {
            self.memory.files.insert((root, size), ());
        }
        Ok(())
    }
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_owned();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
