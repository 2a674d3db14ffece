//! Listening, and ceasing to listen without losing anybody.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel accepts before a worker does.
const BACKLOG: i32 = 2048;

/// What the kernel keeps for a connection in either direction, in bytes: of a client that sends what is not read yet, or does
/// not take what it is sent. Left to itself, Linux makes 4 MiB and more of it. An answer is a few kilobytes, the largest
/// request some 20. The kernel doubles the number, for its own bookkeeping.
const KERNEL_BUFFER: usize = 32 * 1024;

/// How long a client may leave bytes without an acknowledgement, or take none, until the kernel ends the connection, even one that
/// this program has closed.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

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
        // Connections take these on from their listener.
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        socket.set_recv_buffer_size(KERNEL_BUFFER)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
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
/// such a connection is lost: nginx must not repeat a `POST`. So first the kernel is told to take no new ones, while
/// those that have begun are still accepted. Whoever opens one is refused before anything was sent, and any load balancer
/// turns to another node.
///
/// The listener stays open until this is dropped.
pub struct Gate(std::net::TcpListener);

impl Gate {
    /// From now on no new connection begins. Those that have begun can still be accepted.
    ///
    /// The listener is bound to a network interface that its connections do not come over: the kernel then refuses them as if
    /// nobody listened, while connections that have begun belong to the interface that they began on. Needs no
    /// privilege. A node that listens on every address goes on taking connections over loopback until it closes.
    ///
    /// # Errors
    /// If the machine has no other interface, or the kernel refuses.
    #[cfg(target_os = "linux")]
    pub fn close(&self) -> io::Result<()> {
        const LOOPBACK: &str = "lo";
        let interface = if self.0.local_addr()?.ip().to_canonical().is_loopback() {
            std::fs::read_dir("/sys/class/net")?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .find(|name| name != LOOPBACK)
                .ok_or(io::ErrorKind::NotFound)?
        } else {
            LOOPBACK.to_owned()
        };
        socket2::SockRef::from(&self.0).bind_device(Some(interface.as_bytes()))
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
