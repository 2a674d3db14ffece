//! The contract of `LinkManagement`: links are shown, edited, deleted and restored.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use shunt::links::{
    Created, Edit, EditRefusal, Edited, Editor, Expiry, Labels, LinkChange, LinkOptions,
    LinkRecord, LinkState, LookUp, Manner, NewLink, Note, Operation, Part, Redirect, Tags, Terms,
    Title, Version,
};
use testkit::{eventually, wall_clock};

use super::{
    managing::{
        alias, change, edit, editor, look_up, owner, plain, record, remove_code, rename, store,
        title, version,
    },
    place::{Opened, Place, code, contract, url},
};

contract!(
    what_a_link_is_made_of_is_shown,
    a_link_has_a_state,
    only_what_is_given_changes,
    a_hidden_link_keeps_its_expiry_and_gets_another,
    owners_edit_their_own_links_and_administrators_all,
    a_version_that_is_no_more_is_stale,
    edits_at_the_same_time_never_mix,
    of_edits_of_one_version_one_is_done,
    a_link_starts_before_it_expires,
    another_target_ends_the_sharing,
    a_deleted_link_can_be_restored_for_a_while,
    links_deleted_long_ago_are_purged_some_at_a_time,
);

const HOUR: Duration = Duration::from_secs(3_600);

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn what_a_link_is_made_of_is_shown(place: Place) {
    let node = place.open().await;
    let made_at = wall_clock();
    store(
        &node,
        NewLink {
            owner: owner("anna"),
            terms: Terms {
                starts_at: Some(at(1_900_000_000)),
                expiry: Some(Expiry::At(at(4_000_000_000))),
                max_visits: Some(7),
            },
            options: LinkOptions {
                manner: Manner {
                    redirect: Redirect::SeeOther,
                    forward_query: true,
                },
                fallback: Some(url("https://example.com/over")),
                enabled: true,
                password: None,
                labels: Labels {
                    title: Title::parse("A \"title\"").ok(),
                    note: Note::parse("one\ntwo").ok(),
                    tags: Tags::parse(["b\"c", "a"]).expect("tags"),
                },
            },
            ..plain("special")
        },
    )
    .await;
    let link = record(&node, "special").await;
    assert_eq!(link.code, code("special"));
    assert_eq!((link.further_codes.len(), link.visits), (0, 0));
    assert_eq!(link.target, "https://example.com/");
    assert_eq!(link.owner, owner("anna"));
    assert_eq!(link.starts_at.map(seconds), Some(1_900_000_000));
    assert_eq!(link.expires_at.map(seconds), Some(4_000_000_000));
    assert_eq!(link.max_visits, Some(7));
    assert_eq!(link.manner.redirect, Redirect::SeeOther);
    assert!(link.manner.forward_query && link.enabled && !link.has_password);
    assert_eq!(link.fallback.as_deref(), Some("https://example.com/over"));
    assert_eq!(link.title.as_deref(), Some("A \"title\""));
    assert_eq!(link.note.as_deref(), Some("one\ntwo"));
    assert_eq!(link.tags, ["b\"c", "a"]);
    assert_eq!(link.deleted_at, None);
    let minute = Duration::from_secs(60);
    for time in [link.created_at, link.read_at] {
        assert!(
            time > made_at - minute && time < made_at + minute,
            "{time:?}"
        );
    }
    place
        .execute("UPDATE urls SET password_hash = 'x', visits = 3")
        .await;
    let link = record(&node, "special").await;
    assert_eq!((link.has_password, link.visits), (true, 3));

    store(&node, plain("plain")).await;
    let link = record(&node, "plain").await;
    assert_eq!((link.owner, link.title, link.note), (None, None, None));
    assert_eq!((link.starts_at, link.expires_at), (None, None));
    assert_eq!((link.max_visits, link.fallback), (None, None));
    assert_eq!((link.manner, link.tags.len()), (Manner::default(), 0));
    let unknown = node.record(&code("unknown")).await.expect("an answer");
    assert_eq!(unknown, None);
}

