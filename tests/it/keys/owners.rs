//! Links that are made with a key belong to the owner that the key acts for.

use testkit::{Database, Node, NodeBuilder, Postgres, needs};

use super::{create, shorten};
use crate::api::exchange::{send, unlimited};

/// The same URL is one link among those without an owner, and one for each owner, whichever of the owner's keys made
/// it.
async fn each_owner_has_a_link_of_its_own(builder: &NodeBuilder, node: &Node) {
    let client = node.client();
    let phone = create(builder, "phone", &["--owner", "anna"]);
    let laptop = create(builder, "laptop", &["--owner", "anna"]);
    let other = create(builder, "other", &["--owner", "bert"]);
    let nobodys = client.shorten("https://example.com/").await.code();
    let of_anna = send(shorten(&client, &phone)).await.code();
    let of_bert = send(shorten(&client, &other)).await.code();
    assert!(nobodys != of_anna && nobodys != of_bert && of_anna != of_bert);
    // In another order than before.
    assert_eq!(send(shorten(&client, &other)).await.code(), of_bert);
    assert_eq!(send(shorten(&client, &laptop)).await.code(), of_anna);
    let again = client.shorten("https://example.com/").await.code();
    assert_eq!(again, nobodys);
    for code in [nobodys, of_anna, of_bert] {
        let answer = client.get(&format!("/{code}")).await;
        assert_eq!(answer.header("location"), Some("https://example.com/"));
    }
}

#[tokio::test]
async fn each_owner_has_a_link_of_its_own_in_sqlite() {
    let builder = unlimited();
    let node = builder.start().await;
    each_owner_has_a_link_of_its_own(&builder, &node).await;
}

#[tokio::test]
async fn each_owner_has_a_link_of_its_own_in_postgres() {
    needs!("postgres");
    let database: Database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let node = builder.start().await;
    each_owner_has_a_link_of_its_own(&builder, &node).await;
    let owned = "SELECT count(*) FROM urls WHERE owner IN ('anna', 'bert')";
    assert_eq!(database.number(owned).await, 2);
}
