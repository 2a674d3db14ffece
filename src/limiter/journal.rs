//! What this node remembers of the requests that it has sent to Redis, and of Redis's answers.
//!
//! [`known`] says what follows from it for one client: floods are refused without asking, and while Redis is away the
//! nodes share what is left of each quota. What Redis may not have is [written back](Journal::listed); a Redis that has
//! lost its memory gets [all of it](Journal::everything).
//!
//! A node does not know what other nodes have refused and not written yet. So for a flood it does not know the exact
//! moment at which the client would be admitted again; it only knows that this moment comes at most one window after
//! the present request. That is what it tells the client. So that this is not late by much, only clients are refused
//! without asking whose L-th newest entry is at most [`LATENESS`] write-back intervals old. Redis is asked about all
//! others, at most L times in that time.

pub(super) mod known;

#[cfg(test)]
mod tests;

use std::{
    mem,
    ops::ControlFlow,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use self::known::{Arrival, Known, Place};
use super::{
    ClientId, Decision, LogEntry, LogTime, Policy, Quota,
    clients::{Clients, Key, Usage},
};

/// How late `Retry-After` of a refusal without asking may be, in write-back intervals.
const LATENESS: u32 = 2;

/// So many clients are listed for the next write-back. If there are more, all clients are looked through.
const MOST_LISTED: usize = 1 << 16;

/// Entries of one client that Redis may not have.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) policy: Policy,
    pub(super) client: ClientId,
    pub(super) entries: Vec<LogEntry>,
}

/// The memory of a node.
#[derive(Debug)]
pub(super) struct Journal {
    clients: Clients<Known>,
    /// How old the L-th newest entry of a flood may be that is refused without asking; `None` if none is.
    lateness: Option<Duration>,
    /// Clients with entries that Redis may not have. `None` if they are too many.
    listed: Mutex<Option<Vec<(Key, Quota)>>>,
    floods: AtomicUsize,
}

/// A request that waits for its decision. If this is dropped before Redis has [answered](Self::answered), the journal
/// takes it that Redis may not have the request.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    journal: &'a Journal,
    policy: &'a Policy,
    client: ClientId,
    entry: LogEntry,
    /// Entries that Redis has to be told of first.
    earlier: Vec<LogEntry>,
    place: Place,
    answered: bool,
}

