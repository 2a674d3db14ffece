//! Bounds on the time that a client may take, and on the memory that a node keeps for it.
//!
//! actix-web bounds the time for the head of the first request on a connection. On a kept-alive connection it bounds
//! neither the head of the next request nor any body, so a client that sends a byte a second would hold its connection
//! for as long as it likes. It does not bound how long answers may lie unread either. This wraps the socket and looks
//! only at the traffic. The connection ends when one of three limits passes: from the first byte of a request to the
//! first of its answer; from an answer to the next request; and from the moment that the kernel takes no more of the
//! answers until it has taken all of them, however many bytes the client takes meanwhile.
//!
//! [`intake`](super::intake) decides which bytes reach the parser, and when.

use std::{
    io,
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
    Connection, ConnectionMetrics, Extension, LastAnswer, Peer,
    backlog::{Backlog, Kind, Share},
    closing::ClosingSocket,
    intake::{Intake, Portion},
};

/// How long a connection may stay in each state.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Limits {
    /// From the first byte of a request to the first of its answer.
    pub(in crate::http) request: Duration,
    /// From an answer to the next request: the client sends nothing, or half a request waits in the buffer behind an
    /// answered one.
    pub(in crate::http) idle: Duration,
    /// Until the client has taken all of the answers that the kernel would not take at once.
    pub(in crate::http) unread: Duration,
}

/// A request of at most this many bytes needs no share of the [`Backlog`].
const SMALL_REQUEST: usize = 8 * 1024;

/// Bytes of memory for each byte of a large head: its buffer doubles when it grows.
const BUFFERED: usize = 2;

/// No request takes more memory of this kind, in bytes: a head has at most 128 KiB, and a body that is kept 32 KiB. A
/// longer body is skipped, or it is one of the few for which [`RouteLimits::at_once`](crate::public::RouteLimits) makes
/// room.
const LARGEST_REQUEST: usize = (128 + 32) * 1024 * BUFFERED;

/// The answer to a request for which there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    cache-control: no-store\r\ncontent-length: 0\r\n\r\n";

/// What a connection with stuck answers holds, in bytes: 32 KiB of answers, at which actix-http stops, the answer that
/// it was at, and the requests that wait behind it.
const UNREAD: usize = 64 * 1024;

/// How long a connection may last once its last answer is written. actix-http would wait without a bound for the rest
/// of a chunked body that is no longer wanted. A client that gets [`NO_ROOM`] has this long to read it. The node throws
/// away what the client sends meanwhile, because the kernel resets a connection that closes with bytes unread.
const AFTER_LAST_ANSWER: Duration = Duration::from_secs(1);

/// The bounds that all connections of a node are under, and their metrics.
pub(in crate::http) struct Bounds {
    pub(in crate::http) limits: Limits,
    pub(in crate::http) metrics: ConnectionMetrics,
    pub(in crate::http) backlog: Arc<Backlog>,
}

/// A socket that ends when its client is too slow, or when the node would have to keep too much for it.
pub(in crate::http) struct SlowClientGuard {
    socket: ClosingSocket<TcpStream>,
    peer: Option<Peer>,
    bounds: Rc<Bounds>,
    /// Whether a request is arriving or being answered.
    in_request: bool,
    deadline: Instant,
    /// The deadline for the client to take the answers that the kernel would not take at once.
    unread_until: Option<Instant>,
    last_answer: LastAnswer,
    /// Set by a request that may last longer than the limits say.
    extension: Extension,
    intake: Intake,
    portion: Portion,
    /// Bytes that were read and belong to later portions.
    rest: Bytes,
    /// Bytes handed out since the last answer.
    taken: usize,
    share: Share,
    /// Whether there was no room for its request.
    turned_away: bool,
    /// One timer per connection, not one per request. It rings for an earlier deadline, and is then set for the current
    /// one.
    timer: Option<Pin<Box<Sleep>>>,
}

