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

/// A name that programs give values to.
fn variable() -> impl Strategy<Value = String> {
    (0..5u8).prop_map(|number| format!("v{number}"))
}

/// Joins statements. One that fails keeps those after it from running, so that each second one that can is tried only.
fn mostly_tried(
    lines: &[String],
    last: &str,
    can_try: impl Fn(&str) -> bool,
    tried: impl Fn(&str) -> String,
) -> String {
    let mut code = String::new();
    for (place, line) in lines.iter().enumerate() {
        if place.is_multiple_of(2) && can_try(line) {
            code.push_str(&tried(line));
        } else {
            code.push_str(line);
        }
        code.push('\n');
    }
    code + last
}
