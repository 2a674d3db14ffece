//! A connection on which a test decides about every byte.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// A TCP connection that speaks no HTTP by itself.
pub struct RawConnection {
    socket: TcpStream,
    /// How many bytes [`stuff`](Self::stuff) has sent of its last repetition.
    stuffed: usize,
}

impl From<TcpStream> for RawConnection {
    fn from(socket: TcpStream) -> Self {
        Self { socket, stuffed: 0 }
    }
}

impl RawConnection {
    /// Connects.
    pub async fn open(node: SocketAddr) -> Self {
        let socket = TcpStream::connect(node).await;
        socket.expect("the node listens").into()
    }

    /// Connects with a small receive buffer: the kernel takes at most a few KB that the test does not read.
    pub async fn open_narrow(node: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let socket = socket.connect(node).await;
        socket.expect("the node listens").into()
    }

    /// Sends bytes; `false` if the node has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Returns what arrives first, an empty string if nothing does in the time `within`, and `None` if the node has
    /// closed the connection.
    pub async fn receive(&mut self, within: Duration) -> Option<String> {
        let mut buffer = vec![0; 64 * 1024];
        match timeout(within, self.socket.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => None,
            Ok(Ok(length)) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(_) => Some(String::new()),
        }
    }

    /// Sends `bytes` again and again until the kernel takes no more, without waiting and without reading. Returns
    /// `false` if the node has closed the connection.
    pub fn stuff(&mut self, bytes: &[u8]) -> bool {
        loop {
            match self.socket.try_write(&bytes[self.stuffed..]) {
                Ok(sent) => self.stuffed = (self.stuffed + sent) % bytes.len(),
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Reads at most `bytes`, and takes as long as `pace` for it.
    pub async fn take(&mut self, bytes: usize, pace: Duration) {
        let next = tokio::time::sleep(pace);
        let mut buffer = vec![0; bytes];
        let _ = timeout(pace, self.socket.read(&mut buffer)).await;
        next.await;
    }

    /// The same connection twice, to send on one while the other reads.
    pub fn split(self) -> (Self, Self) {
        let socket = self.socket.into_std().expect("a socket");
        let other = socket.try_clone().expect("a socket");
        let both = [socket, other].map(|socket| TcpStream::from_std(socket).expect("a socket"));
        both.map(Self::from).into()
    }

    /// Sends one byte every `interval` until the node closes the connection, and returns how many were sent by then.
    /// `None` if all were sent.
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

/// How many bytes have arrived at a port of this machine that its owner has not read.
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
