//! What links can have beside a target: the contract of `LinkStore`.

use std::time::Duration;

use shunt::links::{
    Created, Expiry, Labels, LinkOptions, LookUp, Manner, NewLink, Note, Redirect, Tags, Terms,
    Title, Write,
};
use testkit::{eventually, wall_clock};

use super::{
    managing::{owner, plain},
    place::{Opened, Place, code, contract, url},
};

contract!(
    what_a_link_has_is_stored_and_looked_up,
    a_link_works_from_its_start_to_its_end,
    a_link_that_is_over_falls_back,
    a_link_that_is_taken_down_or_deleted_is_gone,
    a_further_code_leads_where_its_link_leads,
    each_owner_has_one_deduplicated_link_to_a_target,
    a_link_that_has_not_started_is_unknown_whatever_else_it_is,
    a_rehearsed_visit_by_a_further_code_uses_up_none,
);

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) async fn store(store: &Opened, link: NewLink) {
    let made = store.insert(&link).await.expect("an answer");
    assert_eq!(made, Created::Stored(link.code));
}

pub(super) async fn look_up(store: &Opened, text: &str) -> LookUp {
    let mut found = store.look_up(&[code(text)]).await.expect("an answer");
    found.remove(0)
}

/// Whether it leads everybody to its target.
pub(super) async fn works(store: &Opened, text: &str) -> bool {
    matches!(look_up(store, text).await, LookUp::Found(link) if link.password.is_none())
}

async fn what_a_link_has_is_stored_and_looked_up(place: Place) {
    let node = place.open().await;
    let labels = Labels {
        title: Title::parse("A \"title\"").ok(),
        note: Note::parse("one\ntwo").ok(),
        tags: Tags::parse(["b\"c", "a"]).expect("tags"),
    };
    store(
        &node,
        NewLink {
            owner: owner("anna"),
            options: LinkOptions {
                manner: Manner {
                    redirect: Redirect::PermanentRedirect,
                    forward_query: true,
                },
                fallback: Some(url("https://example.com/over")),
                enabled: true,
                password: None,
                labels,
            },
            terms: Terms {
                expiry: Some(Expiry::At(wall_clock() + HOUR)),
                ..Terms::default()
            },
            ..plain("special")
        },
    )
    .await;
    let LookUp::Found(link) = look_up(&node, "special").await else {
        panic!("it does not work");
    };
    assert_eq!(link.manner.redirect, Redirect::PermanentRedirect);
    assert!(link.manner.forward_query && !link.limited);
    assert_eq!(link.fallback.as_deref(), Some("https://example.com/over"));
    let left = link.expires_in.expect("an expiry");
    assert!(
        left > HOUR - Duration::from_secs(60) && left <= HOUR,
        "{left:?}"
    );
    let stored = "SELECT count(*) FROM urls WHERE owner = 'anna' AND title = 'A \"title\"'
                  AND note = 'one' || chr(10) || 'two'";
    let stored = match place {
        Place::Sqlite(_) => {
            "SELECT count(*) FROM urls WHERE owner = 'anna' AND title = 'A \"title\"'
                  AND note = 'one' || char(10) || 'two'"
        }
        Place::Postgres(_) => stored,
    };
    assert_eq!(place.number(stored).await, 1);
    let tags = "SELECT count(*) FROM taggings WHERE tag IN ('a', 'b\"c')";
    assert_eq!(place.number(tags).await, 2);

    store(&node, plain("plain")).await;
    let LookUp::Found(link) = look_up(&node, "plain").await else {
        panic!("it does not work");
    };
    assert_eq!(link.manner, Manner::default());
    assert_eq!((link.fallback, link.expires_in), (None, None));
}

