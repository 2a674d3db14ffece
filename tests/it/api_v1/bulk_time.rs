//! A bulk request has its time and its place, and gives both back.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use shunt::public::BULK;
use testkit::{Database, Node, NodeBuilder, Postgres, RawConnection, eventually, execute, needs};

use super::{
    Api, TARGET,
    bulk::{different, raw, results, slow_down, statuses},
};
use crate::api::exchange::{JSON, assert_problem, assert_status, raw_status, send, unlimited};

const PATIENCE: Duration = Duration::from_secs(30);

/// What comes until the answer ends. `None` if the connection ends before.
async fn answer(connection: &mut RawConnection) -> Option<String> {
    let mut answer = String::new();
    while !answer.ends_with("]}\n") {
        let part = connection.receive(PATIENCE).await?;
        assert!(!part.is_empty(), "no answer: {answer}");
        answer += &part;
    }
    Some(answer)
}

/// The results in an answer that has the status 200.
fn results_of(answer: &str) -> Vec<Value> {
    assert_eq!(raw_status(answer), 200, "{answer:.500}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["results"].as_array().expect("results").clone()
}

/// How many of the first links are stored. The others are not, or nobody knows, or they were not tried: in this order.
fn assert_parts(results: &[Value]) -> [usize; 3] {
    let of = |result: &&Value| match result["status"].as_u64() {
        Some(201) => 0,
        _ if result["error"] == "The link was not tried: send it again" => 2,
        _ => 1,
    };
    let parts: Vec<usize> = results.iter().map(|result| of(&result)).collect();
    assert!(parts.is_sorted(), "{parts:?}");
    [0, 1, 2].map(|part| parts.iter().filter(|other| **other == part).count())
}

async fn stored(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM urls").await
}

async fn some_are_stored(database: &Database) {
    eventually("some of the links are stored", async || {
        (stored(database).await > 0).then_some(())
    })
    .await;
}

/// At most two of one owner, and at most four: more than a node has memory for.
#[tokio::test]
async fn only_so_many_are_worked_on_at_once() {
    let builder = unlimited();
    let node = builder.start().await;
    let [anna, bert, carl] =
        ["anna", "bert", "carl"].map(|owner| Api::of(&node, &builder, owner, "create,manage"));
    let begin = async |owner: &Api| {
        let (head, body) = raw(&owner.key, 100);
        let mut connection = RawConnection::open(node.address()).await;
        assert!(connection.send(&head).await);
        assert!(connection.send(&body[..10]).await);
        (connection, body)
    };
    let places_of = async |owner: &Api| {
        let mut open = vec![begin(owner).await, begin(owner).await];
        let refused = eventually("both places are taken", async || {
            // The last request from here may have been in the way of one of them.
            for place in &mut open {
                let answer = place.0.receive(Duration::from_millis(20)).await;
                if answer.as_deref() != Some("") {
                    *place = begin(owner).await;
                }
            }
            let answer = owner.bulk(&different(1)).await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        (open, refused)
    };
    let (mut open, refused) = places_of(&anna).await;
    let error = assert_problem(&refused, 503, "a third of one owner");
    assert_eq!(error, "Too many such requests at once");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_status(&bert.bulk(&different(1)).await, 200, "another owner");
    let (others, _) = places_of(&bert).await;
    assert_problem(&carl.bulk(&different(1)).await, 503, "a fifth");
    // A long body is read to its end, so that the answer arrives.
    let long = json!({ "links": [], "x": "y".repeat(1_000_000) });
    assert_problem(&carl.post("links/bulk", long).await, 503, "a long body");
    let one = anna.post("links", json!({ "url": TARGET })).await;
    assert_status(&one, 201, "one link");
    let (mut first, body) = open.remove(0);
    assert!(first.send(&body[10..]).await);
    let results = results_of(&answer(&mut first).await.expect("an answer"));
    assert_eq!(results.len(), 100);
    assert_status(&carl.bulk(&different(1)).await, 200, "there is a place");
    drop((open, others));
}

/// The time for answers that lie unread begins again with each part that the client takes.
#[tokio::test]
async fn a_client_that_reads_slowly_loses_its_place() {
    let builder = unlimited().set("http.request_timeout", "5s");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let path = "p".repeat(3_000);
    let links: Value = (0..1_000)
        .map(|number| json!({ "url": format!("https://example.com/{number}/{path}") }))
        .collect();
    let body = json!({ "links": links }).to_string();
    let head = format!(
        "POST /api/v1/links/bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        anna.key,
        body.len()
    );
    let started = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut connection = RawConnection::open(node.address()).await;
        assert!(connection.send(head.as_bytes()).await);
        assert!(connection.send(body.as_bytes()).await);
        slow.push(connection);
    }
    let is_free = async || anna.bulk(&different(1)).await.status == 200;
    let mut was_taken = false;
    while started.elapsed() < Duration::from_secs(45) {
        for connection in &mut slow {
            connection.take(32 * 1024, Duration::from_secs(1)).await;
        }
        was_taken |= !is_free().await;
    }
    assert!(was_taken, "they never had their places");
    while !is_free().await {
        assert!(started.elapsed() < Duration::from_secs(65), "still there");
        for connection in &mut slow {
            connection.take(32 * 1024, Duration::from_secs(1)).await;
        }
    }
    let ended = ["reason=\"unread_answers\""];
    let ended = node.metric("shunt_http_connections_ended_total", &ended);
    assert!(ended.await >= 1.0);
}

/// curl asks before it sends a body of over 1 MiB.
#[tokio::test]
async fn a_body_that_was_asked_for_has_as_much_time_as_any_other() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited()
        .postgres(&database)
        .set("http.request_timeout", "1s")
        .set("database.timeout", "1s");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    slow_down(&database, 20).await;
    let (head, body) = raw(&anna.key, 400);
    let head = String::from_utf8(head).expect("ASCII");
    let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let mut connection = RawConnection::open(node.address()).await;
    assert!(connection.send(head.as_bytes()).await);
    let go_on = connection.receive(PATIENCE).await.expect("an answer");
    assert_eq!(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(connection.send(&body).await);
    let started = Instant::now();
    let answer = answer(&mut connection).await.expect("it is not cut off");
    assert_eq!(assert_parts(&results_of(&answer)), [400, 0, 0]);
    assert!(started.elapsed() > Duration::from_secs(8));
}

/// The transaction that hangs is the last: nobody knows what became of it.
#[tokio::test]
async fn what_is_stored_when_the_database_hangs_in_the_middle_is_said() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited()
        .postgres(&database)
        .set("database.timeout", "2s");
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    slow_down(&database, 20).await;
    let (head, body) = raw(&anna.key, 600);
    let mut connection = RawConnection::open(node.address()).await;
    assert!(connection.send(&[head, body].concat()).await);
    some_are_stored(&database).await;
    let mut holder = database.connect().await;
    execute(&mut holder, "BEGIN").await;
    execute(&mut holder, "LOCK TABLE urls IN SHARE MODE").await;
    let answer = answer(&mut connection).await.expect("an answer");
    let [made, unknown, not_tried] = assert_parts(&results_of(&answer));
    assert!(
        made >= 10 && (1..=50).contains(&unknown),
        "{made} {unknown}"
    );
    assert_eq!(made + unknown + not_tried, 600);
    execute(&mut holder, "COMMIT").await;
    eventually("the next links are stored", async || {
        (anna.bulk(&different(1)).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(stored(&database).await, made as i64);
}

/// The node is stopped before all of the links are stored. The client hears which of them are.
#[tokio::test]
async fn a_node_that_stops_says_what_is_stored() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited()
        .postgres(&database)
        .set("database.timeout", "1s")
        .set("http.drain", "0s")
        .set("http.shutdown_timeout", "6s");
    let mut node: Node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    slow_down(&database, 20).await;
    let (head, body) = raw(&anna.key, 1_000);
    let mut connection = RawConnection::open(node.address()).await;
    assert!(connection.send(&[head, body].concat()).await);
    some_are_stored(&database).await;
    node.signal(Signal::TERM);
    let answer = answer(&mut connection).await.expect("an answer");
    let [made, unknown, not_tried] = assert_parts(&results_of(&answer));
    assert!(made >= 10 && not_tried > 0, "{made} {not_tried}");
    assert_eq!(unknown, 0);
    assert_eq!(node.exit_code().await, 0);
    assert_eq!(stored(&database).await, made as i64);
}

/// A link gets another code when its first is taken, and the database fails at that.
#[tokio::test]
async fn what_is_stored_when_the_database_fails_at_another_code_is_said() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let mut connection = database.connect().await;
    // As if the codes were taken, twice; then the database fails.
    for statement in [
        "CREATE SEQUENCE tries",
        "CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF nextval('tries') > 2 THEN RAISE EXCEPTION 'not today'; END IF; RETURN NULL; END $$",
        "CREATE TRIGGER collide BEFORE INSERT ON urls FOR EACH ROW
         WHEN (NEW.original_url LIKE '%/collides') EXECUTE FUNCTION collide()",
    ] {
        execute(&mut connection, statement).await;
    }
    let mut links = different(12);
    for number in [3, 6] {
        links[number] = json!({ "url": "https://example.com/collides", "code_length": 9 });
    }
    let results = anna.results(&links).await;
    let expected = [201, 201, 201, 503, 201, 201, 503, 201, 201, 201, 503, 503];
    assert_eq!(statuses(&results), expected);
    let error = |number: usize| results[number]["error"].as_str().expect("an error");
    assert!(error(3).contains("may be stored or not"), "{}", error(3));
    for number in [6, 10, 11] {
        assert!(error(number).contains("not tried"), "{}", error(number));
    }
}

/// Hashing passwords takes a node's cores from its visitors.
#[tokio::test]
async fn only_so_many_of_the_links_have_a_password() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    // The first 19 are refused for their alias before their password is hashed.
    let refused = json!({ "url": TARGET, "alias": "a b", "password": "sesame" });
    let with_password = json!({ "url": TARGET, "password": "sesame" });
    let mut links = vec![refused; 19];
    links.extend([
        with_password.clone(),
        with_password,
        json!({ "url": TARGET, "title": "none" }),
    ]);
    let results = anna.results(&json!(links)).await;
    assert_eq!(statuses(&results[..19]), [422; 19]);
    assert_eq!(statuses(&results[19..]), [201, 422, 201]);
    assert_eq!(results[19]["link"]["has_password"], true);
    let error = results[20]["error"].as_str().expect("an error");
    assert!(error.contains("at most 20 links"), "{error}");
}

/// A body of another type is read to its end, too.
#[tokio::test]
async fn a_long_body_of_another_type_is_refused_on_a_connection_that_stays_open() {
    let builder = unlimited();
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create");
    let body = "a".repeat(1_000_000);
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let request = anna.request(Method::POST, "links/bulk");
        let request = request.header("content-type", JSON).body(body.clone());
        let mut request = request.build().expect("a request");
        let value = value.parse().expect("a value");
        request.headers_mut().insert(name, value);
        let request = reqwest::RequestBuilder::from_parts(reqwest::Client::new(), request);
        let refused = send(request).await;
        assert_problem(&refused, 415, name);
        assert_eq!(refused.header("connection"), None, "{name}");
    }
}

