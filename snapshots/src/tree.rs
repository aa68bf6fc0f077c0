//! Trees: how directories and files become nodes, and nodes become them again.

mod content;
pub(crate) mod directory;
pub(crate) mod record;
pub(crate) mod source;

pub(crate) use content::{File, add_chunk, children_of, content_of_chunks, level_for, level_of, span};
pub(crate) use directory::{Directory, Entry};
pub(crate) use record::{Content, Record};
pub(crate) use source::{DirectoryCache, Nodes};
