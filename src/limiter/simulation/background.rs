//! The background work of a node: mirrors `supervise.rs`.

use std::mem;

use super::{
    link::State,
    network::Answer,
    node::{Asked, COMMON, Node, WRITE_BACK, Work},
    schedule::{CLIENTS, MS, SECOND},
    world::{Timer, World},
};
use crate::limiter::{
    Decision, LogEntry, LogTime,
    outage::Failure,
    redis::{Generation, attendance::Question, roster::Reading},
};

/// `supervise::CLOCK_INTERVAL`, `PROBE_INTERVAL`
const CLOCK_INTERVAL: i64 = SECOND;
const PROBE_INTERVAL: i64 = 100 * MS;

/// `RedisLimiter::watch`
pub(super) enum Watch {
    Waits { round: u64, since: i64 },
    Measures,
    Rejoins,
}

/// `RedisLimiter::try_to_rejoin`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejoin {
    Not,
    Connects(usize),
    Looks(usize),
    Notices { returned: LogTime },
    Restores { returned: LogTime },
    Waits { returned: LogTime },
}

/// Work on the common connection.
pub(super) enum Job {
    Time {
        generation: u64,
    },
    Add {
        client: usize,
        entries: Vec<LogEntry>,
        now: i64,
        writer: usize,
    },
    Look,
    Beat(Why),
}

/// Who looks for losses.
pub(super) enum Why {
    Loop(u64),
    Rejoin,
    Request(Box<(Asked, Decision)>),
}

/// Who writes back.
const BEAT: usize = 0;
const WRITER: usize = 1;
pub(super) const REJOIN: usize = 2;

