//! The contract of a store that ignores the case of codes. `code_case_index` shows what may be in the way of the index.

use std::time::Duration;

use futures_util::future::join_all;
use shunt::links::{
    Created, Edit, EditRefusal, Editor, Expiry, IgnoreCaseError, LinkRecord, LookUp, NewLink,
    Operation, ShortCode, Terms, Write,
};
use testkit::eventually;

use super::{
    managing::{
        alias, edit, editor, look_up, owner, plain, record, remove_code, rename, store, title,
    },
    place::{Opened, Place, code, contract, url},
};

contract!(
    a_link_is_found_by_any_spelling_and_shown_as_it_was_made,
    a_code_is_taken_in_every_spelling,
    of_links_with_spellings_of_one_code_one_is_stored,
    several_links_at_once_are_found_and_taken_in_every_spelling,
    spellings_in_another_order_do_not_make_transactions_wait_in_a_circle,
    a_name_gets_another_spelling,
    further_codes_have_any_spelling,
    a_dead_link_gives_way_to_another_spelling,
    a_store_that_heeds_case_beside_one_that_does_not_breaks_nothing,
    codes_that_differ_only_by_case_are_named_and_nothing_is_changed,
    several_nodes_begin_to_ignore_case_at_once,
);

async fn open(place: &Place) -> Opened {
    place.open_ignoring_case().await.expect("no conflicts")
}

fn codes(link: &LinkRecord) -> Vec<&str> {
    link.codes().map(ShortCode::as_str).collect()
}

async fn works(node: &Opened, text: &str) -> bool {
    matches!(look_up(node, text).await, LookUp::Found(_))
}

async fn insert(node: &Opened, link: &NewLink) -> Created {
    node.insert(link).await.expect("an answer")
}

async fn a_link_is_found_by_any_spelling_and_shown_as_it_was_made(place: Place) {
    // Made before case was ignored.
    store(&place.open().await, plain("9hYVvW")).await;
    let node = open(&place).await;
    let terms = Terms {
        max_visits: Some(3),
        ..Terms::default()
    };
    let link = NewLink {
        terms,
        ..plain("Launch_A-1")
    };
    store(&node, link).await;
    for text in ["9hYVvW", "9HYVVW", "9hyvvw", "launch_a-1", "LAUNCH_A-1"] {
        assert!(works(&node, text).await, "{text}");
    }
    assert_eq!(record(&node, "9HYVVW").await.code.as_str(), "9hYVvW");
    assert_eq!(record(&node, "launch_a-1").await.code, code("Launch_A-1"));
    // Several at once, and one that is not there between them.
    let asked = ["LAUNCH_a-1", "launch_a_1", "9hyVVw"].map(code);
    let found = node.look_up(&asked).await.expect("an answer");
    let found = found.iter().map(|one| matches!(one, LookUp::Found(_)));
    assert_eq!(found.collect::<Vec<_>>(), [true, false, true]);
    for (text, left) in [
        ("launch_a-1", true),
        ("LAUNCH_A-1", true),
        ("Launch_A-1", true),
        ("launch_A-1", false),
    ] {
        let counted = node.count_visit(&code(text)).await;
        assert_eq!(counted.expect("an answer"), left, "{text}");
    }
}

async fn a_code_is_taken_in_every_spelling(place: Place) {
    let node = open(&place).await;
    store(&node, plain("Taken")).await;
    for text in ["taken", "TAKEN", "Taken"] {
        let link = plain(text);
        assert_eq!(insert(&node, &link).await, Created::CodeTaken, "{text}");
        // As a random code would be that is taken.
        let deduplicated = NewLink {
            deduplicated: true,
            ..NewLink::new(code(text), url("https://example.com/other"))
        };
        let created = insert(&node, &deduplicated).await;
        assert_eq!(created, Created::CodeTaken, "{text}");
    }
    store(&node, plain("other")).await;
    for wanted in [rename("TAKEN"), Operation::AddCode(alias("taken"))] {
        let refused = edit(&node, "other", wanted).await;
        assert_eq!(refused.expect_err("taken"), EditRefusal::CodeTaken);
    }
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 2);
}

async fn of_links_with_spellings_of_one_code_one_is_stored(place: Place) {
    let nodes = [open(&place).await, open(&place).await];
    for round in 0..10 {
        let spellings = ["one", "One", "oNe", "onE", "ONE", "OnE"];
        let made = join_all(spellings.iter().enumerate().map(|(number, text)| {
            let node = &nodes[number % 2];
            let link = NewLink {
                deduplicated: number % 3 == 0,
                ..NewLink::new(
                    code(&format!("{text}{round}")),
                    url(&format!("https://example.com/{round}/{number}")),
                )
            };
            async move { insert(node, &link).await }
        }))
        .await;
        let stored = |made: &&Created| matches!(made, Created::Stored(_));
        assert_eq!(made.iter().filter(stored).count(), 1, "{made:?}");
        let taken = |made: &&Created| **made == Created::CodeTaken;
        assert_eq!(made.iter().filter(taken).count(), 5, "{made:?}");
    }
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 10);
}

