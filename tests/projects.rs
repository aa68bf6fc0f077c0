//! The own tests of other people's projects, inside a sandbox and outside: what passes outside passes inside, but for what
//! `projects/javascript.toml` lists with its reason.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::support::Server;

const PLACE: &str = "SANDGLASS_JS_PROJECTS";
/// Names of projects to run, with commas between; all that are there when it is absent.
const CHOSEN: &str = "SANDGLASS_JS_PROJECT";
const PROJECTS: &str = include_str!("projects/javascript.toml");

#[derive(Deserialize)]
struct Projects {
    project: Vec<Project>,
}

/// A project, as the list has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    name: String,
    version: String,
    /// For people: how its directory was made.
    #[serde(rename = "setup")]
    _setup: String,
    command: String,
    count: Count,
    #[serde(default)]
    missing: usize,
    #[serde(default)]
    why: String,
}

/// How output says how many tests passed.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Count {
    After(String),
    Before(String),
    Lines(String),
}

impl Count {
    fn of(&self, output: &str) -> usize {
        let number = |digits: String| -> usize { digits.parse().unwrap_or(0) };
        let leading = |text: &str| number(text.chars().take_while(char::is_ascii_digit).collect());
        let trailing = |text: &str| {
            let digits: String = text.chars().rev().take_while(char::is_ascii_digit).collect();
            number(digits.chars().rev().collect())
        };
        match self {
            Self::After(word) => output.split(word.as_str()).skip(1).map(|rest| leading(rest.trim_start())).sum(),
            Self::Before(word) => {
                let parts: Vec<_> = output.split(word.as_str()).collect();
                parts[..parts.len() - 1].iter().map(|part| trailing(part)).sum()
            }
            Self::Lines(start) => output.lines().filter(|line| line.trim_start().starts_with(start.as_str())).count(),
        }
    }
}

fn archive(directory: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all("project", directory).unwrap();
    builder.into_inner().unwrap()
}

/// Runs a project's tests with the node of this machine, in a copy: tests write files.
fn outside(project: &Project, directory: &Path) -> (usize, Duration) {
    let scratch = tempfile::tempdir().unwrap();
    let mut packed = tar::Archive::new(std::io::Cursor::new(archive(directory)));
    packed.unpack(scratch.path()).unwrap();
    let started = Instant::now();
    let run = Command::new("sh")
        .args(["-c", &project.command])
        .current_dir(scratch.path().join("project"))
        .env_remove("NODE_OPTIONS")
        .output()
        .unwrap();
    (project.count.of(&String::from_utf8_lossy(&run.stdout)), started.elapsed())
}

/// Runs them in a sandbox of their own.
fn inside(server: &Server, project: &Project, directory: &Path) -> (usize, Duration, String) {
    let tar = archive(directory);
    let imported = server.request("POST", "/v1/states?format=tar").bytes(&tar).send().ok(201);
    let limits = json!({ "cpu": "1h", "wall": "1h", "memory": "2GiB", "output": "64MiB" });
    let made = json!({ "from": { "state": imported["states"][0] }, "policy": { "version": 1, "limits": limits } });
    let sandbox = server.post("/v1/sandboxes", &made).ok(201)["id"].as_str().unwrap().to_owned();
    let arguments = json!({ "command": project.command, "cwd": "/workspace/project" });
    let started = Instant::now();
    let call = json!({ "tool": "shell", "arguments": arguments });
    let ended = server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &call).ok(200);
    let time = started.elapsed();
    assert_eq!(server.delete(&format!("/v1/sandboxes/{sandbox}")).status, 204);
    let output = ended["stdout"].as_str().unwrap();
    (project.count.of(output), time, format!("{output}\n{}", ended["stderr"].as_str().unwrap()))
}

#[test]
fn javascript_projects_pass_their_own_tests() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        println!("skipped: {PLACE} absent");
        return;
    };
    let chosen = std::env::var(CHOSEN).ok();
    let is_chosen = |name: &str| chosen.as_deref().is_none_or(|names| names.split(',').any(|one| one == name));
    let server = Server::start();
    let mut surprises = Vec::new();
    let projects: Projects = toml::from_str(PROJECTS).unwrap();
    for project in projects.project.iter().filter(|project| is_chosen(&project.name)) {
        let directory = place.join(&project.name);
        if !directory.is_dir() {
            println!("skipped: {} absent", directory.display());
            continue;
        }
        let (native, native_time) = outside(project, &directory);
        let (passed, time, output) = inside(&server, project, &directory);
        println!(
            "| {} {} | {native} | {passed} | {:.1} s, {:.1} s | {} |",
            project.name,
            project.version,
            native_time.as_secs_f64(),
            time.as_secs_f64(),
            project.why
        );
        if native == 0 || passed + project.missing != native {
            let end: String = output.chars().skip(output.chars().count().saturating_sub(2000)).collect();
            surprises.push(format!(
                "{}: {native} pass outside, {passed} inside, {} are listed as missing:\n{end}",
                project.name, project.missing
            ));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn what_passed_is_counted_in_every_way() {
    assert_eq!(Count::After("# pass ".to_owned()).of("# tests 3\n# pass  3\n# pass 40\n# fail 1"), 43);
    assert_eq!(Count::Before(" passing".to_owned()).of("  285 passing (381ms)\n  2 pending"), 285);
    assert_eq!(Count::Lines("ok ".to_owned()).of("ok 1\n    ok 2 - x\nnot ok 3\nokay"), 2);
}
