//! What the fetcher does with pages, redirects and addresses.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shunt::titles::{FetchError, Network};

use super::{
    fetcher, network,
    pages::{Page, Pages, html, redirect, with_headers},
    title,
};

const TITLE: &str = "<title>A page</title>";

/// A server with one page, and what the fetcher makes of it.
async fn of(page: Page) -> Result<Option<String>, FetchError> {
    let pages = Pages::serve(move |_| page.clone()).await;
    let fetcher = fetcher(network(pages.address)).within(Duration::from_millis(700));
    title(&fetcher, &pages.url("/")).await
}

#[tokio::test]
async fn pages_of_html_have_titles_and_others_have_none() {
    let chunked = b"5\r\n<titl\r\n8\r\ne>A page\r\n8\r\n</title>\r\n0\r\n\r\n";
    let latin = b"<title>Z\xfcrich &amp; Gen\xe8ve</title>";
    for (headers, body, expected) in [
        (
            "Content-Type: text/html\r\n",
            TITLE.as_bytes(),
            Some("A page"),
        ),
        (
            "Content-Type: TEXT/HTML;\r\nContent-Length: 21\r\n",
            TITLE.as_bytes(),
            Some("A page"),
        ),
        (
            "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n",
            chunked,
            Some("A page"),
        ),
        (
            "Content-Type: application/xhtml+xml\r\n",
            TITLE.as_bytes(),
            Some("A page"),
        ),
        (
            "Content-Type: text/html; a=b; Charset=\"ISO-8859-1\"\r\n",
            latin,
            Some("Zürich & Genève"),
        ),
        (
            "Content-Type: text/html\r\nContent-Encoding: identity\r\n",
            TITLE.as_bytes(),
            Some("A page"),
        ),
        ("Content-Type: text/html\r\n", b"no title", None),
        ("Content-Type: text/html\r\n", b"", None),
        ("Content-Type: text/plain\r\n", TITLE.as_bytes(), None),
        (
            "Content-Type: application/json; charset=text/html\r\n",
            TITLE.as_bytes(),
            None,
        ),
        ("", TITLE.as_bytes(), None),
    ] {
        let found = of(Page::Whole(with_headers(headers, body))).await;
        let found = found.unwrap_or_else(|error| panic!("{headers}: {error}"));
        assert_eq!(found.as_deref(), expected, "{headers}");
    }
}

#[tokio::test]
async fn what_is_no_page_is_an_error() {
    // 200 MiB of `a`, if it were decompressed.
    let compressed = with_headers(
        "Content-Type: text/html\r\nContent-Encoding: gzip\r\n",
        &[0; 100],
    );
    let failed = of(Page::Whole(compressed)).await;
    assert!(matches!(failed, Err(FetchError::Compressed)), "{failed:?}");
    let failed = of(Page::Whole(
        b"HTTP/1.1 404 No\r\nContent-Type: text/html\r\n\r\n<title>No</title>".to_vec(),
    ))
    .await;
    assert!(matches!(failed, Err(FetchError::Status(404))), "{failed:?}");
    for head in [
        format!(
            "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n{TITLE}",
            "a".repeat(100_000)
        ),
        format!(
            "HTTP/1.1 200 OK\r\n{}\r\n{TITLE}",
            "A: a\r\n".repeat(20_000)
        ),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        String::new(),
    ] {
        let failed = of(Page::Whole(head.into_bytes())).await;
        assert!(matches!(failed, Err(FetchError::Http(_))), "{failed:?}");
    }
    let endless = of(Page::Endless(
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"A: a\r\n".to_vec(),
    ))
    .await;
    assert!(matches!(endless, Err(FetchError::Http(_))), "{endless:?}");
}

