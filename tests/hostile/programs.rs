//! Hostile programs in WebAssembly itself: what no language in between softens.

use std::fmt::Write as _;

use super::guests::{Guest, LIMIT, OK, SHORT, TIMEOUT, TRAPPED, USUAL, What};

const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// Opens the new file `partial` of `/workspace` or `/`, whichever is the first directory, as the descriptor that lies at 128.
const OPEN: &str = r#"(data (i32.const 64) "tmp/partial")
    (func $open
        (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 11) (i32.const 1)
                (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 128))
            (then (call $exit (i32.const 9)))))"#;

/// A program with a memory of so many pages that does this.
fn program(pages: u32, more: &str, body: &str) -> String {
    format!(r#"(module {IMPORTS} (memory (export "memory") {pages}) {more} (func (export "_start") {body}))"#)
}

fn forever(pages: u32, more: &str, body: &str) -> String {
    program(pages, more, &format!("(loop $again {body} (br $again))"))
}

/// Functions without end: compiling is what costs.
fn many_functions() -> String {
    let mut functions = String::new();
    for number in 0..100_000 {
        write!(functions, "(func (result i32) (i32.const {number}))").unwrap();
    }
    program(1, &functions, "")
}

/// Jump tables into nested blocks: what compilers take long for.
fn jump_tables() -> String {
    let mut functions = String::new();
    for _ in 0..8 {
        let targets: String = (0..20_000).map(|number| format!("{} ", number % 500)).collect();
        let (open, close) = ("(block ".repeat(500), ")".repeat(500));
        write!(functions, "(func (param i32) {open} (br_table {targets} (local.get 0)) {close})").unwrap();
    }
    program(1, &functions, "")
}

fn data_segments() -> String {
    program(1, &r#"(data (i32.const 0) "x")"#.repeat(90_000), "")
}

/// A function with all the locals that a function may have, which calls itself.
fn giant_locals() -> String {
    let locals = "i64 ".repeat(40_000);
    let deep = format!(
        "(func $deep (param i64) (result i64) (local {locals}) (local.set 39000 (local.get 0))
            (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 39000)))"
    );
    program(1, &deep, "(drop (call $deep (i64.const 0)))")
}

/// Subscriptions to one clock, 48 bytes each, and room for the events.
fn many_subscriptions() -> String {
    program(1300, "", "(drop (call $poll (i32.const 0) (i32.const 50000000) (i32.const 1000000) (i32.const 80)))")
}

/// A million times the same 64 KiB in one write.
fn long_write(fd: &str) -> String {
    let body = format!(
        "(local $at i32)
        (loop $next
            (i32.store (i32.add (local.get $at) (i32.const 65536)) (i32.const 0))
            (i32.store (i32.add (local.get $at) (i32.const 65540)) (i32.const 65536))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 8000000))))
        (call $open)
        (drop (call $fd_write {fd} (i32.const 65536) (i32.const 1000000) (i32.const 8)))"
    );
    program(200, OPEN, &body)
}

/// Waits for the clock at this time in nanoseconds.
fn sleep(nanoseconds: &str) -> String {
    format!(
        "(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const {nanoseconds}))
        (drop (call $poll (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 80)))"
    )
}

