//! The contract of `LinkManagement`, continued: the codes of a link, and what becomes of a dead link's.

use futures_util::future::join_all;
use shunt::links::{
    Created, EditRefusal, Editor, Expiry, LinkOptions, LinkRecord, LookUp, MAX_FURTHER_CODES,
    NewLink, Operation, ShortCode, Terms,
};

use super::{
    managing::{
        alias, edit, editor, look_up, owner, plain, record, remove_code, rename, store, version,
    },
    place::{Opened, Place, code, contract, url},
};

contract!(
    a_link_is_renamed_again_and_again_and_back,
    a_further_code_can_be_taken_away_but_the_main_one_cannot,
    the_code_of_another_link_is_not_to_be_had,
    a_link_has_a_bounded_number_of_codes,
    of_links_that_want_one_code_one_gets_it,
    codes_that_change_hands_stay_whole,
    a_dead_link_gives_way_to_its_owner_and_to_administrators,
    a_link_that_may_work_again_gives_way_to_nobody,
    a_dead_link_gives_way_with_its_codes_and_keeps_them_if_only_one_is_wanted,
    of_new_links_in_the_place_of_a_dead_one_one_is_stored,
);

fn codes(link: &LinkRecord) -> Vec<&str> {
    link.codes().map(ShortCode::as_str).collect()
}

async fn works(node: &Opened, text: &str) -> bool {
    matches!(look_up(node, text).await, LookUp::Found(_))
}

async fn a_link_is_renamed_again_and_again_and_back(place: Place) {
    let node = place.open().await;
    let terms = Terms {
        max_visits: Some(5),
        ..Terms::default()
    };
    let link = NewLink {
        terms,
        ..plain("one")
    };
    store(&node, link).await;
    for (by, to, expected) in [
        ("one", "two", ["two", "one"].as_slice()),
        ("one", "three", &["three", "one", "two"]),
        // Nothing to do.
        ("two", "three", &["three", "one", "two"]),
        // To a code that it has.
        ("three", "one", &["one", "two", "three"]),
        ("three", "two", &["two", "three", "one"]),
    ] {
        let renamed = edit(&node, by, rename(to)).await;
        let renamed = renamed.expect("it is done");
        assert_eq!(codes(&renamed), expected, "{by} {to}");
        for text in expected {
            assert_eq!(codes(&record(&node, text).await), expected);
            assert!(works(&node, text).await, "{text}");
        }
    }
    // All of them count the same visits.
    for text in ["one", "two", "three", "one", "two"] {
        let counted = node.count_visit(&code(text)).await;
        assert!(counted.expect("an answer"), "{text}");
    }
    assert_eq!(look_up(&node, "three").await, LookUp::Gone);
    assert_eq!(record(&node, "three").await.visits, 5);
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 3);
}

async fn a_further_code_can_be_taken_away_but_the_main_one_cannot(place: Place) {
    let node = place.open().await;
    store(&node, plain("main-code")).await;
    store(&node, plain("bystander")).await;
    for _ in 0..2 {
        let added = edit(&node, "main-code", Operation::AddCode(alias("further"))).await;
        let added = added.expect("it is there");
        assert_eq!(codes(&added), ["main-code", "further"]);
    }
    let own = edit(&node, "further", Operation::AddCode(alias("main-code"))).await;
    assert_eq!(codes(&own.expect("it is there")), ["main-code", "further"]);
    for (by, what, why) in [
        ("main-code", "main-code", EditRefusal::MainCode),
        ("further", "main-code", EditRefusal::MainCode),
        ("main-code", "bystander", EditRefusal::NoSuchCode),
        ("bystander", "further", EditRefusal::NoSuchCode),
        ("main-code", "nothing", EditRefusal::NoSuchCode),
    ] {
        let removed = edit(&node, by, remove_code(what)).await;
        assert_eq!(removed, Err(why), "{by} {what}");
    }
    for text in ["main-code", "further", "bystander"] {
        assert!(works(&node, text).await, "{text}");
    }
    let removed = edit(&node, "further", remove_code("further")).await;
    assert_eq!(codes(&removed.expect("it is gone")), ["main-code"]);
    assert_eq!(look_up(&node, "further").await, LookUp::Unknown);
    assert!(works(&node, "main-code").await);
    // It is free.
    store(&node, plain("further")).await;
}

