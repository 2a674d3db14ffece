//! The contract of `KeyStore`.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use shunt::{
    keys::{
        ApiKey, FoundKey, KeyHash, KeyName, KeyRecord, KeyState, KeyStore, ListKeys, NewKey, Scope,
    },
    owner::Owner,
};
use testkit::eventually;

use super::place::{Place, contract};

contract!(
    what_was_made_is_found_by_its_hash_alone,
    a_name_belongs_to_one_key_that_is_not_revoked,
    of_many_at_once_one_gets_the_name,
    a_key_expires_and_keeps_its_name,
    a_revoked_key_is_found_no_more,
    a_rotation_replaces_the_secret_and_nothing_else,
    a_rotation_begins_a_limited_life_anew,
    of_rotations_at_once_one_secret_is_left,
    keys_are_listed_by_name,
    no_number_is_given_twice,
);

pub(super) fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("a name")
}

/// A key without limits.
pub(super) fn new_key(text: &str) -> NewKey {
    NewKey {
        name: name(text),
        owner: Owner::default(),
        scopes: Scope::Create.into(),
        quota: None,
        life: None,
    }
}

pub(super) fn living(text: &str, life: &str) -> NewKey {
    NewKey {
        life: Some(life.parse().expect("a life")),
        ..new_key(text)
    }
}

/// Makes a key. `None` if its name is taken.
async fn try_make(store: &dyn KeyStore, key: &NewKey) -> Option<(KeyHash, KeyRecord)> {
    let hash = ApiKey::generate().hash();
    let made = store.insert(key, &hash).await.expect("an answer");
    made.map(|record| (hash, record))
}

pub(super) async fn make(store: &dyn KeyStore, key: &NewKey) -> (KeyHash, KeyRecord) {
    try_make(store, key).await.expect("the name is free")
}

pub(super) async fn look_up(store: &dyn KeyStore, hash: &KeyHash) -> Option<FoundKey> {
    store.look_up(hash).await.expect("an answer")
}

pub(super) async fn works(store: &dyn KeyStore, hash: &KeyHash) -> bool {
    look_up(store, hash).await.is_some()
}

pub(super) async fn list(store: &dyn KeyStore, owner: Option<&str>, all: bool) -> Vec<KeyRecord> {
    let owner = owner.map(|owner| owner.parse().expect("an owner"));
    let which = ListKeys {
        owner,
        all,
        ..ListKeys::default()
    };
    store.list(&which).await.expect("an answer")
}

async fn becomes_expired(store: &dyn KeyStore, hash: &KeyHash) {
    eventually("the key expires", async || {
        (!works(store, hash).await).then_some(())
    })
    .await;
}

fn since_1970(record: &KeyRecord) -> Option<f64> {
    let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH);
    let time = record.expires_at?;
    Some(since(time).expect("after 1970").as_secs_f64())
}

async fn what_was_made_is_found_by_its_hash_alone(place: Place) {
    let (one, other) = (place.open().await.keys, place.open().await.keys);
    assert!(!one.any().await.expect("an answer"));
    let key = NewKey {
        name: name("phone"),
        owner: "anna@example.com".parse().expect("an owner"),
        scopes: "manage,create".parse().expect("scopes"),
        quota: Some("600/minute".parse().expect("a quota")),
        life: Some("90d".parse().expect("a life")),
    };
    let (hash, record) = make(&*one, &key).await;
    for store in [&one, &other] {
        let FoundKey {
            hash: stored,
            key: found,
            expires_in,
        } = look_up(&**store, &hash).await.expect("it works");
        assert_eq!(stored, hash);
        assert_eq!(found.id, record.id);
        assert_eq!(
            (found.name, found.owner, found.scopes, found.quota),
            (key.name.clone(), key.owner.clone(), key.scopes, key.quota)
        );
        let left = expires_in.expect("a limited life").as_secs();
        assert!((90 * 86_400 - 60..=90 * 86_400).contains(&left), "{left}");
        assert!(store.any().await.expect("an answer"));
        assert_eq!(
            list(&**store, None, false).await,
            std::slice::from_ref(&record)
        );
    }
    assert_eq!(
        (record.name, record.owner, record.scopes, record.quota),
        (key.name, key.owner, key.scopes, key.quota)
    );
    assert_eq!(record.state, KeyState::Working);
    let life = record
        .expires_at
        .expect("limited")
        .duration_since(record.created_at);
    let life = life.expect("later").as_secs_f64();
    assert!((life - 90.0 * 86_400.0).abs() < 1.0, "{life}");
    let mut another = hash;
    another.0[31] ^= 1;
    assert_eq!(look_up(&*one, &another).await, None);
}

