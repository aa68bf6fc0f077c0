//! The tool `shell`: bash and its commands in a sandbox, and processes that start one another.

use serde_json::{Value, json};

use crate::support::Server;

fn shell(server: &Server, sandbox: &str, command: &str) -> Value {
    let body = json!({ "tool": "shell", "arguments": { "command": command } });
    server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &body).ok(200)
}

/// Runs a command that must end well, and returns what it printed.
fn printed(server: &Server, sandbox: &str, command: &str) -> String {
    let call = shell(server, sandbox, command);
    assert_eq!((call["status"].as_str(), &call["stderr"]), (Some("ok"), &json!("")), "{command}: {call}");
    call["stdout"].as_str().unwrap().to_owned()
}

#[test]
fn bash_is_bash() {
    let server = Server::shared();
    server.create("shell-language");
    let run = |command: &str| printed(server, "shell-language", command);
    assert_eq!(run("x=5; echo $((x * 2)) ${x}a \"$PWD\""), "10 5a /workspace\n");
    assert_eq!(run("printf 'b\\na\\n' | while read -r x; do echo \"<$x>\"; done | sort"), "<a>\n<b>\n");
    assert_eq!(run("declare -A m=([k]=v); [[ abc =~ b(.) ]] && echo ${m[k]} ${BASH_REMATCH[1]}"), "v c\n");
    assert_eq!(run("trap 'echo bye' EXIT; (trap 'echo inner' EXIT; exit 3); echo $?"), "inner\n3\nbye\n");
    assert_eq!(run("name=world; cat <<EOF\nhello $name $(echo sub)\nEOF"), "hello world sub\n");
    assert_eq!(run("diff <(seq 3) <(seq 2) || echo $?"), "3d2\n< 3\n1\n");
    assert_eq!(run("for i in 1 2 3; do (sleep 0.0$i; echo $i) & done; wait"), "1\n2\n3\n");
    assert_eq!(run("set -euo pipefail; false | true && echo no; echo ${PIPESTATUS[*]}"), "1 0\n");
    let missing = shell(server, "shell-language", "nosuch");
    assert_eq!(
        (&missing["exit_code"], &missing["stderr"]),
        (&json!(127), &json!("bash: line 1: nosuch: command not found\n"))
    );
    assert_eq!(shell(server, "shell-language", "kill -TERM $$; echo no")["exit_code"], 143);
}

#[test]
fn what_is_installed_by_hand_is_a_command() {
    let server = Server::shared();
    server.create("shell-installed");
    let run = |command: &str| printed(server, "shell-installed", command);
    run(
        "mkdir -p /usr/local/bin; printf '#!/bin/sh\\necho by hand\\n' > /usr/local/bin/tool; chmod +x /usr/local/bin/tool",
    );
    assert_eq!(
        run("tool; command -v tool; cd /usr/local/bin; pwd; ls; cd ../..; ls -d bin local"),
        "by hand\n/usr/local/bin/tool\n/usr/local/bin\ntool\nbin\nlocal\n"
    );
    assert_eq!(shell(server, "shell-installed", "echo > /usr/bin/tool")["exit_code"], 1);
    server.post("/v1/sandboxes/shell-installed/undo", &json!({})).ok(200);
    assert_eq!(shell(server, "shell-installed", "tool")["exit_code"], 127);
}

#[test]
fn commands_work_together_and_are_taken_back() {
    let server = Server::shared();
    server.create("shell-commands");
    let run = |command: &str| printed(server, "shell-commands", command);
    assert_eq!(
        run("mkdir -p src/a && echo 'x TODO y' > src/a/f.c && echo TODO > src/b.txt && grep -rn TODO src | sort"),
        "src/a/f.c:1:x TODO y\nsrc/b.txt:1:TODO\n"
    );
    assert_eq!(run("find src -type f -print0 | xargs -0 cat | wc -l"), "2\n");
    assert_eq!(
        run("seq 1 100000 | sort -rn | head -2; yes | head -1; echo ${PIPESTATUS[*]}"),
        "100000\n99999\ny\n141 0\n"
    );
    assert_eq!(
        run("tar czf x.tgz src && tar tzf x.tgz | grep -c f.c; sed -i s/TODO/DONE/ src/b.txt; cat src/b.txt"),
        "1\nDONE\n"
    );
    assert_eq!(
        run(
            "echo '{\"a\":[1,2]}' | jq -c .a; sqlite3 t.db 'create table t(a); insert into t values(1),(2); select sum(a) from t'"
        ),
        "[1,2]\n3\n"
    );
    assert_eq!(
        run("timeout 0.1 sleep 5; echo $?; awk 'BEGIN{printf \"%.2f\\n\", 2/3}'; date -u -d @0 +%F"),
        "124\n0.67\n1970-01-01\n"
    );
    assert_eq!(
        run("chmod 640 src/b.txt; stat -c '%a %U' src/b.txt; umask 077; touch p; stat -c %a p"),
        "640 agent\n600\n"
    );
    assert_eq!(run("rm -rf src; ls"), "p\nt.db\nx.tgz\n");
    server.post("/v1/sandboxes/shell-commands/undo", &json!({})).ok(200);
    assert_eq!(run("cat src/b.txt"), "DONE\n");
}

