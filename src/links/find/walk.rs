//! How a page of links is found: along their numbers, block by block, and never for long.
//!
//! In a block that is in the index, only those links are looked at that have all tokens of the filter, and those that
//! were changed after the block was indexed. In any other part of the table, every link is looked at; the newest links
//! are always in such a part. So nothing is left out, and an index that lags only makes a page take longer.
//!
//! After [`PATIENCE`] or [`MOST_LOOKED_AT`] links, the page ends where it is, and the next one goes on from there.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use tokio::{task::yield_now, time::Instant};

use super::{
    LinkPage, LinkQuery, Order,
    block::{BLOCK, BlockSummary, Places, block_of, ids_of, places},
    token::{self, Wanted},
};
use crate::links::LinkRecord;

/// After this time, nothing more is begun.
const PATIENCE: Duration = Duration::from_millis(20);

/// The most links that are looked at for a page.
const MOST_LOOKED_AT: usize = 4_000;

/// How many links are read at once, at first and after that. For most pages, the first ones are enough.
const FIRST_LINKS: usize = 101;
const MORE_LINKS: usize = 250;

/// How many links are looked at between two looks at the clock. A note may be long.
const LINKS_AT_ONCE: usize = 50;

/// How many blocks are read at once, at first and at most. A common term is in every block, a rare one in few.
const FIRST_BLOCKS: usize = 4;
const MOST_BLOCKS: usize = 256;

/// The most bytes of rows that are read at once, if it is more than one block.
const MOST_BYTES: usize = 4 * 1_024 * 1_024;

/// The most changes that are read at once. No block has as many.
const MOST_CHANGES: usize = 2 * BLOCK;

/// A row of the index: the numbers of the block and the bucket, and the entries.
pub(in crate::links) type EntriesRow = (i64, i16, Vec<u8>);

/// What a store is asked for. All answers are about one moment.
pub(in crate::links) trait Source: Send {
    type Error: Send;

    /// The first blocks of the index in this order, from this one on.
    fn blocks(
        &mut self,
        from: i64,
        order: Order,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<BlockSummary>, Self::Error>> + Send;

    /// The rows of these blocks and buckets.
    fn rows(
        &mut self,
        blocks: RangeInclusive<i64>,
        buckets: &[i16],
    ) -> impl Future<Output = Result<Vec<EntriesRow>, Self::Error>> + Send;

    /// The numbers of the first links in this order that were changed after their block was indexed.
    fn changed(
        &mut self,
        ids: RangeInclusive<i64>,
        order: Order,
        at_most: usize,
    ) -> impl Future<Output = Result<Vec<i64>, Self::Error>> + Send;

    /// Which of these numbers the rows of a table have that are the first ones in this order: all up to which number.
    /// `None`: all of these. Further codes of links are rows, too.
    fn reach(
        &mut self,
        ids: RangeInclusive<i64>,
        order: Order,
        rows: usize,
    ) -> impl Future<Output = Result<Option<i64>, Self::Error>> + Send;

    /// The links with these numbers, in this order.
    fn among(
        &mut self,
        ids: RangeInclusive<i64>,
        order: Order,
    ) -> impl Future<Output = Result<Vec<LinkRecord>, Self::Error>> + Send;

    /// The links with these numbers, in any order.
    fn with(
        &mut self,
        ids: &[i64],
    ) -> impl Future<Output = Result<Vec<LinkRecord>, Self::Error>> + Send;
}

/// Finds a page.
pub(in crate::links) async fn walk<S: Source>(
    source: &mut S,
    query: &LinkQuery,
) -> Result<LinkPage, S::Error> {
    let mut walk = Walk {
        query,
        tokens: token::of_filter(&query.filter),
        left: Some(query.order.after(query.after)),
        found: Vec::new(),
        looked_at: 0,
        blocks: FIRST_BLOCKS,
        has_begun: false,
        until: Instant::now() + PATIENCE,
    };
    while walk.goes_on() {
        walk.step(source).await?;
    }
    Ok(walk.page())
}

struct Walk<'a> {
    query: &'a LinkQuery,
    tokens: Wanted,
    /// The numbers of links that are still to be looked at.
    left: Option<RangeInclusive<i64>>,
    found: Vec<LinkRecord>,
    looked_at: usize,
    blocks: usize,
    /// Whether it has come further, which every page must.
    has_begun: bool,
    until: Instant,
}

