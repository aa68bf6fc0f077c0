//! Files: written once, read in parts, guarded by conditions.

use serde_json::json;

use crate::support::{Answer, Request, Server};

fn at(server: &Server, method: &str, path: &str) -> Request {
    server.request(method, &format!("/v1/sandboxes/{path}"))
}

fn moved(answer: &Answer) -> String {
    answer.header("etag").to_owned()
}

#[test]
fn a_file_is_written_read_and_removed() {
    let server = Server::shared();
    server.create("files");
    let path = "files/files/workspace/new/dir/a%20b.txt";
    let answer = at(server, "PUT", path).bytes(b"hello").send();
    let made = answer.ok(201);
    assert_eq!(
        (made["operation"]["kind"].as_str(), made["operation"]["actor"].as_str()),
        (Some("write"), Some("admin"))
    );
    let read = at(server, "GET", path).send();
    assert_eq!(read.header("etag"), answer.header("etag"));
    assert_eq!(read.header("content-type"), "application/octet-stream");
    assert_eq!(read.header("content-length"), "5");
    assert_eq!(read.header("x-content-type-options"), "nosniff");
    assert!(read.header("last-modified").ends_with("GMT"));
    assert_eq!(read.ok_bytes(200), b"hello");
    let head = at(server, "HEAD", path).send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "5", 0));
    at(server, "PUT", path).bytes(b"hello again").send().ok(200);
    let old = made["after"].as_str().unwrap();
    assert_eq!(at(server, "GET", &format!("{path}?state={old}")).send().ok_bytes(200), b"hello");
    at(server, "DELETE", "files/files/workspace/new").send().problem(409, "directory_not_empty");
    at(server, "DELETE", "files/files/workspace/new?recursive=true").send().ok(200);
    at(server, "GET", path).send().problem(404, "no_such_file");
    server.post("/v1/sandboxes/files/undo", &json!({})).ok(200);
    assert_eq!(at(server, "GET", path).send().ok_bytes(200), b"hello again");
}

#[test]
fn directories_list_as_json() {
    let server = Server::shared();
    server.create("listing");
    at(server, "PUT", "listing/files/workspace/d?kind=directory&mode=0700").send().ok(201);
    at(server, "PUT", "listing/files/workspace/f?mode=0755").bytes(b"1").send().ok(201);
    let page = at(server, "GET", "listing/files/workspace").send().ok(200);
    let facts: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["name"].clone(), item["kind"].clone(), item["mode"].clone()))
        .collect();
    assert_eq!(facts, [(json!("d"), json!("directory"), json!("0700")), (json!("f"), json!("file"), json!("0755"))]);
    for root in ["listing/files", "listing/files/"] {
        let page = at(server, "GET", root).send().ok(200);
        assert!(page["items"].as_array().unwrap().iter().any(|item| item["path"] == "/workspace"), "{page}");
    }
    at(server, "PUT", "listing/files/workspace/g?kind=pipe").send().problem(400, "invalid_query");
    at(server, "PUT", "listing/files/workspace/g?mode=999").send().problem(400, "invalid_query");
    at(server, "PUT", "listing/files/workspace/g?kind=directory").bytes(b"x").send().problem(422, "invalid_body");
}

#[test]
fn links_lead_nowhere_else() {
    let server = Server::shared();
    server.create("links");
    let code = "import os; os.symlink('/etc/passwd', 'out'); os.symlink('../../../../etc/passwd', 'up'); open('t', 'w').write('in'); os.symlink('t', 'in')";
    assert_eq!(server.call("links", code)["status"], "ok");
    for path in ["links/files/workspace/out", "links/files/workspace/up"] {
        at(server, "GET", path).send().problem(404, "no_such_file");
    }
    assert_eq!(at(server, "GET", "links/files/workspace/in").send().ok_bytes(200), b"in");
    at(server, "GET", "links/files/workspace/..%2f..%2fetc/passwd").send().problem(422, "invalid_path");
}

