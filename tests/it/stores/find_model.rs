//! Links of many kinds, and what a look at every one of them finds.

use std::time::{Duration, SystemTime};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use shunt::links::{
    Between, LinkChange, LinkFilter, LinkRecord, LinkState, Operation, Order, Part, SearchTerm,
    Tags, Whose,
};

use super::{
    find::all,
    managing::{alias, change, edit, owner, plain, title},
    place::{Opened, Place, code, url},
};

/// How many links there are at first: more than two blocks of the index.
const LINKS: usize = 5_000;

/// Terms, some of them in many links, some in one, some in none. What stands for anything in a database stands for
/// itself here.
const TERMS: &[&str] = &[
    "ALPHA.example",
    "beta",
    "example/123",
    "://",
    "Äpfel",
    "äPFEL 7",
    "c",
    "CO",
    "Code4",
    "code12",
    "further",
    "fu",
    "ZEBRA",
    "no such text",
    "exampleexample",
    "%",
    "%%%",
    "a_p",
    "\"*\"",
    "100%_\"*",
    "note\0",
    "\0ab",
    "日本語",
    "x y",
    "green",
    "ree",
    "alpha.example/1",
    "ha.example/2",
    "reen\",\"b",
];

/// The links in the order in which they were stored.
pub(super) struct Model {
    random: StdRng,
    links: Vec<LinkRecord>,
}

impl Model {
    pub(super) async fn fill(place: &Place, node: &Opened) -> Self {
        place.execute(place.filling()).await;
        let mut links = Vec::new();
        for number in 1..=LINKS {
            let record = node.record(&code(&format!("Code{number}"))).await;
            links.push(record.expect("an answer").expect("a link"));
        }
        Self {
            random: StdRng::seed_from_u64(7),
            links,
        }
    }

    /// Changes, removes and adds some links, by the store and past it.
    pub(super) async fn change(&mut self, node: &Opened, place: &Place, changes: usize) {
        for number in 0..changes {
            let index = self.random.random_range(0..self.links.len());
            let name = self.links[index].code.to_string();
            if number % 10 == 9 {
                let name = format!("New{}", self.random.random::<u32>());
                super::managing::store(node, plain(&name)).await;
                let record = node.record(&code(&name)).await.expect("an answer");
                self.links.push(record.expect("a link"));
                continue;
            }
            if number % 10 == 8 {
                place.remove(&name).await;
                self.links.remove(index);
                continue;
            }
            let operation = match number % 10 {
                0 => change(title("A ZEBRA")),
                1 => change(LinkChange {
                    tags: Some(Tags::parse(["green", "b\"c"]).expect("tags")),
                    ..LinkChange::default()
                }),
                2 => Operation::Delete,
                3 => Operation::Restore {
                    within: Duration::from_secs(10 * 366 * 86_400),
                },
                4 => Operation::Rename(alias(&format!("Other{}", self.random.random::<u32>()))),
                5 => Operation::AddCode(alias(&format!("Further{}", self.random.random::<u32>()))),
                6 => change(LinkChange {
                    target: Some(url("https://omega.example/%22")),
                    note: Part::Removed,
                    ..LinkChange::default()
                }),
                _ => change(LinkChange {
                    enabled: Some(self.random.random()),
                    tags: Some(Tags::default()),
                    ..LinkChange::default()
                }),
            };
            match edit(node, &name, operation).await {
                Ok(link) => self.links[index] = link,
                // It is deleted.
                Err(why) => assert_eq!(why.to_string(), "the link is deleted; restore it first"),
            }
        }
    }

    /// Asks for something.
    pub(super) async fn check(&mut self, node: &Opened, what: &str) {
        let filter = self.filter();
        let order = *[Order::Newest, Order::Oldest]
            .choose(&mut self.random)
            .expect("one");
        let limit = *[1, 7, 50, 100].choose(&mut self.random).expect("one");
        // With a page for each link, a long list would take too long.
        let limit = if self.expected(&filter, order).len() > 200 {
            100
        } else {
            limit
        };
        self.compare(node, &filter, order, limit, what).await;
    }

