//! The demo does what it says, on a real directory, and what it tells users to paste works.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Server, User};

/// A directory as people have them, with something that can be made again.
fn project(directory: &Path) {
    let at = |name: &str| directory.join(name);
    fs::create_dir_all(at("src/deep/er")).unwrap();
    fs::create_dir_all(at("target/debug")).unwrap();
    fs::create_dir_all(at("empty")).unwrap();
    fs::write(at("target/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
    fs::write(at("target/debug/large"), vec![1; 300_000]).unwrap();
    fs::write(at("README.md"), "# A project\n").unwrap();
    for number in 0..50 {
        fs::write(at(&format!("src/deep/{number}.py")), format!("print({number})\n").repeat(number)).unwrap();
    }
    fs::write(at("src/deep/er/odd \u{202e}name"), [0, 159, 255]).unwrap();
    fs::set_permissions(at("src/deep/1.py"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::hard_link(at("src/deep/2.py"), at("src/two.py")).unwrap();
    symlink("src/deep", at("short")).unwrap();
    symlink("/nowhere/at/all", at("dangling")).unwrap();
    fs::set_permissions(at("src/deep/er"), fs::Permissions::from_mode(0o750)).unwrap();
}

/// What of a file tells that somebody has touched it.
fn marks(path: &Path) -> (i64, i64, u64, u32) {
    let found = path.symlink_metadata().unwrap();
    (found.mtime_nsec(), found.ctime_nsec(), found.size(), found.mode())
}

#[test]
fn a_deleted_directory_comes_back_and_is_proven() {
    // The shared service has compiled the guests, which takes longer than all else here.
    let _server = Server::shared();
    let user = User::alone();
    let directory = user.home().join("project");
    project(&directory);
    let before = marks(&directory.join("README.md"));
    let report = user.run(["demo", "--dir", "project", "--json"]).json(0);
    assert_eq!(report["proof"]["proven"], true, "{report}");
    assert_eq!(report["import"]["files"], 53, "{report}");
    assert_eq!(report["import"]["left_out"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["removed"], 61, "all there is but what holds /workspace: {report}");
    assert_eq!(report["proof"]["entries"], 61, "{report}");
    let steps: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let expected = ["guests", "service", "import", "analysis", "change", "export before", "bad call", "diff", "undo", "proof"];
    assert_eq!(steps, expected);
    assert_eq!(marks(&directory.join("README.md")), before, "the directory itself is not touched");
    let data = Path::new(report["service"]["data"].as_str().unwrap());
    assert!(!data.exists(), "its data is gone");
}

#[test]
fn all_is_taken_in_when_asked_and_told_to_people() {
    let _server = Server::shared();
    let user = User::alone();
    project(&user.home().join("project"));
    let text = user.run(["demo", "--dir", "project", "--all"]).ok();
    assert!(text.contains("55 files") && !text.contains("left out"), "{text}");
    assert_eq!(text.matches("\n   ok  ").count(), 2, "{text}");
    for word in ["all cleaned up", "removed", "took back operation #4", "FILES.md lists", "README.md says so"] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
    assert!(!text.contains('\u{202e}'), "names do nothing to the terminal");
}

#[test]
fn what_is_told_to_be_pasted_works() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: curl absent");
        return;
    }
    let _server = Server::shared();
    let user = User::alone();
    project(&user.home().join("project"));
    let mut command = user.command(["demo", "--dir", "project", "--stay"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = lines.by_ref().any(|line| line.starts_with("Try next"));
    assert!(told);
    let mut script = String::from("set -eu\n");
    for line in lines.by_ref() {
        script.push_str(line.trim());
        script.push('\n');
        if line.contains(" log ") {
            break;
        }
    }
    let mut shell = Command::new("sh");
    let ran = shell.args(["-c", &script]).current_dir(user.home()).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{script}{said}{complained}");
    assert!(said.contains("\"stdout\":\"42\\n\""), "{said}");
    assert!(said.contains("/workspace/hello.txt"), "{said}");
    assert!(said.contains("\"kind\":\"undo\""), "{said}");
    assert!(said.lines().last().unwrap().contains("create"), "the log's oldest operation comes last: {said}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let left: Vec<_> = fs::read_dir(user.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("sandglass-demo")), "{left:?}");
}
