//! nginx with the repository's configuration.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Process, eventually, process};

/// nginx in front of nodes. Everything is as in `nginx/`, but for the two files that every deployment has of its own:
/// the list of nodes, and the address.
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    directory: TempDir,
}

impl Nginx {
    /// Starts on `port` and waits until it listens.
    pub async fn start(port: u16, nodes: &[SocketAddr]) -> Self {
        Self::start_with(port, nodes, &Site::default()).await
    }

    /// As behind another proxy: whoever connects from this machine names the client in `X-Forwarded-For`. Nobody can be
    /// many clients of nginx over a few connections otherwise.
    #[allow(dead_code, reason = "for benches/bench")]
    pub async fn start_behind_proxy(port: u16, nodes: &[SocketAddr]) -> Self {
        let site = Site {
            // As in nginx/site.conf.
            log_options: "buffer=32k flush=1s",
            directives: "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;",
        };
        Self::start_with(port, nodes, &site).await
    }

    async fn start_with(port: u16, nodes: &[SocketAddr], site: &Site) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        // The worker processes are not root, and have files there.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).expect("permissions");
        for file in ["nginx.conf", "proxy.conf"] {
            fs::copy(configuration(file), path.join(file)).expect(file);
        }
        fs::write(path.join("upstream.conf"), upstream(nodes)).expect("upstream.conf");
        fs::write(path.join("site.conf"), site.configuration(path, port)).expect("site.conf");

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

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `nginx -s reload` does.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.directory.path().join("access.json")).unwrap_or_default()
    }
}

/// A file of `nginx/`.
pub fn configuration(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("nginx")
        .join(file)
}

/// The repository's `upstream.conf` with these nodes in it.
fn upstream(nodes: &[SocketAddr]) -> String {
    let example = fs::read_to_string(configuration("upstream.conf")).expect("upstream.conf");
    // Each server line, of which the second is a backup, for every node.
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

/// Whatever else belongs to a machine: the address, and folders for those who are not root.
#[derive(Default)]
struct Site {
    /// Of the access log. None: tests read it while nginx writes it.
    log_options: &'static str,
    directives: &'static str,
}

impl Site {
    fn configuration(&self, path: &Path, port: u16) -> String {
        let path = path.display();
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .concat();
        let Self {
            log_options,
            directives,
        } = self;
        // All of 127.0.0.0/8, so that a test can be many clients.
        format!(
            "{folders}server {{\n  listen {port} default_server;\n  \
             access_log {path}/access.json shunt {log_options};\n  {directives}\n  include proxy.conf;\n}}\n"
        )
    }
}
