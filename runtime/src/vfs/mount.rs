//! Mounts: what lies where, and how one gets in and out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use sandglass_snapshots::{DirectoryEntry, FsError, Inode, Kind, Transaction};

use super::Node;
use super::library::Library;

/// Where a sandbox has files of its own among the host's, if its tree has the directory: commands installed by hand.
const OWN: [&[u8]; 3] = [b"usr", b"local", b"bin"];

/// Something that lies on a path of a sandbox.
#[derive(Clone, Debug)]
pub enum Mount {
    /// A directory of the sandbox itself that can't be changed.
    ReadOnly {
        /// Its absolute path.
        at: Vec<u8>,
    },
    /// Files that the host gives, in no state.
    Library {
        /// A name in the root directory.
        at: Vec<u8>,
        /// The files.
        library: Arc<Library>,
    },
}

/// Where the files of a mount are.
#[derive(Clone, Debug)]
pub(super) enum Backing {
    /// In the transaction.
    State { read_only: bool },
    /// With the host.
    Library(Arc<Library>),
}

#[derive(Clone, Debug)]
struct Mounted {
    backing: Backing,
    root: Inode,
    /// The directory and name that it lies on; the sandbox's own tree lies on none.
    on: Option<(Node, Bytes)>,
}

/// All mounts of a file system: few, and fixed when it is made.
#[derive(Clone, Debug)]
pub(super) struct Mounts {
    all: Arc<Vec<Mounted>>,
    by_place: Arc<HashMap<Node, Vec<usize>>>,
    /// Directories that a mount lies in, all the way up.
    above: Arc<HashSet<Node>>,
}

impl Mounts {
    pub(super) fn new(transaction: &mut Transaction, mounts: Vec<Mount>) -> Result<Self, FsError> {
        let own = Mounted { backing: Backing::State { read_only: false }, root: Inode::ROOT, on: None };
        let mut all = vec![own];
        let root = Node { mount: 0, inode: Inode::ROOT };
        let devices = Mount::Library { at: b"/dev".to_vec(), library: Library::devices() };
        let mut above = HashSet::new();
        for mount in mounts.into_iter().chain([devices]) {
            match mount {
                Mount::ReadOnly { at } => {
                    let mut directory = root;
                    let mut names = at.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
                    let mut way = Vec::new();
                    while let Some(name) = names.next() {
                        // A rule that can't be kept must end the work: left out, it would allow what it forbids.
                        let inode = transaction.lookup(directory.inode, name)?;
                        if names.peek().is_none() {
                            if transaction.attributes(inode)?.kind != Kind::Directory {
                                return Err(FsError::NotADirectory);
                            }
                            let on = Some((directory, Bytes::copy_from_slice(name)));
                            all.push(Mounted { backing: Backing::State { read_only: true }, root: inode, on });
                            above.extend(way.drain(..));
                        }
                        directory = Node { mount: 0, inode };
                        way.push(directory);
                    }
                }
                Mount::Library { at, library } => {
                    let name = at.strip_prefix(b"/").unwrap_or(&at);
                    let on = Some((root, Bytes::copy_from_slice(name)));
                    // Each library numbers its files from its own base, so that no two files of a sandbox share one.
                    let library = Arc::new(library.numbered(all.len() as u64));
                    all.push(Mounted { root: library.root(), backing: Backing::Library(library), on });
                }
            }
        }
        all.extend(own_place(transaction, &all)?);
        let mut by_place: HashMap<Node, Vec<usize>> = HashMap::new();
        for (index, mounted) in all.iter().enumerate() {
            if let Some((directory, _)) = &mounted.on {
                by_place.entry(*directory).or_default().push(index);
            }
        }
        Ok(Self { all: Arc::new(all), by_place: Arc::new(by_place), above: Arc::new(above) })
    }

    pub(super) fn backing(&self, node: Node) -> &Backing {
        &self.all[node.mount].backing
    }

    /// Returns the root of the mount that lies on a name.
    pub(super) fn entered(&self, directory: Node, name: &[u8]) -> Option<Node> {
        let places = self.by_place.get(&directory)?;
        let found = places.iter().find(|index| self.all[**index].on.as_ref().is_some_and(|(_, on)| on == name))?;
        Some(Node { mount: *found, inode: self.all[*found].root })
    }

    /// Returns the directory that a mount lies in, for the mount's root.
    pub(super) fn left(&self, directory: Node) -> Option<Node> {
        let mounted = &self.all[directory.mount];
        if mounted.root != directory.inode {
            return None;
        }
        mounted.on.as_ref().map(|(outside, _)| *outside)
    }

    pub(super) fn holds_mount(&self, node: Node) -> bool {
        self.above.contains(&node)
    }

    /// Returns how many cookies of a directory are for mounts.
    pub(super) fn listed_before(&self, directory: Node) -> u64 {
        self.by_place.get(&directory).map_or(0, |places| places.len() as u64)
    }

    /// Returns the mounts to be listed from `cookie` on, and with which cookie the directory's own entries follow.
    pub(super) fn listed(&self, directory: Node, cookie: u64, limit: usize) -> (Vec<DirectoryEntry>, Option<u64>) {
        let places = self.by_place.get(&directory).map_or(&[][..], Vec::as_slice);
        let start = usize::try_from(cookie).unwrap_or(usize::MAX).min(places.len());
        let entries = places.iter().enumerate().skip(start).take(limit).filter_map(|(index, place)| {
            let (_, name) = self.all[*place].on.as_ref()?;
            let inode = self.all[*place].root;
            Some(DirectoryEntry { name: name.clone(), inode, kind: Kind::Directory, cookie: index as u64 + 1 })
        });
        let entries: Vec<_> = entries.collect();
        let all_told = start + entries.len() == places.len() && entries.len() < limit;
        (entries, all_told.then(|| cookie.saturating_sub(places.len() as u64)))
    }
}

