//! Links with a password, and what everybody may know of a link.
//!
//! | module | what it shows |
//! |---|---|
//! | `flow` | from the page that asks to the target, and what the cookie is good for |
//! | `visitors` | visits, onlookers, and links that no longer work |
//! | `attempts` | how often a password may be tried, over all nodes |
//! | `crowds` | many try or set passwords at once, and what it costs others |
//! | `nodes` | what one node changes counts on another |
//! | `foreign_forms` | forms that come from elsewhere, or too late |
//! | `bad_input` | what is no password, in every place that takes one |
//! | `secrecy` | no answer and no log line has a password or its hash |
//! | `outages` | the database is away |
//! | `about` | `GET /<code>+` |

mod about;
mod attempts;
mod bad_input;
mod crowds;
mod flow;
mod foreign_forms;
mod nodes;
mod outages;
mod secrecy;
mod visitors;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::{Answer, Client, Node, NodeBuilder};

use crate::{
    api::exchange::{assert_status, send},
    keys::create_for,
};

const TARGET: &str = "https://treasure.example/cave?jewels=1";
const PASSWORD: &str = "open sesame";

/// Every scenario with a node on each database.
macro_rules! on_both {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $scenario() {
                super::$scenario($crate::api::exchange::unlimited()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $scenario() {
                testkit::needs!("postgres");
                let postgres = testkit::Postgres::shared_by_tests().await;
                let database = postgres.database().await;
                let builder = $crate::api::exchange::unlimited().postgres(&database);
                super::$scenario(builder).await;
            })+
        }
    };
}

use on_both;

/// Makes a link with the password and with these fields.
async fn make(client: &Client, alias: &str, fields: Value) {
    let mut body = json!({ "url": TARGET, "alias": alias, "password": PASSWORD });
    let (members, more) = (body.as_object_mut(), fields.as_object());
    let members = members.expect("an object");
    members.extend(more.expect("an object").clone());
    let request = client.request(Method::POST, "/shorten").json(&body);
    assert_eq!(send(request).await.code(), alias);
}

/// The form of the page, with this password.
fn form(client: &Client, path: &str, password: &str) -> RequestBuilder {
    let request = client.request(Method::POST, path);
    request.form(&[("password", password)])
}

/// Gives the password at a path, and returns the cookie.
async fn cookie(client: &Client, path: &str) -> String {
    let answer = send(form(client, path, PASSWORD)).await;
    assert_status(&answer, 303, path);
    ticket(&answer)
}

/// The cookie that an answer brings.
fn ticket(answer: &Answer) -> String {
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a value").to_owned()
}

/// `GET` with a cookie.
async fn with(client: &Client, path: &str, cookie: &str) -> Answer {
    let request = client.request(Method::GET, path);
    send(request.header("cookie", cookie)).await
}

/// Whether the answer asks for the password, and tells nothing of the target.
fn assert_asks(answer: &Answer, what: &str) {
    assert_status(answer, 401, what);
    assert_tells_nothing(answer, what);
}

fn assert_tells_nothing(answer: &Answer, what: &str) {
    let everything = format!("{:?}{}", answer.headers, answer.body).to_lowercase();
    for secret in ["treasure", "cave", "jewels", "sesame", "argon2"] {
        assert!(!everything.contains(secret), "{what}: {secret}: {answer:?}");
    }
    assert_eq!(answer.header("location"), None, "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

fn assert_leads(answer: &Answer, what: &str) {
    assert_status(answer, 302, what);
    assert_eq!(answer.header("location"), Some(TARGET), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

/// A request of an administrator of all links.
struct Administrator {
    client: Client,
    key: String,
}

impl Administrator {
    fn of(node: &Node, builder: &NodeBuilder) -> Self {
        Self {
            client: node.client(),
            key: create_for(builder, "admin", "admin", &[]),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.client.request(method, &format!("/api/v1/{path}"));
        send(request.bearer_auth(&self.key).json(&body)).await
    }

    async fn change(&self, code: &str, body: Value) -> Answer {
        let answer = self
            .send(Method::PATCH, &format!("links/{code}"), body)
            .await;
        assert_status(&answer, 200, code);
        answer
    }
}
