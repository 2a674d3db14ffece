//! Tags and owners of links in Postgres.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{Connection, PgConnection};

use super::PostgresLinks;
use crate::{
    db::{DatabaseError, Ending},
    links::{LinkTags, OwnerCount, Retag, RetagStep, TagCount, Whose, row::whose},
};

/// Nobody waits longer.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'";

/// In the order of an index, as far as the last of these tags.
macro_rules! tags {
    ($condition:literal) => {
        concat!(
            "SELECT tag, count(*) FROM taggings WHERE tag > $1 AND NOT deleted AND ",
            $condition,
            " GROUP BY tag ORDER BY tag LIMIT $3"
        )
    };
}

/// By `taggings_tag_idx`. All statements have the same parameters.
const TAGS_OF_ANYONE: &str = tags!("$2::text IS NULL");

/// By `taggings_owner_idx`.
const TAGS_OF_NOBODY: &str = tags!("owner IS NULL AND $2::text IS NULL");

const TAGS_OF_OWNER: &str = tags!("owner = $2");

/// Reads the whole table.
const OWNERS: &str = "
    SELECT owner, count(*) FROM urls WHERE main_id IS NULL AND deleted_at IS NULL
    GROUP BY owner ORDER BY owner NULLS FIRST";

/// By `urls_owner_idx`.
const LINKS_OF_OWNER: &str = "
    SELECT owner, count(*) FROM urls WHERE owner = $1 AND main_id IS NULL AND deleted_at IS NULL GROUP BY owner";

const LINKS_OF_NOBODY: &str = "
    SELECT owner, count(*) FROM urls WHERE owner IS NULL AND main_id IS NULL AND deleted_at IS NULL GROUP BY owner";

macro_rules! tagged {
    ($condition:literal) => {
        concat!(
            "SELECT link_id FROM taggings WHERE tag = $1 AND link_id > $2 AND ",
            $condition,
            " ORDER BY link_id LIMIT $4"
        )
    };
}

/// By `taggings_tag_idx`. All statements have the same parameters.
const TAGGED_OF_ANYONE: &str = tagged!("$3::text IS NULL");

/// By `taggings_owner_idx`.
const TAGGED_OF_NOBODY: &str = tagged!("owner IS NULL AND $3::text IS NULL");

const TAGGED_OF_OWNER: &str = tagged!("owner = $3");

/// By the primary key. In the order in which everybody locks links.
const LOCK: &str = "SELECT id FROM urls WHERE id = ANY ($1) ORDER BY id FOR UPDATE";

/// By the primary key. The order of the tags stays, and a tag is there once.
const RETAG: &str = "
    UPDATE urls SET tags = nullif(
        CASE WHEN $3 = ANY (tags) THEN array_remove(tags, $2)
             ELSE array_remove(array_replace(tags, $2, $3), NULL) END, '{}')
    WHERE id = ANY ($1) AND $2 = ANY (tags) AND ($4 = 'anyone' OR owner IS NOT DISTINCT FROM $5)";

#[async_trait]
impl LinkTags for PostgresLinks {
    async fn tags(
        &self,
        whose: &Whose,
        after: &str,
        at_most: u32,
    ) -> Result<Vec<TagCount>, DatabaseError> {
        let arguments = (whose, after, i64::from(at_most));
        self.postgres.pool.read(&arguments, tags).await
    }

    async fn owners(&self, whose: &Whose) -> Result<Vec<OwnerCount>, DatabaseError> {
        self.postgres.pool.read(whose, owners).await
    }

    async fn retag(
        &self,
        retag: &Retag,
        after: i64,
        at_most: u32,
    ) -> Result<RetagStep, DatabaseError> {
        let arguments = (retag, after, i64::from(at_most));
        self.postgres.pool.transact(&arguments, self::retag).await
    }
}

fn tags<'c>(
    connection: &'c mut PgConnection,
    (whose, after, at_most): &'c (&Whose, &str, i64),
) -> BoxFuture<'c, Result<Vec<TagCount>, sqlx::Error>> {
    Box::pin(async move {
        let (sql, owner) = match whose {
            Whose::Anyone => (TAGS_OF_ANYONE, None),
            Whose::Nobody => (TAGS_OF_NOBODY, None),
            Whose::Owner(owner) => (TAGS_OF_OWNER, Some(owner.as_str())),
        };
        let mut transaction = connection.begin_with(BEGIN).await?;
        let tags = sqlx::query_as(sql).bind(after).bind(owner).bind(at_most);
        let rows: Vec<(String, i64)> = tags.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows.into_iter().map(TagCount::from).collect())
    })
}

fn owners<'c>(
    connection: &'c mut PgConnection,
    whose: &'c Whose,
) -> BoxFuture<'c, Result<Vec<OwnerCount>, sqlx::Error>> {
    Box::pin(async move {
        let owners = match whose {
            Whose::Anyone => sqlx::query_as(OWNERS),
            Whose::Nobody => sqlx::query_as(LINKS_OF_NOBODY),
            Whose::Owner(owner) => sqlx::query_as(LINKS_OF_OWNER).bind(owner.as_str()),
        };
        let mut transaction = connection.begin_with(BEGIN).await?;
        let rows: Vec<(Option<String>, i64)> = owners.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows.into_iter().map(OwnerCount::from).collect())
    })
}

/// In a transaction.
fn retag<'c>(
    connection: &'c mut PgConnection,
    (retag, after, at_most): &'c (&Retag, i64, i64),
) -> BoxFuture<'c, Result<Ending<RetagStep>, sqlx::Error>> {
    Box::pin(async move {
        let sql = match &retag.whose {
            Whose::Anyone => TAGGED_OF_ANYONE,
            Whose::Nobody => TAGGED_OF_NOBODY,
            Whose::Owner(_) => TAGGED_OF_OWNER,
        };
        let (kind, owner) = whose(&retag.whose);
        let tagged = sqlx::query_scalar(sql).bind(&retag.tag).bind(after);
        let tagged = tagged.bind(owner).bind(at_most);
        let ids: Vec<i64> = tagged.fetch_all(&mut *connection).await?;
        let lock = sqlx::query(LOCK).bind(&ids);
        lock.execute(&mut *connection).await?;
        let changed = sqlx::query(RETAG)
            .bind(&ids)
            .bind(&retag.tag)
            .bind(retag.instead.as_slice().first())
            .bind(kind)
            .bind(owner)
            .execute(connection)
            .await?;
        Ok(Ending::Commit(RetagStep {
            links: changed.rows_affected(),
            last: ids.last().copied(),
        }))
    })
}