async fn several_links_at_once_are_found_and_taken_in_every_spelling(place: Place) {
    let (heeds, node) = (place.open().await, open(&place).await);
    store(&node, plain("Taken")).await;
    let stored = |text: &str| Created::Stored(code(text));
    // What is taken does not end the transaction.
    let links = ["Launch", "TAKEN", "lauNCH", "Other"].map(plain);
    let created = node.insert_all(&links).await.expect("an answer");
    let taken = || Created::CodeTaken;
    let expected = [stored("Launch"), taken(), taken(), stored("Other")];
    assert_eq!(created, expected);
    let links = ["LAUNCH", "Another"].map(plain);
    let created = heeds.insert_all(&links).await.expect("an answer");
    assert_eq!(created, [taken(), stored("Another")]);
    // The second is what the first one was before it was replaced.
    edit(&node, "taken", Operation::Delete).await.expect("it");
    let again = |text| NewLink {
        in_place_of: Some(Editor::Administrator),
        ..plain(text)
    };
    let links = ["tAKEN", "Taken"].map(again);
    let created = node.insert_all(&links).await.expect("an answer");
    assert_eq!(created, [Created::Replaced(vec![code("Taken")]), taken()]);
    let asked = ["LAUNCH", "nothing", "ANOTHER", "launch"].map(code);
    let records = node.records(&asked).await.expect("an answer");
    let mut found: Vec<_> = records.iter().map(|link| link.code.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["Another", "Launch"]);
}

/// Postgres would notice a circle only after a minute here, and the calls would fail before that.
async fn spellings_in_another_order_do_not_make_transactions_wait_in_a_circle(place: Place) {
    if place.file().is_none() {
        place
            .execute(
                "DO $$ BEGIN EXECUTE format(
                     'ALTER DATABASE %I SET deadlock_timeout = 60000', current_database()
                 ); END $$",
            )
            .await;
    }
    let nodes = [open(&place).await, place.open().await];
    for round in 0..10 {
        let names = (0..40).map(|number| format!("alias-{number}-{round}"));
        let small: Vec<_> = names.map(|text| plain(&text)).collect();
        // Capitals come before all small letters, but not in an order that ignores case. The first code is in small
        // letters in both: else one call would wait at its first link for the other, and hold nothing.
        let other = small.iter().enumerate().rev().map(|(number, link)| {
            let text = link.code.as_str();
            plain(&if number % 2 == 1 {
                text.to_uppercase()
            } else {
                text.to_owned()
            })
        });
        let other: Vec<_> = other.collect();
        let made = tokio::join!(nodes[0].insert_all(&small), nodes[1].insert_all(&other));
        let (one, two) = (made.0.expect("an answer"), made.1.expect("an answer"));
        for (number, created) in one.iter().enumerate() {
            let pair = [created, &two[39 - number]];
            let taken = pair.iter().filter(|one| ***one == Created::CodeTaken);
            assert_eq!(taken.count(), 1, "{pair:?}");
        }
    }
}

async fn a_name_gets_another_spelling(place: Place) {
    let node = open(&place).await;
    store(&node, plain("launch")).await;
    let before = record(&node, "launch").await.version();
    for text in ["LAUNCH", "Launch", "Launch"] {
        let renamed = edit(&node, "launch", rename(text)).await.expect("it is");
        // The former spelling is no code of its own.
        assert_eq!(codes(&renamed), [text]);
    }
    assert_ne!(record(&node, "launch").await.version(), before);
    assert!(works(&node, "launch").await && works(&node, "LAUNCH").await);
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 1);
}

async fn further_codes_have_any_spelling(place: Place) {
    let node = open(&place).await;
    store(&node, plain("main-code")).await;
    let add = |text| Operation::AddCode(alias(text));
    // Both are there already the second time.
    for text in ["Further", "FURTHER", "MAIN-CODE"] {
        let added = edit(&node, "Main-Code", add(text)).await.expect("it is");
        assert_eq!(codes(&added), ["main-code", "Further"], "{text}");
    }
    assert!(works(&node, "further").await);
    let edited = edit(
        &node,
        "fURTHER",
        Operation::Change(Box::new(title("called"))),
    )
    .await;
    assert_eq!(edited.expect("it is").title.as_deref(), Some("called"));
    // A further code becomes the main one, as it is spelled now.
    let renamed = edit(&node, "main-code", rename("fUrther")).await;
    assert_eq!(codes(&renamed.expect("it is")), ["fUrther", "main-code"]);
    let refused = edit(&node, "main-code", remove_code("FURTHER")).await;
    assert_eq!(refused.expect_err("the main code"), EditRefusal::MainCode);
    let less = edit(&node, "FURTHER", remove_code("MAIN-code")).await;
    assert_eq!(codes(&less.expect("it is")), ["fUrther"]);
    assert_eq!(look_up(&node, "main-code").await, LookUp::Unknown);
    let refused = edit(&node, "FURTHER", remove_code("MAIN-code")).await;
    assert_eq!(refused.expect_err("gone"), EditRefusal::NoSuchCode);
}

