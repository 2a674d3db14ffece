//! The flood shield: refusals that need no round trip.
//!
//! While a client floods a node, the node refuses it by itself. [`flood`] proves that Redis would do the same. The node
//! remembers those refusals, because they count like all others. A moment later it [writes](Shield::backlog) the newest
//! L + 1 of them to Redis, so that other nodes know of them. Older ones can change no decision.
//!
//! A node does not know what other nodes have refused and not written yet. So it does not know the exact moment at
//! which the client would be admitted again; it only knows that this moment comes at most one window after the present
//! request. That is what it tells the client. So that this is not late by much, the node shields only floods: clients
//! whose L-th newest entry is at most [`LATENESS`] write-back intervals old. It asks Redis about all other clients, at
//! most L times in that time.

mod flood;

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hashlink::DefaultHashBuilder;

use self::flood::Flood;
use super::{ClientId, Decision, LogEntry, LogTime, Policy, shards::Shards};

/// How late `Retry-After` of a shielded refusal may be, in write-back intervals.
const LATENESS: u32 = 2;

/// The most refusals that the shield remembers, over all clients; 16 bytes each. Beyond that, the node asks Redis.
const MAX_ENTRIES: usize = 1 << 20;

/// Refusals to be written to the log of one client.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) policy: Policy,
    pub(super) client: ClientId,
    pub(super) entries: Vec<LogEntry>,
}

/// The clients that this node refuses by itself.
#[derive(Debug)]
pub(super) struct Shield {
    interval: Duration,
    new_member: fn() -> i32,
    shards: Shards<Clients>,
    /// How many clients there are. Mostly none, and then most requests need no lock.
    clients: AtomicUsize,
    /// How many refusals are remembered.
    entries: AtomicUsize,
}

/// The floods of each client, one for each policy: a handful at most.
type Clients = HashMap<ClientId, Vec<Flood>, DefaultHashBuilder>;

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

    /// Breaks with a refusal if it is certain that Redis would refuse a request that arrives at `at`. Otherwise Redis
    /// has to decide, and must be told of the returned entries first.
    pub(super) fn consider(
        &self,
        policy: &Policy,
        client: ClientId,
        at: LogTime,
    ) -> ControlFlow<Decision, Vec<LogEntry>> {
        if self.clients() == 0 {
            return ControlFlow::Continue(Vec::new());
        }
        let mut clients = self.shards.of(&client);
        let Some(flood) = find(&mut clients, policy, client) else {
            return ControlFlow::Continue(Vec::new());
        };
        let full = self.entries.load(Ordering::Relaxed) >= MAX_ENTRIES;
        if full || !flood.lasts(at, self.lateness()) {
            return ControlFlow::Continue(flood.unwritten().collect());
        }
        let member = (self.new_member)();
        if flood.push(LogEntry { at, member }) {
            self.entries.fetch_add(1, Ordering::Relaxed);
        }
        ControlFlow::Break(Decision {
            admitted: false,
            remaining: 0,
            reset_after: policy.quota.window(),
        })
    }

    /// Notes what Redis has decided about a request at `at`, after `written` had been added to the log.
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
        if let Some(flood) = find(&mut clients, policy, client) {
            flood.has_written(written);
            if !decision.admitted {
                flood.redis_holds(in_redis);
            }
        } else if !decision.admitted {
            let flood = Flood::new(policy.clone(), in_redis);
            if flood.lasts(at, self.lateness()) {
                let floods = clients.entry(client).or_default();
                self.clients
                    .fetch_add(usize::from(floods.is_empty()), Ordering::Release);
                floods.push(flood);
            }
        }
    }

    /// What has to be written to Redis now. Forgets clients whose flood is over.
    pub(super) fn backlog(&self, now: LogTime) -> Vec<Backlog> {
        let mut backlog = Vec::new();
        if self.clients() == 0 {
            return backlog;
        }
        for mut clients in self.shards.all() {
            for (&client, floods) in clients.iter_mut() {
                self.retain(floods, |flood| {
                    flood.has_unwritten() || flood.lasts(now, self.lateness())
                });
                let unwritten = floods.iter().filter(|flood| flood.has_unwritten());
                backlog.extend(unwritten.map(|flood| Backlog {
                    policy: flood.policy().clone(),
                    client,
                    entries: flood.unwritten().collect(),
                }));
            }
            let before = clients.len();
            clients.retain(|_, floods| !floods.is_empty());
            self.clients
                .fetch_sub(before - clients.len(), Ordering::Release);
        }
        backlog
    }

    /// Redis has this backlog now.
    pub(super) fn has_written(&self, backlog: &Backlog) {
        let mut clients = self.shards.of(&backlog.client);
        if let Some(flood) = find(&mut clients, &backlog.policy, backlog.client) {
            flood.has_written(&backlog.entries);
        }
    }

    /// Forgets a client whose log Redis cannot keep.
    pub(super) fn forget(&self, policy: &Policy, client: ClientId) {
        if self.clients() == 0 {
            return;
        }
        let mut clients = self.shards.of(&client);
        let Some(floods) = clients.get_mut(&client) else {
            return;
        };
        self.retain(floods, |flood| flood.policy() != policy);
        if floods.is_empty() {
            clients.remove(&client);
            self.clients.fetch_sub(1, Ordering::Release);
        }
    }

    /// Forgets all clients: Redis was away, and may have lost what the shield builds on.
    pub(super) fn clear(&self) {
        for mut clients in self.shards.all() {
            for floods in clients.values_mut() {
                self.retain(floods, |_| false);
            }
            self.clients.fetch_sub(clients.len(), Ordering::Release);
            clients.clear();
        }
    }

    /// How many clients this node refuses by itself at the moment.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }

    /// Invariant: [`entries`](Self::entries) is the sum over all floods.
    fn retain(&self, floods: &mut Vec<Flood>, keep: impl Fn(&Flood) -> bool) {
        floods.retain(|flood| {
            let keep = keep(flood);
            if !keep {
                self.entries.fetch_sub(flood.entries(), Ordering::Relaxed);
            }
            keep
        });
    }

    /// How old the L-th newest entry of a flood may be.
    fn lateness(&self) -> Duration {
        self.interval * LATENESS
    }
}

fn find<'a>(clients: &'a mut Clients, policy: &Policy, client: ClientId) -> Option<&'a mut Flood> {
    let mut floods = clients.get_mut(&client)?.iter_mut();
    floods.find(|flood| flood.policy() == policy)
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
        let considered = shield.consider(policy, client, at(micros));
        considered.is_break()
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
    fn no_other_client_and_no_other_policy_is_refused() {
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
    fn no_client_is_refused_for_entries_from_the_future() {
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
