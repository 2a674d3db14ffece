//! Fills window logs before the first request.

use std::{net::Ipv4Addr, time::Duration};

use deadpool_redis::redis::{AsyncConnectionConfig, Client, Pipeline, aio::MultiplexedConnection};
use shunt::limiter::{ClientId, KeyPrefix, Policy};
use testkit::Redis;

/// How many entries one pipeline writes.
const ENTRIES_AT_ONCE: u32 = 20_000;

/// Adds `entries` requests of each client of `benches/wrk/clients.lua`, evenly over the last `window`, in the form in
/// which nodes log them.
///
/// # Errors
/// As Redis says.
pub(super) async fn fill(
    redis: &Redis,
    policy: &Policy,
    clients: u32,
    entries: u32,
    window: Duration,
) -> anyhow::Result<()> {
    // Long pipelines take longer than the default of half a second.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    let mut connection = Client::open(redis.url())?
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let (seconds, micros): (i64, i64) = redis.command("TIME").await;
    let first = seconds * 1_000_000 + micros - window.as_micros() as i64;
    let step = window.as_micros() as i64 / i64::from(entries);
    let mut pipeline = Pipeline::new();
    let mut waiting = 0;
    for number in 0..clients {
        let key = KeyPrefix::default().log(policy, client(number));
        let add = pipeline.cmd("ZADD").arg(&key);
        for entry in 0..entries {
            // In the middle of its part of the window, so that the oldest entry does not leave at once.
            let at = first + i64::from(entry) * step + step / 2;
            add.arg(at).arg(rand::random::<i32>());
        }
        let expire = policy.quota.window_seconds();
        add.ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(expire).ignore();
        waiting += entries;
        if waiting >= ENTRIES_AT_ONCE {
            send(&mut connection, &mut pipeline).await?;
            waiting = 0;
        }
    }
    send(&mut connection, &mut pipeline).await
}

async fn send(
    connection: &mut MultiplexedConnection,
    pipeline: &mut Pipeline,
) -> anyhow::Result<()> {
    if !pipeline.is_empty() {
        pipeline.query_async::<()>(connection).await?;
        pipeline.clear();
    }
    Ok(())
}

/// The client of request `number`, as in `benches/wrk/clients.lua`.
pub(super) fn client(number: u32) -> ClientId {
    ClientId::new(Ipv4Addr::from_bits((1 << 24) + number).into(), 64)
}
