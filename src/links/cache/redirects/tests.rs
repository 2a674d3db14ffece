use std::future::ready;

use tokio::{sync::oneshot, task::yield_now};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// Of a capacity that divides evenly among the shards that there are for however many cores.
const OPTIONS: CacheOptions = CacheOptions {
    capacity: 1 << 10,
    ttl: HOUR,
    miss_ttl: HOUR,
};

/// One that hears of changes.
fn watching(options: CacheOptions) -> Arc<RedirectCache> {
    let cache = Arc::new(RedirectCache::new(options));
    cache.changed(&Change::Watching);
    cache
}

fn code(text: &str) -> ShortCode {
    ShortCode::parse(text).expect("a code")
}

fn link(url: &str) -> Link {
    Link {
        url: url.to_owned(),
        limited: false,
        expires_in: None,
    }
}

fn found(url: &str) -> LookUp {
    LookUp::Found(link(url))
}

fn fresh(url: &str) -> Remembered {
    Remembered::Fresh(url.to_owned())
}

fn stale(url: &str, why: Staleness) -> Remembered {
    Remembered::Stale(url.to_owned(), why)
}

/// Somebody who waits for an answer.
struct Waiting(Shared<BoxFuture<'static, Answer>>);

impl Waiting {
    /// `None` while there is no answer.
    fn poll(&mut self) -> Option<Answer> {
        (&mut self.0).now_or_never()
    }
}

/// What whoever makes look-ups does with an answer.
fn remembered(landing: Landing, answer: Answer) -> Answer {
    if let Some(answer) = &answer {
        landing.remember(answer);
    }
    answer
}

/// Begins a look-up, which is answered by hand.
fn begin(cache: &Arc<RedirectCache>, text: &str) -> (Waiting, oneshot::Sender<Answer>) {
    let (sender, answer) = oneshot::channel();
    let look_up = |landing| answer.map(|answer| remembered(landing, answer.expect("an answer")));
    let mut waiting = Waiting(cache.look_up(&code(text), look_up));
    assert_eq!(waiting.poll(), None);
    assert!(!sender.is_closed(), "there was one under way");
    (waiting, sender)
}

/// Asks while a look-up is under way.
fn join(cache: &Arc<RedirectCache>, text: &str) -> Waiting {
    let mut begun = false;
    let look_up = |_| {
        begun = true;
        ready(None)
    };
    let mut waiting = Waiting(cache.look_up(&code(text), look_up));
    assert!(!begun, "there is one under way");
    assert_eq!(waiting.poll(), None);
    waiting
}

/// A look-up that is answered at once.
fn look_up(cache: &Arc<RedirectCache>, text: &str, answer: LookUp) {
    let expected = Some(answer.clone());
    let answer = cache.look_up(&code(text), |landing| {
        ready(()).map(|()| remembered(landing, Some(answer)))
    });
    assert_eq!(answer.now_or_never(), Some(expected));
}

#[test]
fn everybody_who_asks_meanwhile_gets_the_one_answer() {
    let cache = watching(OPTIONS);
    let (first, answer) = begin(&cache, "abc");
    let mut all = vec![first];
    all.extend((0..10).map(|_| join(&cache, "abc")));
    // Another code is another matter.
    let (_other, _) = begin(&cache, "other");
    answer.send(Some(found("https://a/"))).expect("waited for");
    for waiting in &mut all {
        assert_eq!(waiting.poll(), Some(Some(found("https://a/"))));
    }
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
    assert_eq!(cache.get(&code("other")), Remembered::Nothing);
}

#[test]
fn the_newest_answer_is_the_one_that_is_remembered() {
    let cache = watching(OPTIONS);
    for (answer, remembered) in [
        (found("https://a/"), fresh("https://a/")),
        (LookUp::Unknown, Remembered::Unknown),
        (found("https://b/"), fresh("https://b/")),
        (LookUp::Gone, Remembered::Gone),
        (found("https://c/"), fresh("https://c/")),
    ] {
        look_up(&cache, "abc", answer);
        assert_eq!(cache.get(&code("abc")), remembered);
    }
    assert_eq!(cache.len(), (1, 0));
}

#[test]
fn an_answer_from_before_a_change_goes_to_those_who_wait_and_no_further() {
    let cache = watching(OPTIONS);
    let (mut before, old) = begin(&cache, "abc");
    cache.changed(&Change::Link(code("abc")));
    old.send(Some(found("https://old/"))).expect("waited for");
    assert_eq!(before.poll(), Some(Some(found("https://old/"))));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);

    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    old.send(Some(LookUp::Unknown)).expect("waited for");
    assert_eq!(before.poll(), Some(Some(LookUp::Unknown)));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn who_asks_after_a_change_waits_for_no_look_up_from_before() {
    let cache = watching(OPTIONS);
    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    let (mut after, new) = begin(&cache, "abc");
    old.send(Some(found("https://old/"))).expect("waited for");
    assert_eq!(before.poll(), Some(Some(found("https://old/"))));
    // The old one's end is not the new one's.
    let mut later = join(&cache, "abc");
    new.send(Some(found("https://new/"))).expect("waited for");
    assert_eq!(after.poll(), Some(Some(found("https://new/"))));
    assert_eq!(later.poll(), Some(Some(found("https://new/"))));
    assert_eq!(cache.get(&code("abc")), fresh("https://new/"));

    // Nor is it the new one's if it comes last.
    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    look_up(&cache, "abc", found("https://newer/"));
    old.send(Some(found("https://new/"))).expect("waited for");
    assert_eq!(before.poll(), Some(Some(found("https://new/"))));
    assert_eq!(cache.get(&code("abc")), fresh("https://newer/"));
}

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
        cache.changed(&Change::Link(code(text)));
        assert_eq!(cache.get(&code(text)), Remembered::Nothing, "{text}");
    }
    assert_eq!(cache.get(&code("other")), fresh("https://a/"));
    assert_eq!(cache.get(&code("another")), Remembered::Unknown);
}

