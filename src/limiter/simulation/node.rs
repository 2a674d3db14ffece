//! A node, and its requests: mirrors `with_redis.rs`, `journaled_redis.rs`, `journal.rs` and `redis/request.rs`.

use std::time::Duration;

use super::{
    background::{Job, Rejoin, Watch},
    link::{Attempt, Link, State},
    network::{Answer, Message},
    schedule::{CLIENTS, MS, SECOND},
    world::{Timer, World},
};
use crate::limiter::{
    Breaker, LogEntry, LogTime,
    journal::known::{Known, Place},
    nodes::Nodes,
    outage::{Failure, Outage},
    redis::{
        attendance::{Attendance, Question},
        doubt::Doubt,
        roster::NodeId,
    },
};

/// `limiter.redis.timeout`
pub(super) const TIMEOUT: i64 = 100 * MS;

/// `limiter.write_back`
pub(super) const WRITE_BACK: i64 = 250 * MS;

/// `journal::LATENESS`
pub(super) const LATENESS: Duration = Duration::from_micros(2 * WRITE_BACK as u64);

/// `patience::STALL`
const STALL: i64 = 5 * MS;

/// `request::PAUSE`
const PAUSE: i64 = 5 * MS;

/// The log time at the true time 0, µs. In a beat, log times are positive.
pub(super) const EPOCH: i64 = 1_800_000_000 * SECOND;

pub(super) const OWN: usize = 0;
pub(super) const COMMON: usize = 1;

pub(super) struct Node {
    /// Grows with each start. Nothing waits for the answers to an earlier life.
    pub(super) life: u32,
    pub(super) is_alive: bool,
    /// Whether it has tried to connect, and takes requests.
    pub(super) is_ready: bool,
    pub(super) stalled_until: i64,
    pub(super) cut_off_until: i64,
    pub(super) skew: i64,
    pub(super) known: [Option<Known>; CLIENTS],
    /// What a node without a memory knows.
    pub(super) amnesiac: [Known; CLIENTS],
    pub(super) breaker: Breaker,
    pub(super) outage: Outage,
    pub(super) doubt: Doubt,
    pub(super) attendance: Attendance,
    pub(super) count: Nodes,
    pub(super) is_rejoining: bool,
    pub(super) has_lost_writes: bool,
    pub(super) run: Option<u64>,
    pub(super) links: [Link; 2],
    pub(super) operations: Vec<Operation>,
    pub(super) suspicion: bool,
    pub(super) watch: Watch,
    pub(super) rejoin: Rejoin,
    pub(super) rejoin_attempt: Attempt,
    pub(super) writes: [usize; 3],
    pub(super) is_write_back_due: bool,
}

/// Something that waits for an answer.
pub(super) struct Operation {
    pub(super) id: u64,
    pub(super) work: Work,
    /// The connection that it was sent on.
    pub(super) connection: Option<usize>,
    pub(super) sent: i64,
    /// When Redis had last answered then.
    pub(super) ran: i64,
    /// When its time is over.
    pub(super) due: i64,
    /// Whether it may wait a little more, once.
    pub(super) has_grace: bool,
    pub(super) question: Option<Question>,
}

pub(super) enum Work {
    Request(Asked),
    /// What goes over the common connection; how often it was sent.
    Job(Job, u8),
}

/// `journal::Pending`, and what `redis::request` knows.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) client: usize,
    pub(super) entry: LogEntry,
    pub(super) earlier: Vec<LogEntry>,
    pub(super) place: Option<Place>,
    pub(super) arrived: i64,
    /// Of the breaker.
    pub(super) generation: u64,
    /// `record_with_care`
    pub(super) with_care: bool,
    pub(super) losses: i64,
}

impl Node {
    pub(super) fn new(life: u32, number: usize, skew: i64, now: i64) -> Self {
        let timeout = Duration::from_micros(TIMEOUT as u64);
        let doubt = Doubt::new(timeout);
        Self {
            life,
            is_alive: true,
            is_ready: true,
            stalled_until: 0,
            cut_off_until: 0,
            skew,
            known: Default::default(),
            amnesiac: Default::default(),
            breaker: Breaker::default(),
            outage: Outage::new(timeout, now),
            doubt,
            attendance: Attendance::new(NodeId::numbered(u64::from(life) * 100 + number as u64)),
            count: Nodes::new(None),
            is_rejoining: false,
            has_lost_writes: false,
            run: None,
            links: [Link::new(now), Link::new(now)],
            operations: Vec::new(),
            suspicion: false,
            watch: Watch::Waits {
                round: 0,
                since: now,
            },
            rejoin: Rejoin::Not,
            rejoin_attempt: Attempt::until(now),
            writes: [0; 3],
            is_write_back_due: false,
        }
    }

    pub(super) fn is_back(&self) -> bool {
        self.is_ready && !self.breaker.is_open()
    }

    pub(super) fn has_requests(&self) -> bool {
        let is_request = |operation: &Operation| matches!(operation.work, Work::Request(_));
        self.operations.iter().any(is_request)
    }

    pub(super) fn log_time(&self, now: i64) -> LogTime {
        LogTime::from_micros(EPOCH + now + self.skew)
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Operation> {
        let index = self
            .operations
            .iter()
            .position(|operation| operation.id == id)?;
        Some(self.operations.swap_remove(index))
    }

    pub(super) fn operation(&mut self, id: u64) -> Option<&mut Operation> {
        self.operations
            .iter_mut()
            .find(|operation| operation.id == id)
    }
}

impl World<'_> {
    pub(super) fn begin(&mut self, n: usize, work: Work) -> u64 {
        self.operation += 1;
        let id = self.operation;
        self.nodes[n].operations.push(Operation {
            id,
            work,
            connection: None,
            sent: self.now,
            ran: i64::MIN,
            due: i64::MAX,
            has_grace: true,
            question: None,
        });
        id
    }

