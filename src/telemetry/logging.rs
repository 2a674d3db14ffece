//! Log lines: text for people, JSON for machines.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    error::Error,
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    panic::PanicHookInfo,
    time::Duration,
};

use tracing::{Level, error};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use super::log_queue::LogQueue;

/// How long the end of the process waits until the last lines are written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The started log. On drop, at the end of the process, it waits until the lines so far are written, for a second at
/// most.
#[must_use]
pub struct Logs(LogQueue);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
    }
}

/// Starts the log on standard output: JSON lines if `json`, else text; `None` means text on a terminal, else JSON.
///
/// Panics go to the log, because a reader of standard error may stall just as one of standard output.
///
/// # Errors
/// If the log was started before, or the process can have no more files or threads.
pub fn init_logging(json: Option<bool>, filter: Targets) -> anyhow::Result<Logs> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    // Not through the standard library's buffer: a write would hold its lock, and other threads would wait for the
    // lock.
    let output = File::from(stdout.as_fd().try_clone_to_owned()?);
    let queue = LogQueue::start(output, tell_dropped)?;
    let layer = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(queue.clone());
    let registry = tracing_subscriber::registry().with(filter);
    if json.unwrap_or(!terminal) {
        registry.with(layer.json().flatten_event(true)).try_init()?;
    } else {
        registry
            .with(layer.with_ansi(terminal).with_target(false))
            .try_init()?;
    }
    let unlogged = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if tracing::enabled!(Level::ERROR) {
            log_panic(panic);
        } else {
            unlogged(panic);
        }
    }));
    Ok(Logs(queue))
}

fn tell_dropped(lines: u64) {
    error!(
        lines,
        "log lines were dropped: the queue was full because standard output was not read in time"
    );
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    error!(
        reason = panic.payload_as_str().unwrap_or("unknown"),
        location = panic.location().map(tracing::field::display),
        thread = std::thread::current().name(),
        backtrace = backtrace.as_ref().map(tracing::field::display),
        "a panic"
    );
}

/// An error with its causes, as one text: `the database failed: connection refused`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Many errors end with the text of their cause.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
