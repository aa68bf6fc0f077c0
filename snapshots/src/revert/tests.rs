//! Reverts and grafts: one by one, and against a naive model (`model`).

mod model;

use std::sync::Arc;

use super::*;
use crate::state::State;
use crate::transaction::tests::{MemoryNodes, empty, open, walk};
use crate::transaction::{Kind, Sealed};

const NOW: Timestamp = Timestamp(1_000);

/// A log of states, each after one operation.
pub(crate) struct History {
    pub(crate) store: Arc<MemoryNodes>,
    pub(crate) states: Vec<StateId>,
}

impl History {
    pub(crate) fn new() -> Self {
        let store = Arc::new(MemoryNodes::default());
        let state = store.keep(empty(&store).seal().unwrap());
        Self { store, states: vec![state] }
    }

    pub(crate) fn head(&self) -> StateId {
        *self.states.last().unwrap()
    }

    pub(crate) fn keep(&mut self, sealed: Sealed) -> StateId {
        let state = self.store.keep(sealed);
        self.states.push(state);
        state
    }

    pub(crate) fn load(&self, state: StateId) -> State {
        State::load(&*self.store, state).unwrap()
    }

    /// Does something and returns its number.
    fn does(&mut self, what: impl FnOnce(&mut Shell)) -> usize {
        let mut shell = Shell(open(&self.store, self.head()), Timestamp(self.states.len() as i64));
        what(&mut shell);
        self.keep(shell.0.seal().unwrap());
        self.states.len() - 1
    }

    pub(crate) fn line(&self, number: usize, only_forward: bool) -> Line {
        let lowest = self.states[number..].iter().map(|state| self.load(*state).next_inode).min().unwrap();
        Line { lowest: Inode(lowest), only_forward }
    }

    /// Reverts the operation of a number; the head is the result if there are no conflicts.
    fn revert(&mut self, number: usize) -> Vec<(String, ConflictReason)> {
        self.revert_with(number, true)
    }

    fn revert_with(&mut self, number: usize, only_forward: bool) -> Vec<(String, ConflictReason)> {
        let line = self.line(number, only_forward);
        let mut transaction = open(&self.store, self.head());
        let states = (self.states[number - 1], self.states[number]);
        match transaction.revert(states.0, states.1, line, NOW).unwrap() {
            Reverted::Done => {
                self.keep(transaction.seal().unwrap());
                check(&self.store, self.head());
                Vec::new()
            }
            Reverted::Conflicts(conflicts) => {
                assert_eq!(conflicts.total, conflicts.listed.len() as u64);
                let listed = conflicts.listed.into_iter();
                listed.map(|conflict| (String::from_utf8(conflict.path).unwrap(), conflict.reason)).collect()
            }
        }
    }

    fn list(&self) -> Vec<String> {
        list(&self.store, self.head())
    }
}

/// A transaction by paths.
pub(crate) struct Shell(pub(crate) Transaction, pub(crate) Timestamp);

impl Shell {
    fn at(&mut self, path: &str) -> (Inode, String) {
        let (parent, name) = path.rsplit_once('/').unwrap();
        (walk(&mut self.0, parent.as_bytes()).unwrap(), name.to_owned())
    }

    pub(crate) fn mkdir(&mut self, path: &str) {
        let (parent, name) = self.at(path);
        self.0.create_directory(parent, name.as_bytes(), 0o755, self.1).unwrap();
    }

    pub(crate) fn write(&mut self, path: &str, text: &str) {
        let (parent, name) = self.at(path);
        let file = match self.0.lookup(parent, name.as_bytes()) {
            Ok(file) => file,
            Err(_) => self.0.create_file(parent, name.as_bytes(), 0o644, self.1).unwrap(),
        };
        self.0.set_size(file, 0, self.1).unwrap();
        self.0.write(file, 0, text.as_bytes(), self.1).unwrap();
    }

    pub(crate) fn chmod(&mut self, path: &str, mode: u16) {
        let inode = walk(&mut self.0, path.as_bytes()).unwrap();
        self.0.set_mode(inode, mode, self.1).unwrap();
    }

    fn symlink(&mut self, target: &str, path: &str) {
        let (parent, name) = self.at(path);
        self.0.create_symlink(parent, name.as_bytes(), target.as_bytes(), self.1).unwrap();
    }

