//! A connection on which a test decides over every byte.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Bytes in, bytes out.
pub struct RawConnection {
    socket: TcpStream,
    /// How many bytes of what is sent again and again went out in the last round.
    stuffed: usize,
}

impl From<TcpStream> for RawConnection {
    fn from(socket: TcpStream) -> Self {
        Self { socket, stuffed: 0 }
    }
}

impl RawConnection {
    pub async fn open(node: SocketAddr) -> Self {
        let socket = TcpStream::connect(node).await;
        socket.expect("the node listens").into()
    }

    /// One whose client takes hardly anything without reading it.
    pub async fn open_narrow(node: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let socket = socket.connect(node).await;
        socket.expect("the node listens").into()
    }

    /// `false` if the node has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// What arrives within `within`; `None` if the node has closed the connection, an empty string if it is silent.
    pub async fn receive(&mut self, within: Duration) -> Option<String> {
        let mut buffer = vec![0; 64 * 1024];
        match timeout(within, self.socket.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => None,
            Ok(Ok(length)) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(_) => Some(String::new()),
        }
    }

    /// Sends `bytes` again and again for as long as the kernel takes them, without waiting; `false` if the node has ended the
    /// connection. Reads nothing.
    pub fn stuff(&mut self, bytes: &[u8]) -> bool {
        loop {
            match self.socket.try_write(&bytes[self.stuffed..]) {
                Ok(sent) => self.stuffed = (self.stuffed + sent) % bytes.len(),
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Takes `bytes` at the most in a time of `pace`.
    pub async fn take(&mut self, bytes: usize, pace: Duration) {
        let next = tokio::time::sleep(pace);
        let mut buffer = vec![0; bytes];
        let _ = timeout(pace, self.socket.read(&mut buffer)).await;
        next.await;
    }

    /// To send while what arrives is read.
    pub fn split(self) -> (Self, Self) {
        let socket = self.socket.into_std().expect("a socket");
        let other = socket.try_clone().expect("a socket");
        let both = [socket, other].map(|socket| TcpStream::from_std(socket).expect("a socket"));
        both.map(Self::from).into()
    }

    /// Sends `bytes` one every `interval` until the node closes the connection; `None` if it does not for all of them.
    pub async fn dribble(&mut self, bytes: &[u8], interval: Duration) -> Option<usize> {
        for (sent, byte) in bytes.iter().enumerate() {
            if !self.send(&[*byte]).await {
                return Some(sent);
            }
            if self.receive(interval).await.is_none() {
                return Some(sent);
            }
        }
        None
    }
}

/// Bytes that have arrived at a port of this machine and that its owner has not read.
pub fn unread(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let hexadecimal = |number| u64::from_str_radix(number, 16).expect("a number");
    let unread = table.lines().skip(1).map(|socket| {
        // `number: local_address remote_address state tx_queue:rx_queue`
        let fields: Vec<&str> = socket.split_whitespace().collect();
        let [_, local, _, _, queues] = fields[..5] else {
            panic!("{socket}");
        };
        let (_, of) = local.split_once(':').expect(socket);
        let (_, received) = queues.split_once(':').expect(socket);
        if hexadecimal(of) == u64::from(port) {
            hexadecimal(received)
        } else {
            0
        }
    });
    unread.sum()
}
