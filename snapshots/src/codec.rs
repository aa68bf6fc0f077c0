//! The canonical bytes of small values: one value has one encoding, and a reader refuses every other.
//!
//! Numbers are LEB128 without padding (signed ones zigzag first), byte strings carry their length before them, ids are
//! bare. A reader never allocates more than the input holds.

use crate::id::NodeId;

/// Why bytes don't decode; the caller adds of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("it ends too early")]
    Short,
    #[error("{0} bytes are left over")]
    Trailing(usize),
    #[error("a number is not in its shortest form or too large")]
    Number,
    #[error("{0} is out of range")]
    Range(&'static str),
    #[error("a text is not UTF-8")]
    Text,
}

/// Builds canonical bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_kind(kind: u8) -> Self {
        Self { bytes: vec![kind] }
    }

    /// Begins with room for so many bytes of content and a header.
    pub(crate) fn with_room(kind: u8, bytes: usize) -> Self {
        const HEADER_BYTES: usize = 32;
        let mut all = Vec::with_capacity(bytes.saturating_add(HEADER_BYTES));
        all.push(kind);
        Self { bytes: all }
    }

    /// Goes on behind what was written before.
    pub(crate) const fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u64(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push((value & 0x7f) as u8);
        self
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.u64((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned())
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }

    pub(crate) fn id(&mut self, id: &NodeId) -> &mut Self {
        self.raw(id.as_bytes())
    }

    /// An absent value is one zero byte, a present one a 1 and itself.
    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
                self
            }
        }
    }

    pub(crate) fn optional_id(&mut self, id: Option<&NodeId>) -> &mut Self {
        self.option(id, |out, id| {
            out.id(id);
        })
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads canonical bytes, refusing whatever is not.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(CodecError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.raw(1)?[0])
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if (shift == 63 && part > 1) || (shift > 0 && byte == 0) {
                return Err(CodecError::Number);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Number)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, CodecError> {
        let value = self.u64()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = usize::try_from(self.u64()?).map_err(|_| CodecError::Short)?;
        self.raw(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| CodecError::Text)
    }

    pub(crate) fn hash(&mut self) -> Result<[u8; 32], CodecError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.raw(32)?);
        Ok(hash)
    }

    pub(crate) fn id(&mut self) -> Result<NodeId, CodecError> {
        self.hash().map(NodeId)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(CodecError::Range("a presence byte")),
        }
    }

    /// Returns all that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) const fn end(&self) -> Result<(), CodecError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.bytes.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive(unsigned: u64, signed: i64, bytes: Vec<u8>) {
            let mut writer = Writer::default();
            writer.u64(unsigned).i64(signed).bytes(&bytes);
            let written = writer.into_bytes();
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.u64(), Ok(unsigned));
            prop_assert_eq!(reader.i64(), Ok(signed));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn whatever_decodes_encodes_to_itself(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.u64() {
                let mut writer = Writer::default();
                writer.u64(value);
                prop_assert!(bytes.starts_with(&writer.into_bytes()));
            }
        }
    }
}
