//! All tests across crates, over the real binary, as one program.

mod architecture;
mod http;
mod limits;
mod support;
mod undo;
