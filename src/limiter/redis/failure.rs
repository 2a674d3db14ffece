//! What an error of Redis means, and what follows from it.

use deadpool_redis::redis::{ErrorKind, RedisError, make_extension_error};

use super::{
    endpoint::{Kind, RedisEndpoint},
    key::KeyPrefix,
};
use crate::limiter::{Misconfiguration, WindowStoreError};

/// The commands that requests, the clock, the beats, new connections and the probe need, as an ACL grants them. A node works
/// without `INFO`; it then notices only by its keys that Redis was restarted.
const COMMANDS: &str = "+time +info +get +set +multi +exec +zadd +zremrangebyscore +zremrangebyrank +zcard +zrange +zscore +expire +persist +hgetall +hset +hdel";

/// Sorts errors.
///
/// | Redis answers | that concerns | and so |
/// |---|---|---|
/// | `WRONGTYPE` | the key of one client ([`WindowStoreError::Key`]) | the node counts this client itself; Redis counts all others |
/// | `NOPERM`, `NOAUTH`, `WRONGPASS`, or it does not let the user in | the user ([`Misconfiguration::Permission`]) | as if Redis were away; one log line says what to grant |
/// | `MOVED`, `ASK`, `CROSSSLOT` to a `redis://` URL | the URL ([`Misconfiguration::ClusterMember`]) | at the start, the program ends; later, as if Redis were away; one log line says which URL to use |
/// | `MOVED`, `ASK`, `TRYAGAIN` to a `redis+cluster://` URL | a slot that moves ([`Redirect`](super::slots::Redirect)) | the request is sent to the server that the answer names; this table is only for a server that says nothing else until the timeout |
/// | `OOM`, `READONLY`, `LOADING`, `MASTERDOWN`, `MISCONF`, `NOREPLICAS`, `BUSY`, `CLUSTERDOWN`, anything else | the state of the server ([`WindowStoreError::Failed`]) | Redis is away |
/// | what is no answer, or it ends the connection ([`WindowStoreError::Lost`]) | the connection | a new connection takes its place, and the same is sent again |
/// | nothing in time ([`WindowStoreError::Timeout`]), or it takes no new connection ([`WindowStoreError::Connect`]) | perhaps the server: see [`outage`](crate::limiter::outage) | |
///
/// `EXECABORT` says only that Redis did not accept one of the commands before it. What counts is its answer to that
/// command.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    is_cluster: bool,
    grant: String,
}

impl Failures {
    pub(super) fn new(endpoint: &RedisEndpoint, prefix: &KeyPrefix) -> Self {
        Self {
            is_cluster: matches!(endpoint.0, Kind::Cluster(_)),
            grant: grant(endpoint, prefix),
        }
    }

    /// What `error` means to a caller that used `key`.
    pub(super) fn sort(&self, error: RedisError, key: &str) -> WindowStoreError {
        if codes(&error).iter().any(|code| code == "WRONGTYPE") {
            return WindowStoreError::Key {
                key: key.to_owned(),
                error: error.into(),
            };
        }
        match self.misconfiguration(&error) {
            Some(what) => WindowStoreError::Misconfigured(what, error.into()),
            None if is_lost(&error) => WindowStoreError::Lost(error.into()),
            None => WindowStoreError::Failed(error.into()),
        }
    }

    /// What `error` means to a caller that wants to connect.
    pub(super) fn sort_connect(&self, error: RedisError) -> WindowStoreError {
        let error = without_credentials(error);
        match self.misconfiguration(&error) {
            Some(what) => WindowStoreError::Misconfigured(what, error.into()),
            None => WindowStoreError::Connect(error.into()),
        }
    }

    fn misconfiguration(&self, error: &RedisError) -> Option<Misconfiguration> {
        let permission = || {
            Some(Misconfiguration::Permission {
                grant: self.grant.clone(),
            })
        };
        if error.kind() == ErrorKind::AuthenticationFailed {
            return permission();
        }
        codes(error).iter().find_map(|code| match code.as_str() {
            "NOPERM" | "NOAUTH" | "WRONGPASS" => permission(),
            "MOVED" | "ASK" | "CROSSSLOT" if !self.is_cluster => {
                Some(Misconfiguration::ClusterMember)
            }
            _ => None,
        })
    }
}

/// Whether the connection is of no use any more.
fn is_lost(error: &RedisError) -> bool {
    let kind = error.kind();
    kind == ErrorKind::Io
        || kind == ErrorKind::ClusterConnectionNotFound
        || error.is_unrecoverable_error()
}

/// A server that does not know `HELLO` repeats what came with it: `… '3' 'AUTH' 'user' 'password'`. Cuts that off.
fn without_credentials(error: RedisError) -> RedisError {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => match detail.split_once("AUTH") {
            Some((before, _)) => make_extension_error(code.to_owned(), Some(format!("{before}…"))),
            None => error,
        },
        _ => error,
    }
}

/// The first words of all errors that the server returned.
fn codes(error: &RedisError) -> Vec<String> {
    let errors = error.clone().into_server_errors();
    let errors = errors.iter().flat_map(|errors| errors.iter());
    errors.map(|(_, error)| error.code().to_owned()).collect()
}

