//! Files of a sandbox and archives of states: what comes and goes as bytes.

use std::io::{self, Read, Write};

use ureq::http::{Method, Response};
use ureq::{Body, BodyReader};

use super::transport::{Ask, encode, encode_path};
use super::{Asked, Client, ClientError, JSON, PAGE, at, reader};
use crate::http::types::{FileEntry, ImportedStates, Moved, Page};

const BYTES: &str = "application/octet-stream";

/// What a path of a sandbox holds.
pub enum Content {
    /// A file: its bytes, still to be read, its size and its etag.
    File(FileBody),
    /// A directory: its first entries.
    Directory(Page<FileEntry>),
}

/// A file's bytes as they come.
pub struct FileBody {
    /// The size that was announced.
    pub size: Option<u64>,
    body: BodyReader<'static>,
}

impl Read for FileBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.body.read(into)
    }
}

impl Client {
    /// Opens a path at the head or at a state. `GET /v1/sandboxes/{sandbox}/files/{path}`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is nothing at the path.
    pub fn open(&self, sandbox: &str, path: &str, state: Option<&str>) -> Asked<Content> {
        let answer =
            self.transport.send_again(&Ask::new(Method::GET, files(sandbox, path, &state_query(state, &[]))))?;
        if is_listing(&answer) {
            return self.transport.json(answer).map(Content::Directory);
        }
        let size = answer.body().content_length();
        Ok(Content::File(FileBody { size, body: reader(answer) }))
    }

    /// Reads a file of at most `limit` bytes; nothing when it is larger or no file.
    ///
    /// # Errors
    /// See [`ClientError`]; there is nothing at the path.
    pub fn read(&self, sandbox: &str, path: &str, state: Option<&str>, limit: u64) -> Asked<Option<Vec<u8>>> {
        let Content::File(file) = self.open(sandbox, path, state)? else { return Ok(None) };
        if file.size.is_some_and(|size| size > limit) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| self.transport.lost(&error))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// Returns all entries of a directory, by name; nothing when it is no directory.
    ///
    /// # Errors
    /// See [`ClientError`]; there is nothing at the path.
    pub fn list(&self, sandbox: &str, path: &str, state: Option<&str>) -> Asked<Option<Vec<FileEntry>>> {
        let limit = PAGE.to_string();
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut more = vec![("limit", limit.as_str())];
            more.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let ask = Ask::new(Method::GET, files(sandbox, path, &state_query(state, &more)));
            let answer = self.transport.send_again(&ask)?;
            if !is_listing(&answer) {
                return Ok(None);
            }
            let page: Page<FileEntry> = self.transport.json(answer)?;
            entries.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Some(entries));
            }
        }
    }

    /// Writes a file; missing parents are made. `PUT /v1/sandboxes/{sandbox}/files/{path}`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn write(&self, sandbox: &str, path: &str, bytes: &[u8], mode: Option<&str>) -> Asked<Moved> {
        let query = mode.map_or_else(String::new, |mode| format!("?mode={}", encode(mode)));
        let mut ask = Ask::new(Method::PUT, files(sandbox, path, &query));
        ask.body = Some((BYTES, bytes));
        self.transport.json(self.transport.send(&ask)?)
    }

    /// Makes a directory. `PUT /v1/sandboxes/{sandbox}/files/{path}?kind=directory`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn create_directory(&self, sandbox: &str, path: &str) -> Asked<Moved> {
        let mut ask = Ask::new(Method::PUT, files(sandbox, path, "?kind=directory"));
        ask.body = Some((BYTES, b""));
        self.transport.json(self.transport.send(&ask)?)
    }

    /// Removes a path. `DELETE /v1/sandboxes/{sandbox}/files/{path}`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is nothing, or it is a directory that holds something.
    pub fn remove(&self, sandbox: &str, path: &str, recursive: bool) -> Asked<Moved> {
        let query = if recursive { "?recursive=true" } else { "" };
        self.transport.json(self.transport.send(&Ask::new(Method::DELETE, files(sandbox, path, query)))?)
    }

    /// Opens a state as a tar archive. `GET /v1/states/{state}/export`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is no such state or path.
    pub fn export(&self, state: &str, path: Option<&str>) -> Asked<impl Read + use<>> {
        self.export_as(state, "tar", path, &[])
    }

    /// Opens a state as `tar`, `tar.zst` or `bundle`; a bundle leaves out what the states `bases` have.
    ///
    /// # Errors
    /// See [`ClientError`]; there is no such state, base or path.
    pub fn export_as(
        &self,
        state: &str,
        format: &str,
        path: Option<&str>,
        bases: &[String],
    ) -> Asked<impl Read + use<>> {
        let mut query = format!("?format={}", encode(format));
        let pairs = path.map(|path| ("path", path)).into_iter();
        for (name, value) in pairs.chain(bases.iter().map(|base| ("base", &**base))) {
            query.push_str(&format!("&{name}={}", encode(value)));
        }
        let ask = Ask::new(Method::GET, format!("/v1/states/{}/export{query}", encode(state)));
        self.transport.send_again(&ask).map(reader)
    }

    /// Imports a bundle, or an archive with `strip` leading directories taken off each name. `POST /v1/states`.
    ///
    /// # Errors
    /// See [`ClientError`]; what came is not what it should be, or builds on states that are not there.
    pub fn import(&self, format: &str, strip: u16, from: &mut dyn Read) -> Asked<ImportedStates> {
        let strip = if strip == 0 { String::new() } else { format!("&strip={strip}") };
        let ask = Ask::new(Method::POST, format!("/v1/states?format={}{strip}", encode(format)));
        self.transport.json(self.transport.send_stream(&ask, BYTES, from)?)
    }

    /// Copies what was opened to where it shall go; returns how many bytes it was.
    ///
    /// # Errors
    /// The connection breaks, or `out` fails.
    pub fn copy(&self, from: &mut impl Read, out: &mut dyn Write) -> Asked<u64> {
        let mut piece = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            let count = from.read(&mut piece).map_err(|error| self.transport.lost(&error))?;
            if count == 0 {
                return Ok(total);
            }
            out.write_all(&piece[..count]).map_err(ClientError::Write)?;
            total += count as u64;
        }
    }
}

fn files(sandbox: &str, path: &str, query: &str) -> String {
    let path = encode_path(path);
    let slash = if path.is_empty() { "" } else { "/" };
    at(sandbox, &format!("/files{slash}{path}{query}"))
}

fn state_query(state: Option<&str>, more: &[(&str, &str)]) -> String {
    let pairs = state.iter().map(|state| ("state", *state)).chain(more.iter().copied());
    let query: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) }
}

/// A directory answers JSON; a file is always a stream of bytes, whatever is in it.
fn is_listing(answer: &Response<Body>) -> bool {
    answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(JSON.as_bytes()))
}
