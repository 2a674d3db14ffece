//! A Postgres server.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{Process, eventually, find, free_port, process};

static SHARED_BY_TESTS: OnceCell<Postgres> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A Postgres server. It keeps its port and its data when it is killed and restarted.
pub struct Postgres {
    process: Option<Process>,
    port: u16,
    directory: TempDir,
    /// Whether a commit waits for the disk. If it does not, tests are quicker, but a benchmark would be wrong.
    durable: bool,
    /// Whether this is a static, which Rust never drops. If so, the guard of the process removes the folder.
    outlives_destructors: bool,
}

/// A database for one test, empty at first.
pub struct Database {
    port: u16,
    name: String,
}

impl Postgres {
    /// The one server for every test of this process that does not stop it, freeze it or fill its disk.
    pub async fn shared_by_tests() -> &'static Self {
        let start = async || {
            let mut postgres = Self::prepare();
            postgres.outlives_destructors = true;
            postgres.restart().await;
            postgres
        };
        SHARED_BY_TESTS.get_or_init(start).await
    }

    /// Starts a server for one test.
    pub async fn start() -> Self {
        let mut postgres = Self::prepare();
        postgres.restart().await;
        postgres
    }

    /// Starts a server whose commits survive a power cut, as in production.
    pub async fn start_durable() -> Self {
        let mut postgres = Self::prepare();
        postgres.durable = true;
        postgres.restart().await;
        postgres
    }

    fn prepare() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        if rustix::process::geteuid().is_root() {
            // Postgres does not run as root.
            for path in [directory.path(), &data] {
                run(Command::new("chown").arg("postgres").arg(path));
            }
        }
        run(unprivileged("initdb")
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
            ])
            .args(["--locale=C"]));
        Self {
            process: None,
            port: free_port(),
            directory,
            durable: false,
            outlives_destructors: false,
        }
    }

    /// Starts the server again after [`kill`](Self::kill), and waits until it answers.
    pub async fn restart(&mut self) {
        let mut command = unprivileged("postgres");
        command
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
            ])
            .args([
                "-c",
                "unix_socket_directories=",
                "-c",
                "max_connections=300",
            ])
            .args(["-c", "log_min_messages=panic"])
            .args([
                "-c",
                if self.durable {
                    "fsync=on"
                } else {
                    "fsync=off"
                },
            ]);
        if self.outlives_destructors {
            command.env("GUARD_REMOVES", self.directory.path());
        }
        // SIGQUIT ends its children with it, and writes nothing to disk.
        let (process, output) = Process::start_to_be_stopped(&command, "QUIT");
        process::discard(output);
        self.process = Some(process);
        let url = self.url("postgres");
        eventually("postgres answers", async || {
            PgConnection::connect(&url).await.ok()
        })
        .await;
    }

    /// Ends the server as a power cut would: it closes no connection properly.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops every process of the server with SIGSTOP: connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let pid = self.process.as_ref().expect("running").pid().to_string();
        run(Command::new("kill").args([signal, &pid]));
        // pkill fails if the server has no children at this moment.
        let _ = Command::new("pkill").args([signal, "-P", &pid]).status();
    }

    /// Creates an empty database.
    pub async fn database(&self) -> Database {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let create = format!("CREATE DATABASE {name}");
        execute(&mut self.administrator().await, &create).await;
        Database {
            port: self.port,
            name,
        }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection to the database `postgres`, which no test uses.
    pub async fn administrator(&self) -> PgConnection {
        connect(&self.url("postgres")).await
    }
}

impl Database {
    /// For `database.url`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Drops the database, with its connections.
    pub async fn remove(self) {
        let mut administrator = connect(&format!(
            "postgres://postgres@127.0.0.1:{}/postgres",
            self.port
        ))
        .await;
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        execute(&mut administrator, &drop).await;
    }

    /// A connection of an administrator, as with psql.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url()).await
    }

    /// The number that a query returns, such as a count.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let numbers: Vec<i64> = sqlx::query_scalar(sql)
            .fetch_all(&mut self.connect().await)
            .await
            .expect(sql);
        numbers[0]
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("postgres answers")
}

/// Runs one statement, and returns how many rows it changed.
pub async fn execute(connection: &mut PgConnection, sql: &str) -> u64 {
    let statement = sqlx::AssertSqlSafe(sql.to_owned());
    let done = sqlx::query(statement).execute(connection).await;
    done.expect(sql).rows_affected()
}

/// One of Postgres's programs, run as the user `postgres` if the tests run as root.
fn unprivileged(program: &str) -> Command {
    let path: PathBuf = find(program).unwrap_or_else(|| panic!("{program} is not installed"));
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(Path::new("/"));
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the program");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
