//! Links with a password: the page that asks for it, `POST /<code>` with what its form sends, and the cookie by which a
//! browser shows that its user has given it.
//!
//! What a page of another site can do:
//!
//! - It cannot open a link. It could send the form with a password that it knows. Then the visitor's browser has a
//!   cookie that opens this one link, whose password that site knows already.
//! - It cannot use up the attempts of its visitors, or guess through their browsers. Browsers say that a form comes
//!   from another site (`Sec-Fetch-Site`), and such a form is not looked at. On plain HTTP they do not say so. Then the
//!   form's `Origin` has to be the service's own. The page that asks has `Referrer-Policy: same-origin`, because with
//!   `no-referrer` its own form would say `Origin: null`, as a form of another site can.
//! - A cookie that somebody plants is good for nothing but the link and the password that it was made for: see
//!   [`PasswordHash::ticket`]. It stands for no person, so there is no session to be fixed.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::{
    AppState,
    edge::{RequestContext, code, discard_body},
    fields::{Member, malformed, now, password, read_members, text},
    nowhere::{find, nowhere},
    page::{self, NO_INDEX},
    problem::ApiError,
    rate_limit::client_name,
    shorten::own_url,
};
use crate::{
    links::{LockedLink, Password, PasswordHash, Resolved, ShortCode, Visit},
    public::PublicUrl,
};

const COOKIE: &str = "shunt_link";

/// How long a browser is not asked again.
const LASTS: Duration = Duration::from_secs(3_600);

/// Of several cookies with the name, these are looked at. A browser sends the one for the longest path first.
const MAX_COOKIES: usize = 8;

/// Said to a visitor who seems to come from the form and has no cookie: without this, the page would only ask again.
const NO_COOKIE: &str = "If you have just given the password: your browser did not send the cookie back. Allow \
     cookies for this site, and give the password again";

/// Said if the form seems to come from another site.
const NOT_FROM_HERE: &str = "The password came from a page of another site. Give it here";

/// The answer to programs for a link without a password, and for a code that no link has.
const NO_SUCH_METHOD: ApiError = ApiError::MethodNotAllowed {
    allowed: &[Method::GET, Method::HEAD],
};

/// Whether the request shows that its sender has given the password of this link, at this code.
pub(super) fn was_given(headers: &HeaderMap, code: &ShortCode, hash: &PasswordHash) -> bool {
    let now = now();
    tickets(headers).any(|ticket| hash.admits(code, ticket, now))
}

/// The values of the request's cookies with the name.
fn tickets(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE);
    let cookies = lines.filter_map(|line| line.to_str().ok());
    let cookies = cookies.flat_map(|line| line.split(';'));
    cookies
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, ticket)| ticket)
        .take(MAX_COOKIES)
}

/// Asks a visitor for the password who follows the link without a cookie that is good.
pub(super) fn ask_at_first(context: &RequestContext) -> HttpResponse {
    let headers = context.headers();
    let has_lost_cookie = site(headers).is_some_and(|site| is(site, "same-origin"))
        && tickets(headers).next().is_none();
    let why = has_lost_cookie.then_some(NO_COOKIE);
    ask(context, &ApiError::PasswordNeeded, why)
}

/// Asks for the password, with the status of `error`: on a page for a browser, which shows `why`. Any other client is
/// told how to send it.
fn ask(context: &RequestContext, error: &ApiError, why: Option<&str>) -> HttpResponse {
    if context.wants_page() {
        return page::password_page(error.response(), why);
    }
    let mut response = error.problem();
    let (name, value) = NO_INDEX;
    response.headers_mut().insert(name, value);
    response
}

/// `POST /<code>`: takes a password. If it is right, leads to the link itself, with a cookie. Following the link is
/// then another request, so that a visit counts when it leads somewhere.
///
/// Only links with a password have this method. Still, a browser that sends the form of the page is told what has
/// become of the link while the page was open.
pub(super) async fn submit(
    state: &AppState,
    context: &RequestContext,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (code, locked) = match look(state, context).await {
        Ok(Found::Locked(code, locked)) => (code, locked),
        Ok(other) if context.wants_page() => {
            let given = read_members(context, payload, state.request_timeout, read).await;
            return match (given, other) {
                (Err(_), _) => Err(NO_SUCH_METHOD),
                (Ok(_), Found::Open(code)) => back(context, &code),
                (Ok(_), Found::Gone) => Err(ApiError::Gone),
                (Ok(_), Found::Nothing | Found::Locked(..)) => nowhere(state),
            };
        }
        Ok(_) => {
            discard_body(context, payload).await;
            return Err(NO_SUCH_METHOD);
        }
        Err(error) => {
            discard_body(context, payload).await;
            return Err(error);
        }
    };
    if is_from_another_site(state, context) {
        discard_body(context, payload).await;
        return Ok(ask(context, &ApiError::PasswordNeeded, Some(NOT_FROM_HERE)));
    }
    let given = read_members(context, payload, state.request_timeout, read).await;
    let answer = match given {
        Ok(password) => admit(state, context, &code, &locked.password, password).await,
        Err(error) => Err(error),
    };
    // The page is there for another attempt.
    Ok(answer.unwrap_or_else(|error| ask(context, &error, Some(&error.to_string()))))
}

/// What a path leads to.
enum Found {
    Locked(ShortCode, Box<LockedLink>),
    /// Somewhere, without a password.
    Open(ShortCode),
    Gone,
    Nothing,
}

