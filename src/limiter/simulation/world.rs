//! Time, the network, and the order of what happens.

use super::{
    Mends,
    dice::Dice,
    network::{Answer, Connection, Message},
    node::Node,
    schedule::{Event, MS, SECOND, Schedule, Spread},
    server::Server,
    verdict::Decided,
};

/// A timer of a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// An operation is over.
    Due(u64),
    /// A connection takes too long to make.
    ConnectDue(usize),
    /// A request that has lost several connections goes on.
    Resend(u64),
    Beat,
    WriteBack,
    /// The clock is measured, in this round.
    Measure(u64),
    Rejoin,
    /// All other nodes must have noticed a loss.
    Noticed,
    BeatAgain,
}

#[derive(Debug)]
pub(super) enum What {
    Event(Event),
    Request {
        node: usize,
        client: usize,
    },
    AtRedis {
        connection: usize,
        operation: u64,
        message: Message,
    },
    AtNode {
        connection: usize,
        operation: u64,
        answer: Answer,
    },
    Timer {
        node: usize,
        life: u32,
        timer: Timer,
    },
    RedisGoesOn,
    RedisIsBack(super::schedule::Back),
}

pub(super) struct World<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) mends: Mends,
    pub(super) dice: Dice,
    pub(super) now: i64,
    /// What is to happen, and when. The last happens first: of two at the same time, the one that was pushed first.
    queue: Vec<(i64, What)>,
    pub(super) server: Server,
    pub(super) connections: Vec<Connection>,
    pub(super) nodes: Vec<Node>,
    turns: [usize; super::schedule::CLIENTS],
    pub(super) member: i32,
    pub(super) operation: u64,
    /// Until when Redis is out of reach of a node, at least.
    pub(super) trouble: i64,
    pub(super) decided: Vec<Decided>,
    pub(super) deleted: Vec<(i64, usize)>,
    /// When each request came, decided or not.
    pub(super) arrived: Vec<(i64, usize)>,
    pub(super) story: Option<Vec<String>>,
}

impl<'a> World<'a> {
    pub(super) fn new(schedule: &'a Schedule, mends: Mends, is_told: bool) -> Self {
        let mut world = Self {
            schedule,
            mends,
            dice: Dice::new(schedule.seed),
            now: 0,
            queue: Vec::new(),
            server: Server::default(),
            connections: Vec::new(),
            nodes: Vec::new(),
            turns: [0; super::schedule::CLIENTS],
            member: 0,
            operation: 0,
            trouble: i64::MIN,
            decided: Vec::new(),
            deleted: Vec::new(),
            arrived: Vec::new(),
            story: is_told.then(Vec::new),
        };
        world.found();
        for (at, event) in &schedule.events {
            world.push(*at, What::Event(*event));
        }
        world
    }

    /// Runs until all is calm. Returns the nodes that are not back by then.
    pub(super) fn run(&mut self) -> Vec<usize> {
        let calm = self.schedule.calm_from();
        let bound = calm + 25 * SECOND;
        while let Some((at, what)) = self.queue.pop() {
            self.now = at;
            self.happens(what);
            if self.now > calm && self.is_quiet() {
                break;
            }
            if self.now > bound {
                break;
            }
        }
        let away = |n: &usize| self.nodes[*n].is_alive && !self.nodes[*n].is_back();
        (0..self.nodes.len()).filter(away).collect()
    }

    fn is_quiet(&self) -> bool {
        self.nodes.iter().all(|node| {
            !node.is_alive
                || (node.is_back() && !node.has_requests() && node.stalled_until <= self.now)
        }) && !self.server.is_down
            && !self.server.is_still
    }

    pub(super) fn push(&mut self, at: i64, what: What) {
        // Nearly all happen soon, so few have to move. In a debug build, this takes half as long as a heap.
        let place = self.queue.partition_point(|(other, _)| *other > at);
        self.queue.insert(place, (at, what));
    }

