//! The connections of a node: mirrors `redis/connections.rs` and `redis/connections/link.rs`.

use std::time::Duration;

use super::{
    network::Message,
    node::{COMMON, OWN, TIMEOUT},
    world::{Timer, World},
};
use crate::limiter::outage::{Failure, Silence, silence_bound};

/// A connection that a node uses, makes, or does without.
pub(super) struct Link {
    pub(super) state: State,
    pub(super) silence: Silence,
    /// Whether it takes the place of one that was lost.
    pub(super) replaces: bool,
    /// What waits until it is made.
    pub(super) waiting: Vec<u64>,
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
        let connection = self.open(n);
        self.nodes[n].links[which].state = State::Connecting(connection);
        let patience = if which == OWN { TIMEOUT / 2 } else { TIMEOUT };
        self.timer(n, self.now + patience, Timer::ConnectDue(connection));
        self.send(connection, 0, Message::Hello);
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

    pub(super) fn connection_lost(&mut self, n: usize, connection: usize) {
        self.not_connected(n, connection);
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
