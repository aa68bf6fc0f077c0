//! Finding the program behind a path: one of the host's, or a script whose first line names one.

use std::sync::Arc;

use bytes::Bytes;
use sandglass_snapshots::Kind;

use super::errno::{Errno, Fault};
use super::schedule::Program;
use super::{Pid, State};

/// Interpreters of interpreters: as many as Linux follows.
const SCRIPTS_MAX: usize = 4;
/// The longest first line of a script.
const LINE_BYTES_MAX: usize = 256;
/// Arguments and environment of a program together, in bytes and in strings.
const EXEC_BYTES_MAX: usize = 2 << 20;
const EXEC_WORDS_MAX: usize = 65_536;

/// What a process is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exec {
    /// Arguments, the program's name first.
    pub(crate) args: Vec<Vec<u8>>,
    /// Variables as `NAME=value`.
    pub(crate) env: Vec<Vec<u8>>,
}

/// The programs that the host has.
pub(crate) trait Programs: Send + Sync {
    /// Returns the program of a name, ready to run.
    fn program(&self, name: &str, exec: Exec) -> Result<Program, Fault>;
}

impl Exec {
    /// Checks that it is not larger than a program can be given.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let words = self.args.len() + self.env.len();
        let bytes: usize = self.args.iter().chain(&self.env).map(|word| word.len() + 1).sum();
        if words > EXEC_WORDS_MAX || bytes > EXEC_BYTES_MAX { Err(Errno::E2BIG.into()) } else { Ok(()) }
    }
}

impl State {
    /// Finds the program at a path, as seen by a process.
    pub(crate) fn program(&mut self, pid: Pid, path: &[u8], mut exec: Exec) -> Result<Program, Fault> {
        let mut path = Bytes::copy_from_slice(path);
        for _ in 0..=SCRIPTS_MAX {
            exec.check()?;
            let directory = self.process(pid)?.directory;
            let node = self.vfs.resolve_from(directory, &path, true)?.found()?;
            let attributes = self.vfs.attributes(node)?;
            if attributes.kind != Kind::File || attributes.mode & 0o111 == 0 {
                return Err(Errno::EACCES.into());
            }
            if let Some(name) = self.vfs.program(node) {
                let programs = Arc::clone(&self.programs);
                return programs.program(&name, exec);
            }
            let mut start = [0; LINE_BYTES_MAX];
            let read = self.vfs.read(node, 0, &mut start, &*self.entropy)?;
            let line = start[..read].strip_prefix(b"#!").ok_or(Errno::ENOEXEC)?;
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
            let (interpreter, argument) = match line.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
                Some(end) => (&line[..end], Some(line[end..].trim_ascii().to_vec())),
                None => (line, None),
            };
            if interpreter.is_empty() {
                return Err(Errno::ENOEXEC.into());
            }
            let words = [Some(interpreter.to_vec()), argument, Some(path.to_vec())].into_iter().flatten();
            exec.args = words.chain(exec.args.into_iter().skip(1)).collect();
            path = Bytes::copy_from_slice(interpreter);
        }
        Err(Errno::ELOOP.into())
    }
}
