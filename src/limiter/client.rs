//! The client that a request is counted for.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// An IPv4 address or an IPv6 network.
///
/// A provider gives a home or a phone a whole IPv6 network, usually a `/64`. If each IPv6 address counted for itself,
/// one person would have 2^64 quotas. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, as a dual-stack socket reports
/// it) is the IPv4 client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    network: IpAddr,
    /// The length of the network's prefix; 32 for IPv4.
    prefix: u8,
}

impl ClientId {
    /// The client behind `address`. IPv6 clients are counted per `/ipv6_prefix`, 1 to 128; larger values mean 128.
    pub fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self {
                network: v4.into(),
                prefix: 32,
            },
            IpAddr::V6(v6) => {
                let prefix = ipv6_prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self {
                    network: Ipv6Addr::from_bits(v6.to_bits() & mask).into(),
                    prefix,
                }
            }
        }
    }
}

/// `192.0.2.1` for IPv4, `2001:db8::/64` for an IPv6 network.
impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/{}", self.prefix),
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
}
