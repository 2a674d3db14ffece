//! Finding links in an SQLite file.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use super::{SqliteLinks, manage::record};
use crate::{
    db::DatabaseError,
    links::{
        Indexed, LinkPage, LinkQuery, LinkRecord, LinkSearch, Look, Order,
        find::{BlockSummary, EntriesRow, Source, walk},
        row::{BlockRow, RecordRow},
    },
};

/// By the primary key.
const BLOCKS_DOWN: &str = "
    SELECT block, created_first, created_last, row_bytes FROM link_blocks
    WHERE block <= ?1 AND is_ready ORDER BY block DESC LIMIT ?2";

const BLOCKS_UP: &str = "
    SELECT block, created_first, created_last, row_bytes FROM link_blocks
    WHERE block >= ?1 AND is_ready ORDER BY block LIMIT ?2";

/// By the primary key, once for each bucket of a JSON array.
const ROWS: &str = "
    SELECT block, bucket, entries FROM json_each(?1) AS wanted
    JOIN link_entries ON bucket = wanted.value AND block BETWEEN ?2 AND ?3";

/// By the primary key.
const CHANGED_DOWN: &str = "
    SELECT link_id FROM link_changes WHERE link_id BETWEEN ?1 AND ?2 ORDER BY link_id DESC LIMIT ?3";

const CHANGED_UP: &str = "
    SELECT link_id FROM link_changes WHERE link_id BETWEEN ?1 AND ?2 ORDER BY link_id LIMIT ?3";

/// By the primary key.
const REACH_DOWN: &str =
    "SELECT id FROM urls WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3 - 1";

const REACH_UP: &str =
    "SELECT id FROM urls WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1 OFFSET ?3 - 1";

/// By the primary key. The plus signs keep SQLite from another index.
const AMONG_DOWN: &str = record!("id BETWEEN ?1 AND ?2 AND +main_id IS NULL ORDER BY id DESC");

const AMONG_UP: &str = record!("id BETWEEN ?1 AND ?2 AND +main_id IS NULL ORDER BY id");

/// By the primary key, once for each number of a JSON array.
const WITH: &str = record!("id IN (SELECT value FROM json_each(?1)) AND +main_id IS NULL");

#[async_trait]
impl LinkSearch for SqliteLinks {
    /// Every statement reads a bounded number of rows.
    async fn find(&self, query: &LinkQuery) -> Result<LinkPage, DatabaseError> {
        let find = async {
            let mut reader = self.sqlite.reader().await?;
            let mut transaction = reader.begin().await?;
            let page = walk(&mut Reader(&mut transaction), query).await?;
            transaction.commit().await?;
            Ok(page)
        };
        self.sqlite.read(find).await
    }

    async fn index(&self, look: Look) -> Result<Option<Indexed>, DatabaseError> {
        self.index_a_block(look).await
    }
}

/// A transaction that reads.
struct Reader<'c>(&'c mut SqliteConnection);

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
            .bind(json(buckets))
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
        let with = sqlx::query_as(WITH).bind(json(ids));
        let rows: Vec<RecordRow> = with.fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(LinkRecord::from).collect())
    }
}

/// A JSON array of numbers.
pub(super) fn json<T: ToString>(numbers: &[T]) -> String {
    let numbers: Vec<_> = numbers.iter().map(T::to_string).collect();
    format!("[{}]", numbers.join(","))
}

async fn numbers(
    connection: &mut SqliteConnection,
    sql: &'static str,
    ids: RangeInclusive<i64>,
    at_most: usize,
) -> Result<Vec<i64>, sqlx::Error> {
    let numbers = sqlx::query_scalar(sql).bind(*ids.start()).bind(*ids.end());
    numbers.bind(at_most as i64).fetch_all(connection).await
}