async fn look(state: &AppState, context: &RequestContext) -> Result<Found, ApiError> {
    let Some(code) = code(context.path()) else {
        return Ok(Found::Nothing);
    };
    // To send a password is no visit yet.
    let ask = async |code: &ShortCode| state.links.follow(code, || Visit::Uncounted).await;
    let (code, resolved) = find(code, ask, |resolved| *resolved == Resolved::Unknown).await?;
    Ok(match resolved {
        Resolved::Locked(locked) => Found::Locked(code, locked),
        Resolved::Unknown => Found::Nothing,
        Resolved::Gone => Found::Gone,
        _ => Found::Open(code),
    })
}

/// The password that a body consists of.
fn read(members: &mut dyn Iterator<Item = Member>) -> Result<Password, ApiError> {
    let mut given = None;
    for (name, value) in members {
        if name != "password" {
            // Its name is not repeated: it may be a password that was sent without one.
            return Err(malformed("Unknown field: there is only `password`"));
        }
        if let Some(value) = text(&name, value)?
            && given.replace(value).is_some()
        {
            return Err(malformed(format!("The field `{name}` is repeated")));
        }
    }
    let given = given.ok_or_else(|| malformed("The field `password` is missing"))?;
    password(&given)
}

/// Leads to the link with a cookie, if the password is right.
async fn admit(
    state: &AppState,
    context: &RequestContext,
    code: &ShortCode,
    hash: &PasswordHash,
    password: Password,
) -> Result<HttpResponse, ApiError> {
    // Before the attempt counts: one that finds no place is none.
    let client = client_name(state.rate_limit.as_ref(), context);
    let place = state.links.place_to_check(&client, hash)?;
    if let Some(limit) = &state.rate_limit {
        let key = context.key().map(|key| &**key);
        let attempt = limit.decide_password(context.client(), key, hash.secret());
        let attempt = attempt.await;
        attempt.count(&state.metrics);
        if let Some(outcome) = attempt.first() {
            context.has_tried_a_password(outcome);
        }
        if let Some(error) = attempt.error() {
            return Err(error);
        }
    }
    let is_right = state.links.is_password(place, code, hash.clone(), password);
    if !is_right.await? {
        return Err(ApiError::WrongPassword);
    }
    let ticket = hash.ticket(code, now() + LASTS);
    // There is always one: no password fits what is no hash.
    let ticket = ticket.ok_or(ApiError::WrongPassword)?;
    let mut response = back(context, code)?;
    let cookie = HeaderValue::try_from(cookie(state, context, code, &ticket)?);
    let cookie = cookie.map_err(|_| ApiError::Unavailable)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The cookie, for this code only. Scripts cannot read it, and pages of other sites cannot make a browser send it,
/// except by a link that their visitor follows.
///
/// With `http.public_url`, the service may be under a path of its own. A browser that comes to another name does not
/// see that path.
fn cookie(
    state: &AppState,
    context: &RequestContext,
    code: &ShortCode,
    ticket: &str,
) -> Result<String, ApiError> {
    let requested = context.origin()?;
    let base = own_url(state, requested.clone())?;
    let is_https = |url: &PublicUrl| url.url().scheme() == "https";
    let is_public = requested
        .as_ref()
        .is_none_or(|requested| requested.url().host() == base.url().host());
    let folder = match is_public {
        true => base.url().path().trim_end_matches('/'),
        false => "",
    };
    // If TLS ends at a proxy that is not trusted, the request looks as if it had come without. A request for another
    // name than the public one may really have: the browser would refuse a cookie with `Secure`.
    let is_secure = requested.as_ref().is_some_and(is_https) || (is_public && is_https(&base));
    let secure = if is_secure { "; Secure" } else { "" };
    let seconds = LASTS.as_secs();
    Ok(format!(
        "{COOKIE}={ticket}; Path={folder}/{code}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
}

/// Leads to the link itself, with `GET`, and with the query of the request. The URL is relative, so that it also works
/// behind a proxy that serves this service under a path of its own.
fn back(context: &RequestContext, code: &ShortCode) -> Result<HttpResponse, ApiError> {
    let is_below = context.path().trim_start_matches('/').contains('/');
    let folder = if is_below { "../" } else { "" };
    let query = match context.query() {
        "" => String::new(),
        query => format!("?{}", utf8_percent_encode(query, CONTROLS)),
    };
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, format!("{folder}{code}{query}")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}

/// Whether a browser says that a page of another site has sent the form. Programs say nothing of that.
fn is_from_another_site(state: &AppState, context: &RequestContext) -> bool {
    let headers = context.headers();
    if let Some(site) = site(headers) {
        return is(site, "cross-site");
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    // `null` is no URL.
    let origin = origin
        .to_str()
        .ok()
        .and_then(|text| text.parse::<PublicUrl>().ok());
    let requested = context.origin().ok().flatten();
    // A proxy may have asked for the node by a name of its own.
    let own = requested.iter().chain(&state.public_url);
    // Without the scheme: a proxy may end TLS and not say so.
    let authority = |url: &PublicUrl| {
        (
            url.url().host().map(|host| host.to_owned()),
            url.url().port(),
        )
    };
    let is_own = |origin: PublicUrl| own.map(authority).any(|own| own == authority(&origin));
    !origin.is_some_and(is_own)
}

fn site(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("sec-fetch-site")
}

fn is(value: &HeaderValue, expected: &str) -> bool {
    value.as_bytes().eq_ignore_ascii_case(expected.as_bytes())
}
