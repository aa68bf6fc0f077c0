//! Tokens: an agent's own, from its making to its end, and everything that it must not be able to do.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Server};

/// The token that an agent is given.
struct Agent<'a> {
    server: &'a Server,
    secret: String,
    id: String,
}

impl<'a> Agent<'a> {
    fn of(server: &'a Server, sandbox: &str) -> Self {
        let body = json!({ "name": "agent", "scopes": ["undo", "read", "call"], "sandbox": sandbox });
        let (secret, id) = server.make_token(&body);
        Self { server, secret, id }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        self.server.request_as(&self.secret, method, path).send()
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.server.request_as(&self.secret, "POST", path).json(body).send()
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Value {
        let answer = self.server.request_as(&self.secret, "PUT", path).bytes(bytes).send();
        answer.ok(answer.status)
    }
}

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// Whether any file below a directory holds these bytes.
fn is_in_a_file(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_in_a_file(&path, needle);
        }
        std::fs::read(&path).unwrap_or_default().windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn an_agent_works_in_its_sandbox_under_its_own_name() {
    let server = Server::shared();
    server.create("agent-works");
    let agent = Agent::of(server, "agent-works");
    assert!(agent.secret.starts_with("sg_") && agent.secret.len() == 46);
    let at = |rest: &str| format!("/v1/sandboxes/agent-works{rest}");
    let moved = agent.put(&at("/files/workspace/a.txt"), b"one");
    let call = json!({ "tool": "python", "arguments": { "code": "print(open('a.txt').read())" } });
    let call = agent.post(&at("/calls"), &call).ok(200);
    assert_eq!((&call["stdout"], &call["actor"]), (&json!("one\n"), &json!("agent")));
    agent.get(&at(&format!("/calls/{}", call["id"].as_str().unwrap()))).ok(200);
    agent.post(&at("/checkpoints"), &json!({ "name": "kept" })).ok(201);
    agent.post(&at("/undo"), &json!({})).ok(200);
    agent.post(&at("/redo"), &json!({})).ok(200);
    agent.post(&at("/restore"), &json!({ "seq": 1 })).ok(200);
    agent.post(&at("/restore"), &json!({ "checkpoint": "kept" })).ok(200);
    agent.post(&at("/restore"), &json!({ "state": moved["before"] })).ok(200);
    let log = agent.get(&at("/operations")).ok(200);
    let actors: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| one["actor"].as_str().unwrap()).collect();
    assert!(actors[..actors.len() - 1].iter().all(|actor| *actor == "agent"), "{actors:?}");
    assert_eq!(actors.last(), Some(&"admin"));
    let listed = server.get("/v1/tokens?limit=1000").ok(200);
    let own = listed["items"].as_array().unwrap().iter().find(|token| token["id"] == *agent.id).unwrap();
    assert_eq!((&own["name"], &own["status"]), (&json!("agent"), &json!("active")));
    assert_eq!(own["scopes"], json!(["read", "call", "undo"]));
    assert!(own["last_used"].is_string() && own.get("secret").is_none() && own.get("hash").is_none(), "{own}");
}

#[test]
fn an_agent_takes_nothing_away_for_good() {
    let server = Server::shared();
    server.create("agent-keeps");
    let agent = Agent::of(server, "agent-keeps");
    let at = |rest: &str| format!("/v1/sandboxes/agent-keeps{rest}");
    agent.post(&at("/checkpoints"), &json!({ "name": "kept" })).ok(201);
    agent.ask("DELETE", &at("")).problem(403, "missing_scope");
    agent.ask("DELETE", &at("/checkpoints/kept")).problem(403, "missing_scope");
    let policy = json!({ "version": 1 });
    let before = agent.get(&at("/policy")).ok(200);
    for method in ["PUT", "POST", "PATCH"] {
        let request = server.request_as(&agent.secret, method, &at("/policy"));
        request.json(&policy).send().problem(403, "missing_scope");
    }
    assert_eq!(agent.get(&at("/policy")).ok(200), before);
    agent.post("/v1/sandboxes", &json!({ "name": "agent-made" })).problem(403, "missing_scope");
    agent.post("/v1/tokens", &json!({ "name": "more", "scopes": ["admin"] })).problem(403, "missing_scope");
    agent.get("/v1/tokens").problem(403, "missing_scope");
    agent.ask("DELETE", &format!("/v1/tokens/{}", agent.id)).problem(403, "missing_scope");
    let fork = agent.post(&at("/fork"), &json!({})).problem(403, "bound_token");
    assert!(fork["detail"].as_str().unwrap().contains("bound to no sandbox"), "{fork}");
    agent.get("/metrics").problem(403, "bound_token");
    assert_eq!(names(&agent.get(&at("/checkpoints")).ok(200)), ["kept"]);
}

