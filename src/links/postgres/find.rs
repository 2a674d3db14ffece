//! Finding links in Postgres.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{Connection, PgConnection};

use super::{PostgresLinks, manage::record};
use crate::{
    db::DatabaseError,
    links::{
        Indexed, LinkPage, LinkQuery, LinkRecord, LinkSearch, Look, Order,
        find::{BlockSummary, EntriesRow, Source, walk},
        row::{BlockRow, RecordRow},
    },
};

/// One moment for all that a page is made of. Every statement reads a bounded number of rows; the timeout is for a server
/// that stands still, so that pages for which nobody waits any more do not pile up there.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '1s'";

/// By the primary key.
const BLOCKS_DOWN: &str = "
    SELECT block, created_first, created_last, row_bytes FROM link_blocks
    WHERE block <= $1 AND is_ready ORDER BY block DESC LIMIT $2";

const BLOCKS_UP: &str = "
    SELECT block, created_first, created_last, row_bytes FROM link_blocks
    WHERE block >= $1 AND is_ready ORDER BY block LIMIT $2";

/// By the primary key, once for each bucket.
const ROWS: &str = "
    SELECT link_entries.block, bucket, entries FROM unnest($1) AS wanted
    JOIN link_entries ON bucket = wanted AND block BETWEEN $2 AND $3";

/// By the primary key.
const CHANGED_DOWN: &str = "
    SELECT link_id FROM link_changes WHERE link_id BETWEEN $1 AND $2 ORDER BY link_id DESC LIMIT $3";

const CHANGED_UP: &str = "
    SELECT link_id FROM link_changes WHERE link_id BETWEEN $1 AND $2 ORDER BY link_id LIMIT $3";

/// By the primary key.
const REACH_DOWN: &str =
    "SELECT id FROM urls WHERE id BETWEEN $1 AND $2 ORDER BY id DESC OFFSET $3 - 1 LIMIT 1";

const REACH_UP: &str =
    "SELECT id FROM urls WHERE id BETWEEN $1 AND $2 ORDER BY id OFFSET $3 - 1 LIMIT 1";

/// By the primary key.
const AMONG_DOWN: &str = record!("id BETWEEN $1 AND $2 AND main_id IS NULL ORDER BY id DESC");

const AMONG_UP: &str = record!("id BETWEEN $1 AND $2 AND main_id IS NULL ORDER BY id");

/// By the primary key, once for each link.
const WITH: &str = record!("id = ANY ($1) AND main_id IS NULL");

#[async_trait]
impl LinkSearch for PostgresLinks {
    async fn find(&self, query: &LinkQuery) -> Result<LinkPage, DatabaseError> {
        self.postgres.pool.read(query, find).await
    }

    async fn index(&self, look: Look) -> Result<Option<Indexed>, DatabaseError> {
        self.index_a_block(look).await
    }
}

fn find<'c>(
    connection: &'c mut PgConnection,
    query: &'c LinkQuery,
) -> BoxFuture<'c, Result<LinkPage, sqlx::Error>> {
    Box::pin(async move {
        let mut transaction = connection.begin_with(BEGIN).await?;
        let page = walk(&mut Reader(&mut transaction), query).await?;
        transaction.commit().await?;
        Ok(page)
    })
}

/// A transaction that reads.
struct Reader<'c>(&'c mut PgConnection);

impl Source for Reader<'_> {
    type Error = sqlx::Error;

    async fn blocks(
        &mut self,
        from: i64,
        order: Order,
        at_most: usize,
    ) -> Result<Vec<BlockSummary>, sqlx::Error> {
        let sql = match order {
            Order::Newest => BLOCKS_DOWN,
            Order::Oldest => BLOCKS_UP,
        };
        let blocks = sqlx::query_as(sql).bind(from).bind(at_most as i64);
        let rows: Vec<BlockRow> = blocks.fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(BlockSummary::from).collect())
    }

    async fn rows(
        &mut self,
        blocks: RangeInclusive<i64>,
        buckets: &[i16],
    ) -> Result<Vec<EntriesRow>, sqlx::Error> {
        let rows = sqlx::query_as(ROWS)
            .bind(buckets)
            .bind(*blocks.start())
            .bind(*blocks.end());
        rows.fetch_all(&mut *self.0).await
    }

    async fn changed(
        &mut self,
        ids: RangeInclusive<i64>,
        order: Order,
        at_most: usize,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let sql = match order {
            Order::Newest => CHANGED_DOWN,
            Order::Oldest => CHANGED_UP,
        };
        numbers(self.0, sql, ids, at_most).await
    }

    async fn reach(
        &mut self,
        ids: RangeInclusive<i64>,
        order: Order,
        rows: usize,
    ) -> Result<Option<i64>, sqlx::Error> {
        let sql = match order {
            Order::Newest => REACH_DOWN,
            Order::Oldest => REACH_UP,
        };
        Ok(numbers(self.0, sql, ids, rows).await?.first().copied())
    }

    async fn among(
        &mut self,
        ids: RangeInclusive<i64>,
        order: Order,
    ) -> Result<Vec<LinkRecord>, sqlx::Error> {
        let sql = match order {
            Order::Newest => AMONG_DOWN,
            Order::Oldest => AMONG_UP,
        };
        let links = sqlx::query_as(sql).bind(*ids.start()).bind(*ids.end());
        let rows: Vec<RecordRow> = links.fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(LinkRecord::from).collect())
    }

    async fn with(&mut self, ids: &[i64]) -> Result<Vec<LinkRecord>, sqlx::Error> {
        let rows: Vec<RecordRow> = sqlx::query_as(WITH)
            .bind(ids)
            .fetch_all(&mut *self.0)
            .await?;
        Ok(rows.into_iter().map(LinkRecord::from).collect())
    }
}

async fn numbers(
    connection: &mut PgConnection,
    sql: &'static str,
    ids: RangeInclusive<i64>,
    at_most: usize,
) -> Result<Vec<i64>, sqlx::Error> {
    let numbers = sqlx::query_scalar(sql).bind(*ids.start()).bind(*ids.end());
    numbers.bind(at_most as i64).fetch_all(connection).await
}
