//! Requests with an API key.
//!
//! | module | what it shows |
//! |---|---|
//! | `attempts` | keys that are not valid: 401, and 429 if an address tries too many |
//! | `headers` | where a key can stand, and what never passes for a request without a key |
//! | `clients` | a valid key is a client of its own, on every node |
//! | `rights` | what a key allows, and what needs one |
//! | `owners` | whom links belong to |
//! | `end` | keys that are revoked, rotated or expire while they are used |
//! | `outages` | Redis or the database is away |
//! | `secrecy` | no key is in a log or in a metric |

mod attempts;
mod clients;
pub(crate) mod end;
mod headers;
mod outages;
mod owners;
mod rights;
mod secrecy;

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use shunt::keys::ApiKey;
use testkit::{Answer, Client, Node, NodeBuilder, Redis};

use crate::api::exchange::send;

/// How late a change to a key may be noticed by a node: the promise is 2 seconds, and a busy machine may stall for a
/// while.
pub(crate) const HEARD: Duration = Duration::from_secs(5);

/// Runs `shunt keys` on the database of a node. Returns what it prints.
pub(crate) fn keys(builder: &NodeBuilder, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["keys"].iter().chain(arguments).copied().collect();
    let output = builder.command(&arguments).output().expect("the program");
    let [printed, errors] = [output.stdout, output.stderr].map(|bytes| {
        let text = String::from_utf8(bytes);
        text.expect("UTF-8")
    });
    assert!(output.status.success(), "{arguments:?}: {errors}");
    printed
}

/// Makes a key that may make links, with further arguments.
pub(crate) fn create(builder: &NodeBuilder, name: &str, arguments: &[&str]) -> String {
    create_for(builder, name, "create", arguments)
}

/// Makes a key with these scopes.
pub(crate) fn create_for(
    builder: &NodeBuilder,
    name: &str,
    scopes: &str,
    arguments: &[&str],
) -> String {
    let all = ["create", "--name", name, "--scope", scopes];
    let all: Vec<&str> = all.iter().chain(arguments).copied().collect();
    keys(builder, &all).trim_end().to_owned()
}

/// A key that no store has.
pub(crate) fn unknown() -> String {
    ApiKey::generate().secret().to_owned()
}

/// `GET` with a key.
fn get(client: &Client, path: &str, key: &str) -> RequestBuilder {
    client.request(Method::GET, path).bearer_auth(key)
}

/// `GET /` with a key.
async fn home(client: &Client, key: &str) -> Answer {
    send(get(client, "/", key)).await
}

/// `POST /shorten` with a key.
fn shorten(client: &Client, key: &str) -> RequestBuilder {
    let request = client.request(Method::POST, "/shorten");
    let form = [("url", "https://example.com/")];
    request.form(&form).bearer_auth(key)
}

/// A node that counts in this Redis if there is one. It waits for Redis for a long time: if a busy machine stalls, the
/// node must not begin to count for itself.
fn counting_in(redis: Option<&Redis>) -> NodeBuilder {
    let node = Node::builder().set("limiter.redis.timeout", "10s");
    match redis {
        Some(redis) => node.redis(redis),
        None => node,
    }
}

/// What `RateLimit-Policy` says.
fn policy(answer: &Answer) -> &str {
    answer.header("ratelimit-policy").unwrap_or_default()
}

/// How often the node has asked the store about a key.
pub(crate) async fn look_ups(node: &Node) -> f64 {
    let operation = ["operation=\"verify_key\""];
    node.metric("shunt_store_duration_seconds_count", &operation)
        .await
}
