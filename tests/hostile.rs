//! Hostile guests (`hostile/corpus.toml`): alone, sixteen at once and many in a row. Each ends its own call; the service
//! and everybody else go on, and nothing is left of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Figures, Server};

/// How many guests are run at once.
const TOGETHER: usize = 16;
/// What the service promises its other users while hostile guests run.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);
/// By how much a call may outlive its time on a machine that does much else: what is looked for never ends.
const LATE_MAX: Duration = Duration::from_secs(2);
/// How much memory code may take that runs for the first time.
const FIRST_TIME_KIB: u64 = 16 << 10;
const HONEST: &str = "print(open('/workspace/kept.txt').read() + str(sum(range(1000))))";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    limits: toml::Table,
    guests: BTreeMap<String, BTreeMap<String, Expected>>,
}

/// What a guest comes to.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default)]
    ends: String,
    says: Option<String>,
    prints: Option<String>,
    code: Option<i64>,
    #[serde(default)]
    limits: toml::Table,
    refused: Option<String>,
}

/// A guest that runs.
struct Guest {
    /// Its sandbox: the file's name without what a sandbox's name can't have.
    name: String,
    category: String,
    call: Value,
    wall: Duration,
    expected: Expected,
}

/// A service with a sandbox for each guest. Whoever looks at its figures has it alone.
struct Ground {
    server: Server,
    guests: Vec<Guest>,
    refused: usize,
}

fn ground() -> MutexGuard<'static, Ground> {
    static GROUND: LazyLock<Mutex<Ground>> = LazyLock::new(|| Mutex::new(Ground::new()));
    GROUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many guests are run in a row: a few dozen, or what the environment says.
