//! What a node says at its start while there is no key.

use std::{io::BufRead, net::Ipv4Addr, process::Command};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Client, Node, NodeBuilder, Process, needs};

use super::key_of;

/// What a node prints from its start to its end, on a terminal or not.
async fn all_that_is_printed(builder: &NodeBuilder, terminal: bool) -> String {
    let serve = builder.command(&["serve"]);
    let words = [serve.get_program()].into_iter().chain(serve.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
    let line = format!("echo pid=$$; exec {}", words.join(" "));
    let mut command = if terminal {
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--command", &line, "/dev/null"]);
        script
    } else {
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]);
        shell
    };
    command.current_dir(serve.get_current_dir().expect("a directory"));
    for variable in ["DATABASE_URL", "REDIS_URL"] {
        command.env_remove(variable);
    }
    let (_process, output) = Process::start(&command);
    let mut lines = output.lines().map_while(Result::ok);
    let mut printed = String::new();
    let mut read_until = |part: &str| loop {
        let line = lines.next().expect(part);
        printed.push_str(&line);
        printed.push('\n');
        if let Some((_, rest)) = line.split_once(part) {
            return rest.to_owned();
        }
    };
    let pid = read_until("pid=").trim().parse().expect("a pid");
    let address = read_until("listening on http://");
    let address = address.split('"').next().expect("its end");
    let address = address.parse().expect("an address");
    // It answers only after it has said all that it says at the start.
    let client = Client::new(Ipv4Addr::LOCALHOST.into(), address);
    assert_eq!(client.get("/").await.status, 200);
    let node = Pid::from_raw(pid).expect("a pid");
    kill_process(node, Signal::TERM).expect("the process is there");
    read_until("\"stopped\"");
    printed
}

#[tokio::test]
async fn a_terminal_is_told_how_to_make_the_first_key_and_nothing_else_is() {
    needs!("script");
    const ADVICE: &str = "shunt keys create --name admin --scope admin";
    let builder = Node::builder();
    let on_a_terminal = all_that_is_printed(&builder, true).await;
    assert_eq!(on_a_terminal.matches(ADVICE).count(), 1, "{on_a_terminal}");
    let elsewhere = all_that_is_printed(&builder, false).await;
    assert!(!elsewhere.contains("keys create"), "{elsewhere}");
    // As it is advised.
    let words: Vec<_> = ADVICE.split(' ').skip(2).collect();
    key_of(&builder, &words);
    let later = all_that_is_printed(&builder, true).await;
    assert!(
        later.contains("listening on") && !later.contains("keys create"),
        "{later}"
    );
}
