//! The independent check: two trees compared entry by entry, from a tar archive or from a directory read afresh.
//!
//! It knows nothing of states and hashes of the store: it looks at names, bytes, modes, times and links, as `tar` would.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// All entries of a tree, by path below its root; the root itself is the empty path.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// What one entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    mode: u32,
    modified: (i64, u32),
    /// The first path by name that is the same file, where that is another one.
    same_file_as: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File { size: u64, hash: blake3::Hash },
    Link { target: Vec<u8> },
}

/// A path that is not the same in two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The path below the root.
    pub(crate) path: Vec<u8>,
    /// What differs, in words.
    pub(crate) what: &'static str,
}

impl Listing {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reads a tar archive; `root` is the name of the directory in it that is the tree's root.
    pub(crate) fn of_tar(archive: impl Read, root: &str) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut same_files: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let Some(path) = below(&entry.path_bytes(), root) else { continue };
            let modified = modified(&mut entry)?;
            let mode = entry.header().mode()? & 0o7777;
            let target = entry.link_name_bytes().map(Cow::into_owned);
            let kind = match entry.header().entry_type() {
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Link { target: target.unwrap_or_default() },
                tar::EntryType::Link => {
                    let first = below(&target.unwrap_or_default(), root).ok_or_else(|| bad("a link that leads out"))?;
                    same_files.push((path, first));
                    continue;
                }
                tar::EntryType::Regular | tar::EntryType::GNUSparse => content(&mut entry)?,
                _ => return Err(bad("an entry that is neither file, directory nor link")),
            };
            if listing.entries.insert(path, Entry { kind, mode, modified, same_file_as: None }).is_some() {
                return Err(bad("a path twice"));
            }
        }
        let mut groups: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
        for (path, first) in same_files {
            let entry = listing.entries.get(&first).ok_or_else(|| bad("a link to nothing"))?.clone();
            listing.entries.insert(path.clone(), entry);
            groups.entry(first.clone()).or_insert_with(|| vec![first]).push(path);
        }
        listing.join(groups.into_values());
        Ok(listing)
    }

    /// Reads a directory of the host, without what `left_out` says of a path.
    pub(crate) fn of_directory(root: &Path, left_out: &dyn Fn(&Path) -> bool) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut groups: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
        let mut waiting = vec![root.to_owned()];
        while let Some(path) = waiting.pop() {
            let found = fs::symlink_metadata(&path)?;
            let relative = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes().to_vec();
            let kind = if found.is_dir() {
                if left_out(&path) {
                    continue;
                }
                for entry in fs::read_dir(&path)? {
                    waiting.push(entry?.path());
                }
                Kind::Directory
            } else if found.is_symlink() {
                Kind::Link { target: fs::read_link(&path)?.into_os_string().into_vec() }
            } else if found.is_file() {
                if found.nlink() > 1 {
                    groups.entry((found.dev(), found.ino())).or_default().push(relative.clone());
                }
                content(&mut File::open(&path)?)?
            } else {
                continue;
            };
            let nanoseconds = u32::try_from(found.mtime_nsec()).unwrap_or_default();
            let modified = (found.mtime(), nanoseconds);
            listing.entries.insert(relative, Entry { kind, mode: found.mode() & 0o7777, modified, same_file_as: None });
        }
        listing.join(groups.into_values());
        Ok(listing)
    }

    /// Notes which paths are one file: each but the first by name says which one that is.
    fn join(&mut self, groups: impl Iterator<Item = Vec<Vec<u8>>>) {
        for mut group in groups {
            group.sort();
            let Some((first, rest)) = group.split_first() else { continue };
            for path in rest {
                if let Some(entry) = self.entries.get_mut(path) {
                    entry.same_file_as = Some(first.clone());
                }
            }
        }
    }

    /// Returns every path that is not the same in the other tree, by path.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (path, ours) in &self.entries {
            let what = match other.entries.get(path) {
                None => Some("missing"),
                Some(theirs) => ours.difference(theirs),
            };
            found.extend(what.map(|what| Difference { path: path.clone(), what }));
        }
        let added = other.entries.keys().filter(|path| !self.entries.contains_key(*path));
        found.extend(added.map(|path| Difference { path: path.clone(), what: "added" }));
        found.sort_by(|one, other| one.path.cmp(&other.path));
        found
    }
}

