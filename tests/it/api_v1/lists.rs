//! Links are listed and searched.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, NodeBuilder, Postgres, needs};

use super::{Api, on_both};
use crate::api::exchange::{assert_problem, assert_status, send, unlimited};

on_both!(
    a_list_has_the_links_of_its_owner_page_by_page,
    links_are_found_by_what_they_contain_and_what_they_do,
    an_administrator_sees_the_links_of_everybody,
);

fn codes(answer: &Answer) -> Vec<String> {
    assert_status(answer, 200, "a list");
    let page = answer.json();
    let links = page["links"].as_array().expect("an array").iter();
    links
        .map(|link| link["code"].as_str().expect("a code").to_owned())
        .collect()
}

/// The codes of all pages, which the `Link` headers lead along.
async fn all(api: &Api, path: &str) -> Vec<String> {
    let (mut found, mut path) = (Vec::new(), path.to_owned());
    for _ in 0..100 {
        let answer = api.get(&path).await;
        found.extend(codes(&answer));
        let next = answer.json()["next"].clone();
        let Some(link) = answer.header("link") else {
            assert_eq!(next, Value::Null);
            return found;
        };
        let inner = link
            .strip_prefix("</api/v1/")
            .expect("a path below the API");
        let inner = inner
            .strip_suffix(">; rel=\"next\"")
            .expect("the next page");
        let cursor = next.as_str().expect("a cursor");
        assert!(inner.ends_with(&format!("cursor={cursor}")), "{link}");
        path = inner.to_owned();
    }
    panic!("the pages have no end");
}

async fn a_list_has_the_links_of_its_owner_page_by_page(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let bert = Api::of(&node, &builder, "bert", "create,manage");
    let mut expected = Vec::new();
    for number in 0..7 {
        let alias = format!("annas-{number}");
        anna.make(&alias, json!({})).await;
        bert.make(&format!("berts-{number}"), json!({})).await;
        expected.insert(0, alias);
    }
    assert_eq!(all(&anna, "links").await, expected);
    assert_eq!(all(&anna, "links?limit=2").await, expected);
    assert_eq!(all(&anna, "links?owner=anna&limit=3").await, expected);
    expected.reverse();
    assert_eq!(all(&anna, "links?sort=oldest&limit=2").await, expected);
    // Each link is as it is when it is shown alone.
    let page = anna.get("links?limit=1").await;
    assert_eq!(page.json()["links"][0], anna.link("annas-6").await);
    assert_eq!(page.header("cache-control"), Some("private, no-cache"));
    let head = send(anna.request(Method::HEAD, "links?limit=1")).await;
    assert_eq!(head.header("link"), page.header("link"));
    assert_eq!(head.body, "");
    let error = assert_problem(&anna.get("links?owner=bert").await, 403, "another owner");
    assert!(error.ends_with("admin"), "{error}");
}

async fn links_are_found_by_what_they_contain_and_what_they_do(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let url = |path: &str| format!("https://example.com/{path}");
    anna.make(
        "first",
        json!({ "title": "Über 100%", "tags": ["spring", "a/b"] }),
    )
    .await;
    anna.make(
        "second",
        json!({ "url": url("Shop"), "note": "one\ntwo", "enabled": false }),
    )
    .await;
    anna.make(
        "third",
        json!({ "expires_at": "2030-06-01T00:00:00Z", "max_visits": 3 }),
    )
    .await;
    anna.make(
        "fourth",
        json!({ "starts_at": "2030-01-01T00:00:00Z", "tags": ["Spring"] }),
    )
    .await;
    anna.make("gone", json!({ "title": "Über" })).await;
    assert_status(&anna.delete("links/gone").await, 204, "deleted");
    let further = json!({ "code": "another-name" });
    assert_status(
        &anna.post("links/third/codes", further).await,
        200,
        "a code",
    );
    for (query, expected) in [
        ("", &["fourth", "third", "second", "first"][..]),
        ("search=%C3%9CBER", &["first"]),
        ("search=100%25", &["first"]),
        ("search=00%25%25", &[]),
        (
            "search=example.com",
            &["fourth", "third", "second", "first"],
        ),
        ("search=com%2Fsh", &["second"]),
        ("search=E%0At", &["second"]),
        ("search=other-na", &["third"]),
        ("search=f", &["fourth", "first"]),
        ("search=an", &["third"]),
        ("search=SPRING", &["fourth", "first"]),
        ("search=nothing%00", &[]),
        ("tag=spring", &["first"]),
        ("tag=a%2Fb", &["first"]),
        ("state=active", &["third", "first"]),
        ("state=disabled", &["second"]),
        ("state=scheduled", &["fourth"]),
        ("state=used_up", &[]),
        ("state=deleted", &["gone"]),
        ("state=deleted&search=%C3%BCber&tag=spring", &[]),
        ("target=HTTPS%3A%2F%2Fexample.com%3A443%2FShop", &["second"]),
        ("target=https%3A%2F%2Fexample.com%2Fsho", &[]),
        ("expires_before=2030-06-01T00:00:00Z", &[]),
        ("expires_after=2030-06-01T02:00:00%2B02:00", &["third"]),
        ("created_before=2020-01-01T00:00:00Z", &[]),
        (
            "created_after=2020-01-01T00:00:00Z&limit=1",
            &["fourth", "third", "second", "first"],
        ),
    ] {
        assert_eq!(
            all(&anna, &format!("links?{query}")).await,
            expected,
            "{query}"
        );
    }
}

