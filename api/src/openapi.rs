//! The OpenAPI 3.1 document: made from the handlers and the wire types, completed with what all routes share.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::access::declared;
use crate::http::types::Scope;
use crate::router::documented;

/// What the document says of the service as a whole.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Sandglass", description = "Runs the tool calls of AI agents inside WebAssembly sandboxes and can take any of them back."),
    components(schemas(crate::http::types::Problem, crate::http::types::OutputEvent)),
    tags(
        (name = "sandboxes", description = "Named, persistent worlds."),
        (name = "calls", description = "Tool calls: each is a transaction."),
        (name = "sessions", description = "Interpreters that go on from call to call."),
        (name = "operations", description = "The log, and the ways back."),
        (name = "checkpoints", description = "Names for states."),
        (name = "files", description = "Files of a sandbox."),
        (name = "states", description = "States as such."),
        (name = "tokens", description = "Who may do what. For admins."),
        (name = "tools", description = "What calls can name."),
        (name = "guests", description = "The programs that serve tools."),
        (name = "service", description = "The service itself.")
    )
)]
pub(crate) struct Document;

/// Returns the document as text, as `GET /openapi.json` gives it.
#[must_use]
pub fn document_text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
        text.push('\n');
        text
    })
}

/// Returns the document.
#[must_use]
pub fn document() -> Value {
    let api = documented(|routes| routes).into_openapi();
    let mut document = serde_json::to_value(api).unwrap_or_default();
    document["info"]["license"] = json!({ "name": "Apache-2.0", "identifier": "Apache-2.0" });
    document["security"] = json!([{ "token": [] }]);
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": security() }
    });
    document["components"]["responses"] = responses();
    add_policy(&mut document);
    add_alternatives(&mut document);
    let policy = "/paths/~1v1~1sandboxes~1{sandbox}~1policy/get/responses/200/content/application~1json/schema";
    if let Some(schema) = document.pointer_mut(policy) {
        *schema = json!({ "$ref": "#/components/schemas/Policy" });
    }
    let paths = std::mem::take(&mut document["paths"]);
    let Value::Object(paths) = paths else { return document };
    let paths = paths.into_iter().map(|(path, mut item)| {
        if let Value::Object(operations) = &mut item {
            for (method, operation) in operations.iter_mut() {
                complete(&path, method, operation);
            }
        }
        (path.replace("{*", "{"), item)
    });
    document["paths"] = Value::Object(paths.collect());
    document
}

/// Says what a token is and what its scopes allow.
fn security() -> String {
    let scopes = Scope::ALL.map(|scope| format!("- `{scope}`: {}", scope.allows())).join("\n");
    format!(
        "The token in the file `token` of the data directory, which has the scope `admin`, or one of `POST /v1/tokens`. \
         Each operation lists the scope that it needs:\n\n{scopes}\n\nA token that is bound to a sandbox gets 404 for \
         everything that is not its own."
    )
}

/// The problems that routes share, by the name of their response.
const PROBLEMS: [(&str, &str, &str); 12] = [
    ("Malformed", "400", "The request can't be read."),
    ("Unauthenticated", "401", "A token is needed."),
    ("Forbidden", "403", "It came from elsewhere, or is not allowed."),
    ("NotFound", "404", "There is no such thing."),
    ("Conflict", "409", "It does not fit what is there."),
    ("Precondition", "412", "A condition of the request does not hold."),
    ("TooLarge", "413", "A limit is exceeded."),
    ("MediaType", "415", "The body is not what this takes."),
    ("Range", "416", "The range lies outside the file."),
    ("Invalid", "422", "It can't be carried out as it is."),
    ("Busy", "429", "Others are being served: try again soon."),
    ("Unavailable", "503", "The service can't do this now: try again later."),
];

fn responses() -> Value {
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
        })
    };
    let mut responses: serde_json::Map<_, _> =
        PROBLEMS.iter().map(|(name, _, description)| ((*name).to_owned(), problem(description))).collect();
    responses.insert("Problem".to_owned(), problem("Any other failure."));
    Value::Object(responses)
}

