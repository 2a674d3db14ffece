//! Makes millions of links with SQL, with codes that `benches/wrk/existing-codes.lua` can compute.
//!
//! Link n has the code that n * 618033989 modulo 62^6 is in base 62, so links that were made one after another are far
//! from each other in the index. An `x` follows, so a scan of random codes with the usual length finds none of them.
//! Indexes are built again when all links are there, which takes a tenth of the time; those of a table that grew slowly
//! are somewhat less dense.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

/// Links per statement. SQLite keeps all that a statement changes until the statement ends.
const SQLITE_BATCH: i64 = 1_000_000;

/// SQL for the code and the URL of link number `n`, for both databases.
fn columns() -> [String; 2] {
    let letters = "'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'";
    let digits = (0..6).rev().map(|place| {
        let digit = format!("n * 618033989 % 56800235584 / {} % 62", 62_i64.pow(place));
        format!("substr({letters}, CAST(1 + {digit} AS int), 1)")
    });
    let digits: Vec<_> = digits.collect();
    let url = "'https://example.com/filled/' || n".to_owned();
    [format!("{} || 'x'", digits.join(" || ")), url]
}

/// Adds the links numbered `first` to `last` to a Postgres database that a node has migrated.
///
/// # Errors
/// As the database says.
pub(crate) async fn postgres(url: &str, first: u64, last: u64) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let mut transaction = connection.begin().await?;
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname::text, indexdef FROM pg_indexes
         WHERE tablename = 'urls' AND indexname <> 'urls_pkey'",
    )
    .fetch_all(&mut *transaction)
    .await?;
    let [code, link] = columns();
    let fill = format!(
        "INSERT INTO urls (short_code, original_url, url_sha256)
         SELECT {code}, {link}, sha256(convert_to({link}, 'UTF8'))
         FROM generate_series({first}::bigint, {last}) AS n"
    );
    let drop = indexes.iter().map(|(name, _)| format!("DROP INDEX {name}"));
    let create = indexes.iter().map(|(_, definition)| definition.clone());
    for statement in drop.chain([fill]).chain(create) {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    for statement in ["VACUUM ANALYZE urls", "CHECKPOINT"] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    connection.close().await
}

/// Adds links to an SQLite file that no node has open. SQLite has no SHA-256, so random bytes take its place.
///
/// # Errors
/// As the database says.
pub(crate) async fn sqlite(url: &str, first: u64, last: u64) -> sqlx::Result<()> {
    let mut connection = SqliteConnection::connect(url).await?;
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_master
         WHERE type = 'index' AND tbl_name = 'urls' AND sql IS NOT NULL",
    )
    .fetch_all(&mut connection)
    .await?;
    let [code, link] = columns();
    // After a power cut the links can be made again.
    let mut statements = vec!["PRAGMA synchronous = OFF".to_owned()];
    statements.extend(indexes.iter().map(|(name, _)| format!("DROP INDEX {name}")));
    let (mut first, last) = (first as i64, last as i64);
    while first <= last {
        let end = last.min(first + SQLITE_BATCH - 1);
        statements.push(format!(
            "WITH RECURSIVE numbers (n) AS (
                 SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {end}
             )
             INSERT INTO urls (short_code, original_url, url_sha256)
             SELECT {code}, {link}, randomblob(32) FROM numbers"
        ));
        first = end + 1;
    }
    statements.extend(indexes.into_iter().map(|(_, definition)| definition));
    for end in ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        statements.push(end.to_owned());
    }
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}
