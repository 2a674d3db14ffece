//! The servers of a cluster, and which of them owns which slot.
//!
//! Each request goes to the owner of its key's slot. If the slot is on its way to another server, or is there already,
//! the server says so instead of doing anything ([`Redirect`](super::slots::Redirect)), and the request is sent to the
//! other one. The node notes what it learns about this slot. It asks for the whole map once a second, and more often
//! while a server is away, because another one may take over.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use deadpool_redis::redis::cmd;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::Notify, time::timeout};

use super::{
    connection::{Connection, Connector},
    endpoint::Seeds,
    failure::Failures,
    server::Server,
    slots::{Address, Range, SLOTS, parse_slots, slot_of},
};
use crate::limiter::{WindowStoreError, boot_clock::BootClock};

/// How long a server may take to say which slots there are.
const MAP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a server without a slot is kept after a request was led to it, µs. A new server of a cluster owns none until
/// the first one is there wholly.
const KEPT_MICROS: i64 = 60_000_000;

/// No place in the list of servers.
const NOWHERE: u16 = u16::MAX;

/// All servers of a cluster that this node knows.
pub(super) struct Cluster {
    seeds: Seeds,
    failures: Failures,
    timeout: Duration,
    boot: BootClock,
    /// For each slot, the place of its owner in `servers`.
    owners: Box<[AtomicU16]>,
    /// A server keeps its place as long as it owns a slot.
    servers: ArcSwap<Vec<Option<Arc<Server>>>>,
    /// Held to change `servers`, or to note an owner, whose place must not be given away meanwhile.
    changing: Mutex<()>,
    has_changed: Notify,
    /// Owns the slots whose owner is not known. Its breaker is open.
    unknown: Arc<Server>,
}

impl Cluster {
    /// Knows no server yet.
    ///
    /// # Errors
    /// [`WindowStoreError::Connect`] if the client library cannot use an address.
    pub(super) fn new(
        seeds: Seeds,
        failures: Failures,
        timeout: Duration,
        boot: BootClock,
    ) -> Result<Self, WindowStoreError> {
        let connector = Connector::to(seeds.first(), failures.clone())?;
        let unknown = Server::new(None, connector, timeout, boot);
        unknown.trip(0);
        Ok(Self {
            owners: (0..SLOTS).map(|_| AtomicU16::new(NOWHERE)).collect(),
            servers: ArcSwap::default(),
            changing: Mutex::default(),
            has_changed: Notify::new(),
            unknown: Arc::new(unknown),
            seeds,
            failures,
            timeout,
            boot,
        })
    }

    /// The owner of a slot, as far as this node knows.
    pub(super) fn owner(&self, slot: u16) -> Arc<Server> {
        let owner = self.place(slot);
        let owner = self
            .servers
            .load()
            .get(usize::from(owner))
            .cloned()
            .flatten();
        owner.unwrap_or_else(|| self.unknown.clone())
    }

    /// Whether `server` owns the slot of `key`, as far as this node knows.
    pub(super) fn has(&self, server: &Arc<Server>, key: &str) -> bool {
        Arc::ptr_eq(&self.owner(slot_of(key)), server)
    }

    /// Whether `server` owns a slot, as far as this node knows.
    pub(super) fn owns_any(&self, server: &Arc<Server>) -> bool {
        self.in_order()
            .iter()
            .any(|owner| Arc::ptr_eq(owner, server))
    }

    /// The servers that this node is connected to, in the order of their slots. Those that did not answer come last.
    pub(super) fn with_clocks(&self) -> Vec<Arc<Server>> {
        let mut servers = self.in_order();
        servers.retain(|server| server.is_connected());
        servers.sort_by_key(|server| !server.has_answered());
        servers
    }

    /// All servers that own a slot, by their first one.
    fn in_order(&self) -> Vec<Arc<Server>> {
        let servers = self.servers.load();
        let mut seen = vec![false; servers.len()];
        let mut in_order = Vec::with_capacity(servers.len());
        for owner in &self.owners {
            let place = usize::from(owner.load(Ordering::Acquire));
            if let (Some(Some(server)), Some(false)) = (servers.get(place), seen.get(place)) {
                seen[place] = true;
                in_order.push(server.clone());
            }
        }
        in_order
    }

    fn place(&self, slot: u16) -> u16 {
        self.owners
            .get(usize::from(slot))
            .map_or(NOWHERE, |owner| owner.load(Ordering::Acquire))
    }

    /// All servers. If none is known yet, the one that stands for them.
    pub(super) fn servers(&self) -> Vec<Arc<Server>> {
        let known: Vec<_> = self.servers.load().iter().flatten().cloned().collect();
        if known.is_empty() {
            vec![self.unknown.clone()]
        } else {
            known
        }
    }

    /// Whether this is the server that stands for all that are not known.
    pub(super) fn is_unknown(&self, server: &Arc<Server>) -> bool {
        Arc::ptr_eq(server, &self.unknown)
    }

    /// Waits until there are other servers than before. Returns at once if there have been since the last call.
    pub(super) async fn changed(&self) {
        self.has_changed.notified().await;
    }

