//! The application: everything wired together, from a configuration.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::{CacheConfig, Config, DatabaseConfig, DatabaseKind, LimiterConfig},
    descriptors,
    http::{
        AppState, Cors, Draining, Gate, HttpMetrics, Listener, Management, RateLimit, Rule,
        Timeouts, TrustedProxies, management_server, public_server,
    },
    limiter::{
        Limiter, MemoryStore, Policy, RedisOptions, RedisStore, ShieldedRedis,
        register_limiter_metrics,
    },
    links::{
        CacheMetrics, CacheOptions, LinkStore, Links, PostgresOptions, PostgresStore,
        SqliteOptions, SqliteStore, StartUp, register_link_metrics,
    },
    telemetry::{Metrics, chain},
};

/// For connections that had begun when the gate was closed: to be accepted.
const ACCEPT_GRACE: Duration = Duration::from_millis(100);

/// Files and sockets for everything but clients and the database's pool: files of SQLite, probes, Redis, name resolution.
const OWN_DESCRIPTORS: usize = 256;

/// A node that listens already and has reached its database, but does not serve yet.
pub struct Application {
    public: actix_server::Server,
    gate: Gate,
    management: Option<actix_web::dev::Server>,
    public_address: SocketAddr,
    management_address: Option<SocketAddr>,
    drain: Duration,
    draining: Draining,
    links: Arc<Links>,
    limiter: Option<Arc<Limiter>>,
}

impl Application {
    /// Listens, connects and migrates.
    ///
    /// # Errors
    /// If an address cannot be listened on, the database cannot be reached or migrated in time, or `redis.url` leads to one
    /// server of a cluster. A Redis that cannot be reached is no error: the node starts degraded.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let listener = Listener::bind(config.http.bind)
            .with_context(|| format!("http.bind: cannot listen on {}", config.http.bind))?;
        let public_address = listener.address();
        let gate = listener.gate()?;
        let metrics = Metrics::new()?;
        let links = Arc::new(open_links(config, &metrics).await?);
        let limiter = if config.limiter.enabled {
            Some(Arc::new(open_limiter(config, &metrics).await?))
        } else {
            None
        };
        register_link_metrics(&metrics, links.clone())?;
        register_limiter_metrics(&metrics, limiter.clone())?;
        let draining = Draining::default();

        let state = Arc::new(AppState {
            links: links.clone(),
            rate_limit: match &limiter {
                Some(limiter) => Some(rate_limit(&config.limiter, limiter.clone())?),
                None => None,
            },
            schemes: config.links.schemes.clone(),
            trusted_proxies: TrustedProxies::new(
                config.http.trusted_proxies.clone(),
                config.http.client_ip_header.clone().unwrap_or_default(),
            ),
            cors: Cors::new(config.http.cors_origins.clone()),
            public_url: config.http.public_url.clone(),
            local_addr: public_address,
            request_timeout: config.http.request_timeout,
            metrics: HttpMetrics::new(&metrics)?,
            draining: draining.clone(),
        });
        let timeouts = Timeouts {
            request: config.http.request_timeout,
            answer: config.database.timeout + config.limiter.redis.timeout + Duration::from_secs(1),
            keep_alive: config.http.keep_alive,
            shutdown: config.http.shutdown_timeout,
        };
        let public = public_server(
            listener,
            state,
            config.http.workers,
            allow_connections(config),
            timeouts,
        )?;

        let (management, management_address) = match config.management.bind {
            Some(address) => {
                let listener = Listener::bind(address)
                    .with_context(|| format!("management.bind: cannot listen on {address}"))?;
                let address = listener.address();
                let management = Management {
                    links: links.clone(),
                    limiter: limiter.clone(),
                    draining: draining.clone(),
                    metrics,
                    not_ready: false.into(),
                };
                let server = management_server(listener.into_socket(), Arc::new(management))?;
                (Some(server), Some(address))
            }
            None => (None, None),
        };
        Ok(Self {
            public,
            gate,
            management,
            public_address,
            management_address,
            drain: config.http.drain,
            draining,
            links,
            limiter,
        })
    }

    /// Where the public listener is.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// Where the management listener is, if there is one.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.management_address
    }

    /// Serves until `stop`, then drains: `/readyz` says 503 at once, after `http.drain` the listener closes,
    /// requests under way finish. Returns when nothing is left.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let background = CancellationToken::new();
        let limiter = self.limiter.clone().map(|limiter| {
            let stop = background.clone();
            tokio::spawn(async move { limiter.supervise(stop).await })
        });
        let links = {
            let (links, stop) = (self.links.clone(), background.clone());
            tokio::spawn(async move { links.supervise(stop).await })
        };
        let management_handle = self.management.as_ref().map(|server| server.handle());
        let management = self.management.map(tokio::spawn);
        let public_handle = self.public.handle();
        let mut public = tokio::spawn(self.public);

        let served = tokio::select! {
            ended = &mut public => {
                ended.context("the public listener failed")?.context("the public listener failed")
            }
            () = stop => {
                self.draining.begin();
                info!(drain = %humantime::format_duration(self.drain), "stopping: not ready any more, still serving");
                sleep(self.drain).await;
                info!("stopping: closing the listener");
                if let Err(error) = self.gate.close() {
                    warn!(error = chain(&error), "connections that begin right now may be reset");
                }
                sleep(ACCEPT_GRACE).await;
                drop(self.gate);
                public_handle.stop(true).await;
                public.await?.context("the public listener failed")
            }
        };
        if let Some(handle) = management_handle {
            handle.stop(false).await;
        }
        join(management).await;
        background.cancel();
        join(limiter).await;
        join(Some(links)).await;
        self.links.close().await;
        served
    }
}

