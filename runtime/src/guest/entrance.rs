//! How a program comes into an interpreter: as the arguments that WASI has, or as source that is put into its memory.
//!
//! Source is what an interpreter takes that can be entered again and again. Then it is one line, which gives the command line and
//! the environment to `enter` in `guests/python/boot.py`: what others find in WASI's.

use wasmtime::{Instance, Store, StoreContextMut, TypedFunc};

use super::lock::{Entry, Takes};
use super::reactor::Context;

/// The export that gives room for source.
const ALLOCATE: &str = "host_alloc";
/// What an entry that takes source returns besides the status, when the program asked to leave the interpreter.
const STATUS: i32 = 0xff;

/// How a guest is entered.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    entry: String,
    takes: Takes,
}

impl Entrance {
    pub(super) fn new(entry: &Entry) -> Self {
        Self { entry: entry.entry.clone(), takes: entry.takes }
    }

    /// Returns that of a program that somebody uploaded.
    pub(super) fn of_command() -> Self {
        Self { entry: "_start".to_owned(), takes: Takes::Arguments }
    }

    pub(super) fn takes_source(&self) -> bool {
        self.takes == Takes::Source
    }

    /// Runs a program, and returns its status. An interpreter that takes source can then be entered again.
    pub(super) async fn enter(
        &self,
        store: &mut Store<Context>,
        instance: &Instance,
        source: Option<String>,
    ) -> wasmtime::Result<i32> {
        let entry = &self.entry;
        if let Some(source) = source {
            let bytes = u32::try_from(source.len())?;
            let allocate: TypedFunc<u32, u32> = instance.get_typed_func(&mut *store, ALLOCATE)?;
            let at = allocate.call_async(&mut *store, bytes).await?;
            if at == 0 {
                return Err(wasmtime::Error::msg("the interpreter has no room for the program"));
            }
            write(store.into(), instance, at, source.as_bytes())?;
            let turn: TypedFunc<(u32, u32), i32> = instance.get_typed_func(&mut *store, entry)?;
            let status = turn.call_async(&mut *store, (at, bytes)).await?;
            if status < 0 {
                return Err(wasmtime::Error::msg("the interpreter has ended"));
            }
            return Ok(status & STATUS);
        }
        if let Ok(command) = instance.get_typed_func::<(), ()>(&mut *store, entry) {
            return command.call_async(&mut *store, ()).await.map(|()| 0);
        }
        instance.get_typed_func::<(), i32>(&mut *store, entry)?.call_async(&mut *store, ()).await
    }
}

fn write(mut store: StoreContextMut<'_, Context>, instance: &Instance, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    Ok(memory.write(&mut store, usize::try_from(at)?, bytes)?)
}

/// Returns the source that runs a command line in this environment.
pub(super) fn source(words: &[Vec<u8>], variables: &[Vec<u8>]) -> String {
    format!("import _sandglass\n_sandglass.enter({}, {})\n", list(words), list(variables))
}

/// Returns a Python list of bytes.
fn list(words: &[Vec<u8>]) -> String {
    let literals: Vec<String> = words.iter().map(|word| literal(word)).collect();
    format!("[{}]", literals.join(", "))
}

/// Returns bytes as Python writes them.
pub(super) fn literal(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_python_reads_them() {
        let words = [b"a\"'b\\".to_vec(), "\u{e4}\n\t\r".into(), vec![0, 1, 127, 255]];
        assert_eq!(
            source(&words, &[]),
            "import _sandglass\n_sandglass.enter([b\"a\\\"\\'b\\\\\", b\"\\xc3\\xa4\\n\\t\\r\", b\"\\x00\\x01\\x7f\\xff\"], [])\n"
        );
    }
}
