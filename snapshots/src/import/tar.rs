//! Importing a tar archive as a directory: what extracting it would make, without a directory that it could escape from.
//!
//! The archive is read once, as it comes: contents go to the store in batches, names stay in memory. As with `tar`, the last
//! of several entries of one name counts. Whatever an archive should not hold is left out and told; one that can't be read or
//! is larger than the quota is refused.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ::tar::{Archive, Entry, EntryType};

use super::walk::{BATCH_BYTES, Child, Walked, WalkedAttributes, WalkedDirectory, What};
use super::{ImportProgress, Imported, arrange};
use crate::error::StoreError;
use crate::id::Timestamp;
use crate::node::{NodeBatch, NodeKind};
use crate::store::{Hold, Store};
use crate::transaction::Quota;
use crate::transaction::directory::check_name;
use crate::tree::record::{CHUNK_BYTES, INLINE_BYTES_MAX, MODE_MASK, TARGET_BYTES_MAX};
use crate::tree::{Content, Nodes, add_chunk, content_of_chunks};

/// Bytes that the headers of one entry may have, long names and all: the archive's reader holds them in memory.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Names that each file or directory of the quota may have in the archive, on average: hard links and repetitions cost memory.
const NAMES_PER_INODE: u64 = 4;
/// Entries that may be left out; an archive with more is not what it seems.
const SKIPPED_MAX: usize = 10_000;
const CHUNK: u64 = CHUNK_BYTES as u64;

/// How an archive is imported.
#[derive(Clone, Copy, Debug)]
pub struct TarOptions {
    /// What all entries together may hold; checked before anything is read of an entry.
    pub quota: Quota,
    /// How many leading directories are taken off each name.
    pub strip: usize,
}

/// Reads a tar archive into the store, as a directory: the same that importing the extracted archive would give, with
/// directories that have no entry of their own made with mode 755 and a time of 0.
///
/// # Errors
/// [`StoreError::Archive`] when it can't be read, [`StoreError::TooLarge`] when it holds more than the quota, or the store
/// refused a batch.
pub fn import_tar(
    store: &Store,
    input: &mut dyn Read,
    options: &TarOptions,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Imported, StoreError> {
    let budget = Rc::new(Cell::new(0));
    let mut archive = Archive::new(Metered { input, budget: Rc::clone(&budget) });
    let mut import = Import {
        store,
        hold: store.hold(),
        options,
        nodes: Nodes::borrowed(store, Nodes::cache()),
        batch: NodeBatch::new(),
        directories: vec![Directory::default()],
        leaves: Vec::new(),
        skipped: Vec::new(),
        found: 1,
        entries: 0,
        progress: ImportProgress::default(),
    };
    let entries = archive.entries().map_err(unreadable)?;
    budget.set(HEADER_BYTES_MAX);
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        // What it takes in the archive, read or passed over, up to the end of the next one's headers.
        let is_sparse = entry.header().entry_type().is_gnu_sparse();
        let bytes = if is_sparse { entry.header().entry_size().map_err(unreadable)? } else { entry.size() };
        budget.set(bytes.saturating_add(HEADER_BYTES_MAX));
        import.entry(&mut entry)?;
        progress(import.progress);
    }
    budget.set(u64::MAX);
    // Padding; and a compressed archive says only at its end that it is whole.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    import.finish()
}

fn unreadable(error: io::Error) -> StoreError {
    match error.downcast::<StoreError>() {
        Ok(error) => error,
        Err(error) => StoreError::Archive(error.to_string()),
    }
}

/// Gives as many bytes as there is budget for.
struct Metered<'a> {
    input: &'a mut dyn Read,
    budget: Rc<Cell<u64>>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the headers of an entry are too large"));
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(&mut buffer[..length])?;
        self.budget.set(left - count as u64);
        Ok(count)
    }
}

