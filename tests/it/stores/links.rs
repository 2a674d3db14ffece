//! The contract of `LinkStore`.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use shunt::links::{Created, Expiry, LinkStore, LookUp, NewLink, Resolved, TargetUrl, Terms};
use testkit::eventually;

use super::place::{Place, code, contract, url};

contract!(
    what_was_stored_is_found,
    one_target_has_one_deduplicated_link,
    a_code_belongs_to_one_link,
    links_of_ones_own_are_not_deduplicated,
    codes_differ_by_case,
    long_targets_are_told_apart,
    two_hundred_at_once_make_one_link,
    a_link_expires,
    visits_are_used_up_exactly,
    what_was_stored_survives_the_store,
    several_nodes_start_at_once_on_an_empty_database,
    a_database_that_a_later_release_migrated_still_opens,
);

/// Inserts a deduplicated link, as `POST /shorten` without anything special does.
async fn deduplicated(store: &dyn LinkStore, text: &str, target: &TargetUrl) -> Created {
    insert(store, text, target, true, Terms::default()).await
}

async fn own(store: &dyn LinkStore, text: &str, target: &TargetUrl, terms: Terms) -> Created {
    insert(store, text, target, false, terms).await
}

async fn insert(
    store: &dyn LinkStore,
    text: &str,
    target: &TargetUrl,
    deduplicated: bool,
    terms: Terms,
) -> Created {
    let link = NewLink {
        deduplicated,
        terms,
        ..NewLink::new(code(text), target.clone())
    };
    store.insert(&link).await.expect("an answer")
}

async fn look_up(store: &dyn LinkStore, text: &str) -> LookUp {
    let mut found = store.look_up(&[code(text)]).await.expect("an answer");
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// Asks as a visitor does: uses up a visit if the link's visits are limited.
async fn follow(store: &dyn LinkStore, text: &str) -> Resolved {
    match look_up(store, text).await {
        LookUp::Unknown => Resolved::Unknown,
        LookUp::Gone => Resolved::Gone,
        LookUp::FallsBack(url) => Resolved::FallsBack(url),
        LookUp::NotStarted(_) => Resolved::Unknown,
        LookUp::Found(link) if !link.limited => Resolved::Found(link.url.into()),
        LookUp::Found(link) => {
            let counted = store.count_visit(&code(text)).await;
            if counted.expect("an answer") {
                Resolved::Visited(link.url.into())
            } else {
                Resolved::Gone
            }
        }
    }
}

fn leads_to(target: &TargetUrl) -> Resolved {
    Resolved::Found(target.to_string().into())
}

fn stored(text: &str) -> Created {
    Created::Stored(code(text))
}

async fn what_was_stored_is_found(place: Place) {
    let store = place.open().await;
    let target = url("https://example.com/?q=ü");
    assert_eq!(
        deduplicated(&*store, "first1", &target).await,
        stored("first1")
    );
    assert_eq!(follow(&*store, "first1").await, leads_to(&target));
    assert_eq!(follow(&*store, "first2").await, Resolved::Unknown);
    store.ping().await.expect("alive");
}

async fn one_target_has_one_deduplicated_link(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let target = url("https://example.com/deduplicated");
    assert_eq!(
        deduplicated(&*one, "dedup1", &target).await,
        stored("dedup1")
    );
    assert_eq!(
        deduplicated(&*other, "dedup2", &target).await,
        stored("dedup1")
    );
    assert_eq!(
        deduplicated(&*one, "dedup3", &url("https://example.com/")).await,
        stored("dedup3")
    );
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 2);
}

async fn a_code_belongs_to_one_link(place: Place) {
    let store = place.open().await;
    deduplicated(&*store, "taken1", &url("https://example.com/1")).await;
    let other = url("https://example.com/2");
    assert_eq!(
        deduplicated(&*store, "taken1", &other).await,
        Created::CodeTaken
    );
    let own = own(&*store, "taken1", &other, Terms::default()).await;
    assert_eq!(own, Created::CodeTaken);
    assert_eq!(
        follow(&*store, "taken1").await,
        leads_to(&url("https://example.com/1"))
    );
}

async fn links_of_ones_own_are_not_deduplicated(place: Place) {
    let store = place.open().await;
    let target = url("https://example.com/");
    assert_eq!(
        own(&*store, "mine1", &target, Terms::default()).await,
        stored("mine1")
    );
    assert_eq!(
        own(&*store, "mine2", &target, Terms::default()).await,
        stored("mine2")
    );
    assert_eq!(
        deduplicated(&*store, "everyones", &target).await,
        stored("everyones")
    );
    assert_eq!(
        deduplicated(&*store, "unused", &target).await,
        stored("everyones")
    );
}

