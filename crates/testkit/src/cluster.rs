//! The whole of it on one machine: Postgres, Redis, nodes, nginx.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Client, Database, Nginx, Node, NodeBuilder, Postgres, Redis, free_port};

/// A cluster of plain processes. The parts are public: tests take them apart.
pub struct Cluster {
    pub nginx: Nginx,
    pub nodes: Vec<Node>,
    pub builders: Vec<NodeBuilder>,
    pub redis: Redis,
    pub postgres: Postgres,
    /// Where the links are.
    pub database: Database,
}

impl Cluster {
    /// `nodes` nodes behind nginx on `port`, configured further by `configure`.
    pub async fn start(
        nodes: usize,
        port: u16,
        configure: impl Fn(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let redis = Redis::start().await;
        let postgres = Postgres::start().await;
        let database = postgres.database().await;
        let builders: Vec<NodeBuilder> = (0..nodes)
            .map(|_| {
                let node = Node::builder()
                    .redis(&redis)
                    .postgres(&database)
                    // A node that is restarted must be found again.
                    .set("http.bind", &format!("127.0.0.1:{}", free_port()))
                    .set("http.trusted_proxies", "127.0.0.1/32");
                configure(node)
            })
            .collect();
        let mut running = Vec::new();
        for builder in &builders {
            running.push(builder.start().await);
        }
        let addresses: Vec<SocketAddr> = running.iter().map(Node::address).collect();
        Self {
            nginx: Nginx::start(port, &addresses).await,
            nodes: running,
            builders,
            redis,
            postgres,
            database,
        }
    }

    /// A client of nginx at an address in 127.0.0.0/8.
    pub fn client_at(&self, address: [u8; 4]) -> Client {
        Client::new(IpAddr::V4(Ipv4Addr::from(address)), self.nginx.address())
    }

    /// One that opens a new connection for every request.
    pub fn forgetful_client_at(&self, address: [u8; 4]) -> Client {
        Client::without_keep_alive(IpAddr::V4(Ipv4Addr::from(address)), self.nginx.address())
    }

    /// Starts a node again, where it was.
    pub async fn start_node(&mut self, number: usize) {
        self.nodes[number] = self.builders[number].start().await;
    }
}