    pub(crate) fn link(&mut self, from: &str, to: &str) {
        let inode = walk(&mut self.0, from.as_bytes()).unwrap();
        let (parent, name) = self.at(to);
        self.0.link(inode, parent, name.as_bytes(), self.1).unwrap();
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let (from, from_name) = self.at(from);
        let (to, to_name) = self.at(to);
        self.0.rename(from, from_name.as_bytes(), to, to_name.as_bytes(), self.1).unwrap();
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let (parent, name) = self.at(path);
        self.0.remove_tree(parent, name.as_bytes(), self.1).unwrap();
    }
}

/// Lists a state as `path kind mode inode links content`, without inode numbers.
fn list(store: &Arc<MemoryNodes>, state: StateId) -> Vec<String> {
    let mut transaction = open(store, state);
    let mut waiting = vec![(String::new(), Inode::ROOT)];
    let mut lines = Vec::new();
    while let Some((path, directory)) = waiting.pop() {
        for entry in transaction.read_directory(directory, 0, 4000).unwrap() {
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            let inode = transaction.lookup(directory, &entry.name).unwrap();
            let known = transaction.attributes(inode).unwrap();
            let text = match known.kind {
                Kind::Directory => {
                    waiting.push((path.clone(), inode));
                    "/".to_owned()
                }
                Kind::Symlink => {
                    format!(" -> {}", String::from_utf8_lossy(&transaction.read_link(inode).unwrap()))
                }
                Kind::File => {
                    let mut bytes = vec![0; 40];
                    let read = transaction.read(inode, 0, &mut bytes).unwrap();
                    let mode = if known.mode == 0o644 { String::new() } else { format!(" {:o}", known.mode) };
                    let links = if known.links == 1 { String::new() } else { format!(" x{}", known.links) };
                    format!(" {}{mode}{links}", String::from_utf8_lossy(&bytes[..read]))
                }
            };
            lines.push(format!("{path}{text}"));
        }
    }
    lines.sort();
    lines
}

/// Checks what must hold of every state: counts, numbers of names, and inode numbers that stand for one thing each.
pub(crate) fn check(store: &Arc<MemoryNodes>, state: StateId) {
    let loaded = State::load(&**store, state).unwrap();
    let mut transaction = open(store, state);
    let mut names = std::collections::HashMap::new();
    let (mut bytes, mut inodes) = (0, 1);
    let mut waiting = vec![Inode::ROOT];
    while let Some(directory) = waiting.pop() {
        for entry in transaction.read_directory(directory, 0, 4000).unwrap() {
            let inode = transaction.lookup(directory, &entry.name).unwrap();
            let known = transaction.attributes(inode).unwrap();
            assert!(inode.0 < loaded.next_inode, "{inode:?} was never given");
            let count = names.entry(inode).or_insert((0, known.links));
            count.0 += 1;
            if count.0 == 1 {
                inodes += 1;
                bytes += if known.kind == Kind::File { known.size } else { 0 };
                waiting.extend((known.kind == Kind::Directory).then_some(inode));
            }
        }
    }
    for (inode, (found, links)) in names {
        assert_eq!(found, links, "names of {inode:?}");
    }
    assert_eq!((loaded.usage.bytes, loaded.usage.inodes), (bytes, inodes));
}

fn project() -> History {
    let mut history = History::new();
    history.does(|shell| {
        shell.mkdir("/d");
        shell.mkdir("/d/e");
        shell.write("/d/a", "1");
        shell.write("/d/e/b", "1");
        shell.write("/f", "1");
    });
    history
}

#[test]
fn one_operation_goes_and_later_ones_stay() {
    let mut history = project();
    let bad = history.does(|shell| {
        shell.write("/f", "broken");
        shell.remove("/d/e");
        shell.write("/junk", "x");
    });
    history.does(|shell| shell.write("/later", "kept"));
    assert_eq!(history.revert(bad), []);
    assert_eq!(history.list(), ["/d/", "/d/a 1", "/d/e/", "/d/e/b 1", "/f 1", "/later kept"]);
    let (before, now) = (history.states[1], history.head());
    let (old, new) = (diff_of(&history, before, now), "/later");
    assert_eq!(old, [new], "all else is as it was, times and inode numbers too");
}

fn diff_of(history: &History, from: StateId, to: StateId) -> Vec<String> {
    let diff = crate::diff::diff(&*history.store, from, to, 100).unwrap();
    diff.changes.into_iter().map(|change| String::from_utf8(change.path).unwrap()).collect()
}

