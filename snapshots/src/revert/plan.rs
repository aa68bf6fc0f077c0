//! What a revert would do: three trees walked side by side, only where the operation changed something.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::used::{Used, names_in_table};
use super::{ConflictReason, Conflicts, Line, PathError};
use crate::diff::walk::{compare, every_entry, joined};
use crate::error::{FsError, StoreError};
use crate::id::{Inode, StateId, Timestamp};
use crate::state::{State, TreeUsage};
use crate::transaction::Kind;
use crate::tree::{Content, Directory, Nodes, Record};

/// So many entries are looked at to find out which inode numbers a path from another state may keep.
const LOOKED_AT_MAX: usize = 20_000;

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
        Ok(Self { nodes, theirs, base, ours, waiting: Vec::new(), plan: Plan::default(), is_exact: true, is_graft: false, kept: HashSet::new() })
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

    /// Plans to make paths what they are in theirs; base and ours are the same state.
    pub(crate) fn plan_paths(mut self, paths: &[Vec<&[u8]>], line: Option<Line>) -> Result<Plan, PathError> {
        self.is_graft = true;
        self.plan.places.push(Place { parent: None, mode: None, modified: None });
        for (number, path) in paths.iter().enumerate() {
            self.path(path).map_err(|error| PathError { path: number, error })?;
        }
        self.walk()?;
        let mut compared = super::used::Compared { used: Used::none(), is_same: true };
        if !self.plan.additions.is_empty() || !self.plan.removals.is_empty() || !self.plan.rewrites.is_empty() {
            let whole = paths.iter().map(|path| path.iter().fold(Vec::new(), |path, name| joined(&path, name))).collect();
            let (theirs, ours) = (self.theirs.root.clone(), self.ours.root.clone());
            compared = Used::between(&self.nodes, theirs, ours, &whole, LOOKED_AT_MAX)?;
        }
        Ok(self.finish(compared.used, line, compared.is_same)?)
    }

    /// Finds the directory that a path is in, plans to make those of its parents that are missing, and looks at the path.
    fn path(&mut self, path: &[&[u8]]) -> Result<(), FsError> {
        let Some((name, parents)) = path.split_last() else { return Err(FsError::Invalid) };
        let (mut place, mut at) = (0, Vec::new());
        let (mut theirs, mut ours) = (Some(self.theirs.root.clone()), self.ours.root.clone());
        let entries = |record: &Record| match record.content {
            Content::Directory(root) => Some(root),
            _ => None,
        };
        for (depth, part) in parents.iter().enumerate() {
            let there = theirs.as_ref().map(|theirs| theirs.get(part, &self.nodes)).transpose()?.flatten();
            let Some(here) = ours.get(part, &self.nodes)? else {
                // The parent is in neither: then the path is not either.
                let there = there.filter(|there| there.kind() == Kind::Directory).ok_or(FsError::NotFound)?;
                return self.missing_parents(place, &at, there, &path[depth..]);
            };
            let root = entries(&here).ok_or(FsError::NotADirectory)?;
            ours = Directory::stored(root, &self.nodes)?;
            let root = there.as_ref().and_then(entries);
            theirs = root.map(|root| Directory::stored(root, &self.nodes)).transpose()?;
            at = joined(&at, part);
            place = self.place(place, Bytes::copy_from_slice(part), None, None);
        }
        let theirs = theirs.map(|theirs| theirs.get(name, &self.nodes)).transpose()?.flatten();
        let ours = ours.get(name, &self.nodes)?;
        if theirs.is_none() && ours.is_none() {
            return Err(FsError::NotFound);
        }
        if theirs != ours || !self.has_same_links() {
            self.look(place, joined(&at, name), Bytes::copy_from_slice(name), [ours.clone(), theirs, ours], true)?;
        }
        Ok(())
    }

    /// Plans directories that hold nothing but the way to a path.
    fn missing_parents(&mut self, place: usize, at: &[u8], top: Record, rest: &[&[u8]]) -> Result<(), FsError> {
        let mut way = Vec::new();
        let mut record = top.clone();
        for (depth, name) in rest.iter().enumerate() {
            let mut found = Found::new(0, Bytes::copy_from_slice(name), record.clone());
            found.is_way = depth + 1 < rest.len();
            way.push(found);
            if let Some(next) = rest.get(depth + 1) {
                let Content::Directory(root) = record.content else { return Err(FsError::NotFound) };
                let entries = Directory::stored(root, &self.nodes)?;
                record = entries.get(next, &self.nodes)?.ok_or(FsError::NotFound)?;
            }
        }
        self.is_exact = false;
        let path = joined(at, rest[0]);
        let known = self.plan.additions.iter().position(|addition| addition.path == path);
        let index = known.unwrap_or_else(|| {
            let name = Bytes::copy_from_slice(rest[0]);
            self.plan.additions.push(Addition { place, name, path, record: top, tree: Vec::new() });
            self.plan.additions.len() - 1
        });
        let tree = &mut self.plan.additions[index].tree;
        let mut parent = 0;
        for (depth, mut found) in way.into_iter().enumerate() {
            let is_here = |(index, known): &(usize, &Found)| {
                known.is_way && known.name == found.name && (depth == 0 || (known.parent == parent && *index > 0))
            };
            let known = tree.iter().enumerate().take(if depth == 0 { 1 } else { usize::MAX }).find(is_here);
            parent = if let Some((index, _)) = known {
                index
            } else {
                found.parent = parent;
                tree.push(found);
                tree.len() - 1
            };
        }
        Ok(())
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
            && theirs.inode == ours.inode
        {
            self.plan.homes.insert(theirs.inode, (place, name.clone()));
        }
        if self.is_same(&base, &self.base, &theirs, &self.theirs)? {
            if base.map(|base| base.inode) != theirs.map(|theirs| theirs.inode) {
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
                let ours = directory(&Some(ours.clone())).map(|root| Directory::stored(root, &self.nodes)).transpose()?;
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

impl Planner<'_> {
    /// Compares files with several names: their content is in the link table, and no directory tells that it changed.
    fn shared_files(&mut self) -> Result<(), StoreError> {
        let mut different = BTreeMap::new();
        compare(self.theirs.links.root(), self.base.links.root(), &self.nodes, &mut different)?;
        let mut lost = HashMap::new();
        for (name, (theirs, base)) in different {
            let (Some(theirs), Some(base)) = (theirs, base) else { continue };
            if says_the_same(&theirs, &base) {
                continue;
            }
            match self.ours.links.get(&name, &self.nodes)? {
                Some(ours) if says_the_same(&ours, &base) => self.plan.table.push(theirs),
                Some(ours) if says_the_same(&ours, &theirs) => {}
                Some(_) => drop(lost.insert(base.inode, ConflictReason::Changed)),
                None => drop(lost.insert(base.inode, ConflictReason::Removed)),
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let mut named = Vec::new();
        names_in_table(&self.nodes, self.base.root.clone(), |inode, path| {
            named.extend(lost.get(&inode).map(|reason| (path, inode, *reason)));
        })?;
        for (path, inode, reason) in named {
            // A name that the operation gave, too, was looked at with its path.
            if self.entry(&self.theirs.root, &path)?.is_some_and(|record| record.inode == inode) {
                self.plan.conflicts.add(path, reason);
            }
        }
        Ok(())
    }

    fn entry(&self, root: &Directory, path: &[u8]) -> Result<Option<Record>, StoreError> {
        let mut directory = root.clone();
        let mut found = None;
        for name in path.split(|byte| *byte == b'/').skip(1) {
            if let Some(Record { content: Content::Directory(root), .. }) = found {
                directory = Directory::stored(root, &self.nodes)?;
            }
            found = directory.get(name, &self.nodes)?;
            if found.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Decides what can be put as it is and what must be taken apart for it.
    fn finish(mut self, mut used: Used, line: Option<Line>, totals_are_known: bool) -> Result<Plan, StoreError> {
        self.kept.iter().for_each(|inode| used.and(*inode));
        let (theirs, base, ours) = (&self.theirs.state, &self.base.state, &self.ours.state);
        if line.is_none() && !self.plan.additions.is_empty() {
            // The numbers of an unknown line mean nothing here.
            used = Used::Any;
        }
        let line = line.unwrap_or(Line { lowest: Inode(0), only_forward: false });
        let all_given_before = theirs.next_inode <= line.lowest.0 || line.lowest.0 >= ours.next_inode;
        let all_free = all_given_before && !used.any_below(theirs.next_inode);
        let same_links = theirs.links == base.links && base.links == ours.links;
        self.plan.next_inode = ours.next_inode;
        if !self.plan.additions.is_empty() && line.lowest.0 > 0 {
            self.plan.next_inode = ours.next_inode.max(theirs.next_inode);
        }
        if self.is_exact && totals_are_known && same_links && (all_free || self.plan.additions.is_empty()) {
            let sum = |ours: u64, theirs: u64, base: u64| (ours.saturating_add(theirs)).checked_sub(base);
            let bytes = sum(ours.usage.bytes, theirs.usage.bytes, base.usage.bytes);
            let inodes = sum(ours.usage.inodes, theirs.usage.inodes, base.usage.inodes);
            if let (Some(bytes), Some(inodes)) = (bytes, inodes) {
                self.plan.exact = Some(TreeUsage { bytes, inodes });
            }
        }
        if self.plan.exact.is_none() {
            let given_again = line.lowest.0..ours.next_inode;
            let is_free = |inode: Inode| !used.contains(inode) && !given_again.contains(&inode.0);
            let mut additions = std::mem::take(&mut self.plan.additions);
            for addition in &mut additions {
                self.take_apart(addition, &is_free)?;
            }
            self.plan.additions = additions;
        }
        self.plan.conflicts.cut();
        self.plan.links = self.theirs.links.clone();
        Ok(self.plan)
    }

    /// Walks what comes back, and finds what of it can't be attached as it is.
    fn take_apart(&mut self, addition: &mut Addition, is_free: &dyn Fn(Inode) -> bool) -> Result<(), StoreError> {
        let tree = &mut addition.tree;
        if tree.is_empty() {
            tree.push(Found::new(0, addition.name.clone(), addition.record.clone()));
        }
        let mut next = 0;
        while next < tree.len() {
            let found = &mut tree[next];
            let record = found.record.clone();
            found.keeps_inode = !found.is_way && is_free(record.inode);
            found.is_special = record.is_linked() || !found.keeps_inode;
            let is_way = found.is_way;
            if record.is_linked() {
                let path = path_in(tree, next, &addition.path);
                self.shared_name(record.inode, path)?;
            }
            if let (Content::Directory(root), false) = (record.content, is_way) {
                let entries = Directory::stored(root, &self.nodes)?;
                every_entry(&entries, &self.nodes, |entry| {
                    tree.push(Found::new(next, entry.name.clone(), entry.record.clone()));
                })?;
            }
            next += 1;
        }
        for index in (1..tree.len()).rev() {
            if tree[index].is_special {
                let parent = tree[index].parent;
                tree[parent].is_special = true;
            }
        }
        Ok(())
    }

    /// A name of a file with several comes back: it can share the file that is there if that is still the same.
    fn shared_name(&mut self, inode: Inode, path: Vec<u8>) -> Result<(), StoreError> {
        let name = inode.0.to_be_bytes();
        let Some(ours) = self.ours.links.get(&name, &self.nodes)? else { return Ok(()) };
        let theirs = self.theirs.links.get(&name, &self.nodes)?;
        let becomes_same = self.plan.table.iter().any(|record| record.inode == inode);
        if becomes_same || theirs.is_some_and(|theirs| says_the_same(&theirs, &ours)) {
            self.plan.shared.insert(inode);
        } else if !self.is_graft {
            self.plan.conflicts.add(path, ConflictReason::OtherName);
        }
        Ok(())
    }
}

/// Returns the path of an entry of what comes back.
fn path_in(tree: &[Found], index: usize, top: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = index;
    while at > 0 {
        names.push(&tree[at].name);
        at = tree[at].parent;
    }
    names.iter().rev().fold(top.to_vec(), |path, name| joined(&path, name))
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
