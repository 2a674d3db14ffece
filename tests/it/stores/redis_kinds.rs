//! Redis as a cluster and as a Sentinel group, as small as they can be.

use deadpool_redis::redis::{FromRedisValue, Value};
use tempfile::NamedTempFile;
use testkit::{Redis, eventually, free_port};

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
