//! Uploaded tools, over the real binary: what an agent's framework would do with them, and what a hostile one tries.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Answer, Server, User};

/// The component of `examples/tools/rust`, as its notes build it.
const FILES: &[u8] = include_bytes!("fixtures/tools/files.wasm");
const TYPES: &str = include_str!("fixtures/tools/types.wat");
const HOSTILE: &str = include_str!("fixtures/tools/hostile.wat");

/// A program of WASI preview 1 that prints "hello" and exits with 3.
const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "\10\00\00\00\06\00\00\00hello\n")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
        (call $exit (i32.const 3))))"#;

fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

fn put(server: &Server, name: &str, wasm: &[u8]) -> Answer {
    let path = format!("/v1/tools/{name}");
    server.request("PUT", &path).header("content-type", "application/wasm").bytes(wasm).send()
}

fn call(server: &Server, sandbox: &str, tool: &str, arguments: &Value) -> Answer {
    server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &json!({ "tool": tool, "arguments": arguments }))
}

fn place(server: &Server) -> PathBuf {
    server.data().join("tools")
}

#[test]
fn a_component_works_on_the_sandboxs_files_and_undo_takes_it_back() {
    let server = Server::shared();
    put(server, "files-undo", FILES).ok(201);
    server.create("tool-files");
    server.put_file("tool-files", "/workspace/a.txt", b"one two\nthree one\n");
    let counted = call(server, "tool-files", "files-undo.text.count", &json!({ "path": "/workspace/a.txt" })).ok(200);
    assert_eq!(counted["result"], json!({ "ok": { "lines": 2, "words": 4, "bytes": 18 } }), "{counted}");
    assert_eq!((&counted["status"], &counted["exit_code"]), (&json!("ok"), &Value::Null));
    let replace = json!({ "path": "/workspace/a.txt", "from": "one", "to": "1" });
    let replaced = call(server, "tool-files", "files-undo.text.replace", &replace).ok(200);
    assert_eq!(replaced["result"], json!({ "ok": 2 }), "{replaced}");
    assert_eq!(replaced["stdout"], "/workspace/a.txt: 2 times\n");
    assert_eq!(replaced["changes"]["modified"], 1, "{replaced}");
    let file = "/v1/sandboxes/tool-files/files/workspace/a.txt";
    assert_eq!(server.get(file).ok_bytes(200), b"1 two\nthree 1\n");
    // From the log it is what it was.
    let path = format!("/v1/sandboxes/tool-files/calls/{}", replaced["id"].as_str().unwrap());
    assert_eq!(server.get(&path).ok(200)["result"], json!({ "ok": 2 }));
    server.post("/v1/sandboxes/tool-files/undo", &json!({})).ok(200);
    assert_eq!(server.get(file).ok_bytes(200), b"one two\nthree one\n");
    let tree = json!({ "path": "/workspace", "order": "by-size" });
    let tree = call(server, "tool-files", "files-undo.text.tree", &tree).ok(200);
    assert_eq!(tree["result"]["ok"], json!([{ "path": "/workspace/a.txt", "kind": "file", "size": 18 }]), "{tree}");
    // Python sees the same files.
    assert_eq!(server.call("tool-files", "print(open('a.txt').read(3))")["stdout"], "one\n");
}

#[test]
fn an_error_that_a_tool_answers_with_is_the_calls() {
    let server = Server::shared();
    put(server, "files-err", FILES).ok(201);
    server.create("tool-err");
    let failed = call(server, "tool-err", "files-err.text.count", &json!({ "path": "/none" })).ok(200);
    assert_eq!(failed["status"], "error", "{failed}");
    let why = failed["result"]["err"].as_str().unwrap();
    assert!(why.starts_with("/none: No such file") && failed["message"].as_str().unwrap().ends_with(why), "{failed}");
    // No path leads to the host.
    for path in ["/etc/passwd", "/../../../etc/passwd", "../etc/passwd", "/proc/self/environ"] {
        let call = call(server, "tool-err", "files-err.text.count", &json!({ "path": path })).ok(200);
        assert!(call["result"]["err"].is_string(), "{path}: {call}");
    }
}

