//! Lists and searches: the contract of `LinkSearch`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use shunt::links::{
    Between, Indexed, LinkFilter, LinkPage, LinkQuery, LinkRecord, LinkState, Look, Order,
    SearchTerm, Whose,
};
use testkit::needs;

use super::{
    find_model::Model,
    managing::{change, edit, owner, plain, store, title},
    place::{Opened, Place, code, contract},
};

contract!(
    every_list_and_search_is_what_a_look_at_every_link_finds,
    links_that_are_made_and_removed_meanwhile_change_no_later_page,
    a_change_while_its_block_is_indexed_is_found,
    a_number_that_is_given_out_again_is_found,
    changes_are_forgotten_once_they_are_indexed,
    an_empty_table_has_an_empty_page,
);

/// The first page of a filter.
pub(super) async fn page(node: &Opened, filter: &LinkFilter, limit: usize) -> LinkPage {
    let query = LinkQuery {
        filter: filter.clone(),
        order: Order::Newest,
        after: None,
        limit,
    };
    node.find(&query).await.expect("a page")
}

/// All pages of a filter.
pub(super) async fn all(
    node: &Opened,
    filter: &LinkFilter,
    order: Order,
    limit: usize,
) -> Vec<LinkRecord> {
    let (mut links, mut after) = (Vec::new(), None);
    for _ in 0..10_000 {
        let query = LinkQuery {
            filter: filter.clone(),
            order,
            after,
            limit,
        };
        let page = node.find(&query).await.expect("a page");
        assert!(page.links.len() <= limit, "{}", page.links.len());
        links.extend(page.links);
        after = page.next;
        if after.is_none() {
            return links;
        }
    }
    panic!("the pages have no end");
}

pub(super) const READY: &str = "SELECT count(*) FROM link_blocks WHERE is_ready";

pub(super) const THOROUGH: Look = Look {
    thorough: true,
    again: true,
};

/// Indexes until nothing is left.
pub(super) async fn index(node: &Opened) {
    while node.index(THOROUGH).await.expect("the index").is_some() {}
}

pub(super) fn search(text: &str) -> LinkFilter {
    LinkFilter {
        search: Some(SearchTerm::parse(text).expect("a term")),
        ..LinkFilter::default()
    }
}

fn codes(links: &[LinkRecord]) -> Vec<&str> {
    links.iter().map(|link| link.code.as_str()).collect()
}

/// Some of the links are in the index, some are not, and some have changed since.
async fn every_list_and_search_is_what_a_look_at_every_link_finds(place: Place) {
    let node = place.open().await;
    let mut model = Model::fill(&place, &node).await;
    for round in 0..5 {
        // Without an index, a list takes long in a debug build.
        for number in 0..if round < 2 { 5 } else { 15 } {
            model
                .check(&node, &format!("round {round}, query {number}"))
                .await;
        }
        if round == 1 {
            index(&node).await;
            assert!(place.number("SELECT count(*) FROM link_blocks").await >= 2);
        } else {
            node.index(THOROUGH).await.expect("the index");
        }
        model.change(&node, &place, 40).await;
    }
    model.check_all(&node).await;
}

async fn links_that_are_made_and_removed_meanwhile_change_no_later_page(place: Place) {
    let node = place.open().await;
    let name = |number: u32| format!("link-{number:03}");
    for number in 0..60 {
        store(&node, plain(&name(number))).await;
    }
    for order in [Order::Newest, Order::Oldest] {
        let (mut seen, mut after) = (Vec::new(), None);
        for round in 0.. {
            let query = LinkQuery {
                filter: search("link-"),
                order,
                after,
                limit: 7,
            };
            let page = node.find(&query).await.expect("a page");
            seen.extend(codes(&page.links).into_iter().map(str::to_owned));
            after = page.next;
            if after.is_none() {
                break;
            }
            store(&node, plain(&format!("made-{order:?}-{round}"))).await;
            if round == 2 {
                // The one after which the next page begins.
                let last = seen.last().expect("a link");
                place.remove(last).await;
            }
        }
        let mut expected: Vec<_> = (0..60).map(name).collect();
        if order == Order::Newest {
            expected.reverse();
        } else {
            // Removed in the first round.
            expected.retain(|name| *name != "link-039");
        }
        assert_eq!(seen, expected, "{order:?}");
    }
}

