//! Who computes: short calls at once, long ones in the background.
//!
//! A call begins on a thread of its own, and as many compute as there are processors. One that has computed for [`SHORT`] goes on
//! in the background: on as many threads again, which stand behind all others. The kernel takes a processor from them in the middle of
//! whatever they do: a slice that has begun, and the host's own work, could not be taken back here. Among calls of either kind
//! those compute first that have had least (`processors/places.rs`).

mod places;

use std::io;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use self::places::{Places, Share};

/// For how long a call computes before it goes on in the background.
const SHORT: Duration = Duration::from_millis(20);

/// The processors that calls share.
pub(crate) struct Processors {
    short: Arc<Places>,
    long: Arc<Places>,
    background: Runtime,
}

impl Processors {
    /// Makes so many places, and as many threads behind them.
    ///
    /// # Errors
    /// The host has no threads left.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let background = Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("background")
            .on_thread_start(stand_behind)
            .enable_time()
            .build()?;
        Ok(Self { short: Places::new(count), long: Places::new(count), background })
    }

    /// Lets a future compute as its turn comes, until it ends, its time is over or `stop` resolves. Its polls should be short. When this
    /// returns, nothing of it is left.
    ///
    /// # Errors
    /// Why it did not end by itself.
    pub(crate) fn run<F>(&self, work: F, time: Duration, stop: impl Future<Output = ()>) -> Result<F::Output, Stopped>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let mut work = self.start(work);
        let mut stop = pin!(stop);
        let until = Instant::now().checked_add(time);
        let ended = wait(until, |context| match Pin::new(&mut work).poll(context) {
            Poll::Ready(ended) => Poll::Ready(Ok(ended)),
            Poll::Pending => stop.as_mut().poll(context).map(|()| Err(Stopped::Asked)),
        });
        let mut end = pin!(work.end());
        wait(None, |context| end.as_mut().poll(context));
        ended.unwrap_or(Err(Stopped::Late))
    }

    fn start<F: Future>(&self, work: F) -> Work<F> {
        let state = State::Short(self.short.share(work));
        Work { state, long: Arc::clone(&self.long), background: self.background.handle().clone() }
    }
}

/// Why something ended that did not by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its time was over.
    Late,
    /// Somebody wanted it to.
    Asked,
}

/// Polls until there is an answer or the time has come; this thread rests between. A timer of the runtime's would have to wake the thread that
/// keeps those, for each call.
fn wait<T>(until: Option<Instant>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Rouse(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = poll(&mut context) {
            return Some(answer);
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return None,
            Some(rest) => thread::park_timeout(rest),
            None => thread::park(),
        }
    }
}

/// Wakes a thread.
struct Rouse(Thread);

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Lets all other threads before.
fn stand_behind() {
    const NICE: i32 = 10;
    // Where it is refused, all are equal.
    rustix::process::setpriority_process(None, NICE).ok();
}

/// A future that computes as its turn comes, here or in the background. Dropping it ends it, soon.
struct Work<F: Future> {
    state: State<F>,
    long: Arc<Places>,
    background: Handle,
}

enum State<F: Future> {
    Short(Share<F>),
    Long(JoinHandle<F::Output>),
    Ended,
}

impl<F: Future> Work<F> {
    /// Ends it, and returns when nothing of it is left.
    async fn end(mut self) {
        if let State::Long(task) = std::mem::replace(&mut self.state, State::Ended) {
            task.abort();
            drop(task.await);
        }
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let State::Short(share) = &mut self.state {
            let polled = Pin::new(&mut *share).poll(context);
            if polled.is_pending() && share.used() < SHORT {
                return Poll::Pending;
            }
            let State::Short(share) = std::mem::replace(&mut self.state, State::Ended) else { return Poll::Pending };
            if polled.is_ready() {
                return polled;
            }
            let task = self.background.spawn(share.moved(&self.long));
            self.state = State::Long(task);
        }
        let State::Long(task) = &mut self.state else { panic!("polled after its end") };
        let ended = ready!(Pin::new(task).poll(context));
        self.state = State::Ended;
        Poll::Ready(ended.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => panic!("the background has ended before its work: {error}"),
        }))
    }
}

impl<F: Future> Drop for Work<F> {
    fn drop(&mut self) {
        if let State::Long(task) = &self.state {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;

    use super::*;

    fn run<F: Future>(work: F) -> F::Output {
        Builder::new_current_thread().build().unwrap().block_on(work)
    }

    /// Computes for longer than short calls do.
    async fn compute() {
        thread::sleep(SHORT);
        crate::kernel::pass().await;
    }

    fn is_behind() -> bool {
        thread::current().name() == Some("background")
    }

    #[test]
    fn a_long_call_goes_on_in_the_background_and_a_short_one_does_not() {
        let processors = Processors::new(1).unwrap();
        let short = processors.start(async {
            crate::kernel::pass().await;
            is_behind()
        });
        let long = processors.start(async {
            let began = is_behind();
            compute().await;
            (began, is_behind())
        });
        assert_eq!((run(short), run(long)), (false, (false, true)));
    }

    #[test]
    fn a_short_call_computes_in_the_middle_of_a_long_ones_slice() {
        let processors = Processors::new(1).unwrap();
        let ((begin, begun), (stop, stopped)) = (mpsc::channel(), mpsc::channel::<()>());
        let long = processors.start(async move {
            compute().await;
            begin.send(()).unwrap();
            // One slice, which nobody can take away.
            stopped.recv().is_ok()
        });
        thread::scope(|scope| {
            let long = scope.spawn(|| run(long));
            begun.recv().unwrap();
            assert_eq!(run(processors.start(async { 7 })), 7);
            stop.send(()).unwrap();
            assert!(long.join().unwrap());
        });
    }

    #[test]
    fn what_is_ended_in_the_background_is_gone_when_it_has_ended() {
        let processors = Processors::new(1).unwrap();
        let (held, ended) = mpsc::channel::<()>();
        let mut work = processors.start(async move {
            compute().await;
            pending::<()>().await;
            drop(held);
        });
        run(async {
            poll_fn(|context| {
                assert!(Pin::new(&mut work).poll(context).is_pending());
                if matches!(work.state, State::Long(_)) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            work.end().await;
        });
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert_eq!(run(processors.start(async { 7 })), 7);
    }

    #[test]
    fn work_ends_by_itself_in_time_or_when_asked() {
        let processors = Processors::new(1).unwrap();
        let (minute, moment) = (Duration::from_secs(60), Duration::from_millis(1));
        assert_eq!(processors.run(async { 7 }, minute, pending()), Ok(7));
        assert_eq!(processors.run(pending::<()>(), moment, pending()), Err(Stopped::Late));
        assert_eq!(processors.run(pending::<()>(), Duration::MAX, async {}), Err(Stopped::Asked));
        let endless = async {
            loop {
                compute().await;
            }
        };
        assert_eq!(processors.run(endless, moment, pending()), Err(Stopped::Late));
        let (ask, asked) = tokio::sync::oneshot::channel::<()>();
        thread::spawn(move || ask.send(()));
        assert_eq!(processors.run(pending::<()>(), minute, async { drop(asked.await) }), Err(Stopped::Asked));
    }

    #[test]
    fn a_panic_in_the_background_is_one_of_whoever_waits() {
        let processors = Processors::new(1).unwrap();
        let work = processors.start(async {
            compute().await;
            assert!(!is_behind(), "on purpose");
        });
        let caught = catch_unwind(AssertUnwindSafe(|| run(work)));
        assert_eq!(caught.err().and_then(|panic| panic.downcast_ref::<&str>().copied()), Some("on purpose"));
    }
}