    /// Asks for every term.
    pub(super) async fn check_all(&mut self, node: &Opened) {
        for term in TERMS {
            let filter = super::find::search(term);
            self.compare(node, &filter, Order::Newest, 100, term).await;
        }
    }

    async fn compare(
        &self,
        node: &Opened,
        filter: &LinkFilter,
        order: Order,
        limit: usize,
        what: &str,
    ) {
        let found = all(node, filter, order, limit).await;
        let found: Vec<_> = found.iter().map(|link| link.code.as_str()).collect();
        let expected = self.expected(filter, order);
        let expected: Vec<_> = expected.iter().map(|link| link.code.as_str()).collect();
        assert_eq!(found, expected, "{what}: {filter:?} {order:?} {limit}");
    }

    fn expected(&self, filter: &LinkFilter, order: Order) -> Vec<&LinkRecord> {
        let mut links: Vec<_> = self
            .links
            .iter()
            .filter(|link| is_wanted(filter, link))
            .collect();
        if order == Order::Newest {
            links.reverse();
        }
        links
    }

    fn filter(&mut self) -> LinkFilter {
        let random = &mut self.random;
        let mut filter = LinkFilter::default();
        if random.random_bool(0.6) {
            let term = TERMS.choose(random).expect("one");
            filter.search = SearchTerm::parse(term).ok();
        }
        if random.random_bool(0.4) {
            let anna = owner("anna").expect("a name");
            let unknown = owner("unknown").expect("a name");
            let whose = [Whose::Nobody, Whose::Owner(anna), Whose::Owner(unknown)];
            filter.owner = whose.choose(random).expect("one").clone();
        }
        if random.random_bool(0.3) {
            let tags = ["green", "Green", "b\"c", "日本", "none"];
            filter.tag = tags.choose(random).map(|&tag| tag.to_owned());
        }
        if random.random_bool(0.4) {
            let states = [
                LinkState::Active,
                LinkState::Scheduled,
                LinkState::UsedUp,
                LinkState::Expired,
                LinkState::Disabled,
                LinkState::Deleted,
            ];
            filter.state = states.choose(random).copied();
        }
        if random.random_bool(0.1) {
            let targets = [
                "https://alpha.example/123",
                "https://omega.example/%22",
                "https://alpha.example",
            ];
            filter.target = targets.choose(random).map(|&target| target.to_owned());
        }
        if random.random_bool(0.2) {
            let from = random.random_range(0..LINKS as u64);
            filter.created = between(from, from + random.random_range(0..2_000));
        }
        if random.random_bool(0.2) {
            filter.expires = between(random.random_range(0..2_000_000_000), 4_000_000_000);
        }
        filter
    }
}

fn between(from: u64, until: u64) -> Between {
    let time = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    Between {
        from: time(from),
        until: time(until),
    }
}

/// Written without a look at the code under test.
fn is_wanted(filter: &LinkFilter, link: &LinkRecord) -> bool {
    let name = link.owner.as_ref().map(|owner| owner.as_str());
    let owner = match &filter.owner {
        Whose::Anyone => true,
        Whose::Nobody => name.is_none(),
        Whose::Owner(owner) => name == Some(owner.as_str()),
    };
    let state = match filter.state {
        Some(state) => link.state == state,
        None => link.state != LinkState::Deleted,
    };
    let is_within = |span: &Between, time: Option<SystemTime>| match (span.from, span.until) {
        (None, None) => true,
        (from, until) => time.is_some_and(|time| {
            from.is_none_or(|from| from <= time) && until.is_none_or(|until| time < until)
        }),
    };
    owner
        && state
        && filter
            .tag
            .as_ref()
            .is_none_or(|tag| link.tags.iter().any(|own| own == tag))
        && filter
            .target
            .as_ref()
            .is_none_or(|target| link.target == *target)
        && is_within(&filter.created, Some(link.created_at))
        && is_within(&filter.expires, link.expires_at)
        && filter
            .search
            .as_ref()
            .is_none_or(|term| is_found(term, link))
}