async fn a_link_has_a_state(place: Place) {
    let node = place.open().await;
    let (past, future) = match place {
        Place::Sqlite(_) => ("1000000000", "4000000000"),
        Place::Postgres(_) => ("'2001-01-01'", "'2100-01-01'"),
    };
    store(&node, plain("link")).await;
    // Each is true beside those before it.
    for (set, state) in [
        ("title = 'a'".to_owned(), LinkState::Active),
        (format!("starts_at = {past}"), LinkState::Active),
        (format!("expires_at = {future}"), LinkState::Active),
        ("max_visits = 3, visits = 2".to_owned(), LinkState::Active),
        (format!("starts_at = {future}"), LinkState::Scheduled),
        ("visits = 3".to_owned(), LinkState::UsedUp),
        (format!("expires_at = {past}"), LinkState::Expired),
        ("enabled = (1 = 0)".to_owned(), LinkState::Disabled),
        (format!("deleted_at = {past}"), LinkState::Deleted),
    ] {
        let update = format!("UPDATE urls SET {set}");
        place.execute(update.leak()).await;
        assert_eq!(record(&node, "link").await.state, state, "{set}");
    }
}

/// A change of each part, and what it leaves in the record.
type PartChange = (LinkChange, fn(&mut LinkRecord));

fn part_changes() -> Vec<PartChange> {
    let part = LinkChange::default;
    #[rustfmt::skip]
    let changes: Vec<PartChange> = vec![
        (LinkChange { target: Some(url("https://example.org/")), ..part() }, |link| link.target = "https://example.org/".to_owned()),
        (LinkChange { expiry: Part::Set(Expiry::At(at(4_000_000_000))), ..part() }, |link| link.expires_at = Some(at(4_000_000_000))),
        (LinkChange { starts_at: Part::Set(at(1_000_000_000)), ..part() }, |link| link.starts_at = Some(at(1_000_000_000))),
        (LinkChange { max_visits: Part::Set(9), ..part() }, |link| link.max_visits = Some(9)),
        (LinkChange { redirect: Some(Redirect::PermanentRedirect), ..part() }, |link| link.manner.redirect = Redirect::PermanentRedirect),
        (LinkChange { forward_query: Some(true), ..part() }, |link| link.manner.forward_query = true),
        (LinkChange { fallback: Part::Set(url("https://example.com/f")), ..part() }, |link| link.fallback = Some("https://example.com/f".to_owned())),
        (LinkChange { enabled: Some(false), ..part() }, |link| { link.enabled = false; link.state = LinkState::Disabled }),
        (title("A title"), |link| link.title = Some("A title".to_owned())),
        (LinkChange { note: Part::Set(Note::parse("A note").expect("a note")), ..part() }, |link| link.note = Some("A note".to_owned())),
        (LinkChange { tags: Some(Tags::parse(["b", "a"]).expect("tags")), ..part() }, |link| link.tags = vec!["b".to_owned(), "a".to_owned()]),
        // And back.
        (LinkChange { expiry: Part::Removed, ..part() }, |link| link.expires_at = None),
        (LinkChange { starts_at: Part::Removed, ..part() }, |link| link.starts_at = None),
        (LinkChange { max_visits: Part::Removed, ..part() }, |link| link.max_visits = None),
        (LinkChange { redirect: Some(Redirect::Found), ..part() }, |link| link.manner.redirect = Redirect::Found),
        (LinkChange { forward_query: Some(false), ..part() }, |link| link.manner.forward_query = false),
        (LinkChange { fallback: Part::Removed, ..part() }, |link| link.fallback = None),
        (LinkChange { enabled: Some(true), ..part() }, |link| { link.enabled = true; link.state = LinkState::Active }),
        (LinkChange { title: Part::Removed, ..part() }, |link| link.title = None),
        (LinkChange { note: Part::Removed, ..part() }, |link| link.note = None),
        (LinkChange { tags: Some(Tags::default()), ..part() }, |link| link.tags = Vec::new()),
    ];
    changes
}

