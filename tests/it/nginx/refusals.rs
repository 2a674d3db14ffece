//! A client cannot make a node answer so that nginx takes the node out of rotation, and other clients notice nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use sqlx::{Connection, SqliteConnection};
use testkit::{Node, RawConnection, Traffic, eventually, needs};
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use super::{Front, PATIENCE, connect, get, post, read_to_end, status};

/// A request line that nginx passes on and actix-http rejects.
const UNPARSABLE: &str = "/<>";

/// Clients that send this again and again, each time on a new connection, and read no more than they must.
struct Attack {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Attack {
    fn start(front: &Front, request: &[u8], expected: u16) -> Self {
        let (stop, sent) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let address = front.nginx.address();
        let clients = (1..=4).map(|number| {
            let (stop, sent, request) = (stop.clone(), sent.clone(), request.to_vec());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut connection = connect([127, 66, 6, number], address).await;
                    let _ = connection.write_all(&request).await;
                    assert_eq!(status(&read_to_end(connection).await), expected);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self {
            clients: clients.collect(),
            stop,
            sent,
        }
    }

    async fn sends(&self, count: usize) {
        let until = self.sent.load(Ordering::Relaxed) + count;
        eventually("the attack goes on", async || {
            (self.sent.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("each is answered as expected");
        }
    }
}

/// Sends this as fast as possible. Other clients must notice nothing, and both nodes must go on.
async fn assert_harmless(front: &Front, what: &str, request: &[u8], expected: u16) {
    // Some keep their connections, as browsers do, and some use new ones.
    let address = front.nginx.address();
    let kept = testkit::Client::new([127, 0, 0, 9].into(), address);
    let others = [kept, front.client_at([127, 0, 0, 10])];
    let reads = Traffic::start(&others, |client, _| client.request(Method::GET, "/"));
    let writes = Traffic::start(&others, |client, number| {
        let url = format!("https://example.com/{number}");
        client
            .request(Method::POST, "/shorten")
            .form(&[("url", url)])
    });
    let attack = Attack::start(front, request, expected);
    attack.sends(300).await;
    reads.answers(100).await;
    writes.answers(100).await;
    attack.stop().await;
    let (reads, writes) = (reads.stop().await, writes.stop().await);
    assert_eq!(reads.failed(), 0, "{what}: {reads:?}");
    assert_eq!(writes.failed(), 0, "{what}: {writes:?}");
    front.assert_both_nodes_serve(what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_a_node_cannot_parse_harm_no_other_client() {
    needs!("nginx");
    let front = Front::start().await;
    let many: String = (0..120)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect();
    let body = "a".repeat(16_000);
    for (what, request, expected) in [
        ("a path that is none", get(UNPARSABLE, ""), 400),
        ("too many headers", get("/", &many), 431),
        (
            "a header that is none, with a body",
            post("/shorten", "X: \u{1}\r\n", &body),
            400,
        ),
    ] {
        assert_harmless(&front, what, &request, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_a_node_does_not_read_harm_no_other_client() {
    needs!("nginx");
    let front = Front::start().await;
    let body = "a".repeat(32_000);
    for (target, expected) in [("/", 405), ("/a/b", 404)] {
        let what = format!("a body for {target}");
        assert_harmless(&front, &what, &post(target, "", &body), expected).await;
    }
}

/// nginx lets longer bodies through for whatever it takes for the path of bulk requests; to a node, these are others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_for_other_spellings_of_a_path_harm_no_other_client() {
    needs!("nginx");
    let front = Front::start().await;
    let body = "a".repeat(300_000);
    for (target, expected) in [
        ("/api/v1/links/bulk", 401),
        ("//api/v1/links/bulk", 404),
        ("/api%2Fv1/links/bulk", 404),
        ("/x/../api/v1/links/bulk", 404),
        ("/api/v1/links/x/../bulk", 404),
        ("/abc%2F..%2Fapi%2Fv1%2Flinks%2Fbulk", 405),
    ] {
        assert_harmless(&front, target, &post(target, "", &body), expected).await;
    }
}

/// Clients that go away at every point of a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_go_away_harm_no_other_client() {
    needs!("nginx");
    let front = Front::start().await;
    let request = post("/shorten", "", "url=https://example.com/");
    for length in [1, request.len() / 2, request.len() - 1, request.len()] {
        for abruptly in [false, true] {
            for _ in 0..20 {
                let mut connection = connect([127, 66, 6, 1], front.nginx.address()).await;
                connection
                    .write_all(&request[..length])
                    .await
                    .expect("sent");
                if abruptly {
                    // A reset instead of an orderly end.
                    socket2::SockRef::from(&connection)
                        .set_linger(Some(Duration::ZERO))
                        .expect("linger");
                }
            }
        }
        front
            .assert_both_nodes_serve(&format!("clients that left after {length} bytes"))
            .await;
    }
}

/// On a connection that stays open, as nginx keeps those to nodes.
#[tokio::test]
async fn a_node_that_refuses_a_request_by_itself_says_that_the_connection_ends() {
    let node = Node::embedded().await;
    let many: String = (0..120)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect();
    for (request, expected) in [(get(UNPARSABLE, ""), 400), (get("/", &many), 431)] {
        let mut connection = RawConnection::open(node.address()).await;
        assert!(connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await);
        let answer = connection.receive(PATIENCE).await.expect("an answer");
        assert_eq!(status(&answer), 200);
        assert!(connection.send(&request).await);
        let mut answer = String::new();
        while let Some(part) = connection.receive(PATIENCE).await {
            answer += &part;
        }
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(
            answer.matches("connection: close\r\n").count(),
            1,
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

/// Another program wrote a link so long that the answer is too large for nginx. nginx would take the node for dead, and
/// after the second answer all nodes.
#[tokio::test]
async fn while_nginx_takes_every_node_for_dead_it_asks_them_nevertheless() {
    needs!("nginx");
    let front = Front::start().await;
    let mut other = SqliteConnection::connect(&front.database())
        .await
        .expect("the file");
    let url = format!("https://example.com/{}", "a".repeat(40_000));
    sqlx::query("INSERT INTO urls (short_code, original_url) VALUES ('endless', ?)")
        .bind(url)
        .execute(&mut other)
        .await
        .expect("INSERT");
    let client = front.client_at([127, 0, 0, 1]);
    for number in 0..20 {
        for _ in 0..2 {
            assert_eq!(client.get("/endless").await.status, 502);
        }
        for _ in 0..2 {
            let answer = client.get("/").await;
            assert_eq!(answer.status, 200, "{number}: {answer:?}");
        }
        client
            .shorten(&format!("https://example.com/{number}"))
            .await
            .code();
    }
}
