//! What the requests on a connection share with its socket.

use std::{cell::Cell, net::IpAddr, rc::Rc};

use tokio::time::Instant;

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
    pub(in crate::http) extension: Extension,
}

/// Until when the request that is being answered may last, if that is longer than usual.
#[derive(Clone, Default)]
pub(in crate::http) struct Extension(Rc<Cell<Option<Instant>>>);

impl Extension {
    /// The request, and reading its answer, may last until then.
    pub(in crate::http) fn until(&self, deadline: Instant) {
        self.0.set(Some(deadline));
    }

    /// Another request begins, and it may last as long as usual. Not at its first byte: after a `100 Continue` the body
    /// of the same request looks like the first bytes of another one.
    pub(in crate::http) fn end(&self) {
        self.0.set(None);
    }

    /// The deadline that holds instead of this one.
    pub(super) fn instead_of(&self, deadline: Instant) -> Instant {
        self.0
            .get()
            .map_or(deadline, |extended| extended.max(deadline))
    }
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
