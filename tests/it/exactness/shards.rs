//! A Redis cluster of three shards.

use std::time::Duration;

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Value, aio::MultiplexedConnection, cmd, pipe,
};
use testkit::{Redis, eventually, free_port};
use tokio::time::sleep;

use super::{
    load::{Subject, address},
    row::row,
    setup::Setup,
};

const SHARDS: usize = 3;
const SLOTS: u16 = 16_384;

/// How long a command that moves slots may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three servers, each with a third of the slots, and no replicas.
struct Shards(Vec<Redis>);

impl Shards {
    async fn start() -> Self {
        let mut servers = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..SHARDS {
            let bus = free_port().to_string();
            servers.push(
                Redis::start_with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    // Otherwise one dead shard stops the others.
                    "--cluster-require-full-coverage",
                    "no",
                ])
                .await,
            );
            buses.push(bus);
        }
        for (number, server) in servers.iter().enumerate() {
            let slots = Self::slots(number);
            let (first, last) = (slots.start, slots.end - 1);
            let own = format!("CLUSTER ADDSLOTSRANGE {first} {last}");
            server.command::<String>(&own).await;
            let epoch = format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1);
            server.command::<String>(&epoch).await;
        }
        for (server, bus) in servers.iter().zip(&buses).skip(1) {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", server.port());
            servers[0].command::<String>(&meet).await;
        }
        let shards = Self(servers);
        shards.agree().await;
        shards
    }

    /// The slots that a shard has at first.
    fn slots(shard: usize) -> std::ops::Range<u16> {
        let bound = |shard: usize| (usize::from(SLOTS) * shard / SHARDS) as u16;
        bound(shard)..bound(shard + 1)
    }

    /// Waits until every server knows who has which slot.
    async fn agree(&self) {
        eventually("the cluster is up", async || {
            for server in &self.0 {
                let info: String = server.command("CLUSTER INFO").await;
                let is_up = [
                    "cluster_state:ok",
                    "cluster_slots_ok:16384",
                    "cluster_known_nodes:3",
                ]
                .iter()
                .all(|line| info.contains(line));
                if !is_up {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.0[SHARDS - 1].port())
    }
}

/// The slot of a client's log under the policy `default`.
fn slot(subject: &Subject) -> u16 {
    let key = format!("rate_limit:{}", subject.address);
    crc16(key.as_bytes()) % SLOTS
}

/// CRC16 as Redis Cluster computes it (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[test]
fn slots_are_those_of_redis() {
    // From the specification of Redis Cluster.
    assert_eq!(crc16(b"123456789"), 0x31c3);
}

/// A shard dies, and its replica takes over, which has none of its writes.
pub async fn a_replica_without_the_last_writes_takes_over(setup: &Setup) {
    let mut shards = Shards::start().await;
    let id: String = shards.0[1].command("CLUSTER MYID").await;
    let bus = free_port().to_string();
    let replica = Redis::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-require-full-coverage",
        "no",
        // So that it can be emptied.
        "--replica-read-only",
        "no",
    ])
    .await;
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", replica.port());
    shards.0[0].command::<String>(&meet).await;
    eventually("the replica knows its master", async || {
        let replicate = format!("CLUSTER REPLICATE {id}");
        replica.try_command::<String>(&replicate).await.ok()
    })
    .await;
    eventually("the replica is in step", async || {
        let replication: String = replica.command("INFO replication").await;
        replication.contains("master_link_status:up").then_some(())
    })
    .await;
    let fleet = patient(setup).start(&shards.url()).await;
    let fault = "Cluster: a replica without the last writes takes over";
    let findings = row(fault, &fleet, async |_| {
        shards.0[1].kill();
        eventually("the link to the master is down", async || {
            let replication: String = replica.command("INFO replication").await;
            let is_down = replication.contains("master_link_status:down");
            is_down.then_some(())
        })
        .await;
        replica.command::<String>("FLUSHALL").await;
        // Longer than a node needs to notice that a server is away.
        sleep(Duration::from_secs(1)).await;
        replica.command::<String>("CLUSTER FAILOVER TAKEOVER").await;
        // Requests of the clients go on while the nodes learn of it, and after that.
        sleep(Duration::from_secs(2)).await;
    })
    .await;
    let dead = Shards::slots(1);
    findings.assert_unnoticed_by("clients of healthy shards", |subject| {
        dead.contains(&slot(subject))
    });
    findings.assert_exact();
}

/// A fault of one shard must not make requests to others late: here a late answer proves nothing.
fn patient(setup: &Setup) -> Setup {
    Setup {
        timeout: Some("2s"),
        ..setup.clone()
    }
}

