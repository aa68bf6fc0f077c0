//! System calls on names: all walk through `vfs::resolve`.

use sandglass_snapshots::{Attributes, FsError, Kind, Timestamp};

use super::abi::*;
use super::files::fd_flags;
use super::{Call, Errno, Fault};
use crate::kernel::{FileKind, OpenFileId, status};
use crate::vfs::Node;
use crate::vfs::resolve::Resolved;

/// Bytes of what `statx` tells, and what of it is told here.
const STATX_BYTES: u32 = 256;
const STATX_BASIC: u32 = 0x7ff;
const BLOCK_BYTES: u32 = 4096;
/// What `statfs` says that this is.
const FILE_SYSTEM_TYPE: u32 = 0x5347_4c53;
const NAME_BYTES_MAX: u32 = 255;

const RENAME_NOREPLACE: u32 = 1;
const UTIME_NOW: u32 = 0x3fff_ffff;
const UTIME_OMIT: u32 = 0x3fff_fffe;

/// What `stat` is about.
enum Described {
    File(Attributes),
    Device(Attributes),
    Pipe(u64),
}

/// A name that stands for a descriptor of the process.
fn descriptor_name(path: &[u8]) -> Option<u32> {
    match path {
        b"/dev/stdin" => Some(0),
        b"/dev/stdout" => Some(1),
        b"/dev/stderr" => Some(2),
        _ => {
            let number = path.strip_prefix(b"/dev/fd/").or_else(|| path.strip_prefix(b"/proc/self/fd/"))?;
            std::str::from_utf8(number).ok()?.parse().ok()
        }
    }
}

