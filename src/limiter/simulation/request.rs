//! The requests of a node: mirrors `with_redis.rs`, `journaled_redis.rs`, `journal.rs` and `redis/request.rs`.

use super::{
    background::{Job, Why},
    node::{Asked, LATENESS, OWN, Operation, TIMEOUT, Work},
    verdict::Decided,
    world::{Timer, World},
};
use crate::limiter::{
    Decision, LogEntry,
    journal::known::{Arrival, Known},
    outage::Failure,
};

impl World<'_> {
    /// `RedisLimiter::decide`
    pub(super) fn request(&mut self, n: usize, client: usize) {
        self.member += 1;
        let member = self.member;
        let node = &mut self.nodes[n];
        let entry = LogEntry {
            at: node.log_time(self.now),
            member,
        };
        let generation = node.breaker.closed_generation();
        let with_care = generation.is_none() && node.is_rejoining && self.mends.cares;
        let lateness = self.schedule.is_shielded.then_some(LATENESS);
        let known = node.known[client].get_or_insert_default();
        let arrival = known.arrive(self.schedule.quota, entry, lateness);
        self.arrived.push((self.now, client));
        match arrival {
            Arrival::Refused => {
                let refusal = Decision {
                    admitted: false,
                    remaining: 0,
                    reset_after: self.schedule.quota.window(),
                };
                self.list(n, client);
                let asked = Asked {
                    client,
                    entry,
                    earlier: Vec::new(),
                    place: None,
                    arrived: self.now,
                    generation: 0,
                    with_care: false,
                    losses: 0,
                };
                self.decided(n, &asked, refusal, "the shield");
            }
            Arrival::Undecided { mut earlier, place } => {
                let node = &self.nodes[n];
                if with_care
                    && node.has_lost_writes
                    && self.mends.restores_on_request
                    && let Some(known) = &node.known[client]
                {
                    earlier = known.counting(self.schedule.quota, entry.at).collect();
                }
                let asked = Asked {
                    client,
                    entry,
                    earlier,
                    place: Some(place),
                    arrived: self.now,
                    generation: generation.unwrap_or(1),
                    with_care,
                    losses: 0,
                };
                if generation.is_some() || with_care {
                    self.tell(|_| {
                        format!("node {n} asks Redis about #{member} of client {client}")
                    });
                    let id = self.begin(n, Work::Request(asked));
                    let due = self.now + TIMEOUT;
                    if let Some(operation) = self.nodes[n].operation(id) {
                        operation.due = due;
                    }
                    self.timer(n, due, Timer::Due(id));
                    self.use_link(n, OWN, id);
                } else {
                    self.decide_alone(n, &asked);
                }
            }
        }
    }

    /// `redis::request`: an answer has come.
    pub(super) fn request_answered(&mut self, n: usize, id: u64, decision: Decision) {
        let (now, doubts) = (self.now, self.mends.doubts);
        let node = &mut self.nodes[n];
        let Some(operation) = node.operation(id) else {
            return;
        };
        let (ran, sent) = (operation.ran, operation.sent);
        let is_doubtful = node.doubt.concerns(ran, sent, now);
        if decision.admitted && doubts && is_doubtful {
            if let Some(operation) = node.operation(id) {
                operation.extend(now);
                operation.connection = None;
            }
            self.tell(|_| format!("node {n} doubts the answer"));
            return self.use_link(n, OWN, id);
        }
        let Some(Operation {
            work: Work::Request(asked),
            ..
        }) = self.nodes[n].take(id)
        else {
            return;
        };
        self.redis_decided(n, asked, decision);
    }

    /// `JournaledRedis::record_at`, `record_with_care`
    fn redis_decided(&mut self, n: usize, asked: Asked, decision: Decision) {
        let quota = self.schedule.quota;
        if asked.with_care {
            let alone = self.alone(n, &asked);
            if let Some(known) = &mut self.nodes[n].known[asked.client] {
                known.unanswered(asked.entry, asked.entry);
                known.has_written(&asked.earlier);
                known.has_written(&[asked.entry]);
            }
            self.trouble = self.trouble.max(self.now);
            return self.decided(n, &asked, decision.and(alone), "Redis and the node");
        }
        let known = self.nodes[n].known[asked.client].as_mut();
        let agrees = known.zip(asked.place).is_none_or(|(known, place)| {
            let request = (asked.entry, place);
            known.answered(quota, request, &asked.earlier, asked.entry, decision)
        });
        if agrees || !self.mends.notices {
            self.decided(n, &asked, decision, "Redis");
        } else {
            self.tell(|_| format!("node {n} misses entries of client {}", asked.client));
            self.begin_job(n, Job::Beat(Why::Request(Box::new((asked, decision)))));
        }
    }

    /// `RedisLimiter::decide_without`, after a failure.
    pub(super) fn request_failed(&mut self, n: usize, asked: &Asked, failure: Failure) {
        self.failed(n, failure, asked.generation);
        self.decide_alone(n, asked);
    }

    /// `WithoutRedis::decide`, and what happens to the dropped `Pending`.
    pub(super) fn decide_alone(&mut self, n: usize, asked: &Asked) {
        let alone = self.alone(n, asked);
        if let Some(known) = &mut self.nodes[n].known[asked.client] {
            known.unanswered(asked.entry, asked.entry);
            self.list(n, asked.client);
        }
        self.trouble = self.trouble.max(self.now);
        self.decided(n, asked, alone, "the node alone");
    }

    /// `Pending::alone`
    pub(super) fn alone(&mut self, n: usize, asked: &Asked) -> Decision {
        let quota = self.schedule.quota;
        let node = &mut self.nodes[n];
        let nodes = if self.mends.splits {
            node.count.number().get() as usize
        } else {
            1
        };
        if !self.mends.remembers {
            let known = &mut node.amnesiac[asked.client];
            let Arrival::Undecided { place, .. } = known.arrive(quota, asked.entry, None) else {
                unreachable!("it refuses no floods");
            };
            return known.alone(quota, asked.entry.at, place, nodes);
        }
        let place = asked.place.expect("the shield has not refused it");
        match &mut node.known[asked.client] {
            Some(known) => known.alone(quota, asked.entry.at, place, nodes),
            None => Known::default().alone(quota, asked.entry.at, place, nodes),
        }
    }

    pub(super) fn decided(
        &mut self,
        n: usize,
        asked: &Asked,
        decision: Decision,
        by: &'static str,
    ) {
        self.tell(|_| {
            let says = if decision.admitted {
                "ADMITTED"
            } else {
                "refused"
            };
            format!(
                "node {n}: #{} of client {} {says} by {by}",
                asked.entry.member, asked.client
            )
        });
        let calm = self.trouble;
        self.decided.push(Decided {
            client: asked.client,
            at: asked.arrived,
            decided: self.now,
            admitted: decision.admitted,
            calm_since: calm,
        });
    }
}
