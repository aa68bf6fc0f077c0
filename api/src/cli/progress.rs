//! Shows that something goes on, on standard error: a bar or a spinner on a terminal, a line a step elsewhere.

use std::io::{self, Read};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

const TICK: Duration = Duration::from_millis(120);

/// A spinner beside a text, gone when dropped. Nothing off a terminal.
pub(crate) struct Waiting {
    spinner: ProgressBar,
}

impl Waiting {
    pub(crate) fn new(console: &Console, text: &str) -> Self {
        let spinner = ProgressBar::with_draw_target(None, target(console));
        spinner.set_style(style("{spinner} {msg} {elapsed}"));
        spinner.set_message(text.to_owned());
        spinner.enable_steady_tick(TICK);
        Self { spinner }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// Bytes on their way, counted as they are read: a bar when it is known how many there are. Nothing off a terminal.
pub(crate) struct Counted<R> {
    from: R,
    bar: ProgressBar,
}

impl<R> Counted<R> {
    pub(crate) fn new(console: &Console, text: &str, total: Option<u64>, from: R) -> Self {
        let bar = ProgressBar::with_draw_target(total, target(console));
        bar.set_style(style(match total {
            Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {msg} {bytes} {bytes_per_sec} {elapsed}",
        }));
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(TICK);
        Self { from, bar }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

impl<R> Drop for Counted<R> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Work in steps, each with a name and perhaps a length in bytes.
pub(crate) struct Steps<'a> {
    console: &'a Console,
    now: Mutex<Option<(String, ProgressBar)>>,
}

impl<'a> Steps<'a> {
    pub(crate) const fn new(console: &'a Console) -> Self {
        Self { console, now: Mutex::new(None) }
    }

    fn bar(&self, what: &str, total: Option<u64>) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(total, target(self.console));
        let shown = super::terminal::name(what);
        if bar.is_hidden() {
            self.console.note(&shown);
        }
        bar.set_style(style(match total {
            Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {msg} {elapsed}",
        }));
        bar.set_message(shown);
        bar.enable_steady_tick(TICK);
        bar
    }
}

impl sandglass_runtime::Progress for Steps<'_> {
    fn step(&self, what: &str, done: u64, total: Option<u64>) {
        let mut now = self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.as_ref().is_none_or(|(known, _)| known != what) {
            if let Some((_, last)) = now.take() {
                last.finish_and_clear();
            }
            *now = Some((what.to_owned(), self.bar(what, total)));
        }
        if let Some((_, bar)) = now.as_ref() {
            bar.set_position(done);
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        let now = self.now.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, last)) = now.take() {
            last.finish_and_clear();
        }
    }
}

fn target(console: &Console) -> ProgressDrawTarget {
    if console.quiet || !console.stderr_terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
