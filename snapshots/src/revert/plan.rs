//! What a revert would do: three trees walked side by side, only where the operation changed something.

mod finish;
mod paths;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::used::Used;
use super::{ConflictReason, Conflicts, Line, PathError};
use crate::diff::walk::{compare, every_entry, joined};
use crate::error::StoreError;
use crate::id::{Inode, StateId, Timestamp};
use crate::state::{State, TreeUsage};
use crate::transaction::Kind;
use crate::tree::{Content, Directory, Nodes, Record};

/// A directory of the head in which something becomes other.
#[derive(Debug)]
pub(crate) struct Place {
    /// The number of the directory that it is in, and its name there; the root has none.
    pub(crate) parent: Option<(usize, Bytes)>,
    pub(crate) mode: Option<u16>,
    /// What its time becomes; none for the time of the revert, if its names become others.
    pub(crate) modified: Option<Timestamp>,
}

/// A name that goes.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) place: usize,
    pub(crate) name: Bytes,
    pub(crate) record: Record,
    /// Whether all below goes with it; otherwise that has removals of its own, and it is empty by then.
    pub(crate) is_whole: bool,
}

/// A name that comes back.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) place: usize,
    pub(crate) name: Bytes,
    pub(crate) path: Vec<u8>,
    pub(crate) record: Record,
    /// What is at and below it, parents first; empty where that need not be known.
    pub(crate) tree: Vec<Found>,
}

/// One entry of what comes back.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) parent: usize,
    pub(crate) name: Bytes,
    pub(crate) record: Record,
    /// Whether it can't be attached as it is, or something below it can't.
    pub(crate) is_special: bool,
    /// Whether its inode number is free.
    pub(crate) keeps_inode: bool,
    /// Whether it is a directory that only leads to what comes back.
    pub(crate) is_way: bool,
}

impl Found {
    fn new(parent: usize, name: Bytes, record: Record) -> Self {
        Self { parent, name, record, is_special: false, keeps_inode: false, is_way: false }
    }
}

/// What makes the head what it shall be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The root first, and every other after the one that it is in.
    pub(crate) places: Vec<Place>,
    /// To be done from the last to the first.
    pub(crate) removals: Vec<Removal>,
    pub(crate) additions: Vec<Addition>,
    /// Files and links that stay the same inode and get another content, mode or time.
    pub(crate) rewrites: Vec<(usize, Bytes, Record)>,
    /// The same for files in the link table.
    pub(crate) table: Vec<Record>,
    /// Where a file is that several names shall share and that has one name yet.
    pub(crate) homes: HashMap<Inode, (usize, Bytes)>,
    /// Files with several names that are here as they are there: names that come back are names of these.
    pub(crate) shared: HashSet<Inode>,
    pub(crate) conflicts: Conflicts,
    /// What the head uses afterwards, where every record can be put as it is and nothing needs to be counted.
    pub(crate) exact: Option<TreeUsage>,
    /// The least that the next inode number must be.
    pub(crate) next_inode: u64,
    /// The link table that names which come back refer to.
    pub(crate) links: Directory,
}

/// One of the three states.
struct Side {
    state: State,
    root: Directory,
    links: Directory,
}

/// One directory in up to three states.
struct Work {
    place: usize,
    path: Vec<u8>,
    base: Option<Directory>,
    theirs: Option<Directory>,
    ours: Option<Directory>,
    /// Whether it is a directory in ours.
    is_here: bool,
}

/// The walk. See the module's documentation.
pub(crate) struct Planner<'a> {
    nodes: Nodes<'a>,
    theirs: Side,
    base: Side,
    ours: Side,
    waiting: Vec<Work>,
    plan: Plan,
    /// Whether all that becomes other is in ours, bit by bit, as in base.
    is_exact: bool,
    /// Whether paths are taken from another state, and what lies outside them must not become other.
    is_graft: bool,
    /// Numbers of what stays where theirs has another.
    kept: HashSet<Inode>,
    /// Files that become what they are in theirs, under all their names.
    rewritten: HashSet<Inode>,
}

impl Side {
    fn load(nodes: &Nodes<'_>, id: StateId) -> Result<Self, StoreError> {
        let state = State::load(nodes.source(), id)?;
        let (root, links) = (Directory::stored(state.root, nodes)?, Directory::stored(state.links, nodes)?);
        Ok(Self { state, root, links })
    }

