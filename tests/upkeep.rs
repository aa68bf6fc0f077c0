//! What is kept, what can be taken back, what is given back to the disk; and the ways to a store without the service.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Server, User};

fn start(flags: &[&str]) -> Server {
    Server::start_with(TempDir::new().unwrap(), flags)
}

/// Bytes that do not compress or repeat.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn operations(server: &Server, sandbox: &str) -> Vec<Value> {
    let page = server.get(&format!("/v1/sandboxes/{sandbox}/operations?limit=1000")).ok(200);
    page["items"].as_array().unwrap().clone()
}

#[test]
fn a_deleted_sandbox_comes_back_from_the_trash_as_it_was() {
    let server = start(&[]);
    let created = server.create("shop");
    server.put_file("shop", "/workspace/a.txt", b"kept");
    server.post("/v1/sandboxes/shop/checkpoints", &json!({ "name": "good" })).ok(201);
    let before = operations(&server, "shop");
    let state = server.get("/v1/sandboxes/shop").ok(200)["state"].clone();
    server.delete("/v1/sandboxes/shop").ok_bytes(204);
    server.get("/v1/sandboxes/shop").problem(404, "unknown_sandbox");
    let trash = server.get("/v1/trash").ok(200);
    assert_eq!((&trash["items"][0]["name"], &trash["items"][0]["state"]), (&json!("shop"), &state));
    // Another one may have the name meanwhile; then nothing comes back under it.
    server.create("shop");
    server.post("/v1/trash/restore", &json!({ "sandbox": created["id"] })).problem(409, "name_taken");
    server.delete("/v1/sandboxes/shop").ok_bytes(204);
    let server = Server::start_over(server.kill());
    let back = server.post("/v1/trash/restore", &json!({ "sandbox": created["id"] })).ok(200);
    assert_eq!((&back["name"], &back["state"]), (&json!("shop"), &state));
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/a.txt").ok_bytes(200), b"kept");
    let after = operations(&server, "shop");
    let kinds: Vec<&str> = after.iter().take(2).map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["undelete", "delete"]);
    assert_eq!(after[2..], before[..]);
    // Undo goes on where it was.
    server.post("/v1/sandboxes/shop/undo", &json!({})).ok(200);
    server.get("/v1/sandboxes/shop/files/workspace/a.txt").problem(404, "no_such_file");
    // And so does a checkpoint.
    server.delete("/v1/sandboxes/shop/checkpoints/good").ok_bytes(204);
    server.post("/v1/sandboxes/shop/restore", &json!({ "checkpoint": "good" })).problem(404, "unknown_checkpoint");
    let back = server.post("/v1/trash/restore", &json!({ "sandbox": "shop", "checkpoint": "good" })).ok(200);
    assert_eq!(back["checkpoint"], "good");
    server.post("/v1/sandboxes/shop/restore", &json!({ "checkpoint": "good" })).ok(200);
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/a.txt").ok_bytes(200), b"kept");
    server.post("/v1/trash/restore", &json!({ "sandbox": "nobody" })).problem(404, "not_in_trash");
}

