//! What the planner makes of the statements, which nothing but this module can name.

use sqlx::{AssertSqlSafe, Row};
use testkit::{Postgres as Server, needs};

use super::super::{COUNT_VISIT, LOOK_UP, PostgresLinks, manage};
use crate::db::{self, PostgresOptions, StartUp};

#[tokio::test]
async fn every_folded_statement_finds_a_code_by_the_index() {
    needs!("postgres");
    let database = Server::shared_by_tests().await.database().await;
    let options = PostgresOptions {
        url: database.url().parse().expect("a URL"),
        max_connections: 2,
        timeout: super::Duration::from_secs(10),
    };
    let within = super::Duration::from_secs(20);
    let postgres = db::Postgres::connect(&options, StartUp { within }).await;
    let postgres = std::sync::Arc::new(postgres.expect("a database"));
    let links = PostgresLinks::ignoring_case(postgres, within).await;
    links.map(drop).expect("no conflicts");
    let mut connection = database.connect().await;
    let fill = "
        INSERT INTO urls (short_code, original_url)
        SELECT 'Link' || number, 'https://example.com/' FROM generate_series(1, 20000) AS number;
        ANALYZE urls;
        SET plan_cache_mode = force_generic_plan";
    let filled = sqlx::raw_sql(fill).execute(&mut connection).await;
    filled.expect("links");
    let one = "'link7'";
    let many = "ARRAY['link7', 'link8']";
    for (name, statement, types, values) in [
        ("look_up", LOOK_UP.folded, "text[]", many),
        ("count_visit", COUNT_VISIT.folded, "text", one),
        ("read", manage::READ.folded, "text", one),
        ("read_many", manage::READ_MANY.folded, "text[]", many),
        ("lock", manage::LOCK.folded, "text", one),
        (
            "set_main_code",
            manage::SET_MAIN_CODE.folded,
            "text, bigint",
            "'link7', 7",
        ),
    ] {
        let prepare = format!("PREPARE {name} ({types}) AS {statement}");
        let prepared = sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection);
        prepared.await.expect(name);
        let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE {name} ({values})"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut connection).await;
        let rows = rows.expect(name);
        let lines = rows.iter().map(|row| row.get::<String, _>(0));
        let plan = lines.collect::<Vec<_>>().join("\n");
        assert!(
            plan.contains("urls_short_code_nocase_key"),
            "{name}\n{plan}"
        );
        assert!(!plan.contains("Seq Scan on urls"), "{name}\n{plan}");
    }
}
