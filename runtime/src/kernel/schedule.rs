//! Running the processes of a call, in turns on one thread: each goes on until it waits or has used its slice.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::process::{Pid, Status, signal};
use super::{FIRST, Kernel};
use crate::limits::{Limit, LimitExceeded};

/// Instructions between two chances for others: about a millisecond.
pub(crate) const SLICE_FUEL: u64 = 1_000_000;

/// A program that is ready to run: it is told who it is, and runs to its end.
pub(crate) type Program = Box<dyn FnOnce(Started) -> Pin<Box<dyn Future<Output = Ended> + Send>> + Send>;

/// What a program is told when it starts.
pub(crate) struct Started {
    pub(crate) kernel: Kernel,
    pub(crate) pid: Pid,
    /// Instructions that it may spend.
    pub(crate) fuel: u64,
}

/// A process that is to be started, or that becomes another program.
pub(crate) struct Launch {
    pub(crate) pid: Pid,
    pub(crate) program: Program,
}

/// What a program did.
pub(crate) struct Ended {
    pub(crate) how: End,
    /// Instructions spent.
    pub(crate) fuel: u64,
}

/// How a program ended.
pub(crate) enum End {
    /// By itself, with this status.
    Exited(i32),
    /// It became another program.
    Became(Program),
    /// It did what no guest may. One line for people.
    Trapped(String),
    /// Somebody ended it.
    Killed,
    /// The whole call ends: a limit, or a fault of the host.
    Call(wasmtime::Error),
}

impl Kernel {
    /// Counts what the host just did for a guest as the guest's own work: a program that has things looked up and copied
    /// comes to its limit, too, and lets others run.
    pub(crate) async fn charge(&self) {
        {
            let mut state = self.lock();
            if !state.vfs.settle(SLICE_FUEL) {
                return;
            }
            state.slept = true;
        }
        pass().await;
    }
}

/// Lets others run, and goes on when it is asked again.
pub(crate) async fn pass() {
    let mut has_passed = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How a call's programs ended.
pub(crate) struct Outcome {
    pub(crate) end: Result<FirstEnd, wasmtime::Error>,
    /// Instructions that all of them spent.
    pub(crate) fuel: u64,
}

/// How the first program ended.
pub(crate) enum FirstEnd {
    Exited(i32),
    Trapped(String),
}

/// One process that runs.
struct Task {
    kernel: Kernel,
    pid: Pid,
    program: Pin<Box<dyn Future<Output = Ended> + Send>>,
    /// Instructions it has spent, as far as one sees from outside.
    spent: u64,
}

impl Future for Task {
    type Output = (Pid, Ended);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        {
            let mut state = self.kernel.lock();
            state.ring(self.pid);
            state.heed(self.pid);
            if state.ended(self.pid).is_some() {
                let ended = Ended { how: End::Killed, fuel: self.spent };
                return Poll::Ready((self.pid, ended));
            }
            state.slept = false;
        }
        match self.program.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready((self.pid, ended)),
            Poll::Pending => {
                if !self.kernel.lock().slept {
                    self.spent += SLICE_FUEL;
                }
                Poll::Pending
            }
        }
    }
}

/// Runs a call's first program and whatever it starts, until the first has ended and nobody can print any more.
///
/// Processes that still run then are ended: nothing of a call goes on after it.
pub(crate) async fn run(kernel: &Kernel, first: Program, fuel: u64) -> Outcome {
    let mut tasks = FuturesUnordered::new();
    let mut spent = 0u64;
    let mut first_end = None;
    kernel.lock().launch(Launch { pid: FIRST, program: first });
    loop {
        let launches = std::mem::take(&mut kernel.lock().launches);
        for Launch { pid, program } in launches {
            let left = fuel.saturating_sub(spent);
            let program = program(Started { kernel: kernel.clone(), pid, fuel: left });
            tasks.push(Task { kernel: kernel.clone(), pid, program, spent: 0 });
        }
        if first_end.is_some() && !kernel.lock().is_printing() {
            break;
        }
        let next = std::future::poll_fn(|context| {
            let polled = tasks.poll_next_unpin(context);
            if polled.is_pending() {
                let state = kernel.lock();
                // Something is to be started, or the last that could print has closed its streams.
                if !state.launches.is_empty() || first_end.is_some() && !state.is_printing() {
                    return Poll::Ready(None);
                }
            }
            match polled {
                Poll::Ready(Some(ended)) => Poll::Ready(Some(ended)),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => {
                    let running: u64 = tasks.iter().map(|task: &Task| task.spent).sum();
                    if spent.saturating_add(running).saturating_add(kernel.lock().vfs.paid()) > fuel {
                        let limit = LimitExceeded { limit: Limit::Cpu, allowed: fuel };
                        let how = End::Call(wasmtime::Error::new(limit));
                        return Poll::Ready(Some((FIRST, Ended { how, fuel: 0 })));
                    }
                    Poll::Pending
                }
            }
        })
        .await;
        let Some((pid, ended)) = next else {
            if tasks.is_empty() && kernel.lock().launches.is_empty() {
                break;
            }
            continue;
        };
        spent = spent.saturating_add(ended.fuel);
        let mut state = kernel.lock();
        state.shrink(pid);
        match ended.how {
            End::Exited(code) => {
                state.exit(pid, Status::Exited(code.to_le_bytes()[0]));
                if pid == FIRST {
                    first_end = Some(FirstEnd::Exited(code));
                }
            }
            End::Became(program) => state.launch(Launch { pid, program }),
            End::Trapped(reason) => {
                state.exit(pid, Status::Signaled(signal::SEGV));
                if pid == FIRST {
                    return Outcome {
                        end: Ok(FirstEnd::Trapped(reason)),
                        fuel: spent.saturating_add(state.vfs.paid()),
                    };
                }
            }
            End::Killed => {
                if pid == FIRST {
                    let code = match state.ended(pid) {
                        Some(Status::Signaled(number)) => 128 + i32::try_from(number).unwrap_or(0),
                        Some(Status::Exited(code)) => i32::from(code),
                        None => 0,
                    };
                    first_end = Some(FirstEnd::Exited(code));
                }
            }
            End::Call(error) => return Outcome { end: Err(error), fuel: spent.saturating_add(state.vfs.paid()) },
        }
    }
    Outcome { end: Ok(first_end.unwrap_or(FirstEnd::Exited(0))), fuel: spent.saturating_add(kernel.lock().vfs.paid()) }
}
