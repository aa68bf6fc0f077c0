//! A real directory goes in and comes out as it was: names, bytes, modes, times and links.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sandglass_snapshots::{
    Durability, FsError, ImportOptions, Imported, Inode, Kind, Quota, StateId, Store, StoreError, StoreOptions,
    TarOptions, Timestamp, Transaction, export_tar, import_directory, import_tar,
};

const QUOTA: Quota = Quota { bytes: 1 << 40, inodes: 1 << 20 };
const NOW: Timestamp = Timestamp(1_790_000_000_123_456_789);

fn open(directory: &Path) -> Store {
    let options = StoreOptions { durability: Durability::Process, ..StoreOptions::default() };
    Store::open(directory, options).expect("the store opens")
}

fn import(store: &Store, directory: &Path, threads: usize) -> Imported {
    import_directory(store, directory, &ImportOptions { threads }, &|_| {}).expect("the directory is imported")
}

/// Puts an import at `/workspace` of an empty tree, and its nodes into the store.
fn state_of(store: &Store, imported: &Imported) -> StateId {
    let mut transaction = store.begin_empty(Vec::new(), QUOTA);
    transaction.attach(Inode::ROOT, b"workspace", imported, NOW).expect("the name is free");
    let sealed = transaction.seal().expect("the state is sealed");
    store.put(&store.hold(), sealed.nodes).expect("the nodes are stored");
    sealed.state
}

/// What a path is: kind, mode, time, then bytes or target, and which number names its inode.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: Kind,
    mode: u32,
    modified: i128,
    bytes: Vec<u8>,
    links: u64,
}

type Tree = BTreeMap<Vec<u8>, Seen>;

fn host_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(root.join(&below)).expect("a directory") {
            let name = below.join(entry.expect("an entry").file_name());
            let path = root.join(&name);
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let (kind, bytes) = if metadata.is_dir() {
                waiting.push(name.clone());
                (Kind::Directory, Vec::new())
            } else if metadata.is_symlink() {
                (Kind::Symlink, fs::read_link(&path).expect("a link").into_os_string().into_vec())
            } else if metadata.is_file() {
                (Kind::File, fs::read(&path).expect("a file"))
            } else {
                continue;
            };
            let links = if kind == Kind::Directory { 1 } else { metadata.nlink() };
            let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
            let seen = Seen { kind, mode: metadata.mode() & 0o7777, modified, bytes, links };
            tree.insert(name.into_os_string().into_vec(), seen);
        }
    }
    tree
}

fn stored_tree(transaction: &mut Transaction, root: Inode) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![(Vec::new(), root)];
    while let Some((below, directory)) = waiting.pop() {
        let mut cookie = 0;
        loop {
            let page = transaction.read_directory(directory, cookie, 7).expect("a directory");
            let Some(last) = page.last() else { break };
            cookie = last.cookie;
            for entry in page {
                let mut path: Vec<u8> = below.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(&entry.name);
                let inode = transaction.lookup(directory, &entry.name).expect("it is there");
                let attributes = transaction.attributes(inode).expect("it is known");
                let bytes = match entry.kind {
                    Kind::Directory => {
                        waiting.push((path.clone(), inode));
                        Vec::new()
                    }
                    Kind::Symlink => transaction.read_link(inode).expect("a link").to_vec(),
                    Kind::File => {
                        let mut bytes = vec![0; usize::try_from(attributes.size).expect("small")];
                        let count = transaction.read(inode, 0, &mut bytes).expect("a file");
                        assert_eq!(count, bytes.len());
                        bytes
                    }
                };
                let (mode, modified) = (u32::from(attributes.mode), i128::from(attributes.modified.0));
                tree.insert(path, Seen { kind: entry.kind, mode, modified, bytes, links: attributes.links });
            }
        }
    }
    tree
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251).to_le_bytes()[0]).collect()
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::open(path).expect("it opens");
    file.set_times(FileTimes::new().set_modified(time)).expect("its time can be set");
}

