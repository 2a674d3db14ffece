//! Many links are made by one request.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use testkit::{Answer, NodeBuilder, Postgres, RawConnection, eventually, execute, needs};

use super::{Api, TARGET, on_both, to};
use crate::api::exchange::{
    FORM, JSON, assert_problem, assert_status, raw_status, send, unlimited,
};

on_both!(
    each_link_has_its_result_in_its_order,
    a_thousand_links_are_made_by_one_request,
    what_asks_for_no_links_is_refused_and_stores_nothing,
    who_may_only_make_links_takes_no_alias_and_sees_no_older_link,
);

/// The longest body, in bytes.
const BODY: usize = 4 * 1024 * 1024;

impl Api {
    /// Makes these links.
    pub(super) async fn bulk(&self, links: &Value) -> Answer {
        self.post("links/bulk", json!({ "links": links })).await
    }

    /// The results for these links.
    pub(super) async fn results(&self, links: &Value) -> Vec<Value> {
        let answer = self.bulk(links).await;
        assert_status(&answer, 200, "links");
        results(&answer)
    }
}

pub(crate) fn results(answer: &Answer) -> Vec<Value> {
    let results = answer.json()["results"].clone();
    results.as_array().expect("results").clone()
}

pub(crate) fn statuses(results: &[Value]) -> Vec<u64> {
    let statuses = results.iter().map(|result| result["status"].as_u64());
    statuses.map(|status| status.expect("a status")).collect()
}

/// So many links with different targets.
pub(crate) fn different(count: usize) -> Value {
    let link = |number| json!({ "url": format!("https://example.com/{number}") });
    (0..count).map(link).collect()
}

async fn each_link_has_its_result_in_its_order(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("taken", json!({})).await;
    anna.make("dead", json!({})).await;
    assert_status(&anna.delete("links/dead").await, 204, "it is deleted");
    let own = format!("http://{}/x", node.address());
    let links = json!([
        { "url": TARGET, "alias": "first", "title": "A title", "tags": ["b", "a"], "max_visits": 3 },
        { "url": "https://example.com/shared" },
        { "url": TARGET, "alias": "taken" },
        { "url": "nonsense" },
        { "url": own },
        { "url": TARGET, "alias": "first" },
        { "url": TARGET, "alias": "dead" },
        { "url": "https://example.com/shared" },
        { "url": TARGET, "colour": "red" },
        { "url": TARGET, "expires_in": 60, "expires_at": "2031-01-01T00:00:00Z" },
        { "url": TARGET, "note": "x".repeat(33_000) },
        5,
        [],
        null,
        { "url": "https://example.org/", "code_length": 12 },
    ]);
    let results = anna.results(&links).await;
    let expected = [
        201, 201, 409, 422, 422, 409, 201, 200, 400, 422, 413, 400, 400, 400, 201,
    ];
    assert_eq!(statuses(&results), expected, "{results:#?}");
    for result in &results {
        let is_stored = result["status"].as_u64() < Some(300);
        assert_eq!(result["link"].is_object(), is_stored, "{result}");
        assert_eq!(result["error"].is_string(), !is_stored, "{result}");
    }
    // As it is shown alone.
    assert_eq!(results[0]["link"], anna.link("first").await);
    assert_eq!(results[0]["link"]["tags"], json!(["b", "a"]));
    assert_eq!(results[1]["link"]["code"], results[7]["link"]["code"]);
    assert_eq!(results[8]["error"], "Unknown field `colour`");
    assert_eq!(results[10]["error"], "The link is over 32 KiB");
    assert_eq!(results[14]["link"]["code"].as_str().map(str::len), Some(12));
    for result in [&results[0], &results[1], &results[6], &results[14]] {
        let (code, url) = (&result["link"]["code"], &result["link"]["url"]);
        let leads = anna.leads(code.as_str().expect("a code")).await;
        assert_eq!(leads, to(url.as_str().expect("a URL")), "{result}");
    }
}

async fn a_thousand_links_are_made_by_one_request(builder: NodeBuilder) {
    let builder = builder.set("limiter.per_key", "5/minute");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let answer = anna.bulk(&different(1_000)).await;
    assert_status(&answer, 200, "1,000 links");
    assert_eq!(answer.number("x-ratelimit-remaining"), 4, "one request");
    let results = results(&answer);
    assert_eq!(statuses(&results), [201; 1_000]);
    for number in [0, 49, 50, 999] {
        let link = &results[number]["link"];
        let url = format!("https://example.com/{number}");
        assert_eq!(link["url"], url.as_str());
        let code = link["code"].as_str().expect("a code");
        assert_eq!(anna.leads(code).await, to(&url));
    }
    // Again: they are the same links.
    let again = anna.results(&different(1_000)).await;
    assert_eq!(statuses(&again), [200; 1_000]);
    let codes = |results: &[Value]| -> Vec<Value> {
        let codes = results.iter().map(|result| &result["link"]["code"]);
        codes.cloned().collect()
    };
    assert_eq!(codes(&again), codes(&results));
    let refused = anna.bulk(&different(1_001)).await;
    let error = assert_problem(&refused, 413, "1,001 links");
    assert_eq!(error, "One request makes at most 1000 links");
}

