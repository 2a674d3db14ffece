//! Machines that only look at a link. If the visits of the link are limited, they use up none and are not told the
//! target.

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use testkit::{Answer, Client, Node};

use super::exchange::{assert_page, assert_problem, assert_status, post_form, send, unlimited};

/// Words that are only in the target.
const TARGET: &str = "https://sesame.example/secret-door?key=treasure";
const SECRETS: [&str; 3] = ["sesame", "secret-door", "treasure"];

/// Headers by which a browser says that it fetches a page ahead.
const PREFETCHES: [(&str, &str); 10] = [
    ("sec-purpose", "prefetch"),
    ("sec-purpose", "prefetch;prerender"),
    ("sec-purpose", "prefetch; anonymous-client-ip"),
    ("sec-purpose", "other, prefetch"),
    ("sec-purpose", "Prefetch"),
    ("purpose", "prefetch"),
    ("purpose", "preview"),
    ("x-purpose", "preview"),
    ("x-moz", "prefetch"),
    ("x-moz", " prefetch "),
];

/// User agents, as they were seen in logs.
const PREVIEWS: [&str; 24] = [
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 \
     Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "Twitterbot/1.0",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slack-ImgProxy (+https://api.slack.com/robots)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "TelegramBot (like TwitterBot)",
    "WhatsApp/2.23.20.0 A",
    "WhatsApp/2.2587.9 W",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 \
     Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; \
     +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
    "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
    "http.rb/5.1.1 (Mastodon/4.2.1; +https://mastodon.social/) Bot",
    "Synapse (bot; +https://github.com/matrix-org/synapse)",
    "Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)",
    "Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)",
    "Iframely/1.3.1 (+https://iframely.com/docs/about)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "SOMEFUTUREBOT/7.1",
];

/// Browsers, programs that people use, and a phone whose name looks like a robot's.
const PEOPLE: [&str; 14] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
     Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.41.110;FBBV/613232390;FBDV/iPhone14,5]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Mobile/15E148 Instagram 337.0.3.23.54",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 \
     Chrome/125.0.0.0 Mobile Safari/537.36 Telegram-Android/10.14.5",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 \
     Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 \
     Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 11; CUBOT) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) GSA/15.21 Chrome/125.0 Safari/537.36",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP1A.240505.004)",
    "curl/8.5.0",
    "Wget/1.21.4",
    "python-requests/2.32.3",
];

async fn node_with(alias: &str, visits: &str, cache: &str) -> Node {
    let node = unlimited().set("cache.capacity", cache).start().await;
    let fields = [("url", TARGET), ("alias", alias), ("max_visits", visits)];
    send(post_form(&node.client(), &fields)).await.code();
    node
}

fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let request = client.request(Method::GET, path);
    let add = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
    headers.iter().fold(request, add)
}