#[test]
fn the_newest_operation_goes_as_undo_takes_it() {
    let mut history = project();
    let before = history.head();
    let newest = history.does(|shell| {
        shell.remove("/d");
        shell.write("/new", "x");
    });
    assert_eq!(history.revert(newest), []);
    assert_eq!(history.head(), before);
    // Also where the head is not the state after it, but gives no new numbers.
    let mut history = project();
    let removed = history.does(|shell| shell.remove("/d"));
    history.does(|shell| shell.chmod("/f", 0o600));
    assert_eq!(history.revert(removed), []);
    history.does(|shell| {
        shell.chmod("/f", 0o644);
    });
    assert_eq!(history.head(), before, "one hash stands for every name, byte, mode, time and inode number");
}

#[test]
fn a_change_on_both_sides_is_a_conflict_and_all_are_listed() {
    let mut history = project();
    let first = history.does(|shell| {
        shell.write("/f", "2");
        shell.write("/d/a", "2");
        shell.remove("/d/e/b");
        shell.write("/made", "2");
    });
    history.does(|shell| {
        shell.write("/f", "3");
        shell.remove("/d/a");
        shell.write("/d/e/b", "3");
        shell.write("/made", "3");
    });
    let head = history.head();
    let expected = [
        ("/d/a", ConflictReason::Removed),
        ("/d/e/b", ConflictReason::Made),
        ("/f", ConflictReason::Changed),
        ("/made", ConflictReason::Changed),
    ];
    let found = history.revert(first);
    assert_eq!(found, expected.map(|(path, reason)| (path.to_owned(), reason)));
    assert_eq!(history.head(), head);
}

#[test]
fn at_most_a_thousand_conflicts_are_listed() {
    let mut history = History::new();
    let many = history.does(|shell| (0..2500).for_each(|number| shell.write(&format!("/{number:04}"), "1")));
    history.does(|shell| (0..2500).for_each(|number| shell.write(&format!("/{number:04}"), "2")));
    let line = history.line(many, true);
    let mut transaction = open(&history.store, history.head());
    let reverted = transaction.revert(history.states[many - 1], history.states[many], line, NOW).unwrap();
    let Reverted::Conflicts(conflicts) = reverted else { panic!("no conflicts") };
    assert_eq!((conflicts.total, conflicts.listed.len()), (2500, 1000));
    assert_eq!(conflicts.listed[0].path, b"/0000");
    assert!(!transaction.is_changed());
}

#[test]
fn a_moved_directory_moves_back_unless_it_was_edited() {
    let mut history = project();
    let inode = walk(&mut open(&history.store, history.head()), b"/d/e/b").unwrap();
    let moved = history.does(|shell| shell.rename("/d", "/moved"));
    history.does(|shell| shell.write("/later", "x"));
    assert_eq!(history.revert(moved), []);
    assert_eq!(history.list(), ["/d/", "/d/a 1", "/d/e/", "/d/e/b 1", "/f 1", "/later x"]);
    assert_eq!(walk(&mut open(&history.store, history.head()), b"/d/e/b").unwrap(), inode);

    let mut history = project();
    let moved = history.does(|shell| shell.rename("/d", "/moved"));
    history.does(|shell| shell.write("/moved/e/b", "edited"));
    assert_eq!(history.revert(moved), [("/moved/e/b".to_owned(), ConflictReason::Changed)]);

    let mut history = project();
    let moved = history.does(|shell| shell.rename("/d", "/moved"));
    history.does(|shell| shell.rename("/moved", "/again"));
    assert_eq!(history.revert(moved), []);
    let both = ["/again/", "/again/a 1", "/again/e/", "/again/e/b 1", "/d/", "/d/a 1", "/d/e/", "/d/e/b 1", "/f 1"];
    assert_eq!(history.list(), both, "what was moved on stays, and comes back with numbers of its own");
}

#[test]
fn directories_that_trade_places_trade_back() {
    let mut history = project();
    history.does(|shell| {
        shell.mkdir("/other");
        shell.write("/other/o", "1");
    });
    let before = history.list();
    let swapped = history.does(|shell| {
        shell.rename("/d", "/t");
        shell.rename("/other", "/d");
        shell.rename("/t", "/other");
    });
    history.does(|shell| shell.write("/later", "x"));
    assert_eq!(history.revert(swapped), []);
    history.does(|shell| shell.remove("/later"));
    assert_eq!(history.list(), before);
    let swapped = history.does(|shell| {
        shell.rename("/d", "/t");
        shell.rename("/other", "/d");
        shell.rename("/t", "/other");
    });
    history.does(|shell| shell.write("/d/later", "x"));
    assert_eq!(history.revert(swapped), []);
    assert!(history.list().contains(&"/d/later x".to_owned()));
}

