//! How much is remembered.

use super::*;
use crate::links::cache::memory::{BYTES_PER_ENTRY, MISS_SHARE};

/// [`CacheOptions::capacity`] promises a bound on memory that holds for URLs of any length.
#[test]
fn a_bound_on_links_is_a_bound_on_memory() {
    let capacity = 1 << 15;
    let bound = capacity * BYTES_PER_ENTRY;
    for (length, has_fallback) in [(256, false), (257, false), (1_000, true), (8_192, true)] {
        let cache = watching(CacheOptions {
            capacity,
            ..OPTIONS
        });
        let url = format!("{:x<length$}", "https://a/");
        for number in 0..2 * bound / length {
            let link = Link {
                fallback: has_fallback.then(|| url.clone()),
                ..link(&url)
            };
            look_up(&cache, &number.to_string(), LookUp::Found(link));
        }
        let (links, _) = links_and_misses(&cache);
        let bytes = links * length * (1 + usize::from(has_fallback));
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
    let (links, misses) = links_and_misses(&cache);
    assert_eq!(links, 100);
    assert!(misses <= OPTIONS.capacity.div_ceil(MISS_SHARE), "{misses}");
}
