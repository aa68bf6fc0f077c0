//! The tools that were uploaded: by name, durable, each compiled when it comes and loaded when it is first called.
//!
//! On disk (`docs/formats/tools.md`): `HASH.wasm`, the upload itself, and `NAME.json`, which says what the name stands for. A
//! tool is there once its label is; every file is written beside its place, synced and renamed. Code lies in `code/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use sandglass_snapshots::{Timestamp, Transaction};
use serde_json::Value;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Module};

use super::command;
use super::host::{self, Context};
use super::interface::{Interface, missing, refusal};
use super::module::Program;
use super::run::{Code, Ran, Surroundings, Work};
use super::shelf::{Label, Shelf};
use super::words::{self, ToolWords};
use super::{ToolInfo, engine, value};
use crate::code_cache::CodeCache;
use crate::compile::{Compiler, Target, compile};
use crate::error::{Error, ErrorKind};
use crate::guest::GuestError;

/// The largest upload, in bytes.
pub const TOOL_BYTES_MAX: usize = 64 << 20;
/// Tools that there may be.
const TOOLS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 64;
/// Names that are or may become tools of the program itself.
const RESERVED: [&str; 12] = [
    "bash",
    "javascript",
    "js",
    "mcp",
    "node",
    "python",
    "python3",
    "python-data",
    "sandbox",
    "sandglass",
    "sh",
    "shell",
];
/// What a component and a core module start with, after the magic number.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const MODULE: [u8; 4] = [1, 0, 0, 0];

/// What is uploaded.
#[derive(Clone, Debug)]
pub struct NewTool {
    /// The name that it shall have.
    pub name: String,
    /// The component or module.
    pub wasm: Bytes,
    /// What it is good for, for models and people.
    pub description: Option<String>,
    /// Whether imports that no tool is given are replaced by stubs: using one ends the call.
    pub stub_imports: bool,
}

/// All uploaded tools of a host.
pub(crate) struct Tools {
    shelf: Shelf,
    compiler: Compiler,
    calls_max: usize,
    machinery: Mutex<Option<Arc<Machinery>>>,
    by_name: RwLock<BTreeMap<String, Arc<Tool>>>,
    /// Taken by whoever changes what there is: one at a time, so that one compiler runs.
    changing: Mutex<()>,
}

/// What all tools run on; made when the first is needed.
struct Machinery {
    engine: Engine,
    linker: Linker<Context>,
    cache: CodeCache,
}

/// A tool.
pub(crate) struct Tool {
    pub(super) label: Label,
    code: OnceLock<Arc<Code>>,
    loading: Mutex<()>,
}

/// A call of a tool that has been checked.
#[derive(Clone)]
pub(crate) struct ToolCall {
    tool: Arc<Tool>,
    work: Arc<Work>,
}

/// A call of a tool that is loaded.
pub(crate) struct ReadyCall {
    call: ToolCall,
    code: Arc<Code>,
}

impl ReadyCall {
    /// Runs it, with the arguments that it was checked with.
    ///
    /// # Errors
    /// The tool can't be started as asked, or the host fails.
    pub(crate) async fn run(
        self,
        arguments: Arc<Value>,
        transaction: Transaction,
        surroundings: Surroundings,
    ) -> Result<Ran, Error> {
        let ToolCall { tool, work } = &self.call;
        self.code.run(&tool.label.interface, work, &arguments, transaction, surroundings).await
    }
}

impl Tools {
    /// Finds the tools in `directory`, which is made if need be.
    ///
    /// # Errors
    /// It can't be made or read.
    pub(crate) fn open(directory: PathBuf, compiler: Compiler, calls_max: usize) -> Result<Self, Error> {
        let shelf = Shelf::open(directory)?;
        let mut by_name = BTreeMap::new();
        for label in shelf.labels()? {
            by_name.insert(label.name.clone(), Arc::new(Tool::new(label)));
        }
        let kept: BTreeSet<_> = by_name.values().map(|tool| tool.label.hash).collect();
        shelf.clean(&kept)?;
        let (machinery, changing) = (Mutex::default(), Mutex::default());
        Ok(Self { shelf, compiler, calls_max, machinery, by_name: RwLock::new(by_name), changing })
    }

