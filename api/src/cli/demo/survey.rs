//! Looks at a directory of the host before it is taken in, and copies it without what can be made again.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What a tool writes into a directory that holds only what it can make again (bford.info/cachedir).
const CACHE_MARK: (&str, &[u8]) = ("CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) links: u64,
    /// Sockets, pipes and devices: nothing of them can be taken in.
    pub(crate) others: u64,
    pub(crate) bytes: u64,
    /// Directories that are marked as caches, with the size of what they hold: not counted above.
    pub(crate) caches: Vec<(PathBuf, u64)>,
}

impl Survey {
    /// Looks at all there is below `directory`. `caches`: whether what is marked as a cache is looked at as all else is.
    pub(crate) fn of(directory: &Path, caches: bool) -> io::Result<Self> {
        let mut survey = Self::default();
        let mut waiting = vec![directory.to_owned()];
        while let Some(folder) = waiting.pop() {
            survey.directories += 1;
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let found = fs::symlink_metadata(&path)?;
                if found.is_dir() {
                    if !caches && is_cache(&path) {
                        let bytes = Self::of(&path, true)?.bytes;
                        survey.caches.push((path, bytes));
                    } else {
                        waiting.push(path);
                    }
                } else if found.is_symlink() {
                    survey.links += 1;
                } else if found.is_file() {
                    survey.files += 1;
                    survey.bytes = survey.bytes.saturating_add(found.len());
                } else {
                    survey.others += 1;
                }
            }
        }
        survey.caches.sort();
        Ok(survey)
    }

    /// Returns how many entries there are.
    pub(crate) const fn entries(&self) -> u64 {
        self.files + self.directories + self.links
    }

    /// Whether a path is in a directory that is left out.
    pub(crate) fn leaves_out(&self, path: &Path) -> bool {
        self.caches.iter().any(|(cache, _)| path.starts_with(cache))
    }
}

fn is_cache(directory: &Path) -> bool {
    let (name, signature) = CACHE_MARK;
    let mut start = vec![0; signature.len()];
    let read = File::open(directory.join(name)).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == signature
}

/// Copies a directory with modes, times and links of both kinds, without what the survey leaves out.
pub(crate) fn copy(from: &Path, to: &Path, survey: &Survey) -> io::Result<()> {
    let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
    // Directories get their times when all is in them, the deepest first.
    let mut folders = Vec::new();
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((source, target)) = waiting.pop() {
        fs::create_dir_all(&target)?;
        for entry in fs::read_dir(&source)? {
            let entry = entry?;
            let (path, copy) = (entry.path(), target.join(entry.file_name()));
            let found = fs::symlink_metadata(&path)?;
            if found.is_dir() {
                if !survey.leaves_out(&path) {
                    waiting.push((path, copy));
                }
            } else if found.is_symlink() {
                symlink(fs::read_link(&path)?, &copy)?;
                set_link_time(&copy, &found)?;
            } else if found.is_file() {
                let known = linked.get(&(found.dev(), found.ino())).filter(|_| found.nlink() > 1);
                if let Some(first) = known {
                    fs::hard_link(first, &copy)?;
                    continue;
                }
                fs::copy(&path, &copy)?;
                finish(&copy, &found)?;
                linked.insert((found.dev(), found.ino()), copy);
            }
        }
        folders.push((target, fs::symlink_metadata(&source)?));
    }
    folders.iter().rev().try_for_each(|(folder, found)| finish(folder, found))
}

/// Gives a copy the time and the mode of what it is a copy of.
fn finish(copy: &Path, found: &Metadata) -> io::Result<()> {
    File::open(copy)?.set_times(FileTimes::new().set_modified(found.modified()?))?;
    fs::set_permissions(copy, fs::Permissions::from_mode(found.mode() & 0o7777))
}

fn set_link_time(link: &Path, found: &Metadata) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
    let modified = Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: modified };
    Ok(utimensat(CWD, link, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::proof::Listing;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("target/debug")).unwrap();
        fs::write(at("target/CACHEDIR.TAG"), [CACHE_MARK.1, b"\n# more"].concat()).unwrap();
        fs::write(at("target/debug/large"), [0; 5000]).unwrap();
        fs::write(at("a/b/file"), b"content").unwrap();
        fs::set_permissions(at("a/b/file"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::hard_link(at("a/b/file"), at("again")).unwrap();
        symlink("nowhere", at("a/link")).unwrap();
        fs::write(at("CACHEDIR.TAG"), b"not a mark").unwrap();
        directory
    }

    #[test]
    fn what_can_be_made_again_is_counted_apart() {
        let directory = directory();
        let survey = Survey::of(directory.path(), false).unwrap();
        assert_eq!((survey.files, survey.directories, survey.links), (3, 3, 1));
        assert_eq!(survey.caches.len(), 1);
        assert!(survey.caches[0].0.ends_with("target") && survey.caches[0].1 > 5000);
        let whole = Survey::of(directory.path(), true).unwrap();
        assert_eq!((whole.files, whole.directories, whole.caches.len()), (5, 5, 0));
    }

    #[test]
    fn a_copy_is_the_same_but_for_what_is_left_out() {
        let directory = directory();
        let survey = Survey::of(directory.path(), false).unwrap();
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("copy");
        copy(directory.path(), &target, &survey).unwrap();
        let original = Listing::of_directory(directory.path(), &|path| survey.leaves_out(path)).unwrap();
        let copied = Listing::of_directory(&target, &|_| false).unwrap();
        assert_eq!(original.differences(&copied), []);
        assert_eq!(copied.len(), 7);
    }
}