fn is_found(term: &SearchTerm, link: &LinkRecord) -> bool {
    let term = TERMS
        .iter()
        .find(|text| SearchTerm::parse(text).as_ref() == Ok(term));
    let term = term.expect("one of the terms").to_lowercase();
    let codes = link.codes().map(|code| code.as_str().to_lowercase());
    if term.chars().count() < 3 {
        return codes.into_iter().any(|code| code.starts_with(&term));
    }
    let labels = link.title.iter().chain(&link.note).chain(&link.tags);
    let texts = labels.chain([&link.target]).map(|text| text.to_lowercase());
    codes.chain(texts).any(|text| text.contains(&term))
}

impl Place {
    /// SQL that makes the first links.
    pub(super) fn filling(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000)
                 INSERT INTO urls (short_code, original_url, owner, created_at, title, note, tags,
                                   expires_at, max_visits, visits, starts_at, enabled, deleted_at)
                 SELECT 'Code' || n,
                        'https://' || CASE n % 3 WHEN 0 THEN 'alpha' WHEN 1 THEN 'beta' ELSE 'Gamma' END || '.example/' || n,
                        CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'anna' ELSE 'bert' END,
                        n + n % 50 / 10.0,
                        CASE WHEN n % 7 = 0 THEN 'Viele ÄPFEL ' || n END,
                        CASE WHEN n % 11 = 0 THEN 'これは日本語です 100%_\"*' WHEN n % 501 = 0 THEN 'x Y' END,
                        CASE n % 13 WHEN 0 THEN '[\"green\"]' WHEN 1 THEN '[\"日本\", \"b\\\"c\", \"Green\"]' END,
                        CASE WHEN n % 17 = 0 THEN 1000000 * n END,
                        CASE WHEN n % 19 = 0 THEN 5 END, n % 7,
                        CASE WHEN n % 23 = 0 THEN 1000000 * n END,
                        n % 29 <> 0,
                        CASE WHEN n % 31 = 0 THEN unixepoch() END
                 FROM numbers"
            }
            Self::Postgres(_) => {
                "INSERT INTO urls (short_code, original_url, owner, created_at, title, note, tags,
                                   expires_at, max_visits, visits, starts_at, enabled, deleted_at)
                 SELECT 'Code' || n,
                        'https://' || CASE n % 3 WHEN 0 THEN 'alpha' WHEN 1 THEN 'beta' ELSE 'Gamma' END || '.example/' || n,
                        CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'anna' ELSE 'bert' END,
                        to_timestamp(n + n % 50 / 10.0),
                        CASE WHEN n % 7 = 0 THEN 'Viele ÄPFEL ' || n END,
                        CASE WHEN n % 11 = 0 THEN 'これは日本語です 100%_\"*' WHEN n % 501 = 0 THEN 'x Y' END,
                        CASE n % 13 WHEN 0 THEN ARRAY['green'] WHEN 1 THEN ARRAY['日本', 'b\"c', 'Green'] END,
                        CASE WHEN n % 17 = 0 THEN to_timestamp(1000000.0 * n) END,
                        CASE WHEN n % 19 = 0 THEN 5 END, n % 7,
                        CASE WHEN n % 23 = 0 THEN to_timestamp(1000000.0 * n) END,
                        n % 29 <> 0,
                        CASE WHEN n % 31 = 0 THEN now() END
                 FROM generate_series(1, 5000) AS n"
            }
        }
    }

    /// Removes a link for good, past the store.
    pub(super) async fn remove(&self, name: &str) {
        let sql = format!("DELETE FROM urls WHERE short_code = '{name}'");
        self.execute(sql.leak()).await;
    }
}
