//! Sockets: what arrives and leaves before a request exists and after its answer does.

mod backlog;
mod closing;
mod intake;
mod listener;
mod slow_client;

pub use listener::{Gate, Listener};
pub(super) use {
    backlog::Backlog,
    intake::Intake,
    slow_client::{LastAnswer, Limits, SlowClientGuard, Terms},
};
