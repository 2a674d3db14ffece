//! Says `connection: close` where actix-http closes a connection without saying so.
//!
//! When actix-http cannot parse a request, it answers by itself, with 400 or 431, and ends the connection. On a
//! kept-alive connection that answer does not say so. A proxy that keeps connections open may then send another
//! client's request into the closing one. That request is lost, and the proxy thinks that the node is dead. Any client
//! could cause this, by sending `GET /<` again and again. This looks at what is written and adds the header.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Status lines of the answers that actix-http makes by itself, each with its replacement.
const ANSWERS: [(&[u8], &[u8]); 2] = [
    (
        b"HTTP/1.1 400 Bad Request\r\n",
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n",
    ),
    (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n",
    ),
];

/// What follows in such an answer if it does not say that the connection closes. Every answer of ours has a body, and a
/// request id in front of its date.
const GOES_ON: &[u8] = b"content-length: 0\r\ndate: ";

/// A socket whose last answer says that it is the last.
pub(super) struct ClosingSocket<S> {
    socket: S,
    /// How many bytes of the replacement are written.
    replaced: usize,
}

impl<S> ClosingSocket<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            replaced: 0,
        }
    }

    /// The socket itself.
    pub(super) fn get_ref(&self) -> &S {
        &self.socket
    }
}

/// The status line that `answer` begins with, and its replacement, if it is one of these answers. On a connection
/// without pipelining, which no proxy uses, such an answer never stands behind another one in the same write.
fn replacement(answer: &[u8]) -> Option<(&'static [u8], &'static [u8])> {
    // Other answers cost no more than this.
    if !answer.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    ANSWERS.into_iter().find(|(line, _)| {
        answer
            .strip_prefix(*line)
            .is_some_and(|rest| rest.starts_with(GOES_ON))
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for ClosingSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClosingSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some((line, instead)) = replacement(buffer) else {
            return Pin::new(&mut self.socket).poll_write(context, buffer);
        };
        // The caller counts only its own bytes, so it hears of none until the whole replacement is written.
        while let Some(rest) = instead.get(self.replaced..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.socket).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(written)) => self.replaced += written,
                not_written => return not_written,
            }
        }
        self.replaced = 0;
        Poll::Ready(Ok(line.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What arrives of `answer` through a socket that takes `room` bytes at a time.
    async fn through(answer: &str, room: usize) -> String {
        let (near, mut far) = duplex(room);
        let mut socket = ClosingSocket::new(near);
        let (written, arrived) = tokio::join!(
            async {
                socket.write_all(answer.as_bytes()).await?;
                socket.shutdown().await
            },
            async {
                let mut arrived = String::new();
                far.read_to_string(&mut arrived).await.expect("text");
                arrived
            }
        );
        written.expect("written");
        arrived
    }

    #[tokio::test]
    async fn what_actix_answers_by_itself_says_that_the_connection_closes() {
        for status in ["400 Bad Request", "431 Request Header Fields Too Large"] {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\ndate: today\r\n\r\n");
            let expected = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: today\r\n\r\n"
            );
            for room in [1, 7, 30, 1_000] {
                assert_eq!(through(&answer, room).await, expected, "{room} at a time");
            }
        }
    }

    #[tokio::test]
    async fn every_other_answer_stays_as_it_is() {
        for answer in [
            "HTTP/1.1 302 Found\r\ncontent-length: 0\r\ndate: today\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: today\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nx-request-id: a\r\ndate: today\r\n\r\nno",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ndate: today\r\n\r\n",
            "HTTP/1.1 4",
        ] {
            assert_eq!(through(answer, 1_000).await, answer);
        }
    }
}
