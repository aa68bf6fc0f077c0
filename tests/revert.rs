//! One operation can be taken back while later ones stay, and every path can tell who touched it.

use serde_json::{Value, json};

use crate::support::{Server, User};

fn create(name: &str) -> &'static Server {
    let server = Server::shared();
    server.post("/v1/sandboxes", &json!({ "name": name })).ok(201);
    server
}

fn ran(server: &Server, sandbox: &str, code: &str) -> Value {
    let call = server.call(sandbox, code);
    assert_eq!(call["status"], "ok", "{call}");
    call
}

fn listed(server: &Server, sandbox: &str) -> String {
    let code = "import os\nfor d, _, names in sorted(os.walk('/workspace')):\n    for n in sorted(names):\n        p = os.path.join(d, n)\n        print(p, open(p).read())";
    ran(server, sandbox, code)["stdout"].as_str().unwrap().to_owned()
}

#[test]
fn one_bad_call_is_taken_back_and_later_ones_stay() {
    let server = create("revert-one");
    ran(
        server,
        "revert-one",
        "import os; os.makedirs('d/e'); open('d/e/f', 'w').write('1'); open('g', 'w').write('1')",
    );
    let bad = ran(server, "revert-one", "import shutil; shutil.rmtree('d'); open('g', 'w').write('broken')");
    ran(server, "revert-one", "open('later', 'w').write('kept')");
    let before = listed(server, "revert-one");
    let moved = server.post("/v1/sandboxes/revert-one/revert", &json!({ "call": bad["id"] })).ok(200);
    assert_eq!(moved["operation"]["kind"], "revert");
    assert_eq!(moved["operation"]["target"], bad["seq"]);
    assert_eq!(moved["undone"], json!([bad["seq"]]));
    let after = listed(server, "revert-one");
    assert_eq!(after, "/workspace/g 1\n/workspace/later kept\n/workspace/d/e/f 1\n");
    // A revert is an operation as any other: undone, redone, reverted.
    server.post("/v1/sandboxes/revert-one/undo", &json!({})).ok(200);
    assert_eq!(listed(server, "revert-one"), before);
    let redone = server.post("/v1/sandboxes/revert-one/redo", &json!({})).ok(200);
    assert_eq!(redone["after"], moved["after"]);
    let seq = moved["operation"]["seq"].as_u64().unwrap();
    let again = server.post("/v1/sandboxes/revert-one/revert", &json!({ "seq": seq })).ok(200);
    assert!(again["operation"]["generation"].as_u64() > moved["operation"]["generation"].as_u64());
    assert_eq!(listed(server, "revert-one"), before);
}

#[test]
fn a_revert_of_the_newest_call_is_an_undo() {
    let server = create("revert-newest");
    let first = ran(server, "revert-newest", "open('a', 'w').write('1')");
    let second = ran(server, "revert-newest", "import os; os.remove('a'); open('b', 'w').write('1')");
    let moved = server.post("/v1/sandboxes/revert-newest/revert", &json!({ "seq": second["seq"] })).ok(200);
    assert_eq!(moved["after"], first["after"]);
}

#[test]
fn what_was_changed_since_stands_in_the_way_and_nothing_changes() {
    let server = create("revert-conflict");
    let call = ran(server, "revert-conflict", "open('a', 'w').write('1'); open('b', 'w').write('1')");
    let last = ran(server, "revert-conflict", "open('a', 'w').write('2'); open('b', 'w').write('2')");
    let body = json!({ "call": call["id"] });
    let problem = server.post("/v1/sandboxes/revert-conflict/revert", &body).problem(409, "revert_conflict");
    let conflicts = problem["conflicts"].as_array().unwrap();
    let paths: Vec<_> = conflicts.iter().map(|conflict| (&conflict["path"], &conflict["reason"])).collect();
    assert_eq!(json!(paths), json!([["/workspace/a", "changed"], ["/workspace/b", "changed"]]));
    assert_eq!(problem["conflicts_total"], 2);
    assert!(problem["hint"].as_str().unwrap().contains("history"));
    assert_eq!(server.get("/v1/sandboxes/revert-conflict").ok(200)["state"], last["after"]);
}

#[test]
fn what_can_not_be_reverted_is_refused_in_words() {
    let server = create("revert-refused");
    let nothing = ran(server, "revert-refused", "print('nothing')");
    let checkpoint = server.post("/v1/sandboxes/revert-refused/checkpoints", &json!({ "name": "c" })).ok(201);
    let revert = |body: Value| server.post("/v1/sandboxes/revert-refused/revert", &body);
    revert(json!({ "seq": 1 })).problem(422, "not_revertible");
    revert(json!({ "seq": checkpoint["seq"] })).problem(422, "not_revertible");
    revert(json!({ "seq": nothing["seq"] })).problem(409, "nothing_to_revert");
    revert(json!({ "seq": 99 })).problem(404, "unknown_operation");
    revert(json!({ "seq": 0 })).problem(404, "unknown_operation");
    revert(json!({ "call": "c_nonsense" })).problem(404, "unknown_call");
    revert(json!({})).problem(422, "invalid_body");
    revert(json!({ "seq": 1, "call": nothing["id"] })).problem(422, "invalid_body");
}

