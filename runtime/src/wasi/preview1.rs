//! The interface of `wasi_snapshot_preview1` as published, each function one line over the families beside this file.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated from the published interface")]

use bytes::Bytes;
use wiggle::{GuestMemory, GuestPtr};

use self::types::{Errno, Error};
use super::Wasi;
use super::descriptor::Descriptor;
use super::path::Open;
use super::process::{put_strings, string_sizes};
use crate::limits::ProcExit;

wiggle::from_witx!({
    witx: ["witx/wasi_snapshot_preview1.witx"],
    // What waits, and what may be much work for the host: such a call is charged for.
    async: { wasi_snapshot_preview1::{
        fd_pread, fd_pwrite, fd_read, fd_readdir, fd_write, path_create_directory, path_filestat_get, path_filestat_set_times,
        path_link, path_open, path_readlink, path_remove_directory, path_rename, path_symlink, path_unlink_file, poll_oneoff,
        random_get
    } },
    errors: { errno => trappable Error },
});

/// Gives a guest all functions of WASI preview 1.
///
/// # Errors
/// The linker has one of them already.
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut wasmtime::Linker<T>,
    wasi: impl Fn(&mut T) -> &mut Wasi + Send + Sync + Copy + 'static,
) -> wasmtime::Result<()> {
    wasi_snapshot_preview1::add_to_linker(linker, wasi)
}

impl Wasi {
    /// Nothing that a guest has is a socket.
    fn no_socket(&self, fd: types::Fd) -> Error {
        self.descriptors.get(fd).err().unwrap_or_else(|| Errno::Notsock.into())
    }

    fn preopen(&self, fd: types::Fd) -> Result<Bytes, Error> {
        match self.descriptors.get(fd)? {
            Descriptor::Opened(opened) => opened.preopen.clone().ok_or_else(|| Errno::Badf.into()),
            Descriptor::Inherited(_) => Err(Errno::Badf.into()),
        }
    }
}

impl wasi_snapshot_preview1::WasiSnapshotPreview1 for Wasi {
    fn set_hostcall_fuel(&mut self, fuel: usize) {
        self.hostcall_fuel = fuel;
    }

