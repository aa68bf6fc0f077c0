//! stub
mod code_cache;
mod compile;
mod engine;
mod guest;
