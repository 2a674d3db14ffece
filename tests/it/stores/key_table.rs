//! The table of keys: what it has, what it refuses, and what an administrator may write there.

use shunt::keys::{ApiKey, KeyState, Scope};

use super::{
    keys::{list, living, look_up, make, new_key, works},
    place::{Place, contract},
};

contract!(
    the_database_refuses_what_no_key_has,
    what_an_administrator_may_write_is_understood,
    nothing_but_the_hash_of_the_secret_is_stored,
);

async fn the_database_refuses_what_no_key_has(place: Place) {
    let store = place.open().await.keys;
    make(&*store, &new_key("phone")).await;
    for change in [
        "name = ''",
        "name = 'my phone'",
        "name = 'a@b'",
        "owner = ''",
        "owner = 'ännä'",
        "owner = 'anna
'",
        "quota_limit = 10",
        "quota_window_ms = 10",
        "quota_limit = 0, quota_window_ms = 1000",
        "quota_limit = 1000001, quota_window_ms = 1000",
        "quota_limit = 10, quota_window_ms = 0",
        "quota_limit = 10, quota_window_ms = 31622400001",
        "life_seconds = 0",
        "key_sha256 = NULL",
    ] {
        let sql = format!("UPDATE keys SET {change}").leak();
        assert!(place.try_execute(sql).await.is_err(), "{change}");
    }
    for change in [
        "name = 'Az09._-'",
        "owner = 'Az09._-@+'",
        "quota_limit = 1000000, quota_window_ms = 31622400000",
    ] {
        place
            .execute(format!("UPDATE keys SET {change}").leak())
            .await;
    }
    let keys = list(&*store, None, true).await;
    let quota = keys[0].quota.expect("a quota");
    assert_eq!(
        (keys[0].name.as_str(), quota.to_string()),
        ("Az09._-", "1000000/366d".to_owned())
    );
}

async fn what_an_administrator_may_write_is_understood(place: Place) {
    let store = place.open().await.keys;
    let (hash, _) = make(&*store, &living("phone", "1000s")).await;
    // A later release may have more scopes.
    place.execute("UPDATE keys SET scopes = 'fly,stats'").await;
    let found = look_up(&*store, &hash).await.expect("it works").key;
    assert_eq!(found.scopes, Scope::Stats.into());
    let (never, ages) = match place {
        Place::Sqlite(_) => (
            "UPDATE keys SET expires_at = 1e300",
            "UPDATE keys SET expires_at = -1e300",
        ),
        Place::Postgres(_) => (
            "UPDATE keys SET expires_at = 'infinity'",
            "UPDATE keys SET expires_at = '-infinity'",
        ),
    };
    place.execute(never).await;
    assert!(works(&*store, &hash).await);
    let [ref record] = list(&*store, None, false).await[..] else {
        panic!("one key");
    };
    assert_eq!(record.state, KeyState::Working);
    place.execute(ages).await;
    assert!(!works(&*store, &hash).await);
    let [ref record] = list(&*store, None, true).await[..] else {
        panic!("one key");
    };
    assert_eq!(record.state, KeyState::Expired);
}

async fn nothing_but_the_hash_of_the_secret_is_stored(place: Place) {
    let store = place.open().await;
    let key = ApiKey::generate();
    let made = store.keys.insert(&new_key("phone"), &key.hash()).await;
    made.expect("an answer").expect("the name is free");
    let row = match &place {
        Place::Sqlite(_) => {
            store.database.close().await;
            let file = std::fs::read(place.file().expect("a file")).expect("the file");
            assert!(
                file.windows(32).any(|bytes| bytes == key.hash().0),
                "the hash is in the file"
            );
            String::from_utf8_lossy(&file).into_owned()
        }
        Place::Postgres(database) => {
            let rows: Vec<String> = sqlx::query_scalar("SELECT keys::text FROM keys")
                .fetch_all(&mut database.connect().await)
                .await
                .expect("a row");
            let hash = hex(&key.hash().0);
            assert!(rows[0].contains(&hash), "the hash is in the row");
            rows[0].clone()
        }
    };
    // Not even a part of it.
    for at in 0..=key.secret().len() - 8 {
        let part = &key.secret()[at..at + 8];
        assert!(!row.contains(part), "{part}");
        assert!(!row.contains(&hex(part.as_bytes())), "{part}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
