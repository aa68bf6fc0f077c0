//! `wasi:filesystem` over the sandbox's own file system: descriptors and what is done with them; `files/interface.rs` is the
//! interface as published.
//!
//! A thin layer, like `crate::wasi` for preview 1: paths are walked by `vfs::resolve` alone, and three kinds of failure stay
//! apart: an error code is the tool's business; a limit ends the call; a fault of the store ends the call too.

mod interface;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandglass_snapshots::{Attributes, DirectoryEntry, FsError, Kind, Timestamp};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, NewTimestamp, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, FsError as Failure, FsResult};

pub(super) use self::interface::{HasFiles, View};
use super::streams::FileOutput;
use crate::entropy::Entropy;
use crate::kernel::{SLICE_FUEL, pass};
use crate::limits::{Limit, LimitExceeded};
use crate::vfs::resolve::Resolved;
use crate::vfs::{Node, Vfs, work};

const FILE_MODE: u16 = 0o644;
const DIRECTORY_MODE: u16 = 0o755;
/// What one read gives at most.
pub(super) const READ_BYTES_MAX: u64 = 1 << 20;
/// Entries of a directory that are read at once.
const ENTRIES_AT_ONCE: usize = 128;

/// The file system as descriptors and streams share it.
pub(super) type SharedVfs = Arc<Mutex<Vfs>>;

/// The files that a tool has open.
pub(super) struct Files {
    vfs: SharedVfs,
    entropy: Arc<dyn Entropy>,
    open: Slots<Opened>,
    listings: Slots<Listing>,
    open_max: u32,
    /// What the host may do for the tool, in instructions.
    fuel: u64,
}

/// An open file or directory.
#[derive(Clone, Copy)]
struct Opened {
    node: Node,
    is_directory: bool,
    flags: DescriptorFlags,
}

/// A directory that is being listed.
struct Listing {
    node: Node,
    cookie: u64,
    read: VecDeque<DirectoryEntry>,
}

/// Things by small numbers, which are given again.
struct Slots<T> {
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }

    fn count(&self) -> usize {
        self.all.len() - self.free.len()
    }

    fn put(&mut self, value: T) -> wasmtime::Result<u32> {
        if let Some(number) = self.free.pop() {
            self.all[number as usize] = Some(value);
            return Ok(number);
        }
        self.all.push(Some(value));
        Ok(u32::try_from(self.all.len() - 1)?)
    }

    fn get(&mut self, number: u32) -> wasmtime::Result<&mut T> {
        let found = self.all.get_mut(number as usize).and_then(Option::as_mut);
        found.ok_or_else(|| wasmtime::format_err!("a handle that stands for nothing"))
    }

    fn take(&mut self, number: u32) -> Option<T> {
        let taken = self.all.get_mut(number as usize).and_then(Option::take);
        if taken.is_some() {
            self.free.push(number);
        }
        taken
    }
}

impl Files {
    pub(super) fn new(vfs: Vfs, entropy: Arc<dyn Entropy>, open_max: u32, fuel: u64) -> Self {
        let vfs = Arc::new(Mutex::new(vfs));
        Self { vfs, entropy, open: Slots::new(), listings: Slots::new(), open_max, fuel }
    }

    /// Counts what the host did for the tool as its own work, and lets others run when it was much; see `Kernel::charge`.
    pub(super) async fn pay(&self) -> Result<(), LimitExceeded> {
        if !self.vfs().settle(SLICE_FUEL) {
            return Ok(());
        }
        if self.paid() > self.fuel {
            return Err(LimitExceeded { limit: Limit::Cpu, allowed: self.fuel });
        }
        pass().await;
        Ok(())
    }

    /// Counts random bytes that the tool was given.
    pub(super) fn spend_random(&self, count: usize) {
        self.vfs().spend(work::random(count));
    }

    /// Returns what the host did and was counted, in instructions.
    pub(super) fn paid(&self) -> u64 {
        self.vfs().paid()
    }

