//! All tests across crates, over the real binary, as one program.

mod architecture;
mod cli;
mod client;
mod demo;
mod examples;
mod http;
mod limits;
mod support;
mod undo;
