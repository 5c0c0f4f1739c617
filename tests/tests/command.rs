//! The command `plinth` as people, pipelines and process managers use it: exit codes, JSON, signals, replicas, the embedded
//! server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{TestDatabase, blocks, connect, copy_of_blocks, guest, guests, plinth, texts, value};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// What a command that ended said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn with_code(self, code: i32) -> Said {
        assert_eq!(self.code, code, "\n{}\n{}", self.out, self.err);
        self
    }

    /// Standard output, which is JSON and nothing else.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs the command to its end.
fn say(arguments: &[&str]) -> Said {
    Said::of(plinth().args(arguments).output().unwrap())
}

/// Runs a command on a database.
fn on(database: &TestDatabase, command: &str, blocks: &Path, more: &[&str]) -> Said {
    let mut arguments = vec![command, "--database-url", &database.url, "--blocks", blocks.to_str().unwrap()];
    arguments.extend(more);
    say(&arguments)
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a process, for so long. It is killed if it takes longer.
async fn ended(mut child: Child, limit: Duration) -> Said {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > limit {
            child.kill().unwrap();
            panic!("it still runs after {limit:?}: {:?}", Said::of(child.wait_with_output().unwrap()).err);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Said::of(child.wait_with_output().unwrap())
}

/// Sends a signal: to a process, or to a group if `to` is negative.
fn signal(name: &str, to: i64) -> ExitStatus {
    Command::new("kill").args([&format!("-{name}"), "--", &to.to_string()]).status().unwrap()
}

async fn until(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < limit, "after {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const SLEEPS: &str =
    "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()";

/// A folder that the server's user can enter, also when we are root.
fn place() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("command-test-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// What the embedded server of a data folder says about itself: its process and its address. None before it is ready.
fn server_of(data: &Path) -> Option<(u32, String)> {
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let [pid, _, _, port, sockets, _, _, "ready"] = lines[..] else { return None };
    Some((pid.parse().ok()?, format!("host={sockets} port={port} user=postgres dbname=postgres")))
}

/// Gone, or a zombie that nobody has collected yet.
fn gone(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
}

/// Starts `plinth run --embedded` with a block that sleeps; returns when it sleeps, with the server's process.
async fn embedded_and_sleeping(data: &Path, folder: &Path) -> (Child, u32) {
    let mut command = plinth();
    command.args(["run", "--embedded", "--data"]).arg(data).arg("--blocks").arg(folder).process_group(0);
    let child = start(&mut command);
    let mut server = None;
    until(Duration::from_secs(30), "the server starts", async || {
        server = server_of(data);
        server.is_some()
    })
    .await;
    let (pid, url) = server.unwrap();
    let client = connect(&url).await;
    until(Duration::from_secs(20), "the block sleeps", async || value(&client, SLEEPS).await.as_deref() == Some("1")).await;
    (child, pid)
}

#[tokio::test]
async fn a_boot_that_does_its_work_exits_with_0_and_one_whose_block_fails_with_1() {
    let database = TestDatabase::with_t().await;
    let good = guests(&["once"]);
    let said = on(&database, "run", good.path(), &[]).with_code(0);
    assert!(
        said.out.contains("once") && said.out.contains("applied") && said.out.contains("1 components found, 1 ran, 0 skipped"),
        "{}",
        said.out
    );

    let bad = guests(&["once", "null_source"]);
    database
        .client()
        .await
        .batch_execute("update t set a = null where id = 105; alter table t alter b set not null")
        .await
        .unwrap();
    let before = database.snapshot().await;
    let said = on(&database, "run", bad.path(), &[]).with_code(1);
    for part in ["null_source", "23502", "t.b", "1: update t set b = a", "nothing of this block stays"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert_eq!(database.snapshot().await, before);
    // The failure is what the ledger has of the block now.
    on(&database, "status", bad.path(), &[]).with_code(1);
}

#[tokio::test]
async fn plan_and_status_exit_with_3_while_something_waits() {
    let database = TestDatabase::production_like().await;
    let before = database.snapshot().await;
    let said = on(&database, "plan", &blocks(), &[]).with_code(3);
    assert!(said.out.contains("7 pending, 4 rules at every boot"), "{}", said.out);
    on(&database, "status", &blocks(), &[]).with_code(3);
    let plan = on(&database, "plan", &blocks(), &["--format", "json"]).with_code(3).json();
    assert_eq!((&plan["pending"], plan["blocks"].as_array().unwrap().len()), (&Value::Bool(true), 11));
    assert_eq!(database.snapshot().await, before, "plan and status change nothing");
    assert_eq!(
        database.number("select count(*) from pg_namespace where nspname = 'plinth'").await,
        0,
        "not even a ledger is made"
    );

    on(&database, "run", &blocks(), &[]).with_code(0);
    on(&database, "plan", &blocks(), &[]).with_code(0);
    let status = on(&database, "status", &blocks(), &["--format", "json"]).with_code(0).json();
    assert_eq!(status["blocks"].as_array().unwrap().len(), 11);
    assert_eq!(status["last_boot"]["state"], "complete");
    let bridge =
        status["blocks"].as_array().unwrap().iter().find(|block| block["id"] == "0066_reconcile_eligibility_from_cost").unwrap();
    assert!(bridge["outcome"] == "applied" && bridge["rows"]["public.test_suites"]["updated"].as_u64().unwrap() > 0, "{bridge}");
}

#[tokio::test]
async fn a_block_that_puts_its_work_off_is_something_that_waits() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["defers"]);
    let report = on(&database, "run", folder.path(), &["--format", "json"]).with_code(0).json();
    assert_eq!((&report["boot"]["state"], &report["blocks"][0]["outcome"]), (&Value::from("deferred"), &Value::from("deferred")));
    assert_eq!(report["blocks"][0]["message"], "not before Monday");
    let said = on(&database, "status", folder.path(), &[]).with_code(3);
    assert!(said.out.contains("deferred") && said.out.contains("not before Monday"), "{}", said.out);
    on(&database, "plan", folder.path(), &[]).with_code(3);
}

#[tokio::test]
async fn verify_exits_with_1_if_a_post_condition_does_not_hold() {
    let database = TestDatabase::production_like().await;
    let said = on(&database, "verify", &blocks(), &[]).with_code(0);
    assert!(said.out.contains("not applied yet") && said.out.contains("0000_baseline"), "{}", said.out);
    on(&database, "run", &blocks(), &[]).with_code(0);
    let found = on(&database, "verify", &blocks(), &["--format", "json"]).with_code(0).json();
    assert_eq!((found["blocks"].as_array().unwrap().len(), found["not_applied"].as_array().unwrap().len()), (11, 0));
    database.client().await.batch_execute("drop index test_results_suite_executed_idx").await.unwrap();
    let before = database.snapshot().await;
    let said = on(&database, "verify", &blocks(), &[]).with_code(1);
    assert!(said.out.contains("does not hold") && said.out.contains("0031_test_results_suite_executed_idx"), "{}", said.out);
    assert_eq!(database.snapshot().await, before);
}

#[tokio::test]
async fn the_json_of_a_boot_has_the_fields_that_programs_rely_on_and_nothing_around_it() {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let has = |value: &Value, wanted: &[&str]| {
        let missing: Vec<&&str> = wanted.iter().filter(|key| !keys(value).contains(**key)).collect();
        assert!(missing.is_empty(), "{missing:?} of {value}");
    };
    let outcomes = ["applied", "unchanged", "deferred", "failed", "skipped", "joined", "retired"];
    let database = TestDatabase::production_like().await;
    let said = on(&database, "run", &blocks(), &["--format", "json", "--build", "2026-11-23.1", "-vv"]).with_code(0);
    let report = said.json();
    assert_eq!(keys(&report), BTreeSet::from(["boot".to_owned(), "blocks".to_owned()]));
    has(&report["boot"], &["id", "state", "duration_ms", "round_trips", "build"]);
    assert!(report["boot"]["id"].is_i64() && report["boot"]["state"] == "complete" && report["boot"]["build"] == "2026-11-23.1");
    assert!(report["boot"]["duration_ms"].is_f64() && report["boot"]["round_trips"].as_u64().unwrap() > 1);
    for block in report["blocks"].as_array().unwrap() {
        has(block, &["id", "kind", "outcome", "rows", "locks", "statements", "duration_ms", "message", "error"]);
        assert!(outcomes.contains(&block["outcome"].as_str().unwrap()) && block["error"].is_null(), "{block}");
        for (table, rows) in block["rows"].as_object().unwrap() {
            assert!(table.contains('.'), "{table}");
            has(rows, &["inserted", "updated", "deleted"]);
        }
        block["locks"].as_array().unwrap().iter().for_each(|lock| has(lock, &["object", "mode"]));
    }
    let second = on(&database, "run", &blocks(), &["--format", "json"]).with_code(0).json();
    let outcomes: Vec<&str> =
        second["blocks"].as_array().unwrap().iter().map(|block| block["outcome"].as_str().unwrap()).collect();
    assert_eq!(
        (outcomes.iter().filter(|o| **o == "skipped").count(), outcomes.iter().filter(|o| **o == "unchanged").count()),
        (7, 4)
    );
    let folder = copy_of_blocks();
    fs::remove_file(folder.path().join("0066_reconcile_eligibility_from_cost.wasm")).unwrap();
    let third = on(&database, "run", folder.path(), &["--format", "json"]).with_code(0).json();
    assert!(third["blocks"].as_array().unwrap().iter().any(|block| block["outcome"] == "retired"), "{third}");

    let database = TestDatabase::with_t().await;
    database
        .client()
        .await
        .batch_execute("update t set a = null where id = 105; alter table t alter b set not null")
        .await
        .unwrap();
    let failed = on(&database, "run", guests(&["null_source"]).path(), &["--format", "json"]).with_code(1).json();
    let error = &failed["blocks"][0]["error"];
    has(error, &["class", "sqlstate", "statement", "sql", "object", "message"]);
    assert_eq!((&failed["boot"]["state"], &failed["blocks"][0]["outcome"]), (&Value::from("failed"), &Value::from("failed")));
    assert_eq!(
        (&error["class"], &error["sqlstate"], &error["statement"]),
        (&Value::from("database"), &Value::from("23502"), &Value::from(1))
    );
    assert_eq!(
        (&error["object"], &error["sql"]),
        (&Value::from("t.b"), &Value::from("update t set b = a where b is distinct from a"))
    );
}

#[tokio::test]
async fn nothing_is_coloured_that_is_no_terminal() {
    let database = TestDatabase::with_t().await;
    let bad = guests(&["once", "fails_post_condition"]);
    for command in ["plan", "run", "status", "verify"] {
        let mut plinth = plinth();
        plinth
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .args([command, "-vv", "--database-url", &database.url, "--blocks"])
            .arg(bad.path());
        let said = Said::of(plinth.output().unwrap());
        assert!(
            !said.out.is_empty() && !said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'),
            "{command}: {}{}",
            said.out,
            said.err
        );
    }
}

#[tokio::test]
async fn whoever_reads_no_further_is_no_failure() {
    let database = TestDatabase::with_t().await;
    let mut command = plinth();
    command.args(["run", "--database-url", &database.url, "--blocks"]).arg(guests(&["once"]).path());
    let mut child = start(command.arg("--format=json"));
    drop(child.stdout.take());
    let said = ended(child, Duration::from_secs(20)).await;
    assert!(said.code == 0 || said.code == 2, "{}", said.err);
    assert!(!said.err.contains("panicked"), "{}", said.err);
}

#[tokio::test]
async fn a_block_that_the_build_should_ship_and_does_not_is_refused_before_anything_is_changed() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let before = database.snapshot().await;
    let said = on(&database, "run", folder.path(), &["--expect", "once", "--expect", "0066_left_out"]).with_code(2);
    assert!(said.err.contains("0066_left_out") && said.out.is_empty(), "{}{}", said.out, said.err);
    assert_eq!(database.snapshot().await, before);
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0);
    on(&database, "run", folder.path(), &["--expect", "once"]).with_code(0);
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let folder = guests(&["once"]);
    let blocks = folder.path().to_str().unwrap();
    let database = TestDatabase::empty().await;
    for (arguments, part) in [
        (vec!["run", "--blocks", blocks], "no database is given: use --database-url URL, set DATABASE_URL, or use --embedded"),
        (vec!["run", "--database-url", &database.url, "--blocks", "/tmp/no/such/folder"], "/tmp/no/such/folder"),
        (vec!["plan", "--database-url", &database.url, "--blocks", "/tmp/no/such/folder"], "/tmp/no/such/folder"),
        (vec!["status", "--database-url", &database.url, "--blocks", "/tmp/no/such/folder"], "/tmp/no/such/folder"),
        (vec!["run", "--database-url", "nonsense", "--blocks", blocks], "postgres://user:password@host/database"),
        (
            vec!["run", "--database-url", "mysql://root@localhost/shop", "--blocks", blocks],
            "postgres://user:password@host/database",
        ),
        (vec!["run", "--data", "somewhere", "--blocks", blocks], "--embedded"),
        (vec!["run", "--lock-timeout", "0", "--database-url", &database.url], "above 0"),
        (vec!["run", "--format", "yaml"], "yaml"),
        (vec!["walk"], "walk"),
        (vec![], "Usage"),
    ] {
        let said = say(&arguments).with_code(2);
        assert!(said.err.contains(part) && said.out.is_empty(), "{arguments:?}: {}{}", said.out, said.err);
    }
    // What a deployment that forgot a variable sets.
    let said = Said::of(plinth().env("DATABASE_URL", "").args(["run", "--blocks", blocks]).output().unwrap()).with_code(2);
    assert!(said.err.contains("no database is given"), "{}", said.err);
    assert!(say(&["--help"]).with_code(0).out.contains("130 interrupted"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_failure_and_is_named() {
    let folder = guests(&["once"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://api:s3cret@127.0.0.1:{port}/shop");
    for command in ["run", "plan", "status", "verify"] {
        let began = Instant::now();
        let blocks = folder.path().to_str().unwrap();
        let mut words = vec![command, "--database-url", &url, "--blocks", blocks, "--format", "json"];
        words.extend((command == "run").then_some("--retry-for=0"));
        let said = say(&words).with_code(1);
        assert!(
            said.err.contains(&format!("127.0.0.1:{port}")) && !said.err.contains("s3cret") && said.out.is_empty(),
            "{}",
            said.err
        );
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    let said = Said::of(
        plinth().env("DATABASE_URL", &url).args(["run", "--retry-for", "0", "--blocks"]).arg(folder.path()).output().unwrap(),
    )
    .with_code(1);
    assert!(said.err.contains(&format!("127.0.0.1:{port}")), "{}", said.err);
}

#[tokio::test]
async fn inspect_tells_what_a_component_is_and_names_a_file_that_is_none() {
    let said = say(&["inspect", guest("once").to_str().unwrap()]).with_code(0);
    for part in ["once", "migration", "Adds one to a", "t.a", "plinth:block/sql@", "once.wasm", "sha256"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let json = say(&["inspect", guest("once").to_str().unwrap(), "--format", "json"]).with_code(0).json();
    assert_eq!((&json["manifest"]["id"], &json["manifest"]["kind"]), (&Value::from("once"), &Value::from("migration")));
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
    assert_eq!(json["bytes"].as_u64().unwrap(), fs::metadata(guest("once")).unwrap().len());

    let folder = guests(&["once", "claims"]);
    let truncated = folder.path().join("once.wasm");
    let bytes = fs::read(&truncated).unwrap();
    let database = TestDatabase::with_t().await;
    for length in [0, 7, 8, 9, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&truncated, &bytes[..length]).unwrap();
        let said = say(&["inspect", truncated.to_str().unwrap()]).with_code(2);
        assert!(said.err.contains("once.wasm") && said.out.is_empty(), "{length} bytes: {}", said.err);
        let said = on(&database, "run", folder.path(), &[]).with_code(2);
        assert!(said.err.contains("once.wasm") && !said.err.contains("claims.wasm"), "{length} bytes: {}", said.err);
    }
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0);
    let said = say(&["inspect", "/tmp/no-such-file.wasm"]).with_code(2);
    assert!(said.err.contains("/tmp/no-such-file.wasm"), "{}", said.err);
}

#[tokio::test]
async fn an_embedded_database_is_kept_from_one_run_to_the_next() {
    let place = place();
    let data = place.path().join("deep/er/data");
    let run = |more: &[&str]| {
        // A database that is given otherwise is not used.
        let mut command = plinth();
        command
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
            .args(["run", "--embedded", "--format", "json", "--data"])
            .arg(&data);
        Said::of(command.arg("--blocks").arg(blocks()).args(more).output().unwrap())
    };
    let first = run(&[]).with_code(0).json();
    assert_eq!((&first["boot"]["ran"], &first["boot"]["skipped"]), (&Value::from(11), &Value::from(0)));
    assert_eq!(server_of(&data), None, "the server stopped with the command");
    let second = run(&[]).with_code(0).json();
    assert_eq!((&second["boot"]["ran"], &second["boot"]["skipped"]), (&Value::from(4), &Value::from(7)));
    let mut command = plinth();
    command.args(["status", "--embedded", "--data"]).arg(&data).arg("--blocks").arg(blocks());
    Said::of(command.output().unwrap()).with_code(0);

    let foreign = place.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("photo.jpg"), "no data folder").unwrap();
    let mut command = plinth();
    command.args(["run", "--embedded", "--data"]).arg(&foreign).arg("--blocks").arg(blocks());
    let said = Said::of(command.output().unwrap()).with_code(2);
    assert!(said.err.contains("foreign") && foreign.join("photo.jpg").exists(), "{}", said.err);
}

#[tokio::test]
async fn a_signal_ends_a_boot_within_a_second_and_the_statement_with_it_and_the_ledger_says_so() {
    for name in ["INT", "TERM"] {
        let database = TestDatabase::with_t().await;
        let client = database.client().await;
        let folder = guests(&["once", "slow"]);
        fs::copy(guest("rule_sets_a"), folder.path().join("rule.wasm")).unwrap();
        let mut command = plinth();
        command.args(["run", "--format", "json", "--database-url", &database.url, "--blocks"]).arg(folder.path());
        let child = start(&mut command);
        let here = format!("{SLEEPS} and datname = '{}'", database.name);
        until(Duration::from_secs(20), "the block sleeps", async || value(&client, &here).await.as_deref() == Some("1")).await;
        let before = database.snapshot().await;
        assert!(signal(name, child.id().into()).success());
        let began = Instant::now();
        let said = ended(child, Duration::from_secs(2)).await.with_code(130);
        println!("{name}: ended after {:?}", began.elapsed());
        assert!(said.err.contains("error: the boot was interrupted"), "{}", said.err);
        let report = said.json();
        assert_eq!((&report["boot"]["state"], &report["boot"]["ran"]), (&"interrupted".into(), &1.into()), "{report}");
        assert_eq!(
            (&report["blocks"][0]["id"], &report["blocks"][0]["outcome"]),
            (&"once".into(), &"applied".into()),
            "{report}"
        );
        until(Duration::from_secs(2), "the statement is gone", async || value(&client, &here).await.as_deref() == Some("0"))
            .await;
        assert_eq!(database.left_behind().await, 0);
        assert_eq!(database.snapshot().await, before, "what was committed stays, nothing else");
        assert_eq!(database.number("select count(*) from t where a = 1").await, 10, "once was committed before");
        let ledger = "select state || ' ' || (released is not null) from plinth.boots, plinth.runners";
        assert_eq!(database.text(ledger).await.as_deref(), Some("interrupted true"));
        let status = on(&database, "status", folder.path(), &[]).with_code(3);
        assert!(status.out.contains("pending: ") && status.out.contains("slow"), "{}", status.out);

        // The next boot goes on from there.
        fs::remove_file(folder.path().join("slow.wasm")).unwrap();
        let report = on(&database, "run", folder.path(), &["--format", "json"]).with_code(0).json();
        assert_eq!(report["boot"]["state"], "complete");
        assert_eq!(texts(&client, "select state from plinth.boots order by id").await, ["interrupted", "complete"]);
    }
}

#[tokio::test]
async fn the_statement_of_a_killed_command_does_not_outlive_it() {
    let database = TestDatabase::with_t().await;
    let client = database.client().await;
    let folder = guests(&["slow"]);
    let mut command = plinth();
    command.args(["run", "--database-url", &database.url, "--blocks"]).arg(folder.path());
    let mut child = start(&mut command);
    let here = format!("{SLEEPS} and datname = '{}'", database.name);
    until(Duration::from_secs(20), "the block sleeps", async || value(&client, &here).await.as_deref() == Some("1")).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    until(Duration::from_secs(4), "the statement is gone", async || value(&client, &here).await.as_deref() == Some("0")).await;
    println!("the statement was gone after {:?}", began.elapsed());
    assert_eq!(database.left_behind().await, 0);
    fs::copy(guest("once"), folder.path().join("slow.wasm")).unwrap();
    on(&database, "run", folder.path(), &[]).with_code(0);
    assert_eq!(texts(&client, "select state from plinth.boots order by id").await, ["interrupted", "complete"]);
}

#[tokio::test]
async fn a_signal_while_another_boot_is_waited_for_ends_the_wait() {
    let database = TestDatabase::with_t().await;
    let client = database.client().await;
    let folder = guests(&["slow"]);
    let run = |more: &[&str]| {
        let mut command = plinth();
        command.args(["run", "--database-url", &database.url, "--blocks"]).arg(folder.path()).args(more);
        start(&mut command)
    };
    let first = run(&[]);
    let here = format!("{SLEEPS} and datname = '{}'", database.name);
    until(Duration::from_secs(20), "the block sleeps", async || value(&client, &here).await.as_deref() == Some("1")).await;

    let said = ended(run(&["--lock-timeout", "0.5"]), Duration::from_secs(5)).await.with_code(1);
    assert!(said.err.contains("another boot holds the lock") && said.err.contains("plinth api "), "{}", said.err);

    let second = run(&[]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(signal("TERM", second.id().into()).success());
    ended(second, Duration::from_secs(2)).await.with_code(130);
    assert_eq!(value(&client, &here).await.as_deref(), Some("1"), "the other boot is not touched");
    assert!(signal("INT", first.id().into()).success());
    ended(first, Duration::from_secs(2)).await.with_code(130);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn ctrl_c_on_a_terminal_ends_the_embedded_server_too_and_its_data_stay() {
    let place = place();
    let (data, folder) = (place.path().join("data"), guests(&["claims", "slow"]));
    fs::remove_file(folder.path().join("claims.wasm")).unwrap();
    let (child, server) = embedded_and_sleeping(&data, folder.path()).await;
    // A terminal sends it to the whole group.
    assert!(signal("INT", -i64::from(child.id())).success());
    ended(child, Duration::from_secs(2)).await.with_code(130);
    assert!(gone(server));
    works_without_slow(&data, folder.path());
}

#[tokio::test]
async fn a_killed_command_takes_its_server_with_it_and_the_next_one_recovers() {
    let place = place();
    let (data, folder) = (place.path().join("data"), guests(&["slow"]));
    let (mut child, server) = embedded_and_sleeping(&data, folder.path()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    until(Duration::from_secs(3), "the server is gone", async || gone(server)).await;
    println!("the server was gone after {:?}", began.elapsed());
    works_without_slow(&data, folder.path());

    // And when the next one comes at once.
    fs::copy(guest("slow"), folder.path().join("slow.wasm")).unwrap();
    let (mut child, _) = embedded_and_sleeping(&data, folder.path()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    works_without_slow(&data, folder.path());
}

fn works_without_slow(data: &Path, folder: &Path) {
    let slow: PathBuf = folder.join("slow.wasm");
    fs::remove_file(&slow).unwrap();
    let mut command = plinth();
    command.args(["run", "--embedded", "--format", "json", "--data"]).arg(data).arg("--blocks").arg(folder);
    let report = Said::of(command.output().unwrap()).with_code(0).json();
    assert_eq!(report["boot"]["state"], "complete");
}

#[tokio::test]
async fn two_processes_at_once_apply_each_migration_once() {
    let database = TestDatabase::empty().await;
    let run = || {
        let mut command = plinth();
        command.args(["run", "--format", "json", "--database-url", &database.url, "--blocks"]).arg(blocks());
        start(&mut command)
    };
    let both = [run(), run()];
    let mut states = Vec::new();
    for child in both {
        let report = ended(child, Duration::from_secs(60)).await.with_code(0).json();
        states.push(report["boot"]["state"].as_str().unwrap().to_owned());
    }
    states.sort();
    assert!(states == ["complete", "joined"] || states == ["complete", "complete"], "{states:?}");
    let client = database.client().await;
    let often = "select block || ' ' || count(*) from plinth.outcomes o join plinth.blocks b on b.id = o.block
                 where b.kind = 'migration' and o.outcome = 'applied' group by block having count(*) <> 1";
    assert_eq!(texts(&client, often).await, Vec::<String>::new());
    assert_eq!(
        database
            .number("select count(*) from plinth.outcomes o join plinth.blocks b on b.id = o.block where b.kind = 'migration'")
            .await,
        7
    );
    assert_eq!(database.left_behind().await, 0);
    on(&database, "verify", &blocks(), &[]).with_code(0);
}
