//! The command's options about what blocks may do and who may bring them.

use plinth_tests::{TestDatabase, guests, plinth};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn every_limit_is_an_option() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["memory_bomb"]);
    let run = |limit: &str| {
        let mut command = plinth();
        command.args(["run", "--database-url", &database.url, "--limit", limit, "--blocks"]).arg(folder.path());
        command.output().unwrap()
    };
    let refused = run("fuel=1");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("there is no limit fuel; there are: component-bytes, compile, memory"), "{}", text(&refused));
    assert_eq!(run("memory=much").status.code(), Some(2));
    let failed = run("memory=3M");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).contains("wanted more memory than its 3 MiB"), "{}", text(&failed));
}

fn run(database: &TestDatabase, folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = plinth();
    command.args(["run", "--database-url", &database.url, "--blocks"]).arg(folder).args(more);
    let output = command.output().unwrap();
    (output.status.code(), text(&output))
}

#[tokio::test]
async fn locked_runs_exactly_the_blocks_of_the_lock_file() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["sends", "claims"]);
    let path = folder.path();
    assert_eq!(run(&database, path, &["--locked"]).0, Some(2), "without a lock file nothing runs");
    assert!(plinth().arg("lock").arg("--blocks").arg(path).status().unwrap().success());
    let lock = fs::read_to_string(path.join("plinth.lock")).unwrap();
    assert!(lock.contains("id = \"claims\"\ndigest = \""), "{lock}");
    fs::remove_file(path.join("sends.wasm")).unwrap();
    let (code, told) = run(&database, path, &["--locked"]);
    assert!(code == Some(2) && told.contains("names sends, whose component is gone"), "{told}");
    fs::copy(path.join("claims.wasm"), path.join("kept")).unwrap();
    fs::copy(plinth_tests::guest("sends_declared"), path.join("sends_declared.wasm")).unwrap();
    let mut bytes = fs::read(path.join("claims.wasm")).unwrap();
    // A custom section more is another component that does the same.
    bytes.extend([0, 3, 1, b'x', 0]);
    fs::write(path.join("claims.wasm"), bytes).unwrap();
    let (code, told) = run(&database, path, &["--locked"]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("sends_declared is not in the lock file") && told.contains("claims is not what the lock file says"),
        "{told}"
    );
    assert_eq!(database.text("select to_regclass('plinth.boots')::text").await, None, "nothing ran");
    fs::rename(path.join("kept"), path.join("claims.wasm")).unwrap();
    fs::remove_file(path.join("sends_declared.wasm")).unwrap();
    assert!(plinth().arg("lock").arg("--blocks").arg(path).status().unwrap().success());
    assert_eq!(run(&database, path, &["--locked"]).0, Some(0));
}

/// What is checked before anything else of the file: garbage that nobody signed is not even said to be no component.
#[tokio::test]
async fn a_component_is_signed_by_its_own_team_or_not_read() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["signed"]);
    let (path, component) = (folder.path(), folder.path().join("signed.wasm"));
    let key = |name: &str| {
        let output = plinth().arg("key").arg(path.join(name)).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let keys = format!("[teams]\ntesting = [\"{}\"]\nbilling = [\"{}\"]\n", key("testing"), key("billing"));
    fs::write(path.join("keys.toml"), keys).unwrap();
    let keys = path.join("keys.toml");
    let run = || run(&database, path, &["--keys", keys.to_str().unwrap()]);
    let sign =
        |name: &str| assert!(plinth().arg("sign").arg("--key").arg(path.join(name)).arg(&component).status().unwrap().success());
    let refused = |what: &str, (code, told): (Option<i32>, String)| {
        assert!(code == Some(2) && told.contains(what), "{what}: {told}");
    };
    refused("is not signed", run());
    sign("billing");
    refused("is of team testing by its manifest, and signed by a key of billing", run());
    sign("testing");
    let whole = fs::read(&component).unwrap();
    fs::write(&component, b"garbage").unwrap();
    refused("is signed by none of the keys, or was changed", run());
    fs::write(&component, whole).unwrap();
    assert_eq!(run().0, Some(0));
}

/// The process whose parent this is.
fn child_of(parent: u32) -> Option<u32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name may hold blanks and parentheses.
        let ppid = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()?;
        (ppid == parent).then_some(id)
    })
}

/// An isolated boot whose block sleeps in the database.
async fn asleep(database: &TestDatabase, folder: &Path) -> Child {
    let mut command = plinth();
    command.args(["run", "--isolate", "--accept-removal", "claims", "--database-url", &database.url, "--blocks"]).arg(folder);
    let outer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let asleep = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()",
        database.name
    );
    while database.number(&asleep).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    outer
}

