//! Exporting files of a state as a tar archive, the same bytes for the same state.
//!
//! Entries come in the order of their paths, each directory before what is in it, under their whole path without the first
//! slash. Long names are GNU's, times with a fraction or before 1970 are pax records; the owner is 0.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use crate::error::StoreError;
use crate::id::{Inode, NodeId, StateId, Timestamp};
use crate::node::NodeSource;
use crate::state::State;
use crate::tree::directory::position;
use crate::tree::{Content, Directory, File, Nodes, Record};

/// How many entries of a directory are read at a time.
const PAGE: usize = 1024;
/// The longest name in a header of its own.
const HEADER_NAME_BYTES: usize = 100;

/// Writes the file or directory at `path` (names from the root; none for everything) as a tar archive.
///
/// # Errors
/// [`StoreError::UnknownPath`], [`StoreError::Export`] when `out` fails, or what reading the state met.
pub fn export_tar(
    source: &dyn NodeSource,
    state: StateId,
    path: &[&[u8]],
    out: &mut dyn Write,
) -> Result<(), StoreError> {
    let nodes = Nodes::borrowed(source, Nodes::cache());
    let state = State::load(source, state)?;
    let links = Directory::stored(state.links, &nodes)?;
    let mut export = Export { nodes: &nodes, links, first_names: HashMap::new(), archive: Builder::new(out) };
    match path.split_last() {
        None => export.directory(Vec::new(), state.root)?,
        Some((name, parents)) => {
            let unknown = || StoreError::UnknownPath(format!("/{}", path.join(&b'/').escape_ascii()));
            let mut directory = Directory::stored(state.root, &nodes)?;
            for parent in parents {
                let record = directory.get(parent, &nodes)?.ok_or_else(unknown)?;
                let Content::Directory(root) = record.content else { return Err(unknown()) };
                directory = Directory::stored(root, &nodes)?;
            }
            let record = directory.get(name, &nodes)?.ok_or_else(unknown)?;
            let path = path.join(&b'/');
            let below = export.entry(&path, record)?;
            if let Some(root) = below {
                export.directory(path, root)?;
            }
        }
    }
    export.archive.finish().map_err(StoreError::Export)
}

struct Export<'a> {
    nodes: &'a Nodes<'a>,
    links: Directory,
    /// The name under which a file with several was written.
    first_names: HashMap<Inode, Vec<u8>>,
    archive: Builder<&'a mut dyn Write>,
}

impl Export<'_> {
    /// Writes everything below a directory.
    fn directory(&mut self, path: Vec<u8>, root: Option<NodeId>) -> Result<(), StoreError> {
        // Directories on the way down, each with the entries that are still to come, the next one last.
        let mut open = vec![(path, self.sorted(root)?)];
        while let Some((path, entries)) = open.last_mut() {
            let Some((name, record)) = entries.pop() else {
                open.pop();
                continue;
            };
            let mut path = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if let Some(root) = self.entry(&path, record)? {
                let entries = self.sorted(root)?;
                open.push((path, entries));
            }
        }
        Ok(())
    }

    /// Returns a directory's entries, the first by name last.
    fn sorted(&self, root: Option<NodeId>) -> Result<Vec<(bytes::Bytes, Record)>, StoreError> {
        let directory = Directory::stored(root, self.nodes)?;
        let mut entries = Vec::new();
        let mut from = 0;
        loop {
            let page = directory.page(from, PAGE, self.nodes)?;
            let Some(last) = page.last() else { break };
            from = position(&last.hash) + 1;
            entries.extend(page.into_iter().map(|entry| (entry.name, entry.record)));
        }
        entries.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
        Ok(entries)
    }

    /// Writes one entry; returns the root of a directory, whose entries come next.
    fn entry(&mut self, path: &[u8], record: Record) -> Result<Option<Option<NodeId>>, StoreError> {
        let record = if record.is_linked() {
            let inode = record.inode;
            let found = self.links.get(&inode.0.to_be_bytes(), self.nodes)?;
            let found = found.ok_or_else(|| StoreError::UnknownPath(format!("/{}", path.escape_ascii())))?;
            if let Some(first) = self.first_names.get(&inode) {
                let first = first.clone();
                self.append(EntryType::Link, path, &first, &found, &mut io::empty())?;
                return Ok(None);
            }
            self.first_names.insert(inode, path.to_vec());
            found
        } else {
            record
        };
        match &record.content {
            Content::Directory(root) => {
                let path = [path, b"/"].concat();
                self.append(EntryType::Directory, &path, b"", &record, &mut io::empty())?;
                return Ok(Some(*root));
            }
            Content::Symlink(target) => {
                self.append(EntryType::Symlink, path, target, &record, &mut io::empty())?;
            }
            content => {
                let file = File::stored(content.clone(), record.size);
                let mut reader = FileReader { file, offset: 0, nodes: self.nodes };
                self.append(EntryType::Regular, path, b"", &record, &mut reader)?;
            }
        }
        Ok(None)
    }

    fn append(
        &mut self,
        kind: EntryType,
        path: &[u8],
        target: &[u8],
        record: &Record,
        content: &mut dyn Read,
    ) -> Result<(), StoreError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(u32::from(record.mode));
        header.set_size(if kind == EntryType::Regular { record.size } else { 0 });
        header.set_uid(0);
        header.set_gid(0);
        let (seconds, pax) = tar_time(record.modified);
        header.set_mtime(seconds);
        let write = || -> io::Result<()> {
            if let Some(time) = pax.filter(|_| kind != EntryType::Link) {
                self.archive.append_pax_extensions([("mtime", time.as_bytes())])?;
            }
            self.long_name(EntryType::GNULongLink, target)?;
            self.long_name(EntryType::GNULongName, path)?;
            let old = header.as_old_mut();
            put_name(&mut old.linkname, target);
            put_name(&mut old.name, path);
            header.set_cksum();
            self.archive.append(&header, content)
        };
        write().map_err(|error| match error.downcast::<StoreError>() {
            Ok(error) => error,
            Err(error) => StoreError::Export(error),
        })
    }

    /// Writes a name that does not fit into the header before it.
    fn long_name(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        if name.len() <= HEADER_NAME_BYTES {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        put_name(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // The NUL at the end is part of it.
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.archive.append(&header, name.chain(&[0][..]))
    }
}

fn put_name(place: &mut [u8; HEADER_NAME_BYTES], name: &[u8]) {
    let length = name.len().min(HEADER_NAME_BYTES);
    place[..length].copy_from_slice(&name[..length]);
}

/// Returns the seconds for the header, and the whole time as a pax record when that is more.
fn tar_time(time: Timestamp) -> (u64, Option<String>) {
    const SECOND: i64 = 1_000_000_000;
    let seconds = time.0.div_euclid(SECOND);
    let fraction = time.0.rem_euclid(SECOND);
    let pax = match (u64::try_from(seconds), fraction) {
        (Ok(seconds), 0) => return (seconds, None),
        (Ok(seconds), _) => format!("{seconds}.{fraction:09}"),
        (Err(_), 0) => seconds.to_string(),
        // Written digits count away from zero.
        (Err(_), _) => format!("-{}.{:09}", seconds.unsigned_abs() - 1, SECOND - fraction),
    };
    (u64::try_from(seconds).unwrap_or(0), Some(pax))
}

/// Reads a stored file from its start.
struct FileReader<'a> {
    file: File,
    offset: u64,
    nodes: &'a Nodes<'a>,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(self.offset, buffer, self.nodes).map_err(io::Error::other)?;
        self.offset += count as u64;
        Ok(count)
    }
}
