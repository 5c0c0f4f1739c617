//! Cases from production, each built up on a real server. The numbers are those of the list of cases in docs/CASES.md.

use plinth::{BootError, BootState, ErrorClass, Outcome, PlanProblem, Provider, Report};
use plinth_tests::{TestDatabase, guest, guests, plinth, texts};
use std::{process::Stdio, time::Duration};

/// The report of a boot that failed.
fn failed(booted: Result<Report, BootError>) -> Report {
    match booted {
        Err(BootError::Failed(report)) => *report,
        other => panic!("the boot was to fail in a block: {other:?}"),
    }
}

#[tokio::test]
async fn case_01_blocks_are_found_by_listing_a_folder_and_a_missing_one_is_refused() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["claims", "array_parameter"]);
    let before = database.snapshot().await;
    let host = database.host().folder(folder.path());
    match host.clone().expect(["claims", "0066_left_out_of_the_build"]).boot().await {
        Err(BootError::Plan(error)) => {
            assert_eq!(error.problems(), [PlanProblem::Expected { id: "0066_left_out_of_the_build".into() }]);
            assert!(error.to_string().contains("0066_left_out_of_the_build"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(database.snapshot().await, before);
    let report = host.expect(["claims"]).boot().await.unwrap();
    assert_eq!((report.boot.found, report.boot.ran, report.boot.skipped), (2, 2, 0));
}

#[tokio::test]
async fn case_02_a_missing_column_is_found_before_the_first_statement() {
    let database = TestDatabase::with_t().await;
    let alone = guests(&["claims", "missing_column"]);
    let before = database.snapshot().await;
    let Err(BootError::Plan(error)) = database.host().folder(alone.path()).boot().await else { panic!("the plan was to fail") };
    assert_eq!(
        error.to_string(),
        "missing_column: requires column t.not_there, which does not exist, and no block provides it: is a component missing?"
    );
    assert_eq!(database.snapshot().await, before, "claims, which comes first, did not run either");

    // With its provider there, the order follows from it, although the names sort the other way.
    let both = guests(&["missing_column", "provides_column"]);
    let report = database.host().folder(both.path()).boot().await.unwrap();
    let order: Vec<&str> = report.blocks.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(order, ["provides_column", "missing_column"]);

    // Applied once and removed by somebody since: the error names the block that made it.
    // Another block makes it another set, so that the ledger is not only looked at.
    std::fs::copy(guest("claims"), both.path().join("claims.wasm")).unwrap();
    let client = database.client().await;
    client
        .batch_execute(
            "alter table t drop column not_there; update plinth.blocks set first_applied = null where id = 'missing_column'",
        )
        .await
        .unwrap();
    let Err(BootError::Plan(error)) = database.host().folder(both.path()).boot().await else { panic!("the plan was to fail") };
    let [PlanProblem::Missing { provider: Some(Provider::AppliedBefore(provider)), .. }] = error.problems() else {
        panic!("{error}")
    };
    assert_eq!(*provider, "provides_column");
}

#[tokio::test]
async fn case_06_a_write_outside_the_declared_columns_is_refused_or_rolled_back() {
    let database = TestDatabase::with_t().await;
    let client = database.client().await;
    client
        .batch_execute(
            "create table other (n int); insert into other values (0);
             create function touch_other() returns void language sql as 'update other set n = n + 1'",
        )
        .await
        .unwrap();
    let before = database.snapshot().await;

    // Statically, before it is sent: the rule also writes updated_at.
    let report = failed(database.host().folder(guests(&["writes_elsewhere"]).path()).boot().await);
    let error = report.block("writes_elsewhere").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Refused);
    assert!(error.message.contains("add \"t.updated_at\" to writes"), "{error}");
    assert_eq!(database.snapshot().await, before);

    // At run time, by the database's own counters: a function that writes where nobody can see it.
    let report = failed(database.host().application("function").folder(guests(&["writes_by_function"]).path()).boot().await);
    let error = report.block("writes_by_function").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Effects);
    assert!(error.message.contains("other.*") && error.hint.as_ref().unwrap().contains("\"other.*\""), "{error:?}");
    assert_eq!(database.snapshot().await, before);

    // A trigger of somebody else's, too.
    client
        .batch_execute(
            "create function audit() returns trigger language plpgsql as $$ begin update other set n = n + 1; return new; end $$;
             insert into t (id, a) values (1, 0);
             create trigger audit after update on t for each row execute function audit()",
        )
        .await
        .unwrap();
    let before = database.snapshot().await;
    let report = failed(database.host().application("trigger").folder(guests(&["array_parameter"]).path()).boot().await);
    assert!(report.failure().unwrap().contains("changed rows of other.*"), "{report:?}");
    assert_eq!(database.snapshot().await, before);
}

#[tokio::test]
async fn case_07_a_kill_between_two_statements_leaves_the_state_before_or_after() {
    let folder = guests(&["three_writes"]);
    // Before, between and after the writes: the boot takes about 1.2 s once it runs.
    for wait in [150, 450, 750, 1050] {
        let database = TestDatabase::empty().await;
        database
            .client()
            .await
            .batch_execute("create table t (id int primary key, a int, b int, updated_at timestamptz)")
            .await
            .unwrap();
        let mut child = plinth()
            .args(["run", "--blocks"])
            .arg(folder.path())
            .args(["--database-url", &database.url])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The clock starts when the block's first statement is seen on the server.
        let seen = format!(
            "select count(*) from pg_stat_activity where datname = '{}' and query like '%pg_sleep%' and application_name like 'plinth%'",
            database.name
        );
        for _ in 0..400 {
            if database.number(&seen).await > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(database.left_behind().await, 0);
        let rows = database.number("select count(*) from t").await;
        let applied =
            database.number("select count(*) from plinth.blocks where id = 'three_writes' and first_applied is not null").await;
        assert!((rows, applied) == (0, 0) || (rows, applied) == (3, 1), "after {wait} ms: {rows} rows, applied {applied}");

        let report = database.host().folder(folder.path()).boot().await.unwrap();
        assert_eq!(report.boot.state, BootState::Complete);
        assert_eq!(database.number("select count(*) from t").await, 3);
        let interrupted = database.number("select count(*) from plinth.boots where state = 'running'").await;
        assert_eq!(interrupted, 0, "the killed boot is told as interrupted");
    }
}

#[tokio::test]
async fn case_08_two_replicas_at_once_apply_once_and_both_start() {
    let database = TestDatabase::empty().await;
    database
        .client()
        .await
        .batch_execute("create table t (id int primary key, a int, b int, updated_at timestamptz)")
        .await
        .unwrap();
    let folder = guests(&["once", "three_writes"]);
    let (one, two) = (database.host().folder(folder.path()), database.host().folder(folder.path()));
    let (first, second) = tokio::join!(one.boot(), two.boot());
    let (first, second) = (first.unwrap(), second.unwrap());
    let outcomes = |report: &Report| report.block("once").unwrap().outcome;
    let mut both = [outcomes(&first), outcomes(&second)];
    both.sort_by_key(|outcome| *outcome != Outcome::Applied);
    assert_eq!(both, [Outcome::Applied, Outcome::Joined]);
    assert_eq!(database.number("select count(*) from t").await, 3);
    assert_eq!(database.number("select count(*) from plinth.outcomes where outcome = 'applied'").await, 2);
}

#[tokio::test]
async fn case_09_the_timeouts_are_the_hosts_and_in_force() {
    let database = TestDatabase::with_t().await;
    let blocker = database.client().await;
    blocker.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
    let limits = plinth::Limits { lock: Duration::from_millis(300), ..plinth::Limits::default() };
    let host = database.host().limits(limits).retry_for(Duration::ZERO);
    let report = failed(host.folder(guests(&["array_parameter"]).path()).boot().await);
    let error = report.block("array_parameter").unwrap().error.clone().unwrap();
    assert_eq!(error.sqlstate.as_deref(), Some("55P03"), "{error:?}");
    blocker.batch_execute("rollback").await.unwrap();

    let limits = plinth::Limits { statement: Duration::from_millis(300), ..plinth::Limits::default() };
    let report = failed(database.host().limits(limits).application("slow").folder(guests(&["slow"]).path()).boot().await);
    assert_eq!(report.block("slow").unwrap().error.as_ref().unwrap().sqlstate.as_deref(), Some("57014"));
}

#[tokio::test]
async fn case_10_a_boot_with_nothing_pending_takes_no_table_lock() {
    let database = TestDatabase::production_like().await;
    let folder = plinth_tests::copy_of_blocks();
    // Migrations only: a rule has to read its table at every boot.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ["0062_", "0063_invoice", "0064_", "0066_"].iter().any(|rule| name.starts_with(rule)) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let host = database.host().folder(folder.path());
    host.boot().await.unwrap();

    let blocker = database.client().await;
    let tables = texts(&blocker, "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname not in ('pg_catalog', 'information_schema', 'plinth')").await;
    assert!(tables.len() >= 5);
    blocker.batch_execute(&format!("begin; lock table {} in access exclusive mode", tables.join(", "))).await.unwrap();
    let boots = database.number("select count(*) from plinth.boots").await;
    let report = tokio::time::timeout(Duration::from_secs(5), host.boot()).await.expect("nothing is waited for").unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    assert_eq!(report.boot.round_trips, 1, "one look is all");
    assert!(report.blocks.iter().all(|block| block.outcome == Outcome::Skipped));
    assert_eq!(database.number("select count(*) from plinth.boots").await, boots, "and nothing is written");
    blocker.batch_execute("rollback").await.unwrap();
}

#[tokio::test]
async fn case_11_a_deferral_is_counted_and_becomes_a_failure_after_the_blocks_limit() {
    let database = TestDatabase::with_t().await;
    let host = database.host().folder(guests(&["defers"]).keep());
    let before = database.snapshot().await;
    for count in 1..=2 {
        let report = host.boot().await.unwrap();
        assert_eq!(report.boot.state, BootState::Deferred);
        let block = report.block("defers").unwrap();
        assert_eq!((block.outcome, block.message.as_deref()), (Outcome::Deferred, Some("not before Monday")));
        assert_eq!(host.status().await.unwrap().blocks[0].deferrals, count);
        assert!(host.status().await.unwrap().is_waiting());
    }
    let report = failed(host.boot().await);
    let error = report.block("defers").unwrap().error.as_ref().unwrap();
    assert!(error.message.contains("3 times in a row, 2 are allowed: not before Monday"), "{error}");
    assert_eq!(database.snapshot().await, before, "what it wrote before it put its work off never stays");
}

#[tokio::test]
async fn case_13_a_parameter_of_the_wrong_type_is_named_and_an_array_is_an_array() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let report = failed(database.host().folder(guests(&["wrong_parameter"]).path()).boot().await);
    let error = report.block("wrong_parameter").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Value);
    assert_eq!(error.message, "parameter $2: a text was given, the statement wants int4");
    assert_eq!(error.statement, Some(1));
    assert_eq!(database.snapshot().await, before);

    database.client().await.batch_execute("insert into t (id, a) values (1, 0), (2, 0), (3, 0), (4, 0)").await.unwrap();
    let report = database.host().application("array").folder(guests(&["array_parameter"]).path()).boot().await.unwrap();
    assert_eq!(report.block("array_parameter").unwrap().rows["public.t"].updated, 3);
    assert_eq!(database.number("select sum(id) from t where a = 1").await, 6);
}

