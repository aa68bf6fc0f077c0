//! Random programs for sessions: what they print depends on nothing but what ran before them.

mod javascript;
mod python;
mod shell;

use proptest::prelude::*;

/// A language that sessions are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Shell,
    JavaScript,
}

impl Language {
    pub(super) const fn tool(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Shell => "shell",
            Self::JavaScript => "javascript",
        }
    }

    /// Returns what the tool calls its code.
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::Python | Self::JavaScript => "code",
            Self::Shell => "command",
        }
    }

    /// Returns the program that shows all that a session has, and all files.
    pub(super) const fn all(self) -> &'static str {
        match self {
            Self::Python => python::ALL,
            Self::Shell => shell::ALL,
            Self::JavaScript => javascript::ALL,
        }
    }

    pub(super) fn program(self) -> BoxedStrategy<String> {
        match self {
            Self::Python => python::program().boxed(),
            Self::Shell => shell::program().boxed(),
            Self::JavaScript => javascript::program().boxed(),
        }
    }
}
