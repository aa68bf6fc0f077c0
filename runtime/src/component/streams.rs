//! Streams of a tool: files, and what it reads and prints. All are ready at once; each piece is bounded.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sandglass_snapshots::FsError;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::files::{READ_BYTES_MAX, SharedVfs, code, lock};
use crate::entropy::Entropy;
use crate::limits::{Limit, LimitExceeded};
use crate::vfs::Node;
use crate::wasi::{Output, Stream};

/// What one write takes at most.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// A file being read.
pub(super) struct FileInput {
    vfs: SharedVfs,
    entropy: Arc<dyn Entropy>,
    node: Node,
    offset: u64,
}

impl FileInput {
    pub(super) fn new(vfs: SharedVfs, entropy: Arc<dyn Entropy>, node: Node, offset: u64) -> Result<Self, FsError> {
        lock(&vfs).retain(node)?;
        Ok(Self { vfs, entropy, node, offset })
    }

    fn read_bytes(&mut self, size: usize) -> Result<Bytes, FsError> {
        let mut vfs = lock(&self.vfs);
        let mut wanted = u64::try_from(size).unwrap_or(u64::MAX).min(READ_BYTES_MAX);
        if vfs.device(self.node).is_none() {
            wanted = wanted.min(vfs.attributes(self.node)?.size.saturating_sub(self.offset));
        }
        let mut buffer = vec![0; usize::try_from(wanted).map_err(|_| FsError::TooLarge)?];
        let read = vfs.read(self.node, self.offset, &mut buffer, &*self.entropy)?;
        buffer.truncate(read);
        self.offset = self.offset.saturating_add(read as u64);
        Ok(buffer.into())
    }
}

impl Drop for FileInput {
    fn drop(&mut self) {
        lock(&self.vfs).release(self.node);
    }
}

#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.read_bytes(size).map_err(failed)?;
        if bytes.is_empty() { Err(StreamError::Closed) } else { Ok(bytes) }
    }
}

/// A file being written.
pub(super) struct FileOutput {
    vfs: SharedVfs,
    node: Node,
    /// Where the next byte goes; the end of the file for one that appends.
    at: Option<u64>,
}

impl FileOutput {
    pub(super) fn new(vfs: SharedVfs, node: Node, at: Option<u64>) -> Result<Self, FsError> {
        lock(&vfs).retain(node)?;
        Ok(Self { vfs, node, at })
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        let mut vfs = lock(&self.vfs);
        let at = match self.at {
            Some(at) => at,
            None => vfs.attributes(self.node)?.size,
        };
        vfs.write(self.node, at, bytes)?;
        if let Some(at) = &mut self.at {
            *at = at.checked_add(bytes.len() as u64).ok_or(FsError::TooLarge)?;
        }
        Ok(())
    }
}

impl Drop for FileOutput {
    fn drop(&mut self) {
        lock(&self.vfs).release(self.node);
    }
}

#[async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_bytes(&bytes).map_err(failed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

fn failed(error: FsError) -> StreamError {
    match code(error) {
        Ok(code) => StreamError::LastOperationFailed(code.into()),
        Err(ends) => StreamError::Trap(ends),
    }
}

/// What a tool prints, counted for both streams together.
pub(super) struct Printed {
    output: Arc<dyn Output>,
    bytes: Mutex<u64>,
    bytes_max: u64,
}

impl Printed {
    pub(super) fn new(output: Arc<dyn Output>, bytes_max: u64) -> Self {
        Self { output, bytes: Mutex::new(0), bytes_max }
    }

    pub(super) fn bytes(&self) -> u64 {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes output on as far as its limit allows; past it the call ends.
    fn print(&self, stream: Stream, bytes: &[u8]) -> Result<(), LimitExceeded> {
        let mut printed = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = usize::try_from(self.bytes_max.saturating_sub(*printed)).unwrap_or(usize::MAX);
        let taken = bytes.len().min(room);
        self.output.write(stream, &bytes[..taken]);
        *printed += taken as u64;
        if taken < bytes.len() {
            return Err(LimitExceeded { limit: Limit::Output, allowed: self.bytes_max });
        }
        Ok(())
    }
}

/// Standard output or standard error.
#[derive(Clone)]
pub(super) struct Printer {
    pub(super) printed: Arc<Printed>,
    pub(super) stream: Stream,
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only preview 3 asks for it, which is not linked.
        Box::new(tokio::io::sink())
    }
}

#[async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.printed.print(self.stream, &bytes).map_err(|limit| StreamError::Trap(limit.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

/// Standard input: all of it is there from the start.
pub(super) struct Input(MemoryInputPipe);

impl Input {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(MemoryInputPipe::new(bytes))
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.0.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }
}
