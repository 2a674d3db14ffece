//! What the document says of each operation: it stands beside the handler, as `#[utoipa::path]`. A test demands one for
//! every path and method of [`Resource`].

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::{Resource, bulk, change, codes, keys, link, links, list, me, owners, tags};
use crate::{
    http::{
        api::representation::Brief,
        fields::schema,
        shorten::{self, ShortenForm},
    },
    keys::Scope,
};

#[derive(OpenApi)]
#[openapi(
    paths(
        shorten::shorten,
        links::create,
        bulk::create,
        list::list,
        link::show,
        link::change,
        link::delete,
        link::restore,
        codes::list,
        codes::add,
        codes::remove,
        tags::list,
        tags::rename,
        tags::remove,
        owners::list,
        keys::list,
        keys::show,
        keys::create,
        keys::revoke,
        keys::rotate,
        me::show,
    ),
    components(schemas(Brief)),
    tags(
        (name = "Shorten", description = "Without a key, unless the configuration says otherwise"),
        (name = "Links", description = "Links of the key's owner, or all links with the scope `admin`"),
        (name = "Tags", description = "Tags of links"),
        (name = "Owners", description = "Whom links belong to"),
        (name = "Keys", description = "API keys"),
    )
)]
struct Operations;

/// All operations, with the types of their answers.
pub(in crate::http::api) fn operations() -> utoipa::openapi::OpenApi {
    Operations::openapi()
}

/// The schemas that the operations name and no type derives: the bodies of requests, which are read field by field.
pub(in crate::http::api) fn bodies() -> Vec<(&'static str, Value)> {
    let (new_link, changes) = (ShortenForm::FIELDS, change::fields());
    let link = "A link to be made.";
    let code = "Another code for a link.";
    let key = "A key to be made.";
    let change = schema::change(
        &changes,
        "What is to be changed. What is not there stays as it is.",
    );
    vec![
        ("NewLink", schema::object(new_link, &["url"], link)),
        ("NewLinkForm", schema::form(new_link, &["url"], link)),
        ("LinkChange", change),
        (
            "NewLinks",
            schema::object(&["links"], &["links"], "Links to be made."),
        ),
        ("LinkResults", bulk::results()),
        ("TagChange", tags::change()),
        ("NewCode", schema::object(codes::FIELDS, &["code"], code)),
        ("NewCodeForm", schema::form(codes::FIELDS, &["code"], code)),
        (
            "NewKey",
            schema::object(keys::FIELDS, &["name", "scopes"], key),
        ),
        (
            "NewKeyForm",
            schema::form(keys::FIELDS, &["name", "scopes"], key),
        ),
        (
            "KnownLink",
            json!({ "anyOf": [
                { "$ref": "#/components/schemas/Link" },
                { "$ref": "#/components/schemas/BriefLink" },
            ] }),
        ),
    ]
}

