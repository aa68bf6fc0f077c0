//! The service, killed while sessions commit: what was answered is in their memory, and memory and files are of one state.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Server, User};

/// A session that counts in memory and in a file, and writes enough memory that images are of every kind; its answer is the count. The
/// look says what memory and files say: the count of each, and whether all of it fits together.
struct Counting {
    tool: &'static str,
    argument: &'static str,
    turn: &'static str,
    look: &'static str,
}

const PYTHON: Counting = Counting {
    tool: "python",
    argument: "code",
    turn: "
n = globals().get('n', 0) + 1
open('n', 'w').write(str(n))
log = globals().get('log', []); log.append(n)
table = globals().get('table') or bytearray(4 << 20)
table[n * 4099 % len(table)] = n & 255
if n % 9 == 0: table[:] = bytes([n & 255]) * len(table)
print(n)",
    look: "print(n, int(open('n').read()), log[-1], 'whole' if len(log) == n and table[n * 4099 % len(table)] == n & 255 else 'torn')",
};

const SHELL: Counting = Counting {
    tool: "shell",
    argument: "command",
    turn: "
n=$((n + 1)); echo $n > n; log+=($n)
((n % 9)) || table=$(printf '%0300000d' $n)
echo $n",
    look: "
((${#log[@]} == n && 10#0${table: -6} == n / 9 * 9)) && fits=whole || fits=torn
echo $n $(< n) ${log[-1]} $fits",
};

const JAVASCRIPT: Counting = Counting {
    tool: "javascript",
    argument: "code",
    turn: "
globalThis.n = (globalThis.n ?? 0) + 1
require('fs').writeFileSync('n', String(n));
(globalThis.log ??= []).push(n)
globalThis.table ??= new Uint8Array(4 << 20)
table[n * 4099 % table.length] = n & 255
if (n % 9 === 0) table.fill(n & 255)
console.log(n)",
    look: "console.log(n, Number(require('fs').readFileSync('n')), log.at(-1), log.length === n && table[n * 4099 % table.length] === (n & 255) ? 'whole' : 'torn')",
};

const SESSIONS: [Counting; 4] = [PYTHON, SHELL, JAVASCRIPT, PYTHON];

impl Counting {
    fn call(&self, code: &str, dry_run: bool) -> Value {
        json!({ "tool": self.tool, "session": "s", "arguments": { self.argument: code }, "dry_run": dry_run })
    }
}

/// How many times the service is killed: some, or what the environment says.
fn rounds() -> u64 {
    std::env::var("SANDGLASS_SESSION_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// What a session's count is: as it was answered, and what it may be instead, if the last request was not answered.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    count: u64,
    perhaps: Option<u64>,
}

/// Goes on with one session, and back, until the service is gone.
fn load(url: &str, token: &str, number: usize, known: &Mutex<Known>, is_over: &AtomicBool, answers: &AtomicU64) {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(20))).build(),
    );
    let post = |path: &str, body: &Value| -> Option<Value> {
        let path = format!("{url}/v1/sandboxes/counting-{number}/{path}");
        let sent = agent.post(&path).header("authorization", &format!("Bearer {token}")).send_json(body);
        let mut answer = sent.ok().filter(|answer| answer.status().is_success())?;
        answer.body_mut().read_json().ok()
    };
    let mut turn = 0u64;
    while !is_over.load(Ordering::SeqCst) {
        turn += 1;
        let before = known.lock().unwrap().count;
        let goes_back = turn.is_multiple_of(6) && before > 1;
        let next = if goes_back { before - 1 } else { before + 1 };
        known.lock().unwrap().perhaps = Some(next);
        let answer = if goes_back {
            post("undo", &json!({}))
        } else {
            post("calls", &SESSIONS[number].call(SESSIONS[number].turn, false))
        };
        let Some(answer) = answer else { return };
        if !goes_back {
            assert_eq!(answer["stdout"], format!("{next}\n"), "{answer}");
        }
        answers.fetch_add(1, Ordering::SeqCst);
        *known.lock().unwrap() = Known { count: next, perhaps: None };
    }
}

#[test]
fn a_killed_service_has_lost_no_memory_that_it_answered() {
    let mut server = Server::start();
    for (number, counting) in SESSIONS.iter().enumerate() {
        server.create(&format!("counting-{number}"));
        let path = format!("/v1/sandboxes/counting-{number}/calls");
        assert_eq!(server.post(&path, &counting.call(counting.turn, false)).ok(200)["stdout"], "1\n");
    }
    let known = [(); SESSIONS.len()].map(|()| Mutex::new(Known { count: 1, perhaps: None }));
    let answers = AtomicU64::new(0);
    let (mut slowest, mut more) = (Duration::ZERO, 0u64);
    let mut random = 0x0dd_c0de_u64;
    for round in 0..rounds() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (before, extra) = (answers.load(Ordering::SeqCst), Duration::from_millis((random >> 33) % 60));
        let is_over = AtomicBool::new(false);
        let (url, token) = (server.url(), server.token().to_owned());
        let data = std::thread::scope(|scope| {
            for (number, known) in known.iter().enumerate() {
                let (url, token, is_over, answers) = (&url, &token, &is_over, &answers);
                scope.spawn(move || load(url, token, number, known, is_over, answers));
            }
            // Some calls have been answered, and others are on their way.
            let patience = Instant::now() + Duration::from_secs(30);
            while answers.load(Ordering::SeqCst) < before + 3 && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(extra);
            let data = server.kill();
            is_over.store(true, Ordering::SeqCst);
            data
        });
        let begun = Instant::now();
        server = Server::start_over(data);
        slowest = slowest.max(begun.elapsed());
        for (number, known) in known.iter().enumerate() {
            let mut known = known.lock().unwrap();
            let body = SESSIONS[number].call(SESSIONS[number].look, true);
            let found = server.post(&format!("/v1/sandboxes/counting-{number}/calls"), &body).ok(200);
            let says = |count: u64| format!("{count} {count} {count} whole\n");
            let found = found["stdout"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned();
            if found != says(known.count) {
                let perhaps = known.perhaps.map(says);
                assert_eq!(Some(&found), perhaps.as_ref(), "round {round}, session {number}: {known:?}");
                known.count = known.perhaps.unwrap();
                more += 1;
            }
            known.perhaps = None;
        }
    }
    assert!(answers.load(Ordering::SeqCst) > rounds() * 2, "there was no load");
    let data: TempDir = server.stop();
    let told = User::alone().run(["store", "verify", "--data", data.path().to_str().unwrap(), "--json"]).json(0);
    assert_eq!(told["whole"], json!(true));
    println!(
        "{} kills, {} answered calls and undos of sessions, 0 lost, {more} done and not answered, slowest start {:.2} s",
        rounds(),
        answers.load(Ordering::SeqCst),
        slowest.as_secs_f64(),
    );
}