impl Walk<'_> {
    fn goes_on(&self) -> bool {
        self.left.is_some()
            && !self.is_full()
            && self.looked_at < MOST_LOOKED_AT
            && (!self.has_begun || Instant::now() < self.until)
    }

    /// Whether there is one more than the page has, which says that there is a next page.
    fn is_full(&self) -> bool {
        self.found.len() > self.query.limit
    }

    fn page(mut self) -> LinkPage {
        if self.is_full() {
            self.found.truncate(self.query.limit);
            let next = self.found.last().map(|link| link.id);
            return LinkPage {
                links: self.found,
                next,
            };
        }
        let order = self.query.order;
        LinkPage {
            links: self.found,
            next: self.left.map(|left| order.before(&left)),
        }
    }

    async fn step<S: Source>(&mut self, source: &mut S) -> Result<(), S::Error> {
        let Some(left) = self.left.clone() else {
            return Ok(());
        };
        if self.tokens.is_empty() {
            return self.look_at_all(source, left).await;
        }
        let order = self.query.order;
        let from = block_of(order.first(&left));
        let indexed = source.blocks(from, order, self.blocks).await?;
        match indexed.first() {
            Some(first) if first.block == from => {
                let expected = (0..).map(|number| order.step(from, number));
                let together = indexed.iter().zip(expected);
                let together = together.take_while(|(one, block)| one.block == *block);
                let together: Vec<_> = together.map(|(one, _)| one).collect();
                let buckets = self.tokens.buckets();
                let fitting = fitting(&together, buckets.len());
                self.look_into(source, left, fitting, &buckets).await?;
                self.blocks = (self.blocks * 8).min(MOST_BLOCKS);
                Ok(())
            }
            Some(first) => {
                let until = order.before(&ids_of(first.block));
                self.look_at_all(source, order.until(&left, until)).await
            }
            None => self.look_at_all(source, left).await,
        }
    }

    /// Looks at links one after the other.
    async fn look_at_all<S: Source>(
        &mut self,
        source: &mut S,
        ids: RangeInclusive<i64>,
    ) -> Result<(), S::Error> {
        let order = self.query.order;
        let rows = self.batch();
        let reach = source.reach(ids.clone(), order, rows).await?;
        let last = reach.unwrap_or(order.last(&ids));
        let links = source.among(order.until(&ids, last), order).await?;
        if reach.is_some() {
            // Rows that are no links cost a look as well.
            self.looked_at += rows.saturating_sub(links.len());
        }
        self.look_at(links, last).await;
        Ok(())
    }

    /// Looks at those links of blocks that may be wanted. The blocks are next to each other.
    async fn look_into<S: Source>(
        &mut self,
        source: &mut S,
        left: RangeInclusive<i64>,
        blocks: &[&BlockSummary],
        buckets: &[i16],
    ) -> Result<(), S::Error> {
        let order = self.query.order;
        let [Some(first), Some(last)] =
            [blocks.first(), blocks.last()].map(|one| one.map(|one| one.block))
        else {
            return Ok(());
        };
        let (lowest, highest) = (first.min(last), first.max(last));
        let all = *ids_of(lowest).start()..=*ids_of(highest).end();
        let changes = source.changed(all, order, MOST_CHANGES).await?;
        // There may be more changes in the block of the last one.
        let cut = changes.last().filter(|_| changes.len() == MOST_CHANGES);
        let cut = cut.map(|id| block_of(*id));
        let is_known = |one: &&&BlockSummary| Some(one.block) != cut;
        let known = blocks.iter().take_while(is_known).count();
        let blocks = &blocks[..known.max(1)];
        let last = blocks.last().map_or(first, |one| one.block);
        let (lowest, highest) = (first.min(last), first.max(last));
        let mut rows: BTreeMap<i64, BTreeMap<i16, Vec<u8>>> = BTreeMap::new();
        for (block, bucket, entries) in source.rows(lowest..=highest, buckets).await? {
            rows.entry(block).or_default().insert(bucket, entries);
        }
        let mut changed: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for id in changes {
            changed.entry(block_of(id)).or_default().push(id);
        }
        let mut candidates = Vec::new();
        for summary in blocks {
            let block = summary.block;
            let created = &self.query.filter.created;
            let is_skipped = match &summary.created {
                Some(times) => !created.touches(times),
                None => true,
            };
            let none = BTreeMap::new();
            let mut places = match is_skipped {
                true => Places::default(),
                false => places(&self.tokens, rows.get(&block).unwrap_or(&none)),
            };
            for id in changed.get(&block).into_iter().flatten() {
                places.insert_id(*id);
            }
            let ids = places.ids(block).filter(|id| left.contains(id));
            match order {
                Order::Newest => candidates.extend(ids.rev()),
                Order::Oldest => candidates.extend(ids),
            }
            while candidates.len() >= self.batch() {
                let rest = candidates.split_off(self.batch());
                self.look_at_these(source, &candidates).await?;
                candidates = rest;
                if !self.goes_on() {
                    return Ok(());
                }
            }
        }
        if self.look_at_these(source, &candidates).await? {
            self.went_to(order.last(&ids_of(last)));
        }
        Ok(())
    }

    /// Returns whether it has looked at all of them.
    async fn look_at_these<S: Source>(
        &mut self,
        source: &mut S,
        ids: &[i64],
    ) -> Result<bool, S::Error> {
        let Some(last) = ids.last() else {
            return Ok(true);
        };
        let mut links = source.with(ids).await?;
        links.sort_unstable_by_key(|link| link.id);
        if self.query.order == Order::Newest {
            links.reverse();
        }
        // Those that are gone cost a look as well.
        self.looked_at += ids.len() - links.len();
        Ok(self.look_at(links, *last).await)
    }

    /// Looks at these links, which are all up to the number `last`, as long as it goes on. Returns whether it has looked
    /// at all of them.
    async fn look_at(&mut self, links: Vec<LinkRecord>, last: i64) -> bool {
        for (number, link) in (1..).zip(links) {
            let id = link.id;
            self.looked_at += 1;
            if self.query.filter.includes(&link) {
                self.found.push(link);
            }
            if number % LINKS_AT_ONCE == 0 {
                self.went_to(id);
                if !self.goes_on() {
                    return false;
                }
                yield_now().await;
            }
        }
        self.went_to(last);
        true
    }

    /// Everything up to this number has been looked at.
    fn went_to(&mut self, last: i64) {
        self.has_begun = true;
        if let Some(left) = self.left.take() {
            self.left = self.query.order.beyond(&left, last);
        }
    }

    /// How many links to read next.
    fn batch(&self) -> usize {
        match self.looked_at {
            0 => FIRST_LINKS.max(self.query.limit + 1),
            _ => MORE_LINKS,
        }
    }
}

