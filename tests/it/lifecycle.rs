//! Start, commands, configuration errors.

use std::{collections::HashSet, process::Output};

use futures_util::future::join_all;
use rustix::process::Signal;
use testkit::{Node, NodeBuilder, Postgres, eventually, needs};

#[tokio::test]
async fn every_thread_is_scheduled_as_configured() {
    const SCHED_OTHER: u32 = 0;
    const SCHED_BATCH: u32 = 3;
    let default = Node::embedded().await;
    let normal = Node::builder().set("http.scheduling", "normal");
    let normal = normal.start().await;
    let batch = Node::builder().set("http.scheduling", "batch");
    let batch = batch.start().await;
    for (node, expected) in [
        (default, SCHED_OTHER),
        (normal, SCHED_OTHER),
        (batch, SCHED_BATCH),
    ] {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).expect("its threads");
        let policies: Vec<u32> = tasks
            .map(|task| {
                let stat = task.expect("a thread").path().join("stat");
                let stat = std::fs::read_to_string(stat).expect("its state");
                // See proc(5): field 41, where a name in parentheses is field 2.
                let fields = stat.rsplit_once(") ").expect("a name").1;
                let policy = fields.split(' ').nth(41 - 3).expect("a policy");
                policy.parse().expect("a number")
            })
            .collect();
        assert!(policies.len() > 2, "workers, and more");
        assert!(
            policies.iter().all(|&policy| policy == expected),
            "{policies:?}"
        );
    }
}

#[tokio::test]
async fn several_nodes_start_at_once_on_an_empty_database() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let on_postgres = Node::builder().postgres(&database);
    // These nodes have one directory, and so one file.
    let on_sqlite = Node::builder();
    for builder in [on_postgres, on_sqlite] {
        let nodes = join_all((0..4).map(|_| builder.start())).await;
        let code = nodes[0]
            .client()
            .shorten("https://example.com/")
            .await
            .code();
        for node in &nodes {
            assert_eq!(node.client().get(&format!("/{code}")).await.status, 302);
        }
    }
}

