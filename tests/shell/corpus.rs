//! The shell corpus as data: its cases, its fixtures, and what a tree of files holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a tree holds: relative path to type, size and the like.
pub(super) type Facts = BTreeMap<String, Value>;

/// A script and what it runs in.
pub(super) struct Case {
    pub(super) category: String,
    pub(super) name: String,
    pub(super) fixture: Option<String>,
    pub(super) script: String,
}

impl Case {
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.category, self.name)
    }
}

/// Files that are there before a case begins.
pub(super) struct Fixture {
    files: BTreeMap<String, (Vec<u8>, bool)>,
}

impl Fixture {
    /// Reads a fixture; without a name it is empty.
    pub(super) fn read(name: Option<&str>) -> Self {
        let mut files = BTreeMap::new();
        if let Some(name) = name {
            let root = root().join("fixtures").join(name);
            let mut folders = vec![root.clone()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    let executable = fs::metadata(&path).unwrap().permissions().mode() & 0o100 != 0;
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, (fs::read(&path).unwrap(), executable));
                }
            }
        }
        Self { files }
    }

    /// Returns it as an archive in which every file has the same time.
    pub(super) fn archive(&self) -> Vec<u8> {
        const TIME: u64 = 1_700_000_000;
        let mut tar = tar::Builder::new(Vec::new());
        for (path, (content, executable)) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_mtime(TIME);
            tar.append_data(&mut header, path, &content[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// Returns what a tree holds in which only the fixture was laid out.
    pub(super) fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        for (path, (content, executable)) in &self.files {
            facts.insert(path.clone(), file_facts(content, *executable));
            let folders = Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
            facts.extend(folders.map(|folder| (folder.to_str().unwrap().to_owned(), json!({ "type": "dir" }))));
        }
        facts
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/shell")
}

/// Returns the categories in their order.
pub(super) fn categories() -> Vec<String> {
    let entries = fs::read_dir(root().join("cases")).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let mut names: Vec<_> = texts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Reads the cases of a category; everything before the first `### name` is about the file.
pub(super) fn cases(category: &str) -> Vec<Case> {
    let text = fs::read_to_string(root().join("cases").join(format!("{category}.txt"))).unwrap();
    text.split("\n### ").skip(1).map(|block| case(category, block)).collect()
}

fn case(category: &str, block: &str) -> Case {
    let (name, mut rest) = block.split_once('\n').unwrap_or((block, ""));
    let (mut fixture, mut prelude) = (None, String::new());
    while let Some((line, after)) = rest.split_once('\n') {
        if let Some(name) = line.strip_prefix("# files: ") {
            fixture = Some(name.to_owned());
        } else if let Some(name) = line.strip_prefix("# prelude: ") {
            prelude = fs::read_to_string(root().join("preludes").join(format!("{name}.sh"))).unwrap();
        } else {
            break;
        }
        rest = after;
    }
    let script = format!("{prelude}{}\n", rest.trim_end_matches('\n'));
    Case { category: category.to_owned(), name: name.trim().to_owned(), fixture, script }
}

/// Returns what bash did with each case of a category that was recorded.
pub(super) fn expected(category: &str) -> BTreeMap<String, Value> {
    let text = fs::read(root().join("expected").join(format!("{category}.json"))).unwrap();
    let mut recorded: Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(recorded["cases"].take()).unwrap()
}

/// Returns the cases that are known to fail, with the reason.
pub(super) fn known() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("known.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap_or_else(|| panic!("known.txt gives no reason for {line}")))
        .map(|(name, reason)| (name.to_owned(), reason.trim().to_owned()))
        .collect()
}

fn file_facts(content: &[u8], executable: bool) -> Value {
    let sum: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "type": "file", "exec": executable, "size": content.len(), "sha256": sum })
}

/// Whether a path is the business of git or of Python alone.
fn is_internal(path: &str) -> bool {
    let first = path.split_once('/').map(|(first, _)| first);
    path.split('/').any(|part| matches!(part, ".git" | "__pycache__"))
        || first.is_some_and(|first| first.ends_with(".git"))
}

/// Returns what an exported `/workspace` holds.
pub(super) fn archive_facts(archive: &[u8]) -> Facts {
    let mut facts = Facts::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let named = |bytes: &[u8]| {
            let name = String::from_utf8_lossy(bytes).into_owned();
            let name = name.trim_matches('/');
            name.strip_prefix("workspace").unwrap_or(name).trim_matches('/').to_owned()
        };
        let name = named(&entry.path_bytes());
        if name.is_empty() || is_internal(&name) {
            continue;
        }
        let executable = entry.header().mode().unwrap() & 0o100 != 0;
        let target = entry.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
        let fact = match entry.header().entry_type() {
            tar::EntryType::Directory => json!({ "type": "dir" }),
            tar::EntryType::Symlink => json!({ "type": "link", "target": String::from_utf8_lossy(&target) }),
            tar::EntryType::Link => facts.get(&named(&target)).cloned().unwrap_or(json!({ "type": "other" })),
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                file_facts(&content, executable)
            }
            _ => json!({ "type": "other" }),
        };
        facts.insert(name, fact);
    }
    facts
}

/// Returns what a case made or changed, and what it removed.
pub(super) fn difference(before: &Facts, after: &Facts) -> (Value, Value) {
    let made: Facts = after
        .iter()
        .filter(|(path, fact)| before.get(*path) != Some(*fact))
        .map(|(path, fact)| (path.clone(), fact.clone()))
        .collect();
    let removed: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    (json!(made), json!(removed))
}
