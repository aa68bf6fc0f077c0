//! The preview 1 programs of WebAssembly/wasi-testsuite, each on a fresh file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use wasmtime::{Config, Engine, Linker, Module, Store as WasmStore};

use super::super::{Wasi, WasiOptions, add_to_linker};
use super::{Printed, options, store, vfs};
use crate::limits::ProcExit;
use crate::vfs::Vfs;

const SUITE: &str = "SANDGLASS_WASI_TESTSUITE";

/// Programs that don't pass, and why; one that starts to pass must leave the list.
const EXPECTED_FAILURES: &[(&str, &str)] = &[];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Specification {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    root: Option<String>,
    exit_code: i32,
    stdout: Option<String>,
}

fn programs(suite: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for language in ["assemblyscript", "c", "rust"] {
        let directory = suite.join(format!("tests/{language}/testsuite/wasm32-wasip1"));
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Copies a directory of the suite into the file system.
fn copy(vfs: &mut Vfs, from: &Path, to: &str) {
    vfs.create_directory(to.as_bytes(), 0o755).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{to}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            copy(vfs, &entry.path(), &name);
        } else {
            vfs.write_file(name.as_bytes(), &std::fs::read(entry.path()).unwrap(), None).unwrap();
        }
    }
}

fn run(engine: &Engine, linker: &Linker<Wasi>, program: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(program.with_extension("json")).unwrap_or_else(|_| "{}".to_owned());
    let specification: Specification = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let (_directory, store) = store();
    let mut vfs = vfs(&store);
    if let Some(root) = &specification.root {
        copy(&mut vfs, &program.with_file_name(root), "/root");
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
    let stderr = String::from_utf8_lossy(&printed.1);
    if code != specification.exit_code {
        return Err(format!("exited with {code}: {stderr}"));
    }
    match specification.stdout {
        Some(expected) if expected.as_bytes() != printed.0 => {
            Err(format!("printed {:?}", String::from_utf8_lossy(&printed.0)))
        }
        _ => Ok(()),
    }
}

#[test]
fn the_published_suite_passes() {
    let Some(suite) = std::env::var_os(SUITE) else {
        println!("skipped: {SUITE} absent");
        return;
    };
    let mut config = Config::new();
    config.wasm_exceptions(true);
    let engine = Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut Wasi| wasi).unwrap();
    let programs = programs(Path::new(&suite));
    let mut passed = 0;
    let mut surprises = Vec::new();
    for program in &programs {
        let name = program.file_stem().unwrap().to_str().unwrap();
        let expected = EXPECTED_FAILURES.iter().find(|(listed, _)| *listed == name);
        match (run(&engine, &linker, program), expected) {
            (Ok(()), None) => passed += 1,
            (Ok(()), Some(_)) => surprises.push(format!("{name} passes and is listed as failing")),
            (Err(_), Some((_, reason))) => println!("{name}: fails as expected: {reason}"),
            (Err(error), None) => surprises.push(format!("{name}: {error}")),
        }
    }
    println!("wasi-testsuite preview 1: {passed} of {} passed", programs.len());
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
