//! The contract of `KeyStore` about keys of one name, which their numbers tell apart.

use shunt::keys::{ApiKey, KeyRecord, KeyRef, KeyState, ListKeys};

use super::{
    keys::{list, make, name, new_key, works},
    place::{Place, contract},
};

contract!(
    a_list_comes_in_pages,
    a_number_means_one_key_whoever_has_its_name_now,
);

async fn a_list_comes_in_pages(place: Place) {
    let store = place.open().await.keys;
    // One name three times: its keys are told apart by their numbers.
    for text in ["b", "a", "a", "a", "C", "d"] {
        if text == "a" {
            store.revoke(&name("a").into()).await.expect("an answer");
        }
        make(&*store, &new_key(text)).await;
    }
    let all = list(&*store, None, true).await;
    for limit in 1..=7 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let which = ListKeys {
                owner: None,
                all: true,
                after: after.take(),
                limit: Some(limit),
            };
            let page = store.list(&which).await.expect("an answer");
            let Some(last) = page.last() else {
                break;
            };
            assert!(page.len() <= limit as usize);
            after = Some((last.name.clone(), last.id));
            found.extend(page);
        }
        assert_eq!(found, all, "{limit}");
    }
}

/// A request that is sent again must not end another key, which has got the name meanwhile.
async fn a_number_means_one_key_whoever_has_its_name_now(place: Place) {
    let store = place.open().await.keys;
    let (_, first) = make(&*store, &new_key("phone")).await;
    let key = |record: &KeyRecord| KeyRef {
        name: record.name.clone(),
        id: Some(record.id),
    };
    let numbers = async |key: &KeyRef| -> Vec<_> {
        let found = store.show(key).await.expect("an answer");
        found.iter().map(|found| (found.id, found.state)).collect()
    };
    assert_eq!(numbers(&key(&first)).await, [(first.id, KeyState::Working)]);
    let revoked = store.revoke(&key(&first)).await.expect("an answer");
    let revoked = revoked.expect("it works");
    assert_eq!((revoked.id, revoked.state), (first.id, KeyState::Revoked));
    assert_eq!(numbers(&name("phone").into()).await, []);
    let (secret, second) = make(&*store, &new_key("phone")).await;
    let hash = ApiKey::generate().hash();
    let again = store.revoke(&key(&first)).await;
    assert_eq!(again.expect("an answer"), None);
    let rotated = store.rotate(&key(&first), &hash).await;
    assert_eq!(rotated.expect("an answer"), None);
    assert!(works(&*store, &secret).await);
    let mut both = numbers(&key(&first)).await;
    both.sort_by_key(|(id, _)| *id);
    let expected = [
        (first.id, KeyState::Revoked),
        (second.id, KeyState::Working),
    ];
    assert_eq!(both, expected);
    // A number without its name means nothing.
    let (_, other) = make(&*store, &new_key("tablet")).await;
    let mixed = KeyRef {
        name: name("phone"),
        id: Some(other.id),
    };
    assert_eq!(store.revoke(&mixed).await.expect("an answer"), None);
    assert_eq!(numbers(&mixed).await, [(second.id, KeyState::Working)]);
    let rotated = store.rotate(&key(&second), &hash).await;
    assert!(rotated.expect("an answer").is_some());
    assert!(works(&*store, &hash).await);
}