#[tokio::test]
async fn a_server_that_takes_its_time_is_left() {
    for page in [
        Page::Stalling(Vec::new()),
        Page::Stalling(b"HTTP/1.1 200 OK\r\nContent-Type: text".to_vec()),
        Page::Stalling(html("<title>no end")),
        Page::Dripping(html("<title>")),
    ] {
        let begun = Instant::now();
        let left = of(page).await;
        assert!(matches!(left, Err(FetchError::TimedOut(_))), "{left:?}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
    // The rest of the page is not waited for.
    let found = of(Page::Stalling(html(TITLE))).await;
    assert_eq!(found.expect("a title").as_deref(), Some("A page"));
}

#[tokio::test]
async fn only_the_beginning_of_a_page_is_read() {
    let space = vec![b' '; 64 << 10];
    let endless = Page::Endless(html(""), space);
    let pages = Pages::serve(move |_| endless.clone()).await;
    let fetcher = fetcher(network(pages.address));
    let found = title(&fetcher, &pages.url("/")).await;
    assert_eq!(found.expect("a page"), None);
    // What the kernel holds, on both sides, is more than what was read.
    assert!(pages.written() < 16 << 20, "{}", pages.written());

    let late = format!("{}{TITLE}", " ".repeat(256 << 10));
    assert_eq!(of(Page::Whole(html(&late))).await.expect("a page"), None);
    let just = format!("{}{TITLE}", " ".repeat((256 << 10) - TITLE.len()));
    let found = of(Page::Whole(html(&just))).await.expect("a page");
    assert_eq!(found.as_deref(), Some("A page"));
    // Ends of titles that are none cost next to nothing.
    let begun = Instant::now();
    let many = format!("<!--{}-->{TITLE}", "</title>".repeat(30_000));
    let found = of(Page::Whole(html(&many))).await.expect("a page");
    assert_eq!(found.as_deref(), Some("A page"));
    let worst = "<&".repeat(128 << 10);
    assert_eq!(of(Page::Whole(html(&worst))).await.expect("a page"), None);
    let worst = format!("<title>{}</title>", "&".repeat(250_000));
    assert!(
        of(Page::Whole(html(&worst)))
            .await
            .expect("a page")
            .is_some()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_request_tells_nothing_about_the_link() {
    let pages = Pages::serve(|path| match path {
        "/a?b=%41" => Page::Whole(redirect("/next")),
        _ => Page::Whole(html(TITLE)),
    })
    .await;
    let fetcher = fetcher(network(pages.address));
    let url = format!("http://a.example:{}/a?b=%41#c", pages.address.port());
    let found = title(&fetcher, &url).await.expect("a page");
    assert_eq!(found.as_deref(), Some("A page"));
    let host = format!("a.example:{}", pages.address.port());
    let version = env!("CARGO_PKG_VERSION");
    let expected = |path| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: Shunt/{version} (+title)\r\n\
             accept: text/html, application/xhtml+xml\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
        )
    };
    assert_eq!(pages.requests(), [expected("/a?b=%41"), expected("/next")]);
}

#[tokio::test]
async fn at_most_three_redirects_are_followed() {
    let pages = Pages::serve(|path| {
        Page::Whole(match path {
            "/0" => html(TITLE),
            "/nowhere" => redirect("http://"),
            "/file" => redirect("file:///etc/passwd"),
            "/other" => redirect("gopher://127.0.0.1/"),
            path => {
                let left: u32 = path[1..].parse().expect("a number");
                redirect(&format!("./{}", left - 1))
            }
        })
    })
    .await;
    let fetcher = fetcher(network(pages.address));
    let found = title(&fetcher, &pages.url("/3")).await;
    assert_eq!(found.expect("a page").as_deref(), Some("A page"));
    let failed = title(&fetcher, &pages.url("/4")).await;
    assert!(matches!(failed, Err(FetchError::Redirects)), "{failed:?}");
    let failed = title(&fetcher, &pages.url("/nowhere")).await;
    assert!(matches!(failed, Err(FetchError::Url(_))), "{failed:?}");
    for path in ["/file", "/other"] {
        let refused = title(&fetcher, &pages.url(path)).await;
        assert!(
            matches!(refused, Err(FetchError::NotAllowed)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_redirect_to_another_network_is_not_followed() {
    let inside = Pages::serve_at("127.0.0.2:0", |_| Page::Whole(html(TITLE))).await;
    let location = inside.url("/secret");
    let pages = Pages::serve(move |_| Page::Whole(redirect(&location))).await;
    let fetcher = fetcher(network(pages.address));
    let refused = title(&fetcher, &pages.url("/")).await;
    assert!(
        matches!(refused, Err(FetchError::NotAllowed)),
        "{refused:?}"
    );
    assert_eq!(pages.requests().len(), 1);
    assert_eq!(inside.requests(), Vec::<String>::new());
}

/// Names lead where the resolver says, and it is asked once: the second answer may be another one.
#[tokio::test]
async fn the_address_that_is_checked_is_the_one_that_is_connected_to() {
    let pages = Pages::serve(|_| Page::Whole(html(TITLE))).await;
    let inside = Pages::serve_at("127.0.0.2:0", |_| {
        Page::Whole(html("<title>secret</title>"))
    })
    .await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, good, bad) = (asked.clone(), pages.address, inside.address);
    let network = Network {
        resolve: Arc::new(move |name, _| {
            let first = count.fetch_add(1, Ordering::Relaxed) == 0;
            let addresses: Vec<SocketAddr> = match name.as_str() {
                "rebinding.example" if first => vec![good],
                "both.example" => vec![bad, good],
                "nowhere.example" => vec![],
                _ => vec![bad],
            };
            Box::pin(async move { Ok(addresses) })
        }),
        ..network(pages.address)
    };
    let fetcher = fetcher(network).except(Some("Sho.rt"));
    let found = title(&fetcher, "http://rebinding.example/").await;
    assert_eq!(found.expect("a page").as_deref(), Some("A page"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let refused = title(&fetcher, "http://rebinding.example/").await;
    assert!(
        matches!(refused, Err(FetchError::NotAllowed)),
        "{refused:?}"
    );
    // Only the address that may be used is.
    let found = title(&fetcher, "http://both.example/").await;
    assert_eq!(found.expect("a page").as_deref(), Some("A page"));
    let failed = title(&fetcher, "http://nowhere.example/").await;
    assert!(
        matches!(failed, Err(FetchError::Connection(_))),
        "{failed:?}"
    );
    assert_eq!(inside.requests(), Vec::<String>::new());
    // The service itself is not even looked up.
    let before = asked.load(Ordering::Relaxed);
    for own in [
        "http://sho.rt/Ab3xY9",
        "https://SHO.RT./",
        "http://sho.rt:8080/",
    ] {
        let refused = title(&fetcher, own).await;
        assert!(
            matches!(refused, Err(FetchError::NotAllowed)),
            "{own}: {refused:?}"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_no_reason_to_give_up() {
    let pages = Pages::serve(|_| Page::Whole(html(TITLE))).await;
    let closed = SocketAddr::from(([127, 0, 0, 1], testkit::free_port()));
    let network = Network {
        resolve: {
            let found = vec![closed, pages.address];
            Arc::new(move |_, _| {
                let found = found.clone();
                Box::pin(async move { Ok(found) })
            })
        },
        ..network(pages.address)
    };
    let found = title(&fetcher(network), "http://a.example/").await;
    assert_eq!(found.expect("a page").as_deref(), Some("A page"));
}

/// However an address is written, and whatever leads to it.
#[tokio::test]
async fn the_public_network_leads_to_no_private_address() {
    let fetcher = fetcher(Network::public());
    for url in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "https://192.168.1.1/",
        "http://localhost/",
        "http://1.1.1.1:8080/",
        "http://1.1.1.1:22/",
        "https://[2606:4700::1111]:8443/",
    ] {
        let refused = title(&fetcher, url).await;
        assert!(
            matches!(refused, Err(FetchError::NotAllowed)),
            "{url}: {refused:?}"
        );
    }
}
