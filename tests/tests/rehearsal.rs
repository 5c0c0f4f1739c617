//! What a boot would do, told by a run that is rolled back; and what stops a block that does more than it was allowed.

use plinth::{BootError, BootState, ErrorClass, Outcome, Rehearsed, Report};
use plinth_tests::{TestDatabase, blocks, guests, plinth};
use std::time::{Duration, Instant};

const INDEX: &str = "0031_test_results_suite_executed_idx";

fn failed(booted: Result<Report, BootError>) -> Report {
    match booted {
        Err(BootError::Failed(report)) => *report,
        other => panic!("the boot was to fail in a block: {other:?}"),
    }
}

#[tokio::test]
async fn case_20_a_rehearsal_predicts_the_rows_of_the_boot_and_leaves_nothing() {
    let database = TestDatabase::production_like().await;
    let host = database.host().folder(blocks());
    let before = database.snapshot().await;
    let rehearsal = host.rehearse().await.unwrap();
    assert!(rehearsal.passed, "{rehearsal:#?}");
    assert_eq!(database.snapshot().await, before, "nothing of it stays");
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0, "no ledger either");
    assert_eq!(database.left_behind().await, 0);

    let index = rehearsal.block(INDEX).unwrap();
    assert_eq!(index.outcome, Rehearsed::NotTried);
    assert_eq!(index.message.as_deref(), Some("it runs outside a transaction, so that it cannot be rolled back"));

    let report = host.boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    assert_eq!(rehearsal.blocks.len(), report.blocks.len());
    for (predicted, real) in rehearsal.blocks.iter().zip(&report.blocks) {
        assert_eq!(predicted.id, real.id);
        if predicted.id == INDEX {
            continue;
        }
        assert_eq!(predicted.rows, real.rows, "{}", real.id);
        assert_eq!(predicted.objects, real.objects, "{}", real.id);
        assert_eq!(predicted.outcome == Rehearsed::Applied, real.outcome == Outcome::Applied, "{}", real.id);
        assert!(!predicted.statements.is_empty() && predicted.statements.len() as u64 <= real.statements, "{}", real.id);
    }
    assert!(rehearsal.blocks.iter().any(|block| !block.rows.is_empty()));

    let updates = rehearsal.blocks.iter().flat_map(|block| &block.statements);
    let updates: Vec<_> = updates.filter(|statement| statement.sql.starts_with("update")).collect();
    assert!(!updates.is_empty());
    for update in updates {
        let estimate = update.estimate.unwrap_or_else(|| panic!("no estimate: {update:?}"));
        assert!(estimate.cost > 0.0 && update.duration_ms > 0.0 && update.rows.is_some(), "{update:?}");
    }
    let eligible = rehearsal.block("0063_scheduled_testing_eligible").unwrap();
    let lock = eligible.locks.iter().find(|lock| lock.object == "test_suites" && lock.mode == "AccessExclusiveLock");
    let lock = lock.unwrap_or_else(|| panic!("{:?}", eligible.locks));
    assert!(lock.held_ms > 0.0 && lock.held_ms <= eligible.duration_ms, "{lock:?}, {} ms", eligible.duration_ms);

    // What is there to do afterwards: nothing, and a rehearsal says so.
    let again = host.rehearse().await.unwrap();
    let ran = again.blocks.iter().filter(|block| block.outcome != Rehearsed::Skipped);
    assert_eq!(ran.map(|block| block.outcome).collect::<Vec<_>>(), [Rehearsed::Unchanged; 4]);
}

/// The command on a database.
fn plan(database: &TestDatabase, folder: &std::path::Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = plinth();
    command.arg("plan").args(["--database-url", &database.url]).arg("--blocks").arg(folder).args(options);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_rehearsal_is_printed_for_people_programs_and_pull_requests() {
    let database = TestDatabase::production_like().await;
    let (code, json) = plan(&database, &blocks(), &["--run", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["passed"]), (Some(3), &serde_json::Value::Bool(true)));
    assert_eq!(json["blocks"].as_array().unwrap().len(), 11);
    let (_, table) = plan(&database, &blocks(), &["--run"]);
    assert!(table.contains("test_suites: 2591 updated") && table.contains("10 applied, 1 not tried"), "{table}");
    let (_, markdown) = plan(&database, &blocks(), &["--run", "--format", "markdown"]);
    assert!(markdown.starts_with("### Rehearsal: passed\n") && markdown.contains("<details><summary>0000_baseline</summary>"));
    let (code, dot) = plan(&database, &blocks(), &["--format", "dot"]);
    assert!(code == Some(3) && dot.starts_with("digraph plan {") && dot.contains("[label = \"reads\"]"), "{dot}");
    let (_, mermaid) = plan(&database, &blocks(), &["--format", "mermaid"]);
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.contains(" -->|provides| "), "{mermaid}");
    assert_eq!(plan(&database, &blocks(), &["--run", "--format", "dot"]).0, Some(2));
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0);
}

/// `t` with 20,000 rows.
async fn with_many_rows() -> TestDatabase {
    let database = TestDatabase::with_t().await;
    let sql = "insert into t (id, a, b) select i, 0, 0 from generate_series(1001, 20990) i; analyze t";
    database.client().await.batch_execute(sql).await.unwrap();
    database
}

