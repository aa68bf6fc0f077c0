//! The command line as a user meets it: the real binary against a real service.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Server, User};

/// Splits words at spaces, which is all that most command lines here need.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn python<'a>(sandbox: &'a str, code: &'a str) -> [&'a str; 4] {
    ["call", sandbox, "--code", code]
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let now = sandglass::cli::reference();
    if std::env::var_os("SANDGLASS_BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    let differs = written.lines().zip(now.lines()).find(|(written, now)| written != now);
    assert_eq!(differs, None, "docs/cli.md is old: run this test with SANDGLASS_BLESS=1");
    assert_eq!(written, now, "docs/cli.md is old: run this test with SANDGLASS_BLESS=1");
}

#[test]
fn help_needs_nothing_and_nonsense_is_usage() {
    let user = User::alone();
    let help = user.run(["--help"]).ok();
    let commands = "demo serve guests doctor create ls show call sessions log diff undo redo restore revert history blame fork checkpoint files rm trash retention export import mount unmount store tokens tools openapi completions";
    for command in commands.split(' ') {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in {help}");
        let own = user.run([command, "--help"]).ok();
        assert!(own.contains("Usage: sandglass"), "{own}");
    }
    assert!(user.run(["--version"]).ok().starts_with("sandglass "));
    for line in [
        "",
        "nonsense",
        "call",
        "call s",
        "call s --code 1 --file 2",
        "undo s --steps 0",
        "checkpoint s",
        "fork s --count 2 --name x",
    ] {
        assert_eq!(user.run(words(line)).code, 2, "{line}");
    }
    assert!(user.run(["completions", "bash"]).ok().contains("_sandglass"));
    let document = user.run(["openapi"]).json(0);
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn nobody_there_is_told_how_to_start_a_service() {
    let user = User::alone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = format!("http://{address}");
    let said = user.run(["ls", "--server", &server]).fails(125, "no service answers");
    assert!(said.contains(&format!("`sandglass serve --listen {address}`")), "{said}");
    let ran = user.run(["ls", "--json", "--server", &server]);
    assert_eq!((ran.code, ran.stdout.as_str()), (125, ""));
    let problem: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(problem["code"], "unreachable");
    user.run(["ls", "--server", "https://127.0.0.1:1"]).fails(125, "http only");
}

#[test]
fn a_call_is_made_seen_and_taken_back() {
    let user = User::of(Server::shared());
    let created = user.run(words("create cli-story")).ok();
    assert!(created.contains("cli-story created"), "{created}");
    let code = "open('a.txt', 'w').write('one\\ntwo\\n'); print('done')";
    assert_eq!(user.run(python("cli-story", code)).ok(), "done\n");
    let code = "open('a.txt', 'w').write('one\\nthree\\n'); open('b.bin', 'wb').write(bytes(10))";
    assert_eq!(user.run(python("cli-story", code)).ok(), "");

    let diff = user.run(words("diff cli-story")).ok();
    assert!(diff.contains("1 added, 1 modified"), "{diff}");
    for line in ["  A /workspace/b.bin (10 B)", "  M /workspace/a.txt", "-two", "+three", " one"] {
        assert!(diff.lines().any(|found| found.starts_with(line)), "no `{line}` in {diff}");
    }
    assert!(!diff.contains('\0'), "bytes are not shown");
    assert_eq!(user.run(words("diff cli-story --exit-code --stat")).code, 1);
    assert_eq!(user.run(words("diff cli-story 3 3 --exit-code")).code, 0);

    let undone = user.run(words("undo cli-story")).ok();
    assert!(undone.starts_with("took back #3"), "{undone}");
    assert_eq!(user.run(words("files cli-story cat a.txt")).ok(), "one\ntwo\n");
    let redone = user.run(words("redo cli-story --json")).json(0);
    assert_eq!(redone["operation"]["kind"], "redo");
    assert_eq!(user.run(words("files cli-story cat a.txt")).ok(), "one\nthree\n");
    user.run(words("redo cli-story")).fails(125, "nothing");

    let log = user.run(words("log cli-story")).ok();
    for word in ["create", "call", "undo", "redo", "#1", "#5", "python: open('a.txt'"] {
        assert!(log.contains(word), "no {word} in {log}");
    }
    let log = user.run(words("log cli-story --json -n 2")).json(0);
    assert_eq!(log["items"].as_array().unwrap().len(), 2);
    assert_eq!(log["items"][0]["kind"], "redo");
    let listed = user.run(["ls"]).ok();
    assert!(listed.contains("cli-story"), "{listed}");
    let shown = user.run(words("show cli-story")).ok();
    assert!(shown.contains("idle") && shown.contains("memory 512MiB"), "{shown}");
    assert_eq!(user.run(words("show cli-story --json")).json(0)["sandbox"]["name"], "cli-story");
    assert_eq!(user.run(words("rm cli-story --yes")).ok(), "cli-story deleted\n");
    user.run(words("show cli-story")).fails(127, "cli-story");
}

#[test]
fn programs_get_what_they_are_given() {
    let user = User::of(Server::shared());
    user.run(words("create cli-given")).ok();
    let code = "import os, sys; print(sys.stdin.read().upper(), os.environ['WHO'], os.getcwd()); print('err', file=sys.stderr)";
    let line = ["call", "cli-given", "--env", "WHO=me=you", "--cwd", "/tmp", "--stdin", "-", "-c", code];
    let ran = user.run_with(line, "zwölf".as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "ZWÖLF me=you /tmp\n", "err\n"));
    fs::write(user.home().join("script.py"), "print('from a file'); open('kept', 'w').write('x')").unwrap();
    assert_eq!(user.run(words("call cli-given --file script.py --no-stream")).ok(), "from a file\n");
    let call = user.run(words("call cli-given --file script.py --json --dry-run")).json(0);
    assert_eq!((&call["dry_run"], &call["seq"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(user.run_with(words("call cli-given --file -"), b"print('piped')").ok(), "piped\n");
    user.run_with(words("files cli-given put tool.py"), b"import sys; print(sys.argv[1:]); sys.exit(7)").ok();
    let ran = user.run(words("call cli-given -- python3 tool.py -v --flag x"));
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "['-v', '--flag', 'x']\n"));
    // Into a pipe goes exactly what was printed, whatever it is.
    let code = "import sys; sys.stdout.buffer.write(bytes([0xff, 0x1b, 0x5d]))";
    let output = user.command(python("cli-given", code)).output().unwrap();
    assert_eq!(output.stdout, [0xff, 0x1b, 0x5d]);
}

#[test]
fn exit_codes_are_the_shells() {
    let user = User::of(Server::shared());
    user.run(words("create cli-codes")).ok();
    assert_eq!(user.run(python("cli-codes", "import sys; sys.exit(42)")).code, 42);
    assert_eq!(user.run(python("cli-codes", "raise ValueError(1)")).code, 1);
    let state = user.run(words("show cli-codes --json")).json(0)["sandbox"]["state"].clone();
    let code = "open('x', 'w').write('x')\nwhile True: pass";
    let said = user.run(["call", "cli-codes", "--timeout", "300ms", "--code", code]).fails(124, "timeout");
    assert!(said.contains("the state is the one before"), "{said}");
    let code = "print('a' * 100_000_000)";
    user.run(python("cli-codes", code)).fails(137, "limit");
    assert_eq!(user.run(words("show cli-codes --json")).json(0)["sandbox"]["state"], state);
    user.run(python("cli-nobody", "1")).fails(127, "cli-nobody");
    user.run(["call", "cli-codes", "--tool", "cobol", "--code", "1"]).fails(127, "cobol");
    user.run(words("files cli-codes cat nothing")).fails(127, "no");
    user.run(words("restore cli-codes @nothing")).fails(127, "nothing");
    let mut command = user.command(["ls"]);
    let output = command.env("SANDGLASS_TOKEN", "sg_wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(126));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--token-file"));
    user.run(words("create cli-codes")).fails(125, "name_taken");
}

