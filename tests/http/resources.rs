//! Sandboxes, calls, lists, diffs and the documents of the service.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::Server;

#[test]
fn a_sandbox_lives_and_dies() {
    let server = Server::shared();
    let answer = server.post("/v1/sandboxes", &json!({ "name": "lives" }));
    let made = answer.ok(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/sandboxes/{id}"));
    assert_eq!(
        (made["name"].as_str(), made["status"].as_str(), made["parent"].is_null()),
        (Some("lives"), Some("idle"), true)
    );
    assert!(made["guests"]["python"].is_string(), "{made}");
    let by_name = server.get("/v1/sandboxes/lives");
    assert!(by_name.header("etag").contains(made["state"].as_str().unwrap()));
    assert_eq!(by_name.ok(200), server.get(&format!("/v1/sandboxes/{id}")).ok(200));
    assert!(server.get("/v1/sandboxes/lives/policy").ok(200)["limits"]["memory"].is_string());
    let fork = server.post("/v1/sandboxes/lives/fork", &json!({ "name": "lives-on" })).ok(201);
    assert_eq!((fork["parent"].as_str(), fork["state"].clone()), (Some(id), made["state"].clone()));
    assert_eq!(server.delete("/v1/sandboxes/lives").status, 204);
    server.get("/v1/sandboxes/lives").problem(404, "unknown_sandbox");
    server.delete("/v1/sandboxes/lives").problem(404, "unknown_sandbox");
    server.get("/v1/sandboxes/lives-on").ok(200);
}

#[test]
fn a_call_tells_all_about_itself() {
    let server = Server::shared();
    let sandbox = server.create("tells");
    let code =
        "import sys; open('a.txt', 'w').write('hello'); print('out'); print('err', file=sys.stderr); sys.exit(3)";
    let body = json!({ "tool": "python", "arguments": { "code": code } });
    let answer = server.post("/v1/sandboxes/tells/calls", &body);
    let call = answer.ok(200);
    let id = call["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/sandboxes/{}/calls/{id}", sandbox["id"].as_str().unwrap()));
    for (field, value) in [
        ("tool", json!("python")),
        ("status", json!("error")),
        ("exit_code", json!(3)),
        ("stdout", json!("out\n")),
        ("stderr", json!("err\n")),
        ("stdout_truncated", json!(false)),
        ("stderr_truncated", json!(false)),
        ("result", Value::Null),
        ("before", sandbox["state"].clone()),
        ("effects", json!([])),
        ("undo", json!("full")),
        ("dry_run", json!(false)),
        ("actor", json!("admin")),
        ("arguments", body["arguments"].clone()),
    ] {
        assert_eq!(call[field], value, "{field} in {call}");
    }
    assert!(call["usage"]["wall_ms"].as_f64().unwrap() > 0.0, "{call}");
    assert_eq!(call["changes"]["added"], 1, "{call}");
    let mut again = server.get(&format!("/v1/sandboxes/tells/calls/{id}")).ok(200);
    again["time"] = call["time"].clone();
    assert_eq!(again, call);
    let diff = server.get(&format!("/v1/sandboxes/tells/calls/{id}/diff")).ok(200);
    assert_eq!((&diff["from"], &diff["to"]), (&call["before"], &call["after"]));
    let paths: Vec<_> = diff["changes"].as_array().unwrap().iter().filter(|one| one["kind"] == "added").collect();
    assert_eq!(paths.len(), 1, "{diff}");
    assert_eq!((paths[0]["path"].as_str(), paths[0]["after"]["size"].as_u64()), (Some("/workspace/a.txt"), Some(5)));
    server.delete(&format!("/v1/sandboxes/tells/calls/{id}")).problem(409, "call_ended");
}

#[test]
fn output_that_is_no_text_is_exact() {
    let server = Server::shared();
    server.create("bytes");
    let call = server.call("bytes", "import sys; sys.stdout.buffer.write(b'\\xff\\x00ok')");
    assert_eq!(
        (call["stdout"].as_str(), call["stdout_base64"].as_str()),
        (Some("\u{fffd}\0ok"), Some("/wBvaw==")),
        "{call}"
    );
    assert!(call.get("stderr_base64").is_none());
}

#[test]
fn a_dry_run_leaves_nothing() {
    let server = Server::shared();
    let before = server.create("dry");
    let body = json!({ "tool": "python", "arguments": { "code": "open('x', 'w').write('1'); print('did')" }, "dry_run": true });
    let call = server.post("/v1/sandboxes/dry/calls", &body).ok(200);
    assert_eq!(
        (call["dry_run"].as_bool(), call["undo"].as_str(), call["seq"].is_null()),
        (Some(true), Some("none"), true)
    );
    assert_eq!((call["stdout"].as_str(), call["changes"]["added"].as_u64()), (Some("did\n"), Some(1)), "{call}");
    assert_eq!(server.get("/v1/sandboxes/dry").ok(200)["state"], before["state"]);
    let id = call["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/sandboxes/dry/calls/{id}")).ok(200)["stdout"], "did\n");
}

#[test]
fn standard_input_reaches_the_program() {
    let server = Server::shared();
    server.create("stdin");
    let code = "print(open(0).read().upper())";
    let body = json!({ "tool": "python", "arguments": { "code": code }, "stdin": "hello" });
    assert_eq!(server.post("/v1/sandboxes/stdin/calls", &body).ok(200)["stdout"], "HELLO\n");
}

