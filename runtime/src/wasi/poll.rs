//! Waiting: `poll_oneoff`. Files and streams are ready at once, clocks wait on the host's timer so that a call's own end cuts
//! them short.

use std::time::Duration;

use wiggle::{GuestMemory, GuestPtr};

use super::Wasi;
use super::descriptor::Descriptor;
use super::preview1::types::{
    Clockid, Errno, Error, Event, EventFdReadwrite, Eventrwflags, Eventtype, Fd, Size, Subclockflags, Subscription,
    SubscriptionClock, SubscriptionU, Userdata,
};
use crate::kernel::{pass, status};

const SUBSCRIPTIONS_MAX: u32 = 4096;
/// The longest time that one wait is for: past it any call has ended.
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl Wasi {
    pub(super) async fn poll(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: GuestPtr<Subscription>,
        events: GuestPtr<Event>,
        count: Size,
    ) -> Result<Size, Error> {
        if count == 0 || count > SUBSCRIPTIONS_MAX {
            return Err(Errno::Inval.into());
        }
        let mut clocks: Vec<(Userdata, Duration)> = Vec::new();
        let mut failed = Vec::new();
        let mut files = Vec::new();
        for subscription in subscriptions.as_array(count).iter() {
            let Subscription { userdata, u } = memory.read(subscription?)?;
            match u {
                SubscriptionU::Clock(clock) => match self.wait_for(&clock) {
                    Ok(wait) => clocks.push((userdata, wait)),
                    Err(errno) => failed.push(event(userdata, errno, Eventtype::Clock, 0)),
                },
                SubscriptionU::FdRead(file) => files.push((userdata, file.file_descriptor, true)),
                SubscriptionU::FdWrite(file) => files.push((userdata, file.file_descriptor, false)),
            }
        }
        let start = self.monotonic();
        let shortest = clocks.iter().map(|(_, wait)| *wait).min();
        let mut ready = loop {
            let mut ready = failed.clone();
            for (userdata, fd, reads) in &files {
                let found = if *reads { self.readable(*userdata, *fd)? } else { self.writable(*userdata, *fd)? };
                ready.extend(found);
            }
            let waited = self.monotonic().saturating_sub(start);
            let left = shortest.map(|shortest| shortest.saturating_sub(waited));
            if !ready.is_empty() {
                clocks.retain(|(_, wait)| wait.is_zero());
                break ready;
            }
            if left.is_some_and(|left| left.is_zero()) {
                if shortest.is_some_and(|shortest| shortest.is_zero()) {
                    pass().await;
                }
                clocks.retain(|(_, wait)| Some(*wait) <= shortest);
                break ready;
            }
            self.kernel.next_change(left).await;
        };
        ready.extend(clocks.into_iter().map(|(userdata, _)| event(userdata, Errno::Success, Eventtype::Clock, 0)));
        let places = events.as_array(count);
        for (place, event) in places.iter().zip(&ready) {
            memory.write(place?, event.clone())?;
        }
        Ok(Size::try_from(ready.len())?)
    }

    fn wait_for(&self, clock: &SubscriptionClock) -> Result<Duration, Errno> {
        let now = match clock.id {
            Clockid::Monotonic => self.monotonic(),
            Clockid::Realtime => Duration::from_nanos(u64::try_from(self.clock.now().0).unwrap_or_default()),
            Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => return Err(Errno::Notsup),
        };
        let given = Duration::from_nanos(clock.timeout);
        let absolute = clock.flags.contains(Subclockflags::SUBSCRIPTION_CLOCK_ABSTIME);
        let wait = if absolute { given.saturating_sub(now) } else { given };
        Ok(wait.min(WAIT_MAX))
    }

    fn readable(&self, userdata: Userdata, fd: Fd) -> Result<Option<Event>, Error> {
        let (errno, bytes) = match self.descriptors.get(fd) {
            Err(_) => (Errno::Badf, 0),
            Ok(Descriptor::Inherited(shared)) => {
                let mut state = self.kernel.lock();
                let id = state.open_file(self.pid, *shared)?;
                if state.open_files.status(id)? & status::READ == 0 {
                    return Ok(Some(event(userdata, Errno::Badf, Eventtype::FdRead, 0)));
                }
                match state.ready(id)?.read {
                    None => return Ok(None),
                    Some(bytes) => (Errno::Success, bytes),
                }
            }
            Ok(Descriptor::Opened(opened)) => {
                let (node, offset) = (opened.node, opened.offset);
                (Errno::Success, self.vfs().attributes(node)?.size.saturating_sub(offset))
            }
        };
        Ok(Some(event(userdata, errno, Eventtype::FdRead, bytes)))
    }

    fn writable(&self, userdata: Userdata, fd: Fd) -> Result<Option<Event>, Error> {
        let errno = match self.descriptors.get(fd) {
            Err(_) => Errno::Badf,
            Ok(Descriptor::Opened(_)) => Errno::Success,
            Ok(Descriptor::Inherited(shared)) => {
                let mut state = self.kernel.lock();
                let id = state.open_file(self.pid, *shared)?;
                if state.open_files.status(id)? & status::WRITE == 0 {
                    Errno::Badf
                } else if state.ready(id)?.write {
                    Errno::Success
                } else {
                    return Ok(None);
                }
            }
        };
        Ok(Some(event(userdata, errno, Eventtype::FdWrite, 0)))
    }
}

const fn event(userdata: Userdata, error: Errno, kind: Eventtype, bytes: u64) -> Event {
    let fd_readwrite = EventFdReadwrite { nbytes: bytes, flags: Eventrwflags::empty() };
    Event { userdata, error, type_: kind, fd_readwrite }
}
