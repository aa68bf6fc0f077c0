//! Every limit ends its call with its own status and message, leaves the state, and disturbs nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Server;

/// What the service promises its other users while a hostile guest runs; generous to a busy test machine, since what is
/// looked for are seconds of silence.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

/// Runs `code` under `limits` while others ask for health and files; returns the call and the slowest of the answers.
fn hostile(server: &Server, name: &str, limits: &Value, code: &str) -> (Value, Duration) {
    let policy = json!({ "version": 1, "limits": limits });
    server.post("/v1/sandboxes", &json!({ "name": name, "policy": policy })).ok(201);
    server.put_file(name, "/workspace/kept.txt", b"kept");
    let before = server.get(&format!("/v1/sandboxes/{name}")).ok(200);
    let done = AtomicBool::new(false);
    let (call, slowest) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                server.get("/healthz").ok(200);
                server.get(&format!("/v1/sandboxes/{name}/files/workspace/kept.txt")).ok_bytes(200);
                slowest = slowest.max(start.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            slowest
        });
        let call = server.call(name, code);
        done.store(true, Ordering::Relaxed);
        (call, watcher.join().unwrap())
    });
    let after = server.get(&format!("/v1/sandboxes/{name}")).ok(200);
    assert_eq!(before["state"], after["state"], "{name}: {call}");
    assert_eq!(call["before"], call["after"], "{name}");
    let next = server.call(name, "print(open('/workspace/kept.txt').read())");
    assert_eq!((next["status"].as_str(), next["stdout"].as_str()), (Some("ok"), Some("kept\n")), "{name}: {next}");
    (call, slowest)
}

fn check(name: &str, limits: &Value, code: &str, status: &str, word: &str) {
    let server = Server::shared();
    let (call, slowest) = hostile(server, name, limits, code);
    assert_eq!(call["status"], status, "{call}");
    let message = call["message"].as_str().unwrap_or_default();
    assert!(message.contains(word), "{name}: `{message}` does not say {word}");
    eprintln!("{name}: slowest answer to others {slowest:?}");
    assert!(slowest < ANSWER_WITHIN * server.patience(), "{name}: others waited {slowest:?}");
}

#[test]
fn an_endless_loop_runs_out_of_cpu() {
    check("loop-cpu", &json!({ "cpu": "1s" }), "while True: pass", "limit", "limits.cpu");
}

#[test]
fn an_endless_loop_runs_out_of_time() {
    check("loop-wall", &json!({ "wall": "500ms", "cpu": "1h" }), "while True: pass", "timeout", "limits.wall");
}

#[test]
fn a_sleep_runs_out_of_time() {
    check("sleep", &json!({ "wall": "300ms" }), "import time; time.sleep(3600)", "timeout", "limits.wall");
}

#[test]
fn a_memory_bomb_runs_out_of_memory() {
    let code = "x = []\nwhile True: x.append(bytearray(1 << 20))";
    check("memory", &json!({ "memory": "128MiB" }), code, "limit", "limits.memory");
}

#[test]
fn an_output_flood_of_ten_gigabytes_is_cut() {
    let code = "import sys\nfor _ in range(10240): sys.stdout.write('y' * (1 << 20))";
    check("output", &json!({ "output": "1MiB" }), code, "limit", "limits.output");
}

#[test]
fn ten_million_tiny_files_are_too_many() {
    let code = "for i in range(10_000_000): open(f'/tmp/{i}', 'w').close()";
    check("inodes", &json!({ "files": 20000, "cpu": "1h" }), code, "limit", "limits.files");
}

#[test]
fn a_sparse_file_of_eight_exbibytes_is_too_large() {
    let code = "f = open('/tmp/sparse', 'wb')\nf.truncate((1 << 63) - 1)";
    check("sparse", &json!({}), code, "limit", "limits.disk");
}

#[test]
fn a_write_far_out_is_too_large() {
    let code = "f = open('/tmp/sparse', 'wb')\nf.seek((1 << 62))\nf.write(b'x')\nf.flush()";
    check("far", &json!({}), code, "limit", "limits.disk");
}

#[test]
fn a_full_disk_ends_the_call() {
    let code = "f = open('/tmp/full', 'wb')\nwhile True: f.write(bytes(1 << 20))";
    check("disk", &json!({ "disk": "64MiB" }), code, "limit", "limits.disk");
}

#[test]
fn too_many_open_files_end_the_call() {
    let code = "import os\nwhile True: os.open('/tmp', os.O_RDONLY)";
    check("descriptors", &json!({ "open_files": 64 }), code, "limit", "limits.open_files");
}

#[test]
fn long_and_deep_names_are_errors_of_the_guest() {
    let server = Server::shared();
    let code = r#"
import errno, os
for name in ('x' * 4096, 'x' * 256):
    try: os.mkdir('/tmp/' + name)
    except OSError as error: print(error.errno in (errno.ENAMETOOLONG, 37))
os.chdir('/tmp')
deep = 0
try:
    path = '/tmp'
    for deep in range(1000):
        path += '/' + 'y' * 255
        os.mkdir(path)
except OSError as error: print(error.errno in (errno.ENAMETOOLONG, 37), deep > 10)
"#;
    server.post("/v1/sandboxes", &json!({ "name": "names" })).ok(201);
    let call = server.call("names", code);
    assert_eq!(
        (call["status"].as_str(), call["stdout"].as_str()),
        (Some("ok"), Some("True\nTrue\nTrue True\n")),
        "{call}"
    );
}

#[test]
fn a_thousand_levels_deep_come_and_go() {
    let server = Server::shared();
    server.post("/v1/sandboxes", &json!({ "name": "deep" })).ok(201);
    let down = "import os\np = '/workspace'\nfor i in range(1000):\n    p += '/d'\n    os.mkdir(p)\nprint(len(p))";
    let call = server.call("deep", down);
    assert_eq!(call["status"], "ok", "{call}");
    let call =
        server.call("deep", "import shutil; shutil.rmtree('/workspace/d'); import os; print(os.listdir('/workspace'))");
    assert_eq!(call["stdout"], "[]\n", "{call}");
    let undone = server.post("/v1/sandboxes/deep/undo", &json!({})).ok(200);
    assert_eq!(undone["changes"]["added"], 1000, "{undone}");
}

#[test]
fn a_call_can_be_cancelled() {
    let server = Server::shared();
    server.post("/v1/sandboxes", &json!({ "name": "cancel" })).ok(201);
    let started = server.start_call("cancel", "open('/tmp/x', 'w').close()\nprint('on', flush=True)\nwhile True: pass");
    let id = started["id"].as_str().unwrap().to_owned();
    server.wait_for_output("cancel", &id, "on");
    server.delete(&format!("/v1/sandboxes/cancel/calls/{id}")).ok(202);
    let call = server.wait_for_call("cancel", &id);
    assert_eq!((call["status"].as_str(), call["stdout"].as_str()), (Some("cancelled"), Some("on\n")), "{call}");
    assert_eq!(call["before"], call["after"]);
}
