//! What a cache remembers, and what it does not.

mod bounds;
mod flights;
mod freshness;

use std::time::Duration;

use super::*;
use crate::links::{Link, Manner, cache::Staleness};

const HOUR: Duration = Duration::from_secs(3_600);

/// A capacity that divides evenly among the shards, however many cores there are.
const OPTIONS: CacheOptions = CacheOptions {
    capacity: 1 << 10,
    ttl: HOUR,
    miss_ttl: HOUR,
};

/// A cache that hears of changes.
fn watching(options: CacheOptions) -> Arc<RedirectCache> {
    let cache = Arc::new(RedirectCache::new(options));
    cache.watching();
    cache
}

fn code(text: &str) -> ShortCode {
    ShortCode::parse(text).expect("a code")
}

fn link(url: &str) -> Link {
    Link {
        url: url.to_owned(),
        manner: Manner::default(),
        fallback: None,
        limited: false,
        password: None,
        expires_in: None,
    }
}

fn found(url: &str) -> LookUp {
    LookUp::Found(link(url))
}

fn fresh(url: &str) -> Remembered {
    Remembered::Fresh(url.to_owned().into())
}

fn stale(url: &str, why: Staleness) -> Remembered {
    Remembered::Stale(url.to_owned().into(), why)
}

/// A caller that waits for an answer.
struct Waiting(Answer);

impl Waiting {
    /// `None` while there is no answer, `Some(None)` for a failure.
    fn poll(&mut self) -> Option<Option<LookUp>> {
        (&mut self.0).now_or_never().map(Result::ok)
    }
}

/// Begins a look-up, which the test lands, or drops to make it fail.
fn begin(cache: &Arc<RedirectCache>, text: &str) -> (Waiting, Landing) {
    let Flight::Begun(answer, landing) = cache.look_up(&code(text)) else {
        panic!("there was one under way");
    };
    let mut waiting = Waiting(answer);
    assert_eq!(waiting.poll(), None);
    (waiting, landing)
}

/// Asks while a look-up is under way.
fn join(cache: &Arc<RedirectCache>, text: &str) -> Waiting {
    let Flight::Joined(answer) = cache.look_up(&code(text)) else {
        panic!("there was none under way");
    };
    let mut waiting = Waiting(answer);
    assert_eq!(waiting.poll(), None);
    waiting
}

/// A look-up that is answered at once.
fn look_up(cache: &Arc<RedirectCache>, text: &str, answer: LookUp) {
    let (mut waiting, landing) = begin(cache, text);
    landing.land(answer.clone());
    assert_eq!(waiting.poll(), Some(Some(answer)));
}

fn links_and_misses(cache: &RedirectCache) -> (usize, usize) {
    let CacheUsage { links, misses, .. } = cache.usage();
    (links, misses)
}

fn is_watching(cache: &RedirectCache) -> bool {
    cache.usage().watching
}
