//! A whole cluster on one machine: Postgres, Redis, nodes, nginx.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{Client, Database, Nginx, Node, NodeBuilder, Postgres, Redis, free_port};

/// A cluster of plain processes. Its parts are public, so that tests can stop them.
pub struct Cluster {
    /// In front of the nodes.
    pub nginx: Nginx,
    /// In the order of nginx's configuration.
    pub nodes: Vec<Node>,
    /// The configuration of each node.
    pub builders: Vec<NodeBuilder>,
    /// Where the nodes count.
    pub redis: Redis,
    /// The server of `database`.
    pub postgres: Postgres,
    /// Where the links are.
    pub database: Database,
}

impl Cluster {
    /// Starts this many nodes behind nginx on `port`. `configure` is called with the configuration of each.
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
                    // nginx finds a restarted node only at the same port.
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

    /// The same, with a new connection for every request.
    pub fn forgetful_client_at(&self, address: [u8; 4]) -> Client {
        Client::without_keep_alive(IpAddr::V4(Ipv4Addr::from(address)), self.nginx.address())
    }

    /// Starts a node again at the same address.
    pub async fn start_node(&mut self, number: usize) {
        self.nodes[number] = self.builders[number].start().await;
    }
}
