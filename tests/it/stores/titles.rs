//! The contract of `Links::entitle`, and which links get the title of their page.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use shunt::{
    db::Health,
    links::{
        self, Edit, Editor, Entitled, LinkChange, LinkOptions, LinkRecord, Links, Made, Note,
        Operation, Part, Password, PasswordHash, PasswordMetrics, Terms, Title, Untitled, Wanted,
        WantedCode,
    },
    telemetry::Metrics,
    titles::{TitleMetrics, Titles},
};
use testkit::{Node, eventually};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    managing::{alias, change, rename, title},
    place::{Opened, Place, code, contract},
};
use crate::titles::{
    fetcher, network,
    pages::{Page, Pages, html, redirect},
    target,
};

contract!(
    a_link_without_a_title_gets_that_of_its_page,
    what_was_changed_in_the_meantime_stays,
);

/// The links of a node that fetches titles from `pages`.
struct Fetching {
    links: Arc<Links>,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Fetching {
    fn start(opened: Opened, pages: &Pages) -> Self {
        let metrics = Metrics::new().expect("metrics");
        let titles = Titles::new(
            fetcher(network(pages.address)),
            TitleMetrics::new(&metrics).expect("metrics"),
        );
        let (database, name) = (opened.database.clone(), opened.database.name());
        let health = Health::new(database, links::checks(&opened.store), metrics.store(name));
        let length = 6.try_into().expect("a length");
        let passwords = PasswordMetrics::new(&metrics).expect("metrics");
        let (health, operations) = (Arc::new(health), metrics.store(name));
        let links = Links::new(opened.store, health, operations, passwords, length);
        let links = Arc::new(links.telling_of_untitled(titles.listener()));
        let stop = CancellationToken::new();
        let task = {
            let (links, stop) = (links.clone(), stop.clone());
            tokio::spawn(async move { titles.run(&links, stop).await })
        };
        Self {
            links,
            metrics,
            stop,
            task,
        }
    }

    async fn make(&self, url: &str, code: WantedCode, options: LinkOptions) -> Made {
        let wanted = wanted(url, code, options);
        self.links.shorten(wanted).await.expect("a link")
    }

    async fn record(&self, made: &Made) -> LinkRecord {
        let record = self.links.record(&made.code, &Editor::Administrator).await;
        record.expect("an answer").expect("a link")
    }

    async fn becomes(&self, outcome: &str, count: u64) {
        let line = format!("shunt_titles_total{{outcome=\"{outcome}\"}} {count}\n");
        eventually(&line, async || {
            let metrics = self.metrics.render().expect("metrics");
            metrics.contains(&line).then_some(())
        })
        .await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("its end");
    }
}

fn wanted(url: &str, code: WantedCode, options: LinkOptions) -> Wanted {
    Wanted {
        target: target(url),
        code,
        owner: None,
        terms: Terms::default(),
        options,
        in_place_of: None,
    }
}

fn hash() -> PasswordHash {
    let password = Password::parse("sesame").expect("a password");
    PasswordHash::of(&password).expect("a hash")
}

fn titled(text: &str) -> LinkOptions {
    let mut options = LinkOptions::default();
    options.labels.title = title(text).title.value().cloned();
    options
}

async fn a_link_without_a_title_gets_that_of_its_page(place: Place) {
    let pages = Pages::serve(|path| match path {
        "/missing" => Page::Whole(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n".to_vec()),
        "/image" => Page::Whole(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n".to_vec()),
        "/inside" => Page::Whole(redirect("http://127.0.0.2/")),
        path => Page::Whole(html(&format!("<title>Page {path}</title>"))),
    })
    .await;
    let node = Fetching::start(place.open().await, &pages);
    let plain = LinkOptions::default;
    let shared = node.make(&pages.url("/1"), WantedCode::Any, plain()).await;
    node.becomes("stored", 1).await;
    let record = node.record(&shared).await;
    assert_eq!(record.title.as_deref(), Some("Page /1"));
    // It is still the link of everybody who shortens this URL. Its page is not fetched again.
    let again = node.make(&pages.url("/1"), WantedCode::Any, plain()).await;
    assert_eq!((again.code, again.is_new), (shared.code, false));
    let named = WantedCode::Alias(alias("named"));
    let named = node.make(&pages.url("/2"), named, plain()).await;
    node.becomes("stored", 2).await;
    let record = node.record(&named).await;
    assert_eq!(record.title.as_deref(), Some("Page /2"));

    let own = node
        .make(&pages.url("/3"), WantedCode::Any, titled("My own"))
        .await;
    // Everybody may read the title of a link.
    let mut locked = plain();
    locked.password = Some(hash());
    let locked = node
        .make(&pages.url("/locked"), WantedCode::Any, locked)
        .await;
    let missing = node
        .make(&pages.url("/missing"), WantedCode::Any, plain())
        .await;
    node.becomes("failed", 1).await;
    let image = node
        .make(&pages.url("/image"), WantedCode::Any, plain())
        .await;
    node.becomes("untitled", 1).await;
    let inside = node
        .make(&pages.url("/inside"), WantedCode::Any, plain())
        .await;
    node.becomes("refused", 1).await;
    for link in [&missing, &image, &inside] {
        assert_eq!(node.record(link).await.title, None);
    }
    assert_eq!(node.record(&own).await.title.as_deref(), Some("My own"));
    assert_eq!(node.record(&locked).await.title, None);
    // Neither the pages of the links with a title or a password, nor one a second time.
    assert_eq!(pages.requests().len(), 5, "{:?}", pages.requests());

    // Of several links at once, those that are new.
    let several = ["/1", "/4", "/4"].map(|path| wanted(&pages.url(path), WantedCode::Any, plain()));
    let made = node.links.shorten_all(several.to_vec(), || true).await;
    let made = made.expect("an answer");
    node.becomes("stored", 3).await;
    let new = made[1].as_ref().expect("a link");
    let record = node.record(new).await;
    assert_eq!(record.title.as_deref(), Some("Page /4"));
    assert_eq!(pages.requests().len(), 6, "{:?}", pages.requests());
    node.stop().await;
}

async fn what_was_changed_in_the_meantime_stays(place: Place) {
    let pages = Pages::serve(|_| Page::Stalling(Vec::new())).await;
    let node = Fetching::start(place.open().await, &pages);
    let note = LinkChange {
        note: Part::Set(Note::parse("kept").expect("a note")),
        ..LinkChange::default()
    };
    let locked = LinkChange {
        password: Part::Set(hash()),
        ..LinkChange::default()
    };
    let elsewhere = LinkChange {
        target: Some(target("https://example.com/other")),
        ..LinkChange::default()
    };
    for (text, operation, entitled, expected) in [
        (
            "chosen",
            change(title("mine")),
            Entitled::Obsolete,
            Some("mine"),
        ),
        ("noted", change(note), Entitled::Stored, Some("found")),
        ("locked", change(locked), Entitled::Obsolete, None),
        ("moved", change(elsewhere), Entitled::Obsolete, None),
        ("deleted", Operation::Delete, Entitled::Obsolete, None),
        (
            "renamed",
            rename("renamed-to"),
            Entitled::Stored,
            Some("found"),
        ),
    ] {
        let wanted = WantedCode::Alias(alias(text));
        let made = node.make("https://example.com/", wanted, LinkOptions::default());
        let made = made.await;
        let edit = Edit {
            code: made.code.clone(),
            editor: Editor::Administrator,
            only_if: None,
            operation,
        };
        let edited = node.links.edit(&edit).await.expect("an answer").record();
        let edited = edited.expect("it is done");
        let link = Untitled {
            code: made.code.clone(),
            target: target("https://example.com/"),
        };
        let found = Title::parse("found").expect("a title");
        let done = node.links.entitle(&link, found).await;
        assert_eq!(done.expect("an answer"), entitled, "{text}");
        let record = node.record(&made).await;
        assert_eq!(record.title.as_deref(), expected, "{text}");
        let others =
            |record: &LinkRecord| (record.note.clone(), record.target.clone(), record.state);
        assert_eq!(others(&record), others(&edited), "{text}");
    }
    let gone = Untitled {
        code: code("no-such-link"),
        target: target("https://example.com/"),
    };
    let found = Title::parse("found").expect("a title");
    let done = node.links.entitle(&gone, found).await;
    assert_eq!(done.expect("an answer"), Entitled::Obsolete);
    node.stop().await;
}

/// Two pages are fetched at once, and so many links wait. A link that is one too many is made all the same.
#[tokio::test]
async fn a_link_is_made_at_once_however_slow_its_page_is() {
    let pages = Pages::serve(|_| Page::Stalling(Vec::new())).await;
    let place = Place::sqlite();
    let node = Fetching::start(place.open().await, &pages);
    let url = pages.url("/");
    let made = node.make(&url, WantedCode::Any, LinkOptions::default());
    let made = timeout(Duration::from_secs(2), made).await;
    assert!(made.expect("at once").is_new);
    for number in 1..=2 {
        let url = pages.url(&format!("/{number}"));
        node.make(&url, WantedCode::Any, LinkOptions::default())
            .await;
    }
    eventually("two pages are asked for", async || {
        (pages.requests().len() == 2).then_some(())
    })
    .await;
    node.stop().await;

    let metrics = Metrics::new().expect("metrics");
    let titles = Titles::new(
        fetcher(network(pages.address)),
        TitleMetrics::new(&metrics).expect("metrics"),
    );
    let listener = titles.listener();
    for number in 0..1030 {
        listener(Untitled {
            code: code(&format!("code-{number}")),
            target: target("https://example.com/"),
        });
    }
    let metrics = metrics.render().expect("metrics");
    let dropped = "shunt_titles_total{outcome=\"dropped\"} 6\n";
    assert!(metrics.contains(dropped), "{metrics}");
}

/// The program itself connects to no private address, and does not fetch anything unless it is told to.
#[tokio::test]
async fn the_program_fetches_from_the_public_internet_only() {
    let builder = Node::builder().set("limiter.enabled", "false");
    let node = builder
        .clone()
        .set("links.fetch_titles", "true")
        .start()
        .await;
    let here = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = here.local_addr().expect("its address");
    let urls = [format!("http://{address}/"), "http://127.0.0.1/".to_owned()];
    for (number, url) in urls.iter().enumerate() {
        let answer = node.client().shorten(url).await;
        assert_eq!(answer.status, 200, "{url}");
        let refused = async || {
            let labels = ["outcome=\"refused\""];
            node.metric("shunt_titles_total", &labels).await
        };
        eventually("it is refused", async || {
            (refused().await == (number + 1) as f64).then_some(())
        })
        .await;
    }
    assert_eq!(here.accept().now_or_never().map(|_| ()), None);
    let node = builder.start().await;
    node.client().shorten("http://127.0.0.1/").await;
    let metrics = node.probe().get("/metrics").await.body;
    assert!(!metrics.contains("shunt_titles"), "{metrics}");
}
