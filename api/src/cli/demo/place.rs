//! Where the demo keeps its data, and that it is gone afterwards, also after Ctrl-C.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::{Failure, exit};

/// The demo's data directory.
pub(crate) struct Place {
    data: PathBuf,
    /// Beside the data, for what is only needed for a moment.
    scratch: tempfile::TempDir,
    kept: Kept,
    /// What has to go if the program is ended in the middle; nothing once the story is told.
    on_interrupt: Arc<Mutex<Option<Vec<PathBuf>>>>,
    interrupted: Receiver<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// It was named: it is the user's.
    Named,
    /// It was asked to be kept.
    Asked,
    No,
}

impl Place {
    /// Takes the named data directory, or makes one.
    pub(crate) fn new(named: Option<PathBuf>, keep: bool) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("no temporary directory can be made: {error}"));
        let made = || tempfile::Builder::new().prefix("sandglass-demo-").tempdir();
        let scratch = made().map_err(failed)?;
        let (data, kept) = match named {
            Some(data) => (data, Kept::Named),
            None if keep => (made().map_err(failed)?.keep(), Kept::Asked),
            None => (scratch.path().join("data"), Kept::No),
        };
        let on_interrupt = Arc::new(Mutex::new(Some(vec![scratch.path().to_owned()])));
        let interrupted = watch(Arc::clone(&on_interrupt));
        Ok(Self { data, scratch, kept, on_interrupt, interrupted })
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Returns a place for what is only needed for a moment.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Whether the data is there when the demo has ended.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept != Kept::No
    }

    /// Says what becomes of it.
    pub(crate) fn fate(&self) -> &'static str {
        match self.kept {
            Kept::Named => "",
            Kept::Asked => " (kept)",
            Kept::No => " (removed at the end)",
        }
    }

    /// Waits for Ctrl-C or the request to end.
    pub(crate) fn wait_for_interrupt(&self) {
        self.on_interrupt.lock().unwrap_or_else(PoisonError::into_inner).take();
        // An error says that no signals can be waited for, and then nobody could end the wait.
        let _signal = self.interrupted.recv();
    }
}

/// Waits for signals in a thread: before the story is told they end the program, later they are passed on.
fn watch(on_interrupt: Arc<Mutex<Option<Vec<PathBuf>>>>) -> Receiver<()> {
    let (sender, receiver) = channel();
    let wait = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
                let leftovers = on_interrupt.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(leftovers) = leftovers {
                    // What can't be removed lies in the directory for temporary files.
                    leftovers.iter().for_each(|path| fs::remove_dir_all(path).unwrap_or_default());
                    std::process::exit(i32::from(exit::CANCELLED));
                }
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
    };
    // Without the thread signals end the program as they always do.
    drop(thread::Builder::new().name("signals".to_owned()).spawn(wait));
    receiver
}
