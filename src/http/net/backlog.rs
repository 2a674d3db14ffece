//! Bounds on what all connections together keep waiting, beyond the little that each may keep for itself.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::limiter::ClientId;

/// For all connections of a node, of each kind: 32 MiB.
const LIMIT: usize = 32 * 1024 * 1024;

/// Of that, for the connections of one peer: 8 MiB.
const PEER_LIMIT: usize = 8 * 1024 * 1024;

/// Providers hand out IPv6 networks of at most this prefix length, so a peer is counted by its network.
const IPV6_PREFIX: u8 = 64;

/// What memory is used for. Each kind has a bound of its own, so clients that do not read their answers take no room
/// from requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Requests that are larger than usual, while they arrive and are answered.
    Requests,
    /// Connections whose client does not take its answers.
    StuckAnswers,
}

/// Memory for requests and answers that are larger than usual, or wait longer. The bounds hold for the whole node, so
/// memory does not grow with the number of connections.
#[derive(Default)]
pub(in crate::http) struct Backlog {
    requests: Mutex<Held>,
    stuck_answers: Mutex<Held>,
}

/// How much is held of one kind, in bytes.
#[derive(Default)]
struct Held {
    in_all: usize,
    /// Only peers that hold something, each more than a request of usual size. So the map is bounded.
    by_peer: HashMap<ClientId, usize>,
}

/// The share of one connection.
pub(super) struct Share {
    backlog: Arc<Backlog>,
    /// `None` if the peer is a proxy, which speaks for many clients.
    peer: Option<ClientId>,
    kind: Kind,
    bytes: usize,
}

impl Backlog {
    /// A share, empty at first. If `peer` is known, all connections of that client together get at most `PEER_LIMIT`.
    pub(super) fn share(self: &Arc<Self>, peer: Option<IpAddr>) -> Share {
        Share {
            backlog: self.clone(),
            peer: peer.map(|address| ClientId::new(address, IPV6_PREFIX)),
            kind: Kind::Requests,
            bytes: 0,
        }
    }

    fn held(&self, kind: Kind) -> MutexGuard<'_, Held> {
        let held = match kind {
            Kind::Requests => &self.requests,
            Kind::StuckAnswers => &self.stuck_answers,
        };
        held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// `false` if there is not enough; then nothing is taken.
    fn take(&mut self, bytes: usize, peer: Option<ClientId>) -> bool {
        if self.in_all + bytes > LIMIT {
            return false;
        }
        if let Some(peer) = peer {
            let of_peer = self.by_peer.get(&peer).copied().unwrap_or(0) + bytes;
            if of_peer > PEER_LIMIT {
                return false;
            }
            self.by_peer.insert(peer, of_peer);
        }
        self.in_all += bytes;
        true
    }

    fn give_back(&mut self, bytes: usize, peer: Option<ClientId>) {
        self.in_all -= bytes;
        if let Some(peer) = peer
            && let Some(of_peer) = self.by_peer.get_mut(&peer)
        {
            *of_peer -= bytes;
            if *of_peer == 0 {
                self.by_peer.remove(&peer);
            }
        }
    }
}

impl Share {
    /// Makes room for `bytes` in total, of that kind. If the share holds bytes of the other kind, they count as this
    /// kind from now on. `false` if there is no room left; then the share stays as it was.
    pub(super) fn cover(&mut self, kind: Kind, bytes: usize) -> bool {
        let bytes = bytes.max(self.bytes);
        let has = if kind == self.kind { self.bytes } else { 0 };
        if bytes > has && !self.backlog.held(kind).take(bytes - has, self.peer) {
            return false;
        }
        if kind != self.kind {
            self.release();
            self.kind = kind;
        }
        self.bytes = bytes;
        true
    }

    /// Gives everything back.
    pub(super) fn release(&mut self) {
        if self.bytes > 0 {
            let mut held = self.backlog.held(self.kind);
            held.give_back(self.bytes, self.peer);
            self.bytes = 0;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Kind::{Requests, StuckAnswers},
        *,
    };

    fn assert_empty(backlog: &Backlog) {
        for kind in [Requests, StuckAnswers] {
            let held = backlog.held(kind);
            assert_eq!(held.in_all, 0, "{kind:?}");
            assert!(held.by_peer.is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn what_one_connection_gives_back_another_may_have() {
        let backlog = Arc::<Backlog>::default();
        let (mut first, mut second) = (backlog.share(None), backlog.share(None));
        assert!(first.cover(Requests, LIMIT - 10));
        assert!(first.cover(Requests, 10), "less than it has");
        assert!(second.cover(Requests, 10));
        assert!(!second.cover(Requests, 11));
        drop(second);
        let mut third = backlog.share(None);
        assert!(third.cover(Requests, 10));
        first.release();
        assert!(third.cover(Requests, LIMIT));
        third.release();
        assert_empty(&backlog);
    }

    #[test]
    fn stuck_answers_take_no_room_from_requests() {
        let backlog = Arc::<Backlog>::default();
        let (mut stuck, mut request) = (backlog.share(None), backlog.share(None));
        assert!(stuck.cover(Requests, LIMIT));
        assert!(!request.cover(Requests, 1));
        assert!(stuck.cover(StuckAnswers, 1), "it takes along what it has");
        assert!(request.cover(Requests, LIMIT));
        assert!(!request.cover(StuckAnswers, 1));
        drop((stuck, request));
        assert_empty(&backlog);
    }

    #[test]
    fn a_peer_has_its_part_and_no_more_by_many_connections() {
        let backlog = Arc::<Backlog>::default();
        let share = |address: &str| backlog.share(Some(address.parse().expect(address)));
        for [one, same, other] in [
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
            ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"],
        ] {
            let [mut one, mut same, mut other] = [one, same, other].map(share);
            for kind in [Requests, StuckAnswers] {
                assert!(one.cover(kind, PEER_LIMIT));
                assert!(!same.cover(kind, 1));
                assert!(other.cover(kind, PEER_LIMIT));
            }
            one.release();
            assert!(same.cover(StuckAnswers, PEER_LIMIT));
        }
        assert_empty(&backlog);
    }
}