#[test]
fn a_framework_can_hand_the_tools_to_a_model() {
    let server = Server::shared();
    let path = "/v1/tools/described?description=Counts%20and%20replaces.";
    let made = server.request("PUT", path).header("content-type", "application/wasm").bytes(FILES).send().ok(201);
    assert_eq!(server.get("/v1/tools/described").ok(200), made);
    let hash = made["upload"]["hash"].as_str().unwrap();
    assert_eq!((hash.len(), made["upload"]["bytes"].as_u64()), (64, Some(FILES.len() as u64)));
    let all = server.get("/v1/tools").ok(200);
    let items = all["items"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|tool| tool["name"] == name).unwrap();
    assert_eq!(of("python")["kind"], "built_in");
    assert!(of("python")["functions"][0]["arguments"]["properties"]["code"].is_object());
    let functions = of("described")["functions"].as_array().unwrap();
    let names: Vec<_> = functions.iter().map(|function| function["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["described.text.count", "described.text.replace", "described.text.tree"]);
    let count = &functions[0];
    assert!(count["description"].as_str().unwrap().starts_with("Counts and replaces.\n\ncount: func(path: string)"));
    assert_eq!(
        count["arguments"],
        json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"], "additionalProperties": false })
    );
    assert!(count["result"]["oneOf"][0]["properties"]["ok"]["properties"]["lines"].is_object());
    server.create("tool-model");
    let ended = call(server, "tool-model", "described.text.count", &json!({ "path": "x" })).ok(200);
    assert!(hash.starts_with(ended["guest"].as_str().unwrap()), "the record names what ran");
    let refused = call(server, "tool-model", "described.text.count", &json!({ "path": 1 }));
    let problem = refused.problem(422, "invalid_arguments");
    assert!(problem["detail"].as_str().unwrap().contains("arguments.path: a string is wanted, not 1"), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("count: func(path: string)"), "{problem}");
    call(server, "tool-model", "described.text.none", &json!({})).problem(404, "unknown_tool");
    call(server, "tool-model", "none", &json!({})).problem(404, "unknown_tool");
}

#[test]
fn functions_are_described_one_by_one() {
    let server = Server::shared();
    put(server, "said", FILES).ok(201);
    let say = |body: &Value| server.request("PATCH", "/v1/tools/said").json(body).send();
    let said =
        say(&json!({ "description": "Files.", "functions": { "said.text.count": "Counts \u{1b}[31m\"words\"." } }))
            .ok(200);
    let of = |tool: &Value, index: usize| tool["functions"][index]["description"].as_str().unwrap().to_owned();
    assert_eq!(server.get("/v1/tools/said").ok(200), said);
    assert!(of(&said, 0).starts_with("Files.\n\nCounts \u{1b}[31m\"words\".\n\ncount: func("), "{said}");
    assert!(of(&said, 1).starts_with("Files.\n\nreplace: func("), "{said}");
    // What is left out stays; null takes away.
    let said = say(&json!({ "functions": { "said.text.tree": "Lists." } })).ok(200);
    assert!(of(&said, 0).contains("Counts") && of(&said, 2).starts_with("Files.\n\nLists."), "{said}");
    let said = say(&json!({ "description": null, "functions": { "said.text.count": null } })).ok(200);
    assert!(said["description"].is_null() && of(&said, 0).starts_with("count: func("), "{said}");
    say(&json!({ "functions": { "said.text.none": "x" } })).problem(422, "unknown_function");
    say(&json!({ "functions": { "said.text.count": "x".repeat(4097) } })).problem(422, "invalid_description");
    say(&json!({ "functions": { "said.text.count": 1 } })).problem(422, "invalid_body");
    say(&json!({ "words": {} })).problem(422, "invalid_body");
    let patch = |name: &str| server.request("PATCH", &format!("/v1/tools/{name}")).json(&json!({})).send();
    patch("none-of-this").problem(404, "unknown_tool");
    patch("python").problem(409, "tool_built_in");
}

#[test]
fn a_policy_says_which_tools_calls_may_name() {
    let server = Server::shared();
    put(server, "allowed", FILES).ok(201);
    put(server, "not-named", FILES).ok(201);
    let policy = json!({ "version": 1, "tools": ["python", "allowed.text.count"] });
    server.post("/v1/sandboxes", &json!({ "name": "tool-policy", "policy": policy })).ok(201);
    assert_eq!(server.get("/v1/sandboxes/tool-policy/policy").ok(200)["tools"], policy["tools"]);
    server.put_file("tool-policy", "/workspace/a.txt", b"one\n");
    let path = json!({ "path": "/workspace/a.txt" });
    assert_eq!(call(server, "tool-policy", "allowed.text.count", &path).ok(200)["status"], "ok");
    let started =
        "import subprocess; print(subprocess.run(['sh', '-c', 'echo inside'], capture_output=True, text=True).stdout)";
    assert_eq!(call(server, "tool-policy", "python", &json!({ "code": started })).ok(200)["stdout"], "inside\n\n");
    let before = server.get("/v1/sandboxes/tool-policy").ok(200)["state"].clone();
    for tool in [
        "not-named.text.count",
        "allowed.text.tree",
        "allowed",
        "shell",
        "python3",
        "none-of-this",
        "allowed.text.counts",
    ] {
        for more in [json!({}), json!({ "dry_run": true }), json!({ "session": "s" })] {
            let mut body = json!({ "tool": tool, "arguments": path });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let problem = server.post("/v1/sandboxes/tool-policy/calls", &body).problem(403, "tool_denied");
            assert!(
                problem["detail"]
                    .as_str()
                    .unwrap()
                    .contains(&format!("`tools` in the policy of this sandbox does not name `{tool}`"))
            );
            let hint = problem["hint"].as_str().unwrap();
            assert!(
                hint.contains("it names python, allowed.text.count") && hint.contains(&format!("\"{tool}\"")),
                "{hint}"
            );
        }
    }
    assert_eq!(server.get("/v1/sandboxes/tool-policy").ok(200)["state"], before);
    let called = User::of(server).run(["call", "tool-policy", "--tool", "shell", "--arguments", "{}"]);
    called.fails(126, "does not name `shell`");
    // What a fork may is what it was made from may.
    server.post("/v1/sandboxes/tool-policy/fork", &json!({ "name": "tool-policy-fork" })).ok(201);
    call(server, "tool-policy-fork", "shell", &json!({ "command": "true" })).problem(403, "tool_denied");
    let nothing = json!({ "name": "tool-policy-none", "policy": { "version": 1, "tools": [] } });
    server.post("/v1/sandboxes", &nothing).ok(201);
    let problem = call(server, "tool-policy-none", "python", &json!({ "code": "1" })).problem(403, "tool_denied");
    assert!(problem["hint"].as_str().unwrap().contains("it names no tool at all"), "{problem}");
    let wrong = json!({ "policy": { "version": 1, "tools": ["*"] } });
    let problem = server.post("/v1/sandboxes", &wrong).problem(422, "invalid_body");
    assert!(problem["detail"].as_str().unwrap().contains("`*` names no tool"), "{problem}");
}

#[test]
fn every_type_crosses_the_wire_exactly() {
    let server = Server::shared();
    put(server, "types-wire", &wasm(TYPES)).ok(201);
    server.create("tool-types");
    let all = json!({ "all": {
        "bool": true, "s8": -128, "u8": 255, "s16": -1, "u16": 65535, "s32": i32::MIN, "u32": u32::MAX,
        "s64": "-9223372036854775807", "u64": 9_007_199_254_740_991_u64, "f32": 0.10000000149011612, "f64": 5e-324,
        "char": "\u{0}", "string": "\u{1f3dc} sand", "bytes": "/+8=", "list": ["", "b"], "tuple": [1, ["x", 2]],
        "colour": "blue", "choice": { "number": "18446744073709551615" }, "nested": null, "outcome": { "ok": null },
        "rights": ["write"], "points": [{ "x": 9, "y": "NaN" }]
    }});
    let ended = call(server, "tool-types", "types-wire.echo", &all).ok(200);
    assert_eq!(ended["result"], all["all"], "{ended}");
    let half = call(server, "tool-types", "types-wire.maths.half", &json!({ "n": 9 })).ok(200);
    assert_eq!(half["result"], json!({ "ok": 4 }));
}

#[test]
fn a_program_is_a_tool_with_arguments_and_an_exit_code() {
    let server = Server::shared();
    let made = put(server, "hello", &wasm(HELLO)).ok(201);
    assert_eq!((&made["kind"], &made["functions"][0]["name"]), (&json!("module"), &json!("hello")), "{made}");
    server.create("tool-program");
    let ended = call(server, "tool-program", "hello", &json!({ "argv": ["x"] })).ok(200);
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("error"), &json!(3)), "{ended}");
    assert_eq!((&ended["stdout"], &ended["result"]), (&json!("hello\n"), &Value::Null));
    call(server, "tool-program", "hello", &json!({ "args": [] })).problem(422, "invalid_arguments");
}

