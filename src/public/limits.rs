//! How large a request may be, and how long its answer may take: one table. The nginx that is shipped has the same
//! limits (`nginx/proxy.conf`); a test compares both.

use std::time::Duration;

use actix_web::http::Method;

/// The limits of requests to one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// The longest body, in bytes.
    pub body: usize,
    /// How long the body may take to arrive. `None`: as long as `http.request_timeout` says.
    pub body_time: Option<Duration>,
    /// From the head of a request to its answer, the time for the body included. `None`: what `http.request_timeout`,
    /// `database.timeout` and `limiter.redis.timeout` make together.
    pub answer: Option<Duration>,
    /// How long nginx waits for the answer once a node has the whole request. Longer than [`answer`](Self::answer).
    pub nginx_waits: Duration,
    /// How many such requests a node works on at once. Each takes several times the memory of its body: see [`BULK`].
    /// `None`: any number.
    pub at_once: Option<usize>,
    /// How many of them may be of one owner of keys, so that nobody keeps the others out. `None`: all.
    pub of_one_owner: Option<usize>,
}

/// A path whose requests have limits of their own, if they have this method.
#[derive(Debug)]
pub struct Exception {
    /// The method.
    pub method: Method,
    /// The path, without a slash at its end.
    pub path: &'static str,
    /// The limits.
    pub limits: RouteLimits,
}

/// The limits of all requests that have no others.
pub const USUAL: RouteLimits = RouteLimits {
    // The longest target with each of its bytes percent-encoded, and the other fields.
    body: 32 * 1024,
    body_time: None,
    answer: None,
    nginx_waits: Duration::from_secs(5),
    at_once: None,
    of_one_owner: None,
};

/// The longest body of any path, in bytes.
pub const LARGEST_BODY: usize = BULK.body;

/// Those of `POST /api/v1/links/bulk`.
///
/// The buffer of a body of 4 MiB doubles while it grows. The answer repeats URLs and labels: it has up to 12 MiB if each
/// byte of such a body is percent-encoded in the answer, and its buffer doubles, too. Four such requests took up to 94 MiB
/// together (`VmHWM`, debug build).
pub const BULK: RouteLimits = RouteLimits {
    // 1,000 links with 4 KiB each: a long URL, a title, tags and a note of some paragraphs.
    body: 4 * 1024 * 1024,
    body_time: Some(Duration::from_secs(20)),
    answer: Some(Duration::from_secs(40)),
    nginx_waits: Duration::from_secs(45),
    at_once: Some(4),
    of_one_owner: Some(2),
};

/// The paths with limits of their own. A row here needs a `location` in `nginx/proxy.conf`.
#[rustfmt::skip]
pub static EXCEPTIONS: [Exception; 1] = [
    Exception { method: Method::POST, path: "/api/v1/links/bulk", limits: BULK },
];

impl Exception {
    /// The row of a request, if it has one. The path has no slash at its end and no needless percent-encoding.
    pub fn of(method: &Method, path: &str) -> Option<&'static Self> {
        let mut there = EXCEPTIONS.iter().filter(|exception| exception.path == path);
        there.find(|exception| exception.method == *method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_limits_of_its_path_and_method() {
        let limits = |method: &Method, path| Exception::of(method, path).map(|own| own.limits);
        let bulk = "/api/v1/links/bulk";
        assert_eq!(limits(&Method::POST, bulk), Some(BULK));
        // This is a link with the code `bulk`.
        assert_eq!(limits(&Method::PATCH, bulk), None);
        assert_eq!(limits(&Method::POST, "/api/v1/links"), None);
    }

    #[test]
    fn nginx_waits_longer_than_a_node_takes() {
        for Exception { path, limits, .. } in &EXCEPTIONS {
            assert!(
                path.starts_with("/api/"),
                "{path}: http/edge looks only there"
            );
            let answer = limits.answer.expect("a time of its own");
            assert!(limits.nginx_waits > answer, "{path}");
            assert!(limits.body_time.is_some_and(|time| time < answer), "{path}");
            assert!(
                (USUAL.body + 1..=LARGEST_BODY).contains(&limits.body),
                "{path}"
            );
            let at_once = limits.at_once.expect("a number of its own");
            assert!(
                limits.of_one_owner.is_some_and(|own| own < at_once),
                "{path}"
            );
        }
    }
}