#[test]
fn any_state_is_reached_by_any_of_its_names() {
    let user = User::of(Server::shared());
    user.run(words("create cli-names")).ok();
    for number in ["1", "2", "3"] {
        user.run_with(words("files cli-names put n"), number.as_bytes()).ok();
    }
    user.run_with(words("files cli-names put other"), b"kept").ok();
    let content = |user: &User| user.run(words("files cli-names cat n")).ok();
    assert!(user.run(words("checkpoint cli-names three")).ok().contains("@three"));
    user.run(words("restore cli-names 2")).ok();
    assert_eq!(content(&user), "1");
    user.run(words("restore cli-names @three")).ok();
    assert_eq!(content(&user), "3");
    let log = user.run(words("log cli-names --json")).json(0);
    let second = log["items"].as_array().unwrap().iter().find(|item| item["seq"] == 3).unwrap();
    let state = second["after"].as_str().unwrap();
    user.run(["restore", "cli-names", &state[..12], "--path", "n"]).ok();
    assert_eq!(content(&user), "2");
    assert_eq!(user.run(words("files cli-names cat other")).ok(), "kept", "other paths stay");
    assert_eq!(user.run(words("files cli-names cat n --state @three")).ok(), "3");
    assert_eq!(user.run(words("files cli-names cat n --state 2")).ok(), "1");
    let diff = user.run(words("diff cli-names 2 @three")).ok();
    assert!(diff.contains("-1") && diff.contains("+3"), "{diff}");
    assert!(user.run(words("checkpoint cli-names --list")).ok().contains("@three"));
    user.run(words("checkpoint cli-names --delete three")).ok();
    assert_eq!(user.run(words("checkpoint cli-names --list --json")).json(0)["items"], serde_json::json!([]));
    user.run(words("restore cli-names three")).fails(127, "three");

    user.run(words("fork cli-names --state 2 --name cli-names-fork")).ok();
    assert_eq!(user.run(words("files cli-names-fork cat n")).ok(), "1");
    let forks = user.run(words("fork cli-names --count 3 --json")).json(0);
    let forks = forks["sandboxes"].as_array().unwrap();
    assert_eq!(forks.len(), 3);
    let mut line = vec!["rm", "--json", "cli-names-fork"];
    line.extend(forks.iter().map(|fork| fork["name"].as_str().unwrap()));
    assert_eq!(user.run(line).json(0)["deleted"].as_array().unwrap().len(), 4);
}

