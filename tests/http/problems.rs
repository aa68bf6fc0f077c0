//! Every failure is a problem that says what to do: also those of the framework.

use serde_json::{Value, json};

use crate::support::{Server, raw};

#[test]
fn unknown_routes_and_methods() {
    let server = Server::shared();
    for path in [
        "/v1",
        "/v1/",
        "/v1/effects",
        "/v1/sandboxes/",
        "/mcp",
        "/healthz/",
        "/%2e%2e/etc/passwd",
        "/v1/sandboxes/x/files/%ff",
    ] {
        let answer = server.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}");
        let code = if answer.status == 404 { "unknown_route" } else { "invalid_path" };
        answer.problem(answer.status, code);
    }
    let answer = server.request("PUT", "/v1/sandboxes").send();
    answer.problem(405, "method_not_allowed");
    let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    for method in ["PATCH", "OPTIONS", "TRACE", "BREW"] {
        let (status, answer) = raw(
            server.address(),
            &format!(
                "{method} /v1/guests HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
                server.address(),
                server.token()
            ),
        );
        assert_eq!(status, 405, "{answer}");
        assert!(answer.contains("method_not_allowed") && answer.contains("application/problem+json"), "{answer}");
    }
}

#[test]
fn bodies_that_are_not_what_they_should_be() {
    let server = Server::shared();
    server.create("bodies");
    let send = |content_type: Option<&str>, body: &[u8]| {
        let request = server.request("POST", "/v1/sandboxes/bodies/calls").bytes(body);
        match content_type {
            Some(value) => request.header("content-type", value).send(),
            None => request.send(),
        }
    };
    let json = Some("application/json");
    send(None, b"{}").problem(415, "not_json");
    send(Some("text/plain"), br#"{"tool":"python","arguments":{"code":"1"}}"#).problem(415, "not_json");
    send(Some("application/x-www-form-urlencoded"), b"tool=python").problem(415, "not_json");
    send(json, b"").problem(400, "malformed_json");
    send(json, b"{\"tool\":").problem(400, "malformed_json");
    send(json, b"\xff\xfe").problem(400, "malformed_json");
    send(json, "[".repeat(100_000).as_bytes()).problem(422, "invalid_body");
    let deep = format!("{{\"tool\":\"python\",\"arguments\":{}", "{\"a\":".repeat(100_000));
    send(json, deep.as_bytes()).problem(400, "malformed_json");
    let problem = send(json, br#"{"tool":"python","arguments":{},"network":true}"#).problem(422, "invalid_body");
    assert!(problem["detail"].as_str().unwrap().contains("unknown field `network`"), "{problem}");
    send(json, br#"{"tool":"python","arguments":{"code":"1"},"timeout_ms":0}"#).problem(422, "invalid_body");
    let problem = send(json, br#"{"tool":"python","arguments":{"cod":"1"}}"#).problem(422, "invalid_arguments");
    assert!(problem["hint"].as_str().unwrap().contains("code"), "{problem}");
    send(json, br#"{"tool":"cobol","arguments":{}}"#).problem(404, "unknown_tool");
    let large = format!(r#"{{"tool":"python","arguments":{{"code":"{}"}}}}"#, "x".repeat(9 << 20));
    send(json, large.as_bytes()).problem(413, "body_too_large");
}

#[test]
fn bodies_that_say_that_they_are_too_long_are_refused_unread() {
    let server = Server::shared();
    let request = format!(
        "PUT /v1/sandboxes/x/files/a HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 99999999999\r\n\
         Connection: close\r\n\r\n",
        server.address(),
        server.token()
    );
    let (status, answer) = raw(server.address(), &request);
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("body_too_large"));
}

#[test]
fn names_ids_and_queries_that_name_nothing() {
    let server = Server::shared();
    server.create("named");
    let get = |path: &str| server.get(&format!("/v1/sandboxes/{path}"));
    get("nobody").problem(404, "unknown_sandbox");
    get("sb_00000000000000000000000000").problem(404, "unknown_sandbox");
    get("named/calls/call_00000000000000000000000000").problem(404, "unknown_call");
    get("named/calls/7").problem(404, "unknown_call");
    get("named/files/workspace/none").problem(404, "no_such_file");
    get("named/files/workspace?state=zz").problem(422, "invalid_state");
    get(&format!("named/files/workspace?state={}", "0".repeat(64))).problem(404, "unknown_state");
    get("named/diff?from=never").problem(404, "unknown_state");
    get("named/diff?form=1").problem(400, "invalid_query");
    get("named/operations?limit=0").problem(400, "invalid_query");
    get("named/operations?limit=many").problem(400, "invalid_query");
    get("named/operations?limit=1&limit=2").problem(400, "invalid_query");
    get("named/operations?cursor=AAAA").problem(400, "invalid_cursor");
    get("named/events?after=-1").problem(400, "invalid_query");
    server.get("/v1/states/zz/export").problem(404, "unknown_state");
    server.get(&format!("/v1/states/{}/export", "0".repeat(64))).problem(404, "unknown_state");
    server.delete("/v1/sandboxes/named/checkpoints/none").problem(404, "unknown_checkpoint");
}

#[test]
fn operations_that_do_not_fit() {
    let server = Server::shared();
    server.create("unfit");
    let post = |path: &str, body| server.post(&format!("/v1/sandboxes{path}"), &body);
    post("", json!({ "name": "unfit" })).problem(409, "name_taken");
    post("", json!({ "name": "../up" })).problem(422, "invalid_name");
    post("", json!({ "from": { "directory": "relative" } })).problem(422, "invalid_directory");
    post("", json!({ "from": { "directory": "/nowhere/at/all" } })).problem(422, "no_such_directory");
    post("", json!({ "from": { "sandbox": "nobody" } })).problem(404, "unknown_sandbox");
    post("", json!({ "policy": { "version": 9 } })).problem(422, "invalid_policy");
    post("", json!({ "policy": { "version": 1, "allow": "all" } })).problem(422, "invalid_body");
    post("/unfit/undo", json!({})).problem(409, "nothing_to_undo");
    post("/unfit/redo", json!({})).problem(409, "nothing_to_redo");
    post("/unfit/undo", json!({ "steps": 0 })).problem(422, "steps");
    post("/unfit/restore", json!({})).problem(422, "invalid_body");
    post("/unfit/restore", json!({ "seq": 1, "checkpoint": "x" })).problem(422, "invalid_body");
    post("/unfit/restore", json!({ "checkpoint": "none" })).problem(404, "unknown_checkpoint");
    post("/unfit/restore", json!({ "seq": 99 })).problem(404, "unknown_operation");
    post("/unfit/fork", json!({ "count": 0 })).problem(422, "invalid_body");
    post("/unfit/fork", json!({ "count": 1001 })).problem(422, "invalid_body");
    post("/unfit/fork", json!({ "count": 2, "name": "both" })).problem(422, "invalid_body");
    post("/unfit/checkpoints", json!({ "name": "a/b" })).problem(422, "invalid_name");
    post("/unfit/calls", json!({ "tool": "shell", "arguments": { "command": "ls" }, "session": "a/b" }))
        .problem(422, "invalid_session");
}

#[test]
fn a_program_starts_where_it_was_asked_to_or_not_at_all() {
    let server = Server::shared();
    server.create("starting-place");
    let print =
        |cwd: Value| json!({ "tool": "shell", "arguments": { "command": "pwd; rm -rf /workspace", "cwd": cwd } });
    let calls = "/v1/sandboxes/starting-place/calls";
    server.put_file("starting-place", "/workspace/file", b"");
    for cwd in ["/nowhere", "/workspace/file"] {
        let problem = server.post(calls, &print(json!(cwd))).problem(422, "no_directory");
        assert!(problem["detail"].as_str().unwrap().contains(cwd), "{problem}");
    }
    for (cwd, at) in [(json!("/tmp"), "/tmp\n"), (Value::Null, "/\n")] {
        assert_eq!(server.post(calls, &print(cwd)).ok(200)["stdout"], at, "the usual place may be gone");
    }
}

#[test]
fn a_request_keeps_its_harmless_name() {
    let server = Server::shared();
    let named = |id: &str| server.request("GET", "/nowhere").header("x-request-id", id).send();
    let answer = named("my-request.1");
    assert_eq!(answer.header("x-request-id"), "my-request.1");
    answer.problem(404, "unknown_route");
    assert_ne!(named("with spaces").header("x-request-id"), "with spaces");
}
