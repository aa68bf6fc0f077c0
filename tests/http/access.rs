//! Who gets in: hosts, origins and tokens, on every route.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Request, Server, raw};

/// One path of every kind of route, and one of none.
const PATHS: [&str; 10] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/sandboxes",
    "/v1/sandboxes/x/events",
    "/v1/sandboxes/x/files/workspace/a",
    "/v1/guests",
    "/nowhere",
];

fn ask(server: &Server, method: &str, path: &str, headers: &str) -> (u16, String) {
    let token = server.token();
    raw(
        server.address(),
        &format!("{method} {path} HTTP/1.1\r\n{headers}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn other_hosts_get_nowhere() {
    let server = Server::shared();
    let port = server.address().port();
    let hosts = [
        String::new(),
        "Host: evil.com\r\n".to_owned(),
        format!("Host: evil.com:{port}\r\n"),
        format!("Host: 127.0.0.1.nip.io:{port}\r\n"),
        "Host: \r\n".to_owned(),
        "Host: 127.0.0.1\r\n".to_owned(),
        format!("Host: 0.0.0.0:{port}\r\n"),
        format!("Host: localhost:{port}\r\nHost: localhost:{port}\r\n"),
        format!("Host: localhost:{port}\r\nHost: evil.com\r\n"),
    ];
    for headers in &hosts {
        for path in PATHS {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let (status, answer) = ask(server, method, path, headers);
                // Two Host headers or none may be refused by the HTTP layer itself.
                assert!(
                    status == 403 || status == 400 && !headers.contains("evil"),
                    "{method} {path} {headers:?}: {answer}"
                );
                if status == 403 && method != "HEAD" {
                    assert!(answer.contains("application/problem+json") && answer.contains("bad_host"), "{answer}");
                }
            }
        }
    }
    let (status, answer) =
        ask(server, "GET", &format!("http://evil.com:{port}/healthz"), &format!("Host: localhost:{port}\r\n"));
    assert_eq!(status, 403, "{answer}");
}

#[test]
fn foreign_pages_have_no_effect() {
    let server = Server::shared();
    let port = server.address().port();
    for origin in
        ["https://evil.com", "null", "", &format!("https://localhost:{port}"), "http://localhost:1", "file://"]
    {
        for path in PATHS {
            let headers = format!("Host: localhost:{port}\r\nOrigin: {origin}\r\n");
            let (status, answer) = ask(server, "GET", path, &headers);
            assert_eq!(status, 403, "{path} {origin}: {answer}");
            assert!(answer.contains("bad_origin"), "{answer}");
        }
    }
    let body = r#"{"name":"by-a-foreign-page"}"#;
    let length = body.len();
    let token = server.token();
    let request = format!(
        "POST /v1/sandboxes HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: https://evil.com\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    assert_eq!(raw(server.address(), &request).0, 403);
    server.get("/v1/sandboxes/by-a-foreign-page").problem(404, "unknown_sandbox");
}

#[test]
fn our_own_names_and_pages_get_in() {
    let server = Server::shared();
    let port = server.address().port();
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"] {
        let headers = format!("Host: {host}:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n");
        assert_eq!(ask(server, "GET", "/v1/sandboxes", &headers).0, 200, "{host}");
    }
}

#[test]
fn host_comes_before_token_and_token_before_anything_else() {
    let server = Server::shared();
    let port = server.address().port();
    let (status, _) =
        raw(server.address(), "GET /v1/sandboxes HTTP/1.1\r\nHost: evil.com\r\nConnection: close\r\n\r\n");
    assert_eq!(status, 403);
    let (status, _) = raw(
        server.address(),
        &format!(
            "POST /v1/sandboxes HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{{"
        ),
    );
    assert_eq!(status, 401);
}

#[test]
fn what_does_something_or_tells_something_needs_the_token() {
    let server = Server::shared();
    let ask = |method: &str, path: &str, authorization: Option<&str>| {
        let request = Request::new(method, &format!("{}{path}", server.url()));
        match authorization {
            Some(value) => request.header("authorization", value).send(),
            None => request.send(),
        }
    };
    for path in ["/", "/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(ask("GET", path, None).status, 200, "{path}");
    }
    for path in PATHS.iter().filter(|path| path.starts_with("/v1") || matches!(**path, "/metrics" | "/nowhere")) {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let answer = ask(method, path, None);
            answer.problem(401, "missing_token");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"sandglass\"");
        }
    }
    let answer = ask("GET", "/v1/sandboxes", Some("Bearer sg_0000000000000000000000000000000000000000000"));
    answer.problem(401, "wrong_token");
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    ask("GET", "/v1/sandboxes", Some(&format!("Basic {}", server.token()))).problem(401, "missing_token");
    ask("GET", &format!("/v1/sandboxes?access_token={}", server.token()), None).problem(401, "missing_token");
}

#[test]
fn the_data_directory_and_its_token_are_private_and_lasting() {
    let server = Server::start();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(server.data().join("token")), 0o600);
    assert_eq!(mode(server.data().join("store")), 0o700);
    let token = server.token().to_owned();
    assert!(token.starts_with("sg_") && token.len() >= 46);
    let again = Server::start_over(server.stop());
    assert_eq!(again.token(), token);
}

#[test]
fn an_address_that_others_reach_must_be_insisted_on() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sandglass"))
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("0.0.0.0:0") && text.contains("--insecure-listen"), "{text}");
    assert!(!data.path().join("token").exists());
}
