//! From the start of the program to its first answer.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use testkit::{Node, Process, free_port};

use crate::{
    row::{Better, Row, Wanted},
    runner::Runner,
};

const RUNS: usize = 11;

/// The pause between attempts to get an answer.
const INTERVAL: Duration = Duration::from_millis(1);

/// After this time the node has failed to start.
const BOUND: Duration = Duration::from_secs(10);

/// The row: an embedded node in an empty directory, with the defaults but for its ports.
///
/// # Errors
/// If the node does not answer.
pub(crate) async fn measure(runner: &mut Runner<'_>) -> anyhow::Result<Row> {
    eprintln!("first-answer: {RUNS} starts");
    let title = "from exec to the first answer, embedded, empty directory";
    let mut row = Row::new("first-answer", title, "ms", Better::Lower);
    row.wanted = Some(Wanted::AtMost(150.0));
    let mut slowest = Duration::ZERO;
    for _ in 0..RUNS {
        let took = first_answer().await?;
        slowest = slowest.max(took);
        row.add(took.as_secs_f64() * 1e3, None);
    }
    row.notes
        .push(format!("slowest: {} ms", slowest.as_millis()));
    runner.keep("first-answer", &format!("{:?}\n", row.values()));
    Ok(row)
}

/// The time to the first answer. About two milliseconds of it belong to the shell that guards the process.
async fn first_answer() -> anyhow::Result<Duration> {
    let builder = Node::builder();
    let directory = tempfile::tempdir()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let mut command = Command::new(builder.command(&[]).get_program());
    command
        .args(["--bind", &address.to_string()])
        .args([
            "--set",
            &format!("management.bind=127.0.0.1:{}", free_port()),
        ])
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .current_dir(directory.path());
    let started = Instant::now();
    let (_process, output) = Process::start(&command);
    std::thread::spawn(move || std::io::copy(&mut { output }, &mut std::io::sink()));
    loop {
        if answers(address) {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < BOUND, "the node does not answer");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether the node listens and answers with 200.
fn answers(node: SocketAddr) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect(node)?;
        connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        connection.read_exact(&mut status).map(|()| status)
    };
    ask().is_ok_and(|status: [u8; 12]| &status == b"HTTP/1.1 200")
}
