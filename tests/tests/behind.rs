//! The backfills that a boot leaves, as the reference service runs them while it serves: over HTTP, with a real component.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{
    TestDatabase, copy_of_blocks, guest,
    service::{Service, Start, service},
};
use tempfile::TempDir;

const ROWS: i64 = 400_000;

/// The service's data, and a large table of which a background backfill is to count every row.
async fn with_large() -> (TestDatabase, TempDir) {
    let database = TestDatabase::production_like().await;
    let sql = format!(
        "create table large (id bigint primary key, n integer not null default 0) with (fillfactor = 50);
         insert into large select i from generate_series(1, {ROWS}) i;
         create sequence begun; analyze large"
    );
    database.client().await.batch_execute(&sql).await.unwrap();
    let folder = copy_of_blocks();
    std::fs::copy(guest("fills_later"), folder.path().join("fills_later.wasm")).unwrap();
    (database, folder)
}

fn on(database: &TestDatabase, folder: &TempDir) -> Start {
    service(database).env("API_BLOCKS", folder.path())
}

/// How far it is, by health; none before the first batch and after the last.
fn done(service: &Service) -> Option<i64> {
    service.health().unwrap()["backfill"]["done"].as_i64()
}

fn in_the_middle(service: &mut Service, beyond: i64) {
    service.until("it is in the middle", |service| done(service).is_some_and(|done| done > beyond && done < ROWS));
}

fn ended(service: &mut Service) {
    service.until("it is done", |service| service.health().unwrap()["backfill"]["stage"] == "ready");
}

fn counts(service: &mut Service, line: &str) {
    service.until(line, |service| service.get("/metrics").body.contains(line));
}

/// Rows that are counted are exactly those up to the cursor that was committed with them.
async fn whole(database: &TestDatabase) -> i64 {
    let torn = "select count(*) from large l, plinth.backfills b where (l.n = 0) <> (l.id > b.cursor::bigint)";
    assert_eq!(database.number(torn).await, 0, "a batch is committed with its cursor or not at all");
    database.number("select cursor::bigint from plinth.backfills").await
}

async fn every_row_was_counted_once(database: &TestDatabase) {
    assert_eq!(database.text("select min(n) || ' ' || max(n) from large").await.as_deref(), Some("1 1"));
}

#[tokio::test]
async fn it_goes_on_while_the_service_serves_and_a_killed_one_is_taken_up_where_it_was() {
    let (database, folder) = with_large().await;
    let mut one = on(&database, &folder).ready();
    let health = one.health().unwrap();
    assert_eq!((health["state"].as_str(), health["last_boot"]["state"].as_str()), (Some("serving"), Some("complete")));
    in_the_middle(&mut one, 0);
    let backfill = one.health().unwrap()["backfill"].clone();
    assert_eq!((backfill["stage"].as_str(), backfill["total"].as_i64()), (Some("running"), Some(ROWS)), "{backfill}");
    assert!(backfill["batches"].as_i64() > Some(0) && backfill["rows"].as_i64() > Some(0), "{backfill}");
    // Requests are answered meanwhile, and so is a boot; operators see it in the ledger, whichever process does it.
    one.get("/schedule/counts").with(200);
    one.operate("POST", "/admin/boots").with(200);
    let open = one.operate("GET", "/admin/boots").with(200).json()["status"]["backfills"].clone();
    assert_eq!((open[0]["id"].as_str(), open[0]["total"].as_i64()), (Some("fills_later"), Some(ROWS)), "{open}");
    assert!(one.operate("GET", "/admin/").with(200).body.contains(&format!(" of {ROWS}, ")));
    // SIGKILL, in the middle of whatever it does.
    drop(one);
    let cursor = whole(&database).await;
    assert!(cursor < ROWS, "it was not done yet");

    let mut two = on(&database, &folder).ready();
    assert_eq!(two.get("/schedule/counts").status, 200);
    in_the_middle(&mut two, cursor);
    ended(&mut two);
    every_row_was_counted_once(&database).await;
    counts(&mut two, &format!("plinth_backfill_rows{{block=\"fills_later\"}} {ROWS}"));
    counts(&mut two, "plinth_backfill_progress{block=\"fills_later\"} 1");
    counts(&mut two, "plinth_backfills_total{block=\"fills_later\",outcome=\"applied\"} 1");
    assert_eq!(two.stop().code(), Some(0));
    let lost = "select (select last_value from begun) - batches from plinth.backfills";
    assert!(database.number(lost).await <= 1, "the kill cost one batch at most");
    // The next start has nothing left to do behind its boot.
    let batches = database.number("select batches from plinth.backfills").await;
    let mut three = on(&database, &folder).ready();
    ended(&mut three);
    assert_eq!(database.number("select batches from plinth.backfills").await, batches);
}

#[tokio::test]
async fn sigterm_rolls_the_batch_back_that_runs_and_leaves_no_session_behind() {
    let (database, folder) = with_large().await;
    // A batch that cannot end: a customer holds a row far behind.
    let customer = database.client().await;
    customer.batch_execute(&format!("begin; select from large where id = {ROWS} for update")).await.unwrap();
    let mut one = on(&database, &folder).ready();
    one.until("a batch waits for the customer", |service| {
        let backfill = &service.health().unwrap()["backfill"];
        backfill["statement"].as_i64() == Some(2) && backfill["statement_seconds"].as_f64() > Some(0.3)
    });
    let before = whole(&database).await;
    assert_eq!(one.stop().code(), Some(0));
    assert!(!one.said().contains("not everything ended"), "{}", one.said());
    assert_eq!(database.left_behind().await, 0);
    assert_eq!(whole(&database).await, before);
    customer.batch_execute("rollback").await.unwrap();
    let mut two = on(&database, &folder).ready();
    ended(&mut two);
    every_row_was_counted_once(&database).await;
}

#[tokio::test]
async fn of_two_instances_one_works_and_the_other_takes_over_when_it_dies() {
    let (database, folder) = with_large().await;
    let mut one = on(&database, &folder).ready();
    in_the_middle(&mut one, 0);
    let mut two = on(&database, &folder).ready();
    two.until("it waits", |service| service.health().unwrap()["backfill"]["stage"] == "waiting");
    assert_eq!(two.get("/schedule/counts").status, 200);
    drop(one);
    ended(&mut two);
    every_row_was_counted_once(&database).await;
    let finished = "select count(*) from plinth.blocks where id = 'fills_later' and first_applied is not null";
    assert_eq!(database.number(finished).await, 1);
}

#[tokio::test]
async fn one_that_fails_is_seen_and_the_service_serves_on() {
    let (database, folder) = with_large().await;
    database.client().await.batch_execute("alter table large add check (n = 0 or id < 1000)").await.unwrap();
    let mut service = on(&database, &folder).ready();
    service.until("it failed", |service| service.health().unwrap()["backfill"]["stage"] == "failed");
    let cause = service.health().unwrap()["backfill"]["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("fills_later") && cause.contains("large_check"), "{cause}");
    assert_eq!(service.health().unwrap()["state"], "serving");
    counts(&mut service, "plinth_backfills_total{block=\"fills_later\",outcome=\"failed\"} 1");
    // Mended, the next boot gives it another try.
    database.client().await.batch_execute("alter table large drop constraint large_check").await.unwrap();
    service.operate("POST", "/admin/boots").with(200);
    ended(&mut service);
    every_row_was_counted_once(&database).await;
}
