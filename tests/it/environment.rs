//! What a node does not choose: variables that others set, the limit of open files.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
    os::unix::ffi::OsStrExt,
    process::Command,
    time::{Duration, Instant},
};

use testkit::{Client, Node, Process, RawConnection, eventually, free_port};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn a_node_starts_among_the_variables_of_kubernetes_and_docker() {
    let node = Node::builder()
        .env("SHUNT_PORT", "tcp://10.96.0.7:80")
        .env("SHUNT_PORT_8080_TCP_ADDR", "10.96.0.7")
        .env("SHUNT_SERVICE_HOST", "10.96.0.7")
        .env("SHUNT_HTTP_BIND", "0.0.0.0:80")
        .start()
        .await;
    assert_eq!(node.client().get("/").await.status, 200);
    let [line] = &node.logged("SHUNT", 1).await[..] else {
        panic!("one warning");
    };
    assert!(line.contains("\"WARN\""), "{line}");
    assert!(line.contains("SHUNT_HTTP_BIND") && line.contains("SHUNT__HTTP__BIND"));
}

#[test]
fn config_prints_warnings_beside_the_configuration() {
    let builder = Node::builder().env("SHUNT_LIMITER_QUOTA", "1/s");
    let output = builder.command(&["config"]).output().expect("the program");
    assert!(output.status.success());
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(
        !stdout.contains("SHUNT") && stdout.contains("quota"),
        "{stdout}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("SHUNT__LIMITER__QUOTA"), "{stderr}");
}

/// Container engines run it every few seconds, and keep what it prints.
#[tokio::test]
async fn healthcheck_prints_no_warnings() {
    let node = Node::embedded().await;
    let asking = Node::builder()
        .set("management.bind", &node.management().to_string())
        .env("SHUNT_LIMITER_QUOTA", "1/s");
    let output = asking.command(&["healthcheck"]).output();
    let output = output.expect("the program");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(output.stderr), "");
}

/// If such a value were ignored, the node would keep its links in a file of its own and say nothing.
#[test]
fn a_value_that_is_not_utf_8_is_an_error_if_it_is_ours() {
    let value = OsStr::from_bytes(b"postgres://me:\xff@db/shunt");
    for (name, code) in [
        ("DATABASE_URL", 2),
        ("SHUNT__DATABASE__URL", 2),
        ("SHUNT_PORT", 0),
    ] {
        let builder = Node::builder();
        let mut command = builder.command(&["config"]);
        let output = command.env(name, value).output().expect("the program");
        let stderr = text(output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
        assert_eq!(stderr.contains(name), code == 2, "{stderr}");
    }
}

/// The error comes at once, not after `database.startup_timeout`, and is not about a host that does not exist.
#[test]
fn a_url_that_cannot_be_meant_is_refused_at_once_and_nothing_of_it_shown() {
    for (url, word) in [
        (
            "postgres://me:secret@a:5432,b:5432/shunt?target_session_attrs=read-write",
            "hosts",
        ),
        ("postgres://me:secret@a,b/shunt", "hosts"),
        ("postgres://me:sec@ret/secret@a/shunt", "percent-encoded"),
    ] {
        let started = Instant::now();
        let builder = Node::builder().set("database.startup_timeout", "1m");
        let mut command = builder.command(&["serve"]);
        let output = command
            .env("DATABASE_URL", url)
            .output()
            .expect("the program");
        assert!(started.elapsed() < Duration::from_secs(30), "{url}");
        assert_eq!(output.status.code(), Some(2), "{url}");
        let said = text(output.stdout) + &text(output.stderr);
        assert!(
            said.contains("database.url") && said.contains(word),
            "{said}"
        );
        assert!(!said.contains("sec") && !said.contains("ret"), "{said}");
    }
}

#[tokio::test]
async fn a_node_that_may_open_few_files_keeps_some_for_itself() {
    let [public, management] =
        [(), ()].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
    let builder = Node::builder()
        .set("http.bind", &public.to_string())
        .set("http.workers", "1")
        .set("management.bind", &management.to_string());
    let node = builder.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 320 && exec \"$@\"", "sh"]);
    shell.arg(node.get_program()).args(node.get_args());
    shell.current_dir(node.get_current_dir().expect("a directory"));
    let (_process, output) = Process::start(&shell);
    let log = std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(output).map_while(Result::ok);
        lines
            .into_iter()
            .any(|line| line.contains("http.max_connections"))
    });
    eventually("the node serves", async || {
        tokio::net::TcpStream::connect(management).await.ok()
    })
    .await;
    assert!(log.join().expect("no panic"), "no warning");
    let mut connections = Vec::new();
    for _ in 0..400 {
        connections.push(RawConnection::open(public).await);
    }
    let probe = Client::new(Ipv4Addr::LOCALHOST.into(), management);
    assert_eq!(probe.get("/readyz").await.status, 200);
    drop(connections);
    let client = Client::new(Ipv4Addr::LOCALHOST.into(), public);
    assert_eq!(client.get("/").await.status, 200);
}
