//! Starts what the chosen scenarios need. Nearly every scenario has a node of its own.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use testkit::{Nginx, NodeBuilder, free_port};

use crate::{
    fill,
    hot_links::HotLinks,
    load::Load,
    pgbench::Pgbench,
    runner::Runner,
    scenario::Scenario,
    servers::{self, LOCATION, Servers},
    table::Table,
};

/// The default. A node refuses all but the first ten requests of a flood.
const USUAL_QUOTA: &str = "10/minute";

/// Links that a scan does not find. With fewer, Postgres would read the table instead of the index.
const OTHER_LINKS: u64 = 100_000;

/// The servers of the chosen scenarios, and their loads.
pub(crate) struct Stage {
    pub(crate) loads: BTreeMap<Scenario, Load>,
    pub(crate) pgbench: Option<Pgbench>,
    /// The last field, dropped last: nodes end before the servers that they need.
    pub(crate) servers: Option<Servers>,
}

impl Stage {
    /// # Errors
    /// If something does not start.
    pub(crate) async fn start(runner: &mut Runner<'_>) -> anyhow::Result<Self> {
        let settings = runner.settings;
        let mut stage = Self {
            loads: BTreeMap::new(),
            pgbench: None,
            servers: None,
        };
        if settings.includes(Scenario::Embedded) {
            let load = redirect(Scenario::Embedded, &servers::embedded(settings.workers)).await;
            stage.loads.insert(Scenario::Embedded, load);
        }
        if settings.scenarios().any(Scenario::is_distributed) {
            let servers = stage.servers.insert(Servers::start().await);
            for scenario in settings.scenarios() {
                let known = &stage.loads;
                let load = distributed(scenario, servers, settings.workers, known).await?;
                stage.loads.extend(load.map(|load| (scenario, load)));
            }
            if settings.includes(Scenario::PostUnique) {
                stage.pgbench = Some(Pgbench::prepare(runner, servers).await?);
            }
        }
        Ok(stage)
    }
}

/// The load of a scenario with Redis and Postgres, or `None` for any other scenario. `known` has the loads of the
/// scenarios before it.
async fn distributed(
    scenario: Scenario,
    servers: &Servers,
    workers: usize,
    known: &BTreeMap<Scenario, Load>,
) -> anyhow::Result<Option<Load>> {
    let node = || servers.node(workers);
    let name = scenario.name();
    let load = match scenario {
        Scenario::Redis => redirect(scenario, &node()).await,
        Scenario::PostSame => {
            let redis = known.get(&Scenario::Redis).context("redis comes first")?;
            let mut load = Load::new(&name, &redis.nodes[0], "distinct-clients.lua", "/shorten");
            load.target.arguments = vec!["url=https%3A%2F%2Fexample.com%2Fsame".to_owned()];
            load.status = 200;
            load
        }
        Scenario::Flood => {
            let mut load = redirect(scenario, &node().set("limiter.quota", USUAL_QUOTA)).await;
            load.target.script = "one-client.lua";
            load.status = 429;
            load.outcome = "refused";
            load.deciders = &["redis", "shield"];
            return Ok(Some(load));
        }
        Scenario::Scan => {
            let database = servers.postgres.database().await;
            // No link grows old meanwhile: one that is looked up again was pushed out.
            let node = node().postgres(&database).set("cache.ttl", "10m");
            let node = Arc::new(node.start().await);
            fill::postgres(&database.url(), 1, OTHER_LINKS).await?;
            let mut load = Load::new(&name, &node, "random-codes.lua", "/");
            load.status = 404;
            load.looked_up = Some(Table::new(database));
            load.hot_links = Some(HotLinks::make(node).await);
            load
        }
        Scenario::PostUnique => {
            let database = servers.postgres.database().await;
            let node = Arc::new(node().postgres(&database).start().await);
            let mut load = Load::new(&name, &node, "unique-urls.lua", "/shorten");
            load.status = 200;
            load.table = Some(Table::new(database));
            load
        }
        Scenario::Nginx => {
            let mut load = redirect(scenario, &node()).await;
            load.nodes.push(Arc::new(node().start().await));
            let addresses: Vec<_> = load.nodes.iter().map(|node| node.address()).collect();
            let nginx = Nginx::start_behind_proxy(free_port(), &addresses).await;
            load.target.server = nginx.address();
            load.nginx = Some(nginx);
            load
        }
        _ => return Ok(None),
    };
    Ok(Some(load.with_redis()))
}

/// Redirects of one link, from a million clients.
async fn redirect(scenario: Scenario, node: &NodeBuilder) -> Load {
    let node = Arc::new(node.start().await);
    let code = node.client().shorten(LOCATION).await.code();
    Load::new(
        &scenario.name(),
        &node,
        "distinct-clients.lua",
        &format!("/{code}"),
    )
}
