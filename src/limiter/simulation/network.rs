//! Connections between nodes and Redis: what is sent on one arrives in order, late, or never.

use super::{
    server::Beats,
    world::{What, World},
};
use crate::limiter::{
    Decision, LogEntry, LogTime,
    redis::roster::{Beat, NodeId},
};

/// What a node sends.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// `INFO server`, the first on a connection.
    Hello,
    Time,
    Record {
        client: usize,
        entry: LogEntry,
        earlier: Vec<LogEntry>,
    },
    Add {
        client: usize,
        entries: Vec<LogEntry>,
        now: i64,
    },
    Beat {
        node: NodeId,
        beat: Beat,
    },
    Look,
}

/// What comes back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Hello {
        run: u64,
    },
    /// There is nothing to connect to.
    Refused,
    Done,
    Decided(Decision),
    Beats(Beats),
    /// The connection has ended.
    Lost,
}

/// A connection between a node and Redis.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: usize,
    pub(super) life: u32,
    /// When the last message in each direction arrives: none overtakes another.
    to_redis: i64,
    to_node: i64,
    /// What lies in the socket of a Redis that stands still.
    unread: Vec<(u64, Message)>,
    pub(super) has_ended: bool,
    /// Whether what was under way is lost.
    pub(super) is_reset: bool,
}

impl World<'_> {
    /// Opens a connection.
    pub(super) fn open(&mut self, node: usize) -> usize {
        self.connections.push(Connection {
            node,
            life: self.nodes[node].life,
            to_redis: self.now,
            to_node: self.now,
            unread: Vec::new(),
            has_ended: false,
            is_reset: false,
        });
        self.connections.len() - 1
    }

    pub(super) fn send(&mut self, connection: usize, operation: u64, message: Message) {
        let at = self.arrival(connection, |line| &mut line.to_redis);
        self.arrives_at_redis(at, connection, operation, message);
    }

    fn arrives_at_redis(&mut self, at: i64, connection: usize, operation: u64, message: Message) {
        self.push(
            at,
            What::AtRedis {
                connection,
                operation,
                message,
            },
        );
    }

    fn reply(&mut self, connection: usize, operation: u64, answer: Answer) {
        let at = self.arrival(connection, |line| &mut line.to_node);
        self.push(
            at,
            What::AtNode {
                connection,
                operation,
                answer,
            },
        );
    }

    /// When a message that is sent now arrives, not before the `last` one.
    fn arrival(
        &mut self,
        connection: usize,
        last: impl FnOnce(&mut Connection) -> &mut i64,
    ) -> i64 {
        let delay = self.dice.between(50, self.schedule.delay);
        let last = last(&mut self.connections[connection]);
        *last = (*last).max(self.now + delay);
        *last
    }

    pub(super) fn at_redis(&mut self, connection: usize, operation: u64, message: Message) {
        let line = &mut self.connections[connection];
        let node = line.node;
        if line.has_ended {
            return;
        }
        if self.server.is_down {
            if matches!(message, Message::Hello) {
                self.connections[connection].has_ended = true;
                self.reply(connection, operation, Answer::Refused);
            }
        } else if let Some(until) = self.cut_off(node) {
            let line = &mut self.connections[connection];
            line.to_redis = line.to_redis.max(until + 50);
            let at = line.to_redis;
            self.arrives_at_redis(at, connection, operation, message);
        } else if self.server.is_still {
            self.connections[connection]
                .unread
                .push((operation, message));
        } else {
            self.read(connection, operation, message);
        }
    }

    fn read(&mut self, connection: usize, operation: u64, message: Message) {
        let quota = self.schedule.quota;
        let answer = match message {
            Message::Hello => Answer::Hello {
                run: self.server.run,
            },
            Message::Time => Answer::Done,
            Message::Record {
                client,
                entry,
                earlier,
            } => {
                let decision = self.server.record(client, quota, entry, &earlier);
                self.tell(|world| {
                    format!(
                        "         Redis logs #{} and counts {}",
                        entry.member,
                        world.server.len(client)
                    )
                });
                Answer::Decided(decision)
            }
            Message::Add {
                client,
                entries,
                now,
            } => {
                self.server
                    .add(client, quota, &entries, LogTime::from_micros(now));
                self.tell(|_| {
                    let members: Vec<_> = entries.iter().map(|entry| entry.member).collect();
                    format!("         Redis is told of {members:?}")
                });
                Answer::Done
            }
            Message::Beat { node, beat } => Answer::Beats(self.server.beat(node, beat)),
            Message::Look => Answer::Beats(self.server.beats()),
        };
        self.reply(connection, operation, answer);
    }

    /// Redis reads all sockets, one after the other, before anybody hears of it.
    pub(super) fn redis_goes_on(&mut self) {
        if !self.server.is_still {
            return;
        }
        self.server.is_still = false;
        self.trouble = self.trouble.max(self.now);
        self.tell(|_| "Redis goes on".to_owned());
        let mut order: Vec<usize> = (0..self.connections.len()).collect();
        for place in (1..order.len()).rev() {
            let other = self.dice.below(place + 1);
            order.swap(place, other);
        }
        for connection in order {
            for (operation, message) in std::mem::take(&mut self.connections[connection].unread) {
                self.read(connection, operation, message);
            }
        }
    }

    pub(super) fn end_connections(&mut self, which: impl Fn(&Connection) -> bool, is_abrupt: bool) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.has_ended || !which(connection) {
                continue;
            }
            connection.has_ended = true;
            if is_abrupt {
                connection.is_reset = true;
                connection.unread.clear();
            }
            self.reply(index, 0, Answer::Lost);
        }
    }
}
