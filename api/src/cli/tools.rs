//! `sandglass tools`: what calls can name, and what of it was uploaded.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::console::{Console, Look, Text};
use super::failure::{Failure, exit};
use super::progress::{Counted, Waiting};
use super::wit::Comments;
use super::{size, terminal};
use crate::http::types::{Tool, ToolFunction, ToolKind, ToolWords};

const EXAMPLES: &str = "\
Examples:
  sandglass tools                                  what can be called
  sandglass tools add files files.wasm             a component, or a program of WASI preview 1
  sandglass tools add notes notes.wasm --stub-imports --description 'keeps notes'
  sandglass call shop --tool files.text.count --arguments '{\"path\": \"/workspace/a.txt\"}'
  sandglass tools describe files --wit wit/        its functions, with the comments of its WIT
  sandglass tools describe files.text.count 'Counts the lines, words and bytes of a file.'
  sandglass tools show files --json                JSON Schema of all its functions, for a model
  sandglass tools rm files";

/// List, upload, describe, show and remove tools. Docs: docs/tools.md.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Tools {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tools (the default).
    #[command(visible_alias = "list")]
    Ls,
    /// Upload a tool, in place of one of this name. It is compiled at once, which takes some seconds for large ones.
    Add {
        /// The name that it shall have: small letters, digits, hyphens and underscores.
        name: String,
        /// A WebAssembly component, or a program of WASI preview 1, of this machine.
        file: PathBuf,
        /// What it is good for: models read it.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Take it although it imports what no tool is given, such as sockets: using that ends the call. Components that
        /// componentize-py makes need it.
        #[arg(long)]
        stub_imports: bool,
        /// Describe its functions with the comments of this WIT: a file, or a directory of `.wit` files.
        #[arg(long, value_name = "PATH")]
        wit: Option<PathBuf>,
    },
    /// Say what a tool or one of its functions is good for: models read it. An empty text takes a description away.
    Describe {
        /// The tool (`files`), or a function (`files.text.count`).
        name: String,
        /// What it is good for.
        #[arg(required_unless_present = "wit")]
        text: Option<String>,
        /// Describe all functions with the comments of this WIT: a file, or a directory of `.wit` files.
        #[arg(long, value_name = "PATH")]
        wit: Option<PathBuf>,
    },
    /// Show a tool: its functions, their arguments and results.
    Show {
        /// Its name.
        name: String,
    },
    /// Remove tools that were uploaded.
    Rm {
        /// Their names.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

impl Tools {
    pub(crate) fn run(self, console: &Console) -> Result<u8, Failure> {
        match self.action.unwrap_or(Action::Ls) {
            Action::Ls => list(console),
            Action::Add { name, file, description, stub_imports, wit } => {
                let said = wit.as_deref().map(Comments::read).transpose()?;
                add(console, &name, &file, description.as_deref(), stub_imports, said.as_ref())
            }
            Action::Describe { name, text, wit } => {
                let said = wit.as_deref().map(Comments::read).transpose()?;
                describe(console, &name, text, said.as_ref())
            }
            Action::Show { name } => show(console, &name),
            Action::Rm { names } => remove(console, &names),
        }
    }
}

fn list(console: &Console) -> Result<u8, Failure> {
    let tools = console.client()?.tools()?;
    if console.json {
        console.object(&tools)?;
        return Ok(exit::OK);
    }
    let now = Timestamp::now();
    let rows = tools.items.iter().map(|tool| {
        let upload = tool.upload.as_ref();
        let functions: Vec<_> = tool.functions.iter().map(|function| terminal::name(&function.name)).take(4).collect();
        let more = if tool.functions.len() > functions.len() { ", ..." } else { "" };
        vec![
            Text::from(terminal::name(&tool.name)).strong(),
            kind(tool.kind).into(),
            upload.map_or_else(|| "-".to_owned(), |upload| size::bytes(upload.bytes)).into(),
            upload.map_or_else(|| "-".to_owned(), |upload| size::age(&upload.time, now)).into(),
            format!("{}{more}", functions.join(", ")).into(),
        ]
    });
    console.table(&["NAME", "KIND", "SIZE", "UPLOADED", "CALLS"], &[2], rows.collect())?;
    Ok(exit::OK)
}

const fn kind(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::BuiltIn => "built-in",
        ToolKind::Component => "component",
        ToolKind::Module => "module",
    }
}