/// Returns the sandbox's own directory as it lies within the host's files: on the first name of its path that they do not have.
fn own_place(transaction: &mut Transaction, all: &[Mounted]) -> Result<Option<Mounted>, FsError> {
    let hides = |mounted: &Mounted| mounted.on.as_ref().is_some_and(|(_, name)| name == OWN[0]);
    let found = all.iter().enumerate().find_map(|(mount, mounted)| match &mounted.backing {
        Backing::Library(library) if hides(mounted) => Some((mount, library)),
        _ => None,
    });
    let Some((mount, library)) = found else { return Ok(None) };
    let (mut directory, mut outside) = (Inode::ROOT, None);
    for name in OWN {
        directory = match transaction.lookup(directory, name) {
            Ok(found) if transaction.attributes(found)?.kind == Kind::Directory => found,
            Ok(_) | Err(FsError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        outside = match outside {
            None => Some(library.root()),
            Some(above) => match library.lookup(above, name) {
                Ok(below) => Some(below),
                Err(_) => {
                    let on = Some((Node { mount, inode: above }, Bytes::from_static(name)));
                    return Ok(Some(Mounted { backing: Backing::State { read_only: false }, root: directory, on }));
                }
            },
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sandglass_snapshots::{Quota, Store, StoreOptions};

    use super::*;
    use crate::clock::SystemClock;
    use crate::vfs::Vfs;

    #[test]
    fn a_read_only_rule_that_cannot_be_kept_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let mut vfs = {
            let transaction = store.begin_empty(Vec::new(), Quota { bytes: 1000, inodes: 100 });
            Vfs::new(transaction, Vec::new(), Arc::new(SystemClock::new())).unwrap()
        };
        vfs.create_directory(b"/real", 0o755).unwrap();
        vfs.create_symlink(vfs.root(), b"link", b"real").unwrap();
        let transaction = vfs.into_transaction();
        let mounted = |at: &[u8]| {
            let mounts = vec![Mount::ReadOnly { at: at.to_vec() }];
            Vfs::new(transaction.clone(), mounts, Arc::new(SystemClock::new()))
        };
        assert!(matches!(mounted(b"/absent").err(), Some(FsError::NotFound)));
        assert!(matches!(mounted(b"/link").err(), Some(FsError::NotADirectory)));
        let mut vfs = mounted(b"/real").unwrap();
        assert!(matches!(vfs.write_file(b"/real/x", b"x", None), Err(FsError::ReadOnly)));
    }

    #[test]
    fn what_is_installed_by_hand_lies_among_the_hosts_files() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let transaction = store.begin_empty(Vec::new(), Quota { bytes: 1000, inodes: 100 });
        let mounted = |transaction: &Transaction, files: &[&'static str]| {
            let files = files.iter().map(|path| (*path, Bytes::from_static(b"x")));
            let mounts = vec![Mount::Library { at: b"/usr".to_vec(), library: Arc::new(Library::new(files)) }];
            Vfs::new(transaction.clone(), mounts, Arc::new(SystemClock::new())).unwrap()
        };
        let mut without = mounted(&transaction, &["bin/ls"]);
        assert!(matches!(without.create_directory(b"/usr/local", 0o755), Err(FsError::ReadOnly)));
        let mut plain = Vfs::new(transaction, Vec::new(), Arc::new(SystemClock::new())).unwrap();
        for path in [&b"/usr"[..], b"/usr/local", b"/usr/local/bin"] {
            plain.create_directory(path, 0o755).unwrap();
        }
        plain.write_file(b"/usr/hidden", b"x", None).unwrap();
        let laid_out = plain.into_transaction();

        let names = |vfs: &mut Vfs, path: &[u8]| {
            let root = vfs.root();
            let directory = vfs.resolve(root, path, true).unwrap().found().unwrap();
            let listed = vfs.read_directory(directory, 0, 10).unwrap();
            listed.into_iter().map(|entry| String::from_utf8(entry.name.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        for (files, usr, local) in [
            (&["bin/ls"][..], &["local", "bin"][..], &["bin"][..]),
            (&["bin/ls", "local/lib/python.zip"][..], &["bin", "local"][..], &["bin", "lib"][..]),
        ] {
            let mut vfs = mounted(&laid_out, files);
            vfs.write_file(b"/usr/local/bin/tool", b"x", None).unwrap();
            assert!(matches!(vfs.write_file(b"/usr/tool", b"x", None), Err(FsError::ReadOnly)));
            let root = vfs.root();
            let bin = vfs.resolve(root, b"usr/local/bin", true).unwrap().found().unwrap();
            assert_eq!(vfs.path_of(bin).unwrap(), b"/usr/local/bin");
            assert_eq!(names(&mut vfs, b"usr"), usr);
            assert_eq!(names(&mut vfs, b"usr/local/bin/.."), local);
            assert_eq!(names(&mut vfs, b"usr/local/bin"), ["tool"]);
        }
    }
}
