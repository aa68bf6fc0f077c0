//! Reverts against a naive model: maps of paths and files, operations in sequence, any of them taken back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::tree::{Directory, Nodes};

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory(u16),
    File(u64),
}

/// A file: mode, time, content, and whether it ever had two names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelFile {
    mode: u16,
    time: i64,
    text: String,
    shared: bool,
}

#[derive(Clone, Debug, Default)]
struct Model {
    names: BTreeMap<String, Node>,
    files: BTreeMap<u64, ModelFile>,
}

/// What two paths are compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Directory(u16),
    File(u16, i64, String),
}

impl Model {
    fn value(&self, path: &str) -> Option<Value> {
        Some(match self.names.get(path)? {
            Node::Directory(mode) => Value::Directory(*mode),
            Node::File(file) => {
                let file = &self.files[file];
                Value::File(file.mode, file.time, file.text.clone())
            }
        })
    }

    fn file(&self, path: &str) -> Option<u64> {
        match self.names.get(path)? {
            Node::File(file) => Some(*file),
            Node::Directory(_) => None,
        }
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.names.get(path), Some(Node::Directory(_)))
    }

    fn below(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        self.names.keys().filter(|name| name.starts_with(&prefix)).cloned().collect()
    }

    fn drop_nameless(&mut self) {
        let named: BTreeSet<u64> = self.names.keys().filter_map(|path| self.file(path)).collect();
        self.files.retain(|file, _| named.contains(file));
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

fn same(left: &ModelFile, right: &ModelFile) -> bool {
    (left.mode, left.time, &left.text) == (right.mode, right.time, &right.text)
}

/// The three-way result, or the paths in conflict.
fn three_way(base: &Model, theirs: &Model, ours: &Model, next: &mut u64) -> Result<Model, BTreeSet<String>> {
    let mut conflicts = BTreeSet::new();
    let mut result = ours.clone();
    let mut paths: BTreeSet<&String> = base.names.keys().collect();
    paths.extend(theirs.names.keys());
    let mut files: BTreeMap<u64, ModelFile> = BTreeMap::new();
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    // Files with several names, as files.
    for (file, old) in &theirs.files {
        let Some(new) = base.files.get(file).filter(|new| new.shared && old.shared && !same(new, old)) else {
            continue;
        };
        match ours.files.get(file).filter(|here| here.shared) {
            Some(here) if same(here, new) => drop(files.insert(*file, old.clone())),
            Some(here) if same(here, old) => {}
            _ => conflicts.extend(
                paths
                    .iter()
                    .filter(|path| [base, theirs].map(|side| side.file(path)) == [Some(*file); 2])
                    .map(|path| (*path).clone()),
            ),
        }
    }
    for path in paths {
        let (b, t, o) = (base.value(path), theirs.value(path), ours.value(path));
        let shared = |side: &Model| side.file(path).filter(|file| side.files[file].shared);
        if b == t || (shared(base).is_some() && shared(base) == shared(theirs)) || o == t {
            continue;
        }
        if o != b {
            conflicts.insert(path.clone());
            continue;
        }
        let file = ours.file(path);
        match (&b, &t) {
            (Some(Value::File(..)), Some(Value::File(..)))
                if base.file(path) == theirs.file(path) && file == base.file(path) =>
            {
                files.insert(file.unwrap(), theirs.files[&file.unwrap()].clone());
            }
            (Some(Value::Directory(_)), Some(Value::Directory(mode))) => {
                result.names.insert(path.clone(), Node::Directory(*mode));
            }
            _ => {
                removed.extend(b.is_some().then(|| path.clone()));
                added.extend(t.is_some().then(|| path.clone()));
            }
        }
    }
    for (file, old) in files.clone() {
        let here = result.files.get_mut(&file).unwrap();
        *here = ModelFile { shared: here.shared, ..old };
    }
    result.names.retain(|path, _| !removed.contains(path));
    result.drop_nameless();
    let mut groups = BTreeMap::new();
    for path in &added {
        let node = match &theirs.names[path] {
            Node::File(old) => {
                let file = &theirs.files[old];
                let here = ours.files.get(old).filter(|here| here.shared);
                // The file has one name here, one of those that the operation touched.
                let home = here.is_none()
                    && theirs.names.iter().any(|(other, node)| {
                        let untouched = base.file(other) == Some(*old) && base.files[old].shared;
                        let is_same =
                            files.contains_key(old) || ours.files.get(old).is_some_and(|here| same(here, file));
                        *node == Node::File(*old) && ours.file(other) == Some(*old) && !untouched && is_same
                    });
                let becomes = files.contains_key(old) || here.is_some_and(|here| same(here, file));
                if file.shared && here.is_some() && !becomes {
                    conflicts.insert(path.clone());
                }
                let alive = result.files.contains_key(old);
                let number = match groups.get(old) {
                    Some(number) if file.shared => *number,
                    _ if file.shared && alive && ((here.is_some() && becomes) || home) => *old,
                    _ => {
                        *next += 1;
                        result.files.insert(*next, ModelFile { shared: false, ..file.clone() });
                        *next
                    }
                };
                groups.insert(*old, number);
                Node::File(number)
            }
            directory => directory.clone(),
        };
        result.names.insert(path.clone(), node);
    }
    for path in result.names.keys() {
        let above = parent(path);
        if !result.is_directory(above) {
            conflicts.insert(path.clone());
            conflicts.insert(above.to_owned());
        }
    }
    if conflicts.is_empty() { Ok(result) } else { Err(conflicts) }
}

#[derive(Clone, Debug)]
enum Action {
    Mkdir(usize),
    Write(usize, u8, i64),
    Chmod(usize, bool),
    Link(usize, usize),
    Remove(usize),
    Rename(usize, usize),
}

#[derive(Clone, Debug)]
enum Step {
    Do(Vec<Action>),
    /// The head becomes an older state.
    Back(usize),
    Revert(usize),
    /// A path becomes what it is in an older state.
    Graft(usize, usize),
}

/// Few paths, so that operations meet.
fn path(number: usize) -> String {
    let names = ["a", "b", "c"];
    let (depth, mut rest) = (number % 3 + 1, number / 3);
    (0..depth).fold(String::new(), |path, _| {
        let name = names[rest % 3];
        rest /= 3;
        format!("{path}/{name}")
    })
}

fn action() -> impl Strategy<Value = Action> {
    let path = || 0..81usize;
    prop_oneof![
        4 => path().prop_map(Action::Mkdir),
        5 => (path(), 0..3u8, 0..3i64).prop_map(|(path, text, time)| Action::Write(path, text, time)),
        1 => (path(), any::<bool>()).prop_map(|(path, open)| Action::Chmod(path, open)),
        2 => (path(), path()).prop_map(|(from, to)| Action::Link(from, to)),
        3 => path().prop_map(Action::Remove),
        3 => (path(), path()).prop_map(|(from, to)| Action::Rename(from, to)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(action(), 1..6).prop_map(Step::Do),
        1 => (0..20usize).prop_map(Step::Back),
        5 => (0..20usize).prop_map(Step::Revert),
        2 => (0..20usize, 0..81usize).prop_map(|(state, path)| Step::Graft(state, path)),
    ]
}

/// Does one thing in both worlds, where it can be done; what can't is left out.
fn act(shell: &mut Shell, model: &mut Model, action: &Action) {
    let new = |model: &Model, path: &str| !model.names.contains_key(path) && model.is_directory(parent(path));
    match action {
        Action::Mkdir(number) => {
            let path = path(*number);
            if new(model, &path) {
                shell.mkdir(&path);
                model.names.insert(path, Node::Directory(0o755));
            }
        }
        Action::Write(number, text, time) => {
            let (path, text) = (path(*number), "x".repeat(usize::from(*text) * 300));
            shell.1 = Timestamp(*time);
            if new(model, &path) {
                shell.write(&path, &text);
                let file = walk(&mut shell.0, path.as_bytes()).unwrap().0;
                model.names.insert(path.clone(), Node::File(file));
                model.files.insert(file, ModelFile { mode: 0o644, time: *time, text, shared: false });
            } else if let Some(file) = model.file(&path) {
                shell.write(&path, &text);
                let file = model.files.get_mut(&file).unwrap();
                (file.text, file.time) = (text, *time);
            }
            if model.file(&path).is_some() {
                let inode = walk(&mut shell.0, path.as_bytes()).unwrap();
                shell.0.set_times(inode, None, Some(Timestamp(*time)), Timestamp(*time)).unwrap();
            }
        }
        Action::Chmod(number, open) => {
            let (path, mode) = (path(*number), if *open { 0o777 } else { 0o600 });
            match model.names.get_mut(&path) {
                None => return,
                Some(Node::Directory(known)) => *known = mode,
                Some(Node::File(file)) => model.files.get_mut(file).unwrap().mode = mode,
            }
            shell.chmod(&path, mode);
        }
        Action::Link(from, to) => {
            let (from, to) = (path(*from), path(*to));
            if let Some(file) = model.file(&from).filter(|_| new(model, &to)) {
                shell.link(&from, &to);
                model.names.insert(to, Node::File(file));
                model.files.get_mut(&file).unwrap().shared = true;
            }
        }
        Action::Remove(number) => {
            let path = path(*number);
            if model.names.remove(&path).is_some() {
                shell.remove(&path);
                let below = model.below(&path);
                model.names.retain(|path, _| !below.contains(path));
                model.drop_nameless();
            }
        }
        Action::Rename(from, to) => {
            let (from, to) = (path(*from), path(*to));
            let inside = to.starts_with(&format!("{from}/"));
            if model.names.contains_key(&from) && new(model, &to) && from != to && !inside {
                shell.rename(&from, &to);
                for old in model.below(&from).into_iter().chain([from.clone()]) {
                    let node = model.names.remove(&old).unwrap();
                    model.names.insert(format!("{to}{}", &old[from.len()..]), node);
                }
            }
        }
    }
}

/// Reads a state into a model; files are numbered by their inodes.
fn read(store: &Arc<MemoryNodes>, state: StateId) -> Model {
    let mut transaction = open(store, state);
    let mut model = Model::default();
    let nodes = Nodes::borrowed(&**store, Nodes::cache());
    let links = State::load(&**store, state).unwrap().links;
    let links = Directory::stored(links, &nodes).unwrap();
    let mut waiting = vec![(String::new(), Inode::ROOT)];
    while let Some((path, directory)) = waiting.pop() {
        for entry in transaction.read_directory(directory, 0, 4000).unwrap() {
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            let inode = transaction.lookup(directory, &entry.name).unwrap();
            let known = transaction.attributes(inode).unwrap();
            if known.kind == Kind::Directory {
                model.names.insert(path.clone(), Node::Directory(known.mode));
                waiting.push((path, inode));
                continue;
            }
            let mut bytes = vec![0; usize::try_from(known.size).unwrap()];
            transaction.read(inode, 0, &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            model.names.insert(path, Node::File(inode.0));
            let shared = links.get(&inode.0.to_be_bytes(), &nodes).unwrap().is_some();
            let file = ModelFile { mode: known.mode, time: known.modified.0, text, shared };
            model.files.insert(inode.0, file);
        }
    }
    model
}

/// A model without its numbers: values by path, and the sets of names that are one file.
fn shape(model: &Model) -> (BTreeMap<String, Value>, BTreeSet<Vec<String>>) {
    let mut groups: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for path in model.names.keys() {
        if let Some(file) = model.file(path) {
            groups.entry(file).or_default().push(path.clone());
        }
    }
    let values = model.names.keys().map(|path| (path.clone(), model.value(path).unwrap())).collect();
    (values, groups.into_values().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn reverts_are_what_the_model_says(steps in prop::collection::vec(step(), 1..24)) {
        let mut history = History::new();
        let mut models = vec![Model::default()];
        let mut forward = vec![true];
        // For what the model copies, until the state tells the number.
        let mut next = 1 << 40;
        for step in steps {
            let mut model = models.last().unwrap().clone();
            match step {
                Step::Do(actions) => {
                    let mut shell = Shell(open(&history.store, history.head()), Timestamp(7));
                    actions.iter().for_each(|action| act(&mut shell, &mut model, action));
                    history.keep(shell.0.seal().unwrap());
                    forward.push(true);
                }
                Step::Back(number) => {
                    let number = number % models.len();
                    model = models[number].clone();
                    history.states.push(history.states[number]);
                    forward.push(false);
                }
                Step::Graft(number, at) => {
                    let (number, path) = (number % models.len(), path(at));
                    let mut transaction = open(&history.store, history.head());
                    let parts: Vec<_> = path.split('/').skip(1).map(str::as_bytes).collect();
                    let line = Some(history.line(number, false)).filter(|_| at % 2 == 0);
                    let done = transaction.graft(history.states[number], &[parts], line, NOW);
                    let Some(expected) = grafted(&models[number], &model, &path) else {
                        prop_assert!(done.is_err());
                        continue;
                    };
                    done.unwrap();
                    history.keep(transaction.seal().unwrap());
                    model = read(&history.store, history.head());
                    prop_assert_eq!(shape(&model).0, expected);
                    forward.push(false);
                }
                Step::Revert(number) => {
                    let number = number % models.len();
                    if number == 0 {
                        continue;
                    }
                    let line = history.line(number, forward[number + 1..].iter().all(|forward| *forward));
                    let mut transaction = open(&history.store, history.head());
                    let (before, after) = (history.states[number - 1], history.states[number]);
                    let newest = after == history.head();
                    let reverted = transaction.revert(before, after, line, NOW).unwrap();
                    let expected = if newest {
                        Ok(models[number - 1].clone())
                    } else {
                        three_way(&models[number], &models[number - 1], &model, &mut next)
                    };
                    match (reverted, expected) {
                        (Reverted::Done, Ok(expected)) => {
                            history.keep(transaction.seal().unwrap());
                            prop_assert_eq!(!newest || history.head() == before, true);
                            prop_assert_eq!(shape(&read(&history.store, history.head())), shape(&expected));
                            // What is one file is told by its number, in the model too: a number that was given again after
                            // going back stands for the newer file.
                            model = read(&history.store, history.head());
                            forward.push(false);
                        }
                        (Reverted::Conflicts(found), Err(expected)) => {
                            prop_assert!(!transaction.is_changed());
                            for conflict in found.listed {
                                let path = String::from_utf8(conflict.path).unwrap();
                                prop_assert!(expected.contains(&path), "{path} is not among {expected:?}");
                            }
                            continue;
                        }
                        (found, expected) => prop_assert!(false, "{found:?} but the model says {expected:?}"),
                    }
                }
            }
            check(&history.store, history.head());
            prop_assert_eq!(shape(&read(&history.store, history.head())), shape(&model));
            models.push(model);
        }
    }
}

/// What a path of another state makes of ours, by values; nothing if it is in neither, or can't be there.
fn grafted(theirs: &Model, ours: &Model, path: &str) -> Option<BTreeMap<String, Value>> {
    if theirs.value(path).is_none() && ours.value(path).is_none() {
        return None;
    }
    let inside = |name: &str| name == path || name.starts_with(&format!("{path}/"));
    let (mut values, _) = shape(ours);
    values.retain(|name, _| !inside(name));
    let (there, _) = shape(theirs);
    for (end, _) in path.match_indices('/').skip(1) {
        match values.get(&path[..end]) {
            Some(Value::Directory(_)) => {}
            Some(Value::File(..)) => return None,
            None => drop(values.insert(path[..end].to_owned(), there.get(&path[..end])?.clone())),
        }
    }
    values.extend(there.into_iter().filter(|(name, _)| inside(name)));
    Some(values)
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}
