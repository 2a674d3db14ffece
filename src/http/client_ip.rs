//! Who sent a request: the TCP peer, or the client that a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;
use smallvec::SmallVec;

/// More entries than any chain of proxies has.
const MAX_FORWARDED_ENTRIES: usize = 64;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies whose `X-Forwarded-*` headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// A trusted proxy sent an `X-Forwarded-For` that names no client.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidForwardedFor {
    /// Where the client's address should stand is something else.
    #[error("X-Forwarded-For is not a list of addresses")]
    Garbage,
    /// Over 64 entries.
    #[error("X-Forwarded-For has too many entries")]
    TooMany,
}

impl TrustedProxies {
    /// These networks, and no others.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether headers from `address` are believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request from `peer`: the peer, unless it is trusted; then the right-most address in
    /// `X-Forwarded-For` that is not itself trusted. What stands left of that was written by the client and
    /// means nothing. If all are trusted, the left-most; without the header, the peer.
    ///
    /// # Errors
    /// [`InvalidForwardedFor`] if a trusted proxy sent a header that does not tell.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, InvalidForwardedFor> {
        let peer = peer.to_canonical();
        if self.0.is_empty() || !self.contains(peer) || !headers.contains_key(&FORWARDED_FOR) {
            return Ok(peer);
        }
        // Several header lines are one list (RFC 9110, 5.3).
        let mut lines: SmallVec<[&str; 2]> = SmallVec::new();
        let mut entries = 0;
        for line in headers.get_all(&FORWARDED_FOR) {
            let line = line.to_str().map_err(|_| InvalidForwardedFor::Garbage)?;
            entries += line.split(',').count();
            if entries > MAX_FORWARDED_ENTRIES {
                return Err(InvalidForwardedFor::TooMany);
            }
            lines.push(line);
        }
        let mut client = peer;
        for entry in lines.into_iter().rev().flat_map(|line| line.rsplit(',')) {
            client = parse_entry(entry).ok_or(InvalidForwardedFor::Garbage)?;
            if !self.contains(client) {
                break;
            }
        }
        Ok(client)
    }
}

/// `192.0.2.1`, `2001:db8::1`, and with a port as some proxies write them: `192.0.2.1:4711`,
/// `[2001:db8::1]:4711`.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']'));
    bare.unwrap_or(entry)
        .parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> Result<String, InvalidForwardedFor> {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"];
        let trusted = TrustedProxies::new(networks.map(|n| n.parse().expect("a network")).to_vec());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                FORWARDED_FOR,
                HeaderValue::from_str(line).expect("a header"),
            );
        }
        trusted
            .client(peer.parse().expect("an address"), &headers)
            .map(|address| address.to_string())
    }

    #[test]
    fn the_peer_counts_unless_it_is_trusted() {
        for (peer, lines, expected) in [
            ("192.0.2.9", &["203.0.113.1"] as &[_], "192.0.2.9"),
            ("192.0.2.9", &["garbage"], "192.0.2.9"),
            ("192.0.2.9", &[], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("::ffff:10.0.0.1", &["203.0.113.1"], "203.0.113.1"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
        ] {
            assert_eq!(
                client(peer, lines).as_deref(),
                Ok(expected),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        for (lines, expected) in [
            (&["1.1.1.1, 203.0.113.1"] as &[_], "203.0.113.1"),
            (&["1.1.1.1,203.0.113.1, 10.1.1.1 ,10.2.2.2"], "203.0.113.1"),
            (&["1.1.1.1", "203.0.113.1"], "203.0.113.1"),
            (&["203.0.113.1", "10.1.1.1"], "203.0.113.1"),
            (&["garbage, 203.0.113.1"], "203.0.113.1"),
            (&["10.3.3.3, 10.1.1.1"], "10.3.3.3"),
            (&["203.0.113.1:4711"], "203.0.113.1"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["::ffff:203.0.113.1"], "203.0.113.1"),
        ] {
            assert_eq!(
                client("10.0.0.1", lines).as_deref(),
                Ok(expected),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_trusted_proxy_that_names_no_client_is_an_error() {
        use InvalidForwardedFor::{Garbage, TooMany};
        for lines in [
            &["garbage"] as &[_],
            &[""],
            &["203.0.113.1, "],
            &["1.2.3"],
            &["\u{e9}"],
        ] {
            assert_eq!(client("10.0.0.1", lines), Err(Garbage), "{lines:?}");
        }
        let many = vec!["203.0.113.1"; 1_000].join(",");
        assert_eq!(client("10.0.0.1", &[&many]), Err(TooMany));
        assert_eq!(client("192.0.2.9", &[&many]).as_deref(), Ok("192.0.2.9"));
    }
}
