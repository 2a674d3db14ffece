//! What the requests on a connection share with its socket.

use std::{cell::Cell, net::IpAddr, rc::Rc};

use super::Intake;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; an IPv4 address is never written as IPv6.
    pub address: IpAddr,
    /// Whether it is a trusted proxy: it speaks for many clients, and its headers are believed.
    pub is_proxy: bool,
}

/// What every request on a connection can reach: actix-web's connection data.
pub(in crate::http) struct Connection {
    /// `None` if the client was gone before its address was read.
    pub(in crate::http) peer: Option<Peer>,
    pub(in crate::http) intake: Intake,
    pub(in crate::http) last_answer: LastAnswer,
}

/// Whether the next answer is the last one on its connection.
#[derive(Clone, Default)]
pub(in crate::http) struct LastAnswer(Rc<Cell<bool>>);

impl LastAnswer {
    /// The answer that is about to be written is the last one.
    pub(in crate::http) fn is_next(&self) {
        self.0.set(true);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.get()
    }
}