async fn a_link_works_from_its_start_to_its_end(place: Place) {
    let node = place.open().await;
    let now = wall_clock();
    let between = |start: Option<Duration>, end: Option<Duration>| Terms {
        starts_at: start.map(|after| now + after),
        expiry: end.map(|after| Expiry::At(now + after)),
        max_visits: None,
    };
    let second = Duration::from_secs(1);
    for (text, terms) in [
        ("starts-later", between(Some(HOUR), None)),
        ("starts-soon", between(Some(second), None)),
        ("ends-soon", between(None, Some(second))),
        ("starts-and-ends", between(Some(second), Some(second * 3))),
    ] {
        store(
            &node,
            NewLink {
                terms,
                ..plain(text)
            },
        )
        .await;
    }
    let LookUp::NotStarted(left) = look_up(&node, "starts-later").await else {
        panic!("it works already");
    };
    assert!(
        left > HOUR - Duration::from_secs(60) && left <= HOUR,
        "{left:?}"
    );
    eventually("it starts", async || {
        works(&node, "starts-soon").await.then_some(())
    })
    .await;
    let ended = async || look_up(&node, "ends-soon").await == LookUp::Gone;
    eventually("it ends", async || ended().await.then_some(())).await;
    let ended = async || look_up(&node, "starts-and-ends").await == LookUp::Gone;
    eventually("it ends", async || ended().await.then_some(())).await;
    assert!(matches!(
        look_up(&node, "starts-later").await,
        LookUp::NotStarted(_)
    ));
}

async fn a_link_that_is_over_falls_back(place: Place) {
    let node = place.open().await;
    let options = LinkOptions {
        fallback: Some(url("https://example.com/over")),
        ..LinkOptions::default()
    };
    let fallback = LookUp::FallsBack("https://example.com/over".to_owned());
    let limited = Terms {
        max_visits: Some(1),
        ..Terms::default()
    };
    let ended = Terms {
        expiry: Some(Expiry::At(wall_clock() - HOUR)),
        ..Terms::default()
    };
    for (text, terms) in [("limited", limited), ("ended", ended)] {
        let options = options.clone();
        store(
            &node,
            NewLink {
                terms,
                options,
                ..plain(text)
            },
        )
        .await;
    }
    assert!(node.count_visit(&code("limited")).await.expect("an answer"));
    assert!(!node.count_visit(&code("limited")).await.expect("an answer"));
    assert_eq!(look_up(&node, "limited").await, fallback);
    assert_eq!(look_up(&node, "ended").await, fallback);
    // What was taken down leads nowhere.
    place.execute("UPDATE urls SET enabled = (1 = 0)").await;
    assert_eq!(look_up(&node, "ended").await, LookUp::Gone);
}

async fn a_link_that_is_taken_down_or_deleted_is_gone(place: Place) {
    let node = place.open().await;
    let options = LinkOptions {
        enabled: false,
        ..LinkOptions::default()
    };
    store(
        &node,
        NewLink {
            options,
            ..plain("disabled")
        },
    )
    .await;
    store(&node, plain("deleted")).await;
    let delete = match place {
        Place::Sqlite(_) => "UPDATE urls SET deleted_at = unixepoch() WHERE short_code = 'deleted'",
        Place::Postgres(_) => "UPDATE urls SET deleted_at = now() WHERE short_code = 'deleted'",
    };
    place.execute(delete).await;
    for text in ["disabled", "deleted"] {
        assert_eq!(look_up(&node, text).await, LookUp::Gone, "{text}");
    }
    place
        .execute("UPDATE urls SET enabled = (1 = 1), deleted_at = NULL")
        .await;
    for text in ["disabled", "deleted"] {
        assert!(works(&node, text).await, "{text}");
    }
}

/// Deletes a link as an administrator does: the shell of SQLite does not heed foreign keys.
pub(super) fn delete(place: &Place, text: &str) -> &'static str {
    let pragma = match place {
        Place::Sqlite(_) => "PRAGMA foreign_keys = OFF;",
        Place::Postgres(_) => "",
    };
    format!("{pragma} DELETE FROM urls WHERE short_code = '{text}'").leak()
}

pub(super) const ADD_A_CODE: &str = "INSERT INTO urls (short_code, original_url, main_id)
    SELECT 'further', original_url, id FROM urls WHERE short_code = 'main-code'";