impl SlowClientGuard {
    /// `peer` is `None` if the client is gone already.
    pub(in crate::http) fn new(socket: TcpStream, peer: Option<Peer>, bounds: Rc<Bounds>) -> Self {
        bounds.metrics.open.inc();
        let client = peer.filter(|peer| !peer.is_proxy).map(|peer| peer.address);
        Self {
            socket: ClosingSocket::new(socket),
            peer,
            in_request: false,
            deadline: Instant::now() + bounds.limits.idle,
            unread_until: None,
            last_answer: LastAnswer::default(),
            extension: Extension::default(),
            intake: Intake::default(),
            portion: Portion::default(),
            rest: Bytes::new(),
            taken: 0,
            share: bounds.backlog.share(client),
            turned_away: false,
            timer: None,
            bounds,
        }
    }

    /// What the requests on this connection can reach.
    pub(in crate::http) fn connection(&self) -> Connection {
        Connection {
            peer: self.peer,
            intake: self.intake.clone(),
            last_answer: self.last_answer.clone(),
            extension: self.extension.clone(),
        }
    }

    /// Counts bytes that were read; `false` if there is no room for them.
    fn has_read(&mut self, bytes: usize) -> bool {
        if !self.in_request && !self.last_answer.has_begun() {
            self.in_request = true;
            self.deadline = Instant::now() + self.bounds.limits.request;
        }
        self.taken += bytes;
        let needs = (self.taken * BUFFERED).min(LARGEST_REQUEST);
        self.taken <= SMALL_REQUEST || self.share.cover(Kind::Requests, needs)
    }

    /// Ends the connection in order, so that a proxy does not think that the node is dead.
    fn turn_away(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounds.metrics.ended_for_memory.inc();
        // The client has taken all answers before this one, or nothing would have been read. If the last answer is
        // written, there is no room for the rest of its request, and it needs no other answer. In all other cases the
        // kernel has room for so short an answer; if not, the client gets none.
        if !self.last_answer.has_begun() {
            let _ = self.socket.get_ref().try_write(NO_ROOM);
        }
        // Without effect on a connection that is gone already.
        let _ = Pin::new(&mut self.socket).poll_shutdown(context);
        self.turned_away = true;
        self.in_request = false;
        self.rest = Bytes::new();
        self.deadline = Instant::now() + AFTER_LAST_ANSWER;
        self.discard(context)
    }

    /// Reads and throws away, until the client closes the connection or its time is over.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                // Also pending when it is the turn of other tasks.
                Poll::Pending => return self.wait(context),
                ended => return ended,
            }
        }
    }

    fn has_written(&mut self) {
        self.in_request = false;
        self.taken = 0;
        let limit = if self.last_answer.has_begun() {
            AFTER_LAST_ANSWER
        } else {
            self.bounds.limits.idle
        };
        self.deadline = Instant::now() + limit;
    }

    /// The kernel takes no more of the answer, because the client takes no more.
    fn is_stuck(&mut self) -> io::Result<()> {
        if self.unread_until.is_none() {
            self.unread_until = Some(Instant::now() + self.bounds.limits.unread);
            if !self.share.cover(Kind::StuckAnswers, UNREAD) {
                self.bounds.metrics.ended_for_memory.inc();
                self.abort();
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        }
        Ok(())
    }

    /// Ends the connection without sending what the kernel still holds: the kernel would hold it for as long as the
    /// client likes.
    fn abort(&self) {
        // Without effect on a connection that is gone already.
        let _ = self.socket.get_ref().set_zero_linger();
    }

    /// The parser deals with this portion first; then the task runs again.
    fn next_portion(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.portion.begin_next();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What a socket that is not ready means: still waiting, or too late.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut deadline = self.unread_until.unwrap_or(self.deadline);
        if self.in_request || self.unread_until.is_some() {
            deadline = self.extension.instead_of(deadline);
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                if self.unread_until.is_some() {
                    self.bounds.metrics.ended_unread.inc();
                    self.abort();
                } else if self.in_request {
                    self.bounds.metrics.ended_slow.inc();
                }
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // The timer was set for an earlier state.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Drop for SlowClientGuard {
    fn drop(&mut self) {
        self.bounds.metrics.open.dec();
    }
}

impl AsyncRead for SlowClientGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turned_away {
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
            return self.turn_away(context);
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
