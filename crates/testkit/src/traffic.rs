//! Many clients that send requests without end, and a count of the answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use crate::{Answer, Client, eventually};

/// Clients that send requests until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
    /// How many requests of each client have ended.
    ended: Arc<[AtomicUsize]>,
}

/// The answers so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many answers had each status.
    pub statuses: BTreeMap<u16, usize>,
    /// The errors of requests without an answer.
    pub broken: Vec<String>,
    /// How long the slowest answer took.
    pub slowest: Duration,
    /// When a request last failed: an answer of 5xx, or none.
    pub last_failure: Option<Instant>,
}

impl Seen {
    fn add(&mut self, answer: reqwest::Result<Answer>) {
        let failed = match answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
                self.slowest = self.slowest.max(answer.took);
                answer.status.is_server_error()
            }
            Err(error) => {
                self.broken.push(format!("{error:?}"));
                true
            }
        };
        if failed {
            self.last_failure = Some(Instant::now());
        }
    }

    /// How many requests were answered.
    pub fn total(&self) -> usize {
        self.statuses.values().sum()
    }

    /// How many answers had this status.
    pub fn count(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// How many requests failed: an answer of 5xx, or none.
    pub fn failed(&self) -> usize {
        let errors = self.statuses.range(500..).map(|(_, count)| count);
        self.broken.len() + errors.sum::<usize>()
    }
}

impl Traffic {
    /// Starts the clients. Each sends its next request 2 ms after an answer. `request` gets a number that no other
    /// request of this traffic has.
    pub fn start(
        clients: &[Client],
        request: impl Fn(&Client, usize) -> reqwest::RequestBuilder + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let ended: Arc<[_]> = clients.iter().map(|_| AtomicUsize::new(0)).collect();
        let clients = clients.iter().enumerate().map(|(number, client)| {
            let (client, request) = (client.clone(), request.clone());
            let (stop, seen, ended) = (stop.clone(), seen.clone(), ended.clone());
            tokio::spawn(async move {
                let mut count = number * 1_000_000;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    let answer = Answer::to(request(&client, count)).await;
                    seen.lock().expect("no panic").add(answer);
                    ended[number].fetch_add(1, Ordering::Release);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        });
        Self {
            clients: clients.collect(),
            stop,
            seen,
            ended,
        }
    }

    /// The answers so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic").clone()
    }

    /// The answers since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }

    /// Waits until `count` more requests were answered, and every one that is under way now. So the answers that come
    /// after this wait are to requests that were sent after it began.
    pub async fn answers(&self, count: usize) {
        let before = self.seen().total();
        let ended = || self.ended.iter().map(|ended| ended.load(Ordering::Acquire));
        let ended_before: Vec<_> = ended().collect();
        eventually("requests are answered", async || {
            let answered = self.seen().total() >= before + count;
            let all = ended()
                .zip(&ended_before)
                .all(|(now, before)| now > *before);
            (answered && all).then_some(())
        })
        .await;
    }

    /// Stops the clients, waits for their last answers, and returns all answers.
    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no panic");
        }
        let seen = self.seen.lock().expect("no panic");
        seen.clone()
    }
}
