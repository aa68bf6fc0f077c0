//! A tool for Sandglass: looks at the files of the sandbox it is called in, and changes them.

mod bindings {
    //! What `wit/files.wit` says, in Rust.
    wit_bindgen::generate!({ world: "files", path: "wit" });
}

use std::fs;
use std::path::Path;

use bindings::exports::examples::files::text::{Counts, Entry, Guest, Order};

struct Files;

fn said(path: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{path}: {error}")
}

impl Guest for Files {
    fn count(path: String) -> Result<Counts, String> {
        let text = fs::read_to_string(&path).map_err(said(&path))?;
        Ok(Counts {
            lines: text.lines().count() as u64,
            words: text.split_whitespace().count() as u64,
            bytes: text.len() as u64,
        })
    }

    fn replace(path: String, from: String, to: String) -> Result<u32, String> {
        if from.is_empty() {
            return Err("nothing can't be replaced".to_owned());
        }
        let text = fs::read_to_string(&path).map_err(said(&path))?;
        let times = text.matches(&from).count() as u32;
        // Written beside and renamed: whoever reads the file meanwhile sees one of the two.
        let beside = format!("{path}.new");
        fs::write(&beside, text.replace(&from, &to)).map_err(said(&beside))?;
        fs::rename(&beside, &path).map_err(said(&path))?;
        println!("{path}: {times} times");
        Ok(times)
    }

    fn tree(path: String, order: Option<Order>) -> Result<Vec<Entry>, String> {
        let mut entries = Vec::new();
        walk(Path::new(&path), &mut entries)?;
        match order {
            None | Some(Order::ByName) => entries.sort_by(|a, b| a.path.cmp(&b.path)),
            Some(Order::BySize) => entries.sort_by_key(|entry| std::cmp::Reverse(entry.size)),
        }
        Ok(entries)
    }
}

fn walk(directory: &Path, entries: &mut Vec<Entry>) -> Result<(), String> {
    let shown = directory.display().to_string();
    for entry in fs::read_dir(directory).map_err(said(&shown))? {
        let path = entry.map_err(said(&shown))?.path();
        let found = fs::symlink_metadata(&path).map_err(said(&shown))?;
        let kind = match found.file_type() {
            kind if kind.is_dir() => "directory",
            kind if kind.is_symlink() => "symlink",
            _ => "file",
        };
        entries.push(Entry { path: path.display().to_string(), kind: kind.to_owned(), size: found.len() });
        if kind == "directory" {
            walk(&path, entries)?;
        }
    }
    Ok(())
}

bindings::export!(Files with_types_in bindings);
