//! No answer and no log line has a password or its hash.

use reqwest::Method;
use serde_json::json;
use testkit::Answer;

use super::{Administrator, PASSWORD, TARGET, cookie, form, make, with};
use crate::api::exchange::{send, unlimited};

#[tokio::test]
async fn no_answer_and_no_log_line_has_a_password_or_its_hash() {
    let builder = unlimited().set("log.level", "trace");
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    make(&client, "cave", json!({})).await;
    let ticket = cookie(&client, "/cave").await;
    let twice = [
        ("url", TARGET),
        ("password", PASSWORD),
        ("password", PASSWORD),
    ];
    let answers: Vec<Answer> = vec![
        send(form(&client, "/cave", PASSWORD)).await,
        send(form(&client, "/cave", &format!("{PASSWORD}!"))).await,
        send(form(&client, "/cave", &PASSWORD.repeat(20))).await,
        send(client.request(Method::POST, "/shorten").form(&twice)).await,
        admin.change("cave", json!({ "password": PASSWORD })).await,
        admin.send(Method::GET, "links/cave", json!({})).await,
        client.get("/cave").await,
        client.get("/cave+").await,
    ];
    for answer in &answers {
        let everything = format!("{:?}{}", answer.headers, answer.body);
        for secret in ["sesame", "argon2"] {
            assert!(!everything.contains(secret), "{answer:?}");
        }
    }
    with(&client, "/cave", &ticket).await;
    // The line of the last request is written when all others are.
    client.get("/the-last-request").await;
    node.logged("/the-last-request", 1).await;
    let value = ticket.split_once('.').expect("a signature").1;
    for secret in ["sesame", "argon2", value] {
        let lines = node.log_lines(secret);
        assert!(lines.is_empty(), "{lines:?}");
    }
}