impl Call<'_> {
    /// Where a path of the program begins, and the path.
    fn start(&mut self, at: u32, path: u32) -> Result<(Node, Vec<u8>), Fault> {
        let path = self.guest.string(path)?.to_vec();
        let start = if at == AT_FDCWD || path.starts_with(b"/") {
            self.state.process(self.pid)?.directory
        } else {
            let id = self.state.open_file(self.pid, at)?;
            self.state.directory(id)?
        };
        Ok((start, path))
    }

    fn walk(&mut self, at: u32, path: u32, follow: bool) -> Result<Resolved, Fault> {
        let (start, path) = self.start(at, path)?;
        Ok(self.state.vfs.resolve_from(start, &path, follow)?)
    }

    pub(super) fn open(&mut self) -> Result<u32, Fault> {
        let [at, path, flags, mode, ..] = self.arguments;
        self.state.process(self.pid)?.descriptors.check_room()?;
        let (start, path) = self.start(at, path)?;
        if let Some(fd) = descriptor_name(&path) {
            return self.state.duplicate(self.pid, fd, 0, fd_flags(flags));
        }
        let exclusive = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
        let follow = flags & O_NOFOLLOW == 0 && !exclusive;
        let place = self.state.vfs.resolve_from(start, &path, follow)?;
        let wants_directory = flags & O_DIRECTORY != 0;
        let is_new = place.node.is_none();
        let node = match place.node {
            Some(_) if exclusive => return Err(Errno::EEXIST.into()),
            Some(node) => node,
            None if flags & O_CREAT == 0 => return Err(Errno::ENOENT.into()),
            None if place.trailing_slash => return Err(Errno::EISDIR.into()),
            None => {
                let mode = permissions(mode) & !self.state.process(self.pid)?.mask;
                self.state.vfs.create_file(place.parent, place.name()?, mode)?
            }
        };
        let opened = match flags & O_ACCMODE {
            0 => status::READ,
            O_WRONLY => status::WRITE,
            O_RDWR => status::READ | status::WRITE,
            _ => return Err(Errno::EINVAL.into()),
        };
        let attributes = self.state.vfs.attributes(node)?;
        let writes = opened & status::WRITE != 0 || flags & O_TRUNC != 0;
        match attributes.kind {
            Kind::Symlink if flags & O_PATH == 0 => return Err(Errno::ELOOP.into()),
            Kind::File | Kind::Symlink if wants_directory => return Err(Errno::ENOTDIR.into()),
            Kind::Directory if writes => return Err(Errno::EISDIR.into()),
            Kind::File if writes && self.state.vfs.device(node).is_none() && !self.state.vfs.is_writable(node) => {
                return Err(Errno::EROFS.into());
            }
            // Who made a file may write it whatever its mode says; afterwards the mode counts.
            Kind::File if !is_new && self.state.vfs.device(node).is_none() => {
                let wanted = if writes { 0o222 } else { 0 } | if opened & status::READ != 0 { 0o444 } else { 0 };
                if (writes && attributes.mode & 0o222 == 0) || (wanted & 0o444 != 0 && attributes.mode & 0o444 == 0) {
                    return Err(Errno::EACCES.into());
                }
            }
            _ => {}
        }
        if flags & O_TRUNC != 0 && !is_new && attributes.kind == Kind::File {
            self.state.vfs.set_size(node, 0)?;
        }
        let set = |flag, from| if flags & from != 0 { flag } else { 0 };
        let opened = if flags & O_PATH != 0 { status::PATH } else { opened };
        let opened = opened | set(status::APPEND, O_APPEND) | set(status::NONBLOCK, O_NONBLOCK);
        let id = self.state.open_node(node, opened)?;
        if let Some(name) = place.name {
            self.state.open_files.set_opened_at(id, place.parent, name);
        }
        self.state.install(self.pid, id, fd_flags(flags))
    }

    pub(super) fn stat(&mut self) -> Result<u32, Fault> {
        let [at, path, flags, _, to, _] = self.arguments;
        let (start, text) = match self.guest.string(path)? {
            [] if flags & AT_EMPTY_PATH != 0 && at != AT_FDCWD => {
                let id = self.state.open_file(self.pid, at)?;
                return self.put_open_stat(to, id);
            }
            [] if flags & AT_EMPTY_PATH != 0 => (self.state.process(self.pid)?.directory, b".".to_vec()),
            _ => self.start(at, path)?,
        };
        if let Some(fd) = descriptor_name(&text) {
            let id = self.state.open_file(self.pid, fd)?;
            return self.put_open_stat(to, id);
        }
        let follow = flags & AT_SYMLINK_NOFOLLOW == 0;
        let node = self.state.vfs.resolve_from(start, &text, follow)?.found()?;
        self.put_stat(to, node)
    }

    fn put_open_stat(&mut self, to: u32, id: OpenFileId) -> Result<u32, Fault> {
        match self.state.open_files.kind(id)? {
            FileKind::Node(node) => self.put_stat(to, node),
            // Whoever started the call reads and writes its streams through pipes, too.
            FileKind::Pipe(number) | FileKind::Stream(number) => {
                self.put_statx(to, S_IFIFO | 0o600, &Described::Pipe(number))
            }
        }
    }

    fn put_stat(&mut self, to: u32, node: Node) -> Result<u32, Fault> {
        let attributes = self.state.vfs.attributes(node)?;
        let is_device = self.state.vfs.device(node).is_some();
        let kind = match attributes.kind {
            Kind::Directory => S_IFDIR,
            Kind::Symlink => S_IFLNK,
            Kind::File if is_device => S_IFCHR,
            Kind::File => S_IFREG,
        };
        let mode = if attributes.kind == Kind::Symlink { 0o777 } else { u32::from(attributes.mode) };
        let described = if is_device { Described::Device(attributes) } else { Described::File(attributes) };
        self.put_statx(to, kind | mode, &described)
    }

    fn put_statx(&mut self, to: u32, mode: u32, described: &Described) -> Result<u32, Fault> {
        let attributes = match described {
            Described::File(attributes) | Described::Device(attributes) => Some(attributes),
            Described::Pipe(_) => None,
        };
        let mut told = [0; STATX_BYTES as usize];
        let mut put = |at: usize, bytes: &[u8]| told[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &STATX_BASIC.to_le_bytes());
        put(4, &BLOCK_BYTES.to_le_bytes());
        let links = attributes.map_or(1, |attributes| match attributes.kind {
            Kind::Directory => 2,
            _ => u32::try_from(attributes.links).unwrap_or(u32::MAX),
        });
        put(16, &links.to_le_bytes());
        put(20, &super::processes::USER.to_le_bytes());
        put(24, &super::processes::USER.to_le_bytes());
        put(28, &u16::try_from(mode).unwrap_or_default().to_le_bytes());
        if let Some(attributes) = attributes {
            put(32, &attributes.inode.0.to_le_bytes());
            let size = if attributes.kind == Kind::Directory { u64::from(BLOCK_BYTES) } else { attributes.size };
            put(40, &size.to_le_bytes());
            put(48, &size.div_ceil(u64::from(BLOCK_BYTES)).saturating_mul(8).to_le_bytes());
            let times = [(64, attributes.accessed), (96, attributes.changed), (112, attributes.modified)];
            for (at, time) in times {
                put(at, &time.0.div_euclid(1_000_000_000).to_le_bytes());
                put(at + 8, &u32::try_from(time.0.rem_euclid(1_000_000_000)).unwrap_or_default().to_le_bytes());
            }
        }
        if let Described::Pipe(number) = described {
            put(32, &number.to_le_bytes());
        }
        if matches!(described, Described::Device(_)) {
            put(128, &1u32.to_le_bytes());
            put(132, &3u32.to_le_bytes());
        }
        // All files are on one device, and pipes on another.
        let device = if attributes.is_some() { 1u32 } else { 2 };
        put(140, &device.to_le_bytes());
        self.guest.put(to, &told)?;
        Ok(0)
    }

    pub(super) fn access(&mut self) -> Result<u32, Fault> {
        let [at, path, mode, ..] = self.arguments;
        let (start, text) = self.start(at, path)?;
        if let Some(fd) = descriptor_name(&text) {
            self.state.open_file(self.pid, fd)?;
            return Ok(0);
        }
        let node = self.state.vfs.resolve_from(start, &text, true)?.found()?;
        let attributes = self.state.vfs.attributes(node)?;
        let denied = (mode & 1 != 0 && attributes.mode & 0o111 == 0)
            || (mode & 4 != 0 && attributes.mode & 0o444 == 0)
            || (mode & 2 != 0 && attributes.mode & 0o222 == 0);
        if denied {
            return Err(Errno::EACCES.into());
        }
        if mode & 2 != 0 && self.state.vfs.device(node).is_none() && !self.state.vfs.is_writable(node) {
            return Err(Errno::EROFS.into());
        }
        Ok(0)
    }

    pub(super) fn create_directory(&mut self) -> Result<u32, Fault> {
        let [at, path, mode, ..] = self.arguments;
        let place = self.walk(at, path, false)?;
        if place.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let mode = permissions(mode) & !self.state.process(self.pid)?.mask;
        self.state.vfs.create_directory_at(place.parent, place.name()?, mode)?;
        Ok(0)
    }

    /// Only ordinary files: a sandbox has no devices, and pipes have no names.
    pub(super) fn create_node(&mut self) -> Result<u32, Fault> {
        let [at, path, mode, ..] = self.arguments;
        if mode & 0o170_000 != S_IFREG && mode & 0o170_000 != 0 {
            return Err(Errno::EPERM.into());
        }
        let place = self.walk(at, path, false)?;
        if place.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let mode = permissions(mode) & !self.state.process(self.pid)?.mask;
        self.state.vfs.create_file(place.parent, place.name()?, mode)?;
        Ok(0)
    }

    pub(super) fn unlink(&mut self) -> Result<u32, Fault> {
        let [at, path, flags, ..] = self.arguments;
        let place = self.walk(at, path, false)?;
        let node = place.found()?;
        let kind = self.state.vfs.attributes(node)?.kind;
        match (flags & AT_REMOVEDIR != 0, kind) {
            (true, Kind::Directory) => {
                let name = place.name.as_ref().ok_or(FsError::Busy)?;
                self.state.vfs.remove_directory(place.parent, name)?;
            }
            (true, _) => return Err(Errno::ENOTDIR.into()),
            (false, Kind::Directory) => return Err(Errno::EISDIR.into()),
            (false, _) => self.state.vfs.unlink(place.parent, place.name()?)?,
        }
        Ok(0)
    }

    pub(super) fn symlink(&mut self) -> Result<u32, Fault> {
        let [target, at, path, ..] = self.arguments;
        let target = self.guest.string(target)?.to_vec();
        if target.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        let place = self.walk(at, path, false)?;
        if place.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if place.trailing_slash {
            return Err(Errno::ENOENT.into());
        }
        self.state.vfs.create_symlink(place.parent, place.name()?, &target)?;
        Ok(0)
    }

    pub(super) fn link(&mut self) -> Result<u32, Fault> {
        let [old_at, old_path, new_at, new_path, flags, _] = self.arguments;
        let node = self.walk(old_at, old_path, flags & AT_SYMLINK_FOLLOW != 0)?.found()?;
        let place = self.walk(new_at, new_path, false)?;
        if place.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if self.state.vfs.attributes(node)?.kind == Kind::Directory {
            return Err(Errno::EPERM.into());
        }
        self.state.vfs.link(node, place.parent, place.name()?)?;
        Ok(0)
    }

    pub(super) fn rename(&mut self) -> Result<u32, Fault> {
        let [old_at, old_path, new_at, new_path, flags, _] = self.arguments;
        if flags & !RENAME_NOREPLACE != 0 {
            return Err(Errno::EINVAL.into());
        }
        let from = self.walk(old_at, old_path, false)?;
        let node = from.found()?;
        let to = self.walk(new_at, new_path, false)?;
        if flags & RENAME_NOREPLACE != 0 && to.node.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if to.trailing_slash && self.state.vfs.attributes(node)?.kind != Kind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        let (from_name, to_name) = (from.name.as_ref().ok_or(FsError::Busy)?, to.name.as_ref().ok_or(FsError::Busy)?);
        self.state.vfs.rename(from.parent, from_name, to.parent, to_name)?;
        Ok(0)
    }

    pub(super) fn read_link(&mut self) -> Result<u32, Fault> {
        let [at, path, to, length, ..] = self.arguments;
        let node = self.walk(at, path, false)?.found()?;
        if self.state.vfs.attributes(node)?.kind != Kind::Symlink {
            return Err(Errno::EINVAL.into());
        }
        let target = self.state.vfs.read_link_at(node)?;
        let taken = target.len().min(length as usize);
        self.guest.put(to, &target[..taken])?;
        super::files::count(taken)
    }

    pub(super) fn truncate(&mut self) -> Result<u32, Fault> {
        let node = self.walk(AT_FDCWD, self.arguments[0], true)?.found()?;
        let size = self.wide(1);
        i64::try_from(size).map_err(|_| Errno::EINVAL)?;
        self.state.vfs.set_size(node, size)?;
        Ok(0)
    }

    pub(super) fn set_mode_of_open(&mut self) -> Result<u32, Fault> {
        let [fd, mode, ..] = self.arguments;
        let id = self.state.open_file(self.pid, fd)?;
        let (node, _) = self.state.attributes(id)?.ok_or(Errno::EINVAL)?;
        self.state.vfs.set_mode(node, permissions(mode))?;
        Ok(0)
    }

    pub(super) fn set_mode(&mut self) -> Result<u32, Fault> {
        let [at, path, mode, flags, ..] = self.arguments;
        let node = self.walk(at, path, flags & AT_SYMLINK_NOFOLLOW == 0)?.found()?;
        if self.state.vfs.attributes(node)?.kind == Kind::Symlink {
            return Err(Errno::EOPNOTSUPP.into());
        }
        self.state.vfs.set_mode(node, permissions(mode))?;
        Ok(0)
    }

    /// A sandbox has one owner: giving a file to that one changes nothing, to another is refused.
    pub(super) fn set_owner(&mut self, number: u32) -> Result<u32, Fault> {
        let (user, group) = if number == SYS_FCHOWN {
            let [fd, user, group, ..] = self.arguments;
            self.state.open_file(self.pid, fd)?;
            (user, group)
        } else {
            let [at, path, user, group, ..] = self.arguments;
            self.walk(at, path, false)?.found()?;
            (user, group)
        };
        let is_own = |id: u32| id == super::processes::USER || id == u32::MAX;
        if is_own(user) && is_own(group) { Ok(0) } else { Err(Errno::EPERM.into()) }
    }

    pub(super) fn set_times(&mut self) -> Result<u32, Fault> {
        let [at, path, times, flags, ..] = self.arguments;
        let node = if path == 0 {
            let id = self.state.open_file(self.pid, at)?;
            self.state.attributes(id)?.ok_or(Errno::EINVAL)?.0
        } else {
            self.walk(at, path, flags & AT_SYMLINK_NOFOLLOW == 0)?.found()?
        };
        let now = self.state.clock.now();
        let (mut accessed, mut modified) = (Some(now), Some(now));
        if times != 0 {
            for (time, at) in [(&mut accessed, times), (&mut modified, times.checked_add(16).ok_or(Errno::EFAULT)?)] {
                let seconds = self.guest.i64(at)?;
                let nanoseconds = self.guest.u32(at.checked_add(8).ok_or(Errno::EFAULT)?)?;
                *time = match nanoseconds {
                    UTIME_NOW => Some(now),
                    UTIME_OMIT => None,
                    1_000_000_000.. => return Err(Errno::EINVAL.into()),
                    _ => {
                        let whole = seconds.checked_mul(1_000_000_000).ok_or(Errno::EINVAL)?;
                        Some(Timestamp(whole.checked_add(i64::from(nanoseconds)).ok_or(Errno::EINVAL)?))
                    }
                };
            }
        }
        self.state.vfs.set_times(node, accessed, modified)?;
        Ok(0)
    }

    /// What `df` wants to know; the sizes are those of the transaction's quota.
    pub(super) fn file_system(&mut self, number: u32) -> Result<u32, Fault> {
        let [file, _, to, ..] = self.arguments;
        if number == SYS_STATFS64 {
            self.walk(AT_FDCWD, file, true)?.found()?;
        } else {
            self.state.open_file(self.pid, file)?;
        }
        let (usage, quota) = self.state.vfs.usage();
        let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
        let mut told = [0; 88];
        let mut put = |at: usize, bytes: &[u8]| told[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &FILE_SYSTEM_TYPE.to_le_bytes());
        put(4, &BLOCK_BYTES.to_le_bytes());
        let free = blocks(quota.bytes.saturating_sub(usage.bytes));
        put(8, &blocks(quota.bytes).to_le_bytes());
        put(16, &free.to_le_bytes());
        put(24, &free.to_le_bytes());
        put(32, &quota.inodes.to_le_bytes());
        put(40, &quota.inodes.saturating_sub(usage.inodes).to_le_bytes());
        put(56, &NAME_BYTES_MAX.to_le_bytes());
        put(60, &BLOCK_BYTES.to_le_bytes());
        self.guest.put(to, &told)?;
        Ok(0)
    }

    pub(super) fn directory_path(&mut self) -> Result<u32, Fault> {
        let [to, length, ..] = self.arguments;
        let directory = self.state.process(self.pid)?.directory;
        let mut path = self.state.vfs.path_of(directory)?;
        path.push(0);
        if path.len() > length as usize {
            return Err(Errno::ERANGE.into());
        }
        self.guest.put(to, &path)?;
        super::files::count(path.len())
    }

    pub(super) fn enter(&mut self) -> Result<u32, Fault> {
        let node = self.walk(AT_FDCWD, self.arguments[0], true)?.found()?;
        if self.state.vfs.attributes(node)?.kind != Kind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        self.state.enter(self.pid, node)?;
        Ok(0)
    }

    pub(super) fn enter_open(&mut self) -> Result<u32, Fault> {
        let id = self.state.open_file(self.pid, self.arguments[0])?;
        let node = self.state.directory(id)?;
        self.state.enter(self.pid, node)?;
        Ok(0)
    }

    pub(super) fn set_mask(&mut self) -> Result<u32, Fault> {
        let mask = u16::try_from(self.arguments[0] & 0o777).unwrap_or_default();
        let before = std::mem::replace(&mut self.state.process_mut(self.pid)?.mask, mask);
        Ok(u32::from(before))
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}