#[test]
fn what_is_no_longer_kept_is_given_back_to_the_disk() {
    let server = start(&["--trash", "0s"]);
    server.create("busy");
    for turn in 0..40 {
        server.put_file("busy", "/workspace/large.bin", &noise(turn, 400_000));
    }
    server.post("/v1/sandboxes/busy/checkpoints", &json!({ "name": "keep" })).ok(201);
    let named = server.get("/v1/sandboxes/busy").ok(200)["state"].clone();
    for turn in 40..60 {
        server.put_file("busy", "/workspace/large.bin", &noise(turn, 400_000));
    }
    let fork = server.post("/v1/sandboxes/busy/fork", &json!({ "name": "child" })).ok(201);
    for turn in 60..70 {
        server.put_file("busy", "/workspace/large.bin", &noise(turn, 400_000));
    }
    server.create("gone");
    server.put_file("gone", "/workspace/large.bin", &noise(1000, 3_000_000));
    server.delete("/v1/sandboxes/gone").ok_bytes(204);
    let retention = server.get("/v1/sandboxes/busy/retention").ok(200);
    assert_eq!((&retention["own"], &retention["keep"]["operations"]), (&json!(false), &json!(10_000)));
    let all = server.get("/v1/store").ok(200)["store"].clone();
    server.request("PUT", "/v1/sandboxes/busy/retention").json(&json!({ "operations": 3 })).send().ok(200);
    let done = server.post("/v1/store/upkeep", &json!({})).ok(200);
    assert_eq!((&done["sandboxes_expired"], &done["sandboxes_purged"]), (&json!(1), &json!(1)), "{done}");
    assert!(done["freed_bytes"].as_u64().unwrap() > 15_000_000, "{done}");
    let left = server.get("/v1/store").ok(200)["store"].clone();
    let number = |weight: &Value, name: &str| weight[name].as_u64().unwrap();
    // One file prepared for what comes (64 MiB), whatever was there before, and what is kept.
    assert!(number(&left, "disk_bytes") < (64 << 20) + 4_000_000, "{left}");
    assert!(number(&left, "states") < number(&all, "states"));
    // What is kept is there, what is not says so, and the log still tells of it.
    let after = operations(&server, "busy");
    let expired = after.iter().filter(|one| one["expired"] == json!(true)).count();
    assert_eq!((after.len(), expired), (71, 68));
    assert_eq!(server.get("/v1/sandboxes/child/files/workspace/large.bin").ok_bytes(200), noise(59, 400_000));
    server.post("/v1/sandboxes/busy/restore", &json!({ "checkpoint": "keep" })).ok(200);
    assert_eq!(server.get("/v1/sandboxes/busy").ok(200)["state"], named);
    assert_eq!(server.get("/v1/sandboxes/busy/files/workspace/large.bin").ok_bytes(200), noise(39, 400_000));
    server.post("/v1/sandboxes/busy/undo", &json!({})).ok(200);
    assert_eq!(server.get("/v1/sandboxes/busy/files/workspace/large.bin").ok_bytes(200), noise(69, 400_000));
    server.post("/v1/sandboxes/busy/undo", &json!({ "steps": 60 })).problem(409, "expired");
    let old = after.iter().find(|one| one["seq"] == json!(5)).unwrap();
    server.post("/v1/sandboxes/busy/restore", &json!({ "state": old["after"] })).problem(404, "unknown_state");
    server.post("/v1/trash/restore", &json!({ "sandbox": "gone" })).problem(404, "not_in_trash");
    let verified = server.post("/v1/store/verify", &json!({})).ok(200);
    assert_eq!(verified["whole"], json!(true), "{verified}");
    // A restart, and an index made anew from what is left, change nothing of it.
    let data = server.kill();
    std::fs::remove_file(data.path().join("store/index.db")).unwrap();
    let server = Server::start_over(data);
    assert_eq!(operations(&server, "busy").len(), 73);
    assert_eq!(server.get("/v1/sandboxes/busy/files/workspace/large.bin").ok_bytes(200), noise(69, 400_000));
    assert_eq!(server.get(&format!("/v1/sandboxes/{}", fork["id"].as_str().unwrap())).ok(200)["name"], "child");
}

