//! A file's content: what is stored, and the chunks that were written since.
//!
//! Chunks have 64 KiB. In the store a chunk is a blob without its trailing zeros, and an empty one is a hole, so that the
//! same bytes are the same nodes whatever wrote them and zeros cost nothing.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::record::{CHUNK_BYTES, Content, INLINE_BYTES_MAX};
use super::source::{Nodes, damaged};
use crate::codec::{CodecError, Reader, Writer};
use crate::error::StoreError;
use crate::id::NodeId;
use crate::node::{NodeBatch, NodeKind};

const CHUNK: u64 = CHUNK_BYTES as u64;
const FAN_OUT: usize = 256;
const FORMAT: u8 = 1;
/// Levels that reach every chunk of a file of 2^63 bytes.
const LEVELS_MAX: u8 = 6;

/// A file's content while a transaction works on it. A clone shares every chunk that neither changes.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) size: u64,
    base: Content,
    /// Bytes of `base` that still count: whole chunks of it, when it has several.
    base_valid: u64,
    /// Chunks written since; a chunk that ends early is zeros from there.
    written: OrdMap<u64, Arc<Vec<u8>>>,
    changed: bool,
}

impl File {
    pub(crate) fn empty() -> Self {
        Self { size: 0, base: Content::Inline(Bytes::new()), base_valid: 0, written: OrdMap::new(), changed: false }
    }

    pub(crate) fn stored(content: Content, size: u64) -> Self {
        Self { size, base: content, base_valid: size, written: OrdMap::new(), changed: false }
    }

    /// Reads from `offset` and returns how many bytes there were.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8], nodes: &Nodes<'_>) -> Result<usize, StoreError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let (chunk, start) = (at / CHUNK, (at % CHUNK) as usize);
            let part = (CHUNK_BYTES - start).min(length - done);
            let target = &mut buffer[done..done + part];
            match self.written.get(&chunk) {
                Some(bytes) => copy_padded(bytes, start, target),
                None => copy_padded(&self.base_chunk(chunk, nodes)?, start, target),
            }
            done += part;
        }
        Ok(length)
    }

    /// Writes at `offset`; the caller has checked that the end is no larger than a file can be.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], nodes: &Nodes<'_>) -> Result<(), StoreError> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (chunk, start) = (at / CHUNK, (at % CHUNK) as usize);
            let part = (CHUNK_BYTES - start).min(bytes.len() - done);
            let whole = start == 0 && part == CHUNK_BYTES;
            if !whole && !self.written.contains_key(&chunk) {
                let base = self.base_chunk(chunk, nodes)?.to_vec();
                self.written.insert(chunk, Arc::new(base));
            }
            let source = &bytes[done..done + part];
            match self.written.get_mut(&chunk) {
                Some(place) => overwrite(Arc::make_mut(place), start, source),
                None => drop(self.written.insert(chunk, Arc::new(source.to_vec()))),
            }
            done += part;
        }
        self.size = self.size.max(offset + bytes.len() as u64);
        self.changed |= !bytes.is_empty();
        Ok(())
    }

    pub(crate) fn set_size(&mut self, size: u64, nodes: &Nodes<'_>) -> Result<(), StoreError> {
        if size == self.size {
            return Ok(());
        }
        if size < self.size {
            let (last, keep) = (size / CHUNK, (size % CHUNK) as usize);
            if keep > 0 {
                let mut bytes = match self.written.get(&last) {
                    Some(bytes) => Arc::clone(bytes),
                    None => Arc::new(self.base_chunk(last, nodes)?.to_vec()),
                };
                if bytes.len() > keep {
                    Arc::make_mut(&mut bytes).truncate(keep);
                }
                self.written.insert(last, bytes);
            }
            let first_gone = last + u64::from(keep > 0);
            self.written = self.written.split(&first_gone).0;
            self.base_valid = self.base_valid.min(last * CHUNK);
        }
        self.size = size;
        self.changed = true;
        Ok(())
    }

    /// Returns a stored chunk, possibly shorter than a whole one; empty where it is a hole or cut off.
    fn base_chunk(&self, chunk: u64, nodes: &Nodes<'_>) -> Result<Bytes, StoreError> {
        if chunk * CHUNK >= self.base_valid {
            return Ok(Bytes::new());
        }
        match &self.base {
            Content::Inline(bytes) => Ok(bytes.clone()),
            Content::Blob(id) => nodes.blob(id),
            Content::Chunks(Some(root)) => stored_chunk(root, chunk, nodes),
            _ => Ok(Bytes::new()),
        }
    }

    /// Names every changed chunk, adds them to `batch`, and returns what an entry says of the content.
    pub(crate) fn seal(&mut self, batch: &mut NodeBatch, nodes: &Nodes<'_>) -> Result<Content, StoreError> {
        if !self.changed {
            return Ok(self.base.clone());
        }
        let content = if self.size <= CHUNK {
            let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(CHUNK_BYTES)];
            self.read(0, &mut bytes, nodes)?;
            if bytes.len() <= INLINE_BYTES_MAX {
                Content::Inline(bytes.into())
            } else {
                Content::Blob(put(batch, &bytes))
            }
        } else {
            Content::Chunks(self.seal_chunks(batch, nodes)?)
        };
        *self = Self::stored(content.clone(), self.size);
        Ok(content)
    }

    fn seal_chunks(&self, batch: &mut NodeBatch, nodes: &Nodes<'_>) -> Result<Option<NodeId>, StoreError> {
        let mut changes: Vec<(u64, Option<NodeId>)> = Vec::with_capacity(self.written.len() + 1);
        let base = match &self.base {
            Content::Chunks(Some(root)) => Some((*root, level_of(&nodes.node(root)?, root)?)),
            // A small base becomes the first chunk.
            _ if self.base_valid > 0 && !self.written.contains_key(&0) => {
                changes.push((0, put_chunk(batch, &self.base_chunk(0, nodes)?)));
                None
            }
            _ => None,
        };
        changes.extend(self.written.iter().map(|(chunk, bytes)| (*chunk, put_chunk(batch, bytes))));
        let mut builder = Builder { batch, nodes, valid: self.base_valid.div_ceil(CHUNK) };
        builder.build(level_for(self.size), 0, base, &changes)
    }
}

