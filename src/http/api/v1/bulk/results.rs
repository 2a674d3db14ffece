//! What becomes of each link of a bulk request, as JSON.

use serde::Serialize;

use crate::{
    http::{
        api::representation::{Brief, Link},
        problem::ApiError,
    },
    links::{LinkRecord, Made, TargetUrl},
    public::PublicUrl,
};

/// What is said of a link in a transaction whose outcome is not known.
const UNKNOWN: &str = "The service is temporarily unavailable; the link may be stored or not";

/// What is said of a link that would have come after that, or after the time of the request.
const NOT_TRIED: &str = "The link was not tried: send it again";

/// One result.
#[derive(Serialize)]
struct Of<'a, L> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<L>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The results so far, in the order of the links.
pub(super) struct Results {
    base: PublicUrl,
    json: String,
    is_first: bool,
    store_has_failed: bool,
}

impl Results {
    /// `base` is what short URLs begin with.
    pub(super) fn new(base: PublicUrl, expected: usize) -> Self {
        /// About as long as the result of a link without options.
        const USUAL_LENGTH: usize = 600;
        let mut json = String::with_capacity(expected * USUAL_LENGTH);
        json.push_str("{\"results\":[");
        Self {
            base,
            json,
            is_first: true,
            store_has_failed: false,
        }
    }

    /// Whether the store has failed at a link: it would fail at the next, too.
    pub(super) fn store_has_failed(&self) -> bool {
        self.store_has_failed
    }

    /// The link is stored. A new link is shown as in `records`, if it is there; one that was there before in brief.
    pub(super) fn made(&mut self, made: &Made, target: &TargetUrl, records: &[LinkRecord]) {
        let status = if made.is_new { 201 } else { 200 };
        let mut records = records.iter();
        let record = records.find(|record| made.is_new && record.code == made.code);
        match record {
            Some(record) => self.push(&Of {
                status,
                link: Some(Link::new(&self.base, record)),
                error: None,
            }),
            None => self.push(&Of {
                status,
                link: Some(Brief::new(&self.base, &made.code, target.as_str())),
                error: None,
            }),
        }
    }

    /// The link is not stored, for this reason.
    pub(super) fn refused(&mut self, error: &ApiError) {
        self.push_error(error.status().as_u16(), &error.to_string());
    }

    /// Nobody knows whether the link is stored.
    pub(super) fn store_failed(&mut self) {
        self.store_has_failed = true;
        self.push_error(503, UNKNOWN);
    }

    /// So many links were not tried.
    pub(super) fn not_tried(&mut self, count: usize) {
        for _ in 0..count {
            self.push_error(503, NOT_TRIED);
        }
    }

    /// The body of the answer.
    pub(super) fn into_json(mut self) -> String {
        self.json.push_str("]}\n");
        self.json
    }

    fn push_error(&mut self, status: u16, error: &str) {
        let (link, error) = (None::<()>, Some(error));
        self.push(&Of {
            status,
            link,
            error,
        });
    }

    fn push(&mut self, result: &impl Serialize) {
        if !std::mem::take(&mut self.is_first) {
            self.json.push(',');
        }
        // Plain structures of strings and numbers always serialize.
        self.json += &serde_json::to_string(result).unwrap_or_default();
    }
}
