//! Why a command failed: what is printed, and with which code the program exits.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::terminal;
use crate::client::ClientError;
use crate::server::ServeError;

/// So many paths in the way of a revert are shown.
const CONFLICTS_SHOWN: usize = 20;

/// Exit codes, as the shell, `env` and `timeout` have them.
pub(crate) mod exit {
    /// All is well.
    pub(crate) const OK: u8 = 0;
    /// `diff --exit-code` found a difference; a check of `doctor`, `demo` or `verify` failed.
    pub(crate) const DIFFERENT: u8 = 1;
    /// The call ran past its wall limit.
    pub(crate) const TIMEOUT: u8 = 124;
    /// We failed, or the service did.
    pub(crate) const FAILED: u8 = 125;
    /// Not allowed.
    pub(crate) const DENIED: u8 = 126;
    /// What was named does not exist.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// Interrupted: 128 and SIGINT.
    pub(crate) const CANCELLED: u8 = 130;
    /// The guest trapped: 128 and SIGABRT, as when a program aborts.
    pub(crate) const TRAPPED: u8 = 134;
    /// The call reached a limit: 128 and SIGKILL, as when the system kills a program for it.
    pub(crate) const LIMIT: u8 = 137;
    /// Nobody reads what we print: 128 and SIGPIPE.
    pub(crate) const BROKEN_PIPE: u8 = 141;
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The service refused, or could not be asked.
    Client(ClientError),
    /// Something of this machine failed.
    Local {
        /// What happened.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What the program exits with.
        code: u8,
    },
    /// Nobody reads standard output any more.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Local { message: message.into(), hint: None, code: exit::FAILED }
    }

    /// A file of this machine can't be used.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound { exit::NOT_FOUND } else { exit::FAILED };
        Self::new(format!("{}: {error}", path.display())).exiting(code)
    }

    #[must_use]
    pub(crate) fn hinted(self, text: impl Into<String>) -> Self {
        match self {
            Self::Local { message, code, .. } => Self::Local { message, hint: Some(text.into()), code },
            other => other,
        }
    }

    #[must_use]
    pub(crate) fn exiting(self, with: u8) -> Self {
        match self {
            Self::Local { message, hint, .. } => Self::Local { message, hint, code: with },
            other => other,
        }
    }

    /// Returns what the program exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Problem(problem)) => match problem.status {
                401 | 403 => exit::DENIED,
                404 => exit::NOT_FOUND,
                _ => exit::FAILED,
            },
            Self::Client(_) => exit::FAILED,
            Self::Local { code, .. } => *code,
            Self::BrokenPipe => exit::BROKEN_PIPE,
        }
    }

    /// Returns what to do about it, if that is known.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(ClientError::Unreachable { server, .. }) => Some(start_hint(server)),
            Self::Client(ClientError::Problem(problem)) if problem.status == 401 => Some(
                "give the service's token: --token-file FILE, SANDGLASS_TOKEN, or --data with its data directory"
                    .to_owned(),
            ),
            Self::Client(ClientError::Problem(problem)) => problem.hint.clone(),
            Self::Client(ClientError::Lost { .. }) => {
                Some("`sandglass log SANDBOX` tells whether it was done".to_owned())
            }
            Self::Local { hint, .. } => hint.clone(),
            Self::Client(_) | Self::BrokenPipe => None,
        }
    }

    /// Returns the lines for a person.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Client(ClientError::Problem(problem)) => {
                let (title, detail) = (terminal::name(&problem.title), terminal::lines(&problem.detail));
                let (code, status) = (terminal::name(&problem.code), problem.status);
                let _infallible = write!(out, "error: {detail}\n  {title} ({code}, {status})");
            }
            Self::Client(error) => out.push_str(&format!("error: {}", terminal::lines(&error.to_string()))),
            Self::Local { message, .. } => out.push_str(&format!("error: {}", terminal::lines(message))),
            Self::BrokenPipe => {}
        }
        if let Self::Client(ClientError::Problem(problem)) = self {
            for conflict in problem.conflicts.iter().take(CONFLICTS_SHOWN) {
                let (path, text) = (terminal::name(&conflict.path), terminal::name(&conflict.text));
                out.push_str(&format!("\n  {path} {text}"));
            }
            let more = problem.conflicts_total.unwrap_or_default().saturating_sub(CONFLICTS_SHOWN as u64);
            if more > 0 {
                out.push_str(&format!("\n  and {more} more (--json lists up to 1,000)"));
            }
        }
        if let Some(hint) = self.hint() {
            out.push_str(&format!("\nhint: {}", terminal::lines(&hint)));
        }
        out
    }

    /// Returns the object for a program: the service's problem document, or one that looks like it.
    pub(crate) fn json(&self) -> Value {
        let (code, detail) = match self {
            Self::Client(ClientError::Problem(problem)) => return json!(problem),
            Self::Client(error @ ClientError::Unreachable { .. }) => ("unreachable", error.to_string()),
            Self::Client(error @ ClientError::Lost { .. }) => ("connection_lost", error.to_string()),
            Self::Client(error) => ("client", error.to_string()),
            Self::Local { message, .. } => ("failed", message.clone()),
            Self::BrokenPipe => ("broken_pipe", "nobody reads the output".to_owned()),
        };
        json!({ "title": "The command failed", "code": code, "detail": detail, "hint": self.hint(), "exit_code": self.exit_code() })
    }
}

