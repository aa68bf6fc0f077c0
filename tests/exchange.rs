//! States between services, and archives in and out: what was exported here is the same there.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Request, Server, User};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn head(server: &Server, sandbox: &str) -> String {
    server.get(&format!("/v1/sandboxes/{sandbox}")).ok(200)["state"].as_str().unwrap().to_owned()
}

fn import(server: &Server, query: &str, body: &[u8]) -> Request {
    server.request("POST", &format!("/v1/states{query}")).bytes(body)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_state_goes_to_another_service_under_its_own_name() {
    let (from, to) = (Server::shared(), Server::start());
    let (user, other) = (User::of(from), User::of(&to));
    user.run(words("create exchange")).ok();
    from.put_file("exchange", "/workspace/large.bin", &noise(700_000));
    from.put_file("exchange", "/workspace/docs/a.txt", b"one");
    user.run(words("checkpoint exchange first")).ok();
    let first = head(from, "exchange");
    from.put_file("exchange", "/workspace/docs/b.txt", b"two");
    let second = head(from, "exchange");
    user.run(words("export exchange whole.sgb --state @first")).ok();
    let said = user.run(words("export exchange more.sgb --base @first --json")).json(0);
    assert_eq!((said["state"].as_str(), said["format"].as_str()), (Some(&*second), Some("bundle")));
    assert!(said["bytes"].as_u64().unwrap() < 5_000, "only what is new: {said}");
    for name in ["whole.sgb", "more.sgb"] {
        fs::copy(user.home().join(name), other.home().join(name)).unwrap();
    }

    // The second builds on the first, which is not there yet.
    other.run(words("import more.sgb")).fails(125, &first);
    let taken = other.run(words("import whole.sgb --name copy --json")).json(0);
    assert_eq!(taken["sandbox"]["state"], json!(first));
    assert_eq!(taken["imported"]["nodes"], taken["imported"]["nodes_new"]);
    assert_eq!(other.run(words("import more.sgb --state-only")).ok().trim(), second);
    other.run(["create", "later", "--from-state", &second]).ok();
    assert_eq!(head(&to, "later"), second);
    assert_eq!(to.get("/v1/sandboxes/later/files/workspace/docs/b.txt").ok_bytes(200), b"two");
    let large = to.get("/v1/sandboxes/later/files/workspace/large.bin").ok_bytes(200);
    assert!(large == noise(700_000));
    // It is worked on there, taken back, and is the same state again; and it is exported as the same bytes.
    to.put_file("later", "/workspace/docs/a.txt", b"changed");
    other.run(words("undo later")).ok();
    assert_eq!(head(&to, "later"), second);
    let target = format!("/v1/states/{second}/export?format=bundle&compress=false");
    let plain = from.get(&target).ok_bytes(200);
    assert!(plain == to.get(&target).ok_bytes(200));
    assert_eq!(import(from, "", &plain).send().ok(201)["nodes_new"], json!(0));
    // Through a pipe, into a service that has restarted with nothing but what sandboxes hold.
    let to = Server::start_over(to.stop());
    let other = User::of(&to);
    let piped = user.command(words("export exchange - --format bundle")).output().unwrap();
    assert!(piped.status.success(), "{piped:?}");
    other.run_with(words("import - --format bundle --name piped"), &piped.stdout).ok();
    assert_eq!(head(&to, "piped"), second);
}

#[test]
fn a_bundle_that_was_tampered_with_is_refused_whole() {
    let (from, to) = (Server::shared(), Server::start());
    let user = User::of(&to);
    from.create("tampered");
    from.put_file("tampered", "/workspace/a.bin", &noise(100_000));
    let state = head(from, "tampered");
    let target = format!("/v1/states/{state}/export?format=bundle");
    let answer = from.get(&target);
    assert_eq!(answer.header("content-type"), "application/vnd.sandglass.bundle");
    assert!(answer.header("content-disposition").ends_with(".sgb\""));
    let whole = answer.ok_bytes(200);
    let path = user.home().join("b.sgb");
    let places: Vec<usize> = (0..whole.len()).step_by(whole.len() / 23).skip(1).collect();
    for at in places {
        fs::write(&path, &whole).unwrap();
        flip(&path, at);
        user.run(words("import b.sgb --name taken")).fails(125, "error:");
        fs::write(&path, &whole[..at]).unwrap();
        user.run(words("import b.sgb --name taken")).fails(125, "error:");
    }
    let twice = [&whole[..], &whole[..]].concat();
    import(&to, "", &twice).send().problem(422, "invalid_bundle");
    import(&to, "", b"neither this nor that").send().problem(422, "invalid_bundle");
    import(&to, "", b"").send().problem(422, "invalid_bundle");
    user.run(["create", "taken", "--from-state", &state]).fails(127, "there is no state");
    assert_eq!(to.get("/v1/sandboxes").ok(200)["items"], json!([]));
    fs::write(&path, &whole).unwrap();
    user.run(words("import b.sgb --name taken")).ok();
    assert_eq!(head(&to, "taken"), state);
}

#[test]
fn archives_go_out_and_come_in() {
    let server = Server::shared();
    let user = User::of(server);
    user.run(words("create archive-out")).ok();
    server.put_file("archive-out", "/workspace/docs/a.txt", b"one");
    server.put_file("archive-out", "/workspace/large.bin", &vec![7; 300_000]);
    let sizes = ["out.tar", "out.tar.zst"].map(|name| {
        user.run(["export", "archive-out", name, "--path", "/workspace"]).ok();
        fs::metadata(user.home().join(name)).unwrap().len()
    });
    assert!(sizes[0] > 300_000 && sizes[1] < 10_000, "{sizes:?}");
    for (name, sandbox) in [("out.tar", "archive-in"), ("out.tar.zst", "archive-again")] {
        user.run(["import", name, "--name", sandbox, "--strip", "1"]).ok();
        let files = format!("/v1/sandboxes/{sandbox}/files/workspace");
        assert_eq!(server.get(&format!("{files}/docs/a.txt")).ok_bytes(200), b"one");
        assert!(server.get(&format!("{files}/large.bin")).ok_bytes(200) == vec![7; 300_000]);
    }
    let of = |sandbox: &str| {
        let listing = server.get(&format!("/v1/sandboxes/{sandbox}/files/workspace")).ok(200);
        let items = listing["items"].as_array().unwrap().clone();
        let facts = |item: &Value| json!([item["name"], item["kind"], item["mode"], item["size"], item["modified"]]);
        items.iter().map(facts).collect::<Vec<_>>()
    };
    assert_eq!(of("archive-out"), of("archive-in"));
    fs::write(user.home().join("files.tar.gz"), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).unwrap();
    user.run(words("import files.tar.gz")).fails(125, "does not tell");
    user.run(words("import files.tar.gz --format tar")).fails(125, "gzip");
    user.run(words("import nothing.tar")).fails(127, "nothing.tar");
    fs::write(user.home().join("not.tar"), [7; 2000]).unwrap();
    user.run(words("import not.tar")).fails(125, "invalid_archive");
}

#[test]
fn imports_and_exports_say_what_is_wrong_with_them() {
    let server = Server::start_with(tempfile::tempdir().unwrap(), &["--import-max", "1MiB"]);
    server.create("small");
    let state = head(&server, "small");
    let none = "0".repeat(64);
    let at = |query: &str| server.get(&format!("/v1/states/{state}/export?{query}"));
    at("format=zip").problem(400, "invalid_query");
    at("format=tar&format=tar").problem(400, "invalid_query");
    at("nonsense=1").problem(400, "invalid_query");
    at("compress=perhaps").problem(400, "invalid_query");
    at("format=tar&compress=false").problem(422, "invalid_export");
    at("format=bundle&path=/workspace").problem(422, "invalid_export");
    at(&format!("base={state}")).problem(422, "invalid_export");
    at(&format!("format=bundle&base={none}")).problem(404, "unknown_state");
    at("format=bundle&base=zz").problem(422, "invalid_state");
    assert!(at(&format!("format=bundle&base={state}&base={state}")).ok_bytes(200).len() < 400);
    import(&server, "?strip=1", b"").send().problem(422, "invalid_import");
    import(&server, "?format=bundle", b"{}")
        .header("content-type", "application/json")
        .send()
        .problem(415, "not_importable");
    import(&server, "?format=tar", b"").header("content-type", "text/plain").send().problem(415, "not_importable");
    import(&server, "?format=rar", b"").send().problem(400, "invalid_query");
    let sender = User::of(&server);
    fs::write(sender.home().join("large.sgb"), vec![1; 3 << 20]).unwrap();
    sender.run(words("import large.sgb")).fails(125, "body_too_large");
    // Small on the way and large when it is unpacked: zstd's own frame for a repeated byte.
    let mut bomb = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3 << 20);
    header.set_mode(0o644);
    bomb.append_data(&mut header, "zeros", &*vec![0; 3 << 20]).unwrap();
    let user = User::of(Server::shared());
    fs::write(user.home().join("bomb.tar"), bomb.into_inner().unwrap()).unwrap();
    user.run(words("import bomb.tar --name exchange-bomb")).ok();
    user.run(words("export exchange-bomb bomb.tar.zst")).ok();
    let packed = fs::read(user.home().join("bomb.tar.zst")).unwrap();
    assert!(packed.len() < 10_000);
    import(&server, "?format=tar.zst", &packed).send().problem(413, "import_too_large");
}
