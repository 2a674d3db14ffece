//! The client that a request is counted for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sha2::{Digest, Sha256};

/// An IPv4 address, an IPv6 network, or an API key; or one of these in its dealings with one link.
///
/// A provider gives a home or a phone a whole IPv6 network, usually a `/64`. If each IPv6 address counted for itself,
/// one person would have 2^64 quotas. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, as a dual-stack socket reports
/// it) is the IPv4 client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(Client);

/// The kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(Ipv4Addr),
    V6 {
        network: Ipv6Addr,
        /// The length of the network's prefix.
        prefix: u8,
    },
    /// The number of a key.
    Key(i64),
    /// A client and a link, as the first half of a hash over both.
    AtLink([u8; 16]),
}

impl ClientId {
    /// The client behind `address`. IPv6 clients are counted per `/ipv6_prefix`, 1 to 128; larger values mean 128.
    pub fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address),
            IpAddr::V6(address) => {
                let prefix = ipv6_prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Client::V6 {
                    network: Ipv6Addr::from_bits(address.to_bits() & mask),
                    prefix,
                }
            }
        })
    }

    /// The client that sends the key with this number, from any address. Only the number of a key that was verified may
    /// be given: otherwise a client could choose its window log.
    pub fn key(number: i64) -> Self {
        Self(Client::Key(number))
    }

    /// This client, counted for what it does at one link only. `link` must be a secret of the service: a client that
    /// knew it could look for links at which it is counted together with others.
    pub fn at_link(self, link: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.to_string());
        // No client's name has a line feed.
        hash.update(b"\n");
        hash.update(link);
        let hash: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(Client::AtLink(half))
    }
}

/// `192.0.2.1` for IPv4, `2001:db8::/64` for an IPv6 network, `key:7` for a key, `link:` and 32 hexadecimal digits for a
/// client at a link.
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Client::V4(address) => address.fmt(f),
            Client::V6 { network, prefix } => write!(f, "{network}/{prefix}"),
            Client::Key(number) => write!(f, "key:{number}"),
            Client::AtLink(half) => write!(f, "link:{}", hex::encode(half)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, prefix: u8) -> String {
        ClientId::new(address.parse().expect(address), prefix).to_string()
    }

    #[test]
    fn ipv6_counts_per_network_and_mapped_ipv4_as_ipv4() {
        for (address, prefix, expected) in [
            ("192.0.2.1", 64, "192.0.2.1"),
            ("::ffff:192.0.2.1", 64, "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", 64, "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::/56"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6/128"),
            ("2001:db8::1", 255, "2001:db8::1/128"),
            ("2001:db8::1", 0, "::/0"),
            ("::1", 64, "::/64"),
        ] {
            assert_eq!(client(address, prefix), expected, "{address}/{prefix}");
        }
    }

    #[test]
    fn a_key_is_a_client_that_no_address_is() {
        let keys = [1, 7, i64::MAX].map(ClientId::key);
        assert_eq!(keys[1].to_string(), "key:7");
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            let (text, address) = (key.to_string(), "::7".parse().expect("an address"));
            assert_ne!(key, ClientId::new(address, 128));
            assert!(text.parse::<IpAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_is_another_one_at_each_link() {
        let [one, other] = [1, 2].map(|last| ClientId::new([192, 0, 2, last].into(), 64));
        let at_links = [
            one.at_link(b"a"),
            one.at_link(b"b"),
            other.at_link(b"a"),
            ClientId::key(1).at_link(b"a"),
        ];
        for (index, client) in at_links.iter().enumerate() {
            let text = client.to_string();
            let digits = text.strip_prefix("link:").expect("a link");
            assert_eq!(digits.len(), 32, "{text}");
            assert!(text.parse::<IpAddr>().is_err(), "{text}");
            assert!(!at_links[index + 1..].contains(client), "{text}");
        }
        assert_eq!(one.at_link(b"a"), at_links[0]);
    }

    /// A map of a million clients has a million of these.
    #[test]
    fn a_client_is_small() {
        assert!(size_of::<ClientId>() <= 24);
    }
}
