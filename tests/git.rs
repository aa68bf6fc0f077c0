//! git in a sandbox: repositories go in and out, and what git says of them is the same on both sides.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Server;

/// What a history is, so that two of them can be compared.
const LOG: &str = "--format=%H %P %an %ae %at %s%d";

fn shell(server: &Server, sandbox: &str, command: &str) -> Value {
    let body = json!({ "tool": "shell", "arguments": { "command": command } });
    server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &body).ok(200)
}

/// Runs a command that must end well, and returns what it printed.
fn printed(server: &Server, sandbox: &str, command: &str) -> String {
    let call = shell(server, sandbox, command);
    assert_eq!(call["status"], "ok", "{command}: {call}");
    call["stdout"].as_str().unwrap().to_owned()
}

/// Gives git a user, as people do once.
fn introduced(server: &Server, sandbox: &str) {
    server.create(sandbox);
    printed(server, sandbox, "git config --global user.name Ada; git config --global user.email ada@example.com");
    printed(server, sandbox, "git config --global init.defaultBranch main");
}

/// Runs the machine's own git, without anybody's configuration. Nothing when there is none.
fn outside(directory: &Path, arguments: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(directory).env_clear().env("PATH", std::env::var_os("PATH")?);
    git.envs([("HOME", "/nonexistent"), ("GIT_CONFIG_NOSYSTEM", "1"), ("LANG", "C.UTF-8")]);
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "Grace").env(format!("GIT_{who}_EMAIL"), "grace@example.com");
    }
    let Ok(output) = git.output() else {
        println!("skipped: git absent");
        return None;
    };
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_repository_from_outside_is_read_inside() {
    let server = Server::shared();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let git = |arguments: &[&str]| outside(at, arguments);
    if git(&["init", "-q", "-b", "main"]).is_none() {
        return;
    }
    std::fs::create_dir(at.join("src")).unwrap();
    for change in 0..40 {
        let path = at.join(format!("src/{}.txt", change % 7));
        std::fs::write(path, format!("first line\nchange {change}\n{}", "the same\n".repeat(50))).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", &format!("change {change}")]);
        match change {
            10 => drop(git(&["tag", "light"])),
            20 => drop(git(&["tag", "-a", "-m", "a release", "v1"])),
            25 => drop(git(&["branch", "topic", "HEAD~5"])),
            _ => {}
        }
    }
    git(&["checkout", "-q", "topic"]);
    std::fs::write(at.join("only-here.txt"), "topic\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "on topic"]);
    git(&["checkout", "-q", "main"]);
    git(&["merge", "-q", "--no-ff", "-m", "merged", "topic"]);
    git(&["gc", "-q"]);
    std::fs::write(at.join("src/0.txt"), "put aside\n").unwrap();
    git(&["stash", "-q"]);

    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("repository", at).unwrap();
    let archive = archive.into_inner().unwrap();
    let taken = server.request("POST", "/v1/states?format=tar").bytes(&archive).send().ok(201);
    let from = json!({ "name": "git-in", "from": { "state": taken["states"][0] } });
    server.post("/v1/sandboxes", &from).ok(201);
    let inside = |arguments: &str| printed(server, "git-in", &format!("cd repository && git {arguments}"));
    for arguments in [
        &["log", "--all", LOG][..],
        &["log", "-p", "-3"],
        &["diff", "--stat", "v1", "HEAD"],
        &["blame", "-l", "src/0.txt"],
        &["branch", "-v", "--no-abbrev"],
        &["tag", "-n"],
        &["stash", "list"],
        &["stash", "show", "-p"],
        &["rev-list", "--all", "--objects"],
        &["ls-files", "-s"],
        &["show", "v1"],
    ] {
        let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
        assert_eq!(inside(&quoted.join(" ")), git(arguments).unwrap(), "{arguments:?}");
    }
    assert_eq!(inside("status --porcelain"), "");
    assert_eq!(inside("fsck --full --strict 2>&1"), "");
    inside("stash pop -q");
    assert_eq!(inside("diff --name-only"), "src/0.txt\n");
}

#[test]
fn a_repository_from_inside_is_sound_outside() {
    let server = Server::shared();
    introduced(server, "git-out");
    let log = printed(
        server,
        "git-out",
        &format!(
            "set -e; git init -q repository; cd repository; \
             for i in $(seq 30); do seq $i $((i + 50)) > $((i % 5)).txt; git add .; git commit -qm \"change $i\"; done; \
             git switch -qc topic HEAD~3; echo topic > t; git add t; git commit -qm topic; git switch -q main; \
             git merge -q --no-ff -m merged topic; git tag -a -m release v1; git repack -adq; \
             chmod +x t; ln -s t link; git add .; git commit -qm 'loose again'; echo aside >> t; git stash -q; \
             git log --all '{LOG}'"
        ),
    );
    assert_eq!(log.lines().count(), 35, "{log}");
    let state = server.get("/v1/sandboxes/git-out").ok(200)["state"].as_str().unwrap().to_owned();
    let target = format!("/v1/states/{state}/export?format=tar&path=/workspace/repository");
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(&server.get(&target).ok_bytes(200)[..]).unpack(folder.path()).unwrap();
    let at = folder.path().join("repository");
    let git = |arguments: &[&str]| outside(&at, arguments);
    let Some(complaints) = git(&["fsck", "--full", "--strict"]) else { return };
    assert_eq!(complaints, "");
    assert_eq!(git(&["log", "--all", LOG]).unwrap(), log);
    assert_eq!(git(&["status", "--porcelain"]).unwrap(), "");
    assert_eq!(git(&["ls-files", "-s", "t", "link"]).unwrap().matches("100755").count(), 1);
    assert!(git(&["stash", "show"]).unwrap().contains("1 file changed"));
}

#[test]
fn a_lost_repository_comes_back() {
    let server = Server::shared();
    introduced(server, "git-undo");
    let run = |command: &str| printed(server, "git-undo", command);
    run(
        "git init -q r; cd r; echo one > f; git add f; git commit -qm one; echo two > f; git commit -qam two; git gc -q",
    );
    let before = run("cd r; git log --oneline; git fsck --strict; git count-objects -v");
    run("rm -rf r/.git");
    assert_eq!(shell(server, "git-undo", "cd r; git status")["exit_code"], 128);
    server.post("/v1/sandboxes/git-undo/undo", &json!({})).ok(200);
    assert_eq!(run("cd r; git log --oneline; git fsck --strict; git count-objects -v"), before);
    run("cd r; git reset -q --hard HEAD~1");
    assert_eq!(run("cat r/f"), "one\n");
    server.post("/v1/sandboxes/git-undo/undo", &json!({})).ok(200);
    assert_eq!(run("cd r; cat f; git status --porcelain"), "two\n");
}

#[test]
fn git_does_the_work_of_a_day() {
    let server = Server::shared();
    server.create("git-day");
    let unknown = shell(server, "git-day", "git init -q nobody; cd nobody; git commit --allow-empty -m x");
    assert_eq!(unknown["exit_code"], 128);
    assert!(unknown["stderr"].as_str().unwrap().contains("Please tell me who you are"), "{unknown}");
    introduced(server, "git-work");
    let run = |command: &str| printed(server, "git-work", command);
    run(
        "git init -q --bare hub.git; git clone -q hub.git a 2>/dev/null; cd a; seq 9 > f; git add f; git commit -qm one; \
         git push -q origin main; cd ..; git clone -q file://$PWD/hub.git b",
    );
    run("cd a; sed -i 1s/.*/left/ f; git commit -qam left; git push -q");
    let conflict =
        run("cd b; sed -i 1s/.*/right/ f; git commit -qam right; git pull --no-rebase 2>&1; cat f; git status -s");
    assert!(
        conflict.contains("CONFLICT (content): Merge conflict in f") && conflict.contains("<<<<<<< HEAD"),
        "{conflict}"
    );
    assert!(conflict.ends_with("UU f\n"), "{conflict}");
    run("cd b; git checkout -q --ours f; git add f; git commit -qm merged; git push -q");
    assert_eq!(run("cd a; git pull -q; head -1 f; git log --oneline | wc -l"), "right\n4\n");
    run(
        "cd a; git switch -qc side HEAD~1; seq 3 > g; git add g; git commit -qm g; git rebase -q main; git switch -q main; \
         git cherry-pick side > /dev/null; git revert --no-edit HEAD > /dev/null",
    );
    assert_eq!(
        run("cd a; git log -2 --format=%s; git status -s; git worktree add -q ../w side; ls ../w"),
        "Revert \"g\"\ng\nf\ng\n"
    );
    run("cd a; printf '#!/bin/sh\\necho hooked; exit 1\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit");
    assert_eq!(run("cd a; git commit --allow-empty -qm no 2>&1 || echo refused"), "hooked\nrefused\n");
    let found = "cd b; for i in 1 2 3 4 5 6; do echo $i > n; git add n; git commit -qm n$i; done; git bisect start HEAD HEAD~6 > /dev/null; \
                 git bisect run sh -c '[ $(cat n) -lt 4 ]' | grep 'first bad'; git bisect log | tail -1";
    assert!(run(found).ends_with("n4\n"), "{}", run("cd b; git bisect log"));
    run(
        "git init -q top; cd top; git -c protocol.file.allow=always submodule --quiet add ../hub.git sub; git commit -qm sub",
    );
    assert_eq!(
        run("cd top; git submodule status | cut -d' ' -f3; cat .gitmodules | wc -l; head -1 sub/f"),
        "sub\n3\nright\n"
    );
    for (address, code) in [("https://example.com/r", 128), ("git@example.com:r", 128), ("git://example.com/r", 128)] {
        let refused = shell(server, "git-work", &format!("git clone {address} far; ls far"));
        let shown = refused["stderr"].as_str().unwrap();
        let is_plain = shown.contains("no network in this sandbox") || shown.contains("unable to look up example.com");
        assert!(is_plain && shown.contains("'far': No such file"), "{refused}");
        assert_eq!(shell(server, "git-work", &format!("git ls-remote {address}"))["exit_code"], code);
    }
}
