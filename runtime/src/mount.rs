//! Mounting: a state, or a sandbox's head, as a directory of the host, by FUSE.
//!
//! A state is read-only. A sandbox's head can be written while no call runs: what is changed through the mount becomes one
//! operation when it has come to rest, when a program asks for it (`fsync`), and when the mount ends. The files are those of
//! a `Transaction`, inode by inode (`mount/files.rs`); `mount/fuse.rs` only translates.

#[cfg(feature = "mount")]
mod files;
#[cfg(feature = "mount")]
mod fuse;

use std::path::{Path, PathBuf};

use sandglass_snapshots::{SandboxId, StateId};

use crate::error::{Error, ErrorKind};
use crate::host::Host;

/// What to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountTarget {
    /// A state, read-only.
    State(StateId),
    /// The head of a sandbox, by name or id.
    Sandbox(String),
}

/// A mount of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Its number among the mounts of this host, from 1.
    pub id: u64,
    /// Where it is.
    pub directory: PathBuf,
    /// The sandbox whose head it shows.
    pub sandbox: Option<SandboxId>,
    /// The state that it shows, when it is no sandbox's head.
    pub state: Option<StateId>,
    /// Whether it can be written to.
    pub writable: bool,
}

/// The mounts of a host; they end with it.
#[derive(Default)]
pub(crate) struct Mounts {
    #[cfg(feature = "mount")]
    open: std::sync::Mutex<Open>,
}

#[cfg(feature = "mount")]
#[derive(Default)]
struct Open {
    last: u64,
    mounts: Vec<(MountInfo, fuse::Mounted)>,
}

/// Checks that a directory can be mounted on.
fn check(directory: &Path) -> Result<PathBuf, Error> {
    let shown = directory.display();
    if !directory.is_absolute() {
        return Err(Error::invalid("invalid_directory", format!("`{shown}` is no absolute path")));
    }
    let unusable = |error: std::io::Error| {
        let stale = error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error());
        let message = format!("`{shown}` can't be mounted on: {error}");
        let hint = if stale {
            "an earlier mount is still there and its service is gone: unmount it with `umount`"
        } else {
            "name an empty directory of the machine on which the service runs"
        };
        Error::invalid("invalid_directory", message).hinted(hint)
    };
    let found = directory.canonicalize().map_err(unusable)?;
    if std::fs::read_dir(&found).map_err(unusable)?.next().is_some() {
        return Err(Error::conflict("directory_not_empty", format!("`{shown}` is not empty"))
            .hinted("mount on an empty directory: what is in it would be hidden"));
    }
    Ok(found)
}

impl Host {
    /// Mounts a state or a sandbox's head on an empty directory. With `allow_others` other users of the machine may look.
    ///
    /// # Errors
    /// There is no such state or sandbox, the directory can't be used, or FUSE is missing.
    #[cfg(feature = "mount")]
    pub fn mount(
        &self,
        target: &MountTarget,
        directory: &Path,
        allow_others: bool,
        actor: &str,
    ) -> Result<MountInfo, Error> {
        self.world.running()?;
        let directory = check(directory)?;
        if !Path::new("/dev/fuse").exists() {
            return Err(Error::new(ErrorKind::Unavailable, "no_fuse", "this machine has no /dev/fuse")
                .hinted("load the kernel module `fuse` (modprobe fuse), or give the container the device /dev/fuse"));
        }
        let (files, sandbox, state) = match target {
            MountTarget::State(state) => (files::Files::of_state(self, self.known_state(*state)?)?, None, Some(*state)),
            MountTarget::Sandbox(name) => {
                let sandbox = self.sandbox(name)?;
                let id = sandbox.id();
                (files::Files::of_sandbox(sandbox, actor)?, Some(id), None)
            }
        };
        let mounted = fuse::Mounted::new(files, &directory, allow_others).map_err(|error| {
            let hint = "mounting needs root, or the program fusermount3 of the package fuse3";
            Error::new(ErrorKind::Unavailable, "no_fuse", format!("mounting failed: {error}")).hinted(hint)
        })?;
        let mut open = self.world.mounts.lock();
        open.last += 1;
        let info = MountInfo { id: open.last, directory, sandbox, state, writable: sandbox.is_some() };
        tracing::info!(directory = %info.directory.display(), actor, "mounted");
        open.mounts.push((info.clone(), mounted));
        Ok(info)
    }

    /// Says that this program can't mount.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "mount"))]
    pub fn mount(
        &self,
        _target: &MountTarget,
        directory: &Path,
        _allow_others: bool,
        _actor: &str,
    ) -> Result<MountInfo, Error> {
        check(directory)?;
        Err(Error::new(ErrorKind::Unavailable, "no_fuse", "this program was built without mounting")
            .hinted("build it with the feature `mount`"))
    }

    /// Returns the mounts there are, oldest first.
    #[must_use]
    pub fn mounts(&self) -> Vec<MountInfo> {
        self.world.mounts.list()
    }

    /// Ends a mount; what was changed through it is committed first.
    ///
    /// # Errors
    /// There is no such mount, or a program still uses it.
    pub fn unmount(&self, id: u64) -> Result<(), Error> {
        self.world.mounts.end(id)
    }
}

#[cfg(feature = "mount")]
impl Mounts {
    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn list(&self) -> Vec<MountInfo> {
        self.lock().mounts.iter().map(|(info, _)| info.clone()).collect()
    }

    fn end(&self, id: u64) -> Result<(), Error> {
        let found = {
            let mut open = self.lock();
            let place = open.mounts.iter().position(|(info, _)| info.id == id);
            place.map(|place| open.mounts.remove(place))
        };
        let Some((info, mounted)) = found else {
            return Err(Error::not_found("unknown_mount", format!("there is no mount {id}")));
        };
        tracing::info!(directory = %info.directory.display(), "unmounting");
        mounted.end();
        Ok(())
    }

    /// Ends all mounts.
    pub(crate) fn end_all(&self) {
        let all = std::mem::take(&mut self.lock().mounts);
        all.into_iter().for_each(|(_, mounted)| mounted.end());
    }
}

#[cfg(not(feature = "mount"))]
impl Mounts {
    fn list(&self) -> Vec<MountInfo> {
        Vec::new()
    }

    fn end(&self, id: u64) -> Result<(), Error> {
        Err(Error::not_found("unknown_mount", format!("there is no mount {id}")))
    }

    /// Ends all mounts: there are none.
    pub(crate) fn end_all(&self) {}
}
