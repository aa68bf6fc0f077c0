//! Sessions: an interpreter that goes on from call to call, and goes back, forks and restarts with its sandbox.

mod ends;
mod kill;
mod names;
mod pandas;

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::Server;

/// Runs code in a session and returns the call.
fn call(server: &Server, sandbox: &str, session: &str, code: &str) -> Value {
    let body = json!({ "tool": "python", "session": session, "arguments": { "code": code } });
    server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &body).ok(200)
}

/// Runs code that must end well, and returns its result.
fn result(server: &Server, sandbox: &str, session: &str, code: &str) -> String {
    let call = call(server, sandbox, session, code);
    assert_eq!(call["status"], "ok", "{code}: {call}");
    call["result"].as_str().unwrap_or_default().to_owned()
}

fn undo(server: &Server, sandbox: &str, steps: u64) {
    server.post(&format!("/v1/sandboxes/{sandbox}/undo"), &json!({ "steps": steps })).ok(200);
}

#[test]
fn a_session_goes_on_and_goes_back() {
    let server = Server::shared();
    server.create("session");
    let run = |code: &str| result(server, "session", "notes", code);
    let first = call(server, "session", "notes", "import json\nx = [1, 2]\ndef twice(n): return n * 2");
    assert_eq!((&first["session"], &first["result"]), (&json!("notes"), &Value::Null));
    assert_eq!(run("x.append(3); twice(len(x))"), "6");
    assert_eq!(run("_, x, __name__"), "(6, [1, 2, 3], '__main__')");
    assert_eq!(result(server, "session", "other", "'x' in dir()"), "False", "sessions share files alone");
    let failed = call(server, "session", "notes", "y = 1\n1 / 0");
    assert_eq!((failed["status"].as_str(), &failed["exit_code"]), (Some("error"), &json!(1)));
    let stderr = failed["stderr"].as_str().unwrap();
    assert!(stderr.contains("line 2, in <module>\n    1 / 0\n") && !stderr.contains("_sandglass"), "{stderr}");
    assert_eq!(run("y"), "1", "what ran before an exception stays");
    // The exception, `y`, and the other session are taken back, in this order; then the appended 3.
    undo(server, "session", 4);
    assert_eq!(run("x, 'y' in dir()"), "([1, 2, 3], False)");
    undo(server, "session", 2);
    assert_eq!(run("x"), "[1, 2]");
    let listed = server.get("/v1/sandboxes/session/sessions").ok(200);
    let [listed] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(
        (&listed["name"], &listed["guest"], &listed["tool"]),
        (&json!("notes"), &first["guest"], &json!("python"))
    );
    assert_eq!(listed["has_memory"], true);
    let logged = server.get(&format!("/v1/sandboxes/session/calls/{}", first["id"].as_str().unwrap())).ok(200);
    assert_eq!(logged["session"], "notes");
}

#[test]
fn open_files_environment_and_directory_last() {
    let server = Server::shared();
    server.create("session-files");
    let run = |code: &str| result(server, "session-files", "s", code);
    run(
        "import os\nf = open('log', 'w+'); f.write('abc'); f.flush()\nos.mkdir('d'); os.chdir('d'); os.environ['A'] = 'b'",
    );
    assert_eq!(run("os.getcwd(), os.environ['A'], f.tell()"), "('/workspace/d', 'b', 3)");
    run("f.write('def'); f.flush()");
    assert_eq!(server.call("session-files", "print(open('log').read())")["stdout"], "abcdef\n");
    // Another call moves the file: the descriptor follows it. One that removes it leaves an error, not another file's bytes.
    server.call("session-files", "import os; os.rename('log', 'moved')");
    assert_eq!(run("f.seek(0); f.read()"), "'abcdef'");
    server.call("session-files", "import os; os.remove('moved'); open('moved', 'w').write('other')");
    let lost = call(server, "session-files", "s", "f.seek(0); f.read()");
    assert!(lost["stderr"].as_str().unwrap().contains("Bad file descriptor"), "{lost}");
    undo(server, "session-files", 2);
    assert_eq!(run("f.seek(0); f.read()"), "'abcdef'", "the file is back, and the descriptor with it");
    // What can't be carried over is an error, never a wait.
    run("r, w = os.pipe()");
    let held = call(server, "session-files", "s", "os.read(r, 1)");
    assert!(held["stderr"].as_str().unwrap().contains("Bad file descriptor"), "{held}");
}

