//! Signals that end the process, and one that must not.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT: the first one stops the node in order, the second one at once.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens for signals from now on. None is lost between this call and [`Self::received`].
    ///
    /// # Errors
    /// If the kernel does not allow a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Ends the process with exit code 1 at the next signal.
    pub(super) async fn exit_at_next(mut self) {
        self.received().await;
        std::process::exit(1);
    }
}

/// Makes a write into a file that has reached its limit (`ulimit -f`) fail. Without a handler for SIGXFSZ, the signal
/// would end the process.
///
/// # Errors
/// If the kernel does not allow a handler.
pub fn survive_file_size_limit() -> io::Result<()> {
    // The handler stays installed after the drop.
    signal(SignalKind::from_raw(uapi::c::SIGXFSZ)).map(drop)
}
