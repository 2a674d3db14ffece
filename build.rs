//! Build information, and a rebuild when a migration changes.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    println!("cargo:rerun-if-env-changed=BUILD_REVISION");
    let revision = std::env::var("BUILD_REVISION").ok().or_else(|| {
        let git = Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .output()
            .ok()?;
        let revision = String::from_utf8(git.stdout).ok()?;
        (git.status.success() && !revision.is_empty()).then_some(revision)
    });
    let revision = revision.as_deref().map_or("unknown", str::trim);
    println!("cargo:rustc-env=BUILD_REVISION={revision}");
}
