//! The history of a path: one by one, and against a naive model that remembers where each file was.

use proptest::prelude::*;

use super::*;
use crate::id::Timestamp;
use crate::revert::tests::{History, Shell};
use crate::transaction::tests::open;

fn parts(path: &str) -> Vec<&[u8]> {
    split(path.as_bytes())
}

/// Follows a path back from the newest state: what happened, newest first.
fn history(history: &History, path: &str) -> Vec<(usize, String)> {
    let mut path = path.to_owned();
    let mut found = Vec::new();
    for number in (1..history.states.len()).rev() {
        let (before, after) = (history.states[number - 1], history.states[number]);
        let Some(touch) = touched(&*history.store, Some(before), after, &parts(&path)).unwrap() else { continue };
        let word = match touch.change.kind {
            ChangeKind::Added => "added".to_owned(),
            ChangeKind::Removed => "removed".to_owned(),
            ChangeKind::Modified => "modified".to_owned(),
            ChangeKind::Attributes => "attributes".to_owned(),
            ChangeKind::Renamed { from } => format!("renamed from {}", String::from_utf8_lossy(&from)),
        };
        found.push((number, word));
        if let Some(before) = touch.before {
            path = String::from_utf8(before).unwrap();
        }
    }
    found
}

fn does(history: &mut History, what: impl FnOnce(&mut Shell)) {
    let mut shell = Shell(open(&history.store, history.head()), Timestamp(history.states.len() as i64));
    what(&mut shell);
    history.keep(shell.0.seal().unwrap());
}

#[test]
fn a_file_is_followed_through_its_renames_to_its_end() {
    let mut log = History::new();
    does(&mut log, |shell| {
        shell.mkdir("/d");
        shell.write("/d/a", "1");
    });
    does(&mut log, |shell| shell.write("/other", "1"));
    does(&mut log, |shell| shell.rename("/d/a", "/b"));
    does(&mut log, |shell| shell.write("/b", "22"));
    does(&mut log, |shell| shell.chmod("/b", 0o700));
    does(&mut log, |shell| shell.rename("/b", "/d/c"));
    does(&mut log, |shell| shell.rename("/d", "/e"));
    does(&mut log, |shell| shell.remove("/e"));
    let expected = [
        (8, "removed"),
        (7, "renamed from /d/c"),
        (6, "renamed from /b"),
        (5, "attributes"),
        (4, "modified"),
        (3, "renamed from /d/a"),
        (1, "added"),
    ];
    assert_eq!(history(&log, "/e/c"), expected.map(|(number, word)| (number, word.to_owned())));
    assert_eq!(history(&log, "/b")[0], (6, "renamed from /b".to_owned()), "where it went is told, too");
    assert_eq!(history(&log, "/nowhere"), []);
}

#[test]
fn a_directory_is_touched_by_what_is_below_also_through_other_names() {
    let mut log = History::new();
    does(&mut log, |shell| {
        shell.mkdir("/d");
        shell.mkdir("/d/e");
        shell.write("/d/e/a", "1");
        shell.write("/b", "1");
        shell.link("/b", "/d/e/b");
    });
    does(&mut log, |shell| shell.write("/d/e/a", "2"));
    does(&mut log, |shell| shell.write("/b", "2"));
    does(&mut log, |shell| shell.write("/c", "2"));
    let expected = [(3, "modified"), (2, "modified"), (1, "added")];
    assert_eq!(history(&log, "/d"), expected.map(|(number, word)| (number, word.to_owned())));
    assert_eq!(history(&log, "/d/e/b"), [(3, "modified".to_owned()), (1, "added".to_owned())]);
}

proptest! {
    /// The model: files that are named by nobody else, and the operations that touched each.
    #[test]
    fn the_history_is_what_was_done(actions in prop::collection::vec((0..4usize, 0..4usize, 0..4usize), 1..40)) {
        let mut log = History::new();
        does(&mut log, |shell| {
            shell.mkdir("/0");
            shell.mkdir("/1");
        });
        let path = |number: usize| format!("/{}/{}", number % 2, number / 2);
        // By path: what happened to what is there, newest last; and what is remembered of a path where nothing is.
        let mut there: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        let mut gone: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        for (kind, from, to) in actions {
            let (from, to) = (path(from), path(to));
            let number = log.states.len();
            match kind {
                0 | 1 => {
                    does(&mut log, |shell| shell.write(&from, &number.to_string()));
                    let word = if there.contains_key(&from) { "modified" } else { "added" };
                    let mut events = there.remove(&from).or_else(|| gone.remove(&from)).unwrap_or_default();
                    events.push((number, word.to_owned()));
                    there.insert(from, events);
                }
                2 if there.contains_key(&from) && !there.contains_key(&to) => {
                    does(&mut log, |shell| shell.rename(&from, &to));
                    let mut events = there.remove(&from).unwrap();
                    events.push((number, format!("renamed from {from}")));
                    there.insert(to.clone(), events.clone());
                    gone.remove(&to);
                    gone.insert(from, events);
                }
                3 if there.contains_key(&from) => {
                    does(&mut log, |shell| shell.remove(&from));
                    let mut events = there.remove(&from).unwrap();
                    events.push((number, "removed".to_owned()));
                    gone.insert(from, events);
                }
                _ => {}
            }
        }
        for (path, events) in there.iter().chain(&gone) {
            let found = history(&log, path);
            let newest_first: Vec<_> = events.iter().rev().cloned().collect();
            prop_assert_eq!(found, newest_first, "{}", path);
        }
    }
}
