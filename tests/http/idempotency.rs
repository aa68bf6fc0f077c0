//! A request that comes twice with one key happens once: side by side, later, and after the service has died.

use serde_json::{Value, json};

use crate::support::{Answer, Server};

fn post(server: &Server, key: &str, path: &str, body: &Value) -> Answer {
    server.request("POST", path).header("idempotency-key", key).json(body).send()
}

fn appending(text: &str) -> Value {
    json!({ "tool": "python", "arguments": { "code": format!("open('/workspace/log', 'a').write('{text}'); print('done')") } })
}

fn log(server: &Server, sandbox: &str) -> String {
    String::from_utf8(server.get(&format!("/v1/sandboxes/{sandbox}/files/workspace/log")).ok_bytes(200)).unwrap()
}

#[test]
fn a_call_that_comes_many_times_at_once_runs_once() {
    let server = Server::shared();
    server.create("once");
    let body = json!({ "tool": "python", "arguments": {
        "code": "import time; time.sleep(0.2); open('/workspace/log', 'a').write('x'); print('done')" } });
    let calls: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| post(server, "k1", "/v1/sandboxes/once/calls", &body).ok(200))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(calls.iter().all(|call| call == &calls[0] && call["status"] == "ok"), "{calls:?}");
    assert_eq!(log(server, "once"), "x");
    post(server, "k2", "/v1/sandboxes/once/calls", &body).ok(200);
    assert_eq!(log(server, "once"), "xx", "another key is another request");
    let other = appending("y");
    post(server, "k1", "/v1/sandboxes/once/calls", &other).problem(422, "idempotency_key_reused");
    assert_eq!(log(server, "once"), "xx");
}

#[test]
fn a_call_can_be_asked_for_again_in_another_way() {
    let server = Server::shared();
    server.create("ways");
    let body = appending("x");
    let request = || server.request("POST", "/v1/sandboxes/ways/calls").header("idempotency-key", "k").json(&body);
    let pending = request().header("prefer", "respond-async").send().started();
    let events: Vec<_> = request().events().collect();
    let last = events.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["id"]), ("result", &pending["id"]));
    assert_eq!(request().send().ok(200)["id"], pending["id"]);
    assert_eq!(request().header("prefer", "respond-async").send().ok(200)["id"], pending["id"], "it has ended");
    assert_eq!(log(server, "ways"), "x");
}

#[test]
fn operations_answer_again_what_they_answered() {
    let server = Server::shared();
    let create = json!({ "name": "again" });
    let first = post(server, "k", "/v1/sandboxes", &create);
    let second = post(server, "k", "/v1/sandboxes", &create);
    assert_eq!(first.ok(201), second.ok(201));
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(second.header("idempotency-replayed"), "true");
    for number in 0..3 {
        server.call("again", &format!("open('/workspace/log', 'a').write('{number}')"));
    }
    let undone = post(server, "u", "/v1/sandboxes/again/undo", &json!({})).ok(200);
    assert_eq!(post(server, "u", "/v1/sandboxes/again/undo", &json!({})).ok(200), undone);
    assert_eq!(log(server, "again"), "01", "one step was taken back, not two");
    assert_eq!(post(server, "u", "/v1/sandboxes/again/redo", &json!({})).ok(200)["operation"]["kind"], "redo");
    let forks = post(server, "f", "/v1/sandboxes/again/fork", &json!({ "count": 3 })).ok(201);
    assert_eq!(post(server, "f", "/v1/sandboxes/again/fork", &json!({ "count": 3 })).ok(201), forks);
    let checkpoint = post(server, "c", "/v1/sandboxes/again/checkpoints", &json!({ "name": "here" })).ok(201);
    assert_eq!(post(server, "c", "/v1/sandboxes/again/checkpoints", &json!({ "name": "here" })).ok(201), checkpoint);
}

#[test]
fn a_refused_request_may_be_sent_again() {
    let server = Server::shared();
    post(server, "k", "/v1/sandboxes/later/undo", &json!({})).problem(404, "unknown_sandbox");
    server.create("later");
    post(server, "k", "/v1/sandboxes/later/undo", &json!({})).problem(409, "nothing_to_undo");
    server.call("later", "open('/workspace/log', 'w').close()");
    post(server, "k", "/v1/sandboxes/later/undo", &json!({})).ok(200);
    post(server, "c", "/v1/sandboxes/not-yet/calls", &appending("x")).problem(404, "unknown_sandbox");
    server.create("not-yet");
    post(server, "c", "/v1/sandboxes/not-yet/calls", &appending("x")).ok(200);
    assert_eq!(log(server, "not-yet"), "x");
}

#[test]
fn keys_are_bounded_and_one() {
    let server = Server::shared();
    let request = || server.request("POST", "/v1/sandboxes").json(&json!({}));
    request().header("idempotency-key", &"x".repeat(256)).send().problem(400, "invalid_idempotency_key");
    request()
        .header("idempotency-key", "a")
        .header("idempotency-key", "b")
        .send()
        .problem(400, "invalid_idempotency_key");
}

#[test]
fn keys_survive_the_service() {
    let server = Server::start();
    server.create("survivor");
    let body = appending("x");
    let call = post(&server, "k", "/v1/sandboxes/survivor/calls", &body).ok(200);
    let created = post(&server, "k", "/v1/sandboxes", &json!({})).ok(201);
    let server = Server::start_over(server.kill());
    let mut again = post(&server, "k", "/v1/sandboxes/survivor/calls", &body).ok(200);
    again["time"] = call["time"].clone();
    assert_eq!(again, call);
    assert_eq!(log(&server, "survivor"), "x");
    assert_eq!(post(&server, "k", "/v1/sandboxes", &json!({})).ok(201), created);
    post(&server, "k", "/v1/sandboxes/survivor/calls", &appending("y")).problem(422, "idempotency_key_reused");
}

/// Kills the service at many moments around a call's commit: whatever was reached, the call has happened once after the
/// client has asked again.
#[test]
fn a_call_whose_service_died_happens_once() {
    let mut data = Some(tempfile::tempdir().unwrap());
    for round in 0..6u64 {
        let server = Server::start_over(data.take().unwrap());
        let name = format!("dies-{round}");
        server.create(&name);
        let path = format!("/v1/sandboxes/{name}/calls");
        let body = appending("x");
        let request =
            server.request("POST", &path).header("idempotency-key", "k").header("prefer", "respond-async").json(&body);
        let id = request.send().started()["id"].clone();
        // Not a race that must be won: every moment is a good one to die at.
        std::thread::sleep(std::time::Duration::from_millis(round * 25));
        let server = Server::start_over(server.kill());
        let call = post(&server, "k", &path, &body).ok(200);
        assert_eq!((&call["id"], call["status"].as_str()), (&id, Some("ok")), "{call}");
        assert_eq!(log(&server, &name), "x", "round {round}");
        data = Some(server.stop());
    }
}
