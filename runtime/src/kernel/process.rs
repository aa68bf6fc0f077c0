//! Processes: their numbers, families, ends and signals.

use std::collections::BTreeMap;
use std::time::Duration;

use super::descriptor::{Descriptors, FdFlags};
use super::errno::{Errno, Fault};
use super::open_file::OpenFileId;
use super::{FIRST, PROCESSES_MAX, State};
use crate::vfs::Node;

/// The number of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pid(pub(crate) u32);

/// Signals that the kernel itself knows.
pub(crate) mod signal {
    pub(crate) const KILL: u32 = 9;
    pub(crate) const SEGV: u32 = 11;
    pub(crate) const PIPE: u32 = 13;
    pub(crate) const ALRM: u32 = 14;
    pub(crate) const CHLD: u32 = 17;
    pub(crate) const CONT: u32 = 18;
    pub(crate) const STOP: u32 = 19;
    pub(crate) const TTOU: u32 = 22;
    pub(crate) const URG: u32 = 23;
    pub(crate) const WINCH: u32 = 28;
    pub(crate) const LAST: u32 = 64;

    pub(crate) const fn bit(number: u32) -> u64 {
        1 << (number - 1)
    }
}

/// What a process does when a signal comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Disposition {
    #[default]
    Default,
    Ignore,
    Handle,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(u8),
    Signaled(u32),
}

/// Whom a parent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    Any,
    Process(Pid),
    Group(Pid),
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    pub(crate) descriptors: Descriptors,
    /// The working directory; it is kept while the process lives, as an open file is.
    pub(crate) directory: Node,
    /// Bits that new files do not get.
    pub(crate) mask: u16,
    pub(crate) pending: u64,
    pub(crate) blocked: u64,
    /// Signals whose handlers let a call that waits go on (`SA_RESTART`).
    pub(crate) restarting: u64,
    /// When it wants to be told that time is over, by the monotonic clock, and how long until the next time.
    pub(crate) alarm: Option<(Duration, Duration)>,
    /// Linear memory of its instance.
    pub(super) memory_bytes: u64,
    /// Resource limits that were set, by number: soft and hard.
    pub(crate) limits: BTreeMap<u32, (u64, u64)>,
    dispositions: [Disposition; signal::LAST as usize + 1],
    /// None while it runs; afterwards it is there until its parent has heard of it.
    status: Option<Status>,
}

impl Process {
    /// Returns the next signal that its program is to handle.
    pub(crate) fn deliverable(&self) -> Option<u32> {
        let ready = self.pending & !self.blocked;
        (1..=signal::LAST).find(|number| {
            ready & signal::bit(*number) != 0 && self.dispositions[*number as usize] == Disposition::Handle
        })
    }

    /// Says whether a call that waits comes back for a signal. Handlers are called when a call comes back, and the library does
    /// not make it again. So a call goes on before a handler with `SA_RESTART` instead of after it, but only when the signal is
    /// one that tells something: who is to end must not have to wait for that.
    pub(crate) fn is_interrupted(&self, restarts: bool) -> bool {
        let ready = self.pending & !self.blocked;
        (1..=signal::LAST).any(|number| {
            let bit = signal::bit(number);
            let waits = restarts && self.restarting & bit != 0 && is_harmless(number);
            ready & bit != 0 && self.dispositions[number as usize] == Disposition::Handle && !waits
        })
    }

    /// Returns a signal that waits no longer and ends the process.
    fn fatal(&self) -> Option<u32> {
        let ready = self.pending & !self.blocked;
        (1..=signal::LAST).find(|number| {
            ready & signal::bit(*number) != 0 && self.dispositions[*number as usize] == Disposition::Default
        })
    }

    /// Says whether nothing comes of a signal.
    fn drops(&self, number: u32) -> bool {
        match self.dispositions[number as usize] {
            Disposition::Ignore => true,
            Disposition::Default => is_harmless(number),
            Disposition::Handle => false,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.status.is_none()
    }
}

/// All processes of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    all: BTreeMap<Pid, Process>,
    last: u32,
}

