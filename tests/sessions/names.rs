//! Two states of a session, compared by the names that it has.

use serde_json::json;

use super::{call, result};
use crate::support::{Server, User};

#[test]
fn two_states_of_a_session_are_compared_by_name() {
    let server = Server::shared();
    server.create("session-diff");
    let run = |code: &str| call(server, "session-diff", "s", code);
    run(
        "import math, random\nkept = [1, 2]; gone = 1; big = list(range(1000)); rng = random.Random(1)\ndef f(a): return a",
    );
    let from = server.get("/v1/sandboxes/session-diff").ok(200)["seq"].as_u64().unwrap();
    run("del gone; big[500] = 0; rng.random(); new = {'a': (1, 2)}; import json\ndef f(a): return a + 1");
    run(
        "class Endless:\n    def __repr__(self):\n        while True: pass\nclass Wrong:\n    def __repr__(self): return 1 / 0\n\
         endless, wrong, deep = Endless(), Wrong(), []\nfor _ in range(100000): deep = [deep]",
    );
    let before = server.get("/v1/sandboxes/session-diff").ok(200);
    let path = "/v1/sandboxes/session-diff/sessions/s/diff";
    let diff = server.get(&format!("{path}?from={from}")).ok(200);
    let changes = diff["changes"].as_array().unwrap();
    let of = |kind: &str| {
        let names = changes.iter().filter(|change| change["kind"] == kind);
        names.map(|change| change["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("appeared"), ["Endless", "Wrong", "deep", "endless", "json", "new", "wrong"], "{diff}");
    assert_eq!(of("changed"), ["big", "f", "rng"], "{diff}");
    assert_eq!(of("vanished"), ["gone"], "{diff}");
    let summary = json!({ "appeared": 7, "changed": 3, "vanished": 1, "unchanged": 3, "sampled": 0 });
    assert_eq!(diff["summary"], summary, "{diff}");
    let side = |name: &str, side: &str| {
        let change = changes.iter().find(|change| change["name"] == name).unwrap();
        (
            change[side]["type"].as_str().unwrap(),
            change[side]["text"].as_str().unwrap(),
            change[side]["length"].as_u64(),
        )
    };
    assert_eq!(side("gone", "before"), ("int", "1", None));
    assert_eq!(side("new", "after"), ("dict", "{'a': (1, 2)}", Some(1)));
    assert_eq!(side("f", "after"), ("function", "f(a)", None));
    assert_eq!(side("json", "after"), ("module", "json", None));
    assert_eq!(side("big", "after").2, Some(1000));
    assert_eq!(side("endless", "after"), ("Endless", "<Endless>", None), "what does not end is not shown");
    assert_eq!(side("wrong", "after").1, "<Wrong>");
    assert_eq!(server.get("/v1/sandboxes/session-diff").ok(200), before, "nothing changes by it");
    let same = server.get(&format!("{path}?from={from}&to={from}")).ok(200);
    assert_eq!((&same["changes"], &same["summary"]["unchanged"]), (&json!([]), &json!(7)));
    // A session that one state does not have has no names there; one that none has is not there.
    let all = server.get(&format!("{path}?from=1")).ok(200);
    assert_eq!(all["summary"]["appeared"], 13, "{all}");
    server.get(&format!("{path}?from=1&to=1")).problem(404, "no_such_session");
    server.get("/v1/sandboxes/session-diff/sessions/nobody/diff").problem(404, "no_such_session");
    server.get(&format!("{path}?from=99")).problem(404, "unknown_state");
    // For people.
    let shown = User::of(server).run(["diff", "session-diff", "--session", "s", &from.to_string()]).ok();
    assert!(shown.contains("7 appeared, 3 changed, 1 vanished, 3 unchanged"), "{shown}");
    assert!(shown.lines().any(|line| line == "  A new: dict[1] {'a': (1, 2)}"), "{shown}");
    assert!(shown.lines().any(|line| line == "  D gone: int 1"), "{shown}");
    assert_eq!(User::of(server).run(["diff", "session-diff", "--session", "s", "--exit-code"]).code, 1);
}

#[test]
fn what_a_session_makes_of_its_own_names_does_not_hinder_a_look() {
    let server = Server::shared();
    server.create("session-odd");
    // Names that only C can't look through, code that catches what would end it, and a library that is not the one.
    let code = "class Caught:\n    def __repr__(self):\n        while True:\n            try:\n                while True: pass\n\
                \x20           except BaseException: pass\n\
                class Lying:\n    def __getattribute__(self, name): raise SystemExit(9)\n    __class__ = int\n    def __len__(self): return 10 ** 30\n\
                caught, lying = Caught(), Lying()\n\
                globals().update((f'n{number:04}', number) for number in range(2000))\n\
                open('json.py', 'w').write('raise SystemExit(1)'); open('_json.py', 'w').write('raise SystemExit(1)')";
    let ended = call(server, "session-odd", "s", code);
    assert_eq!(ended["status"], "ok", "{ended}");
    let diff = server.get("/v1/sandboxes/session-odd/sessions/s/diff?from=1").ok(200);
    assert_eq!(diff["truncated"], true);
    let changes = diff["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1000);
    let caught = changes.iter().find(|change| change["name"] == "caught").unwrap();
    assert_eq!(caught["after"]["text"], "<Caught>");
    assert_eq!(result(server, "session-odd", "s", "n0001"), "1");
}