#[test]
fn a_directory_that_was_filled_since_is_not_removed() {
    let mut history = project();
    let made = history.does(|shell| {
        shell.mkdir("/n");
        shell.write("/n/own", "1");
    });
    history.does(|shell| shell.write("/n/other", "2"));
    assert_eq!(history.revert(made), [("/n".to_owned(), ConflictReason::NotEmpty)]);
    history.does(|shell| {
        shell.remove("/n/other");
        shell.remove("/n/own");
    });
    assert_eq!(history.revert(made), []);
    assert_eq!(history.list().len(), 5);
}

#[test]
fn a_removed_directory_comes_back_into_one_made_anew() {
    let mut history = project();
    let removed = history.does(|shell| shell.remove("/d"));
    history.does(|shell| {
        shell.mkdir("/d");
        shell.write("/d/new", "2");
    });
    assert_eq!(history.revert(removed), []);
    assert_eq!(history.list(), ["/d/", "/d/a 1", "/d/e/", "/d/e/b 1", "/d/new 2", "/f 1"]);
    let mut history = project();
    let removed = history.does(|shell| shell.remove("/d"));
    history.does(|shell| shell.write("/d", "a file now"));
    assert_eq!(history.revert(removed), [("/d".to_owned(), ConflictReason::Made)]);
}

#[test]
fn kinds_change_back() {
    let mut history = project();
    let before = history.list();
    let changed = history.does(|shell| {
        shell.remove("/d");
        shell.write("/d", "file");
        shell.remove("/f");
        shell.mkdir("/f");
        shell.write("/f/x", "1");
    });
    history.does(|shell| shell.write("/later", "x"));
    assert_eq!(history.revert(changed), []);
    history.does(|shell| shell.remove("/later"));
    assert_eq!(history.list(), before);
    let changed = history.does(|shell| {
        shell.remove("/f");
        shell.mkdir("/f");
    });
    history.does(|shell| shell.write("/f/newer", "1"));
    assert_eq!(history.revert(changed), [("/f".to_owned(), ConflictReason::NotEmpty)]);
}

#[test]
fn a_path_whose_directory_is_gone_is_a_conflict() {
    for replaced in [false, true] {
        let mut history = project();
        let removed = history.does(|shell| shell.remove("/d/e/b"));
        history.does(|shell| {
            shell.remove("/d");
            if replaced {
                shell.write("/d", "file");
            }
        });
        assert_eq!(history.revert(removed), [("/d/e/b".to_owned(), ConflictReason::NoParent)]);
    }
}

#[test]
fn modes_and_links_go_back_alone() {
    let mut history = project();
    let changed = history.does(|shell| {
        shell.chmod("/d", 0o700);
        shell.chmod("/f", 0o755);
        shell.symlink("f", "/s");
    });
    history.does(|shell| shell.write("/d/later", "x"));
    assert_eq!(history.revert(changed), []);
    let mut transaction = open(&history.store, history.head());
    let mode = |transaction: &mut Transaction, path: &[u8]| {
        let inode = walk(transaction, path).unwrap();
        transaction.attributes(inode).unwrap().mode
    };
    assert_eq!((mode(&mut transaction, b"/d"), mode(&mut transaction, b"/f")), (0o755, 0o644));
    assert!(matches!(walk(&mut transaction, b"/s"), Err(FsError::NotFound)));
    let again = history.does(|shell| shell.chmod("/d", 0o700));
    history.does(|shell| shell.chmod("/d", 0o711));
    assert_eq!(history.revert(again), [("/d".to_owned(), ConflictReason::Changed)]);
}

#[test]
fn names_of_one_file_come_and_go() {
    let mut history = project();
    let linked = history.does(|shell| shell.link("/f", "/g"));
    history.does(|shell| shell.link("/f", "/h"));
    assert_eq!(history.revert(linked), []);
    assert_eq!(history.list()[4..], ["/f 1 x2", "/h 1 x2"]);
    let removed = history.does(|shell| shell.remove("/f"));
    history.does(|shell| shell.write("/later", "x"));
    assert_eq!(history.revert(removed), []);
    assert_eq!(history.list()[4..], ["/f 1 x2", "/h 1 x2", "/later x"]);
    let removed = history.does(|shell| {
        shell.remove("/f");
        shell.remove("/h");
    });
    history.does(|shell| shell.write("/later", "y"));
    assert_eq!(history.revert(removed), []);
    assert_eq!(history.list()[4..], ["/f 1 x2", "/h 1 x2", "/later y"]);
    let written = history.does(|shell| shell.write("/h", "2"));
    history.does(|shell| shell.write("/later", "z"));
    assert_eq!(history.revert(written), [], "only the link table told of it");
    assert_eq!(history.list()[4..], ["/f 1 x2", "/h 1 x2", "/later z"]);
    let removed = history.does(|shell| shell.remove("/f"));
    history.does(|shell| shell.write("/h", "3"));
    assert_eq!(history.revert(removed), [("/f".to_owned(), ConflictReason::OtherName)]);
    let written = history.does(|shell| {
        shell.link("/h", "/i");
        shell.write("/h", "4");
    });
    history.does(|shell| shell.write("/i", "5"));
    assert_eq!(history.revert(written).len(), 2);
}

