//! Turning new connections away before the listener closes.

use std::{io, net::TcpListener};

/// Turns new connections away before a listener closes.
///
/// When a listener closes, the kernel resets every connection that it has accepted and the program has not. A request
/// on such a connection is lost, because nginx must not repeat a `POST`. So the gate closes first: the kernel takes no
/// new connections, and the program still accepts those that have begun. A client that tries to connect then is turned
/// away before it has sent anything, so a load balancer can ask another node.
///
/// The listener stays open until the gate is dropped.
pub struct Gate(TcpListener);

impl Gate {
    /// A gate for this listener.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(super) fn new(listener: &TcpListener) -> io::Result<Self> {
        listener.try_clone().map(Self)
    }

    /// From now on no new connection begins. The program can still accept those that have begun.
    ///
    /// This binds the listener to a network interface that its connections do not come over. The kernel then answers
    /// new ones as if nothing listened there, while connections that have begun belong to the interface that they began
    /// on. It needs no privilege. A node that listens on every address still takes connections over loopback until it
    /// closes.
    ///
    /// # Errors
    /// If the machine has no other interface, or the kernel does not allow it.
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

    /// Only Linux can do this. Elsewhere new connections keep coming until the listener closes.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
