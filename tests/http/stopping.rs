//! The end of the service: what was answered stays, what runs may end, and nobody waits for ever.

use rustix::process::Signal;
use serde_json::json;

use super::streams::output_until;
use crate::support::Server;

#[test]
fn a_running_call_ends_and_is_answered_before_the_service_does() {
    let server = Server::start();
    server.create("graceful");
    let body = json!({ "tool": "python", "arguments": {
        "code": "import time; print('on', flush=True); time.sleep(0.5); open('/workspace/kept', 'w').write('yes')" } });
    let mut operations = server.request("GET", "/v1/sandboxes/graceful/events?after=0").events();
    assert_eq!(operations.next().unwrap().data["kind"], "create");
    let mut events = server.request("POST", "/v1/sandboxes/graceful/calls").json(&body).events();
    assert_eq!(events.next().unwrap().name, "call");
    assert_eq!(output_until(&mut events, "\n"), "on\n");
    server.signal(Signal::TERM);
    let result = events.next().unwrap();
    assert_eq!((result.name.as_str(), result.data["status"].as_str()), ("result", Some("ok")), "{result:?}");
    drop(operations);
    let server = Server::start_over(server.stopped());
    assert_eq!(server.get("/v1/sandboxes/graceful/files/workspace/kept").ok_bytes(200), b"yes");
}

#[test]
fn a_second_signal_ends_the_service_at_once() {
    let server = Server::start();
    server.create("stubborn");
    let before = server.get("/v1/sandboxes/stubborn").ok(200);
    let started = server
        .start_call("stubborn", "print('on', flush=True)\nopen('/workspace/half', 'w').write('x')\nwhile True: pass");
    server.wait_for_output("stubborn", started["id"].as_str().unwrap(), "on");
    server.signal(Signal::INT);
    // Signals of one number that come together are one: the second must find the first taken.
    while std::net::TcpStream::connect(server.address()).is_ok() {
        std::thread::yield_now();
    }
    server.signal(Signal::INT);
    let server = Server::start_over(server.stopped());
    let after = server.get("/v1/sandboxes/stubborn").ok(200);
    assert_eq!(after["state"], before["state"], "a call that did not end leaves nothing");
}

#[test]
fn two_services_do_not_share_a_data_directory() {
    let server = Server::start();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sandglass"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"), "{output:?}");
    server.get("/healthz").ok(200);
}
