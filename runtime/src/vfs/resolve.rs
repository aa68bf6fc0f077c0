//! The one path walk: from a directory along a path, one name at a time. Whoever asks whether a path can escape reads this.
//!
//! A name is looked up only in a directory already reached; the host's file system is never asked for a path. `..` never
//! leads above the directory that the walk may use, neither written in the path nor in a link on the way.

use bytes::Bytes;
use sandglass_snapshots::{FsError, Kind};

use super::{Node, Vfs, work};

/// The longest path, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
/// The longest name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Links that one walk follows: POSIX's usual number.
const LINKS_MAX: u32 = 40;

/// Where a walk led.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// The directory that holds the last name.
    pub(crate) parent: Node,
    /// The last name; none for a path that ends in `.` or `..` or at the start.
    pub(crate) name: Option<Bytes>,
    /// What is there.
    pub(crate) node: Option<Node>,
    /// Whether the path says that it means a directory.
    pub(crate) trailing_slash: bool,
}

impl Resolved {
    /// Returns what is there.
    pub(crate) fn found(&self) -> Result<Node, FsError> {
        self.node.ok_or(FsError::NotFound)
    }

    /// Returns the last name, for an operation on the entry itself.
    pub(crate) fn name(&self) -> Result<&Bytes, FsError> {
        self.name.as_ref().ok_or(FsError::Invalid)
    }
}

/// What is known during a walk.
struct Context<'a> {
    vfs: &'a mut Vfs,
    /// The directory above which nothing can be reached.
    base: Node,
    /// Whether `base` is the root of all: there `..` stays, and an absolute link has a meaning.
    base_is_root: bool,
    /// The directory reached so far.
    directory: Node,
    /// Names still to be walked, the next one last.
    names: Vec<Bytes>,
    /// Links followed so far.
    links: u32,
    /// Whether a link at the end is followed.
    follow_last: bool,
    trailing_slash: bool,
}

impl Vfs {
    /// Walks `path` from `base`, above which nothing is reached.
    ///
    /// A missing last name is no error: `node` is none then. A missing name before is [`FsError::NotFound`].
    pub(crate) fn resolve(&mut self, base: Node, path: &[u8], follow_last: bool) -> Result<Resolved, FsError> {
        if path.starts_with(b"/") {
            return Err(FsError::Outside);
        }
        self.walk(base, base, path, follow_last)
    }

    /// Walks `path` as a program does that has the whole file system: from the root if it begins with a slash, else from
    /// `directory`.
    pub(crate) fn resolve_from(
        &mut self,
        directory: Node,
        path: &[u8],
        follow_last: bool,
    ) -> Result<Resolved, FsError> {
        let root = self.root();
        let start = if path.starts_with(b"/") { root } else { directory };
        self.walk(root, start, path, follow_last)
    }

    fn walk(&mut self, base: Node, directory: Node, path: &[u8], follow_last: bool) -> Result<Resolved, FsError> {
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        if path.contains(&0) {
            return Err(FsError::InvalidName);
        }
        let base_is_root = base == self.root();
        let mut context = Context {
            vfs: self,
            base,
            base_is_root,
            directory,
            names: Vec::new(),
            links: 0,
            follow_last,
            trailing_slash: false,
        };
        context.push(path);
        context.walk()
    }
}

impl Context<'_> {
    /// Puts a path's names before those that are left.
    fn push(&mut self, path: &[u8]) {
        if self.names.is_empty() {
            self.trailing_slash |= path.ends_with(b"/");
        }
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let names: Vec<Bytes> = names.map(Bytes::copy_from_slice).collect();
        self.names.extend(names.into_iter().rev());
    }

    fn walk(mut self) -> Result<Resolved, FsError> {
        while let Some(name) = self.names.pop() {
            let is_last = self.names.is_empty();
            self.vfs.spend(work::NAME);
            match &name[..] {
                b"." => self.must_be_directory(self.directory)?,
                b".." => self.up()?,
                _ if name.len() > NAME_BYTES_MAX => return Err(FsError::NameTooLong),
                _ => {
                    let node = match self.vfs.lookup(self.directory, &name) {
                        Ok(node) => node,
                        Err(FsError::NotFound) if is_last => return Ok(self.ended(Some(name), None)),
                        Err(error) => return Err(error),
                    };
                    let kind = self.vfs.attributes(node)?.kind;
                    let follows = !is_last || self.follow_last || self.trailing_slash;
                    if kind == Kind::Symlink && follows {
                        self.follow(node)?;
                        continue;
                    }
                    if is_last {
                        if self.trailing_slash && kind != Kind::Directory {
                            return Err(FsError::NotADirectory);
                        }
                        return Ok(self.ended(Some(name), Some(node)));
                    }
                    if kind != Kind::Directory {
                        return Err(FsError::NotADirectory);
                    }
                    self.directory = node;
                }
            }
        }
        let node = self.directory;
        self.must_be_directory(node)?;
        Ok(self.ended(None, Some(node)))
    }

    fn must_be_directory(&mut self, node: Node) -> Result<(), FsError> {
        if self.vfs.attributes(node)?.kind == Kind::Directory { Ok(()) } else { Err(FsError::NotADirectory) }
    }

    /// The only way up.
    fn up(&mut self) -> Result<(), FsError> {
        self.must_be_directory(self.directory)?;
        if self.directory != self.base {
            self.directory = self.vfs.parent(self.directory)?;
            return Ok(());
        }
        if self.base_is_root { Ok(()) } else { Err(FsError::Outside) }
    }

    fn follow(&mut self, link: Node) -> Result<(), FsError> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(FsError::Loop);
        }
        let target = self.vfs.read_link_at(link)?;
        if target.starts_with(b"/") {
            if !self.base_is_root {
                return Err(FsError::Outside);
            }
            self.directory = self.base;
        }
        self.push(&target);
        Ok(())
    }

    fn ended(&self, name: Option<Bytes>, node: Option<Node>) -> Resolved {
        Resolved { parent: self.directory, name, node, trailing_slash: self.trailing_slash }
    }
}
