//! What a node remembers of keys, and that it never believes what is no longer true: two nodes on one database.

use std::{sync::Arc, time::Duration};

use shunt::{
    db::Health,
    keys::{ApiKey, ChangeKeyError, CreateKeyError, KeyRef, Keys, NewKey},
    links,
    telemetry::Metrics,
};
use sqlx::{Connection, PgConnection, SqliteConnection};
use testkit::{eventually, execute, within};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    keys::{name, new_key},
    place::{Opened, Place, contract},
};

contract!(
    a_key_that_works_is_remembered_and_others_are_not,
    without_a_watch_nothing_is_believed,
    a_change_by_another_node_is_heard,
    a_change_in_sql_is_heard,
    an_own_change_counts_at_once,
    a_key_that_expires_is_forgotten,
    a_write_that_was_given_up_is_heard_when_it_is_committed,
    a_name_that_is_taken_and_a_key_that_is_unknown_are_told,
    a_request_about_an_unknown_key_makes_no_other_doubtful,
);

/// The promise is 2 seconds. A busy machine may stall for a while.
const HEARD: Duration = Duration::from_secs(5);

/// The keys of one node.
struct Node {
    keys: Arc<Keys>,
    stop: CancellationToken,
    watch: Option<JoinHandle<()>>,
}

impl Node {
    /// A node that does not hear of changes.
    async fn deaf(place: &Place) -> Self {
        let Opened {
            store,
            keys,
            database,
        } = place.open().await;
        let (metrics, name) = (Metrics::new().expect("metrics"), database.name());
        let health = Health::new(database, links::checks(&store), metrics.store(name));
        let keys = Keys::new(keys, Arc::new(health), metrics.store(name));
        Self {
            keys: Arc::new(keys),
            stop: CancellationToken::new(),
            watch: None,
        }
    }

    async fn start(place: &Place) -> Self {
        let mut node = Self::deaf(place).await;
        let (keys, stop) = (node.keys.clone(), node.stop.clone());
        node.watch = Some(tokio::spawn(async move { keys.supervise(stop).await }));
        eventually("the node hears of changes", async || {
            node.keys.usage().watching.then_some(())
        })
        .await;
        node
    }

    async fn make(&self, key: &NewKey) -> ApiKey {
        self.keys.create(key).await.expect("it is made").0
    }

    async fn works(&self, key: &ApiKey) -> bool {
        self.keys.verify(key).await.expect("an answer").is_some()
    }

    /// Uses the key until the node is sure to remember it: it may hear of a change that was made before.
    async fn remembers(&self, key: &ApiKey) {
        eventually("the key is remembered", async || {
            assert!(self.works(key).await);
            self.keys.remembered(key)
        })
        .await;
    }

    async fn rejects(&self, key: &ApiKey) {
        within(HEARD, "the key is rejected", async || {
            (!self.works(key).await).then_some(())
        })
        .await;
        assert_eq!(self.keys.remembered(key), None);
        assert_eq!(self.keys.last_known(key), None);
        assert!(!self.keys.was_good(key));
    }

    async fn end(self) {
        self.stop.cancel();
        if let Some(watch) = self.watch {
            watch.await.expect("no panic");
        }
    }
}

async fn a_key_that_works_is_remembered_and_others_are_not(place: Place) {
    let node = Node::start(&place).await;
    let unknown = ApiKey::generate();
    assert!(!node.works(&unknown).await);
    assert!(!node.keys.was_good(&unknown));
    assert_eq!(node.keys.usage().keys, 0);

    let key = node.make(&new_key("phone")).await;
    assert_eq!(node.keys.remembered(&key), None);
    let verified = node.keys.verify(&key).await.expect("an answer");
    let verified = verified.expect("it works");
    assert_eq!(verified.name, name("phone"));
    assert_eq!(node.keys.remembered(&key), Some(verified.clone()));
    assert_eq!(node.keys.last_known(&key), Some(verified.clone()));
    // Nothing is asked any more.
    place.execute("ALTER TABLE keys RENAME TO elsewhere").await;
    let again = node.keys.verify(&key).await;
    assert_eq!(again, Ok(Some(verified)));
    assert!(node.keys.verify(&unknown).await.is_err());
    node.end().await;
}

