//! Where Redis is: one server, a Sentinel group or a cluster, in one URL.

use std::{fmt, str::FromStr};

use deadpool_redis::redis::{
    ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, io::tcp::TcpSettings,
};

/// One of:
/// - `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `redis+unix:///path`
/// - `redis+sentinel://[user:password@]host:port,host:port/master-name[/db]`
/// - `redis+cluster://[user:password@]host:port,host:port`
///
/// `Debug` and the errors never show the password.
#[derive(Clone)]
pub struct RedisEndpoint(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Server(Box<ConnectionInfo>),
    Sentinel(SentinelGroup),
    Cluster(Vec<ConnectionInfo>),
}

/// Servers of which the Sentinels say which one is the master.
#[derive(Clone)]
pub(super) struct SentinelGroup {
    pub(super) sentinels: Vec<ConnectionInfo>,
    /// The name of the master.
    pub(super) master: String,
    /// The user, the password and the database, on the master.
    pub(super) settings: RedisConnectionInfo,
}

/// The text is no Redis URL. The error does not repeat it, because it may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a Redis URL: {0}")]
pub struct InvalidRedisUrl(&'static str);

impl FromStr for RedisEndpoint {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = if let Some(rest) = text.strip_prefix("redis+sentinel://") {
            sentinel(rest)?
        } else if let Some(rest) = text.strip_prefix("redis+cluster://") {
            let (credentials, hosts) = split_credentials(rest);
            Kind::Cluster(servers(credentials, hosts.trim_end_matches('/'))?)
        } else if has_several_hosts(text) {
            return Err(InvalidRedisUrl(
                "redis:// has one host; several are redis+sentinel:// or redis+cluster://",
            ));
        } else {
            Kind::Server(Box::new(server(text)?))
        };
        Ok(Self(kind))
    }
}

/// Whether the URL names several hosts. The parser would take `a,b` for the name of one host; no host has this name,
/// and the node would take that for an outage.
fn has_several_hosts(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, hosts) = split_credentials(authority);
    hosts.contains(',')
}

fn sentinel(rest: &str) -> Result<Kind, InvalidRedisUrl> {
    let (credentials, rest) = split_credentials(rest);
    let mut parts = rest.split('/');
    let hosts = parts.next().unwrap_or_default();
    let master = parts
        .next()
        .filter(|name| !name.is_empty())
        .ok_or(InvalidRedisUrl(
            "the master's name is missing: redis+sentinel://host:26379/mymaster",
        ))?;
    let db = match parts.next() {
        None | Some("") => 0,
        Some(db) => db
            .parse()
            .map_err(|_| InvalidRedisUrl("the database is a number"))?,
    };
    // The credentials are the master's: Sentinels usually ask for none.
    let any_host = server(&format!(
        "redis://{}localhost",
        credentials.unwrap_or_default()
    ))?;
    Ok(Kind::Sentinel(SentinelGroup {
        sentinels: servers(None, hosts)?,
        master: master.to_owned(),
        settings: any_host.redis_settings().clone().set_db(db),
    }))
}

/// `user:password@` with the `@`, and the rest.
fn split_credentials(text: &str) -> (Option<&str>, &str) {
    match text.rfind('@') {
        Some(at) => (Some(&text[..=at]), &text[at + 1..]),
        None => (None, text),
    }
}

fn servers(credentials: Option<&str>, hosts: &str) -> Result<Vec<ConnectionInfo>, InvalidRedisUrl> {
    hosts
        .split(',')
        .map(|host| {
            if host.is_empty() {
                return Err(InvalidRedisUrl("a host is missing"));
            }
            server(&format!(
                "redis://{}{host}",
                credentials.unwrap_or_default()
            ))
        })
        .collect()
}

fn server(url: &str) -> Result<ConnectionInfo, InvalidRedisUrl> {
    let info = url.into_connection_info().map_err(|_| {
        InvalidRedisUrl("expected redis://host:6379, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://")
    })?;
    // A user need not be allowed to say which library it uses.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    Ok(info
        .set_redis_settings(settings)
        .set_tcp_settings(tcp_settings()))
}

/// A request is one small write. With Nagle's algorithm it would wait until the one before it is acknowledged.
pub(super) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

impl fmt::Debug for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The addresses, without credentials.
impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = |servers: &[ConnectionInfo]| {
            let hosts: Vec<_> = servers.iter().map(|s| s.addr().to_string()).collect();
            hosts.join(",")
        };
        match &self.0 {
            Kind::Server(server) => write!(f, "redis at {}", server.addr()),
            Kind::Sentinel(group) => {
                let (master, sentinels) = (&group.master, hosts(&group.sentinels));
                write!(f, "redis master {master} by sentinels {sentinels}")
            }
            Kind::Cluster(servers) => write!(f, "redis cluster at {}", hosts(servers)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_understood_and_shown_without_its_password() {
        for (url, shown) in [
            ("redis://localhost", "redis at localhost:6379"),
            (
                "redis://me:secret@10.0.0.130:7000/2",
                "redis at 10.0.0.130:7000",
            ),
            (
                "rediss://:secret@example.com:6380",
                "redis at example.com:6380",
            ),
            ("redis+unix:///run/redis.sock", "redis at /run/redis.sock"),
            (
                "redis+sentinel://:secret@a:26379,b:26379/mymaster/1",
                "redis master mymaster by sentinels a:26379,b:26379",
            ),
            (
                "redis+cluster://me:secret@a:7000,b:7001/",
                "redis cluster at a:7000,b:7001",
            ),
        ] {
            let endpoint: RedisEndpoint = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(endpoint.to_string(), shown);
            assert!(!format!("{endpoint:?}").contains("secret"));
        }
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for url in [
            "",
            "localhost:6379",
            "http://:secret@localhost",
            "redis+sentinel://:secret@a:26379",
            "redis+sentinel://a:26379/mymaster/secret",
            "redis+cluster://",
            "redis+cluster://:secret@a:7000,,b:7000",
            "redis://:secret@host:port",
            "redis://:secret@a,b",
            "redis://:secret@a:6379,b:6379/1",
        ] {
            let error = url.parse::<RedisEndpoint>().expect_err(url);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
