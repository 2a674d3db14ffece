//! Keeping the index of links in Postgres.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use tokio::time::sleep;

use super::{PostgresLinks, manage::record};
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

/// By the primary key.
const SOME_UP: &str = record!("id BETWEEN $1 AND $2 AND main_id IS NULL ORDER BY id LIMIT $3");

/// A block that is in the index, or that somebody else is putting there.
macro_rules! is_taken {
    ($block:literal) => {
        concat!(
            "EXISTS (SELECT FROM link_blocks WHERE link_blocks.block = ",
            $block,
            " AND (is_ready OR claimed_until > now()))"
        )
    };
}

/// The newest block that has to be indexed: any but the one of which numbers are given out (without a sequence, the
/// highest), and the highest of all. Goes down along the primary key: from a block to that of the next lower number, until
/// there is one that is not taken, or only once unless `$1`.
const NEXT_BLOCK: &str = concat!(
    "
    WITH RECURSIVE given_out (block) AS (
        SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('urls', 'id')::regclass), (SELECT max(id) FROM urls)) >> 11
    ), looked (block, number) AS (
        SELECT CASE WHEN $1 THEN (SELECT max(id) FROM urls) >> 11 ELSE given_out.block END, 0 FROM given_out
        UNION ALL
        SELECT (SELECT max(id) FROM urls WHERE id < looked.block << 11) >> 11, number + 1 FROM looked, given_out
        WHERE looked.block IS NOT NULL AND (
            number = 0 OR $1 AND (looked.block = given_out.block OR ",
    is_taken!("looked.block"),
    ")
        )
    )
    SELECT looked.block FROM looked, given_out
    WHERE number > 0 AND looked.block <> given_out.block AND NOT ",
    is_taken!("looked.block")
);

/// The block of the index with the most changes, if it has `$1`, or all together have more than `$2`. Counts `$3`.
const MOST_CHANGED: &str = "
    SELECT block FROM (
        SELECT block, changes, claimed_until, sum(changes) OVER () AS total FROM (
            SELECT link_id >> 11 AS block, count(*) AS changes
            FROM (SELECT link_id FROM link_changes ORDER BY link_id LIMIT $3) AS counted
            GROUP BY 1
        ) AS changed
        JOIN link_blocks USING (block) WHERE is_ready
    ) AS indexed
    WHERE (changes >= $1 OR total > $2) AND (claimed_until IS NULL OR claimed_until <= now())
    ORDER BY changes DESC, block LIMIT 1";

/// Answers nothing if another node was faster.
const CLAIM_BLOCK: &str = "
    INSERT INTO link_blocks (block, claimed_until) VALUES ($1, now() + make_interval(secs => $2))
    ON CONFLICT (block) DO UPDATE SET version = DEFAULT, claimed_until = EXCLUDED.claimed_until
    WHERE link_blocks.claimed_until IS NULL OR link_blocks.claimed_until <= now()
    RETURNING version";

const LEAVE_BLOCK: &str =
    "UPDATE link_blocks SET claimed_until = NULL WHERE block = $1 AND version = $2";

/// The transactions that may write to the table. Each of them has this lock before a number is given out to it, and until
/// it ends.
const WRITERS: &str = "
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'urls'::regclass AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Between looks at whether these transactions have ended, and how often they are looked for.
const WRITERS_PAUSE: Duration = Duration::from_millis(50);
const WRITERS_LOOKS: u32 = 40;

/// By the primary key.
const CHANGES: &str = "SELECT link_id, number FROM link_changes WHERE link_id BETWEEN $1 AND $2";

/// Does nothing if another node has claimed the block since, or if the table was emptied.
const WRITE_BLOCK: &str = "
    UPDATE link_blocks SET created_first = $3, created_last = $4, row_bytes = $5, is_ready = true, claimed_until = NULL
    WHERE block = $1 AND version = $2";

const WRITE_ROWS: &str = "
    INSERT INTO link_entries (bucket, block, entries)
    SELECT number - 1, $1, row FROM unnest($2) WITH ORDINALITY AS rows (row, number)
    ON CONFLICT (bucket, block) DO UPDATE SET entries = EXCLUDED.entries";

/// Leaves out links that are being changed, whose writers would wait for this transaction and could hold what it waits
/// for. By the primary key.
const FORGET_CHANGES: &str = "
    DELETE FROM link_changes WHERE link_id IN (
        SELECT link_id FROM unnest($1, $2) AS seen (id, change)
        JOIN link_changes ON link_id = seen.id AND number = seen.change
        FOR UPDATE OF link_changes SKIP LOCKED
    )";

