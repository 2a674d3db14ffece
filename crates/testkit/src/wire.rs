//! Connections to a server that a test can harm one by one.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A TCP proxy that numbers its connections from 0 and does to each what a test wants.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What happens on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Bytes pass. Connections begin with this.
    Pass,
    /// Nothing passes, and neither end is told. What the client sends is kept, and passes later.
    Hold,
    /// What the client sends next is lost, and the connection ends.
    LoseRequest,
    /// What the client sends passes, the answer to it is lost, and the connection ends.
    LoseAnswer,
    /// The connection ends.
    End,
}

#[derive(Default)]
struct Shared {
    port: AtomicU16,
    held: AtomicUsize,
    /// How many of the next connections lose the first answer.
    spoiled: AtomicUsize,
    fates: Mutex<Vec<watch::Sender<Fate>>>,
}

impl Wire {
    /// Starts a proxy to a port of this machine.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        shared.port.store(port, Ordering::Relaxed);
        let connections = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let fewer = |spoiled: usize| spoiled.checked_sub(1);
                let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
                let spoiled = connections.spoiled.fetch_update(success, failure, fewer);
                let (fate, fates) = watch::channel(match spoiled {
                    Ok(_) => Fate::LoseAnswer,
                    Err(_) => Fate::Pass,
                });
                connections.fates.lock().expect("no panic").push(fate);
                tokio::spawn(carry(client, fates, connections.clone()));
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made since the start.
    pub fn connections(&self) -> usize {
        self.shared.fates.lock().expect("no panic").len()
    }

    /// How many bytes of clients were kept since the start.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// From now on, new connections lead to another port of this machine.
    pub fn lead_to(&self, port: u16) {
        self.shared.port.store(port, Ordering::Relaxed);
    }

    /// So many of the next connections begin with [`Fate::LoseAnswer`].
    pub fn spoil(&self, connections: usize) {
        self.shared.spoiled.store(connections, Ordering::Relaxed);
    }

    /// Decides what happens on one connection.
    pub fn set(&self, connection: usize, fate: Fate) {
        self.shared.fates.lock().expect("no panic")[connection].send_replace(fate);
    }

    /// The same for all connections that there are.
    pub fn set_all(&self, fate: Fate) {
        for connection in self.shared.fates.lock().expect("no panic").iter() {
            connection.send_replace(fate);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.set_all(Fate::End);
    }
}

/// Carries bytes until an end closes the connection, or its fate does.
async fn carry(client: TcpStream, mut fates: watch::Receiver<Fate>, shared: Arc<Shared>) {
    let port = shared.port.load(Ordering::Relaxed);
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    for socket in [&client, &server] {
        socket.set_nodelay(true).expect("a socket");
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut kept = Vec::new();
    loop {
        let fate = *fates.borrow_and_update();
        if fate == Fate::End {
            return;
        }
        if fate != Fate::Hold && !kept.is_empty() {
            let passed = to_server.write_all(&std::mem::take(&mut kept)).await;
            if passed.is_err() {
                return;
            }
        }
        tokio::select! {
            biased;
            changed = fates.changed() => if changed.is_err() {
                return;
            },
            read = from_client.read(&mut sent) => {
                let Ok(length @ 1..) = read else {
                    return;
                };
                match fate {
                    Fate::Hold => {
                        kept.extend_from_slice(&sent[..length]);
                        shared.held.fetch_add(length, Ordering::Relaxed);
                    }
                    Fate::LoseRequest | Fate::End => return,
                    Fate::Pass | Fate::LoseAnswer => {
                        if to_server.write_all(&sent[..length]).await.is_err() {
                            return;
                        }
                    }
                }
            }
            read = from_server.read(&mut answered), if fate != Fate::Hold => {
                let Ok(length @ 1..) = read else {
                    return;
                };
                if fate == Fate::LoseAnswer || to_client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