/// The request is passed on; and if the outer process is killed, the inner one is told to stop as well.
#[tokio::test]
async fn an_isolated_boot_stops_when_it_is_told_to_and_when_nobody_is_outside_any_more() {
    for (signal, code) in [("-TERM", Some(130)), ("-KILL", None)] {
        let database = TestDatabase::with_t().await;
        let folder = guests(&["slow"]);
        let outer = asleep(&database, folder.path()).await;
        assert!(Command::new("kill").args([signal, &outer.id().to_string()]).status().unwrap().success());
        // What it says comes to its end when the inner process does.
        let output = outer.wait_with_output().unwrap();
        assert_eq!(output.status.code(), code, "{}", text(&output));
        assert!(text(&output).contains("the boot was interrupted"), "{signal}: {}", text(&output));
        assert_eq!(database.left_behind().await, 0);
    }
}

#[tokio::test]
async fn an_isolated_boot_is_a_process_with_walls_and_its_death_is_told() {
    let database = TestDatabase::with_t().await;
    let claims = guests(&["claims"]);
    let (code, told) = run(&database, claims.path(), &["--isolate"]);
    assert!(code == Some(0) && told.contains("1 ran"), "{told}");

    let folder = guests(&["slow"]);
    let outer = asleep(&database, folder.path()).await;
    let inner = child_of(outer.id()).unwrap();
    let status = fs::read_to_string(format!("/proc/{inner}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{inner}/limits")).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max data size") && line.contains("4294967296")), "{limits}");
    // Nothing that is open leads to a file, a folder or a terminal.
    for open in fs::read_dir(format!("/proc/{inner}/fd")).unwrap().flatten() {
        let to = fs::read_link(open.path()).unwrap().display().to_string();
        let known = ["socket:", "pipe:", "anon_inode:", "/memfd:"].iter().any(|known| to.starts_with(known));
        assert!(known, "{} is {to}", open.path().display());
    }
    assert!(Command::new("kill").args(["-KILL", &inner.to_string()]).status().unwrap().success());
    let output = outer.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the outer process is alive to say so");
    assert!(text(&output).contains("died of signal 9 (SIGKILL): what was not committed is rolled back"), "{}", text(&output));
    assert_eq!(database.left_behind().await, 0);
}

/// All that blocks need is there behind the walls: what compiles, runs, rolls back and is measured.
#[tokio::test]
async fn an_isolated_boot_does_all_that_another_one_does() {
    let database = TestDatabase::production_like().await;
    let (code, told) = run(&database, &plinth_tests::blocks(), &["--isolate"]);
    assert!(code == Some(0) && told.contains("11 ran"), "{told}");
    let database = TestDatabase::with_t().await;
    for (guest, what) in
        [("panics", "the widget is missing"), ("spin_between", "longer than 1 s"), ("recursion", "stack overflowed")]
    {
        let folder = guests(&[guest]);
        let (code, told) = run(&database, folder.path(), &["--isolate", "--block-timeout", "1", "--accept-removal", guest]);
        assert!(code == Some(1) && told.contains(what), "{guest}: {told}");
    }
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn after_an_isolated_boot_the_outer_process_becomes_the_command() {
    let database = TestDatabase::with_t().await;
    let claims = guests(&["claims"]);
    let (code, told) = run(&database, claims.path(), &["--isolate", "--", "sh", "-c", "echo now; exit 7"]);
    assert!(code == Some(7) && told.contains("now") && told.contains("1 ran"), "{told}");
    let fails = guests(&["panics"]);
    let (code, told) = run(&database, fails.path(), &["--isolate", "--accept-removal", "claims", "--", "echo", "never"]);
    assert!(code == Some(1) && !told.contains("never\n"), "{told}");
}

#[test]
fn the_outer_process_has_the_embedded_server_and_the_inner_one_its_socket() {
    let data = tempfile::tempdir().unwrap();
    let folder = guests(&["two_statements"]);
    let mut command = plinth();
    command.args(["run", "--isolate", "--embedded", "--data"]).arg(data.path().join("data")).arg("--blocks").arg(folder.path());
    let output = command.output().unwrap();
    let told = text(&output);
    assert!(output.status.code() == Some(1) && told.contains("relation \"t\" does not exist"), "the block ran: {told}");
    assert!(told.contains("blocks ran as plinth_blocks"), "{told}");
    assert!(!data.path().join("data/postmaster.pid").exists(), "the server was stopped");
}

/// The outer process hands out sockets to the database that it was given, whatever the inner one says.
#[test]
fn an_isolated_boot_says_why_the_database_is_not_reached() {
    let folder = guests(&["claims"]);
    let mut command = plinth();
    command.args(["run", "--isolate", "--retry-for", "0", "--database-url", "postgres://postgres@127.0.0.1:1/none", "--blocks"]);
    let output = command.arg(folder.path()).output().unwrap();
    assert!(text(&output).contains("no server answers at 127.0.0.1:1: Connection refused"), "{}", text(&output));
}
