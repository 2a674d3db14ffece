//! A deterministic simulation of nodes and Redis under faults. No I/O, no threads, no real time: a seed decides all.
//!
//! What is pure is used as it is: `journal::known`, `outage`, `breaker`, `nodes`, `redis/attendance`, `redis/roster`,
//! `redis/doubt` and `Decision`. What waits for answers is an automaton here:
//!
//! | here | mirrors |
//! |---|---|
//! | `node` | `RedisLimiter::{decide, decide_without, failed}`, `JournaledRedis::{record_at, record_with_care}`, `Journal::arrive`, `Pending`, `RedisStore::decide` in `redis/request.rs`, `Patience` |
//! | `link` | `Connections::{common, of_this_thread}`, `Link`, `RedisStore::in_common` |
//! | `background` | `RedisLimiter::{watch, beat, write_back, look_for_losses}`, `rejoin.rs` |
//! | `server` | Redis: the commands of `redis/record.rs` and `redis/nodes.rs` |
//! | `world` | time, messages and their delays, faults, the load balancer |
//! | `schedule` | what happens in one run, from a seed; how a run that fails is made smaller |
//! | `verdict` | what must hold, by the true times |
//!
//! **What holds**: no client is over-admitted, with one exception. If a node is cut off and others still reach Redis,
//! that node admits up to ⌊L/N⌋ by itself: it has not seen what Redis admits meanwhile, and no algorithm can know that.
//! All this holds if requests go round the nodes, and if each is answered before the next is sent while nothing is wrong.
//! Two faults leave a gap, of which the [tests] state the size: a Redis that is flushed while its connections stay, until
//! the next beat; and a Redis that stands still for longer than a timeout, for requests that are sent just before it goes
//! on.
//!
//! If requests of one client overlap, they may reach Redis in another order. Then the nodes' knowledge does not lag by
//! 0 to N − 1 requests, which Hermite's identity needs, and a share may be too large by one.
//!
//! A client that always gets the same node is admitted ⌊L/N⌋ at least during an outage, and never more than L.

mod background;
mod dice;
mod link;
mod network;
mod node;
mod rejoin;
mod request;
mod schedule;
mod server;
mod tests;
mod verdict;
mod world;

use self::{
    schedule::{Fault, Schedule, Spread},
    verdict::Violation,
    world::World,
};

/// What a node does against faults. A test takes one out, and must find a violation.
#[derive(Clone, Copy, Debug)]
struct Mends {
    /// It decides alone by what it has seen before.
    remembers: bool,
    /// The nodes divide what is left.
    splits: bool,
    /// It asks again after a late answer.
    doubts: bool,
    /// It gives Redis what that may not have.
    restores: bool,
    /// It does so once more before each beat that others wait for.
    restores_again: bool,
    /// A request brings what Redis has lost of its client.
    restores_on_request: bool,
    /// It comes back when all others have beaten.
    waits_for_others: bool,
    /// It comes back when all others must have noticed a loss.
    waits_for_notice: bool,
    /// While it comes back, it admits what Redis and itself admit.
    cares: bool,
    /// So also while others have yet to notice a loss.
    cares_early: bool,
    /// A request that is sent again has the same member.
    same_member: bool,
    /// A request waits a little more if this node stood still.
    patient: bool,
    /// It looks whether Redis has lost writes.
    notices: bool,
}

impl Mends {
    const ALL: Self = Self {
        remembers: true,
        splits: true,
        doubts: true,
        restores: true,
        restores_again: true,
        restores_on_request: true,
        waits_for_others: true,
        waits_for_notice: true,
        cares: true,
        cares_early: true,
        same_member: true,
        patient: true,
        notices: true,
    };
}

/// What is wrong with the run of `schedule`, if anything.
fn judge(schedule: &Schedule, mends: Mends, bound: usize) -> Option<Violation> {
    World::new(schedule, mends, false).judge(bound)
}

/// A smallest schedule that fails like `schedule`, told line by line.
fn story(schedule: &Schedule, mends: Mends, bound: impl Fn(&Schedule) -> usize) -> String {
    let fails = |schedule: &Schedule| judge(schedule, mends, bound(schedule));
    let kind = fails(schedule).as_ref().map(std::mem::discriminant);
    let small = schedule.shrunk(|fewer| fails(fewer).as_ref().map(std::mem::discriminant) == kind);
    let mut world = World::new(&small, mends, true);
    let violation = world.judge(bound(&small));
    let mut lines = world.story.take().unwrap_or_default();
    lines.extend(violation.map(|violation| violation.to_string()));
    format!(
        "{} nodes, {}, shield: {}, log times wrong by {:?} µs\n{}",
        small.skews.len(),
        small.quota,
        small.is_shielded,
        small.skews,
        lines.join("\n")
    )
}
