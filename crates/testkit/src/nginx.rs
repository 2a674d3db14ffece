//! nginx with the repository's configuration.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Process, eventually, process};

/// nginx in front of nodes, with the files of `nginx/`. Two of them differ, as in every deployment: the list of nodes,
/// and the address.
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    directory: TempDir,
}

impl Nginx {
    /// Starts nginx on `port`, and waits until it listens.
    pub async fn start(port: u16, nodes: &[SocketAddr]) -> Self {
        Self::start_with(port, nodes, &Site::default()).await
    }

    /// Starts nginx as behind another proxy: it takes the client's address from `X-Forwarded-For` if a connection comes
    /// from this machine. Thus a load generator can be many clients over few connections.
    pub async fn start_behind_proxy(port: u16, nodes: &[SocketAddr]) -> Self {
        let site = Site {
            // As in nginx/site.conf.
            log_options: "buffer=32k flush=1s",
            directives: "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;",
        };
        Self::start_with(port, nodes, &site).await
    }

    /// Starts nginx with more directives in its server block.
    pub async fn start_with_directives(
        port: u16,
        nodes: &[SocketAddr],
        directives: &'static str,
    ) -> Self {
        let site = Site {
            log_options: "",
            directives,
        };
        Self::start_with(port, nodes, &site).await
    }

    /// Starts nginx with `site-tls.conf`: TLS on `port`, with the certificate in the folder `tls`, and plain HTTP on
    /// `plain_port`.
    pub async fn start_tls(port: u16, plain_port: u16, nodes: &[SocketAddr], tls: &Path) -> Self {
        let shipped = fs::read_to_string(configuration("site-tls.conf")).expect("site-tls.conf");
        let site = |path: &Path| {
            // The machine may have no IPv6.
            let lines = shipped.lines().filter(|line| !line.contains("listen [::]"));
            let lines: Vec<&str> = lines.collect();
            let site = lines
                .join("\n")
                .replace("listen 80 ", &format!("listen {plain_port} "))
                .replace("listen 443 ", &format!("listen {port} "))
                .replace("/etc/nginx/tls", &tls.display().to_string())
                .replace("shunt buffer=32k flush=1s", "shunt")
                .replace("/var/log/nginx/shunt.json", &log(path));
            folders(path) + &site
        };
        Self::start_site(port, nodes, site).await
    }

    async fn start_with(port: u16, nodes: &[SocketAddr], site: &Site) -> Self {
        Self::start_site(port, nodes, |path| site.configuration(path, port)).await
    }

    async fn start_site(
        port: u16,
        nodes: &[SocketAddr],
        site: impl FnOnce(&Path) -> String,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        // Worker processes keep files there, and do not run as root.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).expect("permissions");
        for file in ["nginx.conf", "proxy.conf"] {
            fs::copy(configuration(file), path.join(file)).expect(file);
        }
        fs::write(path.join("upstream.conf"), upstream(nodes)).expect("upstream.conf");
        fs::write(path.join("site.conf"), site(path)).expect("site.conf");

        let mut command = Command::new(process::find("nginx").expect("nginx"));
        command.args(["-e", "stderr", "-p"]).arg(path).arg("-c");
        command.arg(path.join("nginx.conf"));
        let pid = path.join("nginx.pid");
        let options = format!("daemon off; pid {};", pid.display());
        command.args(["-g", &options]);
        let (process, output) = Process::start_to_be_stopped(&command, "TERM");
        process::discard(output);
        let nginx = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            directory,
        };
        eventually("nginx listens", async || {
            tokio::net::TcpStream::connect(nginx.address).await.ok()
        })
        .await;
        nginx
    }

    /// Where it listens, on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes nginx read its configuration again, as `nginx -s reload` does.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// The process id of the master process.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The process ids of its workers, with those that still finish their requests after a reload.
    pub fn workers(&self) -> BTreeSet<i32> {
        let master = self.pid();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.expect("nginx runs");
        let pids = children.split_whitespace().map(str::parse);
        pids.map(|pid| pid.expect("a pid")).collect()
    }

    /// The folder of its configuration and its log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        String::from_utf8(self.access_log_bytes()).expect("UTF-8")
    }

    /// The same, even if it is not UTF-8.
    pub fn access_log_bytes(&self) -> Vec<u8> {
        fs::read(log(self.directory.path())).unwrap_or_default()
    }
}

/// The path of a file in the repository's folder `nginx/`.
pub fn configuration(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../nginx")).join(file)
}

/// The repository's `upstream.conf` with these nodes in it.
fn upstream(nodes: &[SocketAddr]) -> String {
    let example = fs::read_to_string(configuration("upstream.conf")).expect("upstream.conf");
    // Repeats each `server` line (the second is a backup) for every node.
    let lines = example.lines().flat_map(|line| {
        if !line.trim_start().starts_with("server ") {
            return vec![line.to_owned()];
        }
        nodes
            .iter()
            .map(|node| line.replace("127.0.0.1:8080", &node.to_string()))
            .collect()
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// The path of the access log.
fn log(path: &Path) -> String {
    path.join("access.json").display().to_string()
}

/// Directives that move nginx's temporary folders below `path`: only root may write to the usual ones.
fn folders(path: &Path) -> String {
    let path = path.display();
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
        .concat()
}

/// What a test puts into `site.conf`, besides the address.
#[derive(Default)]
struct Site {
    /// Options of the access log. By default nginx does not buffer it, so that tests can read it at once.
    log_options: &'static str,
    /// Directives of the server block.
    directives: &'static str,
}

impl Site {
    fn configuration(&self, path: &Path, port: u16) -> String {
        let (folders, log) = (folders(path), log(path));
        let Self {
            log_options,
            directives,
        } = self;
        // On every address, so that each test client can use its own of 127.0.0.0/8.
        format!(
            "{folders}server {{\n  listen {port} default_server;\n  \
             access_log {log} shunt {log_options};\n  {directives}\n  include proxy.conf;\n}}\n"
        )
    }
}