async fn a_dead_link_gives_way_to_another_spelling(place: Place) {
    let node = open(&place).await;
    let dead = |text| NewLink {
        owner: owner("anna"),
        terms: Terms {
            expiry: Some(Expiry::In(Duration::from_millis(1))),
            ..Terms::default()
        },
        ..plain(text)
    };
    let again = |text| NewLink {
        owner: owner("anna"),
        in_place_of: Some(editor("anna")),
        ..plain(text)
    };
    store(&node, dead("Spring")).await;
    let add = Operation::AddCode(alias("Summer"));
    edit(&node, "spring", add).await.expect("a further code");
    eventually("it has expired", async || {
        (look_up(&node, "spring").await == LookUp::Gone).then_some(())
    })
    .await;
    // One of its codes only, which is told by the name that it had.
    let replaced = insert(&node, &again("SUMMER")).await;
    assert_eq!(replaced, Created::Replaced(vec![code("Summer")]));
    assert_eq!(codes(&record(&node, "spring").await), ["Spring"]);
    let replaced = insert(&node, &again("SPRING")).await;
    assert_eq!(replaced, Created::Replaced(vec![code("Spring")]));
    assert_eq!(codes(&record(&node, "spring").await), ["SPRING"]);
    // A link that works gives way to no spelling.
    assert_eq!(insert(&node, &again("spring")).await, Created::CodeTaken);
}

/// So a setting that is being changed, one node after the other, stores nothing that is in its own way.
async fn a_store_that_heeds_case_beside_one_that_does_not_breaks_nothing(place: Place) {
    let (heeds, ignores) = (place.open().await, open(&place).await);
    store(&heeds, plain("Shared")).await;
    store(&heeds, plain("other")).await;
    assert!(works(&ignores, "SHARED").await);
    assert_eq!(look_up(&heeds, "SHARED").await, LookUp::Unknown);
    let link = plain("SHARED");
    assert_eq!(insert(&heeds, &link).await, Created::CodeTaken);
    let replacing = NewLink {
        in_place_of: Some(Editor::Administrator),
        ..plain("SHARED")
    };
    assert_eq!(insert(&heeds, &replacing).await, Created::CodeTaken);
    for wanted in [rename("SHARED"), Operation::AddCode(alias("SHARED"))] {
        let refused = edit(&heeds, "other", wanted.clone()).await;
        assert_eq!(refused.expect_err("taken"), EditRefusal::CodeTaken);
        // The health of the database is judged by such a rehearsal.
        let edit = Edit {
            code: code("other"),
            editor: Editor::Administrator,
            only_if: None,
            operation: wanted,
        };
        let rehearsed = heeds.rehearse(&Write::Edit(edit)).await;
        rehearsed.expect("the database is in order");
    }
    let rehearsed = heeds.rehearse(&Write::Insert(Box::new(replacing))).await;
    rehearsed.expect("the database is in order");
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 2);
    // The index stays when nothing needs it any more.
    drop(ignores);
    let later = place.open().await;
    assert_eq!(insert(&later, &link).await, Created::CodeTaken);
}

async fn codes_that_differ_only_by_case_are_named_and_nothing_is_changed(place: Place) {
    let refused = async || match place.open_ignoring_case().await.map(drop) {
        Err(IgnoreCaseError::Conflicts(conflicts)) => conflicts.to_string(),
        other => panic!("not refused: {other:?}"),
    };
    let before = place.open().await;
    for text in ["different", "Alpha", "ALPHA", "beta"] {
        store(&before, plain(text)).await;
    }
    let add = Operation::AddCode(alias("BETA"));
    edit(&before, "beta", add).await.expect("a further code");
    edit(&before, "ALPHA", Operation::Delete).await.expect("it");
    let named = "these codes differ only by case: `ALPHA`, `Alpha`, `BETA`, `beta`";
    assert_eq!(refused().await, named);
    for number in 0..5 {
        for text in ["gamma", "Gamma"] {
            store(&before, plain(&format!("{text}{number}"))).await;
        }
    }
    let message = refused().await;
    assert!(message.starts_with(named), "{message}");
    let (message, all) = message.split_once("; ").expect("a statement");
    assert!(message.ends_with(", and 4 more"), "{message}");
    let all = format!("SELECT count(*) FROM ({all}) AS conflicts").leak();
    assert_eq!(place.number(all).await, 14);
    // They stay two links.
    assert!(works(&before, "Gamma0").await && works(&before, "gamma0").await);
    store(&before, plain("DIFFERENT")).await;
    place
        .execute("DELETE FROM urls WHERE short_code <> lower(short_code)")
        .await;
    let node = open(&place).await;
    assert!(works(&node, "GAMMA3").await);
}

async fn several_nodes_begin_to_ignore_case_at_once(place: Place) {
    let before = place.open().await;
    for number in 0..50 {
        store(&before, plain(&format!("Link{number}"))).await;
    }
    let nodes = join_all((0..6).map(|_| open(&place))).await;
    for (number, node) in nodes.iter().enumerate() {
        assert!(works(node, &format!("LINK{number}")).await);
        let taken = insert(node, &plain(&format!("lINK{number}"))).await;
        assert_eq!(taken, Created::CodeTaken);
    }
}
