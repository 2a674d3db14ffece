//! `GET /<code>`, the fast path.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use tracing::warn;

use super::{
    AppState,
    edge::{Onlooker, RequestContext, code},
    nowhere::nowhere,
    page, password,
    problem::ApiError,
};
use crate::links::{Destination, LockedLink, MAX_TARGET_LENGTH, Resolved, ShortCode, Visit};

/// How long browsers remember where a permanent redirect leads. Without a bound they would remember it for good, and a
/// change of the link would never reach them.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Redirects to the target of a link. An onlooker uses up no visit. If the visits of the link are limited, it is not
/// told the target.
pub(super) async fn redirect(
    state: &AppState,
    context: &RequestContext,
) -> Result<HttpResponse, ApiError> {
    let Some(mut code) = code(context.path()) else {
        return nowhere(state);
    };
    let visit = || match Onlooker::of(context.method(), context.headers()) {
        Some(_) => Visit::Uncounted,
        None => Visit::Counted,
    };
    // As `find` does, but every redirect passes here. At most twice: the shorter code has no more underscores to leave
    // out.
    let resolved = loop {
        match state.links.follow(&code, visit).await? {
            Resolved::Unknown if let Some(shorter) = code.without_emphasis() => code = shorter,
            resolved => break resolved,
        }
    };
    match resolved {
        // In a box, because hardly any link has a password.
        Resolved::Locked(locked) => Box::pin(enter(state, context, &code, *locked)).await,
        resolved => answer(state, context, &code, resolved),
    }
}

/// Leads to the target of a link with a password if the request shows that the password was given. Otherwise asks for
/// it; onlookers too, and even if a browser that fetches the link ahead has the cookie.
async fn enter(
    state: &AppState,
    context: &RequestContext,
    code: &ShortCode,
    locked: LockedLink,
) -> Result<HttpResponse, ApiError> {
    let is_visitor = Onlooker::of(context.method(), context.headers()).is_none();
    if !is_visitor || !password::was_given(context.headers(), code, &locked.password) {
        return Ok(password::ask_at_first(context));
    }
    let visit = || Visit::Counted;
    let resolved = state.links.enter(code, locked, visit).await?;
    let mut response = answer(state, context, code, resolved)?;
    // The next user of the browser or the cache has to give the password, also for a permanent redirect.
    no_store(&mut response);
    Ok(response)
}

/// The answer for where a link leads. If it has a password, this was given.
#[inline]
fn answer(
    state: &AppState,
    context: &RequestContext,
    code: &ShortCode,
    resolved: Resolved,
) -> Result<HttpResponse, ApiError> {
    match resolved {
        Resolved::Found(destination) => lead(context, code, destination),
        Resolved::Visited(destination) => {
            let mut response = lead(context, code, destination)?;
            // A cache must not lead other clients to the target.
            no_store(&mut response);
            Ok(response)
        }
        Resolved::Locked(_) => Err(ApiError::PasswordNeeded),
        Resolved::FallsBack(url) => lead(context, code, url.into()),
        Resolved::Withheld => {
            // Only onlookers are told this.
            let onlooker = Onlooker::of(context.method(), context.headers());
            let onlooker = onlooker.unwrap_or(Onlooker::Head);
            let labels = [onlooker.name()];
            state.metrics.onlookers.with_label_values(&labels).inc();
            withheld(onlooker)
        }
        Resolved::Gone => Err(ApiError::Gone),
        Resolved::Unknown => nowhere(state),
    }
}

fn no_store(response: &mut HttpResponse) {
    let no_store = HeaderValue::from_static("no-store");
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, no_store);
}

fn lead(
    context: &RequestContext,
    code: &ShortCode,
    destination: Destination,
) -> Result<HttpResponse, ApiError> {
    let Destination {
        mut url, manner, ..
    } = destination;
    if manner.forward_query {
        url = with_query(url, context.query());
    }
    // Every URL that was shortened here can stand in a header. Another program has written this one to the table.
    let url = HeaderValue::try_from(url).map_err(|_| {
        warn!(%code, "the URL of this link cannot stand in a header");
        ApiError::Gone
    })?;
    let status = StatusCode::from_u16(manner.redirect.status()).unwrap_or(StatusCode::FOUND);
    let mut response = HttpResponse::build(status);
    response.insert_header((header::LOCATION, url));
    if manner.redirect.is_permanent() {
        let left = destination.expires_in.unwrap_or(REMEMBERED);
        let seconds = left.min(REMEMBERED).as_secs();
        let control = format!("private, max-age={seconds}");
        response.insert_header((header::CACHE_CONTROL, control));
    }
    Ok(response.finish())
}

/// The URL with the query of a request behind its own query, and before its fragment. Nothing of either is changed but
/// what cannot stand in a header. If the result would be longer than a target can be, the query is left out: a proxy
/// takes an answer with too large a head for a failure of the node.
fn with_query(mut url: String, query: &str) -> String {
    if query.is_empty() {
        return url;
    }
    let end = url.find('#').unwrap_or(url.len());
    let own = &url[..end];
    let separator = match own.split_once('?') {
        None => "?",
        Some((_, own)) if own.is_empty() || own.ends_with('&') => "",
        Some(_) => "&",
    };
    let query = utf8_percent_encode(query, CONTROLS);
    let added = format!("{separator}{query}");
    if url.len() + added.len() <= MAX_TARGET_LENGTH {
        url.insert_str(end, &added);
    }
    url
}

/// The answer to an onlooker for a link that works, without its target.
fn withheld(onlooker: Onlooker) -> Result<HttpResponse, ApiError> {
    match onlooker {
        Onlooker::Head | Onlooker::Preview => Ok(page::onlooker_page()),
        // Not a success: else the browser would show this page for the click that follows.
        Onlooker::Prefetch => Err(ApiError::Prefetched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_visitor_comes_after_the_links_own_and_before_the_fragment() {
        for (url, query, expected) in [
            ("https://a.example/", "", "https://a.example/"),
            ("https://a.example/", "b=1", "https://a.example/?b=1"),
            ("https://a.example/?", "b=1", "https://a.example/?b=1"),
            (
                "https://a.example/?a=1",
                "b=1&a=2",
                "https://a.example/?a=1&b=1&a=2",
            ),
            ("https://a.example/?a=1&", "b", "https://a.example/?a=1&b"),
            (
                "https://a.example/?a#top?x",
                "b=%41+c",
                "https://a.example/?a&b=%41+c#top?x",
            ),
            ("https://a.example/#?", "b?=1", "https://a.example/?b?=1#?"),
            (
                "mailto:a@example.com",
                "subject=x",
                "mailto:a@example.com?subject=x",
            ),
            (
                "https://a.example/",
                "q=\u{fc}",
                "https://a.example/?q=%C3%BC",
            ),
        ] {
            assert_eq!(with_query(url.to_owned(), query), expected, "{url} {query}");
        }
    }

    #[test]
    fn a_query_that_would_make_the_url_too_long_is_left_out() {
        let url = "https://a.example/";
        let longest = "x".repeat(MAX_TARGET_LENGTH - url.len() - 1);
        let joined = with_query(url.to_owned(), &longest);
        assert_eq!(joined, format!("{url}?{longest}"));
        assert_eq!(with_query(url.to_owned(), &format!("{longest}x")), url);
        // Each becomes six bytes.
        let encoded = "\u{fc}".repeat(longest.len() / 6 + 1);
        assert_eq!(with_query(url.to_owned(), &encoded), url);
    }
}
