//! A bound on how long a client may take, and on what it may make a node keep for it.
//!
//! actix-web bounds the head of the first request on a connection, but on a kept-alive connection neither
//! the head of the next one nor any body: a client that sends a byte a second would hold its connection for
//! as long as it likes. It bounds neither how long answers may lie unread. This wraps the socket and looks at nothing but
//! the traffic. From the first byte read until the answer begins, one limit may pass; from an answer to the next
//! request, another; and from the moment that the kernel takes no more of the answers until it has taken all, a third,
//! however many bytes the client takes meanwhile. Then the connection ends.
//!
//! What reaches the parser, and when, is decided in [`intake`](super::intake).

use std::{
    cell::Cell,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::web::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    backlog::{Backlog, Kind, Share},
    closing::ClosingSocket,
    intake::{Intake, Portion},
};
use crate::http::metrics::ConnectionMetrics;

/// How long a connection may be in each state.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Limits {
    /// From the first byte of a request to the first of its answer.
    pub(in crate::http) request: Duration,
    /// Without either: nothing was sent, or half a request stands in the buffer behind an answered one.
    pub(in crate::http) idle: Duration,
    /// Until answers that the kernel would not take at once are taken, all of them.
    pub(in crate::http) unread: Duration,
}

/// What a request may take in without a share of the [`Backlog`], in bytes.
const SMALL_REQUEST: usize = 8 * 1024;

/// A byte of a large head is kept in a buffer that doubles as it grows.
const BUFFERED: usize = 2;

/// No request takes more, in bytes, however long a body goes on that is skipped: a head has 128 KiB at the most, and a body
/// that is kept 32 KiB.
const LARGEST_REQUEST: usize = (128 + 32) * 1024 * BUFFERED;

/// What a request gets that there is no room for.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    cache-control: no-store\r\ncontent-length: 0\r\n\r\n";

/// What a connection holds whose answers are stuck: actix-http stops at 32 KiB and the answer that it was at; and requests
/// that wait behind it.
const UNREAD: usize = 64 * 1024;

/// How long a connection may last once its last answer is written. actix-http waits for the rest of a chunked body that
/// nobody wants any more, for as long as it takes. A client that gets [`NO_ROOM`] has as long to read it: what it sends
/// meanwhile is thrown away, for the kernel would reset a connection that closes with bytes unread.
const AFTER_LAST_ANSWER: Duration = Duration::from_secs(1);

/// Belongs to a connection; in the hands of the requests on it.
#[derive(Clone, Default)]
pub(in crate::http) struct LastAnswer(Rc<Cell<bool>>);

impl LastAnswer {
    /// The answer that is about to be written is the last one on its connection.
    pub(in crate::http) fn is_next(&self) {
        self.0.set(true);
    }
}

/// What the connections of a node have in common.
pub(in crate::http) struct Terms {
    pub(in crate::http) limits: Limits,
    pub(in crate::http) metrics: ConnectionMetrics,
    pub(in crate::http) backlog: Arc<Backlog>,
}

/// A socket that ends when its client is too slow, or wants too much kept for it.
pub(in crate::http) struct SlowClientGuard {
    socket: ClosingSocket<TcpStream>,
    terms: Rc<Terms>,
    /// Whether a request is arriving or being answered.
    in_request: bool,
    deadline: Instant,
    /// When the answers have to be taken that the kernel would not take at once.
    unread_until: Option<Instant>,
    last_answer: LastAnswer,
    intake: Intake,
    portion: Portion,
    /// What was read and belongs to later portions.
    rest: Bytes,
    /// Bytes handed out since the last answer.
    taken: usize,
    share: Share,
    /// There was no room for its request.
    refused: bool,
    /// One timer per connection, not one per request: left to ring, and then set anew if need be.
    timer: Option<Pin<Box<Sleep>>>,
}

impl SlowClientGuard {
    /// `client` is the peer, unless that is a proxy, which speaks for many.
    pub(in crate::http) fn new(
        socket: TcpStream,
        client: Option<IpAddr>,
        terms: Rc<Terms>,
    ) -> Self {
        terms.metrics.open.inc();
        Self {
            socket: ClosingSocket::new(socket),
            in_request: false,
            deadline: Instant::now() + terms.limits.idle,
            unread_until: None,
            last_answer: LastAnswer::default(),
            intake: Intake::default(),
            portion: Portion::default(),
            rest: Bytes::new(),
            taken: 0,
            share: terms.backlog.share(client),
            refused: false,
            timer: None,
            terms,
        }
    }

    pub(in crate::http) fn last_answer(&self) -> LastAnswer {
        self.last_answer.clone()
    }