    /// Returns the record itself, or the one in the link table that it stands for.
    fn resolved(&self, record: &Record, nodes: &Nodes<'_>) -> Result<Record, StoreError> {
        if !record.is_linked() {
            return Ok(record.clone());
        }
        Ok(self.links.get(&record.inode.0.to_be_bytes(), nodes)?.unwrap_or_else(|| record.clone()))
    }
}

impl<'a> Planner<'a> {
    /// Loads the three states: before the operation, after it, and the head.
    pub(crate) fn new(nodes: Nodes<'a>, theirs: StateId, base: StateId, ours: StateId) -> Result<Self, StoreError> {
        let side = |id| Side::load(&nodes, id);
        let (theirs, base, ours) = (side(theirs)?, side(base)?, side(ours)?);
        Ok(Self {
            nodes,
            theirs,
            base,
            ours,
            waiting: Vec::new(),
            plan: Plan::default(),
            is_exact: true,
            is_graft: false,
            kept: HashSet::new(),
            rewritten: HashSet::new(),
        })
    }

    /// Plans to take back what led from theirs to base.
    pub(crate) fn plan(mut self, line: Line) -> Result<Plan, StoreError> {
        let [theirs, base, ours] = [&self.theirs.state, &self.base.state, &self.ours.state];
        let mode = three_way(base.root_mode, theirs.root_mode, ours.root_mode);
        let mode = mode.unwrap_or_else(|()| {
            self.plan.conflicts.add(b"/".to_vec(), ConflictReason::Changed);
            None
        });
        let modified = (ours.root_modified == base.root_modified).then_some(Timestamp(theirs.root_modified));
        self.plan.places.push(Place { parent: None, mode, modified });
        self.waiting.push(Work {
            place: 0,
            path: Vec::new(),
            base: Some(self.base.root.clone()),
            theirs: Some(self.theirs.root.clone()),
            ours: Some(self.ours.root.clone()),
            is_here: true,
        });
        self.walk()?;
        self.shared_files()?;
        let mut used = Used::none();
        if !self.plan.additions.is_empty() && (!line.only_forward || !self.is_exact) {
            let (base, ours) = (self.base.root.clone(), self.ours.root.clone());
            used = Used::between(&self.nodes, base, ours, &HashSet::new(), usize::MAX)?.used;
        }
        let is_exact = self.is_exact;
        self.finish(used, Some(line), is_exact)
    }

    fn walk(&mut self) -> Result<(), StoreError> {
        while let Some(work) = self.waiting.pop() {
            let mut different = BTreeMap::new();
            let root = |directory: &Option<Directory>| directory.as_ref().and_then(|found| found.root().cloned());
            compare(root(&work.base).as_ref(), root(&work.theirs).as_ref(), &self.nodes, &mut different)?;
            if let (Some(base), None, Some(ours)) = (&work.base, &work.theirs, &work.ours) {
                let mut newer = BTreeMap::new();
                compare(base.root(), ours.root(), &self.nodes, &mut newer)?;
                if newer.values().any(|(base, ours)| base.is_none() && ours.is_some()) {
                    self.plan.conflicts.add(work.path.clone(), ConflictReason::NotEmpty);
                }
            }
            if self.is_graft && !self.has_same_links() {
                // Names that say the same may stand for files that do not.
                for entries in work.theirs.iter().filter(|_| work.base.is_some()) {
                    every_entry(entries, &self.nodes, |entry| {
                        if matches!(entry.record.content, Content::Directory(_) | Content::Linked { .. }) {
                            let both = || (Some(entry.record.clone()), Some(entry.record.clone()));
                            different.entry(entry.name.clone()).or_insert_with(both);
                        }
                    })?;
                }
            }
            for (name, (base, theirs)) in different {
                let ours = work.ours.as_ref().map(|ours| ours.get(&name, &self.nodes)).transpose()?.flatten();
                self.look(work.place, joined(&work.path, &name), name, [base, theirs, ours], work.is_here)?;
            }
        }
        Ok(())
    }

