//! Commands that `docs/operations.md` tells people to run, run as they stand there.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Answer, Client, Node, NodeBuilder, Postgres, eventually, find, needs};

const PAGE: &str = include_str!("../../docs/operations.md");

/// The shell commands under a heading.
fn commands(heading: &str) -> String {
    let section = PAGE.split_once(&format!("\n### {heading}\n"));
    let section = section.expect("the heading").1;
    let section = section.split("\n#").next().expect("its text");
    let mut blocks = section.split("```sh\n").skip(1);
    let block = blocks.next().expect("commands");
    assert!(blocks.next().is_none(), "{heading}: one block of commands");
    block.split_once("```").expect("their end").0.to_owned()
}

/// Runs them in a directory; what they print.
fn run(commands: &str, directory: &Path, environment: &[(&str, &str)]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_shunt"));
    let mut path = vec![program.parent().expect("a folder").to_owned()];
    for tool in ["psql", "sqlite3"] {
        let tool = find(tool).expect("it is installed");
        path.push(tool.parent().expect("a folder").to_owned());
    }
    let inherited = std::env::var_os("PATH").expect("a path");
    path.extend(std::env::split_paths(&inherited));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", commands])
        .current_dir(directory)
        .env("PATH", std::env::join_paths(path).expect("a path"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{commands}\n{printed}{errors}");
    printed
}

/// A node whose `shunt.db` is in a directory of the test's own.
fn place() -> (TempDir, NodeBuilder) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("shunt.db");
    let builder = Node::builder()
        .set("limiter.enabled", "false")
        .set("database.url", &format!("sqlite://{}", file.display()));
    (directory, builder)
}

async fn make(client: &Client, form: &[(&str, &str)]) -> String {
    let request = client.request(Method::POST, "/shorten").form(form);
    Answer::to(request).await.expect("an answer").code()
}

async fn status(node: &Node, code: &str) -> u16 {
    let answer = node.client().get(&format!("/{code}")).await;
    answer.status.as_u16()
}

/// A URL that a careless copy would break, in a file of comma-separated values above all.
const AWKWARD: &str = r#"https://example.com/a,b?q="quoted"&r='x'&s=\N#é"#;

/// Links of every kind.
async fn make_links(node: &Node) -> Vec<String> {
    let client = node.client();
    let url = ("url", "https://example.com/");
    let mut codes = vec![
        make(&client, &[("url", AWKWARD)]).await,
        make(&client, &[url, ("alias", "by-name")]).await,
        make(&client, &[url, ("expires_in", "864000")]).await,
        make(&client, &[url, ("max_visits", "5"), ("alias", "limited")]).await,
    ];
    for number in 0..200 {
        let url = format!("https://example.com/{number}");
        codes.push(client.shorten(&url).await.code());
    }
    assert_eq!(status(node, "limited").await, 302);
    assert_eq!(status(node, "limited").await, 302);
    codes
}

/// All of them lead where they did, and the visits are what is left of five.
async fn assert_are_there(node: &Node, codes: &[String], visits: usize) {
    let client = node.client();
    for code in codes.iter().filter(|code| *code != "limited") {
        assert_eq!(status(node, code).await, 302, "{code}");
    }
    let awkward = client.get(&format!("/{}", codes[0])).await;
    let shortened = client.shorten(AWKWARD).await;
    assert_eq!(shortened.code(), codes[0], "it is the same URL");
    assert_eq!(
        awkward.header("location"),
        shortened.json()["original_url"].as_str()
    );
    for left in (0..=visits).rev() {
        let expected = if left > 0 { 302 } else { 410 };
        assert_eq!(status(node, "limited").await, expected, "{left} left");
    }
}

#[tokio::test]
async fn a_backup_of_sqlite_has_all_links_and_is_restored() {
    needs!("sqlite3", "psql");
    let (directory, builder) = place();
    let node = builder.start().await;
    let codes = make_links(&node).await;
    let printed = run(&commands("Backup"), directory.path(), &[]);
    assert_eq!(printed, format!("ok\n{}\n", codes.len()));
    let later = node.client().shorten("https://example.org/").await.code();
    drop(node);
    run(&commands("Restore"), directory.path(), &[]);
    let node = builder.start().await;
    assert_are_there(&node, &codes, 3).await;
    assert_eq!(status(&node, &later).await, 404, "it is not in the backup");
}

#[tokio::test]
async fn a_file_that_was_deleted_is_got_back_from_the_node_that_has_it_open() {
    needs!("sqlite3", "psql");
    let (directory, builder) = place();
    let node = builder.start().await;
    let codes = make_links(&node).await;
    for suffix in ["", "-wal", "-shm"] {
        let file = directory.path().join(format!("shunt.db{suffix}"));
        std::fs::remove_file(file).expect("the file");
    }
    eventually("the node notices", async || {
        let lines = node.log_lines("removed or replaced").len();
        (lines == 1).then_some(())
    })
    .await;
    let rescue = commands("The file is removed or replaced");
    // There may be other nodes on this machine.
    assert!(rescue.contains("$(pidof shunt)"));
    let rescue = rescue.replace("$(pidof shunt)", &node.pid().to_string());
    let printed = run(&rescue, directory.path(), &[]);
    assert_eq!(printed, format!("ok\n{}\n", codes.len()));
    drop(node);
    let restore = commands("Restore").replace("shunt-backup.db", "rescued.db");
    // Nothing is there to be moved away.
    let restore = restore.replace("mv shunt.db* before/ && ", "");
    run(&restore, directory.path(), &[]);
    let node = builder.start().await;
    assert_are_there(&node, &codes, 3).await;
}

/// What `shunt keys` prints.
fn shunt_keys(builder: &NodeBuilder, arguments: &[&str]) -> String {
    let arguments = [&["keys"], arguments].concat();
    let output = builder.command(&arguments).output().expect("the program");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn list_keys(builder: &NodeBuilder) -> Value {
    let list = shunt_keys(builder, &["list", "--all", "--json"]);
    serde_json::from_str(&list).expect("JSON")
}

/// Makes keys of every kind, and lists them.
fn make_keys(builder: &NodeBuilder) -> Value {
    let limited = [
        "--expires-in",
        "90d",
        "--quota",
        "600/minute",
        "--owner",
        "anna",
    ];
    let scope = ["--scope", "create,manage"];
    for (name, more) in [("limited", &limited[..]), ("plain", &[]), ("revoked", &[])] {
        let create = [&["create", "--name", name], &scope[..], more].concat();
        shunt_keys(builder, &create);
    }
    shunt_keys(builder, &["revoke", "revoked"]);
    list_keys(builder)
}

#[tokio::test]
async fn the_way_from_sqlite_to_postgres_keeps_everything() {
    needs!("sqlite3", "psql", "postgres");
    let (directory, builder) = place();
    let node = builder.start().await;
    let codes = make_links(&node).await;
    let file = directory.path().join("shunt.db");
    let expires_at = || {
        let query = "SELECT max(expires_at) FROM urls";
        let output = Command::new("sqlite3").arg(&file).arg(query).output();
        let printed = String::from_utf8(output.expect("sqlite3").stdout);
        printed
            .expect("a number")
            .trim()
            .parse::<f64>()
            .expect("a number")
    };
    let expires_at = expires_at();
    drop(node);
    let keys = make_keys(&builder);
    assert_eq!(keys.as_array().expect("a list").len(), 3);

    let database = Postgres::shared_by_tests().await.database().await;
    let url = database.url();
    let environment = [("DATABASE_URL", url.as_str())];
    let printed = run(
        &commands("From SQLite to Postgres"),
        directory.path(),
        &environment,
    );
    assert!(
        printed.contains(&format!(" {}\n", codes.len()))
            && printed.ends_with(&format!("\n{}\n", codes.len())),
        "{printed}"
    );
    let on_postgres = builder.clone().postgres(&database);
    let node = on_postgres.start().await;
    let moved: Vec<f64> =
        sqlx::query_scalar("SELECT extract(epoch FROM max(expires_at))::float8 FROM urls")
            .fetch_all(&mut database.connect().await)
            .await
            .expect("a time");
    let off = (moved[0] - expires_at).abs();
    assert!(
        off < Duration::from_millis(1).as_secs_f64(),
        "{off} seconds"
    );
    assert_are_there(&node, &codes, 3).await;
    assert_eq!(list_keys(&on_postgres), keys);
    // Numbers go on after those that were taken.
    shunt_keys(
        &on_postgres,
        &["create", "--name", "later", "--scope", "create"],
    );
    assert_eq!(database.number("SELECT max(id) FROM keys").await, 4);
    let fresh = node.client().shorten("https://example.org/").await.code();
    assert_eq!(status(&node, &fresh).await, 302);
    let count = codes.len() as i64;
    assert_eq!(
        database.number("SELECT count(*) FROM urls").await,
        count + 1
    );
    assert_eq!(database.number("SELECT max(id) FROM urls").await, count + 1);
}

/// Everything that a row has beside its number, as JSON, in SQLite and in Postgres.
const ROWS_IN_SQLITE: &str = "SELECT json_group_array(json_array(short_code, original_url, visits, max_visits,
    CAST(round(iif(hidden, ends_at, expires_at) * 1000) AS INTEGER), CAST(round(starts_at * 1000) AS INTEGER),
    CAST(round(deleted_at * 1000) AS INTEGER), enabled, hidden, owner, main_id, password_hash, redirect,
    forward_query, fallback_url, title, note, json(tags), lower(hex(url_sha256)))) FROM (SELECT * FROM urls ORDER BY id)";
