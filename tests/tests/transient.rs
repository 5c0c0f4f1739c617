//! What may pass is tried again inside one budget, what will not pass is not; and a boot that lost its lock writes nothing.

use plinth::{BootError, BootState, ConnectError, Database, ErrorClass, Host, Limits, Outcome, Report, Stage, embedded::Server};
use plinth_tests::{
    TestDatabase, cache, connect, crash, guests,
    proxy::{Proxy, When},
    server, texts, value,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Waits until a query finds something.
async fn until(database: &TestDatabase, query: &str) {
    let client = database.client().await;
    let found = async {
        while value(&client, query).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, found).await.unwrap_or_else(|_| panic!("never: {query}"));
}

/// The process that holds the boot's lock.
const LOCKING: &str = "select pid from pg_locks where locktype = 'advisory' and granted
    and database = (select oid from pg_database where datname = current_database())";
/// A statement of the block that sleeps.
const SLEEPING: &str =
    "select pid from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and datname = current_database()";

fn sqlstates(report: &Report) -> Vec<&str> {
    report.boot.retries.iter().map(|retry| retry.sqlstate.as_deref().unwrap_or("none")).collect()
}

#[tokio::test]
async fn case_12_a_server_that_is_down_and_comes_back_is_waited_for_and_the_report_says_so() {
    let mut own = Server::builder().in_memory(true).durable(true).start().unwrap();
    let url = own.url("postgres");
    connect(&url).await.batch_execute("create table t (id int primary key, a int, b int); checkpoint").await.unwrap();
    own.kill_immediate().unwrap();
    let host = Host::new(Database::from_url(&url).unwrap()).cache(cache()).folder(guests(&["once"]).keep());
    let booting = tokio::spawn({
        let host = host.clone();
        async move { host.boot().await }
    });
    let mut progress = host.progress();
    tokio::time::timeout(SOON, progress.wait_for(|progress| progress.stage == Stage::Retrying)).await.unwrap().unwrap();
    let cause = progress.borrow().cause.clone().unwrap();
    assert!(cause.contains("no server answers at"), "{cause}");
    tokio::time::sleep(Duration::from_millis(700)).await;
    own.restart().unwrap();
    let report = booting.await.unwrap().unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    assert_eq!(report.block("once").unwrap().outcome, Outcome::Applied);
    assert!(report.boot.retries.len() > 1, "{:?}", report.boot.retries);
    assert!(report.boot.retries.iter().all(|retry| retry.block.is_none() && retry.pause_ms > 0));
    assert!(report.boot.retries[0].cause.contains("no server answers at"), "{:?}", report.boot.retries);
}

#[tokio::test]
async fn case_12_the_budget_ends_and_the_error_says_what_was_tried() {
    let nobody = "postgres:///shop?host=/tmp/no-such-folder";
    let host = Host::new(Database::from_url(nobody).unwrap()).folder(guests(&["once"]).keep());
    let error = host.clone().retry_for(Duration::from_secs(1)).boot().await.unwrap_err();
    let BootError::Exhausted { retries, source, .. } = &error else { panic!("{error:?}") };
    assert!(!retries.is_empty() && matches!(**source, BootError::Connect(ConnectError::Unreachable { .. })), "{error:?}");
    assert!(error.to_string().contains("tried again") && error.to_string().contains("budget of 1 s"), "{error}");
    let error = host.retry_for(Duration::ZERO).boot().await.unwrap_err();
    assert!(matches!(error, BootError::Connect(ConnectError::Unreachable { .. })), "nothing was tried again: {error:?}");
}

#[tokio::test]
async fn case_12_a_lock_that_is_held_for_a_while_is_tried_again_and_a_statement_that_takes_too_long_is_not() {
    let database = TestDatabase::with_t().await;
    let blocker = database.client().await;
    blocker.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
    let limits = Limits { lock: Duration::from_millis(100), ..Limits::default() };
    let host = database.host().limits(limits).folder(guests(&["once"]).keep());
    let booting = tokio::spawn({
        let host = host.clone();
        async move { host.boot().await }
    });
    let mut progress = host.progress();
    tokio::time::timeout(SOON, progress.wait_for(|progress| progress.stage == Stage::Retrying)).await.unwrap().unwrap();
    blocker.batch_execute("rollback").await.unwrap();
    let report = booting.await.unwrap().unwrap();
    let once = report.block("once").unwrap();
    assert!(once.outcome == Outcome::Applied && once.attempts > 1, "{once:?}");
    assert!(sqlstates(&report).iter().all(|sqlstate| *sqlstate == "55P03"), "{:?}", report.boot.retries);
    assert_eq!(report.boot.retries[0].block.as_deref(), Some("once"));
    let attempt = "select attempt from plinth.outcomes where block = 'once'";
    assert_eq!(database.number(attempt).await, i64::from(once.attempts), "the ledger knows how often it was tried");
    assert_eq!(database.number("select count(*) from t where a = 1").await, 10);

    let limits = Limits { statement: Duration::from_millis(200), ..Limits::default() };
    match database.host().limits(limits).application("slow").folder(guests(&["slow"]).path()).boot().await {
        Err(BootError::Failed(report)) => {
            assert_eq!(report.block("slow").unwrap().error.as_ref().unwrap().sqlstate.as_deref(), Some("57014"));
            assert!(report.boot.retries.is_empty(), "{:?}", report.boot.retries);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_deadlock_and_a_serialization_failure_are_tried_again_and_other_errors_are_not() {
    for (sqlstate, passes) in [("40001", true), ("40P01", true), ("23514", false), ("22012", false)] {
        let database = TestDatabase::with_t().await;
        let trigger = format!(
            "create sequence tries;
             create function once_only() returns trigger language plpgsql as $$ begin
                if nextval('tries') <= 10 then raise exception 'not yet' using errcode = '{sqlstate}'; end if; return new; end $$;
             create trigger once_only before update on t for each row execute function once_only();
             alter sequence tries restart 10"
        );
        database.client().await.batch_execute(&trigger).await.unwrap();
        let booted = database.host().folder(guests(&["once"]).path()).boot().await;
        match (passes, booted) {
            (true, Ok(report)) => assert_eq!(sqlstates(&report), [sqlstate]),
            (false, Err(BootError::Failed(report))) => assert_eq!(sqlstates(&report), [] as [&str; 0], "{sqlstate}"),
            (_, other) => panic!("{sqlstate}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn too_many_connections_pass() {
    let own = Server::builder().in_memory(true).setting("max_connections", "4").setting("superuser_reserved_connections", "0");
    let own = own.setting("max_wal_senders", "0").start().unwrap();
    let url = own.url("postgres");
    let mut taken = vec![connect(&url).await];
    taken[0].batch_execute("create table t (id int primary key, a int, b int)").await.unwrap();
    for _ in 0..3 {
        taken.push(connect(&url).await);
    }
    let host = Host::new(Database::from_url(&url).unwrap()).cache(cache()).folder(guests(&["once"]).keep());
    let booting = tokio::spawn({
        let host = host.clone();
        async move { host.boot().await }
    });
    let mut progress = host.progress();
    tokio::time::timeout(SOON, progress.wait_for(|progress| progress.stage == Stage::Retrying)).await.unwrap().unwrap();
    taken.clear();
    let report = booting.await.unwrap().unwrap();
    assert!(sqlstates(&report).contains(&"53300"), "{:?}", report.boot.retries);
}

#[tokio::test]
async fn a_standby_and_a_read_only_primary_are_named_as_that() {
    let mut own = Server::builder().in_memory(true).durable(true).start().unwrap();
    let url = own.url("postgres");
    let host = Host::new(Database::from_url(&url).unwrap()).cache(cache()).retry_for(Duration::ZERO);
    let host = host.folder(guests(&["once"]).keep());
    let client = connect(&url).await;
    client.batch_execute("alter database postgres set default_transaction_read_only = on").await.unwrap();
    let error = host.boot().await.unwrap_err();
    assert!(matches!(&error, BootError::Connect(ConnectError::ReadOnly { recovery: false, .. })), "{error:?}");
    assert!(error.to_string().contains("is read-only: default_transaction_read_only is on"), "{error}");

    client.batch_execute("alter database postgres reset default_transaction_read_only").await.unwrap();
    drop(client);
    std::fs::write(own.data().join("standby.signal"), "").unwrap();
    own.restart().unwrap();
    let error = host.boot().await.unwrap_err();
    assert!(matches!(&error, BootError::Connect(ConnectError::ReadOnly { recovery: true, .. })), "{error:?}");
    assert!(error.to_string().contains("is in recovery: it is a standby"), "{error}");
}

#[tokio::test]
async fn a_boot_whose_lock_connection_is_killed_writes_nothing_more() {
    let database = TestDatabase::with_t().await;
    let host = database.host().folder(guests(&["once", "three_writes"]).keep());
    let client = database.client().await;
    client.batch_execute("delete from t").await.unwrap();
    let stops = |host: Host| tokio::spawn(async move { host.boot().await });

    let booting = stops(host.clone().retry_for(Duration::ZERO));
    until(&database, SLEEPING).await;
    let before = database.snapshot().await;
    client.batch_execute(&format!("select pg_terminate_backend(pid) from ({LOCKING}) as l")).await.unwrap();
    let error = booting.await.unwrap().unwrap_err();
    assert!(matches!(error, BootError::LockLost(_)), "{error:?}");
    assert_eq!(database.left_behind().await, 0);
    assert_eq!(database.snapshot().await, before);
    let boots = "select state from plinth.boots order by id";
    assert_eq!(texts(&client, boots).await, ["running"], "it could not know whether somebody else runs, so it wrote nothing");

    // By default it stands in line again, and its report tells all that this process did.
    let second = guests(&["once", "three_writes", "crash_first"]);
    let booting = stops(database.host().folder(second.path()));
    until(&database, SLEEPING).await;
    client.batch_execute(&format!("select pg_terminate_backend(pid) from ({LOCKING}) as l")).await.unwrap();
    let report = booting.await.unwrap().unwrap();
    assert_eq!(report.boot.retries.len(), 1, "{:?}", report.boot.retries);
    assert!(report.boot.retries[0].cause.contains("lost its lock"), "{:?}", report.boot.retries);
    let outcomes: Vec<Outcome> =
        ["once", "crash_first", "three_writes"].iter().map(|id| report.block(id).unwrap().outcome).collect();
    assert_eq!(outcomes, [Outcome::Skipped, Outcome::Applied, Outcome::Applied], "crash_first was applied by the first try");
    assert_eq!(texts(&client, boots).await, ["interrupted", "interrupted", "complete"]);
    assert_eq!(database.number("select count(*) from t where id <= 3").await, 3);
}

#[tokio::test]
async fn a_boot_of_one_block_tells_what_it_did_whichever_answer_is_lost() {
    let (before, now) = (guests(&["crash_first"]), guests(&["crash_first", "crash_second"]));
    let socket = server().socket_folder().join(format!(".s.PGSQL.{}", server().port()));
    for when in [When::Before, When::After] {
        for message in 1.. {
            let database = TestDatabase::with_t().await;
            database.host().folder(before.path()).boot().await.unwrap();
            let proxy = Proxy::new(socket.clone()).await;
            proxy.cut_at(message, when);
            let host = Host::new(Database::from_url(&proxy.url(&database.name)).unwrap()).cache(cache()).folder(now.path());
            let report = host.boot().await.unwrap();
            let case = format!("cut {when:?} message {message}: {report:?}");
            assert_eq!(report.block("crash_second").unwrap().outcome, Outcome::Applied, "{case}");
            assert_eq!((report.boot.ran, report.boot.state), (1, BootState::Complete), "{case}");
            let applied = "select count(*) from plinth.outcomes where block = 'crash_second' and outcome = 'applied'";
            assert_eq!(database.number(applied).await, 1, "{case}");
            assert_eq!(database.number("select count(*) from crash where block = 'crash_second'").await, 3, "{case}");
            let lies = crash::lies(&database, &serde_json::to_value(&report).unwrap()).await;
            assert!(lies.is_empty(), "{case}: {lies:?}");
            if !proxy.sprung() {
                assert!(report.boot.retries.is_empty() && message > 6, "{case}");
                break;
            }
            assert!(!report.boot.retries.is_empty(), "{case}");
            database.remove(server()).await;
        }
    }
}

#[tokio::test]
async fn who_waits_has_one_session() {
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("delete from t").await.unwrap();
    let host = database.host().folder(guests(&["three_writes"]).keep());
    let boots = |host: Host| tokio::spawn(async move { host.boot().await.unwrap() });
    let runs = boots(host.clone());
    until(&database, SLEEPING).await;
    let waits = boots(host);
    until(&database, "select 1 from pg_stat_activity where application_name like '% waits %' and datname = current_database()")
        .await;
    let sessions =
        "select count(*) from pg_stat_activity where application_name like 'plinth %' and datname = current_database()";
    assert_eq!(database.number(sessions).await, 3, "the runner has two");
    assert_eq!(runs.await.unwrap().boot.state, BootState::Complete);
    assert_eq!(waits.await.unwrap().boot.state, BootState::Joined);
}

#[tokio::test]
async fn a_runner_that_was_overtaken_is_fenced_off_at_its_commit() {
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("delete from t").await.unwrap();
    let host = database.host().folder(guests(&["three_writes"]).keep()).retry_for(Duration::ZERO);
    let booting = tokio::spawn(async move { host.boot().await });
    until(&database, SLEEPING).await;
    // As another replica does that found the lock free.
    let client = database.client().await;
    client.batch_execute("update plinth.runners set token = token + 1").await.unwrap();
    let Err(BootError::Failed(report)) = booting.await.unwrap() else { panic!("it was overtaken") };
    assert_eq!(report.block("three_writes").unwrap().error.as_ref().unwrap().class, ErrorClass::Fenced);
    assert_eq!(database.number("select count(*) from t").await, 0);
    let written = "select state || ' ' || (select count(*) from plinth.outcomes) from plinth.boots";
    assert_eq!(texts(&client, written).await, ["running 0"], "nor did it write into the ledger");
}

#[tokio::test]
async fn a_runner_that_was_overtaken_sends_nothing_more_outside_a_transaction() {
    let database = TestDatabase::with_t().await;
    // CREATE INDEX CONCURRENTLY waits for this one, before it is done.
    let old = database.client().await;
    old.batch_execute("begin isolation level repeatable read; update t set b = 0 where id = 101").await.unwrap();
    let host = database.host().folder(guests(&["outside"]).keep());
    let booting = tokio::spawn({
        let host = host.clone();
        async move { host.retry_for(Duration::ZERO).boot().await }
    });
    let building = "select pid from pg_stat_activity where query like 'create index concurrently%' and wait_event_type = 'Lock'
        and datname = current_database()";
    until(&database, building).await;
    let client = database.client().await;
    client.batch_execute(&format!("select pg_terminate_backend(pid) from ({LOCKING}) as l")).await.unwrap();
    assert!(matches!(booting.await.unwrap(), Err(BootError::LockLost(_))));
    until(&database, "select 1 where not exists (select from pg_stat_activity where query like 'create index concurrently%' and state = 'active' and datname = current_database() and pid <> pg_backend_pid())").await;
    assert_eq!(
        database.text("select indisvalid::text from pg_index where indexrelid = 't_a_idx'::regclass").await.as_deref(),
        Some("false")
    );
    old.batch_execute("rollback").await.unwrap();
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("outside").unwrap().outcome, Outcome::Applied);
    assert_eq!(
        database.text("select indisvalid::text from pg_index where indexrelid = 't_a_idx'::regclass").await.as_deref(),
        Some("true")
    );
}

#[tokio::test]
async fn a_slow_network_changes_nothing() {
    let database = TestDatabase::with_t().await;
    let proxy = Proxy::new(server().socket_folder().join(format!(".s.PGSQL.{}", server().port()))).await;
    proxy.delay(Duration::from_millis(15));
    let blocks = crash::folder();
    let host = Host::new(Database::from_url(&proxy.url(&database.name)).unwrap()).cache(cache()).folder(blocks.path());
    let report = host.boot().await.unwrap();
    assert!(report.boot.retries.is_empty(), "{:?}", report.boot.retries);
    assert_eq!(crash::differences(&database).await, [] as [String; 0]);
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_noticed_and_the_boot_goes_on_when_it_is_back() {
    let database = TestDatabase::with_t().await;
    let proxy = std::sync::Arc::new(Proxy::new(server().socket_folder().join(format!(".s.PGSQL.{}", server().port()))).await);
    let blocks = crash::folder();
    let url = proxy.url(&database.name) + "&connect_timeout=2";
    let host = Host::new(Database::from_url(&url).unwrap()).cache(cache()).folder(blocks.path());
    let (swallows, swallowed) = tokio::sync::oneshot::channel();
    let mut swallows = Some(swallows);
    let silent = std::sync::Arc::downgrade(&proxy);
    proxy.at(14, When::Before, move || {
        silent.upgrade().unwrap().silent(true);
        let _ = swallows.take().unwrap().send(());
    });
    let booting = tokio::spawn(async move { host.boot().await });
    swallowed.await.unwrap();
    // As long as nobody answers on any connection, and a while longer.
    tokio::time::sleep(Duration::from_secs(25)).await;
    proxy.silent(false);
    let report = tokio::time::timeout(Duration::from_secs(90), booting).await.unwrap().unwrap().unwrap();
    assert!(!report.boot.retries.is_empty());
    assert_eq!(crash::differences(&database).await, [] as [String; 0]);
    assert_eq!(crash::lies(&database, &serde_json::to_value(&report).unwrap()).await, [] as [String; 0]);
}

#[tokio::test]
async fn what_a_boot_reported_is_there_after_a_crash_of_the_server() {
    let mut own = Server::builder().in_memory(true).durable(true).start().unwrap();
    // No COMMIT of a block waits for the disk, and nobody writes behind it: only the boot's end does.
    connect(&own.url("postgres")).await.batch_execute("alter system set wal_writer_delay = '10s'").await.unwrap();
    connect(&own.url("postgres")).await.batch_execute("select pg_reload_conf()").await.unwrap();
    let crash = |own: &mut Server| {
        own.kill_immediate().unwrap();
        own.restart().unwrap();
    };

    let database = TestDatabase::with_t_on(&own).await;
    let complete = guests(&["once", "claims"]);
    assert_eq!(database.host().folder(complete.path()).boot().await.unwrap().boot.ran, 2);
    crash(&mut own);
    assert_eq!(database.host().folder(complete.path()).boot().await.unwrap().boot.round_trips, 1);
    assert_eq!(database.number("select count(*) from t where a = 1").await, 10);

    let database = TestDatabase::with_t_on(&own).await;
    let failing = guests(&["claims", "fails_post_condition"]);
    let error = database.host().folder(failing.path()).boot().await.unwrap_err();
    assert_eq!(error.report().unwrap().block("claims").unwrap().outcome, Outcome::Applied);
    crash(&mut own);
    let applied = "select count(*) from plinth.blocks where id = 'claims' and first_applied is not null";
    assert_eq!(database.number(applied).await, 1);
}
