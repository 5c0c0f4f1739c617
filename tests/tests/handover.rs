//! `plinth run -- COMMAND`: the usual way in a container, for a service in any language.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{
    TestDatabase, blocks, guest, plinth, root,
    service::{PATIENCE, free_port, request},
};
use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

fn run(database: &TestDatabase, blocks: &Path, command: &[&str]) -> Command {
    let mut run = plinth();
    run.args(["run", "--blocks"]).arg(blocks).arg("--").args(command).env("DATABASE_URL", &database.url);
    run
}

fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_node_server_is_booted_and_then_gets_the_signals() {
    let database = TestDatabase::production_like().await;
    let server = root().join("docs/container/server.mjs");
    let port = free_port();
    let mut command = run(&database, &blocks(), &["node", server.to_str().unwrap()]);
    let mut child = command.env("PORT", port.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on {port}\n"), "standard output is the server's alone");
    let answer = request(&format!("127.0.0.1:{port}"), "GET", "/hello", &[], None).unwrap().json();
    assert_eq!((answer["path"].as_str(), answer["pid"].as_u64()), (Some("/hello"), Some(child.id().into())), "the same process");
    assert_eq!(database.number("select count(*) from plinth.boots where state = 'complete'").await, 1, "booted before it");
    assert_eq!(database.left_behind().await, 0, "no connection of the boot stays open in the server");

    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "SIGTERM: closing\n"), "it ended as it wanted to");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("boot 1 complete: 11 components found"), "{said}");
}

#[tokio::test]
async fn whatever_signal_comes_and_whatever_code_a_node_server_ends_with_passes_through() {
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let server = "const server = require('node:http').createServer().listen(0, () => console.log('listening'));
                  ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'].forEach((name, place) => process.on(name, () => process.exit(40 + place)));";
    for (signal, code) in [("TERM", 40), ("INT", 41), ("HUP", 42), ("USR2", 43)] {
        let mut child =
            run(&database, folder.path(), &["node", "-e", server]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        assert!(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

#[tokio::test]
async fn exit_code_arguments_and_environment_are_the_commands_own() {
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let script = "echo \"$1|$2|$GREETING\"; exit 7";
    let mut command = run(&database, folder.path(), &["sh", "-c", script, "sh", "--blocks", "two words"]);
    command.env("GREETING", "hello");
    let (code, out, _) = ended(command);
    assert_eq!((code, out.as_str()), (Some(7), "--blocks|two words|hello\n"));
    // A command that a signal ended is seen as such.
    let output = run(&database, folder.path(), &["sh", "-c", "kill -KILL $$"]).output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (None, Some(9)));
    // As a shell has it: not there, and not to be executed.
    let (code, _, said) = ended(run(&database, folder.path(), &["no-such-command-anywhere"]));
    assert!(code == Some(127) && said.contains("no-such-command-anywhere cannot be started"), "{code:?} {said}");
    assert_eq!(ended(run(&database, folder.path(), &["/etc/passwd"])).0, Some(126));
}

#[tokio::test]
async fn a_command_is_never_started_after_a_boot_that_failed() {
    // An empty database: what the block inserts into is not there.
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(guest("fails_post_condition"), folder.path().join("fails_post_condition.wasm")).unwrap();
    let (code, out, said) = ended(run(&database, folder.path(), &["echo", "started"]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(said.contains("block fails_post_condition failed") && said.contains("42P01"), "{said}");
    // The report for programs goes where the command's output does not.
    let mut command = plinth();
    command.args(["run", "--format", "json", "--blocks"]).arg(folder.path()).args(["--", "echo", "started"]);
    let (code, out, said) = ended({
        command.env("DATABASE_URL", &database.url).env("PLINTH_LOG", "off");
        command
    });
    let report: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((code, out.as_str(), report["boot"]["state"].as_str()), (Some(1), "", Some("failed")));
    // An embedded server would end under the command's feet.
    let mut command = plinth();
    command.args(["run", "--embedded", "--", "true"]);
    let (code, _, said) = ended(command);
    assert!(code == Some(2) && said.contains("embedded"), "{said}");
}
