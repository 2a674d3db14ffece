//! How far each topic grows.

use std::fmt;

use anyhow::ensure;

use crate::settings::number;

/// With more links `benches/wrk/existing-codes.lua` could not compute codes: Lua's numbers are exact up to 2^53.
const MOST_LINKS: u32 = 10_000_000;

/// How far each topic grows.
pub(super) struct Sizes {
    pub(super) links: u32,
    pub(super) clients: u32,
    pub(super) nodes: u32,
    pub(super) limit: u32,
}

impl Sizes {
    /// # Errors
    /// If a variable is no number from 1, or too large.
    pub(super) fn from_environment() -> anyhow::Result<Self> {
        let sizes = Self {
            links: number("BENCH_SCALE_MAX_LINKS", MOST_LINKS)?,
            clients: number("BENCH_SCALE_MAX_CLIENTS", 1_000_000)?,
            nodes: number("BENCH_SCALE_MAX_NODES", 4)?,
            limit: number("BENCH_SCALE_MAX_LIMIT", 10_000)?,
        };
        ensure!(
            sizes.links <= MOST_LINKS,
            "BENCH_SCALE_MAX_LINKS: at most {MOST_LINKS}"
        );
        Ok(sizes)
    }
}

/// The variables of the environment.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            links,
            clients,
            nodes,
            limit,
        } = self;
        write!(
            f,
            "BENCH_SCALE_MAX_LINKS={links} BENCH_SCALE_MAX_CLIENTS={clients} \
             BENCH_SCALE_MAX_NODES={nodes} BENCH_SCALE_MAX_LIMIT={limit}"
        )
    }
}

/// `first`, ten times as much, and so on, up to `last`.
pub(super) fn decades(first: u32, last: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(first), |size| size.checked_mul(10))
        .take_while(move |&size| size <= last)
}
