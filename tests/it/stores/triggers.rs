//! What the tables keep in order by themselves, whoever writes to them: this release, the previous one, or an
//! administrator.

use std::time::Duration;

use shunt::links::{Created, Expiry, Labels, LinkOptions, LookUp, NewLink, Tags, Terms};

use super::{
    managing::plain,
    options::{ADD_A_CODE, delete, look_up, store, works},
    place::{Place, code, contract},
};

contract!(
    whatever_makes_a_shared_link_special_ends_the_sharing,
    what_the_previous_release_must_not_open_reads_as_expired_to_it,
    an_expiry_is_not_lost_whatever_is_done_to_the_row,
    tags_are_found_whoever_writes_them,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// What the previous release asks of a code.
pub(super) fn previous_look_up(place: &Place, text: &str) -> &'static str {
    let now = match place {
        Place::Sqlite(_) => "unixepoch('subsec')",
        Place::Postgres(_) => "now()",
    };
    format!(
        "SELECT count(*) FROM urls WHERE short_code = '{text}'
         AND NOT (coalesce(expires_at <= {now}, 1 = 0) OR coalesce(visits >= max_visits, 1 = 0))"
    )
    .leak()
}

async fn whatever_makes_a_shared_link_special_ends_the_sharing(place: Place) {
    let node = place.open().await;
    let share = async |text: &str| {
        let link = NewLink {
            deduplicated: true,
            ..plain(text)
        };
        node.insert(&link).await.expect("an answer")
    };
    let time = match place {
        Place::Sqlite(_) => "4102444800",
        Place::Postgres(_) => "'2100-01-01'",
    };
    let mut shared = "shared-0".to_owned();
    assert_eq!(share(&shared).await, Created::Stored(code(&shared)));
    let changes = [
        "original_url = 'https://example.org/'",
        "owner = 'anna'",
        &format!("expires_at = {time}"),
        "max_visits = 5",
        &format!("starts_at = {time}"),
        "enabled = (1 = 0)",
        &format!("deleted_at = {time}"),
        "password_hash = 'x'",
        "redirect = 301",
        "forward_query = (1 = 1)",
        "fallback_url = 'https://example.org/'",
        "main_id = (SELECT id FROM urls WHERE short_code = 'main-code')",
    ];
    store(&node, plain("main-code")).await;
    for (number, change) in changes.into_iter().enumerate() {
        let update = format!("UPDATE urls SET {change} WHERE short_code = '{shared}'");
        place.execute(update.leak()).await;
        shared = format!("shared-{}", number + 1);
        assert_eq!(
            share(&shared).await,
            Created::Stored(code(&shared)),
            "{change}"
        );
    }
    // What visitors do not notice changes nothing.
    place
        .execute("UPDATE urls SET title = 'a', note = 'b', tags = NULL")
        .await;
    assert_eq!(share("another").await, Created::Stored(code(&shared)));
}

async fn what_the_previous_release_must_not_open_reads_as_expired_to_it(place: Place) {
    let node = place.open().await;
    let (time, over) = match place {
        Place::Sqlite(_) => ("4102444800", "unixepoch() - 9"),
        Place::Postgres(_) => ("timestamptz '2100-01-01'", "now() - interval '9 seconds'"),
    };
    let lives = Terms {
        expiry: Some(Expiry::In(HOUR)),
        ..Terms::default()
    };
    let update = |set: &str| -> &'static str {
        format!("UPDATE urls SET {set} WHERE short_code = 'hidden'").leak()
    };
    let opens = async || place.number(previous_look_up(&place, "hidden")).await == 1;
    for (hide, show) in [
        ("password_hash = 'x'".to_owned(), "password_hash = NULL"),
        ("enabled = (1 = 0)".to_owned(), "enabled = (1 = 1)"),
        (format!("deleted_at = {over}"), "deleted_at = NULL"),
        (format!("starts_at = {time}"), "starts_at = NULL"),
    ] {
        for (terms, has_expiry) in [(Terms::default(), false), (lives, true)] {
            store(
                &node,
                NewLink {
                    terms,
                    ..plain("hidden")
                },
            )
            .await;
            assert!(opens().await && works(&node, "hidden").await, "{hide}");
            place.execute(update(&hide)).await;
            assert!(!opens().await && !works(&node, "hidden").await, "{hide}");
            // An expiry that is set, or removed, meanwhile counts afterwards.
            place.execute(update(show)).await;
            assert!(opens().await && works(&node, "hidden").await, "{show}");
            let expiring = "SELECT count(*) FROM urls WHERE expires_at IS NOT NULL";
            assert_eq!(
                place.number(expiring).await,
                i64::from(has_expiry),
                "{show}"
            );
            place.execute(update(&hide)).await;
            place.execute(update(&format!("expires_at = {over}"))).await;
            assert!(!opens().await, "{hide}");
            place.execute(update(show)).await;
            assert_eq!(look_up(&node, "hidden").await, LookUp::Gone, "{show}");
            place.execute(update(&hide)).await;
            place.execute(update("expires_at = NULL")).await;
            assert!(!opens().await, "{hide}");
            place.execute(update(show)).await;
            assert!(opens().await && works(&node, "hidden").await, "{show}");
            place.execute("DELETE FROM urls").await;
        }
    }
    // Links that are made so.
    let options = LinkOptions {
        enabled: false,
        ..LinkOptions::default()
    };
    store(
        &node,
        NewLink {
            options,
            ..plain("hidden")
        },
    )
    .await;
    assert!(!opens().await);
    place.execute("DELETE FROM urls").await;
    store(&node, plain("main-code")).await;
    place.execute(ADD_A_CODE).await;
    assert_eq!(place.number(previous_look_up(&place, "further")).await, 0);
    assert!(works(&node, "further").await);
}

