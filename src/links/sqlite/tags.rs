//! Tags and owners of links in an SQLite file.
//!
//! A statement in SQLite goes on when nobody waits for it any more. So links are counted some at a time, each with a
//! connection of its own, and others read in between.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::time::Instant;

use super::{SqliteLinks, find::json};
use crate::{
    db::{DatabaseError, Ending},
    links::{
        LinkTags, OwnerCount, Retag, RetagStep, TagCount, Whose, row::whose, tags::COUNT_PATIENCE,
    },
};

/// How many rows are counted at once.
const BATCH: i64 = 20_000;

/// Of some rows in the order of an index: each tag, how many links have it, how many rows that were, and the last.
macro_rules! tags {
    ($condition:literal) => {
        concat!(
            "SELECT tag, count(*) FILTER (WHERE NOT deleted), count(*), max(link_id) FROM (
                 SELECT tag, link_id, deleted FROM taggings WHERE ",
            $condition,
            " (tag, link_id) > (?1, ?2) ORDER BY tag, link_id LIMIT ?3
             ) GROUP BY tag ORDER BY tag"
        )
    };
}

/// By `taggings_tag_idx`.
const TAGS: &str = tags!("");

/// By `taggings_owner_idx`.
const TAGS_OF: &str = tags!("owner IS ?4 AND");

/// Of some rows by the primary key: each owner, how many links it has, how many rows that were, and the last.
const OWNERS: &str = "
    SELECT owner, count(*) FILTER (WHERE main_id IS NULL AND deleted_at IS NULL), count(*), max(id) FROM (
        SELECT id, owner, main_id, deleted_at FROM urls WHERE id > ?1 ORDER BY id LIMIT ?2
    ) GROUP BY owner";

/// As [`OWNERS`], by `urls_owner_idx`.
const LINKS_OF: &str = "
    SELECT owner, count(*), count(*), max(id) FROM (
        SELECT id, owner FROM urls
        WHERE owner = ?3 AND main_id IS NULL AND deleted_at IS NULL AND id > ?1 ORDER BY id LIMIT ?2
    ) GROUP BY owner";

/// By `taggings_tag_idx`.
const TAGGED: &str =
    "SELECT link_id FROM taggings WHERE tag = ?1 AND link_id > ?2 ORDER BY link_id LIMIT ?3";

/// By `taggings_owner_idx`.
const TAGGED_OF: &str = "
    SELECT link_id FROM taggings WHERE owner IS ?4 AND tag = ?1 AND link_id > ?2 ORDER BY link_id LIMIT ?3";

/// By the primary key. The order of the tags stays, and a tag is there once.
const RETAG: &str = "
    UPDATE urls SET tags = (
        SELECT iif(count(*) = 0, NULL, json_group_array(name)) FROM (
            SELECT iif(value = ?2, ?3, value) AS name FROM json_each(urls.tags)
            WHERE value <> ?2 OR ?3 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM json_each(urls.tags) WHERE value = ?3)
            ORDER BY key
        )
    )
    WHERE id IN (SELECT value FROM json_each(?1)) AND +main_id IS NULL
    AND EXISTS (SELECT 1 FROM json_each(urls.tags) WHERE value = ?2) AND (?4 = 'anyone' OR owner IS ?5)";

#[async_trait]
impl LinkTags for SqliteLinks {
    async fn tags(
        &self,
        who: &Whose,
        after: &str,
        at_most: u32,
    ) -> Result<Vec<TagCount>, DatabaseError> {
        let until = Instant::now() + COUNT_PATIENCE;
        let mut tags: Vec<TagCount> = Vec::new();
        let mut position = (after.to_owned(), i64::MAX);
        loop {
            let some = self.sqlite.read(self.some_tags(who, &position)).await?;
            let rows: i64 = some.iter().map(|(_, _, rows, _)| rows).sum();
            for (tag, links, _, last) in some {
                match tags.last_mut() {
                    Some(known) if known.tag == tag => known.links += links.unsigned_abs(),
                    // The count of the last one was complete.
                    known => {
                        if known.is_some_and(|known| known.links == 0) {
                            tags.pop();
                        }
                        tags.push(TagCount::from((tag.clone(), links)));
                    }
                }
                position = (tag, last);
            }
            // The count of the last one may not be complete.
            if rows < BATCH || tags.len() > at_most as usize {
                break;
            }
            in_time(until)?;
        }
        tags.retain(|tag| tag.links > 0);
        tags.truncate(at_most as usize);
        Ok(tags)
    }