async fn a_change_while_its_block_is_indexed_is_found(place: Place) {
    let (node, other) = (place.open().await, place.open().await);
    Model::fill(&place, &node).await;
    let is_over = AtomicBool::new(false);
    let indexing = async {
        while !is_over.load(Ordering::Relaxed) {
            place.execute("DELETE FROM link_blocks").await;
            other.index(THOROUGH).await.expect("the index");
            other.index(THOROUGH).await.expect("the index");
        }
    };
    let mut titles = Vec::new();
    let editing = async {
        // Every 31st link is deleted.
        for number in (1..=240).filter(|number| number % 31 != 0) {
            let (code, text) = (format!("Code{}", number * 17), format!("zebra {number}"));
            let done = edit(&node, &code, change(title(&text))).await;
            done.expect("an edit");
            titles.push((code, text));
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(indexing, editing);
    let found = all(&node, &search("zebra"), Order::Oldest, 50).await;
    let mut found: Vec<_> = found
        .into_iter()
        .map(|link| (link.code.to_string(), link.title.expect("a title")))
        .collect();
    found.sort();
    titles.sort();
    assert_eq!(found, titles);
}

/// SQLite gives the number of the newest link out again when that link is removed. Postgres does when an administrator
/// begins anew.
async fn a_number_that_is_given_out_again_is_found(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    index(&node).await;
    match &place {
        Place::Sqlite(_) => place.execute("DELETE FROM urls WHERE id > 2000").await,
        Place::Postgres(_) => place.execute("TRUNCATE urls RESTART IDENTITY").await,
    }
    store(&node, plain("the-new-one")).await;
    let found = page(&node, &search("new-one"), 10).await;
    assert_eq!(codes(&found.links), ["the-new-one"]);
    let found = all(&node, &search("example"), Order::Newest, 50).await;
    let (expected, found) = (place.number("SELECT count(*) FROM urls").await, found.len());
    let deleted = place
        .number("SELECT count(*) FROM urls WHERE deleted_at IS NOT NULL OR main_id IS NOT NULL");
    assert_eq!(found as i64, expected - deleted.await);
}

async fn changes_are_forgotten_once_they_are_indexed(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    // Of a table that is not indexed, nothing is noted.
    place.execute("UPDATE urls SET note = 'zebra'").await;
    let changes = "SELECT count(*) FROM link_changes";
    assert_eq!(place.number(changes).await, 0);
    index(&node).await;
    let blocks = place.number(READY).await;
    place
        .execute("UPDATE urls SET note = 'walrus' WHERE id <= 600 OR id BETWEEN 3000 AND 3050")
        .await;
    // These are not in the index.
    place
        .execute("UPDATE urls SET note = 'walrus' WHERE id > 4200")
        .await;
    assert_eq!(place.number(changes).await, 651);
    let walrus = search("walrus");
    let before = all(&node, &walrus, Order::Newest, 100).await;
    assert_eq!(
        before.len(),
        all(&node, &walrus, Order::Oldest, 100).await.len()
    );
    assert_eq!(
        node.index(THOROUGH).await.expect("the index"),
        Some(Indexed::Again)
    );
    // The block of the others has too few to be indexed again, and those of the tail count for nothing.
    assert_eq!(place.number(changes).await, 51);
    assert_eq!(node.index(THOROUGH).await.expect("the index"), None);
    assert_eq!(place.number(READY).await, blocks);
    let after = all(&node, &walrus, Order::Newest, 100).await;
    assert_eq!(codes(&before), codes(&after));
    // A visit is no change.
    place
        .execute("UPDATE urls SET visits = visits + 1 WHERE id < 100")
        .await;
    assert_eq!(place.number(changes).await, 51);
}

async fn an_empty_table_has_an_empty_page(place: Place) {
    let node = place.open().await;
    assert_eq!(node.index(THOROUGH).await.expect("the index"), None);
    for filter in [LinkFilter::default(), search("abc"), search("a")] {
        assert_eq!(page(&node, &filter, 50).await, LinkPage::default());
    }
    // Nothing is indexed as long as there are few links, and everything is found.
    store(&node, plain("only")).await;
    assert_eq!(node.index(THOROUGH).await.expect("the index"), None);
    let nobodys = LinkFilter {
        owner: Whose::Nobody,
        state: Some(LinkState::Active),
        target: Some("https://example.com/".to_owned()),
        created: Between {
            from: Some(SystemTime::UNIX_EPOCH),
            until: None,
        },
        ..search("ONL")
    };
    assert_eq!(codes(&page(&node, &nobodys, 1).await.links), ["only"]);
    let annas = LinkFilter {
        owner: Whose::Owner(owner("anna").expect("a name")),
        ..LinkFilter::default()
    };
    assert_eq!(page(&node, &annas, 1).await, LinkPage::default());
}

/// A transaction may have a number of a block long before it commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_committed_late_is_found() {
    use sqlx::Connection;
    needs!("postgres");
    let place = Place::postgres().await;
    let node = place.open().await;
    let Place::Postgres(database) = &place else {
        unreachable!("it is Postgres");
    };
    let mut slow = database.connect().await;
    let mut transaction = slow.begin().await.expect("a transaction");
    let insert =
        "INSERT INTO urls (short_code, original_url) VALUES ('late', 'https://slow.invalid/')";
    let inserted = sqlx::raw_sql(insert).execute(&mut *transaction).await;
    inserted.expect("a link");
    Model::fill(&place, &node).await;
    let (indexed, ()) = tokio::join!(node.index(THOROUGH), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    // The second block has no number of that transaction, but nobody can know.
    assert_eq!(indexed.expect("the index"), Some(Indexed::Later));
    assert_eq!(place.number(READY).await, 0);
    transaction.commit().await.expect("a commit");
    index(&node).await;
    assert!(place.number(READY).await > 0);
    let found = all(&node, &search("slow.invalid"), Order::Newest, 10).await;
    assert_eq!(codes(&found), ["late"]);
}

/// A page for which nobody waits any more must not go on in the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_hangs_is_given_up_by_the_server() {
    use sqlx::Connection;
    needs!("postgres");
    let place = Place::postgres().await;
    let node = place.open().await;
    let Place::Postgres(database) = &place else {
        unreachable!("it is Postgres");
    };
    let mut administrator = database.connect().await;
    let mut transaction = administrator.begin().await.expect("a transaction");
    let lock = sqlx::raw_sql("LOCK TABLE urls IN ACCESS EXCLUSIVE MODE");
    lock.execute(&mut *transaction).await.expect("the lock");
    let started = std::time::Instant::now();
    let query = LinkQuery {
        filter: search("abc"),
        order: Order::Newest,
        after: None,
        limit: 10,
    };
    let error = node.find(&query).await.expect_err("no answer");
    assert_eq!(error.kind(), "database", "{error:?}");
    // The bound of a request is ten seconds here.
    assert!(started.elapsed() < Duration::from_secs(5));
    transaction.rollback().await.expect("the end");
    let codes: Vec<_> = page(&node, &search("abc"), 10).await.links;
    assert_eq!(codes, []);
    assert_eq!(
        node.look_up(&[code("abc")]).await.expect("an answer").len(),
        1
    );
}