#[test]
fn an_end_leaves_session_and_files_as_they_were() {
    let server = Server::shared();
    let policy = json!({ "version": 1, "limits": { "cpu": "1s", "wall": "60s", "memory": "256MiB" } });
    server.post("/v1/sandboxes", &json!({ "name": "session-ends", "policy": policy })).ok(201);
    result(server, "session-ends", "s", "x = 1");
    for (code, status) in [
        ("open('f', 'w').write('x'); x = 2; raise SystemExit(3)", "error"),
        ("open('f', 'w').write('x'); x = 2; import os; os._exit(4)", "error"),
        ("open('f', 'w').write('x'); x = 2\nwhile True: pass", "limit"),
        ("open('f', 'w').write('x'); x = 2; b = bytearray(1 << 30)", "limit"),
        ("open('f', 'w').write('x'); x = 2; import time; time.sleep(100)", "timeout"),
    ] {
        // Only one that sleeps comes to its time: a busy machine takes long for its instructions.
        let timeout_ms = if status == "timeout" { 500 } else { 60_000 };
        let body = json!({ "tool": "python", "session": "s", "arguments": { "code": code }, "timeout_ms": timeout_ms });
        let ended = server.post("/v1/sandboxes/session-ends/calls", &body).ok(200);
        assert_eq!((ended["status"].as_str(), &ended["before"]), (Some(status), &ended["after"]), "{code}: {ended}");
        assert_eq!(result(server, "session-ends", "s", "import os; x, os.listdir()"), "(1, [])", "{code}");
    }
    // Cancelled from outside.
    let body = json!({ "tool": "python", "session": "s", "arguments": { "code": "x = 2\nprint('going', flush=True)\nwhile True: pass" } });
    let path = "/v1/sandboxes/session-ends/calls";
    let started = server.request("POST", path).header("prefer", "respond-async").json(&body).send().started();
    let id = started["id"].as_str().unwrap();
    server.wait_for_output("session-ends", id, "going");
    server.request("DELETE", &format!("{path}/{id}")).send().ok(202);
    assert_eq!(server.wait_for_call("session-ends", id)["status"], "cancelled");
    assert_eq!(result(server, "session-ends", "s", "x"), "1");
    // A dry run shows and leaves nothing.
    let body = json!({ "tool": "python", "session": "s", "arguments": { "code": "x += 1; x" }, "dry_run": true });
    assert_eq!(server.post(path, &body).ok(200)["result"], "2");
    assert_eq!(result(server, "session-ends", "s", "x"), "1");
}

/// What draws numbers at random, each time another one.
const DRAWS: [&str; 16] = [
    "random.random()",
    "random.getrandbits(64)",
    "random.SystemRandom().random()",
    "random.Random().random()",
    "tuple(random.sample(range(10**9), 3))",
    "random.randbytes(8)",
    "uuid.uuid1()",
    "uuid.uuid4()",
    "uuid.uuid6()",
    "uuid.uuid7()",
    "secrets.token_hex(8)",
    "secrets.randbelow(2**60)",
    "os.urandom(8)",
    "tempfile.mktemp()",
    "tempfile.mkstemp()[1]",
    "tempfile.mkdtemp()",
];

#[test]
fn forks_go_their_own_ways_and_draw_their_own_numbers() {
    const FORKS: usize = 64;
    let server = Server::shared();
    server.create("session-warm");
    let run = |code: &str| result(server, "session-warm", "s", code);
    // All have been used, so that what they have drawn ahead is in the memory that is copied.
    let draws = format!("({})", DRAWS.join(", "));
    run(&format!(
        "import os, random, uuid, secrets, tempfile\ntable = list(range(50_000)); {draws}; random.gauss(0, 1); random.seed(5)"
    ));
    let forks = server.post("/v1/sandboxes/session-warm/fork", &json!({ "count": FORKS })).ok(201);
    let draw = format!("print(*map(repr, {draws}), repr(random.gauss(0, 1)), sep='\\n')");
    let mut drawn = HashSet::new();
    for fork in forks["sandboxes"].as_array().unwrap() {
        let id = fork["id"].as_str().unwrap();
        let first = call(server, id, "s", &draw);
        drawn.extend(first["stdout"].as_str().unwrap().lines().map(str::to_owned));
        assert_eq!(result(server, id, "s", "table.append(1); len(table)"), "50001");
    }
    assert_eq!(drawn.len(), FORKS * (DRAWS.len() + 1), "clones draw different numbers");
    // What a restore brings back draws anew, too.
    let state = server.get("/v1/sandboxes/session-warm").ok(200)["state"].clone();
    assert_eq!(
        run("len(table), random.random()"),
        "(50000, 0.6229016948897019)",
        "nothing changes for the one they came from"
    );
    server.post("/v1/sandboxes/session-warm/restore", &json!({ "state": state })).ok(200);
    let again = call(server, "session-warm", "s", &draw);
    drawn.extend(again["stdout"].as_str().unwrap().lines().map(str::to_owned));
    assert_eq!(drawn.len(), (FORKS + 1) * (DRAWS.len() + 1));
}

