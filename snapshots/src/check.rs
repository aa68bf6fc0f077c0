//! Checking states: whether what their nodes say holds together, all the way down.
//!
//! A node that hashes to its name can still be wrong: made by somebody else, or by a version with a fault. Bundles are
//! checked here before anything of them becomes visible, and stores when they are verified. Each node is looked at once
//! however many states share it; what has to be counted over a whole tree is kept with the node (`check/tree.rs`).

mod content;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::content::Extent;
use self::tree::{Summary, TreeKey, TreeWalk};
use crate::error::StoreError;
use crate::id::{Inode, NodeId, StateId};
use crate::image::read_image;
use crate::node::{NodeKind, NodeSource};
use crate::state::State;
use crate::tree::record::MODE_MASK;

/// How many violations are told one by one.
const VIOLATIONS_MAX: usize = 100;

/// Something about a state that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In which state it was found first.
    pub state: StateId,
    /// Where: a path, or which part of the state.
    pub path: String,
    /// What.
    pub reason: String,
}

/// What checking found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// States that were looked at.
    pub states: u64,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// How many there were beyond these.
    pub more: u64,
}

impl CheckReport {
    fn add(&mut self, state: StateId, path: String, reason: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { state, path, reason });
        } else {
            self.more += 1;
        }
    }
}

/// What was looked at before: a violation in a part that several states share is told once.
#[derive(Debug, Default)]
pub struct CheckMemo {
    trees: HashMap<TreeKey, usize>,
    /// What directories hold, each after all that are below it.
    summaries: Vec<Summary>,
    /// Files and chunks; none for those that are wrong.
    contents: HashMap<NodeId, Option<Extent>>,
    trusted: HashSet<NodeId>,
    /// Memory images that are whole.
    images: HashSet<NodeId>,
}

impl CheckMemo {
    /// Takes the contents of files below these nodes for good, without reading them; directories are still walked.
    pub(crate) fn trust(&mut self, nodes: HashSet<NodeId>) {
        self.trusted = nodes;
    }

    /// Remembers what is needed of a blob, so that it is not read again.
    pub(crate) fn saw_blob(&mut self, id: NodeId, bytes: &[u8]) {
        self.contents.insert(id, Some(Extent::of_blob(bytes)));
    }
}

/// Checks a state: every node below it is there and is what its place asks for, names and links fit together, inode
/// numbers are given once, and the counters say what is there. What is wrong goes into the report.
///
/// # Errors
/// Reading failed for another reason than a node that is missing or damaged.
pub fn check_state(
    source: &dyn NodeSource,
    state: StateId,
    memo: &mut CheckMemo,
    report: &mut CheckReport,
) -> Result<(), StoreError> {
    report.states += 1;
    let loaded = match State::load(source, state) {
        Ok(loaded) => loaded,
        Err(error) => return tell(error, |reason| report.add(state, "the state".to_owned(), reason)),
    };
    let before = (report.violations.len(), report.more);
    let mut add = |what: &str| report.add(state, "the state".to_owned(), what.to_owned());
    if loaded.root_mode > MODE_MASK {
        add("the mode of the root directory is out of range");
    }
    if !loaded.guests.is_sorted_by(|left, right| left.0 < right.0) {
        add("its guests are not in order");
    }
    if !loaded.sessions.is_sorted_by(|left, right| left.name < right.name) {
        add("its sessions are not in order");
    }
    for image in loaded.sessions.iter().filter_map(|session| session.image) {
        if memo.images.contains(&image) {
            continue;
        }
        // Every node of it is read and decoded; what it says of memory can't be wrong otherwise.
        match read_image(source, &image, &|_, _| ()) {
            Ok(_) => drop(memo.images.insert(image)),
            Err(error) => tell(error, |reason| report.add(state, "the memory of a session".to_owned(), reason))?,
        }
    }
    let mut walk = TreeWalk { source, state, memo, report };
    let root = loaded.root.map(|root| walk.tree(root, false)).transpose()?;
    let table = loaded.links.map(|links| walk.tree(links, true)).transpose()?;
    // What is told of a part that is wrong would only be told again of the whole.
    if (report.violations.len(), report.more) == before {
        Whole { state, loaded: &loaded, memo, report }.check(root, table);
    }
    Ok(())
}

/// Tells of a node that is missing or damaged; every other failure is the caller's.
fn tell(error: StoreError, add: impl FnOnce(String)) -> Result<(), StoreError> {
    match error {
        StoreError::MissingNode(_) | StoreError::DamagedNode { .. } => {
            add(error.to_string());
            Ok(())
        }
        other => Err(other),
    }
}

