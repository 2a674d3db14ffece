//! Which nodes there are: what follows from the hash in which they beat.
//!
//! Each node has a field there, with its *beat*: the log time, and the generation that the node is in. The nodes that
//! have beaten lately are those that divide the quotas when Redis goes away.
//!
//! | a field | so the node |
//! |---|---|
//! | was written in the last 10 seconds | counts |
//! | is older | is silent, and does not count |
//! | is older than a minute | is forgotten: the field is removed |
//! | is gone | has stopped, and does not count |
//! | is gone together with this node's own, because Redis has lost writes | counts, until it has been silent for 10 seconds |
//!
//! While this node could not ask Redis, the others may have been as unable to beat. So after such a gap, and after a loss,
//! their silence begins anew.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    str::{self, FromStr},
    time::Duration,
};

use crate::limiter::LogTime;

/// A node that has not beaten for so long does not count, µs: 40 beats. A node whose machine pauses for seconds stays
/// counted. A node that was killed makes the shares of the others too small for so long, never too large.
pub(super) const SILENCE: i64 = 10_000_000;

/// A field that is older is removed, µs.
const ABANDONED: i64 = 60_000_000;

/// Between two readings of this node, µs, a longer time is a gap: the others may not have reached Redis either.
const GAP: i64 = SILENCE / 2;

/// How many nodes are believed. Whatever the hash holds, the memory for it has this bound.
const MAX_NODES: usize = 1_000;

/// No beat has a later log time, µs (the year 2112), or a higher generation.
const MAX_AT: i64 = 1 << 52;
const MAX_GENERATION: u64 = 1 << 32;

/// How often a node beats.
const INTERVAL: Duration = Duration::from_millis(250);

/// Every beat of every node reads all beats, so the work of Redis would grow with the square of the number of nodes.
/// More than 100 nodes therefore beat more rarely: 1000 nodes every 2.5 s.
const INTERVAL_PER_NODE: Duration = Duration::from_micros(2_500);

/// A node. Each process chooses its own at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::limiter) struct NodeId(u64);

/// How often Redis has lost writes, as far as the nodes have noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::limiter) struct Generation(u64);

/// What a node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limiter) struct Beat {
    /// The node's log time, µs.
    pub(super) at: i64,
    /// The generation that the node is in.
    pub(super) generation: Generation,
}

/// What the hash held at one moment.
#[derive(Debug, Default)]
pub(in crate::limiter) struct Reading {
    /// This node's own beat.
    pub(super) own: Option<Beat>,
    /// The beats of others.
    others: BTreeMap<NodeId, Beat>,
    /// Fields that no node has written.
    garbage: Vec<Vec<u8>>,
}

/// The nodes, as the last reading shows them.
#[derive(Clone, Debug, Default)]
pub(in crate::limiter) struct Roster {
    /// The log time of the reading, µs.
    now: i64,
    /// When the silence of the others began anew, µs.
    watched_since: Option<i64>,
    others: BTreeMap<NodeId, Other>,
    lost_writes: Option<Generation>,
}

/// Another node.
#[derive(Clone, Copy, Debug)]
struct Other {
    beat: Beat,
    /// When it has beaten, µs: the time in its beat, or the time at which this beat was first seen if that is earlier. So
    /// a beat from the future ages like any other.
    heard: i64,
    /// Whether Redis has lost its field, and the node has not beaten since.
    is_lost: bool,
}

impl NodeId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// One that a test chooses.
    #[cfg(test)]
    pub(in crate::limiter) fn numbered(number: u64) -> Self {
        Self(number)
    }
}

/// The name of the field.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = ();

    /// Reads only what [`Display`](fmt::Display) writes: two fields are never the same node.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = u64::from_str_radix(text, 16).map(Self).map_err(|_| ())?;
        (id.to_string() == text).then_some(id).ok_or(())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Generation {
    /// The one after it.
    pub(super) fn next(self) -> Self {
        Self((self.0 + 1).min(MAX_GENERATION))
    }
}

/// `<log time> <generation>`: the value of the field.
impl fmt::Display for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.generation)
    }
}

impl FromStr for Beat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, generation) = text.split_once(' ').ok_or(())?;
        let at = at.parse().map_err(|_| ())?;
        let generation = generation.parse().map_err(|_| ())?;
        if !(0..MAX_AT).contains(&at) || generation > MAX_GENERATION {
            return Err(());
        }
        Ok(Self {
            at,
            generation: Generation(generation),
        })
    }
}