    pub(super) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = format!("{:9.3} ms  {}", self.now as f64 / MS as f64, line(self));
            self.story.get_or_insert_default().push(line);
        }
    }

    pub(super) fn timer(&mut self, node: usize, at: i64, timer: Timer) {
        let life = self.nodes[node].life;
        self.push(at, What::Timer { node, life, timer });
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Event(event) => self.event(event),
            What::Request { node, client } => match self.stalled(node) {
                Some(until) => self.push(until, What::Request { node, client }),
                None if self.nodes[node].is_alive => self.request(node, client),
                None => {}
            },
            What::AtRedis {
                connection,
                operation,
                message,
            } => {
                self.at_redis(connection, operation, message);
            }
            What::AtNode {
                connection,
                operation,
                answer,
            } => {
                let Connection { node, life, .. } = self.connections[connection];
                if self.nodes[node].life != life {
                    return;
                }
                let until = self
                    .stalled(node)
                    .into_iter()
                    .chain(self.cut_off(node))
                    .max();
                if let Some(until) = until {
                    return self.push(
                        until,
                        What::AtNode {
                            connection,
                            operation,
                            answer,
                        },
                    );
                }
                if self.connections[connection].is_reset && !matches!(answer, Answer::Lost) {
                    return;
                }
                self.answer(node, connection, operation, answer);
            }
            What::Timer { node, life, timer } => match self.stalled(node) {
                _ if self.nodes[node].life != life => {}
                Some(until) => self.push(until, What::Timer { node, life, timer }),
                None => self.fired(node, timer),
            },
            What::RedisGoesOn => self.redis_goes_on(),
            What::RedisIsBack(back) => {
                self.server.restart(back);
                self.server.is_down = false;
                self.tell(|world| format!("Redis is back as run {}", world.server.run));
            }
        }
    }

    fn stalled(&self, node: usize) -> Option<i64> {
        let until = self.nodes[node].stalled_until;
        (until > self.now).then_some(until)
    }

    pub(super) fn cut_off(&self, node: usize) -> Option<i64> {
        let until = self.nodes[node].cut_off_until;
        (until > self.now).then_some(until)
    }

    fn event(&mut self, event: Event) {
        if !matches!(event, Event::Request { .. }) {
            self.tell(|_| format!("** {event}"));
        }
        let is_harmless = matches!(
            event,
            Event::Request { .. } | Event::RedisSaves | Event::ConnectionsEnd { .. }
        );
        if !is_harmless {
            self.trouble = self.trouble.max(self.now);
        }
        match event {
            Event::Request { client } => self.spread(client),
            Event::RedisStalls { lasts } => {
                if !self.server.is_still && !self.server.is_down {
                    self.server.is_still = true;
                    self.push(self.now + lasts, What::RedisGoesOn);
                }
            }
            Event::ConnectionsEnd { node, abrupt } => {
                self.end_connections(
                    |connection| node.is_none_or(|node| connection.node == node),
                    abrupt,
                );
            }
            Event::RedisSaves => self.server.save(),
            Event::RedisCrashes { lasts, back } => {
                if !self.server.is_down {
                    self.end_connections(|_| true, true);
                    self.server.is_down = true;
                    self.server.is_still = false;
                    self.push(self.now + lasts, What::RedisIsBack(back));
                }
            }
            Event::RedisIsFlushed => self.server.flush(),
            Event::NodeIsCutOff { node, lasts } => {
                // It may be cut off already, for longer.
                let until = &mut self.nodes[node].cut_off_until;
                *until = (*until).max(self.now + lasts);
            }
            Event::NodeStalls { node, lasts } => {
                // It may stand still already, for longer.
                let until = &mut self.nodes[node].stalled_until;
                *until = (*until).max(self.now + lasts);
                // Its requests may be sent again much later. Then later ones also count.
                self.trouble = self.trouble.max(self.now + lasts);
            }
            Event::NodeIsKilled { node } => self.kill(node),
            Event::NodeStarts { node } => self.start(node),
            Event::OperatorDeletes { client } => {
                self.server.delete(client);
                self.deleted.push((self.now, client));
            }
        }
    }

    /// The load balancer.
    fn spread(&mut self, client: usize) {
        for _ in 0..self.nodes.len() {
            let node = match self.schedule.spread {
                Spread::Even => self.turns[client] % self.nodes.len(),
                Spread::Pinned => client,
            };
            self.turns[client] += 1;
            if self.nodes[node].is_alive && self.nodes[node].is_ready {
                return self.happens(What::Request { node, client });
            }
        }
    }
}