impl Processes {
    pub(super) fn add_first(&mut self, descriptors: Descriptors, directory: Node) {
        self.last = FIRST.0;
        let process = Process {
            parent: Pid(0),
            group: FIRST,
            session: FIRST,
            descriptors,
            directory,
            mask: 0o022,
            pending: 0,
            blocked: 0,
            restarting: 0,
            alarm: None,
            memory_bytes: 0,
            limits: BTreeMap::new(),
            dispositions: [Disposition::Default; signal::LAST as usize + 1],
            status: None,
        };
        self.all.insert(FIRST, process);
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<&Process> {
        self.all.get(&pid)
    }

    pub(crate) fn get_mut(&mut self, pid: Pid) -> Option<&mut Process> {
        self.all.get_mut(&pid)
    }

    pub(crate) fn running(&self) -> usize {
        self.all.values().filter(|process| process.is_running()).count()
    }
}

impl State {
    /// Makes a process that has what its parent has; nothing runs in it yet.
    pub(crate) fn fork(&mut self, parent: Pid) -> Result<Pid, Fault> {
        if self.processes.running() >= PROCESSES_MAX || self.processes.all.len() >= 8 * PROCESSES_MAX {
            return Err(Errno::EAGAIN.into());
        }
        let mut child = self.process(parent)?.clone();
        self.vfs.retain(child.directory)?;
        child.descriptors.iter().for_each(|(_, id, _)| self.open_files.share(id));
        (child.parent, child.pending, child.memory_bytes, child.alarm) = (parent, 0, 0, None);
        self.processes.last += 1;
        let pid = Pid(self.processes.last);
        self.processes.all.insert(pid, child);
        Ok(pid)
    }

    /// A process becomes another program: descriptors that ask for it are closed, handlers are gone.
    pub(crate) fn exec(&mut self, pid: Pid) -> Result<(), Fault> {
        let process = self.process_mut(pid)?;
        for number in 1..=signal::LAST {
            if process.dispositions[number as usize] == Disposition::Handle {
                process.dispositions[number as usize] = Disposition::Default;
            }
            if process.drops(number) {
                process.pending &= !signal::bit(number);
            }
        }
        let closing: Vec<u32> =
            process.descriptors.iter().filter(|(.., flags)| flags.close_on_exec).map(|(fd, ..)| fd).collect();
        for fd in closing {
            self.close_fd(pid, fd)?;
        }
        Ok(())
    }

    /// Ends a process: everything it has is given back, its children have a new parent, its parent is told.
    pub(crate) fn exit(&mut self, pid: Pid, status: Status) {
        let Some(process) = self.processes.get_mut(pid).filter(|process| process.is_running()) else { return };
        process.status = Some(status);
        let (parent, directory) = (process.parent, process.directory);
        self.memory_bytes = self.memory_bytes.saturating_sub(std::mem::take(&mut process.memory_bytes));
        let open: Vec<OpenFileId> = process.descriptors.iter().map(|(_, id, _)| id).collect();
        process.descriptors = Descriptors::new(0);
        open.into_iter().for_each(|id| self.close(id));
        self.vfs.release(directory);
        // Orphans are nobody's: their ends interest no one.
        let orphans = self.processes.all.iter_mut().filter(|(_, process)| process.parent == pid);
        orphans.for_each(|(_, process)| process.parent = Pid(0));
        self.processes
            .all
            .retain(|_, process| process.is_running() || process.parent != Pid(0) || process.group == pid);
        let ignored =
            self.processes.get(parent).is_none_or(|parent| !parent.is_running() || parent.ignores(signal::CHLD));
        if ignored && pid != FIRST {
            self.processes.all.remove(&pid);
        } else {
            self.signal(parent, signal::CHLD);
        }
        self.changed();
    }

