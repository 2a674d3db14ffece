//! Links in Postgres: shared by all nodes.

#[path = "../db/postgres/listener.rs"]
mod changes;
#[path = "../db/postgres/pool.rs"]
mod connections;
mod rehearsal;

use std::{net::IpAddr, str::FromStr, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use self::{
    changes::Changes,
    connections::{Connections, Repeat},
};
use super::{
    Change, Created, Link, LinkStore, LookUp, NewLink, ShortCode, StartUp, StoreError, StoreUsage,
    Terms, Write,
};
use crate::telemetry::chain;

/// Between attempts to reach a database that is not there yet.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The returned code is that of the shared link to this target, be it old or new. One round trip, and
/// a repeated URL writes nothing. Both look-ups use `urls_url_sha256_key`. No row comes back when another
/// session commits the same target between our snapshot and our insert: then the next attempt sees it.
const INSERT_DEDUPLICATED: &str = "
    WITH known AS (SELECT short_code FROM urls WHERE url_sha256 = $3),
    made AS (
        INSERT INTO urls (short_code, original_url, url_sha256)
        SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM known)
        ON CONFLICT (url_sha256) DO NOTHING
        RETURNING short_code
    )
    SELECT short_code FROM known UNION ALL SELECT short_code FROM made";

/// Unique by `urls_short_code_key`.
const INSERT_OWN: &str = "
    INSERT INTO urls (short_code, original_url, expires_at, max_visits)
    VALUES ($1, $2, now() + make_interval(secs => $3), $4)
    ON CONFLICT (short_code) DO NOTHING";

/// By `urls_short_code_key`, once for each code: the LIMIT keeps the planner from joining the whole table to a list whose
/// length it has to guess.
const LOOK_UP: &str = "
    SELECT original_url, limited, gone, expires_in
    FROM unnest($1) WITH ORDINALITY AS asked (code, number)
    LEFT JOIN LATERAL (
        SELECT original_url,
               max_visits IS NOT NULL AS limited,
               coalesce(expires_at <= now(), false) OR coalesce(visits >= max_visits, false) AS gone,
               CASE WHEN isfinite(expires_at)
                    THEN extract(epoch FROM expires_at - now())::float8 END AS expires_in
        FROM urls WHERE short_code = asked.code LIMIT 1
    ) AS found ON true
    ORDER BY number";

/// Uses up one visit, unless others have used up the last in the meantime. By `urls_short_code_key`.
const COUNT_VISIT: &str = "
    UPDATE urls SET visits = visits + 1
    WHERE short_code = $1 AND visits < max_visits";

/// How a [`PostgresStore`] reaches its database.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`.
    pub url: PostgresUrl,
    /// The most connections of this node.
    pub max_connections: u32,
    /// How long a request waits, for a connection and an answer together.
    pub timeout: Duration,
}

/// A parsed `postgres://` URL; `Debug` does not show the password.
#[derive(Clone)]
pub struct PostgresUrl(PgConnectOptions);

impl FromStr for PostgresUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "not a Postgres URL: expected postgres://user:password@host:5432/database";
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or(error)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let hosts = authority.rsplit('@').next().unwrap_or_default();
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let parameters = || url::form_urlencoded::parse(query.as_bytes());
        let several = |name: &str, value: &str| name.starts_with("host") && value.contains(',');
        // To the parser `a,b` is a host that nobody knows.
        if hosts.contains(',') || parameters().any(|(name, value)| several(&name, &value)) {
            return Err(
                "it names several hosts, and Shunt takes one: that of a proxy or an address that follows \
                 the primary, such as those of PgBouncer, HAProxy or keepalived",
            );
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| {
            let wrong = |names: &[&str], fits: fn(&str) -> bool| {
                parameters().any(|(name, value)| names.contains(&&*name) && !fits(&value))
            };
            if wrong(&["sslmode", "ssl-mode"], |mode| {
                PgSslMode::from_str(mode).is_ok()
            }) {
                "sslmode is one of disable, allow, prefer, require, verify-ca and verify-full"
            } else if wrong(&["hostaddr"], |address| address.parse::<IpAddr>().is_ok()) {
                "hostaddr is an IP address"
            } else if wrong(&["port"], |port| port.parse::<u16>().is_ok()) {
                "port is a number"
            } else {
                error
            }
        })?;
        Ok(Self(options.application_name("shunt")))
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Host, port and database, without credentials.
impl std::fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(options) = self;
        let database = options.get_database().unwrap_or(options.get_username());
        write!(
            f,
            "postgres at {}:{}/{database}",
            options.get_host(),
            options.get_port()
        )
    }
}

/// Links in Postgres.
pub struct PostgresStore {
    connections: Connections,
    changes: Changes,
}

impl PostgresStore {
    /// Connects and brings the tables up to date; several nodes may do so at once. A database that cannot
    /// be reached is tried again until `start_up.within` is over.
    ///
    /// # Errors
    /// [`StoreError`] with the last cause.
    pub async fn connect(options: &PostgresOptions, start_up: StartUp) -> Result<Self, StoreError> {
        let connect = options.url.0.clone().disable_statement_logging();
        let deadline = Instant::now() + start_up.within;
        while let Err(error) = prepare(&connect, deadline).await {
            let temporary = matches!(error, StoreError::Database(_));
            if !temporary || Instant::now() + RETRY_INTERVAL > deadline {
                return Err(error);
            }
            warn!(
                error = chain(&error),
                database = %options.url,
                "cannot reach the database yet"
            );
            sleep(RETRY_INTERVAL).await;
        }
        Ok(Self {
            changes: Changes::new(connect.clone(), options.timeout),
            connections: Connections::new(connect, options.max_connections, options.timeout),
        })
    }
}

