//! What makes a link stale, and what is not remembered at all.

use super::*;

#[test]
fn a_change_is_one_of_its_code_alone() {
    let cache = watching(OPTIONS);
    for text in ["abc", "other"] {
        look_up(&cache, text, found("https://a/"));
    }
    for text in ["def", "another"] {
        look_up(&cache, text, LookUp::Unknown);
    }
    for text in ["abc", "def"] {
        cache.forget(&code(text));
        assert_eq!(cache.get(&code(text)), Remembered::Nothing, "{text}");
    }
    assert_eq!(cache.get(&code("other")), fresh("https://a/"));
    assert_eq!(cache.get(&code("another")), Remembered::Unknown);
}

#[test]
fn a_link_that_expired_is_looked_up_again_once_it_may_have_changed() {
    let cache = watching(OPTIONS);
    let expired = Link {
        expires_in: Some(Duration::ZERO),
        ..link("https://a/")
    };
    look_up(&cache, "abc", LookUp::Found(expired));
    assert_eq!(cache.get(&code("abc")), Remembered::Gone);
    cache.doubt_everything();
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn before_changes_are_heard_nothing_is_fresh() {
    let cache = Arc::new(RedirectCache::new(OPTIONS));
    assert!(!is_watching(&cache));
    look_up(&cache, "abc", found("https://a/"));
    let (mut begun_before, landing) = begin(&cache, "def");
    let doubtful = || stale("https://a/", Staleness::Doubtful);
    assert_eq!(cache.get(&code("abc")), doubtful());
    cache.watching();
    assert!(is_watching(&cache));
    assert_eq!(cache.get(&code("abc")), doubtful(), "it may have changed");
    landing.land(found("https://a/"));
    begun_before.poll();
    assert_eq!(cache.get(&code("def")), doubtful(), "it may have changed");
    look_up(&cache, "abc", found("https://a/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
}

#[test]
fn what_was_remembered_before_changes_went_unheard_stays_doubtful() {
    let cache = watching(OPTIONS);
    for text in ["abc", "def"] {
        look_up(&cache, text, found("https://a/"));
    }
    let doubtful = || stale("https://a/", Staleness::Doubtful);
    // Said twice it is no more true.
    cache.lost_sight();
    cache.lost_sight();
    assert!(!is_watching(&cache));
    assert_eq!(cache.get(&code("abc")), doubtful());
    look_up(&cache, "ghi", found("https://a/"));
    cache.watching();
    cache.watching();
    assert!(is_watching(&cache));
    look_up(&cache, "def", found("https://a/"));
    assert_eq!(cache.get(&code("abc")), doubtful());
    assert_eq!(cache.get(&code("def")), fresh("https://a/"));
    assert_eq!(cache.get(&code("ghi")), doubtful());
}

#[test]
fn when_everything_may_have_changed_nothing_from_before_is_believed() {
    let cache = watching(OPTIONS);
    look_up(&cache, "abc", found("https://a/"));
    look_up(&cache, "unknown", LookUp::Unknown);
    let (mut begun_before, landing) = begin(&cache, "def");
    cache.doubt_everything();
    assert!(is_watching(&cache));
    landing.land(found("https://a/"));
    begun_before.poll();
    let doubtful = || stale("https://a/", Staleness::Doubtful);
    assert_eq!(cache.get(&code("abc")), doubtful());
    assert_eq!(cache.get(&code("def")), Remembered::Nothing);
    assert_eq!(cache.get(&code("unknown")), Remembered::Nothing);
    look_up(&cache, "abc", found("https://b/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://b/"));

    // While changes go unheard, one that is reported does not change that.
    cache.lost_sight();
    cache.doubt_everything();
    assert!(!is_watching(&cache));
}

#[test]
fn a_link_grows_old_and_a_miss_is_forgotten() {
    let cache = watching(CacheOptions {
        ttl: Duration::ZERO,
        miss_ttl: Duration::ZERO,
        ..OPTIONS
    });
    look_up(&cache, "abc", found("https://a/"));
    let old = stale("https://a/", Staleness::Old);
    assert_eq!(cache.get(&code("abc")), old);
    for answer in [LookUp::Unknown, LookUp::Gone] {
        look_up(&cache, "def", answer);
        assert_eq!(cache.get(&code("def")), Remembered::Nothing);
    }
    cache.lost_sight();
    let doubtful = stale("https://a/", Staleness::Doubtful);
    assert_eq!(cache.get(&code("abc")), doubtful);
}

#[test]
fn a_link_is_gone_when_its_time_is_over() {
    let cache = watching(OPTIONS);
    let expiring = |expires_in| {
        LookUp::Found(Link {
            expires_in: Some(expires_in),
            ..link("https://a/")
        })
    };
    look_up(&cache, "abc", expiring(HOUR));
    let Remembered::Fresh(destination) = cache.get(&code("abc")) else {
        panic!("it has expired");
    };
    assert_eq!(destination.url, "https://a/");
    let left = destination.expires_in.expect("an expiry");
    assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
    look_up(&cache, "abc", expiring(Duration::ZERO));
    assert_eq!(cache.get(&code("abc")), Remembered::Gone);
    look_up(&cache, "abc", expiring(Duration::MAX));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"), "in no time");
}

#[test]
fn a_link_falls_back_when_its_time_is_over() {
    let cache = watching(OPTIONS);
    let falling_back = |expires_in| {
        LookUp::Found(Link {
            expires_in: Some(expires_in),
            fallback: Some("https://fallback/".to_owned()),
            ..link("https://a/")
        })
    };
    look_up(&cache, "abc", falling_back(HOUR));
    assert!(matches!(cache.get(&code("abc")), Remembered::Fresh(_)));
    look_up(&cache, "abc", falling_back(Duration::ZERO));
    let fallback = Remembered::FallsBack("https://fallback/".to_owned());
    assert_eq!(cache.get(&code("abc")), fallback);
    // The fallback may have changed, and the expiry may have been moved.
    cache.doubt_everything();
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn a_fallback_is_remembered_until_it_may_have_changed() {
    let cache = watching(OPTIONS);
    let fallback = Remembered::FallsBack("https://b/".to_owned());
    for before in [found("https://a/"), LookUp::Gone] {
        look_up(&cache, "abc", before);
        look_up(&cache, "abc", LookUp::FallsBack("https://b/".to_owned()));
        assert_eq!(cache.get(&code("abc")), fallback);
        assert_eq!(links_and_misses(&cache), (1, 0));
    }
    cache.doubt_everything();
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn a_link_that_has_not_started_is_unknown_until_it_starts_at_most() {
    let cache = watching(OPTIONS);
    look_up(&cache, "abc", LookUp::NotStarted(HOUR));
    assert_eq!(cache.get(&code("abc")), Remembered::Unknown);
    look_up(&cache, "abc", LookUp::NotStarted(Duration::ZERO));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
    let cache = watching(CacheOptions {
        miss_ttl: Duration::ZERO,
        ..OPTIONS
    });
    look_up(&cache, "abc", LookUp::NotStarted(HOUR));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn a_link_whose_visits_are_limited_is_not_remembered() {
    let cache = watching(OPTIONS);
    let limited = Link {
        limited: true,
        ..link("https://a/")
    };
    look_up(&cache, "abc", LookUp::Found(limited.clone()));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
    // What it was before is forgotten: while the database is away it would be visited uncounted.
    for before in [found("https://a/"), LookUp::Gone] {
        look_up(&cache, "abc", before);
        look_up(&cache, "abc", LookUp::Found(limited.clone()));
        assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
    }
    assert_eq!(links_and_misses(&cache), (0, 0));
}