/// Makes a directory with everything that can be in one.
fn make(root: &Path) {
    for directory in ["empty", "deep/er/and/deeper", "many"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for length in [0, 1, 512, 513, 65_535, 65_536, 65_537, 1_000_003] {
        fs::write(root.join(format!("deep/{length}")), content(length)).expect("a file");
    }
    let mut zeros = vec![0; 200_000];
    zeros[70_000] = 1;
    fs::write(root.join("deep/zeros"), zeros).expect("a file");
    let sparse = File::create(root.join("sparse")).expect("a file");
    sparse.set_len(9_000_000).expect("a hole");
    sparse.write_all_at(b"in the middle", 5_000_000).expect("some bytes");
    for number in 0..300 {
        fs::write(root.join(format!("many/{number}")), number.to_string()).expect("a file");
    }
    fs::write(root.join(OsStr::from_bytes(b"not \xff utf-8 \n")), "named").expect("a file");
    fs::write(root.join("n".repeat(255)), "long").expect("a file");
    let long = root.join("deep/er").join("d".repeat(200));
    fs::create_dir(&long).expect("a directory");
    fs::write(long.join("f".repeat(200)), "longer than a tar header").expect("a file");
    symlink("../outside//./and back/", root.join("deep/dangling")).expect("a link");
    symlink("t".repeat(300), root.join("deep/long target")).expect("a link");
    symlink("/etc", root.join("absolute")).expect("a link");
    fs::hard_link(root.join("deep/513"), root.join("many/second name")).expect("a link");
    fs::hard_link(root.join("deep/513"), root.join("deep/er/third name")).expect("a link");
    fs::hard_link(root.join("deep/1000003"), root.join("a large one")).expect("a link");
    for (path, mode) in [("deep/1", 0o4751), ("deep/512", 0o000), ("empty", 0o1777), ("many/7", 0o600)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let epoch = SystemTime::UNIX_EPOCH;
    set_modified(&root.join("many/1"), epoch + Duration::new(1_700_000_000, 1));
    set_modified(&root.join("many/2"), epoch - Duration::new(5, 250_000_000));
    set_modified(&root.join("many/3"), epoch);
    set_modified(&root.join("deep/er"), epoch + Duration::from_secs(86_400));
}

#[test]
fn a_directory_comes_in_as_it_is() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (root, data) = (temporary.path().join("root"), temporary.path().join("data"));
    fs::create_dir(&root).expect("a directory");
    make(&root);
    let store = open(&data);
    let imported = import(&store, &root, 3);
    assert_eq!(imported.skipped, []);
    let state = state_of(&store, &imported);
    drop(store);
    let mut transaction = open(&data).begin(state, QUOTA).expect("the state is there");
    let workspace = transaction.lookup(Inode::ROOT, b"workspace").expect("it was attached");
    let stored = stored_tree(&mut transaction, workspace);
    let host = host_tree(&root);
    assert_eq!(stored.keys().collect::<Vec<_>>(), host.keys().collect::<Vec<_>>());
    for (path, seen) in &host {
        assert!(stored[path] == *seen, "{}: {:?} is not {seen:?}", path.escape_ascii(), stored[path]);
    }
    let mut lookup = |path: &[&[u8]]| {
        path.iter().fold(workspace, |directory, name| transaction.lookup(directory, name).expect("it is there"))
    };
    let names: [Inode; 3] =
        [lookup(&[b"deep", b"513"]), lookup(&[b"many", b"second name"]), lookup(&[b"deep", b"er", b"third name"])];
    assert!(names.iter().all(|inode| *inode == names[0]), "hard links are one inode: {names:?}");
    let usage = transaction.usage();
    let inodes = host.len() as u64 - 3 + 2;
    assert_eq!((usage.inodes, usage.bytes), (inodes, imported.bytes), "each file counts once, with two roots");
    assert_eq!(imported.files + imported.directories + imported.symlinks, inodes - 1);
}

#[test]
fn the_same_directory_is_the_same_state_and_costs_nothing_the_second_time() {
    let temporary = tempfile::tempdir().expect("a directory");
    let root = temporary.path().join("root");
    fs::create_dir(&root).expect("a directory");
    make(&root);
    let store = open(&temporary.path().join("data"));
    let first = state_of(&store, &import(&store, &root, 1));
    let nodes = store.stats().nodes;
    let second = state_of(&store, &import(&store, &root, 4));
    assert_eq!(first, second);
    assert_eq!(store.stats().nodes, nodes, "every node was there");
}

#[test]
fn an_archive_holds_what_the_state_holds_and_is_always_the_same() {
    let temporary = tempfile::tempdir().expect("a directory");
    let root = temporary.path().join("root");
    fs::create_dir(&root).expect("a directory");
    make(&root);
    let store = open(&temporary.path().join("data"));
    let state = state_of(&store, &import(&store, &root, 2));
    let mut archive = Vec::new();
    export_tar(&store, state, &[], &mut archive).expect("an archive");
    let mut again = Vec::new();
    export_tar(&store, state, &[b"workspace"], &mut again).expect("an archive");
    assert!(archive == again, "the same entries under the same names");

    let mut found = Tree::new();
    let mut reader = tar::Archive::new(&archive[..]);
    let mut last = Vec::new();
    for entry in reader.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let path = entry.path_bytes().into_owned();
        let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
        let key: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        assert!(last < key, "entries are sorted");
        last = key;
        let Some(path) = path.strip_prefix(b"workspace/") else {
            assert_eq!(path, b"workspace");
            continue;
        };
        let header = entry.header().clone();
        let (kind, bytes) = match header.entry_type() {
            tar::EntryType::Directory => (Kind::Directory, Vec::new()),
            tar::EntryType::Symlink => (Kind::Symlink, entry.link_name_bytes().expect("a target").into_owned()),
            tar::EntryType::Link => {
                let first = entry.link_name_bytes().expect("a target").into_owned();
                let first = first.strip_prefix(b"workspace/").expect("inside").to_vec();
                found.insert(path.to_vec(), found[&first].clone());
                continue;
            }
            _ => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).expect("its bytes");
                (Kind::File, bytes)
            }
        };
        let mut modified = i128::from(header.mtime().expect("a time")) * 1_000_000_000;
        for record in entry.pax_extensions().expect("records").into_iter().flatten() {
            let record = record.expect("a record");
            assert_eq!(record.key(), Ok("mtime"));
            modified = nanoseconds(record.value().expect("a number"));
        }
        let mode = header.mode().expect("a mode");
        found.insert(path.to_vec(), Seen { kind, mode, modified, bytes, links: 1 });
    }
    let mut host = host_tree(&root);
    host.values_mut().for_each(|seen| seen.links = 1);
    assert_eq!(found.keys().collect::<Vec<_>>(), host.keys().collect::<Vec<_>>());
    for (path, seen) in &host {
        assert!(found[path] == *seen, "{}: {:?} is not {seen:?}", path.escape_ascii(), found[path]);
    }

    let mut one = Vec::new();
    export_tar(&store, state, &[b"workspace", b"deep", b"513"], &mut one).expect("an archive");
    assert_eq!(tar::Archive::new(&one[..]).entries().expect("entries").count(), 1);
    for missing in [&[&b"workspace"[..], b"nothing"][..], &[b"workspace", b"absolute", b"passwd"]] {
        let refused = export_tar(&store, state, missing, &mut Vec::new());
        assert!(matches!(refused, Err(StoreError::UnknownPath(_))), "{refused:?}");
    }
    let refused = export_tar(&store, state, &[], &mut Full(10_000));
    assert!(matches!(refused, Err(StoreError::Export(_))), "{refused:?}");
}

