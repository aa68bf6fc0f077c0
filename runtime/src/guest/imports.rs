//! What guests import besides WASI: ways out of the sandbox, which are answered with a clear no.
//!
//! Each guest has its own protocol for these, and gets the answer that its standard library turns into a plain
//! exception.

use wasmtime::{Caller, Extern, Linker};

/// What a program sees as the message of its `ConnectionError`.
const NO_NETWORK: &str = "this sandbox has no network";

/// Answers of `bashkit.http_request`: the request did not reach the network, or was not understood.
const HTTP_NETWORK: i32 = 1;
const HTTP_INVALID: i32 = 3;

/// Answer of `host.call`: nobody serves it.
const NO_HOST: i32 = -1;

/// Adds the functions to `linker`.
pub(super) fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "bashkit",
        "http_request",
        |mut caller: Caller<'_, T>, _request: u32, _bytes: u32, _timeout: i64, reply_bytes: u32| {
            let length = u32::try_from(NO_NETWORK.len()).unwrap_or_default();
            if write(&mut caller, reply_bytes, &length.to_le_bytes()) { HTTP_NETWORK } else { HTTP_INVALID }
        },
    )?;
    linker.func_wrap("bashkit", "http_take", |mut caller: Caller<'_, T>, to: u32, bytes: u32| {
        let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes == NO_NETWORK.len());
        // Nothing was asked for when the length differs: the guest drops a reply with a length of zero.
        if fits && write(&mut caller, to, NO_NETWORK.as_bytes()) { 0 } else { HTTP_INVALID }
    })?;
    linker.func_wrap("host", "call", |_request: u32, _bytes: u32, _reply: u32, _reply_bytes: u32| NO_HOST)?;
    Ok(())
}

/// Writes `bytes` at `at` of the guest's memory, and tells whether they fit.
fn write<T>(caller: &mut Caller<'_, T>, at: u32, bytes: &[u8]) -> bool {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return false };
    usize::try_from(at).is_ok_and(|at| memory.write(caller, at, bytes).is_ok())
}
