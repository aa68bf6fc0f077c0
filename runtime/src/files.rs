//! Files of a sandbox, read at any state and written at the head by whoever uses the API: no guest runs.
//!
//! Paths go through the same walk as a guest's, so that a link in a sandbox leads nowhere else.

use std::ops::Range;

use bytes::Bytes;
use sandglass_snapshots::{Attributes, FsError, Kind, OperationKind, StateId};
use serde_json::json;

use crate::error::{Error, ErrorKind};
use crate::record::{FileInfo, Moved, WriteOptions};
use crate::sandbox::{Sandbox, to_detail};
use crate::vfs::Vfs;

/// The largest part of a file that is read or written at once.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;

/// Splits an absolute path into its names.
///
/// # Errors
/// It is not absolute, too long, or has a `..` or a NUL.
pub(crate) fn parts(path: &str) -> Result<Vec<&[u8]>, Error> {
    let refused = |why: &str| {
        let shown: String = path.chars().take(80).collect();
        Err(Error::invalid("invalid_path", format!("`{shown}` is not a path of a sandbox: {why}")))
    };
    let Some(relative) = path.strip_prefix('/') else { return refused("it does not start with a slash") };
    if path.len() > PATH_BYTES_MAX {
        return refused("it is longer than 4,096 bytes");
    }
    let names = relative.split('/').filter(|name| !matches!(*name, "" | "."));
    let mut parts = Vec::new();
    for name in names {
        if name == ".." || name.contains('\0') || name.len() > NAME_BYTES_MAX {
            return refused("a name is `..`, too long, or holds a NUL");
        }
        parts.push(name.as_bytes());
    }
    Ok(parts)
}

impl Sandbox {
    fn look(&self, state: Option<StateId>) -> Result<(StateId, Vfs), Error> {
        let state = match state {
            Some(state) => self.host.known_state(state)?,
            None => self.head()?.state,
        };
        let transaction = self.world().store.begin(state, self.quota())?;
        Ok((state, Vfs::new(transaction, Vec::new(), self.world().clock.clone())?))
    }

    /// Returns what is known of a file, at the head or at a state.
    ///
    /// # Errors
    /// There is no such state or file.
    pub fn stat(&self, state: Option<StateId>, path: &str) -> Result<FileInfo, Error> {
        parts(path)?;
        let (_, mut vfs) = self.look(state)?;
        let attributes = vfs.stat(path.as_bytes(), false).map_err(|error| at(path, error))?;
        info(&mut vfs, path, &attributes)
    }

    /// Returns the entries of a directory by name, those after the name `after`.
    ///
    /// # Errors
    /// There is no such state, or no such directory.
    pub fn list(
        &self,
        state: Option<StateId>,
        path: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FileInfo>, Error> {
        parts(path)?;
        let (_, mut vfs) = self.look(state)?;
        let mut entries = vfs.list(path.as_bytes()).map_err(|error| at(path, error))?;
        entries.sort_by(|(left, _), (right, _)| left.name.cmp(&right.name));
        let start =
            entries.partition_point(|(entry, _)| after.is_some_and(|after| &entry.name[..] <= after.as_bytes()));
        let directory = path.trim_end_matches('/');
        let page = entries.into_iter().skip(start).take(limit);
        page.map(|(entry, attributes)| {
            let path = format!("{directory}/{}", String::from_utf8_lossy(&entry.name));
            info(&mut vfs, &path, &attributes)
        })
        .collect()
    }

    /// Returns a file's bytes, or a range of them.
    ///
    /// # Errors
    /// There is no such state or file, or the range is larger than [`FILE_BYTES_MAX`].
    pub fn read(
        &self,
        state: Option<StateId>,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<(FileInfo, Bytes), Error> {
        parts(path)?;
        let (_, mut vfs) = self.look(state)?;
        let attributes = vfs.stat(path.as_bytes(), true).map_err(|error| at(path, error))?;
        if attributes.kind != Kind::File {
            return Err(at(path, FsError::IsADirectory));
        }
        let range = range.unwrap_or(0..attributes.size);
        let end = range.end.min(attributes.size);
        let length = end.saturating_sub(range.start);
        if length > FILE_BYTES_MAX {
            let message = format!("{length} bytes were asked for, and at most {FILE_BYTES_MAX} are given at once");
            return Err(
                Error::new(ErrorKind::Limit, "too_large", message).hinted("ask for ranges, or export the state")
            );
        }
        let bytes = vfs.read_range(path.as_bytes(), range.start, length).map_err(|error| at(path, error))?;
        Ok((info(&mut vfs, path, &attributes)?, bytes))
    }

    /// Writes a whole file, or makes a directory, as one operation; missing parents are made.
    ///
    /// # Errors
    /// A condition does not hold, the path or the size is not allowed, or the sandbox is busy.
    pub fn write(&self, path: &str, bytes: &Bytes, options: &WriteOptions, actor: &str) -> Result<Moved, Error> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the file has {} bytes, and at most {FILE_BYTES_MAX} are taken at once", bytes.len());
            return Err(Error::new(ErrorKind::Limit, "too_large", message));
        }
        self.change(path, actor, if options.directory { "mkdir" } else { "put" }, |vfs| {
            let existing = match vfs.stat(path.as_bytes(), true) {
                Ok(attributes) => Some(attributes),
                Err(FsError::NotFound) => None,
                Err(error) => return Err(at(path, error)),
            };
            check(existing.as_ref(), options.if_match.as_deref(), options.if_none_match_any)?;
            let written = if options.directory {
                vfs.create_directory(path.as_bytes(), options.mode.unwrap_or(0o755))
            } else {
                vfs.write_file(path.as_bytes(), bytes, options.mode)
            };
            written.map_err(|error| at(path, error))
        })
    }

