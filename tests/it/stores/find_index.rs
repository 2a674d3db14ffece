//! The index of lists and searches: what it must bear, and what comes into it late.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use shunt::links::{Indexed, LinkRecord, Order};

use super::{
    find::{READY, THOROUGH, all, index, search},
    find_model::Model,
    managing::{plain, store},
    place::{Opened, Place, contract},
};

contract!(
    a_link_with_more_than_the_index_takes_is_found,
    a_block_that_cannot_be_written_holds_up_no_other,
    a_block_that_another_node_has_claimed_is_left_to_it,
    a_link_with_an_old_number_is_found,
    a_number_far_ahead_changes_nothing_for_later_links,
    an_index_that_was_emptied_while_a_block_was_read_stays_empty,
    more_changes_than_are_read_at_once_are_found,
);

async fn found(node: &Opened, text: &str) -> Vec<String> {
    let links: Vec<LinkRecord> = all(node, &search(text), Order::Newest, 100).await;
    links
        .into_iter()
        .map(|link| link.code.to_string())
        .collect()
}

/// Notes of thousands of different characters: everything in them is in no other.
async fn a_link_with_more_than_the_index_takes_is_found(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    let mut random = StdRng::seed_from_u64(3);
    let mut notes = Vec::new();
    for number in 1..=60 {
        let characters = (0..4_000).map(|_| random.random_range('\u{4e00}'..'\u{9fff}'));
        let note: String = characters.collect();
        let sql = format!("UPDATE urls SET note = '{note}' WHERE id = {}", number * 3);
        place.execute(sql.leak()).await;
        notes.push((format!("Code{}", number * 3), note));
    }
    index(&node).await;
    // Of each of these links, the index has a few tokens.
    let bytes = "SELECT sum(length(entries)) FROM link_entries WHERE block = 0";
    let bytes = place.number(bytes).await;
    assert!((10_000..1_500_000).contains(&bytes), "{bytes}");
    assert_eq!(place.number(READY).await, 2);
    for (code, note) in notes.iter().step_by(7) {
        let middle: String = note.chars().skip(2_500).take(6).collect();
        assert_eq!(found(&node, &middle).await, [code.as_str()]);
    }
    // What else they are is known: they are looked at only where a link is looked for by what it contains.
    assert_eq!(found(&node, "example/123").await.len(), 11);
}

async fn a_block_that_cannot_be_written_holds_up_no_other(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    place
        .execute(match &place {
            Place::Sqlite(_) => {
                "CREATE TRIGGER refuse BEFORE INSERT ON link_entries WHEN NEW.block = 1
                 BEGIN SELECT raise(ABORT, 'refused'); END"
            }
            Place::Postgres(_) => {
                "ALTER TABLE link_entries ADD CONSTRAINT refuse CHECK (block <> 1)"
            }
        })
        .await;
    node.index(THOROUGH).await.expect_err("the newest block");
    let next = node.index(THOROUGH).await.expect("another block");
    assert_eq!(next, Some(Indexed::New));
    assert_eq!(node.index(THOROUGH).await.expect("nothing is left"), None);
    assert_eq!(place.number(READY).await, 1);
    assert_eq!(found(&node, "example/3000").await, ["Code3000"]);
    place
        .execute(match &place {
            Place::Sqlite(_) => "DROP TRIGGER refuse",
            Place::Postgres(_) => "ALTER TABLE link_entries DROP CONSTRAINT refuse",
        })
        .await;
    // As after a minute.
    place
        .execute("UPDATE link_blocks SET claimed_until = NULL")
        .await;
    index(&node).await;
    assert_eq!(place.number(READY).await, 2);
    assert_eq!(found(&node, "example/3000").await, ["Code3000"]);
}

