//! The client of a request: the TCP peer, or the address that a trusted proxy names.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;
use ipnet::IpNet;
use tracing::warn;

use super::forwarded;
use crate::{http::net::Peer, limiter::OnceAMinute, public::ClientIpHeader};

/// More entries than any chain of proxies has. Entries further to the left are ignored.
const MAX_FORWARDED_ENTRIES: usize = 64;

/// How many bytes of an entry are logged.
const MAX_LOGGED: usize = 64;

/// The networks of proxies whose `X-Forwarded-*` headers are believed.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ClientIpHeader,
    warning: OnceAMinute,
}

/// The search for the client ended at an entry that is not an address.
#[derive(Debug)]
struct Unnamed<'a> {
    /// The proxy that wrote the entry. It counts as the client.
    proxy: IpAddr,
    /// The entry.
    entry: &'a [u8],
}

impl TrustedProxies {
    /// Trusts these networks and no others. Their proxies name the client in `header`.
    pub fn new(networks: Vec<IpNet>, header: ClientIpHeader) -> Self {
        Self {
            networks,
            header,
            warning: OnceAMinute::default(),
        }
    }

    /// The other end of a connection, and whether its headers are believed.
    pub fn peer(&self, address: IpAddr) -> Peer {
        let address = address.to_canonical();
        Peer {
            address,
            is_proxy: self.contains(address),
        }
    }

    fn contains(&self, canonical: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&canonical))
    }

    /// The client of a request from `peer`: the peer, unless that is a proxy; then the address that the proxy names.
    ///
    /// In a list that is the right-most address that is not itself trusted. The client wrote what stands to the left of
    /// it, so that means nothing. If all are trusted, the client is the left-most; without the header, it is the peer.
    ///
    /// If a proxy wrote an entry that is not an address, the proxy counts as the client, because nothing vouches for
    /// what stands to the left of that entry. The log says so, at most once a minute.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let Peer {
            address: peer,
            is_proxy,
        } = peer;
        if !is_proxy {
            return peer;
        }
        // Several header lines are one list (RFC 9110, 5.3).
        let lines = headers.get_all(self.header.name()).map(|l| l.as_bytes());
        let found = match &self.header {
            ClientIpHeader::XForwardedFor => {
                let entries = lines.rev().flat_map(|line| line.rsplit(|b| *b == b','));
                self.right_most_untrusted(peer, entries, parse_entry)
            }
            ClientIpHeader::Forwarded => {
                let elements = lines.rev().flat_map(forwarded::elements);
                self.right_most_untrusted(peer, elements, forwarded::parse_element)
            }
            ClientIpHeader::One(_) => only_one(peer, lines),
        };
        found.unwrap_or_else(|unnamed| {
            self.warn(&unnamed);
            unnamed.proxy
        })
    }

    fn right_most_untrusted<'a>(
        &self,
        peer: IpAddr,
        entries: impl Iterator<Item = &'a [u8]>,
        parse: fn(&[u8]) -> Option<IpAddr>,
    ) -> Result<IpAddr, Unnamed<'a>> {
        let mut client = peer;
        for (number, entry) in entries.enumerate() {
            let address = parse(entry).filter(|_| number < MAX_FORWARDED_ENTRIES);
            let unnamed = Unnamed {
                proxy: client,
                entry,
            };
            client = address.ok_or(unnamed)?;
            if !self.contains(client) {
                break;
            }
        }
        Ok(client)
    }

    fn warn(&self, unnamed: &Unnamed<'_>) {
        if self.warning.is_due() {
            let entry = &unnamed.entry[..unnamed.entry.len().min(MAX_LOGGED)];
            warn!(
                proxy = %unnamed.proxy,
                header = %self.header,
                entry = %entry.escape_ascii(),
                "a trusted proxy named no client, and counts as one itself (this is logged once a minute at most)"
            );
        }
    }
}