    /// Closes what is open and returns the file system, once nothing else has a part in it.
    pub(super) fn into_vfs(mut self) -> Option<Vfs> {
        for node in std::mem::take(&mut self.open.all).into_iter().flatten().map(|opened| opened.node) {
            self.vfs().release(node);
        }
        for node in std::mem::take(&mut self.listings.all).into_iter().flatten().map(|listing| listing.node) {
            self.vfs().release(node);
        }
        Arc::try_unwrap(self.vfs).ok().map(|vfs| vfs.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn vfs(&self) -> MutexGuard<'_, Vfs> {
        lock(&self.vfs)
    }

    fn check_room(&self) -> FsResult<()> {
        if self.open.count() + self.listings.count() >= self.open_max as usize {
            return Err(Failure::trap(LimitExceeded { limit: Limit::OpenFiles, allowed: u64::from(self.open_max) }));
        }
        Ok(())
    }

    fn opened(&mut self, fd: &Resource<Descriptor>) -> FsResult<Opened> {
        self.open.get(fd.rep()).map(|opened| *opened).map_err(Failure::trap)
    }

    fn directory(&mut self, fd: &Resource<Descriptor>) -> FsResult<Node> {
        let opened = self.opened(fd)?;
        if opened.is_directory { Ok(opened.node) } else { Err(ErrorCode::NotDirectory.into()) }
    }

    fn file(&mut self, fd: &Resource<Descriptor>, needed: DescriptorFlags) -> FsResult<Node> {
        let opened = self.opened(fd)?;
        if opened.is_directory {
            let reads = needed.contains(DescriptorFlags::READ);
            return Err(if reads { ErrorCode::IsDirectory } else { ErrorCode::BadDescriptor }.into());
        }
        if opened.flags.contains(needed) { Ok(opened.node) } else { Err(ErrorCode::BadDescriptor.into()) }
    }

    fn walk(&mut self, fd: &Resource<Descriptor>, path: &str, follow: bool) -> FsResult<Resolved> {
        let base = self.directory(fd)?;
        self.vfs().resolve(base, path.as_bytes(), follow).map_err(failure)
    }

    fn open(&mut self, node: Node, is_directory: bool, flags: DescriptorFlags) -> FsResult<Resource<Descriptor>> {
        self.check_room()?;
        self.vfs().retain(node).map_err(failure)?;
        let number = self.open.put(Opened { node, is_directory, flags }).map_err(Failure::trap)?;
        Ok(Resource::new_own(number))
    }

    fn open_at(
        &mut self,
        fd: &Resource<Descriptor>,
        follow: bool,
        path: &str,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let exclusive = how.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        if how.contains(OpenFlags::DIRECTORY)
            && how.intersects(OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE)
        {
            return Err(ErrorCode::Invalid.into());
        }
        let place = self.walk(fd, path, follow && !exclusive)?;
        self.check_room()?;
        let wants_directory = how.contains(OpenFlags::DIRECTORY) || place.trailing_slash;
        let writes = flags.contains(DescriptorFlags::WRITE);
        let truncates = how.contains(OpenFlags::TRUNCATE);
        let (node, kind) = {
            let mut vfs = self.vfs();
            let node = match place.node {
                Some(_) if exclusive => return Err(ErrorCode::Exist.into()),
                Some(node) => node,
                None if !how.contains(OpenFlags::CREATE) => return Err(ErrorCode::NoEntry.into()),
                None if wants_directory => return Err(ErrorCode::IsDirectory.into()),
                None => {
                    let name = place.name().map_err(failure)?;
                    vfs.create_file(place.parent, name, FILE_MODE).map_err(failure)?
                }
            };
            let kind = vfs.attributes(node).map_err(failure)?.kind;
            match kind {
                Kind::Symlink => return Err(ErrorCode::Loop.into()),
                Kind::File if wants_directory => return Err(ErrorCode::NotDirectory.into()),
                Kind::Directory if writes || truncates => return Err(ErrorCode::IsDirectory.into()),
                Kind::File if (writes || truncates) && vfs.device(node).is_none() && !vfs.is_writable(node) => {
                    return Err(ErrorCode::ReadOnly.into());
                }
                _ => {}
            }
            if truncates && place.node.is_some() {
                vfs.set_size(node, 0).map_err(failure)?;
            }
            (node, kind)
        };
        // A descriptor that asks for nothing can at least be read, as with every other host.
        let asked = flags & (DescriptorFlags::READ | DescriptorFlags::WRITE);
        let given = if asked == DescriptorFlags::empty() { DescriptorFlags::READ } else { asked };
        // Every write is as durable as the call anyway, but who asks for that is told that it is so.
        let durable = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        let flags = given | (flags & durable);
        self.open(node, kind == Kind::Directory, flags)
    }

    fn stat_of(&self, node: Node) -> FsResult<DescriptorStat> {
        let mut vfs = self.vfs();
        let attributes = vfs.attributes(node).map_err(failure)?;
        let mut stat = stat(&attributes);
        if vfs.device(node).is_some() {
            stat.type_ = DescriptorType::CharacterDevice;
        }
        Ok(stat)
    }

    fn set_times_of(&self, node: Node, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        let mut vfs = self.vfs();
        let now = vfs.now();
        let one = |given| match given {
            NewTimestamp::NoChange => Ok(None),
            NewTimestamp::Now => Ok(Some(now)),
            NewTimestamp::Timestamp(time) => timestamp(time).map(Some).ok_or(ErrorCode::Overflow),
        };
        let (accessed, modified) = (one(accessed)?, one(modified)?);
        vfs.set_times(node, accessed, modified).map_err(failure)
    }

    fn output(&mut self, fd: &Resource<Descriptor>, at: Option<u64>) -> FsResult<DynOutputStream> {
        let node = self.file(fd, DescriptorFlags::WRITE)?;
        Ok(Box::new(FileOutput::new(Arc::clone(&self.vfs), node, at).map_err(failure)?))
    }
}

pub(super) fn lock(vfs: &SharedVfs) -> MutexGuard<'_, Vfs> {
    vfs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the failures of the file system to what a tool is told; limits and faults end the call.
pub(super) fn code(error: FsError) -> Result<ErrorCode, wasmtime::Error> {
    Ok(match error {
        FsError::NotFound => ErrorCode::NoEntry,
        FsError::Exists => ErrorCode::Exist,
        FsError::NotADirectory => ErrorCode::NotDirectory,
        FsError::IsADirectory => ErrorCode::IsDirectory,
        FsError::NotEmpty => ErrorCode::NotEmpty,
        FsError::NameTooLong => ErrorCode::NameTooLong,
        FsError::InvalidName | FsError::Invalid => ErrorCode::Invalid,
        FsError::Busy => ErrorCode::Busy,
        FsError::TooManyLinks => ErrorCode::TooManyLinks,
        FsError::TooLarge => ErrorCode::FileTooLarge,
        FsError::ReadOnly => ErrorCode::ReadOnly,
        FsError::CrossDevice => ErrorCode::CrossDevice,
        FsError::Loop => ErrorCode::Loop,
        FsError::Outside => ErrorCode::NotPermitted,
        FsError::QuotaBytes { limit_bytes } => {
            return Err(LimitExceeded { limit: Limit::DiskBytes, allowed: limit_bytes }.into());
        }
        FsError::QuotaInodes { limit_inodes } => {
            return Err(LimitExceeded { limit: Limit::Inodes, allowed: limit_inodes }.into());
        }
        FsError::Store(error) => return Err(wasmtime::Error::new(error)),
    })
}

fn failure(error: FsError) -> Failure {
    match code(error) {
        Ok(code) => code.into(),
        Err(ends) => Failure::trap(ends),
    }
}

const fn kind(kind: Kind) -> DescriptorType {
    match kind {
        Kind::File => DescriptorType::RegularFile,
        Kind::Directory => DescriptorType::Directory,
        Kind::Symlink => DescriptorType::SymbolicLink,
    }
}

fn stat(attributes: &Attributes) -> DescriptorStat {
    DescriptorStat {
        type_: kind(attributes.kind),
        link_count: attributes.links,
        size: attributes.size,
        data_access_timestamp: datetime(attributes.accessed),
        data_modification_timestamp: datetime(attributes.modified),
        status_change_timestamp: datetime(attributes.changed),
    }
}

/// WASI knows no time before 1970.
fn datetime(time: Timestamp) -> Option<Datetime> {
    let nanoseconds = u64::try_from(time.0).ok()?;
    let rest = u32::try_from(nanoseconds % 1_000_000_000).ok()?;
    Some(Datetime { seconds: nanoseconds / 1_000_000_000, nanoseconds: rest })
}

fn timestamp(time: Datetime) -> Option<Timestamp> {
    let nanoseconds = time.seconds.checked_mul(1_000_000_000)?.checked_add(u64::from(time.nanoseconds))?;
    i64::try_from(nanoseconds).ok().map(Timestamp)
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

/// What tells two files apart: all are on one device.
fn hash(node: Node) -> MetadataHashValue {
    MetadataHashValue { lower: node.inode().0, upper: 1 }
}