async fn a_further_code_leads_where_its_link_leads(place: Place) {
    let node = place.open().await;
    let terms = Terms {
        max_visits: Some(3),
        ..Terms::default()
    };
    store(
        &node,
        NewLink {
            terms,
            ..plain("main-code")
        },
    )
    .await;
    place.execute(ADD_A_CODE).await;
    place
        .execute(
            "UPDATE urls SET original_url = 'https://example.org/' WHERE short_code = 'main-code'",
        )
        .await;
    for text in ["main-code", "further"] {
        let LookUp::Found(link) = look_up(&node, text).await else {
            panic!("{text} does not work");
        };
        assert_eq!((&*link.url, link.limited), ("https://example.org/", true));
    }
    // Visits by any code are those of the link.
    for (text, left) in [
        ("further", true),
        ("main-code", true),
        ("further", true),
        ("further", false),
    ] {
        assert_eq!(
            node.count_visit(&code(text)).await.expect("an answer"),
            left
        );
    }
    for text in ["main-code", "further"] {
        assert_eq!(look_up(&node, text).await, LookUp::Gone, "{text}");
    }
    // Nobody else gets the code, and it goes with its link.
    let taken = node.insert(&plain("further")).await.expect("an answer");
    assert_eq!(taken, Created::CodeTaken);
    place.execute(delete(&place, "main-code")).await;
    assert_eq!(look_up(&node, "further").await, LookUp::Unknown);
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 0);
}

async fn each_owner_has_one_deduplicated_link_to_a_target(place: Place) {
    let node = place.open().await;
    let mut number = 0;
    for owner in [None, owner("anna"), owner("bert")] {
        number += 1;
        let first = format!("first-{number}");
        for text in [&first, &format!("second-{number}")] {
            let link = NewLink {
                deduplicated: true,
                owner: owner.clone(),
                ..plain(text)
            };
            let made = node.insert(&link).await.expect("an answer");
            assert_eq!(made, Created::Stored(code(&first)), "{owner:?}");
        }
    }
    let owned = "SELECT count(*) FROM urls WHERE owner IS NOT NULL";
    assert_eq!(place.number(owned).await, 2);
}

/// Whoever made it may not want it to be known yet.
async fn a_link_that_has_not_started_is_unknown_whatever_else_it_is(place: Place) {
    let node = place.open().await;
    let terms = Terms {
        starts_at: Some(wall_clock() + HOUR),
        max_visits: Some(1),
        ..Terms::default()
    };
    let options = LinkOptions {
        enabled: false,
        fallback: Some(url("https://example.com/over")),
        ..LinkOptions::default()
    };
    let link = NewLink {
        terms,
        options,
        ..plain("secret")
    };
    store(&node, link).await;
    store(&node, plain("other")).await;
    place.execute("UPDATE urls SET visits = 1").await;
    assert!(matches!(
        look_up(&node, "secret").await,
        LookUp::NotStarted(_)
    ));
    if let Place::Postgres(_) = place {
        for never in ["infinity", "-infinity"] {
            let update =
                format!("UPDATE urls SET starts_at = '{never}' WHERE short_code = 'secret'");
            place.execute(update.leak()).await;
            let codes = [code("secret"), code("other")];
            let found = node.look_up(&codes).await.expect("an answer");
            assert!(matches!(found[1], LookUp::Found(_)), "{never}");
            let is_unknown = found[0] == LookUp::NotStarted(Duration::MAX);
            assert_eq!(is_unknown, never == "infinity", "{found:?}");
        }
    }
}

async fn a_rehearsed_visit_by_a_further_code_uses_up_none(place: Place) {
    let node = place.open().await;
    let terms = Terms {
        max_visits: Some(3),
        ..Terms::default()
    };
    let link = NewLink {
        terms,
        ..plain("main-code")
    };
    store(&node, link).await;
    place.execute(ADD_A_CODE).await;
    for text in ["further", "main-code"] {
        let rehearsed = node.rehearse(&Write::Visit(code(text))).await;
        rehearsed.expect("it would be counted");
        let counted = "SELECT count(*) FROM urls WHERE visits <> 0";
        assert_eq!(place.number(counted).await, 0, "{text}");
    }
}
