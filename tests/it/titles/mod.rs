//! `links.fetch_titles`: links get the titles of their pages.
//!
//! The node connects only to the public internet, which no test can do. So tests give the fetcher another network.
//! `stores/titles.rs` has those about links, and one with the program, which refuses to connect.

mod fetching;
pub mod pages;

use std::{net::SocketAddr, sync::Arc};

use shunt::{
    links::{Schemes, TargetUrl},
    titles::{FetchError, Fetcher, Network, trusted_certificates},
};

/// Any port of 127.0.0.1. Every name leads to `server`.
pub fn network(server: SocketAddr) -> Network {
    Network {
        resolve: Arc::new(move |_, _| Box::pin(async move { Ok(vec![server]) })),
        may_connect: |address| address.ip().to_string() == "127.0.0.1",
        may_reach_itself: true,
    }
}

pub fn fetcher(network: Network) -> Fetcher {
    Fetcher::new(network, trusted_certificates()).expect("TLS")
}

pub fn target(url: &str) -> TargetUrl {
    TargetUrl::parse(url, &Schemes::default()).expect("a URL")
}

/// The title of the page at this URL.
async fn title(fetcher: &Fetcher, url: &str) -> Result<Option<String>, FetchError> {
    let title = fetcher.fetch(&target(url)).await?;
    Ok(title.map(|title| title.as_str().to_owned()))
}
