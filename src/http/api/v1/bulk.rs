//! `/api/v1/links/bulk`
//!
//! | file | what it holds |
//! |---|---|
//! | `body` | which links a body asks for |
//! | `results` | what becomes of each, as JSON |

mod body;
mod results;

use std::time::Duration;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::header::{self, ContentType},
};
use serde_json::{Value, json, value::RawValue};
use tokio::time::{Instant, timeout_at};

use self::results::Results;
use super::Request;
use crate::{
    http::{
        api::{extended::Extended, representation::base},
        fields::unacceptable,
        problem::ApiError,
        shorten::{ShortenForm, wanted_link},
    },
    keys::VerifiedKey,
    links::{Made, ShortCode, ShortenError, TargetUrl, Wanted},
    public::USUAL,
};

/// The most links that one request makes.
const MOST_LINKS: usize = 1_000;

/// The most links of a request that can have a password. A hash takes a core for tens of milliseconds, and visitors who
/// enter passwords wait for the same two turns.
const MOST_PASSWORDS: usize = 20;

/// How many links are stored in the first transaction. How long they take says how many the next one may have.
const FIRST_BATCH: usize = 10;

/// The most links that are stored in one transaction. The more there are, the fewer commits a slow disk has to do; the
/// fewer, the sooner others who write get their turn.
const LARGEST_BATCH: usize = 50;

/// The schema of an answer.
pub(super) fn results() -> Value {
    json!({
        "type": "object",
        "description": "What became of each link, in the order of the request.",
        "required": ["results"],
        "properties": { "results": { "type": "array", "description": "One for each link.", "items": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": { "type": "integer", "description": "What a request for this link alone is answered with.", "examples": [201] },
                "link": {
                    "description": "The link, if it is stored. One that was there before is told in brief.",
                    "anyOf": [
                        { "$ref": "#/components/schemas/Link" },
                        { "$ref": "#/components/schemas/BriefLink" },
                    ],
                },
                "error": { "type": "string", "description": "What is wrong, if it is not." },
            },
        } } },
    })
}

/// `POST`: makes each of these links as `POST /links` would, in their order, and answers with what became of each. Each
/// that is said to be stored is committed. What was not stored when the time of the request is over, or when the store
/// fails, is said to be so.
#[utoipa::path(
    post,
    path = "/api/v1/links/bulk",
    tag = "Links",
    operation_id = "makeLinks",
    summary = "Make many links",
    description = "Each as a request for one link. One that cannot be made does not stop the others.",
    request_body(content((ref("#/components/schemas/NewLinks") = "application/json"))),
    responses(
        (
            status = 200,
            description = "What became of each link. The request as a whole was understood",
            content_type = "application/json",
            body = ref("#/components/schemas/LinkResults"),
        ),
        (status = 413, description = "The body is over 4 MiB, or it has over 1,000 links"),
        (status = 422, description = "There is no link in it"),
    ),
)]
pub(super) async fn create(
    request: Request<'_>,
    key: &VerifiedKey,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Request { state, context, .. } = request;
    let (extended, body) = Extended::read(state, context, key, payload).await?;
    let links = body::links(&body)?;
    request.confirm().await?;
    let mut bulk = Bulk {
        request: &request,
        results: Results::new(base(state, context)?, links.len()),
        extended,
        passwords: 0,
    };
    bulk.make_all(&links).await;
    let answer = bulk.results.into_json();
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type(ContentType::json())
        .body(bulk.extended.held(answer)))
}

/// A bulk request, and what became of its links so far.
struct Bulk<'a> {
    request: &'a Request<'a>,
    extended: Extended<'a>,
    results: Results,
    /// How many of the links so far want a password.
    passwords: usize,
}

/// What is known of one link.
enum Step {
    /// It is to be stored, and leads there.
    Wanted(TargetUrl),
    /// It is not stored.
    Refused(ApiError),
    /// The time was over before it could be stored.
    NotTried,
}