async fn a_block_that_another_node_has_claimed_is_left_to_it(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    let (claim, is_over) = match &place {
        Place::Sqlite(_) => (
            "INSERT INTO link_blocks (block, version, claimed_until) VALUES (1, 7, unixepoch() + 60)",
            "UPDATE link_blocks SET claimed_until = unixepoch() - 1 WHERE block = 1",
        ),
        Place::Postgres(_) => (
            "INSERT INTO link_blocks (block, claimed_until) VALUES (1, now() + interval '1 minute')",
            "UPDATE link_blocks SET claimed_until = now() WHERE block = 1",
        ),
    };
    place.execute(claim).await;
    index(&node).await;
    assert_eq!(place.number(READY).await, 1);
    assert_eq!(found(&node, "example/3000").await, ["Code3000"]);
    place.execute(is_over).await;
    index(&node).await;
    assert_eq!(place.number(READY).await, 2);
    assert_eq!(found(&node, "example/3000").await, ["Code3000"]);
}

/// An administrator has removed links, and copies them back with the numbers that they had.
async fn a_link_with_an_old_number_is_found(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    place
        .execute("DELETE FROM urls WHERE id IN (77, 78, 2100)")
        .await;
    index(&node).await;
    assert_eq!(place.number(READY).await, 2);
    for (number, name) in [(77, "old-77"), (78, "old-78"), (2_100, "old-2100")] {
        let overriding = match &place {
            Place::Sqlite(_) => "",
            Place::Postgres(_) => "OVERRIDING SYSTEM VALUE",
        };
        let insert = format!(
            "INSERT INTO urls (id, short_code, original_url) {overriding}
             VALUES ({number}, '{name}', 'https://restored.example/')"
        );
        place.execute(insert.leak()).await;
    }
    let expected = ["old-2100", "old-78", "old-77"];
    assert_eq!(found(&node, "restored.example").await, expected);
    index(&node).await;
    assert_eq!(found(&node, "restored.example").await, expected);
}

/// All blocks below it would count as complete.
async fn a_number_far_ahead_changes_nothing_for_later_links(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    place
        .execute(match &place {
            Place::Sqlite(_) => {
                "INSERT INTO urls (id, short_code, original_url) VALUES (1000000000000, 'far', 'https://far.example/')"
            }
            Place::Postgres(_) => {
                "INSERT INTO urls (id, short_code, original_url) OVERRIDING SYSTEM VALUE
                 VALUES (1000000000000, 'far', 'https://far.example/')"
            }
        })
        .await;
    index(&node).await;
    for number in 0..5 {
        store(&node, plain(&format!("later-{number}"))).await;
    }
    index(&node).await;
    assert_eq!(found(&node, "later-").await.len(), 5);
    assert_eq!(found(&node, "far.example").await, ["far"]);
    assert_eq!(found(&node, "example/4999").await, ["Code4999"]);
    let changes = place.number("SELECT count(*) FROM link_changes").await;
    // Links that are made in their order cost no note. In SQLite, they come after the one far ahead.
    assert_eq!(changes, 0);
}

async fn an_index_that_was_emptied_while_a_block_was_read_stays_empty(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    let anew = match &place {
        Place::Sqlite(_) => "DELETE FROM urls; DELETE FROM link_blocks",
        Place::Postgres(_) => "TRUNCATE urls RESTART IDENTITY",
    };
    let (indexed, ()) = tokio::join!(node.index(THOROUGH), async {
        while place.number("SELECT count(*) FROM link_blocks").await == 0 {}
        place.execute(anew).await;
    });
    // It was too late, or it was written before and is gone.
    indexed.expect("the index");
    assert_eq!(place.number(READY).await, 0);
    place.execute(place.filling()).await;
    assert_eq!(found(&node, "example/3000").await, ["Code3000"]);
}

async fn more_changes_than_are_read_at_once_are_found(place: Place) {
    let node = place.open().await;
    place.execute(place.filling()).await;
    place
        .execute(
            "INSERT INTO urls (short_code, original_url)
             SELECT 'More' || id, 'https://more.example/' || id FROM urls WHERE id <= 4000",
        )
        .await;
    index(&node).await;
    assert_eq!(place.number(READY).await, 4);
    place.execute("UPDATE urls SET note = 'walrus'").await;
    let expected = place
        .number("SELECT count(*) FROM urls WHERE deleted_at IS NULL")
        .await;
    for order in [Order::Newest, Order::Oldest] {
        let links = all(&node, &search("walrus"), order, 100).await;
        assert_eq!(links.len() as i64, expected, "{order:?}");
    }
}