/// Says how a service is started that would be found at this address.
fn start_hint(server: &str) -> String {
    let authority = server.trim_start_matches("http://");
    let default = crate::config::LISTEN_DEFAULT.to_string();
    let started = match authority {
        _ if authority == default => "sandglass serve".to_owned(),
        _ if authority.starts_with("127.") || authority.starts_with("localhost") || authority.starts_with("[::1]") => {
            format!("sandglass serve --listen {}", authority.replace("localhost", "127.0.0.1"))
        }
        _ => return "check the address (--server or SANDGLASS_SERVER), and that the service runs there".to_owned(),
    };
    format!("start one with `{started}`, or name another with --server URL or SANDGLASS_SERVER")
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Write(error) => Self::from(error),
            other => Self::Client(other),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let hint = match &error {
            ServeError::Host(error) if error.code() == "store_in_use" => {
                Some("a service runs over this data directory: stop it, or name another with --data DIR".to_owned())
            }
            ServeError::Host(error) => error.hint().map(str::to_owned),
            ServeError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there; --listen 127.0.0.1:0 picks a free port".to_owned())
            }
            _ => None,
        };
        Self::Local { message: error.to_string(), hint, code: exit::FAILED }
    }
}

impl From<sandglass_runtime::Error> for Failure {
    fn from(error: sandglass_runtime::Error) -> Self {
        let failure = Self::new(error.to_string());
        let failure = match error.hint() {
            Some(hint) => failure.hinted(hint),
            None => failure,
        };
        let is_missing = error.kind() == sandglass_runtime::ErrorKind::NotFound;
        if is_missing { failure.exiting(exit::NOT_FOUND) } else { failure }
    }
}

impl From<io::Error> for Failure {
    /// Writing to standard output or standard error failed.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::new(format!("the output can't be written: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_service_is_told_how_to_start_one() {
        let unreachable = |server: &str| {
            Failure::from(ClientError::Unreachable { server: server.to_owned(), reason: "refused".to_owned() }).text()
        };
        assert!(unreachable("http://127.0.0.1:7777").contains("with `sandglass serve`,"));
        assert!(unreachable("http://localhost:8000").contains("`sandglass serve --listen 127.0.0.1:8000`"));
        assert!(unreachable("http://box:1").contains("check the address"));
    }

    #[test]
    fn a_service_can_not_write_to_the_terminal_by_its_errors() {
        let problem = crate::http::types::Problem {
            type_uri: String::new(),
            title: "t\x1b[2J".to_owned(),
            status: 404,
            detail: "d\u{202e}\nsecond".to_owned(),
            instance: String::new(),
            code: "c\x07".to_owned(),
            hint: Some("h\x1b]0;x".to_owned()),
            retryable: false,
            conflicts: Vec::new(),
            conflicts_total: None,
        };
        let failure = Failure::from(ClientError::Problem(Box::new(problem)));
        assert_eq!(failure.exit_code(), exit::NOT_FOUND);
        assert_eq!(failure.text(), "error: d\\u{202e}\nsecond\n  t\\x1b[2J (c\\x07, 404)\nhint: h\\x1b]0;x");
    }
}
