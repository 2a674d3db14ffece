use crate::harness::Node;

#[tokio::test]
async fn a_link_is_made_and_followed() {
    let node = Node::embedded().await;
    let client = node.client();
    let code = client.shorten("https://example.com/").await.code();
    let answer = client.get(&format!("/{code}")).await;
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("https://example.com/"));
}