async fn an_administrator_sees_the_links_of_everybody(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let root = Api::of(&node, &builder, "root", "admin");
    anna.make("annas", json!({ "tags": ["a"] })).await;
    root.make("roots", json!({ "tags": ["a", "b"] })).await;
    let nobodys = node.client().shorten("https://example.com/").await.code();
    let nobodys = nobodys.as_str();
    for (query, expected) in [
        ("links", &[nobodys, "roots", "annas"][..]),
        ("links?owner=", &[nobodys]),
        ("links?owner=root", &["roots"]),
        ("links?owner=unknown", &[]),
        ("links?owner=anna&tag=a", &["annas"]),
    ] {
        assert_eq!(all(&root, query).await, expected, "{query}");
    }
    let owners = json!({ "owners": [
        { "name": null, "links": 1 }, { "name": "anna", "links": 1 }, { "name": "root", "links": 1 },
    ] });
    assert_eq!(root.get("owners").await.json(), owners);
    assert_eq!(
        anna.get("owners").await.json(),
        json!({ "owners": [{ "name": "anna", "links": 1 }] })
    );
    let tags =
        json!({ "tags": [{ "name": "a", "links": 2 }, { "name": "b", "links": 1 }], "next": null });
    assert_eq!(root.get("tags").await.json(), tags);
    let tags = json!({ "tags": [{ "name": "a", "links": 1 }], "next": null });
    assert_eq!(anna.get("tags").await.json(), tags);
    assert_eq!(root.get("tags?owner=anna").await.json(), tags);
}

/// Only this page takes too long: the database answers everything else, and so does the node.
#[tokio::test]
async fn a_page_that_takes_too_long_is_no_trouble_of_the_database() {
    use sqlx::Connection;
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("one", json!({ "tags": ["a"] })).await;
    let mut administrator = database.connect().await;
    let mut transaction = administrator.begin().await.expect("a transaction");
    let lock = sqlx::raw_sql("LOCK TABLE link_blocks IN ACCESS EXCLUSIVE MODE");
    lock.execute(&mut *transaction).await.expect("the lock");
    assert_problem(&anna.get("links?search=abc").await, 503, "a search");
    assert_status(&anna.get("tags").await, 200, "another request");
    assert_status(&node.probe().get("/readyz").await, 200, "the node");
    assert_eq!(node.log_lines("the database fails"), [""; 0]);
    transaction.rollback().await.expect("the end");
    assert_status(&anna.get("links?search=abc").await, 200, "a search");
}

/// A proxy would refuse the answer.
#[tokio::test]
async fn a_link_header_that_would_be_too_long_is_left_out() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let long = format!("https://example.com/{}", "x".repeat(4_100));
    for (target, has_header) in [("https://example.com/", true), (&long, false)] {
        for number in 0..2 {
            let alias = format!("link-{number}-{has_header}");
            anna.make(&alias, json!({ "url": target })).await;
        }
        let path = format!("links?limit=1&target={target}");
        let page = anna.get(&path).await;
        assert_eq!(codes(&page), [format!("link-1-{has_header}")]);
        assert_eq!(page.header("link").is_some(), has_header);
        let cursor = page.json()["next"].as_str().expect("a cursor").to_owned();
        let rest = anna.get(&format!("{path}&cursor={cursor}")).await;
        assert_eq!(codes(&rest), [format!("link-0-{has_header}")]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_list_is_named() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let root = Api::of(&node, &builder, "root", "admin");
    for alias in ["one", "two", "three"] {
        anna.make(alias, json!({})).await;
    }
    let cursor = anna.get("links?limit=1").await.json()["next"].clone();
    let cursor = cursor.as_str().expect("a cursor");
    let edited = format!(
        "{}{}",
        &cursor[..31],
        if cursor.ends_with('0') { 1 } else { 0 }
    );
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
        ("state=dead", "state"),
        ("sort=visits", "sort"),
        ("target=example", "target"),
        ("target=javascript:alert(1)", "target"),
        ("owner=a%20b", "owner"),
        ("search=", "search"),
        ("search=+", "search"),
        ("limit=", "limit"),
        ("state", "state"),
        ("cursor=", "cursor"),
        ("created_after=yesterday", "created_after"),
        ("expires_before=2030-01-01", "expires_before"),
        (
            "created_after=2030-01-01T00:00:00Z&created_before=2030-01-01T00:00:00Z",
            "created_before",
        ),
        (&format!("search={}", "x".repeat(257)), "search"),
        ("cursor=x", "cursor"),
        (&format!("cursor={edited}"), "cursor"),
        // Of another list.
        (&format!("search=abc&cursor={cursor}"), "cursor"),
        (&format!("sort=oldest&cursor={cursor}"), "cursor"),
    ] {
        let answer = anna.get(&format!("links?{query}")).await;
        let error = assert_problem(&answer, 400, query);
        assert!(error.contains(&format!("`{named}`")), "{query}: {error}");
    }
    // Of another owner.
    let answer = root.get(&format!("links?cursor={cursor}")).await;
    assert_problem(&answer, 400, "another owner");
    // With another limit it is the same list.
    let rest = anna.get(&format!("links?limit=2&cursor={cursor}")).await;
    assert_eq!(codes(&rest), ["two", "one"]);
    assert_problem(&anna.get("links?search=%FF").await, 400, "no UTF-8");
    for path in [
        "tags?x=1",
        "owners?x=1",
        "tags?limit=0",
        "tags?after=%00",
        "tags?after=",
    ] {
        assert_problem(&anna.get(path).await, 400, path);
    }
}
