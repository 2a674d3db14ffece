//! The connections of a node: one in common, and one for each thread that serves requests.

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
    connection::{Connection, Connector, Destination},
    endpoint::RedisEndpoint,
    failure::Failures,
};
use crate::{limiter::WindowStoreError, telemetry::chain};

/// All connections of a node. When the store reconnects, all of them are made anew.
pub(super) struct Connections {
    connector: Connector,
    /// Made in the background. Serves a thread that has no connection of its own, and the background work.
    common: ArcSwapOption<Common>,
    /// One for each thread. The runtime that makes a connection drives it, so with a connection of its own, a thread
    /// wakes no other thread to send a request or to take in the answer.
    own: ThreadLocal<Mutex<Own>>,
    /// How long a request may take to make its thread's connection. If that fails, enough time must be left to decide
    /// the request on the common one.
    patience: Duration,
}

/// A connection that serves all threads.
pub(super) struct Common {
    pub(super) connection: Connection,
    /// Where it leads, and where the threads' own connections must lead: if each thread asked the Sentinels, threads
    /// could count on different masters, and the Sentinels would have to serve all of them at once.
    destination: Destination,
}

#[derive(Default)]
struct Own {
    /// The common connection when this one was made. Once there is another common one, this one is of no use any more.
    made_with: Option<Arc<Common>>,
    /// `None` while it is being made, or if that failed. Then the thread uses the common one.
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

    /// Finds Redis, and makes a new connection that is not in use yet.
    pub(super) async fn connect(&self) -> Result<Common, WindowStoreError> {
        let (connection, destination) = self.connector.find().await?;
        Ok(Common {
            connection,
            destination,
        })
    }

    /// Makes `common` the common connection.
    pub(super) fn establish(&self, common: Common) {
        self.common.store(Some(Arc::new(common)));
    }

    /// Forgets the common connection, and with it those of all threads.
    pub(super) fn give_up(&self) {
        self.common.store(None);
    }

    /// The common connection, if one is established.
    pub(super) fn common(&self) -> Result<Connection, WindowStoreError> {
        Ok(self.established()?.connection.clone())
    }

    fn established(&self) -> Result<Arc<Common>, WindowStoreError> {
        self.common
            .load_full()
            .ok_or(WindowStoreError::Disconnected)
    }

    /// The connection of this thread. The thread's first request makes it; requests that come meanwhile use the common
    /// one.
    pub(super) async fn of_this_thread(&self) -> Result<Connection, WindowStoreError> {
        let common = self.established()?;
        let own = self.own.get_or_default();
        {
            let mut own = lock(own);
            let current = own.made_with.as_ref();
            if current.is_some_and(|made_with| Arc::ptr_eq(made_with, &common)) {
                let connection = own.connection.as_ref().unwrap_or(&common.connection);
                return Ok(connection.clone());
            }
            *own = Own {
                made_with: Some(common.clone()),
                connection: None,
            };
        }
        // In a box, because this future is large and hardly any request needs it.
        let connection = Box::pin(self.connector.connect(&common.destination));
        let connection = timeout(self.patience, connection).await;
        match connection.unwrap_or(Err(WindowStoreError::Timeout(self.patience))) {
            Ok(connection) => {
                let mut own = lock(own);
                let current = own.made_with.as_ref();
                if current.is_some_and(|made_with| Arc::ptr_eq(made_with, &common)) {
                    own.connection = Some(connection.clone());
                }
                Ok(connection)
            }
            // Redis may allow no more connections. That does not mean that it is away.
            Err(error) => {
                debug!(
                    error = chain(&error),
                    "this thread has no connection of its own"
                );
                Ok(common.connection.clone())
            }
        }
    }

    /// Uses each thread's own connection, so that neither Redis nor a firewall takes it for abandoned. Drops those that
    /// have ended; their threads make new ones.
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

    /// How many connections are open.
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
