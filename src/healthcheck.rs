//! `shunt healthcheck`: asks the node on this machine whether it is ready, for container engines.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use shunt::config::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// More than any answer of `/readyz`.
const MAX_ANSWER: u64 = 64 * 1024;

/// The body of `/readyz`, or of `/readyz?strict`, if it says 200.
pub(crate) async fn check(config: &Config, strict: bool) -> anyhow::Result<String> {
    let address = config
        .management
        .bind
        .context("management.bind is empty, there is nothing to ask")?;
    timeout(TIMEOUT, ask(reachable(address), strict))
        .await
        .with_context(|| format!("no answer from {address} within {TIMEOUT:?}"))?
        .with_context(|| format!("asking {address}"))
}

/// A node that listens on every address listens on the loopback one.
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
