//! Compiled guests on disk: found by content, checked before use, compiled by one process at a time.
//!
//! A file of the cache is machine code that this process will run, so the directory belongs to this user alone, only
//! our own compiler writes into it, and no request can name a file in it. Beside `KEY.cwasm` lies `KEY.json` with the
//! length and BLAKE3 of the code; the pair is whole or counts as absent.

#![expect(unsafe_code, reason = "mapping compiled code is unsafe: the file decides what runs")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::guest::GuestError;

/// Changes when what is stored or how it is named changes.
const FORMAT: u32 = 2;

/// The cache in one directory, for one engine.
pub(crate) struct CodeCache {
    directory: PathBuf,
    compatibility: [u8; 32],
}

/// What `KEY.json` says of `KEY.cwasm`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    module: String,
    bytes: u64,
    blake3: String,
}

/// Code of one of the two kinds.
pub(crate) trait Code: Sized {
    /// Maps code from a file.
    ///
    /// # Safety
    /// The file holds what this version of the engine compiled to such code, and never changes.
    unsafe fn map(engine: &Engine, file: File) -> wasmtime::Result<Self>;
}

impl Code for Module {
    unsafe fn map(engine: &Engine, file: File) -> wasmtime::Result<Self> {
        // SAFETY: the caller vouches for the file.
        unsafe { Self::deserialize_open_file(engine, file) }
    }
}

impl Code for Component {
    unsafe fn map(engine: &Engine, file: File) -> wasmtime::Result<Self> {
        // Components can only be mapped by path: this one leads to the very file that is open.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the caller vouches for the file, which stays open until it is mapped.
        unsafe { Self::deserialize_file(engine, path) }
    }
}

impl CodeCache {
    /// Opens the cache in `directory`, making it (mode 0700) when it is absent.
    ///
    /// # Errors
    ///
    /// When it cannot be made or belongs to somebody else.
    pub(crate) fn open(directory: PathBuf, engine: &Engine) -> Result<Self, GuestError> {
        private_directory(&directory)?;
        let mut hasher = Blake3Hasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { directory, compatibility: *hasher.0.finalize().as_bytes() })
    }

    /// Tells whether there is code for the module with this hash, unchecked.
    pub(crate) fn holds(&self, module: &[u8; 32]) -> bool {
        self.path(module, "cwasm").exists() && self.path(module, "json").exists()
    }

    /// Returns the length of the code for this module, when there is any.
    pub(crate) fn code_bytes(&self, module: &[u8; 32]) -> Option<u64> {
        fs::metadata(self.path(module, "cwasm")).ok().map(|metadata| metadata.len())
    }

    /// Loads the code of `module`; when there is none, or it is damaged, `compile` writes it into the file it is given.
    ///
    /// Of several threads or processes that come at once, one compiles and the others wait for it.
    pub(crate) fn load<C: Code>(
        &self,
        engine: &Engine,
        module: &[u8; 32],
        compile: impl FnOnce(&Path) -> Result<(), GuestError>,
    ) -> Result<C, GuestError> {
        if let Loaded::Code(found) = self.load_checked(engine, module)? {
            return Ok(found);
        }
        let path = self.path(module, "lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(GuestError::io("opening the lock of compiled code"))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| GuestError::io("locking compiled code")(error.into()))?;
        // Somebody may have compiled it while this thread waited.
        if let Loaded::Code(found) = self.load_checked(engine, module)? {
            return Ok(found);
        }
        let temporary = self.path(module, "tmp");
        let made = compile(&temporary).and_then(|()| self.keep(module, &temporary));
        if made.is_err() {
            drop(fs::remove_file(&temporary));
        }
        made?;
        let refused =
            |why: &str| GuestError::Compile { message: format!("the code just compiled cannot be loaded{why}") };
        match self.load_checked(engine, module)? {
            Loaded::Code(code) => Ok(code),
            Loaded::Refused(why) => Err(refused(&format!(": {why}"))),
            Loaded::Absent => Err(refused("")),
        }
    }

    /// Removes the code of `module`. A process that has it loaded keeps it.
    pub(crate) fn remove(&self, module: &[u8; 32]) -> Result<(), GuestError> {
        for extension in ["json", "cwasm", "tmp"] {
            match fs::remove_file(self.path(module, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(GuestError::io("removing compiled code")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the code of `module` through: `None` when there is none, else whether it is what was compiled.
    pub(crate) fn check(&self, module: &[u8; 32]) -> Option<bool> {
        let file = File::open(self.path(module, "cwasm")).ok()?;
        Some(self.label(module).is_some_and(|label| matches(&file, &label).unwrap_or(false)))
    }

    /// Puts freshly compiled code in its place. The label goes first to nothing, so that a pair never mixes two builds.
    fn keep(&self, module: &[u8; 32], temporary: &Path) -> Result<(), GuestError> {
        let failed = GuestError::io("keeping compiled code");
        let keep = || -> io::Result<()> {
            let file = File::open(temporary)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.sync_all()?;
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(&file)?;
            let label = Label {
                module: hex(module),
                bytes: file.metadata()?.len(),
                blake3: hasher.finalize().to_hex().to_string(),
            };
            match fs::remove_file(self.path(module, "json")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::rename(temporary, self.path(module, "cwasm"))?;
            let path = self.path(module, "label");
            let mut out = File::create(&path)?;
            out.write_all(&serde_json::to_vec(&label)?)?;
            out.sync_all()?;
            fs::rename(&path, self.path(module, "json"))?;
            File::open(&self.directory)?.sync_all()
        };
        keep().map_err(failed)
    }

    fn load_checked<C: Code>(&self, engine: &Engine, module: &[u8; 32]) -> Result<Loaded<C>, GuestError> {
        let path = self.path(module, "cwasm");
        let Some(label) = self.label(module) else { return Ok(Loaded::Absent) };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Absent),
            Err(error) => return Err(GuestError::io("opening compiled code")(error)),
        };
        if label.module != hex(module) || !matches(&file, &label).map_err(GuestError::io("reading compiled code"))? {
            tracing::warn!(path = %path.display(), "compiled code is damaged: compiling again");
            return Ok(Loaded::Absent);
        }
        // SAFETY: what is mapped must be code that this version of the engine compiled, and must not change while it is
        // mapped. The file lies in a directory of mode 0700 that belongs to this user (`private_directory`), only
        // `keep` puts files there, and it takes them from our own compiler alone. Their name holds the hash of the
        // engine's version and settings. The bytes behind this very descriptor were just compared with the BLAKE3 that
        // was taken when they were compiled. Files are only ever replaced by renaming, never written in place, so the
        // inode that is mapped stays as it is, removed or not.
        let loaded = unsafe { C::map(engine, file) };
        match loaded {
            Ok(code) => Ok(Loaded::Code(code)),
            Err(error) => {
                tracing::warn!(path = %path.display(), "compiled code does not load: {error:#}");
                Ok(Loaded::Refused(format!("{error:#}")))
            }
        }
    }

    fn label(&self, module: &[u8; 32]) -> Option<Label> {
        serde_json::from_slice(&fs::read(self.path(module, "json")).ok()?).ok()
    }

    fn path(&self, module: &[u8; 32], extension: &str) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&FORMAT.to_le_bytes()).update(module).update(&self.compatibility);
        self.directory.join(format!("{}.{extension}", hasher.finalize().to_hex()))
    }
}

/// What became of looking for code.
enum Loaded<C> {
    Code(C),
    /// There is none, or it is damaged.
    Absent,
    /// It is whole, and the engine does not take it.
    Refused(String),
}

/// Tells whether the file's length and BLAKE3 are the label's.
fn matches(file: &File, label: &Label) -> io::Result<bool> {
    if file.metadata()?.len() != label.bytes {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().to_hex().as_str() == label.blake3)
}

/// Makes `path` a directory that belongs to this user alone.
pub(crate) fn private_directory(path: &Path) -> Result<(), GuestError> {
    let make = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let metadata = fs::metadata(path)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} is not a directory of this user", path.display()),
            ));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    make().map_err(GuestError::io("making a private directory"))
}

