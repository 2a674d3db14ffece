//! Log lines: where they go, and that requests never wait for their reader.

use std::{
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use testkit::{Client, Node, NodeBuilder, Process, eventually, free_port, within};

/// A node whose log is read only when a test does so.
struct Unread {
    process: Process,
    output: BufReader<Box<dyn Read + Send>>,
    public: SocketAddr,
    management: SocketAddr,
    /// Holds the directory in which the node keeps its links.
    _builder: NodeBuilder,
}

/// The length of a path, which appears in the log line of its request.
const LONG_PATH: usize = 4_000;

impl Unread {
    async fn start(builder: NodeBuilder) -> Self {
        let [public, management] =
            [(), ()].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let builder = builder
            .set("http.bind", &public.to_string())
            .set("management.bind", &management.to_string())
            .set("limiter.enabled", "false");
        let (process, output) = Process::start(&builder.command(&[]));
        let node = Self {
            process,
            output: BufReader::new(Box::new(output)),
            public,
            management,
            _builder: builder,
        };
        eventually("the node serves", async || {
            // The node opens this listener last.
            tokio::net::TcpStream::connect(node.management).await.ok()
        })
        .await;
        node
    }

    fn client(&self) -> Client {
        Client::new(Ipv4Addr::LOCALHOST.into(), self.public)
    }

    async fn dropped(&self) -> u64 {
        let probe = Client::new(Ipv4Addr::LOCALHOST.into(), self.management);
        let metrics = probe.get("/metrics").await.body;
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix("shunt_log_lines_dropped_total "));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Asks for long paths until lines are dropped. Every request is answered. Returns the number of requests.
    async fn log_more_than_fits(&self) -> usize {
        const CLIENTS: usize = 4;
        const AT_ONCE: usize = 100;
        let mut asked = 0;
        let path = format!("/{}", "a".repeat(LONG_PATH));
        while self.dropped().await < 10 {
            assert!(asked < 20_000, "nothing is dropped");
            let clients = (0..CLIENTS).map(async |_| {
                let client = self.client();
                for _ in 0..AT_ONCE {
                    assert_eq!(client.get(&path).await.status, 404);
                }
            });
            join_all(clients).await;
            asked += CLIENTS * AT_ONCE;
        }
        asked
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_holds_up_no_request_and_is_told_what_it_has_missed() {
    let mut node = Unread::start(Node::builder().set("log.level", "info,shunt=debug")).await;
    let asked = node.log_more_than_fits().await;
    let dropped = node.dropped().await;
    let missed = format!("\"lines\":{dropped},");
    // From here on the log is read.
    let reading = tokio::task::spawn_blocking(move || {
        let (mut read, mut told) = (0, 0);
        let mut lines = (&mut node.output).lines().map_while(Result::ok);
        while told == 0 || read + told < asked as u64 {
            let line = lines.next().expect("the node has ended");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            match event["message"].as_str() {
                Some("request") => read += 1,
                Some(message) if message.contains("dropped") => {
                    told += event["lines"].as_u64().expect(&missed);
                }
                _ => {}
            }
        }
        (read, told, node)
    });
    let (read, told, node) = tokio::time::timeout(Duration::from_secs(60), reading)
        .await
        .expect("every line is read or told of")
        .expect("no panic");
    assert_eq!((read + told, told), (asked as u64, dropped));
    // The node goes on serving.
    assert_eq!(node.client().get("/").await.status, 200);
}

#[tokio::test]
async fn a_reader_that_stalls_does_not_keep_a_node_from_stopping() {
    let mut node = Unread::start(Node::builder().set("log.level", "info,shunt=debug")).await;
    node.log_more_than_fits().await;
    node.process.signal(Signal::TERM);
    within(Duration::from_secs(15), "the node ends", async || {
        node.process.has_ended().then_some(())
    })
    .await;
    assert_eq!(node.process.wait(), 0);
}

#[tokio::test]
async fn the_last_lines_are_written_before_the_process_ends() {
    for _ in 0..5 {
        let node = Node::builder();
        let (mut process, log) = node.spawn();
        eventually("the node listens", async || {
            let log = log.lock().expect("no panic");
            log.iter()
                .any(|line| line.contains("listening on"))
                .then_some(())
        })
        .await;
        process.signal(Signal::TERM);
        assert_eq!(process.wait(), 0);
        eventually("its last line", async || {
            let log = log.lock().expect("no panic");
            let last = log.last()?;
            last.contains("\"stopped\"").then_some(())
        })
        .await;
    }
}

/// A node serves even if it can write no log line.
#[tokio::test]
async fn a_reader_that_is_gone_or_a_full_disk_holds_up_no_request() {
    for output in [None, Some("/dev/full")] {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let builder = Node::builder()
            .set("http.bind", &address.to_string())
            .set("limiter.enabled", "false")
            .set("log.level", "info,shunt=debug");
        let mut node = builder.command(&[]);
        if let Some(file) = output {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec \"$@\" >{file}"), "sh"]);
            shell.arg(node.get_program()).args(node.get_args());
            shell.current_dir(node.get_current_dir().expect("a directory"));
            node = shell;
        }
        let (_process, reader) = Process::start(&node);
        drop(reader);
        eventually("the node serves", async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        let client = Client::new(Ipv4Addr::LOCALHOST.into(), address);
        for _ in 0..50 {
            assert_eq!(client.get("/x").await.status, 404);
        }
    }
}