async fn a_name_belongs_to_one_key_that_is_not_revoked(place: Place) {
    let store = place.open().await.keys;
    let (first, _) = make(&*store, &new_key("phone")).await;
    // Another owner does not help: commands speak of keys by their names alone.
    let another = NewKey {
        owner: "anna".parse().expect("an owner"),
        ..new_key("phone")
    };
    assert_eq!(try_make(&*store, &another).await, None);
    assert!(works(&*store, &first).await);
    make(&*store, &new_key("Phone")).await;
    assert!(
        store
            .revoke(&name("phone").into())
            .await
            .expect("an answer")
            .is_some()
    );
    let (second, _) = make(&*store, &another).await;
    assert!(works(&*store, &second).await);
    assert!(!works(&*store, &first).await);
    assert_eq!(try_make(&*store, &another).await, None);
    assert_eq!(place.number("SELECT count(*) FROM keys").await, 3);
}

async fn of_many_at_once_one_gets_the_name(place: Place) {
    let nodes = [place.open().await.keys, place.open().await.keys];
    let requests = (0..50).map(|number| {
        let node = nodes[number % 2].clone();
        tokio::spawn(async move { try_make(&*node, &new_key("phone")).await })
    });
    let made = join_all(requests).await.into_iter();
    let made: Vec<_> = made.filter_map(|made| made.expect("no panic")).collect();
    let [(hash, record)] = &made[..] else {
        panic!("one of them: {made:?}");
    };
    assert_eq!(
        list(&*nodes[1], None, true).await,
        std::slice::from_ref(record)
    );
    assert!(works(&*nodes[0], hash).await);
}

async fn a_key_expires_and_keeps_its_name(place: Place) {
    let store = place.open().await.keys;
    let (long, _) = make(&*store, &living("long", "1000s")).await;
    let (short, _) = make(&*store, &living("short", "1s")).await;
    becomes_expired(&*store, &short).await;
    assert!(works(&*store, &long).await);
    assert_eq!(try_make(&*store, &new_key("short")).await, None);
    let names = |keys: Vec<KeyRecord>| -> Vec<_> {
        keys.into_iter()
            .map(|key| (key.name.to_string(), key.state))
            .collect()
    };
    let working = ("long".to_owned(), KeyState::Working);
    let expired = ("short".to_owned(), KeyState::Expired);
    let both = [working, expired];
    assert_eq!(names(list(&*store, None, false).await), both[..1]);
    assert_eq!(names(list(&*store, None, true).await), both);
    assert!(
        store
            .revoke(&name("short").into())
            .await
            .expect("an answer")
            .is_some()
    );
    make(&*store, &new_key("short")).await;
}

async fn a_revoked_key_is_found_no_more(place: Place) {
    let (one, other) = (place.open().await.keys, place.open().await.keys);
    let (revoked, record) = make(&*one, &new_key("revoked")).await;
    let (kept, _) = make(&*one, &new_key("kept")).await;
    assert!(
        other
            .revoke(&name("revoked").into())
            .await
            .expect("an answer")
            .is_some()
    );
    for store in [&one, &other] {
        assert!(!works(&**store, &revoked).await);
        assert!(works(&**store, &kept).await);
        for unknown in ["revoked", "never-made"] {
            let done = store
                .revoke(&name(unknown).into())
                .await
                .expect("an answer");
            assert_eq!(done, None, "{unknown}");
        }
    }
    assert_eq!(list(&*one, None, false).await.len(), 1);
    let all = list(&*one, None, true).await;
    let found = all.iter().find(|key| key.id == record.id);
    assert_eq!(found.map(|key| key.state), Some(KeyState::Revoked));
    assert!(
        one.any().await.expect("an answer"),
        "an empty table has none"
    );
}

