//! Keys that are revoked, rotated or expire while they are used.

use std::time::{Duration, Instant};

use testkit::{Node, NodeBuilder, Postgres, execute, needs, within};

use super::{HEARD, create, home, keys, look_ups, policy};
use crate::api::exchange::{assert_problem, assert_status, unlimited};

/// Two nodes that remember the key.
pub(crate) async fn two_nodes_that_know(builder: &NodeBuilder, key: &str) -> [Node; 2] {
    let nodes = [builder.start().await, builder.start().await];
    for node in &nodes {
        // They hear of changes a moment after they have started, and remember nothing before.
        within(
            Duration::from_secs(10),
            "the key is remembered",
            async || {
                assert_status(&home(&node.client(), key).await, 200, "a valid key");
                (node.metric("shunt_keys_remembered", &[]).await == 1.0
                    && node.metric("shunt_keys_watching", &[]).await == 1.0)
                    .then_some(())
            },
        )
        .await;
        let before = look_ups(node).await;
        assert_status(&home(&node.client(), key).await, 200, "a valid key");
        assert_status(&home(&node.client(), key).await, 200, "a valid key");
        assert!(look_ups(node).await <= before + 1.0);
    }
    nodes
}

pub(crate) async fn assert_soon_invalid(nodes: &[Node], key: &str) {
    let since = Instant::now();
    for node in nodes {
        within(HEARD, "every node hears of it", async || {
            (home(&node.client(), key).await.status == 401).then_some(())
        })
        .await;
    }
    assert!(since.elapsed() < HEARD, "on all nodes together");
    for node in nodes {
        let answer = home(&node.client(), key).await;
        assert_problem(&answer, 401, "it stays so");
    }
}

async fn revoked_by_the_command(builder: NodeBuilder) {
    let key = create(&builder, "phone", &[]);
    let other = create(&builder, "tablet", &[]);
    let nodes = two_nodes_that_know(&builder, &key).await;
    keys(&builder, &["revoke", "phone"]);
    assert_soon_invalid(&nodes, &key).await;
    for node in &nodes {
        assert_status(&home(&node.client(), &other).await, 200, "another key");
    }
}

#[tokio::test]
async fn a_revoked_key_is_401_on_every_node_within_two_seconds_with_sqlite() {
    revoked_by_the_command(unlimited()).await;
}

#[tokio::test]
async fn a_revoked_key_is_401_on_every_node_within_two_seconds_with_postgres() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    revoked_by_the_command(unlimited().postgres(&database)).await;
}

#[tokio::test]
async fn a_key_that_is_revoked_or_deleted_in_sql_is_401_within_two_seconds() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let mut psql = database.connect().await;
    for statement in [
        "UPDATE keys SET revoked_at = now() WHERE name = 'phone' AND revoked_at IS NULL",
        "UPDATE keys SET expires_at = now() WHERE name = 'phone' AND revoked_at IS NULL",
        "DELETE FROM keys WHERE name = 'phone'",
    ] {
        let key = create(&builder, "phone", &[]);
        let nodes = two_nodes_that_know(&builder, &key).await;
        assert!(execute(&mut psql, statement).await > 0, "{statement}");
        assert_soon_invalid(&nodes, &key).await;
        execute(&mut psql, "DELETE FROM keys").await;
    }
}

/// To look up a key that was valid a moment ago is no attempt, unless it turns out to be valid no more.
#[tokio::test]
async fn a_revoked_key_has_as_many_attempts_as_any_that_is_not_valid() {
    let builder = Node::builder();
    let node = builder.start().await;
    let key = create(&builder, "phone", &[]);
    let client = node.client_at([127, 0, 0, 2]);
    let mut use_it = async || {
        let answer = home(&client, &key).await;
        (answer.status != 200).then_some(answer)
    };
    assert!(use_it().await.is_none(), "valid: the first attempt");
    keys(&builder, &["revoke", "phone"]);
    let mut answer = within(HEARD, "the node hears of it", &mut use_it).await;
    for left in (0..9).rev() {
        assert_problem(&answer, 401, &format!("{left} left"));
        assert_eq!(policy(&answer), "\"key-attempts\";q=10;w=60");
        assert_eq!(answer.number("x-ratelimit-remaining"), left);
        answer = use_it().await.expect("not valid");
    }
    assert_problem(&answer, 429, "the eleventh attempt");
}

/// Each revocation makes a node ask the store about the other keys again.
#[tokio::test]
async fn valid_keys_are_no_attempts_however_many_others_are_revoked() {
    let builder = Node::builder();
    let node = builder.start().await;
    let key = create(&builder, "phone", &["--quota", "100000/minute"]);
    for number in 0..12 {
        create(&builder, &format!("other-{number}"), &[]);
    }
    assert_status(&home(&node.client(), &key).await, 200, "the first use");
    let mut before = look_ups(&node).await;
    for number in 0..12 {
        keys(&builder, &["revoke", &format!("other-{number}")]);
        within(HEARD, "the node asks the store again", async || {
            assert_status(&home(&node.client(), &key).await, 200, "valid");
            (look_ups(&node).await > before).then_some(())
        })
        .await;
        before = look_ups(&node).await;
    }
}

/// The key stays the same client: its window log goes on, and the quota that is left of it.
#[tokio::test]
async fn a_rotated_key_is_the_same_client_with_another_secret() {
    let builder = Node::builder();
    let node = builder.start().await;
    let old = create(&builder, "phone", &["--quota", "1000/hour"]);
    let client = node.client();
    let mut left = 1000;
    let mut use_old = async || {
        let answer = home(&client, &old).await;
        if answer.status == 200 {
            left -= 1;
            assert_eq!(answer.number("x-ratelimit-remaining"), left);
        }
        (answer.status == 401).then_some(left)
    };
    for _ in 0..3 {
        assert_eq!(use_old().await, None, "the old secret");
    }
    let new = keys(&builder, &["rotate", "phone"]);
    let left = within(HEARD, "the old secret is dead", use_old).await;
    let answer = home(&client, new.trim_end()).await;
    assert_status(&answer, 200, "the new secret");
    assert_eq!(answer.number("x-ratelimit-remaining"), left - 1);
}

/// Nothing announces that time has passed.
#[tokio::test]
async fn a_key_that_is_remembered_expires_on_time() {
    let builder = unlimited();
    let node = builder.start().await;
    let made = Instant::now();
    let key = create(&builder, "phone", &["--expires-in", "3s"]);
    let life = Duration::from_secs(3);
    let mut valid = 0;
    let expired = loop {
        let asked = Instant::now();
        match home(&node.client(), &key).await.status.as_u16() {
            200 => {
                valid += 1;
                assert!(asked < made + life + Duration::from_secs(2), "too late");
            }
            401 => break Instant::now(),
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(valid > 10, "{valid}");
    assert!(
        expired >= made + life - Duration::from_millis(50),
        "too early"
    );
    // Rotated, it lives again.
    let new = keys(&builder, &["rotate", "phone"]);
    let answer = home(&node.client(), new.trim_end()).await;
    assert_status(&answer, 200, "a life of its own");
}
