//! What bash does, the tool `shell` does: every case of `tests/shell`, against what the real bash answered.

mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Answer, Server};
use corpus::{Case, Facts, Fixture};

/// Categories to run, with commas between; all of them when it is absent.
const CATEGORIES: &str = "SANDGLASS_SHELL_CATEGORIES";
/// Where what fails is written, with what was expected and what came.
const REPORT: &str = "SANDGLASS_SHELL_REPORT";
const THREADS: usize = 3;
const CALL_MAX_MS: u64 = 60_000;
const STDOUT_MAX: usize = 64 * 1024;
const COMPARED: [&str; 6] = ["exit", "stdout", "stdout_base64", "stderr_class", "files", "removed"];

/// A server with all fixtures as states.
struct World {
    server: Server,
    fixtures: BTreeMap<Option<String>, (Value, Facts)>,
}

/// A case that did not do what bash did.
struct Failure {
    differs: Vec<&'static str>,
    expected: Value,
    actual: Value,
}

impl World {
    fn new(cases: &[(Case, Value)]) -> Self {
        let server = Server::start();
        let names: BTreeSet<_> = cases.iter().map(|(case, _)| case.fixture.clone()).collect();
        let fixtures = names.into_iter().map(|name| {
            let fixture = Fixture::read(name.as_deref());
            let from = if name.is_some() {
                let imported = server.request("POST", "/v1/states?format=tar").bytes(&fixture.archive()).send().ok(201);
                json!({ "from": { "state": imported["states"][0] } })
            } else {
                json!({})
            };
            (name, (from, fixture.facts()))
        });
        let fixtures = fixtures.collect();
        Self { server, fixtures }
    }

    /// Runs a script in a sandbox of its own, hands the answer on, and removes the sandbox.
    fn call<T>(&self, fixture: Option<&String>, script: &str, judge: impl FnOnce(&Answer) -> T) -> T {
        let from = &self.fixtures.get(&fixture.cloned()).expect("every fixture was imported").0;
        let sandbox = self.server.post("/v1/sandboxes", from).ok(201)["id"].as_str().unwrap().to_owned();
        let environment = json!({
            "HOME": "/workspace", "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": "/tmp",
        });
        let body = json!({
            "tool": "shell",
            "arguments": { "command": script, "env": environment },
            "timeout_ms": CALL_MAX_MS,
        });
        let judged = judge(&self.server.post(&format!("/v1/sandboxes/{sandbox}/calls"), &body));
        self.server.delete(&format!("/v1/sandboxes/{sandbox}"));
        judged
    }

    fn has_shell(&self) -> bool {
        let fixture = self.fixtures.keys().next().expect("there are cases");
        self.call(fixture.as_ref(), "true", |answer| {
            let problem: Value = serde_json::from_slice(&answer.body).unwrap();
            problem["code"] != "unknown_tool"
        })
    }

    /// Returns in what a case differs from what bash did.
    fn judge(&self, case: &Case, expected: &Value) -> Option<Failure> {
        let actual = self.call(case.fixture.as_ref(), &case.script, |answer| {
            if answer.status != 200 {
                return json!({ "problem": String::from_utf8_lossy(&answer.body) });
            }
            let call: Value = serde_json::from_slice(&answer.body).unwrap();
            let after = call["after"].as_str().unwrap();
            let exported = self.server.get(&format!("/v1/states/{after}/export?format=tar&path=/workspace"));
            let found = if exported.status == 200 { corpus::archive_facts(&exported.body) } else { Facts::new() };
            let (files, removed) = corpus::difference(&self.fixtures[&case.fixture].1, &found);
            let stderr = call["stderr"].as_str().unwrap();
            let mut actual = json!({
                "exit": call["exit_code"],
                "stderr_class": if stderr.is_empty() { "none" } else { "some" },
                "stderr": stderr.chars().take(4000).collect::<String>(),
                "files": files,
                "removed": removed,
                "status": call["status"],
                "message": call["message"],
            });
            let (key, text) = stdout(&call);
            actual[key] = json!(text);
            actual
        });
        let differs: Vec<_> = COMPARED.into_iter().filter(|key| actual[*key] != expected[*key]).collect();
        (!differs.is_empty()).then(|| Failure { differs, expected: expected.clone(), actual })
    }
}

