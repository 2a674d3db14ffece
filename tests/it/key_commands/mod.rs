//! `shunt keys`, also while a node runs on the same database.

mod first_key;

use std::process::{Output, Stdio};

use serde_json::Value;
use shunt::keys::ApiKey;
use testkit::{Node, NodeBuilder, Postgres, execute, needs};

/// What a command printed.
struct Printed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn keys(builder: &NodeBuilder, arguments: &[&str]) -> Printed {
    let mut command = builder.command(&["keys"]);
    let output = command.args(arguments).output().expect("the program");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Printed {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

fn succeed(builder: &NodeBuilder, arguments: &[&str]) -> Printed {
    let printed = keys(builder, arguments);
    assert_eq!(printed.code, Some(0), "{arguments:?}: {}", printed.stderr);
    printed
}

/// Runs a command that prints a key, and nothing else, to standard output.
fn key_of(builder: &NodeBuilder, arguments: &[&str]) -> String {
    let Printed { stdout, stderr, .. } = succeed(builder, arguments);
    let key = stdout.strip_suffix('\n').expect("a line");
    assert!(ApiKey::parse(key).is_some(), "{stdout}");
    assert!(!stderr.contains(key), "{stderr}");
    assert!(stderr.contains("only time"), "{stderr}");
    key.to_owned()
}

fn create(builder: &NodeBuilder, name: &str) -> String {
    key_of(builder, &["create", "--name", name, "--scope", "create"])
}

/// The names and states of keys, as `keys list --json` tells them.
fn listed(builder: &NodeBuilder, arguments: &[&str]) -> Vec<(String, String)> {
    let arguments = [&["list", "--json"], arguments].concat();
    let list: Value = serde_json::from_str(&succeed(builder, &arguments).stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let keys = list.as_array().expect("an array").iter();
    keys.map(|key| (text(&key["name"]), text(&key["state"])))
        .collect()
}

fn state(name: &str, state: &str) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

#[tokio::test]
async fn a_key_is_printed_once_and_alone_and_its_name_is_taken() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let on_postgres = Node::builder().postgres(&database);
    for builder in [Node::builder(), on_postgres] {
        let key = create(&builder, "phone");
        for again in ["phone", "phone"] {
            let arguments = ["create", "--name", again, "--scope", "admin"];
            let Printed {
                code,
                stdout,
                stderr,
            } = keys(&builder, &arguments);
            assert_eq!((code, stdout.as_str()), (Some(1), ""));
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(
                stderr.starts_with("shunt: a key named phone exists"),
                "{stderr}"
            );
        }
        assert_ne!(create(&builder, "tablet"), key);
        assert_eq!(
            listed(&builder, &[]),
            [state("phone", "working"), state("tablet", "working")]
        );
    }
}

#[test]
fn a_wrong_argument_is_named_and_nothing_is_made() {
    let (directory, builder) = place();
    let key = ApiKey::generate();
    for (arguments, says) in [
        (
            &["create", "--name", "phone"][..],
            &["--scope <create,manage,stats,admin>"][..],
        ),
        (&["create", "--scope", "create"], &["--name <NAME>"]),
        (
            &["create", "--name", "phone", "--scope", "create,fly"],
            &[
                "--scope",
                "there is no scope `fly`",
                "create, manage, stats and admin",
            ],
        ),
        (
            &["create", "--name", "phone", "--scope", ""],
            &["--scope", "create,manage,stats,admin"],
        ),
        (
            &["create", "--name", "phone", "--scope", ","],
            &[
                "--scope",
                "no scope is given",
                "create, manage, stats and admin",
            ],
        ),
        (
            &["create", "--name", "my phone", "--scope", "create"],
            &["--name", "1 to 64"],
        ),
        (
            &[
                "create", "--name", "phone", "--scope", "create", "--owner", "a b",
            ],
            &["--owner", "1 to 64"],
        ),
        (
            &[
                "create",
                "--name",
                "phone",
                "--scope",
                "create",
                "--expires-in",
                "90",
            ],
            &["--expires-in", "90d"],
        ),
        (
            &[
                "create", "--name", "phone", "--scope", "create", "--quota", "0/minute",
            ],
            &["--quota", "between 1 and 1000000"],
        ),
        (&["list", "--owner", ""], &["--owner"]),
        (&["revoke"], &["<NAME>"]),
        (
            &["revoke", key.secret()],
            &["<NAME>", "a key itself", "shunt keys list"],
        ),
        (&["rotate", "a/b"], &["<NAME>", "1 to 64"]),
        (&["lose", "phone"], &["lose"]),
        (&[], &["create", "rotate"]),
    ] {
        let Printed {
            code,
            stdout,
            stderr,
        } = keys(&builder, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        for part in says {
            assert!(stderr.contains(part), "{arguments:?}: {part}: {stderr}");
        }
    }
    let made = directory.path().join("shunt.db").exists();
    assert!(!made, "no command got as far as the database");
}

/// A directory of the test's own, and a node whose `shunt.db` is there.
fn place() -> (tempfile::TempDir, NodeBuilder) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("shunt.db");
    let builder = Node::builder().set("database.url", &format!("sqlite://{}", file.display()));
    (directory, builder)
}

#[test]
fn the_list_shows_everything_but_the_key() {
    let builder = Node::builder();
    let empty = succeed(&builder, &["list"]);
    assert_eq!(empty.stdout, "");
    assert!(empty.stderr.contains("no such key"), "{}", empty.stderr);
    assert_eq!(succeed(&builder, &["list", "--json"]).stdout, "[]\n");

    let mut made = vec![create(&builder, "phone")];
    made.push(key_of(
        &builder,
        &[
            "create",
            "--name",
            "a-script",
            "--scope",
            "stats,create,manage",
            "--owner",
            "anna@example.com",
            "--expires-in",
            "90d",
            "--quota",
            "1200 per 2 minutes",
        ],
    ));
    made.push(create(&builder, "short"));
    succeed(&builder, &["revoke", "short"]);

    let table = succeed(&builder, &["list"]).stdout;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [head, script, phone] = &lines[..] else {
        panic!("three lines: {table}");
    };
    assert_eq!(
        head[..],
        [
            "NAME", "OWNER", "SCOPES", "QUOTA", "CREATED", "EXPIRES", "STATE"
        ]
    );
    assert_eq!(
        script[..4],
        [
            "a-script",
            "anna@example.com",
            "create,manage,stats",
            "1200/2m"
        ]
    );
    assert_eq!(phone[..4], ["phone", "default", "create", "default"]);
    assert_eq!((phone[5], phone[6]), ("never", "working"));
    // Columns begin below their heads.
    let starts = |line: &str| line.find("working").or(line.find("STATE"));
    let starts: Vec<_> = table.lines().map(starts).collect();
    assert!(
        starts[0].is_some() && starts.iter().all(|at| *at == starts[0]),
        "{table}"
    );

    assert_eq!(
        succeed(&builder, &["list", "--all"]).stdout.lines().count(),
        4
    );
    let of_anna = ["--owner", "anna@example.com"];
    assert_eq!(listed(&builder, &of_anna), [state("a-script", "working")]);
    assert_eq!(listed(&builder, &["--all"])[2], state("short", "revoked"));

    let json = succeed(&builder, &["list", "--json", "--all"]).stdout;
    let list: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        list[0]["scopes"],
        serde_json::json!(["create", "manage", "stats"])
    );
    assert_eq!(list[0]["owner"], "anna@example.com");
    assert_eq!(list[0]["quota"], "1200/2m");
    assert_eq!(list[1]["quota"], Value::Null);
    assert_eq!(list[1]["expires_at"], Value::Null);
    let time = |key: &str| {
        let text = list[0][key].as_str().expect("a time");
        humantime::parse_rfc3339(text).expect(text)
    };
    let life = time("expires_at").duration_since(time("created_at"));
    let days = life.expect("later").as_secs_f64() / 86_400.0;
    assert!((89.99..90.01).contains(&days), "{days}");
    for key in &made {
        assert!(!(table.clone() + &json).contains(&key[6..]));
    }
}

#[test]
fn a_rotated_key_is_another_one_and_a_revoked_name_is_free() {
    let builder = Node::builder();
    let first = create(&builder, "phone");
    let second = key_of(&builder, &["rotate", "phone"]);
    assert_ne!(first, second);
    assert_eq!(listed(&builder, &["--all"]), [state("phone", "working")]);
    let revoked = succeed(&builder, &["revoke", "phone"]);
    assert_eq!(revoked.stdout, "");
    for command in ["revoke", "rotate"] {
        for name in ["phone", "never-made"] {
            let printed = keys(&builder, &[command, name]);
            assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""));
            let says = format!("shunt: there is no key named {name}");
            assert!(printed.stderr.starts_with(&says), "{}", printed.stderr);
        }
    }
    create(&builder, "phone");
    assert_eq!(
        listed(&builder, &["--all"]),
        [state("phone", "revoked"), state("phone", "working")]
    );
}

