//! What a directory says of one of its entries, and its canonical bytes.

use bytes::Bytes;

use crate::codec::{CodecError, Reader, Writer};
use crate::id::{Inode, NodeId, Timestamp};
use crate::transaction::Kind;

/// The longest name of an entry, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// The longest target of a symbolic link, in bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 4095;
/// Content up to this size lies in the entry itself.
pub(crate) const INLINE_BYTES_MAX: usize = 512;
/// Content up to this size is one blob; larger content is cut into chunks of this size.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
/// The permission bits of a mode.
pub(crate) const MODE_MASK: u16 = 0o7777;

/// Where the content of an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file's bytes, up to [`INLINE_BYTES_MAX`].
    Inline(Bytes),
    /// A file's bytes, up to [`CHUNK_BYTES`].
    Blob(NodeId),
    /// A file's chunks: the root of a radix tree; none when all are holes.
    Chunks(Option<NodeId>),
    /// A directory's entries; none when it is empty.
    Directory(Option<NodeId>),
    /// Where a symbolic link points.
    Symlink(Bytes),
    /// A file or symbolic link with several names: it is in the link table, by inode number.
    Linked {
        /// Whether it is a symbolic link.
        symlink: bool,
    },
}

/// One inode as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) inode: Inode,
    pub(crate) mode: u16,
    pub(crate) modified: Timestamp,
    /// Of a file, in bytes; 0 for everything else.
    pub(crate) size: u64,
    /// Names of a file in the link table; 1 for everything else.
    pub(crate) links: u64,
    pub(crate) content: Content,
}

impl Record {
    pub(crate) fn write(&self, out: &mut Writer) {
        let tag = match self.content {
            Content::Inline(_) => 0,
            Content::Blob(_) => 1,
            Content::Chunks(_) => 2,
            Content::Directory(_) => 3,
            Content::Symlink(_) => 4,
            Content::Linked { symlink } => 5 + u8::from(symlink),
        };
        out.u8(tag).u64(self.inode.0);
        if tag >= 5 {
            return;
        }
        out.u64(u64::from(self.mode)).i64(self.modified.0).u64(self.links);
        match &self.content {
            Content::Inline(bytes) | Content::Symlink(bytes) => out.bytes(bytes),
            Content::Blob(id) => out.u64(self.size).id(id),
            Content::Chunks(root) => out.u64(self.size).optional_id(root.as_ref()),
            Content::Directory(root) => out.optional_id(root.as_ref()),
            Content::Linked { .. } => out,
        };
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
        let tag = input.u8()?;
        let inode = Inode(input.u64()?);
        if tag == 5 || tag == 6 {
            return Ok(Self::linked(inode, tag == 6));
        }
        let mode =
            u16::try_from(input.u64()?).ok().filter(|mode| *mode <= MODE_MASK).ok_or(CodecError::Range("a mode"))?;
        let modified = Timestamp(input.i64()?);
        let links = input.u64()?;
        let (size, content) = match tag {
            0 => {
                let bytes = Bytes::copy_from_slice(input.bytes()?);
                (bytes.len() as u64, Content::Inline(bytes))
            }
            1 => (input.u64()?, Content::Blob(input.id()?)),
            2 => (input.u64()?, Content::Chunks(input.option(Reader::id)?)),
            3 => (0, Content::Directory(input.option(Reader::id)?)),
            4 => (0, Content::Symlink(Bytes::copy_from_slice(input.bytes()?))),
            _ => return Err(CodecError::Range("a content tag")),
        };
        let fits = match &content {
            Content::Inline(bytes) => bytes.len() <= INLINE_BYTES_MAX,
            Content::Blob(_) => size > INLINE_BYTES_MAX as u64 && size <= CHUNK_BYTES as u64,
            Content::Chunks(_) => size > CHUNK_BYTES as u64 && i64::try_from(size).is_ok(),
            Content::Symlink(target) => !target.is_empty() && target.len() <= TARGET_BYTES_MAX,
            Content::Directory(_) | Content::Linked { .. } => true,
        };
        if !fits || links == 0 {
            return Err(CodecError::Range("a size or a number of links"));
        }
        Ok(Self { inode, mode, modified, size, links, content })
    }

    /// Returns what a directory says of a file that is in the link table.
    pub(crate) const fn linked(inode: Inode, symlink: bool) -> Self {
        Self { inode, mode: 0, modified: Timestamp(0), size: 0, links: 1, content: Content::Linked { symlink } }
    }

    pub(crate) const fn is_linked(&self) -> bool {
        matches!(self.content, Content::Linked { .. })
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self.content {
            Content::Directory(_) => Kind::Directory,
            Content::Symlink(_) | Content::Linked { symlink: true } => Kind::Symlink,
            _ => Kind::File,
        }
    }
}
