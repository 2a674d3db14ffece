//! The load of the rows: many clients of several kinds, and a record of every request.
//!
//! Requests are sent at their time, whether or not earlier ones are answered, and each client spreads its requests evenly
//! over the nodes, unless it is pinned to one.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use testkit::{Answer, Client, Node, eventually};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    checker::{Outcome, Record},
    setup::{Fleet, NODES, Setup, micros},
};

/// Between two requests of a flood.
const FLOOD: Duration = Duration::from_millis(20);

/// How many requests of a client wait for an answer at most.
const UNDER_WAY: usize = 256;

/// What a client does. The name of its kind is for people who read a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub address: Ipv4Addr,
    pub kind: &'static str,
}

/// Which nodes a client asks.
#[derive(Clone, Copy)]
pub enum Spread {
    /// One after the other, beginning with this one.
    Even(usize),
    /// Only this one.
    Pinned(usize),
}

impl Spread {
    fn node(self, request: usize) -> usize {
        match self {
            Self::Even(first) => (first + request) % NODES,
            Self::Pinned(node) => node,
        }
    }
}

/// What was seen of all clients.
#[derive(Default)]
pub struct Seen {
    pub records: BTreeMap<Subject, Vec<Record>>,
    /// What came instead of a decision.
    pub failures: Vec<String>,
    /// When the last request failed, µs.
    pub last_failure: Option<i64>,
    pauses: Vec<Pause>,
}

/// A node did not run: the times are µs.
struct Pause {
    node: usize,
    since: i64,
    until: i64,
}

impl Pause {
    /// What was sent meanwhile waited in a socket, and reached the node only afterwards.
    fn delay(&self, record: &mut Record) {
        if record.node == self.node && (self.since..self.until).contains(&record.sent) {
            record.sent = self.until;
        }
    }
}

/// Clients that send requests until they are stopped.
pub struct Load {
    shared: Arc<Shared>,
    clients: Mutex<Vec<JoinHandle<()>>>,
    pub setup: Setup,
}

struct Shared {
    nodes: Vec<Client>,
    started: Instant,
    stop: CancellationToken,
    seen: Mutex<Seen>,
    next: AtomicU32,
}

/// Clients that have used a part of their quota, and where they go on.
pub struct Waiting(Vec<(Subject, Spread)>);

impl Load {
    /// A load without clients.
    pub fn quiet(fleet: &Fleet) -> Self {
        let nodes = fleet.nodes.iter().map(Node::client);
        Self {
            shared: Arc::new(Shared {
                nodes: nodes.collect(),
                started: Instant::now(),
                stop: CancellationToken::new(),
                seen: Mutex::default(),
                next: AtomicU32::new(0),
            }),
            clients: Mutex::default(),
            setup: fleet.setup.clone(),
        }
    }

    /// Starts clients of every kind that sends without end.
    pub fn start(fleet: &Fleet) -> Self {
        let load = Self::quiet(fleet);
        let setup = &load.setup;
        let per_quota = setup.window() / u32::try_from(setup.limit()).expect("small");
        for number in 0..NODES {
            load.sends("flood", Spread::Even(number), FLOOD, usize::MAX);
            load.sends("pinned", Spread::Pinned(number), per_quota / 2, usize::MAX);
        }
        for (number, (kind, pace)) in [
            ("half the quota", per_quota * 2),
            ("the quota", per_quota),
            ("twice the quota", per_quota / 2),
        ]
        .into_iter()
        .enumerate()
        {
            load.sends(kind, Spread::Even(number), pace, usize::MAX);
        }
        for number in 0..2 {
            load.sends_bursts(Spread::Even(number));
        }
        load.goes_on_with_newcomers();
        load
    }

    /// Microseconds since the load was started.
    pub fn now(&self) -> i64 {
        self.shared.now()
    }

    /// Waits until floods have sent twice their quotas. On a machine that is too busy for a flood, they may still be within
    /// them.
    pub async fn has_begun(&self) {
        eventually("floods are answered", async || {
            let seen = self.shared.seen();
            let floods = seen
                .records
                .iter()
                .filter(|(subject, _)| subject.kind == "flood");
            let begun = floods.filter(|(_, records)| records.len() >= 2 * self.setup.limit());
            (begun.count() == NODES).then_some(())
        })
        .await;
    }

    /// Lets new clients use six tenths of their quota.
    pub async fn use_a_part(&self) -> Waiting {
        let part = self.setup.limit() * 6 / 10;
        let even = (0..4).map(|first| ("used a part", Spread::Even(first)));
        let pinned = (0..NODES).map(|node| ("used a part, pinned", Spread::Pinned(node)));
        let clients: Vec<(Subject, Spread)> = even
            .chain(pinned)
            .map(|(kind, spread)| (self.shared.subject(kind), spread))
            .collect();
        join_all(clients.iter().map(async |&(subject, spread)| {
            for number in 0..part {
                self.shared.clone().ask(subject, spread.node(number)).await;
            }
        }))
        .await;
        Waiting(clients)
    }

    /// Lets these clients flood.
    pub fn flood(&self, clients: &Waiting) {
        let pace = self.setup.window() / 40;
        for &(subject, spread) in &clients.0 {
            self.keep(
                self.shared
                    .clone()
                    .at_pace(subject, spread, pace, usize::MAX),
            );
        }
    }

    /// Starts a client that sends this many requests, one every `pace`.
    fn sends(&self, kind: &'static str, spread: Spread, pace: Duration, requests: usize) {
        let subject = self.shared.subject(kind);
        self.keep(self.shared.clone().at_pace(subject, spread, pace, requests));
    }

