//! A store acknowledges only what is committed: when the commit fails, so does the request.

use shunt::{
    db::DatabaseError,
    links::{Created, Expiry, LinkStore, LookUp, NewLink, ShortCode, TargetUrl, Terms, Write},
};

use super::place::{Place, code, contract, url};

contract!(
    what_a_commit_refuses_is_not_said_to_be_stored,
    a_rehearsal_tells_whether_a_write_would_be_stored_and_leaves_nothing,
);

/// Makes each commit that inserts a row into a table, or updates one, fail after the statement has succeeded.
pub(super) async fn refuse_commits(place: &Place, table: &str) {
    let sql = match place {
        Place::Sqlite(_) => format!(
            "
            CREATE TABLE parents (id INTEGER PRIMARY KEY);
            CREATE TABLE children (
                parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED
            );
            CREATE TRIGGER refuse_insert AFTER INSERT ON {table}
            BEGIN INSERT INTO children (parent) VALUES (1); END;
            CREATE TRIGGER refuse_update AFTER UPDATE ON {table}
            BEGIN INSERT INTO children (parent) VALUES (1); END"
        ),
        Place::Postgres(_) => format!(
            "
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON {table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
    };
    place.execute(sql.leak()).await;
}

pub(super) async fn allow_commits(place: &Place) {
    let sql = match place {
        Place::Sqlite(_) => "DROP TRIGGER refuse_insert; DROP TRIGGER refuse_update",
        Place::Postgres(_) => "DROP FUNCTION refuse CASCADE",
    };
    place.execute(sql).await;
}

/// A link of each kind.
fn kinds() -> [(&'static str, bool, Terms); 4] {
    let own = |expires_in: Option<u64>, max_visits| Terms {
        expiry: expires_in.map(|seconds| Expiry::In(std::time::Duration::from_secs(seconds))),
        max_visits,
        ..Terms::default()
    };
    [
        ("deduplicated", true, Terms::default()),
        ("alias", false, Terms::default()),
        ("expiring", false, own(Some(1_000), None)),
        ("counted", false, own(None, Some(5))),
    ]
}

async fn insert(
    store: &dyn LinkStore,
    code: &ShortCode,
    deduplicated: bool,
    terms: Terms,
) -> Result<Created, DatabaseError> {
    let link = NewLink {
        deduplicated,
        terms,
        ..NewLink::new(code.clone(), target(code))
    };
    store.insert(&link).await
}

fn target(code: &ShortCode) -> TargetUrl {
    url(&format!("https://example.com/{code}"))
}

async fn what_a_commit_refuses_is_not_said_to_be_stored(place: Place) {
    let store = place.open().await;
    let limited = code("limited");
    let terms = Terms {
        max_visits: Some(5),
        ..Terms::default()
    };
    let made = insert(&*store, &limited, false, terms).await;
    assert_eq!(made.expect("an answer"), Created::Stored(limited.clone()));
    refuse_commits(&place, "urls").await;
    for (name, deduplicated, terms) in kinds() {
        let refused = insert(&*store, &code(name), deduplicated, terms).await;
        assert!(matches!(refused, Err(DatabaseError::Failed(_))), "{name}");
        let found = store.look_up(&[code(name)]).await.expect("an answer");
        assert_eq!(found, [LookUp::Unknown], "{name}");
    }
    let refused = store.count_visit(&limited).await;
    assert!(matches!(refused, Err(DatabaseError::Failed(_))));
    assert_eq!(place.number("SELECT sum(visits) FROM urls").await, 0);

    // On the same connections.
    allow_commits(&place).await;
    for (name, deduplicated, terms) in kinds() {
        let made = insert(&*store, &code(name), deduplicated, terms).await;
        assert_eq!(made.expect("an answer"), Created::Stored(code(name)));
        let found = store.look_up(&[code(name)]).await.expect("an answer");
        assert!(matches!(found[..], [LookUp::Found(_)]), "{name}");
    }
    assert!(store.count_visit(&limited).await.expect("an answer"));
    assert_eq!(place.number("SELECT count(*) FROM urls").await, 5);
    assert_eq!(place.number("SELECT sum(visits) FROM urls").await, 1);
}

async fn a_rehearsal_tells_whether_a_write_would_be_stored_and_leaves_nothing(place: Place) {
    let store = place.open().await;
    let mut writes = Vec::new();
    for (name, deduplicated, terms) in kinds() {
        // A link that is there already, and one that is not.
        let there = code(&format!("{name}-there"));
        let made = insert(&*store, &there, deduplicated, terms).await;
        made.expect("an answer");
        for code in [there, code(&format!("{name}-new"))] {
            let target = target(&code);
            let link = NewLink {
                deduplicated,
                terms,
                ..NewLink::new(code, target)
            };
            writes.push(Write::Insert(Box::new(link)));
        }
    }
    writes.push(Write::Visit(code("counted-there")));
    let state = "SELECT count(*) * 1000 + sum(visits) FROM urls";
    let before = place.number(state).await;
    for write in &writes {
        store.rehearse(write).await.expect("it would be stored");
        assert_eq!(place.number(state).await, before, "{write:?}");
    }
    refuse_commits(&place, "urls").await;
    for write in &writes {
        store.rehearse(write).await.expect_err("it would not");
        assert_eq!(place.number(state).await, before, "{write:?}");
    }
    allow_commits(&place).await;
    for write in &writes {
        store.rehearse(write).await.expect("it would be stored");
        assert_eq!(place.number(state).await, before, "{write:?}");
    }
    store
        .rehearse(&Write::Visit(code("nobodys")))
        .await
        .expect("nothing to do is no failure");
}
