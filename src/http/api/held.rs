//! A large answer, which holds its place until the client has taken it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use tokio::time::Instant;

use crate::http::{net::ConnectionMetrics, places::Place};

/// How much the socket gets at once, in bytes. actix-http asks for more when less than 32 KiB wait for the client, so an
/// answer that was given as a whole would lie there without its place.
const PART: usize = 16 * 1024;

/// An answer, and the place of its request among those that a node works on at once.
///
/// The time for answers that lie unread begins again whenever the client has taken some of it, so a client that takes a
/// little now and then would keep its place for as long as it likes: hence a bound for all of it.
pub(super) struct Held {
    rest: Bytes,
    until: Instant,
    _place: Place,
    metrics: ConnectionMetrics,
}

impl Held {
    /// After `until`, what the client has not taken is lost, and the connection ends.
    pub(super) fn new(
        answer: String,
        until: Instant,
        place: Place,
        metrics: ConnectionMetrics,
    ) -> Self {
        Self {
            rest: answer.into(),
            until,
            _place: place,
            metrics,
        }
    }
}

impl MessageBody for Held {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if Instant::now() >= self.until {
            self.metrics.has_ended_unread();
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let part = self.rest.len().min(PART);
        Poll::Ready(Some(Ok(self.rest.split_to(part))))
    }
}
