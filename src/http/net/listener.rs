//! The socket that listens.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

use super::Gate;

/// Connections that the kernel accepts before a worker does.
const BACKLOG: i32 = 2048;

/// The kernel's buffers for a connection, in each direction, in bytes. They hold what a client has sent and the node
/// has not read, and what the client has not taken. By default Linux lets them grow to 4 MiB and more. An answer has a
/// few kilobytes, the largest request some 20. The kernel doubles the number, for its own bookkeeping.
const KERNEL_BUFFER: usize = 32 * 1024;

/// How long a client may acknowledge no bytes, or take none, before the kernel ends the connection. This holds even for
/// a connection that the program has closed.
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
        // Connections inherit these from their listener.
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

    /// The address and port that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that turns new connections away while the program still accepts those in the queue.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn gate(&self) -> io::Result<Gate> {
        Gate::new(&self.socket)
    }

    /// The socket itself.
    pub fn into_socket(self) -> std::net::TcpListener {
        self.socket
    }
}