/// Somewhere with little room.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn nanoseconds(text: &str) -> i128 {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction: i128 = format!("{fraction:0<9}").parse().expect("digits");
    let whole = seconds.trim_start_matches('-').parse::<i128>().expect("digits") * 1_000_000_000 + fraction;
    if seconds.starts_with('-') { -whole } else { whole }
}

#[test]
fn what_is_no_file_is_left_out_and_named() {
    let temporary = tempfile::tempdir().expect("a directory");
    let root = temporary.path().join("root");
    fs::create_dir_all(root.join("sub")).expect("a directory");
    fs::write(root.join("kept"), "kept").expect("a file");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("sub/socket")).expect("a socket");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("sub/pipe"), rustix::fs::Mode::RWXU).expect("a pipe");
    let store = open(&temporary.path().join("data"));
    let imported = import(&store, &root, 2);
    let skipped: Vec<_> = imported.skipped.iter().map(|(path, reason)| (path.as_path(), reason.as_str())).collect();
    assert_eq!(skipped, [(&*root.join("sub/pipe"), "it is a pipe"), (&*root.join("sub/socket"), "it is a socket")]);
    assert_eq!((imported.files, imported.directories), (1, 2));
    let missing = import_directory(&store, &root.join("missing"), &ImportOptions::default(), &|_| {});
    assert!(matches!(missing, Err(StoreError::Io { .. })), "{missing:?}");
    let file = import_directory(&store, &root.join("kept"), &ImportOptions::default(), &|_| {});
    assert!(matches!(file, Err(StoreError::Io { .. })), "{file:?}");
}