    async fn owners(&self, who: &Whose) -> Result<Vec<OwnerCount>, DatabaseError> {
        let until = Instant::now() + COUNT_PATIENCE;
        let mut owners: BTreeMap<Option<String>, i64> = BTreeMap::new();
        let mut position = i64::MIN;
        loop {
            let some = self.sqlite.read(self.some_owners(who, position)).await?;
            let rows: i64 = some.iter().map(|(_, _, rows, _)| rows).sum();
            for (owner, links, _, last) in some {
                *owners.entry(owner).or_default() += links;
                position = position.max(last);
            }
            if rows < BATCH {
                break;
            }
            in_time(until)?;
        }
        let owners = owners.into_iter().filter(|(_, links)| *links > 0);
        Ok(owners.map(OwnerCount::from).collect())
    }

    async fn retag(
        &self,
        retag: &Retag,
        after: i64,
        at_most: u32,
    ) -> Result<RetagStep, DatabaseError> {
        let arguments = (retag, after, at_most);
        self.sqlite.transact(&arguments, self::retag).await
    }
}

/// # Errors
/// [`DatabaseError::Timeout`] if the time is over.
fn in_time(until: Instant) -> Result<(), DatabaseError> {
    match Instant::now() < until {
        true => Ok(()),
        false => Err(DatabaseError::Timeout(COUNT_PATIENCE)),
    }
}

impl SqliteLinks {
    async fn some_tags(
        &self,
        who: &Whose,
        (tag, link): &(String, i64),
    ) -> Result<Vec<(String, i64, i64, i64)>, sqlx::Error> {
        let mut reader = self.sqlite.reader().await?;
        let sql = match who {
            Whose::Anyone => TAGS,
            Whose::Nobody | Whose::Owner(_) => TAGS_OF,
        };
        let tags = sqlx::query_as(sql).bind(tag).bind(link).bind(BATCH);
        let tags = match who {
            Whose::Anyone => tags,
            Whose::Nobody | Whose::Owner(_) => tags.bind(whose(who).1),
        };
        tags.fetch_all(&mut *reader).await
    }

    async fn some_owners(
        &self,
        who: &Whose,
        after: i64,
    ) -> Result<Vec<(Option<String>, i64, i64, i64)>, sqlx::Error> {
        let mut reader = self.sqlite.reader().await?;
        let owners = match who {
            Whose::Anyone | Whose::Nobody => sqlx::query_as(OWNERS).bind(after).bind(BATCH),
            Whose::Owner(owner) => {
                let links = sqlx::query_as(LINKS_OF).bind(after).bind(BATCH);
                links.bind(owner.as_str())
            }
        };
        owners.fetch_all(&mut *reader).await
    }
}

/// In a transaction.
fn retag<'c>(
    connection: &'c mut SqliteConnection,
    (retag, after, at_most): &'c (&Retag, i64, u32),
) -> BoxFuture<'c, Result<Ending<RetagStep>, sqlx::Error>> {
    Box::pin(async move {
        let (kind, owner) = whose(&retag.whose);
        let sql = match &retag.whose {
            Whose::Anyone => TAGGED,
            Whose::Nobody | Whose::Owner(_) => TAGGED_OF,
        };
        let tagged = sqlx::query_scalar(sql).bind(&retag.tag).bind(after);
        let tagged = tagged.bind(at_most);
        let tagged = match &retag.whose {
            Whose::Anyone => tagged,
            Whose::Nobody | Whose::Owner(_) => tagged.bind(owner),
        };
        let ids: Vec<i64> = tagged.fetch_all(&mut *connection).await?;
        let change = sqlx::query(RETAG)
            .bind(json(&ids))
            .bind(&retag.tag)
            .bind(retag.instead.as_slice().first())
            .bind(kind)
            .bind(owner);
        let changed = change.execute(connection).await?;
        Ok(Ending::Commit(RetagStep {
            links: changed.rows_affected(),
            last: ids.last().copied(),
        }))
    })
}
