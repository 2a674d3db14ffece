//! Log lines on their way out: a bounded queue, and a thread that writes.
//!
//! The reader of standard output may stall: a terminal that is held, a pipe to a program that hangs, a full disk. A
//! request that logs must never wait for the reader. The request puts its lines into the queue, and a separate thread
//! writes them. When the queue is full, lines are dropped and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// How much the queue holds, in bytes: some 10,000 lines. The thread may hold as much again while it writes.
const CAPACITY: usize = 4 * 1024 * 1024;

/// A buffer that has grown beyond this many bytes gives its memory back.
const KEPT: usize = 64 * 1024;

/// Time between attempts to write to a standard output that is full and does not block.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Lines that were dropped since the start of the process. A process has one standard output, and so one counter.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped since the start of the process, because the queue was full or a write failed.
pub fn dropped_log_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Takes lines, for the thread to write. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<Queue>);

struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the thread: there are lines to write.
    filled: Condvar,
    /// Wakes [`LogQueue::flush`]: everything is written.
    emptied: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines that were dropped, and that no log line has told of yet.
    dropped: u64,
    is_writing: bool,
}

impl LogQueue {
    /// Starts the thread that writes to `output`. The thread lives as long as the process. It calls `tell`, which logs
    /// how many lines were dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(output: impl Write + Send + 'static, tell: fn(u64)) -> io::Result<Self> {
        Self::with_capacity(CAPACITY, output, tell)
    }

    fn with_capacity(
        capacity: usize,
        output: impl Write + Send + 'static,
        tell: fn(u64),
    ) -> io::Result<Self> {
        let queue = Self(Arc::new(Queue {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            capacity,
        }));
        let writer = queue.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_all_the_time(output, tell))?;
        Ok(queue)
    }

    /// Adds a line, or drops it if the queue is full. Never waits for the output.
    fn put(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > self.0.capacity {
            waiting.dropped += 1;
            drop(waiting);
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Waits until every line is written, `within` at most.
    pub(super) fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut waiting = self.lock();
        while waiting.is_writing || !waiting.lines.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return;
            };
            let woken = self.0.emptied.wait_timeout(waiting, left);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_all_the_time(&self, mut output: impl Write, tell: fn(u64)) {
        let mut lines = Vec::new();
        loop {
            let mut waiting = self.lock();
            while waiting.lines.is_empty() {
                waiting.is_writing = false;
                self.0.emptied.notify_all();
                let woken = self.0.filled.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            waiting.is_writing = true;
            std::mem::swap(&mut waiting.lines, &mut lines);
            let dropped = std::mem::take(&mut waiting.dropped);
            drop(waiting);
            if dropped > 0 {
                // This line follows the last line that was not dropped, because the queue is empty now.
                tell(dropped);
            }
            DROPPED.fetch_add(write(&mut output, &lines), Ordering::Relaxed);
            lines.clear();
            lines.shrink_to(KEPT);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all lines. Returns how many could not be written.
fn write(output: &mut impl Write, mut lines: &[u8]) -> u64 {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(written) if written > 0 => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another program that has the same pipe may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::park_timeout(RETRY_INTERVAL);
            }
            // The reader is gone, or the disk is full. That may be different for later lines.
            Ok(_) | Err(_) => return memchr::memchr_iter(b'\n', lines).count() as u64,
        }
    }
    0
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line. `tracing_subscriber` writes a line in one call.
pub(super) struct Line<'a>(&'a LogQueue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// An output that accepts bytes only when the test receives them.
    struct Stalled(SyncSender<Vec<u8>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_vec());
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalled() -> (Stalled, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (Stalled(sender), receiver)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn what_a_stalled_reader_does_not_take_is_bounded_counted_and_told() {
        static TOLD: Mutex<Option<u64>> = Mutex::new(None);
        let tell = |dropped| *TOLD.lock().expect("no panic") = Some(dropped);
        let (output, reader) = stalled();
        let queue = LogQueue::with_capacity(100, output, tell).expect("a thread");
        queue.put(b"first\n");
        // The thread has taken the line, and is stuck in its write.
        let deadline = Instant::now() + PATIENCE;
        while !queue.lock().lines.is_empty() {
            assert!(Instant::now() < deadline, "the thread takes nothing");
            thread::yield_now();
        }
        let before = dropped_log_lines();
        for _ in 0..30 {
            queue.put(b"123456789\n");
        }
        assert!(dropped_log_lines() >= before + 20);
        assert_eq!(queue.lock().lines.len(), 100);
        let started = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(started.elapsed() < PATIENCE, "it does not wait for ever");
        assert_eq!(reader.recv_timeout(PATIENCE).expect("a piece"), b"first\n");
        let rest = reader.recv_timeout(PATIENCE).expect("a piece");
        assert_eq!(rest, b"123456789\n".repeat(10));
        queue.flush(PATIENCE);
        assert_eq!(*TOLD.lock().expect("no panic"), Some(20));
        queue.put(b"again\n");
        assert_eq!(reader.recv_timeout(PATIENCE).expect("a piece"), b"again\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_later_ones_tried() {
        let (output, reader) = stalled();
        let queue = LogQueue::with_capacity(100, output, |_| {}).expect("a thread");
        let before = dropped_log_lines();
        drop(reader);
        for expected in 1..=3 {
            queue.put(b"line\n");
            queue.flush(PATIENCE);
            assert!(dropped_log_lines() >= before + expected);
        }
    }
}
