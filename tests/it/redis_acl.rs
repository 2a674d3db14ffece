//! Redis has to allow a node what `docs/configuration.md` says, and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};

use deadpool_redis::redis::{FromRedisValue, Value};
use reqwest::Method;
use testkit::{Node, NodeBuilder, Redis, Traffic, eventually, needs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::stores::redis_kinds;

const PASSWORD: &str = "letters-and-digits-1";

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands for one server, for Sentinel and for a cluster, as the page has them.
fn documented() -> [String; 3] {
    let page = repository("docs/configuration.md");
    let lines = page.lines().filter(|line| line.starts_with("ACL SETUSER"));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.try_into().expect("three of them")
}

/// The keys and commands that a command or a line of a file grants.
fn grants(line: &str) -> BTreeSet<&str> {
    let words = line.split_whitespace();
    words.filter(|word| word.starts_with(['~', '+'])).collect()
}

async fn add_user(redis: &Redis, command: &str) {
    redis
        .command::<()>(&command.replace("PASSWORD", PASSWORD))
        .await;
}

async fn assert_nothing_was_refused(redis: &Redis) {
    let refused: Vec<Value> = redis.command("ACL LOG").await;
    assert!(refused.is_empty(), "{refused:?}");
}

fn node(url: &str) -> NodeBuilder {
    Node::builder()
        .set("redis.url", url)
        .set("limiter.redis.timeout", "10s")
        .set("limiter.write_back", "50ms")
        // On a busy machine too, this many requests come fast enough for a flood.
        .set("limiter.quota", "2/minute")
}

/// A Redis whose user `shunt` is what `command` makes of it, and a node that is this user.
async fn limited_node(command: &str) -> (Redis, Node) {
    let redis = Redis::start().await;
    add_user(&redis, command).await;
    let url = format!("redis://shunt:{PASSWORD}@127.0.0.1:{}", redis.port());
    let node = node(&url).start().await;
    (redis, node)
}

/// Makes a node do everything that it does in Redis: requests, a flood, the clock, a key that is not ours, a new
/// connection.
async fn does_everything(node: &Node, redis: &Redis) {
    let policies = ["127.0.60.1", "127.0.60.2"];
    redis
        .command::<()>(&format!("SET rate_limit:{} mine", policies[1]))
        .await;
    for round in 0..2 {
        let gets = redis.calls("get").await;
        let clients = [1, 2, 1, 2, 1, 2, 1, 2].map(|number| node.client_at([127, 0, 60, number]));
        let flood = Traffic::start(&clients, |client, _| client.request(Method::GET, "/"));
        let shielded = ["source=\"shield\""];
        eventually("the shield refuses", async || {
            let refused = node.metric("shunt_limiter_decisions_total", &shielded);
            (refused.await > 20.0 * f64::from(round + 1)).then_some(())
        })
        .await;
        let told = redis.logged("rate_limit:127.0.60.1").await;
        eventually("Redis is told", async || {
            let now = redis.logged("rate_limit:127.0.60.1").await;
            (now.last() > told.last()).then_some(())
        })
        .await;
        eventually("the clock is measured", async || {
            (redis.calls("get").await > gets + 1).then_some(())
        })
        .await;
        flood.stop().await;
        let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
        assert_eq!(opened.await, 0.0, "redis is there");
        if round == 0 {
            let gets = redis.calls("get").await;
            redis.command::<u32>("CLIENT KILL TYPE normal").await;
            eventually("it is connected again", async || {
                let open = node.metric("shunt_limiter_breaker_open", &[]);
                (open.await == 0.0 && redis.calls("get").await > gets + 1).then_some(())
            })
            .await;
        }
    }
    let kept: i64 = redis.command("TTL rate_limit:127.0.60.2").await;
    assert_eq!(kept, -1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_needs_what_the_page_says() {
    needs!("redis-server");
    let [server, ..] = documented();
    let (redis, node) = limited_node(&server).await;
    does_everything(&node, &redis).await;
    assert_nothing_was_refused(&redis).await;
}

/// As on a server whose operator has not yet granted what a new release asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_use_info_can_do_all_the_same() {
    needs!("redis-server");
    let [server, ..] = documented();
    assert!(server.contains(" +info "), "{server}");
    let (redis, node) = limited_node(&server.replace(" +info ", " ")).await;
    does_everything(&node, &redis).await;
    let refused: Vec<Value> = redis.command("ACL LOG").await;
    let refused: BTreeSet<String> = refused
        .into_iter()
        .map(|entry| BTreeMap::<String, Value>::from_redis_value(entry).expect("a map"))
        .map(|entry| String::from_redis_value(entry["object"].clone()).expect("a command"))
        .collect();
    assert_eq!(refused, BTreeSet::from(["info".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_a_number_needs_select() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let [server, ..] = documented();
    add_user(&redis, &format!("{server} +select")).await;
    let url = format!("redis://shunt:{PASSWORD}@127.0.0.1:{}/3", redis.port());
    let node = node(&url).start().await;
    assert_eq!(node.client().get("/").await.status, 200);
    assert_eq!(node.metric("shunt_limiter_breaker_open", &[]).await, 0.0);
    assert_nothing_was_refused(&redis).await;
    let databases: String = redis.command("INFO keyspace").await;
    assert!(databases.contains("db3:keys="), "{databases}");
    assert!(!databases.contains("db0:keys="), "{databases}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_without_a_user_is_the_default_users() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let require = format!("CONFIG SET requirepass {PASSWORD}");
    redis.command::<()>(&require).await;
    for (password, open) in [(PASSWORD, 0.0), ("another", 1.0), ("", 1.0)] {
        let url = format!("redis://:{password}@127.0.0.1:{}", redis.port());
        let node = node(&url).start().await;
        assert_eq!(node.client().get("/").await.status, 200);
        let breaker = node.metric("shunt_limiter_breaker_open", &[]);
        assert_eq!(breaker.await, open, "{password:?}");
        let refused = node.log_lines("cannot be used as it is configured");
        assert_eq!(refused.len() as f64, open, "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_redis_does_not_want_is_an_error_of_the_configuration() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port());
    let node = node(&url).start().await;
    assert_eq!(node.client().get("/").await.status, 200);
    let line = is_logged_once(&node).await;
    assert!(line.contains("without any password"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_as_if_redis_were_away() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let url = format!("redis://127.0.0.1:{}/99", redis.port());
    let node = node(&url).start().await;
    assert_eq!(node.client().get("/").await.status, 200);
    assert_eq!(node.metric("shunt_limiter_breaker_open", &[]).await, 1.0);
    let lines = node.logged("redis is away", 1).await;
    assert!(lines[0].contains("out of range"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_group_needs_what_the_page_says() {
    needs!("redis-server");
    let group = redis_kinds::sentinel().await;
    let [_, sentinel, _] = documented();
    add_user(group.master(), &sentinel).await;
    let url = group.url().replace("://", &format!("://shunt:{PASSWORD}@"));
    let node = node(&url).start().await;
    does_everything(&node, group.master()).await;
    assert_nothing_was_refused(group.master()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_needs_what_the_page_says() {
    needs!("redis-server");
    let cluster = redis_kinds::cluster().await;
    let [_, _, line] = documented();
    add_user(cluster.server(), &line).await;
    let url = cluster
        .url()
        .replace("://", &format!("://shunt:{PASSWORD}@"));
    let node = node(&url).start().await;
    does_everything(&node, cluster.server()).await;
    assert_nothing_was_refused(cluster.server()).await;
}

#[test]
fn the_homelab_grants_what_the_page_says() {
    let file = repository("terraform/roles/redis/users.acl");
    let user = file.lines().find(|line| line.starts_with("user shunt "));
    let [server, ..] = documented();
    assert_eq!(grants(user.expect("the user")), grants(&server));
}

/// A client library may try commands that only newer versions of Redis know. So this looks at what goes over the wire,
/// and finds only what is granted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sends_no_other_command() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let [server, ..] = documented();
    add_user(&redis, &server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (port, streams) = (redis.port(), sent.clone());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let streams = streams.clone();
            let number = {
                let mut streams = streams.lock().expect("no panic");
                streams.push(Vec::new());
                streams.len() - 1
            };
            let redis = TcpStream::connect(("127.0.0.1", port))
                .await
                .expect("redis");
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_redis, mut to_redis) = redis.into_split();
            tokio::spawn(async move { copy(&mut from_redis, &mut to_client).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    streams.lock().expect("no panic")[number].extend(&buffer[..length]);
                    if to_redis.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let node = node(&format!("redis://shunt:{PASSWORD}@{address}"))
        .start()
        .await;
    does_everything(&node, &redis).await;
    let granted: BTreeSet<String> = grants(&server)
        .iter()
        .filter_map(|word| word.strip_prefix('+'))
        .map(str::to_ascii_uppercase)
        .collect();
    let streams = sent.lock().expect("no panic");
    let used: BTreeSet<String> = streams.iter().flat_map(|stream| commands(stream)).collect();
    // Redis lets every user log in.
    let but_auth = used.into_iter().filter(|command| command != "AUTH");
    assert_eq!(but_auth.collect::<BTreeSet<_>>(), granted);
}

/// The names of the commands that a client has sent, as arrays of bulk strings.
fn commands(mut stream: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let line = |stream: &mut &[u8]| -> Option<String> {
        let end = stream.windows(2).position(|two| two == b"\r\n")?;
        let line = String::from_utf8_lossy(&stream[..end]).into_owned();
        *stream = &stream[end + 2..];
        Some(line)
    };
    while let Some(array) = line(&mut stream) {
        let length: usize = array
            .strip_prefix('*')
            .expect("an array")
            .parse()
            .expect("a length");
        for word in 0..length {
            let Some(size) = line(&mut stream) else {
                return names;
            };
            let size: usize = size
                .strip_prefix('$')
                .expect("a string")
                .parse()
                .expect("a size");
            let Some(text) = stream.get(..size) else {
                return names;
            };
            if word == 0 {
                names.insert(String::from_utf8_lossy(text).to_ascii_uppercase());
            }
            stream = stream.get(size + 2..).unwrap_or_default();
        }
    }
    names
}

/// Waits for the line that says that Redis cannot be used as it is configured, and returns it. There is only one.
async fn is_logged_once(node: &Node) -> String {
    let lines = eventually("the misconfiguration is logged", async || {
        let lines = node.log_lines("cannot be used as it is configured");
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    let [line] = lines.try_into().expect("one line");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_redis_allows_too_little_one_line_says_what_to_grant_and_granting_it_is_enough() {
    needs!("redis-server");
    let redis = Redis::start().await;
    let [server, ..] = documented();
    let needed = grants(&server);
    let url = format!("redis://shunt:{PASSWORD}@127.0.0.1:{}", redis.port());
    for user in [
        // No such user; another password; no keys; too few commands.
        "ACL SETUSER other on",
        "ACL SETUSER shunt reset on >another ~* +@all",
        "ACL SETUSER shunt reset on >PASSWORD +@all",
        "ACL SETUSER shunt reset on >PASSWORD ~rate_limit:* +@all -persist -zcard",
        "ACL SETUSER shunt reset on >PASSWORD ~rate_limit:* +@all -zremrangebyrank",
        "ACL SETUSER shunt reset on >PASSWORD ~rate_limit:* +@all -time",
        "ACL SETUSER shunt reset on >PASSWORD ~rate_limit:* +@all -hgetall",
        "ACL SETUSER shunt reset on >PASSWORD ~rate_limit:* +@all -hset -hdel",
        "ACL SETUSER shunt reset on >PASSWORD ~rate_limit:1* +@all",
    ] {
        add_user(&redis, user).await;
        let node = node(&url).start().await;
        let ready = node.probe().get("/readyz").await;
        assert_eq!(
            ready.json()["dependencies"]["redis"]["status"],
            "down",
            "{user}"
        );
        assert_eq!(node.client().get("/").await.status, 200, "{user}");
        let line = is_logged_once(&node).await;
        assert_eq!(node.log_lines("redis is away"), [] as [&str; 0], "{user}");
        assert!(!line.contains(PASSWORD), "{line}");
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let grant = event["grant"].as_str().expect("what to grant");
        assert_eq!(grants(grant), needed, "{user}");
        assert!(grant.starts_with("ACL SETUSER shunt on "), "{grant}");
        redis.command::<()>(grant).await;
        redis
            .command::<()>(&format!("ACL SETUSER shunt >{PASSWORD}"))
            .await;
        node.breaker_is(false).await;
        node.logged("redis is back", 1).await;
        is_logged_once(&node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_away_while_a_node_runs_is_logged_and_never_ends_it() {
    needs!("redis-server");
    let [server, ..] = documented();
    let (redis, node) = limited_node(&server).await;
    assert_eq!(node.client().get("/").await.status, 200);
    redis.command::<()>("ACL SETUSER shunt -zadd").await;
    node.client().get("/").await;
    is_logged_once(&node).await;
    assert_eq!(node.metric("shunt_limiter_breaker_open", &[]).await, 1.0);
    redis.command::<()>("ACL SETUSER shunt +zadd").await;
    node.breaker_is(false).await;
    is_logged_once(&node).await;
}

/// A node that could not beat would be missing in the others' count when Redis goes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_not_beat_any_more_says_so_without_a_request() {
    needs!("redis-server");
    let [server, ..] = documented();
    let (redis, node) = limited_node(&server).await;
    redis.command::<()>("ACL SETUSER shunt -hset").await;
    let line = is_logged_once(&node).await;
    assert!(line.contains("+hset"), "{line}");
    // It does not close and open again with each attempt.
    let attempts = async || {
        node.metric("shunt_store_errors_total", &["operation=\"connect\""])
            .await
    };
    let before = attempts().await;
    eventually("it tries again", async || {
        (attempts().await > before + 3.0).then_some(())
    })
    .await;
    assert_eq!(node.metric("shunt_limiter_breaker_open", &[]).await, 1.0);
    let opened = node.metric("shunt_limiter_breaker_opened_total", &[]);
    assert_eq!(opened.await, 1.0);
    redis.command::<()>("ACL SETUSER shunt +hset").await;
    node.logged("redis is back", 1).await;
    is_logged_once(&node).await;
}
