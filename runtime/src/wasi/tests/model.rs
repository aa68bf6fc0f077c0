//! WASI against a model.
