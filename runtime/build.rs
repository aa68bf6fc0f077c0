//! Finds the artifacts of the guests that are built into the binary, and checks them against `guests/guests.lock`.
//!
//! They come in a crate that is never compiled: an optional dependency behind a feature that nobody enables, so that
//! `Cargo.lock` pins it and cargo fetches it, and `cargo metadata` tells where it lies.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use sha2::{Digest, Sha256};

#[path = "src/guest/lock.rs"]
#[expect(dead_code, reason = "the build needs the packages only, the runtime the rest")]
mod lock;

use lock::{Lock, PackageKind};

/// The feature of this crate that names the packages. See `Cargo.toml`.
const FEATURE: &str = "guest-artifacts";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/guest/lock.rs");
    println!("cargo:rerun-if-changed=../guests/guests.lock");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    if let Err(message) = run() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|error| error.to_string())?).join("Cargo.toml");
    let text =
        std::fs::read_to_string("../guests/guests.lock").map_err(|error| format!("guests/guests.lock: {error}"))?;
    let lock = Lock::parse(&text).map_err(|error| format!("guests/guests.lock: {error}"))?;
    let metadata = metadata(&manifest)?;
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    let [mut modules, mut libraries, mut mores, mut boots] = [const { String::new() }; 4];
    for guest in &lock.guests {
        if let Some(boot) = &guest.boot {
            let path = guests.join(boot);
            println!("cargo:rerun-if-changed={}", path.display());
            writeln!(boots, "({:?}, include_str!({:?})),", guest.name, path.display()).map_err(told)?;
        }
        let package = &guest.package;
        let folder = match package.kind {
            PackageKind::Wheel => continue,
            PackageKind::Repository => guests.clone(),
            PackageKind::Crate => metadata.folder(&package.name, &package.version)?,
        };
        let module = checked(folder.join(&guest.module.path), guest.module.bytes, &guest.module.sha256)?;
        println!("cargo:rerun-if-changed={}", module.display());
        writeln!(modules, "({:?}, include_bytes!({:?})),", guest.name, module.display()).map_err(told)?;
        if let Some(library) = &guest.library {
            let archive = checked(folder.join(&library.path), library.bytes, &library.sha256)?;
            writeln!(libraries, "({:?}, include_bytes!({:?})),", guest.name, archive.display()).map_err(told)?;
            if let Some(more) = &library.more {
                let more = checked(guests.join(&more.path), more.bytes, &more.sha256)?;
                println!("cargo:rerun-if-changed={}", more.display());
                writeln!(mores, "({:?}, include_bytes!({:?})),", guest.name, more.display()).map_err(told)?;
            }
        }
    }
    let table = format!(
        "static MODULES: &[(&str, &[u8])] = &[{modules}];\nstatic LIBRARIES: &[(&str, &[u8])] = &[{libraries}];\n\
         static MORE: &[(&str, &[u8])] = &[{mores}];\nstatic BOOTS: &[(&str, &str)] = &[{boots}];\n"
    );
    let out = env::var("OUT_DIR").map_err(told)?;
    std::fs::write(Path::new(&out).join("embedded.rs"), table).map_err(told)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Metadata {
    fn folder(&self, name: &str, version: &str) -> Result<PathBuf, String> {
        let found = self.packages.iter().find(|found| found.name == name && found.version == version);
        let found = found.ok_or_else(|| format!("cargo does not know {name} {version}: run `cargo fetch`"))?;
        found.manifest_path.parent().map(Path::to_path_buf).ok_or_else(|| "a manifest without a folder".to_owned())
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// Asks the cargo that runs this build. It waits for no lock that the outer cargo holds: that one has let go of the
/// package cache before it runs build scripts, and `metadata` does not touch the target directory.
fn metadata(manifest: &Path) -> Result<Metadata, String> {
    let cargo = env::var("CARGO").map_err(|error| error.to_string())?;
    let target = env::var("TARGET").map_err(|error| error.to_string())?;
    // Without the filter cargo would fetch what other operating systems need.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--features", FEATURE, "--filter-platform", &target])
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .map_err(|error| format!("cargo metadata did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cannot fetch the guests' packages: run `cargo fetch` while the registry can be reached, then build again\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Returns `path` when the file there has this length and SHA-256.
fn checked(path: PathBuf, bytes: u64, sha256: &str) -> Result<PathBuf, String> {
    let content = std::fs::read(&path).map_err(|error| format!("{}: {error}: run `cargo fetch`", path.display()))?;
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if content.len() as u64 != bytes || digest != sha256 {
        return Err(format!(
            "{} is not what guests/guests.lock says: SHA-256 {digest} where {sha256} is wanted; remove its folder from \
             cargo's cache and run `cargo fetch`",
            path.display()
        ));
    }
    Ok(path)
}
