//! A network cable that can be cut.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A TCP proxy that stops passing bytes while it is cut, without closing a connection.
pub struct Proxy {
    address: SocketAddr,
    connected: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (connected, state) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let pass = async {
                        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                        copy_bidirectional(&mut client, &mut server).await
                    };
                    tokio::select! {
                        _ = pass => return,
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
            task,
        }
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

async fn becomes(mut state: watch::Receiver<bool>, expected: bool) {
    // An error means that the proxy was dropped.
    let _ = state
        .wait_for(|connected| *connected == expected)
        .await
        .is_ok();
}
