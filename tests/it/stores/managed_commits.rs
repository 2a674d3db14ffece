//! What a commit refuses changes no link, and what Postgres gives up is done again.

use futures_util::future::join_all;
use shunt::{
    db::DatabaseError,
    links::{Created, Edit, Edited, Editor, NewLink, Operation, Write},
};

use super::{
    commits::{allow_commits, refuse_commits},
    managing::{alias, change, edit, look_up, plain, record, rename, store, title, version},
    place::{Opened, Place, code, contract},
};

contract!(
    what_a_commit_refuses_is_not_done,
    a_rehearsal_tells_whether_an_edit_would_be_done_and_leaves_nothing,
);

fn operations() -> [Operation; 5] {
    [
        change(title("a title")),
        Operation::AddCode(alias("added")),
        rename("renamed"),
        rename("further"),
        Operation::Delete,
    ]
}

fn the_edit(operation: Operation) -> Edit {
    Edit {
        code: code("link"),
        editor: Editor::Administrator,
        only_if: None,
        operation,
    }
}

/// In the place of the dead link.
fn replacement() -> NewLink {
    NewLink {
        in_place_of: Some(Editor::Administrator),
        ..plain("dead")
    }
}

async fn prepare(place: &Place) -> Opened {
    let node = place.open().await;
    for text in ["link", "dead"] {
        store(&node, plain(text)).await;
    }
    let further = Operation::AddCode(alias("further"));
    edit(&node, "link", further).await.expect("it is done");
    edit(&node, "dead", Operation::Delete)
        .await
        .expect("it is done");
    node
}

async fn what_a_commit_refuses_is_not_done(place: Place) {
    let node = prepare(&place).await;
    let before = [version(&node, "link").await, version(&node, "dead").await];
    let restore = Operation::Restore {
        within: std::time::Duration::from_secs(3_600),
    };
    refuse_commits(&place, "urls").await;
    for operation in operations() {
        let refused = node.edit(&the_edit(operation.clone())).await;
        let failed = matches!(refused, Err(DatabaseError::Failed(_)));
        assert!(failed, "{operation:?} {refused:?}");
    }
    let dead = Edit {
        code: code("dead"),
        ..the_edit(restore.clone())
    };
    node.edit(&dead).await.expect_err("it is not restored");
    let refused = node.insert(&replacement()).await;
    assert!(
        matches!(refused, Err(DatabaseError::Failed(_))),
        "{refused:?}"
    );
    let after = [version(&node, "link").await, version(&node, "dead").await];
    assert_eq!(after, before);
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 3);

    // On the same connections.
    allow_commits(&place).await;
    for operation in operations() {
        let done = node.edit(&the_edit(operation)).await.expect("an answer");
        assert!(matches!(done, Edited::Done(_)), "{done:?}");
    }
    let done = node.edit(&dead).await.expect("an answer");
    assert!(matches!(done, Edited::Done(_)), "{done:?}");
    edit(&node, "dead", Operation::Delete)
        .await
        .expect("it is done");
    let created = node.insert(&replacement()).await.expect("an answer");
    assert_eq!(created, Created::Replaced(vec![code("dead")]));
}

async fn a_rehearsal_tells_whether_an_edit_would_be_done_and_leaves_nothing(place: Place) {
    let node = prepare(&place).await;
    let mut writes: Vec<_> = operations().map(the_edit).map(Write::Edit).into();
    writes.push(Write::Insert(Box::new(replacement())));
    // The link that could not be edited is gone by now.
    writes.push(Write::Edit(Edit {
        code: code("gone"),
        ..the_edit(change(title("a title")))
    }));
    // It has been edited by somebody else.
    writes.push(Write::Edit(Edit {
        only_if: Some(Vec::new()),
        ..the_edit(change(title("a title")))
    }));
    let before = [version(&node, "link").await, version(&node, "dead").await];
    let unchanged = async || {
        let after = [version(&node, "link").await, version(&node, "dead").await];
        after == before && place.number("SELECT count(*) FROM urls").await == 3
    };
    for round in 0..2 {
        for write in &writes {
            let rehearsed = node.rehearse(write).await;
            rehearsed.unwrap_or_else(|error| panic!("{write:?}: {error:?}"));
            assert!(unchanged().await, "{write:?}");
        }
        if round == 0 {
            refuse_commits(&place, "urls").await;
            for write in &writes {
                let refused = node.rehearse(write).await;
                refused.expect_err(&format!("{write:?} would not be stored"));
                assert!(unchanged().await, "{write:?}");
            }
            allow_commits(&place).await;
        }
    }
    let found = look_up(&node, "added").await;
    assert_eq!(found, shunt::links::LookUp::Unknown);
}

/// With this isolation, Postgres gives up a transaction that waited for another one to change the same link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_gives_up_is_done_again() {
    testkit::needs!("postgres");
    let place = Place::postgres().await;
    place
        .execute(
            "DO $$ BEGIN EXECUTE format(
                 'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()
             ); END $$",
        )
        .await;
    let nodes = [place.open().await, place.open().await];
    store(&nodes[0], plain("link")).await;
    let edits = (0..20).map(|number| {
        let node = nodes[number % 2].clone();
        let add = Operation::AddCode(alias(&format!("further-{number}")));
        tokio::spawn(async move { edit(&node, "link", add).await })
    });
    for edited in join_all(edits).await {
        edited.expect("no panic").expect("it is done");
    }
    assert_eq!(record(&nodes[0], "link").await.further_codes.len(), 20);
}
