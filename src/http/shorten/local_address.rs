//! Whether an address is one of this machine's own.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, UdpSocket},
};

use uapi::c::EAFNOSUPPORT;

/// The port of `discard`. Nothing is sent there.
const ANY_PORT: u16 = 9;

/// Whether `address` leads to this machine, or to the container that this process is in, at this moment. This asks the
/// kernel, because interfaces come and go. Connecting a UDP socket sends nothing; the kernel only looks for a route.
///
/// # Errors
/// If the process or the machine has no socket left.
pub(super) fn is_local(address: IpAddr) -> io::Result<bool> {
    // A multicast address is a group of machines. The kernel lets every program bind it.
    if address.is_multicast() {
        return Ok(false);
    }
    // To an address of its own, the kernel sends from that same address. With IPv4 it prefers the first address of a
    // network, unless the socket is bound to another one.
    let source = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind((source, 0)) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(false),
        // The machine has no IPv6.
        Err(error) if error.raw_os_error() == Some(EAFNOSUPPORT) => return Ok(false),
        Err(error) => return Err(error),
    };
    // A machine may allow programs to bind an address that is not its own (ip_nonlocal_bind), but not to send from
    // there.
    match socket.connect((address, ANY_PORT)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == address),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn loopback_is_local_and_the_documentation_s_addresses_are_not() {
        for (address, local) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("203.0.113.77", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
            ("2001:db8::77", false),
            ("fe80::77", false),
            ("::ffff:203.0.113.77", false),
        ] {
            let asked = is_local(address.parse().expect("an address"));
            assert_eq!(asked.expect("a socket"), local, "{address}");
        }
    }
}