impl World<'_> {
    /// All nodes have run for a while, and know each other.
    pub(super) fn found(&mut self) {
        let schedule = self.schedule;
        for (n, skew) in schedule.skews.iter().enumerate() {
            self.nodes.push(Node::new(0, n, *skew, self.now));
        }
        for _ in 0..2 {
            for n in 0..self.nodes.len() {
                let at = self.nodes[n].log_time(self.now).as_micros();
                let node = &mut self.nodes[n];
                node.doubt.usual_round_trip(schedule.delay);
                node.doubt.answered(self.now);
                node.run = Some(self.server.run);
                let question = node.attendance.look();
                self.take_in(n, &question, Answer::Beats(self.server.beats()));
                let node = &mut self.nodes[n];
                let question = node.attendance.beat(at);
                let beat = question.beat.expect("a beat");
                let beats = self.server.beat(node.attendance.id(), beat);
                self.take_in(n, &question, Answer::Beats(beats));
            }
        }
        for n in 0..self.nodes.len() {
            for which in 0..2 {
                let connection = self.open(n);
                self.nodes[n].links[which].state = State::Up(connection);
            }
            self.begin_loops(n);
        }
    }

    pub(super) fn begin_loops(&mut self, n: usize) {
        let phase = self.dice.between(0, 250 * MS);
        self.timer(n, self.now + phase, Timer::Beat);
        self.watch_again(n, 0);
    }

    pub(super) fn kill(&mut self, n: usize) {
        if self.nodes[n].is_alive {
            let Node { life, skew, .. } = self.nodes[n];
            self.nodes[n] = Node {
                is_alive: false,
                ..Node::new(life + 1, n, skew, self.now)
            };
        }
    }

    /// `RedisLimiter::connect`: the node takes requests as soon as it has tried.
    pub(super) fn start(&mut self, n: usize) {
        if self.nodes[n].is_alive {
            return;
        }
        let Node { life, skew, .. } = self.nodes[n];
        self.nodes[n] = Node {
            is_ready: false,
            ..Node::new(life + 1, n, skew, self.now)
        };
        self.nodes[n].doubt.usual_round_trip(self.schedule.delay);
        self.try_to_rejoin(n);
    }

    pub(super) fn fired(&mut self, n: usize, timer: Timer) {
        match timer {
            Timer::Due(id) => self.due(n, id),
            Timer::ConnectDue(connection) => {
                if self.is_rejoining_on(n, connection)
                    || self.nodes[n]
                        .links
                        .iter()
                        .any(|link| link.state == State::Connecting(connection))
                {
                    self.not_connected(n, connection);
                }
            }
            Timer::Resend(id) => self.use_link(n, super::node::OWN, id),
            Timer::Beat => self.write_back(n, BEAT),
            Timer::WriteBack => {
                self.nodes[n].is_write_back_due = false;
                self.write_back(n, WRITER);
            }
            Timer::Measure(round) => self.measure(n, round),
            Timer::Rejoin => self.try_to_rejoin(n),
            Timer::Noticed => self.restore(n),
            Timer::BeatAgain => self.beat_again(n),
        }
    }

    pub(super) fn begin_job(&mut self, n: usize, job: Job) {
        let id = self.begin(n, Work::Job(job, 0));
        self.use_link(n, COMMON, id);
    }

    /// `Journal::list`
    pub(super) fn list(&mut self, n: usize, client: usize) {
        let node = &mut self.nodes[n];
        let Some(known) = &mut node.known[client] else {
            return;
        };
        known.is_listed = true;
        if !mem::replace(&mut node.is_write_back_due, true) {
            let at = self.now + self.dice.between(0, WRITE_BACK);
            self.timer(n, at, Timer::WriteBack);
        }
    }

    /// `RedisLimiter::write_back_once`
    fn write_back(&mut self, n: usize, writer: usize) {
        let quota = self.schedule.quota;
        let now = self.now;
        let node = &mut self.nodes[n];
        let log_time = node.log_time(now);
        let mut backlog = Vec::new();
        if node.breaker.closed_generation().is_some() {
            for client in 0..CLIENTS {
                if let Some(known) = node.known[client].as_mut().filter(|known| known.is_listed) {
                    let entries: Vec<_> = known.kept().collect();
                    let lateness = std::time::Duration::from_micros(2 * WRITE_BACK as u64);
                    let is_flood = known.is_flood(quota, log_time, lateness);
                    known.is_listed = is_flood || !entries.is_empty();
                    if !entries.is_empty() {
                        backlog.push((client, entries));
                    }
                }
            }
        }
        self.write(n, writer, backlog);
    }

    /// `JournaledRedis::write`
    pub(super) fn write(&mut self, n: usize, writer: usize, backlog: Vec<(usize, Vec<LogEntry>)>) {
        let now = self.nodes[n].log_time(self.now).as_micros();
        self.nodes[n].writes[writer] = backlog.len();
        if backlog.is_empty() {
            return self.written(n, writer, Ok(()));
        }
        for (client, entries) in backlog {
            self.begin_job(
                n,
                Job::Add {
                    client,
                    entries,
                    now,
                    writer,
                },
            );
        }
    }

    /// All is written, or the first write has failed.
    fn written(&mut self, n: usize, writer: usize, done: Result<(), Failure>) {
        if writer == REJOIN {
            return match done {
                Ok(()) => self.restored(n),
                Err(_) => self.rejoin_failed(n),
            };
        }
        let node = &mut self.nodes[n];
        let generation = node.breaker.closed_generation();
        if let (Err(failure), Some(generation)) = (done, generation) {
            self.failed(n, failure, generation);
        }
        if writer == WRITER {
            if self.nodes[n]
                .known
                .iter()
                .flatten()
                .any(|known| known.is_listed)
            {
                self.nodes[n].is_write_back_due = true;
                self.timer(n, self.now + WRITE_BACK, Timer::WriteBack);
            }
            return;
        }
        match self.nodes[n].breaker.closed_generation() {
            Some(generation) => self.begin_job(n, Job::Beat(Why::Loop(generation))),
            None => self.beat_later(n),
        }
    }

    fn beat_later(&mut self, n: usize) {
        let roster = self.nodes[n]
            .attendance
            .roster()
            .cloned()
            .unwrap_or_default();
        let interval = roster.interval().as_micros() as i64;
        self.timer(n, self.now + interval, Timer::Beat);
    }

    pub(super) fn job_done(
        &mut self,
        n: usize,
        job: Job,
        question: Option<Question>,
        done: Result<Answer, Failure>,
    ) {
        match job {
            Job::Time { generation } => {
                if let Err(failure) = done {
                    self.failed(n, failure, generation);
                }
                self.measured(n);
            }
            Job::Add {
                client,
                entries,
                writer,
                ..
            } => {
                if self.nodes[n].writes[writer] == 0 {
                    return;
                }
                match done {
                    Ok(_) => {
                        if let Some(known) = &mut self.nodes[n].known[client] {
                            known.has_written(&entries);
                        }
                        self.nodes[n].writes[writer] -= 1;
                        if self.nodes[n].writes[writer] == 0 {
                            self.written(n, writer, Ok(()));
                        }
                    }
                    Err(failure) => {
                        self.nodes[n].writes[writer] = 0;
                        self.written(n, writer, Err(failure));
                    }
                }
            }
            Job::Look => {
                if let (Some(question), Ok(answer)) = (question, done) {
                    let lost = self.take_in(n, &question, answer);
                    self.looked(n, lost);
                } else {
                    self.rejoin_failed(n);
                }
            }
            Job::Beat(why) => {
                let done = match (question, done) {
                    (Some(question), Ok(answer)) => match self.take_in(n, &question, answer) {
                        Some(_) => Err(Failure::Certain),
                        None => Ok(()),
                    },
                    (None, Ok(_)) => Ok(()),
                    (_, Err(failure)) => Err(failure),
                };
                self.has_beaten(n, why, done);
            }
        }
    }

    /// What follows from `RedisLimiter::look_for_losses`.
    fn has_beaten(&mut self, n: usize, why: Why, done: Result<(), Failure>) {
        match (why, done) {
            (Why::Loop(generation), done) => {
                if let Err(failure) = done {
                    self.failed(n, failure, generation);
                }
                self.beat_later(n);
            }
            (Why::Rejoin, Ok(())) => self.beaten_while_rejoining(n),
            (Why::Rejoin, Err(_)) => self.rejoin_failed(n),
            (Why::Request(request), Ok(())) => {
                let (asked, decision) = *request;
                self.nodes[n].known[asked.client] = None;
                self.tell(|_| format!("node {n} forgets client {}", asked.client));
                self.decided(n, &asked, decision, "Redis");
            }
            (Why::Request(request), Err(failure)) => self.request_failed(n, &request.0, failure),
        }
    }

    /// `RedisStore::ask` of the hash, `RedisLimiter::count_nodes`
    fn take_in(&mut self, n: usize, question: &Question, answer: Answer) -> Option<Generation> {
        let now = self.now;
        let node = &mut self.nodes[n];
        let at = node.log_time(now).as_micros();
        let Answer::Beats(beats) = answer else {
            return None;
        };
        let reading = Reading::of(node.attendance.id(), beats);
        let roster = node.attendance.answered(question, &reading, at);
        node.count.are_counted(roster.nodes());
        roster.lost_writes().filter(|_| self.mends.notices)
    }

    pub(super) fn watch_again(&mut self, n: usize, round: u64) {
        self.nodes[n].watch = Watch::Waits {
            round,
            since: self.now,
        };
        if mem::take(&mut self.nodes[n].suspicion) {
            self.timer(n, self.now + PROBE_INTERVAL, Timer::Measure(round));
        } else {
            self.timer(n, self.now + CLOCK_INTERVAL, Timer::Measure(round));
        }
    }

    /// A request had no answer: the clock is measured earlier.
    pub(super) fn suspected(&mut self, n: usize) {
        if let Watch::Waits { round, since } = self.nodes[n].watch {
            let at = self.now.max(since + PROBE_INTERVAL);
            self.timer(n, at, Timer::Measure(round));
        }
    }

    /// `RedisLimiter::measure_clock`
    fn measure(&mut self, n: usize, round: u64) {
        let node = &mut self.nodes[n];
        if !matches!(node.watch, Watch::Waits { round: other, .. } if other == round) {
            return;
        }
        let Some(generation) = node.breaker.closed_generation() else {
            return;
        };
        node.suspicion = false;
        node.watch = Watch::Measures;
        self.begin_job(n, Job::Time { generation });
    }

    fn measured(&mut self, n: usize) {
        if self.nodes[n].breaker.is_open() {
            self.try_to_rejoin(n);
        } else {
            self.operation += 1;
            self.watch_again(n, self.operation);
        }
    }
}