fn in_a_row() -> usize {
    std::env::var("SANDGLASS_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(36)
}

impl Ground {
    fn new() -> Self {
        let server = Server::start();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hostile");
        let corpus: Corpus = toml::from_str(include_str!("hostile/corpus.toml")).unwrap();
        server.create("neighbour");
        server.put_file("neighbour", "/workspace/kept.txt", b"kept");
        let (mut guests, mut refused) = (Vec::new(), 0);
        for (category, all) in corpus.guests {
            for (file, expected) in all {
                let (file, function) = file.split_once('#').unwrap_or((&file, ""));
                let source =
                    std::fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                let (stem, kind) = file.rsplit_once('.').unwrap();
                let tool = format!("hostile-{stem}");
                if kind == "wat" {
                    let wasm = wat::parse_str(&source).unwrap_or_else(|error| panic!("{file}: {error}"));
                    let path = format!("/v1/tools/{tool}");
                    let answer =
                        server.request("PUT", &path).header("content-type", "application/wasm").bytes(&wasm).send();
                    if let Some(code) = &expected.refused {
                        answer.problem(422, code);
                        refused += 1;
                        continue;
                    }
                    assert!(matches!(answer.status, 200 | 201), "{file}: {}", String::from_utf8_lossy(&answer.body));
                }
                let call = match kind {
                    "wat" if function.is_empty() => json!({ "tool": tool, "arguments": {} }),
                    "wat" => json!({ "tool": format!("{tool}.{function}"), "arguments": {} }),
                    "py" => json!({ "tool": "python", "arguments": { "code": source } }),
                    "js" => json!({ "tool": "javascript", "arguments": { "code": source } }),
                    "sh" => json!({ "tool": "shell", "arguments": { "command": source } }),
                    other => panic!("{file}: what is {other}?"),
                };
                let mut limits = corpus.limits.clone();
                limits.extend(expected.limits.clone());
                let policy = json!({ "version": 1, "limits": limits });
                let name = if function.is_empty() { format!("{stem}-{kind}") } else { format!("{stem}-{function}") };
                server.post("/v1/sandboxes", &json!({ "name": name, "policy": policy })).ok(201);
                server.put_file(&name, "/workspace/kept.txt", b"kept");
                let wall = milliseconds(limits["wall"].as_str().unwrap());
                guests.push(Guest { name, category: category.clone(), call, wall, expected });
            }
        }
        Self { server, guests, refused }
    }

    /// Runs one guest, checks how it ended, and that its sandbox can be used. Returns by how much it outlived its time.
    fn run(&self, guest: &Guest, is_crowded: bool) -> Result<Duration, String> {
        let Guest { name, call, expected, .. } = guest;
        let path = format!("/v1/sandboxes/{name}");
        let before = self.server.get(&path).ok(200)["state"].clone();
        let start = Instant::now();
        let answer = self.server.post(&format!("{path}/calls"), call);
        let late = start.elapsed().saturating_sub(guest.wall);
        let text = String::from_utf8_lossy(&answer.body).chars().take(1500).collect::<String>();
        let wrong = |what: &str| Err(format!("{name}: {what}: {text}"));
        if answer.status != 200 {
            return wrong("no call");
        }
        let ended: Value = serde_json::from_slice(&answer.body).unwrap();
        let status = ended["status"].as_str().unwrap();
        let mut ends = expected.ends.split(' ');
        // With many others beside it, its time may be over before its instructions are.
        let is_over = is_crowded && status == "timeout" && ends.clone().any(|one| one == "limit");
        if !is_over && !ends.any(|one| one == status) {
            return wrong("another end");
        }
        let message = ended["message"].as_str().unwrap_or_default();
        if !is_over && expected.says.as_ref().is_some_and(|word| !message.contains(word)) {
            return wrong("another message");
        }
        if expected.prints.as_ref().is_some_and(|text| ended["stdout"] != **text) {
            return wrong("another output");
        }
        if expected.code.is_some_and(|code| ended["exit_code"] != code) {
            return wrong("another exit code");
        }
        if late > LATE_MAX {
            return wrong(&format!("late by {late:?}"));
        }
        let after = self.server.get(&path).ok(200)["state"].clone();
        if !matches!(status, "ok" | "error") && (before != after || ended["before"] != ended["after"]) {
            return wrong("something is left");
        }
        if after != before {
            self.server.post(&format!("{path}/undo"), &json!({})).ok(200);
        }
        let next = self.server.call(name, HONEST);
        if next["stdout"] != "kept499500\n" {
            return Err(format!("{name}: the next call: {next}"));
        }
        Ok(late)
    }

    /// Runs guests, so many at once, and fails with all that went wrong. Returns by how much the latest was late.
    fn run_all(&self, guests: &[&Guest], at_once: usize) -> Duration {
        let (next, latest, failed) = (AtomicUsize::new(0), Mutex::new(Duration::ZERO), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(guest) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let start = Instant::now();
                        match self.run(guest, at_once > 1) {
                            Ok(late) => {
                                let mut latest = latest.lock().unwrap();
                                *latest = latest.max(late);
                            }
                            Err(wrong) => failed.lock().unwrap().push(wrong),
                        }
                        if std::env::var_os("SANDGLASS_HOSTILE_TIMES").is_some() {
                            eprintln!("{:>8.0} ms  {}", start.elapsed().as_secs_f64() * 1e3, guest.name);
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap();
        assert!(self.server.lives(), "the service is gone");
        assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), guests.len(), failed.join("\n"));
        latest.into_inner().unwrap()
    }

    /// Does an honest neighbour's work until told otherwise. Returns how long it took, and the slowest answer of the service.
    fn neighbour(&self, is_over: &AtomicBool) -> (Vec<Duration>, Duration) {
        let (mut calls, mut slowest) = (Vec::new(), Duration::ZERO);
        while !is_over.load(Ordering::Relaxed) {
            let start = Instant::now();
            self.server.get("/healthz").ok(200);
            slowest = slowest.max(start.elapsed());
            let start = Instant::now();
            let call = self.server.call("neighbour", HONEST);
            calls.push(start.elapsed());
            assert_eq!(call["stdout"], "kept499500\n", "{call}");
            std::thread::sleep(Duration::from_millis(5));
        }
        calls.sort();
        (calls, slowest)
    }

    /// What the service keeps in memory on purpose, up to bounds of its own: nodes, and calls that ended lately.
    fn cached_kib(&self) -> u64 {
        let metrics = String::from_utf8(self.server.get("/metrics").body).unwrap();
        let value =
            |name| metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse::<u64>().unwrap();
        (value("sandglass_store_cached_bytes") + value("sandglass_calls_kept_bytes")) >> 10
    }

    /// What the service's process holds once it rests: threads that have nothing to do end after a while. Waits for so few of
    /// everything, or for half a minute.
    fn figures(&self, most: &Figures) -> Figures {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let now = self.server.figures();
            let is_at_rest = now.threads <= most.threads && now.descriptors <= most.descriptors;
            if is_at_rest && now.resident_kib <= most.resident_kib || Instant::now() > until {
                return now;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Threads of a service that does nothing: two for each processor, and the store's.
fn threads_at_rest() -> usize {
    7 + 2 * std::thread::available_parallelism().map_or(2, usize::from)
}

/// Reads a time of the corpus.
fn milliseconds(text: &str) -> Duration {
    let number = |unit| text.strip_suffix(unit).and_then(|number: &str| number.parse().ok());
    number("ms").map(Duration::from_millis).or_else(|| number("s").map(Duration::from_secs)).unwrap()
}

#[test]
fn each_hostile_guest_ends_its_own_call_alone() {
    let ground = ground();
    let late = ground.run_all(&ground.guests.iter().collect::<Vec<_>>(), 1);
    let mut counts = BTreeMap::new();
    for guest in &ground.guests {
        *counts.entry(guest.category.as_str()).or_insert(0) += 1;
    }
    eprintln!("hostile guests, alone: {counts:?}, {} refused; latest end {late:?} after its time", ground.refused);
}

#[test]
fn sixteen_hostile_guests_at_once_disturb_nobody() {
    let ground = ground();
    let is_over = AtomicBool::new(false);
    let median = |calls: &[Duration]| calls[calls.len() / 2];
    std::thread::scope(|scope| {
        let alone = scope.spawn(|| ground.neighbour(&is_over));
        std::thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        let (alone, _) = alone.join().unwrap();
        is_over.store(false, Ordering::Relaxed);
        let beside = scope.spawn(|| ground.neighbour(&is_over));
        let all: Vec<&Guest> = ground.guests.iter().collect();
        let ran = catch_unwind(AssertUnwindSafe(|| ground.run_all(&all, TOGETHER)));
        is_over.store(true, Ordering::Relaxed);
        let late = ran.unwrap_or_else(|panic| resume_unwind(panic));
        let (beside, slowest) = beside.join().unwrap();
        eprintln!(
            "hostile guests, {TOGETHER} at once: latest end {late:?} after its time; slowest health {slowest:?}; the \
             neighbour's call took {:?} alone, {:?} beside them, {:?} at most",
            median(&alone),
            median(&beside),
            beside.last().unwrap()
        );
        assert!(slowest < ANSWER_WITHIN * ground.server.patience(), "health took {slowest:?}");
    });
}

#[test]
fn nothing_is_left_of_many_in_a_row() {
    let ground = ground();
    // Those that end soon, or all of them when there is time for it.
    let runs = in_a_row();
    let all: Vec<&Guest> = ground.guests.iter().collect();
    let step = (all.len() / runs).max(1);
    let chosen: Vec<&Guest> = all.iter().copied().step_by(step).cycle().take(runs).collect();
    let warm = if step > 1 { runs / 2 } else { runs };
    ground.run_all(&chosen[..warm], TOGETHER.min(4));
    // What rests has few threads; descriptors and memory are what they are.
    let first = ground.server.figures();
    let before = ground.figures(&Figures { threads: threads_at_rest(), ..first });
    let cached = ground.cached_kib();
    let start = Instant::now();
    ground.run_all(&chosen, 1);
    let took = start.elapsed();
    let cached = ground.cached_kib().saturating_sub(cached);
    let first_time = if step > 1 { FIRST_TIME_KIB } else { 0 };
    let most = Figures { resident_kib: before.resident_kib * 21 / 20 + first_time + cached, ..before };
    let after = ground.figures(&most);
    eprintln!(
        "hostile guests, {runs} in a row in {took:?}: {before:?} before, {after:?} after, {cached} KiB of it kept on purpose"
    );
    assert!(after.descriptors <= before.descriptors, "{before:?} {after:?}");
    assert!(after.threads <= before.threads, "{before:?} {after:?}");
    assert!(after.resident_kib <= most.resident_kib, "{before:?} {after:?}");
}
