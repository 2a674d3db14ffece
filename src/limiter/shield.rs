//! The flood shield: refusals that need no round trip.
//!
//! A client that Redis has refused stays refused until its L-th newest entry has left the window, because other nodes
//! can only add entries, and an added one only makes the L-th newest newer. Until then a node may refuse the client
//! by itself, and is right. It remembers those refusals, as they count too: the newest L + 1 of them, which are all that
//! can matter, are written to Redis [a moment later](Shield::backlog), so that other nodes know of them. And once L
//! of its own are known, they alone tell how long the client stays refused.
//!
//! What a node cannot know is what other nodes have refused and not written yet. So it cannot know the exact moment
//! at which the client would be admitted again; it only knows that it is no later than one window after the
//! present request. That is what the client is told, and so that it is not late by much, only a flood is shielded: a
//! client whose L-th newest entry is no older than [`LATENESS`] write-back intervals. Others ask Redis, at most L times
//! in that time.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hashlink::DefaultHashBuilder;

use super::{ClientId, Decision, LogTime, Policy, Quota, shards::Shards};

/// How late `Retry-After` of a shielded refusal may be, in write-back intervals.
const LATENESS: u32 = 2;

/// What the L-th newest entry may be ahead of a request by: nodes' clocks differ, and threads overtake each other. If it is
/// further ahead, log times have gone back, and nothing is certain.
const AHEAD: Duration = Duration::from_secs(1);

/// The most refusals that are remembered, over all clients; 16 bytes each. Beyond that, clients ask Redis.
const MAX_ENTRIES: usize = 1 << 20;

/// An entry of a window log as it stands in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEntry {
    /// When the request arrived.
    pub(super) at: LogTime,
    /// What tells it from others of the same time. Chosen once, so that writing it twice changes nothing.
    pub(super) member: i32,
}

/// What the shield says about a request.
#[derive(Debug)]
pub(super) enum Opinion {
    /// It is refused, and remembered.
    Refused(Decision),
    /// Redis has to be asked. It should know of these first.
    Ask(Vec<LogEntry>),
}

/// Refusals to be written to the log of one client.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) policy: Policy,
    pub(super) client: ClientId,
    pub(super) entries: Vec<LogEntry>,
}

/// The clients that are being refused.
#[derive(Debug)]
pub(super) struct Shield {
    interval: Duration,
    new_member: fn() -> i32,
    shards: Shards<Clients>,
    /// How many clients there are. Mostly none, and then most requests need to know no more.
    clients: AtomicUsize,
    /// How many refusals are remembered.
    entries: AtomicUsize,
}

/// A client is under a handful of policies at the most.
type Clients = HashMap<ClientId, Vec<Refused>, DefaultHashBuilder>;

/// One client that is being refused under one policy.
#[derive(Debug)]
struct Refused {
    policy: Policy,
    /// The L-th newest entry in Redis when it was last asked.
    in_redis: LogTime,
    /// The newest refusals of the shield, in the order of their arrival; at most L + 1.
    own: VecDeque<LogEntry>,
    /// How many of those, the newest, Redis may not know of.
    unwritten: usize,
}

