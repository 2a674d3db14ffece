//! The connections of a node: mirrors `redis/connections.rs` and `redis/connections/link.rs`.

use std::time::Duration;

use super::{
    network::Message,
    node::{COMMON, OWN, TIMEOUT},
    world::{Timer, World},
};
use crate::limiter::{
    outage::{Failure, Silence, silence_bound},
    redis::LOST_AT_ONCE,
};

/// A connection that a node uses, makes, or does without.
pub(super) struct Link {
    pub(super) state: State,
    pub(super) silence: Silence,
    /// Whether it takes the place of one that was lost.
    pub(super) replaces: bool,
    /// What waits until it is made.
    pub(super) waiting: Vec<u64>,
    attempt: Attempt,
}

/// An attempt to connect: mirrors `Connector::connect`.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    /// When it fails.
    due: i64,
    /// How many connections have ended while they were made.
    ended: usize,
}

impl Attempt {
    pub(super) fn until(due: i64) -> Self {
        Self { due, ended: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The store has given up: there is none until it reconnects.
    Absent,
    /// The next request that needs it makes it.
    Lost,
    Connecting(usize),
    Up(usize),
    /// It could not be made: the common one is used.
    Failed,
}

impl Link {
    pub(super) fn new(now: i64) -> Self {
        Self {
            state: State::Absent,
            silence: Silence::new(now),
            replaces: false,
            waiting: Vec::new(),
            attempt: Attempt::until(now),
        }
    }

    /// `Link::unanswered`
    pub(super) fn unanswered(&mut self, sent: i64, now: i64) {
        let bound = silence_bound(Duration::from_micros(TIMEOUT as u64));
        if self.silence.unanswered(sent, now) >= bound {
            self.state = State::Lost;
            self.replaces = true;
        }
    }
}

impl World<'_> {
    /// `RedisStore::link`, `Connections::common`
    pub(super) fn use_link(&mut self, n: usize, which: usize, id: u64) {
        let links = &mut self.nodes[n].links;
        if links[COMMON].state == State::Absent {
            return self.fail(n, id, Failure::Certain);
        }
        let link = &mut links[which];
        match link.state {
            State::Up(connection) => self.transmit(n, connection, id),
            State::Connecting(_) if which == COMMON || link.replaces => link.waiting.push(id),
            State::Connecting(_) | State::Failed => self.use_link(n, COMMON, id),
            State::Lost | State::Absent => {
                link.waiting.push(id);
                self.connect(n, which);
            }
        }
    }

    fn connect(&mut self, n: usize, which: usize) {
        let patience = if which == OWN { TIMEOUT / 2 } else { TIMEOUT };
        let attempt = Attempt::until(self.now + patience);
        let connection = self.attempt(n, attempt);
        let link = &mut self.nodes[n].links[which];
        link.state = State::Connecting(connection);
        link.attempt = attempt;
    }

    /// Begins a connection.
    pub(super) fn attempt(&mut self, n: usize, attempt: Attempt) -> usize {
        let connection = self.open(n);
        self.timer(n, attempt.due, Timer::ConnectDue(connection));
        self.send(connection, 0, Message::Hello);
        connection
    }

    /// Begins another connection in place of one that has ended while it was made. `None` if too many have ended.
    pub(super) fn attempt_again(&mut self, n: usize, attempt: &mut Attempt) -> Option<usize> {
        if attempt.ended == LOST_AT_ONCE {
            return None;
        }
        attempt.ended += 1;
        Some(self.attempt(n, *attempt))
    }

    fn link_of(&self, n: usize, connection: usize) -> Option<usize> {
        let links = &self.nodes[n].links;
        links
            .iter()
            .position(|link| link.state == State::Connecting(connection))
    }

    /// A connection is made, and leads to the server process `run`.
    pub(super) fn connected(&mut self, n: usize, connection: usize, run: u64) {
        if self.is_rejoining_on(n, connection) {
            return self.rejoin_connected(n, connection, run);
        }
        let Some(which) = self.link_of(n, connection) else {
            return;
        };
        let now = self.now;
        let is_same = self.nodes[n].run == Some(run) || !self.mends.notices;
        let link = &mut self.nodes[n].links[which];
        let waiting = std::mem::take(&mut link.waiting);
        if is_same {
            link.state = State::Up(connection);
            link.silence = Silence::new(now);
            for id in waiting {
                self.use_link(n, which, id);
            }
        } else {
            link.state = State::Lost;
            self.tell(|_| format!("node {n} finds another process in the place of Redis"));
            for id in waiting {
                self.fail(n, id, Failure::Certain);
            }
        }
    }

    /// A connection cannot be made.
    pub(super) fn not_connected(&mut self, n: usize, connection: usize) {
        if self.is_rejoining_on(n, connection) {
            return self.rejoin_failed(n);
        }
        let Some(which) = self.link_of(n, connection) else {
            return;
        };
        let link = &mut self.nodes[n].links[which];
        let waiting = std::mem::take(&mut link.waiting);
        link.state = if which == OWN {
            State::Failed
        } else {
            State::Lost
        };
        for id in waiting {
            if which == OWN {
                self.use_link(n, COMMON, id);
            } else {
                self.fail(n, id, Failure::Certain);
            }
        }
    }

    /// If this connection was just being made, makes another one.
    fn connecting_lost(&mut self, n: usize, connection: usize) {
        if self.is_rejoining_on(n, connection) {
            return self.rejoin_lost(n);
        }
        let Some(which) = self.link_of(n, connection) else {
            return;
        };
        let mut attempt = self.nodes[n].links[which].attempt;
        match self.attempt_again(n, &mut attempt) {
            Some(connection) => {
                let link = &mut self.nodes[n].links[which];
                link.state = State::Connecting(connection);
                link.attempt = attempt;
            }
            None => self.not_connected(n, connection),
        }
    }

    pub(super) fn connection_lost(&mut self, n: usize, connection: usize) {
        self.connecting_lost(n, connection);
        for link in &mut self.nodes[n].links {
            if link.state == State::Up(connection) {
                link.state = State::Lost;
                link.replaces = true;
            }
        }
        let operations = self.nodes[n].operations.iter();
        let lost = operations.filter(|operation| operation.connection == Some(connection));
        let lost: Vec<u64> = lost.map(|operation| operation.id).collect();
        for id in lost {
            self.operation_lost(n, id);
        }
    }
}
