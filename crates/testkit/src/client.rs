//! An HTTP client with an address of its own.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{CONNECTION, HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde_json::Value;

use crate::Node;

/// A client of one node, at an address of its own: all of 127.0.0.0/8 is this machine.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// What a node answered.
#[derive(Debug)]
pub struct Answer {
    /// Such as 302.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: String,
    /// From the start of the request to the end of the body.
    pub took: Duration,
}

impl Client {
    /// A client at `from`, such as 127.0.0.7, of the node at `node`.
    pub fn new(from: IpAddr, node: SocketAddr) -> Self {
        Self::build(reqwest::Client::builder(), from, node)
    }

    /// The same, with a new connection for every request. The node is asked to close it. The side that closes first keeps
    /// its port for a minute, and the client, which has 28,000 ports at `from`, could use them up.
    pub fn without_keep_alive(from: IpAddr, node: SocketAddr) -> Self {
        let close = HeaderMap::from_iter([(CONNECTION, HeaderValue::from_static("close"))]);
        let builder = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .default_headers(close);
        Self::build(builder, from, node)
    }

    fn build(builder: reqwest::ClientBuilder, from: IpAddr, node: SocketAddr) -> Self {
        let http = builder
            .local_address(from)
            .redirect(Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client");
        Self {
            http,
            base: format!("http://{node}"),
        }
    }

    /// Sends all later requests to another node.
    pub fn move_to(&mut self, node: &Node) {
        self.base = format!("http://{}", node.address());
    }

    /// A request that is yet to be sent. Redirects are not followed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends `POST /shorten` with a form.
    pub async fn shorten(&self, url: &str) -> Answer {
        let request = self.request(Method::POST, "/shorten").form(&[("url", url)]);
        Answer::to(request).await.expect("an answer")
    }

    /// Sends `GET` and waits for the answer.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path))
            .await
            .expect("an answer")
    }
}

impl Answer {
    /// Sends a request, and waits for the whole answer.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn to(request: RequestBuilder) -> reqwest::Result<Self> {
        let started = Instant::now();
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await?;
        Ok(Self {
            status,
            headers,
            body,
            took: started.elapsed(),
        })
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("ASCII"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code in the answer to a `POST /shorten` that succeeded.
    pub fn code(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()["code"].as_str().expect("a code").to_owned()
    }

    /// The value of a header, as a number.
    pub fn number(&self, header: &str) -> u64 {
        let value = self
            .header(header)
            .unwrap_or_else(|| panic!("no {header}: {self:?}"));
        value
            .parse()
            .unwrap_or_else(|_| panic!("{header}: {value}"))
    }
}
