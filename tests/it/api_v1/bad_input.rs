//! A clear 4xx with the name of the field, and nothing stored.

use reqwest::Method;
use serde_json::json;
use testkit::NodeBuilder;

use super::{Api, TARGET, on_both};
use crate::api::exchange::{JSON, assert_problem, send};

on_both!(what_is_wrong_is_refused_by_name_and_changes_nothing);

async fn what_is_wrong_is_refused_by_name_and_changes_nothing(builder: NodeBuilder) {
    let node = builder.start().await;
    let anna = Api::of(&node, &builder, "anna", "create,manage");
    let fields =
        json!({ "starts_at": "2030-01-01T00:00:00Z", "expires_at": "2031-01-01T00:00:00Z" });
    let before = anna.make("link", fields).await;
    let long = "x".repeat(9_000);
    let own = format!("http://{}/x", node.address());
    for (field, value, status) in [
        ("url", json!(null), 422),
        ("url", json!("/x"), 422),
        ("url", json!(format!("https://example.com/{long}")), 422),
        ("url", json!(["https://example.com/"]), 400),
        ("starts_at", json!("2031-01-01T00:00:00Z"), 422),
        ("starts_at", json!("tomorrow"), 422),
        ("expires_at", json!("2020-01-01T00:00:00Z"), 422),
        ("expires_at", json!(1_900_000_000), 400),
        ("expires_in", json!("99999999999999999999d"), 422),
        ("max_visits", json!(-1), 422),
        ("max_visits", json!(4_294_967_297_u64), 422),
        ("redirect", json!(200), 422),
        ("forward_query", json!("perhaps"), 400),
        ("fallback_url", json!("javascript:alert(1)"), 422),
        ("enabled", json!(2), 400),
        ("title", json!("a\u{0}b"), 422),
        ("title", json!(long), 422),
        ("note", json!(7), 400),
        ("tags", json!(["a\u{7}"]), 422),
        ("tags", json!("a".repeat(51)), 422),
        ("owner", json!("bert"), 400),
        ("visits", json!(0), 400),
    ] {
        let body = json!({ "note": "no part of this is stored", field: value });
        let body = if field == "note" {
            json!({ field: value })
        } else {
            body
        };
        let answer = anna.patch("links/link", body).await;
        let error = assert_problem(&answer, status, field);
        assert!(error.contains(&format!("`{field}`")), "{field}: {error}");
    }
    let loops = anna.patch("links/link", json!({ "url": own })).await;
    assert_problem(&loops, 422, "a loop");
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        ("null", 400),
        ("{", 400),
        (r#"{"title": "a", "title": "b"}"#, 400),
    ] {
        let request = anna.request(Method::PATCH, "links/link");
        let answer = send(request.header("content-type", JSON).body(body)).await;
        assert_problem(&answer, status, body);
    }
    for (body, status, field) in [
        (json!({}), 400, "code"),
        (json!({ "code": null }), 400, "code"),
        (json!({ "code": 5 }), 400, "code"),
        (json!({ "code": "a" }), 422, "code"),
        (json!({ "code": "a b c" }), 422, "code"),
        (json!({ "code": "x".repeat(65) }), 422, "code"),
        (json!({ "code": "shorten" }), 422, "code"),
        (json!({ "code": "further", "main": "perhaps" }), 400, "main"),
        (json!({ "code": "further", "colour": 1 }), 400, "colour"),
    ] {
        let answer = anna.post("links/link/codes", body.clone()).await;
        let error = assert_problem(&answer, status, &body.to_string());
        assert!(error.contains(&format!("`{field}`")), "{body}: {error}");
    }
    for body in [
        json!({}),
        json!({ "url": TARGET, "alias": "a" }),
        json!({ "url": 1 }),
    ] {
        let answer = anna.post("links", body.clone()).await;
        assert!(answer.status.is_client_error(), "{body}: {answer:?}");
    }
    // `null` removes what a link has. An empty text is a mistake, and must not put a link back up.
    for field in [
        "url",
        "enabled",
        "forward_query",
        "redirect",
        "max_visits",
        "expires_in",
        "expires_at",
        "starts_at",
        "fallback_url",
    ] {
        for empty in ["", " "] {
            let answer = anna.patch("links/link", json!({ field: empty })).await;
            let error = assert_problem(&answer, 422, field);
            assert!(error.contains(&format!("`{field}`")), "{error}");
        }
    }
    // What is refused for its `Host` is not done.
    for (method, path, body) in [
        (Method::PATCH, "links/link", json!({ "enabled": false })),
        (
            Method::POST,
            "links/link/codes",
            json!({ "code": "further" }),
        ),
    ] {
        let request = anna.request(method, path).header("host", "a@b").json(&body);
        assert_problem(&send(request).await, 400, path);
    }
    let many = "x".repeat(33 << 10);
    let answer = anna.patch("links/link", json!({ "note": many })).await;
    assert_problem(&answer, 413, "too large");
    assert_eq!(anna.link("link").await, before);
}
