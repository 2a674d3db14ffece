//! `GET /api/v1/links`: lists and searches.
//!
//! A cursor is where a page ended, as 16 hexadecimal digits, and 16 more that are a hash of this, of the parameters that
//! say what is listed, and of whose links these are. So an edited cursor is noticed, and one of another list. It is no
//! secret: it opens nothing.

use std::str::FromStr;

use actix_web::HttpResponse;
use sha2::{Digest, Sha256};

use super::{Request, query::Query};
use crate::{
    http::{
        api::representation::{LinkPage, base, represent_page},
        fields::malformed,
        problem::ApiError,
    },
    links::{Between, Editor, LinkFilter, LinkQuery, LinkState, Order, SearchTerm, TargetUrl},
};

const PARAMETERS: &[&str] = &[
    "search",
    "tag",
    "owner",
    "state",
    "target",
    "created_after",
    "created_before",
    "expires_after",
    "expires_before",
    "sort",
    "limit",
    "cursor",
];

/// How many links a page has if nothing else is asked for, and at most.
const USUAL_LIMIT: usize = 50;
const MOST: usize = 100;

/// The most bytes of a `Link` header. Proxies have a bound for all headers together, which is often 4 or 8 KiB. A longer
/// one is left out: `next` has the cursor, too.
const MOST_OF_HEADER: usize = 4_096;

/// `GET`: a page of links.
#[utoipa::path(
    get,
    path = "/api/v1/links",
    tag = "Links",
    operation_id = "listLinks",
    summary = "List and search links",
    description = "A page may have fewer links than `limit` while there are more: go on until `next` is `null`.",
    params(
        ("search" = Option<String>, Query, description = "One of its codes, its target, its title, its note or a tag \
            contains this text. One or two characters: one of its codes begins with them", max_length = 256),
        ("tag" = Option<String>, Query, description = "It has this tag"),
        ("owner" = Option<String>, Query, description = "It belongs to this owner; if empty, to nobody"),
        ("state" = Option<String>, Query, description = "What it does. Without it: all but deleted links"),
        ("target" = Option<String>, Query, description = "It leads to exactly this URL"),
        ("created_after" = Option<String>, Query, description = "It was made at this time or later (RFC 3339)"),
        ("created_before" = Option<String>, Query, description = "It was made before this time"),
        ("expires_after" = Option<String>, Query, description = "It stops working at this time or later"),
        ("expires_before" = Option<String>, Query, description = "It stops working before this time"),
        ("sort" = Option<String>, Query, description = "`newest`, the default, or `oldest`"),
        ("limit" = Option<u32>, Query, description = "How many links at most: 50 without it", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (
            status = 200,
            description = "Some links of the list",
            body = LinkPage,
            headers(("Link" = String, description = "Where the next page is, if there is one")),
        ),
        (status = 400, description = "A parameter is unknown, repeated or wrong. `error` names it"),
    ),
)]
pub(super) async fn list(request: Request<'_>) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, PARAMETERS)?;
    let Request {
        state,
        context,
        editor,
    } = request;
    let base = base(state, context)?;
    let target = |text: &str| {
        let target = TargetUrl::parse(text, &state.schemes).map_err(|error| error.to_string());
        target.map(|target| target.as_str().to_owned())
    };
    let filter = LinkFilter {
        owner: query.whose(&editor)?,
        search: query.parsed("search", |text| {
            SearchTerm::parse(text).map_err(|error| error.to_string())
        })?,
        tag: query.text("tag").map(|tag| tag.trim().to_owned()),
        state: query.parsed("state", |text| {
            LinkState::from_str(text).map_err(|error| error.to_string())
        })?,
        target: query.parsed("target", target)?,
        created: between(&query, "created_after", "created_before")?,
        expires: between(&query, "expires_after", "expires_before")?,
    };
    let order = query.parsed("sort", |text| match text {
        "newest" => Ok(Order::Newest),
        "oldest" => Ok(Order::Oldest),
        _ => Err("newest or oldest".to_owned()),
    })?;
    let list = List::of(&query, &editor);
    let after = query.parsed("cursor", |text| {
        let position = list.position(text);
        position.ok_or_else(|| "that is no cursor of this list".to_owned())
    })?;
    let links = LinkQuery {
        filter,
        order: order.unwrap_or_default(),
        after,
        limit: query.limit(USUAL_LIMIT, MOST)?,
    };
    let page = state.links.find(&links).await?;
    let next = page.next.map(|position| list.cursor(position));
    let link = next.as_deref().map(|cursor| {
        format!(
            "</api/v1/links?{}>; rel=\"next\"",
            query.with_cursor(cursor)
        )
    });
    let link = link.filter(|link| link.len() <= MOST_OF_HEADER);
    Ok(represent_page(&base, &page.links, next, link))
}

fn between(query: &Query, from: &str, until: &str) -> Result<Between, ApiError> {
    let between = Between {
        from: query.time(from)?,
        until: query.time(until)?,
    };
    match between {
        Between {
            from: Some(start),
            until: Some(end),
        } if start >= end => Err(malformed(format!("`{until}`: not after `{from}`"))),
        between => Ok(between),
    }
}

/// A list of links: the hash of what it consists of.
struct List(Sha256);

impl List {
    fn of(query: &Query, editor: &Editor) -> Self {
        let mut hash = Sha256::new();
        let mut take = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        take("links");
        match editor {
            Editor::Owner(owner) => take(owner.as_str()),
            // No owner has this name.
            Editor::Administrator => take(""),
        }
        for (name, value) in query.listed() {
            take(name);
            take(value);
        }
        Self(hash)
    }

    fn check(&self, position: [u8; 8]) -> [u8; 8] {
        let mut hash = self.0.clone();
        hash.update(position);
        let hash: [u8; 32] = hash.finalize().into();
        let mut check = [0; 8];
        check.copy_from_slice(&hash[..8]);
        check
    }

    fn cursor(&self, position: i64) -> String {
        let position = position.to_be_bytes();
        hex::encode([position, self.check(position)].concat())
    }

    /// Where a page of this list ended; `None` if the text is no cursor of this list.
    fn position(&self, cursor: &str) -> Option<i64> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(cursor, &mut bytes).ok()?;
        let (position, check) = bytes.split_first_chunk()?;
        (*check == self.check(*position)).then(|| i64::from_be_bytes(*position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str, editor: &Editor) -> List {
        let query = Query::parse(&format!("search={text}"), PARAMETERS);
        List::of(&query.expect("a query"), editor)
    }

    #[test]
    fn a_cursor_is_of_one_list_and_cannot_be_edited() {
        let admin = Editor::Administrator;
        let anna = list("abc", &admin);
        for position in [0, 1, -1, i64::MAX, i64::MIN] {
            let cursor = anna.cursor(position);
            assert_eq!(anna.position(&cursor), Some(position));
            assert_eq!(list("abd", &admin).position(&cursor), None);
            for place in 0..cursor.len() {
                let mut edited = cursor.clone().into_bytes();
                edited[place] = if edited[place] == b'0' { b'1' } else { b'0' };
                let edited = String::from_utf8(edited).expect("digits");
                assert_eq!(anna.position(&edited), None, "{edited}");
            }
            assert_eq!(anna.position(&cursor[1..]), None);
        }
        assert_eq!(anna.position("nonsense"), None);
    }
}
