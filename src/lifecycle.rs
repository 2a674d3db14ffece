//! The life of a node that has been built: it runs, drains and stops.

mod signals;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    http::{Draining, Gate},
    keys::Keys,
    limiter::Limiter,
    links::Links,
    telemetry::chain,
    titles::Titles,
};

pub use signals::{StopSignals, survive_file_size_limit};

/// How long, after the gate has closed, the node accepts connections that have begun and waits for their requests. When
/// the listener closes, the server drops all connections without a request. On a busy machine, a thread of this process
/// or of the client may not run for hundreds of milliseconds.
const ACCEPT_GRACE: Duration = Duration::from_secs(1);

/// A node that listens and has reached its database, but does not serve yet. [`Application::build`] in [`crate::app`]
/// makes it.
pub struct Application {
    pub(crate) public: actix_server::Server,
    pub(crate) gate: Gate,
    pub(crate) management: Option<actix_web::dev::Server>,
    pub(crate) public_address: SocketAddr,
    pub(crate) management_address: Option<SocketAddr>,
    pub(crate) drain: Duration,
    pub(crate) draining: Draining,
    pub(crate) links: Arc<Links>,
    pub(crate) titles: Option<Titles>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) limiter: Option<Arc<Limiter>>,
}

impl Application {
    /// The address of the public listener.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// The address of the management listener, if there is one.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.management_address
    }

    /// The API keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Serves until a stop signal, then drains: `/readyz` answers 503 at once, the gate closes after `http.drain`, the
    /// listener a moment later, and the requests under way finish. Returns when nothing is left. A second signal ends
    /// the process at once.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn run_until_stopped(self, mut signals: StopSignals) -> anyhow::Result<()> {
        let background = CancellationToken::new();
        let limiter = self.limiter.map(|limiter| {
            let stop = background.clone();
            tokio::spawn(async move { limiter.supervise(stop).await })
        });
        let links = {
            let (links, stop) = (self.links.clone(), background.clone());
            tokio::spawn(async move { links.supervise(stop).await })
        };
        let titles = self.titles.map(|titles| {
            let (links, stop) = (self.links.clone(), background.clone());
            tokio::spawn(async move { titles.run(&links, stop).await })
        });
        let keys = {
            let (keys, stop) = (self.keys.clone(), background.clone());
            tokio::spawn(async move { keys.supervise(stop).await })
        };
        let management_handle = self.management.as_ref().map(|server| server.handle());
        let management = self.management.map(tokio::spawn);
        let public_handle = self.public.handle();
        let mut public = tokio::spawn(self.public);

        let served = tokio::select! {
            ended = &mut public => ended,
            () = signals.received() => {
                tokio::spawn(signals.exit_at_next());
                self.draining.begin();
                let drain = humantime::format_duration(self.drain);
                info!(%drain, "stopping: not ready any more, but still serving");
                sleep(self.drain).await;
                close(self.gate).await;
                public_handle.stop(true).await;
                public.await
            }
        };
        if let Some(handle) = management_handle {
            handle.stop(false).await;
        }
        join(management).await;
        background.cancel();
        join(limiter).await;
        join(titles).await;
        join(Some(links)).await;
        join(Some(keys)).await;
        self.links.close().await;
        served
            .context("the public listener failed")?
            .context("the public listener failed")
    }
}

/// Lets no further connection begin. A connection that has begun is still accepted.
async fn close(gate: Gate) {
    info!("stopping: closing the listener");
    if let Err(error) = gate.close() {
        warn!(
            error = chain(&error),
            "cannot close the listener in order: connections that begin now may be reset"
        );
    }
    sleep(ACCEPT_GRACE).await;
}

/// Waits for the end of a task. The task itself reports its errors, and the panic hook its panic.
async fn join<T>(task: Option<JoinHandle<T>>) {
    if let Some(task) = task {
        let _ = task.await;
    }
}
