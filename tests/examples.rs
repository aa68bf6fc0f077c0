//! Every example runs, against the real binary, as its head says.

use std::path::Path;
use std::process::Command;

use crate::support::Server;

/// Runs an example with the program that it needs; says so when there is none.
fn example(program: &str, file: &str) -> Option<String> {
    if Command::new(program).arg("--version").output().is_err() {
        println!("skipped: {program} absent");
        return None;
    }
    let server = Server::shared();
    let interpreter = if file.ends_with(".sh") { "sh" } else { program };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(file);
    let ran = Command::new(interpreter)
        .arg(path)
        .env("SANDGLASS_SERVER", server.url())
        .env("SANDGLASS_TOKEN", server.token())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    Some(said)
}

#[test]
fn undo_in_python() {
    let Some(said) = example("python3", "undo.py") else { return };
    assert!(said.contains("names, bytes, modes, times and links are what they were"), "{said}");
    assert!(said.ends_with("report 1\n"), "{said}");
}

#[test]
fn undo_with_curl() {
    let Some(said) = example("curl", "undo.sh") else { return };
    assert!(said.contains("is the head again"), "{said}");
    assert!(said.contains("all that we have") && said.contains("\"removed\":2"), "{said}");
}

#[test]
fn a_hundred_clean_ups() {
    let Some(said) = example("python3", "cleanups.py") else { return };
    assert!(said.contains("100 forks") && said.contains("100 deleted"), "{said}");
    let off = |text: &str| -> f64 {
        let line = said.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in {said}"));
        line.split_whitespace().rev().nth(1).unwrap().parse().unwrap()
    };
    assert!(off("as they are, they are wrong") > 3.0 && off("in its memory are wrong") < 0.2, "{said}");
}
