//! How long a redirect takes at half of the servers' full rate. At the full rate a latency only says how many
//! connections wait.

use std::time::Duration;

use anyhow::Context;

use crate::{
    load::Load,
    row::{Better, Row, Wanted},
    runner::Runner,
    scenario::Scenario,
    settings::CONNECTIONS,
    stage::Stage,
};

/// How far the rate may be from half of the full rate, as a share.
const TOLERANCE: f64 = 0.1;

/// How many times the pauses are corrected at most. The first correction is nearly always needed, because the time of
/// an answer is not known before.
const ATTEMPTS: usize = 3;

/// The rows for the limited redirect, whose full rate is `maximum`.
///
/// # Errors
/// As [`Load::measure`].
pub(crate) async fn measure(
    runner: &mut Runner<'_>,
    stage: &Stage,
    maximum: f64,
) -> anyhow::Result<Vec<Row>> {
    let redis = stage
        .loads
        .get(&Scenario::Redis)
        .context("redis comes first")?;
    let path = &redis.target.path;
    let mut load = Load::new(
        &Scenario::Latency.name(),
        &redis.nodes[0],
        "paced.lua",
        path,
    )
    .with_redis();
    let millis = |name: &str, title: &str| Row::new(name, title, "ms", Better::Lower);
    let mut rate = Row::new(
        "latency-rate",
        "rate of redirects at which latencies are measured",
        "req/s",
        Better::Higher,
    );
    rate.share_of = Some(Scenario::Redis.name());
    let mut p50 = millis("latency-p50", "half of the redirects at half the rate");
    let mut p99 = millis("latency-p99", "99 % of the redirects at half the rate");
    let mut p999 = millis("latency-p99.9", "99.9 % of the redirects at half the rate");
    p99.wanted = Some(Wanted::AtMost(2.0));

    let cycle = |rate: f64| Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    let aim = maximum / 2.0;
    let mut pause = cycle(aim);
    for round in 1..=runner.settings.rounds {
        runner.round = round;
        eprintln!("round {round} of {}: latency", runner.settings.rounds);
        let mut attempt = 1;
        let (measured, is_half) = loop {
            load.target.arguments = vec![pause.as_micros().to_string()];
            let measured = load.measure(runner).await?;
            let is_half = (measured.rate() / aim - 1.0).abs() <= TOLERANCE;
            if is_half || attempt == ATTEMPTS {
                break (measured, is_half);
            }
            attempt += 1;
            pause = (pause + cycle(aim)).saturating_sub(cycle(measured.rate()));
        };
        if !is_half {
            let share = measured.rate() / maximum;
            p99.notes
                .push(format!("measured at {share:.2} of the rate instead of 0.5"));
            p99.broken = true;
        }
        rate.add(measured.rate(), Some(maximum));
        for (row, latency) in [
            (&mut p50, measured.p50),
            (&mut p99, measured.p99),
            (&mut p999, measured.p999),
        ] {
            row.add(latency.as_secs_f64() * 1e3, None);
        }
    }
    runner.round = 0;
    Ok(vec![rate, p50, p99, p999])
}
