//! The table of hostile guests: what runs, with which limits, and how its call has to end.

use serde_json::{Value, json};

/// What a guest is written in.
pub(super) enum What {
    Shell(&'static str),
    Python(&'static str),
    JavaScript(&'static str),
    /// A built-in tool with these arguments.
    Arguments(&'static str, Value),
    /// A program in WebAssembly text, uploaded as a tool of the guest's name.
    Program(String),
}

/// One guest.
pub(super) struct Guest {
    pub(super) name: &'static str,
    pub(super) what: What,
    /// Limits besides the usual ones, as JSON.
    pub(super) limits: &'static str,
    /// The statuses that its call may have.
    pub(super) ends: &'static [&'static str],
}

pub(super) const OK: &[&str] = &["ok"];
pub(super) const ERROR: &[&str] = &["error"];
pub(super) const LIMIT: &[&str] = &["limit"];
pub(super) const TIMEOUT: &[&str] = &["timeout"];
pub(super) const TRAPPED: &[&str] = &["trapped"];

/// No limits besides the usual ones.
pub(super) const USUAL: &str = "{}";
/// For those who wait.
pub(super) const SHORT: &str = r#"{ "wall": "300ms" }"#;

/// What every guest gets unless its row says otherwise.
pub(super) fn usual_limits() -> Value {
    json!({
        "cpu": "200ms", "wall": "60s", "memory": "128MiB", "disk": "32MiB", "files": 3000, "open_files": 64,
        "output": "256KiB",
    })
}

/// Every guest there is.
pub(super) fn all() -> Vec<Guest> {
    let mut guests = super::programs::all();
    for (name, code, limits, ends) in SHELL {
        guests.push(Guest { name, what: What::Shell(code), limits, ends });
    }
    for (name, code, limits, ends) in PYTHON {
        guests.push(Guest { name, what: What::Python(code), limits, ends });
    }
    for (name, code, limits, ends) in JAVASCRIPT {
        guests.push(Guest { name, what: What::JavaScript(code), limits, ends });
    }
    let long = "x".repeat(100_000);
    let many: serde_json::Map<_, _> = (0..5_000).map(|number| (format!("V{number}"), json!("y".repeat(20)))).collect();
    let argv: Vec<_> = std::iter::once("true").chain(std::iter::repeat_n("z", 20_000)).collect();
    for (name, tool, arguments) in [
        ("sh-large-variable", "shell", json!({ "command": "echo ${#L}", "env": { "L": long.clone() } })),
        ("py-many-variables", "python", json!({ "code": "import os; print(len(os.environ))", "env": many })),
        ("sh-many-arguments", "shell", json!({ "argv": argv })),
        ("js-large-input", "javascript", json!({ "code": "process.stdin.on('data', () => {})", "stdin": long })),
    ] {
        guests.push(Guest { name, what: What::Arguments(tool, arguments), limits: USUAL, ends: OK });
    }
    guests
}

type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const SHELL: &[Row] = &[
    ("sh-loop", "while :; do :; done", USUAL, LIMIT),
    ("sh-fork-bomb", ":(){ :|:& };:", USUAL, LIMIT),
    ("sh-deep", "f() { f; }; f", USUAL, &["error", "trapped"]),
    ("sh-deep-subshells", "f() { (f); }; f", USUAL, LIMIT),
    ("sh-exec-itself", "echo 'exec sh x' > x; sh x", USUAL, LIMIT),
    ("sh-output", "yes", USUAL, LIMIT),
    ("sh-output-errors", "yes >&2", USUAL, LIMIT),
    ("sh-yes-head", "yes | head -n 3", USUAL, OK),
    ("sh-zero", "cat /dev/zero", USUAL, LIMIT),
    ("sh-zero-null", "cat /dev/zero > /dev/null", USUAL, LIMIT),
    ("sh-zero-tail", "tail -n 1 /dev/zero", USUAL, LIMIT),
    ("sh-random", "cat /dev/urandom", USUAL, LIMIT),
    ("sh-random-null", "cat /dev/urandom > /dev/null", USUAL, LIMIT),
    ("sh-full-disk", "cat /dev/zero > full", USUAL, LIMIT),
    ("sh-dd", "dd if=/dev/zero of=/tmp/far bs=1 count=1 seek=9223372036854775806", USUAL, &["limit", "error"]),
    ("sh-tail-follows", "echo x > f; tail -f f", SHORT, TIMEOUT),
    ("sh-sleep", "sleep infinity", SHORT, TIMEOUT),
    ("sh-unread-pipe", "yes | sleep 1000", SHORT, TIMEOUT),
    ("sh-waits-for-itself", "cat <(sleep 1000)", SHORT, TIMEOUT),
    ("sh-background", "for i in 1 2 3 4 5; do sleep 1000 > /dev/null 2>&1 & done; echo on", USUAL, OK),
    ("sh-background-busy", "while :; do :; done > /dev/null 2>&1 & echo on", USUAL, OK),
    ("sh-background-holds", "sleep 1000 & echo on", SHORT, TIMEOUT),
    ("sh-kill-all", "kill -9 -1; kill -9 1; kill -9 $PPID; kill -9 $$", USUAL, ERROR),
    ("sh-kill-itself", "kill -9 $$", USUAL, ERROR),
    ("sh-ignores-signals", "trap '' TERM INT HUP QUIT; trap 'sleep 9' EXIT; while :; do sleep 1; done", SHORT, TIMEOUT),
    ("sh-trap-loops", "trap 'kill -TERM $$' TERM; kill -TERM $$; while :; do :; done", USUAL, &["limit", "trapped", "error"]),
    ("sh-gzip-bomb", "head -c 20M /dev/zero | gzip > z; cat z z z z | zcat > out", r#"{ "cpu": "2s" }"#, LIMIT),
    ("sh-backtracking", "echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab | grep -P '^(a|a|aa)+$'", USUAL, &["limit", "error"]),
    ("sh-doubling", "x=yyyyyyyyyyyyyyyy; while :; do x=$x$x; done", USUAL, LIMIT),
    ("sh-braces", "echo {1..100000000}", USUAL, LIMIT),
    ("sh-arguments", "/bin/true $(seq 100000)", r#"{ "cpu": "2s" }"#, &["ok", "error"]),
    ("sh-descriptors", "while :; do exec {f}> /tmp/x; done", USUAL, LIMIT),
    ("sh-power", "echo '9^9^9' | bc", USUAL, LIMIT),
    ("sh-awk", "awk 'BEGIN { while (1) s = s \"xxxxxxxxxxxxxxxx\" }'", USUAL, LIMIT),
    ("sh-sed", "echo | sed ':a;s/^/x/;ba'", USUAL, LIMIT),
    ("sh-sqlite", "sqlite3 :memory: 'with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c'", USUAL, LIMIT),
    ("sh-jq", "jq -n '[range(1000000000)]'", USUAL, LIMIT),
    ("sh-jq-deep", "head -c 100000 /dev/zero | tr '\\0' '[' | jq .", USUAL, ERROR),
    ("sh-sort", "yes | sort", USUAL, LIMIT),
    ("sh-make", "printf 'all:\\n\\t@$(MAKE)\\n' > Makefile; make -s", USUAL, &["limit", "error"]),
    ("sh-tiny-files", "for ((i = 0;; i++)); do : > /tmp/$i; done", USUAL, LIMIT),
    ("sh-removes-all", "rm -rf --no-preserve-root / 2> /dev/null; ls / | wc -l", USUAL, OK),
    ("sh-locks-all", "chmod -R 000 / 2> /dev/null; mv /workspace /elsewhere; echo gone", USUAL, OK),
    ("sh-names", "touch $'a\\nb' $'\\u202etxt' $'\\xff\\xfe' -- -rf; ls -la; rm -f ./*", USUAL, OK),
];

#[rustfmt::skip]
const PYTHON: &[Row] = &[
    ("py-loop", "while True: pass", USUAL, LIMIT),
    ("py-catches-all", "while True:\n try:\n  while True: pass\n except BaseException: pass", USUAL, LIMIT),
    ("py-deep", "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f() + 1\nf()", USUAL, &["limit", "error", "trapped"]),
    ("py-deep-native", "x = []\nfor i in range(100000): x = [x]\nrepr(x)", USUAL, ERROR),
    ("py-deep-json", "import json; json.loads('[' * 1000000)", USUAL, ERROR),
    ("py-deep-source", "eval('(' * 100000)", USUAL, ERROR),
    ("py-memory", "x = []\nwhile True: x.append(bytearray(1 << 20))", USUAL, LIMIT),
    ("py-doubling", "s = 'x'\nwhile True: s += s", USUAL, LIMIT),
    ("py-one-allocation", "bytearray(1 << 31)", USUAL, &["limit", "error"]),
    ("py-power", "9 ** 9 ** 9", USUAL, LIMIT),
    ("py-backtracking", "import re; re.match('(a+)+$', 'a' * 40 + 'b')", USUAL, LIMIT),
    ("py-output", "while True: print('y' * 1000)", USUAL, LIMIT),
    ("py-output-errors", "import sys\nwhile True: sys.stderr.write('y' * 1000)", USUAL, LIMIT),
    ("py-terminal", r"print('\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b[31m\x00\x9b\r\x08', end='')", USUAL, OK),
    ("py-bytes", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 100)", USUAL, OK),
    ("py-descriptors", "import os\nwhile True: os.open('/tmp', os.O_RDONLY)", USUAL, LIMIT),
    ("py-pipes", "import os\nwhile True: os.pipe()", USUAL, &["limit", "error"]),
    ("py-seek", "f = open('/tmp/s', 'wb', 0)\nf.seek((1 << 63) - 2)\nf.write(b'x')", USUAL, LIMIT),
    ("py-truncate", "open('/tmp/s', 'wb').truncate(1 << 62)", USUAL, LIMIT),
    ("py-tiny-files", "for i in range(10**7): open(f'/tmp/{i}', 'w').close()", r#"{ "cpu": "2s" }"#, LIMIT),
    ("py-link-loop", "import os; os.symlink('a', 'b'); os.symlink('b', 'a'); open('a')", USUAL, ERROR),
    ("py-link-chain", "import os\nopen('l0', 'w')\nfor i in range(60): os.symlink(f'l{i}', f'l{i + 1}')\nopen('l60')", USUAL, ERROR),
    ("py-hard-links", "import os\nopen('l', 'w')\nfor i in range(10**7): os.link('l', f'l{i}')", r#"{ "cpu": "2s" }"#, &["limit", "error"]),
    ("py-into-itself", "import os; os.makedirs('a/b'); os.rename('a', 'a/b/c')", USUAL, ERROR),
    ("py-deep-directories", "import os\nfor i in range(1000): os.mkdir('d'); os.chdir('d')\nprint(len(os.getcwd()))", r#"{ "cpu": "2s" }"#, OK),
    ("py-long-name", "open('/tmp/' + 'x' * 4096, 'w')", USUAL, ERROR),
    ("py-nul-name", r"open('/tmp/a\0b', 'w')", USUAL, ERROR),
    ("py-names", "import os\nfor n in (b'a\\nb', '\\u202etxt'.encode(), b'\\xff\\xfe', b'\\x1b[2J', b' ', b'-rf', b'con'): os.mkdir(n)\nprint(os.listdir(b'.'))", USUAL, OK),
    ("py-out", "open('/../../../../etc/shadow')", USUAL, ERROR),
    ("py-sleep", "import time; time.sleep(1 << 40)", SHORT, TIMEOUT),
    ("py-busy-wait", "import time\nwhile True: time.sleep(0)", USUAL, LIMIT),
    ("py-random", "import os\nwhile True: os.urandom(1 << 20)", USUAL, LIMIT),
    ("py-pickle", "import pickle; pickle.loads(b\"cos\\nsystem\\n(S'kill -9 1; exit 7'\\ntR.\")", USUAL, OK),
    ("py-foreign", "import ctypes; ctypes.string_at(0, 1 << 30)", USUAL, &["error", "trapped"]),
    ("py-bad-code", "def f(): pass\nf.__code__ = f.__code__.replace(co_code=bytes([255, 1] * 50), co_stacksize=1)\nf()", USUAL, &["error", "trapped", "limit"]),
    ("py-imports", "import os\nfor i in range(10**6): open(f'm{i}.py', 'w').write(f'import m{i + 1}')", USUAL, LIMIT),
    ("py-imports-itself", "open('m.py', 'w').write('import importlib, m\\nwhile True: importlib.reload(m)')\nimport m", USUAL, &["limit", "error"]),
    ("py-zip-bomb", "import zlib\nz = zlib.compress(bytes(1 << 23))\nx = [zlib.decompress(z) for i in range(100)]", r#"{ "cpu": "2s" }"#, LIMIT),
    ("py-processes", "import subprocess\nopen('r', 'w').write('python3 -c \"import subprocess; subprocess.run([\\'sh\\', \\'r\\'])\"')\nsubprocess.run(['sh', 'r'])", r#"{ "cpu": "2s" }"#, LIMIT),
    ("py-threads", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()", USUAL, &["error", "limit"]),
    ("py-kills", "import os\nfor p in (-1, 1, os.getppid(), os.getpid()):\n try: os.kill(p, 9)\n except OSError: pass\nraise SystemExit(4)", USUAL, ERROR),
    ("py-aborts", "import os; os.abort()", USUAL, &["trapped", "error"]),
    ("py-at-exit", "import atexit\n@atexit.register\ndef f():\n while True: pass", USUAL, LIMIT),
    ("py-collector", "class A:\n def __del__(self): A()\nA()", USUAL, &["ok", "limit", "error", "trapped"]),
];

#[rustfmt::skip]
const JAVASCRIPT: &[Row] = &[
    ("js-loop", "for (;;);", USUAL, LIMIT),
    ("js-finally", "for (;;) { try { for (;;); } finally { continue; } }", USUAL, LIMIT),
    ("js-promises", "function f() { Promise.resolve().then(f); } f()", USUAL, LIMIT),
    ("js-immediates", "function f() { setImmediate(f); } f()", USUAL, LIMIT),
    ("js-timers", "setInterval(() => {}, 0)", SHORT, &["timeout", "limit"]),
    ("js-sleep", "setTimeout(() => {}, 2 ** 31 - 1)", SHORT, TIMEOUT),
    ("js-waits-for-nothing", "new Promise(() => {})", USUAL, OK),
    ("js-atomics", "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)", SHORT, &["timeout", "error"]),
    ("js-deep", "(function f() { f(); })()", USUAL, ERROR),
    ("js-deep-json", "JSON.parse('['.repeat(1000000))", USUAL, ERROR),
    ("js-deep-source", "eval('('.repeat(100000))", USUAL, ERROR),
    ("js-deep-proxy", "new Proxy({}, { get(t, k, r) { return r[k]; } }).x", USUAL, ERROR),
    ("js-deep-text", "'' + { toString() { return '' + this; } }", USUAL, ERROR),
    ("js-backtracking", "/^(a+)+$/.test('a'.repeat(40) + 'b')", USUAL, LIMIT),
    ("js-doubling", "let s = 'x'; for (;;) s += s", USUAL, &["error", "limit"]),
    ("js-memory", "const a = []; for (;;) a.push(new Array(1000).fill(a.length))", USUAL, LIMIT),
    ("js-buffers", "const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))", USUAL, &["limit", "error"]),
    ("js-power", "let n = 9n; for (;;) n *= n", USUAL, &["limit", "error"]),
    ("js-output", "for (;;) console.log('y'.repeat(1000))", USUAL, LIMIT),
    ("js-output-errors", "for (;;) console.error('y'.repeat(1000))", USUAL, LIMIT),
    ("js-random", "for (;;) require('crypto').randomBytes(1 << 20)", USUAL, LIMIT),
    ("js-gzip-bomb", "const z = require('zlib'), c = z.gzipSync(Buffer.alloc(1 << 23)), a = []; for (;;) a.push(z.gunzipSync(c))", r#"{ "cpu": "2s" }"#, &["limit", "error"]),
    ("js-tiny-files", "for (let i = 0;; i++) require('fs').writeFileSync('/tmp/' + i, '')", r#"{ "cpu": "2s" }"#, LIMIT),
    ("js-truncate", "const fs = require('fs'); fs.writeFileSync('f', ''); fs.truncateSync('f', 2 ** 52)", USUAL, LIMIT),
    ("js-descriptors", "for (;;) require('fs').openSync('/tmp', 'r')", USUAL, LIMIT),
    ("js-at-exit", "process.on('exit', () => { for (;;); })", USUAL, LIMIT),
    ("js-throws-again", "process.on('uncaughtException', () => { setImmediate(() => { throw 1; }); }); throw 1", USUAL, LIMIT),
    ("js-kills", "process.kill(process.ppid, 9); process.kill(1, 9); process.exit(4)", USUAL, ERROR),
    ("js-aborts", "process.abort()", USUAL, &["trapped", "error"]),
];
