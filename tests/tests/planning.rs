//! Definitions: what blocks require and provide, as the catalog has it. The numbers are those of docs/CASES.md.

use plinth::{Adoption, Baseline, BootError, BootState, ErrorClass, Outcome, PlanProblem, Report, ReportError};
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

    // Changed since: the block's own look at the names sees nothing, the definitions do.
    assert!(host.verify().await.unwrap().holds());
    client.batch_execute("drop index w_key; create index w_key on w (state, amount desc) where amount > 0").await.unwrap();
    let found = host.verify().await.unwrap();
    let error = found.blocks[0].error.as_ref().unwrap();
    assert_eq!((error.class, found.holds()), (ErrorClass::Definition, false));
    assert_eq!(error.message, "the block provides index w_key unique, but it is not unique");
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

/// A database as the old system left it: its tables, its data, and what its blocks had done by then.
async fn of_the_old_system(last_index: &str) -> TestDatabase {
    let database = TestDatabase::production_like().await;
    let by_hand = "alter table test_run_log add actual_cost_cents integer not null default 0;
        alter table transactions add integrity_hash varchar(128), add previous_hash varchar(128), add legal_hold bool not null default false;
        create index transactions_integrity_hash_idx on transactions (integrity_hash);
        alter table capabilities add marketplace_eligible bool not null default true, add marketplace_eligible_reason text;
        alter table test_suites add scheduled_testing_eligible bool not null default false;";
    database.client().await.batch_execute(&format!("{by_hand} {last_index}")).await.unwrap();
    database
}

fn results(baseline: &Baseline, result: Adoption) -> Vec<&str> {
    baseline.blocks.iter().filter(|block| block.result == result).map(|block| block.id.as_str()).collect()
}

const INDEX: &str = "0031_test_results_suite_executed_idx";
const CLEANUP: &str = "0065_leaky_caps_cleanup";

#[tokio::test]
async fn case_21_an_existing_database_is_adopted_by_what_its_blocks_provide() {
    let database =
        of_the_old_system("create index test_results_suite_executed_idx on test_results (test_suite_id, executed_at)").await;
    let host = database.host().folder(blocks()).build("first");
    let before = database.snapshot().await;

    // One index runs the other way, and one block leaves nothing to look at: both stay pending, with the reason.
    let found = host.baseline(&[]).await.unwrap();
    assert!(!found.is_complete());
    assert_eq!(results(&found, Adoption::Differs), [INDEX]);
    assert_eq!(results(&found, Adoption::Unchecked), [CLEANUP]);
    assert_eq!(
        results(&found, Adoption::Adopted),
        [
            "0000_baseline",
            "0029_actual_cost_cents",
            "0030_compliance_columns",
            "0060_marketplace_eligible",
            "0063_scheduled_testing_eligible"
        ]
    );
    let index = found.blocks.iter().find(|block| block.id == INDEX).unwrap();
    assert_eq!(
        index.differences,
        ["index test_results_suite_executed_idx on (test_suite_id, executed_at DESC), but it is on (test_suite_id, executed_at)"]
    );
    assert_eq!(database.snapshot().await, before, "nothing of the database was touched");
    let status = host.status().await.unwrap();
    let adopted = status.blocks.iter().find(|block| block.id == "0029_actual_cost_cents").unwrap();
    assert_eq!((adopted.outcome.as_str(), adopted.message.as_deref()), ("skipped", Some("adopted by baseline")));
    assert!(adopted.first_applied.is_some() && adopted.last_changed.is_none());
    assert!(status.pending.iter().any(|id| id == INDEX) && !status.pending.iter().any(|id| id == "0000_baseline"));

    // Corrected by hand, and told of the one that cannot be seen: nothing is pending any more.
    let client = database.client().await;
    client
        .batch_execute(
            "drop index test_results_suite_executed_idx;
             create index test_results_suite_executed_idx on test_results (test_suite_id, executed_at desc)",
        )
        .await
        .unwrap();
    let found = host.baseline(&[CLEANUP]).await.unwrap();
    assert!(found.is_complete(), "{found:#?}");
    assert_eq!((results(&found, Adoption::Adopted), results(&found, Adoption::Assumed)), (vec![INDEX], vec![CLEANUP]));
    assert_eq!(results(&found, Adoption::Known).len(), 5);
    let again = host.baseline(&[]).await.unwrap();
    assert!(again.is_complete() && again.boot.is_none(), "there is nothing left to record");

    let report = host.boot().await.unwrap();
    assert_eq!((report.boot.state, report.boot.skipped), (BootState::Complete, 7));
    let ran: Vec<&str> =
        report.blocks.iter().filter(|block| block.outcome != Outcome::Skipped).map(|block| block.id.as_str()).collect();
    assert_eq!(
        ran,
        ["0062_paid_vendor_costs", "0063_invoice_extract_cost", "0064_always_llm_costs", "0066_reconcile_eligibility_from_cost"]
    );
    assert!(report.boot.notes.is_empty(), "the components are those that were adopted: {:?}", report.boot.notes);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn case_21_nothing_is_adopted_where_nothing_is_and_an_unknown_id_is_refused() {
    let database = TestDatabase::empty().await;
    let host = database.host().folder(blocks());
    let Err(BootError::Plan(error)) = host.baseline(&["0064_always_llm_costs", "typo"]).await else { panic!("to be refused") };
    assert_eq!(error.problems().len(), 2, "a rule is no migration either: {error}");
    assert_eq!(database.number("select count(*) from pg_namespace where nspname = 'plinth'").await, 0);

    let found = host.baseline(&[]).await.unwrap();
    assert!(found.boot.is_none() && results(&found, Adoption::Adopted).is_empty());
    // A baseline that found nothing is in nobody's way.
    let report = host.boot().await.unwrap();
    assert_eq!((report.boot.state, report.boot.ran), (BootState::Complete, 11));
}

#[tokio::test]
async fn case_21_the_command_lists_what_did_not_match_and_says_so_by_its_exit_code() {
    let database = of_the_old_system("select").await;
    let run = |more: &[&str]| {
        let mut command = plinth();
        command.args(["baseline", "--blocks"]).arg(blocks()).args(["--database-url", &database.url]).args(more);
        command.output().unwrap()
    };
    let output = run(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text.contains("5 recorded as applied, 0 applied earlier, 2 pending"), "{text}");

    let output = run(&["--format", "json", "--assume", CLEANUP]);
    assert_eq!(output.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let block = json["blocks"].as_array().unwrap().iter().find(|block| block["id"] == INDEX).unwrap();
    assert_eq!(block["result"], "differs");
    assert_eq!(block["differences"][0], "index test_results_suite_executed_idx, but it does not exist");

    let create = "create index test_results_suite_executed_idx on test_results (test_suite_id, executed_at desc)";
    database.client().await.batch_execute(create).await.unwrap();
    assert_eq!(run(&[]).status.code(), Some(0));
}
