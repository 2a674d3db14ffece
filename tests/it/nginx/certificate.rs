//! A certificate that is renewed while nginx runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use testkit::{Nginx, Node, configuration, eventually, find, free_port, needs};
use tokio::task::{JoinHandle, spawn_blocking};

/// Makes a certificate for this name, and its key, in the files that nginx's configuration names.
fn make_certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-keyout", "privkey.pem", "-out", "fullchain.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
}

/// The name in the certificate that nginx serves.
fn served(port: u16) -> String {
    let shown = Command::new("sh")
        .arg("-c")
        .arg("openssl s_client -connect 127.0.0.1:$0 </dev/null 2>/dev/null | openssl x509 -noout -subject")
        .arg(port.to_string())
        .output()
        .expect("openssl");
    let subject = String::from_utf8_lossy(&shown.stdout).into_owned();
    subject
        .trim()
        .rsplit("= ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Runs the repository's hook. Programs with the names that it calls do the same to this nginx.
fn reload_certificate(nginx: &Nginx, programs: &Path) -> Output {
    let real = find("nginx").expect("nginx");
    let nginx_configuration = nginx.directory().join("nginx.conf");
    for (name, script) in [
        (
            "nginx",
            format!(
                "#!/bin/sh\nexec {} \"$@\" -e stderr -p {} -c {} -g 'pid {}/tested.pid;'\n",
                real.display(),
                nginx.directory().display(),
                nginx_configuration.display(),
                programs.display(),
            ),
        ),
        (
            "systemctl",
            format!(
                "#!/bin/sh\n[ \"$*\" = 'reload nginx.service' ] && kill -HUP {}\n",
                nginx.pid()
            ),
        ),
    ] {
        let path = programs.join(name);
        fs::write(&path, script).expect(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect(name);
    }
    let path = std::env::var("PATH").expect("PATH");
    Command::new(configuration("reload-certificate"))
        .env("PATH", format!("{}:{path}", programs.display()))
        .output()
        .expect("the hook")
}

/// Sends requests without end, each on a new connection. Not with HTTP/2: there nginx may close a connection and say
/// that it has processed nothing, so that the client sends again, and curl does not.
struct Visitor {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    asking: JoinHandle<()>,
}

impl Visitor {
    fn start(port: u16) -> Self {
        let (stop, answered) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (stopped, count) = (stop.clone(), answered.clone());
        let asking = spawn_blocking(move || {
            while !stopped.load(Ordering::Relaxed) {
                let asked = Command::new("curl")
                    .args(["--silent", "--show-error", "--insecure"])
                    .args(["--http1.1", "--max-time", "20"])
                    .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
                    .arg(format!("https://127.0.0.1:{port}/"))
                    .output()
                    .expect("curl");
                assert_eq!(String::from_utf8_lossy(&asked.stdout), "200", "{asked:?}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            answered,
            asking,
        }
    }

    async fn is_answered(&self) {
        let until = self.answered.load(Ordering::Relaxed) + 5;
        eventually("the visitor is answered", async || {
            assert!(!self.asking.is_finished(), "a request was lost");
            (self.answered.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    async fn leave(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let asking = &mut self.asking;
        asking.await.expect("every request is answered");
    }
}

impl Drop for Visitor {
    /// Without this a test that fails would wait for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_served_without_losing_a_request_and_a_wrong_one_never() {
    needs!("nginx", "openssl", "curl");
    let tls = tempfile::tempdir().expect("a temporary directory");
    let programs = tempfile::tempdir().expect("a temporary directory");
    make_certificate(tls.path(), "old.example");
    let node = Node::builder()
        .set("limiter.quota", "1000000/minute")
        .set("http.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let port = free_port();
    let nginx = Nginx::start_tls(port, free_port(), &[node.address()], tls.path()).await;
    assert_eq!(served(port), "old.example");

    let visitor = Visitor::start(port);
    visitor.is_answered().await;
    make_certificate(tls.path(), "new.example");
    let reloaded = reload_certificate(&nginx, programs.path());
    assert!(reloaded.status.success(), "{reloaded:?}");
    eventually("the new one is served", async || {
        (served(port) == "new.example").then_some(())
    })
    .await;
    visitor.is_answered().await;

    // The key of another certificate.
    let certificate = fs::read(tls.path().join("fullchain.pem")).expect("a certificate");
    make_certificate(tls.path(), "wrong.example");
    fs::write(tls.path().join("fullchain.pem"), certificate).expect("a certificate");
    let refused = reload_certificate(&nginx, programs.path());
    assert!(!refused.status.success(), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("key values mismatch"), "{why}");
    visitor.is_answered().await;
    assert_eq!(served(port), "new.example");
    visitor.leave().await;
}

/// With `site-tls.conf`, also for HTTP/1.0 without a `Host`.
#[tokio::test]
async fn plain_http_is_led_to_tls() {
    needs!("nginx", "openssl", "curl");
    let tls = tempfile::tempdir().expect("a temporary directory");
    make_certificate(tls.path(), "sho.rt");
    let node = Node::builder()
        .set("http.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let (port, plain) = (free_port(), free_port());
    let nginx = Nginx::start_tls(port, plain, &[node.address()], tls.path()).await;
    eventually("nginx listens on both ports", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", plain))
            .await
            .ok()
    })
    .await;
    for (request, expected) in [
        (
            "GET /a?b HTTP/1.1\r\nHost: sho.rt\r\nConnection: close\r\n\r\n",
            "Location: https://sho.rt/a?b\r\n",
        ),
        (
            "GET /a HTTP/1.0\r\n\r\n",
            "Location: https://127.0.0.1/a\r\n",
        ),
    ] {
        use tokio::io::AsyncWriteExt;
        let mut connection = super::connect([127, 0, 0, 1], ([127, 0, 0, 1], plain).into()).await;
        connection
            .write_all(request.as_bytes())
            .await
            .expect("sent");
        let answer = super::read_to_end(connection).await;
        assert_eq!(super::status(&answer), 308, "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
    drop(nginx);
}