impl Journal {
    /// An empty journal that occupies at most about `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            clients: Clients::new(max_bytes),
            lateness: None,
            listed: Mutex::new(Some(Vec::new())),
            floods: AtomicUsize::new(0),
        }
    }

    /// Refuses floods without asking. Backlogs are then written every `interval`.
    pub(super) fn refuse_floods(&mut self, interval: Duration) {
        self.lateness = Some(interval * LATENESS);
    }

    /// Logs a request. Breaks with a refusal if it is certain that Redis would refuse it.
    pub(super) fn arrive<'a>(
        &'a self,
        policy: &'a Policy,
        client: ClientId,
        entry: LogEntry,
    ) -> ControlFlow<Decision, Pending<'a>> {
        let quota = policy.quota;
        let key = Key::new(policy, client);
        let lateness = self.lateness;
        let (arrival, is_new) = self.clients.log(key, quota, entry.at, |known| {
            let arrival = known.arrive(quota, entry, lateness);
            let refused = matches!(arrival, Arrival::Refused);
            let is_new = refused && !mem::replace(&mut known.is_listed, true);
            (arrival, is_new)
        });
        match arrival {
            Arrival::Undecided { earlier, place } => ControlFlow::Continue(Pending {
                journal: self,
                policy,
                client,
                entry,
                earlier,
                place,
                answered: false,
            }),
            Arrival::Refused => {
                if is_new {
                    self.floods.fetch_add(1, Ordering::Relaxed);
                    self.list(Key::new(policy, client), quota);
                }
                ControlFlow::Break(Decision {
                    admitted: false,
                    remaining: 0,
                    reset_after: quota.window(),
                })
            }
        }
    }

    /// Clients that have entries which Redis may not have, and these entries. Forgets floods that are over.
    pub(super) fn listed(&self, now: LogTime) -> Vec<Backlog> {
        let listed = self.lock().replace(Vec::new());
        let listed = listed.unwrap_or_else(|| {
            let listed =
                |key: &Key, quota, known: &mut Known| known.is_listed.then(|| (key.clone(), quota));
            self.clients.visit(listed).flatten().collect()
        });
        let mut backlog = Vec::new();
        let mut floods = 0;
        for (key, quota) in listed {
            let found = self.clients.change(&key, quota, |known| {
                let entries: Vec<LogEntry> = known.kept().collect();
                let lateness = self.lateness.unwrap_or_default();
                let is_flood = known.is_flood(quota, now, lateness);
                known.is_listed = is_flood || !(entries.is_empty() || known.is_barred);
                known.is_listed.then_some((entries, is_flood))
            });
            let Some((entries, is_flood)) = found.flatten() else {
                continue;
            };
            floods += usize::from(is_flood);
            self.list(key.clone(), quota);
            if !entries.is_empty() {
                backlog.push(key.backlog(quota, entries));
            }
        }
        self.floods.store(floods, Ordering::Relaxed);
        backlog
    }

    /// The same for all clients, a part of them at a time.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = Vec<Backlog>> {
        self.clients.visit(|key, quota, known| {
            let entries: Vec<LogEntry> = known.kept().collect();
            (!entries.is_empty() && !known.is_barred).then(|| key.backlog(quota, entries))
        })
    }

    /// All entries that count at `now`, a part of the clients at a time.
    pub(super) fn everything(&self, now: LogTime) -> impl Iterator<Item = Vec<Backlog>> {
        self.clients.visit(move |key, quota, known| {
            let entries: Vec<LogEntry> = known.counting(quota, now).collect();
            (!entries.is_empty()).then(|| key.backlog(quota, entries))
        })
    }

    /// Redis has this backlog now.
    pub(super) fn has_written(&self, backlog: &Backlog) {
        let key = Key::new(&backlog.policy, backlog.client);
        self.clients.change(&key, backlog.policy.quota, |known| {
            known.has_written(&backlog.entries);
        });
    }

    /// Redis cannot take in anything of a client: its key holds something else.
    pub(super) fn bar(&self, policy: &Policy, client: ClientId) {
        let key = Key::new(policy, client);
        self.clients
            .change(&key, policy.quota, |known| known.is_barred = true);
    }

    /// Forgets a client whose log Redis was told to forget.
    pub(super) fn forget(&self, policy: &Policy, client: ClientId) {
        self.clients.forget(&Key::new(policy, client), policy.quota);
    }

    /// Moves all times by `micros`: this node did not know Redis's clock until now.
    pub(super) fn shift(&self, micros: i64) {
        let shifted = self.clients.visit(|_, _, known| {
            known.shift(micros);
            None::<()>
        });
        shifted.for_each(drop);
    }

    /// Drops every client that no longer counts.
    pub(super) fn sweep(&self, now: LogTime) {
        self.clients.sweep(now);
    }

    /// What the memory costs at the moment.
    pub(super) fn usage(&self) -> Usage {
        self.clients.usage()
    }

    /// How many clients are refused without asking, about.
    pub(super) fn floods(&self) -> usize {
        self.floods.load(Ordering::Relaxed)
    }

    fn list(&self, key: Key, quota: Quota) {
        let mut listed = self.lock();
        if listed
            .as_ref()
            .is_some_and(|listed| listed.len() >= MOST_LISTED)
        {
            *listed = None;
        }
        if let Some(listed) = &mut *listed {
            listed.push((key, quota));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<(Key, Quota)>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending<'_> {
    pub(super) fn entry(&self) -> LogEntry {
        self.entry
    }

    pub(super) fn whose(&self) -> (&Policy, ClientId) {
        (self.policy, self.client)
    }

    /// Entries that Redis has to be told of first.
    pub(super) fn earlier(&self) -> &[LogEntry] {
        &self.earlier
    }

    /// Tells Redis of all entries of the client first: it may have lost them.
    pub(super) fn bring_everything(&mut self) {
        let quota = self.policy.quota;
        let key = Key::new(self.policy, self.client);
        let now = self.entry.at;
        let everything = self
            .journal
            .clients
            .change(&key, quota, |known| known.counting(quota, now).collect());
        self.earlier = everything.unwrap_or_default();
    }

    /// Redis has decided the request, and has `logged` it as this entry in the end. Returns `false` if Redis must have lost
    /// entries of the client: then nothing follows from its answer.
    pub(super) fn answered(&mut self, logged: LogEntry, decision: Decision) -> bool {
        let quota = self.policy.quota;
        let key = Key::new(self.policy, self.client);
        let (request, earlier) = ((self.entry, self.place), &self.earlier);
        // A client that was forgotten for want of memory is unknown, and so nothing contradicts the answer.
        let agrees = self.journal.clients.change(&key, quota, |known| {
            known.answered(quota, request, earlier, logged, decision)
        });
        self.answered = agrees.unwrap_or(true);
        self.answered
    }

    /// Redis has `logged` the request and what came before it, but not all nodes have told Redis what they know. So what
    /// it answered is not learnt.
    pub(super) fn written(&mut self, logged: LogEntry) {
        let quota = self.policy.quota;
        let key = Key::new(self.policy, self.client);
        let (entry, earlier) = (self.entry, &self.earlier);
        self.journal.clients.change(&key, quota, |known| {
            known.unanswered(entry, logged);
            known.has_written(earlier);
            known.has_written(&[logged]);
        });
        self.answered = true;
    }

    /// Decides the request without Redis, as one of `nodes` that cannot speak to each other.
    pub(super) fn alone(&self, nodes: usize) -> Decision {
        let quota = self.policy.quota;
        let key = Key::new(self.policy, self.client);
        let (at, place) = (self.entry.at, self.place);
        let alone = self
            .journal
            .clients
            .change(&key, quota, |known| known.alone(quota, at, place, nodes));
        alone.unwrap_or_else(|| Known::default().alone(quota, at, place, nodes))
    }

    /// Redis cannot take in anything of the client of this request.
    pub(super) fn bar_client(&self) {
        self.journal.bar(self.policy, self.client);
    }

    /// Forgets the client of this request, and with it the request.
    pub(super) fn forget_client(self) {
        self.journal.forget(self.policy, self.client);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let quota = self.policy.quota;
        let key = Key::new(self.policy, self.client);
        let was_listed = self.journal.clients.change(&key, quota, |known| {
            known.unanswered(self.entry, self.entry);
            known.is_barred || mem::replace(&mut known.is_listed, true)
        });
        if was_listed == Some(false) {
            self.journal.list(key, quota);
        }
    }
}

impl Key {
    fn backlog(&self, quota: Quota, entries: Vec<LogEntry>) -> Backlog {
        Backlog {
            policy: Policy {
                name: self.policy.clone(),
                quota,
            },
            client: self.client,
            entries,
        }
    }
}