/// Returns the level of the root of a file of this size.
pub(crate) fn level_for(size: u64) -> u8 {
    let mut level = 1;
    while level < LEVELS_MAX && size.div_ceil(CHUNK) > span(level) {
        level += 1;
    }
    level
}

/// Returns the content of a file of more than one chunk, whose chunks are in `batch` already: each by its number, holes left out.
pub(crate) fn content_of_chunks(
    size: u64,
    chunks: &[(u64, Option<NodeId>)],
    batch: &mut NodeBatch,
    nodes: &Nodes<'_>,
) -> Result<Content, StoreError> {
    let mut builder = Builder { batch, nodes, valid: 0 };
    builder.build(level_for(size), 0, None, chunks).map(Content::Chunks)
}

/// Adds a chunk, given as a node with its kind byte, without its trailing zeros; one of zeros alone is a hole.
pub(crate) fn add_chunk(mut node: Vec<u8>, batch: &mut NodeBatch) -> Option<NodeId> {
    let length = node.get(1..)?.iter().rposition(|byte| *byte != 0)? + 2;
    node.truncate(length);
    Some(batch.insert(node))
}

/// Chunks below a node of this level.
pub(crate) const fn span(level: u8) -> u64 {
    1 << (8 * level as u32)
}

struct Builder<'a> {
    batch: &'a mut NodeBatch,
    nodes: &'a Nodes<'a>,
    /// Chunks of the base that still count.
    valid: u64,
}

impl Builder<'_> {
    /// Returns the node for `span(level)` chunks from `first`: those of the base, with the changes. The depth is at most
    /// [`LEVELS_MAX`].
    fn build(
        &mut self,
        level: u8,
        first: u64,
        base: Option<(NodeId, u8)>,
        changes: &[(u64, Option<NodeId>)],
    ) -> Result<Option<NodeId>, StoreError> {
        let base = base.filter(|_| first < self.valid);
        let mut children: [Option<NodeId>; FAN_OUT] = [None; FAN_OUT];
        let below = span(level - 1);
        match base {
            None if changes.is_empty() => return Ok(None),
            Some((id, stored))
                if changes.is_empty() && stored == level && first.saturating_add(span(level)) <= self.valid =>
            {
                return Ok(Some(id));
            }
            Some((id, stored)) if stored >= level => {
                let mut id = id;
                // The file became smaller: what is left is all in the first child.
                for _ in level..stored {
                    match children_of(&self.nodes.node(&id)?, &id)?[0] {
                        Some(child) => id = child,
                        None => return self.build(level, first, None, changes),
                    }
                }
                children = children_of(&self.nodes.node(&id)?, &id)?;
            }
            _ => {}
        }
        let mut rest = changes;
        for (index, child) in children.iter_mut().enumerate() {
            let start = first + index as u64 * below;
            let own = rest.partition_point(|(chunk, _)| *chunk < start.saturating_add(below));
            let (here, later) = rest.split_at(own);
            rest = later;
            if level == 1 {
                *child = match here.first() {
                    Some((_, id)) => *id,
                    None => child.filter(|_| start < self.valid),
                };
            } else {
                let base = match base {
                    // The file became larger: all there was is in the first child.
                    Some((id, stored)) if stored < level => (index == 0).then_some((id, stored)),
                    _ => child.map(|id| (id, level - 1)),
                };
                *child = self.build(level - 1, start, base, here)?;
            }
        }
        if children.iter().all(Option::is_none) {
            return Ok(None);
        }
        Ok(Some(self.batch.insert(encode(level, &children))))
    }
}

