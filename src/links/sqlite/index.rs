//! Keeping the index of links in an SQLite file.

use std::ops::RangeInclusive;

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;

use super::{SqliteLinks, manage::record};
use crate::{
    db::{DatabaseError, Ending},
    links::{
        Indexed, LinkRecord, Look,
        find::{
            CLAIM, Change, LINKS_AT_ONCE, MOST_CHANGES, MOST_COUNTED, MOST_OF_BLOCK, ReadBlock,
            Reading, Task, ids_of,
        },
        row::RecordRow,
    },
};

/// By the primary key. The plus sign keeps SQLite from another index.
const SOME_UP: &str = record!("id BETWEEN ?1 AND ?2 AND +main_id IS NULL ORDER BY id LIMIT ?3");

/// A block that is in the index, or that another process is putting there.
macro_rules! is_taken {
    ($block:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM link_blocks WHERE link_blocks.block = ",
            $block,
            " AND (is_ready OR claimed_until > unixepoch('subsec')))"
        )
    };
}

/// The newest block that has to be indexed: any but that of the highest number, of which numbers are given out. Goes down
/// along the primary key: from a block to that of the next lower number, until there is one that is not taken, or only
/// once unless `?1`.
const NEXT_BLOCK: &str = concat!(
    "
    WITH RECURSIVE looked (block, number) AS (
        SELECT (SELECT max(id) FROM urls) >> 11, 0
        UNION ALL
        SELECT (SELECT max(id) FROM urls WHERE id < looked.block << 11) >> 11, number + 1 FROM looked
        WHERE block IS NOT NULL AND (number = 0 OR ?1 AND ",
    is_taken!("looked.block"),
    ")
    )
    SELECT block FROM looked WHERE number > 0 AND block IS NOT NULL AND NOT ",
    is_taken!("looked.block")
);

/// The block of the index with the most changes, if it has `?1`, or all together have more than `?2`. Counts `?3`.
const MOST_CHANGED: &str = "
    SELECT block FROM (
        SELECT block, changes, claimed_until, sum(changes) OVER () AS total FROM (
            SELECT link_id >> 11 AS block, count(*) AS changes
            FROM (SELECT link_id FROM link_changes ORDER BY link_id LIMIT ?3)
            GROUP BY 1
        )
        JOIN link_blocks USING (block) WHERE is_ready
    )
    WHERE (changes >= ?1 OR total > ?2) AND (claimed_until IS NULL OR claimed_until <= unixepoch('subsec'))
    ORDER BY changes DESC, block LIMIT 1";

/// Answers nothing if another process was faster.
const CLAIM_BLOCK: &str = "
    INSERT INTO link_blocks (block, version, claimed_until) VALUES (?1, random(), unixepoch('subsec') + ?2)
    ON CONFLICT (block) DO UPDATE SET version = excluded.version, claimed_until = excluded.claimed_until
    WHERE link_blocks.claimed_until IS NULL OR link_blocks.claimed_until <= unixepoch('subsec')
    RETURNING version";

/// By the primary key.
const CHANGES: &str = "SELECT link_id, number FROM link_changes WHERE link_id BETWEEN ?1 AND ?2";

/// Does nothing if another process has claimed the block since.
const WRITE_BLOCK: &str = "
    UPDATE link_blocks SET created_first = ?3, created_last = ?4, row_bytes = ?5, is_ready = 1, claimed_until = NULL
    WHERE block = ?1 AND version = ?2";

const WRITE_ROW: &str = "
    INSERT INTO link_entries (bucket, block, entries) VALUES (?1, ?2, ?3)
    ON CONFLICT (bucket, block) DO UPDATE SET entries = ?3";

/// By the primary key, once for each pair of a JSON array.
const FORGET_CHANGES: &str = "
    DELETE FROM link_changes WHERE (link_id, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))";