#[test]
fn an_import_is_work_in_a_transaction_like_any_other() {
    let temporary = tempfile::tempdir().expect("a directory");
    let root = temporary.path().join("root");
    fs::create_dir_all(root.join("sub")).expect("a directory");
    fs::write(root.join("sub/a"), "from the host").expect("a file");
    fs::hard_link(root.join("sub/a"), root.join("b")).expect("a link");
    fs::hard_link(root.join("sub/a"), temporary.path().join("outside")).expect("a link");
    let store = open(&temporary.path().join("data"));
    let imported = import(&store, &root, 2);

    let mut small = store.begin_empty(Vec::new(), Quota { bytes: 12, inodes: 100 });
    let refused = small.attach(Inode::ROOT, b"workspace", &imported, NOW);
    assert!(matches!(refused, Err(FsError::QuotaBytes { limit_bytes: 12 })), "{refused:?}");
    let mut few = store.begin_empty(Vec::new(), Quota { bytes: 100, inodes: 3 });
    let refused = few.attach(Inode::ROOT, b"workspace", &imported, NOW);
    assert!(matches!(refused, Err(FsError::QuotaInodes { limit_inodes: 3 })), "{refused:?}");
    assert_eq!(few.usage().inodes, 1, "nothing was charged");

    let mut transaction = store.begin_empty(Vec::new(), QUOTA);
    transaction.attach(Inode::ROOT, b"one", &imported, NOW).expect("the name is free");
    transaction.attach(Inode::ROOT, b"two", &imported, NOW).expect("the name is free");
    let taken = transaction.attach(Inode::ROOT, b"two", &imported, NOW);
    assert!(matches!(taken, Err(FsError::Exists)), "{taken:?}");
    let mut lookup = |path: &[&[u8]]| {
        path.iter().fold(Inode::ROOT, |directory, name| transaction.lookup(directory, name).expect("it is there"))
    };
    let (one, two) = (lookup(&[b"one", b"b"]), lookup(&[b"two", b"sub", b"a"]));
    assert_ne!(one, two, "two imports share no inode");
    assert_eq!(lookup(&[b"one", b"sub", b"a"]), one);
    transaction.write(one, 0, b"FROM", NOW).expect("it can be written before it is sealed");
    let sealed = transaction.seal().expect("a state");
    store.put(&store.hold(), sealed.nodes).expect("stored");
    let mut transaction = store.begin(sealed.state, QUOTA).expect("the state is there");
    let read = |transaction: &mut Transaction, path: [&[u8]; 2]| {
        let directory = transaction.lookup(Inode::ROOT, path[0]).expect("it is there");
        let file = transaction.lookup(directory, path[1]).expect("it is there");
        let mut bytes = [0; 13];
        transaction.read(file, 0, &mut bytes).expect("a file");
        (bytes, transaction.attributes(file).expect("known").links)
    };
    assert_eq!(read(&mut transaction, [b"one", b"b"]), (*b"FROM the host", 2), "the name outside does not count");
    assert_eq!(read(&mut transaction, [b"two", b"b"]), (*b"from the host", 2));
}

