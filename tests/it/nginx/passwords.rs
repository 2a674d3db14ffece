//! The password of a link, given through nginx.

use reqwest::Method;
use testkit::{Answer, eventually, needs};

use super::Front;

const PASSWORD: &str = "open sesame";

#[tokio::test]
async fn a_password_and_its_cookie_pass_through_to_any_node_and_are_not_logged() {
    needs!("nginx");
    let front = Front::start().await;
    let client = front.client_at([127, 0, 0, 1]);
    let send = async |request| Answer::to(request).await.expect("an answer");
    let fields = [
        ("url", "https://example.com/cave"),
        ("alias", "cave"),
        ("password", PASSWORD),
    ];
    let made = client.request(Method::POST, "/shorten").form(&fields);
    assert_eq!(send(made).await.code(), "cave");
    assert_eq!(client.get("/cave").await.status, 401);
    let form = client.request(Method::POST, "/cave");
    let right = send(form.form(&[("password", PASSWORD)])).await;
    assert_eq!(right.status, 303, "{right:?}");
    assert_eq!(right.header("location"), Some("cave"));
    let cookie = right.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Path=/cave; "), "{cookie}");
    let cookie = cookie.split(';').next().expect("a value");
    // One node after the other.
    for _ in 0..4 {
        let request = client.request(Method::GET, "/cave?last");
        let answer = send(request.header("cookie", cookie)).await;
        assert_eq!(answer.status, 302, "{answer:?}");
        let location = answer.header("location");
        assert_eq!(location, Some("https://example.com/cave"));
    }
    assert_eq!(client.get("/cave+").await.status, 200);
    let log = eventually("nginx has written its log", async || {
        let log = String::from_utf8_lossy(&front.nginx.access_log_bytes()).into_owned();
        log.contains("/cave+").then_some(log)
    })
    .await;
    let (_, signature) = cookie.split_once('.').expect("a signature");
    for secret in ["sesame", signature] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