#[tokio::test]
async fn case_14_rows_are_what_the_database_counted_and_not_what_the_block_claims() {
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("insert into t (id, a) values (1, 5), (2, 5)").await.unwrap();
    let report = database.host().folder(guests(&["claims"]).path()).boot().await.unwrap();
    let block = report.block("claims").unwrap();
    assert_eq!(block.message.as_deref(), Some("5 rows updated"), "what it says is a text");
    assert_eq!((block.rows["public.t"].updated, block.rows["public.t"].inserted), (2, 0));
    let kept = database.text("select rows -> 'public.t' ->> 'updated' from plinth.outcomes where block = 'claims'").await;
    assert_eq!(kept.as_deref(), Some("2"), "and the ledger has the same");
}

#[tokio::test]
async fn case_14_rows_of_a_sub_step_that_was_undone_are_no_effect() {
    let database = TestDatabase::empty().await;
    database
        .client()
        .await
        .batch_execute("create table t (id int primary key, a int, b int, updated_at timestamptz)")
        .await
        .unwrap();
    let report = database.host().folder(guests(&["writes_by_savepoint"]).path()).boot().await.unwrap();
    assert_eq!(report.block("writes_by_savepoint").unwrap().rows["public.t"].inserted, 1);
    assert_eq!(database.number("select count(*) from t").await, 1);
}

