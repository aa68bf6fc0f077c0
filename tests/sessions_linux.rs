//! Sessions of the shell and of JavaScript: they go on, go back, fork, restart and end as those of Python do.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::Server;

/// Seconds or milliseconds that no test waits for.
const FOR_EVER: &str = "1000000";

/// Runs code of a tool in a session and returns the call.
fn call(server: &Server, sandbox: &str, tool: &str, code: &str) -> Value {
    call_with(server, sandbox, tool, code, &json!({}))
}

/// Runs code in the session that has the tool's name, with more arguments.
fn call_with(server: &Server, sandbox: &str, tool: &str, code: &str, more: &Value) -> Value {
    let key = if tool == "shell" { "command" } else { "code" };
    let mut arguments = json!({ key: code });
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    // What waits for ever waits so long; everything else is over by then, or by its limit of processor time.
    let timeout_ms = if code.contains(FOR_EVER) { 500 } else { 60_000 };
    let body = json!({ "tool": tool, "session": tool, "arguments": arguments, "timeout_ms": timeout_ms });
    server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &body).ok(200)
}

/// Runs code that must end well; returns what it printed for the shell, the result for JavaScript.
fn run(server: &Server, sandbox: &str, tool: &str, code: &str) -> String {
    let call = call(server, sandbox, tool, code);
    assert_eq!(call["status"], "ok", "{code}: {call}");
    let key = if tool == "shell" { "stdout" } else { "result" };
    call[key].as_str().unwrap_or_default().trim_end().to_owned()
}

fn undo(server: &Server, sandbox: &str, steps: u64) {
    server.post(&format!("/v1/sandboxes/{sandbox}/undo"), &json!({ "steps": steps })).ok(200);
}