async fn without_a_watch_nothing_is_believed(place: Place) {
    let node = Node::deaf(&place).await;
    let key = node.make(&new_key("phone")).await;
    for _ in 0..3 {
        assert!(node.works(&key).await);
        assert_eq!(node.keys.remembered(&key), None);
        assert!(node.keys.last_known(&key).is_some());
    }
    // It is not heard, and counts at once all the same.
    let other = Node::deaf(&place).await;
    other
        .keys
        .revoke(&name("phone").into())
        .await
        .expect("it is revoked");
    assert!(!node.works(&key).await);
    assert_eq!(node.keys.last_known(&key), None);
}

async fn a_change_by_another_node_is_heard(place: Place) {
    let (node, other) = (Node::start(&place).await, Node::start(&place).await);
    // A node that is not running, as `shunt keys` is.
    let command = Node::deaf(&place).await;
    for changer in [&other, &command] {
        let revoked = node.make(&new_key("revoked")).await;
        let rotated = node.make(&new_key("rotated")).await;
        for key in [&revoked, &rotated] {
            node.remembers(key).await;
        }
        changer
            .keys
            .revoke(&name("revoked").into())
            .await
            .expect("it is revoked");
        node.rejects(&revoked).await;
        assert!(node.keys.was_good(&rotated), "another key has changed");
        node.remembers(&rotated).await;
        let (new, _) = changer
            .keys
            .rotate(&name("rotated").into())
            .await
            .expect("it is rotated");
        node.rejects(&rotated).await;
        node.remembers(&new).await;
        changer
            .keys
            .revoke(&name("rotated").into())
            .await
            .expect("it is revoked");
        node.rejects(&new).await;
    }
    node.end().await;
    other.end().await;
}

async fn a_change_in_sql_is_heard(place: Place) {
    let node = Node::start(&place).await;
    let mut changes = vec![
        "UPDATE keys SET revoked_at = created_at",
        "UPDATE keys SET expires_at = created_at",
        "DELETE FROM keys",
    ];
    if let Place::Postgres(_) = place {
        changes.push("TRUNCATE keys");
    }
    for change in changes {
        let key = node.make(&new_key("phone")).await;
        node.remembers(&key).await;
        place.execute(change).await;
        node.rejects(&key).await;
        place.execute("DELETE FROM keys").await;
    }
    let key = node.make(&new_key("phone")).await;
    node.remembers(&key).await;
    place
        .execute("UPDATE keys SET scopes = 'stats', owner = 'bob'")
        .await;
    within(HEARD, "the key is another", async || {
        let key = node.keys.verify(&key).await.expect("an answer");
        let key = key.expect("it works");
        (key.owner.as_str() == "bob" && key.scopes.to_string() == "stats").then_some(())
    })
    .await;
    node.end().await;
}

async fn an_own_change_counts_at_once(place: Place) {
    let node = Node::start(&place).await;
    let revoked = node.make(&new_key("revoked")).await;
    let rotated = node.make(&new_key("rotated")).await;
    node.remembers(&revoked).await;
    node.keys
        .revoke(&name("revoked").into())
        .await
        .expect("it is revoked");
    assert_eq!(node.keys.remembered(&revoked), None);
    assert!(!node.works(&revoked).await);
    node.remembers(&rotated).await;
    let (new, record) = node
        .keys
        .rotate(&name("rotated").into())
        .await
        .expect("it is rotated");
    assert_eq!(node.keys.remembered(&rotated), None);
    assert!(!node.works(&rotated).await);
    let verified = node.keys.verify(&new).await.expect("an answer");
    assert_eq!(verified.expect("it works").id, record.id);
    node.end().await;
}

