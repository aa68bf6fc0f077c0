//! Sessions of `python-data`: what was imported and loaded lives as the sandbox's files do.

use std::collections::HashSet;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{call, result, undo};
use crate::support::{Server, data_guests};

/// Starts a service whose sandboxes have `python-data`.
fn start(data: tempfile::TempDir) -> Option<Server> {
    let guests = data_guests()?;
    Some(Server::start_with(data, &["--guests", guests.to_str()?]))
}

/// Returns one that tests share; says so when there is none.
fn server() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    let server = SHARED.get_or_init(|| start(tempfile::tempdir().unwrap())).as_ref();
    if server.is_none() {
        println!("skipped: guest python-data absent");
    }
    server
}

#[test]
fn a_data_frame_lives_as_its_sandbox_does() {
    if server().is_none() {
        return;
    }
    let server = start(tempfile::tempdir().unwrap()).unwrap();
    server.create("frame");
    server.put_file("frame", "/workspace/orders.csv", b"who,price\nann,3\nbob,\nann,5\n");
    let run = |code: &str| result(&server, "frame", "s", code);
    let first = call(&server, "frame", "s", "import pandas as pd\ndf = pd.read_csv('orders.csv')");
    assert_eq!((&first["guest"], &first["status"]), (&json!("python-data"), &json!("ok")), "{first}");
    assert_eq!(run("len(df), float(df.price.sum())"), "(3, 8.0)");
    let loaded = server.get("/v1/sandboxes/frame").ok(200)["state"].clone();
    run("df['price'] = df.price.fillna(df.price.mean())");
    assert_eq!(run("float(df.price.sum())"), "12.0");
    run("del df");
    undo(&server, "frame", 2);
    assert_eq!(run("float(df.price.sum())"), "12.0", "an undo brings the frame back");
    let fork = server.post("/v1/sandboxes/frame/fork", &json!({ "name": "frame-fork" })).ok(201);
    assert_eq!(fork["name"], "frame-fork");
    assert_eq!(result(&server, "frame-fork", "s", "df = df.dropna(); len(df)"), "3");
    server.post("/v1/sandboxes/frame/restore", &json!({ "state": loaded })).ok(200);
    let server = start(server.kill()).unwrap();
    assert_eq!(result(&server, "frame", "s", "int(df.price.isna().sum())"), "1", "restored, and the service restarted");
    assert_eq!(result(&server, "frame-fork", "s", "int(df.price.isna().sum())"), "0");
    let failed = call(&server, "frame", "s", "df.nothing");
    let stderr = failed["stderr"].as_str().unwrap();
    assert!(
        stderr.starts_with("Traceback") && !stderr.contains("_sandglass") && !stderr.contains("reactor"),
        "{stderr}"
    );
    let ended = call(&server, "frame", "s", "df = 1; exit()");
    assert_eq!((&ended["status"], &ended["before"]), (&json!("error"), &ended["after"]));
    assert_eq!(result(&server, "frame", "s", "len(df)"), "3");
}

#[test]
fn clones_of_a_frame_draw_their_own_numbers() {
    let Some(server) = server() else { return };
    server.create("frame-draws");
    let made = "import random, uuid, numpy as np, pandas as pd\nnp.random.seed(5); random.seed(5)\nmade = np.random.default_rng(5)";
    let warm = call(server, "frame-draws", "s", made)["after"].clone();
    let mut sandboxes: Vec<String> = (0..3)
        .map(|_| server.post("/v1/sandboxes", &json!({ "from": { "state": warm } })).ok(201))
        .chain([server.post("/v1/sandboxes", &json!({ "from": { "sandbox": "frame-draws" } })).ok(201)])
        .map(|sandbox| sandbox["id"].as_str().unwrap().to_owned())
        .collect();
    let forks = server.post("/v1/sandboxes/frame-draws/fork", &json!({ "count": 4 })).ok(201);
    sandboxes.extend(forks["sandboxes"].as_array().unwrap().iter().map(|fork| fork["id"].as_str().unwrap().to_owned()));
    let draw = "float(np.random.rand()), int(np.random.randint(2**31)), float(np.random.default_rng().random()), random.random(), \
                uuid.uuid4().hex, float(pd.Series(np.random.rand(9)).sample(1).iloc[0])";
    let mut drawn = HashSet::new();
    for sandbox in &sandboxes {
        let of = result(server, sandbox, "s", draw);
        drawn.extend(of.trim_matches(['(', ')']).split(", ").map(str::to_owned));
        // A generator that a program made and holds is its own: every clone goes on with it.
        assert_eq!(result(server, sandbox, "s", "float(made.random())"), "0.8050029237453802");
    }
    assert_eq!(drawn.len(), sandboxes.len() * 6, "{drawn:?}");
    assert_eq!(result(server, "frame-draws", "s", "float(np.random.rand())"), "0.22199317108973948");
    // Nor do new sessions, and programs, begin with the same numbers.
    let draws: HashSet<String> = (0..2)
        .map(|number| {
            result(server, "frame-draws", &format!("new-{number}"), "import numpy as np; float(np.random.rand())")
        })
        .chain((0..2).map(|_| {
            let printed = server.call("frame-draws", "import numpy as np; print(float(np.random.rand()))");
            printed["stdout"].as_str().unwrap().trim().to_owned()
        }))
        .collect();
    assert_eq!(draws.len(), 4, "{draws:?}");
}

