//! Where Redis is: one server, a Sentinel group or a cluster, in one URL.

use std::{fmt, str::FromStr};

use deadpool_redis::redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, io::tcp::TcpSettings,
};

/// One of:
/// - `redis://[user:password@]host[:port][/db]`, `redis+unix:///path`
/// - `redis+sentinel://[user:password@]host:port,host:port/master-name[/db]`
/// - `redis+cluster://[user:password@]host:port,host:port`
///
/// With `rediss` instead of `redis`, all connections are encrypted: those to the Sentinels, and those to servers that
/// the Sentinels or the cluster name.
///
/// `Debug` and the errors never show the password.
#[derive(Clone)]
pub struct RedisEndpoint(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Server(Box<ConnectionInfo>),
    Sentinel(SentinelGroup),
    Cluster(Seeds),
}

/// Servers of which the Sentinels say which one is the master.
#[derive(Clone)]
pub(super) struct SentinelGroup {
    pub(super) sentinels: Vec<ConnectionInfo>,
    /// The name of the master.
    pub(super) master: String,
    pub(super) access: Access,
}

/// A few servers of a cluster, any of which knows the others.
#[derive(Clone)]
pub(super) struct Seeds {
    /// Not empty.
    pub(super) seeds: Vec<ConnectionInfo>,
    pub(super) access: Access,
}

/// How to connect to a server whose address is found out later: encrypted or not, and with which user, password and
/// database.
#[derive(Clone)]
pub(super) struct Access(ConnectionInfo);

impl Seeds {
    /// How to connect to one of them.
    pub(super) fn first(&self) -> ConnectionInfo {
        let any = || self.access.0.clone();
        self.seeds.first().cloned().unwrap_or_else(any)
    }

    /// Host and port of each.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (String, u16)> {
        self.seeds.iter().filter_map(|seed| match seed.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.clone(), *port))
            }
            _ => None,
        })
    }
}

impl Access {
    pub(super) fn at(&self, host: &str, port: u16) -> ConnectionInfo {
        let host = host.to_owned();
        let address = match self.0.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.0.clone().set_addr(address)
    }

    pub(super) fn settings(&self) -> &RedisConnectionInfo {
        self.0.redis_settings()
    }
}

/// The text is no Redis URL. The error does not repeat it, because it may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a Redis URL: {0}")]
pub struct InvalidRedisUrl(&'static str);

impl FromStr for RedisEndpoint {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let kind = match scheme {
            "redis+sentinel" => sentinel("redis", rest)?,
            "rediss+sentinel" => sentinel("rediss", rest)?,
            "redis+cluster" => cluster("redis", rest)?,
            "rediss+cluster" => cluster("rediss", rest)?,
            _ if has_several_hosts(text) => {
                return Err(InvalidRedisUrl(
                    "redis:// has one host; several are redis+sentinel:// or redis+cluster://",
                ));
            }
            _ => Kind::Server(Box::new(server(text)?)),
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

fn sentinel(scheme: &str, rest: &str) -> Result<Kind, InvalidRedisUrl> {
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
    let any_host = server(&format!("{scheme}://{credentials}localhost"))?;
    let settings = any_host.redis_settings().clone().set_db(db);
    Ok(Kind::Sentinel(SentinelGroup {
        sentinels: servers(scheme, "", hosts)?,
        master: master.to_owned(),
        access: Access(any_host.set_redis_settings(settings)),
    }))
}

fn cluster(scheme: &str, rest: &str) -> Result<Kind, InvalidRedisUrl> {
    let (credentials, hosts) = split_credentials(rest);
    Ok(Kind::Cluster(Seeds {
        seeds: servers(scheme, credentials, hosts.trim_end_matches('/'))?,
        access: Access(server(&format!("{scheme}://{credentials}localhost"))?),
    }))
}

/// `user:password@` with the `@`, or nothing, and the rest.
fn split_credentials(text: &str) -> (&str, &str) {
    text.split_at(text.rfind('@').map_or(0, |at| at + 1))
}

fn servers(
    scheme: &str,
    credentials: &str,
    hosts: &str,
) -> Result<Vec<ConnectionInfo>, InvalidRedisUrl> {
    hosts
        .split(',')
        .map(|host| {
            if host.is_empty() {
                return Err(InvalidRedisUrl("a host is missing"));
            }
            server(&format!("{scheme}://{credentials}{host}"))
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
            Kind::Cluster(cluster) => write!(f, "redis cluster at {}", hosts(&cluster.seeds)),
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
            (
                "rediss+sentinel://:secret@a:26379,b:26379/mymaster/1",
                "redis master mymaster by sentinels a:26379,b:26379",
            ),
            (
                "rediss+cluster://me:secret@a:7000,b:7001",
                "redis cluster at a:7000,b:7001",
            ),
        ] {
            let endpoint: RedisEndpoint = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(endpoint.to_string(), shown);
            assert!(!format!("{endpoint:?}").contains("secret"));
        }
    }

    /// The servers that a URL names itself, and one whose address is found out later.
    fn connections(url: &str) -> Vec<ConnectionInfo> {
        let endpoint: RedisEndpoint = url.parse().expect(url);
        let (mut named, found) = match endpoint.0 {
            Kind::Server(server) => return vec![*server],
            Kind::Sentinel(group) => (group.sentinels, group.access.at("::1", 7)),
            Kind::Cluster(cluster) => (cluster.seeds, cluster.access.at("::1", 7)),
        };
        named.push(found);
        named
    }

    #[test]
    fn rediss_encrypts_every_connection() {
        for (url, encrypted) in [
            ("redis://a", false),
            ("rediss://a", true),
            ("redis+sentinel://a:1,b:2/m", false),
            ("rediss+sentinel://a:1,b:2/m", true),
            ("redis+cluster://a:1,b:2", false),
            ("rediss+cluster://a:1,b:2", true),
        ] {
            for connection in connections(url) {
                // Certificates are always checked.
                let is_safe = matches!(
                    connection.addr(),
                    ConnectionAddr::TcpTls {
                        insecure: false,
                        tls_params: None,
                        ..
                    }
                );
                assert_eq!(is_safe, encrypted, "{url}");
            }
        }
    }

    #[test]
    fn servers_that_are_found_out_later_get_the_user_and_the_database() {
        for (url, db) in [
            ("redis+sentinel://me:secret@a:1/m/3", 3),
            ("rediss+sentinel://me:secret@a:1/m/3", 3),
            ("redis+cluster://me:secret@a:1", 0),
        ] {
            let found = connections(url).pop().expect("one");
            let settings = found.redis_settings();
            assert_eq!(settings.username(), Some("me"), "{url}");
            assert_eq!(settings.password(), Some("secret"), "{url}");
            assert_eq!(settings.db(), db, "{url}");
            assert_eq!(found.addr().to_string(), "::1:7", "{url}");
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
