//! Tools, as they go over the wire.

use serde::{Deserialize, Serialize};
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
    /// What it does, as far as that is known; of functions also how WIT writes them.
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