    /// Sends an operation on a connection that works.
    pub(super) fn transmit(&mut self, n: usize, connection: usize, id: u64) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let at = node.log_time(now).as_micros();
        let Some(index) = node
            .operations
            .iter()
            .position(|operation| operation.id == id)
        else {
            return;
        };
        let operation = &mut node.operations[index];
        operation.connection = Some(connection);
        operation.sent = now;
        operation.ran = node.doubt.last_answered();
        let message = match &operation.work {
            Work::Request(asked) => Message::Record {
                client: asked.client,
                entry: asked.entry,
                earlier: asked.earlier.clone(),
            },
            Work::Job(job, _) => {
                operation.due = now + TIMEOUT;
                match job {
                    Job::Time { .. } => Message::Time,
                    Job::Add {
                        client,
                        entries,
                        now,
                        ..
                    } => Message::Add {
                        client: *client,
                        entries: entries.clone(),
                        now: *now,
                    },
                    Job::Look => {
                        operation.question = Some(node.attendance.look());
                        Message::Look
                    }
                    Job::Beat(_) => {
                        let question = node.attendance.beat(at);
                        let beat = question.beat.expect("a beat");
                        operation.question = Some(question);
                        Message::Beat {
                            node: node.attendance.id(),
                            beat,
                        }
                    }
                }
            }
        };
        let (due, is_job) = (operation.due, matches!(operation.work, Work::Job(..)));
        if is_job {
            self.timer(n, due, Timer::Due(id));
        }
        self.send(connection, id, message);
    }

    /// `RedisLimiter::failed`
    pub(super) fn failed(&mut self, n: usize, failure: Failure, generation: u64) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if node.outage.failed(failure, now - TIMEOUT, now) {
            if node.breaker.trip(generation) {
                node.amnesiac = Default::default();
                self.tell(|world| {
                    format!(
                        "node {n} opens its breaker, one of {}",
                        world.nodes[n].count.number()
                    )
                });
                self.breaker_opened(n);
            }
        } else if !node.suspicion {
            node.suspicion = true;
            self.suspected(n);
        }
    }

    /// The connection of an operation is lost.
    pub(super) fn operation_lost(&mut self, n: usize, id: u64) {
        let Some(operation) = self.nodes[n].operation(id) else {
            return;
        };
        operation.connection = None;
        match &mut operation.work {
            Work::Request(asked) => {
                asked.losses += 1;
                let losses = asked.losses;
                if !self.mends.same_member {
                    self.member += 1;
                    let (old, member) = (asked.entry, self.member);
                    asked.entry.member = member;
                    let (client, new) = (asked.client, asked.entry);
                    if let Some(known) = &mut self.nodes[n].known[client] {
                        known.unanswered(old, new);
                    }
                }
                if losses >= 2 {
                    self.timer(n, self.now + PAUSE * (losses - 1), Timer::Resend(id));
                } else {
                    self.use_link(n, OWN, id);
                }
            }
            Work::Job(_, attempts) => {
                *attempts += 1;
                if *attempts < 2 {
                    self.use_link(n, COMMON, id);
                } else {
                    self.fail(n, id, Failure::NoAnswer);
                }
            }
        }
    }

    /// `Patience`: an operation has waited for too long, unless this node stood still.
    pub(super) fn due(&mut self, n: usize, id: u64) {
        let (now, patient) = (self.now, self.mends.patient);
        let Some(operation) = self.nodes[n].operation(id) else {
            return;
        };
        if operation.due <= now && now - operation.due >= STALL && patient {
            operation.extend(now);
        }
        let (due, sent, connection) = (operation.due, operation.sent, operation.connection);
        if due > now {
            return self.timer(n, due, Timer::Due(id));
        }
        for link in &mut self.nodes[n].links {
            if matches!(link.state, State::Up(up) if Some(up) == connection) {
                link.unanswered(sent, now);
            }
        }
        self.fail(n, id, Failure::NoAnswer);
    }

    pub(super) fn fail(&mut self, n: usize, id: u64, failure: Failure) {
        let Some(operation) = self.nodes[n].take(id) else {
            return;
        };
        match operation.work {
            Work::Request(asked) => self.request_failed(n, &asked, failure),
            Work::Job(job, _) => self.job_done(n, job, operation.question, Err(failure)),
        }
    }

    pub(super) fn answer(&mut self, n: usize, connection: usize, id: u64, answer: Answer) {
        match answer {
            Answer::Hello { run } => self.connected(n, connection, run),
            Answer::Refused => self.not_connected(n, connection),
            Answer::Lost => self.connection_lost(n, connection),
            answer => {
                let now = self.now;
                let node = &mut self.nodes[n];
                let Some(operation) = node.operation(id) else {
                    return;
                };
                if operation.connection != Some(connection) {
                    return;
                }
                node.outage.answered(now);
                if !matches!(answer, Answer::Decided(_)) {
                    node.doubt.answered(now);
                }
                for link in &mut node.links {
                    if matches!(link.state, State::Up(up) if up == connection) {
                        link.silence.answered(now);
                    }
                }
                if let Answer::Decided(decision) = answer {
                    return self.request_answered(n, id, decision);
                }
                if let Some(Operation {
                    work: Work::Job(job, _),
                    question,
                    ..
                }) = self.nodes[n].take(id)
                {
                    self.job_done(n, job, question, Ok(answer));
                }
            }
        }
    }
}

impl Operation {
    pub(super) fn extend(&mut self, now: i64) {
        if self.has_grace {
            self.has_grace = false;
            self.due = self.due.max(now + TIMEOUT / 2);
        }
    }
}
