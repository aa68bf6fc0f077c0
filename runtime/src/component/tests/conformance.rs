//! The programs of WebAssembly/wasi-testsuite as uploads: those of preview 1 wrapped into components of preview 2 by the
//! adapter that everybody uses, each called as a tool over a fresh file system; those of preview 3 refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandglass_snapshots::{Quota, Timestamp};
use serde_json::json;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;

use super::{Trial, new_tool};
use crate::clock::SystemClock;
use crate::component::Surroundings;
use crate::entropy::SeededEntropy;
use crate::guest::{End, RunLimits};
use crate::testsuite::{self, Specification, Tally};
use crate::vfs::Vfs;
use crate::wasi::{Output, Stream};

const WASM_TOOLS: &str = "SANDGLASS_WASM_TOOLS";

/// Programs of preview 1 that don't pass as components, and why; one that starts to pass must leave the list.
const EXPECTED_FAILURES: &[(&str, &str)] = &[
    ("args_get-multiple-arguments", "the adapter finds its own memory overwritten by the program, and gives up"),
    ("environ_get-multiple-variables", "the adapter finds its own memory overwritten by the program, and gives up"),
    ("environ_sizes_get-multiple-variables", "a program is always given HOME, LANG, PWD and TMPDIR"),
    ("environ_sizes_get-no-variables", "a program is always given HOME, LANG, PWD and TMPDIR"),
    ("fd_write-to-invalid-fd", "the adapter answers EIO to a program that does not let it have a stack"),
    ("proc_exit-failure", "preview 2 knows whether a program failed, not its exit code"),
    ("sock_shutdown-invalid_fd", "the adapter has no sockets of preview 1"),
];

/// Until when a program that waits has to have ended.
const TIME_MAX: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Printed(Mutex<(Vec<u8>, Vec<u8>)>);

impl Output for Printed {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut streams = self.0.lock().unwrap();
        match stream {
            Stream::Stdout => streams.0.extend_from_slice(bytes),
            Stream::Stderr => streams.1.extend_from_slice(bytes),
        }
    }
}

/// What a program is started with.
pub(super) struct Start<'a> {
    pub(super) args: &'a [&'a str],
    pub(super) env: &'a [(&'a str, &'a str)],
    pub(super) files: &'a [(&'a str, &'a str)],
    /// A directory of the host whose content is in the root.
    pub(super) root: Option<&'a Path>,
    pub(super) stdin: &'a str,
    pub(super) cwd: &'a str,
}

impl Start<'_> {
    pub(super) const NOTHING: Self =
        Start { args: &[], env: &[], files: &[], root: None, stdin: "", cwd: "/workspace" };
}

/// How a program ended, if it did in time.
pub(super) struct Ended {
    pub(super) end: Option<End>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    files: Mutex<Option<Vfs>>,
}

impl Ended {
    /// Reads what it left in a file.
    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        let mut files = self.files.lock().unwrap();
        let vfs = files.as_mut()?;
        vfs.read_range(path.as_bytes(), 0, 1 << 20).ok().map(|bytes| bytes.to_vec())
    }
}

/// Wraps a program of preview 1 into a component.
pub(super) fn component(wasm_tools: &Path, program: &Path) -> Result<Vec<u8>, String> {
    let scratch = tempfile::tempdir().unwrap();
    let (adapter, made) = (scratch.path().join("adapter.wasm"), scratch.path().join("component.wasm"));
    std::fs::write(&adapter, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER).unwrap();
    let mut adapt = OsString::from("wasi_snapshot_preview1=");
    adapt.push(&adapter);
    let run = Command::new(wasm_tools)
        .args(["component", "new"])
        .arg(program)
        .arg("--adapt")
        .arg(adapt)
        .arg("-o")
        .arg(&made)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", wasm_tools.display()));
    if !run.status.success() {
        return Err(format!("it can't be wrapped: {}", String::from_utf8_lossy(&run.stderr)));
    }
    std::fs::read(made).map_err(|error| error.to_string())
}

/// Returns where the program `wasm-tools` is, or says that a test is skipped.
pub(super) fn wasm_tools() -> Option<PathBuf> {
    let place = std::env::var_os(WASM_TOOLS).map(PathBuf::from);
    if place.is_none() {
        println!("skipped: {WASM_TOOLS} absent");
    }
    place
}