/// How many clients may be connected: as many as are configured, if the process may have so many sockets.
fn allow_connections(config: &Config) -> usize {
    let wanted = config.http.max_connections;
    let own = OWN_DESCRIPTORS + config.database.max_connections as usize + config.http.workers * 8;
    let limit = match descriptors::allow((wanted + own) as u64) {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            warn!(
                error = chain(&error),
                "cannot raise the limit of open files"
            );
            return wanted;
        }
    };
    let possible = limit.saturating_sub(own).max(1);
    if possible < wanted {
        warn!(
            limit,
            connections = possible,
            "the limit of open files is too low for http.max_connections"
        );
    }
    wanted.min(possible)
}

/// What the task returns or panics with is said where it happens.
async fn join<T>(task: Option<JoinHandle<T>>) {
    if let Some(task) = task {
        let _ = task.await;
    }
}

/// Connects to the database and brings its tables up to date.
///
/// # Errors
/// If it cannot be reached or migrated in time.
pub async fn open_store(config: &DatabaseConfig) -> anyhow::Result<Arc<dyn LinkStore>> {
    let start_up = StartUp {
        within: config.startup_timeout,
    };
    let store: Arc<dyn LinkStore> = match &config.url.kind {
        DatabaseKind::Sqlite(url) => {
            let options = SqliteOptions {
                url: url.clone(),
                max_connections: config.max_connections,
                timeout: config.timeout,
            };
            let store = SqliteStore::open(&options, start_up).await;
            Arc::new(store.with_context(|| format!("cannot open {}", config.url))?)
        }
        DatabaseKind::Postgres(url) => {
            let options = PostgresOptions {
                url: url.clone(),
                max_connections: config.max_connections,
                timeout: config.timeout,
            };
            let store = PostgresStore::connect(&options, start_up).await;
            Arc::new(store.with_context(|| format!("cannot use {url}"))?)
        }
    };
    Ok(store)
}

async fn open_links(config: &Config, metrics: &Metrics) -> anyhow::Result<Links> {
    let store = open_store(&config.database).await?;
    let store_metrics = metrics.store(store.name());
    let code_length = config.links.code_length.try_into()?;
    let links = Links::new(store, code_length, store_metrics);
    let CacheConfig {
        capacity,
        ttl,
        miss_ttl,
    } = config.cache;
    if capacity == 0 {
        return Ok(links);
    }
    let options = CacheOptions {
        capacity,
        ttl,
        miss_ttl,
    };
    Ok(links.with_cache(options, CacheMetrics::new(metrics)?))
}

async fn open_limiter(config: &Config, metrics: &Metrics) -> anyhow::Result<Limiter> {
    let local = MemoryStore::new(config.limiter.local_memory_mib << 20);
    let Some(redis) = &config.redis.url else {
        return Ok(Limiter::embedded(local));
    };
    let options = RedisOptions {
        endpoint: redis.endpoint.clone(),
        prefix: config.redis.prefix.clone(),
        timeout: config.limiter.redis.timeout,
    };
    let store = RedisStore::new(&options).context("redis.url")?;
    let mut redis = ShieldedRedis::new(store, metrics.store("redis"));
    if config.limiter.shield {
        redis = redis.with_shield(config.limiter.write_back);
    }
    let limiter = Limiter::shared(redis, local, config.limiter.on_redis_failure).await;
    limiter.context("the limiter")
}

fn rate_limit(config: &LimiterConfig, limiter: Arc<Limiter>) -> anyhow::Result<RateLimit> {
    let mut rules = Vec::new();
    for (name, policy) in &config.policies {
        let (routes, clients) = (policy.routes.clone(), policy.clients.clone());
        let policy = Policy {
            name: name.parse()?,
            quota: policy.quota,
        };
        rules.push(Rule::new(policy, routes, clients));
    }
    Ok(RateLimit::new(
        limiter,
        Policy::default_policy(config.quota),
        rules,
        config.exempt.clone(),
        config.ipv6_prefix,
    ))
}