const ROWS_IN_POSTGRES: &str = "SELECT json_agg(json_build_array(short_code, original_url, visits, max_visits,
    round(extract(epoch FROM CASE WHEN hidden THEN ends_at ELSE expires_at END) * 1000)::bigint,
    round(extract(epoch FROM starts_at) * 1000)::bigint, round(extract(epoch FROM deleted_at) * 1000)::bigint,
    enabled::int, hidden::int, owner, main_id, password_hash, redirect, forward_query::int, fallback_url, title, note,
    tags, coalesce(encode(url_sha256, 'hex'), '')) ORDER BY id)::text FROM urls";

#[tokio::test]
async fn the_way_from_sqlite_to_postgres_keeps_the_options_of_links() {
    needs!("sqlite3", "psql", "postgres");
    let (directory, builder) = place();
    let node = builder.start().await;
    let client = node.client();
    let url = ("url", "https://example.com/");
    let special = [
        url,
        ("alias", "special"),
        // Before ten years are over, and after the start.
        ("expires_in", "9y"),
        ("starts_at", "2030-01-01T00:00:00+01:00"),
        ("redirect", "308"),
        ("forward_query", "true"),
        ("fallback_url", AWKWARD),
        ("title", r#"A "title", with \N"#),
        ("note", "one\n\"two\",\n\\."),
        ("tags", r#"a "tag", {b}, \N"#),
    ];
    make(&client, &special).await;
    make(&client, &[url, ("alias", "disabled"), ("enabled", "false")]).await;
    make(&client, &[url]).await;
    drop(node);
    let sqlite = |statement: &str| {
        let file = directory.path().join("shunt.db");
        let output = Command::new("sqlite3").arg(file).arg(statement).output();
        let output = output.expect("sqlite3");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    sqlite(
        "UPDATE urls SET owner = 'anna', password_hash = 'x' WHERE short_code = 'special';
         UPDATE urls SET deleted_at = 1700000000.5 WHERE short_code = 'disabled';
         INSERT INTO urls (short_code, original_url, main_id, created_at)
             SELECT 'further', original_url, id, created_at FROM urls WHERE short_code = 'special'",
    );
    let rows: Value = serde_json::from_str(&sqlite(ROWS_IN_SQLITE)).expect("JSON");
    assert_eq!(rows.as_array().expect("rows").len(), 4);

    let database = Postgres::shared_by_tests().await.database().await;
    let environment = [("DATABASE_URL", database.url())];
    let environment = environment
        .each_ref()
        .map(|(name, url)| (*name, url.as_str()));
    run(
        &commands("From SQLite to Postgres"),
        directory.path(),
        &environment,
    );
    let moved: Vec<String> = sqlx::query_scalar(ROWS_IN_POSTGRES)
        .fetch_all(&mut database.connect().await)
        .await
        .expect("rows");
    let moved: Value = serde_json::from_str(&moved[0]).expect("JSON");
    assert_eq!(moved, rows);
    let tags = "SELECT count(*) FROM taggings";
    assert_eq!(database.number(tags).await, 3);
}