    /// One path that base and theirs tell differently.
    fn look(
        &mut self,
        place: usize,
        path: Vec<u8>,
        name: Bytes,
        [base, theirs, ours]: [Option<Record>; 3],
        parent_is_here: bool,
    ) -> Result<(), StoreError> {
        let directory = |record: &Option<Record>| match record.as_ref().map(|record| &record.content) {
            Some(Content::Directory(root)) => Some(*root),
            _ => None,
        };
        if let (Some(base), Some(theirs)) = (&base, &theirs)
            && base.kind() == Kind::Directory
            && theirs.kind() == Kind::Directory
        {
            return self.directory_on_both_sides(place, path, name, [base, theirs], ours.as_ref());
        }
        let as_base = self.is_same(&base, &self.base, &ours, &self.ours)?;
        let as_theirs = self.is_same(&theirs, &self.theirs, &ours, &self.ours)?;
        if let (Some(theirs), Some(ours)) = (&theirs, &ours)
            && theirs.is_linked()
            && !ours.is_linked()
            // After going back a number may have been given again.
            && (theirs.inode, theirs.kind()) == (ours.inode, ours.kind())
            && (as_theirs || (as_base && !self.is_graft))
        {
            self.plan.homes.insert(theirs.inode, (place, name.clone()));
        }
        if self.is_same(&base, &self.base, &theirs, &self.theirs)? {
            let place = |record: Option<Record>| record.map(|record| (record.inode, record.is_linked()));
            if place(base) != place(theirs) {
                self.stays(ours.as_ref());
            }
            return Ok(());
        }
        if as_theirs {
            self.stays(ours.as_ref());
            if let (Some(theirs), Some(ours), Some(root)) = (&theirs, &ours, directory(&theirs))
                && (theirs.content != ours.content || !self.has_same_links())
            {
                let place = self.place(place, name, None, None);
                let theirs = Some(Directory::stored(root, &self.nodes)?);
                let ours =
                    directory(&Some(ours.clone())).map(|root| Directory::stored(root, &self.nodes)).transpose()?;
                self.waiting.push(Work { place, path, base: None, theirs, ours, is_here: true });
            }
            return Ok(());
        }
        if !as_base {
            let reason = match (&base, &ours) {
                (None, _) => ConflictReason::Made,
                (_, None) => ConflictReason::Removed,
                _ => ConflictReason::Changed,
            };
            self.plan.conflicts.add(path, reason);
            return Ok(());
        }
        if !parent_is_here {
            self.plan.conflicts.add(path, ConflictReason::NoParent);
            return Ok(());
        }
        self.is_exact &= base == ours;
        match (base, ours, theirs) {
            (Some(base), Some(ours), Some(theirs))
                if [base.inode, ours.inode] == [theirs.inode; 2]
                    && base.kind() == theirs.kind()
                    && !(self.is_graft && (theirs.is_linked() || ours.is_linked())) =>
            {
                let theirs = self.theirs.resolved(&theirs, &self.nodes)?;
                self.plan.rewrites.push((place, name, theirs));
            }
            (base, ours, theirs) => {
                if let (Some(base), Some(ours)) = (base, ours) {
                    self.removal(place, &path, name.clone(), &base, ours)?;
                }
                if let Some(record) = theirs {
                    self.plan.additions.push(Addition { place, name, path, record, tree: Vec::new() });
                }
            }
        }
        Ok(())
    }