async fn an_expiry_is_not_lost_whatever_is_done_to_the_row(place: Place) {
    let node = place.open().await;
    let terms = Terms {
        expiry: Some(Expiry::In(HOUR)),
        ..Terms::default()
    };
    let options = LinkOptions {
        enabled: false,
        ..LinkOptions::default()
    };
    for (text, terms) in [("expires", terms), ("lasts", Terms::default())] {
        let options = options.clone();
        let link = NewLink {
            terms,
            options,
            ..plain(text)
        };
        store(&node, link).await;
    }
    let copy = match place {
        Place::Sqlite(_) => {
            "CREATE TABLE copied AS SELECT * FROM urls; DELETE FROM urls;
             INSERT INTO urls SELECT * FROM copied; DROP TABLE copied"
        }
        Place::Postgres(_) => {
            "CREATE TABLE copied AS SELECT * FROM urls; DELETE FROM urls;
             INSERT INTO urls OVERRIDING SYSTEM VALUE SELECT * FROM copied; DROP TABLE copied"
        }
    };
    for change in [
        "UPDATE urls SET hidden = (1 = 0)",
        "UPDATE urls SET title = 'a', visits = visits",
        copy,
        "UPDATE urls SET hidden = (1 = 0), enabled = (1 = 0)",
    ] {
        place.execute(change).await;
        for text in ["expires", "lasts"] {
            let opens = place.number(previous_look_up(&place, text)).await;
            assert_eq!(opens, 0, "{change}");
            assert_eq!(look_up(&node, text).await, LookUp::Gone, "{change}");
        }
    }
    place.execute("UPDATE urls SET enabled = (1 = 1)").await;
    for (text, expires) in [("expires", true), ("lasts", false)] {
        let LookUp::Found(link) = look_up(&node, text).await else {
            panic!("{text} does not work");
        };
        assert_eq!(link.expires_in.is_some(), expires, "{text}");
    }
}

async fn tags_are_found_whoever_writes_them(place: Place) {
    let node = place.open().await;
    let tagged = |texts: &[&str]| LinkOptions {
        labels: Labels {
            tags: Tags::parse(texts.iter().copied()).expect("tags"),
            ..Labels::default()
        },
        ..LinkOptions::default()
    };
    store(
        &node,
        NewLink {
            options: tagged(&["a", "b"]),
            ..plain("tagged")
        },
    )
    .await;
    store(
        &node,
        NewLink {
            options: tagged(&["b"]),
            ..plain("other")
        },
    )
    .await;
    let counts = async || {
        let of = |tag: &str| -> &'static str {
            format!("SELECT count(*) FROM taggings WHERE tag = '{tag}'").leak()
        };
        [
            place.number(of("a")).await,
            place.number(of("b")).await,
            place.number(of("c")).await,
        ]
    };
    assert_eq!(counts().await, [1, 2, 0]);
    let tags = match place {
        Place::Sqlite(_) => r#"UPDATE urls SET tags = '["b","c"]' WHERE short_code = 'tagged'"#,
        Place::Postgres(_) => "UPDATE urls SET tags = '{b,c}' WHERE short_code = 'tagged'",
    };
    place.execute(tags).await;
    assert_eq!(counts().await, [0, 2, 1]);
    place
        .execute("UPDATE urls SET tags = NULL WHERE short_code = 'tagged'")
        .await;
    assert_eq!(counts().await, [0, 1, 0]);
    let remove_all = match place {
        Place::Sqlite(_) => "DELETE FROM urls",
        Place::Postgres(_) => "TRUNCATE urls",
    };
    for remove in [delete(&place, "other"), remove_all] {
        place.execute(remove).await;
        assert_eq!(counts().await, [0, 0, 0], "{remove}");
        store(
            &node,
            NewLink {
                options: tagged(&["a"]),
                ..plain("last")
            },
        )
        .await;
        assert_eq!(counts().await, [1, 0, 0]);
        place
            .execute("DELETE FROM urls WHERE short_code = 'last'")
            .await;
    }
}
