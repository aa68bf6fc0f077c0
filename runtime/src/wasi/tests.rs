//! WASI's functions without wasm.