pub(crate) fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// Feeds what a value hashes to BLAKE3, so that the engine's compatibility hash has a name that outlives the process.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Trial {
        directory: tempfile::TempDir,
        engine: Engine,
        cache: CodeCache,
        compiled: AtomicUsize,
    }

    const MODULE: [u8; 32] = [1; 32];

    impl Trial {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let engine = crate::engine::new().expect("an engine");
            let cache = CodeCache::open(directory.path().join("code"), &engine).expect("a cache");
            Self { directory, engine, cache, compiled: AtomicUsize::new(0) }
        }

        fn load(&self) -> Result<Module, GuestError> {
            self.cache.load(&self.engine, &MODULE, |out| {
                self.compiled.fetch_add(1, Ordering::SeqCst);
                let wasm =
                    wat::parse_str(r#"(module (func (export "f") (result i32) i32.const 7))"#).expect("a module");
                fs::write(out, self.engine.precompile_module(&wasm).expect("compiled")).expect("written");
                Ok(())
            })
        }

        fn file(&self, extension: &str) -> PathBuf {
            self.cache.path(&MODULE, extension)
        }
    }

    #[test]
    fn of_many_at_once_one_compiles() {
        let trial = Trial::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(trial.load().expect("loaded").get_export("f").is_some()));
            }
        });
        assert_eq!(trial.compiled.load(Ordering::SeqCst), 1);
        assert!(trial.cache.holds(&MODULE) && trial.cache.check(&MODULE) == Some(true));
    }

    #[test]
    fn damaged_code_is_compiled_again_and_never_loaded() {
        let trial = Trial::new();
        trial.load().expect("loaded");
        let good = fs::read(trial.file("cwasm")).expect("read");
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let damages = [
            ("a flipped bit", "cwasm", &flipped[..]),
            ("a short file", "cwasm", &good[..100]),
            ("no code", "cwasm", b""),
            ("no label", "json", b"{}"),
        ];
        for (number, (name, extension, bytes)) in damages.into_iter().enumerate() {
            // As damage does, and not by writing into a file that is mapped.
            fs::remove_file(trial.file(extension)).expect("removed");
            fs::write(trial.file(extension), bytes).expect("written");
            trial.load().expect(name);
            assert_eq!(trial.compiled.load(Ordering::SeqCst), number + 2, "{name}");
            assert_eq!(trial.cache.check(&MODULE), Some(true), "{name}");
        }
    }

    #[test]
    fn a_failed_compilation_leaves_nothing() {
        let trial = Trial::new();
        let failed: Result<Module, _> = trial.cache.load(&trial.engine, &MODULE, |out| {
            fs::write(out, b"half").expect("written");
            Err(GuestError::Compile { message: "no".to_owned() })
        });
        assert!(failed.is_err() && !trial.cache.holds(&MODULE) && !trial.file("tmp").exists());
        trial.load().expect("loaded");
        trial.cache.remove(&MODULE).expect("removed");
        assert!(!trial.cache.holds(&MODULE));
    }

    #[test]
    fn the_directory_is_this_users_alone() {
        let trial = Trial::new();
        let path = trial.directory.path().join("code");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        CodeCache::open(path.clone(), &trial.engine).expect("a cache");
        assert_eq!(fs::metadata(&path).expect("read").permissions().mode() & 0o777, 0o700);
    }
}