    /// Returns all tools, by name.
    pub(crate) fn list(&self) -> Vec<ToolInfo> {
        self.tools().values().map(|tool| ToolInfo::uploaded(tool)).collect()
    }

    /// Returns what is known of a tool.
    pub(crate) fn get(&self, name: &str) -> Option<ToolInfo> {
        self.tools().get(name).map(|tool| ToolInfo::uploaded(tool))
    }

    fn tools(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Tool>>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the call of a tool that these words mean, or nothing if no uploaded tool has the name.
    ///
    /// # Errors
    /// The tool has no such function, or the arguments are not its.
    pub(crate) fn call(&self, name: &str, arguments: &Value, stdin: Option<&Bytes>) -> Result<Option<ToolCall>, Error> {
        let (tool, function) = name.split_once('.').map_or((name, None), |(tool, rest)| (tool, Some(rest)));
        let Some(tool) = self.tools().get(tool).map(Arc::clone) else { return Ok(None) };
        let interface = &tool.label.interface;
        if function.is_none() && interface.is_command() {
            let work = Work::Command(command::read(name, arguments, stdin)?);
            return Ok(Some(ToolCall { tool, work: Arc::new(work) }));
        }
        let Some((index, found)) = interface.find(function) else {
            let names: Vec<_> = ToolInfo::uploaded(&tool).functions.into_iter().map(|one| one.name).take(20).collect();
            let shown: String = name.chars().take(120).collect();
            let message = match function {
                Some(_) => format!("there is no tool `{shown}`"),
                None => format!("`{shown}` has several functions: say which"),
            };
            return Err(Error::not_found("unknown_tool", message).hinted(format!("there are: {}", names.join(", "))));
        };
        if stdin.is_some() {
            return Err(Error::invalid(
                "invalid_arguments",
                format!("`{name}` is a function and reads no standard input"),
            )
            .hinted("leave `stdin` out"));
        }
        let read = value::arguments(&found.parameters, arguments);
        read.map_err(|message| {
            Error::invalid("invalid_arguments", format!("{name}: {message}")).hinted(format!(
                "`GET /v1/tools/{}` has the JSON Schema; in WIT: {}",
                tool.label.name,
                found.signature()
            ))
        })?;
        Ok(Some(ToolCall { tool, work: Arc::new(Work::Function(index)) }))
    }

    /// Loads a call's tool. Blocks, for seconds when it has to be compiled again.
    ///
    /// # Errors
    /// The tool's files are damaged or gone.
    pub(crate) fn load(&self, call: &ToolCall) -> Result<ReadyCall, Error> {
        Ok(ReadyCall { code: self.code(&call.tool)?, call: call.clone() })
    }

    /// Checks, compiles and keeps a tool; one that had the name is replaced. Says whether the name is new. Blocks.
    ///
    /// # Errors
    /// The name or the upload can't be a tool, there are too many, or the disk fails.
    pub(crate) fn add(&self, new: NewTool, time: Timestamp, actor: &str) -> Result<(ToolInfo, bool), Error> {
        check_name(&new.name)?;
        let description = words::checked(new.description)?;
        let is_module = check_start(&new.wasm)?;
        let hash = *blake3::hash(&new.wasm).as_bytes();
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.tools().get(&new.name).map(Arc::clone);
        if before.is_none() && self.tools().len() >= TOOLS_MAX {
            return Err(Error::conflict("too_many_tools", format!("there are {TOOLS_MAX} tools"))
                .hinted("delete those that nobody uses"));
        }
        self.shelf.put(&hash, &new.wasm)?;
        let made = self.machinery().and_then(|machinery| self.prepare(&machinery, &hash, is_module, new.stub_imports));
        let (interface, code) = match made {
            Ok(made) => made,
            Err(error) => {
                self.forget(&hash);
                return Err(error);
            }
        };
        let function_descriptions =
            before.as_ref().map(|before| words::kept(&before.label, &interface)).unwrap_or_default();
        let label = Label {
            name: new.name,
            hash,
            bytes: new.wasm.len() as u64,
            description,
            function_descriptions,
            stub_imports: new.stub_imports,
            created_ns: time.0,
            actor: actor.to_owned(),
            interface,
        };
        self.shelf.write(&label)?; // Here it becomes a tool.
        let tool = Arc::new(Tool::new(label));
        // Nobody else has seen it yet.
        tool.code.set(code).unwrap_or_default();
        let info = ToolInfo::uploaded(&tool);
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(info.name.clone(), tool);
        drop(by_name);
        if let Some(before) = &before {
            self.forget(&before.label.hash);
        }
        Ok((info, before.is_none()))
    }

    /// Says something else of a tool and its functions.
    ///
    /// # Errors
    /// There is no such tool or function, a text is too long, or the disk fails.
    pub(crate) fn describe(&self, name: &str, words: ToolWords) -> Result<ToolInfo, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = self.tools().get(name).map(Arc::clone) else { return Err(unknown(name)) };
        let tool = Tool::new(words.onto(&before.label)?);
        if let Some(code) = before.code.get() {
            tool.code.set(Arc::clone(code)).unwrap_or_default();
        }
        self.shelf.write(&tool.label)?;
        let info = ToolInfo::uploaded(&tool);
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::new(tool));
        Ok(info)
    }

    /// Removes a tool. Calls of it that run go on.
    ///
    /// # Errors
    /// There is no such tool, or the disk fails.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tool) = self.tools().get(name).map(Arc::clone) else { return Err(unknown(name)) };
        self.shelf.remove_label(name)?;
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.forget(&tool.label.hash);
        Ok(())
    }

    /// Removes what no label names any more. What stays behind goes at the next start.
    fn forget(&self, hash: &[u8; 32]) {
        if self.tools().values().any(|tool| tool.label.hash == *hash) {
            return;
        }
        self.shelf.remove(hash);
        if let Ok(machinery) = self.machinery()
            && let Err(error) = machinery.cache.remove(hash)
        {
            tracing::warn!(%error, "compiled code of a removed tool stays behind");
        }
    }

    fn machinery(&self) -> Result<Arc<Machinery>, Error> {
        let mut machinery = self.machinery.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*machinery {
            return Ok(Arc::clone(made));
        }
        let failed = |error: wasmtime::Error| Error::internal(format!("the engine of tools can't be made: {error:#}"));
        let engine = engine::new(self.calls_max).map_err(failed)?;
        let linker = host::linker(&engine).map_err(failed)?;
        let cache = CodeCache::open(self.shelf.directory().join("code"), &engine)?;
        let made = Arc::new(Machinery { engine, linker, cache });
        *machinery = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Returns the code of a tool, loading it when this process has not yet. Others who want it wait.
    fn code(&self, tool: &Tool) -> Result<Arc<Code>, Error> {
        if let Some(code) = tool.code.get() {
            return Ok(Arc::clone(code));
        }
        let _loading = tool.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = tool.code.get() {
            return Ok(Arc::clone(code));
        }
        let Label { hash, interface, stub_imports, .. } = &tool.label;
        self.shelf.check(&tool.label)?;
        let machinery = self.machinery()?;
        let (found, code) = self.prepare(&machinery, hash, interface.is_module, *stub_imports)?;
        if found != *interface {
            return Err(super::shelf::damaged(&tool.label.name, "its label does not fit it"));
        }
        tool.code.set(Arc::clone(&code)).unwrap_or_default();
        Ok(code)
    }

    /// Loads what is on the shelf, compiling it if need be, and reads what it offers.
    fn prepare(
        &self,
        machinery: &Machinery,
        hash: &[u8; 32],
        is_module: bool,
        stub_imports: bool,
    ) -> Result<(Interface, Arc<Code>), Error> {
        let Machinery { engine, linker, cache } = machinery;
        let compiling = |out: &std::path::Path| {
            compile(&self.compiler, Target::Tool, &self.shelf.path(hash), out)
                .map_err(|message| GuestError::Compile { message })
        };
        let refused = |why: String| {
            Error::invalid("invalid_tool", format!("this can't be a tool: {why}"))
                .hinted("docs/tools.md says what a tool can be and how to build one")
        };
        let uncompiled = |error: GuestError| match error {
            GuestError::Compile { message } if message.contains("component model async") => refused(
                "it is a component of preview 3, which is asynchronous; a tool is one of preview 2, or a program of \
                 preview 1"
                    .to_owned(),
            ),
            GuestError::Compile { message } => refused(message),
            other => other.into(),
        };
        if is_module {
            let module: Module = cache.load(engine, hash, compiling).map_err(uncompiled)?;
            let program = Program::new(engine, &module).map_err(refused)?;
            return Ok((Interface::of_module(), Arc::new(Code::Module(program))));
        }
        let component: Component = cache.load(engine, hash, compiling).map_err(uncompiled)?;
        let missing = missing(&component, engine);
        let mut linker = linker.clone();
        if !missing.is_empty() {
            if !stub_imports {
                return Err(Error::invalid("missing_import", format!("this can't be a tool: {}", refusal(&missing)))
                    .hinted("build it without, or upload it with `stub_imports=true` if it never uses that: using a stub ends the call"));
            }
            host::stub(&mut linker, &component, &missing).map_err(|error| refused(format!("{error:#}")))?;
        }
        let interface = Interface::of(&component, engine).map_err(refused)?;
        let instance = linker
            .instantiate_pre(&component)
            .map_err(|error| refused(format!("{error:#}").chars().take(500).collect()))?;
        Ok((interface, Arc::new(Code::Component(instance))))
    }
}

