//! What the host puts into a sandbox: the commands of its guests in `/usr/bin`, their standard libraries, and the few files
//! of `/etc` that programs ask for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::GuestError;
use super::lock::Entry;
use crate::vfs::{Library, Mount};

/// Where commands are found; `/bin` has the same.
const COMMANDS: &str = "usr/bin";
const ETC: [(&str, &str); 7] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000:agent:/workspace:/bin/bash\n"),
    ("etc/group", "root:x:0:\nagent:x:1000:\n"),
    ("etc/hostname", "sandbox\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost sandbox\n"),
    ("etc/mtab", "sandglass / sandglass rw 0 0\n"),
    ("etc/os-release", "NAME=\"Sandglass\"\nID=sandglass\nPRETTY_NAME=\"Sandglass\"\n"),
    ("etc/shells", "/bin/sh\n/bin/bash\n"),
];

/// Files and commands of the host for sandboxes with certain pins.
pub(crate) struct Root {
    mounts: Vec<Mount>,
    commands: HashMap<String, Command>,
}

/// A command, and the guest that is it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) tool: String,
    pub(crate) hash: [u8; 32],
}

impl Root {
    pub(super) fn new<'a>(
        guests: impl Iterator<Item = (&'a str, [u8; 32], &'a Entry, &'a Option<Bytes>)>,
    ) -> Result<Self, GuestError> {
        let mut files: Vec<(String, Bytes)> =
            ETC.map(|(path, text)| (path.to_owned(), Bytes::from_static(text.as_bytes()))).into();
        let mut commands = HashMap::new();
        for (tool, hash, entry, library) in guests {
            for command in &entry.commands {
                // The first guest that brings a command is it.
                commands.entry(command.clone()).or_insert_with(|| Command { tool: tool.to_owned(), hash });
            }
            if let (Some(described), Some(archive)) = (&entry.library, library) {
                files.extend(super::library::lay_out(entry, described, archive)?);
            }
        }
        // Mounts lie on names of the root directory.
        let mut tops: BTreeMap<&str, Vec<(&str, Bytes)>> = BTreeMap::new();
        let mut scripts = Vec::new();
        for (path, bytes) in &files {
            let (top, rest) = path.split_once('/').unwrap_or((path, ""));
            tops.entry(top).or_default().push((rest, bytes.clone()));
            if let Some(name) = path.strip_prefix(COMMANDS).and_then(|rest| rest.strip_prefix('/')) {
                scripts.push((name, bytes.clone()));
            }
        }
        let (top, below) = COMMANDS.split_once('/').unwrap_or((COMMANDS, ""));
        tops.entry(top).or_default();
        let mut names: Vec<&str> = commands.keys().map(String::as_str).collect();
        names.sort_unstable();
        let placed: Vec<String> = names.iter().map(|name| format!("{below}/{name}")).collect();
        let mut mounts: Vec<Mount> = tops
            .into_iter()
            .map(|(name, files)| {
                // Programs first: a guest that is a command takes the place of a script of that name.
                let programs = if name == top { &placed[..] } else { &[] };
                let library = Library::of_programs(programs.iter().map(String::as_str).zip(names.iter().copied()));
                let library = library.with_files(files);
                Mount::Library { at: format!("/{name}").into_bytes(), library: Arc::new(library) }
            })
            .collect();
        let bin = Library::of_programs(names.iter().map(|name| (*name, *name))).with_files(scripts);
        mounts.push(Mount::Library { at: b"/bin".to_vec(), library: Arc::new(bin) });
        Ok(Self { mounts, commands })
    }

    /// Returns what lies where.
    pub(crate) fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Returns the guest of a command.
    pub(crate) fn command(&self, name: &str) -> Option<&Command> {
        self.commands.get(name)
    }
}
