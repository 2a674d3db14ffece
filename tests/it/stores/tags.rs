//! Tags and owners: the contract of `LinkTags`.

use shunt::links::{OwnerCount, Retag, TagCount, Tags, Whose};

use super::{
    find_model::Model,
    managing::owner,
    place::{Opened, Place, code, contract},
};

contract!(
    tags_and_owners_are_counted_for_everybody_and_for_each,
    a_tag_is_changed_in_steps_that_come_to_an_end,
    whatever_happens_to_a_link_happens_to_its_tags,
);

fn of(name: &str) -> Whose {
    Whose::Owner(owner(name).expect("a name"))
}

/// Each tag and its number.
async fn tags(node: &Opened, whose: &Whose, after: &str, at_most: u32) -> Vec<(String, u64)> {
    let tags = node.tags(whose, after, at_most).await.expect("tags");
    let pair = |TagCount { tag, links }| (tag, links);
    tags.into_iter().map(pair).collect()
}

async fn owners(node: &Opened, whose: &Whose) -> Vec<(Option<String>, u64)> {
    let owners = node.owners(whose).await.expect("owners");
    let pair = |OwnerCount { owner, links }| (owner.map(|owner| owner.to_string()), links);
    owners.into_iter().map(pair).collect()
}

/// Of the numbers up to 5,000, those that the model gives to an owner, to a tag, and does not delete.
fn count(is_owned: impl Fn(u64) -> bool, is_tagged: impl Fn(u64) -> bool) -> u64 {
    let links = (1..=5_000).filter(|n| n % 31 != 0 && is_owned(*n) && is_tagged(*n));
    links.count() as u64
}

async fn tags_and_owners_are_counted_for_everybody_and_for_each(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    type Owns = fn(u64) -> bool;
    let cases: [(Whose, Owns); 4] = [
        (Whose::Anyone, |_| true),
        (Whose::Nobody, |n| n % 4 == 0),
        (of("anna"), |n| n % 4 == 1),
        (of("bert"), |n| n % 4 > 1),
    ];
    for (whose, is_owned) in &cases {
        let green = ("green".to_owned(), count(is_owned, |n| n % 13 == 0));
        let three = count(is_owned, |n| n % 13 == 1);
        let expected = [
            ("Green".to_owned(), three),
            ("b\"c".to_owned(), three),
            green,
            ("日本".to_owned(), three),
        ];
        assert_eq!(tags(&node, whose, "", 1_000).await, expected, "{whose:?}");
        assert_eq!(tags(&node, whose, "", 2).await, expected[..2], "{whose:?}");
        assert_eq!(
            tags(&node, whose, "b", 2).await,
            expected[1..3],
            "{whose:?}"
        );
        assert_eq!(tags(&node, whose, "日本", 2).await, []);
    }
    let all = |is_owned: fn(u64) -> bool| count(is_owned, |_| true);
    let expected = [
        (None, all(cases[1].1)),
        (Some("anna".to_owned()), all(cases[2].1)),
        (Some("bert".to_owned()), all(cases[3].1)),
    ];
    assert_eq!(owners(&node, &Whose::Anyone).await, expected);
    assert_eq!(owners(&node, &of("anna")).await, expected[1..2]);
    assert_eq!(owners(&node, &of("unknown")).await, []);
    assert_eq!(tags(&node, &of("unknown"), "", 10).await, []);
}

async fn a_tag_is_changed_in_steps_that_come_to_an_end(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    let retag = Retag {
        whose: of("anna"),
        tag: "green".to_owned(),
        instead: Tags::parse(["Green"]).expect("a tag"),
    };
    // Deleted links, too.
    let expected = (1..=5_000).filter(|n| n % 13 == 0 && n % 4 == 1).count();
    let (mut links, mut after, mut steps) = (0, i64::MIN, 0);
    loop {
        let step = node.retag(&retag, after, 30).await.expect("a step");
        links += step.links;
        steps += 1;
        let Some(last) = step.last else { break };
        assert!(last > after);
        after = last;
    }
    assert_eq!(links, expected as u64);
    assert_eq!(steps, expected.div_ceil(30) + 1);
    let again = node.retag(&retag, i64::MIN, 30).await.expect("a step");
    assert_eq!((again.links, again.last), (0, None));
    let mine = tags(&node, &of("anna"), "", 10).await;
    let expected = count(|n| n % 4 == 1, |n| n % 13 < 2);
    assert_eq!(mine[0], ("Green".to_owned(), expected));
    assert_eq!(mine.len(), 3);
    let others = tags(&node, &of("bert"), "c", 1).await;
    let expected = count(|n| n % 4 > 1, |n| n % 13 == 0);
    assert_eq!(others, [("green".to_owned(), expected)]);
    let removed = Retag {
        whose: Whose::Anyone,
        tag: "b\"c".to_owned(),
        instead: Tags::default(),
    };
    let step = node.retag(&removed, i64::MIN, 1_000).await.expect("a step");
    assert_eq!(
        step.links,
        (1..=5_000).filter(|n| n % 13 == 1).count() as u64
    );
    let link = node.record(&code("Code14")).await.expect("an answer");
    assert_eq!(link.expect("a link").tags, ["日本", "Green"]);
}

async fn whatever_happens_to_a_link_happens_to_its_tags(place: Place) {
    let node = place.open().await;
    Model::fill(&place, &node).await;
    place
        .execute("DELETE FROM urls WHERE id NOT IN (1, 5, 13)")
        .await;
    let annas = async |expected: &[(&str, u64)]| {
        let found = tags(&node, &of("anna"), "", 10).await;
        let found: Vec<_> = found.iter().map(|(tag, links)| (&**tag, *links)).collect();
        assert_eq!(found, expected);
    };
    annas(&[("Green", 1), ("b\"c", 1), ("green", 1), ("日本", 1)]).await;
    place
        .execute("UPDATE urls SET owner = 'bert' WHERE id = 1")
        .await;
    annas(&[("green", 1)]).await;
    place
        .execute("UPDATE urls SET owner = NULL WHERE id = 13")
        .await;
    annas(&[]).await;
    assert_eq!(
        tags(&node, &Whose::Nobody, "", 10).await,
        [("green".to_owned(), 1)]
    );
    let (gone, back) = match &place {
        Place::Sqlite(_) => (
            "UPDATE urls SET deleted_at = 5 WHERE id = 13",
            "UPDATE urls SET deleted_at = NULL",
        ),
        Place::Postgres(_) => (
            "UPDATE urls SET deleted_at = now() WHERE id = 13",
            "UPDATE urls SET deleted_at = NULL",
        ),
    };
    place.execute(gone).await;
    assert_eq!(tags(&node, &Whose::Nobody, "", 10).await, []);
    assert_eq!(
        tags(&node, &Whose::Anyone, "c", 1).await,
        [("日本".to_owned(), 1)]
    );
    place.execute(back).await;
    assert_eq!(
        tags(&node, &Whose::Nobody, "", 10).await,
        [("green".to_owned(), 1)]
    );
}