/// Reads a list to its end in pages and returns the items.
fn pages(server: &Server, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("{path}?limit={limit}{cursor}")).ok(200);
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        items.extend(found.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[test]
fn lists_come_in_pages_that_join() {
    let server = Server::shared();
    server.create("lists");
    for number in 0..5 {
        server.call("lists", &format!("open('f{number}', 'w').close()"));
        server.post("/v1/sandboxes/lists/checkpoints", &json!({ "name": format!("c{number}") })).ok(201);
    }
    let calls = pages(server, "/v1/sandboxes/lists/calls", 2);
    assert_eq!(calls.len(), 5);
    let seqs: Vec<_> = calls.iter().map(|call| call["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|left, right| left > right), "{seqs:?}");
    let operations = pages(server, "/v1/sandboxes/lists/operations", 2);
    assert_eq!(operations.len(), 6, "five calls and the creation; checkpoints are no operations");
    assert_eq!(operations[5]["kind"], "create");
    assert_eq!(operations[0]["call"]["id"], calls[0]["id"]);
    let names: Vec<_> =
        pages(server, "/v1/sandboxes/lists/checkpoints", 1000).iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);
    let files = pages(server, "/v1/sandboxes/lists/files/workspace", 2);
    assert_eq!(
        files.iter().map(|file| file["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["f0", "f1", "f2", "f3", "f4"]
    );
    let all = pages(server, "/v1/sandboxes", 1);
    assert!(all.iter().any(|sandbox| sandbox["name"] == "lists"));
    let cursor = server.get("/v1/sandboxes/lists/calls?limit=1").ok(200)["next_cursor"].as_str().unwrap().to_owned();
    server.get(&format!("/v1/sandboxes/lists/operations?cursor={cursor}")).problem(400, "invalid_cursor");
}

#[test]
fn states_are_compared_by_id_number_and_name() {
    let server = Server::shared();
    server.create("compare");
    let first = server.call("compare", "open('a', 'w').write('1')");
    server.post("/v1/sandboxes/compare/checkpoints", &json!({ "name": "one" })).ok(201);
    let second = server.call("compare", "open('b', 'w').write('2')");
    let diff = |query: &str| server.get(&format!("/v1/sandboxes/compare/diff{query}")).ok(200);
    let newest = diff("");
    assert_eq!((&newest["from"], &newest["to"]), (&second["before"], &second["after"]));
    let by_name = diff("?from=one");
    assert_eq!((&by_name["from"], &by_name["to"]), (&first["after"], &second["after"]));
    let by_number = diff(&format!("?from={}&to=one", first["seq"].as_u64().unwrap() - 1));
    assert_eq!((&by_number["from"], &by_number["to"]), (&first["before"], &first["after"]));
    let cut = diff("?from=1&limit=1");
    assert_eq!((cut["changes"].as_array().unwrap().len(), cut["truncated"].as_bool()), (1, Some(true)), "{cut}");
    assert_eq!(cut["summary"]["added"], 2);
}

#[test]
fn checkpoints_can_be_gone_back_to() {
    let server = Server::shared();
    server.create("back");
    server.call("back", "open('a', 'w').write('1')");
    let checkpoint = server.post("/v1/sandboxes/back/checkpoints", &json!({ "name": "one" })).ok(201);
    server.post("/v1/sandboxes/back/checkpoints", &json!({ "name": "one" })).problem(409, "checkpoint_exists");
    server.call("back", "open('a', 'w').write('2')");
    let moved = server.post("/v1/sandboxes/back/restore", &json!({ "checkpoint": "one" })).ok(200);
    assert_eq!(moved["after"], checkpoint["state"]);
    assert_eq!(moved["operation"]["detail"]["checkpoint"], "one");
    assert_eq!(server.get("/v1/sandboxes/back/files/workspace/a").ok_bytes(200), b"1");
    assert_eq!(server.delete("/v1/sandboxes/back/checkpoints/one").status, 204);
    server.post("/v1/sandboxes/back/restore", &json!({ "checkpoint": "one" })).problem(404, "unknown_checkpoint");
    // Without a body: all of it can be left out.
    assert_eq!(server.request("POST", "/v1/sandboxes/back/undo").send().ok(200)["operation"]["kind"], "undo");
}

#[test]
fn metrics_count_without_naming_sandboxes() {
    let server = Server::shared();
    server.create("counted-sandbox");
    server.call("counted-sandbox", "print(1)");
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for metric in [
        "sandglass_http_requests_total{method=\"POST\",route=\"/v1/sandboxes/{sandbox}/calls\",status=\"200\"}",
        "sandglass_calls_ended_total{tool=\"python\",status=\"ok\"}",
        "sandglass_sandboxes ",
        "sandglass_store_records_total",
        "sandglass_call_seconds_bucket",
    ] {
        assert!(text.contains(metric), "{metric} is not in\n{text}");
    }
    assert!(!text.contains("counted-sandbox") && text.ends_with("# EOF\n"));
}

#[test]
fn the_service_describes_itself() {
    let server = Server::shared();
    assert_eq!(server.get("/").ok(200)["name"], "sandglass");
    assert_eq!(server.get("/healthz").ok(200)["status"], "ok");
    assert_eq!(server.get("/readyz").ok(200)["status"], "ready");
    let guests = server.get("/v1/guests").ok(200);
    assert!(guests["items"].as_array().unwrap().iter().any(|guest| guest["name"] == "python"), "{guests}");
    let document = server.get("/openapi.json");
    document.ok(200);
    let text = document.text();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("SANDGLASS_UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    assert!(committed == text, "docs/openapi.json is not what the service says: run this test with SANDGLASS_UPDATE=1");
}
