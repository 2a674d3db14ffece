//! With `links.ignore_case`, every spelling of a code is that code.

use reqwest::Method;
use serde_json::json;
use testkit::{NodeBuilder, Postgres, execute, needs, within};

use super::{
    Api, TARGET,
    nodes::{HEARD, remember, start},
    on_both, to,
};
use crate::api::exchange::{assert_status, send, unlimited};

on_both!(
    every_spelling_leads_to_the_link_which_shows_its_own,
    a_node_does_not_start_where_codes_differ_only_by_case,
    attempts_at_a_password_are_counted_over_all_spellings,
);

async fn every_spelling_leads_to_the_link_which_shows_its_own(builder: NodeBuilder) {
    let builder = builder
        .set("links.ignore_case", "true")
        .set("cache.ttl", "1day");
    let node = start(&builder).await;
    let api = Api::of(&node, &builder, "anna", "create,manage");
    // Remembered as unknown.
    assert_eq!(api.leads("LAUNCH").await.0, 404);
    let link = api.make("Launch", json!({})).await;
    let short_url = format!("http://{}/Launch", node.address());
    assert_eq!(
        (&link["code"], &link["short_url"]),
        (&json!("Launch"), &json!(short_url))
    );
    for code in [
        "LAUNCH",
        "launch",
        "Launch",
        "LAUNCH_",
        "%6CAUNCH/",
        "lauNch).",
    ] {
        assert_eq!(api.leads(code).await, to(TARGET), "{code}");
    }
    let head = send(api.client.request(Method::HEAD, "/lAUNCH")).await;
    assert_status(&head, 302, "HEAD");
    // One entry of the cache for all of them.
    remember(&node, &api, "launch").await;
    let entries = node.metric("shunt_cache_entries", &["kind=\"link\""]).await;
    assert_eq!(entries, 1.0);

    for alias in ["launch", "LAUNCH"] {
        let body = json!({ "url": TARGET, "alias": alias });
        assert_status(&api.post("links", body).await, 409, alias);
    }
    assert_eq!(api.link("LAUNCH").await, link);
    // What is remembered under one spelling is forgotten after a change by another.
    api.change("lAUNCH", json!({ "redirect": 307 })).await;
    assert_eq!(api.leads("launch").await.0, 307);
    let renamed = json!({ "code": "LAUNCH", "main": true });
    let renamed = api.post("links/launch/codes", renamed).await;
    assert_status(&renamed, 200, "another spelling");
    assert_eq!(renamed.json()["code"], "LAUNCH");
    assert_eq!(renamed.json()["further_codes"], json!([]));
    api.post("links/launch/codes", json!({ "code": "Further" }))
        .await;
    assert_eq!(api.leads("FURTHER").await.0, 307);
    let removed = api.delete("links/LaunCH/codes/fURTHER").await;
    assert_status(&removed, 204, "a code less");
    assert_eq!(api.leads("further").await.0, 404);
    assert_status(&api.delete("links/launcH").await, 204, "the link");
    assert_eq!(api.leads("Launch").await.0, 410);
}

async fn a_node_does_not_start_where_codes_differ_only_by_case(builder: NodeBuilder) {
    let node = builder.start().await;
    let api = Api::of(&node, &builder, "anna", "create,manage");
    api.make("9hYVvW", json!({})).await;
    api.make("Launch", json!({})).await;
    let added = json!({ "code": "launch" });
    let added = api.post("links/Launch/codes", added).await;
    assert_status(&added, 200, "a further code");
    let ignoring = builder.clone().set("links.ignore_case", "true");
    let output = ignoring.command(&[]).output().expect("the program ends");
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stdout).expect("UTF-8");
    let said = "links.ignore_case: these codes differ only by case: `Launch`, `launch`";
    assert!(log.contains(said), "{log}");
    let removed = api.delete("links/Launch/codes/launch").await;
    assert_status(&removed, 204, "a code less");
    drop(node);
    // The command makes the index, and a node heeds it even without the setting.
    let output = ignoring.command(&["migrate"]).output();
    let output = output.expect("the program ends");
    assert!(output.status.success(), "{output:?}");
    let node = builder.start().await;
    let body = json!({ "url": TARGET, "alias": "LAUNCH" });
    let taken = api.at(&node).post("links", body).await;
    assert_status(&taken, 409, "another spelling");
    drop(node);
    let node = ignoring.start().await;
    for code in ["/LAUNCH", "/9HYVVW"] {
        assert_eq!(node.client().get(code).await.status, 302, "{code}");
    }
}

async fn attempts_at_a_password_are_counted_over_all_spellings(builder: NodeBuilder) {
    let node = builder.set("links.ignore_case", "true").start().await;
    let client = node.client();
    let body = json!({ "url": TARGET, "alias": "Cave", "password": "sesame" });
    let made = send(client.request(Method::POST, "/shorten").json(&body)).await;
    assert_status(&made, 200, "a link");
    let give = async |path, password| {
        let form = [("password", password)];
        send(client.request(Method::POST, path).form(&form)).await
    };
    for (path, left) in [("/cave", 9), ("/CAVE", 8), ("/Cave", 7)] {
        let refused = give(path, "wheat").await;
        assert_status(&refused, 403, path);
        assert_eq!(refused.number("x-ratelimit-remaining"), left, "{path}");
    }
    let admitted = give("/CAVE", "sesame").await;
    assert_status(&admitted, 303, "the password");
    let cookie = admitted.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; Path=/CAVE;"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a value");
    let request = client.request(Method::GET, "/CAVE");
    let led = send(request.header("cookie", cookie)).await;
    assert_eq!(led.header("location"), Some(TARGET));
}

/// Neither a link nor an unknown code is remembered too long because it was asked for by another spelling.
#[tokio::test]
async fn a_change_is_heard_under_every_spelling() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = unlimited()
        .postgres(&database)
        .set("links.ignore_case", "true")
        .set("cache.ttl", "1day")
        .set("cache.miss_ttl", "1m");
    let (a, b) = (start(&builder).await, start(&builder).await);
    let here = Api::of(&a, &builder, "anna", "create,manage");
    let there = here.at(&b);
    assert_eq!(there.leads("LAUNCH").await.0, 404);
    here.make("Launch", json!({})).await;
    within(HEARD, "a new link", async || {
        (there.leads("LAUNCH").await == to(TARGET)).then_some(())
    })
    .await;
    remember(&b, &there, "LAUNCH").await;
    remember(&b, &there, "lAunch").await;
    here.change("launch", json!({ "redirect": 307 })).await;
    within(HEARD, "an edit", async || {
        (there.leads("LAUNCH").await.0 == 307).then_some(())
    })
    .await;
    remember(&b, &there, "LAUNCH").await;
    // Past all nodes.
    let mut connection = database.connect().await;
    let update =
        "UPDATE urls SET original_url = 'https://example.com/sql' WHERE short_code = 'Launch'";
    assert_eq!(execute(&mut connection, update).await, 1);
    within(HEARD, "a change in SQL", async || {
        let target = there.leads("lAUNCH").await.1;
        (target.as_deref() == Some("https://example.com/sql")).then_some(())
    })
    .await;
}