async fn only_what_is_given_changes(place: Place) {
    let node = place.open().await;
    store(&node, plain("link")).await;
    let mut expected = record(&node, "link").await;
    for (what, effect) in part_changes() {
        let before = expected.version();
        effect(&mut expected);
        let done = edit(&node, "link", change(what.clone())).await;
        let done = done.expect("it is done");
        for link in [done, record(&node, "link").await] {
            expected.read_at = link.read_at;
            assert_eq!(link, expected, "{what:?}");
            assert_ne!(link.version(), before, "{what:?}");
        }
    }
    let nothing = edit(&node, "link", change(LinkChange::default())).await;
    assert_eq!(nothing.map(|link| link.version()), Ok(expected.version()));
}

async fn a_hidden_link_keeps_its_expiry_and_gets_another(place: Place) {
    let node = place.open().await;
    let terms = Terms {
        expiry: Some(Expiry::At(at(4_000_000_000))),
        ..Terms::default()
    };
    let options = LinkOptions {
        enabled: false,
        ..LinkOptions::default()
    };
    store(
        &node,
        NewLink {
            terms,
            options,
            ..plain("hidden")
        },
    )
    .await;
    let link = edit(&node, "hidden", change(title("a"))).await;
    let link = link.expect("it is done");
    assert_eq!(link.expires_at.map(seconds), Some(4_000_000_000));
    let soon = LinkChange {
        expiry: Part::Set(Expiry::In(HOUR)),
        ..LinkChange::default()
    };
    let link = edit(&node, "hidden", change(soon)).await;
    let link = link.expect("it is done");
    let left = link.expires_at.expect("an expiry");
    let left = left.duration_since(link.read_at).expect("the future");
    assert!(
        left > HOUR - Duration::from_secs(60) && left <= HOUR,
        "{left:?}"
    );
    let shown = LinkChange {
        enabled: Some(true),
        ..LinkChange::default()
    };
    let again = edit(&node, "hidden", change(shown)).await;
    assert_eq!(again.expect("it is done").expires_at, link.expires_at);
    assert!(matches!(look_up(&node, "hidden").await, LookUp::Found(_)));
}

async fn owners_edit_their_own_links_and_administrators_all(place: Place) {
    let node = place.open().await;
    for (text, owner) in [("annas", owner("anna")), ("nobodys", None)] {
        let link = NewLink {
            owner,
            ..plain(text)
        };
        store(&node, link).await;
    }
    let operations: [fn() -> Operation; 6] = [
        || change(title("a title")),
        || Operation::AddCode(alias("added")),
        || rename("renamed"),
        || remove_code("added"),
        || Operation::Delete,
        || Operation::Restore { within: HOUR },
    ];
    for (text, who, may) in [
        ("annas", editor("bert"), false),
        ("nobodys", editor("anna"), false),
        ("annas", editor("anna"), true),
        ("nobodys", Editor::Administrator, true),
        ("annas", Editor::Administrator, true),
    ] {
        for operation in operations {
            let before = version(&node, text).await;
            let edit = Edit {
                code: code(text),
                editor: who.clone(),
                only_if: None,
                operation: operation(),
            };
            let edited = node.edit(&edit).await.expect("an answer");
            if may {
                assert!(matches!(edited, Edited::Done(_)), "{edit:?} {edited:?}");
            } else {
                assert_eq!(edited, Edited::Refused(EditRefusal::NotFound));
                assert_eq!(version(&node, text).await, before);
            }
        }
        // Its former name is a further code now.
        if may {
            rename_back(&node, text).await;
        }
    }
}

async fn rename_back(node: &Opened, text: &str) {
    let back = edit(node, "renamed", rename(text)).await;
    back.expect("it has its name back");
    let gone = edit(node, text, remove_code("renamed")).await;
    gone.expect("the other name is free");
}

