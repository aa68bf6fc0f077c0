//! The house rules that a program can check: who may depend on whom, what each file says of itself, and its size.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every dependency between our crates. A new edge is a design decision: draw it here and in docs/ARCHITECTURE.md.
const EDGES: &[(&str, &str)] = &[
    ("sandglass", "sandglass-policy"),
    ("sandglass", "sandglass-runtime"),
    ("sandglass-runtime", "sandglass-policy"),
    ("sandglass-runtime", "sandglass-snapshots"),
];

/// What must not be found anywhere below a crate.
const NEVER: &[(&str, &[&str])] = &[
    ("sandglass-policy", &["tokio", "rusqlite", "wasmtime", "hyper", "rand"]),
    ("sandglass-snapshots", &["tokio", "wasmtime", "hyper", "axum"]),
    ("sandglass-runtime", &["axum", "clap", "hyper"]),
];

/// Longest file, in lines. Past it, look for the second story and give it a file.
const LINES_MAX: usize = 600;

#[test]
fn crates_depend_one_way() {
    let mut edges = BTreeSet::new();
    let tree = cargo_tree(&["--workspace", "--no-dedupe", "--depth", "1"]);
    for block in tree.split("\n\n") {
        let mut names = block.lines().filter_map(package);
        let Some(from) = names.next() else { continue };
        edges.extend(names.filter(|name| name.starts_with("sandglass")).map(|to| (from, to)));
    }
    assert_eq!(edges, EDGES.iter().copied().collect());
}

#[test]
fn low_crates_stay_low() {
    for (name, words) in NEVER {
        let tree = cargo_tree(&["-p", name]);
        for dependency in tree.lines().filter_map(package) {
            assert!(!words.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn wasm_stays_out_of_the_file_system() {
    for file in rust_files(&root().join("runtime/src/vfs")) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("wasmtime::"), "{} must not know wasmtime", file.display());
    }
}

#[test]
fn unsafe_code_is_where_it_is_argued_for() {
    const ARGUED: &[&str] = &[
        "runtime/src/code_cache.rs",
        "runtime/src/memory/dirty/scan.rs",
        "runtime/src/memory/dirty/watch.rs",
        "runtime/src/memory/mapping.rs",
    ];
    for file in rust_files(&root()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let allows = ["allow", "expect"].iter().any(|word| text.contains(&format!("{word}(unsafe_code")));
        assert!(!allows || ARGUED.contains(&&*name) || name == "tests/architecture.rs", "{name} allows unsafe code");
    }
}

#[test]
fn every_file_says_its_job_and_tells_one_story() {
    for file in rust_files(&root()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not open with what it is for", file.display());
        assert!(text.lines().count() <= LINES_MAX, "{} is longer than {LINES_MAX} lines", file.display());
    }
}

#[test]
fn every_test_file_is_a_module() {
    let main = std::fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".rs") else { continue };
        assert!(stem == "main" || main.contains(&format!("mod {stem};")), "tests/{name} is never compiled");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn cargo_tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn package(line: &str) -> Option<&str> {
    line.split(' ').next().filter(|name| !name.is_empty())
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