    fn directory_on_both_sides(
        &mut self,
        place: usize,
        path: Vec<u8>,
        name: Bytes,
        [base, theirs]: [&Record; 2],
        ours: Option<&Record>,
    ) -> Result<(), StoreError> {
        let (Content::Directory(before), Content::Directory(after)) = (&theirs.content, &base.content) else {
            return Ok(());
        };
        let here = match ours.map(|ours| (ours, &ours.content)) {
            Some((ours, Content::Directory(root))) => Some((ours, *root)),
            _ => None,
        };
        let mut inside = place;
        if base.inode != theirs.inode
            && let Some(ours) = ours.filter(|ours| *ours == base)
            && self.is_untouched(base, ours)
        {
            self.removal(place, &path, name.clone(), base, ours.clone())?;
            self.plan.additions.push(Addition { place, name, path, record: theirs.clone(), tree: Vec::new() });
            return Ok(());
        }
        if base.inode != theirs.inode {
            self.stays(ours);
        }
        match here {
            Some((ours, _)) => {
                let mode = three_way(base.mode, theirs.mode, ours.mode).unwrap_or_else(|()| {
                    self.plan.conflicts.add(path.clone(), ConflictReason::Changed);
                    None
                });
                let modified = (ours.modified == base.modified).then_some(theirs.modified);
                inside = self.place(place, name, mode, modified);
            }
            None if base.mode != theirs.mode => {
                let reason = if ours.is_some() { ConflictReason::Changed } else { ConflictReason::Removed };
                self.plan.conflicts.add(path.clone(), reason);
            }
            None => self.is_exact = false,
        }
        if before != after || (self.is_graft && !self.has_same_links()) {
            self.waiting.push(Work {
                place: inside,
                path,
                base: Some(Directory::stored(*after, &self.nodes)?),
                theirs: Some(Directory::stored(*before, &self.nodes)?),
                ours: here.map(|(_, root)| Directory::stored(root, &self.nodes)).transpose()?,
                is_here: here.is_some(),
            });
        }
        Ok(())
    }

    /// Plans that a name goes, and looks into what goes with it where that may be other than the operation left it.
    fn removal(
        &mut self,
        place: usize,
        path: &[u8],
        name: Bytes,
        base: &Record,
        ours: Record,
    ) -> Result<(), StoreError> {
        let is_whole = ours.kind() != Kind::Directory || self.is_untouched(base, &ours);
        if let (false, Content::Directory(left), Content::Directory(right)) = (is_whole, &base.content, &ours.content) {
            self.is_exact = false;
            let inside = self.place(place, name.clone(), None, None);
            self.waiting.push(Work {
                place: inside,
                path: path.to_vec(),
                base: Some(Directory::stored(*left, &self.nodes)?),
                theirs: None,
                ours: Some(Directory::stored(*right, &self.nodes)?),
                is_here: true,
            });
        }
        self.plan.removals.push(Removal { place, name, record: ours, is_whole });
        Ok(())
    }

    /// Says whether a directory holds what the operation left in it.
    fn is_untouched(&self, base: &Record, ours: &Record) -> bool {
        let same_links = self.base.state.links.is_none() || self.base.state.links == self.ours.state.links;
        base.content == ours.content && same_links
    }

    /// Something stays where theirs has another inode.
    fn stays(&mut self, ours: Option<&Record>) {
        self.kept.extend(ours.map(|ours| ours.inode));
        self.is_exact = false;
    }

    fn place(&mut self, parent: usize, name: Bytes, mode: Option<u16>, modified: Option<Timestamp>) -> usize {
        self.plan.places.push(Place { parent: Some((parent, name)), mode, modified });
        self.plan.places.len() - 1
    }

    /// Says whether a record that theirs and ours share means the same in both.
    fn has_same_links(&self) -> bool {
        self.theirs.state.links.is_none() || self.theirs.state.links == self.ours.state.links
    }

    /// Says whether two entries tell the same, inode numbers and what directories hold aside.
    fn is_same(
        &self,
        left: &Option<Record>,
        left_side: &Side,
        right: &Option<Record>,
        right_side: &Side,
    ) -> Result<bool, StoreError> {
        let (left, right) = match (left, right) {
            (None, None) => return Ok(true),
            (Some(left), Some(right)) => (left, right),
            _ => return Ok(false),
        };
        if left.kind() != right.kind() {
            return Ok(false);
        }
        if left.kind() == Kind::Directory {
            return Ok(left.mode == right.mode);
        }
        Ok(says_the_same(&left_side.resolved(left, &self.nodes)?, &right_side.resolved(right, &self.nodes)?))
    }
}

/// Says whether two files or symbolic links are the same but for their inode numbers and names.
fn says_the_same(left: &Record, right: &Record) -> bool {
    (left.mode, left.modified, left.size, &left.content) == (right.mode, right.modified, right.size, &right.content)
}

/// Returns what ours must become, if anything; an error when both sides changed it.
fn three_way<T: PartialEq + Copy>(base: T, theirs: T, ours: T) -> Result<Option<T>, ()> {
    if base == theirs || ours == theirs {
        Ok(None)
    } else if ours == base {
        Ok(Some(theirs))
    } else {
        Err(())
    }
}