/// The first blocks whose rows of this many buckets are not too long together; at least one.
fn fitting<'a, 'b>(blocks: &'a [&'b BlockSummary], buckets: usize) -> &'a [&'b BlockSummary] {
    let lengths = blocks.iter().map(|one| one.row_bytes * buckets);
    let sums = lengths.scan(0, |sum: &mut usize, length| {
        *sum += length;
        Some(*sum)
    });
    let count = sums.take_while(|sum| *sum <= MOST_BYTES).count();
    &blocks[..count.max(1).min(blocks.len())]
}

impl Order {
    /// All numbers that come after this one.
    fn after(self, position: Option<i64>) -> RangeInclusive<i64> {
        match (self, position) {
            (Self::Newest, Some(id)) => i64::MIN..=id.saturating_sub(1),
            (Self::Oldest, Some(id)) => id.saturating_add(1)..=i64::MAX,
            (_, None) => i64::MIN..=i64::MAX,
        }
    }

    fn first(self, ids: &RangeInclusive<i64>) -> i64 {
        match self {
            Self::Newest => *ids.end(),
            Self::Oldest => *ids.start(),
        }
    }

    fn last(self, ids: &RangeInclusive<i64>) -> i64 {
        match self {
            Self::Newest => *ids.start(),
            Self::Oldest => *ids.end(),
        }
    }

    /// The number just before all of these.
    fn before(self, ids: &RangeInclusive<i64>) -> i64 {
        match self {
            Self::Newest => ids.end().saturating_add(1),
            Self::Oldest => ids.start().saturating_sub(1),
        }
    }

    /// Those up to a number, with it.
    fn until(self, ids: &RangeInclusive<i64>, last: i64) -> RangeInclusive<i64> {
        match self {
            Self::Newest => last..=*ids.end(),
            Self::Oldest => *ids.start()..=last,
        }
    }

    /// Those after a number; `None` if there are none.
    fn beyond(self, ids: &RangeInclusive<i64>, last: i64) -> Option<RangeInclusive<i64>> {
        let rest = match self {
            Self::Newest => *ids.start()..=last.checked_sub(1)?,
            Self::Oldest => last.checked_add(1)?..=*ids.end(),
        };
        (!rest.is_empty()).then_some(rest)
    }

    fn step(self, from: i64, number: i64) -> i64 {
        match self {
            Self::Newest => from - number,
            Self::Oldest => from + number,
        }
    }
}
