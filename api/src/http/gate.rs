//! The way from async handlers to the runtime's blocking methods: threads, but never more than so many.
//!
//! Two queues, so that writers who wait for a busy sandbox's turn do not keep readers out. A client that goes away does not
//! stop what it started: the work holds its place until it is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::problem::{Failure, Kind};

/// Reads at once: they take microseconds to milliseconds, so more would only compete for the cores.
const LOOKS_MAX: usize = 32;
/// Changes at once: most wait, for a turn or for the disk, where one sync serves many.
const CHANGES_MAX: usize = 256;
/// How long a request waits for a place before it is told to come back.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Threads that the two queues, exports and the idempotency table can need together.
pub(crate) const THREADS_MAX: usize = LOOKS_MAX + CHANGES_MAX + 128;

/// Bounded access to blocking threads.
pub(crate) struct Gate {
    looks: Arc<Semaphore>,
    changes: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { looks: Arc::new(Semaphore::new(LOOKS_MAX)), changes: Arc::new(Semaphore::new(CHANGES_MAX)) }
    }

    pub(crate) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        run(Arc::clone(&self.looks), work).await
    }

    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        run(Arc::clone(&self.changes), work).await
    }
}

async fn run<T: Send + 'static>(
    places: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let place = tokio::time::timeout(WAIT_MAX, places.acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        return Err(Failure::new(Kind::Busy, "busy", "the service has too much to do at the moment"));
    };
    let span = tracing::Span::current();
    let task = tokio::task::spawn_blocking(move || {
        let _place = place;
        span.in_scope(work)
    });
    task.await.map_err(Failure::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn waiting_writers_do_not_keep_readers_out() {
        let gate = Arc::new(Gate::new());
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        let writers: Vec<_> = (0..CHANGES_MAX)
            .map(|_| {
                let (gate, blocked) = (Arc::clone(&gate), Arc::clone(&blocked));
                tokio::spawn(async move { gate.change(move || blocked.lock().unwrap().recv().is_ok()).await })
            })
            .collect();
        while gate.changes.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.look(|| 7).await.ok(), Some(7));
        drop(release);
        for writer in writers {
            assert!(writer.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_and_frees_its_place() {
        let gate = Gate::new();
        for _ in 0..=LOOKS_MAX {
            assert_eq!(
                gate.look(|| panic!("as the test wants")).await.map_err(|failure| failure.code()),
                Err::<(), _>("internal")
            );
        }
    }
}
