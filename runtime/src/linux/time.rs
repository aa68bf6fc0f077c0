//! System calls on clocks and randomness.

use std::time::Duration;

use super::{Call, Errno, Fault};

/// Random bytes that one call gives at most.
const RANDOM_BYTES_MAX: u32 = 1 << 20;
const REALTIME: u32 = 0;
const TIMER_ABSTIME: u32 = 1;
/// Ticks of a second, as `times` counts.
const TICKS: u128 = 100;

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

    /// Of the three timers the one of real time: processor time is not told apart from it.
    pub(super) fn set_timer(&mut self) -> Result<u32, Fault> {
        let [which, new, old, ..] = self.arguments;
        if which > 2 {
            return Err(Errno::EINVAL.into());
        }
        if old != 0 {
            self.put_timer(old)?;
        }
        // Four numbers of 32 bits: the interval, then the time until the first, in seconds and microseconds.
        let part = |at: u32| -> Result<Duration, Fault> {
            let seconds = self.guest.u32(new.checked_add(at).ok_or(Errno::EFAULT)?)?;
            let microseconds = self.guest.u32(new.checked_add(at + 4).ok_or(Errno::EFAULT)?)?;
            if microseconds >= 1_000_000 {
                return Err(Errno::EINVAL.into());
            }
            Ok(Duration::new(u64::from(seconds), microseconds * 1000))
        };
        let (interval, first) = (part(0)?, part(8)?);
        let now = self.state.clock.monotonic();
        let alarm = (!first.is_zero()).then(|| (now.saturating_add(first), interval));
        self.state.process_mut(self.pid)?.alarm = alarm;
        Ok(0)
    }

    pub(super) fn timer(&mut self) -> Result<u32, Fault> {
        let to = self.arguments[1];
        self.put_timer(to)?;
        Ok(0)
    }

    fn put_timer(&mut self, to: u32) -> Result<(), Fault> {
        let now = self.state.clock.monotonic();
        let alarm = self.state.process(self.pid)?.alarm;
        let left = alarm.map_or(Duration::ZERO, |(time, _)| time.saturating_sub(now));
        let interval = alarm.map_or(Duration::ZERO, |(_, interval)| interval);
        for (at, time) in [(0, interval), (8, left)] {
            let at = to.checked_add(at).ok_or(Errno::EFAULT)?;
            self.guest.put_u32(at, u32::try_from(time.as_secs()).unwrap_or(u32::MAX))?;
            self.guest.put_u32(at + 4, time.subsec_micros())?;
        }
        Ok(())
    }

    pub(super) fn times(&mut self) -> Result<u32, Fault> {
        let to = self.arguments[0];
        let ticks = |time: Duration| u32::try_from(time.as_millis() * TICKS / 1000).unwrap_or(u32::MAX >> 1);
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
        self.state.vfs.spend(crate::vfs::work::random(length as usize));
        Ok(length)
    }
}
