//! What can be measured, and which share is wanted.

use clap::ValueEnum;

use crate::row::{Better, Row, Wanted};

/// What can be measured, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// A web server that knows one redirect and does nothing else
    Bare,
    /// Redirects of an embedded node: SQLite, limit in process
    Embedded,
    /// Redirects of a node with Redis and Postgres, every request from another client
    Redis,
    /// The same URL shortened again and again, every time by another client
    PostSame,
    /// One client that goes on although it is refused
    Flood,
    /// Random codes of no link, every request from another client
    Scan,
    /// New URLs shortened, every time by another client
    PostUnique,
    /// Redirects through nginx and two nodes, every request from another client
    Nginx,
    /// How long redirects take at half of the rate of `redis`
    Latency,
    /// Resident memory of nodes
    Rss,
    /// Bytes per client in Redis
    RedisMemory,
    /// From the start of the program to its first answer
    FirstAnswer,
    /// Links made, listed and searched by API, in a table of a million
    Find,
    /// The parts that do no I/O (criterion)
    Micro,
}

/// What a number of requests per second is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The bare web server, with the same requests.
    Bare,
    /// pgbench, with the statement of a node.
    Pgbench,
    /// [`Scenario::Redis`] in the same round.
    Redis,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Another scenario that must be measured before this one.
    pub(crate) fn needs(self) -> Option<Self> {
        match self {
            Self::PostSame | Self::Latency => Some(Self::Redis),
            _ => None,
        }
    }

    /// Whether it needs Redis and Postgres.
    pub(crate) fn is_distributed(self) -> bool {
        match self {
            Self::Redis | Self::PostSame | Self::Flood | Self::Scan => true,
            Self::PostUnique | Self::Nginx | Self::Latency | Self::Rss | Self::Find => true,
            Self::Bare | Self::Embedded | Self::RedisMemory | Self::FirstAnswer => false,
            Self::Micro => false,
        }
    }

    /// What its requests per second are a share of, if any.
    pub(crate) fn reference(self) -> Option<Reference> {
        match self {
            Self::Embedded | Self::Redis | Self::Flood | Self::Scan | Self::Nginx => {
                Some(Reference::Bare)
            }
            Self::PostUnique => Some(Reference::Pgbench),
            Self::PostSame => Some(Reference::Redis),
            _ => None,
        }
    }

    /// The row for its requests per second, without numbers yet.
    pub(crate) fn row(self) -> Row {
        let (title, wanted) = match self {
            Self::Bare => ("bare actix-web, a fixed 302", None),
            Self::Embedded => ("redirect, embedded: SQLite, limit in process", Some(0.80)),
            Self::Redis => ("redirect: limit in Redis, links in Postgres", Some(0.55)),
            Self::PostSame => ("POST /shorten, always the same URL", Some(0.25)),
            Self::Flood => ("one refused client that floods", Some(0.75)),
            Self::Scan => ("random unknown codes, each looked up", Some(0.25)),
            Self::PostUnique => ("POST /shorten, new URLs, durable", Some(0.5)),
            Self::Nginx => ("redirect through nginx, two nodes", None),
            _ => ("", None),
        };
        let mut row = Row::new(&self.name(), title, "req/s", Better::Higher);
        row.wanted = wanted.map(Wanted::ShareAtLeast);
        row.share_of = self
            .reference()
            .map(|reference| reference.title().to_owned());
        row
    }
}

impl Reference {
    fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Pgbench => "pgbench",
            Self::Redis => "redis",
        }
    }
}