async fn codes_differ_by_case(place: Place) {
    let store = place.open().await;
    deduplicated(&*store, "CaseCode", &url("https://example.com/upper")).await;
    assert_eq!(follow(&*store, "casecode").await, Resolved::Unknown);
    deduplicated(&*store, "casecode", &url("https://example.com/lower")).await;
    assert_eq!(
        follow(&*store, "CaseCode").await,
        leads_to(&url("https://example.com/upper"))
    );
}

/// An index on the URL itself fails above 2704 bytes, one on a prefix mixes these up.
async fn long_targets_are_told_apart(place: Place) {
    let store = place.open().await;
    // Nothing that compresses.
    let noise: String = (0..8_100_u32)
        .map(|i| {
            char::from(
                b'a' + u8::try_from(i.wrapping_mul(2_654_435_761) >> 27).expect("5 bits") % 26,
            )
        })
        .collect();
    let (one, other) = (
        url(&format!("https://example.com/{noise}1")),
        url(&format!("https://example.com/{noise}2")),
    );
    assert_eq!(deduplicated(&*store, "long1", &one).await, stored("long1"));
    assert_eq!(
        deduplicated(&*store, "long2", &other).await,
        stored("long2")
    );
    assert_eq!(deduplicated(&*store, "long3", &one).await, stored("long1"));
    assert_eq!(follow(&*store, "long2").await, leads_to(&other));
}

async fn two_hundred_at_once_make_one_link(place: Place) {
    let nodes = [place.open().await, place.open().await];
    let target = url("https://example.com/at-once");
    let requests = (0..200).map(|number| {
        let (node, target) = (nodes[number % 2].clone(), target.clone());
        tokio::spawn(
            async move { deduplicated(&*node, &format!("at-once-{number}"), &target).await },
        )
    });
    let results: HashSet<String> = join_all(requests)
        .await
        .into_iter()
        .map(|created| format!("{:?}", created.expect("no panic")))
        .collect();
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 1);
}

async fn a_link_expires(place: Place) {
    let store = place.open().await;
    let target = url("https://example.com/");
    let lives = |seconds| Terms {
        expiry: Some(Expiry::In(Duration::from_secs(seconds))),
        ..Terms::default()
    };
    own(&*store, "short-lived", &target, lives(1)).await;
    own(&*store, "long-lived", &target, lives(1_000)).await;
    assert_eq!(follow(&*store, "long-lived").await, leads_to(&target));
    eventually("the link expires", async || {
        (follow(&*store, "short-lived").await == Resolved::Gone).then_some(())
    })
    .await;
    assert_eq!(follow(&*store, "long-lived").await, leads_to(&target));
}

async fn visits_are_used_up_exactly(place: Place) {
    let nodes = [place.open().await, place.open().await];
    let target = url("https://example.com/");
    let terms = Terms {
        max_visits: Some(7),
        ..Terms::default()
    };
    own(&*nodes[0], "limited", &target, terms).await;
    for _ in 0..20 {
        let looked = look_up(&*nodes[0], "limited").await;
        assert!(matches!(looked, LookUp::Found(link) if link.limited));
    }
    let visits = (0..50).map(|number| {
        let node = nodes[number % 2].clone();
        tokio::spawn(async move { follow(&*node, "limited").await })
    });
    let visits = join_all(visits).await;
    let found = visits
        .into_iter()
        .filter(|visit| matches!(visit, Ok(Resolved::Visited(_))));
    assert_eq!(found.count(), 7);
    assert_eq!(look_up(&*nodes[1], "limited").await, LookUp::Gone);
}

async fn what_was_stored_survives_the_store(place: Place) {
    let target = url("https://example.com/");
    let store = place.open().await;
    deduplicated(&*store, "lasting", &target).await;
    store.database.close().await;
    let reopened = place.open().await;
    assert_eq!(follow(&*reopened, "lasting").await, leads_to(&target));
}

async fn several_nodes_start_at_once_on_an_empty_database(place: Place) {
    let nodes = join_all((0..5).map(|_| place.open())).await;
    let target = url("https://example.com/");
    deduplicated(&*nodes[0], "started", &target).await;
    for node in &nodes {
        assert_eq!(follow(&**node, "started").await, leads_to(&target));
    }
}

/// During an upgrade the previous release may have to start once more.
async fn a_database_that_a_later_release_migrated_still_opens(place: Place) {
    place.open().await.database.close().await;
    let later =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0) RETURNING version";
    assert_eq!(place.number(later).await, 9999);
    let store = place.open().await;
    deduplicated(&*store, "older", &url("https://example.com/")).await;
}