pub(super) fn all() -> Vec<Guest> {
    let rows: Vec<(&str, String, &str, &[&str])> = vec![
        ("wat-loop", forever(1, "", ""), USUAL, LIMIT),
        (
            "wat-loop-at-start",
            program(1, "(func $endless (loop $again (br $again))) (start $endless)", ""),
            USUAL,
            LIMIT,
        ),
        ("wat-trap-at-start", program(1, "(func $no unreachable) (start $no)", ""), USUAL, TRAPPED),
        ("wat-grow", forever(1, "", "(drop (memory.grow (i32.const 16)))"), USUAL, LIMIT),
        (
            "wat-fill",
            forever(1000, "", "(memory.fill (i32.const 0) (i32.const 7) (i32.const 65536000))"),
            USUAL,
            LIMIT,
        ),
        (
            "wat-copy",
            forever(1000, "", "(memory.copy (i32.const 0) (i32.const 1) (i32.const 65535999))"),
            USUAL,
            LIMIT,
        ),
        (
            "wat-table-grow",
            forever(1, "(table $t 1 funcref)", "(drop (table.grow $t (ref.null func) (i32.const 10000)))"),
            USUAL,
            LIMIT,
        ),
        ("wat-large-memory", program(65536, "", ""), USUAL, LIMIT),
        ("wat-large-table", program(1, "(table 9000000 funcref)", ""), USUAL, OK),
        ("wat-deep", program(1, "(func $deep (call $deep))", "(call $deep)"), USUAL, TRAPPED),
        (
            "wat-deep-indirect",
            program(
                1,
                "(table funcref (elem $a $b)) (func $a (call_indirect (i32.const 1))) (func $b (call_indirect (i32.const 0)))",
                "(call $a)",
            ),
            USUAL,
            TRAPPED,
        ),
        ("wat-giant-locals", giant_locals(), USUAL, TRAPPED),
        ("wat-functions", many_functions(), USUAL, OK),
        ("wat-jump-tables", jump_tables(), USUAL, OK),
        ("wat-data-segments", data_segments(), USUAL, OK),
        ("wat-divide", program(1, "", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"), USUAL, TRAPPED),
        ("wat-wild-load", program(1, "", "(drop (i32.load (i32.const -4)))"), USUAL, TRAPPED),
        (
            "wat-partial-write",
            program(
                1,
                OPEN,
                "(call $open) (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 11))
                (if (call $fd_write (i32.load (i32.const 128)) (i32.const 0) (i32.const 1) (i32.const 8))
                    (then (call $exit (i32.const 8))))
                (unreachable)",
            ),
            USUAL,
            TRAPPED,
        ),
        (
            "wat-truncate",
            program(
                1,
                OPEN,
                "(call $open) (drop (call $fd_set_size (i32.load (i32.const 128)) (i64.const 0x7fffffffffffffff)))",
            ),
            USUAL,
            LIMIT,
        ),
        ("wat-long-write", long_write("(i32.load (i32.const 128))"), USUAL, LIMIT),
        ("wat-long-output", long_write("(i32.const 1)"), USUAL, LIMIT),
        ("wat-wild-write", program(1, "", "(drop (call $fd_write (i32.const 1) (i32.const -8) (i32.const -1) (i32.const -1)))"), USUAL, OK),
        ("wat-random", forever(1000, "", "(drop (call $random_get (i32.const 0) (i32.const 65536000)))"), USUAL, LIMIT),
        ("wat-random-4gib", program(1, "", "(drop (call $random_get (i32.const 0) (i32.const -1)))"), USUAL, OK),
        ("wat-poll-busy", forever(1, "", &sleep("0")), USUAL, LIMIT),
        ("wat-poll-many", many_subscriptions(), USUAL, OK),
        ("wat-sleep", program(1, "", &sleep("-1")), SHORT, TIMEOUT),
        ("wat-clock", forever(1, "", "(drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8)))"), USUAL, LIMIT),
        (
            "wat-renumber",
            program(1, OPEN, "(call $open) (loop $again (drop (call $fd_renumber (i32.load (i32.const 128)) (i32.const 5)))
                (drop (call $fd_renumber (i32.const 5) (i32.load (i32.const 128)))) (br $again))"),
            USUAL,
            LIMIT,
        ),
        ("wat-open", forever(1, OPEN, "(call $open)"), USUAL, LIMIT),
        ("wat-output", forever(1, "", "(i32.store (i32.const 4) (i32.const 1)) (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))"), USUAL, LIMIT),
    ];
    rows.into_iter().map(|(name, wat, limits, ends)| Guest { name, what: What::Program(wat), limits, ends }).collect()
}
