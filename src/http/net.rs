//! Sockets: what happens to bytes before they are a request, and after they are an answer.
//!
//! | file | what it holds |
//! |---|---|
//! | `listener`, `gate` | listening, and how to stop listening without losing a request |
//! | `slow_client` | bounds on the time and the memory that one client may take |
//! | `intake` | which bytes reach the parser, and when |
//! | `backlog` | bounds on the memory that all clients together may take |
//! | `closing` | `connection: close` on the answers that actix-http makes by itself |
//! | `connection` | what the requests on a connection share with its socket |
//! | `metrics` | what is measured of connections |

mod backlog;
mod closing;
mod connection;
mod gate;
mod intake;
mod listener;
mod metrics;
mod slow_client;

use self::connection::{Extension, LastAnswer};
pub(super) use self::{
    backlog::Backlog,
    connection::Connection,
    intake::{Intake, TakingBody},
    metrics::ConnectionMetrics,
    slow_client::{Bounds, Limits, SlowClientGuard},
};
pub use self::{connection::Peer, gate::Gate, listener::Listener};
