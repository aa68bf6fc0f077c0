//! All tests across crates, over the real binary, as one program.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod architecture;
mod cli;
mod client;
mod demo;
mod examples;
mod exchange;
mod git;
mod hostile;
mod http;
mod kill;
mod limits;
mod migration;
mod mount;
mod processes;
mod projects;
mod revert;
mod sessions;
mod sessions_linux;
mod shell;
mod support;
mod tools;
mod undo;
mod upkeep;