/// What can be said only of all directories of a state together.
struct Whole<'a> {
    state: StateId,
    loaded: &'a State,
    memo: &'a CheckMemo,
    report: &'a mut CheckReport,
}

impl Whole<'_> {
    fn check(&mut self, root: Option<usize>, table: Option<usize>) {
        let (mut bytes, mut inodes) = (0u64, 1u64);
        for index in [root, table].into_iter().flatten() {
            let summary = &self.memo.summaries[index];
            bytes = bytes.saturating_add(summary.bytes);
            inodes = inodes.saturating_add(summary.inodes);
        }
        let usage = self.loaded.usage;
        if usage.bytes != bytes {
            self.add(format!("it counts {} bytes of files, and there are {bytes}", usage.bytes));
        }
        if usage.inodes != inodes {
            self.add(format!("it counts {} files, directories and links, and there are {inodes}", usage.inodes));
        }
        let (mut all, names) = self.names(root);
        self.links(table, &names, &mut all);
        all.push(Inode::ROOT.0);
        all.sort_unstable();
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            self.add(format!("inode {} is given twice", pair[0]));
        }
        let largest = all.last().copied().unwrap_or_default();
        if largest >= self.loaded.next_inode {
            self.add(format!("inode {largest} is given, and {} is the next", self.loaded.next_inode));
        }
    }

    /// Returns all inode numbers of the tree but those of linked files, and of these how many names there are and whether
    /// they say that it is a symbolic link.
    fn names(&mut self, root: Option<usize>) -> (Vec<u64>, HashMap<u64, (u64, bool)>) {
        let (mut all, mut names) = (Vec::new(), HashMap::<u64, (u64, bool)>::new());
        // A part of a tree can be there several times when it holds names of linked files alone. Parts have larger numbers
        // than what is below them.
        let mut waiting: BTreeMap<usize, u64> = root.map(|root| (root, 1)).into_iter().collect();
        let (mut twice, mut kinds) = (false, None);
        while let Some((index, times)) = waiting.pop_last() {
            let summary = &self.memo.summaries[index];
            if times > 1 && summary.inodes > 0 {
                twice = true;
                break;
            }
            all.extend_from_slice(&summary.own);
            for (inode, symlink) in &summary.linked {
                let known = names.entry(*inode).or_insert((0, *symlink));
                known.0 = known.0.saturating_add(times);
                if known.1 != *symlink {
                    kinds = Some(*inode);
                }
            }
            for below in &summary.below {
                let known = waiting.entry(*below).or_default();
                *known = known.saturating_add(times);
            }
        }
        if twice {
            self.add("one directory or file is in it under two names".to_owned());
        }
        if let Some(inode) = kinds {
            self.add(format!("names of inode {inode} differ in whether it is a symbolic link"));
        }
        (all, names)
    }

    /// Compares the link table with the names in the tree.
    fn links(&mut self, table: Option<usize>, names: &HashMap<u64, (u64, bool)>, all: &mut Vec<u64>) {
        let mut found = 0;
        let mut waiting: Vec<usize> = table.into_iter().collect();
        let mut wrong = Vec::new();
        while let Some(index) = waiting.pop() {
            let summary = &self.memo.summaries[index];
            waiting.extend(&summary.below);
            for (inode, links, symlink) in &summary.table {
                all.push(*inode);
                found += 1;
                match names.get(inode) {
                    None => wrong.push(format!("inode {inode} is in the link table and has no name")),
                    Some((count, _)) if count != links => {
                        wrong.push(format!("inode {inode} counts {links} names and has {count}"));
                    }
                    Some((_, kind)) if kind != symlink => {
                        wrong.push(format!("the names of inode {inode} say another kind than the link table"));
                    }
                    Some(_) => {}
                }
                if wrong.len() > VIOLATIONS_MAX {
                    break;
                }
            }
        }
        wrong.into_iter().for_each(|reason| self.add(reason));
        if found < names.len() {
            self.add(format!("{} linked files have names, and the link table has {found}", names.len()));
        }
    }

    fn add(&mut self, reason: String) {
        self.report.add(self.state, "the state".to_owned(), reason);
    }
}

fn kind_of(bytes: &[u8]) -> Option<NodeKind> {
    bytes.first().copied().and_then(NodeKind::from_byte)
}
