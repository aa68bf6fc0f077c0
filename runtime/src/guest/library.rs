//! A guest's standard library as files of the sandbox.

use std::io::{Cursor, Read};

use bytes::Bytes;

use super::GuestError;
use super::lock::Library as Entry;

/// The most that an archive inside a library may hold, in bytes and in files. It is as trusted as the module, so this only
/// says which size is expected.
const DATA_BYTES_MAX: u64 = 64 << 20;
const DATA_FILES_MAX: usize = 10_000;

/// Returns the library's files by their paths in the sandbox: the archive, and those of its data.
pub(super) fn lay_out(entry: &Entry, archive: &Bytes) -> Result<Vec<(String, Bytes)>, GuestError> {
    let folder = entry.folder.trim_matches('/');
    let mut files = vec![(format!("{folder}/{}", entry.file), archive.clone())];
    if let Some(data) = &entry.data {
        let below = data.folder.trim_matches('/');
        for (name, bytes) in unpack(archive, &data.archive)? {
            files.push((format!("{below}/{name}"), bytes));
        }
    }
    Ok(files)
}

/// Returns the files of the archive `name` inside the archive `outer`.
fn unpack(outer: &Bytes, name: &str) -> Result<Vec<(String, Bytes)>, GuestError> {
    let inner = {
        let mut outer = zip::ZipArchive::new(Cursor::new(outer)).map_err(|error| bad(&error))?;
        read(outer.by_name(name).map_err(|error| bad(&error))?)?
    };
    let mut inner = zip::ZipArchive::new(Cursor::new(inner)).map_err(|error| bad(&error))?;
    if inner.len() > DATA_FILES_MAX {
        return Err(GuestError::Package { message: format!("{name} holds more than {DATA_FILES_MAX} files") });
    }
    let mut files = Vec::new();
    for index in 0..inner.len() {
        let member = inner.by_index(index).map_err(|error| bad(&error))?;
        if member.is_file() {
            files.push((member.name().to_owned(), Bytes::from(read(member)?)));
        }
    }
    Ok(files)
}

fn read(member: impl Read) -> Result<Vec<u8>, GuestError> {
    let mut bytes = Vec::new();
    member.take(DATA_BYTES_MAX).read_to_end(&mut bytes).map_err(GuestError::io("unpacking a library"))?;
    Ok(bytes)
}

fn bad(error: &zip::result::ZipError) -> GuestError {
    GuestError::Package { message: error.to_string() }
}
