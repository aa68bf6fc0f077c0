//! Uploaded tools: WebAssembly components whose functions are called with JSON, and programs.
//!
//! `tools.rs` is what there is and what becomes of an upload; `run.rs` is one call, in a fresh instance. `interface.rs` and
//! `shape.rs` read what a component offers, `words.rs` is what is said of it, `schema.rs` says it in JSON Schema, `value.rs` turns JSON into values and back.
//! What an instance is given is in `host.rs`, `files.rs` and `streams.rs`; `module.rs` is for programs of preview 1. Every
//! part takes components to be hostile: what they choose is bounded before anything is allocated for it.

mod built_in;
mod command;
mod engine;
mod files;
mod host;
mod interface;
mod module;
mod run;
mod schema;
mod shape;
mod shelf;
mod streams;
#[cfg(test)]
mod tests;
mod tools;
mod value;
mod words;

use sandglass_snapshots::Timestamp;
use serde_json::Value;

pub(crate) use self::engine::for_compiling;
pub(crate) use self::run::{Ran, Surroundings};
pub use self::tools::{NewTool, TOOL_BYTES_MAX};
pub(crate) use self::tools::{ToolCall, Tools, unknown};
pub use self::words::ToolWords;
use crate::error::Error;
use crate::host::Host;

/// What a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolKind {
    /// Part of the program, served by a guest.
    BuiltIn,
    /// An uploaded component.
    Component,
    /// An uploaded core module: a program.
    Module,
}

/// A tool as people and models are told of it.
#[derive(Clone, Debug)]
pub struct ToolInfo {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ToolKind,
    /// What it is good for, if somebody said so.
    pub description: Option<String>,
    /// What of it can be called.
    pub functions: Vec<ToolFunction>,
    /// What is only known of uploads.
    pub upload: Option<Upload>,
}

/// What was uploaded.
#[derive(Clone, Debug)]
pub struct Upload {
    /// BLAKE3 of it, which calls of it have in the log.
    pub hash: [u8; 32],
    /// Its length.
    pub bytes: u64,
    /// When.
    pub time: Timestamp,
    /// By whom.
    pub actor: String,
    /// Whether imports that no tool is given were replaced by stubs.
    pub stub_imports: bool,
}

/// Something that a call can name.
#[derive(Clone, Debug)]
pub struct ToolFunction {
    /// What a call says.
    pub name: String,
    /// What the tool and the function do, as far as somebody said so; of functions also how WIT writes them.
    pub description: String,
    /// JSON Schema of its arguments: an object.
    pub arguments: Value,
    /// JSON Schema of its result; of programs and functions without one nothing.
    pub result: Option<Value>,
}

impl ToolInfo {
    fn uploaded(tool: &tools::Tool) -> Self {
        let label = &tool.label;
        // The tool's own words, those of the function, and how it is called, each as a paragraph.
        let about = |name: &str, how: String| {
            let said = [label.description.as_ref(), label.function_descriptions.get(name), Some(&how)];
            said.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n\n")
        };
        let program = label.interface.is_command().then(|| ToolFunction {
            name: label.name.clone(),
            description: about(&label.name, format!("Runs the program `{}`.", label.name)),
            arguments: command::schema(),
            result: None,
        });
        let functions = label.interface.functions.iter().map(|function| {
            let name = format!("{}.{}", label.name, function.name);
            ToolFunction {
                description: about(&name, function.signature()),
                name,
                arguments: schema::object(&function.parameters),
                result: function.result.as_ref().map(schema::schema),
            }
        });
        Self {
            name: label.name.clone(),
            kind: if label.interface.is_module { ToolKind::Module } else { ToolKind::Component },
            description: label.description.clone(),
            functions: program.into_iter().chain(functions).collect(),
            upload: Some(Upload {
                hash: label.hash,
                bytes: label.bytes,
                time: Timestamp(label.created_ns),
                actor: label.actor.clone(),
                stub_imports: label.stub_imports,
            }),
        }
    }
}

impl Host {
    /// Returns all tools: those of the program first, then the uploaded ones by name.
    #[must_use]
    pub fn tools(&self) -> Vec<ToolInfo> {
        let mut tools = built_in::list(self.guests());
        tools.extend(self.world.tools.list());
        tools
    }

    /// Returns a tool.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn tool(&self, name: &str) -> Result<ToolInfo, Error> {
        let built_in = built_in::list(self.guests()).into_iter().find(|tool| tool.name == name);
        built_in.or_else(|| self.world.tools.get(name)).ok_or_else(|| unknown(name))
    }

    /// Checks, compiles and keeps an uploaded tool, in place of one that had the name. Says whether the name is new. Blocks
    /// for as long as compiling takes.
    ///
    /// # Errors
    /// The name or the upload can't be a tool, there are too many, or the disk fails.
    pub fn add_tool(&self, new: NewTool, actor: &str) -> Result<(ToolInfo, bool), Error> {
        self.world.running()?;
        self.world.tools.add(new, self.world.clock.now(), actor)
    }

    /// Changes what is said of an uploaded tool and its functions.
    ///
    /// # Errors
    /// There is none of this name, it is part of the program or has no such function, a text is too long, or the disk fails.
    pub fn describe_tool(&self, name: &str, words: ToolWords) -> Result<ToolInfo, Error> {
        self.world.running()?;
        if self.is_built_in(name) {
            return Err(built_in(name, "described"));
        }
        self.world.tools.describe(name, words)
    }

    /// Removes an uploaded tool. Calls of it that run go on.
    ///
    /// # Errors
    /// There is none of this name, or it is part of the program.
    pub fn remove_tool(&self, name: &str) -> Result<(), Error> {
        if self.is_built_in(name) {
            return Err(built_in(name, "removed"));
        }
        self.world.tools.remove(name)
    }

    fn is_built_in(&self, name: &str) -> bool {
        built_in::list(self.guests()).iter().any(|tool| tool.name == name)
    }
}

fn built_in(name: &str, what: &str) -> Error {
    Error::conflict("tool_built_in", format!("the tool `{name}` is part of the program"))
        .hinted(format!("uploaded tools can be {what}"))
}