#[test]
fn files_go_in_and_come_out() {
    let user = User::of(Server::shared());
    let directory = user.home().join("project");
    fs::create_dir_all(directory.join("sub")).unwrap();
    fs::write(directory.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(directory.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run.sh", directory.join("link")).unwrap();
    user.run(words("create cli-files --from project")).ok();
    let listed = user.run(words("files cli-files ls")).ok();
    for word in ["-0755", "link -> run.sh", "sub/"] {
        assert!(listed.contains(word), "no {word} in {listed}");
    }
    user.run(words("create cli-more --from no-such-directory")).fails(127, "no-such-directory");
    user.run_with(words("files cli-files put deep/er/x.txt --mode 0600"), b"content").ok();
    user.run(words("files cli-files get deep/er/x.txt")).ok();
    assert_eq!(fs::read(user.home().join("x.txt")).unwrap(), b"content");
    user.run(words("files cli-files mkdir empty/one")).ok();
    user.run(words("files cli-files rm deep")).fails(125, "directory");
    user.run(words("files cli-files rm -r deep")).ok();
    let listed = user.run(words("files cli-files ls --json")).json(0);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["empty", "link", "run.sh", "sub"]);
    user.run(words("files cli-files cat sub")).fails(125, "directory");
    user.run(words("files cli-files ls run.sh")).fails(125, "no directory");
    user.run(words("export cli-files -o out.tar")).ok();
    let mut archive = tar::Archive::new(fs::File::open(user.home().join("out.tar")).unwrap());
    let names: Vec<_> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert!(names.iter().any(|name| name == "workspace/run.sh"), "{names:?}");
    let part = user.command(words("export cli-files -o - --path sub")).output().unwrap();
    assert!(part.status.success() && part.stdout.len() >= 1024, "{part:?}");
    fs::write(user.home().join("policy.toml"), "version = 1\nlimits = { disk = \"1KiB\" }").unwrap();
    user.run(words("create cli-tight --policy policy.toml")).ok();
    user.run_with(words("files cli-tight put large"), &[0; 5000]).fails(125, "disk_limit");
    fs::write(user.home().join("policy.toml"), "version = 1\nlimit = {}").unwrap();
    user.run(words("create cli-wrong --policy policy.toml")).fails(125, "limit");
}

#[test]
fn hostile_names_do_nothing_to_a_terminal() {
    let user = User::of(Server::shared());
    user.run(words("create cli-hostile")).ok();
    let code = "open('\\x1b]0;owned\\x07 \\u202egpj.exe \\x9b2J', 'w').write('\\x1b[2J text \\u202e\\n')";
    user.run(python("cli-hostile", code)).ok();
    let code =
        "# \\x1b]52;c;AAAA\\x07\nimport sys; sys.exit('\\x1b[6n')".replace("\\x1b", "\x1b").replace("\\x07", "\x07");
    assert_eq!(user.run(python("cli-hostile", &code)).code, 1);
    for line in [
        "files cli-hostile ls",
        "diff cli-hostile 1",
        "log cli-hostile",
        "undo cli-hostile --steps 9",
        "restore cli-hostile @\x1b[2J",
    ] {
        let ran = user.run(words(line));
        for text in [&ran.stdout, &ran.stderr] {
            let bad = text.chars().find(|letter| (letter.is_control() && *letter != '\n') || *letter == '\u{202e}');
            assert_eq!(bad, None, "{line}: {text:?}");
        }
    }
    let listed = user.run(words("files cli-hostile ls")).ok();
    assert!(listed.contains("\\x1b]0;owned\\x07 \\u{202e}gpj.exe \\u{9b}2J"), "{listed}");
}

#[test]
fn two_services_over_one_directory_are_refused() {
    let server = Server::shared();
    let user = User::alone();
    let mut line = words("serve --listen 127.0.0.1:0 --data");
    let data = server.data().to_str().unwrap();
    line.push(data);
    let said = user.run(line).fails(125, "error:");
    assert!(said.contains("name another with --data"), "{said}");
    let address = server.address().to_string();
    let said = user.run(["serve", "--listen", &address]).fails(125, "error:");
    assert!(said.contains("--listen 127.0.0.1:0"), "{said}");
}

#[test]
fn an_interrupt_cancels_the_call() {
    let user = User::of(Server::shared());
    user.run(words("create cli-interrupt")).ok();
    let code = "print('on', flush=True)\nopen('x', 'w').write('x')\nwhile True: pass";
    let mut child =
        user.command(python("cli-interrupt", code)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut started = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
    assert_eq!(&started, b"on\n");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cancelled"), "{output:?}");
    let log = user.run(words("log cli-interrupt --json")).json(0);
    assert_eq!((&log["items"][0]["call"]["status"], &log["items"][0]["changed"]), (&"cancelled".into(), &false.into()));
}

#[test]
fn what_happens_is_followed() {
    let user = User::of(Server::shared());
    user.run(words("create cli-follow")).ok();
    let mut child = user.command(words("log cli-follow --follow --json")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap()["kind"].as_str().unwrap().to_owned()
    });
    assert_eq!(lines.next().as_deref(), Some("create"));
    user.run_with(words("files cli-follow put x"), b"x").ok();
    user.run(words("undo cli-follow")).ok();
    user.run(words("rm cli-follow --yes")).ok();
    assert_eq!(lines.collect::<Vec<_>>(), ["write", "undo", "delete"], "it ends with the sandbox");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_nobody_reads_ends_quietly() {
    let user = User::alone();
    let mut child = user.command(["openapi"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(141), ""));
}

#[test]
fn guests_are_listed_and_checked_without_a_service() {
    // The shared service has compiled them.
    let _server = Server::shared();
    let user = User::alone();
    let listed = user.run(words("guests list --json")).json(0);
    let python = listed["items"].as_array().unwrap().iter().find(|guest| guest["name"] == "python").unwrap();
    assert_eq!(python["status"], "compiled");
    assert_eq!(user.run(words("guests verify --json")).json(0)["good"], true);
    assert!(user.run(words("guests list")).ok().contains("python"));
    user.run(words("guests install nothing-like-it")).fails(127, "nothing-like-it");
    user.run(words("guests remove nothing-like-it")).fails(127, "nothing-like-it");
}

#[test]
fn the_doctor_tries_the_whole_way() {
    let _server = Server::shared();
    let user = User::alone();
    let report = user.run(words("doctor --json --server http://127.0.0.1:9"));
    let report = report.json(0);
    let grade = |name: &str| {
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no {name} in {report}"))["grade"].as_str().unwrap().to_owned()
    };
    for name in ["system", "clock", "data", "token", "store", "guest", "trial", "python"] {
        assert_eq!(grade(name), "ok", "{name} in {report}");
    }
    assert_eq!(grade("service"), "warn");
    fs::create_dir_all(user.home().join(".local/share/sandglass")).unwrap();
    fs::write(user.home().join(".local/share/sandglass/token"), "sg_x").unwrap();
    fs::set_permissions(user.home().join(".local/share/sandglass/token"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = user.run(words("doctor --no-trial"));
    let report = ran.stdout;
    assert_eq!(ran.code, 1, "{report}");
    assert!(report.contains("fail  token") && report.contains("chmod 600"), "{report}");
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let server = Server::shared();
    let user = User::of(server);
    user.run(words("create cli-tokens")).ok();
    user.run(words("create cli-tokens-other")).ok();
    let made = user.run(words("tokens create helper --sandbox cli-tokens --expires-in 2h"));
    assert!(made.stderr.contains("shown this once") && made.stderr.contains("cli-tokens only"), "{made:?}");
    let secret = made.ok().trim().to_owned();
    assert!(secret.starts_with("sg_") && secret.len() == 46, "standard output is the secret alone");
    let helper = User::with_token(server, &secret);
    let listed = helper.run(words("ls")).ok();
    assert!(listed.contains("cli-tokens ") && !listed.contains("cli-tokens-other"), "{listed}");
    helper.run_with(words("files cli-tokens put a.txt"), b"x").ok();
    helper.run(words("undo cli-tokens")).ok();
    helper.run(words("rm cli-tokens --yes")).fails(126, "this needs the scope `admin`");
    helper.run(words("show cli-tokens-other")).fails(127, "there is no sandbox");
    helper.run(words("fork cli-tokens")).fails(126, "bound to no sandbox");

    let listed = user.run(words("tokens ls")).ok();
    let row = listed.lines().find(|line| line.contains("helper")).unwrap();
    for part in ["tok_", "read,call,undo", "cli-tokens", "active"] {
        assert!(row.contains(part), "{row}");
    }
    assert!(!listed.contains(&secret[3..]));
    let made = user.run(words("tokens create watcher --scopes read --json")).json(0);
    assert!(made["secret"].as_str().unwrap().starts_with("sg_"), "{made}");
    let id = made["id"].as_str().unwrap();
    let items = user.run(words("tokens ls --json")).json(0);
    assert!(items["items"].as_array().unwrap().iter().any(|token| token["id"] == id), "{items}");
    assert!(user.run(["tokens", "revoke", id]).ok().contains("is revoked"));
    let watcher = User::with_token(server, made["secret"].as_str().unwrap());
    watcher.run(words("ls")).fails(126, "revoked");
    user.run(words("tokens revoke tok_none")).fails(127, "no token");
    for line in ["tokens create x --scopes everything", "tokens create x --expires-in 2w", "tokens revoke"] {
        assert_eq!(user.run(words(line)).code, 2, "{line}");
    }
}
