//! Planning for paths of another state: down to each path, and from there on as for a revert whose base is the head.

use bytes::Bytes;

use super::super::used::{Compared, Used};
use super::{Addition, Content, Directory, Found, Line, PathError, Place, Plan, Planner, Record};
use crate::diff::walk::joined;
use crate::error::FsError;
use crate::transaction::Kind;

/// So many entries are looked at to find out which inode numbers a path from another state may keep.
const LOOKED_AT_MAX: usize = 20_000;

impl Planner<'_> {
    /// Plans to make paths what they are in theirs; base and ours are the same state.
    pub(crate) fn plan_paths(mut self, paths: &[Vec<&[u8]>], line: Option<Line>) -> Result<Plan, PathError> {
        self.is_graft = true;
        self.plan.places.push(Place { parent: None, mode: None, modified: None });
        for (number, path) in paths.iter().enumerate() {
            self.path(path).map_err(|error| PathError { path: number, error })?;
        }
        self.walk()?;
        let mut compared = Compared { used: Used::none(), is_same: false };
        if !self.plan.additions.is_empty() || !self.plan.removals.is_empty() || !self.plan.rewrites.is_empty() {
            let whole =
                paths.iter().map(|path| path.iter().fold(Vec::new(), |path, name| joined(&path, name))).collect();
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
}