impl Reading {
    /// What `fields` mean to the node `own`. More than [`MAX_NODES`] others are ignored.
    pub(in crate::limiter) fn new(own: NodeId, fields: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        let mut reading = Self::default();
        for (field, value) in fields {
            let beat = parse::<Beat>(&value);
            match (parse::<NodeId>(&field), beat) {
                // A value that this node has not written is as if its own were lost, and is soon written over.
                (Some(id), beat) if id == own => reading.own = beat,
                (Some(id), Some(beat)) if reading.others.len() < MAX_NODES => {
                    reading.others.insert(id, beat);
                }
                (Some(_), Some(_)) => {}
                _ if reading.garbage.len() < MAX_NODES => reading.garbage.push(field),
                _ => {}
            }
        }
        reading
    }

    /// What [`new`](Self::new) reads if the hash holds just these beats.
    #[cfg(test)]
    pub(in crate::limiter) fn of(own: NodeId, mut beats: BTreeMap<NodeId, Beat>) -> Self {
        Self {
            own: beats.remove(&own),
            others: beats,
            garbage: Vec::new(),
        }
    }

    /// The highest generation of any beat.
    pub(super) fn generation(&self) -> Option<Generation> {
        let beats = self.others.values().chain(&self.own);
        beats.map(|beat| beat.generation).max()
    }
}

fn parse<T: FromStr>(bytes: &[u8]) -> Option<T> {
    str::from_utf8(bytes).ok()?.parse().ok()
}

impl Roster {
    /// The nodes after `reading`, which was made at the log time `now`. `before` is what the reading before it showed.
    /// `lost_writes` says whether Redis has lost writes, and the generation that follows.
    pub(super) fn after(
        before: Option<&Self>,
        reading: &Reading,
        now: i64,
        lost_writes: Option<Generation>,
    ) -> Self {
        let nothing = Self::default();
        let known = before.unwrap_or(&nothing);
        let is_gap = before.is_some_and(|before| now.saturating_sub(before.now) > GAP);
        let watched_since = if is_gap || lost_writes.is_some() {
            Some(now)
        } else {
            known.watched_since.map(|since| since.min(now))
        };
        let mut roster = Self {
            now,
            watched_since,
            others: BTreeMap::new(),
            lost_writes,
        };
        for (&id, &beat) in &reading.others {
            let heard = match known.others.get(&id) {
                Some(other) if other.beat == beat => other.heard,
                _ => beat.at,
            };
            let other = Other {
                beat,
                heard: heard.min(now),
                is_lost: false,
            };
            roster.others.insert(id, other);
        }
        for (&id, &other) in &known.others {
            let is_lost = other.is_lost || lost_writes.is_some();
            let other = Other {
                heard: other.heard.min(now),
                is_lost,
                ..other
            };
            if is_lost && roster.counts(&other) {
                roster.others.entry(id).or_insert(other);
            }
        }
        roster
    }

    /// How many nodes there are, this one included: 1 to 1000.
    pub(in crate::limiter) fn nodes(&self) -> NonZeroU32 {
        let others = self.others.values().filter(|other| self.counts(other));
        let nodes = (1 + others.count()).min(MAX_NODES);
        u32::try_from(nodes)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN)
    }

    /// Whether every other node that counts has beaten at `since` or later, in `generation` or a later one. Nodes' log
    /// times differ by the errors of their measurements, so a beat may be earlier than it says by that.
    pub(in crate::limiter) fn have_all_beaten(
        &self,
        since: LogTime,
        generation: Generation,
    ) -> bool {
        let mut others = self.others.values().filter(|other| self.counts(other));
        others.all(|other| other.heard >= since.as_micros() && other.beat.generation >= generation)
    }

    /// The generation to enter if Redis has lost writes since this node entered the one that it is in.
    pub(in crate::limiter) fn lost_writes(&self) -> Option<Generation> {
        self.lost_writes
    }

    /// This node has entered `generation`, so a loss that leads to it is dealt with.
    pub(super) fn has_entered(&mut self, generation: Generation) {
        self.lost_writes = self.lost_writes.filter(|&next| next > generation);
    }

    /// How long after this reading the node should beat again.
    pub(in crate::limiter) fn interval(&self) -> Duration {
        INTERVAL.max(INTERVAL_PER_NODE * self.nodes().get())
    }

    /// The log time of the reading, µs.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// The fields of `reading`, from which this follows, that have to be removed.
    pub(super) fn removes(&self, reading: Reading) -> Vec<Vec<u8>> {
        let mut fields = reading.garbage;
        let abandoned = self
            .others
            .iter()
            .filter(|(_, other)| !other.is_lost && self.silent_for(other) > ABANDONED);
        fields.extend(abandoned.map(|(id, _)| id.to_string().into_bytes()));
        fields
    }

    fn counts(&self, other: &Other) -> bool {
        self.silent_for(other) <= SILENCE
    }

    fn silent_for(&self, other: &Other) -> i64 {
        let since = self.watched_since.unwrap_or(i64::MIN).max(other.heard);
        self.now.saturating_sub(since)
    }
}

#[cfg(test)]
mod tests;