#[tokio::test]
async fn case_15_a_null_that_breaks_a_rule_is_told_with_statement_table_and_column() {
    let database = TestDatabase::empty().await;
    let table = "create table t (id int primary key, a int, b int not null, updated_at timestamptz); insert into t (id, a, b) values (7, 1, 0), (8, null, 0)";
    database.client().await.batch_execute(table).await.unwrap();
    let before = database.snapshot().await;
    let host = database.host().folder(guests(&["null_source", "claims"]).keep());
    let report = failed(host.boot().await);
    let block = report.block("null_source").unwrap();
    let error = block.error.as_ref().unwrap();
    assert_eq!(block.outcome, Outcome::Failed);
    assert_eq!(
        (error.class, error.sqlstate.as_deref(), error.object.as_deref()),
        (ErrorClass::Database, Some("23502"), Some("t.b"))
    );
    assert_eq!(error.statement, Some(1));
    assert!(error.sql.as_ref().unwrap().starts_with("update t set b = a"), "{error}");
    assert_eq!(database.snapshot().await, before, "nothing of the block stays");
    assert_eq!(report.block("claims").unwrap().outcome, Outcome::Applied, "what was committed before it stays, and is told");
    let status = host.status().await.unwrap();
    assert!(status.is_failed());
    let kept = status.blocks.iter().find(|block| block.id == "null_source").unwrap();
    assert_eq!(kept.error.as_ref().unwrap()["sqlstate"], "23502");
}

