//! Machines that only look at a link, before a person may follow it.
//!
//! If the visits of a link are limited, it does not lead these machines anywhere. They use up no visit, and the answer
//! does not tell them the target: otherwise a client could get there without a visit by calling itself a machine. Any
//! other link leads them to its target, as it leads every client.

use actix_web::http::{
    Method,
    header::{self, HeaderMap},
};

/// The names, in lower case, of machines that fetch links for a preview, a search engine or a check.
///
/// No crate has this list. Those that exist list all that is not a browser, with `curl`, `wget` and HTTP libraries, and
/// links have to work for scripts.
const PREVIEWS: [&str; 19] = [
    "bingpreview",
    "bitrix link preview",
    "crawler",
    "embedly",
    "facebookcatalog",
    "facebookexternalhit",
    "flipboardproxy",
    "google-pagerenderer",
    "iframely",
    // Office follows a link by itself before it hands it to the browser.
    "ms-office",
    "onebox",
    "pleroma",
    "skypeuripreview",
    "slack-imgproxy",
    "snap url preview",
    "spider",
    "vkshare",
    "yahoo link preview",
    // Robots say by convention where to read about them.
    "+http",
];

/// A machine that only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Onlooker {
    /// `HEAD`: it asks whether the link works.
    Head,
    /// A browser that fetches what its user might open next.
    Prefetch,
    /// A program that shows what a link is about, next to the link.
    Preview,
}

impl Onlooker {
    /// Every kind.
    pub(in crate::http) const ALL: [Self; 3] = [Self::Head, Self::Prefetch, Self::Preview];

    /// The onlooker that sent a request with this method and these headers; `None` if it follows the link.
    pub(in crate::http) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        if is_prefetch(headers) {
            Some(Self::Prefetch)
        } else if method == Method::HEAD {
            Some(Self::Head)
        } else if is_preview(headers) {
            Some(Self::Preview)
        } else {
            None
        }
    }

    /// The name in metrics.
    pub(in crate::http) fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Prefetch => "prefetch",
            Self::Preview => "preview",
        }
    }
}

/// `Sec-Purpose: prefetch;prerender` (Fetch), and what browsers sent before that.
fn is_prefetch(headers: &HeaderMap) -> bool {
    const PURPOSES: [(&str, &[&str]); 4] = [
        ("sec-purpose", &["prefetch"]),
        ("purpose", &["prefetch", "preview"]),
        ("x-purpose", &["prefetch", "preview"]),
        ("x-moz", &["prefetch"]),
    ];
    PURPOSES.iter().any(|(name, purposes)| {
        let values = headers
            .get_all(*name)
            .filter_map(|value| value.to_str().ok());
        let mut items = values.flat_map(|value| value.split([',', ';']));
        items.any(|item| {
            let item = item.trim();
            purposes
                .iter()
                .any(|purpose| item.eq_ignore_ascii_case(purpose))
        })
    })
}

fn is_preview(headers: &HeaderMap) -> bool {
    headers.get_all(header::USER_AGENT).any(|agent| {
        let agent = String::from_utf8_lossy(agent.as_bytes()).to_ascii_lowercase();
        // Signal uses this name, and so does WhatsApp. An app in which people open pages would call itself a browser.
        agent.starts_with("whatsapp/")
            || agent == "viber"
            || PREVIEWS.iter().any(|name| agent.contains(name))
            || has_bot(&agent)
    })
}

/// Whether a word ends in `bot`: `Twitterbot/1.0`, `TelegramBot (like …`, `Synapse (bot; …`. Cubot is a brand of
/// phones.
fn has_bot(agent: &str) -> bool {
    let mut words = agent.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word.ends_with("bot") && word != "cubot")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_request_is_an_onlookers_if_its_method_its_purpose_or_its_name_says_so() {
        for (method, header, onlooker) in [
            (Method::GET, ("accept", "text/html"), None),
            (Method::HEAD, ("accept", "text/html"), Some(Onlooker::Head)),
            (
                Method::GET,
                ("sec-purpose", "prefetch;prerender"),
                Some(Onlooker::Prefetch),
            ),
            (
                Method::HEAD,
                ("sec-purpose", "prefetch"),
                Some(Onlooker::Prefetch),
            ),
            (Method::GET, ("sec-purpose", "prefetcher"), None),
            (
                Method::GET,
                ("x-moz", "x, PREFETCH"),
                Some(Onlooker::Prefetch),
            ),
            (
                Method::GET,
                ("user-agent", "Twitterbot/1.0"),
                Some(Onlooker::Preview),
            ),
            (
                Method::GET,
                ("user-agent", "a (BOT)"),
                Some(Onlooker::Preview),
            ),
            (Method::GET, ("user-agent", "bottle/1.0"), None),
            (Method::GET, ("user-agent", "Cubot_X19"), None),
            (Method::GET, ("user-agent", ""), None),
        ] {
            let request = TestRequest::default()
                .method(method.clone())
                .insert_header(header)
                .to_http_request();
            let found = Onlooker::of(&method, request.headers());
            assert_eq!(found, onlooker, "{method} {header:?}");
            assert!(found.is_none_or(|onlooker| Onlooker::ALL.contains(&onlooker)));
        }
    }
}
