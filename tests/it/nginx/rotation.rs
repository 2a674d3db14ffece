//! logrotate rotates the log of a running nginx, with `nginx/logrotate`.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use testkit::{configuration, eventually, find, needs};

use super::Front;

/// The repository's file, with this folder's log, nginx and owner.
fn settings(folder: &Path, pid: i32) -> String {
    let shipped = fs::read_to_string(configuration("logrotate")).expect("nginx/logrotate");
    let create = "create 0640 root adm";
    assert!(shipped.contains(create), "{shipped}");
    let pid_file = folder.join("tested.pid");
    fs::write(&pid_file, pid.to_string()).expect("a file");
    let owner = if rustix::process::geteuid().is_root() {
        create.to_owned()
    } else {
        "create 0640".to_owned()
    };
    shipped
        .replace(create, &owner)
        .replace("/var/log/nginx/shunt.json", &log(folder))
        .replace("/run/nginx.pid", &pid_file.display().to_string())
}

fn log(folder: &Path) -> String {
    folder.join("access.json").display().to_string()
}

fn rotate(settings: &Path, state: &Path) {
    let program = find("logrotate").expect("logrotate");
    let rotated = Command::new(program)
        .arg("--force")
        .arg("--state")
        .args([state, settings])
        .output()
        .expect("logrotate");
    assert!(
        rotated.status.success() && rotated.stderr.is_empty(),
        "{rotated:?}"
    );
}

#[tokio::test]
async fn the_log_is_rotated_without_losing_a_line_and_not_for_everybody_to_read() {
    needs!("nginx", "logrotate");
    let front = Front::start().await;
    let client = front.client_at([127, 0, 0, 1]);
    let folder = front.nginx.directory();
    let own = tempfile::tempdir().expect("a temporary directory");
    let (file, state) = (own.path().join("shunt"), own.path().join("state"));
    fs::write(&file, settings(folder, front.nginx.pid())).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");

    let lines = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        text.lines().count()
    };
    for round in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
        eventually("the line is in the new log", async || {
            (lines("access.json") == 1).then_some(())
        })
        .await;
        rotate(&file, &state);
        eventually("nginx has the new file open", async || {
            let open = fs::read_dir(format!("/proc/{}/fd", front.nginx.pid())).expect("Linux");
            let log = fs::canonicalize(folder.join("access.json")).expect("a log");
            let mut targets = open
                .flatten()
                .filter_map(|fd| fs::read_link(fd.path()).ok());
            targets.any(|target| target == log).then_some(())
        })
        .await;
        assert_eq!(lines("access.json"), 0, "round {round}");
        assert_eq!(lines("access.json.1"), 1, "round {round}");
    }
    for name in ["access.json", "access.json.2.gz", "access.json.3.gz"] {
        let metadata = fs::metadata(folder.join(name)).expect(name);
        let everybody = metadata.mode() & 0o007;
        // The last one is the oldest: nginx made it before the first rotation.
        let made_by_nginx = name == "access.json.3.gz";
        assert!(everybody == 0 || made_by_nginx, "{name}: {metadata:?}");
    }
    assert_eq!(client.get("/").await.status, 200);
}
