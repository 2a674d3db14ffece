//! A row of the table of faults: a load, a fault, and what the clients can prove.

use std::{collections::BTreeMap, time::Duration};

use super::{
    checker::{Record, Verdicts},
    load::{Load, Seen, Subject},
    setup::{Fleet, Setup},
};
use crate::cluster::figures;

/// A fault, and the times between which the nodes suffered from it, µs.
struct Fault {
    began: i64,
    ended: i64,
}

impl Fault {
    fn concerns(&self, record: &Record) -> bool {
        record.sent <= self.ended && record.received >= self.began
    }
}

/// What was found in one row.
pub struct Findings {
    setup: Setup,
    clients: BTreeMap<Subject, (Vec<Record>, Verdicts)>,
    fault: Fault,
    failures: Vec<String>,
    /// How many decisions nodes made by themselves.
    local: f64,
    /// How many requests nodes refused by themselves before and after the fault.
    refused_locally_in_calm: f64,
    figures: String,
}

/// Puts load on the nodes, does `harm`, waits until Redis decides again on all nodes, goes on for another window, and
/// prints a row of the table. At the moment of the fault there are clients that have used up their quotas, clients that
/// have used a part, and clients that no node has seen.
pub async fn row(fault: &str, fleet: &Fleet, harm: impl AsyncFnOnce(&Load)) -> Findings {
    let at_first = fleet.local().await;
    let load = Load::start(fleet);
    load.has_begun().await;
    let waiting = load.use_a_part().await;

    // What was decided before is counted in `before`, and what is decided after the end is not counted in `after`.
    let began = load.now();
    let before = fleet.local().await;
    load.flood(&waiting);
    harm(&load).await;
    fleet.counts_in_redis().await;
    let after = fleet.local().await;
    let fault_ended = load.now();
    // Whatever was admitted too much lies in a window with what was admitted before or during the fault.
    tokio::time::sleep(fleet.setup.longest_window()).await;
    let seen = load.stop().await;
    let at_last = fleet.local().await;
    let recovery = seen.last_failure.unwrap_or(0).max(fault_ended) - began;
    let Seen {
        records, failures, ..
    } = seen;
    let all = records.values().flatten();
    let slowest = all
        .clone()
        .map(|record| record.received - record.sent)
        .max();
    let (sent, slowest) = (all.count(), slowest.unwrap_or(0));
    let checker = fleet.setup.checker();
    let clients = records.into_iter().map(|(subject, records)| {
        let verdicts = checker.check(&records);
        (subject, (records, verdicts))
    });
    let mut findings = Findings {
        setup: fleet.setup.clone(),
        clients: clients.collect(),
        fault: Fault {
            began,
            ended: fault_ended,
        },
        failures,
        local: at_last.all,
        refused_locally_in_calm: (before.refused - at_first.refused)
            + (at_last.refused - after.refused),
        figures: String::new(),
    };
    findings.figures = findings.describe(fault);
    println!("{}", findings.figures);
    // The other variants of a row are for tests only.
    if fleet.setup.shield {
        let figures = figures::Row {
            fault,
            sent,
            failed_reads: findings.failures.len(),
            failed_writes: 0,
            over_admitted: findings.over_admitted(),
            recovery: duration(recovery),
            slowest: duration(slowest),
        };
        figures.print();
    }
    findings
}

/// How many requests of a row may be over-admitted because a node on a busy machine has taken Redis for silent. Each
/// fault that a row is about cost 11 and more before nodes remembered.
const MOST_ALONE: usize = 4;

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

impl Findings {
    /// V1 of all clients.
    pub fn over_admitted(&self) -> usize {
        let each = self.clients.values();
        each.map(|(_, verdicts)| verdicts.over_admitted_requests())
            .sum()
    }

    /// V3 of all clients while nothing was done to Redis.
    fn refused_in_calm(&self) -> usize {
        let of = |(records, verdicts): &(Vec<Record>, Verdicts)| {
            let refused = verdicts.refused_in_a_free_window.iter();
            refused
                .filter(|&&i| !self.fault.concerns(&records[i]))
                .count()
        };
        self.clients.values().map(of).sum()
    }

    /// Nothing was over-admitted, no request failed, and none was refused without reason.
    ///
    /// On a busy machine, a node may wait in vain for an answer that others get. It then decides a few requests alone, as
    /// if it were cut off, and may over-admit a few. Nothing else may.
    pub fn assert_exact(&self) {
        let most = if self.local == 0.0 { 0 } else { MOST_ALONE };
        assert!(self.over_admitted() <= most, "{}", self.figures);
        self.assert_answered();
    }

    /// The same, but any window may hold more than each quota by the share of one node: what it admits alone.
    pub fn assert_exact_but_for_one_node(&self) {
        let checker = self.setup.lenient_checker();
        for (subject, (records, _)) in &self.clients {
            let over = checker.check(records).over_admitted_requests();
            assert_eq!(over, 0, "{subject:?}: {}", self.figures);
        }
        self.assert_answered();
    }

    fn assert_answered(&self) {
        assert_eq!(self.failures, [] as [&str; 0], "{}", self.figures);
        // On a busy machine, a node may wait in vain for an answer at any time, and then decides by what it knows.
        let refused = self.refused_in_calm();
        assert!(
            refused as f64 <= self.refused_locally_in_calm,
            "{}",
            self.figures
        );
        if self.local == 0.0 {
            let overlooked = self.clients.values();
            let overlooked =
                overlooked.map(|(_, verdicts)| verdicts.admitted_in_a_full_window.len());
            assert_eq!(overlooked.sum::<usize>(), 0, "{}", self.figures);
        }
    }

    /// Clients of whose requests `concerns` says no saw nothing of the fault: not even while it lasted was a decision wrong.
    pub fn assert_unnoticed_by(&self, what: &str, is_concerned: impl Fn(&Subject) -> bool) {
        let mut unconcerned = 0;
        for (subject, (_, verdicts)) in self
            .clients
            .iter()
            .filter(|(subject, _)| !is_concerned(subject))
        {
            unconcerned += 1;
            let nothing = Verdicts {
                over_admitted: vec![vec![]; self.setup.policies.len()],
                ..Verdicts::default()
            };
            assert_eq!(verdicts, &nothing, "{what}: {subject:?}, {}", self.figures);
        }
        assert!(unconcerned > 5, "{what}: {unconcerned} clients");
    }

    /// One line with all that was found.
    fn describe(&self, fault: &str) -> String {
        let (mut v2, mut v3) = (0, 0);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for (subject, (_, verdicts)) in &self.clients {
            v2 += verdicts.admitted_in_a_full_window.len();
            v3 += verdicts.refused_in_a_free_window.len();
            *kinds.entry(subject.kind).or_default() += verdicts.over_admitted_requests();
        }
        let policies: Vec<&str> = self.setup.policies.iter().map(|(name, ..)| *name).collect();
        format!(
            "{fault}, {policies:?}: {} clients; V1 {} {kinds:?}, V2 {v2}, V3 {v3}, {} of them in calm; decided by nodes alone: \
             {}, refusals in calm: {}; failed: {}",
            self.clients.len(),
            self.over_admitted(),
            self.refused_in_calm(),
            self.local,
            self.refused_locally_in_calm,
            self.failures.len(),
        )
    }
}
