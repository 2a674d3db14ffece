//! Several links are stored in one transaction, as they would be one by one.

use futures_util::future::join_all;
use shunt::{
    db::DatabaseError,
    links::{Created, NewLink, Operation, ShortCode, Write},
};

use super::{
    commits::{allow_commits, refuse_commits},
    managing::{alias, edit, editor, owner, plain, record, store},
    place::{Place, code, contract, url},
};

contract!(
    each_is_stored_as_it_would_be_alone,
    the_first_of_those_that_want_the_same_gets_it,
    a_dead_link_gives_way_and_a_live_one_does_not,
    what_a_commit_refuses_is_stored_in_no_part,
    a_rehearsal_tries_each_of_the_links_and_stores_none,
    records_of_many_codes_are_read_at_once,
    calls_with_the_same_codes_in_another_order_do_not_wait_in_a_circle,
);

const COUNT: &str = "SELECT count(*) FROM urls";

fn deduplicated(number: usize) -> NewLink {
    NewLink {
        deduplicated: true,
        ..NewLink::new(
            code(&format!("random{number}")),
            url(&format!("https://example.com/{number}")),
        )
    }
}

fn of_anna(text: &str) -> NewLink {
    NewLink {
        owner: owner("anna"),
        in_place_of: Some(editor("anna")),
        ..plain(text)
    }
}

fn stored(text: &str) -> Created {
    Created::Stored(code(text))
}

async fn each_is_stored_as_it_would_be_alone(place: Place) {
    let node = place.open().await;
    store(&node, plain("taken")).await;
    store(&node, deduplicated(1)).await;
    let links = [
        plain("bbb"),
        deduplicated(2),
        plain("taken"),
        NewLink {
            code: code("other"),
            ..deduplicated(1)
        },
        // Its target is new, and its random code is not.
        NewLink {
            code: code("taken"),
            ..deduplicated(3)
        },
        of_anna("aaa"),
    ];
    let created = node.insert_all(&links).await.expect("an answer");
    let expected = [
        stored("bbb"),
        stored("random2"),
        Created::CodeTaken,
        stored("random1"),
        Created::CodeTaken,
        stored("aaa"),
    ];
    assert_eq!(created, expected);
    assert_eq!(place.number(COUNT).await, 5);
    assert_eq!(record(&node, "aaa").await.owner, owner("anna"));
    assert_eq!(node.insert_all(&[]).await.expect("an answer"), []);
}

async fn the_first_of_those_that_want_the_same_gets_it(place: Place) {
    let node = place.open().await;
    let links = [
        of_anna("same"),
        deduplicated(1),
        NewLink {
            target: url("https://example.org/"),
            ..of_anna("same")
        },
        NewLink {
            code: code("later"),
            ..deduplicated(1)
        },
    ];
    let created = node.insert_all(&links).await.expect("an answer");
    let expected = [
        stored("same"),
        stored("random1"),
        Created::CodeTaken,
        stored("random1"),
    ];
    assert_eq!(created, expected);
    assert_eq!(record(&node, "same").await.target, "https://example.com/");
    assert_eq!(place.number(COUNT).await, 2);
}

async fn a_dead_link_gives_way_and_a_live_one_does_not(place: Place) {
    let node = place.open().await;
    for text in ["dead", "live", "main"] {
        store(&node, of_anna(text)).await;
    }
    let further = Operation::AddCode(alias("further"));
    edit(&node, "dead", further).await.expect("it is done");
    for text in ["dead", "main"] {
        edit(&node, text, Operation::Delete)
            .await
            .expect("it is done");
    }
    let bert = NewLink {
        owner: owner("bert"),
        in_place_of: Some(editor("bert")),
        ..plain("main")
    };
    let links = [of_anna("live"), of_anna("new"), of_anna("dead"), bert];
    let created = node.insert_all(&links).await.expect("an answer");
    let expected = [
        Created::CodeTaken,
        stored("new"),
        Created::Replaced(vec![code("dead"), code("further")]),
        Created::CodeTaken,
    ];
    assert_eq!(created, expected);
    assert_eq!(record(&node, "dead").await.deleted_at, None);
    assert_ne!(record(&node, "main").await.deleted_at, None);
    assert_eq!(place.number(COUNT).await, 4);
}

