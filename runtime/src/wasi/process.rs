//! What is no file: arguments, environment, clocks, randomness.

use wiggle::{GuestMemory, GuestPtr};

use super::Wasi;
use super::file::slice_mut;
use super::preview1::types::{Clockid, Errno, Error, Size, Timestamp};
use crate::vfs::work;

/// Random bytes that one call gives at most.
const RANDOM_BYTES_MAX: u32 = 16 << 20;
/// What the clocks of the host can tell apart.
const RESOLUTION: Timestamp = 1;

/// Writes strings as C has them: a list of pointers, and the bytes with a NUL after each.
pub(super) fn put_strings(
    memory: &mut GuestMemory<'_>,
    strings: &[Vec<u8>],
    mut pointers: GuestPtr<GuestPtr<u8>>,
    mut bytes: GuestPtr<u8>,
) -> Result<(), Error> {
    for string in strings {
        memory.write(pointers, bytes)?;
        let length = u32::try_from(string.len())?;
        memory.copy_from_slice(string, bytes.as_array(length))?;
        let end = bytes.add(length)?;
        memory.write(end, 0)?;
        bytes = end.add(1)?;
        pointers = pointers.add(1)?;
    }
    Ok(())
}

pub(super) fn string_sizes(strings: &[Vec<u8>]) -> Result<(Size, Size), Error> {
    let bytes: usize = strings.iter().map(|string| string.len() + 1).sum();
    Ok((Size::try_from(strings.len())?, Size::try_from(bytes)?))
}

impl Wasi {
    pub(super) fn clock_time(&self, clock: Clockid) -> Result<Timestamp, Error> {
        match clock {
            Clockid::Realtime => Ok(Timestamp::try_from(self.clock.now().0)?),
            Clockid::Monotonic => Ok(Timestamp::try_from(self.monotonic().as_nanos())?),
            Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => Err(Errno::Badf.into()),
        }
    }

    pub(super) fn clock_resolution(clock: Clockid) -> Result<Timestamp, Error> {
        match clock {
            Clockid::Realtime | Clockid::Monotonic => Ok(RESOLUTION),
            Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => Err(Errno::Badf.into()),
        }
    }

    pub(super) fn random(&self, memory: &mut GuestMemory<'_>, buffer: GuestPtr<[u8]>) -> Result<(), Error> {
        if buffer.len() > RANDOM_BYTES_MAX {
            return Err(Errno::Inval.into());
        }
        self.vfs().spend(work::random(buffer.len() as usize));
        self.entropy.fill(slice_mut(memory, buffer)?);
        Ok(())
    }
}