/// nginx sends long bodies to whatever it takes for the path, and a node keeps the connection for nginx's next request.
#[tokio::test]
async fn a_long_body_for_another_spelling_of_the_path_is_read_to_its_end() {
    let node = unlimited().start().await;
    let body = "a".repeat(BULK.body);
    for (path, expected) in [
        ("/api/v1/links/bulk", 401),
        ("//api/v1/links/bulk", 404),
        ("/api%2Fv1/links/bulk", 404),
        ("/x/../api/v1/links/bulk", 404),
        ("/api/v1/links/x/../bulk", 404),
        ("/abc%2F..%2Fapi%2Fv1%2Flinks%2Fbulk", 405),
    ] {
        let mut connection = RawConnection::open(node.address()).await;
        for _ in 0..2 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            assert!(connection.send(head.as_bytes()).await, "{path}");
            assert!(connection.send(body.as_bytes()).await, "{path}");
            let answer = connection.receive(PATIENCE).await.expect(path);
            assert_eq!(raw_status(&answer), expected, "{path}: {answer}");
        }
    }
}

/// Two nodes store links with the same aliases and the same targets at the same time.
#[tokio::test]
async fn two_nodes_make_the_same_links_at_once() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder: NodeBuilder = unlimited().postgres(&database);
    let (a, b) = (builder.start().await, builder.start().await);
    let here = Api::of(&a, &builder, "anna", "create,manage");
    let there = here.at(&b);
    let link = |number: usize| match number % 2 {
        0 => json!({ "url": format!("https://example.com/{number}") }),
        _ => json!({ "url": TARGET, "alias": format!("alias-{number}") }),
    };
    let forwards: Value = (0..200).map(link).collect();
    let backwards: Value = (0..200).rev().map(link).collect();
    let (one, other) = tokio::join!(here.bulk(&forwards), there.bulk(&backwards));
    let (one, mut other) = (results(&one), results(&other));
    other.reverse();
    for (number, (one, other)) in one.iter().zip(&other).enumerate() {
        let mut both = statuses(&[one.clone(), other.clone()]);
        both.sort_unstable();
        let expected = if number % 2 == 0 {
            [200, 201]
        } else {
            [201, 409]
        };
        assert_eq!(both, expected, "{number}: {one} {other}");
        if number % 2 == 0 {
            assert_eq!(one["link"]["code"], other["link"]["code"], "{number}");
        }
    }
    assert_eq!(stored(&database).await, 200);
}
