//! Calls: runs a guest in a transaction over a state, and takes it back.

mod clock;
mod entropy;
mod limits;
pub mod vfs;
pub mod wasi;

pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use limits::{Limit, LimitExceeded, ProcExit};
