//! System calls on processes and signals, and the ways to start and leave a program.

use wasmtime::Caller;

use super::memory::Guest;
use super::{Call, Errno, Exec, Fault, Left, Linux, answer, disposition, split};
use crate::kernel::{Launch, Pid, Status, WaitFor};

/// The one user of a sandbox, and its group.
pub(super) const USER: u32 = 1000;
/// Strings that one list of arguments may have.
const WORDS_MAX: usize = 65_536;
/// Signals in a set that a program hands over.
const SET_BYTES: u32 = 8;

const P_ALL: u32 = 0;
const P_PID: u32 = 1;
const P_PGID: u32 = 2;
const WNOHANG: u32 = 1;
const WNOWAIT: u32 = 0x0100_0000;
const CLD_EXITED: u32 = 1;
const CLD_KILLED: u32 = 2;
/// Bytes of what is told of a child.
const SIGINFO_BYTES: u32 = 128;
const RUSAGE_BYTES: u32 = 136;

/// Bytes of what a program begins with: two counts and the strings.
pub(super) fn start_bytes(exec: &Exec) -> u32 {
    let strings: usize = exec.args.iter().chain(&exec.env).map(|word| word.len() + 1).sum();
    u32::try_from(strings + 8).unwrap_or(u32::MAX)
}

pub(super) fn put_start(guest: &mut Guest<'_>, exec: &Exec, to: u32) -> Result<(), Fault> {
    let count = |words: &[Vec<u8>]| u32::try_from(words.len()).map_err(|_| Errno::E2BIG);
    guest.put_u32(to, count(&exec.args)?)?;
    guest.put_u32(to.checked_add(4).ok_or(Errno::EFAULT)?, count(&exec.env)?)?;
    let mut at = to.checked_add(8).ok_or(Errno::EFAULT)?;
    for word in exec.args.iter().chain(&exec.env) {
        guest.put(at, word)?;
        at = at.checked_add(super::files::count(word.len())?).ok_or(Errno::EFAULT)?;
        guest.put(at, &[0])?;
        at = at.checked_add(1).ok_or(Errno::EFAULT)?;
    }
    Ok(())
}

/// A process becomes another program. The answer of a child that borrowed its parent is for the parent, which goes on.
pub(super) fn exec(caller: &mut Caller<'_, Linux>, arguments: [u32; 6]) -> wasmtime::Result<i32> {
    let (memory, linux) = split(caller)?;
    let guest = Guest::new(memory);
    let found = (|| {
        let [path, args, env, ..] = arguments;
        let exec = Exec { args: guest.strings(args, WORDS_MAX)?, env: guest.strings(env, WORDS_MAX)? };
        let path = guest.string(path)?;
        let mut state = linux.kernel.lock();
        let program = state.program(linux.pid, path, exec)?;
        state.exec(linux.pid)?;
        Ok(program)
    })();
    let program = match found {
        Ok(program) => program,
        Err(fault) => return answer(Err(fault)),
    };
    let child = linux.pid;
    if linux.give_back() {
        linux.kernel.lock().launch(Launch { pid: child, program });
        return Ok(0);
    }
    linux.becomes = Some(program);
    Err(wasmtime::Error::new(Left::Became))
}

/// A process ends. A child that borrowed its parent gives it back.
pub(super) fn exit(caller: &mut Caller<'_, Linux>, code: u32) -> wasmtime::Result<i32> {
    let linux = caller.data_mut();
    let child = linux.pid;
    if linux.give_back() {
        linux.kernel.lock().exit(child, Status::Exited(code.to_le_bytes()[0]));
        return Ok(0);
    }
    Err(wasmtime::Error::new(Left::Exited(code.cast_signed() & 0xff)))
}