#[test]
fn an_agent_sees_no_other_sandbox_and_no_other_state() {
    let server = Server::shared();
    let base = server.create("agent-base");
    let foreign = server.put_file("agent-base", "/workspace/secret.txt", b"theirs");
    let foreign = foreign["after"].as_str().unwrap();
    let fork = json!({ "name": "agent-sees", "state": base["state"] });
    let own = server.post("/v1/sandboxes/agent-base/fork", &fork).ok(201);
    assert_eq!(own["parent"], base["id"]);
    let agent = Agent::of(server, "agent-sees");
    let at = |rest: &str| format!("/v1/sandboxes/agent-sees{rest}");

    assert_eq!(names(&agent.get("/v1/sandboxes").ok(200)), ["agent-sees"]);
    agent.get("/v1/sandboxes/agent-base").problem(404, "unknown_sandbox");
    let own_id = format!("/v1/sandboxes/{}", own["id"].as_str().unwrap());
    assert_eq!(agent.get(&own_id).ok(200)["parent"], Value::Null);
    let log = agent.get(&at("/operations")).ok(200).to_string();
    let events = server.request_as(&agent.secret, "GET", &at("/events?after=0")).events().next().unwrap();
    for text in [&log, &events.data.to_string()] {
        assert!(!text.contains("agent-base") && !text.contains(base["id"].as_str().unwrap()), "{text}");
    }

    let nowhere = "0".repeat(64);
    for state in [foreign, &nowhere] {
        let unknown = [
            agent.get(&format!("/v1/states/{state}/export")),
            agent.get(&at(&format!("/files/workspace/secret.txt?state={state}"))),
            agent.get(&at(&format!("/files?state={state}"))),
            agent.get(&at(&format!("/diff?from={state}"))),
            agent.get(&at(&format!("/diff?to={state}"))),
            agent.post(&at("/restore"), &json!({ "state": state })),
            agent.post(&at("/restore"), &json!({ "state": state, "paths": ["/workspace"] })),
        ];
        for answer in unknown {
            let problem = answer.problem(404, "unknown_state");
            assert_eq!(problem["detail"], format!("there is no state {state}"));
        }
    }
    // Its own states are its own, also the first, which it has from elsewhere, and those that were taken back.
    let written = agent.put(&at("/files/workspace/mine.txt"), b"mine");
    agent.post(&at("/undo"), &json!({})).ok(200);
    for state in [&written["before"], &written["after"]] {
        let state = state.as_str().unwrap();
        assert_eq!(agent.get(&format!("/v1/states/{state}/export")).status, 200);
        agent.get(&at(&format!("/files?state={state}"))).ok(200);
        agent.get(&at(&format!("/diff?from={state}"))).ok(200);
    }
    agent.post(&at("/restore"), &json!({ "state": written["after"] })).ok(200);
}

#[test]
fn a_name_that_changes_hands_takes_no_agent_along() {
    let server = Server::shared();
    let first = server.create("agent-name");
    let agent = Agent::of(server, "agent-name");
    agent.get("/v1/sandboxes/agent-name").ok(200);
    assert_eq!(server.delete("/v1/sandboxes/agent-name").status, 204);
    server.create("agent-name");
    agent.get("/v1/sandboxes/agent-name").problem(404, "unknown_sandbox");
    agent.get(&format!("/v1/sandboxes/{}", first["id"].as_str().unwrap())).problem(404, "unknown_sandbox");
    agent.get(&format!("/v1/states/{}/export", first["state"].as_str().unwrap())).problem(404, "unknown_state");
    assert_eq!(names(&agent.get("/v1/sandboxes").ok(200)), [""; 0]);
}

