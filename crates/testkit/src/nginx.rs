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

    /// With further directives in its server block.
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

    /// With TLS, by `site-tls.conf`: on `port`, with the certificate in the folder `tls`. Plain HTTP is on `plain_port`.
    pub async fn start_tls(port: u16, plain_port: u16, nodes: &[SocketAddr], tls: &Path) -> Self {
        let shipped = fs::read_to_string(configuration("site-tls.conf")).expect("site-tls.conf");
        let site = |path: &Path| {
            // There may be no IPv6 here.
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
        // The worker processes are not root, and have files there.
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

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `nginx -s reload` does.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Where its configuration and its log are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        String::from_utf8(self.access_log_bytes()).expect("UTF-8")
    }

    /// The same, whatever is in it.
    pub fn access_log_bytes(&self) -> Vec<u8> {
        fs::read(log(self.directory.path())).unwrap_or_default()
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

/// Where the access log is.
fn log(path: &Path) -> String {
    path.join("access.json").display().to_string()
}

/// Folders of its own, for those who are not root.
fn folders(path: &Path) -> String {
    let path = path.display();
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
        .concat()
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
        let (folders, log) = (folders(path), log(path));
        let Self {
            log_options,
            directives,
        } = self;
        // All of 127.0.0.0/8, so that a test can be many clients.
        format!(
            "{folders}server {{\n  listen {port} default_server;\n  \
             access_log {log} shunt {log_options};\n  {directives}\n  include proxy.conf;\n}}\n"
        )
    }
}
