//! `/api/v1`: programs manage links.
//!
//! | module | what it shows |
//! |---|---|
//! | `links` | links are made and shown |
//! | `edits` | what is changed, under which condition, and that redirects follow at once |
//! | `deletion` | links are deleted, restored, purged, and their aliases taken again |
//! | `codes` | a link has several codes, and gets another name |
//! | `code_case` | with `links.ignore_case`, every spelling of a code is that code |
//! | `lists` | links are listed and searched |
//! | `tags` | tags get another name, and are taken away |
//! | `rights` | whose links a key manages, and what it must allow |
//! | `keys` | keys are made, listed, rotated and revoked, by administrators only |
//! | `key_requests` | requests about keys that are sent again, that come in pages, or that outlive their key |
//! | `openapi` | the document of the API, and its readable form |
//! | `paths` | unknown paths, other methods, other spellings; headers that every answer has |
//! | `bulk` | many links by one request |
//! | `bulk_time` | how long that may take, and how many such requests a node works on |
//! | `bad_input` | a clear 4xx, and nothing stored |
//! | `nodes` | what is changed on one node counts on the others |

mod bad_input;
pub(crate) mod bulk;
mod bulk_time;
mod code_case;
mod codes;
mod deletion;
mod edits;
mod key_requests;
mod keys;
mod links;
mod lists;
mod nodes;
mod openapi;
mod paths;
mod rights;
mod tags;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::{Answer, Client, Node, NodeBuilder};

use crate::{
    api::exchange::{assert_status, send},
    keys::create_for,
};

const TARGET: &str = "https://example.com/";

/// Somebody with a key, at one node.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
    key: String,
}

impl Api {
    /// With a new key for `owner`, which has its name.
    pub(crate) fn of(node: &Node, builder: &NodeBuilder, owner: &str, scopes: &str) -> Self {
        Self {
            client: node.client(),
            key: create_for(builder, owner, scopes, &["--owner", owner]),
        }
    }

    /// The same key at another node.
    pub(crate) fn at(&self, node: &Node) -> Self {
        Self {
            client: node.client(),
            key: self.key.clone(),
        }
    }

    /// A request below `/api/v1/`.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, &format!("/api/v1/{path}"));
        request.bearer_auth(&self.key)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Makes a link with an alias, and with these fields beside its URL.
    pub(crate) async fn make(&self, alias: &str, fields: Value) -> Value {
        let mut body = json!({ "url": TARGET, "alias": alias });
        let (members, more) = (body.as_object_mut(), fields.as_object());
        members
            .expect("an object")
            .extend(more.expect("an object").clone());
        let answer = self.post("links", body).await;
        assert_status(&answer, 201, alias);
        answer.json()
    }

    /// The link that has this code.
    pub(crate) async fn link(&self, code: &str) -> Value {
        let answer = self.get(&format!("links/{code}")).await;
        assert_status(&answer, 200, code);
        answer.json()
    }

    /// Changes a link, which must work.
    pub(crate) async fn change(&self, code: &str, body: Value) -> Value {
        let what = body.to_string();
        let answer = self.patch(&format!("links/{code}"), body).await;
        assert_status(&answer, 200, &what);
        answer.json()
    }

    /// Where the code leads: the status and the target.
    pub(crate) async fn leads(&self, code: &str) -> (u16, Option<String>) {
        let answer = self.client.get(&format!("/{code}")).await;
        let target = answer.header("location").map(str::to_owned);
        (answer.status.as_u16(), target)
    }
}

fn to(target: &str) -> (u16, Option<String>) {
    (302, Some(target.to_owned()))
}

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