/// What a key must allow for an operation of the document, by its path and its method in small letters; `None` if any
/// key will do. The outer `None` is for paths that are not of this API.
pub(in crate::http::api) fn scope_of(path: &str, method: &str) -> Option<Option<Scope>> {
    let rest = path.strip_prefix("/api/v1/")?;
    // Each variable of a path can have this value.
    let segment = |text| {
        if str::starts_with(text, '{') {
            "any"
        } else {
            text
        }
    };
    let segments: Vec<_> = rest.split('/').map(segment).collect();
    let method = method.to_uppercase().parse().ok()?;
    Some(Resource::of(&segments)?.scope(&method))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::http::Method;
    use syn::{Expr, Item, Lit, Meta};

    use super::*;

    /// `(variant, path below /api/v1/)`, from the comments on the variants of [`Resource`].
    fn variants() -> Vec<(String, String)> {
        let file = syn::parse_file(include_str!("../v1.rs")).expect("Rust");
        let resource = file.items.into_iter().find_map(|item| match item {
            Item::Enum(item) if item.ident == "Resource" => Some(item),
            _ => None,
        });
        let variants = resource.expect("the enum").variants.into_iter();
        let path = |meta: &Meta| {
            let Expr::Lit(text) = &meta.require_name_value().ok()?.value else {
                return None;
            };
            let Lit::Str(text) = &text.lit else {
                return None;
            };
            let text = text.value();
            let path = text.trim().strip_prefix('`')?.split('`').next()?;
            Some(path.to_owned())
        };
        let pairs = variants.map(|variant| {
            let name = variant.ident.to_string();
            let path = variant.attrs.iter().find_map(|attr| path(&attr.meta));
            let path = path.unwrap_or_else(|| panic!("no path in the comment on {name}"));
            (name, path)
        });
        pairs.collect()
    }

    /// The path, with `{}` for each of its variables.
    fn anonymous(path: &str) -> String {
        let segment = |text| {
            if str::starts_with(text, '{') {
                "{}"
            } else {
                text
            }
        };
        path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_operation_is_in_the_document_and_no_other() {
        let mut handled = BTreeSet::new();
        for (name, path) in variants() {
            let sample = anonymous(&path).replace("{}", "any");
            let segments: Vec<_> = sample.split('/').collect();
            let resource = Resource::of(&segments).unwrap_or_else(|| panic!("{path} is nothing"));
            let shown = format!("{resource:?}");
            assert_eq!(shown.split('(').next(), Some(name.as_str()), "{path}");
            let methods = resource.methods().iter();
            // With any other method, that is the link with that code.
            let is_own = |method: &Method| resource != Resource::Bulk || method == Method::POST;
            for method in methods.filter(|method| **method != Method::HEAD && is_own(method)) {
                let path = format!("/api/v1/{}", anonymous(&path));
                handled.insert((path, method.as_str().to_lowercase()));
            }
        }
        handled.insert(("/shorten".to_owned(), "post".to_owned()));
        let document = serde_json::to_value(operations()).expect("JSON");
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("operations").keys() {
                documented.insert((anonymous(path), method.clone()));
            }
        }
        assert_eq!(documented, handled);
    }

    #[test]
    fn every_operation_of_this_api_has_a_rule_about_keys() {
        let document = serde_json::to_value(operations()).expect("JSON");
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("operations").keys() {
                let rule = scope_of(path, method);
                assert_eq!(rule.is_some(), path.starts_with("/api/v1/"), "{path}");
            }
        }
        assert_eq!(scope_of("/api/v1/links", "post"), Some(Some(Scope::Create)));
        assert_eq!(scope_of("/api/v1/links", "get"), Some(Some(Scope::Manage)));
        assert_eq!(scope_of("/api/v1/me", "get"), Some(None));
        assert_eq!(scope_of("/api/v1/nothing", "get"), None);
    }

    /// What is not there is not changed.
    #[test]
    fn a_change_says_nothing_of_what_is_left_out() {
        let bodies = bodies();
        let change = bodies.iter().find(|(name, _)| *name == "LinkChange");
        let (_, change) = change.expect("the schema");
        for (name, schema) in change["properties"].as_object().expect("fields") {
            let about = schema["description"].as_str().expect("a description");
            assert!(!about.contains("left out"), "{name}: {about}");
            assert_eq!(about.contains("`null`"), name != "url", "{name}: {about}");
        }
        let new = bodies.iter().find(|(name, _)| *name == "NewLink");
        let about = &new.expect("the schema").1["properties"]["redirect"]["description"];
        assert!(about.as_str().expect("text").ends_with("If left out, 302."));
    }

    #[test]
    fn every_field_of_a_body_is_described() {
        let all = [
            ShortenForm::FIELDS,
            &change::fields(),
            codes::FIELDS,
            keys::FIELDS,
        ];
        for field in all.concat() {
            assert!(schema::is_described(field), "{field}");
        }
        let changes = change::fields();
        assert!(changes.contains(&"url") && !changes.contains(&"alias"));
    }
}
