//! The guest that the binary carries. The build script checked the bytes against `guests/guests.lock`.

use std::io::Read;

use bytes::Bytes;

use super::GuestError;
use super::lock::Entry;

/// The lock that this binary was built with.
pub(super) const LOCK: &str = include_str!("../../../guests/guests.lock");

static PYTHON_MODULE: &[u8] = include_bytes!(env!("SANDGLASS_GUEST_PYTHON_MODULE"));
static PYTHON_LIBRARY: &[u8] = include_bytes!(env!("SANDGLASS_GUEST_PYTHON_LIBRARY"));

/// Returns the module of a guest from a crate.
pub(super) fn module(entry: &Entry) -> Result<Vec<u8>, GuestError> {
    match entry.name.as_str() {
        "python" => unpack(PYTHON_MODULE, entry.module.wasm_bytes()),
        _ => Err(GuestError::UnknownGuest { name: entry.name.clone() }),
    }
}

/// Returns the standard library of a guest from a crate.
pub(super) fn library(entry: &Entry) -> Result<Bytes, GuestError> {
    match entry.name.as_str() {
        "python" => Ok(Bytes::from_static(PYTHON_LIBRARY)),
        _ => Err(GuestError::UnknownGuest { name: entry.name.clone() }),
    }
}

fn unpack(packed: &[u8], bytes: u64) -> Result<Vec<u8>, GuestError> {
    let mut module = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    liblzma::read::XzDecoder::new(packed)
        .take(bytes.saturating_add(1))
        .read_to_end(&mut module)
        .map_err(GuestError::io("unpacking a module"))?;
    Ok(module)
}
