//! What a boot shows while it runs: from outside by `plinth status`, inside the API by events and progress.

use plinth::{BootState, Event, Outcome, Stage, page::Page};
use plinth_tests::{TestDatabase, campaign, guests, plinth, value};
use std::time::Duration;

const SLEEPING: &str =
    "select pid from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and datname = current_database()";

async fn until(database: &TestDatabase, query: &str) {
    let client = database.client().await;
    let found = async {
        while value(&client, query).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.unwrap_or_else(|_| panic!("never: {query}"));
}

fn status(database: &TestDatabase, blocks: &std::path::Path, format: &str) -> String {
    let mut command = plinth();
    command.args(["status", "--format", format, "--database-url", &database.url, "--blocks"]).arg(blocks);
    let said = command.output().unwrap();
    assert_eq!(said.status.code(), Some(3), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[tokio::test]
async fn case_24_status_shows_block_statement_seconds_and_who_waits_and_a_kill_loses_nothing() {
    let database = TestDatabase::with_t().await;
    let blocks = guests(&["once", "slow"]);
    let first = campaign::run(&database.url, blocks.path(), &[]).spawn().unwrap();
    until(&database, SLEEPING).await;
    let second = campaign::run(&database.url, blocks.path(), &[]).spawn().unwrap();
    until(
        &database,
        "select pid from pg_stat_activity where application_name like 'plinth api waits %' and datname = current_database()",
    )
    .await;

    let said: serde_json::Value = serde_json::from_str(&status(&database, blocks.path(), "json")).unwrap();
    assert_eq!(said["running"]["block"], "slow", "{said}");
    assert_eq!(said["running"]["statement"], "select pg_sleep(60)", "{said}");
    assert!(said["running"]["seconds"].is_number() && said["running"]["active"] == true, "{said}");
    let waiting = said["waiting"][0]["instance"].as_str().unwrap();
    assert!(waiting.ends_with(&format!("/{}", second.id())), "{said}");
    assert_eq!(said["last_boot"]["state"], "running", "{said}");
    let for_people = status(&database, blocks.path(), "table");
    assert!(for_people.contains("running: slow for ") && for_people.contains(": select pg_sleep(60)"), "{for_people}");
    assert!(for_people.contains(&format!("waiting: {waiting} for ")), "{for_people}");

    // A liveness probe ends the first. What it committed stays, and the one that waited goes on from there.
    campaign::kill(first.id());
    let two = "select 1 from plinth.boots having count(*) = 2 and max(state) filter (where id = 1) = 'interrupted'";
    until(&database, two).await;
    until(&database, SLEEPING).await;
    assert_eq!(database.number("select count(*) from t where a = 1").await, 10, "once ran once");
    campaign::signal("TERM", second.id());
    for child in [first, second] {
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    }
    assert_eq!(database.left_behind().await, 0);
}

/// Starts a boot, kills it while its block sleeps, and waits until the server has seen its lock's connection close.
async fn killed_in_the_middle(database: &TestDatabase, blocks: &std::path::Path, lock: &str) {
    let child = campaign::run(&database.url, blocks, &["--lock", lock]).spawn().unwrap();
    until(database, SLEEPING).await;
    assert_eq!(state(database, blocks), "running");
    campaign::kill(child.id());
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let gone = "select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
                having count(*) = 0";
    until(database, gone).await;
}

fn state(database: &TestDatabase, blocks: &std::path::Path) -> String {
    let said: serde_json::Value = serde_json::from_str(&status(database, blocks, "json")).unwrap();
    said["last_boot"]["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_boot_that_was_killed_is_shown_as_interrupted_before_anybody_boots_again() {
    let database = TestDatabase::with_t().await;
    let blocks = guests(&["once", "slow"]);
    killed_in_the_middle(&database, blocks.path(), "session").await;
    assert_eq!(database.text("select state from plinth.boots").await.as_deref(), Some("running"), "nobody could write it down");

    let said: serde_json::Value = serde_json::from_str(&status(&database, blocks.path(), "json")).unwrap();
    assert_eq!(said["last_boot"]["state"], "interrupted", "{said}");
    // The server does not look at its connection while it sleeps.
    assert_eq!((said["running"]["block"].as_str(), said["running"]["abandoned"].as_bool()), (Some("slow"), Some(true)), "{said}");
    let for_people = status(&database, blocks.path(), "table");
    assert!(for_people.contains("last boot 1: interrupted"), "{for_people}");
    assert!(for_people.contains("left behind on the server by a boot that is gone: slow for "), "{for_people}");

    let host = database.host().folder(blocks.path());
    let history = host.history(5).await.unwrap();
    assert_eq!(history.boots[0].state, "interrupted");
    let plan = host.plan().await.map_err(|error| error.to_string());
    let page = Page { title: "shop", history: &history, plan: plan.as_ref(), progress: None, facts: &[] }.render();
    assert!(page.contains("interrupted") && page.contains("Left behind") && !page.contains("running"), "{page}");
    database.client().await.batch_execute(&format!("select pg_terminate_backend(pid) from ({SLEEPING}) s")).await.unwrap();
}

#[tokio::test]
async fn one_that_was_killed_behind_a_pooler_is_shown_as_interrupted_once_its_lease_ran_out() {
    let database = TestDatabase::with_t().await;
    let blocks = guests(&["once", "slow"]);
    killed_in_the_middle(&database, blocks.path(), "lease").await;
    assert_eq!(state(&database, blocks.path()), "running", "it may live and be out of reach for a moment");
    database.client().await.batch_execute("update plinth.runners set expires = now() - interval '1 second'").await.unwrap();
    assert_eq!(state(&database, blocks.path()), "interrupted");
    database.client().await.batch_execute(&format!("select pg_terminate_backend(pid) from ({SLEEPING}) s")).await.unwrap();
}

#[tokio::test]
async fn case_24_a_health_endpoint_can_tell_at_any_moment_where_the_boot_is() {
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("delete from t").await.unwrap();
    let host = database.host().folder(guests(&["once", "three_writes"]).keep());
    let mut events = host.events();
    let mut progress = host.progress();
    assert_eq!(progress.borrow().stage, Stage::Idle);
    let booting = tokio::spawn({
        let host = host.clone();
        async move { host.boot().await }
    });
    let inside = progress.wait_for(|now| now.block.as_deref() == Some("three_writes") && now.statement == 2);
    let now = tokio::time::timeout(Duration::from_secs(30), inside).await.unwrap().unwrap().clone();
    assert_eq!((now.stage, now.place, now.of, now.boot), (Stage::Running, 2, 2, Some(1)));
    let shown = serde_json::to_value(&now).unwrap();
    assert_eq!(shown["sql"], "select pg_sleep(0.3)");
    assert!(shown["statement_seconds"].is_number() && shown["block_seconds"].is_number(), "{shown}");
    assert_eq!(booting.await.unwrap().unwrap().boot.state, BootState::Complete);
    assert_eq!(progress.borrow().stage, Stage::Ready);

    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    let started = seen.iter().position(|event| matches!(event, Event::Started { boot: 1, blocks: 2 })).unwrap();
    let block =
        seen.iter().position(|event| matches!(event, Event::Block { id, place: 2, of: 2 } if id == "three_writes")).unwrap();
    let ended = seen.iter().position(
        |event| matches!(event, Event::Ended { block, outcome: Outcome::Applied, rows, .. } if block == "three_writes" && rows["public.t"].inserted == 3),
    );
    assert!(started < block && block < ended.unwrap(), "{seen:?}");
    assert!(matches!(seen.last(), Some(Event::Finished { state: BootState::Complete, error: None })), "{seen:?}");
    assert_eq!(seen.iter().filter(|event| matches!(event, Event::Statement { block, .. } if block == "three_writes")).count(), 7);
}

/// What a program writes to its terminal. Its standard output is no terminal.
fn on_a_terminal(mut command: std::process::Command) -> (std::process::ExitStatus, String, String) {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let child = command.env("TERM", "xterm").stderr(pty.slave).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // The command holds the terminal's other end, which has to be closed for this one to come to its end.
    drop(command);
    let mut terminal = std::fs::File::from(pty.master);
    let shown = std::thread::spawn(move || {
        let mut shown = Vec::new();
        // Linux ends it with an error of its own.
        let _ = std::io::Read::read_to_end(&mut terminal, &mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap(), shown.join().unwrap())
}

#[tokio::test]
async fn a_backfill_shows_a_bar_on_a_terminal_and_nothing_in_a_log() {
    let database = TestDatabase::empty().await;
    let sql = "create table large (id bigint primary key, n integer not null default 0); create sequence begun;
               insert into large select i from generate_series(1, 100000) i; analyze large";
    database.client().await.batch_execute(sql).await.unwrap();
    let blocks = guests(&["fills"]);
    let command = |application: &str| {
        let mut command = plinth();
        command.args(["run", "--format", "json", "--application", application, "--database-url", &database.url, "--blocks"]);
        command.arg(blocks.path());
        command
    };
    let first = command("on_a_terminal");
    let (status, said, shown) = tokio::task::spawn_blocking(|| on_a_terminal(first)).await.unwrap();
    assert!(status.success(), "{shown}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["blocks"][0]["rows"]["public.large"]["updated"], 100_000, "what is for programs has no bar in it");
    // A part of the bar, how much of the whole, and what is said of it.
    let drawn: Vec<&str> = shown.split('\r').filter(|line| line.contains("fills: ")).collect();
    assert!(
        drawn.iter().any(|line| line.contains('█') && line.contains(" % fills: ") && line.contains(" batches, the next of ")),
        "{shown:?}"
    );
    assert!(drawn.iter().all(|line| line.contains(" left")), "{shown:?}");
    let percents =
        drawn.iter().filter_map(|line| line.split(" %").next()?.rsplit(' ').next()?.parse::<u32>().ok()).collect::<Vec<_>>();
    assert!(
        percents.len() == drawn.len() && percents.is_sorted() && percents.iter().all(|percent| *percent <= 100),
        "{percents:?}"
    );
    assert!(shown.trim_end_matches(['\r', '\n']).ends_with("\u{1b}[2K"), "it is taken away at the end: {shown:?}");

    database.client().await.batch_execute("update large set n = 0").await.unwrap();
    let output = command("in_a_log").output().unwrap();
    assert!(output.status.success());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains('█') && !log.contains('\u{1b}'), "{log:?}");
}