async fn what_asks_for_no_links_is_refused_and_stores_nothing(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let link = "{\"url\": \"https://example.com/\"}";
    for (body, status) in [
        (String::new(), 400),
        (format!("[{link}]"), 400),
        (link.to_owned(), 400),
        ("{\"links\": []}".to_owned(), 422),
        (format!("{{\"links\": {link}}}"), 400),
        (format!("{{\"links\": [{link}], \"owner\": \"bert\"}}"), 400),
        (format!("{{\"links\": [{link}], \"links\": [{link}]}}"), 400),
        (format!("{{\"links\": [{link}"), 400),
    ] {
        let request = anna.request(Method::POST, "links/bulk");
        let answer = send(request.header("content-type", JSON).body(body.clone())).await;
        assert_problem(&answer, status, &body);
    }
    let request = anna.request(Method::POST, "links/bulk");
    let form = request.header("content-type", FORM).body("links=a");
    let error = assert_problem(&send(form).await, 415, "a form");
    assert_eq!(error, "Send JSON (application/json)");
    let results = anna.results(&json!([{ "url": TARGET }])).await;
    assert_eq!(statuses(&results), [201], "nothing was stored before");
    let without_key = node.client().request(Method::POST, "/api/v1/links/bulk");
    assert_problem(&send(without_key).await, 401, "no key");
    let bert = Api::of(&node, &builder, "bert", "manage");
    assert_problem(&bert.bulk(&different(1)).await, 403, "no scope");
}

async fn who_may_only_make_links_takes_no_alias_and_sees_no_older_link(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let phone = Api {
        key: crate::keys::create(&builder, "phone", &["--owner", "anna"]),
        ..anna.clone()
    };
    anna.make("dead", json!({})).await;
    assert_status(&anna.delete("links/dead").await, 204, "it is deleted");
    let shared = anna.results(&json!([{ "url": TARGET }])).await;
    let links = json!([{ "url": TARGET, "alias": "dead" }, { "url": TARGET }, { "url": TARGET, "alias": "mine" }]);
    let results = phone.results(&links).await;
    assert_eq!(statuses(&results), [409, 200, 201]);
    let link = &shared[0]["link"];
    let brief = json!({ "code": link["code"], "short_url": link["short_url"], "url": link["url"] });
    assert_eq!(results[1]["link"], brief);
    assert_eq!(results[2]["link"], anna.link("mine").await);
}

#[tokio::test]
async fn a_link_with_the_code_bulk_is_managed_like_any_other() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("bulk", json!({})).await;
    assert_eq!(anna.link("bulk").await["code"], "bulk");
    anna.change("bulk", json!({ "title": "A title" })).await;
    // Its body may be as long as that of any other change, and no longer.
    let long = json!({ "note": "x".repeat(40_000) });
    let refused = anna.patch("links/bulk", long).await;
    assert_problem(&refused, 413, "a long change");
    assert_status(&anna.delete("links/bulk").await, 204, "it is deleted");
    let refused = send(anna.request(Method::PUT, "links/bulk")).await;
    assert_problem(&refused, 405, "PUT");
    let allowed = refused.header("allow");
    assert_eq!(allowed, Some("GET, HEAD, POST, PATCH, DELETE"));
}

#[tokio::test]
async fn a_body_is_as_long_as_a_thousand_links_and_no_longer() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create");
    let body = |length: usize| {
        let links = json!({ "links": different(1_000) }).to_string();
        let padding = " ".repeat(length - links.len());
        links + &padding
    };
    let post = async |length: usize| {
        let request = anna.request(Method::POST, "links/bulk/");
        send(request.header("content-type", JSON).body(body(length))).await
    };
    assert_status(&post(BODY).await, 200, "a long body");
    let error = assert_problem(&post(BODY + 1).await, 413, "a longer body");
    assert_eq!(error, "The request is over 4 MiB");
    for (length, status) in [(BODY, 200), (BODY + 1, 413)] {
        let mut connection = RawConnection::open(node.address()).await;
        connection.send(&in_chunks(&anna.key, &body(length))).await;
        let answer = connection.receive(Duration::from_secs(20)).await;
        assert_eq!(raw_status(&answer.expect("an answer")), status, "{length}");
    }
    let request = anna.request(Method::POST, "links");
    let other = request.header("content-type", JSON).body(body(100_000));
    assert_problem(&send(other).await, 413, "a long body elsewhere");
}

