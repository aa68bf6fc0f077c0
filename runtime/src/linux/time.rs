//! System calls on clocks and randomness.

use std::time::Duration;

use super::{Call, Errno, Fault};

/// Random bytes that one call gives at most.
const RANDOM_BYTES_MAX: u32 = 1 << 20;
const REALTIME: u32 = 0;
const TIMER_ABSTIME: u32 = 1;
/// Ticks of a second, as `times` counts.
const TICKS: u64 = 100;

impl Call<'_> {
    fn now(&self, clock: u32) -> Result<(i64, u32), Fault> {
        match clock {
            // Real time, and the coarse one.
            REALTIME | 5 => {
                let now = self.state.clock.now().0;
                let nanoseconds = u32::try_from(now.rem_euclid(1_000_000_000)).unwrap_or_default();
                Ok((now.div_euclid(1_000_000_000), nanoseconds))
            }
            // Monotonic, those of processor time, raw, coarse, and since the start.
            1..=4 | 6 | 7 => {
                let now = self.state.clock.monotonic();
                Ok((i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_nanos()))
            }
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn put_time(&mut self, to: u32, seconds: i64, nanoseconds: u32) -> Result<(), Fault> {
        self.guest.put_u64(to, seconds.cast_unsigned())?;
        self.guest.put_u64(to.checked_add(8).ok_or(Errno::EFAULT)?, u64::from(nanoseconds))
    }

    pub(super) fn clock(&mut self) -> Result<u32, Fault> {
        let [clock, to, ..] = self.arguments;
        let (seconds, nanoseconds) = self.now(clock)?;
        self.put_time(to, seconds, nanoseconds)?;
        Ok(0)
    }

    pub(super) fn clock_resolution(&mut self) -> Result<u32, Fault> {
        let [clock, to, ..] = self.arguments;
        self.now(clock)?;
        if to != 0 {
            self.put_time(to, 0, 1)?;
        }
        Ok(0)
    }

    pub(super) fn sleep(&mut self) -> Result<u32, Fault> {
        let [clock, flags, at, ..] = self.arguments;
        if self.deadline.is_none() {
            let given = self.duration(at)?;
            let wait = if flags & TIMER_ABSTIME != 0 {
                let (seconds, nanoseconds) = self.now(clock)?;
                let now = Duration::new(u64::try_from(seconds).unwrap_or_default(), nanoseconds);
                given.saturating_sub(now)
            } else {
                given
            };
            *self.deadline = Some(self.state.clock.monotonic().saturating_add(wait));
        }
        if self.is_over() { Ok(0) } else { Err(Fault::Wait) }
    }

    pub(super) fn times(&mut self) -> Result<u32, Fault> {
        let to = self.arguments[0];
        let ticks = |time: Duration| u32::try_from(time.as_millis() as u64 * TICKS / 1000).unwrap_or(u32::MAX >> 1);
        if to != 0 {
            self.guest.slice_mut(to, 16)?.fill(0);
        }
        Ok(ticks(self.state.clock.monotonic()) & 0x7fff_ffff)
    }

    pub(super) fn random(&mut self) -> Result<u32, Fault> {
        let [to, length, ..] = self.arguments;
        let length = length.min(RANDOM_BYTES_MAX);
        let entropy = std::sync::Arc::clone(&self.state.entropy);
        entropy.fill(self.guest.slice_mut(to, length)?);
        Ok(length)
    }
}