async fn what_a_commit_refuses_is_stored_in_no_part(place: Place) {
    let node = place.open().await;
    store(&node, of_anna("dead")).await;
    edit(&node, "dead", Operation::Delete)
        .await
        .expect("it is done");
    let links = [of_anna("dead"), of_anna("new"), deduplicated(1)];
    refuse_commits(&place, "urls").await;
    let refused = node.insert_all(&links).await;
    let failed = matches!(refused, Err(DatabaseError::Failed(_)));
    assert!(failed, "{refused:?}");
    assert_eq!(place.number(COUNT).await, 1);
    assert_ne!(record(&node, "dead").await.deleted_at, None);
    allow_commits(&place).await;
    let created = node.insert_all(&links).await.expect("an answer");
    assert_eq!(created[0], Created::Replaced(vec![code("dead")]));
    assert_eq!(place.number(COUNT).await, 3);
}

async fn a_rehearsal_tries_each_of_the_links_and_stores_none(place: Place) {
    let node = place.open().await;
    let links = [of_anna("aaa"), deduplicated(1), deduplicated(2)];
    let write = Write::InsertMany(links.to_vec());
    node.rehearse(&write).await.expect("they would be stored");
    assert_eq!(place.number(COUNT).await, 0);
    // Only the last of them is refused.
    if place.file().is_some() {
        place
            .execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON urls
                 WHEN NEW.original_url = 'https://example.com/2'
                 BEGIN SELECT raise(ABORT, 'not today'); END",
            )
            .await;
    } else {
        place
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'not today'; END $$",
            )
            .await;
        place
            .execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON urls FOR EACH ROW
                 WHEN (NEW.original_url = 'https://example.com/2') EXECUTE FUNCTION refuse()",
            )
            .await;
    }
    let refused = node.rehearse(&write).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(place.number(COUNT).await, 0);
}

async fn records_of_many_codes_are_read_at_once(place: Place) {
    let node = place.open().await;
    for text in ["aaa", "bbb", "ccc"] {
        store(&node, plain(text)).await;
    }
    let further = Operation::AddCode(alias("further"));
    edit(&node, "aaa", further).await.expect("it is done");
    let codes = ["bbb", "further", "unknown", "aaa"].map(code);
    let mut records = node.records(&codes).await.expect("an answer");
    records.sort_by_key(|record| record.code.as_str().to_owned());
    let mut expected = Vec::new();
    for text in ["aaa", "bbb"] {
        expected.push(record(&node, text).await);
    }
    for (record, expected) in records.iter().zip(&expected) {
        assert_eq!(record.version(), expected.version());
        assert_eq!(record.further_codes, expected.further_codes);
    }
    assert_eq!(records.len(), 2);
    assert!(node.records(&[]).await.expect("an answer").is_empty());
}

/// Postgres would notice a circle only after a minute here, and the calls would fail before that.
async fn calls_with_the_same_codes_in_another_order_do_not_wait_in_a_circle(place: Place) {
    if place.file().is_none() {
        place
            .execute(
                "DO $$ BEGIN EXECUTE format(
                     'ALTER DATABASE %I SET deadlock_timeout = 60000', current_database()
                 ); END $$",
            )
            .await;
    }
    let nodes = [place.open().await, place.open().await];
    for round in 0..10 {
        let mut links: Vec<NewLink> = (0..50)
            .flat_map(|number| {
                let number = round * 50 + number;
                let own = of_anna(&format!("alias{number}"));
                [own, deduplicated(number)]
            })
            .collect();
        let forward = links.clone();
        links.reverse();
        for (number, link) in links.iter_mut().enumerate() {
            if link.deduplicated {
                link.code = ShortCode::parse(&format!("back{round}x{number}")).expect("a code");
            }
        }
        let calls = [(0, forward), (1, links)].map(|(node, links)| {
            let node = nodes[node].clone();
            tokio::spawn(async move { node.insert_all(&links).await })
        });
        let mut own = 0;
        for created in join_all(calls).await {
            let created = created.expect("no panic").expect("an answer");
            let stored = created.iter().filter(|created| {
                matches!(created, Created::Stored(code) if code.as_str().starts_with("alias"))
            });
            own += stored.count();
        }
        assert_eq!(own, 50, "each alias is one link's");
    }
    assert_eq!(place.number(COUNT).await, 1_000);
}