async fn a_version_that_is_no_more_is_stale(place: Place) {
    let node = place.open().await;
    store(&node, plain("link")).await;
    let before = version(&node, "link").await;
    let edit = async |only_if: &[Version], text: &str| {
        let edit = Edit {
            code: code("link"),
            editor: Editor::Administrator,
            only_if: Some(only_if.to_vec()),
            operation: change(title(text)),
        };
        node.edit(&edit).await.expect("an answer").record()
    };
    let after = edit(&[before], "one").await.expect("it is done").version();
    assert_eq!(edit(&[before], "two").await, Err(EditRefusal::Stale));
    assert_eq!(edit(&[], "two").await, Err(EditRefusal::Stale));
    assert_eq!(record(&node, "link").await.title.as_deref(), Some("one"));
    // A visit is no change.
    place.execute("UPDATE urls SET visits = visits + 1").await;
    edit(&[before, after], "two").await.expect("it is done");
}

/// Each edit changes another part, and none undoes what another has done.
async fn edits_at_the_same_time_never_mix(place: Place) {
    let nodes = [place.open().await, place.open().await];
    for round in 0..5 {
        let text = format!("link-{round}");
        store(&nodes[0], plain(&text)).await;
        let set = part_changes().into_iter().take(11);
        let mut expected = record(&nodes[0], &text).await;
        let edits = set.enumerate().map(|(number, (what, effect))| {
            effect(&mut expected);
            let (node, text) = (nodes[number % 2].clone(), text.clone());
            tokio::spawn(async move { edit(&node, &text, change(what)).await })
        });
        for edited in join_all(edits).await {
            edited.expect("no panic").expect("it is done");
        }
        let link = record(&nodes[1], &text).await;
        expected.read_at = link.read_at;
        assert_eq!(link, expected);
    }
}

async fn of_edits_of_one_version_one_is_done(place: Place) {
    let nodes = [place.open().await, place.open().await];
    store(&nodes[0], plain("link")).await;
    for _ in 0..5 {
        let before = version(&nodes[0], "link").await;
        let edits = (0..10).map(|number| {
            let node = nodes[number % 2].clone();
            let edit = Edit {
                code: code("link"),
                editor: Editor::Administrator,
                only_if: Some(vec![before]),
                operation: change(title(&format!("{before} {number}"))),
            };
            tokio::spawn(async move { node.edit(&edit).await.expect("an answer").record() })
        });
        let edited = join_all(edits).await;
        let edited = edited.into_iter().map(|edit| edit.expect("no panic"));
        let (done, refused): (Vec<_>, Vec<_>) = edited.partition(Result::is_ok);
        assert_eq!(done.len(), 1);
        for refused in refused {
            assert_eq!(refused, Err(EditRefusal::Stale));
        }
        let link = record(&nodes[0], "link").await;
        let version = done[0].as_ref().map(LinkRecord::version);
        assert_eq!(Ok(link.version()), version);
    }
}

async fn a_link_starts_before_it_expires(place: Place) {
    let node = place.open().await;
    store(&node, plain("link")).await;
    let starts = |seconds| {
        change(LinkChange {
            starts_at: Part::Set(at(seconds)),
            ..LinkChange::default()
        })
    };
    let expires = |seconds| {
        change(LinkChange {
            expiry: Part::Set(Expiry::At(at(seconds))),
            ..LinkChange::default()
        })
    };
    edit(&node, "link", expires(4_000_000_000))
        .await
        .expect("it is done");
    for (operation, works) in [
        (starts(4_000_000_000), false),
        (starts(4_000_000_001), false),
        (starts(3_999_999_999), true),
        (expires(3_999_999_999), false),
    ] {
        let before = version(&node, "link").await;
        let edited = edit(&node, "link", operation.clone()).await;
        if works {
            edited.expect("it is done");
        } else {
            assert_eq!(edited, Err(EditRefusal::NeverWorks), "{operation:?}");
            assert_eq!(version(&node, "link").await, before);
        }
    }
}

