//! Mounts: old states and sandboxes seen with one's own tools; and file system suites by others, over a mount.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Server, User};

/// A mount of a server, ended when dropped.
struct Mounted<'a> {
    server: &'a Server,
    id: u64,
    directory: TempDir,
}

impl<'a> Mounted<'a> {
    /// Mounts, or says why the test is skipped.
    fn new(server: &'a Server, target: &Value) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let mut request = target.clone();
        request["directory"] = json!(directory.path());
        let answer = server.post("/v1/mounts", &request);
        if answer.status == 503 {
            println!("skipped: FUSE absent ({})", answer.text());
            return None;
        }
        let id = answer.ok(201)["id"].as_u64().unwrap();
        Some(Self { server, id, directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.server.delete(&format!("/v1/mounts/{}", self.id)).ok_bytes(204);
    }
}

/// Waits until something is so: changes through a mount are committed when they have come to rest.
fn wait_until(server: &Server, what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..server.patience() * 40 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

#[test]
fn a_sandbox_is_written_through_a_mount_and_taken_back() {
    let server = Server::start();
    server.create("shop");
    server.put_file("shop", "/workspace/a.txt", b"from outside");
    let Some(mount) = Mounted::new(&server, &json!({ "sandbox": "shop" })) else { return };
    let workspace = mount.path("workspace");
    assert_eq!(fs::read(workspace.join("a.txt")).unwrap(), b"from outside");
    let before = server.get("/v1/sandboxes/shop").ok(200);
    fs::create_dir(workspace.join("d")).unwrap();
    fs::write(workspace.join("d/b.txt"), b"through the mount").unwrap();
    fs::rename(workspace.join("a.txt"), workspace.join("d/moved.txt")).unwrap();
    fs::hard_link(workspace.join("d/b.txt"), workspace.join("hard")).unwrap();
    symlink("d/b.txt", workspace.join("soft")).unwrap();
    fs::set_permissions(workspace.join("d/b.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut open = fs::OpenOptions::new().append(true).open(workspace.join("soft")).unwrap();
    open.write_all(b", and more").unwrap();
    open.sync_all().unwrap();
    // `fsync` is a promise: it is in the log now.
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/hard").ok_bytes(200), b"through the mount, and more");
    let metadata = fs::metadata(workspace.join("d/b.txt")).unwrap();
    assert_eq!((metadata.nlink(), metadata.mode() & 0o7777, metadata.len()), (2, 0o640, 27));
    server.get("/v1/sandboxes/shop/files/workspace/a.txt").problem(404, "no_such_file");
    let operations = server.get("/v1/sandboxes/shop/operations").ok(200);
    assert_eq!(operations["items"][0]["kind"], "write");
    assert_eq!(operations["items"][0]["detail"]["action"], "mount");
    // A file that was removed while it is open stays readable.
    fs::remove_file(workspace.join("d/moved.txt")).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&workspace).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["d", "hard", "soft"]);
    wait_until(&server, "the removal is committed", || {
        server.get("/v1/sandboxes/shop/files/workspace/d/moved.txt").status == 404
    });
    // Others move the head: the mount follows.
    let count = server.get("/v1/sandboxes/shop").ok(200)["seq"].as_u64().unwrap();
    assert!(count - before["seq"].as_u64().unwrap() <= 4, "changes come to rest before they are committed");
    server.post("/v1/sandboxes/shop/restore", &json!({ "state": before["state"] })).ok(200);
    wait_until(&server, "the mount shows the old state", || workspace.join("a.txt").exists());
    assert_eq!(fs::read(workspace.join("a.txt")).unwrap(), b"from outside");
    assert!(!workspace.join("d").exists());
    let call = server.call("shop", "open('/workspace/called.txt', 'w').write('by a call')");
    assert_eq!(call["status"], "ok", "{call}");
    wait_until(&server, "the mount shows what the call wrote", || workspace.join("called.txt").exists());
    assert_eq!(fs::read(workspace.join("called.txt")).unwrap(), b"by a call");
    // What is written last is there when the mount has ended.
    fs::write(workspace.join("last.txt"), b"last").unwrap();
    drop(mount);
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/last.txt").ok_bytes(200), b"last");
}

#[test]
fn an_old_state_is_looked_into_and_not_changed() {
    let server = Server::start();
    server.create("shop");
    server.put_file("shop", "/workspace/a.txt", b"old");
    let old = server.get("/v1/sandboxes/shop").ok(200)["state"].clone();
    server.put_file("shop", "/workspace/a.txt", b"new");
    let Some(mount) = Mounted::new(&server, &json!({ "state": old })) else { return };
    assert_eq!(fs::read(mount.path("workspace/a.txt")).unwrap(), b"old");
    let refused = fs::write(mount.path("workspace/a.txt"), b"x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(server.get("/v1/mounts").ok(200)["items"].as_array().unwrap().len(), 1);
    let busy = server.post("/v1/mounts", &json!({ "state": old, "directory": mount.directory.path() }));
    busy.problem(409, "directory_not_empty");
    server.post("/v1/mounts", &json!({ "state": old, "directory": "relative" })).problem(422, "invalid_directory");
    server.post("/v1/mounts", &json!({ "directory": "/tmp" })).problem(422, "invalid_target");
    server.delete("/v1/mounts/99").problem(404, "unknown_mount");
}

#[test]
fn mounts_on_the_command_line_end_with_the_service() {
    let server = Server::start();
    server.create("shop");
    server.put_file("shop", "/workspace/a.txt", b"kept");
    let user = User::of(&server);
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap();
    let ran = user.run(["mount", "shop", path, "--detach"]);
    if ran.code == 125 {
        println!("skipped: FUSE absent");
        return;
    }
    assert!(ran.ok().contains("read-write"));
    assert_eq!(fs::read(directory.path().join("workspace/a.txt")).unwrap(), b"kept");
    assert!(user.run(["unmount", path]).ok().contains("is unmounted"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    user.run(["unmount", path]).fails(127, "nothing of this service");
    user.run(["mount", "shop", path, "--detach"]).ok();
    fs::write(directory.path().join("workspace/late.txt"), b"late").unwrap();
    let server = Server::start_over(server.stop());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left mounted");
    assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/late.txt").ok_bytes(200), b"late");
}

/// Returns a program of a suite that is not ours, or says that it is absent.
fn suite(variable: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        println!("skipped: {variable} absent");
    }
    program
}

#[test]
fn fsx_over_a_mount_with_states_taken_and_restored_between() {
    const ROUND: u64 = 10_000;
    let Some(fsx) = suite("SANDGLASS_FSX") else { return };
    let operations: u64 =
        std::env::var("SANDGLASS_FSX_OPS").ok().and_then(|text| text.parse().ok()).unwrap_or(2 * ROUND);
    // Upkeep goes on beside it.
    let server = Server::start_with(TempDir::new().unwrap(), &["--upkeep-interval", "1s"]);
    server.create("shop");
    let Some(mount) = Mounted::new(&server, &json!({ "sandbox": "shop" })) else { return };
    let file = mount.path("workspace/file");
    let mut restored = 0;
    for round in 0..operations.div_ceil(ROUND) {
        let kept = fs::read(&file).ok();
        if let Some(kept) = &kept {
            fs::File::open(&file).unwrap().sync_all().unwrap();
            assert_eq!(server.get("/v1/sandboxes/shop/files/workspace/file").ok_bytes(200), *kept);
        }
        let name = format!("round-{round}");
        server.post("/v1/sandboxes/shop/checkpoints", &json!({ "name": name })).ok(201);
        let ran = Command::new(&fsx)
            .args(["-N", &ROUND.to_string(), "-S", &(round + 1).to_string()])
            .arg(&file)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "round {round}: {}", &told[told.len().saturating_sub(2000)..]);
        if round % 2 == 1 {
            fs::File::open(&file).unwrap().sync_all().unwrap();
            server.post("/v1/sandboxes/shop/restore", &json!({ "checkpoint": name })).ok(200);
            wait_until(&server, "the mount is where the checkpoint is", || fs::read(&file).ok() == kept);
            restored += 1;
        }
    }
    println!("fsx: {operations} operations, {restored} states restored between");
}

#[test]
fn pjdfstest_over_a_mount() {
    let Some(program) = suite("SANDGLASS_PJDFSTEST") else { return };
    let server = Server::start();
    // One of its tests writes behind the second gibibyte.
    let policy = json!({ "version": 1, "limits": { "disk": "8GiB" } });
    server.post("/v1/sandboxes", &json!({ "name": "shop", "policy": policy })).ok(201);
    let Some(mount) = Mounted::new(&server, &json!({ "sandbox": "shop", "allow_others": true })) else { return };
    let configuration = TempDir::new().unwrap();
    let file = configuration.path().join("pjdfstest.toml");
    let settings =
        "[settings]\nnaptime = 0.01\n[dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n";
    fs::write(&file, settings).unwrap();
    let ran = Command::new(program).arg("-c").arg(&file).arg("-p").arg(mount.path("workspace")).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if let Some(path) = std::env::var_os("SANDGLASS_PJDFSTEST_OUT") {
        fs::write(Path::new(&path), &told).unwrap();
    }
    println!("{}", told.lines().rev().take(3).collect::<Vec<_>>().join("\n"));
}
