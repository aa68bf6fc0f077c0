//! Processes for guests whose interface has none: WASI preview 1 can start nothing, so a program writes what it wants to
//! `/dev/processes` and reads the answer there. `guests/python/processes.py` is who does that.
//!
//! A request is one write: words with a NUL between them, the first of which says what is wanted. What fails is told as the error
//! of the write; an answer is numbers in decimal with a space between them.
//!
//! | request | answer |
//! |---|---|
//! | `pipe` | descriptors: to read from, to write to |
//! | `duplicate` fd, fd or `-` | descriptor that stands for the same |
//! | `start`: directory, own session `0` or `1`, count and (child's fd, fd) each, count and paths to try, count and arguments, variables | process |
//! | `wait` process or `-1`, `0` or `1` for not to wait | process, how (`0` exited, `1` by a signal), with what; `0` when it runs on |
//! | `kill` process, signal | |
//! | `who` | process, its parent |
//! | `result` text | : the value of a session's last expression |
//! | `exit` status | : a session's program wants to end |

use std::str::FromStr;

use wiggle::GuestMemory;

use super::Wasi;
use super::descriptor::Descriptor;
use super::file::{guest_const_buffers, slice};
use super::preview1::types::{CiovecArray, Errno, Error, Fd, Fdflags, Rights, Size};
use crate::kernel::{
    Descriptors, Errno as Linux, Exec, Fault, FdFlags, Launch, Pid, State, Status, WaitFor, Whence, status,
};

/// The longest request: what a program is given is bounded by `Exec::check`.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// The words of a request.
struct Words<'a>(std::slice::Split<'a, u8, fn(&u8) -> bool>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a [u8], Error> {
        self.0.next().ok_or_else(|| Errno::Inval.into())
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Error> {
        number(self.next()?)
    }

    fn fd(&mut self) -> Result<Fd, Error> {
        Ok(Fd::from(self.number::<u32>()?))
    }

    /// A count, and so many words.
    fn list(&mut self) -> Result<Vec<&'a [u8]>, Error> {
        let count: usize = self.number()?;
        let words: Vec<_> = self.0.by_ref().take(count).collect();
        if words.len() == count { Ok(words) } else { Err(Errno::Inval.into()) }
    }
}

fn number<T: FromStr>(word: &[u8]) -> Result<T, Error> {
    let word = std::str::from_utf8(word).map_err(|_| Errno::Inval)?;
    word.parse().map_err(|_| Errno::Inval.into())
}

impl Wasi {
    /// Does what a request asks for, and keeps the answer to be read.
    pub(super) async fn request(&mut self, memory: &GuestMemory<'_>, buffers: CiovecArray) -> Result<Size, Error> {
        let mut request = Vec::new();
        for buffer in guest_const_buffers(memory, buffers)? {
            let bytes = slice(memory, buffer)?;
            if request.len() + bytes.len() > REQUEST_BYTES_MAX {
                return Err(Errno::TooBig.into());
            }
            request.extend_from_slice(bytes);
        }
        self.answer.clear();
        let is_nul: fn(&u8) -> bool = |byte| *byte == 0;
        let mut words = Words(request.split(is_nul));
        let answer = match words.next()? {
            b"pipe" => self.make_pipe()?,
            b"duplicate" => self.duplicate(&mut words)?,
            b"start" => self.start(&mut words)?,
            b"wait" => self.wait_for_child(&mut words).await?,
            b"kill" => {
                let (whom, signal) = (words.number()?, words.number()?);
                self.kernel.lock().kill(self.pid, whom, signal)?;
                String::new()
            }
            b"result" => {
                let text = words.next()?;
                self.told.result = Some(String::from_utf8_lossy(text).into_owned());
                String::new()
            }
            b"exit" => {
                self.told.exit = Some(words.number()?);
                String::new()
            }
            b"who" => {
                let parent = self.kernel.lock().process(self.pid)?.parent;
                format!("{} {}", self.pid.0, parent.0)
            }
            _ => return Err(Errno::Inval.into()),
        };
        self.answer = answer.into_bytes();
        Ok(Size::try_from(request.len())?)
    }

    fn make_pipe(&mut self) -> Result<String, Error> {
        self.descriptors.check_room()?;
        let (reader, writer) = {
            let mut state = self.kernel.lock();
            let (reader, writer) = state.open_pipe(0);
            let flags = FdFlags { close_on_exec: true };
            let reader = state.install(self.pid, reader, flags);
            let writer = state.install(self.pid, writer, flags);
            match (reader, writer) {
                (Ok(reader), Ok(writer)) => (reader, writer),
                (Err(fault), other) | (other, Err(fault)) => {
                    if let Ok(fd) = other {
                        state.close_fd(self.pid, fd)?;
                    }
                    return Err(fault.into());
                }
            }
        };
        let reader = self.descriptors.insert(Descriptor::Inherited(reader))?;
        let writer = self.descriptors.insert(Descriptor::Inherited(writer))?;
        Ok(format!("{} {}", u32::from(reader), u32::from(writer)))
    }

    /// Makes one more descriptor for what a descriptor stands for, or a certain one.
    fn duplicate(&mut self, words: &mut Words<'_>) -> Result<String, Error> {
        let shared = self.shared(words.fd()?)?;
        let to = match words.next()? {
            b"-" => None,
            word => Some(Fd::from(number::<u32>(word)?)),
        };
        self.descriptors.check_room()?;
        let copy = self.kernel.lock().duplicate(self.pid, shared, 0, FdFlags { close_on_exec: true })?;
        let descriptor = Descriptor::Inherited(copy);
        let fd = match to {
            None => self.descriptors.insert(descriptor)?,
            Some(to) => {
                if let Some(before) = self.descriptors.replace(to, descriptor)? {
                    self.close(&before);
                }
                to
            }
        };
        Ok(u32::from(fd).to_string())
    }