#[test]
fn a_shell_goes_on_and_goes_back() {
    let server = Server::shared();
    server.create("sh-session");
    let sh = |command: &str| run(server, "sh-session", "shell", command);
    sh(
        "x=1; export Y=exported; list=(a 'b c'); declare -A map=([k]=v); twice() { echo $(($1 * 2)); }; mkdir d; cd d; umask 027",
    );
    assert_eq!(
        sh(r#"echo "$x ${list[1]} ${map[k]} $(twice 21) $PWD $(pwd) $(umask) $(printenv Y)""#),
        "1 b c v 42 /workspace/d /workspace/d 0027 exported"
    );
    // The status of the last command is the call's, and `$?` of the next.
    let failed = call(server, "sh-session", "shell", "x=2; (exit 7)");
    assert_eq!((failed["status"].as_str(), &failed["exit_code"]), (Some("error"), &json!(7)), "{failed}");
    assert_eq!(sh("echo $? $x"), "7 2");
    sh("shopt -s expand_aliases extglob; set -o pipefail; alias hi='echo hello'");
    assert_eq!(sh("hi; set -o | grep pipefail; shopt extglob | cut -f2"), "hello\npipefail       \ton\non");
    let wrong = call(server, "sh-session", "shell", "if; then");
    assert_eq!(wrong["exit_code"], 2);
    assert!(wrong["stderr"].as_str().unwrap().starts_with("bash: -c: line 1: syntax error"), "{wrong}");
    assert_eq!(sh("echo $BASHPID $0 $# $x"), "1 bash 0 2", "no subshell, no words");
    undo(server, "sh-session", 8);
    assert_eq!(sh("echo \"${x-none} $PWD\"; type -t twice || echo no"), "none /workspace\nno");
}

#[test]
fn errors_end_the_turn_and_not_the_shell() {
    let server = Server::shared();
    server.create("sh-errors");
    let sh = |command: &str| run(server, "sh-errors", "shell", command);
    sh("f() { echo inside; false; echo never; }");
    let stopped = call(server, "sh-errors", "shell", "set -e; x=1; { f; } > out; x=2");
    assert_eq!((stopped["status"].as_str(), &stopped["exit_code"]), (Some("error"), &json!(1)), "{stopped}");
    assert_eq!(
        sh("echo $x; cat out; echo ${FUNCNAME-top}"),
        "1\ninside\ntop",
        "what ran stays, and output goes where it went"
    );
    assert!(call(server, "sh-errors", "shell", "false; echo never")["stdout"] == "", "the option stays");
    sh("set +e");
    for (command, status) in
        [("echo ${unset:?gone}; echo never", 127), ("set -u; echo $unset; echo never", 127), ("x=3; return 4", 2)]
    {
        let stopped = call(server, "sh-errors", "shell", command);
        assert_eq!((&stopped["exit_code"], &stopped["stdout"]), (&json!(status), &json!("")), "{command}: {stopped}");
    }
    assert_eq!(sh("echo $x"), "3");
}

#[test]
fn ends_of_a_shell_leave_session_and_files() {
    let server = Server::shared();
    let policy = json!({ "version": 1, "limits": { "cpu": "1s", "wall": "60s", "memory": "256MiB" } });
    server.post("/v1/sandboxes", &json!({ "name": "sh-ends", "policy": policy })).ok(201);
    run(server, "sh-ends", "shell", "x=1; trap 'echo bye' EXIT");
    for (command, status) in [
        ("x=2; touch f; exit 3", "error"),
        ("x=2; touch f; exec true", "error"),
        ("x=2; touch f; kill -9 $$", "error"),
        ("x=2; touch f; while :; do :; done", "limit"),
        ("x=2; touch f; sleep 1000000", "timeout"),
    ] {
        let ended = call(server, "sh-ends", "shell", command);
        assert_eq!((ended["status"].as_str(), &ended["before"]), (Some(status), &ended["after"]), "{command}: {ended}");
        assert_eq!(run(server, "sh-ends", "shell", "echo $x; ls"), "1", "{command}");
    }
    let ended = call(server, "sh-ends", "shell", "exit 5");
    assert_eq!(
        (&ended["exit_code"], &ended["stdout"]),
        (&json!(5), &json!("bye\n")),
        "the trap is kept, and runs at an end"
    );
    // A dry run shows and leaves nothing.
    let body =
        json!({ "tool": "shell", "session": "shell", "arguments": { "command": "x=9; echo $x" }, "dry_run": true });
    assert_eq!(server.post("/v1/sandboxes/sh-ends/calls", &body).ok(200)["stdout"], "9\n");
    assert_eq!(run(server, "sh-ends", "shell", "echo $x"), "1");
    // Cancelled from outside.
    let body = json!({ "tool": "shell", "session": "shell", "arguments": { "command": "x=2; echo going; while :; do sleep 1; done" } });
    let path = "/v1/sandboxes/sh-ends/calls";
    let started = server.request("POST", path).header("prefer", "respond-async").json(&body).send().started();
    let id = started["id"].as_str().unwrap();
    server.wait_for_output("sh-ends", id, "going");
    server.request("DELETE", &format!("{path}/{id}")).send().ok(202);
    assert_eq!(server.wait_for_call("sh-ends", id)["status"], "cancelled");
    assert_eq!(run(server, "sh-ends", "shell", "echo $x"), "1");
}

#[test]
fn open_files_of_a_shell_last() {
    let server = Server::shared();
    server.create("sh-files");
    let sh = |command: &str| run(server, "sh-files", "shell", command);
    sh("printf 'one\\ntwo\\nthree\\n' > lines; exec 3< lines 4>> log 5>&4 6>&1; read -u 3 first");
    assert_eq!(sh("read -u 3 second; echo $first $second >&6; echo a >&4; echo b >&5"), "one two");
    assert_eq!(server.call("sh-files", "print(open('log').read())")["stdout"], "a\nb\n\n");
    // Another call moves the file: the descriptor follows it. One that removes it leaves an error, not another file's bytes.
    server.call("sh-files", "import os; os.rename('lines', 'moved')");
    assert_eq!(sh("read -u 3 third; echo $third"), "three");
    server.call("sh-files", "import os; os.remove('log'); open('log', 'w').write('other')");
    let lost = call(server, "sh-files", "shell", "echo c >&4");
    assert!(lost["stderr"].as_str().unwrap().contains("Bad file descriptor"), "{lost}");
    assert_eq!(sh("exec 7< log; cat <&7"), "other", "a number that is lost is no other file's");
    // What the whole shell writes to a file, it goes on writing there.
    sh("exec > all");
    sh("echo quiet");
    assert_eq!(server.call("sh-files", "print(open('all').read())")["stdout"], "quiet\n\n");
    // Where it is gone back to.
    undo(server, "sh-files", 6);
    assert_eq!(sh("echo d >&4; cat log"), "a\nb\nd");
    // A coprocess does not live on, and nobody waits for it.
    sh("coproc cat");
    let held = call(server, "sh-files", "shell", "read -u ${COPROC[0]:-99} line");
    assert_ne!(held["exit_code"], 0, "{held}");
}

#[test]
fn javascript_goes_on_and_goes_back() {
    let server = Server::shared();
    server.create("js-session");
    let js = |code: &str| run(server, "js-session", "javascript", code);
    let first = call(
        server,
        "js-session",
        "javascript",
        "let x = [1, 2]; const fs = require('fs'); function twice(n) { return n * 2 } class A {}",
    );
    assert_eq!((&first["status"], &first["result"]), (&json!("ok"), &Value::Null), "{first}");
    assert_eq!(js("x.push(3); twice(x.length)"), "6");
    assert_eq!(js("[_, x, new A(), typeof fs.readFileSync]"), "[ 6, [ 1, 2, 3 ], A {}, 'function' ]");
    assert_eq!(js("let x = 'again'; const twice = 2; x + twice"), "'again2'", "names may be declared again");
    assert_eq!(js("{ a: 1, b: [2] }"), "{ a: 1, b: [ 2 ] }");
    assert_eq!(js("const later = await new Promise((done) => setTimeout(() => done(41), 5)); later + 1"), "42");
    assert_eq!(js("import path, { join as j } from 'node:path';\nj('a', 'b') + path.sep + later"), "'a/b/41'");
    let failed = call(server, "js-session", "javascript", "var y = 1;\nthrow new TypeError('no')");
    assert_eq!((failed["status"].as_str(), &failed["exit_code"]), (Some("error"), &json!(1)));
    let stderr = failed["stderr"].as_str().unwrap();
    assert!(stderr.contains("TypeError: no\n    at [turn 8]:2:") && stderr.contains("throw new TypeError"), "{stderr}");
    assert_eq!(js("y"), "1", "what ran before an exception stays");
    let rejected =
        call(server, "js-session", "javascript", "setInterval(() => {}, 1); Promise.reject(new Error('late'))");
    assert!(rejected["stderr"].as_str().unwrap().contains("Error: late"), "{rejected}");
    assert_eq!(
        js("fs.writeFileSync('m.js', 'exports.n = 7'); fs.mkdirSync('d'); process.chdir('d'); require('./m').n"),
        "7"
    );
    assert_eq!(js("process.cwd() + ' ' + (await import('../m.js')).n"), "'/workspace/d 7'");
    undo(server, "js-session", 9);
    assert_eq!(js("[x, typeof y, process.cwd()]"), "[ [ 1, 2, 3 ], 'undefined', '/workspace' ]");
}

#[test]
fn ends_of_javascript_leave_session_and_files() {
    let server = Server::shared();
    let policy = json!({ "version": 1, "limits": { "cpu": "1s", "wall": "60s", "memory": "256MiB" } });
    server.post("/v1/sandboxes", &json!({ "name": "js-ends", "policy": policy })).ok(201);
    run(server, "js-ends", "javascript", "let x = 1; const fs = require('fs')");
    for (code, status) in [
        ("x = 2; fs.writeFileSync('f', ''); process.exit(3)", "error"),
        ("x = 2; fs.writeFileSync('f', ''); for (;;);", "limit"),
        ("x = 2; fs.writeFileSync('f', ''); const all = []; for (;;) all.push(new Uint8Array(1 << 24))", "limit"),
        ("x = 2; fs.writeFileSync('f', ''); await new Promise((done) => setTimeout(done, 1000000))", "timeout"),
    ] {
        let ended = call(server, "js-ends", "javascript", code);
        assert_eq!((ended["status"].as_str(), &ended["before"]), (Some(status), &ended["after"]), "{code}: {ended}");
        assert_eq!(run(server, "js-ends", "javascript", "[x, fs.readdirSync('.')]"), "[ 1, [] ]", "{code}");
    }
    // Files that are open, variables that a call gives, and its standard input.
    run(
        server,
        "js-ends",
        "javascript",
        "let fd = fs.openSync('log', 'w+'); fs.writeSync(fd, 'abc'); let r = fs.readFileSync",
    );
    assert_eq!(run(server, "js-ends", "javascript", "fs.writeSync(fd, 'def'); r('log', 'utf8')"), "'abcdef'");
    let more = json!({ "env": { "GIVEN": "yes" }, "stdin": "typed", "cwd": "/tmp" });
    let read = "[process.env.GIVEN, r(0, 'utf8'), process.cwd()]";
    assert_eq!(call_with(server, "js-ends", "javascript", read, &more)["result"], "[ 'yes', 'typed', '/tmp' ]");
    assert_eq!(run(server, "js-ends", "javascript", "[process.env.GIVEN, fd > 2]"), "[ 'yes', true ]");
}

#[test]
fn forks_of_other_sessions_draw_their_own_numbers() {
    let server = Server::shared();
    server.create("warm-others");
    run(server, "warm-others", "shell", "RANDOM=5; n=0; mktemp -u > /dev/null");
    run(server, "warm-others", "javascript", "let n = 0; Math.random(); const crypto = require('crypto')");
    let forks = server.post("/v1/sandboxes/warm-others/fork", &json!({ "count": 16 })).ok(201);
    let mut drawn = HashSet::new();
    for fork in forks["sandboxes"].as_array().unwrap() {
        let id = fork["id"].as_str().unwrap();
        assert_eq!(run(server, id, "shell", "((n += 1)); echo $n"), "1");
        drawn.insert(run(server, id, "shell", "echo $RANDOM$RANDOM$RANDOM"));
        drawn.insert(run(server, id, "shell", "mktemp -u"));
        assert_eq!(run(server, id, "javascript", "++n"), "1");
        drawn.insert(run(server, id, "javascript", "Math.random()"));
        drawn.insert(run(server, id, "javascript", "crypto.randomUUID()"));
    }
    assert_eq!(drawn.len(), 16 * 4, "clones draw different numbers: {drawn:?}");
    assert_eq!(run(server, "warm-others", "javascript", "n"), "0");
    // Fresh programs begin with one image, and draw different numbers, too.
    let fresh = || {
        let body = json!({ "tool": "javascript", "arguments": { "code": "console.log(Math.random())" } });
        server.post("/v1/sandboxes/warm-others/calls", &body).ok(200)["stdout"].as_str().unwrap().to_owned()
    };
    assert_ne!(fresh(), fresh());
}

#[test]
fn other_sessions_survive_the_service() {
    let server = Server::start();
    server.create("others-kept");
    run(&server, "others-kept", "shell", "declare -A seen; cd /tmp; f() { echo f; }; exec 3> /workspace/log");
    run(&server, "others-kept", "javascript", "const seen = new Map(); const started = process.hrtime.bigint()");
    for turn in 0..40 {
        run(&server, "others-kept", "shell", &format!("seen[{turn}]=$(f); echo {turn} >&3"));
        run(&server, "others-kept", "javascript", &format!("seen.set({turn}, 'y'.repeat({turn}))"));
    }
    let server = Server::start_over(server.kill());
    let check = "echo ${#seen[@]} ${seen[39]} $PWD; echo end >&3; wc -l < /workspace/log";
    assert_eq!(run(&server, "others-kept", "shell", check), "40 f /tmp\n41");
    let check = "[seen.size, seen.get(39).length, process.hrtime.bigint() > started]";
    assert_eq!(run(&server, "others-kept", "javascript", check), "[ 40, 39, true ]");
    // A session is one tool's.
    let body = json!({ "tool": "python", "session": "shell", "arguments": { "code": "1" } });
    server.post("/v1/sandboxes/others-kept/calls", &body).problem(409, "session_of_another_tool");
    let data = server.stop();
    let server = Server::start_over(data);
    undo(&server, "others-kept", 20);
    assert_eq!(run(&server, "others-kept", "shell", "echo ${#seen[@]}"), "31");
    assert_eq!(run(&server, "others-kept", "javascript", "seen.size"), "31");
}