fn import_archive(store: &Store, archive: &[u8], strip: usize) -> Result<Imported, StoreError> {
    import_tar(store, &mut &archive[..], &TarOptions { quota: QUOTA, strip }, &mut |_| {})
}

#[test]
fn an_archive_comes_in_as_the_directory_that_it_was_made_of() {
    let temporary = tempfile::tempdir().expect("a directory");
    let root = temporary.path().join("root");
    fs::create_dir(&root).expect("a directory");
    make(&root);
    let store = open(&temporary.path().join("data"));
    let directory = import(&store, &root, 2);
    let state = state_of(&store, &directory);
    let mut archive = Vec::new();
    export_tar(&store, state, &[b"workspace"], &mut archive).expect("an archive");
    let other = open(&temporary.path().join("other"));
    let imported = import_archive(&other, &archive, 1).expect("it is taken in");
    assert_eq!(imported.skipped, []);
    assert_eq!(
        (imported.files, imported.directories, imported.symlinks, imported.bytes),
        (directory.files, directory.directories, directory.symlinks, directory.bytes)
    );
    assert_eq!(state_of(&other, &imported), state);
    for length in (1..archive.len() - 1024).step_by(40_009) {
        // Cut between two entries it is a whole archive without an end, as `tar` says too.
        if let Ok(part) = import_archive(&other, &archive[..length], 1) {
            assert!(part.files < directory.files || length % 512 == 0);
        }
    }
    // Programs that pack in other forms, where there is one. Extended headers with line ends in names can't be read.
    fs::remove_file(root.join(OsStr::from_bytes(b"not \xff utf-8 \n"))).expect("a file");
    for form in [&["--format=gnu", "-S"][..], &["--format=pax"], &["--format=posix", "--hard-dereference"]] {
        let packed = std::process::Command::new("tar").args(form).arg("-C").arg(&root).args(["-cf", "-", "."]).output();
        let Ok(packed) = packed.map(|packed| packed.stdout) else { continue };
        let imported = import_archive(&other, &packed, 0).expect("it is taken in");
        assert_eq!(imported.skipped, [], "{form:?}");
        let mut transaction = other.begin(state_of(&other, &imported), QUOTA).expect("the state is there");
        let workspace = transaction.lookup(Inode::ROOT, b"workspace").expect("it was attached");
        let (stored, host) = (stored_tree(&mut transaction, workspace), host_tree(&root));
        assert_eq!(stored.keys().collect::<Vec<_>>(), host.keys().collect::<Vec<_>>());
        for (path, seen) in &host {
            assert!(stored[path].bytes == seen.bytes, "{form:?}: {}", path.escape_ascii());
        }
    }
}

/// Adds an entry whose name is taken as it is, however bad.
fn add(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, target: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o640);
    header.set_mtime(5);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    archive.append(&header, bytes).expect("it fits");
}

