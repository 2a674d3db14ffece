//! A network cable that can be cut, and one that is long.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// A TCP proxy that stops passing bytes while it is cut, without closing a connection.
pub struct Proxy {
    address: SocketAddr,
    connected: watch::Sender<bool>,
    late: Late,
    task: JoinHandle<()>,
}

/// How late pieces from clients are passed.
type Late = Arc<Mutex<Range<Duration>>>;

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (connected, state) = watch::channel(true);
        let late = Late::default();
        let lateness = late.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, late) = (state.clone(), lateness.clone());
                tokio::spawn(async move {
                    let pass = pass(client, port, &late);
                    tokio::pin!(pass);
                    tokio::select! {
                        _ = &mut pass => return,
                        () = becomes(state.clone(), false) => {}
                    }
                    // While it is cut, nothing passes, and neither end is told.
                    becomes(state, true).await;
                });
            }
        });
        Self {
            address,
            connected,
            late,
            task,
        }
    }

    /// From now on, passes what comes from clients late, each piece by another time in this range, and in its order.
    pub fn delay(&self, late: Range<Duration>) {
        *self.late.lock().expect("no panic") = late;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections, and those that are made from now on.
    pub fn cut(&self) {
        self.connected.send_replace(false);
    }

    /// Lets new connections pass again, and closes those that were cut.
    pub fn mend(&self) {
        self.connected.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes both ways until one end closes.
async fn pass(client: TcpStream, port: u16, late: &Late) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    // Small pieces must not wait for acknowledgements of earlier ones.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let back = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(pass_late(from_client, to_server, late), back)?;
    Ok(())
}

/// Passes each piece when its time has come, and none before the one that came before it.
async fn pass_late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    late: &Late,
) -> std::io::Result<()> {
    /// How many pieces are on their way at most.
    const PIECES: usize = 1024;
    /// Visits the whole range in an order that looks random.
    const STRIDE: f64 = 0.618_033_988_75;
    let (pieces, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let take = async move {
        let mut part = 0.0;
        loop {
            let mut piece = Vec::with_capacity(16 << 10);
            if from.read_buf(&mut piece).await? == 0 {
                return Ok(());
            }
            part = (part + STRIDE) % 1.0;
            let late = late.lock().expect("no panic").clone();
            let due = Instant::now() + late.start + (late.end - late.start).mul_f64(part);
            if pieces.send((due, piece)).await.is_err() {
                return Ok(());
            }
        }
    };
    let give = async move {
        while let Some((due, piece)) = under_way.recv().await {
            tokio::time::sleep_until(due.into()).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(take, give).map(|((), ())| ())
}

async fn becomes(mut state: watch::Receiver<bool>, expected: bool) {
    // An error means that the proxy was dropped.
    let _ = state
        .wait_for(|connected| *connected == expected)
        .await
        .is_ok();
}
