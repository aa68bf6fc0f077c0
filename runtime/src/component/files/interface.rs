//! `wasi:filesystem/types` and `preopens` as published, each function a few lines over `files.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use sandglass_snapshots::{FsError, Kind};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream, ErrorCode,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError as Failure, FsResult};

use super::{DIRECTORY_MODE, ENTRIES_AT_ONCE, Files, Listing, READ_BYTES_MAX, failure, follows, hash, kind, lock};
use crate::component::streams::FileInput;

/// What the functions of the interface work on.
pub(in crate::component) struct View<'a> {
    pub(in crate::component) files: &'a mut Files,
    pub(in crate::component) table: &'a mut ResourceTable,
}

pub(in crate::component) struct HasFiles;

impl HasData for HasFiles {
    type Data<'a> = View<'a>;
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let root = self.files.vfs().root();
        let opened = self.files.open(root, true, DescriptorFlags::READ);
        match opened {
            Ok(opened) => Ok(vec![(opened, "/".to_owned())]),
            Err(failure) => Err(failure.downcast().map_or_else(|ends| ends, Into::into)),
        }
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: Failure) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }
}

impl types::HostDescriptor for View<'_> {
    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let node = self.files.file(&fd, DescriptorFlags::READ)?;
        let (vfs, entropy) = (Arc::clone(&self.files.vfs), Arc::clone(&self.files.entropy));
        let stream: DynInputStream = Box::new(FileInput::new(vfs, entropy, node, offset).map_err(failure)?);
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.files.output(&fd, Some(offset))?;
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.files.output(&fd, None)?;
        Ok(self.table.push(stream)?)
    }

    async fn advise(&mut self, fd: Resource<Descriptor>, offset: u64, length: u64, _: Advice) -> FsResult<()> {
        self.files.file(&fd, DescriptorFlags::empty())?;
        offset.checked_add(length).ok_or(ErrorCode::Invalid)?;
        Ok(())
    }

    /// Every write is in the transaction at once, and durable with it: there is nothing to do.
    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.files.opened(&fd).map(drop)
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        let opened = self.files.opened(&fd)?;
        let mut flags = opened.flags;
        if opened.is_directory && self.files.vfs().is_writable(opened.node) {
            flags |= DescriptorFlags::MUTATE_DIRECTORY;
        }
        Ok(flags)
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        let node = self.files.opened(&fd)?.node;
        Ok(self.files.stat_of(node)?.type_)
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: u64) -> FsResult<()> {
        let node = self.files.file(&fd, DescriptorFlags::WRITE)?;
        self.files.vfs().set_size(node, size).map_err(failure)
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let node = self.files.opened(&fd)?.node;
        self.files.set_times_of(node, accessed, modified)
    }

    async fn read(&mut self, fd: Resource<Descriptor>, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let node = self.files.file(&fd, DescriptorFlags::READ)?;
        let wanted = usize::try_from(length.min(READ_BYTES_MAX)).map_err(|_| ErrorCode::Overflow)?;
        let entropy = Arc::clone(&self.files.entropy);
        let mut vfs = self.files.vfs();
        // What is not there is not allocated either.
        let wanted = if vfs.device(node).is_some() {
            wanted
        } else {
            let rest = vfs.attributes(node).map_err(failure)?.size.saturating_sub(offset);
            usize::try_from(rest).unwrap_or(usize::MAX).min(wanted)
        };
        let mut buffer = vec![0; wanted];
        let read = vfs.read(node, offset, &mut buffer, &*entropy).map_err(failure)?;
        buffer.truncate(read);
        Ok((buffer, read == 0 && length > 0))
    }

    async fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let node = self.files.file(&fd, DescriptorFlags::WRITE)?;
        self.files.vfs().write(node, offset, &bytes).map_err(failure)?;
        Ok(bytes.len() as u64)
    }

    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DirectoryEntryStream>> {
        let node = self.files.directory(&fd)?;
        self.files.check_room()?;
        self.files.vfs().retain(node).map_err(failure)?;
        let listing = Listing { node, cookie: 0, read: VecDeque::new() };
        Ok(Resource::new_own(self.files.listings.put(listing).map_err(Failure::trap)?))
    }

    async fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.files.opened(&fd).map(drop)
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let place = self.files.walk(&fd, &path, false)?;
        if place.node.is_some() {
            return Err(ErrorCode::Exist.into());
        }
        let name = place.name().map_err(failure)?;
        self.files.vfs().create_directory_at(place.parent, name, DIRECTORY_MODE).map(drop).map_err(failure)
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        let node = self.files.opened(&fd)?.node;
        self.files.stat_of(node)
    }

    async fn stat_at(&mut self, fd: Resource<Descriptor>, how: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let node = self.files.walk(&fd, &path, follows(how))?.found().map_err(failure)?;
        self.files.stat_of(node)
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        how: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let node = self.files.walk(&fd, &path, follows(how))?.found().map_err(failure)?;
        self.files.set_times_of(node, accessed, modified)
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        how: PathFlags,
        path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        if follows(how) {
            return Err(ErrorCode::Invalid.into());
        }
        let node = self.files.walk(&fd, &path, false)?.found().map_err(failure)?;
        let target = self.files.walk(&new_fd, &new_path, false)?;
        if target.node.is_some() {
            return Err(ErrorCode::Exist.into());
        }
        if target.trailing_slash {
            return Err(ErrorCode::NoEntry.into());
        }
        let mut vfs = self.files.vfs();
        if vfs.attributes(node).map_err(failure)?.kind == Kind::Directory {
            return Err(ErrorCode::NotPermitted.into());
        }
        vfs.link(node, target.parent, target.name().map_err(failure)?).map_err(failure)
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        how: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        self.files.open_at(&fd, follows(how), &path, open, flags)
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        let node = self.files.walk(&fd, &path, false)?.found().map_err(failure)?;
        let target = self.files.vfs().read_link_at(node).map_err(failure)?;
        String::from_utf8(target.to_vec()).map_err(|_| ErrorCode::IllegalByteSequence.into())
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let place = self.files.walk(&fd, &path, false)?;
        place.found().map_err(failure)?;
        let name = place.name().map_err(failure)?;
        self.files.vfs().remove_directory(place.parent, name).map_err(failure)
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let from = self.files.walk(&fd, &path, false)?;
        let node = from.found().map_err(failure)?;
        let to = self.files.walk(&new_fd, &new_path, false)?;
        let mut vfs = self.files.vfs();
        if to.trailing_slash && vfs.attributes(node).map_err(failure)?.kind != Kind::Directory {
            return Err(ErrorCode::NotDirectory.into());
        }
        let (Some(from_name), Some(to_name)) = (&from.name, &to.name) else { return Err(ErrorCode::Busy.into()) };
        vfs.rename(from.parent, from_name, to.parent, to_name).map_err(failure)
    }

    async fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> FsResult<()> {
        let base = self.files.directory(&fd)?;
        // Below a directory that is not the root an absolute link leads outside of what the tool was given.
        if target.starts_with('/') && base != self.files.vfs().root() {
            return Err(ErrorCode::NotPermitted.into());
        }
        let place = self.files.walk(&fd, &path, false)?;
        if place.node.is_some() {
            return Err(ErrorCode::Exist.into());
        }
        if place.trailing_slash {
            return Err(ErrorCode::NoEntry.into());
        }
        let name = place.name().map_err(failure)?;
        self.files.vfs().create_symlink(place.parent, name, target.as_bytes()).map_err(failure)
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let place = self.files.walk(&fd, &path, false)?;
        let node = place.found().map_err(failure)?;
        let mut vfs = self.files.vfs();
        if vfs.attributes(node).map_err(failure)?.kind == Kind::Directory {
            return Err(ErrorCode::IsDirectory.into());
        }
        vfs.unlink(place.parent, place.name().map_err(failure)?).map_err(failure)
    }

    async fn is_same_object(&mut self, a: Resource<Descriptor>, b: Resource<Descriptor>) -> wasmtime::Result<bool> {
        let first = self.files.open.get(a.rep())?.node;
        Ok(first == self.files.open.get(b.rep())?.node)
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        self.files.opened(&fd).map(|opened| hash(opened.node))
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        how: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.files.walk(&fd, &path, follows(how))?.found().map(hash).map_err(failure)
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        if let Some(opened) = self.files.open.take(fd.rep()) {
            self.files.vfs().release(opened.node);
        }
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        let vfs = Arc::clone(&self.files.vfs);
        let listing = self.files.listings.get(stream.rep()).map_err(Failure::trap)?;
        if listing.read.is_empty() {
            let page = match lock(&vfs).read_directory(listing.node, listing.cookie, ENTRIES_AT_ONCE) {
                // A directory that was removed is empty.
                Err(FsError::NotFound) => Vec::new(),
                page => page.map_err(failure)?,
            };
            listing.cookie = page.last().map_or(listing.cookie, |last| last.cookie);
            listing.read = page.into();
        }
        let Some(entry) = listing.read.pop_front() else { return Ok(None) };
        let name = String::from_utf8(entry.name.to_vec()).map_err(|_| ErrorCode::IllegalByteSequence)?;
        Ok(Some(types::DirectoryEntry { type_: kind(entry.kind), name }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        if let Some(listing) = self.files.listings.take(stream.rep()) {
            self.files.vfs().release(listing.node);
        }
        Ok(())
    }
}
