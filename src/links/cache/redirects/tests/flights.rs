//! Callers that ask for a code at the same time share a look-up, and its answer is remembered unless the code has
//! changed.

use tokio::task::yield_now;

use super::*;

#[test]
fn callers_that_ask_meanwhile_get_the_one_answer() {
    let cache = watching(OPTIONS);
    let (first, landing) = begin(&cache, "abc");
    let mut all = vec![first];
    all.extend((0..10).map(|_| join(&cache, "abc")));
    // Another code is another matter.
    let (_other, _landing) = begin(&cache, "other");
    landing.land(found("https://a/"));
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
    assert_eq!(links_and_misses(&cache), (1, 0));
}

#[test]
fn an_answer_from_before_a_change_goes_to_its_waiters_and_no_further() {
    let cache = watching(OPTIONS);
    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    old.land(found("https://old/"));
    assert_eq!(before.poll(), Some(Some(found("https://old/"))));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);

    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    old.land(LookUp::Unknown);
    assert_eq!(before.poll(), Some(Some(LookUp::Unknown)));
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
}

#[test]
fn a_caller_after_a_change_waits_for_no_look_up_from_before() {
    let cache = watching(OPTIONS);
    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    let (mut after, new) = begin(&cache, "abc");
    old.land(found("https://old/"));
    assert_eq!(before.poll(), Some(Some(found("https://old/"))));
    // The end of the old look-up does not end the new one.
    let mut later = join(&cache, "abc");
    new.land(found("https://new/"));
    assert_eq!(after.poll(), Some(Some(found("https://new/"))));
    assert_eq!(later.poll(), Some(Some(found("https://new/"))));
    assert_eq!(cache.get(&code("abc")), fresh("https://new/"));

    // The old look-up may also end last.
    let (mut before, old) = begin(&cache, "abc");
    cache.forget(&code("abc"));
    look_up(&cache, "abc", found("https://newer/"));
    old.land(found("https://new/"));
    assert_eq!(before.poll(), Some(Some(found("https://new/"))));
    assert_eq!(cache.get(&code("abc")), fresh("https://newer/"));
}

#[test]
fn a_failure_reaches_every_waiter_at_once_and_is_not_remembered() {
    let cache = watching(OPTIONS);
    let (first, landing) = begin(&cache, "abc");
    let mut all = vec![first, join(&cache, "abc"), join(&cache, "abc")];
    drop(landing);
    for waiting in &mut all {
        assert_eq!(waiting.poll(), Some(None));
    }
    assert_eq!(cache.get(&code("abc")), Remembered::Nothing);
    look_up(&cache, "abc", found("https://a/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
    // What was remembered before is not lost.
    let (mut waiting, landing) = begin(&cache, "abc");
    drop(landing);
    assert_eq!(waiting.poll(), Some(None));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
}

/// Callers may lose patience, or be gone.
#[test]
fn a_look_up_that_every_waiter_has_left_goes_on_and_is_remembered() {
    let cache = watching(OPTIONS);
    let (waiting, landing) = begin(&cache, "abc");
    drop(waiting);
    landing.land(found("https://a/"));
    assert!(cache.flights().is_empty());
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
}

#[test]
fn a_look_up_that_is_given_up_leaves_nothing_behind() {
    let cache = watching(OPTIONS);
    let (waiting, landing) = begin(&cache, "abc");
    drop(waiting);
    cache.forget(&code("abc"));
    assert!(cache.flights().is_empty());
    drop(landing);
    let (waiting, landing) = begin(&cache, "abc");
    drop(waiting);
    drop(landing);
    assert!(cache.flights().is_empty());
    look_up(&cache, "abc", found("https://a/"));
    assert_eq!(cache.get(&code("abc")), fresh("https://a/"));
}

/// What is stored, by a look-up that is under way or by a new one.
async fn read_through(cache: &Arc<RedirectCache>, stored: &AtomicU64) -> String {
    let answer = match cache.look_up(&code("abc")) {
        Flight::Joined(answer) => answer,
        Flight::Begun(answer, landing) => {
            let version = stored.load(Ordering::SeqCst);
            // The answer is under way.
            yield_now().await;
            landing.land(found(&version.to_string()));
            answer
        }
    };
    match answer.await {
        Ok(LookUp::Found(link)) => link.url,
        other => panic!("{other:?}"),
    }
}

/// Once a change was taken in, no reader is told what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_of_readers_and_changes_brings_no_old_answer_back() {
    const CHANGES: u64 = 2_000;
    let cache = watching(OPTIONS);
    // The version that is stored, and the version that every reader must know of.
    let (stored, announced) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let readers = (0..3).map(|_| {
        let (cache, stored, announced) = (cache.clone(), stored.clone(), announced.clone());
        tokio::spawn(async move {
            loop {
                let at_least = announced.load(Ordering::SeqCst);
                let told = match cache.get(&code("abc")) {
                    Remembered::Fresh(destination) => destination.url,
                    _ => read_through(&cache, &stored).await,
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
        // Lets readers come to an end, and begin.
        for _ in 0..20 {
            yield_now().await;
        }
    }
    for reader in readers {
        reader.await.expect("no old answer");
    }
}