    fn args_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        argv: GuestPtr<GuestPtr<u8>>,
        argv_buf: GuestPtr<u8>,
    ) -> Result<(), Error> {
        put_strings(memory, &self.args, argv, argv_buf)
    }

    fn args_sizes_get(&mut self, _: &mut GuestMemory<'_>) -> Result<(types::Size, types::Size), Error> {
        string_sizes(&self.args)
    }

    fn environ_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        environ: GuestPtr<GuestPtr<u8>>,
        environ_buf: GuestPtr<u8>,
    ) -> Result<(), Error> {
        put_strings(memory, &self.env, environ, environ_buf)
    }

    fn environ_sizes_get(&mut self, _: &mut GuestMemory<'_>) -> Result<(types::Size, types::Size), Error> {
        string_sizes(&self.env)
    }

    fn clock_res_get(&mut self, _: &mut GuestMemory<'_>, id: types::Clockid) -> Result<types::Timestamp, Error> {
        Self::clock_resolution(id)
    }

    fn clock_time_get(
        &mut self,
        _: &mut GuestMemory<'_>,
        id: types::Clockid,
        _: types::Timestamp,
    ) -> Result<types::Timestamp, Error> {
        self.clock_time(id)
    }

    fn fd_advise(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        offset: types::Filesize,
        len: types::Filesize,
        advice: types::Advice,
    ) -> Result<(), Error> {
        self.advise(fd, offset, len, advice)
    }

    fn fd_allocate(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        offset: types::Filesize,
        len: types::Filesize,
    ) -> Result<(), Error> {
        self.allocate(fd, offset, len)
    }

    fn fd_close(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<(), Error> {
        let closed = self.descriptors.remove(fd)?;
        self.close(&closed);
        Ok(())
    }

    fn fd_datasync(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<(), Error> {
        self.sync(fd)
    }

    fn fd_fdstat_get(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<types::Fdstat, Error> {
        self.fdstat(fd)
    }

    fn fd_fdstat_set_flags(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        flags: types::Fdflags,
    ) -> Result<(), Error> {
        self.set_flags(fd, flags)
    }

    fn fd_fdstat_set_rights(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        base: types::Rights,
        inheriting: types::Rights,
    ) -> Result<(), Error> {
        self.set_rights(fd, base, inheriting)
    }

    fn fd_filestat_get(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<types::Filestat, Error> {
        self.filestat(fd)
    }

    fn fd_filestat_set_size(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        size: types::Filesize,
    ) -> Result<(), Error> {
        self.set_size(fd, size)
    }

    fn fd_filestat_set_times(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        atim: types::Timestamp,
        mtim: types::Timestamp,
        flags: types::Fstflags,
    ) -> Result<(), Error> {
        self.set_times(fd, atim, mtim, flags)
    }

    async fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        iovs: types::IovecArray,
        offset: types::Filesize,
    ) -> Result<types::Size, Error> {
        let done = self.read_at(memory, fd, iovs, offset);
        self.kernel.charge().await;
        done
    }

    fn fd_prestat_get(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<types::Prestat, Error> {
        let pr_name_len = self.preopen(fd)?.len() as types::Size;
        Ok(types::Prestat::Dir(types::PrestatDir { pr_name_len }))
    }

    fn fd_prestat_dir_name(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        path: GuestPtr<u8>,
        path_len: types::Size,
    ) -> Result<(), Error> {
        let name = self.preopen(fd)?;
        if name.len() > path_len as usize {
            return Err(Errno::Nametoolong.into());
        }
        Ok(memory.copy_from_slice(&name, path.as_array(name.len() as u32))?)
    }

    async fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        iovs: types::CiovecArray,
        offset: types::Filesize,
    ) -> Result<types::Size, Error> {
        let done = self.write_at(memory, fd, iovs, offset);
        self.kernel.charge().await;
        done
    }

    async fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        iovs: types::IovecArray,
    ) -> Result<types::Size, Error> {
        let done = self.read(memory, fd, iovs).await;
        self.kernel.charge().await;
        done
    }

    async fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        buf: GuestPtr<u8>,
        buf_len: types::Size,
        cookie: types::Dircookie,
    ) -> Result<types::Size, Error> {
        let done = self.read_directory(memory, fd, buf.as_array(buf_len), cookie);
        self.kernel.charge().await;
        done
    }

    fn fd_renumber(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd, to: types::Fd) -> Result<(), Error> {
        self.renumber(fd, to)
    }

    fn fd_seek(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        offset: types::Filedelta,
        whence: types::Whence,
    ) -> Result<types::Filesize, Error> {
        self.seek(fd, offset, whence)
    }

    fn fd_sync(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<(), Error> {
        self.sync(fd)
    }

    fn fd_tell(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd) -> Result<types::Filesize, Error> {
        self.seek(fd, 0, types::Whence::Cur)
    }

    async fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        iovs: types::CiovecArray,
    ) -> Result<types::Size, Error> {
        let done = self.write(memory, fd, iovs).await;
        self.kernel.charge().await;
        done
    }

    async fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let done = self.create_directory(memory, fd, path);
        self.kernel.charge().await;
        done
    }

    async fn path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        flags: types::Lookupflags,
        path: GuestPtr<str>,
    ) -> Result<types::Filestat, Error> {
        let done = self.path_filestat(memory, fd, flags, path);
        self.kernel.charge().await;
        done
    }

    async fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        flags: types::Lookupflags,
        path: GuestPtr<str>,
        atim: types::Timestamp,
        mtim: types::Timestamp,
        fst_flags: types::Fstflags,
    ) -> Result<(), Error> {
        let done = self.path_set_times(memory, (fd, flags, path), atim, mtim, fst_flags);
        self.kernel.charge().await;
        done
    }

    async fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: types::Fd,
        old_flags: types::Lookupflags,
        old_path: GuestPtr<str>,
        new_fd: types::Fd,
        new_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let done = self.link(memory, (old_fd, old_flags, old_path), (new_fd, new_path));
        self.kernel.charge().await;
        done
    }

    async fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        lookup: types::Lookupflags,
        path: GuestPtr<str>,
        flags: types::Oflags,
        base: types::Rights,
        inheriting: types::Rights,
        descriptor_flags: types::Fdflags,
    ) -> Result<types::Fd, Error> {
        let done = self.open(memory, fd, path, &Open { lookup, flags, base, inheriting, descriptor_flags });
        self.kernel.charge().await;
        done
    }

    async fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        path: GuestPtr<str>,
        buf: GuestPtr<u8>,
        buf_len: types::Size,
    ) -> Result<types::Size, Error> {
        let target = self.read_link(memory, fd, path);
        self.kernel.charge().await;
        let target = target?;
        let length = buf_len.min(target.len() as types::Size);
        memory.copy_from_slice(&target[..length as usize], buf.as_array(length))?;
        Ok(length)
    }

    async fn path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let done = self.remove_directory(memory, fd, path);
        self.kernel.charge().await;
        done
    }

    async fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        old_path: GuestPtr<str>,
        new_fd: types::Fd,
        new_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let done = self.rename(memory, (fd, old_path), (new_fd, new_path));
        self.kernel.charge().await;
        done
    }

    async fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_path: GuestPtr<str>,
        fd: types::Fd,
        new_path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let done = self.symlink(memory, old_path, fd, new_path);
        self.kernel.charge().await;
        done
    }

    async fn path_unlink_file(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: types::Fd,
        path: GuestPtr<str>,
    ) -> Result<(), Error> {
        let done = self.unlink(memory, fd, path);
        self.kernel.charge().await;
        done
    }

    async fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: GuestPtr<types::Subscription>,
        events: GuestPtr<types::Event>,
        count: types::Size,
    ) -> Result<types::Size, Error> {
        let done = self.poll(memory, subscriptions, events, count).await;
        self.kernel.charge().await;
        done
    }

    fn proc_exit(&mut self, _: &mut GuestMemory<'_>, code: types::Exitcode) -> wasmtime::Error {
        wasmtime::Error::new(ProcExit(code.cast_signed()))
    }

    fn proc_raise(&mut self, _: &mut GuestMemory<'_>, _: types::Signal) -> Result<(), Error> {
        Err(Errno::Notsup.into())
    }

    fn sched_yield(&mut self, _: &mut GuestMemory<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn random_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        buf: GuestPtr<u8>,
        buf_len: types::Size,
    ) -> Result<(), Error> {
        let done = self.random(memory, buf.as_array(buf_len));
        self.kernel.charge().await;
        done
    }

    fn sock_accept(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd, _: types::Fdflags) -> Result<types::Fd, Error> {
        Err(self.no_socket(fd))
    }

    fn sock_recv(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        _: types::IovecArray,
        _: types::Riflags,
    ) -> Result<(types::Size, types::Roflags), Error> {
        Err(self.no_socket(fd))
    }

    fn sock_send(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: types::Fd,
        _: types::CiovecArray,
        _: types::Siflags,
    ) -> Result<types::Size, Error> {
        Err(self.no_socket(fd))
    }

    fn sock_shutdown(&mut self, _: &mut GuestMemory<'_>, fd: types::Fd, _: types::Sdflags) -> Result<(), Error> {
        Err(self.no_socket(fd))
    }
}
