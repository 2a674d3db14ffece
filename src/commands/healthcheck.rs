//! `shunt healthcheck`: asks the node on this machine whether it is ready. For container engines and roll-outs.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use shunt::config::{Config, ListenAddress};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// How many bytes of an answer are read at most: more than `/readyz` ever sends.
const MAX_ANSWER: u64 = 64 * 1024;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Ready only if everything works, the database's writes and Redis included: for replacing one node after another
    #[arg(long)]
    strict: bool,
}

/// Prints the body of `/readyz`, or of `/readyz?strict`, if the node answers 200.
pub(super) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let answer = check(config, arguments.strict)
        .await
        .context("not healthy")?;
    println!("{answer}");
    Ok(())
}

async fn check(config: &Config, strict: bool) -> anyhow::Result<String> {
    let ListenAddress(address) = config
        .management
        .bind
        .context("management.bind is empty, so there is no listener to ask")?;
    timeout(TIMEOUT, ask(reachable(address), strict))
        .await
        .with_context(|| format!("no answer from {address} within {TIMEOUT:?}"))?
        .with_context(|| format!("asking {address}"))
}

/// Replaces an address that stands for all addresses of the machine (`0.0.0.0`, `[::]`) with the loopback address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(address: SocketAddr, strict: bool) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let path = if strict { "/readyz?strict" } else { "/readyz" };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("not an HTTP answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{status}: {}", body.trim_end());
    }
    Ok(body.trim_end().to_owned())
}