#[test]
fn a_failure_is_everybodys_at_once_and_is_not_remembered() {
    let cache = watching(OPTIONS);
    let (first, answer) = begin(&cache, "abc");
    let mut all = vec![first, join(&cache, "abc"), join(&cache, "abc")];
    answer.send(None).expect("waited for");
    for waiting in &mut all {
        assert_eq!(waiting.poll(), Some(None));
    }
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
    look_up(&cache, "abc", found("https://a/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
    // What was remembered before is not lost.
    let (mut waiting, answer) = begin(&cache, "abc");
    answer.send(None).expect("waited for");
    assert_eq!(waiting.poll(), Some(None));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
}

/// Those who ask may lose patience, or be gone.
#[test]
fn a_look_up_that_everybody_has_left_goes_on_and_is_worth_remembering() {
    let cache = watching(OPTIONS);
    let mut landing = None;
    let waiting = cache.look_up(&code("abc"), |mine| {
        landing = Some(mine);
        ready(None)
    });
    drop(waiting);
    let landing = landing.expect("a look-up");
    landing.remember(&found("https://a/"));
    drop(landing);
    assert!(cache.flights().is_empty());
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
}

#[test]
fn a_look_up_that_is_given_up_leaves_nothing_behind() {
    let cache = watching(OPTIONS);
    let (waiting, _answer) = begin(&cache, "abc");
    drop(waiting);
    cache.forget(&code("abc"));
    assert!(cache.flights().is_empty());
    look_up(&cache, "abc", found("https://a/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
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
    cache.changed(&Change::Everything);
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn before_changes_are_heard_nothing_is_fresh() {
    let cache = Arc::new(RedirectCache::new(OPTIONS));
    assert!(!cache.is_watching());
    look_up(&cache, "abc", found("https://a/"));
    let (mut begun_before, answer) = begin(&cache, "def");
    let doubtful = || stale("https://a/", Staleness::Doubtful);
    assert_eq!(cache.get(&code("abc")), doubtful());
    cache.changed(&Change::Watching);
    assert!(cache.is_watching());
    assert_eq!(cache.get(&code("abc")), doubtful(), "it may have changed");
    answer.send(Some(found("https://a/"))).expect("waited for");
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
    assert!(!cache.is_watching());
    assert_eq!(cache.get(&code("abc")), doubtful());
    look_up(&cache, "ghi", found("https://a/"));
    cache.changed(&Change::Watching);
    cache.changed(&Change::Watching);
    assert!(cache.is_watching());
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
    let (mut begun_before, answer) = begin(&cache, "def");
    cache.changed(&Change::Everything);
    assert!(cache.is_watching());
    answer.send(Some(found("https://a/"))).expect("waited for");
    begun_before.poll();
    let doubtful = || stale("https://a/", Staleness::Doubtful);
    assert_eq!(cache.get(&code("abc")), doubtful());
    assert_eq!(cache.get(&code("def")), Remembered::Nothing);
    assert_eq!(cache.get(&code("unknown")), Remembered::Nothing);
    look_up(&cache, "abc", found("https://b/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://b/"));

    // Nobody listens: what is said now does not change that.
    cache.lost_sight();
    cache.changed(&Change::Everything);
    assert!(!cache.is_watching());
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
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
    look_up(&cache, "abc", expiring(Duration::ZERO));
    assert_eq!(cache.get(&code("abc")), Remembered::Gone);
    look_up(&cache, "abc", expiring(Duration::MAX));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"), "in no time");
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
    // Nor is what it was before: somebody would visit it uncounted while the database is away.
    for before in [found("https://a/"), LookUp::Gone] {
        look_up(&cache, "abc", before);
        look_up(&cache, "abc", LookUp::Found(limited.clone()));
        assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
    }
    assert_eq!(cache.len(), (0, 0));
}

/// The most that [`CacheOptions::capacity`] promises, whatever the URLs are.
#[test]
fn a_bound_on_links_is_a_bound_on_memory() {
    let capacity = 1 << 15;
    let bound = capacity * BYTES_PER_ENTRY;
    for length in [256, 257, 1_000, 8_192] {
        let cache = watching(CacheOptions {
            capacity,
            ..OPTIONS
        });
        let url = format!("{:x<length$}", "https://a/");
        for number in 0..2 * bound / length {
            look_up(&cache, &number.to_string(), found(&url));
        }
        let (links, _) = cache.len();
        let bytes = links * length;
        assert!(bytes <= bound, "{length}: {bytes}");
        // None is so long that it is not remembered at all.
        assert!(bytes >= bound / 4, "{length}: {bytes}");
    }
}

#[test]
fn no_number_of_unknown_codes_pushes_a_link_out() {
    let cache = watching(OPTIONS);
    let links: Vec<String> = (0..100).map(|number| format!("link-{number}")).collect();
    for text in &links {
        look_up(&cache, text, found("https://a/"));
    }
    for number in 0..20_000 {
        let text = format!("unknown-{number}");
        look_up(&cache, &text, LookUp::Unknown);
        cache.get(&code(&text));
    }
    for text in &links {
        assert_eq!(cache.get(&code(text)), fresh("https://a/"), "{text}");
    }
    let (links, misses) = cache.len();
    assert_eq!(links, 100);
    assert!(misses <= OPTIONS.capacity.div_ceil(MISS_SHARE), "{misses}");
}

/// Once a change was taken in, nobody is told what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_of_readers_and_changes_brings_no_old_answer_back() {
    const CHANGES: u64 = 2_000;
    let cache = watching(OPTIONS);
    // The version that is stored, and the one that everybody must have heard of.
    let (stored, announced) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let readers = (0..3).map(|_| {
        let (cache, stored, announced) = (cache.clone(), stored.clone(), announced.clone());
        tokio::spawn(async move {
            loop {
                let at_least = announced.load(Ordering::SeqCst);
                let read = |landing| {
                    let stored = stored.clone();
                    async move {
                        let version = stored.load(Ordering::SeqCst);
                        // The answer is under way.
                        yield_now().await;
                        remembered(landing, Some(found(&version.to_string())))
                    }
                };
                let told = match cache.get(&code("abc")) {
                    Remembered::Fresh(url) => url,
                    _ => match cache.look_up(&code("abc"), read).await {
                        Some(LookUp::Found(link)) => link.url,
                        other => panic!("{other:?}"),
                    },
                };
                let told: u64 = told.parse().expect("a version");
                assert!(told >= at_least, "{told} after {at_least}");
                if at_least == CHANGES {
                    return;
                }
                yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for version in 1..=CHANGES {
        stored.store(version, Ordering::SeqCst);
        cache.forget(&code("abc"));
        announced.store(version, Ordering::SeqCst);
        // For readers to come to an end, and to begin.
        for _ in 0..20 {
            yield_now().await;
        }
    }
    for reader in readers {
        reader.await.expect("no old answer");
    }
}
