//! Wires a node together from its configuration: the only place that names concrete stores.

use std::{sync::Arc, time::Duration};

use anyhow::Context;

use crate::{
    config::{CacheConfig, Config, DatabaseConfig, DatabaseKind, LimiterConfig, ListenAddress},
    db::{
        Database, Health, Postgres, PostgresOptions, Sqlite, SqliteOptions, StartUp,
        register_database_metrics,
    },
    descriptors,
    http::{
        AppState, Cors, Draining, HttpMetrics, KeyLookUps, Listener, Management, Places, RateLimit,
        Rule, Timeouts, TrustedProxies, management_server, public_server,
    },
    keys::{KeyStore, Keys, PostgresKeys, SqliteKeys, register_key_metrics},
    lifecycle::Application,
    limiter::{
        JournaledRedis, Limiter, MemoryStore, Policy, RedisOptions, RedisStore,
        register_limiter_metrics,
    },
    links::{
        self, CacheMetrics, CacheOptions, IgnoreCaseError, LinkStore, Links, PASSWORD_PATIENCE,
        PasswordMetrics, PostgresLinks, SqliteLinks, register_cache_metrics,
    },
    telemetry::Metrics,
    titles::{Fetcher, Network, TitleMetrics, Titles, trusted_certificates},
};

/// Files and sockets for everything but clients, workers and the database's pool: files of SQLite, probes, Redis, name
/// resolution.
const OWN_DESCRIPTORS: usize = 256;

impl Application {
    /// Listens, connects and migrates.
    ///
    /// # Errors
    /// If an address cannot be listened on, the database cannot be reached or migrated in time, or `redis.url` leads to
    /// one server of a cluster. A Redis that cannot be reached is no error: the node starts degraded.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let listener = listen("http.bind", config.http.bind)?;
        let public_address = listener.address();
        let gate = listener.gate()?;
        let metrics = Metrics::new()?;
        let database = open_database(&config.database).await?;
        let store = open_link_store(config, &database).await?;
        let health = Arc::new(health(database, &store, &metrics));
        register_database_metrics(&metrics, health.clone())?;
        let mut links = links(config, store, health.clone(), &metrics)?;
        let titles = if config.links.fetch_titles {
            let titles = titles(config, &metrics)?;
            links = links.telling_of_untitled(titles.listener());
            Some(titles)
        } else {
            None
        };
        let links = Arc::new(links);
        let keys = Arc::new(keys(health, &metrics));
        let limiter = if config.limiter.enabled {
            Some(Arc::new(open_limiter(config, &metrics).await?))
        } else {
            None
        };
        register_cache_metrics(&metrics, links.clone())?;
        register_key_metrics(&metrics, keys.clone())?;
        register_limiter_metrics(&metrics, limiter.clone())?;
        let draining = Draining::default();

        let state = Arc::new(AppState {
            links: links.clone(),
            keys: keys.clone(),
            key_look_ups: Arc::<KeyLookUps>::default(),
            rate_limit: match &limiter {
                Some(limiter) => Some(rate_limit(&config.limiter, limiter.clone())?),
                None => None,
            },
            anonymous: config.links.anonymous,
            schemes: config.links.schemes.clone(),
            home_url: config.links.home_url.clone(),
            not_found_url: config.links.not_found_url.clone(),
            trusted_proxies: TrustedProxies::new(
                config.http.trusted_proxies.clone(),
                config.http.client_ip_header.clone().unwrap_or_default(),
            ),
            cors: Cors::new(config.http.cors_origins.clone()),
            public_url: config.http.public_url.clone(),
            local_addr: public_address,
            places: Places::default(),
            request_timeout: config.http.request_timeout,
            database_timeout: config.database.timeout,
            shutdown_timeout: config.http.shutdown_timeout,
            metrics: HttpMetrics::new(&metrics)?,
            draining: draining.clone(),
        });
        let timeouts = Timeouts {
            request: config.http.request_timeout,
            // A request with an API key may wait for both twice: first about the key. One with a password waits for Redis
            // once more, and for its turn.
            answer: 2 * config.database.timeout
                + 3 * config.limiter.redis.timeout
                + PASSWORD_PATIENCE
                + Duration::from_secs(1),
            keep_alive: config.http.keep_alive,
            shutdown: config.http.shutdown_timeout,
        };
        let public = public_server(
            listener,
            state,
            config.http.workers,
            max_connections(config),
            timeouts,
        )?;

        let (management, management_address) = match config.management.bind {
            Some(address) => {
                let management = Management {
                    links: links.clone(),
                    limiter: limiter.clone(),
                    draining: draining.clone(),
                    metrics,
                    not_ready: false.into(),
                };
                let listener = listen("management.bind", address)?;
                let address = listener.address();
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
            titles,
            keys,
            limiter,
        })
    }
}

fn listen(key: &str, address: ListenAddress) -> anyhow::Result<Listener> {
    Listener::bind(address.0).with_context(|| format!("{key}: cannot listen on {address}"))
}

/// How many clients may be connected: `http.max_connections`, or fewer if the process may not open as many sockets.
fn max_connections(config: &Config) -> usize {
    let own = OWN_DESCRIPTORS + config.database.max_connections as usize + config.http.workers * 8;
    descriptors::connections(config.http.max_connections, own)
}

