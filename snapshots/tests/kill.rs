//! A process that is killed while it commits loses nothing that it was answered.
//!
//! The test runs itself as a child that commits and prints what was answered, and kills it at some line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use sandglass_snapshots::{
    Draft, Durability, EntryBody, NodeBatch, NodeId, NodeKind, NodeSource, Operation, OperationKind, SandboxId,
    StateId, Store, StoreOptions, Timestamp,
};

const CHILD: &str = "SANDGLASS_KILL_TEST_DIRECTORY";
const WRITERS: u8 = 3;

fn options(directory: &Path) -> StoreOptions {
    let is_process = directory.ends_with("process");
    let durability = if is_process { Durability::Process } else { Durability::Disk };
    StoreOptions { durability, segment_bytes: 256 << 10, ..StoreOptions::default() }
}

fn blob(writer: u8, seq: u64) -> Vec<u8> {
    let mut bytes = vec![NodeKind::Blob as u8, writer];
    bytes.extend_from_slice(&seq.to_le_bytes().repeat(1 + usize::from(seq.to_le_bytes()[0])));
    bytes
}

/// Commits to one log until the process ends, and prints `writer seq` after each answer.
fn write_on(store: &Store, writer: u8) {
    let sandbox = SandboxId([writer; 16]);
    let mut head = store.head(sandbox).ok();
    loop {
        let seq = head.map_or(1, |head| head.seq + 1);
        let mut nodes = NodeBatch::new();
        let after = StateId::from(nodes.insert(blob(writer, seq)));
        let body = EntryBody::Operation(Operation {
            kind: OperationKind::Call,
            before: head.map(|head| head.state),
            after,
            generation: 0,
            actor: String::new(),
            target: None,
            policy_revision: 0,
            detail: Vec::new(),
            call: None,
        });
        let drafts = vec![Draft { time: Timestamp(0), body }];
        store.append(sandbox, head.map(|head| head.entry), drafts, nodes).expect("the append is answered");
        head = Some(store.head(sandbox).expect("there is a log"));
        let mut out = std::io::stdout().lock();
        writeln!(out, "answered {writer} {seq}").and_then(|()| out.flush()).expect("the parent reads");
    }
}

/// The child: does nothing when the test runs as a test.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let directory = Path::new(&directory);
    let store = Store::open(directory, options(directory)).expect("the store opens");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || write_on(store, writer));
        }
    });
}

/// Lets a child commit, kills it after `lines` answers, and returns the newest answer of each writer.
fn kill_after(directory: &Path, lines: usize) -> [u64; WRITERS as usize] {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "child_that_commits_until_it_is_killed", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut answered = [0; WRITERS as usize];
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut seen = 0;
    for line in output.lines() {
        let line = line.expect("the child writes text");
        // The harness writes its own words before the first.
        let Some((_, answer)) = line.split_once("answered ") else { continue };
        let (writer, seq) = answer.split_once(' ').expect("a writer and a number");
        answered[writer.parse::<usize>().expect("a writer")] = seq.parse().expect("a number");
        seen += 1;
        if seen == lines {
            // Whatever it still writes before it dies is read, too: it was answered.
            child.kill().expect("the child can be killed");
        }
    }
    child.wait().expect("the child ended");
    assert!(seen >= lines, "the child ended by itself after {seen} answers");
    answered
}

fn survives(name: &str) {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join(name);
    for round in 1..=5 {
        let answered = kill_after(&directory, 37 * round);
        let store = Store::open(&directory, options(&directory)).expect("the store opens after a kill");
        for writer in 0..WRITERS {
            let entries = store.entries(SandboxId([writer; 16]), 0, usize::MAX).unwrap_or_default();
            assert!(
                entries.len() as u64 >= answered[usize::from(writer)],
                "writer {writer}: {} entries",
                entries.len()
            );
            for entry in entries {
                let EntryBody::Operation(operation) = entry.body else { panic!("only operations were written") };
                let node = store.node(&NodeId::from(operation.after)).expect("its node is there");
                assert_eq!(node, blob(writer, entry.seq));
            }
        }
    }
}

#[test]
fn a_killed_process_keeps_every_answer_that_was_synced() {
    survives("disk");
}

#[test]
fn a_killed_process_keeps_every_answer_that_was_written() {
    survives("process");
}
