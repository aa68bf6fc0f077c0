//! States on their way out and in: archives for people, bundles for other stores, both as streams.

use std::collections::VecDeque;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::sync::PoisonError;

use sandglass_snapshots::{
    BUNDLE_MAGIC, BundleError, Hold, Inode, Quota, StateId, TarOptions, export_bundle, export_tar, import_bundle,
    import_tar,
};

use crate::create::{WORKSPACE, lay_out};
use crate::error::{Error, ErrorKind};
use crate::host::Host;

/// How much compressed states are compressed: past it they get little smaller and take much longer.
const ZSTD_LEVEL: i32 = 3;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What other programs make of archives, by their first bytes.
const OTHERS: [(&[u8], &str); 5] = [
    (&[0x1f, 0x8b], "gzip"),
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
];
/// Imports whose states are kept for a sandbox to be made from them.
const KEPT_MAX: usize = 1_000;

/// What a state is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// A tar archive of its files.
    #[default]
    Tar,
    /// The same, compressed with zstd.
    TarZstd,
    /// A bundle, compressed with zstd: the state itself, for another store.
    Bundle,
    /// A bundle as it is.
    PlainBundle,
}

/// What to export of a state.
#[derive(Clone, Debug, Default)]
pub struct ExportRequest {
    /// As what.
    pub format: ExportFormat,
    /// Of an archive: only this path and what is below it.
    pub path: Option<String>,
    /// Of a bundle: states that its receiver has.
    pub bases: Vec<StateId>,
}

/// What comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// A bundle, compressed or not.
    Bundle,
    /// A tar archive, compressed with zstd or not. It becomes `/workspace` of a new state.
    Tar {
        /// How many leading directories are taken off each name.
        strip: usize,
    },
}

/// States that came in.
#[derive(Clone, Debug)]
pub struct ImportedStates {
    /// The states.
    pub states: Vec<StateId>,
    /// Nodes of a bundle.
    pub nodes: u64,
    /// Of those, the ones that were new here.
    pub nodes_new: u64,
    /// Bytes of a bundle's nodes, or of an archive's files.
    pub bytes: u64,
    /// What was left out of an archive, and why.
    pub skipped: Vec<(String, String)>,
}

/// Holds of the last imports, the oldest first.
pub(crate) type Kept = VecDeque<(Vec<StateId>, Hold)>;

impl Host {
    /// Writes a state.
    ///
    /// # Errors
    /// There is no such state, base or path, or `out` fails.
    pub fn export_state(&self, state: StateId, request: &ExportRequest, out: &mut dyn Write) -> Result<(), Error> {
        self.known_state(state)?;
        let store = &self.world.store;
        let is_bundle = matches!(request.format, ExportFormat::Bundle | ExportFormat::PlainBundle);
        if is_bundle && request.path.is_some() {
            return Err(Error::invalid("invalid_export", "a bundle is a whole state, and has no path")
                .hinted("leave the path out, or export an archive"));
        }
        if !is_bundle && !request.bases.is_empty() {
            return Err(Error::invalid("invalid_export", "an archive is whole, and builds on no other state")
                .hinted("leave the base out, or export a bundle"));
        }
        for base in &request.bases {
            self.known_state(*base)?;
        }
        let _held = store.hold_state(state)?;
        let parts = crate::files::parts(request.path.as_deref().unwrap_or("/"))?;
        match request.format {
            ExportFormat::Tar => export_tar(store, state, &parts, out).map_err(Error::from),
            ExportFormat::TarZstd => compressed(out, |out| export_tar(store, state, &parts, out).map_err(Error::from)),
            ExportFormat::PlainBundle => bundle(self, state, &request.bases, out),
            ExportFormat::Bundle => compressed(out, |out| bundle(self, state, &request.bases, out)),
        }
    }

