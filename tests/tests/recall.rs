//! A rule that only asked is not run again as long as it is answered as before.

use plinth::{BlockReport, BootError, ErrorClass, Event, Host, Outcome, Report};
use plinth_tests::{TestDatabase, guests};
use std::{fs, path::Path};

/// A table `t`, and what the rules ask of it.
async fn asking(questions: &[(&str, &str)]) -> TestDatabase {
    let database = TestDatabase::with_t().await;
    let client = database.client().await;
    client.batch_execute("create table questions (block text primary key, sql text not null)").await.unwrap();
    for (block, sql) in questions {
        client.execute("insert into questions values ($1, $2)", &[block, sql]).await.unwrap();
    }
    database
}

const ROWS: &str = "select count(*)::text from t";

async fn boot(host: Host, folder: &Path) -> (Report, usize) {
    let host = host.folder(folder);
    let mut events = host.events();
    let report = host.boot().await.unwrap();
    let mut statements = 0;
    while let Ok(event) = events.try_recv() {
        statements += usize::from(matches!(event, Event::Statement { .. }));
    }
    (report, statements)
}

fn heard(block: &BlockReport) -> &str {
    &block.journal.first().unwrap().message
}

#[tokio::test]
async fn a_rule_that_only_asked_is_recalled_until_it_is_answered_otherwise() {
    let database = asking(&[("asks", ROWS)]).await;
    let folder = guests(&["asks"]);
    let (first, statements) = boot(database.host(), folder.path()).await;
    let run = first.block("asks").unwrap();
    assert_eq!((run.outcome, run.recalled, statements), (Outcome::Unchanged, false, 3));
    let (second, statements) = boot(database.host(), folder.path()).await;
    let recalled = second.block("asks").unwrap();
    assert_eq!((recalled.outcome, recalled.recalled, statements), (Outcome::Unchanged, true, 0), "no block sent anything");
    assert_eq!((&recalled.journal, recalled.statements), (&run.journal, 3), "it says what it said");
    assert_eq!(second.boot.ran, 1);
    let rows = "select count(*) from plinth.outcomes where block = 'asks' and outcome = 'unchanged' and statements = 3";
    assert_eq!(database.number(rows).await, 2, "both boots are in the ledger");
    assert!(second.boot.round_trips < first.boot.round_trips, "{} and {}", first.boot.round_trips, second.boot.round_trips);

    database.client().await.batch_execute("insert into t (id, a) values (77, 1)").await.unwrap();
    let (third, _) = boot(database.host(), folder.path()).await;
    let run = third.block("asks").unwrap();
    assert!(!run.recalled && heard(run) != heard(first.block("asks").unwrap()), "{run:?}");
    assert!(boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
}

#[tokio::test]
async fn a_rule_is_run_if_one_before_it_changed_something_after_all_were_asked() {
    let ones = "select count(*)::text from t where a = 1";
    let database = asking(&[("asks", "select 'x'"), ("asks_after", ones)]).await;
    let folder = guests(&["asks", "rule_sets_a", "asks_after"]);
    for _ in 0..3 {
        boot(database.host(), folder.path()).await;
    }
    // It is answered as before until `rule_sets_a` has repaired this.
    database.client().await.batch_execute("insert into t (id, a) values (77, 5)").await.unwrap();
    let (report, _) = boot(database.host(), folder.path()).await;
    let recalled = |id: &str| report.block(id).unwrap().recalled;
    assert_eq!(report.block("rule_sets_a").unwrap().outcome, Outcome::Applied);
    assert_eq!((recalled("asks"), recalled("rule_sets_a"), recalled("asks_after")), (true, false, false), "{report:?}");
    let now: i64 = database.number(ones).await;
    assert_eq!(heard(report.block("asks_after").unwrap()), format!("heard {now}"));
}

#[tokio::test]
async fn a_rule_whose_question_a_look_may_not_ask_is_run_and_holds_up_no_other() {
    let database = asking(&[("asks", "select nextval('numbers')::text"), ("asks_after", ROWS)]).await;
    database.client().await.batch_execute("create sequence numbers").await.unwrap();
    let folder = guests(&["asks", "rule_sets_a", "asks_after"]);
    let mut heard_before = String::new();
    for number in 1..=3 {
        let (report, _) = boot(database.host(), folder.path()).await;
        let asks = report.block("asks").unwrap();
        assert!(!asks.recalled && heard(asks) != heard_before, "{asks:?}");
        heard(asks).clone_into(&mut heard_before);
        assert_eq!(report.block("asks_after").unwrap().recalled, number > 1, "boot {number}");
    }
}

#[tokio::test]
async fn no_rows_are_the_same_answer_only_with_the_same_columns() {
    let database = asking(&[("asks", "select * from nobody")]).await;
    database.client().await.batch_execute("create table nobody (name text)").await.unwrap();
    let folder = guests(&["asks"]);
    assert!(!boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
    assert!(boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
    database.client().await.batch_execute("alter table nobody rename name to title").await.unwrap();
    assert!(!boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
}

#[tokio::test]
async fn an_answer_that_has_grown_beyond_all_limits_is_the_rules_failure_and_costs_no_connection() {
    let database = asking(&[("asks", "select lpad('', 1000, 'x') from t"), ("asks_after", ROWS)]).await;
    let folder = guests(&["asks", "rule_sets_a", "asks_after"]);
    for _ in 0..3 {
        boot(database.host(), folder.path()).await;
    }
    let rows = "insert into t (id, a) select i, 1 from generate_series(1000, 101000) i";
    database.client().await.batch_execute(rows).await.unwrap();
    let Err(BootError::Failed(report)) = database.host().folder(folder.path()).boot().await else {
        panic!("it has read too much")
    };
    let error = report.block("asks").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Budget, "{error:?}");
    assert!(report.boot.retries.is_empty(), "{report:?}");
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn an_asking_that_costs_the_connection_is_not_tried_again_in_the_same_boot() {
    let database = asking(&[("asks", "select looked()"), ("asks_after", ROWS)]).await;
    let client = database.client().await;
    client.batch_execute("create function looked() returns text language sql as $$ select 'x' $$").await.unwrap();
    let folder = guests(&["asks", "asks_after"]);
    boot(database.host(), folder.path()).await;
    assert!(boot(database.host(), folder.path()).await.0.blocks.iter().all(|block| block.recalled));
    // All that is asked in one go is read-only; the work of a rule is not.
    let breaks = "create or replace function looked() returns text language plpgsql as $$
         begin
             if current_setting('transaction_read_only') = 'on' then
                 perform pg_terminate_backend(pg_backend_pid());
             end if;
             return 'x';
         end $$";
    client.batch_execute(breaks).await.unwrap();
    let (report, _) = boot(database.host(), folder.path()).await;
    assert_eq!(report.boot.retries.len(), 1, "{report:?}");
    assert!(report.blocks.iter().all(|block| block.outcome == Outcome::Unchanged && !block.recalled), "{report:?}");
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn another_component_of_a_rule_is_run_whatever_the_answers() {
    let database = asking(&[("asks", ROWS)]).await;
    let folder = guests(&["asks"]);
    boot(database.host(), folder.path()).await;
    let file = folder.path().join("asks.wasm");
    let mut bytes = fs::read(&file).unwrap();
    // A custom section: seven bytes, of which the name has six.
    bytes.extend_from_slice(b"\x00\x07\x06padded");
    fs::write(&file, bytes).unwrap();
    assert!(!boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
    assert!(boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
}

#[tokio::test]
async fn what_the_ledger_says_was_asked_is_held_against_the_policy_before_it_is_sent() {
    let database = asking(&[("asks", ROWS)]).await;
    let folder = guests(&["asks"]);
    boot(database.host(), folder.path()).await;
    let client = database.client().await;
    // What a transaction that only reads does not keep from anybody.
    let other = database.client().await;
    let process: i32 = other.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let ends = format!("select pg_terminate_backend({process})");
    for statement in [&*ends, "delete from t", "select 1; delete from t", "commit"] {
        let sql = "update plinth.blocks set recall = jsonb_set(recall, '{asked,0,sql}', to_jsonb($1::text))";
        client.execute(sql, &[&statement]).await.unwrap();
        let before = database.number("select count(*) from t").await;
        let (report, _) = boot(database.host(), folder.path()).await;
        assert!(!report.block("asks").unwrap().recalled, "{statement}");
        assert_eq!(database.number("select count(*) from t").await, before, "{statement}");
    }
    other.simple_query("select 1").await.expect("its process was not ended");
    // What is no JSON of ours is no reason to fail.
    client.execute("update plinth.blocks set recall = '[7]'", &[]).await.unwrap();
    assert!(!boot(database.host(), folder.path()).await.0.block("asks").unwrap().recalled);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn parameters_are_not_kept_so_a_rule_that_has_some_is_run() {
    let database = TestDatabase::production_like().await;
    let host = || database.host().folder(plinth_tests::blocks());
    for _ in 0..2 {
        host().boot().await.unwrap();
    }
    let report = host().boot().await.unwrap();
    let recalled: Vec<&str> = report.blocks.iter().filter(|block| block.recalled).map(|block| block.id.as_str()).collect();
    assert!(
        recalled.contains(&"0062_paid_vendor_costs") && recalled.contains(&"0066_reconcile_eligibility_from_cost"),
        "{recalled:?}"
    );
    let with_parameters = report.block("0064_always_llm_costs").unwrap();
    assert_eq!((with_parameters.outcome, with_parameters.recalled), (Outcome::Unchanged, false));
    let kept = "select count(*) from plinth.blocks where id = '0064_always_llm_costs' and recall is not null";
    assert_eq!(database.number(kept).await, 0);
}
