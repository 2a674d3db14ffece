//! Listening, and ceasing to listen without losing anybody.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel accepts before a worker does.
const BACKLOG: i32 = 2048;

/// A socket that listens already, so that its port is known.
pub struct Listener {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restarted node must not wait for its old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = std::net::TcpListener::from(socket);
        Ok(Self {
            address: socket.local_addr()?,
            socket,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that can turn new connections away while those in the queue are still accepted.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn gate(&self) -> io::Result<Gate> {
        Ok(Gate(self.socket.try_clone()?))
    }

    /// The socket itself.
    pub fn into_socket(self) -> std::net::TcpListener {
        self.socket
    }
}

/// Turns new connections away before a listener is closed.
///
/// Closing a listener resets every connection that the kernel has accepted and the program has not, and a request on
/// such a connection is lost: nginx must not repeat a `POST`. So first the kernel is told to ignore new ones.
/// Whoever opens one then tries again after a second, and is refused: nothing was sent yet, and any load balancer
/// turns to another node.
///
/// The listener stays open until this is dropped.
pub struct Gate(std::net::TcpListener);

impl Gate {
    /// From now on no new connection begins. Those that have begun can still be accepted.
    ///
    /// # Errors
    /// If the kernel takes no socket filter.
    #[cfg(target_os = "linux")]
    pub fn close(&self) -> io::Result<()> {
        use socket2::{SockFilter, SockRef};

        // Classic BPF on the TCP header (linux/filter.h): drops what has SYN set and ACK not.
        const LOAD_BYTE: u16 = 0x30;
        const AND: u16 = 0x54;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        const FLAGS_OFFSET: u32 = 13;
        const SYN: u32 = 0x02;
        const ACK: u32 = 0x10;
        SockRef::from(&self.0).attach_filter(&[
            SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
            SockFilter::new(AND, 0, 0, SYN | ACK),
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ])
    }

    /// Elsewhere than on Linux new connections keep coming until the listener is closed.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