impl Shield {
    /// A shield whose [backlog](Self::backlog) is written every `interval`.
    pub(super) fn new(interval: Duration, new_member: fn() -> i32) -> Self {
        Self {
            interval,
            new_member,
            shards: Shards::default(),
            clients: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Refuses a request that arrives at `at`, if it is certain that Redis would.
    pub(super) fn consider(&self, policy: &Policy, client: ClientId, at: LogTime) -> Opinion {
        if self.clients() == 0 {
            return Opinion::Ask(Vec::new());
        }
        let mut clients = self.shards.of(&client);
        let Some(refused) = find(&mut clients, policy, client) else {
            return Opinion::Ask(Vec::new());
        };
        let full = self.entries.load(Ordering::Relaxed) >= MAX_ENTRIES;
        if full || !refused.is_flooding(at, self.interval) {
            return Opinion::Ask(refused.unwritten().collect());
        }
        let member = (self.new_member)();
        if refused.push(LogEntry { at, member }) {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        Opinion::Refused(Decision {
            admitted: false,
            remaining: 0,
            reset_after: policy.quota.window(),
        })
    }

    /// Takes in what Redis has decided at `at`, knowing of `written`.
    pub(super) fn learn(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
        decision: Decision,
        written: &[LogEntry],
    ) {
        if decision.admitted && self.clients() == 0 {
            return;
        }
        let in_redis = at + decision.reset_after - policy.quota.window();
        let mut clients = self.shards.of(&client);
        if let Some(refused) = find(&mut clients, policy, client) {
            refused.has_written(written);
            if !decision.admitted {
                refused.in_redis = refused.in_redis.max(in_redis);
            }
        } else if !decision.admitted {
            let refused = Refused {
                policy: policy.clone(),
                in_redis,
                own: VecDeque::new(),
                unwritten: 0,
            };
            if refused.is_flooding(at, self.interval) {
                let policies = clients.entry(client).or_default();
                self.clients
                    .fetch_add(usize::from(policies.is_empty()), Ordering::Release);
                policies.push(refused);
            }
        }
    }

    /// What has to be written to Redis now; clients whose flood is over are forgotten.
    pub(super) fn backlog(&self, now: LogTime) -> Vec<Backlog> {
        let mut backlog = Vec::new();
        if self.clients() == 0 {
            return backlog;
        }
        for mut clients in self.shards.all() {
            for (&client, policies) in clients.iter_mut() {
                policies.retain(|refused| {
                    let keep = refused.unwritten > 0 || refused.is_flooding(now, self.interval);
                    if !keep {
                        self.entries.fetch_sub(refused.own.len(), Ordering::Relaxed);
                    }
                    keep
                });
                let unwritten = policies.iter().filter(|refused| refused.unwritten > 0);
                backlog.extend(unwritten.map(|refused| Backlog {
                    policy: refused.policy.clone(),
                    client,
                    entries: refused.unwritten().collect(),
                }));
            }
            let before = clients.len();
            clients.retain(|_, policies| !policies.is_empty());
            self.clients
                .fetch_sub(before - clients.len(), Ordering::Release);
        }
        backlog
    }

    /// Redis knows these now.
    pub(super) fn has_written(&self, backlog: &Backlog) {
        let mut clients = self.shards.of(&backlog.client);
        if let Some(refused) = find(&mut clients, &backlog.policy, backlog.client) {
            refused.has_written(&backlog.entries);
        }
    }

    /// Forgets a client: Redis cannot know of it.
    pub(super) fn forget(&self, policy: &Policy, client: ClientId) {
        if self.clients() == 0 {
            return;
        }
        let mut clients = self.shards.of(&client);
        let Some(policies) = clients.get_mut(&client) else {
            return;
        };
        policies.retain(|refused| {
            let keep = refused.policy != *policy;
            if !keep {
                self.entries.fetch_sub(refused.own.len(), Ordering::Relaxed);
            }
            keep
        });
        if policies.is_empty() {
            clients.remove(&client);
            self.clients.fetch_sub(1, Ordering::Release);
        }
    }

    /// Forgets everything: Redis was away, and nobody knows what it still knows.
    pub(super) fn clear(&self) {
        for mut clients in self.shards.all() {
            let entries: usize = clients.values().flatten().map(|r| r.own.len()).sum();
            self.entries.fetch_sub(entries, Ordering::Relaxed);
            self.clients.fetch_sub(clients.len(), Ordering::Release);
            clients.clear();
        }
    }

    /// Clients that are being refused at the moment.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }
}

fn find<'a>(
    clients: &'a mut Clients,
    policy: &Policy,
    client: ClientId,
) -> Option<&'a mut Refused> {
    let mut policies = clients.get_mut(&client)?.iter_mut();
    policies.find(|refused| refused.policy == *policy)
}

impl Refused {
    /// The L-th newest entry that is known of; there may be newer ones that are not.
    fn lth_newest(&self) -> LogTime {
        let limit = self.quota().limit() as usize;
        let of_own = self.own.len().checked_sub(limit);
        let of_own = of_own.and_then(|index| self.own.get(index));
        of_own.map_or(self.in_redis, |entry| entry.at.max(self.in_redis))
    }

    /// Whether a request at `at` is refused for certain, and will be for nearly a window to come.
    fn is_flooding(&self, at: LogTime, interval: Duration) -> bool {
        let lth_newest = self.lth_newest();
        let age = at - lth_newest;
        // At the age of a window an entry does not count any more. An age of zero may be less than that.
        age <= interval * LATENESS && age < self.quota().window() && lth_newest <= at + AHEAD
    }

    /// Whether there is one entry more than before.
    fn push(&mut self, entry: LogEntry) -> bool {
        // Two threads may come here in another order than their requests arrived. Then an older entry is taken for the
        // L-th newest than could be: that is safe.
        self.own.push_back(entry);
        let full = self.own.len() > self.quota().limit() as usize + 1;
        if full {
            self.own.pop_front();
        }
        self.unwritten = (self.unwritten + 1).min(self.own.len());
        !full
    }

    fn unwritten(&self) -> impl Iterator<Item = LogEntry> {
        let written = self.own.len() - self.unwritten;
        self.own.iter().skip(written).copied()
    }

    /// Redis knows `entries` now: what was unwritten when they were asked for.
    fn has_written(&mut self, entries: &[LogEntry]) {
        let Some(last) = entries.last() else { return };
        // What is newer has come since. If it is not there any more, all of those have.
        if let Some(position) = self.own.iter().rposition(|entry| entry == last) {
            let newer = self.own.len() - position - 1;
            self.unwritten = self.unwritten.min(newer);
        }
    }