#[test]
fn a_state_is_a_template() {
    let server = Server::shared();
    server.create("session-template");
    let warm =
        call(server, "session-template", "s", "import random, json\nrandom.seed(5)\ntable = list(range(50_000))");
    let made = |_| {
        let body = json!({ "from": { "state": warm["after"] } });
        let id = server.post("/v1/sandboxes", &body).ok(201)["id"].as_str().unwrap().to_owned();
        assert_eq!(result(server, &id, "s", "len(table), json.dumps(1)"), "(50000, '1')");
        result(server, &id, "s", "random.random()")
    };
    let drawn: HashSet<String> = (0..4).map(made).collect();
    assert_eq!(drawn.len(), 4, "each begins with numbers of its own");
    assert!(!drawn.contains("0.6229016948897019"), "and not with those of the template");
    let body = json!({ "name": "session-copy", "from": { "sandbox": "session-template" } });
    server.post("/v1/sandboxes", &body).ok(201);
    let listed = server.get("/v1/sandboxes/session-copy/sessions").ok(200);
    assert_eq!((&listed["items"][0]["name"], &listed["items"][0]["has_memory"]), (&json!("s"), &json!(true)));
    assert_eq!(result(server, "session-copy", "s", "len(table)"), "50000");
}

#[test]
fn all_memory_of_a_session_counts() {
    let server = Server::shared();
    server.create("session-memory");
    result(server, "session-memory", "s", "b = bytearray(range(256)) * (64 << 12)");
    // Meanwhile it is given an image of its own.
    for _ in 0..20 {
        let call = call(server, "session-memory", "s", "b[-1] ^= 1");
        assert!(call["usage"]["memory_peak_bytes"].as_u64().unwrap() > 80 << 20, "{call}");
    }
}

#[test]
fn what_a_call_did_not_read_is_not_for_the_next() {
    let server = Server::shared();
    server.create("session-stdin");
    let read = |stdin: &str| {
        let body = json!({ "tool": "python", "session": "s", "arguments": { "code": "input()", "stdin": stdin } });
        server.post("/v1/sandboxes/session-stdin/calls", &body).ok(200)["result"].clone()
    };
    assert_eq!(read("a\nleft\n"), "'a'");
    assert_eq!(read("b\n"), "'b'");
}

#[test]
fn sessions_survive_the_service() {
    let server = Server::start();
    server.create("session-kept");
    result(&server, "session-kept", "s", "import time; x = {}; f = open('log', 'w'); started = time.monotonic()");
    // Beyond a chain of changes: some of these images are whole.
    for turn in 0..40 {
        result(&server, "session-kept", "s", &format!("x[{turn}] = 'y' * {turn}; f.write('{turn} ')"));
    }
    let server = Server::start_over(server.kill());
    let run = |code: &str| result(&server, "session-kept", "s", code);
    assert_eq!(run("len(x), x[39] == 'y' * 39, time.monotonic() > started"), "(40, True, True)");
    assert_eq!(run("f.flush(); open('log').read().split() == [str(n) for n in range(40)]"), "True");
    undo(&server, "session-kept", 12);
    assert_eq!(run("len(x)"), "30");
    let data = server.stop();
    let server = Server::start_over(data);
    assert_eq!(result(&server, "session-kept", "s", "len(x)"), "30");
}

#[test]
fn what_can_have_no_session_says_so() {
    let server = Server::shared();
    server.create("session-refused");
    let path = "/v1/sandboxes/session-refused/calls";
    let ask = |body: Value| server.post(path, &body);
    let code = json!({ "code": "1" });
    ask(json!({ "tool": "python", "session": "", "arguments": code })).problem(422, "invalid_session");
    ask(json!({ "tool": "python", "session": "a/b", "arguments": code })).problem(422, "invalid_session");
    ask(json!({ "tool": "python", "session": "s", "arguments": { "argv": ["python3", "x.py"] } }))
        .problem(422, "invalid_argument");
    ask(json!({ "tool": "shell", "session": "s", "arguments": { "argv": ["ls"] } })).problem(422, "invalid_argument");
    assert_eq!(server.get("/v1/sandboxes/session-refused/sessions").ok(200)["items"], json!([]));
}
