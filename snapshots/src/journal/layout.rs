//! Which files of a journal count: every number from 1 on has exactly one segment that stands for it.
//!
//! A collection that was killed may leave a segment beside the one that was rewritten from it. The rewritten one was whole
//! before it got its name, so it counts, and the other is left over.

use super::disk::SegmentStore;
use super::reader::OpenedSegment;
use super::recovery::{damaged, io_error};
use super::segment::{FILLING, PLAIN, REWRITING, SegmentId};
use crate::error::StoreError;

/// What lies in the directory of the segments.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// The segments that count, oldest first, with the last number that each stands for.
    pub(crate) segments: Vec<(SegmentId, u32)>,
    /// Segments that were rewritten since.
    pub(crate) leftovers: Vec<SegmentId>,
    /// Files that never became segments.
    pub(crate) unnamed: Vec<&'static str>,
}

impl Layout {
    /// Looks at the names, and into the segments that were rewritten.
    ///
    /// # Errors
    /// [`StoreError::DamagedFile`] when a number has no segment, or what reading met.
    pub(crate) fn read(disk: &dyn SegmentStore) -> Result<Self, StoreError> {
        let names = disk.list().map_err(|source| io_error(disk, "list", "", source))?;
        let mut layout = Self::default();
        layout.unnamed.extend([FILLING, PLAIN, REWRITING].into_iter().filter(|name| names.iter().any(|is| is == name)));
        let mut found: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::of_name(name)).collect();
        found.sort_unstable();
        let mut found = found.into_iter().peekable();
        let mut covered = 0;
        while let Some(id) = found.next() {
            let is_newest = found.peek().is_none_or(|next| next.number != id.number);
            if !is_newest || id.number <= covered {
                layout.leftovers.push(id);
                continue;
            }
            let expected = covered.saturating_add(1);
            if id.number != expected {
                return Err(damaged(disk, SegmentId::plain(expected), 0, "the segment is gone"));
            }
            covered = if id.rewrite == 0 { id.number } else { OpenedSegment::open(disk, id)?.last_number() };
            layout.segments.push((id, covered));
        }
        Ok(layout)
    }

    /// Returns the segment that stands for a number.
    pub(crate) fn of_number(&self, number: u32) -> Option<SegmentId> {
        let place = self.segments.partition_point(|(_, last)| *last < number);
        self.segments.get(place).map(|(id, _)| *id).filter(|id| id.number <= number)
    }

    /// Returns the segments that were rewritten, with the last number of each.
    pub(crate) fn rewritten(&self) -> impl Iterator<Item = (SegmentId, u32)> {
        self.segments.iter().copied().filter(|(id, _)| id.rewrite > 0)
    }
}
