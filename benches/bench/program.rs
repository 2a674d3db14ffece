//! Programs that run and end.

use std::{io::Read, process::Command};

use anyhow::ensure;
use testkit::Process;

/// Runs a program and returns its standard output. Dropping the future kills the program.
///
/// # Errors
/// If it fails.
pub(crate) async fn output(command: &Command) -> anyhow::Result<String> {
    let (mut process, mut output) = Process::start(command);
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let text = read.await??;
    let code = process.wait();
    let program = command.get_program().display();
    ensure!(code == 0, "{program} failed ({code}): {text}");
    Ok(text)
}

/// The command as a user would type it, without the folder of the program.
pub(crate) fn shown(program: &str, command: &Command) -> String {
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    let words: Vec<_> = ["$".into(), program.into()]
        .into_iter()
        .chain(arguments)
        .collect();
    words.join(" ")
}
