//! How a node comes back to Redis: mirrors `rejoin.rs` of the limiter.

use super::{
    background::{Job, REJOIN, Rejoin, Watch, Why},
    link::{Attempt, Link, State},
    node::{COMMON, OWN, TIMEOUT, Work},
    schedule::{CLIENTS, MS},
    world::{Timer, World},
};
use crate::limiter::{LogEntry, journal::known::Known, outage::Failure, redis::Generation};

/// `rejoin::RETRY_INTERVAL`, `WAIT_INTERVAL`
const RETRY_INTERVAL: i64 = 100 * MS;
const WAIT_INTERVAL: i64 = 25 * MS;

impl World<'_> {
    /// `RedisLimiter::try_to_rejoin`: gives all connections up, and connects.
    pub(super) fn try_to_rejoin(&mut self, n: usize) {
        self.nodes[n].watch = Watch::Rejoins;
        let mut waiting = Vec::new();
        for link in &mut self.nodes[n].links {
            waiting.append(&mut link.waiting);
            *link = Link::new(self.now);
        }
        let attempt = Attempt::until(self.now + TIMEOUT);
        let connection = self.attempt(n, attempt);
        let node = &mut self.nodes[n];
        node.rejoin = Rejoin::Connects(connection);
        node.rejoin_attempt = attempt;
        for id in waiting {
            self.fail(n, id, Failure::Certain);
        }
    }

    /// The connection that was being made has ended.
    pub(super) fn rejoin_lost(&mut self, n: usize) {
        let mut attempt = self.nodes[n].rejoin_attempt;
        match self.attempt_again(n, &mut attempt) {
            Some(connection) => {
                let node = &mut self.nodes[n];
                node.rejoin = Rejoin::Connects(connection);
                node.rejoin_attempt = attempt;
            }
            None => self.rejoin_failed(n),
        }
    }

    pub(super) fn is_rejoining_on(&self, n: usize, connection: usize) -> bool {
        self.nodes[n].rejoin == Rejoin::Connects(connection)
    }

    pub(super) fn rejoin_connected(&mut self, n: usize, connection: usize, run: u64) {
        let node = &mut self.nodes[n];
        if node.run.is_some_and(|before| before != run) && self.mends.notices {
            node.has_lost_writes = true;
        }
        node.run = Some(run);
        node.rejoin = Rejoin::Looks(connection);
        let id = self.begin(n, Work::Job(Job::Look, 1));
        self.transmit(n, connection, id);
    }

    pub(super) fn looked(&mut self, n: usize, lost: Option<Generation>) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let Rejoin::Looks(connection) = node.rejoin else {
            return;
        };
        node.links[COMMON].state = State::Up(connection);
        node.links[OWN].state = State::Lost;
        if !node.is_ready {
            node.is_ready = true;
            node.rejoin = Rejoin::Not;
            return self.begin_loops(n);
        }
        let returned = node.log_time(now);
        let mut pause = 0;
        if let Some(generation) = lost {
            node.has_lost_writes = true;
            node.attendance.enter(generation);
            let roster = node.attendance.roster().cloned().unwrap_or_default();
            pause = 2 * roster.interval().as_micros() as i64;
            self.tell(|_| format!("node {n} enters generation {generation}"));
        }
        let node = &mut self.nodes[n];
        node.rejoin = Rejoin::Notices { returned };
        node.is_rejoining = self.mends.cares_early;
        if pause > 0 && self.mends.waits_for_notice {
            self.timer(n, now + pause, Timer::Noticed);
        } else {
            self.restore(n);
        }
    }

    /// `JournaledRedis::restore`
    pub(super) fn restore(&mut self, n: usize) {
        let quota = self.schedule.quota;
        let node = &mut self.nodes[n];
        let Rejoin::Notices { returned } = node.rejoin else {
            return;
        };
        let now = node.log_time(self.now);
        node.rejoin = Rejoin::Restores { returned };
        let has_lost = node.has_lost_writes;
        let mut backlog = Vec::new();
        for client in 0..CLIENTS {
            if let Some(known) = &node.known[client] {
                let entries: Vec<_> = if has_lost {
                    known.counting(quota, now).collect()
                } else {
                    known.kept().collect()
                };
                if !entries.is_empty() && self.mends.restores {
                    backlog.push((client, entries));
                }
            }
        }
        self.write(n, REJOIN, backlog);
    }

    pub(super) fn restored(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if let Rejoin::Restores { returned } = node.rejoin {
            node.rejoin = Rejoin::Waits { returned };
            node.is_rejoining = true;
            self.tell(|_| format!("node {n} has restored what it knows"));
            self.beat_again(n);
        } else if matches!(node.rejoin, Rejoin::Waits { .. }) {
            self.begin_job(n, Job::Beat(Why::Rejoin));
        }
    }

    /// Others take a beat as a sign that Redis knows what this node knows.
    pub(super) fn beat_again(&mut self, n: usize) {
        if self.mends.restores_again {
            let known = self.nodes[n].known.iter().enumerate();
            let kept =
                known.map(|(client, known)| (client, known.iter().flat_map(Known::kept).collect()));
            let backlog: Vec<(usize, Vec<LogEntry>)> = kept.collect();
            let backlog = backlog
                .into_iter()
                .filter(|(_, kept)| !kept.is_empty())
                .collect();
            self.write(n, REJOIN, backlog);
        } else {
            self.begin_job(n, Job::Beat(Why::Rejoin));
        }
    }

    pub(super) fn beaten_while_rejoining(&mut self, n: usize) {
        let waits = self.mends.waits_for_others;
        let node = &mut self.nodes[n];
        let Rejoin::Waits { returned } = node.rejoin else {
            return;
        };
        let generation = node.attendance.generation();
        let roster = node.attendance.roster();
        let are_back = roster.is_none_or(|roster| roster.have_all_beaten(returned, generation));
        if !waits || are_back {
            node.has_lost_writes = false;
            node.breaker.close();
            node.is_rejoining = false;
            node.rejoin = Rejoin::Not;
            self.trouble = self.trouble.max(self.now);
            self.tell(|_| format!("node {n} closes its breaker"));
            self.operation += 1;
            self.watch_again(n, self.operation);
        } else {
            self.timer(n, self.now + WAIT_INTERVAL, Timer::BeatAgain);
        }
    }

    pub(super) fn rejoin_failed(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        node.is_rejoining = false;
        node.rejoin = Rejoin::Not;
        if !node.is_ready {
            node.is_ready = true;
            node.breaker.trip(0);
            self.begin_loops(n);
            self.nodes[n].watch = Watch::Rejoins;
            return self.try_to_rejoin(n);
        }
        self.timer(n, now + RETRY_INTERVAL, Timer::Rejoin);
    }

    pub(super) fn breaker_opened(&mut self, n: usize) {
        if matches!(self.nodes[n].watch, Watch::Waits { .. }) {
            self.try_to_rejoin(n);
        }
    }
}
