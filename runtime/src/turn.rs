//! A sandbox's turn: one writer at a time, in the order of asking, and only so many waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

type Waiter = Box<dyn FnOnce(TurnGuard) + Send>;

/// Who may write, and who waits for it.
pub(crate) struct Turn {
    queue: Mutex<Queue>,
    waiting_max: usize,
}

#[derive(Default)]
struct Queue {
    taken: bool,
    waiting: VecDeque<Waiter>,
}

/// The turn itself: whoever holds it is the only writer. Dropping it passes it on.
pub(crate) struct TurnGuard {
    turn: Arc<Turn>,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Too many wait already.
    Full,
    /// It did not come in time.
    TimedOut,
}

impl Turn {
    pub(crate) fn new(waiting_max: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), waiting_max })
    }

    /// Calls `then` with the turn when it comes: at once, on this thread, if it is free; else on the thread that ends the
    /// turn before. `then` must only hand the guard on.
    pub(crate) fn take_then(self: &Arc<Self>, then: impl FnOnce(TurnGuard) + Send + 'static) -> Result<(), NoTurn> {
        {
            let mut queue = self.lock();
            if queue.taken {
                if queue.waiting.len() >= self.waiting_max {
                    return Err(NoTurn::Full);
                }
                queue.waiting.push_back(Box::new(then));
                return Ok(());
            }
            queue.taken = true;
        }
        then(TurnGuard { turn: Arc::clone(self) });
        Ok(())
    }

    /// Waits for the turn, at most for `wait_max`.
    pub(crate) fn take(self: &Arc<Self>, wait_max: Duration) -> Result<TurnGuard, NoTurn> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.take_then(move |guard| {
            // A waiter that gave up drops the guard here, which passes the turn on.
            drop(sender.send(guard));
        })?;
        receiver.recv_timeout(wait_max).map_err(|_| NoTurn::TimedOut)
    }

    /// Says whether somebody has the turn.
    pub(crate) fn is_taken(&self) -> bool {
        self.lock().taken
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        let next = {
            let mut queue = self.turn.lock();
            let next = queue.waiting.pop_front();
            queue.taken = next.is_some();
            next
        };
        if let Some(next) = next {
            next(Self { turn: Arc::clone(&self.turn) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let turn = Turn::new(10);
        let first = turn.take(Duration::ZERO).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..5 {
            let order = Arc::clone(&order);
            turn.take_then(move |_guard| order.lock().unwrap().push(number)).unwrap();
        }
        assert!(order.lock().unwrap().is_empty());
        drop(first);
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
        assert!(!turn.is_taken());
    }

    #[test]
    fn a_full_queue_refuses_and_a_late_waiter_passes_on() {
        let turn = Turn::new(1);
        let first = turn.take(Duration::ZERO).unwrap();
        assert_eq!(turn.take(Duration::ZERO).err(), Some(NoTurn::TimedOut));
        assert_eq!(turn.take(Duration::ZERO).err(), Some(NoTurn::Full));
        drop(first);
        assert!(turn.take(Duration::ZERO).is_ok());
    }

    #[test]
    fn there_is_never_more_than_one_writer() {
        let turn = Turn::new(1_000);
        let inside = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _guard = turn.take(Duration::from_secs(60)).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