    pub(in crate::http) fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// `false` if there is no room for what was read.
    fn has_read(&mut self, bytes: usize) -> bool {
        if !self.in_request && !self.last_answer.0.get() {
            self.in_request = true;
            self.deadline = Instant::now() + self.terms.limits.request;
        }
        self.taken += bytes;
        let needs = (self.taken * BUFFERED).min(LARGEST_REQUEST);
        self.taken <= SMALL_REQUEST || self.share.cover(Kind::Requests, needs)
    }

    /// Ends the connection in order, so that a proxy does not take the node for dead.
    fn refuse(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.terms.metrics.ended_for_memory.inc();
        // All answers before this one are taken, or nothing would have been read. A last one is: the rest of its request is
        // what there is no room for. Else the kernel has room for so short an answer, or the client does without.
        if !self.last_answer.0.get() {
            let _ = self.socket.get_ref().try_write(NO_ROOM);
        }
        // Without effect on a connection that is gone already.
        let _ = Pin::new(&mut self.socket).poll_shutdown(context);
        self.refused = true;
        self.in_request = false;
        self.rest = Bytes::new();
        self.deadline = Instant::now() + AFTER_LAST_ANSWER;
        self.discard(context)
    }

    /// Reads for nothing until the client closes the connection, or its time is over.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                // Pending also when it is the turn of other tasks.
                Poll::Pending => return self.wait(context),
                ended => return ended,
            }
        }
    }

    fn has_written(&mut self) {
        self.in_request = false;
        self.taken = 0;
        let limit = if self.last_answer.0.get() {
            AFTER_LAST_ANSWER
        } else {
            self.terms.limits.idle
        };
        self.deadline = Instant::now() + limit;
    }

    /// The kernel takes no more, for the client takes no more.
    fn is_stuck(&mut self) -> io::Result<()> {
        if self.unread_until.is_none() {
            self.unread_until = Some(Instant::now() + self.terms.limits.unread);
            if !self.share.cover(Kind::StuckAnswers, UNREAD) {
                self.terms.metrics.ended_for_memory.inc();
                self.abort();
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        }
        Ok(())
    }

    /// Nothing that the kernel still holds is sent: it would hold it for as long as the client likes.
    fn abort(&self) {
        // Without effect on a connection that is gone already.
        let _ = self.socket.get_ref().set_zero_linger();
    }

    /// The parser deals with this portion now, and then the task looks again.
    fn next_portion(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.portion.begin_next();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What a socket that is not ready amounts to: still waiting, or too late.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = self.unread_until.unwrap_or(self.deadline);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                if self.unread_until.is_some() {
                    self.terms.metrics.ended_unread.inc();
                    self.abort();
                } else if self.in_request {
                    self.terms.metrics.ended_slow.inc();
                }
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // It was set for an earlier state.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Drop for SlowClientGuard {
    fn drop(&mut self) {
        self.terms.metrics.open.dec();
    }
}

impl AsyncRead for SlowClientGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.refused {
            return self.discard(context);
        }
        let body = self.intake.body();
        if self.intake.is_closed()
            || self.unread_until.is_some()
            || body.is_some_and(|length| self.portion.has_body(length))
        {
            if !self.rest.is_empty() || self.socket.get_ref().poll_read_ready(context).is_ready() {
                self.intake.hold_back(context);
            }
            return self.wait(context);
        }
        if self.portion.is_complete() {
            return self.next_portion(context);
        }
        let before = buffer.filled().len();
        if self.rest.is_empty() {
            match Pin::new(&mut self.socket).poll_read(context, buffer) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(error) => return Poll::Ready(error),
                Poll::Pending => {
                    self.portion.begin_next();
                    return self.wait(context);
                }
            }
            let read = &buffer.filled()[before..];
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let taken = self.portion.take(read, body);
            if taken < read.len() {
                self.rest = Bytes::copy_from_slice(&read[taken..]);
                buffer.set_filled(before + taken);
            }
        } else {
            let this = &mut *self;
            let fits = this.rest.len().min(buffer.remaining());
            let taken = this.portion.take(&this.rest[..fits], body);
            buffer.put_slice(&this.rest.split_to(taken));
        }
        let taken = buffer.filled().len() - before;
        if taken == 0 {
            return self.next_portion(context);
        }
        if !self.has_read(taken) {
            buffer.set_filled(before);
            return self.refuse(context);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SlowClientGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(context, buffer) {
            Poll::Pending => {
                self.is_stuck()?;
                self.wait(context)
            }
            ready => {
                self.has_written();
                ready
            }
        }
    }

    /// actix-http flushes when the socket has taken everything.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unread_until = None;
        if self.taken == 0 {
            self.share.release();
        }
        self.intake.resume();
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