fn encode(level: u8, children: &[Option<NodeId>; FAN_OUT]) -> Vec<u8> {
    let mut out = Writer::with_kind(NodeKind::File as u8);
    out.u8(FORMAT).u8(level);
    let mut bitmap = [0u8; FAN_OUT / 8];
    for (index, child) in children.iter().enumerate() {
        bitmap[index / 8] |= u8::from(child.is_some()) << (index % 8);
    }
    out.raw(&bitmap);
    for id in children.iter().flatten() {
        out.id(id);
    }
    out.into_bytes()
}

fn header<'a>(bytes: &'a [u8]) -> Result<(u8, Reader<'a>), CodecError> {
    let mut input = Reader::new(bytes);
    if input.u8()? != NodeKind::File as u8 || input.u8()? != FORMAT {
        return Err(CodecError::Range("the kind or version of a file node"));
    }
    let level = input.u8()?;
    if level == 0 || level > LEVELS_MAX {
        return Err(CodecError::Range("the level of a file node"));
    }
    Ok((level, input))
}

/// Returns the level of a `file` node: at level 1 its children are chunks.
pub(crate) fn level_of(bytes: &[u8], id: &NodeId) -> Result<u8, StoreError> {
    header(bytes).map(|(level, _)| level).map_err(|error| damaged(id, error))
}

/// Returns the children of a `file` node.
pub(crate) fn children_of(bytes: &[u8], id: &NodeId) -> Result<[Option<NodeId>; FAN_OUT], StoreError> {
    let read = || -> Result<_, CodecError> {
        let (_, mut input) = header(bytes)?;
        let bitmap = input.raw(FAN_OUT / 8)?;
        let mut children = [None; FAN_OUT];
        for (index, child) in children.iter_mut().enumerate() {
            if bitmap[index / 8] & (1 << (index % 8)) != 0 {
                *child = Some(input.id()?);
            }
        }
        input.end()?;
        Ok(children)
    };
    read().map_err(|error| damaged(id, error))
}

/// Finds one chunk without decoding what lies beside it.
fn stored_chunk(root: &NodeId, chunk: u64, nodes: &Nodes<'_>) -> Result<Bytes, StoreError> {
    let mut id = *root;
    let mut level = level_of(&nodes.node(&id)?, &id)?;
    if chunk >= span(level) {
        return Ok(Bytes::new());
    }
    loop {
        let bytes = nodes.node(&id)?;
        let index = usize::from((chunk >> (8 * u32::from(level - 1))).to_le_bytes()[0]);
        let child = nth_child(&bytes, index, level).map_err(|error| damaged(&id, error))?;
        match child {
            None => return Ok(Bytes::new()),
            Some(child) if level == 1 => return nodes.blob(&child),
            Some(child) => {
                id = child;
                level -= 1;
            }
        }
    }
}

fn nth_child(bytes: &[u8], index: usize, level: u8) -> Result<Option<NodeId>, CodecError> {
    let (found, mut input) = header(bytes)?;
    if found != level {
        return Err(CodecError::Range("the level of a file node"));
    }
    let bitmap = input.raw(FAN_OUT / 8)?;
    if bitmap[index / 8] & (1 << (index % 8)) == 0 {
        return Ok(None);
    }
    let before: u32 = bitmap[..index / 8].iter().map(|byte| byte.count_ones()).sum();
    let in_byte = (bitmap[index / 8] & ((1u8 << (index % 8)) - 1)).count_ones();
    input.raw((before + in_byte) as usize * 32)?;
    input.id().map(Some)
}

fn put(batch: &mut NodeBatch, bytes: &[u8]) -> NodeId {
    let mut node = Vec::with_capacity(bytes.len() + 1);
    node.push(NodeKind::Blob as u8);
    node.extend_from_slice(bytes);
    batch.insert(node)
}

/// Adds a chunk without its trailing zeros; one of zeros alone is a hole.
fn put_chunk(batch: &mut NodeBatch, bytes: &[u8]) -> Option<NodeId> {
    let length = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    Some(put(batch, &bytes[..length]))
}

fn copy_padded(source: &[u8], start: usize, target: &mut [u8]) {
    let there = source.get(start..).unwrap_or_default();
    let length = there.len().min(target.len());
    target[..length].copy_from_slice(&there[..length]);
    target[length..].fill(0);
}

fn overwrite(place: &mut Vec<u8>, start: usize, source: &[u8]) {
    let end = start + source.len();
    if place.len() < start {
        place.resize(start, 0);
    }
    if place.len() < end {
        // Files grow in small steps: room for the whole chunk at once saves the copies between.
        place.reserve_exact(if end > 4096 { CHUNK_BYTES - place.len() } else { end.next_power_of_two() - place.len() });
        let overlap = place.len() - start;
        place[start..].copy_from_slice(&source[..overlap]);
        place.extend_from_slice(&source[overlap..]);
    } else {
        place[start..end].copy_from_slice(source);
    }
}
