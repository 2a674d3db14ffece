//! The limiter's background work.

use std::time::{Duration, Instant};

use futures_util::future::join;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Limiter, RedisOperation, WindowStore, with_redis::RedisLimiter};

/// How often Redis's clock is measured while Redis answers.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a node tries to reconnect while Redis is away.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How often clients that no longer count are forgotten even if no request comes.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

impl Limiter {
    /// Works until `stop`: watches Redis and its clock, reconnects after a failure, tells Redis what the shield has
    /// refused, and forgets idle clients. Cancel `stop` only after the last request: the work ends with one more
    /// write-back, and Redis never hears of what the shield refuses after that.
    pub async fn supervise(&self, stop: CancellationToken) {
        let redis = async {
            match &self.redis {
                Some(redis) => join(redis.watch(), redis.write_back()).await,
                None => std::future::pending().await,
            }
        };
        let sweep = async {
            loop {
                sleep(SWEEP_INTERVAL).await;
                self.local().sweep();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            ((), ()) = redis => {}
            () = sweep => {}
        }
        if let Some(redis) = &self.redis {
            redis.write_back_once().await;
        }
    }
}

impl RedisLimiter {
    /// Measures Redis's clock while the breaker is closed, and reconnects while it is open.
    async fn watch(&self) {
        loop {
            match self.breaker.closed_generation() {
                Some(generation) => self.measure_clock(generation).await,
                None => self.reconnect().await,
            }
        }
    }

    /// Measures Redis's clock when it is due. Returns early if the breaker opens.
    async fn measure_clock(&self, generation: u64) {
        tokio::select! {
            () = self.breaker.opened() => {}
            () = sleep(CLOCK_INTERVAL) => {
                let sample = self.redis.store().sample_clock();
                if let Err(error) = self.redis.measured(RedisOperation::Time, sample).await {
                    self.open_breaker(&error, generation);
                }
                self.notice_clock_step();
            }
        }
    }

    /// Tries until Redis can serve requests again, then closes the breaker.
    async fn reconnect(&self) {
        let away_since = Instant::now();
        loop {
            let reconnect = self.redis.store().reconnect();
            match self
                .redis
                .measured(RedisOperation::Connect, reconnect)
                .await
            {
                Ok(()) => break,
                Err(error) => self.report.is_still_away(&error),
            }
            sleep(PROBE_INTERVAL).await;
        }
        // Requests that were under way when the outage began may have told the shield what Redis has lost since.
        self.redis.forget();
        self.breaker.close();
        self.report.is_back(away_since.elapsed());
        self.notice_clock_step();
    }

    async fn write_back(&self) {
        loop {
            sleep(self.redis.write_back_interval()).await;
            self.write_back_once().await;
        }
    }

    /// Tells Redis what the shield has refused since the last time, unless Redis is away.
    async fn write_back_once(&self) {
        if let Some(generation) = self.breaker.closed_generation() {
            let now = self.redis.store().now();
            if let Err(error) = self.redis.write_back(now).await {
                self.open_breaker(&error, generation);
            }
        }
    }
}