fn output(builder: &NodeBuilder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = builder.command(arguments).output().expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_bad_configuration_is_exit_code_2_and_one_line_that_names_the_key() {
    for (key, value) in [
        ("http.bind", "nonsense"),
        ("http.bnd", "127.0.0.1:8080"),
        ("database.url", "mysql://me:secret@db/shunt"),
        ("redis.url", "cache:6379"),
        ("limiter.quota", "ten a minute"),
    ] {
        let builder = Node::builder().set(key, value);
        for command in [
            &[][..],
            &["serve"],
            &["migrate"],
            &["config"],
            &["healthcheck"],
        ] {
            let (code, stdout, stderr) = output(&builder, command);
            assert_eq!(code, Some(2), "{key}, {command:?}: {stderr}");
            assert_eq!(stdout, "", "{key}");
            assert_eq!(stderr.lines().count(), 1, "{key}: {stderr}");
            assert!(stderr.contains(key), "{key}: {stderr}");
            assert!(!stderr.contains("secret"), "{stderr}");
        }
    }
}

#[test]
fn no_flag_is_repeated_in_an_error() {
    let url = "postgres://me:secret@db/shunt";
    let with_query = format!("{url}?sslmode=require");
    for arguments in [
        &["--set", url][..],
        &["--set", &with_query],
        &["--set", &format!("database={url}")],
        &["--set", &format!("http.workers={url}")],
        &["--set", "=secret"],
        &["--bind", url],
        &["--config", url],
    ] {
        // After the flags of the builder, which would win otherwise.
        let builder = Node::builder();
        let mut command = builder.command(&["config"]);
        let output = command.args(arguments).output().expect("the program");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        let code = output.status.code();
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(!(stdout + &stderr).contains("secret"), "{arguments:?}");
    }
}

#[test]
fn the_effective_configuration_is_printed_without_secrets() {
    let builder = Node::builder()
        .env("DATABASE_URL", "postgres://me:secret@db/shunt")
        .env("SHUNT__LIMITER__QUOTA", "7/hour");
    let (code, stdout, _) = output(&builder, &["config"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("quota = \"7/hour\""), "{stdout}");
    assert!(stdout.contains("postgres://me:***@db/shunt"), "{stdout}");
    assert!(!stdout.contains("secret"));
}

#[tokio::test]
async fn migrate_brings_the_tables_up_to_date_and_ends() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = Node::builder().postgres(&database);
    for _ in 0..2 {
        let (code, stdout, stderr) = output(&builder, &["migrate"]);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert_eq!(database.number("SELECT count(*) FROM urls").await, 0);
    }
}

#[tokio::test]
async fn healthcheck_tells_by_its_exit_code() {
    let mut node = Node::builder().set("http.drain", "10m").start().await;
    let asking = Node::builder().set("management.bind", &node.management().to_string());
    let (code, stdout, stderr) = output(&asking, &["healthcheck"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("\"ready\""), "{stdout}");
    node.signal(Signal::TERM);
    eventually("the node drains", async || {
        (node.probe().get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let (code, _, stderr) = output(&asking, &["healthcheck"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("draining"), "{stderr}");
    node.kill();
    let (code, _, stderr) = output(&asking, &["healthcheck"]);
    assert_eq!(code, Some(1), "{stderr}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let node = Node::embedded().await;
    let second = Node::builder().set("http.bind", &node.address().to_string());
    let (code, stdout, _) = output(&second, &[]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("http.bind"), "{stdout}");
}

#[tokio::test]
async fn the_start_says_where_what_and_how_much() {
    let node = Node::embedded().await;
    let line = node.log_lines("listening on").join("\n");
    for part in [
        &node.address().to_string(),
        "sqlite://shunt.db",
        "10/minute per client",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn the_management_listener_can_be_turned_off() {
    let builder = Node::builder().set("management.bind", "");
    let (mut process, log) = builder.spawn();
    eventually("the node listens", async || {
        let log = log.lock().expect("no panic");
        log.iter()
            .any(|line| line.contains("listening on"))
            .then_some(())
    })
    .await;
    assert_eq!(listening_sockets(process.pid()), 1, "the public one");
    process.signal(Signal::TERM);
    assert_eq!(process.wait(), 0);
    let with_management = Node::embedded().await;
    assert_eq!(listening_sockets(with_management.pid()), 2);
}

/// How many TCP sockets a process listens on.
fn listening_sockets(pid: i32) -> usize {
    const LISTEN: &str = "0A";
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    // There may be no IPv6.
    let table = read("net/tcp").expect("Linux") + &read("net/tcp6").unwrap_or_default();
    let sockets = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&LISTEN)).then(|| format!("socket:[{}]", fields[9]))
    });
    let listening: HashSet<String> = sockets.collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files");
    let files = files
        .flatten()
        .filter_map(|file| file.path().read_link().ok());
    let mut own: Vec<_> = files
        .map(|file| file.to_string_lossy().into_owned())
        .filter(|file| listening.contains(file))
        .collect();
    own.sort();
    // Each worker has a copy of the socket.
    own.dedup();
    own.len()
}

#[tokio::test]
async fn an_access_line_per_request_is_for_debugging_only() {
    for (level, lines) in [("info", 0), ("debug", 1)] {
        let node = Node::builder().set("log.level", level).start().await;
        node.client().get("/").await;
        eventually("the request is counted", async || {
            (node.metric("shunt_http_requests_total", &[]).await == 1.0).then_some(())
        })
        .await;
        if lines == 1 {
            eventually("the line is written", async || {
                (node.log_lines("\"path\":\"/\"").len() == 1).then_some(())
            })
            .await;
        }
        assert_eq!(node.log_lines("\"path\":\"/\"").len(), lines, "{level}");
    }
}
