//! Definitions: what blocks require and provide, as the catalog has it. The numbers are those of docs/CASES.md.

use plinth::{BootError, BootState, ErrorClass, Outcome, PlanProblem, Report, ReportError};
use plinth_tests::{TestDatabase, blocks, guests, plinth, texts};
use std::time::{Duration, Instant};

/// Why a block failed.
fn failure(booted: Result<Report, BootError>, id: &str) -> ReportError {
    match booted {
        Err(BootError::Failed(report)) => report.block(id).and_then(|block| block.error.clone()).unwrap(),
        other => panic!("{id} was to fail: {other:?}"),
    }
}

/// All problems of a plan, one a line.
fn problems(planned: Result<plinth::Preview, BootError>) -> String {
    match planned {
        Err(BootError::Plan(error)) => error.to_string(),
        other => panic!("the plan was to fail: {other:?}"),
    }
}

/// Takes every table that is not the ledger's, as a long ALTER TABLE would.
async fn hold_all_tables(database: &TestDatabase) -> tokio_postgres::Client {
    let blocker = database.client().await;
    let query = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in ('pg_catalog', 'information_schema', 'plinth')";
    let tables = texts(&blocker, query).await;
    blocker.batch_execute(&format!("begin; lock table {} in access exclusive mode", tables.join(", "))).await.unwrap();
    blocker
}

#[tokio::test]
async fn case_18_a_block_that_makes_other_than_it_provides_is_rolled_back_and_told() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    client.batch_execute("create table choice (mistake text)").await.unwrap();
    let folder = guests(&["provides_otherwise"]);
    let host = database.host().folder(folder.path());
    for (mistake, told) in [
        ("type", "column w.amount numeric(10, 2), but it is integer"),
        ("nullable", "column w.amount not null, but it is nullable"),
        ("default", "column w.amount default 0, but it is default 1"),
        ("unique", "index w_key unique, but it is not unique"),
        ("order", "index w_key on (state, amount desc), but it is on (state, amount)"),
        ("predicate", "index w_key where amount > (0)::numeric, but it is without where"),
        ("invalid", "index w_key valid, but it is invalid"),
        ("missing constraint", "constraint w_positive on w, but it does not exist"),
        ("kind", "view w_open as a view, but it is a table"),
        ("trigger", "trigger w_touch on w, but it does not exist"),
        ("value", "enum w_mood value happy, but it does not exist"),
    ] {
        client.batch_execute(&format!("truncate choice; insert into choice values ('{mistake}')")).await.unwrap();
        let before = database.snapshot().await;
        let error = failure(host.boot().await, "provides_otherwise");
        assert_eq!(error.class, ErrorClass::Definition, "{mistake}: {error}");
        assert!(error.message.starts_with("the block provides ") && error.message.contains(told), "{mistake}: {error}");
        assert!(error.object.is_some() && error.hint.is_some(), "{mistake}: {error:?}");
        assert_eq!(database.snapshot().await, before, "{mistake}: nothing stays");
        let applied = "select count(*) from plinth.blocks where first_applied is not null";
        assert_eq!(database.number(applied).await, 0, "{mistake}");
    }
    client.batch_execute("truncate choice; insert into choice values ('none')").await.unwrap();
    let report = host.boot().await.unwrap();
    let block = report.block("provides_otherwise").unwrap();
    assert_eq!(block.outcome, Outcome::Applied);
    assert!(block.locks.iter().all(|lock| lock.object != "choice" || lock.mode == "AccessShareLock"), "{:?}", block.locks);
}

#[tokio::test]
async fn case_18_outside_a_transaction_what_is_made_otherwise_is_not_recorded_as_applied() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["outside_otherwise"]);
    let host = database.host().folder(folder.path());
    for _ in 0..2 {
        let error = failure(host.boot().await, "outside_otherwise");
        assert_eq!(error.class, ErrorClass::Definition, "{error}");
        assert!(error.message.contains("index t_b_idx unique, but it is not unique"), "{error}");
        assert!(error.hint.unwrap().contains("it stays, since the block runs outside a transaction"));
        assert_eq!(database.number("select count(*) from plinth.blocks where first_applied is not null").await, 0);
    }
    // What an operator does, told by the hint.
    let client = database.client().await;
    client
        .batch_execute("alter table t drop column b; alter table t add column b int; create unique index t_b_idx on t (b)")
        .await
        .unwrap();
    assert_eq!(host.boot().await.unwrap().boot.state, BootState::Complete);
}

#[tokio::test]
async fn case_18_a_requirement_is_compared_by_definition_before_the_first_statement() {
    let database = TestDatabase::with_t().await;
    let client = database.client().await;
    client.batch_execute("create index t_a_idx on t (a)").await.unwrap();
    let folder = guests(&["requires_index", "requires_default"]);
    let host = database.host().folder(folder.path());
    assert_eq!(
        problems(host.plan().await),
        "requires_default: requires column t.b default 7, but it is without default: change it in a migration that runs before, or what the manifest requires\n\
         requires_index: requires column t.a bigint, but it is integer: change it in a migration that runs before, or what the manifest requires\n\
         requires_index: requires index t_a_idx on (a DESC), unique, where a > 0, but it is on (a), not unique, without where: change it in a migration that runs before, or what the manifest requires"
    );
    let Err(BootError::Plan(error)) = host.boot().await else { panic!("a boot says the same") };
    assert!(matches!(error.problems(), [PlanProblem::Differs { .. }, _, _]), "{error}");

    client
        .batch_execute(
            "alter table t alter column b set default 7, alter column a type bigint; drop index t_a_idx; delete from t;
             create unique index t_a_idx on t (a desc) where a > 0",
        )
        .await
        .unwrap();
    assert_eq!(host.boot().await.unwrap().boot.state, BootState::Complete);
    // A rule's predicate is not compared: the look at every boot must not wait for anybody.
    client.batch_execute("drop index t_a_idx; create unique index t_a_idx on t (a desc) where a > 1").await.unwrap();
    assert!(host.plan().await.is_ok());
}

#[tokio::test]
async fn case_10_a_plan_waits_for_no_table() {
    let database = TestDatabase::production_like().await;
    database.host().folder(blocks()).boot().await.unwrap();
    let _blocker = hold_all_tables(&database).await;
    let mut command = plinth();
    command.args(["plan", "--blocks"]).arg(blocks()).args(["--database-url", &database.url]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    // Below the time that a statement waits for a lock: it was not waited for and then given up.
    let output = tokio::time::timeout(Duration::from_secs(4), output).await.expect("nothing is waited for").unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 pending, 4 rules"), "{output:?}");
}

#[tokio::test]
async fn case_10_a_pending_migration_that_requires_a_default_is_planned_without_it_while_the_table_is_held() {
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("alter table t alter column b set default 8").await.unwrap();
    let folder = guests(&["requires_default"]);
    let limits = plinth::Limits { lock: Duration::from_millis(200), ..plinth::Limits::default() };
    let host = database.host().limits(limits).folder(folder.path());
    let blocker = hold_all_tables(&database).await;
    let started = Instant::now();
    assert!(host.plan().await.unwrap().pending);
    assert!(started.elapsed() < Duration::from_secs(3));
    blocker.batch_execute("rollback").await.unwrap();
    assert!(problems(host.plan().await).contains("default 7, but it is default 8"));
}