/// Adds to an operation what follows from its path, method and body: problems, and the idempotency key.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let is_file = path.contains("/files");
    let is_open = operation.get("security").is_some();
    if let Some(need) = declared(&method.to_uppercase(), path) {
        operation["security"] = json!([{ "token": [need.scope] }]);
    }
    let has_parameters = operation["parameters"].as_array().is_some_and(|parameters| !parameters.is_empty());
    let has_json = operation["requestBody"]["content"].get("application/json").is_some();
    let changes = matches!(method, "post" | "put" | "delete");
    let applies = |status: &str| match status {
        "400" => has_parameters || has_json,
        "401" => !is_open,
        "403" => true,
        "404" => path.contains('{') || matches!(path, "/v1/sandboxes" | "/v1/tokens") && changes,
        "409" => changes || is_file,
        "412" => is_file && method != "head",
        "413" => changes,
        "415" => has_json || operation["requestBody"]["content"].get("application/wasm").is_some(),
        "416" => is_file && method == "get" && path.ends_with('}'),
        "422" => path.starts_with("/v1/") && !matches!(path, "/v1/guests" | "/v1/tools"),
        "429" => path.starts_with("/v1/"),
        "503" => path.starts_with("/v1/") || path == "/readyz",
        _ => false,
    };
    let shared: Vec<_> = PROBLEMS.iter().filter(|(_, status, _)| applies(status)).collect();
    for (name, status, _) in shared {
        operation["responses"][*status] = json!({ "$ref": format!("#/components/responses/{name}") });
    }
    // A body whose every field may be left out may be left out itself.
    let body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
    let optional = ["CreateSandbox", "Fork", "Steps"];
    if body.and_then(|body| body.rsplit('/').next()).is_some_and(|name| optional.contains(&name)) {
        operation["requestBody"]["required"] = json!(false);
    }
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        parameters.iter_mut().for_each(|parameter| add_pattern(method, parameter));
    }
    // Handlers are named for what they do within their resource: `calls_list`, `sandboxes_fork`.
    if let (Some(tag), Some(name)) = (operation["tags"][0].as_str(), operation["operationId"].as_str()) {
        operation["operationId"] = json!(format!("{tag}_{name}"));
    }
    operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Problem" });
    // A token's secret is told once, so there is no answer that could be kept; what is not JSON is streamed, and not
    // remembered.
    if method == "post" && path != "/v1/tokens" && (has_json || operation.get("requestBody").is_none()) {
        let key = json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Makes a repetition of this request harmless: it gets the answer of the first. Kept for 24 hours.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" }
        });
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(key),
            None => operation["parameters"] = json!([key]),
        }
    }
}

/// Says how the headers of conditions are written.
fn add_pattern(method: &str, parameter: &mut Value) {
    const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#;
    const TAG: &str = r#"^(\*|(W/)?"[!#-~]*")$"#;
    let pattern = match (parameter["name"].as_str(), method) {
        (Some("If-None-Match"), "put") => r"^\*$",
        (Some("If-Match"), "put" | "delete") => TAG,
        (Some("If-Match" | "If-None-Match"), _) => TAGS,
        _ => return,
    };
    parameter["schema"] = json!({ "type": "string", "pattern": pattern });
}

/// Says what a derived schema can't: which fields go together.
fn add_alternatives(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let one_of = ["state", "checkpoint", "seq"].map(|name| json!({ "required": [name] }));
    schemas["Restore"]["oneOf"] = json!(one_of);
    schemas["Fork"]["not"] = json!({ "required": ["name", "count"] });
}

/// Takes in the schema of policy documents, which another crate makes.
fn add_policy(document: &mut Value) {
    let mut schema = sandglass_policy::Policy::schema().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        if let Some(Value::Object(definitions)) = object.remove("$defs") {
            for (name, mut definition) in definitions {
                relocate(&mut definition);
                document["components"]["schemas"][name] = definition;
            }
        }
    }
    relocate(&mut schema);
    document["components"]["schemas"]["Policy"] = schema;
}

fn relocate(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(text) if key == "$ref" => *text = text.replace("#/$defs/", "#/components/schemas/"),
                    _ => relocate(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(relocate),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_names_its_scope() {
        let document = document();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let scopes = operation["security"][0]["token"].as_array().cloned().unwrap_or_default();
                let is_open = crate::access::OPEN.contains(&path.as_str());
                assert_eq!(scopes.len(), usize::from(!is_open), "{method} {path}");
                assert_eq!(operation["responses"].get("401").is_some(), !is_open, "{method} {path}");
            }
        }
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| match value {
                Value::String(text) if key == "$ref" => found.push(text.clone()),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("references stay inside");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_is_described() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(!path.contains('*'), "{path}");
            for (method, operation) in item.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert!(operation["summary"].is_string(), "{place}");
                assert!(operation["responses"]["default"].is_object(), "{place}");
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}");
                assert!(operation.get("parameters").is_none_or(Value::is_array), "{place}");
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let named = |name: &str| parameters.iter().any(|one| one["in"] == "path" && one["name"] == name);
                for name in path.split('{').skip(1).map(|rest| &rest[..rest.find('}').unwrap()]) {
                    assert!(named(name), "{place}: {name}");
                }
            }
        }
    }
}