/// The command that grants the user of an endpoint exactly what Shunt needs.
fn grant(endpoint: &RedisEndpoint, prefix: &KeyPrefix) -> String {
    let (user, db, more) = match &endpoint.0 {
        Kind::Server(server) => {
            let settings = server.redis_settings();
            (settings.username(), settings.db(), "")
        }
        Kind::Sentinel(group) => {
            let settings = group.access.settings();
            (settings.username(), settings.db(), " +role")
        }
        Kind::Cluster(seeds) => {
            let user = seeds.access.settings().username();
            (user, 0, " +cluster|slots +asking")
        }
    };
    let user = user.unwrap_or("default");
    let select = if db == 0 { "" } else { " +select" };
    format!("ACL SETUSER {user} on resetkeys ~{prefix}* -@all {COMMANDS}{more}{select}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::chain;

    fn failures(url: &str) -> Failures {
        Failures::new(&url.parse().expect("a URL"), &KeyPrefix::default())
    }

    fn said(code: &str) -> RedisError {
        make_extension_error(code.to_owned(), Some("and why".to_owned()))
    }

    #[test]
    fn each_error_is_sorted_as_the_table_says() {
        let server = failures("redis://localhost");
        let sort = |code: &str| server.sort(said(code), "rate_limit:192.0.2.1");
        assert!(
            matches!(sort("WRONGTYPE"), WindowStoreError::Key { key, .. } if key == "rate_limit:192.0.2.1")
        );
        for code in ["NOPERM", "NOAUTH", "WRONGPASS"] {
            let misconfigured = matches!(
                sort(code),
                WindowStoreError::Misconfigured(Misconfiguration::Permission { .. }, _)
            );
            assert!(misconfigured, "{code}");
        }
        for code in ["MOVED", "ASK", "CROSSSLOT"] {
            let misconfigured = matches!(
                sort(code),
                WindowStoreError::Misconfigured(Misconfiguration::ClusterMember, _)
            );
            assert!(misconfigured, "{code}");
        }
        for code in [
            "OOM",
            "READONLY",
            "LOADING",
            "MASTERDOWN",
            "MISCONF",
            "NOREPLICAS",
            "BUSY",
            "CLUSTERDOWN",
            "TRYAGAIN",
            "EXECABORT",
            "ERR",
        ] {
            assert!(matches!(sort(code), WindowStoreError::Failed(_)), "{code}");
        }
        for kind in [
            std::io::ErrorKind::ConnectionReset,
            std::io::ErrorKind::BrokenPipe,
            std::io::ErrorKind::UnexpectedEof,
            std::io::ErrorKind::Other,
        ] {
            let broken = std::io::Error::from(kind);
            let broken = server.sort(broken.into(), "rate_limit:192.0.2.1");
            assert!(matches!(broken, WindowStoreError::Lost(_)), "{kind}");
        }
        let garbage = deadpool_redis::redis::parse_redis_value(b"!?").expect_err("no answer");
        let garbage = server.sort(garbage, "rate_limit:192.0.2.1");
        assert!(matches!(garbage, WindowStoreError::Lost(_)));
    }

    #[test]
    fn a_server_that_repeats_the_password_is_not_quoted() {
        let hello = "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'me' 'secret' ";
        let error = make_extension_error("ERR".to_owned(), Some(hello.to_owned()));
        let shown = chain(&failures("redis://localhost").sort_connect(error));
        assert!(shown.contains("unknown command 'HELLO'"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        let full = "max number of clients reached";
        let error = make_extension_error("ERR".to_owned(), Some(full.to_owned()));
        let shown = chain(&failures("redis://localhost").sort_connect(error));
        assert!(shown.contains(full), "{shown}");
    }

    #[test]
    fn in_a_cluster_slots_may_move() {
        let cluster = failures("redis+cluster://localhost:7000");
        for code in ["MOVED", "ASK", "CROSSSLOT"] {
            let error = cluster.sort(said(code), "rate_limit:192.0.2.1");
            assert!(matches!(error, WindowStoreError::Failed(_)), "{code}");
        }
    }

    #[test]
    fn what_to_grant_depends_on_the_url() {
        for (url, begins, ends) in [
            (
                "redis://localhost",
                "ACL SETUSER default on resetkeys ~rate_limit:* -@all +time ",
                "+hdel",
            ),
            (
                "redis://shunt:secret@localhost/2",
                "ACL SETUSER shunt on ",
                "+hdel +select",
            ),
            (
                "redis+sentinel://shunt:secret@a:1/m",
                "ACL SETUSER shunt on ",
                "+hdel +role",
            ),
            (
                "redis+cluster://shunt:secret@a:1",
                "ACL SETUSER shunt on ",
                "+cluster|slots +asking",
            ),
        ] {
            let grant = failures(url).grant;
            assert!(
                grant.starts_with(begins) && grant.ends_with(ends),
                "{grant}"
            );
            assert!(!grant.contains("secret"));
        }
    }
}