async fn is_killed(fault: &str, shard: usize, setup: &Setup) {
    let mut shards = Shards::start().await;
    let fleet = patient(setup).start(&shards.url()).await;
    let findings = row(fault, &fleet, async |_| {
        shards.0[shard].kill();
        sleep(Duration::from_secs(1)).await;
        shards.0[shard].restart().await;
    })
    .await;
    let dead = Shards::slots(shard);
    findings.assert_unnoticed_by("clients of healthy shards", |subject| {
        dead.contains(&slot(subject))
    });
    findings.assert_exact();
}

pub async fn a_shard_is_killed(setup: &Setup) {
    is_killed("Cluster: a shard is killed and back, empty", 1, setup).await;
}

pub async fn the_shard_of_slot_0_is_killed(setup: &Setup) {
    is_killed(
        "Cluster: the shard of slot 0 is killed and back, empty",
        0,
        setup,
    )
    .await;
}

pub async fn slots_are_moved(setup: &Setup) {
    /// How many clients are sure to be moved, if their slots are in the first shard.
    const CLIENTS: u32 = 200;
    const MOVED: usize = 1_500;
    const AT_ONCE: usize = 50;
    let shards = Shards::start().await;
    let fleet = patient(setup).start(&shards.url()).await;
    let own = Shards::slots(0);
    let of_clients = (0..CLIENTS).map(|number| {
        slot(&Subject {
            address: address(number),
            kind: "",
        })
    });
    let mut slots: Vec<u16> = of_clients.filter(|slot| own.contains(slot)).collect();
    slots.extend(own.clone());
    let mut taken = std::collections::HashSet::new();
    slots.retain(|&slot| taken.insert(slot));
    slots.truncate(MOVED);
    let fault = "Cluster: 1,500 slots are moved";
    let findings = row(fault, &fleet, async |_| {
        let mut move_ = Move::between(&shards.0[0], &shards.0[1], &shards.0[2]).await;
        let mut moved = 0;
        for slots in slots.chunks(AT_ONCE) {
            moved += move_.slots(slots).await;
        }
        assert!(moved > 0, "no client was moved");
    })
    .await;
    let nobody = |_: &Subject| false;
    findings.assert_unnoticed_by("all clients", nobody);
    findings.assert_exact();
}

/// Slots that move from one server to another, as `redis-cli --cluster reshard` moves them.
struct Move {
    from: MultiplexedConnection,
    to: MultiplexedConnection,
    bystander: MultiplexedConnection,
    from_id: String,
    to_id: String,
    to_port: u16,
}

impl Move {
    async fn between(from: &Redis, to: &Redis, bystander: &Redis) -> Self {
        let connect = async |server: &Redis| {
            let client = Client::open(server.url()).expect("a URL");
            // Longer than a busy machine stalls.
            let patient = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(PATIENCE));
            let connection = client.get_multiplexed_async_connection_with_config(&patient);
            let connection = connection.await;
            connection.expect("a connection")
        };
        Self {
            from: connect(from).await,
            to: connect(to).await,
            bystander: connect(bystander).await,
            from_id: from.command("CLUSTER MYID").await,
            to_id: to.command("CLUSTER MYID").await,
            to_port: to.port(),
        }
    }

    /// Moves these slots, and returns how many keys were in them.
    async fn slots(&mut self, slots: &[u16]) -> usize {
        let set = |state: &str, id: &str| {
            let mut set = pipe();
            for slot in slots {
                set.cmd("CLUSTER")
                    .arg("SETSLOT")
                    .arg(slot)
                    .arg(state)
                    .arg(id);
            }
            set
        };
        let done = "slots are set";
        let importing = set("IMPORTING", &self.from_id);
        importing
            .query_async::<Value>(&mut self.to)
            .await
            .expect(done);
        let migrating = set("MIGRATING", &self.to_id);
        migrating
            .query_async::<Value>(&mut self.from)
            .await
            .expect(done);
        // From now on the slot gets no new keys.
        let mut ask = pipe();
        for slot in slots {
            ask.cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(1000);
        }
        let keys: Vec<Vec<String>> = ask.query_async(&mut self.from).await.expect("keys");
        for keys in keys.iter().filter(|keys| !keys.is_empty()) {
            let mut migrate = cmd("MIGRATE");
            migrate
                .arg("127.0.0.1")
                .arg(self.to_port)
                .arg("")
                .arg(0)
                .arg(5000);
            migrate.arg("KEYS").arg(keys);
            let moved = migrate.query_async::<Value>(&mut self.from).await;
            moved.expect("keys are moved");
        }
        let owner = set("NODE", &self.to_id);
        for server in [&mut self.to, &mut self.from, &mut self.bystander] {
            owner.query_async::<Value>(server).await.expect(done);
        }
        keys.iter().map(Vec::len).sum()
    }
}
