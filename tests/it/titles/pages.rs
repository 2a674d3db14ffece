//! A server of pages that does what no honest server does.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What the server answers, and what it does then.
#[derive(Clone)]
pub enum Page {
    /// This, and the end.
    Whole(Vec<u8>),
    /// This, and then nothing at all, without an end.
    Stalling(Vec<u8>),
    /// This, and then a byte every 20 milliseconds.
    Dripping(Vec<u8>),
    /// This, and then the same piece again and again.
    Endless(Vec<u8>, Vec<u8>),
}

/// A server for as long as this is there.
pub struct Pages {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    written: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pages {
    /// Serves on a port of 127.0.0.1. `page` is asked for the answer to each path.
    pub async fn serve(page: impl Fn(&str) -> Page + Send + Sync + 'static) -> Self {
        Self::serve_at("127.0.0.1:0", page).await
    }

    pub async fn serve_at(
        address: &str,
        page: impl Fn(&str) -> Page + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::<AtomicU64>::default();
        let address = listener.local_addr().expect("its address");
        let (page, seen, count) = (Arc::new(page), requests.clone(), written.clone());
        let task = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.expect("a connection");
                let (page, seen, count) = (page.clone(), seen.clone(), count.clone());
                tokio::spawn(async move {
                    // Fails when the client has had enough.
                    let _ = answer(connection, &*page, &seen, &count).await;
                });
            }
        });
        Self {
            address,
            requests,
            written,
            task,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// How many bytes it has got rid of.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

async fn answer(
    mut connection: TcpStream,
    page: &(dyn Fn(&str) -> Page + Send + Sync),
    seen: &Mutex<Vec<String>>,
    written: &AtomicU64,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().expect("no panic").push(head);
    let send = async |connection: &mut TcpStream, bytes: &[u8]| {
        connection.write_all(bytes).await?;
        written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>(())
    };
    match page(&path) {
        Page::Whole(bytes) => send(&mut connection, &bytes).await,
        Page::Stalling(bytes) => {
            send(&mut connection, &bytes).await?;
            std::future::pending().await
        }
        Page::Dripping(bytes) => {
            send(&mut connection, &bytes).await?;
            loop {
                send(&mut connection, b" ").await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Page::Endless(bytes, piece) => {
            send(&mut connection, &bytes).await?;
            loop {
                send(&mut connection, &piece).await?;
            }
        }
    }
}

/// A page of HTML, up to the end of the connection.
pub fn html(body: &str) -> Vec<u8> {
    with_headers(
        "Content-Type: text/html; charset=utf-8\r\n",
        body.as_bytes(),
    )
}

pub fn with_headers(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

pub fn redirect(location: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
    );
    head.into_bytes()
}