/// Connects to the database and brings its tables up to date.
///
/// # Errors
/// If it cannot be reached or migrated in time.
pub async fn open_database(config: &DatabaseConfig) -> anyhow::Result<Database> {
    let start_up = StartUp {
        within: config.startup_timeout,
    };
    Ok(match &config.url.kind {
        DatabaseKind::Sqlite(url) => {
            let options = SqliteOptions {
                url: url.clone(),
                max_connections: config.max_connections,
                timeout: config.timeout,
            };
            let sqlite = Sqlite::open(&options, start_up).await;
            let sqlite = sqlite.with_context(|| format!("cannot open {}", config.url))?;
            Database::Sqlite(Arc::new(sqlite))
        }
        DatabaseKind::Postgres(url) => {
            let options = PostgresOptions {
                url: url.clone(),
                max_connections: config.max_connections,
                timeout: config.timeout,
            };
            let postgres = Postgres::connect(&options, start_up).await;
            let postgres = postgres.with_context(|| format!("cannot use {url}"))?;
            Database::Postgres(Arc::new(postgres))
        }
    })
}

fn link_store(database: &Database) -> Arc<dyn LinkStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(SqliteLinks::new(sqlite.clone())),
        Database::Postgres(postgres) => Arc::new(PostgresLinks::new(postgres.clone())),
    }
}

/// The links of the database, as a node uses them. Where case is ignored, makes the index that this needs.
///
/// # Errors
/// If case cannot be ignored.
pub async fn open_link_store(
    config: &Config,
    database: &Database,
) -> anyhow::Result<Arc<dyn LinkStore>> {
    if config.links.ignore_case {
        let store = link_store_ignoring_case(database, config.database.startup_timeout).await;
        return store.context("links.ignore_case");
    }
    if let Database::Postgres(postgres) = database {
        let links = PostgresLinks::new(postgres.clone());
        links.warn_if_index_is_incomplete().await;
    }
    Ok(link_store(database))
}

async fn link_store_ignoring_case(
    database: &Database,
    within: Duration,
) -> Result<Arc<dyn LinkStore>, IgnoreCaseError> {
    Ok(match database {
        Database::Sqlite(sqlite) => {
            Arc::new(SqliteLinks::ignoring_case(sqlite.clone(), within).await?)
        }
        Database::Postgres(postgres) => {
            Arc::new(PostgresLinks::ignoring_case(postgres.clone(), within).await?)
        }
    })
}

fn key_store(database: &Database) -> Arc<dyn KeyStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(SqliteKeys::new(sqlite.clone())),
        Database::Postgres(postgres) => Arc::new(PostgresKeys::new(postgres.clone())),
    }
}

/// Links and keys ask the database through one [`Health`].
fn health(database: Database, store: &Arc<dyn LinkStore>, metrics: &Metrics) -> Health {
    let (checks, name) = (links::checks(store), database.name());
    Health::new(database, checks, metrics.store(name))
}

/// The keys of the database, for a command. Nothing supervises them, so nothing is remembered.
///
/// # Errors
/// If the database cannot be reached or migrated in time.
pub async fn open_keys(config: &DatabaseConfig) -> anyhow::Result<Keys> {
    let metrics = Metrics::new()?;
    let database = open_database(config).await?;
    let store = link_store(&database);
    let health = Arc::new(health(database, &store, &metrics));
    Ok(keys(health, &metrics))
}

fn keys(health: Arc<Health>, metrics: &Metrics) -> Keys {
    let database = health.database();
    let (store, metrics) = (key_store(database), metrics.store(database.name()));
    Keys::new(store, health, metrics)
}

fn links(
    config: &Config,
    store: Arc<dyn LinkStore>,
    health: Arc<Health>,
    metrics: &Metrics,
) -> anyhow::Result<Links> {
    let name = health.database().name();
    let code_length = config.links.code_length.try_into()?;
    let passwords = PasswordMetrics::new(metrics)?;
    let links = Links::new(store, health, metrics.store(name), passwords, code_length)
        .restorable_for(config.links.restore_for);
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

fn titles(config: &Config, metrics: &Metrics) -> anyhow::Result<Titles> {
    let fetcher = Fetcher::new(Network::public(), trusted_certificates());
    let public_url = config.http.public_url.as_ref();
    let own_host = public_url.and_then(|public_url| public_url.url().host_str());
    let fetcher = fetcher.context("links.fetch_titles")?.except(own_host);
    Ok(Titles::new(fetcher, TitleMetrics::new(metrics)?))
}

async fn open_limiter(config: &Config, metrics: &Metrics) -> anyhow::Result<Limiter> {
    let memory = config.limiter.local_memory_mib << 20;
    let Some(redis) = &config.redis.url else {
        return Ok(Limiter::embedded(MemoryStore::new(memory)));
    };
    let options = RedisOptions {
        endpoint: redis.endpoint.clone(),
        prefix: config.redis.prefix.clone(),
        timeout: config.limiter.redis.timeout,
    };
    let store = RedisStore::new(&options).context("redis.url")?;
    let (interval, metrics) = (config.limiter.write_back, metrics.store("redis"));
    let mut redis = JournaledRedis::new(store, memory, interval, metrics);
    if config.limiter.shield {
        redis = redis.with_shield();
    }
    let (on_failure, nodes) = (config.limiter.on_redis_failure, config.limiter.nodes);
    let limiter = Limiter::with_redis(redis, on_failure, nodes).await;
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
        config.per_key,
        config.link_password,
        rules,
        config.exempt.clone(),
        config.ipv6_prefix,
    ))
}
