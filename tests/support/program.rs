//! The real binary as a user runs it: arguments in, output and exit code out, nothing of this machine's settings.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Server, guests};

/// What the program said and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A user of the program, with a home of their own.
pub(crate) struct User {
    home: TempDir,
    server: Option<(String, String)>,
}

impl User {
    /// A user who has a service.
    pub(crate) fn of(server: &Server) -> Self {
        Self { home: tempfile::tempdir().unwrap(), server: Some((server.url(), server.token().to_owned())) }
    }

    /// A user who has a service and a token of their own.
    pub(crate) fn with_token(server: &Server, token: &str) -> Self {
        Self { home: tempfile::tempdir().unwrap(), server: Some((server.url(), token.to_owned())) }
    }

    /// A user who has none.
    pub(crate) fn alone() -> Self {
        Self { home: tempfile::tempdir().unwrap(), server: None }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns a command of the program, in the user's home.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandglass"));
        command.args(arguments).current_dir(self.home()).env_clear();
        command.env("HOME", self.home()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("SANDGLASS_GUESTS", guests()).env("TMPDIR", self.home());
        if let Some((url, token)) = &self.server {
            command.env("SANDGLASS_SERVER", url).env("SANDGLASS_TOKEN", token);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.run_with(arguments, b"")
    }

    /// Runs the program to its end, with something to read.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>, stdin: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // A program that reads nothing closes its end.
        let _read = input.write_all(stdin).is_ok();
        drop(input);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Returns what a command printed that must succeed.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Returns the one JSON object that a command printed, with this exit code.
    pub(crate) fn json(self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the exit code and that standard error says something.
    pub(crate) fn fails(self, code: i32, text: &str) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(text), "no `{text}` in {self:?}");
        self.stderr
    }
}
