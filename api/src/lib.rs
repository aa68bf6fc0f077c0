//! The program: a REST service over the runtime, and the command line that is its client.
//!
//! A request goes through one ordered list of layers (`middleware.rs`: origin, request id, limits, authentication) to one
//! list of routes (`router.rs`; the scopes that they need are in `access.rs`) whose handlers (`http/`) lower to the methods of `sandglass_runtime` and say the outcome in
//! the wire types of [`http::types`]. Every failure is a problem of the table in `http/problem.rs`.
//!
//! This crate decides nothing about states or policy; and the command line never touches a store: it speaks HTTP.
//!
//! Start reading at [`server`], then `router.rs`.

#![deny(missing_docs)]

mod access;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
mod control;
pub mod http;
mod middleware;
pub mod openapi;
mod origin;
mod router;
pub mod server;
pub mod telemetry;