#[tokio::test]
async fn commands_work_while_a_node_runs_and_the_node_goes_on() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builders = [Node::builder(), Node::builder().postgres(&database)];
    for builder in builders {
        let builder = builder.set("limiter.enabled", "false");
        let node = builder.start().await;
        node.becomes("shunt_keys_watching", 1.0).await;
        let client = node.client();
        for number in 0..3 {
            let name = format!("key-{number}");
            create(&builder, &name);
            key_of(&builder, &["rotate", &name]);
            succeed(&builder, &["revoke", &name]);
            let link = format!("https://example.com/{number}");
            let code = client.shorten(&link).await.code();
            let answer = client.get(&format!("/{code}")).await;
            assert_eq!(answer.status, 302);
        }
        let ready = node.probe().get("/readyz?strict").await;
        assert_eq!(ready.status, 200, "{}", ready.body);
        assert_eq!(node.metric("shunt_store_failing", &[]).await, 0.0);
        assert_eq!(node.metric("shunt_keys_watching", &[]).await, 1.0);
    }
}

#[tokio::test]
async fn what_the_database_refuses_is_said_with_its_reason() {
    needs!("postgres");
    let database = Postgres::shared_by_tests().await.database().await;
    let builder = Node::builder().postgres(&database);
    create(&builder, "phone");
    let mut administrator = database.connect().await;
    for sql in [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'not today'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON keys
         FOR EACH ROW EXECUTE FUNCTION refuse()",
    ] {
        execute(&mut administrator, sql).await;
    }
    for arguments in [
        &["create", "--name", "tablet", "--scope", "create"][..],
        &["revoke", "phone"],
        &["rotate", "phone"],
    ] {
        let printed = keys(&builder, arguments);
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""));
        assert_eq!(printed.stderr.lines().count(), 1, "{}", printed.stderr);
        assert!(printed.stderr.contains("not today"), "{}", printed.stderr);
    }
    assert_eq!(listed(&builder, &["--all"]), [state("phone", "working")]);
}

/// A key that nobody has seen is of no use.
#[test]
fn a_key_that_cannot_be_printed_is_said_to_be_lost() {
    let builder = Node::builder();
    let mut command = builder.command(&["keys"]);
    command.args(["create", "--name", "phone", "--scope", "create"]);
    let full = std::fs::File::options().write(true).open("/dev/full");
    command.stdout(Stdio::from(full.expect("Linux")));
    let output = command
        .stderr(Stdio::piped())
        .output()
        .expect("the program");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("the key is lost: rotate it"), "{stderr}");
    key_of(&builder, &["rotate", "phone"]);
}