async fn the_code_of_another_link_is_not_to_be_had(place: Place) {
    let node = place.open().await;
    for text in ["one", "other"] {
        store(&node, plain(text)).await;
    }
    let further = Operation::AddCode(alias("further"));
    edit(&node, "other", further).await.expect("it is done");
    let before = version(&node, "one").await;
    for taken in ["other", "further"] {
        for operation in [Operation::AddCode(alias(taken)), rename(taken)] {
            let edited = edit(&node, "one", operation).await;
            assert_eq!(edited, Err(EditRefusal::CodeTaken), "{taken}");
        }
    }
    assert_eq!(version(&node, "one").await, before);
    assert_eq!(codes(&record(&node, "other").await), ["other", "further"]);
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 3);
}

async fn a_link_has_a_bounded_number_of_codes(place: Place) {
    let node = place.open().await;
    store(&node, plain("link")).await;
    let add = |number: usize| Operation::AddCode(alias(&format!("further-{number}")));
    for number in 0..MAX_FURTHER_CODES {
        edit(&node, "link", add(number)).await.expect("it is done");
    }
    for operation in [add(MAX_FURTHER_CODES), rename("renamed")] {
        let edited = edit(&node, "link", operation).await;
        assert_eq!(edited, Err(EditRefusal::TooManyCodes));
    }
    // These two need no more.
    edit(&node, "link", add(0)).await.expect("it is there");
    let renamed = edit(&node, "link", rename("further-7")).await;
    let renamed = renamed.expect("it is done");
    assert_eq!(renamed.further_codes.len(), MAX_FURTHER_CODES);
}

async fn of_links_that_want_one_code_one_gets_it(place: Place) {
    let nodes = [place.open().await, place.open().await];
    for number in 0..10 {
        store(&nodes[0], plain(&format!("link-{number}"))).await;
    }
    let edits = (0..10).map(|number| {
        let node = nodes[number % 2].clone();
        let operation = if number < 5 {
            rename("wanted")
        } else {
            Operation::AddCode(alias("wanted"))
        };
        tokio::spawn(async move { edit(&node, &format!("link-{number}"), operation).await })
    });
    let edited = join_all(edits).await;
    let edited = edited.into_iter().map(|edited| edited.expect("no panic"));
    let (done, refused): (Vec<_>, Vec<_>) = edited.partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    for refused in refused {
        assert_eq!(refused, Err(EditRefusal::CodeTaken));
    }
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 11);
}

/// Two links give a code to each other, over and over. It has one of them or neither, and no edit of the one ever
/// concerns the other.
async fn codes_that_change_hands_stay_whole(place: Place) {
    let nodes = [place.open().await, place.open().await];
    for text in ["left", "right"] {
        store(&nodes[0], plain(text)).await;
    }
    let hands = ["left", "right"]
        .into_iter()
        .zip(&nodes)
        .map(|(text, node)| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut taken = 0;
                for attempt in 0..10_000 {
                    // The other may be faster each time. Once it has stopped, this one gets the code.
                    if attempt >= 40 && taken > 0 {
                        break;
                    }
                    let added = edit(&node, text, Operation::AddCode(alias("ball"))).await;
                    if let Ok(link) = added {
                        assert_eq!(codes(&link), [text, "ball"]);
                        let removed = edit(&node, "ball", remove_code("ball")).await;
                        assert_eq!(codes(&removed.expect("it is there")), [text]);
                        taken += 1;
                    }
                }
                taken
            })
        });
    let taken: Vec<u32> = join_all(hands)
        .await
        .into_iter()
        .map(|taken| taken.expect("no panic"))
        .collect();
    assert!(taken.iter().all(|taken| *taken > 0), "{taken:?}");
    assert_eq!(look_up(&nodes[0], "ball").await, LookUp::Unknown);
}

/// A new link to another target, in the place of what `editor` may replace.
fn replacement(text: &str, editor: Editor) -> NewLink {
    NewLink {
        in_place_of: Some(editor),
        ..NewLink::new(code(text), url("https://example.org/new"))
    }
}

/// The statement that makes a link dead in each way.
fn deaths(place: &Place) -> [&'static str; 3] {
    match place {
        Place::Sqlite(_) => [
            "UPDATE urls SET expires_at = 1000000000",
            "UPDATE urls SET max_visits = 1, visits = 1",
            "UPDATE urls SET deleted_at = unixepoch('subsec')",
        ],
        Place::Postgres(_) => [
            "UPDATE urls SET expires_at = '2001-01-01'",
            "UPDATE urls SET max_visits = 1, visits = 1",
            "UPDATE urls SET deleted_at = now()",
        ],
    }
}

