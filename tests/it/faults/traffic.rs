//! Many clients that never stop asking, and what they were answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::harness::{Answer, Client, Node, eventually};

/// Requests of one kind, without end.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

/// What was answered so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub statuses: BTreeMap<u16, usize>,
    pub broken: Vec<String>,
    pub slowest: Duration,
}

impl Seen {
    fn add(&mut self, answer: reqwest::Result<Answer>) {
        match answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
                self.slowest = self.slowest.max(answer.took);
            }
            Err(error) => self.broken.push(format!("{error:?}")),
        }
    }

    pub fn total(&self) -> usize {
        self.statuses.values().sum()
    }
}

impl Traffic {
    /// `clients` clients at addresses of their own that ask `node`, each the next thing as soon as it has an
    /// answer.
    pub fn start(
        node: &Node,
        clients: u8,
        request: impl Fn(&Client, usize) -> reqwest::RequestBuilder + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let clients = (1..=clients)
            .map(|number| {
                let client = node.client_at([127, 0, 9, number]);
                let (stop, seen, request) = (stop.clone(), seen.clone(), request.clone());
                tokio::spawn(async move {
                    let mut count = usize::from(number) * 1_000_000;
                    while !stop.load(Ordering::Relaxed) {
                        count += 1;
                        let answer = Answer::to(request(&client, count)).await;
                        seen.lock().expect("no panic").add(answer);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                })
            })
            .collect();
        Self {
            stop,
            clients,
            seen,
        }
    }

    /// What was answered since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }

    /// Waits until another `count` requests were answered.
    pub async fn answers(&self, count: usize) {
        let total = || self.seen.lock().expect("no panic").total();
        let before = total();
        eventually("requests are answered", async || {
            (total() >= before + count).then_some(())
        })
        .await;
    }

    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no panic");
        }
        let seen = self.seen.lock().expect("no panic");
        seen.clone()
    }
}
