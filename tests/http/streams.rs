//! Streams: a call's output and a sandbox's operations, as they come and from where one left off.

use serde_json::{Value, json};

use crate::support::{Event, Server};

const STEPS: &str = "import sys, time\nfor i in range(4):\n    print('line', i, flush=True)\n    time.sleep(0.05)\nprint('oops', file=sys.stderr)";

fn body(code: &str) -> Value {
    json!({ "tool": "python", "arguments": { "code": code } })
}

fn printed(events: &[Event], stream: &str) -> String {
    let mine = events.iter().filter(|event| event.name == "output" && event.data["stream"] == stream);
    mine.map(|event| event.data["text"].as_str().unwrap()).collect()
}

/// Reads output up to where it ends with `end`: a program may print a line in several pieces.
pub(super) fn output_until(events: &mut impl Iterator<Item = Event>, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let event = events.next().unwrap();
        assert_eq!(event.name, "output", "{text}: {}", event.data);
        text.push_str(event.data["text"].as_str().unwrap());
    }
    text
}

#[test]
fn output_streams_while_the_call_runs() {
    let server = Server::shared();
    server.create("stream");
    let request =
        server.request("POST", "/v1/sandboxes/stream/calls").json(&body("print('on', flush=True)\nwhile True: pass"));
    let mut events = request.events();
    let first = events.next().unwrap();
    assert_eq!(first.name, "call");
    let id = first.data["id"].as_str().unwrap().to_owned();
    assert_eq!(output_until(&mut events, "\n"), "on\n");
    let running = server.get(&format!("/v1/sandboxes/stream/calls/{id}")).ok(200);
    assert_eq!(running["status"], "running");
    assert_eq!(server.get("/v1/sandboxes/stream").ok(200)["status"], "running");
    server.delete(&format!("/v1/sandboxes/stream/calls/{id}")).ok(202);
    let result = events.next().unwrap();
    assert_eq!((result.name.as_str(), result.data["status"].as_str()), ("result", Some("cancelled")));
    assert_eq!(events.next(), None);
}

#[test]
fn a_stream_can_be_taken_up_at_every_event() {
    let server = Server::shared();
    server.create("resume");
    let events: Vec<_> = server.request("POST", "/v1/sandboxes/resume/calls").json(&body(STEPS)).events().collect();
    assert_eq!(printed(&events, "stdout"), "line 0\nline 1\nline 2\nline 3\n");
    assert_eq!(printed(&events, "stderr"), "oops\n");
    let result = events.last().unwrap();
    assert_eq!(result.data["stdout"], printed(&events, "stdout"));
    let ids: Vec<_> = events.iter().filter_map(|event| event.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "events are numbered without gaps");
    let path = format!("/v1/sandboxes/resume/calls/{}/events", result.data["id"].as_str().unwrap());
    let whole: Vec<_> = server.request("GET", &path).events().collect();
    assert_eq!(whole, events);
    for seen in 1..ids.len() {
        let rest: Vec<_> = server.request("GET", &path).header("last-event-id", &seen.to_string()).events().collect();
        assert_eq!(rest, events[seen + 1..], "after event {seen}");
    }
    let end = server.request("GET", &path).header("last-event-id", &ids.len().to_string()).send();
    assert_eq!((end.status, end.body.len()), (204, 0));
    server.request("GET", &path).header("last-event-id", "x").send().problem(400, "invalid_event_id");
}

#[test]
fn a_reader_that_comes_in_the_middle_misses_nothing() {
    let server = Server::shared();
    server.create("middle");
    let id = server.start_call("middle", STEPS)["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/sandboxes/middle/calls/{id}/events");
    let mut seen: Vec<Event> = Vec::new();
    // Each reader takes one event and goes away.
    while seen.last().is_none_or(|event| event.name != "result") {
        let last = seen.iter().rev().find_map(|event| event.id).unwrap_or(0);
        let request = server.request("GET", &path).header("last-event-id", &last.to_string());
        seen.push(request.events().next().unwrap());
    }
    assert_eq!(printed(&seen, "stdout"), "line 0\nline 1\nline 2\nline 3\n");
}

