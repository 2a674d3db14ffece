//! Many try or set passwords at once, and what it costs others.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::{join, join_all};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;
use testkit::{Answer, Client, Node, eventually};

use super::{Administrator, PASSWORD, cookie, form, make};
use crate::api::exchange::{assert_problem, assert_status, send, unlimited};

/// How long a request waits for its turn if it has a place.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many passwords were to be hashed, with this outcome.
pub(super) async fn hashes(node: &Node, outcome: &str) -> usize {
    let label = format!("outcome=\"{outcome}\"");
    let labels = [&*label];
    let hashes = node.metric("shunt_password_hashes_total", &labels).await;
    hashes as usize
}

pub(super) fn count(answers: &[Answer], status: u16) -> usize {
    let status = StatusCode::from_u16(status).expect("a status");
    answers.iter().filter(|one| one.status == status).count()
}

/// Tries a password, again and again while the node is too busy.
pub(super) async fn attempt(client: &Client, path: &str, password: &str) -> Answer {
    eventually("there is a place to wait", async || {
        let answer = send(form(client, path, password)).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// More visitors than there are places try one link again and again.
#[tokio::test]
async fn a_crowd_at_one_link_keeps_neither_other_visitors_nor_owners_waiting() {
    let builder = unlimited().set("limiter.link_password", "100000/minute");
    let node = builder.start().await;
    let client = node.client();
    let admin = Administrator::of(&node, &builder);
    make(&client, "cave", json!({})).await;
    make(&client, "other", json!({})).await;
    let is_over = AtomicBool::new(false);
    let crowd = (1..=30).map(|last| {
        let visitor = node.client_at([127, 0, 1, last]);
        let is_over = &is_over;
        async move {
            let mut busy = 0;
            while !is_over.load(Ordering::Relaxed) {
                let answer = send(form(&visitor, "/cave", "wheat")).await;
                busy += usize::from(answer.status == 503);
            }
            busy
        }
    });
    // On a slow machine, it may not be the turn of a request in time. But there is always a place for it.
    let finds_a_place = async |request: &dyn Fn() -> RequestBuilder, status: u16| {
        eventually("it is the turn of a request", async || {
            let answer = send(request()).await;
            if answer.status == 503 {
                assert!(answer.took >= PATIENCE, "no place: {answer:?}");
                return None;
            }
            assert_status(&answer, status, "with a place");
            Some(())
        })
        .await;
    };
    let others = async {
        for number in 0..8 {
            finds_a_place(&|| form(&client, "/other", PASSWORD), 303).await;
            let password = json!({ "password": format!("new {number}") });
            let change = || {
                let request = client.request(Method::PATCH, "/api/v1/links/cave");
                request.bearer_auth(&admin.key).json(&password)
            };
            finds_a_place(&change, 200).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (busy, ()) = join(join_all(crowd), others).await;
    assert!(busy.iter().sum::<usize>() > 0, "it was no crowd");
}

/// Each visitor has one attempt. A request that finds no place has used up none.
#[tokio::test]
async fn a_visitor_who_finds_no_place_has_made_no_attempt() {
    let node = unlimited()
        .set("limiter.link_password", "1/hour")
        .start()
        .await;
    make(&node.client(), "cave", json!({})).await;
    let attempts = (1..=40).map(|last| {
        let visitor = node.client_at([127, 0, 1, last]);
        async move { attempt(&visitor, "/cave", "wheat").await }
    });
    let answers = join_all(attempts).await;
    // On a slow machine, it may not be the turn of an attempt in time.
    let late = hashes(&node, "too_late").await;
    assert_eq!(
        [count(&answers, 403), count(&answers, 429)],
        [40 - late, late]
    );
    // One is the link's own.
    assert_eq!(hashes(&node, "done").await, 41 - late);
    assert!(hashes(&node, "no_place").await > 0, "it was no crowd");
}

#[tokio::test]
async fn a_change_that_cannot_be_made_hashes_nothing() {
    let builder = unlimited();
    let node = builder.start().await;
    let admin = Administrator::of(&node, &builder);
    make(&node.client(), "cave", json!({})).await;
    let hashed = async || node.metric("shunt_password_hashes_total", &[]).await;
    let before = hashed().await;
    let body = json!({ "password": "new" });
    let unknown = admin.send(Method::PATCH, "links/unknown", body.clone());
    assert_problem(&unknown.await, 404, "no such link");
    let request = admin.client.request(Method::PATCH, "/api/v1/links/cave");
    let tag = format!("\"{}.0.active\"", "0".repeat(32));
    let request = request.header("if-match", tag).bearer_auth(&admin.key);
    assert_problem(&send(request.json(&body)).await, 412, "another version");
    assert_eq!(hashed().await, before);
    admin.change("cave", body).await;
    assert_eq!(hashed().await, before + 1.0);
}

/// Many people try passwords at once. Each gets an answer: the password is checked, or is to be sent again in a moment.
/// Redirects are answered in between.
#[tokio::test]
async fn many_attempts_at_once_hold_up_no_redirect() {
    let node = unlimited().set("http.workers", "1").start().await;
    let client = node.client();
    make(&client, "cave", json!({})).await;
    let code = client.shorten("https://example.com/").await.code();
    let path = format!("/{code}");
    let attempts = (1..=60).map(|last| {
        let client = node.client_at([127, 0, 1, last]);
        async move { send(form(&client, "/cave", "wheat")).await }
    });
    let attempts = tokio::spawn(join_all(attempts.collect::<Vec<_>>()));
    let mut redirects = 0;
    while !attempts.is_finished() {
        assert_status(&client.get(&path).await, 302, "another link");
        redirects += 1;
    }
    let answers = attempts.await.expect("answers");
    let (checked, busy) = (count(&answers, 403), count(&answers, 503));
    assert_eq!(checked + busy, 60);
    // How many more depends on how fast the machine is.
    assert!(checked >= 2, "{checked}");
    for answer in answers.iter().filter(|one| one.status == 503) {
        assert_eq!(answer.number("retry-after"), 1);
        assert_eq!(answer.header("set-cookie"), None);
    }
    // The only worker has answered them in between.
    assert!(redirects > 5, "{redirects}");
    cookie(&client, "/cave").await;
}