async fn a_rotation_replaces_the_secret_and_nothing_else(place: Place) {
    let store = place.open().await.keys;
    let key = NewKey {
        owner: "anna".parse().expect("an owner"),
        quota: Some("5/10s".parse().expect("a quota")),
        ..new_key("phone")
    };
    let (old, before) = make(&*store, &key).await;
    let (bystander, _) = make(&*store, &new_key("bystander")).await;
    let new = ApiKey::generate().hash();
    let rotated = store
        .rotate(&key.name.clone().into(), &new)
        .await
        .expect("an answer");
    assert_eq!(rotated, Some(before), "the same number, and all else");
    assert!(!works(&*store, &old).await);
    assert!(works(&*store, &new).await);
    assert!(works(&*store, &bystander).await);

    assert!(
        store
            .revoke(&key.name.clone().into())
            .await
            .expect("an answer")
            .is_some()
    );
    for unknown in ["phone", "never-made"] {
        let newer = ApiKey::generate().hash();
        let rotated = store.rotate(&name(unknown).into(), &newer).await;
        assert_eq!(rotated.expect("an answer"), None, "{unknown}");
        assert!(!works(&*store, &newer).await);
    }
    assert!(!works(&*store, &new).await);
}

async fn a_rotation_begins_a_limited_life_anew(place: Place) {
    let store = place.open().await.keys;
    let key = living("phone", "2s");
    let (mut hash, mut before) = make(&*store, &key).await;
    // The second time, it has expired.
    for wait in [false, true] {
        if wait {
            becomes_expired(&*store, &hash).await;
        } else {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        hash = ApiKey::generate().hash();
        let rotated = store
            .rotate(&key.name.clone().into(), &hash)
            .await
            .expect("an answer");
        let rotated = rotated.expect("there is such a key");
        assert_eq!(rotated.created_at, before.created_at);
        assert!(since_1970(&rotated) > since_1970(&before));
        let left = look_up(&*store, &hash).await.expect("it works").expires_in;
        let left = left.expect("a limited life");
        assert!(left <= Duration::from_secs(2), "{left:?}");
        before = rotated;
    }
}

async fn of_rotations_at_once_one_secret_is_left(place: Place) {
    let nodes = [place.open().await.keys, place.open().await.keys];
    let (old, _) = make(&*nodes[0], &new_key("phone")).await;
    let rotations = (0..200).map(|number| {
        let node = nodes[number % 2].clone();
        tokio::spawn(async move {
            let hash = ApiKey::generate().hash();
            let rotated = node.rotate(&name("phone").into(), &hash).await;
            rotated.expect("an answer").expect("there is such a key");
            hash
        })
    });
    let mut working = 0;
    for hash in join_all(rotations).await {
        working += usize::from(works(&*nodes[0], &hash.expect("no panic")).await);
    }
    assert_eq!(working, 1);
    assert!(!works(&*nodes[0], &old).await);
}

async fn keys_are_listed_by_name(place: Place) {
    let store = place.open().await.keys;
    assert_eq!(list(&*store, None, true).await, []);
    for (text, owner) in [("b", "anna"), ("a", "bob"), ("C", "anna"), ("d", "bob")] {
        let owner = owner.parse().expect("an owner");
        make(
            &*store,
            &NewKey {
                owner,
                ..new_key(text)
            },
        )
        .await;
    }
    // One name three times: revoked, revoked, and working.
    for _ in 0..2 {
        assert!(
            store
                .revoke(&name("a").into())
                .await
                .expect("an answer")
                .is_some()
        );
        make(&*store, &new_key("a")).await;
    }
    let names = async |owner, all| -> Vec<String> {
        let keys = list(&*store, owner, all).await;
        keys.iter().map(|key| key.name.to_string()).collect()
    };
    assert_eq!(names(None, false).await, ["C", "a", "b", "d"]);
    assert_eq!(names(None, true).await, ["C", "a", "a", "a", "b", "d"]);
    assert_eq!(names(Some("anna"), true).await, ["C", "b"]);
    assert_eq!(names(Some("bob"), false).await, ["d"]);
    assert_eq!(names(Some("bob"), true).await, ["a", "d"]);
    assert_eq!(names(Some("nobody"), true).await, [""; 0]);
    let all = list(&*store, None, true).await;
    let a: Vec<_> = all.iter().filter(|key| key.name == name("a")).collect();
    let made_in_order = a.is_sorted_by_key(|key| key.id);
    assert!(made_in_order && a[2].state == KeyState::Working, "{a:?}");
}

/// The client of a deleted key must not be that of another one.
async fn no_number_is_given_twice(place: Place) {
    let store = place.open().await.keys;
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let (hash, record) = make(&*store, &new_key("phone")).await;
        assert!(seen.insert(record.id), "{record:?}");
        place.execute("DELETE FROM keys").await;
        assert!(!works(&*store, &hash).await);
    }
}
