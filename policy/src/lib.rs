//! What is allowed: policy documents, and the grants they give.
//!
//! A [`Policy`] is what people write (`policy.toml`, or the same shape as JSON); [`Policy::grants`] is what a call gets from
//! it: limits and mounts. What is not granted is not linked or mounted: absence beats denial.
//!
//! This crate is pure. It knows no I/O, no clock, no wasm and no store, so that a decision can be tested as a function.
//!
//! Start reading at `document.rs`; units are in `size.rs` and `span.rs`, names of tools in `tools.rs`.

#![deny(missing_docs)]

mod document;
mod error;
mod grant;
mod size;
mod span;
mod tools;

pub use document::{Access, Limits, MountRule, Policy};
pub use error::PolicyError;
pub use grant::{GrantedMount, Grants};
pub use size::ByteSize;
pub use span::Span;
pub use tools::ToolPattern;