    fn quota(&self) -> Quota {
        self.policy.quota
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    fn shield() -> Shield {
        Shield::new(INTERVAL, rand::random)
    }

    fn client(number: u32) -> ClientId {
        ClientId::new(Ipv4Addr::from_bits(number).into(), 64)
    }

    fn policy(quota: &str) -> Policy {
        Policy::default_policy(quota.parse().expect("a quota"))
    }

    fn at(micros: i64) -> LogTime {
        LogTime::from_micros(1_800_000_000_000_000 + micros)
    }

    /// Redis has refused a request at `micros` whose L-th newest entry came at the same moment.
    fn refuse(shield: &Shield, policy: &Policy, client: ClientId, micros: i64) {
        let decision = Decision {
            admitted: false,
            remaining: 0,
            reset_after: policy.quota.window(),
        };
        shield.learn(policy, client, at(micros), decision, &[]);
    }

    fn is_refused(shield: &Shield, policy: &Policy, client: ClientId, micros: i64) -> bool {
        let opinion = shield.consider(policy, client, at(micros));
        matches!(opinion, Opinion::Refused(_))
    }

    #[test]
    fn an_entry_refuses_until_it_leaves_the_window_and_not_a_microsecond_longer() {
        // A window shorter than two intervals.
        let (shield, policy) = (shield(), policy("3/100ms"));
        refuse(&shield, &policy, client(1), 0);
        refuse(&shield, &policy, client(2), 0);
        assert!(is_refused(&shield, &policy, client(1), 99_999));
        assert!(!is_refused(&shield, &policy, client(2), 100_000));
    }

    #[test]
    fn nobody_else_is_refused() {
        let (shield, policy) = (shield(), policy("3/minute"));
        let other = Policy {
            name: "other".parse().expect("a name"),
            quota: policy.quota,
        };
        refuse(&shield, &policy, client(1), 0);
        assert!(is_refused(&shield, &policy, client(1), 1));
        assert!(!is_refused(&shield, &policy, client(2), 1));
        assert!(!is_refused(&shield, &other, client(1), 1));
    }

    #[test]
    fn a_flood_is_remembered_no_further_than_it_matters_and_forgotten_when_it_is_over() {
        let (shield, policy) = (shield(), policy("3/minute"));
        refuse(&shield, &policy, client(1), 0);
        for micros in 1..10_000 {
            assert!(is_refused(&shield, &policy, client(1), micros));
        }
        let backlog = shield.backlog(at(10_000));
        let times: Vec<_> = backlog[0].entries.iter().map(|entry| entry.at).collect();
        assert_eq!(times, [9_996, 9_997, 9_998, 9_999].map(at));
        assert_eq!(shield.entries.load(Ordering::Relaxed), 4);

        shield.has_written(&backlog[0]);
        assert!(shield.backlog(at(10_001)).is_empty(), "once is enough");
        assert_eq!(shield.clients(), 1);
        assert!(shield.backlog(at(10_000_000)).is_empty());
        assert_eq!(shield.clients(), 0);
        assert_eq!(shield.entries.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_comes_while_the_backlog_is_written_stays_in_it() {
        let (shield, policy) = (shield(), policy("3/minute"));
        refuse(&shield, &policy, client(1), 0);
        assert!(is_refused(&shield, &policy, client(1), 1));
        let under_way = shield.backlog(at(2));
        assert!(is_refused(&shield, &policy, client(1), 3));
        shield.has_written(&under_way[0]);
        let next = shield.backlog(at(4));
        assert_eq!(next[0].entries.len(), 1);
        assert_eq!(next[0].entries[0].at, at(3));
    }

    #[test]
    fn nobody_is_refused_for_what_is_yet_to_come() {
        let (shield, policy) = (shield(), policy("3/minute"));
        refuse(&shield, &policy, client(1), 0);
        assert!(is_refused(&shield, &policy, client(1), -1_000_000));
        assert!(!is_refused(&shield, &policy, client(1), -1_000_001));
        assert!(!is_refused(&shield, &policy, client(1), -3_600_000_000));
    }

    #[test]
    fn one_client_under_one_policy_can_be_forgotten() {
        let (shield, policy) = (shield(), policy("3/minute"));
        for number in [1, 2] {
            refuse(&shield, &policy, client(number), 0);
            assert!(is_refused(&shield, &policy, client(number), 1));
        }
        shield.forget(&policy, client(1));
        shield.forget(&policy, client(3));
        assert!(!is_refused(&shield, &policy, client(1), 2));
        assert!(is_refused(&shield, &policy, client(2), 2));
        assert_eq!(shield.clients(), 1);
        assert_eq!(shield.entries.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn without_memory_redis_is_asked() {
        let (shield, policy) = (shield(), policy("3/minute"));
        refuse(&shield, &policy, client(1), 0);
        shield.entries.store(MAX_ENTRIES, Ordering::Relaxed);
        assert!(!is_refused(&shield, &policy, client(1), 1));
    }

    #[test]
    fn what_redis_may_have_forgotten_is_forgotten() {
        let (shield, policy) = (shield(), policy("3/minute"));
        refuse(&shield, &policy, client(1), 0);
        assert!(is_refused(&shield, &policy, client(1), 1));
        shield.clear();
        assert!(!is_refused(&shield, &policy, client(1), 2));
        assert_eq!(shield.entries.load(Ordering::Relaxed), 0);
    }
}