    /// Removes a file, or a directory with all it holds, as one operation.
    ///
    /// # Errors
    /// There is no such file, a condition does not hold, the directory is not empty, or the sandbox is busy.
    pub fn remove(&self, path: &str, recursive: bool, if_match: Option<&str>, actor: &str) -> Result<Moved, Error> {
        self.change(path, actor, "delete", |vfs| {
            let existing = vfs.stat(path.as_bytes(), false).map_err(|error| at(path, error))?;
            check(Some(&existing), if_match, false)?;
            vfs.remove(path.as_bytes(), recursive).map_err(|error| at(path, error))
        })
    }

    fn change(
        &self,
        path: &str,
        actor: &str,
        verb: &str,
        work: impl FnOnce(&mut Vfs) -> Result<(), Error>,
    ) -> Result<Moved, Error> {
        if parts(path)?.is_empty() {
            return Err(Error::new(ErrorKind::Denied, "root", "the root directory stays as it is"));
        }
        let turn = self.take_turn()?;
        let head = self.head()?;
        let transaction = self.world().store.begin(head.state, self.quota())?;
        let mounts = crate::mounts::read_only(self.shared_policy());
        let mut vfs = Vfs::new(transaction, mounts, self.world().clock.clone())?;
        work(&mut vfs)?;
        let sealed = vfs.into_transaction().seal()?;
        let mut operation = self.operation(OperationKind::Write, &head, sealed.state, actor);
        operation.detail = to_detail(&json!({ "path": path, "action": verb }))?;
        let entry = self.append(&turn, &head, operation, sealed.nodes)?;
        self.moved(&entry, head.state, Vec::new())
    }
}

/// Checks what a request says of the file as it is.
fn check(existing: Option<&Attributes>, if_match: Option<&str>, must_be_new: bool) -> Result<(), Error> {
    let failed = |message: &str| {
        Err(Error::new(ErrorKind::Precondition, "precondition_failed", message)
            .hinted("read the file again and decide with its new etag"))
    };
    if must_be_new && existing.is_some() {
        return failed("the file exists");
    }
    match (if_match, existing) {
        (None, _) | (Some("*"), Some(_)) => Ok(()),
        (Some(wanted), Some(attributes)) if wanted == etag(attributes) => Ok(()),
        (Some(_), _) => failed("the file is not the one that the request expects"),
    }
}

/// A validator of a file's content and attributes: equal only for the same inode, size and times.
fn etag(attributes: &Attributes) -> String {
    format!("{:x}-{:x}-{:x}-{:o}", attributes.inode.0, attributes.size, attributes.modified.0, attributes.mode)
}

fn info(vfs: &mut Vfs, path: &str, attributes: &Attributes) -> Result<FileInfo, Error> {
    let target = match attributes.kind {
        Kind::Symlink => {
            let target = vfs.read_link(path.as_bytes()).map_err(|error| at(path, error))?;
            Some(String::from_utf8_lossy(&target).into_owned())
        }
        Kind::File | Kind::Directory => None,
    };
    let trimmed = path.trim_end_matches('/');
    Ok(FileInfo {
        path: if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() },
        name: trimmed.rsplit('/').next().unwrap_or_default().to_owned(),
        kind: attributes.kind,
        mode: attributes.mode,
        size: attributes.size,
        modified: attributes.modified,
        target,
        etag: etag(attributes),
    })
}

/// Says which path a file operation failed on.
fn at(path: &str, error: FsError) -> Error {
    let shown: String = path.chars().take(200).collect();
    let message = format!("`{shown}`: {error}");
    let plain = Error::from(error);
    Error::new(plain.kind(), plain.code(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_once() {
        assert_eq!(parts("/a//b/./c/").unwrap(), [b"a", b"b", b"c"]);
        assert!(parts("/").unwrap().is_empty());
        for bad in ["", "a", "/a/../b", "/a\0", &format!("/{}", "x".repeat(256)), &"/a".repeat(3000)] {
            assert_eq!(parts(bad).unwrap_err().code(), "invalid_path", "{bad}");
        }
    }
}