/// Calls a tool that is a program.
pub(super) fn start(trial: &Trial, tool: &str, with: &Start<'_>) -> Result<Ended, String> {
    let quota = Quota { bytes: 1 << 40, inodes: 1_000_000 };
    let files = |transaction| Vfs::new(transaction, Vec::new(), Arc::new(SystemClock::new())).unwrap();
    let mut vfs = files(trial.store.begin_empty(Vec::new(), quota));
    if let Some(root) = with.root {
        testsuite::copy(&mut vfs, root, "");
    }
    for (path, text) in with.files {
        vfs.write_file(path.as_bytes(), text.as_bytes(), None).unwrap();
    }
    let output = Arc::new(Printed::default());
    let surroundings = Surroundings {
        mounts: Vec::new(),
        limits: RunLimits { fuel: 100_000_000_000, memory_bytes: 1 << 30, output_bytes: 1 << 20, open_files: 256 },
        output: Arc::clone(&output) as Arc<dyn Output>,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let env: BTreeMap<_, _> = with.env.iter().copied().collect();
    let arguments = json!({ "argv": with.args, "env": env, "stdin": with.stdin, "cwd": with.cwd });
    let call = trial.tools.call(tool, &arguments, None).map_err(|error| error.to_string())?.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ready = trial.tools.load(&call).map_err(|error| error.to_string())?;
    let work = ready.run(Arc::new(arguments), vfs.into_transaction(), surroundings);
    let ran = runtime.block_on(async { tokio::time::timeout(TIME_MAX, work).await });
    let printed = output.0.lock().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut ended = Ended { end: None, stdout: text(&printed.0), stderr: text(&printed.1), files: Mutex::default() };
    if let Ok(ran) = ran {
        let ran = ran.map_err(|error| error.to_string())?;
        ended.end = Some(ran.end);
        ended.files = Mutex::new(ran.transaction.map(files));
    }
    Ok(ended)
}

fn run(trial: &Trial, wasm_tools: &Path, program: &Path) -> Result<(), String> {
    let specification = Specification::of(program);
    let new = new_tool("program", component(wasm_tools, program)?);
    trial.tools.add(new, Timestamp(1), "test").map_err(|error| format!("refused: {error}"))?;
    let args: Vec<_> = specification.args.iter().map(String::as_str).collect();
    let env: Vec<_> = specification.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let root = specification.root.as_ref().map(|root| program.with_file_name(root));
    let with = Start { args: &args, env: &env, root: root.as_deref(), ..Start::NOTHING };
    let ended = start(trial, "program", &with)?;
    match ended.end {
        Some(End::Exited(code)) => specification.check(code, ended.stdout.as_bytes(), ended.stderr.as_bytes()),
        end => Err(format!("{end:?}: {}", ended.stderr)),
    }
}

#[test]
fn the_published_suite_passes_as_components() {
    let (Some(suite), Some(wasm_tools)) = (testsuite::place(), wasm_tools()) else { return };
    let trial = Trial::new();
    let mut tally = Tally::new(EXPECTED_FAILURES);
    for program in testsuite::programs(&suite, &["assemblyscript", "c", "rust"], "wasm32-wasip1") {
        tally.count(&program, run(&trial, &wasm_tools, &program));
    }
    tally.end("wasi-testsuite preview 1, as components of preview 2");
}

/// A component of preview 3 is asynchronous through and through: it is refused in words, and nothing of it stays.
#[test]
fn programs_of_preview_3_are_refused() {
    let Some(suite) = testsuite::place() else { return };
    let trial = Trial::new();
    let mut tally = Tally::new(&[]);
    for program in testsuite::programs(&suite, &["rust"], "wasm32-wasip3") {
        let wasm = std::fs::read(&program).unwrap();
        let outcome = match trial.tools.add(new_tool("program", wasm), Timestamp(1), "test") {
            Ok(_) => Err("it became a tool".to_owned()),
            Err(error) if error.to_string().contains("it is a component of preview 3") => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        tally.count(&program, outcome);
        assert!(trial.files().is_empty(), "{:?}", trial.files());
    }
    tally.end("wasi-testsuite preview 3, refused");
}