#[test]
fn tokens_that_make_no_sense_are_not_made() {
    let server = Server::shared();
    server.create("token-sense");
    let refused = |body: Value, status, code: &str| server.post("/v1/tokens", &body).problem(status, code);
    refused(json!({ "name": "", "scopes": ["read"] }), 422, "invalid_name");
    refused(json!({ "name": "a b", "scopes": ["read"] }), 422, "invalid_name");
    refused(json!({ "name": "-a", "scopes": ["read"] }), 422, "invalid_name");
    refused(json!({ "name": "a".repeat(64), "scopes": ["read"] }), 422, "invalid_name");
    refused(json!({ "name": "admin", "scopes": ["read"] }), 422, "invalid_name");
    refused(json!({ "name": "a", "scopes": [] }), 422, "invalid_scopes");
    refused(json!({ "name": "a", "scopes": ["all"] }), 422, "invalid_body");
    refused(json!({ "name": "a", "scopes": ["admin"], "sandbox": "token-sense" }), 422, "invalid_scopes");
    refused(json!({ "name": "a", "scopes": ["read"], "sandbox": "nobody" }), 404, "unknown_sandbox");
    refused(json!({ "name": "a", "scopes": ["read"], "expires_in_seconds": 0 }), 422, "invalid_body");
    refused(json!({ "name": "a", "scopes": ["read"], "expires_in_seconds": u64::MAX }), 422, "invalid_body");
    refused(json!({ "name": "a", "scopes": ["read"], "secret": "sg_mine" }), 422, "invalid_body");
    let request = server.request("POST", "/v1/tokens").header("idempotency-key", "once");
    request.json(&json!({ "name": "a", "scopes": ["read"] })).send().problem(422, "idempotency_key_unsupported");
    server.delete("/v1/tokens/tok_none").problem(404, "unknown_token");
    server.delete("/v1/tokens/admin").problem(404, "unknown_token");
}

#[test]
fn answers_are_repeated_to_who_got_them_and_nobody_else() {
    let server = Server::shared();
    server.create("token-keys");
    server.put_file("token-keys", "/workspace/a", b"1");
    server.put_file("token-keys", "/workspace/b", b"2");
    server.put_file("token-keys", "/workspace/c", b"3");
    let (one, two) = (Agent::of(server, "token-keys"), Agent::of(server, "token-keys"));
    let undo = |token: &str| {
        let request = server.request_as(token, "POST", "/v1/sandboxes/token-keys/undo");
        let answer = request.header("idempotency-key", "the same").json(&json!({})).send();
        (answer.headers.contains_key("idempotency-replayed"), answer.ok(200)["operation"]["seq"].as_u64().unwrap())
    };
    let first = [server.token(), &one.secret, &two.secret].map(&undo);
    assert!(first.iter().all(|(replayed, _)| !replayed), "{first:?}");
    let again = [server.token(), &one.secret, &two.secret].map(undo);
    assert_eq!(again, first.map(|(_, seq)| (true, seq)));
}

#[test]
fn what_has_ended_opens_nothing_also_after_a_power_cut() {
    let server = Server::start();
    server.create("ends");
    let make = |name: &str, seconds: Option<u64>| {
        let mut body = json!({ "name": name, "scopes": ["read"], "sandbox": "ends" });
        if let Some(seconds) = seconds {
            body["expires_in_seconds"] = json!(seconds);
        }
        server.make_token(&body)
    };
    let (stays, _) = make("stays", Some(3600));
    let (revoked, revoked_id) = make("revoked", None);
    let (expires, _) = make("expires", Some(1));
    let status = |server: &Server, token: &str| server.request_as(token, "GET", "/v1/sandboxes/ends").send();
    status(&server, &revoked).ok(200);
    assert_eq!(server.delete(&format!("/v1/tokens/{revoked_id}")).status, 204);
    let answer = status(&server, &revoked);
    answer.problem(401, "revoked_token");
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    assert_eq!(server.delete(&format!("/v1/tokens/{revoked_id}")).status, 204, "again is no failure");
    let deadline = Instant::now() + Duration::from_secs(30);
    while status(&server, &expires).status == 200 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    status(&server, &expires).problem(401, "expired_token");
    let listed = server.get("/v1/tokens").ok(200);
    let statuses = |list: &Value| {
        let items = list["items"].as_array().unwrap();
        // Tokens of the same millisecond come in any order.
        let mut statuses: Vec<_> = items.iter().map(|token| token["status"].as_str().unwrap().to_owned()).collect();
        statuses.sort();
        statuses
    };
    assert_eq!(statuses(&listed), ["active", "expired", "revoked"]);

    let server = Server::start_over(server.kill());
    status(&server, &stays).ok(200);
    status(&server, &revoked).problem(401, "revoked_token");
    status(&server, &expires).problem(401, "expired_token");
    let again = server.get("/v1/tokens").ok(200);
    assert_eq!(statuses(&again), statuses(&listed));
    let page = server.get("/v1/tokens?limit=2").ok(200);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = server.get(&format!("/v1/tokens?limit=2&cursor={next}")).ok(200);
    assert_eq!([names(&page), names(&rest)].concat(), ["stays", "revoked", "expires"]);
    let data = server.stop();
    for secret in [&stays, &revoked, &expires] {
        assert!(!is_in_a_file(data.path(), secret.as_bytes()), "a secret is on disk");
    }
}

