//! The running service, killed under load again and again: nothing that was answered is lost, nothing is damaged, and it is
//! back at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Server, User};

const WRITERS: u64 = 4;

/// How many times the service is killed: a few, or what the environment says.
fn rounds() -> u64 {
    std::env::var("SANDGLASS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// What the service answered: the newest content of each writer's file, and how many operations its sandbox has.
type Answered = Mutex<HashMap<u64, (u64, Vec<u8>)>>;

/// Writes, goes back, names and collects until the service is gone.
fn load(url: &str, token: &str, writer: u64, answered: &Answered, is_over: &AtomicBool, count: &AtomicU64) {
    let sandbox = format!("writer-{writer}");
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(20))).build(),
    );
    let authorization = format!("Bearer {token}");
    let mut turn = 0u64;
    while !is_over.load(Ordering::SeqCst) {
        turn += 1;
        let content = format!("{writer} {turn} {:?}", Instant::now()).repeat(1 + usize::try_from(turn % 90).unwrap());
        let path = format!("{url}/v1/sandboxes/{sandbox}/files/workspace/turn.txt");
        let written = agent
            .put(&path)
            .header("authorization", &authorization)
            .send(content.as_bytes())
            .ok()
            .filter(|answer| answer.status().is_success());
        if written.is_none() {
            // It may have happened or not: what it was is all that may be there instead.
            let mut answered = answered.lock().unwrap();
            answered.entry(writer + 1000).or_insert_with(|| (0, content.into_bytes()));
            return;
        }
        count.fetch_add(1, Ordering::SeqCst);
        let mut answered = answered.lock().unwrap();
        let known = answered.entry(writer).or_insert_with(|| (0, Vec::new()));
        *known = (known.0 + 1, content.into_bytes());
        drop(answered);
        if writer == 0 && turn.is_multiple_of(7) {
            let path = format!("{url}/v1/store/upkeep");
            drop(agent.post(&path).header("authorization", &authorization).send_empty());
        }
    }
}

#[test]
fn a_killed_service_has_lost_nothing_that_it_answered() {
    let flags = ["--keep-operations", "20", "--trash", "0s", "--upkeep-interval", "1s"];
    let mut server = Server::start_with(TempDir::new().unwrap(), &flags);
    for writer in 0..WRITERS {
        server.create(&format!("writer-{writer}"));
    }
    let answered: Answered = Mutex::default();
    let count = AtomicU64::new(0);
    let mut slowest = Duration::ZERO;
    let mut random = 0x1234_5678_u64;
    for round in 0..rounds() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lifetime = Duration::from_millis(20 + (random >> 33) % 400);
        answered.lock().unwrap().retain(|writer, _| *writer < WRITERS);
        let is_over = AtomicBool::new(false);
        let (url, token) = (server.url(), server.token().to_owned());
        let data = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (url, token, answered, is_over, count) = (&url, &token, &answered, &is_over, &count);
                scope.spawn(move || load(url, token, writer, answered, is_over, count));
            }
            std::thread::sleep(lifetime);
            let data = server.kill();
            is_over.store(true, Ordering::SeqCst);
            data
        });
        let begun = Instant::now();
        server = Server::start_with(data, &flags);
        slowest = slowest.max(begun.elapsed());
        let answered = answered.lock().unwrap();
        for writer in 0..WRITERS {
            let Some((_, content)) = answered.get(&writer) else { continue };
            let found = server.get(&format!("/v1/sandboxes/writer-{writer}/files/workspace/turn.txt")).ok_bytes(200);
            let unanswered = answered.get(&(writer + 1000)).map(|(_, content)| content);
            assert!(
                found == *content || Some(&found) == unanswered,
                "round {round}: an answered write of {writer} is lost"
            );
        }
    }
    assert!(count.load(Ordering::SeqCst) > rounds() * 5, "there was no load");
    let verified = server.post("/v1/store/verify", &json!({})).ok(200);
    assert_eq!(verified["whole"], json!(true), "{verified}");
    let data = server.stop();
    let program = User::alone();
    let told = program.run(["store", "verify", "--data", data.path().to_str().unwrap(), "--json"]).json(0);
    assert_eq!(told["whole"], json!(true));
    println!(
        "{} kills, {} answered writes, 0 lost, slowest start {:.2} s, {} states whole",
        rounds(),
        count.load(Ordering::SeqCst),
        slowest.as_secs_f64(),
        told["states_whole"]
    );
}
