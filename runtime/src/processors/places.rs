//! Places to compute at: so many at once, those first that have had least of them.
//!
//! Whoever has a place gives it back when it waits, and after each slice (`kernel::SLICE_FUEL`) when somebody has a better claim.
//! Nobody waits for ever, because a claim grows older.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// By how much those that have computed for long stand behind newcomers, at most.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// So many places.
pub(super) struct Places {
    queue: Mutex<Queue>,
}

struct Queue {
    free: usize,
    /// Who waits: the earliest claim first, then who came first.
    waiting: BTreeMap<Claim, Waker>,
    /// Who was given a place and has not taken notice yet.
    given: HashSet<u64>,
    next: u64,
}

/// When somebody's turn would be, and its number.
type Claim = (Instant, u64);

impl Places {
    pub(super) fn new(count: usize) -> Arc<Self> {
        let queue = Queue { free: count.max(1), waiting: BTreeMap::new(), given: HashSet::new(), next: 0 };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    /// Lets a future compute only while it has a place. Its polls should be short.
    pub(super) fn share<F: Future>(self: &Arc<Self>, inner: F) -> Share<F> {
        self.share_on(Some(Box::pin(inner)), Duration::ZERO)
    }

    fn share_on<F>(self: &Arc<Self>, inner: Option<Pin<Box<F>>>, used: Duration) -> Share<F> {
        Share { places: Arc::clone(self), inner, used, claim: None, has_place: false }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Gives a place to whoever waits with the best claim.
    fn pass_on(&mut self) {
        match self.waiting.pop_first() {
            Some(((_, number), waker)) => {
                self.given.insert(number);
                waker.wake();
            }
            None => self.free += 1,
        }
    }
}

/// A future that computes only while it has a place.
pub(super) struct Share<F> {
    places: Arc<Places>,
    /// None once it has moved on.
    inner: Option<Pin<Box<F>>>,
    /// How long it has had one.
    used: Duration,
    claim: Option<Claim>,
    has_place: bool,
}

impl<F> Share<F> {
    /// Returns for how long it has computed.
    pub(super) const fn used(&self) -> Duration {
        self.used
    }

    /// Goes on at other places.
    pub(super) fn moved(mut self, places: &Arc<Places>) -> Self {
        places.share_on(self.inner.take(), self.used)
    }

    /// Asks for a place, or looks whether one was given.
    fn take(&mut self, waker: &Waker) -> bool {
        if self.has_place {
            return true;
        }
        let mut queue = self.places.lock();
        match self.claim {
            Some(claim) if queue.given.remove(&claim.1) => {}
            Some(claim) => {
                queue.waiting.insert(claim, waker.clone());
                return false;
            }
            None if queue.free > 0 => queue.free -= 1,
            None => {
                let claim = (Instant::now() + self.used.min(BEHIND_MAX), queue.next);
                queue.next += 1;
                queue.waiting.insert(claim, waker.clone());
                self.claim = Some(claim);
                return false;
            }
        }
        self.claim = None;
        self.has_place = true;
        true
    }

    /// Gives the place back, unless it goes on at once and nobody has a better claim.
    fn give_back(&mut self, goes_on: bool) {
        let mut queue = self.places.lock();
        let own = Instant::now() + self.used.min(BEHIND_MAX);
        let keeps = goes_on && queue.waiting.first_key_value().is_none_or(|((at, _), _)| *at >= own);
        if !keeps {
            queue.pass_on();
            self.has_place = false;
        }
    }
}

impl<F: Future> Future for Share<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.take(context.waker()) {
            return Poll::Pending;
        }
        let watch = Arc::new(Watch { was_woken: AtomicBool::new(false), waker: context.waker().clone() });
        let began = Instant::now();
        let inner = self.inner.as_mut().expect("whoever has moved on is not polled");
        let polled = inner.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&watch))));
        self.used += began.elapsed();
        self.give_back(polled.is_pending() && watch.was_woken.load(Ordering::Relaxed));
        polled
    }
}

impl<F> Drop for Share<F> {
    fn drop(&mut self) {
        let mut queue = self.places.lock();
        let was_given = self.claim.is_some_and(|claim| {
            queue.waiting.remove(&claim);
            queue.given.remove(&claim.1)
        });
        if self.has_place || was_given {
            queue.pass_on();
        }
    }
}

/// Sees whether a future that pauses wants to go on at once.
struct Watch {
    was_woken: AtomicBool,
    waker: Waker,
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.was_woken.store(true, Ordering::Relaxed);
        self.waker.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Computes for so many slices, and writes its name after each.
    fn work(name: char, slices: usize, log: &Arc<Mutex<String>>) -> impl Future<Output = ()> + use<> {
        let (log, mut left) = (Arc::clone(log), slices);
        poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            std::thread::sleep(Duration::from_millis(2));
            log.lock().unwrap().push(name);
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[tokio::test]
    async fn a_short_call_passes_long_ones() {
        let (places, log) = (Places::new(1), Arc::new(Mutex::new(String::new())));
        let long = |name| tokio::spawn(places.share(work(name, 20, &log)));
        let (first, second) = (long('a'), long('b'));
        while log.lock().unwrap().len() < 10 {
            tokio::task::yield_now().await;
        }
        let before = log.lock().unwrap().len();
        places.share(work('c', 2, &log)).await;
        let until = log.lock().unwrap().rfind('c').unwrap();
        assert!(until <= before + 3, "{}", log.lock().unwrap());
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(log.lock().unwrap().len(), 42);
        assert_eq!(places.lock().free, 1);
    }

    #[tokio::test]
    async fn what_is_dropped_gives_its_place_on() {
        let (places, log) = (Places::new(1), Arc::new(Mutex::new(String::new())));
        let mut first = Box::pin(places.share(work('a', 5, &log)));
        let mut second = Box::pin(places.share(work('b', 5, &log)));
        let mut third = Box::pin(places.share(work('c', 1, &log)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(first);
        drop(second);
        third.await;
        assert_eq!((&**log.lock().unwrap(), places.lock().free), ("ac", 1));
    }

    #[tokio::test]
    async fn nobody_keeps_a_place_while_it_waits() {
        let (places, log) = (Places::new(1), Arc::new(Mutex::new(String::new())));
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let waits = tokio::spawn(places.share(receiver));
        tokio::task::yield_now().await;
        places.share(work('a', 3, &log)).await;
        sender.send(()).unwrap();
        waits.await.unwrap().unwrap();
        assert_eq!((&**log.lock().unwrap(), places.lock().free), ("aaa", 1));
    }

    #[tokio::test]
    async fn a_panic_gives_its_place_on() {
        let places = Places::new(1);
        let panics = tokio::spawn(places.share(async { panic!("on purpose") }));
        assert!(panics.await.is_err());
        assert_eq!(places.lock().free, 1);
    }
}
