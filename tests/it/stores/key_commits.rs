//! A store of keys acknowledges only what is committed: when the commit fails, so does the request.

use shunt::{
    db::DatabaseError,
    keys::{ApiKey, KeyHash, KeyStore, KeyWrite, ListKeys},
};

use super::{
    commits::{allow_commits, refuse_commits},
    keys::{self, name, new_key, works},
    place::{Place, contract},
};

contract!(
    what_a_commit_refuses_is_not_said_to_be_done,
    a_rehearsal_tells_whether_a_write_would_be_stored_and_leaves_nothing,
    a_rehearsal_notices_what_is_refused_at_once,
);

async fn make(store: &dyn KeyStore, text: &str) -> KeyHash {
    keys::make(store, &new_key(text)).await.0
}

fn is_failure<T>(result: &Result<T, DatabaseError>) -> bool {
    matches!(result, Err(DatabaseError::Failed(_)))
}

async fn what_a_commit_refuses_is_not_said_to_be_done(place: Place) {
    let store = place.open().await.keys;
    let (revoked, rotated) = (
        make(&*store, "revoked").await,
        make(&*store, "rotated").await,
    );
    let [made, other] = [(); 2].map(|()| ApiKey::generate().hash());
    refuse_commits(&place, "keys").await;
    assert!(is_failure(&store.insert(&new_key("made"), &made).await));
    assert!(is_failure(&store.revoke(&name("revoked").into()).await));
    assert!(is_failure(
        &store.rotate(&name("rotated").into(), &other).await
    ));
    for (hash, expected) in [
        (made, false),
        (revoked, true),
        (rotated, true),
        (other, false),
    ] {
        assert_eq!(works(&*store, &hash).await, expected);
    }

    // On the same connections.
    allow_commits(&place).await;
    let done = store.insert(&new_key("made"), &made).await;
    assert!(done.expect("an answer").is_some());
    assert!(
        store
            .revoke(&name("revoked").into())
            .await
            .expect("an answer")
            .is_some()
    );
    let done = store.rotate(&name("rotated").into(), &other).await;
    assert!(done.expect("an answer").is_some());
    for (hash, expected) in [
        (made, true),
        (revoked, false),
        (rotated, false),
        (other, true),
    ] {
        assert_eq!(works(&*store, &hash).await, expected);
    }
}

/// Of a key that is there, and of one that is not.
fn writes() -> Vec<KeyWrite> {
    let names = ["there", "not-there"].into_iter();
    let writes = names.flat_map(|text| {
        [
            KeyWrite::Create(new_key(text)),
            KeyWrite::Revoke(name(text)),
            KeyWrite::Rotate(name(text)),
        ]
    });
    writes.collect()
}

/// Whether a rehearsal of it writes anything.
fn writes_something(write: &KeyWrite) -> bool {
    match write {
        KeyWrite::Create(_) => true,
        KeyWrite::Revoke(of) | KeyWrite::Rotate(of) => *of == name("there"),
    }
}

async fn a_rehearsal_tells_whether_a_write_would_be_stored_and_leaves_nothing(place: Place) {
    let store = place.open().await.keys;
    let hash = make(&*store, "there").await;
    let all = ListKeys {
        all: true,
        ..ListKeys::default()
    };
    let before = store.list(&all).await.expect("an answer");
    let nothing_is_left = async |write: &KeyWrite| {
        let after = store.list(&all).await.expect("an answer");
        assert_eq!(after, before, "{write:?}");
        assert!(works(&*store, &hash).await, "{write:?}");
    };
    for write in writes() {
        store.rehearse(&write).await.expect("it would be stored");
        nothing_is_left(&write).await;
    }
    refuse_commits(&place, "keys").await;
    for write in writes() {
        let rehearsed = store.rehearse(&write).await;
        assert_eq!(rehearsed.is_err(), writes_something(&write), "{write:?}");
        nothing_is_left(&write).await;
    }
    allow_commits(&place).await;
    for write in writes() {
        store.rehearse(&write).await.expect("it would be stored");
        nothing_is_left(&write).await;
    }
}

async fn a_rehearsal_notices_what_is_refused_at_once(place: Place) {
    let store = place.open().await.keys;
    make(&*store, "there").await;
    let sql = match &place {
        Place::Sqlite(_) => {
            "CREATE TRIGGER refuse BEFORE UPDATE OF revoked_at ON keys
             WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
             BEGIN SELECT RAISE(ABORT, 'not today'); END"
        }
        Place::Postgres(_) => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE OF revoked_at ON keys
             FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    };
    place.execute(sql).await;
    // Only what was refused fails.
    for write in writes() {
        let fails = write == KeyWrite::Revoke(name("there"));
        let rehearsed = store.rehearse(&write).await;
        assert_eq!(rehearsed.is_err(), fails, "{write:?}");
    }
}
