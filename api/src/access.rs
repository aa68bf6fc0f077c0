//! What each route asks of a token: one table, and the only place that compares tokens with routes.
//!
//! A route that is not in the table asks for `admin`, so one that was forgotten is closed, not open; a test says which.
//!
//! A token that is bound to a sandbox learns nothing of others. Whatever names another sandbox is answered as if there were
//! none (404), before anything else is looked at, and the sandbox's id is put in place of the name that the request gave: a name
//! that changes hands between this check and the handler leads nowhere else.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::Method;
use axum::http::request::Parts;
use sandglass_runtime::{Error, Sandbox, SandboxId, StateId};
use serde_json::Value;

use crate::auth::{Caller, Scope};
use crate::http::problem::{Failure, Kind};
use crate::http::{Service, types};

/// Routes that need no token: they tell nothing and do nothing.
pub(crate) const OPEN: [&str; 4] = ["/", "/healthz", "/readyz", "/openapi.json"];

/// What becomes of requests with a token that is bound to a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The path names a sandbox, and it must be that one.
    Pinned,
    /// The handler shows only what belongs to that sandbox, or nothing that belongs to any.
    Filtered,
    /// They are refused, for this reason.
    Refused(&'static str),
}

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) scope: Scope,
    pub(crate) bound: Bound,
}

const FORKS: &str = "forks need a token that is bound to no sandbox: a bound one could not reach them";
const ALL: &str = "this is about all sandboxes, and this token is bound to one";