async fn a_key_that_expires_is_forgotten(place: Place) {
    let node = Node::start(&place).await;
    let key = NewKey {
        life: Some("2s".parse().expect("a life")),
        ..new_key("phone")
    };
    let key = node.make(&key).await;
    node.remembers(&key).await;
    eventually("it expires", async || {
        node.keys.remembered(&key).is_none().then_some(())
    })
    .await;
    assert_eq!(node.keys.last_known(&key), None);
    eventually("the store says so too", async || {
        (!node.works(&key).await).then_some(())
    })
    .await;
    node.end().await;
}

/// A transaction that other writes to keys wait for.
enum Lock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Lock {
    async fn take(place: &Place) -> Self {
        match place {
            Place::Sqlite(_) => {
                let url = format!("sqlite://{}", place.file().expect("a file").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("the file");
                let begin = sqlx::query("BEGIN IMMEDIATE").execute(&mut connection);
                begin.await.expect("a lock");
                Self::Sqlite(connection)
            }
            Place::Postgres(database) => {
                let mut connection = database.connect().await;
                for sql in ["BEGIN", "SELECT FROM keys FOR UPDATE"] {
                    execute(&mut connection, sql).await;
                }
                Self::Postgres(connection)
            }
        }
    }

    async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.expect("closed"),
            Self::Postgres(connection) => connection.close().await.expect("closed"),
        }
    }
}

/// A request may end, and its write still be committed: by a thread of SQLite's driver, or by Postgres.
async fn a_write_that_was_given_up_is_heard_when_it_is_committed(place: Place) {
    let node = Node::start(&place).await;
    let key = node.make(&new_key("phone")).await;
    node.remembers(&key).await;
    let lock = Lock::take(&place).await;
    let phone = name("phone").into();
    let revoke = node.keys.revoke(&phone);
    let given_up = timeout(Duration::from_millis(500), revoke).await;
    assert!(given_up.is_err(), "it waits for the lock");
    // Nothing is committed yet.
    node.remembers(&key).await;
    lock.release().await;
    eventually("the write is committed", async || {
        let revoked = "SELECT count(*) FROM keys WHERE revoked_at IS NOT NULL";
        (place.number(revoked).await == 1).then_some(())
    })
    .await;
    node.rejects(&key).await;
    node.end().await;
}

async fn a_name_that_is_taken_and_a_key_that_is_unknown_are_told(place: Place) {
    let node = Node::deaf(&place).await;
    let key = node.make(&new_key("phone")).await;
    let taken = node.keys.create(&new_key("phone")).await;
    assert_eq!(taken.err(), Some(CreateKeyError::NameTaken));
    assert!(node.works(&key).await);
    let unknown = node.keys.rotate(&name("tablet").into()).await;
    assert_eq!(unknown.err(), Some(ChangeKeyError::Unknown));
    let unknown = node.keys.revoke(&name("tablet").into()).await;
    assert_eq!(unknown, Err(ChangeKeyError::Unknown));
}

/// Or anybody who may manage keys could make every request with a key ask the store.
async fn a_request_about_an_unknown_key_makes_no_other_doubtful(place: Place) {
    let node = Node::start(&place).await;
    let key = node.make(&new_key("phone")).await;
    let unknown: KeyRef = name("tablet").into();
    // The node may still hear that the key was made.
    eventually("nothing is heard in between", async || {
        node.remembers(&key).await;
        let calm = node.keys.calm();
        assert!(node.keys.rotate(&unknown).await.is_err());
        assert!(node.keys.revoke(&unknown).await.is_err());
        (node.keys.calm() == calm).then_some(())
    })
    .await;
    let calm = node.keys.calm();
    assert!(node.keys.rotate(&name("phone").into()).await.is_ok());
    assert_ne!(node.keys.calm(), calm);
    node.end().await;
}