#[test]
fn updates_are_not_lost() {
    let server = Server::shared();
    server.create("etags");
    let path = "etags/files/workspace/a";
    let first = moved(&at(server, "PUT", path).header("if-none-match", "*").bytes(b"1").send());
    at(server, "PUT", path).header("if-none-match", "*").bytes(b"2").send().problem(412, "precondition_failed");
    let second = moved(&at(server, "PUT", path).header("if-match", &first).bytes(b"two").send());
    assert_ne!(first, second);
    at(server, "PUT", path).header("if-match", &first).bytes(b"3").send().problem(412, "precondition_failed");
    at(server, "DELETE", path).header("if-match", &first).send().problem(412, "precondition_failed");
    at(server, "PUT", path).header("if-match", "unquoted").bytes(b"3").send().problem(400, "invalid_condition");
    let unchanged = at(server, "GET", path).header("if-none-match", &format!("\"x\", {second}")).send();
    assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.body.len()), (304, &*second, 0));
    assert_eq!(at(server, "GET", path).header("if-none-match", &first).send().ok_bytes(200), b"two");
    at(server, "GET", path).header("if-match", &first).send().problem(412, "precondition_failed");
    at(server, "DELETE", path).header("if-match", &second).send().ok(200);
    at(server, "PUT", path).header("if-match", "*").bytes(b"3").send().problem(412, "precondition_failed");
}

#[test]
fn parts_of_small_and_large_files() {
    let server = Server::shared();
    server.create("ranges");
    // One is read in one piece and one in several.
    for (name, size) in [("small", 1000usize), ("large", (2 << 20) + 77)] {
        let bytes: Vec<u8> = (0..size).map(|position| u8::try_from(position * 7 % 251).unwrap()).collect();
        let path = format!("ranges/files/workspace/{name}");
        let etag = moved(&at(server, "PUT", &path).bytes(&bytes).send());
        let part = |range: &str| at(server, "GET", &path).header("range", range).send();
        let last = size - 1;
        for (range, span) in [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=10-19".to_owned(), 10..20),
            (format!("bytes=5-{}", size * 2), 5..size),
            (format!("bytes={last}-"), last..size),
            ("bytes=-3".to_owned(), size - 3..size),
        ] {
            let answer = part(&range);
            assert_eq!(
                answer.header("content-range"),
                format!("bytes {}-{}/{size}", span.start, span.end - 1),
                "{range}"
            );
            assert!(answer.ok_bytes(206) == bytes[span], "{name} {range}");
        }
        let answer = part(&format!("bytes={size}-"));
        answer.problem(416, "range_not_satisfiable");
        assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
        assert!(
            part("bytes=0-1,5-6").ok_bytes(200) == bytes,
            "several ranges are not understood, and then all is sent"
        );
        let held = at(server, "GET", &path).header("range", "bytes=0-1").header("if-range", &etag).send();
        assert_eq!(held.ok_bytes(206), bytes[..2]);
        let lost = at(server, "GET", &path).header("range", "bytes=0-1").header("if-range", "\"other\"").send();
        assert!(lost.ok_bytes(200) == bytes);
    }
}

#[test]
fn a_state_is_exported_whole_or_in_part() {
    let server = Server::shared();
    server.create("exports");
    server.put_file("exports", "/workspace/a/b.txt", b"inside");
    let made = server.put_file("exports", "/workspace/c.bin", &vec![9; 300_000]);
    let state = made["after"].as_str().unwrap();
    let answer = server.get(&format!("/v1/states/{state}/export"));
    assert_eq!(answer.header("content-type"), "application/x-tar");
    assert!(answer.header("content-disposition").starts_with("attachment"));
    let names = |archive: &[u8]| {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        entries.collect::<Vec<_>>()
    };
    let whole = answer.ok_bytes(200);
    assert!(names(&whole).iter().any(|name| name.ends_with("workspace/a/b.txt")), "{:?}", names(&whole));
    assert!(
        server.get(&format!("/v1/states/{state}/export")).ok_bytes(200) == whole,
        "the same state gives the same bytes"
    );
    let part = server.get(&format!("/v1/states/{state}/export?path=/workspace/a")).ok_bytes(200);
    assert!(names(&part).iter().all(|name| !name.contains("c.bin")), "{:?}", names(&part));
    server.get(&format!("/v1/states/{state}/export?path=relative")).problem(422, "invalid_path");
}
