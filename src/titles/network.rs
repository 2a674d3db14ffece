//! Where the node may connect to when it fetches a page.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::rustls::RootCertStore;
use tracing::warn;

/// Finds the addresses of a host's name, with this port.
pub type Resolve =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// How hosts are found, and which of them the node may connect to.
#[derive(Clone)]
pub struct Network {
    /// How the addresses of a name are found.
    pub resolve: Resolve,
    /// Whether the node may connect to an address.
    pub may_connect: fn(SocketAddr) -> bool,
    /// Whether a connection may lead to this machine itself.
    pub may_reach_itself: bool,
}

impl Network {
    /// The public internet at the ports 80 and 443, without this machine. Names are looked up as the system does it.
    pub fn public() -> Self {
        Self {
            resolve: Arc::new(|host, port| {
                Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
            }),
            may_connect: |address| [80, 443].contains(&address.port()) && is_public(address.ip()),
            may_reach_itself: false,
        }
    }

    /// Whether a connection may be used. An address of this machine may well be a public one. The kernel then connects
    /// the machine with itself, from the same address.
    pub(super) fn may_use(&self, connection: &TcpStream) -> io::Result<bool> {
        let own = connection.local_addr()?.ip() == connection.peer_addr()?.ip();
        Ok(self.may_reach_itself || !own)
    }
}

/// The certificates of the authorities that this machine trusts, or that `SSL_CERT_FILE` names.
pub fn trusted_certificates() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut certificates = RootCertStore::empty();
    let (usable, _) = certificates.add_parsable_certificates(found.certs);
    if usable == 0 {
        warn!(
            "this machine trusts no certificate authority: no title of an https page can be fetched"
        );
    }
    certificates
}

/// Networks of IPv4 that are not the public internet: those that <https://www.iana.org/assignments/iana-ipv4-special-registry>
/// does not call globally reachable, multicast, and one more.
const NOT_PUBLIC_V4: [([u8; 4], u32); 18] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Carrier-grade NAT. Some clouds have their metadata here.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local. Most clouds have their metadata here.
    ([169, 254, 0, 0], 16),
    // Azure's machines reach their host here, although the address is a public one.
    ([168, 63, 129, 16], 32),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    // Documentation.
    ([192, 0, 2, 0], 24),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Relays of 6to4.
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    // Benchmarks.
    ([198, 18, 0, 0], 15),
    // AS112: servers that answer for private addresses.
    ([192, 31, 196, 0], 24),
    ([192, 175, 48, 0], 24),
    // Multicast.
    ([224, 0, 0, 0], 4),
    // Reserved, and broadcast.
    ([240, 0, 0, 0], 4),
];

/// The public internet of IPv6. Outside of it are loopback, link-local and unique local addresses, multicast, and those
/// that stand for an address of IPv4: mapped, compatible, NAT64.
const PUBLIC_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Networks within [`PUBLIC_V6`] that are not public.
const NOT_PUBLIC_V6: [([u16; 8], u32); 4] = [
    // Protocols of the IETF. Teredo, which stands for an address of IPv4, is among them.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    // Documentation.
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    // 6to4 stands for an address of IPv4.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
];

/// Whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4
            .iter()
            .any(|(network, length)| is_in_v4(address, *network, *length)),
        IpAddr::V6(address) => {
            let (network, length) = PUBLIC_V6;
            is_in_v6(address, network, length)
                && !NOT_PUBLIC_V6
                    .iter()
                    .any(|(network, length)| is_in_v6(address, *network, *length))
        }
    }
}

fn is_in_v4(address: Ipv4Addr, network: [u8; 4], length: u32) -> bool {
    let differing = address.to_bits() ^ u32::from_be_bytes(network);
    differing.leading_zeros() >= length
}

fn is_in_v6(address: Ipv6Addr, network: [u16; 8], length: u32) -> bool {
    let differing = address.to_bits() ^ Ipv6Addr::from(network).to_bits();
    differing.leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of each network, and the neighbours on both sides.
    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for (address, public) in [
            ("0.0.0.0", false),
            ("0.255.255.255", false),
            ("1.0.0.0", true),
            ("9.255.255.255", true),
            ("10.0.0.0", false),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.100.100.200", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("126.255.255.255", true),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("128.0.0.0", true),
            ("168.63.129.15", true),
            ("168.63.129.16", false),
            ("168.63.129.17", true),
            ("169.253.255.255", true),
            ("169.254.169.254", false),
            ("169.255.0.0", true),
            ("172.15.255.255", true),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("191.255.255.255", true),
            ("192.0.0.0", false),
            ("192.0.0.192", false),
            ("192.0.1.0", true),
            ("192.0.2.1", false),
            ("192.0.3.0", true),
            ("192.31.196.1", false),
            ("192.88.99.1", false),
            ("192.167.255.255", true),
            ("192.168.0.0", false),
            ("192.168.255.255", false),
            ("192.169.0.0", true),
            ("192.175.48.1", false),
            ("198.17.255.255", true),
            ("198.18.0.0", false),
            ("198.19.255.255", false),
            ("198.20.0.0", true),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("203.0.114.0", true),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::8.8.8.8", false),
            ("::ffff:8.8.8.8", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::8.8.8.8", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("1fff:ffff::1", false),
            ("2000::1", true),
            ("2001::1", false),
            ("2001:2::1", false),
            ("2001:1ff:ffff::1", false),
            ("2001:200::1", true),
            ("2001:db7:ffff::1", true),
            ("2001:db8::1", false),
            ("2001:db9::1", true),
            ("2001:4860:4860::8888", true),
            ("2002:7f00:1::1", false),
            ("2003::1", true),
            ("2606:4700::1", true),
            ("3fff::1", false),
            ("3fff:1000::1", true),
            ("4000::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(is_public(parsed), public, "{address}");
        }
    }

    #[test]
    fn only_the_ports_of_the_web_are_used() {
        let may_connect = Network::public().may_connect;
        for (address, allowed) in [
            ("8.8.8.8:80", true),
            ("[2606:4700::1]:443", true),
            ("8.8.8.8:22", false),
            ("8.8.8.8:8080", false),
            ("127.0.0.1:80", false),
            ("[::1]:443", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(may_connect(address), allowed, "{address}");
        }
    }

    #[tokio::test]
    async fn a_connection_of_this_machine_with_itself_is_not_used() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let address = listener.as_ref().expect("a listener").local_addr();
        let connection = TcpStream::connect(address.expect("its address")).await;
        let connection = connection.expect("a connection");
        let network = Network::public();
        assert!(!network.may_use(&connection).expect("two addresses"));
        let network = Network {
            may_reach_itself: true,
            ..network
        };
        assert!(network.may_use(&connection).expect("two addresses"));
    }
}
