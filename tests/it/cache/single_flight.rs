//! When many clients ask for a code at once, the database is asked once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::{Node, Postgres, RawConnection, eventually, execute, needs, unread};

use super::{TARGET, asked, counted, node, start};

const CROWD: usize = 1_000;

/// Statements of this database that wait for a lock, but for the index of links, which is kept in the background.
const WAITING: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query NOT LIKE '%link_blocks%'";

/// Clients, each with a connection of its own that the node has accepted.
struct Crowd<'a> {
    node: &'a Node,
    connections: Vec<RawConnection>,
}

impl<'a> Crowd<'a> {
    async fn gather(node: &'a Node, size: usize) -> Self {
        let mut crowd = Self {
            node,
            connections: Vec::new(),
        };
        for _ in 0..size {
            let connection = RawConnection::open(node.address()).await;
            crowd.connections.push(connection);
        }
        crowd.send("/").await;
        let statuses = crowd.statuses().await;
        assert_eq!(statuses, vec![200; size]);
        crowd
    }

    async fn send(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        for connection in &mut self.connections {
            assert!(connection.send(request.as_bytes()).await);
        }
    }

    /// Sends the same request from all clients, and waits until the node is at work on all of them.
    async fn ask(&mut self, path: &str) {
        self.send(path).await;
        eventually("all requests are read", async || {
            (unread(self.node.address().port()) == 0).then_some(())
        })
        .await;
        // A worker goes on until a request has to wait for something. So when it answers another request, all those
        // that it has read are waiting. Connections go to the workers in turn.
        Box::pin(Self::gather(self.node, 4)).await;
    }

    async fn statuses(&mut self) -> Vec<u16> {
        let answers = self.connections.iter_mut().map(|connection| async {
            let answer = connection.receive(Duration::from_secs(25)).await;
            let answer = answer.expect("the connection stays");
            let status = answer.strip_prefix("HTTP/1.1 ").and_then(|a| a.get(..3));
            status.expect("an answer").parse().expect("a status")
        });
        join_all(answers).await
    }
}

#[tokio::test]
async fn a_thousand_who_ask_for_a_cold_code_at_once_make_one_query() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let node = node().postgres(&database).set("database.timeout", "20s");
    let node = start(&node).await;
    let code = node.client().shorten(TARGET).await.code();
    let mut crowd = Crowd::gather(&node, CROWD).await;
    let mut holder = database.connect().await;
    for (number, (code, expected)) in [(&*code, 302), ("unknown", 404)].into_iter().enumerate() {
        execute(&mut holder, "BEGIN").await;
        execute(&mut holder, "LOCK TABLE urls IN ACCESS EXCLUSIVE MODE").await;
        crowd.ask(&format!("/{code}")).await;
        eventually("the look-up waits", async || {
            (database.number(WAITING).await > 0).then_some(())
        })
        .await;
        assert_eq!(database.number(WAITING).await, 1, "{code}");
        assert_eq!(asked(&node).await, number as f64, "{code}");
        execute(&mut holder, "ROLLBACK").await;
        assert_eq!(crowd.statuses().await, vec![expected; CROWD], "{code}");
        assert_eq!(asked(&node).await, number as f64 + 1.0, "{code}");
    }
    assert_eq!(counted(&node, "miss").await, 2.0 * CROWD as f64);
}

#[tokio::test]
async fn a_thousand_who_ask_while_the_database_is_frozen_wait_for_one_timeout_together() {
    needs!("postgres");
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let timeout = Duration::from_secs(2);
    let node = node().postgres(&database).set("database.timeout", "2s");
    let node = start(&node).await;
    let code = node.client().shorten(TARGET).await.code();
    let mut crowd = Crowd::gather(&node, CROWD).await;
    postgres.freeze();
    let began = Instant::now();
    crowd.ask(&format!("/{code}")).await;
    assert_eq!(crowd.statuses().await, vec![503; CROWD]);
    let took = began.elapsed();
    assert!(took >= timeout && took < 2 * timeout, "{took:?}");
    assert_eq!(asked(&node).await, 1.0);
    postgres.thaw();
}
