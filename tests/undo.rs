//! Undo is exact: names, bytes, modes, times and links come back as they were, whatever a call did.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::support::Server;

/// What an archive says of one path: kind, mode, time, link target, and a hash of the bytes.
type Listing = BTreeMap<Vec<u8>, (u8, u32, u64, Option<Vec<u8>>, blake3::Hash)>;

fn exported(server: &Server, state: &str) -> Listing {
    let archive = server.get(&format!("/v1/states/{state}/export")).ok_bytes(200);
    let mut listing = Listing::new();
    let mut archive = tar::Archive::new(&archive[..]);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = entry.header();
        let facts = (
            header.entry_type().as_byte(),
            header.mode().unwrap(),
            header.mtime().unwrap(),
            entry.link_name_bytes().map(std::borrow::Cow::into_owned),
            blake3::hash(&bytes),
        );
        let known = listing.insert(entry.path_bytes().into_owned(), facts);
        assert!(known.is_none());
    }
    listing
}

/// A project as agents meet them: sources, a hidden file, links of both kinds, odd modes and names, an empty directory.
fn project(directory: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    write("src/main.rs", b"fn main() {}\n");
    write(".env.local", b"TOKEN=x\n");
    write("data/empty", b"");
    write("data/block", &[7; 65536]);
    write("data/large", &(0..3_000_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    write("name with \u{202e} and \n", b"odd");
    std::fs::create_dir(directory.join("void")).unwrap();
    symlink("../src/main.rs", directory.join("data/link")).unwrap();
    symlink("/nowhere", directory.join("dangling")).unwrap();
    std::fs::hard_link(directory.join("src/main.rs"), directory.join("hard")).unwrap();
    std::fs::set_permissions(directory.join("src/main.rs"), PermissionsExt::from_mode(0o750)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    std::fs::File::open(directory.join("data/block")).unwrap().set_modified(old).unwrap();
}

#[test]
fn a_removed_workspace_comes_back_whole() {
    let server = Server::shared();
    let directory = tempfile::tempdir().unwrap();
    project(directory.path());
    let from = json!({ "name": "whole", "from": { "directory": directory.path() } });
    let before = server.post("/v1/sandboxes", &from).ok(201)["state"].as_str().unwrap().to_owned();
    let listing = exported(server, &before);
    assert!(listing.len() >= 14, "{}", listing.len());
    let call = server.call("whole", "import shutil; shutil.rmtree('/workspace')");
    assert_eq!(call["status"], "ok", "{call}");
    assert_eq!(exported(server, call["after"].as_str().unwrap()).len(), 4, "only /tmp and /usr/local/bin are left");
    let undone = server.post("/v1/sandboxes/whole/undo", &json!({})).ok(200);
    assert_eq!(undone["after"], before.as_str());
    assert_eq!(exported(server, &before), listing);
    let code = "import os; s = os.stat('/workspace/data/block'); print(s.st_mtime_ns, s.st_size, os.readlink('/workspace/data/link'))";
    let call = server.call("whole", code);
    assert_eq!(call["stdout"], "1000000000123456789 65536 ../src/main.rs\n", "{call}");
}

#[test]
fn the_host_directory_is_never_touched() {
    let server = Server::shared();
    let directory = tempfile::tempdir().unwrap();
    project(directory.path());
    let times = |path: &Path| {
        let metadata = path.symlink_metadata().unwrap();
        (metadata.mtime_nsec(), metadata.ctime_nsec(), metadata.size(), metadata.mode())
    };
    let before = times(&directory.path().join("src/main.rs"));
    server.post("/v1/sandboxes", &json!({ "name": "host", "from": { "directory": directory.path() } })).ok(201);
    let code = "import os\nfor d, _, names in os.walk('/workspace', topdown=False):\n    for n in names: os.remove(os.path.join(d, n))";
    assert_eq!(server.call("host", code)["status"], "ok");
    assert_eq!(times(&directory.path().join("src/main.rs")), before);
}

#[test]
fn undo_of_undo_and_redo_walk_the_log() {
    let server = Server::shared();
    server.post("/v1/sandboxes", &json!({ "name": "walk" })).ok(201);
    let states: Vec<String> = (0..4)
        .map(|number| {
            let call = server.call("walk", &format!("open('/workspace/n', 'w').write('{number}')"));
            call["after"].as_str().unwrap().to_owned()
        })
        .collect();
    let step = |verb: &str| server.post(&format!("/v1/sandboxes/walk/{verb}"), &json!({}));
    assert_eq!(step("undo").ok(200)["after"], states[2].as_str());
    assert_eq!(step("undo").ok(200)["after"], states[1].as_str());
    server.call("walk", "print('a call that changes nothing does not end what can be redone')");
    assert_eq!(step("redo").ok(200)["after"], states[2].as_str());
    assert_eq!(step("redo").ok(200)["after"], states[3].as_str());
    step("redo").problem(409, "nothing_to_redo");
    let two = server.post("/v1/sandboxes/walk/undo", &json!({ "steps": 2 })).ok(200);
    assert_eq!(two["after"], states[1].as_str());
    assert_eq!(two["undone"].as_array().unwrap().len(), 2);
    server.post("/v1/sandboxes/walk/undo", &json!({ "steps": 9 })).problem(409, "nothing_to_undo");
    assert_eq!(server.get("/v1/sandboxes/walk").ok(200)["state"], states[1].as_str(), "a refused undo changes nothing");
}

#[test]
fn some_paths_come_back_alone() {
    let server = Server::shared();
    server.post("/v1/sandboxes", &json!({ "name": "paths" })).ok(201);
    let first = server.call("paths", "open('a', 'w').write('1'); open('b', 'w').write('1'); import os; os.makedirs('d/e'); open('d/e/f', 'w').write('1')");
    let code = "open('a', 'w').write('2'); open('b', 'w').write('2'); import shutil; shutil.rmtree('d'); open('new', 'w').write('2')";
    assert_eq!(server.call("paths", code)["status"], "ok");
    let body = json!({ "state": first["after"], "paths": ["/workspace/a", "/workspace/d/e", "/workspace/new"] });
    let moved = server.post("/v1/sandboxes/paths/restore", &body).ok(200);
    assert_eq!(moved["operation"]["kind"], "restore");
    let call = server.call(
        "paths",
        "import os; print(open('a').read(), open('b').read(), open('d/e/f').read(), os.path.exists('new'))",
    );
    assert_eq!(call["stdout"], "1 2 1 False\n", "{call}");
    let body = json!({ "state": first["after"], "paths": ["/workspace/neither"] });
    server.post("/v1/sandboxes/paths/restore", &body).problem(404, "no_such_file");
}

#[test]
fn forks_go_their_own_ways() {
    let server = Server::shared();
    server.post("/v1/sandboxes", &json!({ "name": "trunk" })).ok(201);
    server.call("trunk", "open('/workspace/shared', 'w').write('trunk')");
    let forks = server.post("/v1/sandboxes/trunk/fork", &json!({ "count": 8 })).ok(201);
    let names: Vec<&str> =
        forks["sandboxes"].as_array().unwrap().iter().map(|fork| fork["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8);
    for (number, name) in names.iter().enumerate() {
        server.call(name, &format!("open('/workspace/shared', 'a').write(' {number}')"));
    }
    for (number, name) in names.iter().enumerate() {
        let call = server.call(name, "print(open('/workspace/shared').read(), end='')");
        assert_eq!(call["stdout"], format!("trunk {number}"));
    }
    assert_eq!(server.call("trunk", "print(open('/workspace/shared').read(), end='')")["stdout"], "trunk");
}

/// The size of a home directory that an agent once removed.
#[test]
fn a_removed_home_of_57235_files_comes_back() {
    const DIRECTORIES: usize = 11_315;
    const FILES: usize = 57_235;
    let server = Server::shared();
    let directory = tempfile::tempdir().unwrap();
    let places: Vec<_> = (0..DIRECTORIES)
        .map(|number| directory.path().join(format!("{:02}/{:02}/{number}", number % 23, number / 23 % 31)))
        .collect();
    places.iter().for_each(|place| std::fs::create_dir_all(place).unwrap());
    for number in 0..FILES {
        std::fs::write(
            places[number % DIRECTORIES].join(number.to_string()),
            format!("file {number}").repeat(number % 40),
        )
        .unwrap();
    }
    let from = json!({ "name": "home", "from": { "directory": directory.path() } });
    let before = server.post("/v1/sandboxes", &from).ok(201)["state"].as_str().unwrap().to_owned();
    let start = Instant::now();
    let call = server.call("home", "import shutil; shutil.rmtree('/workspace')");
    eprintln!("rm -rf of {FILES} files: {:?}", start.elapsed());
    assert_eq!(call["status"], "ok", "{call}");
    assert!(call["changes"]["removed"].as_u64().unwrap() > (FILES + DIRECTORIES) as u64, "{call}");
    let start = Instant::now();
    let undone = server.post("/v1/sandboxes/home/undo", &json!({})).ok(200);
    eprintln!("undo, with its summary of changes: {:?}", start.elapsed());
    assert_eq!(undone["after"], before.as_str(), "one hash stands for every name, byte, mode, time and link");
    let listing = exported(server, &before);
    assert!(listing.len() > FILES + DIRECTORIES);
    for number in (0..FILES).step_by(997) {
        let place = places[number % DIRECTORIES].join(number.to_string());
        let relative = place.strip_prefix(directory.path()).unwrap().to_str().unwrap();
        let found = &listing[format!("workspace/{relative}").as_bytes()];
        assert_eq!(found.4, blake3::hash(&std::fs::read(&place).unwrap()), "{relative}");
    }
}