#[tokio::test]
async fn case_16_a_migration_runs_once_whatever_an_operator_does_afterwards() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let host = database.host().folder(folder.path());
    assert_eq!(host.boot().await.unwrap().block("once").unwrap().outcome, Outcome::Applied);
    database.client().await.batch_execute("update t set a = 0").await.unwrap();
    let before = database.snapshot().await;
    // A new boot with another set, so that the ledger is read and not only looked at.
    std::fs::copy(guest("claims"), folder.path().join("claims.wasm")).unwrap();
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("once").unwrap().outcome, Outcome::Skipped);
    assert_eq!(database.snapshot().await, before, "the operator's decision stands");
}

#[tokio::test]
async fn case_17_identity_is_the_id_in_the_component() {
    let database = TestDatabase::with_t().await;
    // Two files with one id: refused with both paths.
    let folder = guests(&["once", "once_changed"]);
    let Err(error @ BootError::Load(_)) = database.host().folder(folder.path()).boot().await else { panic!("to be refused") };
    let text = error.to_string();
    assert!(text.contains("once_changed.wasm: has the id once, which") && text.contains("once.wasm has as well"), "{text}");

    // Applied, then changed: reported, and not run again.
    std::fs::remove_file(folder.path().join("once_changed.wasm")).unwrap();
    let host = database.host().folder(folder.path());
    host.boot().await.unwrap();
    std::fs::copy(guest("once_changed"), folder.path().join("once.wasm")).unwrap();
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("once").unwrap().outcome, Outcome::Skipped);
    assert!(report.boot.notes[0].starts_with("once: the component changed after it was applied"), "{:?}", report.boot.notes);
    assert_eq!(database.number("select max(a) from t").await, 1);

    // Renamed: the history moves along, and it does not run a second time.
    std::fs::remove_file(folder.path().join("once.wasm")).unwrap();
    std::fs::copy(guest("renamed"), folder.path().join("renamed.wasm")).unwrap();
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("renamed").unwrap().outcome, Outcome::Skipped);
    assert!(report.blocks.iter().all(|block| block.outcome != Outcome::Retired), "{report:?}");
    assert_eq!(database.number("select max(a) from t").await, 1);
    let history = database.number("select count(*) from plinth.outcomes where block = 'renamed' and outcome = 'applied'").await;
    let from = database.text("select renamed_from from plinth.blocks where id = 'renamed'").await;
    assert_eq!((history, from.as_deref()), (1, Some("once")));
}

#[tokio::test]
async fn case_04_rules_that_fight_are_told_with_both_ids_column_and_rows_and_the_data_stays() {
    // Both name their rows, so that planning lets them through, and both mean all of them.
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("update t set a = 1").await.unwrap();
    let before = database.snapshot().await;
    let report = failed(database.host().folder(guests(&["rule_sets_a", "rule_unsets_a"]).path()).boot().await);
    let error = report.block("rule_unsets_a").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Conflict);
    assert_eq!(
        error.message,
        "the rules rule_sets_a and rule_unsets_a fight over t.a: rule_unsets_a changed 10 rows, after which rule_sets_a changes 10 rows again"
    );
    assert_eq!(database.snapshot().await, before, "the data stays as the failing rule found it");
}

