//! The connections of a node: a common one, and one for each thread that serves requests.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures_util::future::join_all;
use thread_local::ThreadLocal;
use tokio::time::timeout;
use tracing::debug;

use super::{
    connection::{Connection, Connector},
    endpoint::RedisEndpoint,
    failure::Failures,
};
use crate::{limiter::WindowStoreError, telemetry::chain};

/// Made anew, all of them, when the store reconnects.
pub(super) struct Connections {
    connector: Connector,
    /// Made in the background; serves whoever has no other.
    common: ArcSwapOption<Connection>,
    /// A connection is driven by the runtime that it was made in. On one of its own a thread wakes no other, neither to send
    /// a request nor to take in the answer.
    own: ThreadLocal<Mutex<Own>>,
    /// What a request may spend on making one: it has to be decided in time on the common one if that fails.
    patience: Duration,
}

#[derive(Default)]
struct Own {
    /// The common connection when this one was made: with the next, this one is of no more use.
    made_with: Option<Arc<Connection>>,
    /// None while it is being made, or if that failed: the common one will do.
    connection: Option<Connection>,
}

impl Connections {
    pub(super) fn new(
        endpoint: &RedisEndpoint,
        failures: Failures,
        patience: Duration,
    ) -> Result<Self, WindowStoreError> {
        Ok(Self {
            connector: Connector::new(endpoint, failures)?,
            common: ArcSwapOption::empty(),
            own: ThreadLocal::new(),
            patience,
        })
    }

    /// A new connection that nobody else has.
    pub(super) async fn connect(&self) -> Result<Connection, WindowStoreError> {
        // In a box: it is large, and hardly any request needs it.
        Box::pin(self.connector.connect()).await
    }

    /// Uses `connection` from now on.
    pub(super) fn establish(&self, connection: Connection) {
        self.common.store(Some(Arc::new(connection)));
    }

    /// Uses none until the next is established.
    pub(super) fn give_up(&self) {
        self.common.store(None);
    }

    /// The one that was established.
    pub(super) fn common(&self) -> Result<Arc<Connection>, WindowStoreError> {
        self.common
            .load_full()
            .ok_or(WindowStoreError::Disconnected)
    }

    /// The one of this thread. Its first request makes it, others that come meanwhile use the common one.
    pub(super) async fn of_this_thread(&self) -> Result<Connection, WindowStoreError> {
        let common = self.common()?;
        let own = self.own.get_or_default();
        {
            let mut own = lock(own);
            let current = own.made_with.as_ref();
            if current.is_some_and(|made_with| Arc::ptr_eq(made_with, &common)) {
                let connection = own.connection.as_ref().unwrap_or(&common);
                return Ok(connection.clone());
            }
            *own = Own {
                made_with: Some(common.clone()),
                connection: None,
            };
        }
        let connection = timeout(self.patience, self.connect()).await;
        match connection.unwrap_or(Err(WindowStoreError::Timeout(self.patience))) {
            Ok(connection) => {
                let mut own = lock(own);
                let current = own.made_with.as_ref();
                if current.is_some_and(|made_with| Arc::ptr_eq(made_with, &common)) {
                    own.connection = Some(connection.clone());
                }
                Ok(connection)
            }
            // Redis may allow no more connections; it is not away for that.
            Err(error) => {
                debug!(
                    error = chain(&error),
                    "this thread has no connection of its own"
                );
                Ok((*common).clone())
            }
        }
    }

    /// Uses every thread's own connection, so that nobody on the way takes it for abandoned, and lets go of those that
    /// have ended: their threads make new ones.
    pub(super) async fn keep_alive(&self) {
        let own = self.own.iter().filter_map(|own| {
            let connection = lock(own).connection.clone()?;
            Some(async move {
                if connection.time().await.is_err() {
                    *lock(own) = Own::default();
                }
            })
        });
        join_all(own).await;
    }

    pub(super) fn open(&self) -> usize {
        let Some(common) = self.common.load_full() else {
            return 0;
        };
        let own = self.own.iter().map(lock);
        let current = own.filter(|own| {
            let made_with = own.made_with.as_ref();
            own.connection.is_some() && made_with.is_some_and(|with| Arc::ptr_eq(with, &common))
        });
        1 + current.count()
    }
}

fn lock(own: &Mutex<Own>) -> MutexGuard<'_, Own> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}