/// Returns standard output as it is kept: text when it is UTF-8, else base64; cut when it is long.
fn stdout(call: &Value) -> (&'static str, String) {
    let exact = call["stdout_base64"].as_str().map(|text| STANDARD.decode(text).unwrap());
    let mut bytes = exact.unwrap_or_else(|| call["stdout"].as_str().unwrap().as_bytes().to_vec());
    bytes.truncate(STDOUT_MAX);
    match String::from_utf8(bytes) {
        Ok(text) => ("stdout", text),
        Err(error) => ("stdout_base64", STANDARD.encode(error.as_bytes())),
    }
}

/// Returns the cases that are asked for, with what bash did; a case that was never recorded can't be judged.
fn chosen() -> Vec<(Case, Value)> {
    let wanted = env::var(CATEGORIES).unwrap_or_else(|_| "all".to_owned());
    let asked = |category: &str| wanted.split(',').any(|word| word == category || word == "all");
    let mut all = Vec::new();
    for category in corpus::categories().into_iter().filter(|category| asked(category)) {
        let mut expected = corpus::expected(&category);
        let cases = corpus::cases(&category).into_iter();
        all.extend(cases.filter_map(|case| expected.remove(&case.name).map(|answer| (case, answer))));
    }
    all
}

fn print_table(cases: &[(Case, Value)], failures: &BTreeMap<String, Failure>) {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (case, _) in cases {
        let passed = usize::from(!failures.contains_key(&case.id()));
        for row in [case.category.as_str(), "~ all"] {
            let count = counts.entry(row).or_default();
            *count = (count.0 + passed, count.1 + 1);
        }
    }
    println!("{:<16} {:>7} {:>6} {:>6}", "category", "passed", "cases", "%");
    for (category, (passed, all)) in counts {
        let tenths = 1000 * passed / all;
        println!("{category:<16} {passed:>7} {all:>6} {:>4}.{}", tenths / 10, tenths % 10);
    }
}

fn write_report(cases: &[(Case, Value)], failures: &BTreeMap<String, Failure>) {
    let Ok(path) = env::var(REPORT) else { return };
    let scripts: BTreeMap<_, _> = cases.iter().map(|(case, _)| (case.id(), &case.script)).collect();
    let entry = |(id, failure): (&String, &Failure)| {
        let Failure { differs, expected, actual } = failure;
        let facts = json!({ "differs": differs, "script": scripts[id], "expected": expected, "actual": actual });
        (id.clone(), facts)
    };
    let failing: BTreeMap<_, _> = failures.iter().map(entry).collect();
    fs::write(path, serde_json::to_string_pretty(&json!({ "failing": failing })).unwrap()).unwrap();
}

#[test]
fn the_shell_does_what_bash_does() {
    let cases = chosen();
    assert!(!cases.is_empty(), "no such category");
    let world = World::new(&cases);
    if !world.has_shell() {
        println!("skipped: tool shell absent");
        return;
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((case, expected)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = world.judge(case, expected) {
                        failures.lock().unwrap().insert(case.id(), failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    print_table(&cases, &failures);
    write_report(&cases, &failures);
    let known = corpus::known();
    let fresh: Vec<_> = failures.keys().filter(|id| !known.contains_key(*id)).collect();
    let ids: BTreeSet<_> = cases.iter().map(|(case, _)| case.id()).collect();
    let mended: Vec<_> = known.keys().filter(|id| ids.contains(*id) && !failures.contains_key(*id)).collect();
    assert!(fresh.is_empty(), "{} cases fail that known.txt does not list: {fresh:#?}", fresh.len());
    assert!(mended.is_empty(), "these pass and have to leave known.txt: {mended:#?}");
}

#[test]
fn every_recorded_shell_case_is_still_there() {
    for category in corpus::categories() {
        let names: BTreeSet<_> = corpus::cases(&category).into_iter().map(|case| case.name).collect();
        let recorded: BTreeSet<_> = corpus::expected(&category).into_keys().collect();
        assert_eq!(names, recorded, "{category}: run tests/shell/record");
    }
}
