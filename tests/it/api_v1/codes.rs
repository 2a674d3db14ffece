//! A link has several codes, and gets another name.

use serde_json::json;
use testkit::NodeBuilder;

use super::{Api, TARGET, on_both, to};
use crate::api::exchange::{assert_problem, assert_status};

on_both!(a_renamed_link_is_found_by_its_old_name, codes_come_and_go);

async fn a_renamed_link_is_found_by_its_old_name(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    anna.make("old", json!({})).await;
    assert_eq!(anna.leads("new").await, (404, None));
    let renamed = anna
        .post("links/old/codes", json!({ "code": "new", "main": true }))
        .await;
    assert_status(&renamed, 200, "renamed");
    let link = renamed.json();
    assert_eq!(
        (&link["code"], &link["further_codes"]),
        (&json!("new"), &json!(["old"]))
    );
    let short_url = format!("http://{}/new", node.address());
    assert_eq!(link["short_url"], short_url);
    for code in ["old", "new"] {
        assert_eq!(anna.leads(code).await, to(TARGET), "{code}");
        assert_eq!(anna.link(code).await, link);
        let codes = anna.get(&format!("links/{code}/codes")).await;
        let expected = json!({ "code": "new", "further_codes": ["old"] });
        assert_eq!(codes.json(), expected);
        assert_eq!(codes.header("etag"), renamed.header("etag"));
    }
    // A change by either name.
    anna.change("old", json!({ "url": "https://example.org/" }))
        .await;
    for code in ["old", "new"] {
        assert_eq!(anna.leads(code).await, to("https://example.org/"), "{code}");
    }
}

async fn codes_come_and_go(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let bert = Api::of(&node, &builder, "bert", "create,manage");
    anna.make("link", json!({})).await;
    bert.make("berts", json!({})).await;
    // The node remembers that there is none.
    assert_eq!(anna.leads("further").await, (404, None));
    for main in [json!({}), json!({ "main": false }), json!({ "main": null })] {
        let mut body = json!({ "code": "further" });
        body.as_object_mut()
            .expect("an object")
            .extend(main.as_object().expect("an object").clone());
        let added = anna.post("links/link/codes", body).await;
        assert_status(&added, 200, "added");
        assert_eq!(added.json()["further_codes"], json!(["further"]));
        assert_eq!(anna.leads("further").await, to(TARGET));
    }
    let taken = anna
        .post("links/link/codes", json!({ "code": "berts" }))
        .await;
    assert_problem(&taken, 409, "another's code");
    for (path, status) in [
        ("links/link/codes/link", 409),
        ("links/link/codes/berts", 404),
        ("links/berts/codes/berts", 404),
        ("links/link/codes/unknown", 404),
        ("links/unknown/codes/link", 404),
    ] {
        assert_problem(&anna.delete(path).await, status, path);
    }
    let removed = anna.delete("links/link/codes/further").await;
    assert_status(&removed, 204, "removed");
    assert_eq!(anna.leads("further").await, (404, None));
    assert_eq!(anna.leads("link").await, to(TARGET));
    bert.make("further", json!({})).await;
}
