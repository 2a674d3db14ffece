//! The task that sends questions to Redis and hands out the answers.

use std::{
    collections::VecDeque,
    future::pending,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use deadpool_redis::redis::{ErrorKind, RedisError, RedisResult};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::protocol::{Reader, Unreadable, Writer, length};

/// The room for replies at first, in bytes. It grows if a single answer needs more.
const RECEIVED: usize = 16 << 10;

/// The longest answer, in bytes. The longest to Shunt is that of a cluster in which every slot is a range of its own, to
/// `CLUSTER SLOTS`.
const LONGEST_ANSWER: usize = 16 << 20;

/// How many answers may be awaited at once. A request waits for a short time, so there are so many only if Redis does
/// not answer.
const MOST_AWAITED: usize = 1 << 16;

/// How many bytes may wait for the socket. There are so many only if Redis does not read.
const MOST_UNSENT: usize = 8 << 20;

/// How much room for commands is kept, in bytes. More is needed only after Redis has not read.
const KEPT: usize = 64 << 10;

/// All replies to the commands of one question, as they came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Box<[u8]>,
    /// How many there are: one for each command.
    pub(super) replies: usize,
}

/// What requests and the [`Driver`] have in common.
#[derive(Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    /// Commands that the driver has not taken yet.
    unsent: Vec<u8>,
    /// Questions that wait for their answers, in the order of the commands.
    awaited: VecDeque<Question>,
    /// Wakes the driver. `None` while it is awake, or waits until the socket takes more.
    driver: Option<Waker>,
    /// Why the connection has ended.
    ended: Option<RedisError>,
}

struct Question {
    answer: oneshot::Sender<RedisResult<Answer>>,
    /// How many replies the answer has.
    replies: usize,
}

impl Line {
    /// Asks with the commands that `write` writes, and waits for the answer. If Redis neither reads nor answers, and
    /// there is no room for one more question, the answer never comes. The caller bounds the wait.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub(super) async fn ask(&self, write: impl FnOnce(&mut Writer<'_>)) -> RedisResult<Answer> {
        match self.send(write)? {
            // The driver answers every question, even when it is dropped.
            Some(answer) => answer.await.unwrap_or_else(|_| Err(closed())),
            None => pending().await,
        }
    }

    /// The answer to come, if there is room for the question.
    fn send(
        &self,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> RedisResult<Option<oneshot::Receiver<RedisResult<Answer>>>> {
        let mut state = self.state();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        if state.awaited.len() >= MOST_AWAITED || state.unsent.len() >= MOST_UNSENT {
            return Ok(None);
        }
        let (sender, receiver) = oneshot::channel();
        let mut writer = Writer::new(&mut state.unsent);
        write(&mut writer);
        let replies = writer.commands();
        state.awaited.push_back(Question {
            answer: sender,
            replies,
        });
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(Some(receiver))
    }

    /// Answers every question with `error`, later ones too, unless the connection has ended before.
    fn end(&self, error: &RedisError) {
        let mut state = self.state();
        state.ended.get_or_insert_with(|| error.clone());
        let awaited = mem::take(&mut state.awaited);
        drop(state);
        for awaited in awaited {
            // The request may have given up.
            let _ = awaited.answer.send(Err(error.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends questions and hands out the answers, until the connection fails. All questions of one turn of the runtime go
/// out in one write.
pub(super) struct Driver<Socket> {
    socket: Socket,
    line: Arc<Line>,
    /// Commands. The first `sent` bytes are sent.
    sending: Vec<u8>,
    sent: usize,
    /// Room for replies. The first `filled` bytes are there.
    received: Vec<u8>,
    filled: usize,
}

impl<Socket: AsyncRead + AsyncWrite + Unpin> Driver<Socket> {
    pub(super) fn new(socket: Socket, line: Arc<Line>) -> Self {
        Self {
            socket,
            line,
            sending: Vec::new(),
            sent: 0,
            received: vec![0; RECEIVED],
            filled: 0,
        }
    }

    /// Ready when the connection has failed.
    fn receive(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            let mut room = ReadBuf::new(&mut self.received[self.filled..]);
            let read = ready!(Pin::new(&mut self.socket).poll_read(context, &mut room));
            let read = read.map(|()| room.filled().len());
            match read {
                Ok(0) => return Poll::Ready(closed()),
                Ok(read) => self.filled += read,
                Err(error) => return Poll::Ready(error.into()),
            }
            if let Err(error) = self.answer() {
                return Poll::Ready(error);
            }
        }
    }

    /// Hands out the answers that have arrived wholly, and keeps the rest.
    fn answer(&mut self) -> RedisResult<()> {
        let mut used = 0;
        let mut state = self.line.state();
        while used < self.filled {
            let bytes = &self.received[used..self.filled];
            let Some(question) = state.awaited.front() else {
                return Err(unasked(bytes));
            };
            match length(bytes, question.replies) {
                Ok(length) => {
                    let bytes = bytes[..length].into();
                    if let Some(Question { answer, replies }) = state.awaited.pop_front() {
                        // The request may have given up.
                        let _ = answer.send(Ok(Answer { bytes, replies }));
                    }
                    used += length;
                }
                Err(Unreadable::Cut) => break,
                Err(Unreadable::Malformed) => return Err(broken("what is no reply")),
            }
        }
        drop(state);
        self.received.copy_within(used..self.filled, 0);
        self.filled -= used;
        if self.filled >= LONGEST_ANSWER {
            return Err(broken("an answer without an end"));
        }
        if self.filled == self.received.len() {
            self.received.resize(2 * self.filled, 0);
        }
        Ok(())
    }

    /// Ready when the connection has failed.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            if self.sent == self.sending.len() {
                self.sending.clear();
                self.sending.shrink_to(KEPT);
                self.sent = 0;
                let mut state = self.line.state();
                mem::swap(&mut self.sending, &mut state.unsent);
                if self.sending.is_empty() {
                    state.driver = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
            let unsent = &self.sending[self.sent..];
            match ready!(Pin::new(&mut self.socket).poll_write(context, unsent)) {
                Ok(0) => return Poll::Ready(closed()),
                Ok(sent) => self.sent += sent,
                Err(error) => return Poll::Ready(error.into()),
            }
        }
    }
}

impl<Socket: AsyncRead + AsyncWrite + Unpin> Future for Driver<Socket> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let failed = match self.receive(context) {
            Poll::Ready(error) => error,
            Poll::Pending => ready!(self.send(context)),
        };
        self.line.end(&failed);
        Poll::Ready(())
    }
}

/// The runtime may stop before the connection ends.
impl<Socket> Drop for Driver<Socket> {
    fn drop(&mut self) {
        self.line.end(&closed());
    }
}

fn closed() -> RedisError {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

/// The error for a reply to nothing. Redis sends one to say that it allows no more connections.
fn unasked(bytes: &[u8]) -> RedisError {
    let said = Reader::new(bytes).skip().err();
    let said = said.filter(|error| error.code().is_some());
    said.unwrap_or_else(|| broken("a reply to nothing"))
}

/// The error for what Redis does not send. Nothing that follows it can be understood.
fn broken(what: &'static str) -> RedisError {
    (ErrorKind::Parse, what).into()
}

#[cfg(test)]
mod tests;
