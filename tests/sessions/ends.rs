//! The ends of sessions: one by one, and back again.

use serde_json::json;

use super::{result, undo};
use crate::support::{Server, User};

#[test]
fn a_session_is_ended_and_an_undo_brings_it_back() {
    let server = Server::shared();
    server.create("session-ended");
    let run = |code: &str| result(server, "session-ended", "s", code);
    run("x = bytes(range(256)) * 4096; f = open('log', 'w+'); f.write('kept'); f.flush()");
    result(server, "session-ended", "other", "y = 7");
    let path = "/v1/sandboxes/session-ended/sessions/s";
    let seen = server.get(path);
    let session = seen.ok(200);
    assert!(session["memory_bytes"].as_u64().unwrap() > session["stored_bytes"].as_u64().unwrap(), "{session}");
    assert!(session["stored_bytes"].as_u64().unwrap() > 1 << 20, "{session}");
    let tag = seen.header("etag").to_owned();
    run("x = 2");
    // Somebody went on with it since.
    server.request("DELETE", path).header("if-match", &tag).send().problem(412, "precondition_failed");
    let tag = server.get(path).header("etag").to_owned();
    let ended = server.request("DELETE", path).header("if-match", &tag).send().ok(200);
    assert_eq!(
        (&ended["operation"]["kind"], &ended["operation"]["detail"]),
        (&json!("end"), &json!({ "session": "s" }))
    );
    assert_ne!(ended["before"], ended["after"]);
    assert_eq!(ended["changes"]["modified"], 0, "files stay: {ended}");
    server.delete(path).problem(404, "no_such_session");
    server.get(path).problem(404, "no_such_session");
    let names = || {
        let listed = server.get("/v1/sandboxes/session-ended/sessions").ok(200);
        let names = listed["items"].as_array().unwrap().iter().map(|session| session["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(), ["other"]);
    undo(server, "session-ended", 1);
    assert_eq!(run("x, f.tell(), open('log').read()"), "(2, 4, 'kept')");
    // Ended again, and another one of its name begun: both can't be there.
    let ended = server.delete(path).ok(200);
    assert_eq!(run("'x' in dir()"), "False", "the next call begins a new one");
    let revert = json!({ "seq": ended["operation"]["seq"] });
    let reverted = |code| server.post("/v1/sandboxes/session-ended/revert", &revert).problem(409, code);
    reverted("session_exists");
    server.delete(path).ok(200);
    server.put_file("session-ended", "/workspace/later", b"later");
    server.post("/v1/sandboxes/session-ended/revert", &revert).ok(200);
    assert_eq!(run("x, open('later').read()"), "(2, 'later')", "it is back, and what came later stays");
    reverted("session_exists");
    assert_eq!(result(server, "session-ended", "other", "y"), "7");
}

#[test]
fn an_ended_session_stays_ended_over_restarts_and_stores() {
    let server = Server::start();
    server.create("session-over");
    result(&server, "session-over", "s", "x = 1");
    server.delete("/v1/sandboxes/session-over/sessions/s").ok(200);
    let server = Server::start_over(server.kill());
    assert_eq!(server.get("/v1/sandboxes/session-over/sessions").ok(200)["items"], json!([]));
    let verified = server.post("/v1/store/verify", &json!({})).ok(200);
    assert_eq!(verified["whole"], true, "{verified}");
    undo(&server, "session-over", 1);
    assert_eq!(result(&server, "session-over", "s", "x"), "1");
    let user = User::of(&server);
    let listed = user.run(["sessions", "session-over"]).ok();
    assert!(listed.contains("python") && listed.contains("MiB"), "{listed}");
    assert!(user.run(["sessions", "show", "session-over", "s"]).ok().contains("in the store"));
    assert_eq!(user.run(["sessions", "rm", "session-over", "s"]).ok(), "s ended\n");
    user.run(["sessions", "rm", "session-over", "s"]).fails(127, "no session `s`");
    assert!(user.run(["log", "session-over"]).ok().lines().any(|line| line.contains(" end ") && line.ends_with(" s")));
}
