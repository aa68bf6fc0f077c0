//! The programs of WebAssembly/wasi-testsuite as they are published: where they are, how each is started, and how it has to
//! end. Tests of preview 1 and of components run them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::vfs::Vfs;

const PLACE: &str = "SANDGLASS_WASI_TESTSUITE";

/// How a program is started, and what it has to do.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Specification {
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) root: Option<String>,
    pub(crate) exit_code: i32,
    pub(crate) stdout: Option<String>,
}

impl Specification {
    /// Reads the one beside a program; without one it just has to end well.
    pub(crate) fn of(program: &Path) -> Self {
        let text = std::fs::read_to_string(program.with_extension("json")).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", program.display()))
    }

    /// Holds what a program did against what it had to.
    pub(crate) fn check(&self, code: i32, stdout: &[u8], stderr: &[u8]) -> Result<(), String> {
        if code != self.exit_code {
            return Err(format!("exited with {code}: {}", String::from_utf8_lossy(stderr)));
        }
        match &self.stdout {
            Some(expected) if expected.as_bytes() != stdout => {
                Err(format!("printed {:?}", String::from_utf8_lossy(stdout)))
            }
            _ => Ok(()),
        }
    }
}

/// Returns where the suite is, or says that a test is skipped.
pub(crate) fn place() -> Option<PathBuf> {
    let place = std::env::var_os(PLACE).map(PathBuf::from);
    if place.is_none() {
        println!("skipped: {PLACE} absent");
    }
    place
}

/// Returns the programs of a version (`wasm32-wasip1`) in these languages.
pub(crate) fn programs(suite: &Path, languages: &[&str], version: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for language in languages {
        let directory = suite.join(format!("tests/{language}/testsuite/{version}"));
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Copies a directory of the suite into the file system.
pub(crate) fn copy(vfs: &mut Vfs, from: &Path, to: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{to}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            vfs.create_directory(name.as_bytes(), 0o755).unwrap();
            copy(vfs, &entry.path(), &name);
        } else {
            vfs.write_file(name.as_bytes(), &std::fs::read(entry.path()).unwrap(), None).unwrap();
        }
    }
}

/// What became of a run of programs.
pub(crate) struct Tally {
    expected: &'static [(&'static str, &'static str)],
    passed: usize,
    all: usize,
    surprises: Vec<String>,
}

impl Tally {
    /// Begins with the programs that are expected to fail, and why.
    pub(crate) const fn new(expected: &'static [(&'static str, &'static str)]) -> Self {
        Self { expected, passed: 0, all: 0, surprises: Vec::new() }
    }

    /// Counts a program; one that passes though it is listed is a surprise too.
    pub(crate) fn count(&mut self, program: &Path, outcome: Result<(), String>) {
        let name = program.file_stem().unwrap().to_str().unwrap();
        let expected = self.expected.iter().find(|(listed, _)| *listed == name);
        self.all += 1;
        match (outcome, expected) {
            (Ok(()), None) => self.passed += 1,
            (Ok(()), Some(_)) => self.surprises.push(format!("{name} passes and is listed as failing")),
            (Err(error), Some((_, reason))) => println!("{name}: fails as expected: {reason} ({error})"),
            (Err(error), None) => self.surprises.push(format!("{name}: {error}")),
        }
    }

    /// Says how many passed, and fails if anything was not as expected.
    pub(crate) fn end(self, what: &str) {
        println!("{what}: {} of {} passed", self.passed, self.all);
        assert!(self.surprises.is_empty(), "{}", self.surprises.join("\n"));
    }
}
