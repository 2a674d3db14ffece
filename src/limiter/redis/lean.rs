//! A connection to one server over plain TCP, which costs a request less than the client library's.
//!
//! - Commands are written into one buffer, which goes out in one write for all requests of a turn of the runtime.
//! - An answer is handed out as the bytes that came. The request reads the few numbers in it, and no values are built.
//!
//! | file | what it holds |
//! |---|---|
//! | `protocol` | commands as Redis reads them, and replies as it writes them, pure |
//! | `driver` | the task that sends and receives |
//!
//! All else is the library's: TLS, Unix sockets, RESP3, and what is not sent for each request.

mod driver;
mod protocol;

use std::{io, sync::Arc};

use deadpool_redis::redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion, RedisConnectionInfo,
    RedisError, RedisResult, Value,
};
use futures_util::future::select_ok;
use tokio::net::{TcpStream, lookup_host};
use tokio_util::task::AbortOnDropHandle;

use self::{
    driver::{Driver, Line},
    protocol::{Reader, values},
};
use super::command::{Commands, Transaction, Word::Text};

/// A handle to a connection: commands of all its clones travel over one socket. It closes when the last is dropped.
#[derive(Clone)]
pub(super) struct Lean(Arc<Open>);

struct Open {
    line: Arc<Line>,
    _driver: AbortOnDropHandle<()>,
}

/// The host and the port of a server that a [`Lean`] connection can reach: by plain TCP, and in RESP2.
pub(super) fn lean_address(server: &ConnectionInfo) -> Option<(&str, u16)> {
    match (server.addr(), server.redis_settings().protocol()) {
        (ConnectionAddr::Tcp(host, port), ProtocolVersion::RESP2) => Some((host, *port)),
        _ => None,
    }
}

impl Lean {
    /// Connects, logs in and selects the database. The runtime that calls this drives the connection. The caller bounds
    /// how long it takes.
    ///
    /// # Errors
    /// What the system or Redis says; [`ErrorKind::AuthenticationFailed`] if Redis wants no password;
    /// [`ErrorKind::InvalidClientConfig`] if the server has no [address](lean_address).
    pub(super) async fn connect(server: &ConnectionInfo) -> RedisResult<Self> {
        let address = lean_address(server)
            .ok_or((ErrorKind::InvalidClientConfig, "not plain TCP and RESP2"))?;
        let socket = connect(address).await?;
        // A request is one small write. With Nagle's algorithm it would wait until the one before it is acknowledged.
        socket.set_nodelay(true)?;
        let line = Arc::<Line>::default();
        let driver = tokio::spawn(Driver::new(socket, line.clone()));
        let connection = Self(Arc::new(Open {
            line,
            _driver: AbortOnDropHandle::new(driver),
        }));
        connection.log_in(server.redis_settings()).await?;
        Ok(connection)
    }

    async fn log_in(&self, settings: &RedisConnectionInfo) -> RedisResult<()> {
        let mut commands = Pipeline::new();
        if let Some(password) = settings.password() {
            let auth = commands.cmd("AUTH");
            if let Some(user) = settings.username() {
                auth.arg(user);
            }
            auth.arg(password);
        }
        if settings.db() != 0 {
            commands.cmd("SELECT").arg(settings.db());
        }
        for reply in self.values(&commands, 0, commands.len()).await? {
            reply.extract_error().map_err(wants_no_password)?;
        }
        Ok(())
    }

    /// Runs a transaction. `is_asking` tells a server of a cluster that does not own the key's slot yet that this is no
    /// mistake.
    ///
    /// # Errors
    /// As [`Transaction::read`]; the first error by which Redis declined to run it; why the connection has ended.
    pub(super) async fn run<T: Transaction>(
        &self,
        transaction: &T,
        is_asking: bool,
    ) -> RedisResult<T::Answer> {
        let answer = self.0.line.ask(|writer| {
            if is_asking {
                writer.add(&[Text("ASKING")]);
            }
            writer.transaction(transaction);
        });
        let answer = answer.await?;
        let before = usize::from(is_asking);
        let mut replies = Reader::of_transaction(&answer.bytes, before, answer.replies)?;
        transaction.read(&mut replies)
    }

    /// Sends commands of the library. Returns `count` replies after the first `skipped`, any of which may be an error.
    ///
    /// # Errors
    /// The first error among the replies that are skipped; why the connection has ended.
    pub(super) async fn values(
        &self,
        commands: &Pipeline,
        skipped: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let replies = skipped + count;
        if replies == 0 {
            return Ok(Vec::new());
        }
        let packed = commands.get_packed_pipeline();
        let answer = self.0.line.ask(|writer| writer.packed(&packed, replies));
        let mut values = values(&answer.await?.bytes, replies)?;
        for value in values.drain(..skipped) {
            value.extract_error()?;
        }
        Ok(values)
    }
}

/// Connects to the address of the host that answers first: it may have some that lead nowhere.
async fn connect(address: (&str, u16)) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host(address).await?.collect();
    if addresses.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let sockets = addresses.into_iter().map(TcpStream::connect).map(Box::pin);
    let (socket, _) = select_ok(sockets).await?;
    Ok(socket)
}

/// Redis 6 and later answers `ERR AUTH …` if the user needs no password.
fn wants_no_password(error: RedisError) -> RedisError {
    let detail = error.detail().unwrap_or_default();
    if error.code() == Some("ERR") && detail.starts_with("AUTH ") {
        let kind = ErrorKind::AuthenticationFailed;
        return (kind, "the password is not wanted", detail.to_owned()).into();
    }
    error
}