#[test]
fn a_path_tells_who_touched_it_and_who_deleted_it() {
    let server = create("path-history");
    let made = ran(server, "path-history", "open('a', 'w').write('1')");
    ran(server, "path-history", "open('other', 'w').write('1')");
    let moved = ran(server, "path-history", "import os; os.makedirs('d'); os.rename('a', 'd/b')");
    let grown = ran(server, "path-history", "open('d/b', 'w').write('22')");
    let gone = ran(server, "path-history", "import shutil; shutil.rmtree('d')");
    let at = "/v1/sandboxes/path-history/history?path=/workspace/d/b";
    let page = server.get(at).ok(200);
    let items = page["items"].as_array().unwrap();
    let told: Vec<_> = items.iter().map(|item| (&item["change"], &item["call"])).collect();
    let expected =
        json!([["removed", gone["id"]], ["modified", grown["id"]], ["renamed", moved["id"]], ["added", made["id"]],]);
    assert_eq!(json!(told), expected);
    assert_eq!((&items[1]["before"]["size"], &items[1]["after"]["size"]), (&json!(1), &json!(2)));
    assert_eq!(items[2]["from"], "/workspace/a");
    assert_eq!(items[0]["tool"], "python");
    assert_eq!(page["next_cursor"], Value::Null);
    // Page by page it is the same, through the rename.
    let (mut one_by_one, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{at}&limit=1{cursor}")).ok(200);
        one_by_one.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(&one_by_one, items);
    server.post("/v1/sandboxes/path-history/undo", &json!({})).ok(200);
    let newest = server.get(&format!("{at}&limit=1")).ok(200)["items"][0].clone();
    assert_eq!((&newest["kind"], &newest["change"]), (&json!("undo"), &json!("added")));
    server.get(&format!("{at}&cursor=AAAA")).problem(400, "invalid_cursor");
    server.get("/v1/sandboxes/path-history/history?path=relative").problem(422, "invalid_path");
}

/// The size of a home directory that an agent once removed; something else happened before anyone noticed.
#[test]
fn a_removed_home_comes_back_under_later_work() {
    let server = create("revert-home");
    let code = "import os\nfor d in range(300):\n    os.makedirs(f'home/{d}')\n    for n in range(20): open(f'home/{d}/{n}', 'w').write(str(n))";
    ran(server, "revert-home", code);
    let bad = ran(server, "revert-home", "import shutil; shutil.rmtree('home')");
    ran(server, "revert-home", "open('later', 'w').write('kept')");
    let start = std::time::Instant::now();
    let moved = server.post("/v1/sandboxes/revert-home/revert", &json!({ "seq": bad["seq"] })).ok(200);
    eprintln!("revert of a removal of 6,000 files, with its summary of changes: {:?}", start.elapsed());
    assert_eq!(moved["changes"]["added"], 6_301, "{moved}");
    let diff = server.get(&format!(
        "/v1/sandboxes/revert-home/diff?from={}&to={}",
        bad["before"].as_str().unwrap(),
        moved["after"].as_str().unwrap()
    ));
    let diff = diff.ok(200);
    let paths: Vec<_> = diff["changes"].as_array().unwrap().iter().map(|change| &change["path"]).collect();
    assert_eq!(json!(paths), json!(["/workspace/later"]), "all else is as it was, to the inode numbers");
}

#[test]
fn the_command_line_reverts_and_tells_whom_to_blame() {
    let user = User::of(Server::shared());
    let run = |line: &str| user.run(line.split(' '));
    run("create cli-revert").ok();
    user.run(["call", "cli-revert", "-c", "open('a', 'w').write('1'); open('b', 'w').write('1')"]).ok();
    user.run(["call", "cli-revert", "-c", "import os; os.remove('a')"]).ok();
    user.run(["call", "cli-revert", "-c", "open('b', 'w').write('22')"]).ok();
    let blamed = run("blame cli-revert a").ok();
    assert!(blamed.starts_with("/workspace/a was removed ") && blamed.contains("by python for "), "{blamed}");
    assert!(blamed.ends_with("(operation #3)\n"), "{blamed}");
    let history = run("history cli-revert b").ok();
    for word in ["modified", "added", "#4", "#2", "1 B -> 2 B"] {
        assert!(history.contains(word), "no `{word}` in {history}");
    }
    assert_eq!(run("history cli-revert b --json").json(0)["items"].as_array().unwrap().len(), 2);
    let reverted = run("revert cli-revert 3").ok();
    assert!(reverted.starts_with("reverted #3: 1 added"), "{reverted}");
    assert_eq!(run("files cli-revert cat a").ok(), "1");
    assert!(run("blame cli-revert a").ok().contains("was added") && run("log cli-revert").ok().contains("of #3"));
    let said = run("revert cli-revert 2").fails(125, "revert_conflict");
    assert!(said.contains("  /workspace/b was changed since"), "{said}");
    run("blame cli-revert nowhere").fails(127, "was never in");
    run("undo cli-revert").ok();
    run("files cli-revert cat a").fails(127, "a");
}