    /// Reads states from a stream, and keeps them for a sandbox to be made from them. When it fails, nothing is there that
    /// was not before.
    ///
    /// # Errors
    /// The stream is not what it should be, builds on states that are not here, or is larger than this host takes.
    pub fn import_states(&self, format: ImportFormat, input: &mut dyn Read) -> Result<ImportedStates, Error> {
        self.world.running()?;
        let limit = self.world.settings.import_bytes_max;
        let too_large = || {
            Error::new(ErrorKind::Limit, "import_too_large", format!("it is larger than {limit} bytes when unpacked"))
        };
        let (first, kind) = begin(input).map_err(unreadable)?;
        if let Kind::Other(name) = kind {
            let message = format!("this is {name}, and only plain and zstd-compressed tar archives are taken");
            return Err(Error::invalid("unsupported_compression", message)
                .hinted(format!("unpack it, or pack it anew: {name} -> `tar --zstd -cf FILE.tar.zst DIR`")));
        }
        let whole = Cursor::new(first).chain(input);
        let unpacked: Box<dyn Read + '_> = match kind {
            Kind::Zstd => Box::new(zstd::Decoder::new(whole).map_err(unreadable)?),
            _ => Box::new(BufReader::with_capacity(128 << 10, whole)),
        };
        let mut limited = Limited { input: unpacked, left: limit, is_over: false };
        let imported = match format {
            ImportFormat::Bundle => self.bundle_from(&mut limited),
            ImportFormat::Tar { strip } => self.archive_from(&mut limited, strip),
        };
        if limited.is_over {
            return Err(too_large());
        }
        let (imported, hold) = imported?;
        // The answer promises that they are there.
        self.world.store.sync()?;
        self.keep_imported(imported.states.clone(), hold);
        tracing::info!(
            states = imported.states.len(),
            nodes.new = imported.nodes_new,
            bytes = imported.bytes,
            "imported"
        );
        Ok(imported)
    }

    /// Returns how many bytes a bundle or an archive may have, as it comes and unpacked.
    #[must_use]
    pub fn import_bytes_max(&self) -> u64 {
        self.world.settings.import_bytes_max
    }

    /// Keeps imported states from being collected, for the last thousand imports.
    ///
    /// They are kept in memory, and so until the service ends: the store's own log of imports will take this over.
    pub fn keep_imported(&self, states: Vec<StateId>, hold: Hold) {
        let mut kept = self.world.imported.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != states);
        kept.push_back((states, hold));
        while kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }

    fn bundle_from(&self, input: &mut dyn Read) -> Result<(ImportedStates, Hold), Error> {
        let found = import_bundle(&self.world.store, input, &mut |_| {}).map_err(refused)?;
        let (nodes, nodes_new, bytes) = (found.nodes, found.nodes_new, found.bytes);
        Ok((ImportedStates { states: found.states, nodes, nodes_new, bytes, skipped: Vec::new() }, found.hold))
    }

    /// Makes a state of an archive, as one is made of a directory when a sandbox is created.
    fn archive_from(&self, input: &mut dyn Read, strip: usize) -> Result<(ImportedStates, Hold), Error> {
        let store = &self.world.store;
        let limits = self.world.settings.policy.grants().limits;
        let quota = Quota { bytes: limits.disk.bytes(), inodes: limits.files };
        let imported = import_tar(store, input, &TarOptions { quota, strip }, &mut |_| {})?;
        let pins = self.guests().pins()?;
        let mut transaction = store.begin_empty(pins.into_iter().map(|pin| (pin.tool, pin.hash)).collect(), quota);
        let now = self.world.clock.now();
        lay_out(&mut transaction, now)?;
        transaction.attach(Inode::ROOT, WORKSPACE, &imported, now)?;
        let sealed = transaction.seal()?;
        let hold = store.hold();
        let (state, nodes) = (sealed.state, sealed.nodes.len() as u64);
        store.put(&hold, sealed.nodes)?;
        let shown = |(path, reason): &(std::path::PathBuf, String)| (path.display().to_string(), reason.clone());
        let skipped = imported.skipped.iter().map(shown).collect();
        let bytes = imported.bytes;
        Ok((ImportedStates { states: vec![state], nodes, nodes_new: nodes, bytes, skipped }, store.hold_state(state)?))
    }
}

fn bundle(host: &Host, state: StateId, bases: &[StateId], out: &mut dyn Write) -> Result<(), Error> {
    let written = export_bundle(&host.world.store, &[state], bases, out).map_err(refused)?;
    tracing::debug!(%state, nodes = written.nodes, bytes = written.bytes, "bundle written");
    Ok(())
}

fn compressed(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    let failed = |error: io::Error| Error::internal("an export can't be compressed").caused(error);
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(failed)?;
    write(&mut encoder)?;
    encoder.finish().map(drop).map_err(failed)
}

/// What a stream is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Zstd,
    Plain,
    Other(&'static str),
}

/// Reads the first bytes of a stream.
fn begin(input: &mut dyn Read) -> io::Result<(Vec<u8>, Kind)> {
    let mut first = Vec::new();
    input.take(BUNDLE_MAGIC.len() as u64).read_to_end(&mut first)?;
    let other = OTHERS.iter().find(|(magic, _)| first.starts_with(magic));
    let kind = match other {
        Some((_, name)) => Kind::Other(name),
        None if first.starts_with(&ZSTD_MAGIC) => Kind::Zstd,
        None => Kind::Plain,
    };
    Ok((first, kind))
}

/// Gives so many bytes and no more.
struct Limited<'a> {
    input: Box<dyn Read + 'a>,
    left: u64,
    is_over: bool,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(io::Error::other("it is too large"));
            }
        }
        Ok(count)
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::invalid("incomplete_import", format!("what comes in can't be read to its end: {error}")).caused(error)
}

fn refused(error: BundleError) -> Error {
    let message = error.to_string();
    let (kind, code, hint) = match error {
        BundleError::Store(error) => return error.into(),
        BundleError::Write(_) => (ErrorKind::Internal, "export", None),
        BundleError::MissingState(_) => (ErrorKind::NotFound, "unknown_state", None),
        BundleError::MissingBase(_) => {
            (ErrorKind::Conflict, "missing_base", Some("import that state first, or export without a base"))
        }
        BundleError::OtherFormat { .. } => (ErrorKind::Invalid, "newer_format", Some("use the version that made it")),
        BundleError::NoBundle => (ErrorKind::Invalid, "invalid_bundle", Some("for an archive say `format=tar`")),
        _ => (ErrorKind::Invalid, "invalid_bundle", Some("nothing of it was taken; export it again")),
    };
    let refused = Error::new(kind, code, message).caused(error);
    match hint {
        Some(hint) => refused.hinted(hint),
        None => refused,
    }
}
