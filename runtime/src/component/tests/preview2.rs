//! Wasmtime's own test programs of preview 2 (`crates/test-programs/src/bin/p2_*.rs`), as tools: those that ask for neither
//! sockets nor HTTP. Each is started as wasmtime's tests start it, and has to end as there.
//!
//! They are built for `wasm32-wasip1` and wrapped here; docs/conformance.md tells how.

use std::path::PathBuf;

use super::conformance::{Ended, Start, component, start, wasm_tools};
use super::{Trial, new_tool};
use crate::guest::End;
use crate::testsuite::Tally;
use sandglass_snapshots::Timestamp;

const PLACE: &str = "SANDGLASS_P2_PROGRAMS";

/// Programs that don't end as they do under wasmtime, and why; one that starts to must leave the list.
const EXPECTED_FAILURES: &[(&str, &str)] = &[
    ("p2_cli_directory_list", "the root of a sandbox has /dev besides what was put there"),
    ("p2_cli_env", "a program is always given HOME, LANG, PWD and TMPDIR"),
    ("p2_cli_multiple_preopens", "one directory is open from the start: the root"),
    ("p2_cli_stdin_eisdir", "standard input is the bytes that a call gives, never a directory"),
    ("p2_cli_stdout_epipe", "nobody closes the output of a tool before it ends"),
    ("p2_file_hardlink_across_perms", "no directory is open with fewer rights than another"),
    ("p2_file_rename_across_perms", "no directory is open with fewer rights than another"),
    ("p2_file_stream_not_permitted", "no directory is open with fewer rights than another"),
    ("p2_file_truncation_readonly", "no directory is open with fewer rights than another"),
];

