//! A request that may be larger and take longer than others: its place among them, and until when what may be done. All
//! of it follows from its row in the [table of limits](crate::public::EXCEPTIONS).

use std::time::Duration;

use actix_web::{dev::Payload, web::Bytes};
use tokio::time::Instant;

use super::held::Held;
use crate::{
    http::{
        AppState, Draining,
        edge::{RequestContext, discard_body},
        fields::read_json,
        places::Place,
        problem::ApiError,
    },
    keys::VerifiedKey,
    public::Exception,
};

/// The place of a request, and its time.
pub(super) struct Extended<'a> {
    state: &'a AppState,
    place: Place,
    time: Time,
    /// Until when the connection lasts at least.
    connection_until: Instant,
}

/// The time of a request.
struct Time {
    started: Instant,
    /// Until when all of it has to be done.
    until: Instant,
    /// The time that one transaction may take. A transaction is never given up in the middle, because then nobody knows
    /// what it has stored: none begins if less than this is left.
    transaction: Duration,
    draining: Draining,
    /// How long a request may go on once the node is about to stop: half of the time in which all answers have to be
    /// read.
    stop_within: Duration,
}

impl<'a> Extended<'a> {
    /// Takes a place for a request with this key, and reads its body as JSON. A request without a row in the table has
    /// no such place.
    ///
    /// # Errors
    /// [`ApiError::Busy`] if there is no place, [`ApiError::OverLimit`], or another reason why the body cannot be read.
    pub(super) async fn read(
        state: &'a AppState,
        context: &RequestContext,
        key: &VerifiedKey,
        payload: Payload,
    ) -> Result<(Self, Bytes), ApiError> {
        let place = context
            .exception()
            .and_then(|row| Some((row, state.places.take(row, &key.owner)?)));
        let Some((row, place)) = place else {
            discard_body(context, payload).await;
            return Err(ApiError::Busy);
        };
        let extended = Self::begin(state, row, place);
        if let Some(connection) = context.connection() {
            connection.extension.until(extended.connection_until);
        }
        let usual = state.request_timeout;
        let within = row.limits.body_time.map_or(usual, |time| time.max(usual));
        let body = read_json(context, payload, within).await;
        let body = body.map_err(|error| match error {
            ApiError::TooLarge => ApiError::OverLimit {
                most: row.limits.body,
            },
            error => error,
        })?;
        Ok((extended, body))
    }

    fn begin(state: &'a AppState, row: &Exception, place: Place) -> Self {
        let (started, limits) = (Instant::now(), &row.limits);
        let answer = limits.answer.unwrap_or(limits.nginx_waits);
        let time = Time {
            started,
            until: started + answer,
            // With a longer `database.timeout`, the last one may end later than that.
            transaction: state.database_timeout.min(answer / 2),
            draining: state.draining.clone(),
            stop_within: state.shutdown_timeout / 2,
        };
        let after = limits.nginx_waits.saturating_sub(answer);
        Self {
            state,
            place,
            connection_until: time.until + after.max(state.database_timeout),
            time,
        }
    }

    /// Until when all of it has to be done.
    pub(super) fn until(&self) -> Instant {
        self.time.until()
    }

    /// Until when a transaction may begin.
    pub(super) fn transactions_begin_until(&self) -> Instant {
        self.time.transactions_begin_until()
    }

    /// Whether there is time for another transaction.
    pub(super) fn may_begin(&self) -> bool {
        Instant::now() < self.transactions_begin_until()
    }

    /// The answer, which keeps the place until the client has taken it, or its time for that is over.
    pub(super) fn held(self, answer: String) -> Held {
        let until = self.connection_until + self.state.request_timeout;
        let metrics = self.state.metrics.connections.clone();
        Held::new(answer, until, self.place, metrics)
    }
}

impl Time {
    /// Sooner if the node is about to stop.
    fn until(&self) -> Instant {
        match self.draining.since() {
            Some(begun) => self.until.min(begun.max(self.started) + self.stop_within),
            None => self.until,
        }
    }

    fn transactions_begin_until(&self) -> Instant {
        let until = self.until().checked_sub(self.transaction);
        until.unwrap_or(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn time(started: Instant) -> Time {
        Time {
            started,
            until: started + 40 * SECOND,
            transaction: 2 * SECOND,
            draining: Draining::default(),
            stop_within: 15 * SECOND,
        }
    }

    #[test]
    fn no_transaction_begins_that_may_end_too_late() {
        let started = Instant::now();
        let time = time(started);
        assert_eq!(time.until(), started + 40 * SECOND);
        assert_eq!(time.transactions_begin_until(), started + 38 * SECOND);
    }

    #[test]
    fn a_node_that_stops_has_less_time() {
        let started = Instant::now();
        let mut time = time(started);
        time.draining.begin();
        let begun = time.draining.since().expect("a moment");
        assert_eq!(time.until(), begun + 15 * SECOND);
        // A request that comes during a long drain has as long as one from before it.
        time.started = begun + 60 * SECOND;
        time.until = time.started + 40 * SECOND;
        assert_eq!(time.until(), time.started + 15 * SECOND);
        // It never has more than usual.
        time.stop_within = 100 * SECOND;
        assert_eq!(time.until(), time.started + 40 * SECOND);
    }
}