impl Bulk<'_> {
    async fn make_all(&mut self, mut links: &[&RawValue]) {
        let mut size = FIRST_BATCH;
        while !links.is_empty() {
            let goes_on = !self.results.store_has_failed() && self.extended.may_begin();
            // The key may be revoked while there are links left.
            if !goes_on || self.request.confirm().await.is_err() {
                self.results.not_tried(links.len());
                return;
            }
            let (batch, rest) = links.split_at(size.min(links.len()));
            let took = self.make(batch).await;
            size = next_size(size, took, self.request.state.database_timeout);
            links = rest;
        }
    }

    /// Makes some links in one transaction, and adds what became of each. Returns how long they took to be stored.
    async fn make(&mut self, batch: &[&RawValue]) -> Duration {
        let (mut steps, mut wanted) = (Vec::new(), Vec::new());
        for link in batch {
            // A password takes its time.
            let until = self.extended.transactions_begin_until();
            steps.push(match timeout_at(until, self.read(link)).await {
                Ok(Ok(link)) => {
                    let target = link.target.clone();
                    wanted.push(link);
                    Step::Wanted(target)
                }
                Ok(Err(error)) => Step::Refused(error),
                Err(_) => Step::NotTried,
            });
        }
        let begun = Instant::now();
        let made = if self.extended.may_begin() {
            let links = &self.request.state.links;
            let may_begin = || self.extended.may_begin();
            Some(links.shorten_all(wanted, may_begin).await)
        } else {
            None
        };
        let took = begun.elapsed();
        match made {
            None => {
                let not_tried = || Err(ShortenError::NotTried);
                self.show(steps, std::iter::repeat_with(not_tried)).await;
            }
            Some(Ok(made)) => self.show(steps, made.into_iter()).await,
            Some(Err(unavailable)) => {
                let failed = || Err(unavailable.into());
                self.show(steps, std::iter::repeat_with(failed)).await;
            }
        }
        took
    }

    /// Adds a result for each link. `made` has one for each that was wanted, in their order.
    async fn show(
        &mut self,
        steps: Vec<Step>,
        made: impl Iterator<Item = Result<Made, ShortenError>>,
    ) {
        let made: Vec<_> = made.take(steps.len()).collect();
        let new = made.iter().flatten().filter(|made| made.is_new);
        let new: Vec<ShortCode> = new.map(|made| made.code.clone()).collect();
        let request = self.request;
        let records = request.state.links.records(&new, &request.editor);
        let records = timeout_at(self.extended.until(), records).await;
        // Without them, the links are shown in brief: they are stored.
        let records = records.ok().and_then(Result::ok).unwrap_or_default();
        let (mut made, results) = (made.into_iter(), &mut self.results);
        for step in steps {
            let target = match step {
                Step::Wanted(target) => target,
                Step::Refused(error) => {
                    results.refused(&error);
                    continue;
                }
                Step::NotTried => {
                    results.not_tried(1);
                    continue;
                }
            };
            match made.next() {
                Some(Ok(made)) => results.made(&made, &target, &records),
                Some(Err(ShortenError::AliasTaken)) => results.refused(&ApiError::AliasTaken),
                Some(Err(ShortenError::NotTried)) => results.not_tried(1),
                Some(Err(ShortenError::Unavailable(_))) | None => results.store_failed(),
            }
        }
    }

    /// One link of the request, with all of it checked.
    async fn read(&mut self, link: &RawValue) -> Result<Wanted, ApiError> {
        // As long as a request for one link may be, and no longer.
        if link.get().len() > USUAL.body {
            return Err(ApiError::LinkTooLarge);
        }
        let form = ShortenForm::parse(link.get())?;
        if form.password.is_some() {
            self.passwords += 1;
            if self.passwords > MOST_PASSWORDS {
                let why = format!("at most {MOST_PASSWORDS} links of one request can have one");
                return Err(unacceptable("password", why));
            }
        }
        let Request { state, context, .. } = self.request;
        Ok(wanted_link(state, context, &form).await?.1)
    }
}

/// How many links the next transaction may have after one with `size` that took `took`. It should take a fraction of
/// `timeout`, because what a transaction has stored is not known if it takes longer than that.
fn next_size(size: usize, took: Duration, timeout: Duration) -> usize {
    if took < timeout / 10 {
        (2 * size).min(LARGEST_BATCH)
    } else if took > timeout / 4 {
        (size / 2).max(1)
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_links_are_stored_the_fewer_are_stored_at_once() {
        let next = |size, percent: u64| {
            let took = Duration::from_millis(20 * percent);
            next_size(size, took, Duration::from_secs(2))
        };
        assert_eq!(next(10, 1), 20);
        assert_eq!(next(40, 9), LARGEST_BATCH);
        assert_eq!(next(20, 15), 20);
        assert_eq!(next(20, 30), 10);
        assert_eq!(next(1, 90), 1);
    }
}