#[async_trait]
impl LinkStore for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn insert(&self, link: &NewLink) -> Result<Created, StoreError> {
        if link.deduplicated {
            self.connections
                .write(Repeat::Idempotent, link, insert_deduplicated)
                .await
        } else {
            self.connections
                .write(Repeat::NotIdempotent, link, insert_own)
                .await
        }
    }

    async fn look_up(&self, codes: &[ShortCode]) -> Result<Vec<LookUp>, StoreError> {
        let codes: Vec<&str> = codes.iter().map(ShortCode::as_str).collect();
        self.connections.read(&codes[..], look_up).await
    }

    async fn count_visit(&self, code: &ShortCode) -> Result<bool, StoreError> {
        self.connections
            .write(Repeat::NotIdempotent, code, count_visit)
            .await
    }

    async fn watch(&self, report: &(dyn Fn(Change) + Send + Sync)) -> StoreError {
        self.changes.watch(report).await
    }

    async fn rehearse(&self, write: &Write) -> Result<(), StoreError> {
        self.connections
            .write(Repeat::Idempotent, write, rehearsal::rehearse)
            .await
    }

    fn is_networked(&self) -> bool {
        true
    }

    fn usage(&self) -> StoreUsage {
        self.connections.usage()
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}

/// A commit that fails, as by a constraint that is deferred, is reported after the row: all of the answer is read.
fn insert_deduplicated<'c>(
    connection: &'c mut PgConnection,
    link: &'c NewLink,
) -> BoxFuture<'c, Result<Created, sqlx::Error>> {
    Box::pin(async move {
        let hash = link.target_hash();
        loop {
            let codes: Result<Vec<String>, _> = sqlx::query_scalar(INSERT_DEDUPLICATED)
                .bind(link.code.as_str())
                .bind(link.target.as_str())
                .bind(hash.as_ref().map(<[u8; 32]>::as_slice))
                .fetch_all(&mut *connection)
                .await;
            match codes.map(|codes| codes.into_iter().next()) {
                Ok(Some(code)) => return Ok(Created::Stored(ShortCode::from_store(code))),
                Ok(None) => {}
                Err(error) if is_code_taken(&error) => return Ok(Created::CodeTaken),
                Err(error) => return Err(error),
            }
        }
    })
}

fn insert_own<'c>(
    connection: &'c mut PgConnection,
    link: &'c NewLink,
) -> BoxFuture<'c, Result<Created, sqlx::Error>> {
    Box::pin(async move {
        Ok(if insert_under(connection, link, &link.code).await? {
            Created::Stored(link.code.clone())
        } else {
            Created::CodeTaken
        })
    })
}

/// Whether the code was free.
async fn insert_under(
    connection: &mut PgConnection,
    link: &NewLink,
    code: &ShortCode,
) -> Result<bool, sqlx::Error> {
    let Terms {
        expires_in,
        max_visits,
    } = link.terms;
    let inserted = sqlx::query(INSERT_OWN)
        .bind(code.as_str())
        .bind(link.target.as_str())
        .bind(expires_in.map(|duration| duration.as_secs_f64()))
        .bind(max_visits.map(|visits| i32::try_from(visits).unwrap_or(i32::MAX)))
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// A row of [`LOOK_UP`]; of a code that is unknown, all is null.
#[derive(sqlx::FromRow)]
struct Row {
    original_url: Option<String>,
    limited: Option<bool>,
    gone: Option<bool>,
    expires_in: Option<f64>,
}

impl From<Row> for LookUp {
    fn from(row: Row) -> Self {
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        match row.original_url {
            None => Self::Unknown,
            Some(_) if row.gone == Some(true) => Self::Gone,
            Some(url) => Self::Found(Link {
                url,
                limited: row.limited == Some(true),
                expires_in: row.expires_in.map(seconds),
            }),
        }
    }
}

fn look_up<'c>(
    connection: &'c mut PgConnection,
    codes: &'c [&str],
) -> BoxFuture<'c, Result<Vec<LookUp>, sqlx::Error>> {
    Box::pin(async move {
        let rows: Vec<Row> = sqlx::query_as(LOOK_UP)
            .bind(codes)
            .fetch_all(connection)
            .await?;
        Ok(rows.into_iter().map(LookUp::from).collect())
    })
}

/// Whether there was a visit left.
fn count_visit<'c>(
    connection: &'c mut PgConnection,
    code: &'c ShortCode,
) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        let counted = sqlx::query(COUNT_VISIT)
            .bind(code.as_str())
            .execute(connection)
            .await?;
        Ok(counted.rows_affected() == 1)
    })
}

/// Connects, not through the pool, whose errors hide their cause, and migrates.
async fn prepare(options: &PgConnectOptions, deadline: Instant) -> Result<(), StoreError> {
    let mut connection = timeout_at(deadline, options.connect())
        .await
        .map_err(|_| StoreError::Database("no answer to the attempt to connect".into()))?
        .map_err(database_error)?;
    let mut migrator = sqlx::migrate!("migrations/postgres");
    // The release before this one must still start after this one has migrated.
    migrator.set_ignore_missing(true);
    // The lock that serialises migrations is waited for without a bound of its own.
    timeout_at(deadline, migrator.run(&mut connection))
        .await
        .map_err(|_| {
            StoreError::Migration("no end in time; another node may hold the lock".into())
        })?
        .map_err(|error| StoreError::Migration(error.into()))?;
    // The server notices that the connection is gone in any case.
    let _ = timeout_at(deadline, connection.close()).await;
    Ok(())
}

fn database_error(error: sqlx::Error) -> StoreError {
    StoreError::Database(error.into())
}

fn is_code_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.constraint() == Some("urls_short_code_key"))
}
