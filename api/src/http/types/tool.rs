//! Tools, as they go over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A tool: what calls can name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tool {
    /// Its name.
    #[schema(example = "notes")]
    pub name: String,
    /// What it is.
    pub kind: ToolKind,
    /// What it is good for, if somebody said so.
    pub description: Option<String>,
    /// What of it can be called.
    pub functions: Vec<ToolFunction>,
    /// What was uploaded; a tool of the program itself has nothing here.
    pub upload: Option<ToolUpload>,
}

/// What a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// Part of the program, served by a guest.
    BuiltIn,
    /// An uploaded component.
    Component,
    /// An uploaded core module: a program.
    Module,
}

impl ToolKind {
    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built_in",
            Self::Component => "component",
            Self::Module => "module",
        }
    }
}

/// Something that a call can name, as models are told of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolFunction {
    /// What the `tool` of a call says.
    #[schema(example = "notes.add")]
    pub name: String,
    /// What the tool and the function do, as far as somebody said so; of functions also how WIT writes them.
    pub description: String,
    /// JSON Schema (2020-12) of its `arguments`.
    #[schema(value_type = Object)]
    pub arguments: Value,
    /// JSON Schema of its `result`; null for programs and for functions without one.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// What was uploaded of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolUpload {
    /// BLAKE3 of it, in hex.
    pub hash: String,
    /// Its length.
    pub bytes: u64,
    /// When.
    #[schema(format = DateTime)]
    pub time: String,
    /// By whom.
    pub actor: String,
    /// Whether imports that no tool is given were replaced by stubs: using one ends the call.
    pub stub_imports: bool,
}

/// What shall be said of a tool from now on. What is left out stays as it is; null takes a description away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolWords {
    /// What the tool is good for.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    pub description: Option<Option<String>>,
    /// What functions do, by the names that calls have for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({ "notes.add": "Adds a note and returns its line." }))]
    pub functions: BTreeMap<String, Option<String>>,
}

/// Tells null from what is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
