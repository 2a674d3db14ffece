//! Which parts of a request nginx passes on.

use std::net::SocketAddr;

use testkit::{Nginx, free_port, needs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Front, get, status};

/// A server whose answer is the head of the request.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match connection.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let length = head.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                let answer = [answer.as_bytes(), &head].concat();
                let _ = connection.write_all(&answer).await;
            });
        }
    });
    address
}

/// The headers that arrive at a node, in lower case, if a client sends `headers`.
async fn passed_on(directives: &'static str, headers: &str) -> Vec<(String, String)> {
    let nginx = Nginx::start_with_directives(free_port(), &[mirror().await], directives).await;
    let mut connection = super::connect([127, 0, 0, 1], nginx.address()).await;
    let request = get("/", headers);
    connection.write_all(&request).await.expect("sent");
    let answer = super::read_to_end(connection).await;
    let (_, head) = answer.split_once("\r\n\r\n").expect("an answer");
    let lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = headers.iter().filter(|(given, _)| given == name);
    named.map(|(_, value)| value.as_str()).collect()
}

/// In every spelling that a server may take for the same name.
#[tokio::test]
async fn no_header_in_which_a_client_names_itself_reaches_a_node() {
    needs!("nginx");
    let names = [
        "X-Forwarded-For",
        "Forwarded",
        "Forwarded-For",
        "X-Forwarded",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Original-Forwarded-For",
        "X-Real-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF-Connecting-IPv6",
        "Fastly-Client-IP",
        "Fly-Client-IP",
        "X-Azure-ClientIP",
        "X-Envoy-External-Address",
    ];
    let forged: String = names
        .iter()
        .flat_map(|name| {
            [
                (*name).to_owned(),
                name.to_lowercase(),
                name.replace('-', "_"),
            ]
        })
        .map(|name| format!("{name}: 203.0.113.7\r\n"))
        .collect();
    let headers = passed_on(
        "",
        &(forged + "X-Forwarded-Proto: gopher\r\nX-Other: kept\r\n"),
    )
    .await;
    assert_eq!(value(&headers, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(value(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(value(&headers, "x-other"), ["kept"]);
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    let expected = [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-other",
        "x-request-id",
    ];
    assert_eq!(names, expected, "{headers:?}");
}

#[tokio::test]
async fn an_api_key_reaches_a_node_in_either_header() {
    needs!("nginx");
    let sent = "Authorization: Bearer shunt_one\r\nX-Api-Key: shunt_other\r\n";
    let headers = passed_on("", sent).await;
    assert_eq!(value(&headers, "authorization"), ["Bearer shunt_one"]);
    assert_eq!(value(&headers, "x-api-key"), ["shunt_other"]);
}

/// With the configuration of `README.md` for a network that passes requests on.
#[tokio::test]
async fn the_header_of_a_proxy_in_front_is_believed_only_from_that_proxy() {
    needs!("nginx");
    let headers = "CF-Connecting-IP: 203.0.113.7\r\n";
    for (directives, client) in [
        (
            "set_real_ip_from 127.0.0.1; real_ip_header CF-Connecting-IP;",
            "203.0.113.7",
        ),
        (
            "set_real_ip_from 192.0.2.0/24; real_ip_header CF-Connecting-IP;",
            "127.0.0.1",
        ),
    ] {
        let headers = passed_on(directives, headers).await;
        assert_eq!(value(&headers, "x-forwarded-for"), [client]);
        assert_eq!(value(&headers, "cf-connecting-ip"), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn http_1_0_without_a_host_works_as_it_does_without_nginx() {
    needs!("nginx");
    let front = Front::start().await;
    let body = "url=https://example.com/";
    let post = format!(
        "POST /shorten HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = front.exchange(post.as_bytes()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let link = format!("\"http://{}/", front.nginx.address());
    assert!(answer.contains(&link), "{answer}");
    for request in ["GET / HTTP/1.0\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n"] {
        let answer = front.exchange(request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }

    let front = Front::start_with("", |node| node.set("http.public_url", "https://sho.rt")).await;
    let answer = front.exchange(post.as_bytes()).await;
    assert!(answer.contains("\"https://sho.rt/"), "{answer}");
}
