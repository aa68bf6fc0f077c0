//! Uploaded tools on disk: what was uploaded, by its hash, and a label for each name. `docs/formats/tools.md` says it exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::interface::Interface;
use crate::code_cache::{hex, private_directory};
use crate::error::{Error, ErrorKind};

/// The version of labels.
const FORMAT: u32 = 1;
/// A label is not larger than its types may be, by far.
const LABEL_BYTES_MAX: u64 = 16 << 20;

/// What a name stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Label {
    pub(crate) name: String,
    /// BLAKE3 of the upload.
    #[serde(with = "hash_text")]
    pub(crate) hash: [u8; 32],
    pub(crate) bytes: u64,
    pub(crate) description: Option<String>,
    /// What is said of its functions, by the names that calls have for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) function_descriptions: BTreeMap<String, String>,
    pub(crate) stub_imports: bool,
    pub(crate) created_ns: i64,
    pub(crate) actor: String,
    pub(crate) interface: Interface,
}

/// A label as it is written: behind a line with the BLAKE3 of the rest.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    format: u32,
    tool: T,
}

/// The directory.
pub(super) struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    pub(super) fn open(directory: PathBuf) -> Result<Self, Error> {
        private_directory(&directory)?;
        Ok(Self { directory })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where an upload is.
    pub(super) fn path(&self, hash: &[u8; 32]) -> PathBuf {
        self.directory.join(format!("{}.wasm", hex(hash)))
    }

    fn label_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// Reads all labels. One that is damaged is left out and told of: the others are served.
    pub(super) fn labels(&self) -> Result<Vec<Label>, Error> {
        let mut labels = Vec::new();
        for path in self.files("json")? {
            match read_label(&path) {
                Ok(label) if self.label_path(&label.name) == path => labels.push(label),
                Ok(_) => {
                    tracing::error!(path = %path.display(), "a tool's label has another's name: upload the tool again");
                }
                Err(reason) => {
                    tracing::error!(path = %path.display(), reason, "a tool's label is damaged: upload the tool again");
                }
            }
        }
        Ok(labels)
    }

    /// Removes what was cut off, and uploads that no label names.
    pub(super) fn clean(&self, kept: &BTreeSet<[u8; 32]>) -> Result<(), Error> {
        for path in self.files("tmp")? {
            fs::remove_file(&path).map_err(failed("removing what was cut off"))?;
        }
        let kept: BTreeSet<_> = kept.iter().map(|hash| self.path(hash)).collect();
        // A label that can't be read may name any of them.
        if self.files("json")?.len() == self.labels()?.len() {
            for path in self.files("wasm")?.into_iter().filter(|path| !kept.contains(path)) {
                fs::remove_file(&path).map_err(failed("removing an upload without a label"))?;
            }
        }
        Ok(())
    }

    fn files(&self, extension: &str) -> Result<Vec<PathBuf>, Error> {
        let read = || -> io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(&self.directory)?.map(|entry| entry.map(|entry| entry.path()));
            let mut found = entries.collect::<io::Result<Vec<_>>>()?;
            found.retain(|path| path.extension().is_some_and(|found| found == extension));
            Ok(found)
        };
        read().map_err(failed("reading the directory of tools"))
    }

    /// Keeps an upload.
    pub(super) fn put(&self, hash: &[u8; 32], wasm: &[u8]) -> Result<(), Error> {
        let path = self.path(hash);
        // What is there may be damaged: it is only kept if it is the same.
        if fs::read(&path).is_ok_and(|there| there == wasm) {
            return Ok(());
        }
        self.replace(&path, wasm).map_err(failed("keeping an upload"))
    }

    /// Says what a name stands for, durably.
    pub(super) fn write(&self, label: &Label) -> Result<(), Error> {
        let written = serde_json::to_string(&Written { format: FORMAT, tool: label })
            .map_err(|error| Error::internal(format!("a label can't be written: {error}")))?;
        let text = format!("{}\n{written}\n", blake3::hash(written.as_bytes()).to_hex());
        self.replace(&self.label_path(&label.name), text.as_bytes()).map_err(failed("keeping a tool"))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = path.with_extension("tmp");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(&self.directory)?.sync_all()
    }

    /// Takes a name away, durably.
    pub(super) fn remove_label(&self, name: &str) -> Result<(), Error> {
        let remove = || -> io::Result<()> {
            fs::remove_file(self.label_path(name))?;
            File::open(&self.directory)?.sync_all()
        };
        remove().map_err(failed("removing a tool"))
    }

    /// Removes an upload. One that stays behind goes at the next start.
    pub(super) fn remove(&self, hash: &[u8; 32]) {
        if let Err(error) = fs::remove_file(self.path(hash)) {
            tracing::warn!(%error, "an upload that no tool needs stays behind");
        }
    }

    /// Reads an upload through.
    ///
    /// # Errors
    /// It is gone, or not what was uploaded.
    pub(super) fn check(&self, label: &Label) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        let read = File::open(self.path(&label.hash)).and_then(|file| hasher.update_reader(file).map(drop));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(damaged(&label.name, "what was uploaded is gone: the tool was replaced, removed or lost"))
            }
            Err(error) => Err(failed("reading a tool")(error)),
            Ok(()) if hasher.finalize() != blake3::Hash::from_bytes(label.hash) => {
                Err(damaged(&label.name, "its file is not what was uploaded"))
            }
            Ok(()) => Ok(()),
        }
    }
}

/// The failure of a tool whose files are not what they were.
pub(super) fn damaged(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "tool_damaged", format!("the tool `{name}` can't be used: {what}"))
        .hinted("upload it again")
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::internal(format!("{what}: {error}")).caused(error)
}

fn read_label(path: &Path) -> Result<Label, String> {
    if fs::metadata(path).map_err(|error| error.to_string())?.len() > LABEL_BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let (hash, written) = text.split_once('\n').ok_or("it is cut")?;
    let written = written.strip_suffix('\n').ok_or("it is cut")?;
    if blake3::hash(written.as_bytes()).to_hex().as_str() != hash {
        return Err("its bytes are not those that were written".to_owned());
    }
    let written: Written<serde_json::Value> = serde_json::from_str(written).map_err(|error| error.to_string())?;
    if written.format != FORMAT {
        return Err(format!("it has version {}, and this program knows {FORMAT}", written.format));
    }
    serde_json::from_value(written.tool).map_err(|error| error.to_string())
}

mod hash_text {
    //! Hashes as hex.

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::code_cache::hex(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(&text).map(|hash| *hash.as_bytes()).map_err(serde::de::Error::custom)
    }
}