impl SqliteLinks {
    /// As [`LinkSearch::index`](crate::links::LinkSearch::index). Whatever was written before the claim is read after
    /// it: there is one writer at a time.
    pub(super) async fn index_a_block(&self, look: Look) -> Result<Option<Indexed>, DatabaseError> {
        let sqlite = &self.sqlite;
        let next = async { next_block(&mut *sqlite.reader().await?, look).await };
        let Some((block, again)) = sqlite.read(next).await? else {
            return Ok(None);
        };
        let Some(version) = sqlite.transact(&block, claim).await? else {
            return Ok(Some(Indexed::Nothing));
        };
        let task = Task {
            block,
            version,
            again,
        };
        let changes = async { changes(&mut *sqlite.reader().await?, block).await };
        let mut reading = Reading::new(task, sqlite.read(changes).await?);
        while let Some(ids) = reading.left() {
            let some = async { some_links(&mut *sqlite.reader().await?, ids).await };
            reading = reading.take(sqlite.read(some).await?).await;
        }
        let new = reading.into_block().await;
        Ok(Some(match sqlite.transact(&new, write_block).await? {
            true => task.done(),
            false => Indexed::Nothing,
        }))
    }
}

/// The block that has to be indexed next, and whether it is in the index.
async fn next_block(
    connection: &mut SqliteConnection,
    look: Look,
) -> Result<Option<(i64, bool)>, sqlx::Error> {
    let next = sqlx::query_scalar(NEXT_BLOCK).bind(look.thorough);
    let new: Vec<i64> = next.fetch_all(&mut *connection).await?;
    if let Some(&block) = new.first() {
        return Ok(Some((block, false)));
    }
    if !look.again {
        return Ok(None);
    }
    let changed = sqlx::query_scalar(MOST_CHANGED)
        .bind(MOST_OF_BLOCK)
        .bind(MOST_CHANGES)
        .bind(MOST_COUNTED);
    let changed: Vec<i64> = changed.fetch_all(connection).await?;
    Ok(changed.first().map(|&block| (block, true)))
}

/// The version of the block for as long as the claim lasts. `None` if somebody else was faster.
fn claim<'c>(
    connection: &'c mut SqliteConnection,
    block: &'c i64,
) -> BoxFuture<'c, Result<Ending<Option<i64>>, sqlx::Error>> {
    Box::pin(async move {
        let claim = sqlx::query_scalar(CLAIM_BLOCK).bind(block);
        let claim = claim.bind(CLAIM.as_secs_f64());
        let versions: Vec<i64> = claim.fetch_all(connection).await?;
        Ok(Ending::Commit(versions.first().copied()))
    })
}

async fn changes(
    connection: &mut SqliteConnection,
    block: i64,
) -> Result<Vec<Change>, sqlx::Error> {
    let ids = ids_of(block);
    let changes = sqlx::query_as(CHANGES).bind(*ids.start()).bind(*ids.end());
    changes.fetch_all(connection).await
}

async fn some_links(
    connection: &mut SqliteConnection,
    ids: RangeInclusive<i64>,
) -> Result<Vec<LinkRecord>, sqlx::Error> {
    let some = sqlx::query_as(SOME_UP).bind(*ids.start()).bind(*ids.end());
    let some = some.bind(LINKS_AT_ONCE as i64);
    let rows: Vec<RecordRow> = some.fetch_all(connection).await?;
    Ok(rows.into_iter().map(LinkRecord::from).collect())
}

/// In a transaction. Returns whether the claim was still good, so that the block was written.
fn write_block<'c>(
    connection: &'c mut SqliteConnection,
    new: &'c ReadBlock,
) -> BoxFuture<'c, Result<Ending<bool>, sqlx::Error>> {
    Box::pin(async move {
        let block = new.task.block;
        let [first, last] = new.created;
        let write = sqlx::query(WRITE_BLOCK)
            .bind(block)
            .bind(new.task.version)
            .bind(first)
            .bind(last)
            .bind(new.row_bytes());
        if write.execute(&mut *connection).await?.rows_affected() == 0 {
            return Ok(Ending::RollBack(false));
        }
        for (bucket, row) in new.rows.iter().enumerate() {
            let write = sqlx::query(WRITE_ROW).bind(bucket as i64).bind(block);
            write.bind(&row[..]).execute(&mut *connection).await?;
        }
        let changes = serde_json::to_string(&new.changes).unwrap_or_default();
        let forget = sqlx::query(FORGET_CHANGES).bind(changes);
        forget.execute(&mut *connection).await?;
        Ok(Ending::Commit(true))
    })
}
