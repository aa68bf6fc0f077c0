//! The tools of the program itself, described as uploaded ones are.

use serde_json::{Value, json};

use super::{ToolFunction, ToolInfo, ToolKind};
use crate::guest::Guests;

/// Returns the tools that guests serve, in the order of the guests.
pub(super) fn list(guests: &Guests) -> Vec<ToolInfo> {
    let mut tools: Vec<ToolInfo> = Vec::new();
    for name in guests.list().into_iter().flat_map(|guest| guest.tools) {
        if tools.iter().all(|tool| tool.name != name) {
            tools.push(described(name));
        }
    }
    tools
}

fn described(name: String) -> ToolInfo {
    let (description, arguments) = match name.as_str() {
        "python" => (
            "Runs Python 3 in the sandbox. Files below /workspace stay from call to call; variables do not. Print what \
             you want to see.",
            started(&[
                ("code", json!({ "type": "string", "description": "the code to run" })),
                (
                    "argv",
                    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1,
                        "description": "a command line instead of code, such as [\"python3\", \"file.py\"]" }),
                ),
            ]),
        ),
        "javascript" => (
            "Runs JavaScript in the sandbox, with the modules of Node.js. Files below /workspace stay from call to call; variables \
             do not. Print what you want to see.",
            started(&[
                ("code", json!({ "type": "string", "description": "the code to run" })),
                (
                    "argv",
                    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1,
                        "description": "a command line instead of code, such as [\"node\", \"file.js\"]" }),
                ),
            ]),
        ),
        "shell" => (
            "Runs a bash command line in the sandbox, with the usual commands. Files below /workspace stay from call to call.",
            started(&[
                ("command", json!({ "type": "string", "description": "the command line" })),
                (
                    "argv",
                    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1,
                        "description": "a program and its arguments instead, such as [\"bash\", \"file.sh\"]" }),
                ),
            ]),
        ),
        _ => ("Runs a program in the sandbox.", super::command::schema()),
    };
    let function = ToolFunction { name: name.clone(), description: description.to_owned(), arguments, result: None };
    ToolInfo {
        name,
        kind: ToolKind::BuiltIn,
        description: Some(description.to_owned()),
        functions: vec![function],
        upload: None,
    }
}

/// Returns the schema of what starts with one of these, and the surroundings that every program can be given.
fn started(ways: &[(&str, Value)]) -> Value {
    let mut schema = super::command::schema();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("argv");
        properties.extend(ways.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    match ways {
        [(only, _)] => schema["required"] = json!([only]),
        _ => schema["oneOf"] = ways.iter().map(|(name, _)| json!({ "required": [name] })).collect(),
    }
    schema
}
