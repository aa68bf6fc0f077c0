//! The guests that the binary carries. The build script checked the bytes against `guests/guests.lock`.

use std::io::Read;

use bytes::Bytes;

use super::GuestError;
use super::lock::Entry;

/// The lock that this binary was built with.
pub(super) const LOCK: &str = include_str!("../../../guests/guests.lock");

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Returns the module of a guest that is built in.
pub(super) fn module(entry: &Entry) -> Result<Vec<u8>, GuestError> {
    unpack(&entry.module.path, find(MODULES, entry)?, entry.module.wasm_bytes())
}

/// Returns the standard library of a guest that is built in.
pub(super) fn library(entry: &Entry) -> Result<Bytes, GuestError> {
    Ok(Bytes::from_static(find(LIBRARIES, entry)?))
}

/// Returns what a guest's package leaves out of its library.
pub(super) fn more(entry: &Entry) -> Result<&'static [u8], GuestError> {
    find(MORE, entry)
}

/// Returns the program that a guest runs when its image is made.
pub(super) fn boot(entry: &Entry) -> Option<&'static str> {
    entry.boot.as_ref()?;
    BOOTS.iter().find(|(name, _)| *name == entry.name).map(|(_, program)| *program)
}

fn find(table: &[(&str, &'static [u8])], entry: &Entry) -> Result<&'static [u8], GuestError> {
    let found = table.iter().find(|(name, _)| *name == entry.name).map(|(_, bytes)| *bytes);
    found.ok_or_else(|| GuestError::UnknownGuest { name: entry.name.clone() })
}

fn unpack(path: &str, packed: &[u8], bytes: u64) -> Result<Vec<u8>, GuestError> {
    let io = GuestError::io;
    let reader: Box<dyn Read> = match path.rsplit_once('.') {
        Some((_, "xz")) => Box::new(liblzma::read::XzDecoder::new(packed)),
        Some((_, "zst")) => Box::new(zstd::Decoder::new(packed).map_err(io("unpacking a module"))?),
        _ => Box::new(packed),
    };
    let mut module = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    reader.take(bytes.saturating_add(1)).read_to_end(&mut module).map_err(io("unpacking a module"))?;
    Ok(module)
}