async fn another_target_ends_the_sharing(place: Place) {
    let node = place.open().await;
    let share = async |text: &str| {
        let link = NewLink {
            deduplicated: true,
            ..plain(text)
        };
        node.insert(&link).await.expect("an answer")
    };
    assert_eq!(share("first").await, Created::Stored(code("first")));
    // A link under another name is the same link.
    edit(&node, "first", rename("renamed"))
        .await
        .expect("it is done");
    edit(&node, "first", change(title("a")))
        .await
        .expect("it is done");
    assert_eq!(share("second").await, Created::Stored(code("renamed")));
    let elsewhere = LinkChange {
        target: Some(url("https://example.org/")),
        ..LinkChange::default()
    };
    edit(&node, "first", change(elsewhere))
        .await
        .expect("it is done");
    assert_eq!(share("second").await, Created::Stored(code("second")));
}

async fn a_deleted_link_can_be_restored_for_a_while(place: Place) {
    let node = place.open().await;
    store(&node, plain("link")).await;
    let restore = |within| Operation::Restore { within };
    let before = edit(&node, "link", restore(HOUR)).await;
    let before = before.expect("there is nothing to do").version();
    let deleted = edit(&node, "link", Operation::Delete).await;
    let deleted = deleted.expect("it is done");
    assert_eq!(deleted.state, LinkState::Deleted);
    assert_eq!(look_up(&node, "link").await, LookUp::Gone);
    let again = edit(&node, "link", Operation::Delete).await;
    assert_eq!(again.expect("nothing to do").deleted_at, deleted.deleted_at);
    for operation in [
        change(title("a")),
        Operation::AddCode(alias("added")),
        rename("renamed"),
        remove_code("added"),
    ] {
        let edited = edit(&node, "link", operation.clone()).await;
        assert_eq!(edited, Err(EditRefusal::Deleted), "{operation:?}");
    }
    eventually("time passes", async || {
        let late = edit(&node, "link", restore(Duration::from_millis(1))).await;
        (late == Err(EditRefusal::TooLate)).then_some(())
    })
    .await;
    assert_eq!(look_up(&node, "link").await, LookUp::Gone);
    let restored = edit(&node, "link", restore(HOUR)).await;
    assert_eq!(restored.map(|link| link.version()), Ok(before));
    assert!(matches!(look_up(&node, "link").await, LookUp::Found(_)));
}

async fn links_deleted_long_ago_are_purged_some_at_a_time(place: Place) {
    let node = place.open().await;
    for number in 0..6 {
        let text = format!("link-{number}");
        store(&node, plain(&text)).await;
        let further = Operation::AddCode(alias(&format!("further-{number}")));
        edit(&node, &text, further).await.expect("it is done");
        if number > 0 {
            edit(&node, &text, Operation::Delete)
                .await
                .expect("it is done");
        }
    }
    let long_ago = match place {
        Place::Sqlite(_) => {
            "UPDATE urls SET deleted_at = deleted_at - 3600 WHERE short_code IN ('link-1', 'link-2', 'link-3')"
        }
        Place::Postgres(_) => {
            "UPDATE urls SET deleted_at = deleted_at - interval '1 hour' WHERE short_code IN ('link-1', 'link-2', 'link-3')"
        }
    };
    place.execute(long_ago).await;
    let minutes = Duration::from_secs(600);
    let mut purged = Vec::new();
    for _ in 0..3 {
        purged.push(node.purge(minutes, 2).await.expect("an answer"));
    }
    assert_eq!(purged, [2, 1, 0]);
    for number in 0..6 {
        for text in [format!("link-{number}"), format!("further-{number}")] {
            let found = look_up(&node, &text).await;
            match number {
                0 => assert!(matches!(found, LookUp::Found(_)), "{text}"),
                1..4 => assert_eq!(found, LookUp::Unknown, "{text}"),
                _ => assert_eq!(found, LookUp::Gone, "{text}"),
            }
        }
    }
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 6);
}