/// The address in a header that holds exactly one. If there are several lines, none of them counts.
fn only_one<'a>(
    peer: IpAddr,
    mut lines: impl Iterator<Item = &'a [u8]>,
) -> Result<IpAddr, Unnamed<'a>> {
    let Some(entry) = lines.next() else {
        return Ok(peer);
    };
    let address = parse_entry(entry).filter(|_| lines.next().is_none());
    address.ok_or(Unnamed { proxy: peer, entry })
}

fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    forwarded::parse_address(str::from_utf8(entry).ok()?)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn proxies(header: &str) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"];
        let networks = networks.map(|n| n.parse().expect("a network"));
        TrustedProxies::new(networks.to_vec(), header.parse().expect("a name"))
    }

    fn client_by(header: &str, peer: &str, lines: &[&str]) -> String {
        let trusted = proxies(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_str(line).expect("a header");
            headers.append(trusted.header.name().clone(), value);
        }
        let peer = peer.parse().expect("an address");
        trusted.client(trusted.peer(peer), &headers).to_string()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        client_by("X-Forwarded-For", peer, lines)
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
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
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
            (&["\u{e9}, 203.0.113.1"], "203.0.113.1"),
            (&["10.3.3.3, 10.1.1.1"], "10.3.3.3"),
            (&["203.0.113.1:4711"], "203.0.113.1"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["::ffff:203.0.113.1"], "203.0.113.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_proxy_that_names_no_client_is_the_client() {
        for (lines, expected) in [
            (&["garbage"] as &[_], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["203.0.113.1, "], "10.0.0.1"),
            (&["1.2.3"], "10.0.0.1"),
            (&["\u{e9}"], "10.0.0.1"),
            (&["203.0.113.1, unknown"], "10.0.0.1"),
            (&["203.0.113.1, unknown, 10.2.2.2"], "10.2.2.2"),
            (&["203.0.113.1", "fe80::1%eth0", "10.2.2.2"], "10.2.2.2"),
        ] {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn no_more_than_64_entries_are_looked_at() {
        let chain = |proxies: usize| {
            let proxies = (1..=proxies).rev().map(|n| format!("10.0.1.{n}"));
            let entries: Vec<_> = ["203.0.113.1".to_owned()]
                .into_iter()
                .chain(proxies)
                .collect();
            entries.join(", ")
        };
        assert_eq!(client("10.0.0.1", &[&chain(63)]), "203.0.113.1");
        assert_eq!(client("10.0.0.1", &[&chain(64)]), "10.0.1.64");
        assert_eq!(client("10.0.0.1", &[&chain(65)]), "10.0.1.64");
        assert_eq!(client("192.0.2.9", &[&chain(65)]), "192.0.2.9");
        let many = vec!["198.51.100.1"; 1_000].join(",");
        assert_eq!(client("10.0.0.1", &[&many]), "198.51.100.1");
    }

    #[test]
    fn another_header_names_the_client_in_its_own_way() {
        for (header, lines, expected) in [
            ("CF-Connecting-IP", &["203.0.113.1"][..], "203.0.113.1"),
            ("CF-Connecting-IP", &[], "10.0.0.1"),
            ("CF-Connecting-IP", &["10.9.9.9"], "10.9.9.9"),
            ("X-Real-IP", &["203.0.113.1, 203.0.113.2"], "10.0.0.1"),
            ("X-Real-IP", &["203.0.113.1", "203.0.113.2"], "10.0.0.1"),
            ("Forwarded", &["for=203.0.113.1"], "203.0.113.1"),
            (
                "Forwarded",
                &["for=1.1.1.1, for=203.0.113.1", "for=10.1.1.1"],
                "203.0.113.1",
            ),
            (
                "Forwarded",
                &["for=203.0.113.1, for=_x, for=10.1.1.1"],
                "10.1.1.1",
            ),
            ("Forwarded", &["203.0.113.1"], "10.0.0.1"),
        ] {
            assert_eq!(
                client_by(header, "10.0.0.1", lines),
                expected,
                "{header} {lines:?}"
            );
        }
    }
}