#[test]
fn python_and_the_shell_start_one_another() {
    let server = Server::shared();
    server.create("shell-python");
    let run = |command: &str| printed(server, "shell-python", command);
    assert_eq!(
        run("echo 'a b c' | python3 -c 'import sys; print(sys.stdin.read().split())' | tr a-z A-Z"),
        "['A', 'B', 'C']\n"
    );
    assert_eq!(run("python3 - <<'EOF'\nprint('from', 'standard input')\nEOF"), "from standard input\n");
    assert_eq!(
        run(
            "printf '#!/usr/bin/env python3\\nimport sys, os\\nprint(sys.argv[1:], os.getcwd())\\n' > t.py; chmod +x t.py; mkdir d; cd d; ../t.py x"
        ),
        "['x'] /workspace/d\n"
    );
    assert_eq!(
        run("python3 -c 'raise SystemExit(3)' || echo $?; echo in > f; python3 -c 'print(input())' < f > g; cat g"),
        "3\nin\n"
    );
}

/// Python's own functions for it, over one channel to the host: what they promise on Linux holds here.
#[test]
fn python_starts_programs() {
    let server = Server::shared();
    server.create("python-processes");
    let run = |code: &str| {
        let call = server.call("python-processes", code);
        assert_eq!(call["status"], "ok", "{code}: {call}");
        call["stdout"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        run(
            "import subprocess as s; print(s.run(['tr', 'a-z', 'A-Z'], input='x' * 200_000, capture_output=True, text=True).stdout.count('X'))"
        ),
        "200000\n"
    );
    assert_eq!(
        run("import subprocess as s; print(s.check_output('echo a; echo b >&2', shell=True, stderr=s.STDOUT))"),
        "b'a\\nb\\n'\n"
    );
    assert_eq!(run("import os; print(os.system('exit 4'), os.popen('echo $((6 * 7))').read())"), "1024 42\n\n");
    // What is written to a file before, by and after a child is there in this order.
    assert_eq!(
        run(
            "import subprocess as s\nwith open('log', 'w') as f:\n  f.write('a\\n'); f.flush(); s.run(['echo', 'b'], stdout=f); f.write('c\\n')\nprint(open('log').read().split())"
        ),
        "['a', 'b', 'c']\n"
    );
    assert_eq!(
        run(
            "import subprocess as s\na = s.Popen(['seq', '1000'], stdout=s.PIPE)\nb = s.Popen(['tail', '-1'], stdin=a.stdout, stdout=s.PIPE)\na.stdout.close()\nprint(b.communicate()[0], a.wait())"
        ),
        "b'1000\\n' 0\n"
    );
    assert_eq!(
        run(
            "import subprocess as s, sys\nfor f in (lambda: s.run(['nosuch']), lambda: s.run(['ls'], cwd='/nosuch'), lambda: s.run('exit 3', shell=True, check=True), lambda: s.run(['sleep', '9'], timeout=0.05)):\n  try: f()\n  except Exception as e: print(type(e).__name__)\np = s.Popen(['sleep', '9']); p.terminate(); print(p.wait())\nprint(s.run([sys.executable, '-c', 'import os; print(os.getcwd())'], cwd='/tmp', capture_output=True, text=True).stdout)"
        ),
        "FileNotFoundError\nFileNotFoundError\nCalledProcessError\nTimeoutExpired\n-15\n/tmp\n\n"
    );
    let call = server.call("python-processes", "import os; os.execvp('sh', ['sh', '-c', 'echo became; exit 5'])");
    assert_eq!((&call["stdout"], &call["exit_code"]), (&json!("became\n"), &json!(5)));
    // Bad requests are errors of the program alone.
    assert_eq!(
        run(
            "import os\nfd = os.open('/dev/processes', os.O_RDWR)\nfor bad in (b'', b'x', b'start', b'start\\0/\\x000\\x009999999999', b'wait\\0x', b'wait\\x0077\\x000', b'kill\\x00-1\\x0099', b'duplicate\\0999\\0-', b'duplicate\\x000\\x00-5', b'\\xff' * 100):\n  try: os.write(fd, bad); print('took', bad)\n  except OSError as e: pass\nprint('fine')"
        ),
        "fine\n"
    );
}

#[test]
fn a_job_that_ends_disturbs_nobody() {
    let server = Server::shared();
    server.create("shell-jobs");
    let run = |command: &str| printed(server, "shell-jobs", command);
    // SIGCHLD comes while the shell reads what a substitution prints.
    assert_eq!(run("true & x=$(echo hi | cat); echo \"[$x]\"; wait"), "[hi]\n");
    assert_eq!(run("for i in 1 2 3; do true & (( $(jobs -rp | wc -l) >= 0 )) && echo $i; done; wait"), "1\n2\n3\n");
    assert_eq!(run("true & read -r line < <(sleep 0.05; echo late); echo $line; wait"), "late\n");
    // A handler that lets calls go on is called at once when it is to end the program.
    assert_eq!(run("sleep 2 | timeout 0.1 bzip2 > /dev/null 2>&1; echo ${PIPESTATUS[1]}"), "124\n");
    assert_eq!(run("trap 'echo trapped' USR1; (sleep 0.05; kill -USR1 $$) & wait; echo $?; wait"), "trapped\n138\n");
}

#[test]
fn commands_search_and_say_why_they_are_not_there() {
    let server = Server::shared();
    server.create("shell-search");
    let run = |command: &str| printed(server, "shell-search", command);
    run("mkdir -p src; echo 'let needle = 1;' > src/a.rs; echo nothing > b.txt; printf 'x\\0\\1long enough\\0' > bin");
    assert_eq!(
        run("rg -n needle; cd src; rg -l needle; echo 'a needle' | rg -o needle"),
        "src/a.rs:1:let needle = 1;\na.rs\nneedle\n"
    );
    assert_eq!(
        run("rev <<< abc; printf 'a b\\nccc d\\n' | column -t; strings bin; hexdump -C <<< hi | head -1 | cut -c1-18"),
        "cba\na    b\nccc  d\nlong enough\n00000000  68 69 0a\n"
    );
    assert_eq!(
        run("TZ=America/New_York date -d @0 +%H:%M%z; echo x | gzip > f.gz; zgrep -c x f.gz; echo paged | less"),
        "19:00-0500\n1\npaged\n"
    );
    assert_eq!(
        run(
            "python3 -c 'import datetime, zoneinfo; print(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo(\"Asia/Tokyo\")).utcoffset())'"
        ),
        "9:00:00\n"
    );
    for (command, code, word) in [
        ("curl https://example.com", 6, "no network"),
        ("wget example.com", 4, "no network"),
        ("ssh host", 255, "no network"),
        ("apt-get install -y x", 100, "nothing can be installed"),
        ("pip install x", 1, "nothing can be installed"),
        ("sudo ls", 127, "not here"),
        ("frobnicate", 127, "command not found"),
    ] {
        let call = shell(server, "shell-search", command);
        assert_eq!((&call["exit_code"], &call["stdout"]), (&json!(code), &json!("")), "{command}: {call}");
        assert!(call["stderr"].as_str().unwrap().contains(word), "{command}: {call}");
    }
}

#[test]
fn hostile_shells_end_alone() {
    let server = Server::shared();
    let policy =
        json!({ "version": 1, "limits": { "cpu": "500ms", "wall": "5s", "memory": "128MiB", "output": "1MiB" } });
    server.post("/v1/sandboxes", &json!({ "name": "shell-hostile", "policy": policy })).ok(201);
    let ended = |command: &str| {
        let call = shell(server, "shell-hostile", command);
        assert_eq!(call["before"], call["after"], "{command}: {call}");
        call["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(ended("echo x > f; while :; do :; done"), "limit");
    assert_eq!(ended("while :; do (while :; do :; done) & done"), "limit");
    assert_eq!(ended("yes"), "limit");
    assert_eq!(ended("x=x; while :; do x=$x$x; done"), "limit");
    assert!(["limit", "timeout"].contains(&ended("f() { f | f & }; f; wait; sleep 100").as_str()));
    assert_eq!(ended("cat < /dev/zero | wc -c"), "limit");
    assert_eq!(ended("sleep 1000 & wait"), "timeout");
    // Nobody else has noticed, and the next call finds everything as it was.
    assert_eq!(printed(server, "shell-hostile", "ls | wc -l"), "0\n");
}