impl PostgresLinks {
    /// As [`LinkSearch::index`](crate::links::LinkSearch::index).
    pub(super) async fn index_a_block(&self, look: Look) -> Result<Option<Indexed>, DatabaseError> {
        let pool = &self.postgres.pool;
        let Some((block, again)) = pool.read(&look, next_block).await? else {
            return Ok(None);
        };
        let Some(version) = pool.write(&block, claim).await? else {
            return Ok(Some(Indexed::Nothing));
        };
        let task = Task {
            block,
            version,
            again,
        };
        // Whoever was writing before may not have seen the claim.
        if !again && !self.writers_have_ended().await? {
            pool.write(&task, leave).await?;
            return Ok(Some(Indexed::Later));
        }
        let changes = pool.read(&block, changes).await?;
        let mut reading = Reading::new(task, changes);
        while let Some(ids) = reading.left() {
            reading = reading.take(pool.read(&ids, some_links).await?).await;
        }
        let new = reading.into_block().await;
        Ok(Some(match pool.transact(&new, write_block).await? {
            true => task.done(),
            false => Indexed::Nothing,
        }))
    }

    /// Whether all transactions have ended that may be writing to the table now. Waits for them a little.
    async fn writers_have_ended(&self) -> Result<bool, DatabaseError> {
        let pool = &self.postgres.pool;
        let before = pool.read(&(), writers).await?;
        if before.is_empty() {
            return Ok(true);
        }
        for _ in 0..WRITERS_LOOKS {
            let now = pool.read(&(), writers).await?;
            if now.is_disjoint(&before) {
                return Ok(true);
            }
            sleep(WRITERS_PAUSE).await;
        }
        Ok(false)
    }
}

/// The block that has to be indexed next, and whether it is in the index.
fn next_block<'c>(
    connection: &'c mut PgConnection,
    look: &'c Look,
) -> BoxFuture<'c, Result<Option<(i64, bool)>, sqlx::Error>> {
    Box::pin(async move {
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
        let changed: Vec<i64> = changed.fetch_all(&mut *connection).await?;
        Ok(changed.first().map(|&block| (block, true)))
    })
}

/// The version of the block for as long as the claim lasts. `None` if somebody else was faster.
fn claim<'c>(
    connection: &'c mut PgConnection,
    block: &'c i64,
) -> BoxFuture<'c, Result<Option<i64>, sqlx::Error>> {
    Box::pin(async move {
        let claim = sqlx::query_scalar(CLAIM_BLOCK).bind(block);
        let claim = claim.bind(CLAIM.as_secs_f64());
        let versions: Vec<i64> = claim.fetch_all(connection).await?;
        Ok(versions.first().copied())
    })
}

/// Gives a claim up.
fn leave<'c>(
    connection: &'c mut PgConnection,
    task: &'c Task,
) -> BoxFuture<'c, Result<(), sqlx::Error>> {
    Box::pin(async move {
        let leave = sqlx::query(LEAVE_BLOCK).bind(task.block).bind(task.version);
        leave.execute(connection).await.map(drop)
    })
}

fn writers<'c>(
    connection: &'c mut PgConnection,
    (): &'c (),
) -> BoxFuture<'c, Result<BTreeSet<String>, sqlx::Error>> {
    Box::pin(async move {
        let writers: Vec<String> = sqlx::query_scalar(WRITERS).fetch_all(connection).await?;
        Ok(writers.into_iter().collect())
    })
}

fn changes<'c>(
    connection: &'c mut PgConnection,
    block: &'c i64,
) -> BoxFuture<'c, Result<Vec<Change>, sqlx::Error>> {
    Box::pin(async move {
        let ids = ids_of(*block);
        let changes = sqlx::query_as(CHANGES).bind(*ids.start()).bind(*ids.end());
        changes.fetch_all(connection).await
    })
}

fn some_links<'c>(
    connection: &'c mut PgConnection,
    ids: &'c RangeInclusive<i64>,
) -> BoxFuture<'c, Result<Vec<LinkRecord>, sqlx::Error>> {
    Box::pin(async move {
        let some = sqlx::query_as(SOME_UP).bind(*ids.start()).bind(*ids.end());
        let some = some.bind(LINKS_AT_ONCE as i64);
        let rows: Vec<RecordRow> = some.fetch_all(connection).await?;
        Ok(rows.into_iter().map(LinkRecord::from).collect())
    })
}

/// In a transaction. Returns whether the claim was still good, so that the block was written.
fn write_block<'c>(
    connection: &'c mut PgConnection,
    new: &'c ReadBlock,
) -> BoxFuture<'c, Result<Ending<bool>, sqlx::Error>> {
    Box::pin(async move {
        let [first, last] = new.created;
        let write = sqlx::query(WRITE_BLOCK)
            .bind(new.task.block)
            .bind(new.task.version)
            .bind(first)
            .bind(last)
            .bind(new.row_bytes());
        if write.execute(&mut *connection).await?.rows_affected() == 0 {
            return Ok(Ending::RollBack(false));
        }
        let write = sqlx::query(WRITE_ROWS)
            .bind(new.task.block)
            .bind(&new.rows[..]);
        write.execute(&mut *connection).await?;
        let (links, changes): (Vec<i64>, Vec<i64>) = new.changes.iter().copied().unzip();
        let forget = sqlx::query(FORGET_CHANGES).bind(links).bind(changes);
        forget.execute(&mut *connection).await?;
        Ok(Ending::Commit(true))
    })
}