fn assert_tells_nothing(answer: &Answer, what: &str) {
    let everything = format!("{:?}{}", answer.headers, answer.body);
    let told = SECRETS.iter().find(|secret| everything.contains(**secret));
    assert_eq!(told, None, "{what}: {answer:?}");
    assert_eq!(answer.header("location"), None, "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

async fn assert_visits_left(client: &Client, path: &str, visits: usize) {
    for visit in 1..=visits {
        let answer = client.get(path).await;
        assert_status(&answer, 302, &format!("visit {visit} of {visits}"));
        assert_eq!(answer.header("location"), Some(TARGET));
    }
    assert_problem(&client.get(path).await, 410, "used up");
}

#[tokio::test]
async fn head_says_that_a_counted_link_works_and_no_more() {
    for cache in ["1000", "0"] {
        let node = node_with("secret", "2", cache).await;
        let client = node.client();
        for _ in 0..5 {
            let answer = send(client.request(Method::HEAD, "/secret")).await;
            assert_status(&answer, 200, "HEAD");
            assert_tells_nothing(&answer, "HEAD");
            assert_eq!(answer.body, "");
        }
        assert_visits_left(&client, "/secret", 2).await;
    }
}

#[tokio::test]
async fn a_prefetch_is_rejected_and_the_click_that_follows_is_a_visit() {
    for cache in ["1000", "0"] {
        let node = node_with("secret", "1", cache).await;
        let client = node.client();
        for header in PREFETCHES {
            for accept in ["*/*", "text/html"] {
                let headers = [header, ("accept", accept)];
                let answer = send(get(&client, "/secret", &headers)).await;
                let what = format!("{header:?}, {accept}");
                assert_status(&answer, 503, &what);
                assert_tells_nothing(&answer, &what);
                // `Retry-After` is for a node that is down.
                assert_eq!(answer.header("retry-after"), None, "{what}");
            }
        }
        let head = client.request(Method::HEAD, "/secret");
        let answer = send(head.header("sec-purpose", "prefetch")).await;
        assert_tells_nothing(&answer, "a prefetching HEAD");
        assert_visits_left(&client, "/secret", 1).await;
    }
}

#[tokio::test]
async fn a_preview_gets_a_page_that_says_that_the_link_opens_in_a_browser() {
    for cache in ["1000", "0"] {
        let node = node_with("secret", "1", cache).await;
        let client = node.client();
        for agent in PREVIEWS {
            for accept in ["*/*", "text/html"] {
                let headers = [("user-agent", agent), ("accept", accept)];
                let answer = send(get(&client, "/secret", &headers)).await;
                assert_page(&answer, 200, agent);
                assert_tells_nothing(&answer, agent);
                assert!(answer.body.contains("opens in a browser"), "{answer:?}");
                for part in ["<form", "<script", "http-equiv"] {
                    assert!(!answer.body.contains(part), "{part}: {answer:?}");
                }
            }
        }
        assert_visits_left(&client, "/secret", 1).await;
    }
}

#[tokio::test]
async fn people_and_their_programs_are_led_to_the_target() {
    let visits = PEOPLE.len();
    let node = node_with("secret", &visits.to_string(), "1000").await;
    let client = node.client();
    for agent in PEOPLE {
        let answer = send(get(&client, "/secret", &[("user-agent", agent)])).await;
        assert_status(&answer, 302, agent);
        assert_eq!(answer.header("location"), Some(TARGET), "{agent}");
    }
    assert_visits_left(&client, "/secret", 0).await;
    // These purposes are not fetching ahead.
    let node = node_with("secret", "4", "1000").await;
    let client = node.client();
    for header in [
        ("sec-purpose", ""),
        ("sec-purpose", "prefetched"),
        ("purpose", "navigation"),
        ("x-moz", "livebookmarks"),
    ] {
        let answer = send(get(&client, "/secret", &[header])).await;
        assert_status(&answer, 302, &format!("{header:?}"));
    }
}

#[tokio::test]
async fn links_without_a_number_of_visits_lead_everybody_to_their_target() {
    for cache in ["1000", "0"] {
        let node = unlimited().set("cache.capacity", cache).start().await;
        let client = node.client();
        for fields in [
            vec![("url", TARGET), ("alias", "plain")],
            vec![("url", TARGET), ("alias", "lasting"), ("expires_in", "1h")],
        ] {
            let path = format!("/{}", send(post_form(&client, &fields)).await.code());
            let mut requests = vec![client.request(Method::HEAD, &path)];
            requests.extend(PREFETCHES.map(|header| get(&client, &path, &[header])));
            requests.extend(PREVIEWS.map(|agent| get(&client, &path, &[("user-agent", agent)])));
            for request in requests {
                let answer = send(request).await;
                assert_status(&answer, 302, &path);
                assert_eq!(answer.header("location"), Some(TARGET), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn onlookers_are_counted_by_kind_from_the_start() {
    let node = node_with("secret", "1", "1000").await;
    let client = node.client();
    let counted = async |kind: &str| {
        let label = format!("kind=\"{kind}\"");
        node.metric("shunt_onlookers_total", &[&label]).await
    };
    let text = node.probe().get("/metrics").await.body;
    for kind in ["head", "prefetch", "preview"] {
        let series = format!("shunt_onlookers_total{{kind=\"{kind}\"}} 0");
        assert!(text.contains(&series), "{kind}: {text}");
    }
    let looks = || {
        [
            client.request(Method::HEAD, "/secret"),
            get(&client, "/secret", &[PREFETCHES[0]]),
            get(&client, "/secret", &[("user-agent", PREVIEWS[0])]),
        ]
    };
    for request in looks().into_iter().chain(looks()) {
        send(request).await;
    }
    for kind in ["head", "prefetch", "preview"] {
        assert_eq!(counted(kind).await, 2.0, "{kind}");
    }
    // Neither a visit nor a look at a link that is gone is counted.
    assert_visits_left(&client, "/secret", 1).await;
    for request in looks() {
        send(request).await;
    }
    assert_eq!(node.metric("shunt_onlookers_total", &[]).await, 6.0);
}

/// A link that is gone or unknown is so for onlookers and visitors alike.
#[tokio::test]
async fn onlookers_are_told_that_a_link_is_unknown_or_used_up_as_everybody_is() {
    for cache in ["1000", "0"] {
        let node = node_with("secret", "1", cache).await;
        let client = node.client();
        assert_visits_left(&client, "/secret", 1).await;
        for (path, status) in [("/secret", 410), ("/unknown", 404)] {
            let head = send(client.request(Method::HEAD, path)).await;
            assert_status(&head, status, "HEAD");
            for header in [
                PREFETCHES[0],
                ("user-agent", PREVIEWS[0]),
                ("user-agent", PEOPLE[0]),
            ] {
                let answer = send(get(&client, path, &[header])).await;
                assert_problem(&answer, status, &format!("{path}, {header:?}"));
            }
        }
    }
}

/// For every kind of machine, and every spelling of the path.
#[tokio::test]
async fn no_spelling_and_no_number_of_looks_tells_the_target() {
    let node = node_with("secret", "1", "1000").await;
    let client = node.client();
    let mut many = HeaderMap::new();
    for value in ["nothing", "prefetch"] {
        many.append("sec-purpose", value.parse().unwrap());
    }
    for path in ["/secret", "/secret/", "/%73ecret", "/secret).", "/secret_"] {
        for request in [
            client.request(Method::HEAD, path),
            get(&client, path, &[PREFETCHES[0]]),
            get(&client, path, &[("user-agent", PREVIEWS[0])]),
            client.request(Method::GET, path).headers(many.clone()),
        ] {
            assert_tells_nothing(&send(request).await, path);
        }
    }
    // Bytes that are not text are no machine's name.
    let request = client.request(Method::HEAD, "/secret");
    let unreadable = reqwest::header::HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    assert_tells_nothing(
        &send(request.header("user-agent", unreadable)).await,
        "an unreadable name",
    );
    assert_visits_left(&client, "/secret", 1).await;
}
