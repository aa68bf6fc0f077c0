//! The preview 1 programs of WebAssembly/wasi-testsuite, each on a fresh file system.

use std::path::Path;
use std::sync::Arc;

use wasmtime::{Config, Engine, Linker, Module, Store as WasmStore};

use super::super::{Wasi, WasiOptions, add_to_linker};
use super::{Printed, options, store, vfs};
use crate::limits::ProcExit;
use crate::testsuite::{self, Specification, Tally};

/// Programs that don't pass, and why; one that starts to pass must leave the list.
const EXPECTED_FAILURES: &[(&str, &str)] = &[];

fn run(engine: &Engine, linker: &Linker<Wasi>, program: &Path) -> Result<(), String> {
    let specification = Specification::of(program);
    let (_directory, store) = store();
    let mut vfs = vfs(&store);
    if let Some(root) = &specification.root {
        vfs.create_directory(b"/root", 0o755).unwrap();
        testsuite::copy(&mut vfs, &program.with_file_name(root), "/root");
    }
    let output = Arc::new(Printed::default());
    let mut args = vec![b"test.wasm".to_vec()];
    args.extend(specification.args.iter().map(|arg| arg.clone().into_bytes()));
    let env = specification.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
    let mut wasi = super::wasi(vfs, &output, WasiOptions { args, env, ..options() });
    if specification.root.is_some() {
        wasi.open_from_start(b"/root", b"/").unwrap();
    }
    let module = Module::from_file(engine, program).map_err(|error| error.to_string())?;
    let mut wasm = WasmStore::new(engine, wasi);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ended = runtime.block_on(async {
        let instance = linker.instantiate_async(&mut wasm, &module).await?;
        instance.get_typed_func::<(), ()>(&mut wasm, "_start")?.call_async(&mut wasm, ()).await
    });
    let code = match ended {
        Ok(()) => 0,
        Err(error) => match error.downcast_ref::<ProcExit>() {
            Some(ProcExit(code)) => *code,
            None => return Err(format!("{error:#}")),
        },
    };
    let printed = output.streams.lock().unwrap();
    specification.check(code, &printed.0, &printed.1)
}

#[test]
fn the_published_suite_passes() {
    let Some(suite) = testsuite::place() else { return };
    let mut config = Config::new();
    config.wasm_exceptions(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut Wasi| wasi).unwrap();
    let mut tally = Tally::new(EXPECTED_FAILURES);
    for program in testsuite::programs(&suite, &["assemblyscript", "c", "rust"], "wasm32-wasip1") {
        tally.count(&program, run(&engine, &linker, &program));
    }
    tally.end("wasi-testsuite preview 1");
}