fn add(
    console: &Console,
    name: &str,
    path: &Path,
    description: Option<&str>,
    stub_imports: bool,
    said: Option<&Comments>,
) -> Result<u8, Failure> {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let length = file.metadata().map_err(|error| Failure::file(path, &error))?.len();
    let client = console.client()?;
    let counted = Counted::new(console, "uploading", Some(length), file);
    let mut from = ThenWaiting { console, from: Some(counted), waiting: None };
    let tool = client.add_tool(name, description, stub_imports, &mut from)?;
    drop(from);
    let tool = match said {
        Some(said) => client.describe_tool(name, &words(&tool, None, Some(said))?)?,
        None => tool,
    };
    if console.json {
        console.object(&tool)?;
        return Ok(exit::OK);
    }
    let shown = console.paint(Look::Strong, &terminal::name(&tool.name));
    let count = tool.functions.len();
    console.print(&format!("{shown} can be called: {count} function{}", if count == 1 { "" } else { "s" }))?;
    for function in &tool.functions {
        console.print(&format!("  {}", terminal::name(&function.name)))?;
    }
    Ok(exit::OK)
}

fn describe(console: &Console, name: &str, text: Option<String>, said: Option<&Comments>) -> Result<u8, Failure> {
    let client = console.client()?;
    let tool = client.tool(name.split('.').next().unwrap_or(name))?;
    let tool = client.describe_tool(&tool.name, &words(&tool, text.map(|text| (name, text)), said)?)?;
    if console.json {
        console.object(&tool)?;
        return Ok(exit::OK);
    }
    console.print(&format!("{} is described", console.paint(Look::Strong, &terminal::name(name))))?;
    Ok(exit::OK)
}

/// Returns what shall be said of a tool: the comments of its WIT, and a text for the tool or one of its functions.
fn words(tool: &Tool, text: Option<(&str, String)>, said: Option<&Comments>) -> Result<ToolWords, Failure> {
    let mut words = ToolWords::default();
    if let Some(said) = said {
        for function in &tool.functions {
            let of = function.name.strip_prefix(&tool.name).and_then(|rest| rest.strip_prefix('.'));
            if let Some(comment) = of.and_then(|name| said.of(name)) {
                words.functions.insert(function.name.clone(), Some(comment.to_owned()));
            }
        }
        if words.functions.is_empty() {
            return Err(Failure::new(format!("the WIT says nothing of the functions of `{}`", tool.name))
                .hinted("comments that start with /// describe what follows them"));
        }
    }
    match text {
        Some((name, text)) if name == tool.name => words.description = Some(Some(text)),
        Some((name, text)) => drop(words.functions.insert(name.to_owned(), Some(text))),
        None => {}
    }
    Ok(words)
}

/// The upload as it is read; when all of it is on its way, the service compiles.
struct ThenWaiting<'a> {
    console: &'a Console,
    from: Option<Counted<File>>,
    waiting: Option<Waiting>,
}

impl Read for ThenWaiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(from) = &mut self.from else { return Ok(0) };
        let count = from.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.from = None;
            self.waiting = Some(Waiting::new(self.console, "compiling"));
        }
        Ok(count)
    }
}

fn show(console: &Console, name: &str) -> Result<u8, Failure> {
    let tool = console.client()?.tool(name)?;
    if console.json {
        console.object(&tool)?;
        return Ok(exit::OK);
    }
    console.print(&format!("{} ({})", console.paint(Look::Strong, &terminal::name(&tool.name)), kind(tool.kind)))?;
    if let Some(description) = &tool.description {
        console.print(&terminal::lines(description))?;
    }
    if let Some(upload) = &tool.upload {
        let age = size::age(&upload.time, Timestamp::now());
        let (bytes, actor) = (size::bytes(upload.bytes), terminal::name(&upload.actor));
        console.print(&format!("uploaded {age} by {actor}, {bytes}, BLAKE3 {}", terminal::name(&upload.hash)))?;
        if upload.stub_imports {
            console.print("some of its imports are stubs: using one ends the call")?;
        }
    }
    for function in &tool.functions {
        console.print("")?;
        console.print(&described(console, &tool, function)?)?;
    }
    Ok(exit::OK)
}

fn described(console: &Console, tool: &Tool, function: &ToolFunction) -> Result<String, Failure> {
    let schema = |schema: &serde_json::Value| {
        serde_json::to_string(schema)
            .map(|text| terminal::lines(&text))
            .map_err(|error| Failure::new(error.to_string()))
    };
    let mut text = console.paint(Look::Strong, &terminal::name(&function.name));
    // What all functions share was said above.
    let about = tool.description.as_deref().and_then(|shared| function.description.strip_prefix(shared));
    let about = about.unwrap_or(&function.description).trim();
    if !about.is_empty() {
        text.push_str(&format!("\n  {}", terminal::lines(about)));
    }
    text.push_str(&format!("\n  arguments {}", schema(&function.arguments)?));
    if let Some(result) = &function.result {
        text.push_str(&format!("\n  result    {}", schema(result)?));
    }
    Ok(text)
}

fn remove(console: &Console, names: &[String]) -> Result<u8, Failure> {
    let client = console.client()?;
    for name in names {
        client.remove_tool(name)?;
        if !console.json {
            console.print(&format!("{} is removed", terminal::name(name)))?;
        }
    }
    if console.json {
        console.object(&json!({ "removed": names }))?;
    }
    Ok(exit::OK)
}