    /// Returns the process's number for what a descriptor stands for. A file that only this guest had open is the process's from
    /// now on: whoever is given it shares its position.
    fn shared(&mut self, fd: Fd) -> Result<u32, Error> {
        let opened = match self.descriptors.get(fd)? {
            Descriptor::Inherited(shared) => return Ok(*shared),
            Descriptor::Opened(opened) => opened.clone(),
        };
        let mut flags = 0;
        for (right, flag) in [(Rights::FD_READ, status::READ), (Rights::FD_WRITE, status::WRITE)] {
            flags |= if opened.base.contains(right) { flag } else { 0 };
        }
        flags |= if opened.flags.contains(Fdflags::APPEND) { status::APPEND } else { 0 };
        let shared = {
            let mut state = self.kernel.lock();
            let id = state.open_node(opened.node, flags)?;
            if !opened.is_directory {
                let offset = i64::try_from(opened.offset)?;
                state.seek(id, offset, Whence::Start)?;
            }
            state.install(self.pid, id, FdFlags { close_on_exec: true })?
        };
        let before = self.descriptors.replace(fd, Descriptor::Inherited(shared))?;
        before.iter().for_each(|before| self.close(before));
        Ok(shared)
    }

    fn start(&mut self, words: &mut Words<'_>) -> Result<String, Error> {
        let directory = words.next()?;
        let leads = words.next()? == b"1";
        let mut given = Vec::new();
        let most = self.kernel.lock().open_files_max();
        for _ in 0..words.number::<u32>()?.min(most) {
            let (to, from) = (words.number::<u32>()?, words.fd()?);
            given.push((to, self.shared(from)?));
        }
        let paths = words.list()?;
        let args = words.list()?.into_iter().map(<[u8]>::to_vec).collect();
        let env = words.0.by_ref().map(<[u8]>::to_vec).collect();
        let exec = Exec { args, env };
        let mut state = self.kernel.lock();
        let child = state.fork(self.pid)?;
        match begin(&mut state, child, directory, leads, &given, &paths, &exec) {
            Ok(()) => Ok(child.0.to_string()),
            Err(fault) => {
                // It never was: nobody waits for it.
                state.exit(child, Status::Exited(127));
                drop(state.reap(self.pid, WaitFor::Process(child), true));
                Err(fault.into())
            }
        }
    }

    async fn wait_for_child(&mut self, words: &mut Words<'_>) -> Result<String, Error> {
        let whom = match words.number::<i32>()? {
            -1 => WaitFor::Any,
            0 => WaitFor::Group(Pid(0)),
            group if group < 0 => WaitFor::Group(Pid(group.unsigned_abs())),
            pid => WaitFor::Process(Pid(pid.unsigned_abs())),
        };
        let at_once = words.next()? == b"1";
        let pid = self.pid;
        let found = self
            .kernel
            .wait(|state| match state.reap(pid, whom, true) {
                Ok(None) if !at_once => None,
                found => Some(found),
            })
            .await?;
        Ok(match found {
            None => "0".to_owned(),
            Some((child, Status::Exited(code))) => format!("{} 0 {code}", child.0),
            Some((child, Status::Signaled(number))) => format!("{} 1 {number}", child.0),
        })
    }
}

/// Gives a new process its descriptors and directory, finds its program, and starts it.
fn begin(
    state: &mut State,
    child: Pid,
    directory: &[u8],
    leads: bool,
    given: &[(u32, u32)],
    paths: &[&[u8]],
    exec: &Exec,
) -> Result<(), Fault> {
    let own = state.process(child)?;
    let mut table = Descriptors::new(state.open_files_max());
    let ids = given.iter().map(|(to, from)| Ok((*to, own.descriptors.get(*from)?.0)));
    let ids: Vec<_> = ids.collect::<Result<_, Fault>>()?;
    for (to, id) in ids {
        state.open_files.share(id);
        if let Some(before) = table.put(to, id, FdFlags::default())? {
            state.close(before);
        }
    }
    let process = state.process_mut(child)?;
    let before = std::mem::replace(&mut process.descriptors, table);
    if leads {
        (process.session, process.group) = (child, child);
    }
    let closing: Vec<_> = before.iter().map(|(_, id, _)| id).collect();
    closing.into_iter().for_each(|id| state.close(id));
    if !directory.is_empty() {
        let from = state.process(child)?.directory;
        let node = state.vfs.resolve_from(from, directory, true)?.found()?;
        if state.vfs.attributes(node)?.kind != sandglass_snapshots::Kind::Directory {
            return Err(Linux::ENOTDIR.into());
        }
        state.enter(child, node)?;
    }
    // As `execvp` looks: on, unless a program is there and can't be run.
    let mut failed = Fault::Errno(Linux::ENOENT);
    for path in paths {
        match state.program(child, path, exec.clone()) {
            Ok(program) => {
                state.exec(child)?;
                state.launch(Launch { pid: child, program });
                return Ok(());
            }
            Err(Fault::Errno(Linux::ENOENT | Linux::ENOTDIR)) => {}
            Err(fault @ Fault::Errno(_)) => failed = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(failed)
}