#[test]
fn numbers_that_were_given_again_are_not_taken() {
    let mut history = project();
    history.does(|shell| shell.write("/one", "1"));
    let taken = history.states[1];
    history.states.push(taken);
    let undone = history.states.len() - 1;
    history.does(|shell| shell.write("/two", "2"));
    assert_eq!(history.revert_with(undone, false), []);
    assert_eq!(history.list()[4..], ["/f 1", "/one 1", "/two 2"]);
}

#[test]
fn a_removed_tree_comes_back_without_being_walked() {
    let mut history = History::new();
    history.does(|shell| {
        shell.mkdir("/big");
        for directory in 0..100 {
            shell.mkdir(&format!("/big/{directory}"));
            (0..100).for_each(|file| shell.write(&format!("/big/{directory}/{file}"), "x"));
        }
    });
    let removed = history.does(|shell| shell.remove("/big"));
    let before = history.states[removed - 1];
    history.does(|shell| shell.write("/later", "x"));
    let mut transaction = open(&history.store, history.head());
    let line = history.line(removed, true);
    let reads = history.store.reads();
    transaction.revert(before, history.states[removed], line, NOW).unwrap();
    let sealed = transaction.seal().unwrap();
    let (reads, written) = (history.store.reads() - reads, sealed.nodes.iter().count());
    println!("a revert of {} inodes: {reads} nodes read, {written} written", sealed.usage.inodes);
    assert!(reads <= 8 && written <= 2, "{reads} nodes read, {written} written");
    let state = history.keep(sealed);
    check(&history.store, state);
    assert_eq!(diff_of(&history, before, state), ["/later"]);

    // The same as a path, where something else changed since, and where nothing did.
    for (head, line) in [(state, None), (history.states[removed], Some(history.line(removed - 1, false)))] {
        let mut transaction = open(&history.store, head);
        transaction.remove_tree(Inode::ROOT, b"big", NOW).ok();
        let head = history.store.keep(transaction.seal().unwrap());
        let mut transaction = open(&history.store, head);
        let reads = history.store.reads();
        transaction.graft(before, &[vec![b"big"]], line, NOW).unwrap();
        let sealed = transaction.seal().unwrap();
        let (reads, written) = (history.store.reads() - reads, sealed.nodes.iter().count());
        println!("a graft, line {line:?}: {reads} nodes read, {written} written");
        let state = history.keep(sealed);
        check(&history.store, state);
    }
}

#[test]
fn paths_from_another_state_leave_the_rest_alone() {
    let mut history = project();
    history.does(|shell| {
        shell.link("/d/a", "/outside");
        shell.link("/d/e/b", "/d/inside");
    });
    let old = history.head();
    history.does(|shell| {
        shell.write("/d/a", "2");
        shell.write("/d/e/b", "2");
        shell.write("/d/more", "2");
        shell.write("/f", "2");
        shell.remove("/d/e");
    });
    let mut transaction = open(&history.store, history.head());
    let line = Some(history.line(2, false));
    transaction.graft(old, &[vec![b"d"]], line, NOW).unwrap();
    history.keep(transaction.seal().unwrap());
    check(&history.store, history.head());
    let expected = ["/d/", "/d/a 1", "/d/e/", "/d/e/b 1 x2", "/d/inside 1 x2", "/f 2", "/outside 2"].map(str::to_owned);
    assert_eq!(history.list(), expected);
    let mut transaction = open(&history.store, history.states[0]);
    transaction.graft(old, &[vec![b"d", b"e", b"b"], vec![b"d", b"a"], vec![b"f"]], None, NOW).unwrap();
    history.keep(transaction.seal().unwrap());
    check(&history.store, history.head());
    assert_eq!(history.list(), ["/d/", "/d/a 1", "/d/e/", "/d/e/b 1", "/f 1"]);
}
