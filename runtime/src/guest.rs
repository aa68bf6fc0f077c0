//! Guests: the programs that Sandglass runs, where they come from, and one run of one of them.
//!
//! `lock` says what there is, `catalogue` what is here, `install` brings the rest, `embedded` holds what the binary
//! carries; `run` drives a program to its end and `imports` answers what a guest asks besides WASI.

mod boot;
mod catalogue;
mod embedded;
mod entrance;
mod error;
mod imports;
mod install;
mod library;
mod lock;
mod reactor;
mod root;
mod run;
mod session;

pub use catalogue::{GuestInfo, GuestSettings, GuestStatus, Guests, Pin, Verdict};
pub use error::GuestError;
pub use install::Progress;
pub(crate) use reactor::{WasiGuest, linker as wasi_linker};
pub(crate) use run::{End, Guest, Invocation, Program, Request, Resumed, RunLimits, run, run_over};
pub(crate) use session::{Begin, Left, Rested, Resting, WrittenMemory};
