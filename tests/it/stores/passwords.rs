//! Links with a password: the contract of `LinkStore` and of `LinkManagement`.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use shunt::links::{
    Expiry, Link, LinkChange, LinkOptions, LookUp, NewLink, Operation, Part, Password,
    PasswordHash, Terms,
};
use testkit::wall_clock;

use super::{
    managing::{alias, change, edit, look_up, plain, record, store, version},
    place::{Opened, Place, contract, url},
    triggers::previous_look_up,
};

contract!(
    a_password_travels_with_the_look_up_and_stands_nowhere,
    a_password_is_set_changed_and_removed,
    a_link_with_a_password_that_does_not_work_asks_for_none,
    to_the_previous_release_a_link_with_a_password_is_expired,
);

const HOUR: Duration = Duration::from_secs(3_600);

static HASHES: LazyLock<[PasswordHash; 2]> = LazyLock::new(|| {
    let sesame = Password::parse("sesame").expect("a password");
    [(); 2].map(|()| PasswordHash::of(&sesame).expect("a hash"))
});

fn locked(text: &str, terms: Terms) -> NewLink {
    NewLink {
        options: LinkOptions {
            password: Some(HASHES[0].clone()),
            fallback: Some(url("https://example.com/over")),
            ..LinkOptions::default()
        },
        terms,
        ..plain(text)
    }
}

async fn found(node: &Opened, text: &str) -> Link {
    match look_up(node, text).await {
        LookUp::Found(link) => link,
        other => panic!("{text}: {other:?}"),
    }
}

fn password(becomes: Part<PasswordHash>) -> Operation {
    change(LinkChange {
        password: becomes,
        ..LinkChange::default()
    })
}

async fn a_password_travels_with_the_look_up_and_stands_nowhere(place: Place) {
    let node = place.open().await;
    store(&node, locked("locked", Terms::default())).await;
    store(&node, plain("open")).await;
    let further = Operation::AddCode(alias("further"));
    edit(&node, "locked", further).await.expect("it is done");
    for text in ["locked", "further"] {
        let link = found(&node, text).await;
        assert_eq!(link.password.as_ref(), Some(&HASHES[0]), "{text}");
        assert_eq!(link.url, "https://example.com/", "{text}");
        assert!(record(&node, text).await.has_password, "{text}");
    }
    assert_eq!(found(&node, "open").await.password, None);
    assert!(!record(&node, "open").await.has_password);
    let hashes =
        "SELECT count(*) FROM urls WHERE password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'
                  AND password_hash NOT LIKE '%sesame%'";
    assert_eq!(place.number(hashes).await, 1, "the further code has none");
}

async fn a_password_is_set_changed_and_removed(place: Place) {
    let node = place.open().await;
    let lives = Terms {
        expiry: Some(Expiry::In(HOUR)),
        ..Terms::default()
    };
    let terms = NewLink {
        terms: lives,
        ..plain("link")
    };
    store(&node, terms).await;
    let [one, other] = &*HASHES;
    let mut versions = vec![version(&node, "link").await];
    for (becomes, expected) in [
        (Part::Set(one.clone()), Some(one)),
        (Part::Set(other.clone()), Some(other)),
        (Part::Removed, None),
    ] {
        let edited = edit(&node, "link", password(becomes)).await;
        let edited = edited.expect("it is done");
        assert_eq!(edited.has_password, expected.is_some());
        let link = found(&node, "link").await;
        assert_eq!(link.password.as_ref(), expected);
        assert!(
            link.expires_in.is_some_and(|left| left <= HOUR),
            "its expiry stays"
        );
        versions.push(edited.version());
    }
    // Each password makes another version, also in the place of another; without it, the link is what it was.
    assert_eq!(versions[0], versions[3]);
    assert!(versions[0] != versions[1] && versions[1] != versions[2] && versions[2] != versions[0]);
    // What does not change stays.
    edit(&node, "link", password(Part::Set(one.clone())))
        .await
        .expect("it is done");
    let title = change(super::managing::title("A title"));
    assert!(
        edit(&node, "link", title)
            .await
            .expect("it is done")
            .has_password
    );
    assert_eq!(found(&node, "link").await.password.as_ref(), Some(one));
}

async fn a_link_with_a_password_that_does_not_work_asks_for_none(place: Place) {
    let node = place.open().await;
    let at = |starts_at: Option<SystemTime>, end: Option<SystemTime>, max_visits| Terms {
        starts_at,
        expiry: end.map(Expiry::At),
        max_visits,
    };
    let now = wall_clock();
    store(&node, locked("early", at(Some(now + HOUR), None, None))).await;
    store(&node, locked("over", at(None, Some(now - HOUR), None))).await;
    store(&node, locked("used-up", at(None, None, Some(1)))).await;
    store(&node, locked("deleted", Terms::default())).await;
    assert!(found(&node, "used-up").await.limited);
    let counted = node.count_visit(&super::place::code("used-up")).await;
    assert!(counted.expect("an answer"));
    edit(&node, "deleted", Operation::Delete)
        .await
        .expect("it is done");
    let fallback = LookUp::FallsBack("https://example.com/over".to_owned());
    assert!(matches!(
        look_up(&node, "early").await,
        LookUp::NotStarted(_)
    ));
    assert_eq!(look_up(&node, "over").await, fallback);
    assert_eq!(look_up(&node, "used-up").await, fallback);
    assert_eq!(look_up(&node, "deleted").await, LookUp::Gone);
}

async fn to_the_previous_release_a_link_with_a_password_is_expired(place: Place) {
    let node = place.open().await;
    store(&node, locked("made", Terms::default())).await;
    store(&node, plain("changed")).await;
    let set = password(Part::Set(HASHES[0].clone()));
    edit(&node, "changed", set).await.expect("it is done");
    for text in ["made", "changed"] {
        assert_eq!(
            place.number(previous_look_up(&place, text)).await,
            0,
            "{text}"
        );
        let removed = password(Part::Removed);
        edit(&node, text, removed).await.expect("it is done");
        assert_eq!(
            place.number(previous_look_up(&place, text)).await,
            1,
            "{text}"
        );
    }
}