/// What a name in a directory is: its place in the list of directories or in that of leaves.
#[derive(Clone, Copy, Debug)]
enum Named {
    Directory(usize),
    Leaf(usize),
}

#[derive(Debug)]
struct Directory {
    attributes: WalkedAttributes,
    names: HashMap<Vec<u8>, Named>,
}

impl Default for Directory {
    fn default() -> Self {
        Self { attributes: WalkedAttributes { mode: 0o755, modified: Timestamp(0) }, names: HashMap::new() }
    }
}

#[derive(Clone, Debug)]
struct Leaf {
    attributes: WalkedAttributes,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    File { content: Content, size: u64 },
    Symlink(Vec<u8>),
}

struct Import<'a> {
    store: &'a Store,
    hold: Hold,
    options: &'a TarOptions,
    nodes: Nodes<'a>,
    batch: NodeBatch,
    /// The root first.
    directories: Vec<Directory>,
    leaves: Vec<Leaf>,
    skipped: Vec<(PathBuf, String)>,
    /// Files, directories and links, also those that were replaced.
    found: u64,
    /// Entries read.
    entries: u64,
    progress: ImportProgress,
}

impl Import<'_> {
    fn entry(&mut self, entry: &mut Entry<'_, Metered<'_>>) -> Result<(), StoreError> {
        let path = entry.path_bytes().into_owned();
        self.entries += 1;
        let limit = self.options.quota.inodes.saturating_mul(NAMES_PER_INODE);
        if self.entries > limit {
            return Err(StoreError::Archive(format!("it has more than {limit} entries")));
        }
        match self.taken(entry, &path)? {
            Ok(()) => Ok(()),
            Err(_) if self.skipped.len() >= SKIPPED_MAX => {
                Err(StoreError::Archive(format!("more than {SKIPPED_MAX} of its entries can't be taken in")))
            }
            Err(reason) => {
                self.skipped.push((PathBuf::from(OsStr::from_bytes(&path)), reason));
                Ok(())
            }
        }
    }

    /// Takes an entry in, or says why it is left out.
    fn taken(&mut self, entry: &mut Entry<'_, Metered<'_>>, path: &[u8]) -> Result<Result<(), String>, StoreError> {
        let kind = entry.header().entry_type();
        let is_directory = kind.is_dir() || (kind.is_file() && path.ends_with(b"/"));
        let is_file = kind.is_file() || kind == EntryType::Continuous || kind.is_gnu_sparse();
        if kind == EntryType::XGlobalHeader {
            return Ok(Ok(()));
        }
        if !is_directory && !is_file && !kind.is_symlink() && !kind.is_hard_link() {
            let what = match kind {
                EntryType::Fifo => "a pipe",
                EntryType::Char | EntryType::Block => "a device",
                _ => "of a kind that is not known here",
            };
            return Ok(Err(format!("it is {what}")));
        }
        let names = match self.names(path) {
            Ok(names) => names,
            Err(reason) => return Ok(Err(reason)),
        };
        let mode = u16::try_from(entry.header().mode().map_err(unreadable)? & u32::from(MODE_MASK)).unwrap_or(0);
        let seconds = i64::try_from(entry.header().mtime().map_err(unreadable)?).unwrap_or(i64::MAX);
        let mut modified = Timestamp(seconds.saturating_mul(1_000_000_000));
        if let Some(records) = entry.pax_extensions().map_err(unreadable)? {
            for record in records {
                let record = record.map_err(unreadable)?;
                match record.key_bytes() {
                    b"mtime" => modified = pax_time(record.value_bytes()).unwrap_or(modified),
                    key if key.starts_with(b"GNU.sparse.") => {
                        return Ok(Err("it is a sparse file in a form that is not known here".to_owned()));
                    }
                    _ => {}
                }
            }
        }
        let attributes = WalkedAttributes { mode, modified };
        let Some((name, parents)) = names.split_last() else {
            if !is_directory {
                return Ok(Err("nothing is left of its name".to_owned()));
            }
            self.directories[0].attributes = attributes;
            return Ok(Ok(()));
        };
        let parent = match self.parent(parents)? {
            Ok(parent) => parent,
            Err(reason) => return Ok(Err(reason)),
        };
        let known = self.directories[parent].names.get(name).copied();
        if is_directory {
            match known {
                Some(Named::Directory(known)) => self.directories[known].attributes = attributes,
                _ => drop(self.add_directory(parent, name, attributes)?),
            }
            return Ok(Ok(()));
        }
        if let Some(Named::Directory(known)) = known
            && !self.directories[known].names.is_empty()
        {
            return Ok(Err("a directory of this name is not empty".to_owned()));
        }
        let leaf = if kind.is_hard_link() {
            match self.target(entry.link_name_bytes().unwrap_or_default().as_ref()) {
                Ok(leaf) => leaf,
                Err(reason) => return Ok(Err(reason)),
            }
        } else {
            self.count()?;
            let body = if kind.is_symlink() {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                if target.is_empty() || target.len() > TARGET_BYTES_MAX || target.contains(&0) {
                    return Ok(Err("its target is empty, too long or not allowed".to_owned()));
                }
                Body::Symlink(target)
            } else {
                self.file(entry)?
            };
            self.progress.files += 1;
            self.leaves.push(Leaf { attributes, body });
            self.leaves.len() - 1
        };
        self.directories[parent].names.insert(name.clone(), Named::Leaf(leaf));
        Ok(Ok(()))
    }

    /// Splits a path into names, or says why it is none that an archive may have.
    fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        if path.starts_with(b"/") {
            return Err("its path is absolute".to_owned());
        }
        let mut names = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return Err("its path leads upwards".to_owned()),
                name => {
                    check_name(name).map_err(|error| error.to_string())?;
                    names.push(name.to_vec());
                }
            }
        }
        names.drain(..self.options.strip.min(names.len()));
        Ok(names)
    }

    /// Finds the directory of an entry, and makes those on the way that have had no entry of their own.
    fn parent(&mut self, names: &[Vec<u8>]) -> Result<Result<usize, String>, StoreError> {
        let mut at = 0;
        for name in names {
            at = match self.directories[at].names.get(name) {
                Some(Named::Directory(below)) => *below,
                Some(Named::Leaf(leaf)) => {
                    let what = match self.leaves[*leaf].body {
                        Body::File { .. } => "a file",
                        Body::Symlink(_) => "a symbolic link",
                    };
                    return Ok(Err(format!("its path leads through {what}")));
                }
                None => self.add_directory(at, name, Directory::default().attributes)?,
            };
        }
        Ok(Ok(at))
    }

    /// Finds the file that a hard link names.
    fn target(&self, path: &[u8]) -> Result<usize, String> {
        let names = self.names(path)?;
        let mut at = Named::Directory(0);
        for name in &names {
            let Named::Directory(directory) = at else { return Err("what it links to is not there".to_owned()) };
            let found = self.directories[directory].names.get(name);
            at = *found.ok_or("what it links to did not come before it")?;
        }
        match at {
            Named::Leaf(leaf) => Ok(leaf),
            Named::Directory(_) => Err("it links to a directory".to_owned()),
        }
    }

    fn add_directory(&mut self, parent: usize, name: &[u8], attributes: WalkedAttributes) -> Result<usize, StoreError> {
        self.count()?;
        let index = self.directories.len();
        self.directories.push(Directory { attributes, names: HashMap::new() });
        self.directories[parent].names.insert(name.to_vec(), Named::Directory(index));
        Ok(index)
    }

    fn count(&mut self) -> Result<(), StoreError> {
        self.found += 1;
        if self.found > self.options.quota.inodes {
            let reason = format!("it holds more than {} files, directories and links", self.options.quota.inodes);
            return Err(StoreError::Archive(reason));
        }
        Ok(())
    }

    /// Reads the content of an entry into nodes.
    fn file(&mut self, entry: &mut Entry<'_, Metered<'_>>) -> Result<Body, StoreError> {
        let size = entry.size();
        let (bytes, limit) = (self.progress.bytes.saturating_add(size), self.options.quota.bytes);
        if bytes > limit {
            return Err(StoreError::TooLarge { what: "the archive's files", bytes, limit });
        }
        self.progress.bytes = bytes;
        let content = if size <= CHUNK {
            let node = read_node(entry, size)?;
            if size <= INLINE_BYTES_MAX as u64 {
                Content::Inline(bytes::Bytes::copy_from_slice(&node[1..]))
            } else {
                Content::Blob(self.batch.insert(node))
            }
        } else {
            let mut chunks = Vec::new();
            for chunk in 0..size.div_ceil(CHUNK) {
                let node = read_node(entry, CHUNK.min(size - chunk * CHUNK))?;
                if let Some(id) = add_chunk(node, &mut self.batch) {
                    chunks.push((chunk, Some(id)));
                }
                self.flush(BATCH_BYTES)?;
            }
            content_of_chunks(size, &chunks, &mut self.batch, &self.nodes)?
        };
        self.flush(BATCH_BYTES)?;
        Ok(Body::File { content, size })
    }

    /// Gives the store what was gathered, if it is at least so much.
    fn flush(&mut self, least: u64) -> Result<(), StoreError> {
        if self.batch.byte_len() >= least {
            self.store.put(&self.hold, std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Imported, StoreError> {
        self.flush(1)?;
        let mut counts = vec![0u64; self.leaves.len()];
        let mut walked = Walked { directories: Vec::new(), skipped: self.skipped };
        // A directory's place here, that of its parent there, and its name. Those that were replaced are not reached.
        let mut waiting = vec![(0, 0, Vec::new())];
        let mut children = Vec::new();
        while let Some((index, parent, name)) = waiting.pop() {
            let place = walked.directories.len();
            let Directory { attributes, names } = std::mem::take(&mut self.directories[index]);
            for (name, named) in names {
                match named {
                    Named::Directory(below) => waiting.push((below, place, name)),
                    Named::Leaf(leaf) => {
                        counts[leaf] += 1;
                        children.push((place, name, leaf));
                    }
                }
            }
            let name = name.into_boxed_slice();
            walked.directories.push(WalkedDirectory { parent, name, attributes, children: Vec::new() });
        }
        let mut met = vec![false; counts.len()];
        for (place, name, leaf) in children {
            let Leaf { attributes, body } = &self.leaves[leaf];
            let linked = (counts[leaf] > 1).then_some((0, leaf as u64));
            let what = match (body, linked) {
                (Body::Symlink(target), _) => What::Symlink(target.clone()),
                (Body::File { .. }, Some(inode)) if met[leaf] => What::Link(inode),
                (Body::File { content, size }, linked) => What::File { content: content.clone(), size: *size, linked },
            };
            met[leaf] = true;
            let child = Child { name: name.into_boxed_slice(), attributes: *attributes, what };
            walked.directories[place].children.push(child);
        }
        Ok(arrange(Path::new(""), walked, self.hold))
    }
}

fn read_node(entry: &mut Entry<'_, Metered<'_>>, length: u64) -> Result<Vec<u8>, StoreError> {
    let length = usize::try_from(length).unwrap_or(CHUNK_BYTES);
    let mut node = vec![0; length + 1];
    node[0] = NodeKind::Blob as u8;
    entry.read_exact(&mut node[1..]).map_err(unreadable)?;
    Ok(node)
}

/// Reads the time of a pax record: seconds since 1970, with a fraction and a sign where needed.
fn pax_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    let nanoseconds = format!("{:0<9.9}", fraction).parse::<i64>().ok()?;
    let time = seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?;
    Some(Timestamp(if is_negative { -time } else { time }))
}