/// Every route that needs a token.
pub(crate) const NEEDS: &[(&str, &str, Scope, Bound)] = {
    use Bound::{Filtered, Pinned, Refused};
    use Scope::{Admin, Call, Read, Undo};
    &[
        ("GET", "/metrics", Read, Refused(ALL)),
        ("GET", "/v1/guests", Read, Filtered),
        ("GET", "/v1/tools", Call, Filtered),
        ("GET", "/v1/tools/{name}", Call, Filtered),
        ("PUT", "/v1/tools/{name}", Admin, Refused(ALL)),
        ("PATCH", "/v1/tools/{name}", Admin, Refused(ALL)),
        ("DELETE", "/v1/tools/{name}", Admin, Refused(ALL)),
        ("POST", "/v1/tokens", Admin, Refused(ALL)),
        ("GET", "/v1/tokens", Admin, Refused(ALL)),
        ("DELETE", "/v1/tokens/{id}", Admin, Refused(ALL)),
        ("POST", "/v1/sandboxes", Admin, Refused(ALL)),
        ("GET", "/v1/sandboxes", Read, Filtered),
        ("GET", "/v1/sandboxes/{sandbox}", Read, Pinned),
        ("DELETE", "/v1/sandboxes/{sandbox}", Admin, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/policy", Read, Pinned),
        ("POST", "/v1/sandboxes/{sandbox}/fork", Undo, Refused(FORKS)),
        ("POST", "/v1/sandboxes/{sandbox}/calls", Call, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/calls", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/calls/{call}", Read, Pinned),
        ("DELETE", "/v1/sandboxes/{sandbox}/calls/{call}", Call, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/calls/{call}/events", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/calls/{call}/diff", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/sessions", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/sessions/{name}", Read, Pinned),
        ("DELETE", "/v1/sandboxes/{sandbox}/sessions/{name}", Call, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/sessions/{name}/diff", Read, Pinned),
        ("POST", "/v1/sandboxes/{sandbox}/checkpoints", Undo, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/checkpoints", Read, Pinned),
        ("DELETE", "/v1/sandboxes/{sandbox}/checkpoints/{name}", Admin, Pinned),
        ("POST", "/v1/sandboxes/{sandbox}/undo", Undo, Pinned),
        ("POST", "/v1/sandboxes/{sandbox}/redo", Undo, Pinned),
        ("POST", "/v1/sandboxes/{sandbox}/restore", Undo, Pinned),
        ("POST", "/v1/sandboxes/{sandbox}/revert", Undo, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/history", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/operations", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/retention", Read, Pinned),
        ("PUT", "/v1/sandboxes/{sandbox}/retention", Admin, Pinned),
        ("DELETE", "/v1/sandboxes/{sandbox}/retention", Admin, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/diff", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/events", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/files", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/files/", Read, Pinned),
        ("GET", "/v1/sandboxes/{sandbox}/files/{*path}", Read, Pinned),
        ("HEAD", "/v1/sandboxes/{sandbox}/files/{*path}", Read, Pinned),
        ("PUT", "/v1/sandboxes/{sandbox}/files/{*path}", Call, Pinned),
        ("DELETE", "/v1/sandboxes/{sandbox}/files/{*path}", Call, Pinned),
        ("GET", "/v1/states/{state}/export", Read, Filtered),
        ("POST", "/v1/states", Admin, Refused(ALL)),
        ("POST", "/v1/mounts", Admin, Refused(ALL)),
        ("GET", "/v1/mounts", Admin, Refused(ALL)),
        ("DELETE", "/v1/mounts/{id}", Admin, Refused(ALL)),
        ("GET", "/v1/trash", Admin, Refused(ALL)),
        ("POST", "/v1/trash/restore", Admin, Refused(ALL)),
        ("GET", "/v1/store", Admin, Refused(ALL)),
        ("POST", "/v1/store/upkeep", Admin, Refused(ALL)),
        ("POST", "/v1/store/verify", Admin, Refused(ALL)),
    ]
};

/// Returns what the table says of a route; the method as HTTP writes it, the path with its parameters' names.
pub(crate) fn declared(method: &str, path: &str) -> Option<Need> {
    let find =
        |method: &str| NEEDS.iter().find(|(its_method, its_path, ..)| *its_method == method && *its_path == path);
    // What answers GET answers HEAD too.
    let found = find(method).or_else(|| if method == "HEAD" { find("GET") } else { None });
    found.map(|(_, _, scope, bound)| Need { scope: *scope, bound: *bound })
}

fn need(method: &Method, path: &str) -> Need {
    declared(method.as_str(), path).unwrap_or(Need { scope: Scope::Admin, bound: Bound::Refused(ALL) })
}

/// The sandbox that stands in the path in place of what the request wrote there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin(pub(crate) SandboxId);

/// Lets a request pass whose token is good for its route.
pub(crate) async fn admit(service: &Service, caller: &Caller, parts: &mut Parts) -> Result<(), Failure> {
    // What has no route does nothing and says so.
    let Some(route) = parts.extensions.get::<MatchedPath>().cloned() else { return Ok(()) };
    let need = need(&parts.method, route.as_str());
    if let Some(only) = caller.bound() {
        pin(service, only, parts).await?;
    }
    if !caller.principal().has(need.scope) {
        return Err(missing_scope(caller, need.scope));
    }
    match need.bound {
        Bound::Refused(reason) if caller.bound().is_some() => Err(Failure::new(Kind::Forbidden, "bound_token", reason)
            .hinted("ask whoever made this token for one without a sandbox")),
        _ => Ok(()),
    }
}

/// Checks that the sandbox in the path, if there is one, is the only one that the caller may know of.
async fn pin(service: &Service, only: SandboxId, parts: &mut Parts) -> Result<(), Failure> {
    let parameters = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|rejection| Failure::malformed("invalid_path", rejection.body_text()))?;
    let named = parameters.iter().find_map(|(name, value)| (name == "sandbox").then(|| value.to_owned()));
    if let Some(named) = named {
        let found = service.host.sandbox_only(&named, only)?;
        parts.extensions.insert(Pin(found.id()));
    }
    Ok(())
}

fn missing_scope(caller: &Caller, scope: Scope) -> Failure {
    let held = Scope::join(&caller.principal().scopes);
    Failure::new(Kind::Forbidden, "missing_scope", format!("this needs the scope `{scope}`, and this token has {held}"))
        .hinted("scopes are fixed when a token is made: ask for another token")
}

/// Returns a state that the caller may know of: any, or one of the bound sandbox's own log. To be asked before the store is, so
/// that other states look as if they did not exist.
pub(crate) fn state_of(only: Option<SandboxId>, sandbox: &Sandbox, state: StateId) -> Result<StateId, Error> {
    if only.is_some() { sandbox.own_state(state) } else { Ok(state) }
}

/// Takes from a sandbox's description what tells of another.
pub(crate) fn sandbox_for(only: Option<SandboxId>, mut sandbox: types::Sandbox) -> types::Sandbox {
    if only.is_some() {
        sandbox.parent = None;
    }
    sandbox
}

/// Takes from an operation what tells of another sandbox or of the host: where the first state came from.
pub(crate) fn operation_for(only: Option<SandboxId>, mut operation: types::Operation) -> types::Operation {
    if let (Some(_), Value::Object(detail)) = (only, &mut operation.detail) {
        for key in ["parent", "from"] {
            detail.remove(key);
        }
    }
    operation
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::router::documented;

    #[test]
    fn every_route_says_what_it_needs_and_nothing_else_does() {
        let api = serde_json::to_value(documented(|routes| routes).into_openapi()).unwrap();
        let mut routes = BTreeSet::new();
        for (path, item) in api["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let method = method.to_uppercase();
                assert_ne!(OPEN.contains(&path.as_str()), declared(&method, path).is_some(), "{method} {path}");
                routes.insert((method, path.clone()));
            }
        }
        for (method, path, ..) in NEEDS {
            let documented = path.strip_suffix('/').unwrap_or(path);
            assert!(routes.contains(&((*method).to_owned(), documented.to_owned())), "{method} {path} is no route");
        }
    }

    #[test]
    fn bound_tokens_are_pinned_wherever_a_path_names_a_sandbox() {
        for (method, path, scope, bound) in NEEDS {
            let named = path.starts_with("/v1/sandboxes/{sandbox}");
            assert!(!path[1..].contains("{sandbox}") || named, "{path}: the sandbox comes first, where it is pinned");
            assert_eq!(*bound == Bound::Pinned, named && *bound != Bound::Refused(FORKS), "{method} {path}");
            let comes_back = ["/files/", "/calls/", "/sessions/"].iter().any(|part| path.contains(part));
            if *method == "DELETE" && !comes_back {
                assert_eq!(*scope, Scope::Admin, "{method} {path} takes away what undo can't bring back");
            }
        }
    }

    #[test]
    fn what_is_not_declared_is_for_admins() {
        let undeclared = need(&Method::PUT, "/v1/sandboxes/{sandbox}/policy");
        assert_eq!(undeclared, Need { scope: Scope::Admin, bound: Bound::Refused(ALL) });
        assert_eq!(need(&Method::HEAD, "/v1/guests").scope, Scope::Read);
    }
}