#[test]
fn upkeep_goes_on_by_itself() {
    let server = start(&["--keep-operations", "2", "--trash", "0s", "--upkeep-interval", "1s"]);
    server.create("busy");
    for turn in 0..12 {
        server.put_file("busy", "/workspace/x", &noise(turn, 200_000));
    }
    for _ in 0..server.patience() * 20 {
        if operations(&server, "busy").iter().filter(|one| one["expired"] == json!(true)).count() >= 11 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!("nothing was given up");
}

/// Flips a bit in the middle of the stored bytes of a file.
fn spoil(store: &Path, content: &[u8]) {
    let needle = &content[1000..1064];
    for entry in std::fs::read_dir(store.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("the content is nowhere");
}

#[test]
fn the_store_is_looked_after_without_the_service() {
    let server = start(&[]);
    server.create("shop");
    let content = noise(7, 50_000);
    server.put_file("shop", "/workspace/data.bin", &content);
    server.put_file("shop", "/workspace/other.txt", b"other");
    server.post("/v1/sandboxes/shop/checkpoints", &json!({ "name": "good" })).ok(201);
    server.create("second");
    server.put_file("second", "/workspace/data.bin", b"small");
    let state = server.get("/v1/sandboxes/shop").ok(200)["state"].as_str().unwrap().to_owned();
    let program = User::alone();
    let data = server.data().to_owned();
    let run = |arguments: &[&str]| {
        let data = data.to_str().unwrap();
        program.run([&["store"], arguments, &["--data", data]].concat())
    };
    // Beside the running service: looking works, changing is refused.
    let verified = run(&["verify", "--json"]).json(0);
    assert_eq!((&verified["whole"], &verified["damaged_places"]), (&json!(true), &json!([])), "{verified}");
    let seen = run(&["ls", "--json"]).json(0);
    assert_eq!(seen["items"].as_array().unwrap().len(), 2);
    let stats = run(&["stats", "--json"]).json(0);
    assert!(stats["states"].as_u64().unwrap() >= 3, "{stats}");
    run(&["gc"]).fails(125, "in use by process");
    let archive = program.home().join("shop.tar");
    run(&["export", "shop@good", archive.to_str().unwrap()]).ok();
    let exported = server.get(&format!("/v1/states/{state}/export")).ok_bytes(200);
    assert_eq!(std::fs::read(&archive).unwrap(), exported, "the same bytes as the service gives");
    // A backup is a copy of the directory, taken while the service is stopped.
    let stopped = server.stop();
    let backup = TempDir::new().unwrap();
    let copied =
        std::process::Command::new("cp").arg("-a").arg(stopped.path().join("store")).arg(backup.path()).status();
    assert!(copied.unwrap().success());
    spoil(&stopped.path().join("store"), &content);
    let verified = run(&["verify", "--json"]).json(1);
    assert_eq!(verified["whole"], json!(false));
    assert_eq!(verified["damaged_places"].as_array().unwrap().len(), 1, "{verified}");
    let paths: Vec<&Value> =
        verified["damaged_states"].as_array().unwrap().iter().map(|one| &one["problems"][0]["path"]).collect();
    assert!(!paths.is_empty() && paths.iter().all(|path| **path == json!("workspace/data.bin")), "{paths:?}");
    run(&["verify"]).fails(1, "");
    // The service serves what is whole, and says of the rest that it is damaged.
    let server = Server::start_over(stopped);
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/other.txt").ok_bytes(200), b"other");
    let problem = server.get("/v1/sandboxes/shop/files/workspace/data.bin").problem(500, "damaged");
    assert!(
        problem["detail"].as_str().unwrap().contains("does not match")
            || problem["detail"].as_str().unwrap().contains("do not match"),
        "{problem}"
    );
    let stopped = server.stop();
    let data = stopped.path().to_str().unwrap().to_owned();
    let from = backup.path().to_str().unwrap();
    let repaired = program.run(["store", "repair", "--from", from, "--data", &data, "--json"]).json(0);
    assert_eq!((&repaired["healed"], &repaired["missing"]), (&json!(1), &json!(0)), "{repaired}");
    assert!(Path::new(repaired["quarantine"].as_str().unwrap()).is_dir());
    assert_eq!(program.run(["store", "verify", "--data", &data, "--json"]).json(0)["whole"], json!(true));
    let server = Server::start_over(stopped);
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/data.bin").ok_bytes(200), content);
    server.put_file("shop", "/workspace/other.txt", b"newer");
    // With the service stopped, a sandbox is taken back from the command line.
    let stopped = server.stop();
    program.run(["store", "restore", "shop", "@good", "--data", &data]).ok();
    program.run(["store", "gc", "--data", &data]).ok();
    let server = Server::start_over(stopped);
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/other.txt").ok_bytes(200), b"other");
}

#[test]
fn trash_and_retention_on_the_command_line() {
    let server = start(&[]);
    server.create("shop");
    let program = User::of(&server);
    program.run(["retention", "shop", "--operations", "5", "--age", "30d"]).ok();
    let told = program.run(["retention", "shop"]).ok();
    assert!(told.contains("at most 5 operations, operations of the last 30d (its own rule)"), "{told}");
    program.run(["retention", "shop", "--inherit"]).ok();
    assert!(program.run(["retention", "shop"]).ok().contains("the service's rule"));
    program.run(["rm", "shop", "--yes"]).ok();
    assert!(program.run(["trash", "ls"]).ok().contains("shop"));
    assert!(program.run(["trash", "restore", "shop"]).ok().contains("shop is back"));
    assert_eq!(program.run(["ls", "--json"]).json(0)["items"][0]["name"], "shop");
}