    /// Notes that a slot belongs to the server at `address`, and returns this server.
    pub(super) fn moved(
        &self,
        slot: u16,
        address: Address,
    ) -> Result<Arc<Server>, WindowStoreError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, server) = self.add(address)?;
        self.own(slot, place, &server);
        Ok(server)
    }

    /// The server at `address`, which takes slots over one key at a time. It may not own one yet.
    pub(super) fn at(&self, address: Address) -> Result<Arc<Server>, WindowStoreError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, server) = self.add(address)?;
        server.is_needed();
        Ok(server)
    }

    /// Asks the servers for all slots and their owners, until one answers.
    ///
    /// # Errors
    /// [`WindowStoreError`] of the last one if none does.
    pub(super) async fn read_map(&self) -> Result<(), WindowStoreError> {
        let connected = self
            .servers()
            .into_iter()
            .filter(|server| server.is_connected());
        let mut answers: FuturesUnordered<_> = connected
            .map(|server| async move {
                let link = server.connections().common().await?;
                self.ranges(&link.connection, server.host()).await
            })
            .collect();
        while let Some(answer) = answers.next().await {
            if let Ok(ranges) = answer {
                return self.note(ranges);
            }
        }
        let seeds = self
            .seeds
            .addresses()
            .map(|(host, port)| Address { host, port });
        let mut answers: FuturesUnordered<_> = seeds.map(|seed| self.seed_ranges(seed)).collect();
        let mut failed = WindowStoreError::Disconnected;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(ranges) => return self.note(ranges),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn seed_ranges(&self, address: Address) -> Result<Vec<Range>, WindowStoreError> {
        let server = self.seeds.access.at(&address.host, address.port);
        let (new, _) = Connector::to(server, self.failures.clone())?.find().await?;
        self.ranges(&new.connection, &address.host).await
    }

    async fn ranges(
        &self,
        connection: &Connection,
        host: &str,
    ) -> Result<Vec<Range>, WindowStoreError> {
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let answer = timeout(MAP_TIMEOUT, connection.query(&question, false)).await;
        let answer = answer.map_err(|_| WindowStoreError::Timeout(MAP_TIMEOUT))?;
        let ranges = answer.and_then(|answer| parse_slots(answer, host));
        ranges.map_err(|error| self.failures.sort_connect(error))
    }

    /// Notes the owners of slots, and forgets servers that own none and to which no request was led lately. Slots that are in no range keep their owner.
    fn note(&self, ranges: Vec<Range>) -> Result<(), WindowStoreError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        for Range { first, last, owner } in ranges {
            let (place, server) = self.add(owner)?;
            for slot in first..=last {
                self.own(slot, place, &server);
            }
        }
        let before = self.servers.load_full();
        let mut servers = before.to_vec();
        for (place, server) in servers.iter_mut().enumerate() {
            let is_idle = |server: &Arc<Server>| !server.was_needed_within(KEPT_MICROS);
            if server.as_ref().is_some_and(is_idle) && !self.is_owner(place) {
                *server = None;
            }
        }
        if servers.iter().flatten().count() < before.iter().flatten().count() {
            self.replace(servers);
        }
        Ok(())
    }

    /// The server at `address` and its place. `changing` must be held.
    fn add(&self, address: Address) -> Result<(u16, Arc<Server>), WindowStoreError> {
        let servers = self.servers.load_full();
        for (place, server) in (0..NOWHERE).zip(servers.iter()) {
            if let Some(server) = server.as_ref().filter(|server| server.is_at(&address)) {
                return Ok((place, server.clone()));
            }
        }
        let destination = self.seeds.access.at(&address.host, address.port);
        let connector = Connector::to(destination, self.failures.clone())?;
        let server = Arc::new(Server::new(
            Some(address),
            connector,
            self.timeout,
            self.boot,
        ));
        let mut servers = servers.to_vec();
        let free = servers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            servers.push(None);
            servers.len() - 1
        });
        let number = u16::try_from(place).ok().filter(|place| *place < NOWHERE);
        let number = number.ok_or(WindowStoreError::Failed("more servers than slots".into()))?;
        servers[place] = Some(server.clone());
        self.replace(servers);
        Ok((number, server))
    }

    fn replace(&self, servers: Vec<Option<Arc<Server>>>) {
        self.servers.store(Arc::new(servers));
        self.has_changed.notify_one();
    }

    /// Gives `slot` to `server`, which has this `place`. `changing` must be held.
    ///
    /// If the owner before is away, `server` may be a replica that has not heard of its last writes, and it has not heard
    /// of what nodes have decided alone since. If that owner still answers, it has handed the slot over.
    fn own(&self, slot: u16, place: u16, server: &Server) {
        let Some(owner) = self.owners.get(usize::from(slot)) else {
            return;
        };
        let before = owner.swap(place, Ordering::AcqRel);
        if before == place {
            return;
        }
        let servers = self.servers.load();
        let before = servers.get(usize::from(before)).and_then(Option::as_ref);
        if before.is_some_and(|before| before.breaker().is_open()) {
            server.takes_over();
        }
    }

    fn is_owner(&self, place: usize) -> bool {
        let mut owners = self
            .owners
            .iter()
            .map(|owner| owner.load(Ordering::Acquire));
        owners.any(|owner| usize::from(owner) == place)
    }
}
