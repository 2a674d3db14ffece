//! What is changed on one node counts on the others within two seconds.

use std::time::Duration;

use serde_json::json;
use testkit::{Node, NodeBuilder, Postgres, eventually, needs, within};

use super::{Api, TARGET, to};
use crate::api::exchange::unlimited;

pub(super) const HEARD: Duration = Duration::from_secs(2);

pub(super) async fn start(builder: &NodeBuilder) -> Node {
    let node = builder.start().await;
    eventually("the node hears of changes", async || {
        let watching = node.metric("shunt_cache_watching", &[]).await;
        (watching == 1.0).then_some(())
    })
    .await;
    node
}

/// Follows a link until the node is sure to remember it.
pub(super) async fn remember(node: &Node, api: &Api, code: &str) {
    let hits = async || {
        node.metric("shunt_cache_lookups_total", &["result=\"hit\""])
            .await
    };
    eventually("the link is remembered", async || {
        let before = hits().await;
        api.leads(code).await;
        (hits().await == before + 1.0).then_some(())
    })
    .await;
}

/// An edit on one node, and where a code leads on the other one then.
type Step = (
    &'static str,
    fn(&Api) -> std::pin::Pin<Box<dyn Future<Output = u16> + Send + '_>>,
    &'static [(&'static str, u16)],
);

#[tokio::test]
async fn an_edit_a_rename_and_a_deletion_are_noticed_by_the_other_node() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    // Nothing is looked up again only because time has passed.
    let builder = unlimited().postgres(&database).set("cache.ttl", "1day");
    let (a, b) = (start(&builder).await, start(&builder).await);
    let here = Api::of(&a, &builder, "anna", "create,manage");
    let there = here.at(&b);
    here.make("link", json!({})).await;
    here.post("links/link/codes", json!({ "code": "further" }))
        .await;
    let steps: [Step; 7] = [
        (
            "an edit",
            |api| {
                Box::pin(async {
                    api.patch("links/link", json!({ "redirect": 307 }))
                        .await
                        .status
                        .as_u16()
                })
            },
            &[("link", 307), ("further", 307)],
        ),
        (
            "another name",
            |api| {
                Box::pin(async {
                    api.post(
                        "links/link/codes",
                        json!({ "code": "renamed", "main": true }),
                    )
                    .await
                    .status
                    .as_u16()
                })
            },
            &[("link", 307), ("further", 307), ("renamed", 307)],
        ),
        (
            "an edit by the old name",
            |api| {
                Box::pin(async {
                    api.patch("links/link", json!({ "redirect": null }))
                        .await
                        .status
                        .as_u16()
                })
            },
            &[("link", 302), ("further", 302), ("renamed", 302)],
        ),
        (
            "a code less",
            |api| {
                Box::pin(async {
                    api.delete("links/renamed/codes/further")
                        .await
                        .status
                        .as_u16()
                })
            },
            &[("link", 302), ("further", 404), ("renamed", 302)],
        ),
        (
            "a deletion",
            |api| Box::pin(async { api.delete("links/link").await.status.as_u16() }),
            &[("link", 410), ("renamed", 410)],
        ),
        (
            "a restoration",
            |api| {
                Box::pin(async {
                    api.post("links/link/restore", json!({}))
                        .await
                        .status
                        .as_u16()
                })
            },
            &[("link", 302), ("renamed", 302)],
        ),
        (
            "a link in disuse",
            |api| {
                Box::pin(async {
                    api.patch("links/link", json!({ "enabled": false }))
                        .await
                        .status
                        .as_u16()
                })
            },
            &[("link", 410), ("renamed", 410)],
        ),
    ];
    for code in ["link", "further"] {
        remember(&b, &there, code).await;
    }
    for (what, edit, expected) in steps {
        let status = edit(&here).await;
        assert!((200..300).contains(&status), "{what}: {status}");
        for (code, status) in expected {
            // Where it was made, at once.
            assert_eq!(here.leads(code).await.0, *status, "{what}: {code}");
            within(HEARD, what, async || {
                (there.leads(code).await.0 == *status).then_some(())
            })
            .await;
            if *status < 400 {
                remember(&b, &there, code).await;
            }
        }
    }
    // What the other node shows is what is stored.
    assert_eq!(there.link("link").await, {
        let mut link = here.link("renamed").await;
        let short_url = format!("http://{}/renamed", b.address());
        link["short_url"] = json!(short_url);
        link
    });
}

/// Two nodes change one link at the same time; each changes something else.
#[tokio::test]
async fn edits_on_two_nodes_never_undo_each_other() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited().postgres(&database);
    let (a, b) = (builder.start().await, builder.start().await);
    let here = Api::of(&a, &builder, "anna", "create,manage");
    let there = here.at(&b);
    here.make("link", json!({})).await;
    for round in 1..=10 {
        let (title, note) = (format!("title {round}"), format!("note {round}"));
        let (left, right) = tokio::join!(
            here.change("link", json!({ "title": title })),
            there.change("link", json!({ "note": note, "max_visits": round })),
        );
        assert_eq!(
            (&left["title"], &right["note"]),
            (&json!(title), &json!(note))
        );
        let link = here.link("link").await;
        assert_eq!(
            (&link["title"], &link["note"]),
            (&json!(title), &json!(note))
        );
        assert_eq!(link["max_visits"], round);
    }
    assert_eq!(here.leads("link").await, to(TARGET));
}
