//! Redis as a cluster and as a Sentinel group, as small as they can be.

use deadpool_redis::redis::FromRedisValue;
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
    let monitor = format!("SENTINEL MONITOR mymaster 127.0.0.1 {} 1", master.port());
    sentinel
        .command::<deadpool_redis::redis::Value>(&monitor)
        .await;
    eventually("the sentinel knows its master", async || {
        let address: deadpool_redis::redis::Value = sentinel
            .command("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster")
            .await;
        Vec::<String>::from_redis_value(address).ok()
    })
    .await;
    SentinelGroup { master, sentinel }
}

impl SentinelGroup {
    pub fn url(&self) -> String {
        format!(
            "redis+sentinel://127.0.0.1:{}/mymaster",
            self.sentinel.port()
        )
    }

    pub fn master(&self) -> &Redis {
        &self.master
    }
}
