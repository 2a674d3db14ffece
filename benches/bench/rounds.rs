//! Measures one thing after another, each right after what it is compared with, because a machine is not equally fast
//! in every minute.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::{
    find, latency, memory, micro,
    row::Row,
    runner::{Raw, Runner},
    scenario::{Reference, Scenario},
    servers::Bare,
    settings::Settings,
    stage::Stage,
    start,
};

type Rows = BTreeMap<Scenario, Row>;

/// Measures all that the user asked for, and returns the rows of the table and the output of programs.
///
/// # Errors
/// If a server did anything but what is to be measured.
pub(crate) async fn measure(settings: &Settings) -> anyhow::Result<(Vec<Row>, Raw)> {
    let mut runner = Runner::new(settings);
    let bare = Bare::start(settings.workers)?;
    let mut stage = Stage::start(&mut runner).await?;
    let mut rows = Rows::new();
    for round in 1..=settings.rounds {
        runner.round = round;
        one_round(&mut runner, &bare, &mut stage, &mut rows).await?;
    }
    runner.round = 0;
    note_hot_links(&stage, &mut rows);

    let mut rest = Vec::new();
    for scenario in settings.scenarios() {
        match scenario {
            Scenario::Latency => {
                let maximum = rows.get(&Scenario::Redis).context("redis comes first")?;
                rest.extend(latency::measure(&mut runner, &stage, maximum.median()).await?);
            }
            Scenario::Rss => rest.extend(memory::of_nodes(settings, &stage).await?),
            Scenario::RedisMemory => rest.extend(memory::of_redis(&mut runner).await?),
            Scenario::FirstAnswer => rest.push(start::measure(&mut runner).await?),
            Scenario::Find => {
                let servers = stage.servers.as_ref().context("the servers are started")?;
                rest.extend(find::measure(&mut runner, servers).await?);
            }
            Scenario::Micro => micro::run(&mut runner).await?,
            _ => {}
        }
    }
    Ok((rows.into_values().chain(rest).collect(), runner.into_raw()))
}

async fn one_round(
    runner: &mut Runner<'_>,
    bare: &Bare,
    stage: &mut Stage,
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let settings = runner.settings;
    let announce = |scenario: Scenario, round: u32| {
        eprintln!("round {round} of {}: {}", settings.rounds, scenario.name());
    };
    let Stage { loads, pgbench, .. } = stage;
    let mut redis = None;
    let mut bare_was_measured = false;
    for (&scenario, load) in loads {
        announce(scenario, runner.round);
        let reference = match scenario.reference() {
            Some(Reference::Bare) => {
                let name = format!("bare-for-{}", scenario.name());
                let rate = bare.measure(runner, &name, &load.target).await?;
                if load.target.script == bare.target().script {
                    add(rows, Scenario::Bare, rate, None);
                    bare_was_measured = true;
                }
                Some(rate)
            }
            Some(Reference::Pgbench) => match pgbench {
                Some(pgbench) => Some(pgbench.measure(runner).await?),
                None => None,
            },
            Some(Reference::Redis) => redis,
            None => None,
        };
        let rate = load.measure(runner).await?.rate();
        if scenario == Scenario::Redis {
            redis = Some(rate);
        }
        add(rows, scenario, rate, reference);
    }
    if !bare_was_measured && settings.includes(Scenario::Bare) {
        announce(Scenario::Bare, runner.round);
        let rate = bare.measure(runner, "bare", &bare.target()).await?;
        add(rows, Scenario::Bare, rate, None);
    }
    Ok(())
}

fn add(rows: &mut Rows, scenario: Scenario, rate: f64, reference: Option<f64>) {
    let row = rows.entry(scenario).or_insert_with(|| scenario.row());
    row.add(rate, reference);
}

fn note_hot_links(stage: &Stage, rows: &mut Rows) {
    for (scenario, load) in &stage.loads {
        if let (Some(hot_links), Some(row)) = (&load.hot_links, rows.get_mut(scenario)) {
            row.notes.push(hot_links.note());
            row.broken |= !hot_links.are_kept();
        }
    }
}
