//! What a guest looks for besides itself, as files of the sandbox: a standard library, scripts, tables.

use std::io::{Cursor, Read};

use bytes::Bytes;

use super::GuestError;
use super::lock::{Entry, Library};

/// The most that an archive inside a library may hold, in bytes and in files. It is as trusted as the module, so this only
/// says which size is expected.
const DATA_BYTES_MAX: u64 = 64 << 20;
const DATA_FILES_MAX: usize = 10_000;

/// Returns the library's files by their paths in the sandbox: the archive, and those of its data.
pub(super) fn lay_out(entry: &Entry, library: &Library, archive: &Bytes) -> Result<Vec<(String, Bytes)>, GuestError> {
    let folder = library.folder.trim_matches('/');
    let Some(file) = &library.file else {
        return unpack_tar(folder, archive).map_err(GuestError::io("unpacking a library"));
    };
    let mut files = vec![(format!("{folder}/{file}"), archive.clone())];
    if let Some(data) = &library.data {
        let below = data.folder.trim_matches('/');
        for (name, bytes) in unpack(archive, &data.archive)? {
            files.push((format!("{below}/{name}"), bytes));
        }
    }
    if let Some(more) = &library.more {
        let packed = super::embedded::more(entry)?;
        files.extend(unpack_tar(more.folder.trim_matches('/'), packed).map_err(GuestError::io("unpacking a library"))?);
    }
    Ok(files)
}

/// Returns the files of a compressed tar archive, below `folder`.
fn unpack_tar(folder: &str, archive: &[u8]) -> std::io::Result<Vec<(String, Bytes)>> {
    let mut unpacked = Vec::new();
    zstd::Decoder::new(archive)?.take(DATA_BYTES_MAX).read_to_end(&mut unpacked)?;
    let mut files = Vec::new();
    for member in tar::Archive::new(&unpacked[..]).entries()? {
        let mut member = member?;
        if member.header().entry_type() == tar::EntryType::Regular {
            let path = format!("{folder}/{}", member.path()?.strip_prefix(".").unwrap_or(&member.path()?).display());
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            files.push((path.trim_start_matches('/').to_owned(), Bytes::from(bytes)));
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
