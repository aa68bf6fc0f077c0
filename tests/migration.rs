//! Stores of earlier versions open as they are, however often their first opening is interrupted.
//!
//! `fixtures/store-v1` was written by version 0.1 (segments and entries of version 1, an index of version 1), with what it
//! answered at the time beside it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{Server, guests};

const STORE: &[u8] = include_bytes!("fixtures/store-v1.tar.zst");
const EXPECTED: &str = include_str!("fixtures/store-v1.json");

fn unpack(data: &Path) {
    let archive = zstd::decode_all(STORE).unwrap();
    tar::Archive::new(&archive[..]).unpack(data).unwrap();
}

/// Compares everything that the old version had answered.
fn is_the_same(server: &Server, later: usize) {
    let expected: Value = serde_json::from_str(EXPECTED).unwrap();
    for (name, sandbox) in expected["sandboxes"].as_object().unwrap() {
        let page = server.get(&format!("/v1/sandboxes/{name}/operations?limit=1000")).ok(200);
        let found = page["items"].as_array().unwrap();
        let found: Vec<Value> =
            found.iter().map(|one| json!([one["seq"], one["kind"], one["after"], one["id"]])).collect();
        let old = sandbox["operations"].as_array().unwrap();
        assert!(found.len() <= old.len() + later);
        assert_eq!(found[found.len() - old.len()..], old[..], "{name}");
    }
    for (state, hash) in expected["exports"].as_object().unwrap() {
        let exported = server.get(&format!("/v1/states/{state}/export")).ok_bytes(200);
        let found: String = Sha256::digest(&exported).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(json!(found), *hash, "{state}");
    }
}

#[test]
fn a_store_of_version_1_opens_and_goes_on() {
    let data = TempDir::new().unwrap();
    unpack(data.path());
    let server = Server::start_over(data);
    is_the_same(&server, 0);
    server.post("/v1/sandboxes/first/restore", &json!({ "checkpoint": "good" })).ok(200);
    server.put_file("first", "/workspace/new.txt", b"new");
    server.post("/v1/sandboxes/first/undo", &json!({ "steps": 2 })).ok(200);
    // What this version added works on what the old one wrote.
    server.post("/v1/trash/restore", &json!({ "sandbox": "gone" })).ok(200);
    server.post("/v1/store/upkeep", &json!({})).ok(200);
    let verified = server.post("/v1/store/verify", &json!({})).ok(200);
    assert_eq!(verified["whole"], json!(true), "{verified}");
    is_the_same(&server, 4);
    let server = Server::start_over(server.kill());
    is_the_same(&server, 4);
}

#[test]
fn a_migration_that_is_killed_starts_again() {
    let data = TempDir::new().unwrap();
    unpack(data.path());
    for milliseconds in [10, 20, 30, 40, 60, 80, 100, 130, 160, 200, 300] {
        let mut service = Command::new(env!("CARGO_BIN_EXE_sandglass"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--data"])
            .arg(data.path())
            .env("SANDGLASS_GUESTS", guests())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        service.kill().unwrap();
        service.wait().unwrap();
    }
    let server = Server::start_over(data);
    is_the_same(&server, 0);
}