async fn a_dead_link_gives_way_to_its_owner_and_to_administrators(place: Place) {
    let node = place.open().await;
    for death in deaths(&place) {
        for (whose, who, gives_way) in [
            (owner("anna"), None, false),
            (owner("anna"), Some(editor("bert")), false),
            (None, Some(editor("anna")), false),
            (owner("anna"), Some(editor("anna")), true),
            (owner("anna"), Some(Editor::Administrator), true),
            (None, Some(Editor::Administrator), true),
        ] {
            let link = NewLink {
                owner: whose.clone(),
                ..plain("link")
            };
            store(&node, link).await;
            place.execute(death).await;
            let before = version(&node, "link").await;
            let new = NewLink {
                in_place_of: who.clone(),
                owner: owner("new"),
                ..replacement("link", Editor::Administrator)
            };
            let created = node.insert(&new).await.expect("an answer");
            if gives_way {
                assert_eq!(created, Created::Replaced(vec![code("link")]), "{death}");
                let link = record(&node, "link").await;
                assert_eq!(link.target, "https://example.org/new");
                assert_eq!(link.owner, owner("new"));
                assert!(works(&node, "link").await);
            } else {
                assert_eq!(created, Created::CodeTaken, "{death} {whose:?} {who:?}");
                assert_eq!(version(&node, "link").await, before);
            }
            assert_eq!(place.number("SELECT count(*) FROM urls").await, 1);
            place.execute("DELETE FROM urls").await;
        }
    }
}

async fn a_link_that_may_work_again_gives_way_to_nobody(place: Place) {
    let node = place.open().await;
    let later = testkit::wall_clock() + std::time::Duration::from_secs(3_600);
    let terms = |starts_at, expiry, max_visits| Terms {
        starts_at,
        expiry,
        max_visits,
    };
    for (text, terms, enabled) in [
        ("active", Terms::default(), true),
        ("scheduled", terms(Some(later), None, None), true),
        ("disabled", Terms::default(), false),
        ("expiring", terms(None, Some(Expiry::At(later)), None), true),
        ("limited", terms(None, None, Some(1)), true),
    ] {
        let options = LinkOptions {
            enabled,
            ..LinkOptions::default()
        };
        let link = NewLink {
            terms,
            options,
            ..plain(text)
        };
        store(&node, link).await;
        let before = version(&node, text).await;
        let new = replacement(text, Editor::Administrator);
        let created = node.insert(&new).await.expect("an answer");
        assert_eq!(created, Created::CodeTaken, "{text}");
        assert_eq!(version(&node, text).await, before);
    }
    // A code that is free is simply taken.
    let new = replacement("free", Editor::Administrator);
    let created = node.insert(&new).await.expect("an answer");
    assert_eq!(created, Created::Stored(code("free")));
}

async fn a_dead_link_gives_way_with_its_codes_and_keeps_them_if_only_one_is_wanted(place: Place) {
    let node = place.open().await;
    store(&node, plain("main-code")).await;
    for text in ["first", "second"] {
        let added = edit(&node, "main-code", Operation::AddCode(alias(text))).await;
        added.expect("it is done");
    }
    edit(&node, "main-code", Operation::Delete)
        .await
        .expect("it is done");
    let new = replacement("first", Editor::Administrator);
    let created = node.insert(&new).await.expect("an answer");
    assert_eq!(created, Created::Replaced(vec![code("first")]));
    assert_eq!(
        codes(&record(&node, "main-code").await),
        ["main-code", "second"]
    );
    let new = replacement("main-code", Editor::Administrator);
    let created = node.insert(&new).await.expect("an answer");
    let gone = vec![code("main-code"), code("second")];
    assert_eq!(created, Created::Replaced(gone));
    assert_eq!(look_up(&node, "second").await, LookUp::Unknown);
    for text in ["first", "main-code"] {
        assert!(works(&node, text).await, "{text}");
    }
}

async fn of_new_links_in_the_place_of_a_dead_one_one_is_stored(place: Place) {
    let nodes = [place.open().await, place.open().await];
    store(&nodes[0], plain("link")).await;
    place.execute(deaths(&place)[0]).await;
    let inserts = (0..20).map(|number| {
        let node = nodes[number % 2].clone();
        tokio::spawn(async move {
            let new = replacement("link", Editor::Administrator);
            node.insert(&new).await.expect("an answer")
        })
    });
    let mut created: Vec<_> = join_all(inserts)
        .await
        .into_iter()
        .map(|created| created.expect("no panic"))
        .collect();
    created.retain(|created| *created != Created::CodeTaken);
    assert_eq!(created, [Created::Replaced(vec![code("link")])]);
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 1);
}