#[test]
fn programs_of_the_data_python_end_as_programs_do() {
    let Some(server) = server() else { return };
    server.create("data-programs");
    server.put_file(
        "data-programs",
        "/workspace/main.py",
        b"import sys, helper\nprint(helper.NAME, sys.argv, __name__, __file__)\n",
    );
    server.put_file(
        "data-programs",
        "/workspace/helper.py",
        b"NAME = 'found'\nif __name__ == '__main__': print('main')\n",
    );
    let holder = b"class A:\n def __del__(self): print('gone with its module')\na = A()\n";
    server.put_file("data-programs", "/workspace/holder.py", holder);
    let run = |words: &[&str], stdin: &str| {
        let body =
            json!({ "tool": "python", "arguments": { "argv": words, "stdin": stdin, "env": { "X": "\u{e4} \"y\"" } } });
        let call = server.post("/v1/sandboxes/data-programs/calls", &body).ok(200);
        let text = |name: &str| call[name].as_str().unwrap().to_owned();
        (call["exit_code"].as_i64().unwrap(), text("stdout"), text("stderr"))
    };
    let printed = |text: &str| (0, text.to_owned(), String::new());
    assert_eq!(
        run(&["python3", "main.py", "x y", "\u{e9}"], ""),
        printed("found ['main.py', 'x y', '\u{e9}'] __main__ main.py\n")
    );
    assert_eq!(run(&["python3", "-m", "helper"], ""), printed("main\n"));
    assert_eq!(
        run(&["python3", "-c", "import os, sys; print(os.environ['X'], os.getcwd(), sys.argv)", "a"], ""),
        printed("\u{e4} \"y\" /workspace ['-c', 'a']\n")
    );
    assert_eq!(run(&["python3", "-", "a"], "import sys; print(sys.argv)"), printed("['-', 'a']\n"));
    assert_eq!(run(&["python3"], "import helper; print(helper.NAME)"), printed("found\n"));
    assert_eq!(run(&["python3", "-c", "print(input() + input())"], "a\nb\n"), printed("ab\n"));
    let status = |code: &str| run(&["python3", "-c", code], "");
    assert_eq!(status("import sys; sys.exit(300)").0, 300 & 255);
    assert_eq!(status("exit(4)").0, 4);
    assert_eq!(status("raise SystemExit('why')"), (1, String::new(), "why\n".to_owned()));
    assert_eq!(status("import os; print(1); os._exit(5)").0, 5);
    assert_eq!(status("import atexit; atexit.register(print, 'last'); print('first')"), printed("first\nlast\n"));
    assert_eq!(status("class A:\n def __del__(self): print('gone')\na = A()"), printed("gone\n"));
    let open = "f = open('kept', 'w'); f.write('x')\nclass Knot: pass\nknot = Knot(); knot.knot, knot.f = knot, f; del f\n1 / 0";
    assert_eq!(status(open).0, 1);
    assert_eq!(status("print(open('kept').read())"), printed("x\n"), "what is left open is written");
    let holds = "import atexit\nclass A:\n def __del__(self): print(held, atexit is not None)\nheld = 'still'\na = A()";
    assert_eq!(status(holds), printed("still True\n"));
    assert_eq!(status("import holder"), printed("gone with its module\n"));
    assert_eq!(
        status("import sys; print([name for name in dir(sys.modules['__main__']) if name[0] != '_'])"),
        printed("['sys']\n")
    );
    let (code, _, stderr) = status("def f():\n    1 / 0\nf()");
    assert_eq!(code, 1);
    assert_eq!(stderr.lines().next(), Some("Traceback (most recent call last):"));
    assert!(stderr.lines().nth(1).unwrap().contains("\"<string>\", line 3"), "{stderr}");
    let shell = json!({ "tool": "shell", "arguments": { "command": "python3 - a <<'EOF' | tr a-z A-Z\nimport sys\nprint(sys.argv)\nEOF\npython3 -c 'exit(7)'; echo $?" } });
    let shell = server.post("/v1/sandboxes/data-programs/calls", &shell).ok(200);
    assert_eq!(shell["stdout"], "['-', 'A']\n7\n", "{shell}");
}

#[test]
fn awaiting_and_reading_work_in_sessions_of_the_data_python() {
    let Some(server) = server() else { return };
    server.create("frame-turns");
    let run = |code: &str| result(server, "frame-turns", "s", code);
    assert_eq!(run("import asyncio\nasync def f(): await asyncio.sleep(0); return 5\nawait f()"), "5");
    let ask = |stdin: &str| {
        let body = json!({ "tool": "python", "session": "s", "arguments": { "code": "input()", "stdin": stdin } });
        server.post("/v1/sandboxes/frame-turns/calls", &body).ok(200)["result"].clone()
    };
    assert_eq!(ask("a\nleft\n"), "'a'");
    assert_eq!(ask("b\n"), "'b'", "what was left unread is gone");
    run("import os; os.environ['A'] = 'b'; os.mkdir('d'); os.chdir('d')");
    assert_eq!(run("os.getcwd(), os.environ['A'], open('x', 'w').write('y')"), "('/workspace/d', 'b', 1)");
    assert_eq!(run("import subprocess; subprocess.run(['cat', 'x'], capture_output=True).stdout"), "b'y'");
    assert_eq!(call(server, "frame-turns", "s", "import matplotlib, scipy, sklearn")["status"], Value::from("ok"));
}
