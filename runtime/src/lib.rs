//! Calls: runs a guest in a transaction over a state, and takes it back.

mod clock;
mod code_cache;
mod compile;
mod engine;
mod entropy;
mod guest;
mod limits;
pub mod vfs;
pub mod wasi;

pub use clock::{Clock, SystemClock};
pub use compile::{Compiler, compile_worker_main};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use guest::{
    End, Guest, GuestError, GuestInfo, GuestSettings, GuestStatus, Guests, Invocation, Pin, Program, Progress, Run,
    RunLimits, Verdict,
};
pub use limits::{Limit, LimitExceeded, ProcExit};