    /// Returns how a process ended, if it has.
    pub(crate) fn ended(&self, pid: Pid) -> Option<Status> {
        self.processes.get(pid).map_or(Some(Status::Signaled(signal::KILL)), |process| process.status)
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(&mut self, pid: Pid, number: u32) {
        let Some(process) = self.processes.get_mut(pid).filter(|process| process.is_running()) else { return };
        let bit = signal::bit(number);
        match process.dispositions[number as usize] {
            _ if process.drops(number) => {}
            Disposition::Default if process.blocked & bit == 0 => self.exit(pid, Status::Signaled(number)),
            _ => {
                process.pending |= bit;
                self.changed();
            }
        }
    }

    /// Sends a signal to those whom POSIX means by `whom`: a process, a group, or all; 0 only asks whether they are there.
    pub(crate) fn kill(&mut self, sender: Pid, whom: i32, number: u32) -> Result<(), Fault> {
        if number > signal::LAST {
            return Err(Errno::EINVAL.into());
        }
        let own_group = self.process(sender)?.group;
        let is_meant = |pid: Pid, process: &Process| match whom {
            0 => process.group == own_group,
            -1 => pid != FIRST && pid != sender,
            whom if whom < 0 => process.group.0 == whom.unsigned_abs(),
            whom => pid.0 == whom.unsigned_abs(),
        };
        let meant: Vec<Pid> =
            self.processes.all.iter().filter(|(pid, process)| is_meant(**pid, process)).map(|(pid, _)| *pid).collect();
        if meant.is_empty() {
            return Err(Errno::ESRCH.into());
        }
        if number > 0 {
            for pid in meant {
                if pid == sender { self.signal(pid, number) } else { self.post(pid, number) }
            }
        }
        Ok(())
    }

    /// Leaves a signal for a process, which hears of it when its turn comes: whoever sends one goes on first, as on a machine.
    fn post(&mut self, pid: Pid, number: u32) {
        let Some(process) = self.processes.get_mut(pid).filter(|process| process.is_running()) else { return };
        if !process.drops(number) {
            process.pending |= signal::bit(number);
            self.changed();
        }
    }

    /// Ends a process for which a signal was left that ends it.
    pub(crate) fn heed(&mut self, pid: Pid) {
        if let Some(number) = self.processes.get(pid).filter(|process| process.is_running()).and_then(Process::fatal) {
            self.exit(pid, Status::Signaled(number));
        }
    }

    /// Says what a process does about a signal from now on.
    pub(crate) fn set_disposition(&mut self, pid: Pid, number: u32, disposition: Disposition) -> Result<(), Fault> {
        let fixed = number == signal::KILL || number == signal::STOP;
        if number == 0 || number > signal::LAST || (fixed && disposition != Disposition::Default) {
            return Err(Errno::EINVAL.into());
        }
        let process = self.process_mut(pid)?;
        process.dispositions[number as usize] = disposition;
        if process.drops(number) {
            process.pending &= !signal::bit(number);
        }
        Ok(())
    }

    /// Sets which signals wait, and lets those through that no longer do.
    pub(crate) fn set_blocked(&mut self, pid: Pid, blocked: u64) -> Result<(), Fault> {
        self.process_mut(pid)?.blocked = blocked & !(signal::bit(signal::KILL) | signal::bit(signal::STOP));
        self.heed(pid);
        Ok(())
    }

    /// Sends a process the signal of its timer if its time has come.
    pub(crate) fn ring(&mut self, pid: Pid) {
        let now = self.clock.monotonic();
        let Some(process) = self.processes.get_mut(pid) else { return };
        let Some((time, interval)) = process.alarm.filter(|(time, _)| *time <= now) else { return };
        process.alarm = (!interval.is_zero()).then(|| ((time + interval).max(now), interval));
        self.signal(pid, signal::ALRM);
    }

    /// Takes the next signal that a program is to handle.
    pub(crate) fn take_signal(&mut self, pid: Pid) -> Option<u32> {
        let process = self.processes.get_mut(pid)?;
        let number = process.deliverable()?;
        process.pending &= !signal::bit(number);
        Some(number)
    }

    /// Returns a child that has ended; `take` forgets it. Nothing when children run on.
    ///
    /// # Errors
    /// There is no such child.
    pub(crate) fn reap(&mut self, parent: Pid, whom: WaitFor, take: bool) -> Result<Option<(Pid, Status)>, Fault> {
        let own = self.process(parent)?.group;
        let is_meant = |pid: Pid, process: &Process| {
            process.parent == parent
                && match whom {
                    WaitFor::Any => true,
                    WaitFor::Process(meant) => pid == meant,
                    WaitFor::Group(Pid(0)) => process.group == own,
                    WaitFor::Group(group) => process.group == group,
                }
        };
        let mut children = self.processes.all.iter().filter(|(pid, process)| is_meant(**pid, process)).peekable();
        if children.peek().is_none() {
            return Err(Errno::ECHILD.into());
        }
        let found = children.find_map(|(pid, process)| process.status.map(|status| (*pid, status)));
        if let Some((pid, _)) = found.filter(|_| take) {
            self.processes.all.remove(&pid);
        }
        Ok(found)
    }

    /// Returns whether any process but the first still has the call's output open.
    pub(super) fn is_printing(&self) -> bool {
        self.open_files.has_output()
    }

    pub(crate) fn close_fd(&mut self, pid: Pid, fd: u32) -> Result<(), Fault> {
        let id = self.process_mut(pid)?.descriptors.remove(fd)?;
        self.close(id);
        Ok(())
    }

    /// Gives a process a number for what was just opened; what can't have one is closed.
    pub(crate) fn install(&mut self, pid: Pid, id: OpenFileId, flags: FdFlags) -> Result<u32, Fault> {
        let installed = self.process_mut(pid).and_then(|process| process.descriptors.insert(id, flags, 0));
        if installed.is_err() {
            self.close(id);
        }
        installed
    }

    /// Gives a process one more number for what a number stands for: the lowest from `lowest` on.
    pub(crate) fn duplicate(&mut self, pid: Pid, fd: u32, lowest: u32, flags: FdFlags) -> Result<u32, Fault> {
        let id = self.open_file(pid, fd)?;
        let number = self.process_mut(pid)?.descriptors.insert(id, flags, lowest)?;
        self.open_files.share(id);
        Ok(number)
    }

    /// Makes a number stand for what another one stands for.
    pub(crate) fn duplicate_to(&mut self, pid: Pid, fd: u32, to: u32, flags: FdFlags) -> Result<u32, Fault> {
        let id = self.open_file(pid, fd)?;
        self.open_files.share(id);
        match self.process_mut(pid)?.descriptors.put(to, id, flags) {
            Ok(before) => before.into_iter().for_each(|before| self.close(before)),
            Err(fault) => {
                self.close(id);
                return Err(fault);
            }
        }
        Ok(to)
    }

    /// Goes to another working directory.
    pub(crate) fn enter(&mut self, pid: Pid, directory: Node) -> Result<(), Fault> {
        self.vfs.retain(directory)?;
        let before = std::mem::replace(&mut self.process_mut(pid)?.directory, directory);
        self.vfs.release(before);
        Ok(())
    }
}

impl Process {
    /// Returns what it does about each signal, by number.
    pub(super) const fn dispositions(&self) -> &[Disposition; signal::LAST as usize + 1] {
        &self.dispositions
    }

    pub(super) const fn set_disposition(&mut self, number: u32, disposition: Disposition) {
        self.dispositions[number as usize] = disposition;
    }

    fn ignores(&self, number: u32) -> bool {
        self.dispositions[number as usize] == Disposition::Ignore
    }
}

/// Signals that do nothing unless they are handled. Stopping is not something that happens here: nobody could go on.
const fn is_harmless(number: u32) -> bool {
    matches!(number, signal::CHLD | signal::CONT | signal::URG | signal::WINCH)
        || (number >= 20 && number <= signal::TTOU)
        || number == signal::STOP
}
