//! This node among the others, and what its own beats tell: whether Redis has lost writes.
//!
//! Only this node writes its field, and each beat reads the hash before it writes. So the field holds what this node
//! wrote last, unless Redis has lost it.
//!
//! | a node finds in the hash | because |
//! |---|---|
//! | its own last beat | Redis has lost nothing that matters to the beats |
//! | no beat of its own, or an older one | Redis came back empty or from a snapshot, was emptied, or is a replica without the last writes |
//! | a higher generation than its own | another node has found that Redis has lost writes |
//!
//! A node that finds its own beat gone enters the generation after its own. A node that finds a higher one enters that
//! one: so all nodes that notice the same loss end in the same generation. The generation that holds is the highest of
//! any beat. A node that starts takes it over.
//!
//! The generation is in the beats and not in the [mark](super::timeline) because nodes of the previous release do not
//! beat. They write the mark, with three words, and take a mark with four for another program's value. So a mixed fleet
//! could have a generation in the mark only half of the time, and would see a loss whenever it is gone. The beats are
//! written by nodes that know of generations, and by no others.
//!
//! A loss goes unnoticed here if Redis keeps the last beat and loses only what came after it. The run id that a new
//! connection shows is for that.

use super::roster::{Beat, Generation, NodeId, Reading, Roster, SILENCE};

/// How many beats are remembered of those that Redis may hold. Usually it is one.
const MAX_BEATS: usize = 16;

/// If this node could not read the hash for so long, µs, others may be about to remove its field.
const REMOVABLE: i64 = 30_000_000;

/// What this node has beaten and read.
#[derive(Debug)]
pub(in crate::limiter) struct Attendance {
    id: NodeId,
    generation: Generation,
    /// What Redis holds of this node, unless one of `unanswered` has arrived since: the last beat that was acknowledged, or
    /// several that were under way at the same time.
    held: Vec<Option<Beat>>,
    /// Beats without an answer. They may arrive in Redis late.
    unanswered: Vec<Beat>,
    /// Whether a loss was noticed in `generation`.
    has_lost_writes: bool,
    /// The log time at which this node could read the hash again after a long time, µs.
    returned: Option<i64>,
    roster: Option<Roster>,
}

/// A question that is on its way to Redis.
#[derive(Debug)]
pub(in crate::limiter) struct Question {
    /// What the field of this node may hold.
    possible: Vec<Option<Beat>>,
    /// What is certain to be written over if the question is a beat.
    held: Vec<Option<Beat>>,
    generation: Generation,
    /// What it holds from then on, if the question is a beat.
    pub(in crate::limiter) beat: Option<Beat>,
}

impl Attendance {
    pub(in crate::limiter) fn new(id: NodeId) -> Self {
        Self {
            id,
            generation: Generation::default(),
            held: vec![None],
            unanswered: Vec::new(),
            has_lost_writes: false,
            returned: None,
            roster: None,
        }
    }

    pub(in crate::limiter) fn id(&self) -> NodeId {
        self.id
    }

    pub(in crate::limiter) fn generation(&self) -> Generation {
        self.generation
    }

    /// The nodes after the last reading.
    pub(in crate::limiter) fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    /// Asks which nodes there are.
    pub(in crate::limiter) fn look(&self) -> Question {
        self.question(None)
    }

    /// Asks the same and beats, at the log time `now`, µs.
    pub(in crate::limiter) fn beat(&mut self, now: i64) -> Question {
        let beat = Beat {
            at: now,
            generation: self.generation,
        };
        let question = self.question(Some(beat));
        push(&mut self.unanswered, beat);
        question
    }

    fn question(&self, beat: Option<Beat>) -> Question {
        Question {
            possible: self.possible(),
            held: self.held.clone(),
            generation: self.generation,
            beat,
        }
    }

    /// Takes in the answer to `question`, which comes at the log time `now`, µs.
    pub(in crate::limiter) fn answered(
        &mut self,
        question: &Question,
        reading: &Reading,
        now: i64,
    ) -> &Roster {
        let seen = reading.generation();
        match &self.roster {
            None => self.generation = seen.unwrap_or_default(),
            Some(before) if now.saturating_sub(before.now()) > REMOVABLE => {
                self.returned = Some(now);
            }
            Some(_) => {}
        }
        // A question that was under way at the same time may have been answered since.
        let is_possible =
            question.possible.contains(&reading.own) || self.possible().contains(&reading.own);
        // What a question from before this generation finds is what has led to it.
        let is_new = question.generation == self.generation;
        if !is_possible && is_new && !self.is_only_removed(reading, now) {
            self.has_lost_writes = true;
        }
        if !is_possible && question.beat.is_none() {
            push(&mut self.held, reading.own);
        }
        if let Some(beat) = question.beat {
            // One that was sent after this question may have arrived after it, or before.
            self.held.retain(|beat| !question.held.contains(beat));
            push(&mut self.held, Some(beat));
            let is_late = |other: &Beat| beat.at.saturating_sub(other.at).abs() > SILENCE;
            self.unanswered
                .retain(|other| *other != beat && !is_late(other));
        }
        let lost_writes = match seen {
            Some(seen) if seen > self.generation => Some(seen),
            _ => self.has_lost_writes.then(|| self.generation.next()),
        };
        let roster = Roster::after(self.roster.as_ref(), reading, now, lost_writes);
        self.roster.insert(roster)
    }

    /// Beats in `generation` from now on. Returns whether it is a later one than before; if not, nothing changes.
    pub(in crate::limiter) fn enter(&mut self, generation: Generation) -> bool {
        let is_later = generation > self.generation;
        if is_later {
            self.generation = generation;
            self.has_lost_writes = false;
        }
        if let Some(roster) = &mut self.roster {
            roster.has_entered(generation);
        }
        is_later
    }

    fn possible(&self) -> Vec<Option<Beat>> {
        let unanswered = self.unanswered.iter().copied().map(Some);
        unanswered.chain(self.held.iter().copied()).collect()
    }

    /// Whether another node may have removed this node's field, just when this node came back. If Redis had lost it,
    /// the others would have lost theirs, and be in another generation.
    fn is_only_removed(&self, reading: &Reading, now: i64) -> bool {
        let is_back = |returned: i64| now.saturating_sub(returned) <= SILENCE;
        reading.own.is_none()
            && self.returned.is_some_and(is_back)
            && reading.generation() == Some(self.generation)
    }
}

fn push<T>(beats: &mut Vec<T>, beat: T) {
    if beats.len() == MAX_BEATS {
        beats.remove(0);
    }
    beats.push(beat);
}

#[cfg(test)]
mod tests;