/// Its transactions have 10, 20, 40, 50, 50… links: none of them takes a tenth of its time.
fn patient() -> NodeBuilder {
    unlimited().set("database.timeout", "1m")
}

/// The database fails at the 60th link, and at nothing else.
async fn assert_what_is_stored_is_said(builder: NodeBuilder, refuse: impl AsyncFnOnce()) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    refuse().await;
    let mut links = different(200);
    links[59] = json!({ "url": "https://example.com/refused" });
    links[58] = json!({ "url": "nonsense" });
    let results = anna.results(&links).await;
    let (done, rest) = results.split_at(30);
    assert_eq!(statuses(done), [201; 30]);
    let mut expected = [503; 170];
    expected[28] = 422;
    assert_eq!(statuses(rest), expected);
    let error = |number: usize| results[number]["error"].as_str().expect("an error");
    assert!(error(30).contains("may be stored or not"), "{}", error(30));
    assert!(error(69).contains("may be stored or not"), "{}", error(69));
    assert!(error(70).contains("not tried"), "{}", error(70));
    for result in done {
        let code = result["link"]["code"].as_str().expect("a code");
        assert_eq!(anna.leads(code).await.0, 302);
    }
    // Nothing of the others is there.
    links[59] = json!({ "url": "https://example.com/59" });
    let again = anna.results(&links).await;
    assert_eq!(statuses(&again[..30]), [200; 30]);
    assert_eq!(statuses(&again[30..58]), [201; 28]);
    assert_eq!(statuses(&again[59..]), [201; 141]);
}

#[tokio::test]
async fn what_is_stored_when_sqlite_fails_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}", directory.path().join("links.db").display());
    let builder = patient().set("database.url", &url);
    assert_what_is_stored_is_said(builder, async || {
        let mut other = SqliteConnection::connect(&url).await.expect("the file");
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON urls
                      WHEN NEW.original_url = 'https://example.com/refused'
                      BEGIN SELECT raise(ABORT, 'not today'); END";
        let refuse = sqlx::raw_sql(refuse).execute(&mut other).await;
        refuse.expect("a trigger");
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_when_postgres_fails_is_said() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = patient().postgres(&database);
    assert_what_is_stored_is_said(builder, async || {
        let refuse = "
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON urls FOR EACH ROW
            WHEN (NEW.original_url = 'https://example.com/refused') EXECUTE FUNCTION refuse()";
        let mut connection = database.connect().await;
        let refuse = sqlx::raw_sql(refuse).execute(&mut connection).await;
        refuse.expect("a trigger");
    })
    .await;
}

/// Makes Postgres take this long for each link.
pub(crate) async fn slow_down(database: &testkit::Database, milliseconds: u32) {
    let slow_down = format!(
        "CREATE FUNCTION slow_down() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_sleep({milliseconds} / 1000.0); RETURN NEW; END $$;
         CREATE TRIGGER slow_down BEFORE INSERT ON urls FOR EACH ROW EXECUTE FUNCTION slow_down()"
    );
    let mut connection = database.connect().await;
    for statement in slow_down.split_inclusive("$$;") {
        execute(&mut connection, statement).await;
    }
}

/// A bulk request whose body has no length, on a connection that ends with the answer.
pub(crate) fn in_chunks(key: &str, body: &str) -> Vec<u8> {
    let mut request = format!(
        "POST /api/v1/links/bulk HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for chunk in body.as_bytes().chunks(100_000) {
        let chunk = str::from_utf8(chunk).expect("ASCII");
        request += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    request += "0\r\n\r\n";
    request.into_bytes()
}

/// The head of a bulk request with so many links, and its body.
pub(super) fn raw(key: &str, links: usize) -> (Vec<u8>, Vec<u8>) {
    let body = json!({ "links": different(links) }).to_string();
    let head = format!(
        "POST /api/v1/links/bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head.into_bytes(), body.into_bytes())
}

/// Each transaction is stored as a whole or not at all, and the places of the requests are free again.
#[tokio::test]
async fn a_client_that_goes_away_leaves_whole_links_and_its_place() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = patient().postgres(&database);
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    slow_down(&database, 5).await;
    let (head, body) = raw(&anna.key, 1_000);
    for _ in 0..5 {
        let mut connection = RawConnection::open(node.address()).await;
        assert!(connection.send(&[&head[..], &body[..]].concat()).await);
        let before = database.number("SELECT count(*) FROM urls").await;
        eventually("some of the links are stored", async || {
            let now = database.number("SELECT count(*) FROM urls").await;
            (now > before).then_some(())
        })
        .await;
        drop(connection);
    }
    let answer = eventually("there is a place for another request", async || {
        let answer = anna.bulk(&different(1)).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_status(&answer, 200, "a link");
    let stored = database.number("SELECT count(*) FROM urls").await;
    assert!(
        [10, 30, 1_000].contains(&stored) || stored % 50 == 20,
        "{stored} links"
    );
}