#[tokio::test]
async fn a_ledger_of_a_newer_host_is_refused() {
    let database = TestDatabase::with_t().await;
    let host = database.host().folder(guests(&["claims"]).keep());
    host.boot().await.unwrap();
    database
        .client()
        .await
        .batch_execute("update plinth.ledger set format = 99; update plinth.look set format = 99")
        .await
        .unwrap();
    let error = host.boot().await.unwrap_err();
    assert!(error.to_string().contains("has format 99, this host knows 5: a newer host made it"), "{error}");
}

#[tokio::test]
async fn a_ledger_of_format_3_is_brought_to_this_one() {
    let database = TestDatabase::with_t().await;
    let host = database.host().folder(guests(&["claims"]).keep());
    assert_eq!(host.boot().await.unwrap().boot.ran, 1);
    let as_it_was = "alter table plinth.ledger add complete jsonb not null default '{}';
                     update plinth.ledger set format = 3, complete = (select jsonb_build_object(application,
                        jsonb_build_object('boot', boot, 'digest', digest)) from plinth.look where application <> '');
                     drop table plinth.look; alter table plinth.blocks drop column recall";
    database.client().await.batch_execute(as_it_was).await.unwrap();
    assert_eq!(host.boot().await.unwrap().boot.ran, 0);
    let format = "select count(*) from plinth.ledger l join plinth.look using (format) where format = 5 and application = 'api'";
    assert_eq!(database.number(format).await, 1);
    assert_eq!(host.boot().await.unwrap().boot.round_trips, 1);
}

#[tokio::test]
async fn case_03_the_removal_of_a_sole_provider_is_refused_and_that_of_a_rule_is_not() {
    let database = TestDatabase::production_like().await;
    let folder = plinth_tests::copy_of_blocks();
    let host = database.host().folder(folder.path());
    host.boot().await.unwrap();
    let before = database.snapshot().await;
    std::fs::remove_file(folder.path().join("0063_scheduled_testing_eligible.wasm")).unwrap();
    for error in [host.plan().await.unwrap_err(), host.boot().await.unwrap_err()] {
        let text = error.to_string();
        assert!(text.starts_with("0063_scheduled_testing_eligible: its component is gone, and it was the only one to provide column test_suites.scheduled_testing_eligible, which 0066_reconcile_eligibility_from_cost requires"), "{text}");
    }
    assert_eq!(database.snapshot().await, before);
    // With the rule gone as well, nothing needs it any more; or somebody accepts it.
    let accepted = host.clone().accept_removal(["0063_scheduled_testing_eligible"]).plan().await.unwrap();
    assert_eq!(accepted.retired, ["0063_scheduled_testing_eligible"]);
    std::fs::remove_file(folder.path().join("0066_reconcile_eligibility_from_cost.wasm")).unwrap();
    assert_eq!(host.boot().await.unwrap().boot.state, BootState::Complete);
    assert_eq!(database.snapshot().await, before);
}

#[tokio::test]
async fn case_04_two_rules_that_own_one_column_are_refused_at_planning() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let error = database.host().folder(guests(&["writes_elsewhere", "rule_sets_a"]).path()).boot().await.unwrap_err();
    assert!(
        error.to_string().starts_with("rule_sets_a, writes_elsewhere: both rules write t.a: let one of them own it"),
        "{error}"
    );
    assert_eq!(database.snapshot().await, before);
}

#[tokio::test]
async fn case_04_a_rule_that_finds_work_in_the_second_pass_is_told() {
    let database = TestDatabase::with_t().await;
    let report = failed(database.host().folder(guests(&["never_settles"]).path()).boot().await);
    let error = report.block("never_settles").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Conflict);
    assert_eq!(
        error.message,
        "the rule does not converge: run again at the end of the boot, it changes 10 rows of t.b once more"
    );
    assert_eq!(database.number("select max(b) from t").await, 1, "the second pass is undone");

    // One that ran too early, since it does not say what it reads.
    let report = failed(database.host().application("early").folder(guests(&["copies_b", "counts_b"]).path()).boot().await);
    let error = report.block("copies_b").unwrap().error.as_ref().unwrap();
    assert!(
        error.message.starts_with(
            "the rules copies_b and counts_b fight over t.a: run again at the end of the boot, copies_b changes 10 rows"
        ),
        "{error}"
    );
    assert!(error.hint.as_ref().unwrap().contains("declare that under reads"), "{error:?}");
}

