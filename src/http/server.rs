//! The public listener's server.

use std::{convert::Infallible, rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpService;
use actix_server::Server;
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::{App, dev::AppConfig};
use tokio::net::TcpStream;

use super::{
    AppState, Listener,
    net::{Backlog, Bounds, Limits, SlowClientGuard},
    routes,
    serve::Serve,
};

/// How long things may take on the public listener.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a request to its last. Also the time for a client to take the answers that it left lying.
    pub request: Duration,
    /// The most that the answer may take after that.
    pub answer: Duration,
    /// Between requests on a kept-alive connection.
    pub keep_alive: Duration,
    /// For requests under way, after the listener has closed.
    pub shutdown: Duration,
}

/// The public listener's server, for at most `max_connections` at once. It serves until it is told to stop.
///
/// # Errors
/// If the listener cannot be used.
pub fn public_server(
    listener: Listener,
    state: Arc<AppState>,
    workers: usize,
    max_connections: usize,
    timeouts: Timeouts,
) -> std::io::Result<Server> {
    let limits = Limits {
        request: timeouts.request + timeouts.answer,
        // actix-http ends idle connections by itself. This ends those that actix-http misses.
        idle: timeouts.keep_alive + Duration::from_secs(1),
        unread: timeouts.request,
    };
    let backlog = Arc::<Backlog>::default();
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .workers(workers)
        // Further connections wait in the kernel until one of these ends.
        .max_concurrent_connections(max_connections.div_ceil(workers))
        .disable_signals()
        .shutdown_timeout(timeouts.shutdown.as_secs().max(1))
        .listen("public", listener.into_socket(), move || {
            let state = state.clone();
            let stopping = stopping.clone();
            let bounds = Rc::new(Bounds {
                limits,
                metrics: state.metrics.connections.clone(),
                backlog: backlog.clone(),
            });
            let proxies = state.clone();
            let app = App::new().configure(routes::configure).wrap(Serve(state));
            let http = HttpService::build()
                .keep_alive(timeouts.keep_alive)
                // actix-http reads a clock that may be half a second slow, and must not end a request too early.
                .client_request_timeout(timeouts.request + Duration::from_millis(500))
                .client_disconnect_timeout(Duration::from_secs(1))
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .on_connect_ext(|socket: &SlowClientGuard, data| {
                    data.insert(socket.connection());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            fn_service(move |socket: TcpStream| {
                let bounds = bounds.clone();
                let proxies = proxies.clone();
                async move {
                    let address = socket.peer_addr().ok();
                    let peer = address.map(|address| proxies.trusted_proxies.peer(address.ip()));
                    // Each answer is one small write, which must not wait for the acknowledgement of another.
                    let _ = socket.set_nodelay(true);
                    Ok::<_, Infallible>((SlowClientGuard::new(socket, peer, bounds), address))
                }
            })
            .map_err(|never: Infallible| match never {})
            .and_then(http)
        })?;
    Ok(server.run())
}
