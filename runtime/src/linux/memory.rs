//! A guest's memory, with every access bounded.

use super::{Errno, Fault};

/// The longest string that a guest may mean.
const STRING_BYTES_MAX: usize = 1 << 20;

/// The memory of a guest during one system call.
pub(super) struct Guest<'a> {
    bytes: &'a mut [u8],
}

impl<'a> Guest<'a> {
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn slice(&self, at: u32, length: u32) -> Result<&[u8], Fault> {
        let start = at as usize;
        let end = start.checked_add(length as usize).ok_or(Errno::EFAULT)?;
        self.bytes.get(start..end).ok_or_else(|| Errno::EFAULT.into())
    }

    pub(super) fn slice_mut(&mut self, at: u32, length: u32) -> Result<&mut [u8], Fault> {
        let start = at as usize;
        let end = start.checked_add(length as usize).ok_or(Errno::EFAULT)?;
        self.bytes.get_mut(start..end).ok_or_else(|| Errno::EFAULT.into())
    }

    /// Returns a string that ends with NUL, without it.
    pub(super) fn string(&self, at: u32) -> Result<&[u8], Fault> {
        let rest = self.bytes.get(at as usize..).ok_or(Errno::EFAULT)?;
        let rest = &rest[..rest.len().min(STRING_BYTES_MAX)];
        let end = rest.iter().position(|byte| *byte == 0).ok_or(Errno::EFAULT)?;
        Ok(&rest[..end])
    }

    /// Returns the strings of a list of pointers that ends with a null.
    pub(super) fn strings(&self, at: u32, most: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut all = Vec::new();
        let mut bytes = 0;
        if at == 0 {
            return Ok(all);
        }
        for place in (at..).step_by(4) {
            let pointer = self.u32(place)?;
            if pointer == 0 {
                return Ok(all);
            }
            let string = self.string(pointer)?;
            bytes += string.len();
            if all.len() >= most || bytes > 4 * STRING_BYTES_MAX {
                return Err(Errno::E2BIG.into());
            }
            all.push(string.to_vec());
        }
        Err(Errno::EFAULT.into())
    }

    pub(super) fn u32(&self, at: u32) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    pub(super) fn u64(&self, at: u32) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    pub(super) fn i64(&self, at: u32) -> Result<i64, Fault> {
        Ok(i64::from_le_bytes(self.array(at)?))
    }

    fn array<const N: usize>(&self, at: u32) -> Result<[u8; N], Fault> {
        let length = u32::try_from(N).unwrap_or(u32::MAX);
        self.slice(at, length)?.try_into().map_err(|_| Errno::EFAULT.into())
    }

    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::EFAULT)?;
        self.slice_mut(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn put_u32(&mut self, at: u32, value: u32) -> Result<(), Fault> {
        self.put(at, &value.to_le_bytes())
    }

    pub(super) fn put_u64(&mut self, at: u32, value: u64) -> Result<(), Fault> {
        self.put(at, &value.to_le_bytes())
    }
}