impl Entry {
    fn difference(&self, other: &Self) -> Option<&'static str> {
        match () {
            () if self.kind != other.kind => Some(match (&self.kind, &other.kind) {
                (Kind::File { .. }, Kind::File { .. }) => "other bytes",
                (Kind::Link { .. }, Kind::Link { .. }) => "leads elsewhere",
                _ => "another kind",
            }),
            // Links have no permissions of their own.
            () if self.mode != other.mode && !matches!(self.kind, Kind::Link { .. }) => Some("another mode"),
            () if self.modified != other.modified => Some("another time"),
            () if self.same_file_as != other.same_file_as => Some("linked otherwise"),
            () => None,
        }
    }
}

/// Returns the path below the root, or nothing for what lies elsewhere.
fn below(path: &[u8], root: &str) -> Option<Vec<u8>> {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let rest = path.strip_prefix(root.as_bytes())?;
    if rest.is_empty() { Some(Vec::new()) } else { rest.strip_prefix(b"/").map(<[u8]>::to_vec) }
}

fn content(from: &mut impl Read) -> io::Result<Kind> {
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(from, &mut hasher)?;
    Ok(Kind::File { size, hash: hasher.finalize() })
}

/// Returns an entry's time: to the nanosecond from its extended header (POSIX.1-2001), else to the second.
fn modified(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<(i64, u32)> {
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if extension.key_bytes() == b"mtime" {
                let text = std::str::from_utf8(extension.value_bytes()).map_err(|_| bad("a time that is no number"))?;
                return time(text).ok_or_else(|| bad("a time that is no number"));
            }
        }
    }
    let seconds = i64::try_from(entry.header().mtime()?).map_err(|_| bad("a time out of range"))?;
    Ok((seconds, 0))
}

/// Reads `-1.25`: the nanoseconds count up from the whole second below.
fn time(text: &str) -> Option<(i64, u32)> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds = whole.parse::<i64>().ok()?.checked_mul(sign)?;
    let nanoseconds: u32 = format!("{:0<9}", fraction.get(..fraction.len().min(9))?).parse().ok()?;
    match (sign, nanoseconds) {
        (-1, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    #[test]
    fn times_are_exact_also_before_1970() {
        assert_eq!(time("12.000000003"), Some((12, 3)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("7"), Some((7, 0)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-3"), Some((-3, 0)));
        for bad in ["", ".5", "x", "1.x", "--1"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let tree = || {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            for (name, bytes) in [("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4"), ("e", b"5")] {
                fs::write(at(name), bytes).unwrap();
            }
            fs::hard_link(at("e"), at("f")).unwrap();
            fs::create_dir(at("g")).unwrap();
            std::os::unix::fs::symlink("a", at("h")).unwrap();
            for name in ["a", "b", "c", "d", "e", "g", ""] {
                let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 7);
                File::open(at(name)).unwrap().set_modified(time).unwrap();
            }
            directory
        };
        let (one, other) = (tree(), tree());
        let list = |directory: &tempfile::TempDir| Listing::of_directory(directory.path(), &|_| false).unwrap();
        let found = || {
            let found = list(&one).differences(&list(&other)).into_iter().filter(|found| found.path != b"h");
            found.map(|found| (String::from_utf8(found.path).unwrap(), found.what)).collect::<Vec<_>>()
        };
        assert_eq!(found(), []);
        let at = |name: &str| other.path().join(name);
        let keep = |name: &str| {
            let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 7);
            File::open(at(name)).unwrap().set_modified(time).unwrap();
        };
        fs::write(at("a"), b"x").unwrap();
        keep("a");
        fs::set_permissions(at("b"), fs::Permissions::from_mode(0o600)).unwrap();
        File::open(at("c")).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 8)).unwrap();
        fs::remove_file(at("d")).unwrap();
        fs::remove_file(at("f")).unwrap();
        fs::write(at("f"), b"5").unwrap();
        keep("f");
        fs::write(at("new"), b"").unwrap();
        keep("");
        let expected = [
            ("a", "other bytes"),
            ("b", "another mode"),
            ("c", "another time"),
            ("d", "missing"),
            ("f", "linked otherwise"),
            ("new", "added"),
        ];
        assert_eq!(found(), expected.map(|(path, what)| (path.to_owned(), what)));
    }
}
