//! A bound on how long a client may take over a request.
//!
//! actix-web bounds the head of the first request on a connection, but on a kept-alive connection neither
//! the head of the next one nor any body: a client that sends a byte a second would hold its connection for
//! as long as it likes. This wraps the socket and looks at nothing but the traffic. From the first byte read
//! until the answer begins, one limit may pass; from an answer to the next request, another. Then the
//! connection ends.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::closing::ClosingSocket;

/// How long a connection may be in either state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a request to the first of its answer.
    pub(super) request: Duration,
    /// Without either: nothing was sent, or half a request stands in the buffer behind an answered one.
    pub(super) idle: Duration,
}

/// How long a connection may last once its last answer is written. actix-http waits for the rest of a chunked body that
/// nobody wants any more, for as long as it takes.
const AFTER_LAST_ANSWER: Duration = Duration::from_secs(1);

/// Belongs to a connection; in the hands of the requests on it.
#[derive(Clone, Default)]
pub(super) struct LastAnswer(Rc<Cell<bool>>);

impl LastAnswer {
    /// The answer that is about to be written is the last one on its connection.
    pub(super) fn is_next(&self) {
        self.0.set(true);
    }
}

/// A socket that ends when its client is too slow.
pub(super) struct SlowClientGuard {
    socket: ClosingSocket<TcpStream>,
    limits: Limits,
    /// Whether a request is arriving or being answered.
    in_request: bool,
    deadline: Instant,
    last_answer: LastAnswer,
    /// One timer per connection, not one per request: left to ring, and then set anew if need be.
    timer: Option<Pin<Box<Sleep>>>,
}

impl SlowClientGuard {
    pub(super) fn new(socket: TcpStream, limits: Limits) -> Self {
        Self {
            socket: ClosingSocket::new(socket),
            limits,
            in_request: false,
            deadline: Instant::now() + limits.idle,
            last_answer: LastAnswer::default(),
            timer: None,
        }
    }

    pub(super) fn last_answer(&self) -> LastAnswer {
        self.last_answer.clone()
    }

    fn has_read(&mut self) {
        if !self.in_request && !self.last_answer.0.get() {
            self.in_request = true;
            self.deadline = Instant::now() + self.limits.request;
        }
    }

    fn has_written(&mut self) {
        self.in_request = false;
        let limit = if self.last_answer.0.get() {
            AFTER_LAST_ANSWER
        } else {
            self.limits.idle
        };
        self.deadline = Instant::now() + limit;
    }

    /// What a socket that is not ready amounts to: still waiting, or too late.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = self.deadline;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // It was set for an earlier state.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for SlowClientGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(context, buffer) {
            Poll::Pending => self.wait(context),
            ready => {
                if buffer.filled().len() > before {
                    self.has_read();
                }
                ready
            }
        }
    }
}

impl AsyncWrite for SlowClientGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(context, buffer) {
            Poll::Pending => self.wait(context),
            ready => {
                self.has_written();
                ready
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
