//! The REST API over the real binary: who gets in, what failures say, and what is promised about repetition and streams.

mod access;
mod files;
mod idempotency;
mod problems;
mod resources;
mod scopes;
mod stopping;
mod streams;
mod tokens;
