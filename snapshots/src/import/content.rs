//! Reading one file of the host into nodes: holes stay holes, and a file that changes meanwhile is read again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::{FileType, SeekFrom, Stat, fstat, seek};
use rustix::io::Errno;

use super::walk::kind;
use crate::node::{NodeBatch, NodeKind};
use crate::tree::record::{CHUNK_BYTES, INLINE_BYTES_MAX};
use crate::tree::{Content, Nodes, add_chunk, content_of_chunks};

/// How often a file is read that changes while it is read.
const ATTEMPTS: u32 = 3;
const CHUNK: u64 = CHUNK_BYTES as u64;

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum NotRead {
    Io(io::Error),
    /// It was another after every reading.
    Changing,
    /// It is no regular file.
    NoFile,
}

/// Reads a file, adds its nodes to `batch`, and returns it as it was at one moment.
pub(super) fn read(file: &File, batch: &mut NodeBatch, nodes: &Nodes<'_>) -> Result<(Stat, Content, u64), NotRead> {
    let stat = || fstat(file).map_err(|error| NotRead::Io(error.into()));
    let mut before = stat()?;
    if kind(&before) != FileType::RegularFile {
        return Err(NotRead::NoFile);
    }
    for _ in 0..ATTEMPTS {
        let size = u64::try_from(before.st_size).map_err(|_| NotRead::NoFile)?;
        let content = read_once(file, size, &before, batch, nodes);
        let after = stat()?;
        if version(&before) == version(&after) {
            match content {
                Ok(content) => return Ok((after, content, size)),
                // It ended early and nothing says that it changed: then it is a file that does not keep its size.
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(NotRead::Io(error)),
                Err(_) => {}
            }
        }
        before = after;
    }
    Err(NotRead::Changing)
}

/// What changes when a file is written.
fn version(stat: &Stat) -> [i128; 5] {
    [
        stat.st_size.into(),
        stat.st_mtime.into(),
        stat.st_mtime_nsec.into(),
        stat.st_ctime.into(),
        stat.st_ctime_nsec.into(),
    ]
}

fn read_once(file: &File, size: u64, stat: &Stat, batch: &mut NodeBatch, nodes: &Nodes<'_>) -> io::Result<Content> {
    if size <= CHUNK {
        let node = read_node(file, 0, size)?;
        let is_inline = size <= INLINE_BYTES_MAX as u64;
        let content = if is_inline {
            Content::Inline(Bytes::copy_from_slice(&node[1..]))
        } else {
            Content::Blob(batch.insert(node))
        };
        return Ok(content);
    }
    let blocks_bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let has_holes = blocks_bytes < size;
    let mut chunks = Vec::new();
    let mut chunk = 0;
    while chunk < size.div_ceil(CHUNK) {
        let offset = chunk * CHUNK;
        if has_holes {
            match seek(file, SeekFrom::Data(offset)) {
                Ok(data) if data / CHUNK > chunk => {
                    chunk = data / CHUNK;
                    continue;
                }
                // There is nothing but a hole up to the end.
                Err(Errno::NXIO) => break,
                // Where holes can't be found they are read.
                Ok(_) | Err(_) => {}
            }
        }
        let node = read_node(file, offset, CHUNK.min(size - offset))?;
        if let Some(id) = add_chunk(node, batch) {
            chunks.push((chunk, Some(id)));
        }
        chunk += 1;
    }
    content_of_chunks(size, &chunks, batch, nodes).map_err(io::Error::other)
}

fn read_node(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut node = vec![0; length + 1];
    node[0] = NodeKind::Blob as u8;
    file.read_exact_at(&mut node[1..], offset)?;
    Ok(node)
}