impl Tool {
    const fn new(label: Label) -> Self {
        Self { label, code: OnceLock::new(), loading: Mutex::new(()) }
    }
}

impl ToolCall {
    /// Returns BLAKE3 of the tool's upload.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.tool.label.hash
    }
}

/// The failure of asking for a tool that there is not.
pub(crate) fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::not_found("unknown_tool", format!("there is no tool `{shown}`")).hinted("`GET /v1/tools` lists them")
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let starts = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !starts || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(Error::invalid("invalid_name", "this can't be a tool's name").hinted(format!(
            "use 1 to {NAME_BYTES_MAX} small letters, digits, hyphens and underscores, starting with a letter"
        )));
    }
    if RESERVED.contains(&name) {
        return Err(Error::conflict("reserved_name", format!("`{name}` is kept for a tool of the program itself"))
            .hinted("choose another name"));
    }
    Ok(())
}

/// Says whether the upload is a core module; otherwise it is a component.
fn check_start(wasm: &[u8]) -> Result<bool, Error> {
    if wasm.len() > TOOL_BYTES_MAX {
        return Err(Error::new(ErrorKind::Limit, "too_large", format!("a tool may have {TOOL_BYTES_MAX} bytes"))
            .hinted("strip its debug information: `wasm-tools strip`"));
    }
    match (wasm.get(..4), wasm.get(4..8)) {
        (Some(b"\0asm"), Some(version)) if version == COMPONENT => Ok(false),
        (Some(b"\0asm"), Some(version)) if version == MODULE => Ok(true),
        (Some(b"\0asm"), _) => Err(Error::invalid(
            "invalid_tool",
            "this can't be a tool: it is WebAssembly of a version that is not known here",
        )),
        _ => Err(Error::invalid("invalid_tool", "this can't be a tool: it is no WebAssembly")
            .hinted("send the .wasm file itself, in binary; compiled code is not taken")),
    }
}