#[test]
fn what_cannot_be_a_tool_is_refused() {
    let server = Server::shared();
    let path = "/v1/tools/refused";
    server.request("PUT", path).bytes(FILES).send().problem(415, "not_wasm");
    server.request("PUT", path).header("content-type", "application/json").bytes(FILES).send().problem(415, "not_wasm");
    put(server, "refused", b"#!/bin/sh").problem(422, "invalid_tool");
    put(server, "refused", b"").problem(422, "invalid_tool");
    put(server, "refused", &FILES[..FILES.len() / 2]).problem(422, "invalid_tool");
    put(server, "refused", &wasm("(component)")).problem(422, "invalid_tool");
    let sockets = wasm(r#"(component (import "wasi:sockets/tcp@0.2.0" (instance (export "f" (func)))))"#);
    let problem = put(server, "refused", &sockets).problem(422, "missing_import");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`wasi:sockets/tcp@0.2.0`") && detail.contains("wasi:filesystem/*"), "{detail}");
    assert!(problem["hint"].as_str().unwrap().contains("stub_imports=true"), "{problem}");
    put(server, "python", FILES).problem(409, "reserved_name");
    put(server, "Bad%20Name", FILES).problem(422, "invalid_name");
    put(server, "..%2f..%2fx", FILES).problem(422, "invalid_name");
    // Code that somebody else compiled is never taken.
    put(server, "refused", b"\x7fELF\x02\x01\x01\x00wasmtime").problem(422, "invalid_tool");
    server.get("/v1/tools/refused").problem(404, "unknown_tool");
    server.delete("/v1/tools/refused").problem(404, "unknown_tool");
    server.delete("/v1/tools/python").problem(409, "tool_built_in");
}

#[test]
fn a_hostile_tool_ends_its_own_call_alone() {
    let server = Server::shared();
    put(server, "hostile", &wasm(HOSTILE)).ok(201);
    let policy = json!({ "version": 1, "limits": { "cpu": "1s", "memory": "64MiB" } });
    server.post("/v1/sandboxes", &json!({ "name": "tool-hostile", "policy": policy })).ok(201);
    let before = server.get("/v1/sandboxes/tool-hostile").ok(200);
    for (function, status, word) in [
        ("loop", "limit", "limits.cpu"),
        ("grow", "limit", "limits.memory"),
        ("trap", "trapped", "unreachable"),
        ("recurse", "trapped", "stack"),
        ("wild-string", "trapped", "bounds"),
        ("wild-list", "trapped", ""),
        ("bad-utf8", "trapped", "utf-8"),
        ("huge", "trapped", "fuel"),
    ] {
        let ended = call(server, "tool-hostile", &format!("hostile.{function}"), &json!({})).ok(200);
        assert_eq!(ended["status"], status, "{function}: {ended}");
        assert!(ended["message"].as_str().unwrap().contains(word), "{function}: {ended}");
        assert_eq!(ended["before"], ended["after"], "{function}");
    }
    let body = json!({ "tool": "hostile.loop", "arguments": {}, "timeout_ms": 50 });
    let ended = server.post("/v1/sandboxes/tool-hostile/calls", &body).ok(200);
    assert!(["timeout", "limit"].contains(&ended["status"].as_str().unwrap()), "{ended}");
    assert_eq!(server.get("/v1/sandboxes/tool-hostile").ok(200)["state"], before["state"]);
}

#[test]
fn an_admin_uploads_and_whoever_may_call_may_look() {
    let server = Server::shared();
    put(server, "scoped", FILES).ok(201);
    server.create("tool-scoped");
    let (agent, _) =
        server.make_token(&json!({ "name": "agent", "scopes": ["read", "call", "undo"], "sandbox": "tool-scoped" }));
    let listed = server.request_as(&agent, "GET", "/v1/tools").send().ok(200);
    assert!(listed["items"].as_array().unwrap().iter().any(|tool| tool["name"] == "scoped"));
    server.request_as(&agent, "GET", "/v1/tools/scoped").send().ok(200);
    let body = json!({ "tool": "scoped.text.count", "arguments": { "path": "/none" } });
    server.request_as(&agent, "POST", "/v1/sandboxes/tool-scoped/calls").json(&body).send().ok(200);
    for method in ["PUT", "PATCH", "DELETE"] {
        let request = server.request_as(&agent, method, "/v1/tools/scoped").header("content-type", "application/wasm");
        request.bytes(FILES).send().problem(403, "missing_scope");
    }
}

#[test]
fn tools_survive_kill_and_damage_is_noticed() {
    let server = Server::start();
    put(&server, "kept", FILES).ok(201);
    server.create("box");
    let ended = call(&server, "box", "kept.text.count", &json!({ "path": "/none" })).ok(200);
    let server = Server::start_over(server.kill());
    let all = server.get("/v1/tools").ok(200);
    assert!(all["items"].as_array().unwrap().iter().any(|tool| tool["name"] == "kept"), "{all}");
    let again = call(&server, "box", "kept.text.count", &json!({ "path": "/none" })).ok(200);
    assert_eq!((&again["result"], &again["guest"]), (&ended["result"], &ended["guest"]));
    let path = format!("/v1/sandboxes/box/calls/{}", ended["id"].as_str().unwrap());
    assert_eq!(server.get(&path).ok(200)["result"], ended["result"]);
    // Replaced under its name, the new one is called; gone, it is unknown, and the log still has what it did.
    put(&server, "kept", &wasm(TYPES)).ok(200);
    call(&server, "box", "kept.text.count", &json!({})).problem(404, "unknown_tool");
    call(&server, "box", "kept.maths.half", &json!({ "n": 2 })).ok(200);
    let wasm_file = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "wasm")).collect();
        assert_eq!(found.len(), 1, "what was replaced is gone: {found:?}");
        found.into_iter().next().unwrap()
    };
    let file = wasm_file(&place(&server));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let server = Server::start_over(server.kill());
    let failed = call(&server, "box", "kept.maths.half", &json!({ "n": 2 }));
    failed.problem(500, "tool_damaged");
    put(&server, "kept", &wasm(TYPES)).ok(200);
    call(&server, "box", "kept.maths.half", &json!({ "n": 2 })).ok(200);
    assert_eq!(server.delete("/v1/tools/kept").status, 204);
    call(&server, "box", "kept.maths.half", &json!({ "n": 2 })).problem(404, "unknown_tool");
    assert_eq!(server.get(&path).ok(200)["result"], ended["result"]);
    drop(server.stop());
}

#[test]
fn the_command_line_adds_shows_calls_and_removes() {
    let server = Server::shared();
    let user = User::of(server);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("files.wasm");
    std::fs::write(&file, FILES).unwrap();
    let added = user.run(["tools", "add", "cli-files", file.to_str().unwrap(), "--description", "Counts."]).ok();
    assert!(added.contains("cli-files can be called: 3 functions\n  cli-files.text.count\n"), "{added}");
    let wit = directory.path().join("files.wit");
    std::fs::write(
        &wit,
        "package a:b; interface text { /// Counts lines.\n count: func(path: string); other: func(); }",
    )
    .unwrap();
    user.run(["tools", "describe", "cli-files", "--wit", wit.to_str().unwrap()]).ok();
    user.run(["tools", "describe", "cli-files.text.tree", "Lists all below."]).ok();
    let shown = user.run(["tools", "show", "cli-files"]).ok();
    assert!(shown.contains("cli-files.text.count\n  Counts lines.\n"), "{shown}");
    assert!(shown.contains("cli-files.text.tree\n  Lists all below.\n"), "{shown}");
    user.run(["tools", "describe", "cli-files.text.tree", ""]).ok();
    assert!(!user.run(["tools", "show", "cli-files"]).ok().contains("Lists all below."));
    user.run(["tools", "describe", "cli-files.text.none", "x"]).fails(125, "no function `cli-files.text.none`");
    std::fs::write(&wit, "package a:b; interface text { count: func(path: string); }").unwrap();
    user.run(["tools", "describe", "cli-files", "--wit", wit.to_str().unwrap()])
        .fails(125, "says nothing of the functions");
    let none = directory.path().join("none.wit");
    user.run(["tools", "describe", "cli-files", "--wit", none.to_str().unwrap()]).fails(127, "none.wit");
    assert!(user.run(["tools"]).ok().contains("cli-files"));
    assert!(user.run(["tools", "ls"]).ok().contains("python"));
    let shown = user.run(["tools", "show", "cli-files"]).ok();
    assert!(shown.contains("count: func(path: string)") && shown.contains("Counts."), "{shown}");
    assert_eq!(user.run(["tools", "show", "cli-files", "--json"]).json(0)["name"], "cli-files");
    server.create("tool-cli");
    server.put_file("tool-cli", "/workspace/a.txt", b"a b");
    let arguments = r#"{"path": "/workspace/a.txt"}"#;
    let called = user.run(["call", "tool-cli", "--tool", "cli-files.text.count", "--arguments", arguments]).ok();
    assert_eq!(called, "{\"ok\":{\"bytes\":3,\"lines\":1,\"words\":2}}\n");
    let failed = user.run(["call", "tool-cli", "--tool", "cli-files.text.count", "-a", r#"{"path": "/none"}"#]);
    assert_eq!(failed.code, 1);
    assert_eq!(user.run(["call", "tool-cli", "--tool", "cli-files.text.count", "-a", "nonsense"]).code, 2);
    assert_eq!(user.run(["tools", "rm", "cli-files"]).ok(), "cli-files is removed\n");
    assert_eq!(user.run(["tools", "show", "cli-files"]).code, 127);
    assert_eq!(user.run(["tools", "add", "x", "/no/such/file"]).code, 127);
}