/// How a program has to end.
enum Ends {
    Exits(i32),
    /// It traps, for a reason with this in it.
    Traps(&'static str),
    /// It prints this.
    Prints(&'static str),
    /// It leaves a file with this in it.
    Leaves(&'static str, &'static str),
    /// It goes on until it is stopped.
    Waits,
}
use Ends::{Exits, Leaves, Prints, Traps, Waits};

struct Program {
    name: &'static str,
    start: Start<'static>,
    ends: Ends,
}

const fn program(name: &'static str, ends: Ends) -> Program {
    Program { name, start: Start::NOTHING, ends }
}

impl Program {
    const fn args(mut self, args: &'static [&'static str]) -> Self {
        self.start.args = args;
        self
    }

    const fn env(mut self, env: &'static [(&'static str, &'static str)]) -> Self {
        self.start.env = env;
        self
    }

    const fn files(mut self, files: &'static [(&'static str, &'static str)]) -> Self {
        self.start.files = files;
        self
    }

    const fn stdin(mut self, stdin: &'static str) -> Self {
        self.start.stdin = stdin;
        self
    }

    const fn cwd(mut self, cwd: &'static str) -> Self {
        self.start.cwd = cwd;
        self
    }
}

const JABBERWOCKY: &str = "'Twas brillig, and the slithy toves.\n";
const MORE: &str = "'Twas brillig, and the slithy toves.\nDid gyre and gimble in the wabe;\nAll mimsy were the borogoves,\n\
                    And the mome raths outgrabe.\n";
const TUMTUM: &str = "So rested he by the Tumtum tree";

/// Left out, because they are about what a tool is never given or a host's own flags: `p2_api_*`, `p2_cli_hostcall_fuel`,
/// `p2_cli_invoke_async`, `p2_cli_many_resources`, `p2_cli_no_*`, `p2_cli_serve_*`, `p2_cli_http_headers`, `p2_http_*`, `p2_tcp_*`, `p2_udp_*`, `p2_tls_*`,
/// `p2_ip_name_lookup`.
const PROGRAMS: &[Program] = &[
    program("p2_adapter_badfd", Exits(0)),
    program("p2_clocks_zero_wait", Exits(0)),
    program("p2_cli_args", Exits(0)).args(&["hello", "this", "", "is an argument", "with \u{1f6a9} emoji"]),
    program("p2_cli_argv0", Exits(0)).args(&["program"]),
    program("p2_cli_default_clocks", Exits(0)),
    program("p2_cli_directory_list", Exits(0)).files(&[
        ("/foo.txt", ""),
        ("/bar.txt", ""),
        ("/baz.txt", ""),
        ("/sub/wow.txt", ""),
        ("/sub/yay.txt", ""),
    ]),
    program("p2_cli_env", Exits(0)).env(&[("frabjous", "day"), ("callooh", "callay")]),
    program("p2_cli_exit_default", Exits(0)),
    program("p2_cli_exit_failure", Exits(1)),
    program("p2_cli_exit_panic", Traps("unreachable")),
    program("p2_cli_exit_success", Exits(0)),
    program("p2_cli_exit_with_code", Exits(42)),
    program("p2_cli_export_cabi_realloc", Prints("hello, world\n")),
    program("p2_cli_file_append", Leaves("/bar.txt", MORE)).files(&[("/bar.txt", JABBERWOCKY)]),
    program("p2_cli_file_dir_sync", Exits(0)).files(&[("/bar.txt", JABBERWOCKY)]),
    program("p2_cli_file_read", Exits(0)).files(&[("/bar.txt", "And stood awhile in thought")]),
    program("p2_cli_hello_stdout", Prints("hello, world\n")),
    program("p2_cli_initial_cwd", Exits(0)).cwd("/sandbox"),
    program("p2_cli_large_env", Exits(0)).env(&[("A", MORE), ("B", MORE), ("C", MORE)]),
    program("p2_cli_max_resources", Exits(0)),
    program("p2_cli_much_stdout", Exits(0)).args(&["abcdefgh", "10000"]),
    program("p2_cli_multiple_preopens", Exits(0)),
    program("p2_cli_sleep", Exits(0)),
    program("p2_cli_sleep_forever", Waits),
    program(
        "p2_cli_splice_stdin",
        Prints("before splice\nSo rested he by the Tumtum tree\ncompleted splicing 31 bytes\n"),
    )
    .stdin(TUMTUM),
    program("p2_cli_stdin", Exits(0)).stdin(TUMTUM),
    program("p2_cli_stdin_eisdir", Exits(0)),
    program("p2_cli_stdin_empty", Exits(0)).stdin("not to be read"),
    program("p2_cli_stdio_write_flushes", Prints("> ")),
    program("p2_cli_stdout_epipe", Exits(0)),
    program("p2_file_hardlink_across_perms", Exits(0)),
    program("p2_file_read_write", Exits(0)),
    program("p2_file_rename_across_perms", Exits(0)),
    program("p2_file_stream_not_permitted", Exits(0)),
    program("p2_file_truncation_readonly", Exits(0)),
    program("p2_pollable_correct", Exits(0)),
    program("p2_pollable_traps", Traps("empty poll list")),
    program("p2_random", Exits(0)),
    program("p2_sleep", Exits(0)),
    program("p2_stream_pollable_correct", Exits(0)),
    program("p2_stream_pollable_traps", Traps("resource has children")),
];

fn judge(program: &Program, ended: &Ended) -> Result<(), String> {
    let said = || format!("{:?}\n{}{}", ended.end, ended.stdout, ended.stderr);
    let good = match (&program.ends, &ended.end) {
        (Exits(code), Some(End::Exited(found))) => code == found,
        (Traps(word), Some(End::Trapped(reason))) => reason.contains(word),
        (Prints(text), Some(End::Exited(0))) => ended.stdout == *text,
        (Leaves(path, text), Some(End::Exited(0))) => ended.file(path).as_deref() == Some(text.as_bytes()),
        (Waits, None) => true,
        _ => false,
    };
    if good { Ok(()) } else { Err(said()) }
}

#[test]
fn programs_of_preview_2_end_as_under_wasmtime() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        println!("skipped: {PLACE} absent");
        return;
    };
    let Some(wasm_tools) = wasm_tools() else { return };
    let trial = Trial::new();
    let mut tally = Tally::new(EXPECTED_FAILURES);
    for program in PROGRAMS {
        let path = place.join(format!("{}.wasm", program.name));
        let wasm = component(&wasm_tools, &path).unwrap();
        let outcome = match trial.tools.add(new_tool("program", wasm), Timestamp(1), "test") {
            Err(error) => Err(format!("refused: {error}")),
            Ok(_) => start(&trial, "program", &program.start).and_then(|ended| judge(program, &ended)),
        };
        tally.count(&path, outcome);
    }
    tally.end("wasmtime's programs of preview 2");
}