impl Call<'_> {
    pub(super) fn wait(&mut self) -> Result<u32, Fault> {
        let [kind, id, to, options, usage, _] = self.arguments;
        let whom = match kind {
            P_ALL => WaitFor::Any,
            P_PID => WaitFor::Process(Pid(id)),
            P_PGID => WaitFor::Group(Pid(id)),
            _ => return Err(Errno::EINVAL.into()),
        };
        let found = self.state.reap(self.pid, whom, options & WNOWAIT == 0)?;
        if found.is_none() && options & WNOHANG == 0 {
            return Err(Fault::Wait);
        }
        if to != 0 {
            let told = self.guest.slice_mut(to, SIGINFO_BYTES)?;
            told.fill(0);
            if let Some((pid, status)) = found {
                let (code, value) = match status {
                    Status::Exited(code) => (CLD_EXITED, u32::from(code)),
                    Status::Signaled(number) => (CLD_KILLED, number),
                };
                let fields = [(0, crate::kernel::signal::CHLD), (8, code), (12, pid.0), (16, USER), (20, value)];
                fields.into_iter().for_each(|(at, value)| told[at..at + 4].copy_from_slice(&value.to_le_bytes()));
            }
        }
        if usage != 0 {
            self.guest.slice_mut(usage, RUSAGE_BYTES)?.fill(0);
        }
        Ok(0)
    }

    pub(super) fn kill(&mut self) -> Result<u32, Fault> {
        let [whom, number, ..] = self.arguments;
        self.state.kill(self.pid, whom.cast_signed(), number)?;
        Ok(0)
    }

    /// A process is its only thread; the number of the thread is argument `at`.
    pub(super) fn kill_thread(&mut self, at: usize) -> Result<u32, Fault> {
        let whom = i32::try_from(self.arguments[at]).map_err(|_| Errno::EINVAL)?;
        if whom <= 0 {
            return Err(Errno::EINVAL.into());
        }
        self.state.kill(self.pid, whom, self.arguments[at + 1])?;
        Ok(0)
    }

    pub(super) fn set_action(&mut self) -> Result<u32, Fault> {
        const RESTART: u32 = 0x1000_0000;
        let [number, what, flags, ..] = self.arguments;
        self.state.set_disposition(self.pid, number, disposition(what))?;
        let process = self.state.process_mut(self.pid)?;
        if flags & RESTART == 0 {
            process.restarting &= !crate::kernel::signal::bit(number);
        } else {
            process.restarting |= crate::kernel::signal::bit(number);
        }
        Ok(0)
    }

    pub(super) fn set_signal_mask(&mut self) -> Result<u32, Fault> {
        const BLOCK: u32 = 0;
        const UNBLOCK: u32 = 1;
        const SET: u32 = 2;
        let [how, set, old, bytes, ..] = self.arguments;
        if bytes != SET_BYTES {
            return Err(Errno::EINVAL.into());
        }
        let before = self.state.process(self.pid)?.blocked;
        if set != 0 {
            let given = self.guest.u64(set)?;
            let after = match how {
                BLOCK => before | given,
                UNBLOCK => before & !given,
                SET => given,
                _ => return Err(Errno::EINVAL.into()),
            };
            self.state.set_blocked(self.pid, after)?;
        }
        if old != 0 {
            self.guest.put_u64(old, before)?;
        }
        Ok(0)
    }

    pub(super) fn pending_signals(&mut self) -> Result<u32, Fault> {
        let process = self.state.process(self.pid)?;
        let pending = process.pending & process.blocked;
        self.guest.put_u64(self.arguments[0], pending)?;
        Ok(0)
    }

    /// The mask is the program's for as long as it waits: its library sets the old one again when a handler was called.
    pub(super) fn wait_for_signal(&mut self) -> Result<u32, Fault> {
        let set = self.guest.u64(self.arguments[0])?;
        self.state.set_blocked(self.pid, set)?;
        Err(Fault::Wait)
    }

    pub(super) fn set_group(&mut self) -> Result<u32, Fault> {
        let [pid, group, ..] = self.arguments;
        let pid = if pid == 0 { self.pid } else { Pid(pid) };
        let group = if group == 0 { pid } else { Pid(group) };
        self.state.process_mut(pid)?.group = group;
        Ok(0)
    }

    pub(super) fn group(&mut self) -> Result<u32, Fault> {
        let pid = if self.arguments[0] == 0 { self.pid } else { Pid(self.arguments[0]) };
        Ok(self.state.process(pid)?.group.0)
    }

    pub(super) fn session(&mut self) -> Result<u32, Fault> {
        let pid = if self.arguments[0] == 0 { self.pid } else { Pid(self.arguments[0]) };
        Ok(self.state.process(pid)?.session.0)
    }

    pub(super) fn new_session(&mut self) -> Result<u32, Fault> {
        let pid = self.pid;
        let process = self.state.process_mut(pid)?;
        (process.session, process.group) = (pid, pid);
        Ok(pid.0)
    }

    pub(super) fn processors(&mut self) -> Result<u32, Fault> {
        let [_, bytes, to, ..] = self.arguments;
        if bytes < 8 {
            return Err(Errno::EINVAL.into());
        }
        self.guest.put_u64(to, 1)?;
        Ok(8)
    }

    pub(super) fn system_name(&mut self) -> Result<u32, Fault> {
        const FIELD_BYTES: usize = 65;
        let mut told = [0; 6 * FIELD_BYTES];
        let fields = ["Linux", "sandbox", "6.1.0-sandglass", "#1 Sandglass", "wasm32", "(none)"];
        for (place, field) in told.chunks_mut(FIELD_BYTES).zip(fields) {
            place[..field.len()].copy_from_slice(field.as_bytes());
        }
        self.guest.put(self.arguments[0], &told)?;
        Ok(0)
    }

    pub(super) fn usage(&mut self) -> Result<u32, Fault> {
        self.guest.slice_mut(self.arguments[1], RUSAGE_BYTES)?.fill(0);
        Ok(0)
    }

    /// Limits are the policy's; what programs are told is what they need to know.
    pub(super) fn resource_limit(&mut self) -> Result<u32, Fault> {
        const OPEN_FILES: u32 = 7;
        const RESOURCES: u32 = 16;
        let [whom, resource, from, to, ..] = self.arguments;
        if resource >= RESOURCES {
            return Err(Errno::EINVAL.into());
        }
        if whom != 0 && whom != self.pid.0 {
            return Err(if self.state.processes.get(Pid(whom)).is_some() { Errno::EPERM } else { Errno::ESRCH }.into());
        }
        let process = self.state.process(self.pid)?;
        let (soft, hard) = process.limits.get(&resource).copied().unwrap_or_else(|| match resource {
            OPEN_FILES => (u64::from(process.descriptors.limit()), u64::from(process.descriptors.limit())),
            _ => (u64::MAX, u64::MAX),
        });
        if from != 0 {
            let second = from.checked_add(8).ok_or(Errno::EFAULT)?;
            let (new_soft, new_hard) = (self.guest.u64(from)?, self.guest.u64(second)?);
            if new_soft > new_hard {
                return Err(Errno::EINVAL.into());
            }
            if new_hard > hard {
                return Err(Errno::EPERM.into());
            }
            let process = self.state.process_mut(self.pid)?;
            process.limits.insert(resource, (new_soft, new_hard));
            if resource == OPEN_FILES {
                process.descriptors.lower(u32::try_from(new_soft).unwrap_or(u32::MAX));
            }
        }
        if to != 0 {
            self.guest.put_u64(to, soft)?;
            self.guest.put_u64(to.checked_add(8).ok_or(Errno::EFAULT)?, hard)?;
        }
        Ok(0)
    }

    pub(super) fn system_information(&mut self) -> Result<u32, Fault> {
        let (limit, used) = self.state.memory();
        let to = self.arguments[0];
        self.guest.slice_mut(to, 64)?.fill(0);
        let kilobytes = |bytes: u64| u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        self.guest.put_u32(to.checked_add(16).ok_or(Errno::EFAULT)?, kilobytes(limit))?;
        self.guest.put_u32(to.checked_add(20).ok_or(Errno::EFAULT)?, kilobytes(limit.saturating_sub(used)))?;
        self.guest.put_u32(to.checked_add(52).ok_or(Errno::EFAULT)?, 1024)?;
        Ok(0)
    }
}