#[test]
fn a_call_goes_on_without_its_client() {
    let server = Server::shared();
    server.create("alone");
    let code = "import time; print('on', flush=True); time.sleep(0.3); open('/workspace/done', 'w').write('yes')";
    let mut events = server.request("POST", "/v1/sandboxes/alone/calls").json(&body(code)).events();
    let id = events.next().unwrap().data["id"].as_str().unwrap().to_owned();
    drop(events);
    assert_eq!(server.wait_for_call("alone", &id)["status"], "ok");
    assert_eq!(server.get("/v1/sandboxes/alone/files/workspace/done").ok_bytes(200), b"yes");
}

#[test]
fn an_asynchronous_call_is_found_where_it_says() {
    let server = Server::shared();
    server.create("async");
    let answer = server
        .request("POST", "/v1/sandboxes/async/calls")
        .header("prefer", "respond-async")
        .json(&body("import time; time.sleep(0.2); print('late')"))
        .send();
    assert_eq!(answer.header("preference-applied"), "respond-async");
    let pending = answer.ok(202);
    assert!(matches!(pending["status"].as_str(), Some("queued" | "running")));
    let path = answer.header("location");
    assert!(path.ends_with(pending["id"].as_str().unwrap()));
    let call = server.request("GET", path).header("prefer", "wait=60").send().ok(200);
    assert_eq!((call["status"].as_str(), call["stdout"].as_str()), (Some("ok"), Some("late\n")));
    let patient = server.request("POST", "/v1/sandboxes/async/calls").header("prefer", "respond-async, wait=60");
    assert_eq!(patient.json(&body("print('soon')")).send().ok(200)["stdout"], "soon\n");
}

#[test]
fn output_that_is_no_text_streams_exactly() {
    let server = Server::shared();
    server.create("stream-bytes");
    let code = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe')";
    let events: Vec<_> =
        server.request("POST", "/v1/sandboxes/stream-bytes/calls").json(&body(code)).events().collect();
    let output = events.iter().find(|event| event.name == "output").unwrap();
    assert_eq!((output.data["base64"].as_str(), output.data.get("text")), (Some("//4="), None));
}

#[test]
fn a_stream_of_a_call_from_the_log_has_its_output_and_result() {
    let server = Server::start();
    server.create("logged");
    let id = server.call("logged", "print('kept')")["id"].as_str().unwrap().to_owned();
    let server = Server::start_over(server.stop());
    let path = format!("/v1/sandboxes/logged/calls/{id}/events");
    let events: Vec<_> = server.request("GET", &path).events().collect();
    assert_eq!(printed(&events, "stdout"), "kept\n");
    assert_eq!(events.last().unwrap().data["id"], id.as_str());
    let rest: Vec<_> = server.request("GET", &path).header("last-event-id", "1").events().collect();
    assert_eq!(rest.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["result"]);
    assert_eq!(server.request("GET", &path).header("last-event-id", "2").send().status, 204);
}

#[test]
fn operations_are_followed_from_any_point() {
    let server = Server::shared();
    let first = server.create("follow")["seq"].as_u64().unwrap();
    let path = "/v1/sandboxes/follow/events";
    let mut all = server.request("GET", &format!("{path}?after=0")).events();
    let mut new = server.request("GET", path).events();
    server.call("follow", "open('/workspace/a', 'w').close()");
    server.post("/v1/sandboxes/follow/checkpoints", &json!({ "name": "no-operation" })).ok(201);
    server.post("/v1/sandboxes/follow/undo", &json!({})).ok(200);
    let kinds = |events: &[Event]| {
        events.iter().map(|event| event.data["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let seen: Vec<_> = all.by_ref().take(3).collect();
    assert_eq!(kinds(&seen), ["create", "call", "undo"]);
    assert_eq!(seen[0].id, Some(first));
    assert!(seen.iter().all(|event| event.name == "operation" && event.id == event.data["seq"].as_u64()));
    assert_eq!(kinds(&new.by_ref().take(2).collect::<Vec<_>>()), ["call", "undo"]);
    let call = seen[1].id.unwrap().to_string();
    let rest: Vec<_> = server.request("GET", path).header("last-event-id", &call).events().take(1).collect();
    assert_eq!(rest, seen[2..]);
    assert_eq!(server.delete("/v1/sandboxes/follow").status, 204);
    assert_eq!(kinds(&all.collect::<Vec<_>>()), ["delete"], "the stream ends with its sandbox");
}