#[test]
fn a_revoked_token_hears_nothing_more() {
    let server = Server::shared();
    server.create("token-stream");
    let agent = Agent::of(server, "token-stream");
    let mut events = server.request_as(&agent.secret, "GET", "/v1/sandboxes/token-stream/events?after=0").events();
    assert_eq!(events.next().unwrap().data["kind"], "create");
    let (sender, heard) = mpsc::channel();
    let listener = std::thread::spawn(move || events.for_each(|event| sender.send(event.name).unwrap()));
    assert_eq!(server.delete(&format!("/v1/tokens/{}", agent.id)).status, 204);
    server.put_file("token-stream", "/workspace/later", b"x");
    // The stream ends, and nothing came before that.
    assert_eq!(heard.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    listener.join().unwrap();
}

#[test]
fn who_waits_with_a_token_that_ends_is_told_nothing() {
    let server = Server::shared();
    server.create("token-waits");
    let agent = Agent::of(server, "token-waits");
    let call = server.start_call("token-waits", "print('ready', flush=True)\nwhile True: pass");
    let call = call["id"].as_str().unwrap();
    server.wait_for_output("token-waits", call, "ready");
    let path = format!("/v1/sandboxes/token-waits/calls/{call}");
    let waiting = server.request_as(&agent.secret, "GET", &path).header("prefer", "wait=60");
    let waiting = std::thread::spawn(move || waiting.send());
    // It need not wait already: either way it is refused.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.delete(&format!("/v1/tokens/{}", agent.id)).status, 204);
    assert_eq!(server.delete(&path).status, 202);
    waiting.join().unwrap().problem(401, "revoked_token");
}

#[test]
fn tokens_are_in_no_log_and_in_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let file = File::create(&log).unwrap();
    let server = Server::start_logging(tempfile::tempdir().unwrap(), &["--log", "trace"], file.into());
    server.create("quiet");
    let agent = Agent::of(&server, "quiet").secret;
    let (revoked, id) = server.make_token(&json!({ "name": "gone", "scopes": ["read"] }));
    assert_eq!(server.delete(&format!("/v1/tokens/{id}")).status, 204);
    let wrong = format!("sg_{}", "x".repeat(43));
    let admin = server.token().to_owned();
    let secrets = [&admin, &agent, &revoked, &wrong];
    for secret in secrets {
        for authorization in [
            format!("Bearer {secret}"),
            format!("bearer   {secret}"),
            format!("Bearer {secret}{secret}"),
            format!("Basic {secret}"),
            secret.clone(),
        ] {
            for (method, path) in [
                ("GET", "/v1/sandboxes"),
                ("GET", "/v1/sandboxes/none"),
                ("DELETE", "/v1/sandboxes/none"),
                ("POST", "/v1/sandboxes/quiet/calls"),
                ("GET", "/nowhere"),
                ("BREW", "/v1/tokens"),
            ] {
                let request = crate::support::Request::new(method, &format!("{}{path}", server.url()));
                let answer = request.header("authorization", &authorization).send();
                let text = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
                assert!(!secrets.iter().any(|secret| text.contains(&secret[3..])), "{method} {path}: {text}");
            }
        }
        // Who mistakes a secret for an id is not told it again.
        let answer = server.delete(&format!("/v1/tokens/{secret}"));
        assert!(!answer.text().contains(&secret[3..]), "{}", answer.text());
    }
    let data = server.stop();
    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    assert!(text.contains("token made") && text.contains("token revoked"), "{text}");
    for secret in secrets {
        assert!(!text.contains(&secret[3..]), "a token is in the log");
    }
    assert!(!is_in_a_file(data.path(), agent.as_bytes()));
}
