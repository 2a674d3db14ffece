//! `make cluster`: Postgres, Redis, nodes and nginx as plain processes on loopback, until Ctrl-C.
//!
//! The same code starts the clusters of the tests, and the same configuration files serve in production. Nothing is
//! left behind: the servers live in temporary directories, and end with this process, however it ends.
#![allow(
    clippy::expect_used,
    reason = "it ends with a message, and with it all servers"
)]

use std::time::Duration;

use clap::Parser;
use testkit::Cluster;
use tokio::signal::unix::{SignalKind, signal};

/// A cluster on this machine, until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// How many nodes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,

    /// The port that nginx listens on
    #[arg(long, default_value_t = 8000)]
    port: u16,

    /// Sets a key of every node, such as limiter.quota=100/hour; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() {
    let Arguments {
        nodes,
        port,
        settings,
    } = Arguments::parse();
    for program in ["redis-server", "postgres", "nginx"] {
        if !testkit::available(&[program]) {
            eprintln!("`make tools` installs {program}");
            std::process::exit(1);
        }
    }
    if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
        eprintln!("port {port} is not free ({error}); choose one with --port");
        std::process::exit(1);
    }
    let cluster = Cluster::start(usize::from(nodes), port, |mut node| {
        for setting in &settings {
            let (key, value) = setting.split_once('=').expect("--set KEY=VALUE");
            node = node.set(key, value);
        }
        node
    });
    let mut interrupted = signal(SignalKind::interrupt()).expect("signals");
    let mut terminated = signal(SignalKind::terminate()).expect("signals");
    let cluster = tokio::select! {
        cluster = cluster => cluster,
        _ = interrupted.recv() => return,
        _ = terminated.recv() => return,
    };
    println!("nginx     http://{}", cluster.nginx.address());
    for (number, node) in cluster.nodes.iter().enumerate() {
        let (public, management) = (node.address(), node.management());
        println!("node {number}    http://{public}    http://{management}/metrics");
    }
    println!("redis     {}", cluster.redis.url());
    println!("postgres  {}", cluster.database.url());
    println!("ready; Ctrl-C stops everything");

    let follow_logs = async {
        let mut shown = vec![0; cluster.nodes.len()];
        loop {
            for (number, node) in cluster.nodes.iter().enumerate() {
                let lines = node.log_lines("");
                for line in &lines[shown[number]..] {
                    println!("node {number} | {line}");
                }
                shown[number] = lines.len();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = follow_logs => {}
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    println!("stopping");
}
