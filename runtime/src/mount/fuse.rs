//! FUSE: the kernel's requests, translated.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};
use sandglass_snapshots::{Attributes, FsError, Inode, Kind, Timestamp};

use super::files::{Change, Failure, Files, Outcome};

/// The kernel asks again each time: others move the head.
const TTL: Duration = Duration::ZERO;
/// How often changes that have come to rest are looked for, and whether the head has moved.
const LOOK: Duration = Duration::from_millis(50);
/// Entries of a directory that are read at a time.
const PAGE: usize = 256;
const BLOCK_BYTES: u32 = 4096;
/// The cookies of `.` and `..` come before those of the entries.
const DOTS: u64 = 2;

/// A mount that is there until it is ended or dropped.
pub(super) struct Mounted {
    files: Arc<Mutex<Files>>,
    session: Option<BackgroundSession>,
    keeper: Option<(Arc<Ends>, JoinHandle<()>)>,
}

/// Tells the keeper that the mount ends.
#[derive(Default)]
struct Ends {
    is_over: Mutex<bool>,
    rings: Condvar,
}

impl Mounted {
    pub(super) fn new(files: Files, directory: &Path, allow_others: bool) -> io::Result<Self> {
        let mut options = vec![
            MountOption::FSName("sandglass".to_owned()),
            MountOption::Subtype("sandglass".to_owned()),
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoAtime,
            MountOption::DefaultPermissions,
        ];
        if files.is_read_only() {
            options.push(MountOption::RO);
        }
        let mut config = Config::default();
        config.mount_options = options;
        config.acl = if allow_others { SessionACL::All } else { SessionACL::Owner };
        let files = Arc::new(Mutex::new(files));
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let tree = Tree { files: Arc::clone(&files), owner };
        let session = fuser::spawn_mount(tree, directory, &config)?;
        let ends = Arc::new(Ends::default());
        let (kept, notifier, until) = (Arc::clone(&files), session.notifier(), Arc::clone(&ends));
        let keeper = std::thread::Builder::new().name("mount".to_owned()).spawn(move || {
            let mut over = until.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            while !*over {
                over = until.rings.wait_timeout(over, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                let stale = {
                    let mut files = lock(&kept);
                    files.commit_if_due();
                    if files.follow().unwrap_or(false) { files.known() } else { Vec::new() }
                };
                // What the kernel keeps of files that somebody else has changed is old; it may know fewer than we think.
                stale.into_iter().for_each(|inode| drop(notifier.inval_inode(INodeNo(inode.0), 0, 0)));
            }
        })?;
        Ok(Self { files, session: Some(session), keeper: Some((ends, keeper)) })
    }

    /// Unmounts, and commits what was changed.
    pub(super) fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        let Some(session) = self.session.take() else { return };
        if let Err(error) = session.umount_and_join() {
            tracing::warn!(%error, "unmounting");
        }
        if let Some((ends, keeper)) = self.keeper.take() {
            *ends.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
            ends.rings.notify_all();
            drop(keeper.join());
        }
        drop(lock(&self.files).commit());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.finish();
    }
}

fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the kernel talks to.
struct Tree {
    files: Arc<Mutex<Files>>,
    /// Whose all files are: a sandbox has no owners.
    owner: (u32, u32),
}

impl Tree {
    fn attributes(&self, of: &Attributes) -> FileAttr {
        let (uid, gid) = self.owner;
        FileAttr {
            ino: INodeNo(of.inode.0),
            size: of.size,
            blocks: of.size.div_ceil(512),
            atime: system_time(of.accessed),
            mtime: system_time(of.modified),
            ctime: system_time(of.changed),
            crtime: UNIX_EPOCH,
            kind: file_type(of.kind),
            perm: of.mode,
            nlink: u32::try_from(of.links).unwrap_or(u32::MAX),
            uid,
            gid,
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        }
    }

    fn entry(&self, outcome: Outcome<Attributes>, reply: ReplyEntry) {
        match outcome {
            Ok(found) => reply.entry(&TTL, &self.attributes(&found), Generation(0)),
            Err(failure) => reply.error(errno(&failure)),
        }
    }

    fn attr(&self, outcome: Outcome<Attributes>, reply: ReplyAttr) {
        match outcome {
            Ok(found) => reply.attr(&TTL, &self.attributes(&found)),
            Err(failure) => reply.error(errno(&failure)),
        }
    }
}

fn empty(outcome: Outcome<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(failure) => reply.error(errno(&failure)),
    }
}

fn errno(failure: &Failure) -> Errno {
    match failure {
        Failure::Stale => Errno::ESTALE,
        Failure::Busy => Errno::EBUSY,
        Failure::Permission => Errno::EPERM,
        Failure::Store => Errno::EIO,
        Failure::File(error) => match error {
            FsError::NotFound => Errno::ENOENT,
            FsError::Exists => Errno::EEXIST,
            FsError::NotADirectory => Errno::ENOTDIR,
            FsError::IsADirectory => Errno::EISDIR,
            FsError::NotEmpty => Errno::ENOTEMPTY,
            FsError::NameTooLong => Errno::ENAMETOOLONG,
            FsError::InvalidName | FsError::Invalid => Errno::EINVAL,
            FsError::Busy => Errno::EBUSY,
            FsError::TooManyLinks => Errno::EMLINK,
            FsError::TooLarge => Errno::EFBIG,
            FsError::ReadOnly => Errno::EROFS,
            FsError::CrossDevice => Errno::EXDEV,
            FsError::Loop => Errno::ELOOP,
            FsError::Outside => Errno::EPERM,
            FsError::QuotaBytes { .. } | FsError::QuotaInodes { .. } => Errno::ENOSPC,
            FsError::Store(error) => {
                tracing::error!(%error, "a mounted file can't be read");
                Errno::EIO
            }
        },
    }
}

const fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let length = Duration::from_nanos(time.0.unsigned_abs());
    if time.0 < 0 { UNIX_EPOCH - length } else { UNIX_EPOCH + length }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let nanoseconds = |length: Duration| i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
    Timestamp(match time.duration_since(UNIX_EPOCH) {
        Ok(after) => nanoseconds(after),
        Err(before) => -nanoseconds(before.duration()),
    })
}

/// The permission bits that a new file gets.
fn permissions(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & 0o7777 & !umask).unwrap_or(0)
}

const fn inode(number: INodeNo) -> Inode {
    Inode(number.0)
}

impl Filesystem for Tree {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = lock(&self.files).lookup(inode(parent), name.as_bytes());
        self.entry(found, reply);
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        lock(&self.files).forget(inode(number), lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = lock(&self.files).attributes(inode(number));
        self.attr(found, reply);
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut files = lock(&self.files);
        // A sandbox has no owners: that all files stay those of whoever mounts can be asked for, nothing else.
        if uid.is_some_and(|uid| uid != self.owner.0) || gid.is_some_and(|gid| gid != self.owner.1) {
            return reply.error(errno(&Failure::Permission));
        }
        let now = files.now();
        let time = |time| match time {
            TimeOrNow::Now => now,
            TimeOrNow::SpecificTime(time) => timestamp(time),
        };
        let change = Change {
            mode: mode.map(|mode| permissions(mode, 0)),
            size,
            accessed: atime.map(time),
            modified: mtime.map(time),
        };
        let changed = files.change(inode(number), change);
        drop(files);
        self.attr(changed, reply);
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match lock(&self.files).read_link(inode(number)) {
            Ok(target) => reply.data(&target),
            Err(failure) => reply.error(errno(&failure)),
        }
    }

    fn mknod(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        // Regular files only: there are no devices, pipes or sockets in a sandbox.
        const FILE_TYPE: u32 = 0o170_000;
        const REGULAR: u32 = 0o100_000;
        if mode & FILE_TYPE != REGULAR && mode & FILE_TYPE != 0 {
            return reply.error(Errno::EPERM);
        }
        let made = lock(&self.files).create(inode(parent), name.as_bytes(), Kind::File, permissions(mode, umask));
        self.entry(made, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mode = permissions(mode, umask);
        let made = lock(&self.files).create(inode(parent), name.as_bytes(), Kind::Directory, mode);
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(lock(&self.files).remove(inode(parent), name.as_bytes(), false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(lock(&self.files).remove(inode(parent), name.as_bytes(), true), reply);
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        let made = lock(&self.files).symlink(inode(parent), name.as_bytes(), target);
        self.entry(made, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let keep_existing = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = (inode(parent), inode(new_parent));
        let renamed = lock(&self.files).rename(from, name.as_bytes(), to, new_name.as_bytes(), keep_existing);
        empty(renamed, reply);
    }

    fn link(&self, _: &Request, number: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let made = lock(&self.files).link(inode(number), inode(new_parent), new_name.as_bytes());
        self.entry(made, reply);
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match lock(&self.files).open(inode(number)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(failure) => reply.error(errno(&failure)),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match lock(&self.files).read(inode(number), offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(failure) => reply.error(errno(&failure)),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match lock(&self.files).write(inode(number), offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(failure) => reply.error(errno(&failure)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.files).close(inode(number));
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(lock(&self.files).commit(), reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(lock(&self.files).commit(), reply);
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut files = lock(&self.files);
        let mut cookie = offset.saturating_sub(DOTS);
        let mut dots = offset;
        loop {
            let (parent, entries) = match files.list(inode(number), cookie, PAGE) {
                Ok(page) => page,
                Err(failure) => return reply.error(errno(&failure)),
            };
            while dots < DOTS {
                let (name, of) = if dots == 0 { (".", number) } else { ("..", INodeNo(parent.0)) };
                dots += 1;
                if reply.add(of, dots, FileType::Directory, name) {
                    return reply.ok();
                }
            }
            let Some(last) = entries.last().map(|entry| entry.cookie) else { return reply.ok() };
            for entry in entries {
                let name = OsStr::from_bytes(&entry.name);
                if reply.add(INodeNo(entry.inode.0), entry.cookie + DOTS, file_type(entry.kind), name) {
                    return reply.ok();
                }
            }
            cookie = last;
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let files = lock(&self.files);
        let (quota, usage) = (files.quota(), files.usage());
        let blocks = |bytes: u64| bytes.min(1 << 62) / u64::from(BLOCK_BYTES);
        let free = blocks(quota.bytes.saturating_sub(usage.bytes));
        let inodes_free = quota.inodes.saturating_sub(usage.inodes);
        reply.statfs(blocks(quota.bytes), free, free, quota.inodes, inodes_free, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let mut files = lock(&self.files);
        let mode = permissions(mode, umask);
        let made = files.create(inode(parent), name.as_bytes(), Kind::File, mode);
        let made = made.and_then(|made| files.open(made.inode).map(|()| made));
        drop(files);
        match made {
            Ok(made) => {
                let attributes = self.attributes(&made);
                reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(failure) => reply.error(errno(&failure)),
        }
    }
}
