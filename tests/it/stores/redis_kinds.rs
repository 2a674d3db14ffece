//! Redis on a Unix socket, as a cluster and as a Sentinel group.

use deadpool_redis::redis::{FromRedisValue, Value};
use tempfile::{NamedTempFile, TempDir};
use testkit::{Redis, eventually, free_port};

/// How many slots every cluster has.
const SLOTS: usize = 16_384;

/// A server that is also reached by a Unix socket.
pub struct OnSocket {
    _redis: Redis,
    directory: TempDir,
}

pub async fn on_socket() -> OnSocket {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("socket").display().to_string();
    let redis = Redis::start_with(&["--unixsocket", &socket]).await;
    OnSocket {
        _redis: redis,
        directory,
    }
}

impl OnSocket {
    pub fn url(&self) -> String {
        format!("redis+unix://{}/socket", self.directory.path().display())
    }
}

/// A cluster of one server that owns every slot.
pub struct Cluster(Redis);

pub async fn cluster() -> Cluster {
    let redis = Redis::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &free_port().to_string(),
    ])
    .await;
    redis
        .command::<String>("CLUSTER ADDSLOTSRANGE 0 16383")
        .await;
    eventually("the cluster is up", async || {
        let info: String = redis.command("CLUSTER INFO").await;
        info.contains("cluster_state:ok").then_some(())
    })
    .await;
    Cluster(redis)
}

impl Cluster {
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.0.port())
    }

    pub fn server(&self) -> &Redis {
        &self.0
    }
}

/// A cluster of several masters, each of which owns as many slots as the others, in their order. While one is away, the
/// others go on.
pub struct Shards(pub Vec<Redis>);

pub async fn shards(count: usize, arguments: &[&str]) -> Shards {
    let mut servers = Vec::new();
    for number in 0..count {
        let port = free_port().to_string();
        let in_cluster_mode: &[&str] = &["--cluster-enabled", "yes", "--cluster-port", &port];
        let go_on: &[&str] = &["--cluster-require-full-coverage", "no"];
        let arguments = [in_cluster_mode, go_on, arguments].concat();
        let server = Redis::start_with(&arguments).await;
        let epoch = format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1);
        server.command::<()>(&epoch).await;
        let bounds = [number, number + 1].map(|number| number * SLOTS / count);
        let slots = format!("CLUSTER ADDSLOTSRANGE {} {}", bounds[0], bounds[1] - 1);
        server.command::<()>(&slots).await;
        servers.push(server);
    }
    for server in &servers[1..] {
        let bus: Vec<String> = server.command("CONFIG GET cluster-port").await;
        let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", server.port(), bus[1]);
        servers[0].command::<()>(&meet).await;
    }
    let shards = Shards(servers);
    shards.agree().await;
    shards
}

impl Shards {
    pub fn url(&self) -> String {
        let hosts = self
            .0
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port()));
        format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// Waits until every server knows the owner of every slot.
    pub async fn agree(&self) {
        for server in &self.0 {
            eventually("the cluster is up", async || {
                let info: String = server.command("CLUSTER INFO").await;
                let says = |line: &str| info.lines().any(|said| said == line);
                let is_up = says("cluster_state:ok") && says("cluster_slots_ok:16384");
                (is_up && says(&format!("cluster_size:{}", self.0.len()))).then_some(())
            })
            .await;
        }
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> usize {
        self.0[1].command(&format!("CLUSTER KEYSLOT {key}")).await
    }

    /// The number of the server that owned the slot of a key at first.
    pub async fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key).await;
        let last = |number: &usize| (number + 1) * SLOTS / self.0.len() - 1;
        (0..self.0.len())
            .find(|number| slot <= last(number))
            .expect("an owner")
    }
}

/// A replica that is in step with `master`.
pub async fn replica(master: &Redis) -> Redis {
    // By default a master waits five seconds for more replicas.
    let at_once = "CONFIG SET repl-diskless-sync-delay 0";
    master.command::<String>(at_once).await;
    let port = master.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("the replica is in step", async || {
        let replication: String = replica.command("INFO replication").await;
        replication.contains("master_link_status:up").then_some(())
    })
    .await;
    replica
}

/// A master and one Sentinel that knows it.
pub struct SentinelGroup {
    master: Redis,
    sentinel: Redis,
    /// The Sentinel writes into it whenever it names another master.
    _configuration: NamedTempFile,
}

pub async fn sentinel() -> SentinelGroup {
    let master = Redis::start().await;
    let configuration = tempfile::Builder::new()
        .suffix(".conf")
        .tempfile()
        .expect("a temporary file");
    let path = configuration.path().display().to_string();
    // A Sentinel needs a configuration file that it can write.
    let sentinel = Redis::start_sentinel(&path).await;
    let group = SentinelGroup {
        master,
        sentinel,
        _configuration: configuration,
    };
    group.names(&group.master).await;
    group
}

impl SentinelGroup {
    pub fn url(&self) -> String {
        format!(
            "redis+sentinel://127.0.0.1:{}/mymaster",
            self.sentinel.port()
        )
    }

    /// The server that was the master at first.
    pub fn master(&self) -> &Redis {
        &self.master
    }

    pub fn master_mut(&mut self) -> &mut Redis {
        &mut self.master
    }

    pub fn sentinel(&self) -> &Redis {
        &self.sentinel
    }

    /// Makes the Sentinel watch `master` and name it, whatever it named before.
    pub async fn names(&self, master: &Redis) {
        if self.named().await.is_some() {
            self.sentinel
                .command::<Value>("SENTINEL REMOVE mymaster")
                .await;
        }
        let monitor = format!("SENTINEL MONITOR mymaster 127.0.0.1 {} 1", master.port());
        self.sentinel.command::<Value>(&monitor).await;
        self.name_becomes(master).await;
    }

    /// A replica that takes over when the master has been away for `down_after` milliseconds.
    pub async fn replica(&self, down_after: u32) -> Redis {
        let replica = replica(&self.master).await;
        // When a Sentinel begins to watch a master, it asks at once for the replicas; later only every ten seconds.
        self.names(&self.master).await;
        let set = format!("SENTINEL SET mymaster down-after-milliseconds {down_after}");
        self.sentinel.command::<Value>(&set).await;
        eventually("the sentinel knows the replica", async || {
            let replicas: Vec<Value> = self.sentinel.command("SENTINEL REPLICAS mymaster").await;
            (replicas.len() == 1).then_some(())
        })
        .await;
        replica
    }

    /// Waits until the Sentinel names `master`.
    pub async fn name_becomes(&self, master: &Redis) {
        eventually("the sentinel names this master", async || {
            (self.named().await? == master.port().to_string()).then_some(())
        })
        .await;
    }

    /// The port of the master that the Sentinel names.
    async fn named(&self) -> Option<String> {
        let command = "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster";
        let address: Value = self.sentinel.command(command).await;
        Vec::<String>::from_redis_value(address).ok()?.pop()
    }
}
