//! The parts that do no I/O, one by one: `cargo bench`.
#![allow(clippy::expect_used)]

use std::{hint::black_box, net::IpAddr};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use criterion::Criterion;
use shunt::{
    http::TrustedProxies,
    limiter::{LogTime, Quota, WindowLog},
    links::{CodeLength, Schemes, ShortCode, TargetUrl},
    public::ClientIpHeader,
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    quota(&mut criterion);
    window_log(&mut criterion);
    short_code(&mut criterion);
    client_address(&mut criterion);
    target_url(&mut criterion);
    criterion.final_summary();
}

fn quota(criterion: &mut Criterion) {
    criterion.bench_function("Quota: parse 20 per 5 minutes", |bencher| {
        bencher.iter(|| black_box("20 per 5 minutes").parse::<Quota>());
    });
}

/// The log of a client over its quota is full, so every request removes an entry and adds one.
fn window_log(criterion: &mut Criterion) {
    for limit in [10, 1000] {
        let quota: Quota = format!("{limit}/minute").parse().expect("a quota");
        let mut log = WindowLog::default();
        let mut now = 0;
        let mut ask = || {
            now += 1;
            log.record(quota, LogTime::from_micros(now))
        };
        for _ in 0..=limit {
            ask();
        }
        criterion.bench_function(
            &format!("WindowLog: record, full at limit {limit}"),
            |bencher| bencher.iter(&mut ask),
        );
    }
}

fn short_code(criterion: &mut Criterion) {
    let length = CodeLength::try_from(6).expect("a length");
    criterion.bench_function("ShortCode: random, 6 characters", |bencher| {
        bencher.iter(|| ShortCode::random(length, 0));
    });
    criterion.bench_function("ShortCode: parse Ab3xY9", |bencher| {
        bencher.iter(|| ShortCode::parse(black_box("Ab3xY9")));
    });
}

fn client_address(criterion: &mut Criterion) {
    let network = |text: &str| text.parse().expect("a network");
    let trusted = TrustedProxies::new(
        vec![network("10.0.0.0/8"), network("127.0.0.1/32")],
        ClientIpHeader::default(),
    );
    let peer: IpAddr = "127.0.0.1".parse().expect("an address");
    for (name, entries) in [
        ("one proxy", "203.0.113.7"),
        (
            "two proxies and a forged entry",
            "1.1.1.1, 203.0.113.7, 10.0.0.9",
        ),
    ] {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(entries).expect("a header");
        headers.insert(HeaderName::from_static("x-forwarded-for"), value);
        criterion.bench_function(
            &format!("TrustedProxies: client behind {name}"),
            |bencher| {
                bencher.iter(|| trusted.client(trusted.peer(black_box(peer)), black_box(&headers)));
            },
        );
    }
}

fn target_url(criterion: &mut Criterion) {
    let schemes = Schemes::default();
    for (name, text) in [
        (
            "of usual length",
            "https://example.com/a/page?of=some&length=usual",
        ),
        ("with a name in Unicode", "https://bücher.example/ü?q=ö#ä"),
    ] {
        criterion.bench_function(&format!("TargetUrl: parse one {name}"), |bencher| {
            bencher.iter(|| TargetUrl::parse(black_box(text), &schemes));
        });
    }
}