#[tokio::test]
async fn case_05_a_new_row_converges_in_one_boot() {
    let database = TestDatabase::production_like().await;
    let host = database.host().folder(plinth_tests::blocks());
    host.boot().await.unwrap();
    let insert =
        "insert into test_suites (capability_slug, test_name, test_type, input, validation_rules, scheduled_testing_eligible)
                  values ('pep-check', 'new', 'known_answer', '{}', '[]', true)";
    database.client().await.batch_execute(insert).await.unwrap();
    host.boot().await.unwrap();
    let found = database
        .text("select external_cost_cents || ' ' || scheduled_testing_eligible from test_suites where test_name = 'new'")
        .await;
    assert_eq!(found.as_deref(), Some("1 false"), "cost first, then what follows from it");
}

#[tokio::test]
async fn case_11_a_failure_that_may_wait_is_put_off_and_those_that_need_the_block_wait() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["fails_softly", "needs_soft", "array_parameter"]);
    let host = database.host().folder(folder.path());
    let report = host.boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Deferred);
    let soft = report.block("fails_softly").unwrap();
    assert_eq!((soft.outcome, soft.error.as_ref().unwrap().sqlstate.as_deref()), (Outcome::Deferred, Some("42P01")));
    let needs = report.block("needs_soft").unwrap();
    assert_eq!(
        (needs.outcome, needs.message.as_deref()),
        (Outcome::Skipped, Some("waits for fails_softly, which put its work off"))
    );
    assert_eq!(report.block("array_parameter").unwrap().outcome, Outcome::Applied, "the others run");
    let report = failed(host.boot().await);
    assert_eq!(report.block("fails_softly").unwrap().outcome, Outcome::Failed, "one deferral is allowed");
}

#[tokio::test]
async fn case_17_a_changed_component_is_refused_or_run_again_if_its_manifest_says_so() {
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    let host = database.host().folder(folder.path());
    host.boot().await.unwrap();
    std::fs::copy(guest("once_refuse"), folder.path().join("once.wasm")).unwrap();
    let error = host.boot().await.unwrap_err();
    assert!(
        error.to_string().starts_with("once: the component changed after it was applied, and its manifest says to refuse that"),
        "{error}"
    );
    std::fs::copy(guest("once_rerun"), folder.path().join("once.wasm")).unwrap();
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("once").unwrap().outcome, Outcome::Applied);
    assert_eq!(database.number("select max(a) from t").await, 11);
    assert_eq!(host.boot().await.unwrap().boot.ran, 0, "and then it is the one that was applied");
}

#[tokio::test]
async fn case_23_an_older_set_starts_on_a_newer_ledger_and_says_what_it_does_not_know() {
    let database = TestDatabase::with_t().await;
    let old = guests(&["claims"]);
    let new = guests(&["claims", "array_parameter", "provides_column"]);
    database.host().folder(old.path()).boot().await.unwrap();
    database.host().folder(new.path()).boot().await.unwrap();
    let report = database.host().folder(old.path()).boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    assert_eq!(
        report.boot.notes,
        ["this set of components was booted before; the ledger knows more: array_parameter, provides_column"]
    );
    let again = database.host().folder(new.path()).boot().await.unwrap();
    assert_eq!(again.boot.ran, 0, "forward again, nothing runs twice");
}

#[tokio::test]
async fn what_was_begun_outside_a_transaction_is_not_dropped_without_a_word() {
    let database = TestDatabase::with_t().await;
    failed(database.host().folder(guests(&["outside_writes"]).path()).boot().await);
    let without = database.host().folder(guests(&["claims"]).keep());
    let error = without.boot().await.unwrap_err();
    assert!(
        error.to_string().starts_with("outside_writes: its component is gone, and its work was begun or put off and never done"),
        "{error}"
    );
    without.accept_removal(["outside_writes"]).boot().await.unwrap();
}
