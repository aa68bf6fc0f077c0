//! Every route asks for its scope: the OpenAPI document is walked, and each operation is tried with tokens of every kind.

use serde_json::{Value, json};

use crate::support::{Answer, Server};

const SCOPES: [&str; 4] = ["read", "call", "undo", "admin"];

/// One operation of the document, with the scope that it lists.
struct Route {
    method: String,
    path: String,
    scope: Option<String>,
}

fn routes(server: &Server) -> Vec<Route> {
    let document = server.get("/openapi.json").ok(200);
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation["security"][0]["token"].as_array().cloned().unwrap_or_default();
            let scope = scopes.first().map(|scope| scope.as_str().unwrap().to_owned());
            routes.push(Route { method: method.to_uppercase(), path: path.clone(), scope });
        }
    }
    routes
}

/// Sends something that does nothing even when it is let in: every body is refused, and every name but the sandbox's is of nothing.
fn send(server: &Server, token: &str, route: &Route, sandbox: &str) -> Answer {
    let path = route.path.replace("{sandbox}", sandbox).replace("{path}", "no/such/file").replace("{name}", "none");
    let path = path.replace("{id}", "none").replace("{call}", "call_00000000000000000000000000");
    let path = path.replace("{state}", &"0".repeat(64));
    let request = server.request_as(token, &route.method, &path);
    match &*route.method {
        "POST" => request.header("content-type", "application/json").bytes(b"{").send(),
        // A directory has no content.
        "PUT" => server.request_as(token, "PUT", &format!("{path}?kind=directory")).bytes(b"x").send(),
        // Streams of what is there do not end.
        "GET" if path.ends_with("/events") && !path.contains("/calls/") => {
            server.request_as(token, "GET", &format!("{path}?after=nonsense")).send()
        }
        _ => request.send(),
    }
}

/// Returns the code of a problem; nothing when it is none, or an answer to `HEAD`.
fn code(answer: &Answer) -> Option<String> {
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    problem["code"].as_str().map(str::to_owned)
}

/// The sets of scopes that a token can have, but for none at all.
fn sets() -> impl Iterator<Item = Vec<&'static str>> {
    (1..1u8 << SCOPES.len()).map(|set| {
        let held = SCOPES.iter().enumerate().filter(move |(bit, _)| set & (1 << bit) != 0);
        held.map(|(_, scope)| *scope).collect()
    })
}

#[test]
fn every_route_is_open_to_its_scope_and_closed_to_all_others() {
    let server = Server::shared();
    server.create("scoped");
    let routes = routes(server);
    assert!(routes.len() > 30);
    for scopes in sets() {
        let (token, id) = server.make_token(&json!({ "name": "unbound", "scopes": scopes }));
        for route in &routes {
            let place = format!("{} {} with {scopes:?}", route.method, route.path);
            // What could be deleted must be of nothing; the name of nobody would hide a 403 behind nothing else.
            let sandbox = if route.method == "DELETE" { "scoped-nobody" } else { "scoped" };
            let answer = send(server, &token, route, sandbox);
            let allowed =
                route.scope.as_deref().is_none_or(|scope| scopes.contains(&scope) || scopes.contains(&"admin"));
            assert_eq!(answer.status == 403, !allowed, "{place}: {}", answer.status);
            assert!(answer.status != 401 && answer.status < 500, "{place}: {}", answer.status);
            if !allowed && route.method != "HEAD" {
                let problem = answer.problem(403, "missing_scope");
                assert!(problem["detail"].as_str().unwrap().contains(route.scope.as_deref().unwrap()), "{place}");
            }
        }
        assert_eq!(server.delete(&format!("/v1/tokens/{id}")).status, 204);
        for route in routes.iter().filter(|route| route.scope.is_some()) {
            assert_eq!(send(server, &token, route, "scoped").status, 401, "{} {}", route.method, route.path);
        }
    }
    server.get("/v1/sandboxes/scoped").ok(200);
}

#[test]
fn a_bound_token_finds_its_own_sandbox_and_no_other() {
    let server = Server::shared();
    server.create("bound-mine");
    let other = server.create("bound-other");
    let other = other["id"].as_str().unwrap();
    let routes = routes(server);
    for scopes in sets() {
        let body = json!({ "name": "bound", "scopes": scopes, "sandbox": "bound-mine" });
        if scopes.contains(&"admin") {
            server.post("/v1/tokens", &body).problem(422, "invalid_scopes");
            continue;
        }
        let (token, id) = server.make_token(&body);
        for route in &routes {
            let place = format!("{} {} with {scopes:?}", route.method, route.path);
            let has_scope = route.scope.as_deref().is_none_or(|scope| scopes.contains(&scope));
            let own = send(server, &token, route, "bound-mine");
            match code(&own).as_deref() {
                Some("missing_scope") => assert!(!has_scope && own.status == 403, "{place}"),
                Some("bound_token") => assert!(has_scope && own.status == 403, "{place}"),
                _ => assert_eq!(own.status == 403, !has_scope, "{place}: {}", own.status),
            }
            assert_ne!(code(&own).as_deref(), Some("unknown_sandbox"), "{place}");
            if !route.path.contains("{sandbox}") {
                continue;
            }
            // Others look exactly as if they did not exist, with whatever scopes.
            let nobody = send(server, &token, route, "bound-nobody");
            assert_eq!(nobody.status, 404, "{place}");
            for name in ["bound-other", other] {
                let found = send(server, &token, route, name);
                assert_eq!(found.status, 404, "{place}");
                if route.method != "HEAD" {
                    let (found, nobody) =
                        (found.problem(404, "unknown_sandbox"), nobody.problem(404, "unknown_sandbox"));
                    let said = |problem: &Value| {
                        let detail = problem["detail"].as_str().unwrap().to_owned();
                        (detail.replace(name, "X").replace("bound-nobody", "X"), problem["hint"].clone())
                    };
                    assert_eq!(said(&found), said(&nobody), "{place}");
                }
            }
        }
        assert_eq!(server.delete(&format!("/v1/tokens/{id}")).status, 204);
    }
    server.get("/v1/sandboxes/bound-other").ok(200);
}

#[test]
fn what_is_no_route_is_for_nobody_but_says_so_to_everybody() {
    let server = Server::shared();
    server.create("no-route");
    let (token, _) =
        server.make_token(&json!({ "name": "a", "scopes": ["read", "call", "undo"], "sandbox": "no-route" }));
    server.request_as(&token, "GET", "/nowhere").send().problem(404, "unknown_route");
    // A method that no route declares is for admins, who are told that there is none.
    server.request_as(&token, "PUT", "/v1/sandboxes/no-route/policy").send().problem(403, "missing_scope");
    server.request("PUT", "/v1/sandboxes/no-route/policy").send().problem(405, "method_not_allowed");
    assert_eq!(server.request_as(&token, "HEAD", "/v1/sandboxes/no-route").send().status, 200);
    server.request_as(&token, "GET", "/v1/sandboxes/no-route/files/").send().ok(200);
}