    /// Starts a client that sends more than its quota at once, again and again, about when the window of the burst before
    /// ends.
    fn sends_bursts(&self, spread: Spread) {
        let (shared, setup) = (self.shared.clone(), self.setup.clone());
        let subject = shared.subject("bursts");
        self.keep(async move {
            let mut number = 0;
            for off in [-15, 5, 60].into_iter().cycle() {
                let sent = Instant::now();
                join_all((0..setup.limit() + 2).map(|_| {
                    number += 1;
                    shared.clone().ask(subject, spread.node(number))
                }))
                .await;
                let edge = sent + setup.window();
                let off_by = Duration::from_millis(u64::from(i32::unsigned_abs(off)));
                let next = if off < 0 {
                    edge - off_by
                } else {
                    edge + off_by
                };
                tokio::select! {
                    () = sleep_until(next.into()) => {}
                    () = shared.stop.cancelled() => return,
                }
            }
        });
    }

    /// Starts a client now and then that soon needs more than its quota, and that is gone when a window is over.
    fn goes_on_with_newcomers(&self) {
        let (shared, setup) = (self.shared.clone(), self.setup.clone());
        self.keep(async move {
            let pace = setup.window() / (2 * u32::try_from(setup.limit()).expect("small"));
            let mut clients = JoinSet::new();
            for first in 0.. {
                let subject = shared.subject("newcomer");
                let requests = setup.limit() * 5 / 2;
                let client = shared
                    .clone()
                    .at_pace(subject, Spread::Even(first), pace, requests);
                clients.spawn(client);
                tokio::select! {
                    () = sleep(setup.window() / 8) => {}
                    () = shared.stop.cancelled() => break,
                }
            }
            while let Some(ended) = clients.join_next().await {
                ended.expect("no panic");
            }
        });
    }

    fn keep(&self, client: impl Future<Output = ()> + Send + 'static) {
        let mut clients = self.clients.lock().expect("no panic");
        clients.push(tokio::spawn(client));
    }

    /// Stops the clients, waits for their last answers, and returns what they saw.
    pub async fn stop(self) -> Seen {
        self.shared.stop.cancel();
        let clients = self.clients.into_inner().expect("no panic");
        for client in clients {
            client.await.expect("no panic");
        }
        let mut seen = std::mem::take(&mut *self.shared.seen());
        for record in seen.records.values_mut().flatten() {
            for pause in &seen.pauses {
                pause.delay(record);
            }
        }
        seen
    }

    /// Stops a node of the fleet with SIGSTOP for so long.
    pub async fn stops(&self, fleet: &Fleet, node: usize, pause: Duration) {
        let process = &fleet.nodes[node];
        process.signal(Signal::STOP);
        eventually("all threads stand still", async || {
            threads(process.pid())
                .all(|state| state == 'T')
                .then_some(())
        })
        .await;
        let since = self.now();
        sleep(pause).await;
        let until = self.now();
        process.signal(Signal::CONT);
        self.shared.seen().pauses.push(Pause { node, since, until });
    }

    /// A client that no request has come from yet.
    pub fn subject(&self, kind: &'static str) -> Subject {
        self.shared.subject(kind)
    }

    /// Sends a request of a client to a node, and waits for its answer.
    pub async fn ask(&self, subject: Subject, node: usize) -> Outcome {
        self.shared.clone().ask(subject, node).await
    }
}

impl Shared {
    fn now(&self) -> i64 {
        micros(self.started.elapsed())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }

    /// A client that no request has come from yet.
    fn subject(&self, kind: &'static str) -> Subject {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Subject {
            address: address(number),
            kind,
        }
    }

    /// Sends one request and records it.
    async fn ask(self: Arc<Self>, subject: Subject, node: usize) -> Outcome {
        let request = self.nodes[node]
            .request(Method::GET, "/")
            .header("X-Forwarded-For", subject.address.to_string());
        let sent = self.now();
        let answer = Answer::to(request).await;
        let received = self.now();
        let (outcome, failure) = match answer {
            Ok(answer) => match answer.status.as_u16() {
                200 => (Outcome::Admitted, None),
                429 => (Outcome::Refused, None),
                _ => (Outcome::Failed, Some(format!("{answer:?}"))),
            },
            Err(error) => (Outcome::Failed, Some(format!("{error:?}"))),
        };
        let mut seen = self.seen();
        if let Some(failure) = failure {
            seen.failures.push(failure);
            seen.last_failure = Some(received);
        }
        seen.records.entry(subject).or_default().push(Record {
            sent,
            received,
            outcome,
            node,
        });
        outcome
    }

    async fn at_pace(
        self: Arc<Self>,
        subject: Subject,
        spread: Spread,
        pace: Duration,
        requests: usize,
    ) {
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        for number in 0..requests {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stop.cancelled() => break,
            }
            while let Some(done) = under_way.try_join_next() {
                done.expect("no panic");
            }
            if under_way.len() < UNDER_WAY {
                under_way.spawn(self.clone().ask(subject, spread.node(number)));
            }
        }
        while let Some(done) = under_way.join_next().await {
            done.expect("no panic");
        }
    }
}

/// The states of a process's threads, as in `ps`.
fn threads(pid: i32) -> impl Iterator<Item = char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    threads.filter_map(|thread| {
        let stat = thread.ok()?.path().join("stat");
        // A thread that has just ended has no state.
        let stat = std::fs::read_to_string(stat).ok()?;
        // The name of the program may hold anything.
        stat.rsplit_once(") ")?.1.chars().next()
    })
}

/// The address of the client with this number.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + number)
}