#[test]
fn what_an_archive_should_not_hold_is_left_out_and_named() {
    use tar::EntryType as Type;
    let temporary = tempfile::tempdir().expect("a directory");
    let store = open(&temporary.path().join("data"));
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, Type::Regular, "/etc/passwd", "", b"root");
    add(&mut archive, Type::Regular, "a/../../b", "", b"up");
    add(&mut archive, Type::Symlink, "out", "/etc", b"");
    add(&mut archive, Type::Regular, "out/passwd", "", b"root");
    add(&mut archive, Type::Block, "device", "", b"");
    add(&mut archive, Type::Fifo, "pipe", "", b"");
    add(&mut archive, Type::Link, "hard", "../outside", b"");
    add(&mut archive, Type::Link, "early", "later", b"");
    add(&mut archive, Type::Regular, "later", "", b"first");
    add(&mut archive, Type::Regular, "./later", "", b"second");
    add(&mut archive, Type::Regular, "later/below", "", b"");
    add(&mut archive, Type::Link, "deep/er/name", "later", b"");
    add(&mut archive, Type::Regular, "deep", "", b"no file");
    add(&mut archive, Type::Symlink, "nowhere", "", b"");
    let archive = archive.into_inner().expect("an archive");
    let imported = import_archive(&store, &archive, 0).expect("it is taken in");
    let skipped: Vec<_> =
        imported.skipped.iter().map(|(path, reason)| (path.to_str().expect("a name"), &**reason)).collect();
    assert_eq!(
        skipped,
        [
            ("/etc/passwd", "its path is absolute"),
            ("a/../../b", "its path leads upwards"),
            ("deep", "a directory of this name is not empty"),
            ("device", "it is a device"),
            ("early", "what it links to did not come before it"),
            ("hard", "its path leads upwards"),
            ("later/below", "its path leads through a file"),
            ("nowhere", "its target is empty, too long or not allowed"),
            ("out/passwd", "its path leads through a symbolic link"),
            ("pipe", "it is a pipe"),
        ]
    );
    let mut transaction = store.begin(state_of(&store, &imported), QUOTA).expect("the state is there");
    let workspace = transaction.lookup(Inode::ROOT, b"workspace").expect("it was attached");
    let tree = stored_tree(&mut transaction, workspace);
    let names: Vec<_> = tree.keys().map(|name| name.escape_ascii().to_string()).collect();
    assert_eq!(names, ["deep", "deep/er", "deep/er/name", "later", "out"]);
    assert_eq!((&tree[&b"later"[..]].bytes[..], tree[&b"later"[..]].links), (&b"second"[..], 2));
    assert_eq!((tree[&b"deep"[..]].mode, tree[&b"deep"[..]].modified), (0o755, 0));
}

#[test]
fn an_archive_that_is_too_large_or_is_none_is_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    let store = open(&temporary.path().join("data"));
    let refused = |archive: &[u8], quota: Quota| {
        let refused = import_tar(&store, &mut &*archive, &TarOptions { quota, strip: 0 }, &mut |_| {});
        refused.expect_err("it is refused").to_string()
    };
    // It says that it holds a terabyte, and nothing comes.
    let mut header = tar::Header::new_gnu();
    header.set_path("large").expect("a name");
    header.set_size(1 << 40);
    header.set_mode(0o644);
    header.set_cksum();
    let small = Quota { bytes: 1 << 30, inodes: 3 };
    assert!(refused(header.as_bytes(), small).contains("more than 1073741824"));
    assert!(refused(header.as_bytes(), QUOTA).contains("can't be taken in"));
    let mut many = tar::Builder::new(Vec::new());
    add(&mut many, tar::EntryType::Regular, "a/b/c/d", "", b"");
    assert!(refused(&many.into_inner().expect("an archive"), small).contains("more than 3 files"));
    assert!(refused(&[7; 5000], QUOTA).contains("can't be taken in"));
    // A name that goes on and on.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let name = std::io::Read::chain(&header.as_bytes()[..], std::io::repeat(b'n'));
    let mut name = std::io::BufReader::new(name);
    let refused = import_tar(&store, &mut name, &TarOptions { quota: QUOTA, strip: 0 }, &mut |_| {});
    assert!(refused.expect_err("it is refused").to_string().contains("headers"));
}
