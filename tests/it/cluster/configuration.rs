//! nginx's configuration files.

use std::{fs, path::Path, process::Command};

use testkit::{configuration, free_port, needs};

/// Runs `nginx -t` on the repository's files. Only two things are replaced: certificates, and folders that only root
/// can write to.
fn check(site: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    for file in ["nginx.conf", "upstream.conf", "proxy.conf", site] {
        let text = fs::read_to_string(configuration(file)).expect(file);
        let text = text
            .replace("/etc/nginx/tls", &path.display().to_string())
            .replace("/var/log/nginx", &path.display().to_string())
            .replace("include site.conf", &format!("include {site}"))
            .replace("listen 80 ", &format!("listen {} ", free_port()))
            .replace("listen [::]:80 ", &format!("listen [::]:{} ", free_port()))
            .replace("listen 443 ", &format!("listen {} ", free_port()))
            .replace("listen [::]:443 ", &format!("listen [::]:{} ", free_port()));
        fs::write(path.join(file), text).expect(file);
    }
    if site == "site-tls.conf" {
        certificate(path);
    }
    let pid = format!("pid {}/nginx.pid;", path.display());
    let output = Command::new(nginx())
        .args(["-t", "-e", "stderr", "-g", &pid, "-p"])
        .arg(path)
        .arg("-c")
        .arg(path.join("nginx.conf"))
        .output()
        .expect("nginx");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("test is successful"), "{said}");
}

fn nginx() -> std::path::PathBuf {
    testkit::find("nginx").expect("nginx")
}

fn certificate(path: &Path) {
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-keyout",
            "privkey.pem",
            "-out",
            "fullchain.pem",
        ])
        .current_dir(path)
        .output()
        .expect("openssl");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

#[test]
fn it_is_valid_without_tls() {
    needs!("nginx");
    check("site.conf");
}

#[test]
fn it_is_valid_with_tls() {
    needs!("nginx", "openssl");
    check("site-tls.conf");
}

/// nginx never sends a POST twice, and never believes a client's own X-Forwarded-For.
#[test]
fn it_never_repeats_a_post_and_never_believes_a_client() {
    let proxy = fs::read_to_string(configuration("proxy.conf")).expect("proxy.conf");
    let directives: Vec<&str> = proxy
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .collect();
    let retries = directives
        .iter()
        .find(|line| line.starts_with("proxy_next_upstream "));
    assert_eq!(retries, Some(&"proxy_next_upstream error timeout;"));
    assert!(directives.contains(&"proxy_set_header X-Forwarded-For $remote_addr;"));
    assert!(!proxy.contains("$proxy_add_x_forwarded_for"));
}