#[tokio::test]
async fn case_19_a_bulk_delete_beyond_its_budget_is_told_beforehand_and_rolled_back() {
    let database = with_many_rows().await;
    let folder = guests(&["bulk_delete", "claims"]);
    let before = database.snapshot().await;
    let host = database.host().folder(folder.path());

    let rehearsal = host.rehearse().await.unwrap();
    assert!(!rehearsal.passed);
    let block = rehearsal.block("bulk_delete").unwrap();
    assert_eq!((block.outcome, block.rows["public.t"].deleted), (Rehearsed::Failed, 20_000));
    assert_eq!(block.error.as_ref().unwrap().class, ErrorClass::Budget);
    assert_eq!((block.statements[0].rows, block.statements[0].estimate.unwrap().rows), (Some(20_000), 20_000));
    let next = rehearsal.block("claims").unwrap();
    assert_eq!((next.outcome, next.message.as_deref()), (Rehearsed::NotTried, Some("bulk_delete failed before it")));
    assert_eq!(database.snapshot().await, before);
    let (code, table) = plan(&database, folder.path(), &["--run"]);
    assert!(code == Some(1) && table.contains("20000 deleted"), "{table}");

    let report = failed(host.boot().await);
    let error = report.block("bulk_delete").unwrap().error.as_ref().unwrap();
    assert_eq!(error.message, "the block changed 20000 rows, its budget is 10000");
    assert!(error.hint.as_ref().unwrap().contains("raise rows under [budget]"), "{error:?}");
    assert_eq!(database.snapshot().await, before, "rolled back before COMMIT");
}

#[tokio::test]
async fn case_19_a_block_beyond_its_budget_of_statements_is_rolled_back() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let host = database.host().folder(guests(&["many_statements"]).keep());
    let error = host.rehearse().await.unwrap().block("many_statements").unwrap().error.clone().unwrap();
    assert_eq!((error.class, error.statement), (ErrorClass::Budget, Some(6)));
    let report = failed(host.boot().await);
    let error = report.block("many_statements").unwrap().error.as_ref().unwrap();
    assert_eq!((error.class, error.statement), (ErrorClass::Budget, Some(6)));
    assert!(error.message.contains("more than 5 statements"), "{error}");
    assert_eq!(database.snapshot().await, before);
}

#[tokio::test]
async fn case_19_a_block_beyond_its_budget_of_seconds_is_cancelled_and_rolled_back() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let host = database.host().folder(guests(&["takes_long"]).keep());
    let began = Instant::now();
    let rehearsal = host.rehearse().await.unwrap();
    let block = rehearsal.block("takes_long").unwrap();
    assert_eq!(block.error.as_ref().unwrap().class, ErrorClass::Budget);
    assert_eq!((block.statements.len(), block.statements[1].rows), (2, None), "the second one was cut off");
    assert!(block.statements[1].duration_ms > 500.0, "{:?}", block.statements);
    let report = failed(host.boot().await);
    let error = report.block("takes_long").unwrap().error.as_ref().unwrap();
    assert_eq!((error.class, error.statement), (ErrorClass::Budget, Some(2)));
    assert!(error.message.contains("longer than 1 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(database.snapshot().await, before);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn a_rehearsal_puts_off_what_a_boot_would_and_goes_on() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let folder = guests(&["defers", "fails_softly", "needs_soft", "array_parameter"]);
    let rehearsal = database.host().folder(folder.path()).rehearse().await.unwrap();
    assert!(rehearsal.passed, "{rehearsal:#?}");
    let outcome = |id: &str| rehearsal.block(id).unwrap().outcome;
    assert_eq!((outcome("defers"), outcome("fails_softly")), (Rehearsed::Deferred, Rehearsed::Deferred));
    assert_eq!((outcome("needs_soft"), outcome("array_parameter")), (Rehearsed::NotTried, Rehearsed::Applied));
    assert_eq!(database.snapshot().await, before);
}

#[tokio::test]
async fn a_rehearsal_finds_what_does_not_settle() {
    let database = TestDatabase::with_t().await;
    let rehearsal = database.host().folder(guests(&["never_settles"]).path()).rehearse().await.unwrap();
    assert_eq!(rehearsal.block("never_settles").unwrap().error.as_ref().unwrap().class, ErrorClass::Conflict);
    let rehearsal = database.host().folder(guests(&["rule_sets_a", "rule_unsets_a"]).path()).rehearse().await;
    assert!(rehearsal.is_err() || !rehearsal.unwrap().passed);
}

#[tokio::test]
async fn case_20_an_estimate_is_of_the_rows_that_change() {
    let database = with_many_rows().await;
    let rehearsal = database.host().folder(guests(&["estimates"]).path()).rehearse().await.unwrap();
    let statements = &rehearsal.block("estimates").unwrap().statements;
    let expected: Vec<u64> = statements.iter().map(|statement| statement.estimate.unwrap().rows).collect();
    // A subquery that is run first, a WITH query, parameters. The table grows with each change, and the planner guesses by its size.
    assert_eq!(expected.first(), Some(&20_000), "{statements:#?}");
    assert!(expected.len() == 3 && expected.iter().all(|rows| *rows >= 20_000), "{statements:#?}");
    assert!(statements.iter().all(|statement| statement.rows == Some(20_000)), "{statements:#?}");
}
