//! The end of a boot: what the blocks asked about their post-conditions is asked again, and a block looks again only if it must.

use plinth::{BootError, ErrorClass, Event, Host, Outcome, Report};
use plinth_tests::{TestDatabase, attack::raw, guests, plinth};
use std::{fs, path::Path};
use tempfile::TempDir;

/// A folder of migrations in SQL, each with what it writes or provides, its statements and its condition.
fn folder(migrations: &[(&str, &str, &str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (id, says, statements, condition) in migrations {
        let head = format!("id = \"{id}\"\nkind = \"migration\"\ntitle = \"{id}\"\n{says}\n");
        let sql = format!("/*---\n{head}---*/\n{statements};\n-- plinth: verify\n-- it is there\n{condition};\n");
        fs::write(folder.path().join("block.sql"), sql).unwrap();
        let packed = plinth().args(["pack", "block.sql"]).current_dir(folder.path()).output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    }
    fs::remove_file(folder.path().join("block.sql")).unwrap();
    folder
}

/// What a boot came to, and the statements of its blocks.
async fn boot(host: Host, folder: &Path) -> (Result<Report, BootError>, Vec<String>) {
    let host = host.folder(folder);
    let mut events = host.events();
    let booted = host.boot().await;
    let mut sent = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Statement { sql, .. } = event {
            sent.push(sql);
        }
    }
    (booted, sent)
}

fn failed(booted: Result<Report, BootError>) -> Report {
    match booted {
        Err(BootError::Failed(report)) => *report,
        other => panic!("the boot was to fail in a block: {other:?}"),
    }
}

const ADDS: (&str, &str, &str, &str) =
    ("0001_adds", "writes = [\"t.*\"]", "insert into t (id, a) values (7, 1)", "select exists (select from t where id = 7)");

#[tokio::test]
async fn what_a_later_block_undoes_fails_the_boot_at_its_end_with_the_block_that_it_undid() {
    let database = TestDatabase::with_t().await;
    let removes = ("0002_removes", "writes = [\"t.*\"]", "delete from t where id = 7", "select true");
    let (booted, _) = boot(database.host(), folder(&[ADDS, removes]).path()).await;
    let report = failed(booted);
    let error = report.block("0001_adds").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::PostCondition, "{error:?}");
    assert!(error.hint.as_ref().unwrap().contains("another block of this boot undid it"), "{error:?}");
    assert_eq!(report.block("0002_removes").unwrap().outcome, Outcome::Applied);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn what_a_backfill_undoes_that_puts_the_rest_off_counts_as_well() {
    let database = TestDatabase::with_t().await;
    let large = "create table large (id bigint primary key, n int not null default 0);
                 insert into large select generate_series(1, 100)";
    database.client().await.batch_execute(large).await.unwrap();
    let folder = folder(&[("0001_counts", "", "select", "select count(*) = 0 from large where n > 0")]);
    fs::copy(guests(&["fills_defers"]).path().join("fills_defers.wasm"), folder.path().join("fills_defers.wasm")).unwrap();
    let (booted, _) = boot(database.host(), folder.path()).await;
    let report = failed(booted);
    let error = report.block("0001_counts").unwrap().error.as_ref().unwrap();
    assert!(error.hint.as_ref().unwrap().contains("another block of this boot undid it"), "{error:?}");
    assert_eq!(report.block("fills_defers").unwrap().outcome, Outcome::Deferred);
    assert_eq!(database.number("select count(*) from large where n > 0").await, 20);
}

#[tokio::test]
async fn a_question_that_fails_at_the_end_is_the_blocks_failure_and_costs_no_other_block_its_look() {
    let database = TestDatabase::with_t().await;
    let makes = ("0001_makes", "provides = [{ table = \"m\" }]", "create table m (id int)", "select count(*) = 0 from m");
    let keeps = ("0002_adds", ADDS.1, ADDS.2, ADDS.3);
    let drops = ("0003_drops", "after = [\"0001_makes\"]", "drop table m", "select true");
    let (booted, _) = boot(database.host(), folder(&[makes, keeps, drops]).path()).await;
    let report = failed(booted);
    let error = report.block("0001_makes").unwrap().error.as_ref().unwrap();
    assert_eq!(error.sqlstate.as_deref(), Some("42P01"), "{error:?}");
    assert!(report.block("0002_adds").unwrap().error.is_none(), "{report:?}");
    assert_eq!(database.left_behind().await, 0);
}

/// How often the statements with some words were sent by a block of migrations beside one that reads the clock.
async fn sent_beside_a_clock(migrations: &[(&str, &str, &str, &str)], words: &str) -> usize {
    let database = TestDatabase::with_t().await;
    let folder = folder(migrations);
    let clock = guests(&["tells_time"]);
    fs::copy(clock.path().join("tells_time.wasm"), folder.path().join("tells_time.wasm")).unwrap();
    let (booted, sent) = boot(database.host(), folder.path()).await;
    assert_eq!(booted.unwrap().boot.ran, migrations.len() + 1);
    sent.iter().filter(|sql| sql.contains(words)).count()
}

/// Runs after the one that reads the clock.
const LATER: (&str, &str, &str, &str) =
    ("z_adds", "writes = [\"t.*\"]", "insert into t (id, a) values (8, 1)", "select exists (select from t where id = 8)");

#[tokio::test]
async fn a_block_looks_again_at_the_end_only_if_an_answer_is_another_one() {
    assert_eq!(sent_beside_a_clock(&[ADDS, LATER], "where id = 7").await, 1, "what was answered as before is no reason to look");
    assert_eq!(sent_beside_a_clock(&[ADDS, LATER], "clock_timestamp").await, 2, "it looked again");
}

#[tokio::test]
async fn the_last_block_that_changed_something_does_not_look_again() {
    assert_eq!(sent_beside_a_clock(&[ADDS], "clock_timestamp").await, 1, "nothing has changed since it looked");
}

#[tokio::test]
async fn a_block_that_nothing_comes_after_commits_together_with_the_end_of_its_boot() {
    let database = TestDatabase::with_t().await;
    let together = "select (b.xmin = o.xmin)::int from plinth.boots b join plinth.outcomes o on o.boot = b.id where o.block = ";
    let alone = folder(&[ADDS]);
    boot(database.host(), alone.path()).await.0.unwrap();
    assert_eq!(database.number(&format!("{together}'0001_adds'")).await, 1);
    // A boot whose end looks again at what came before is not over with its last block.
    let two = folder(&[
        ADDS,
        ("0002_adds", ADDS.1, "insert into t (id, a) values (8, 1)", "select exists (select from t where id = 8)"),
        ("0003_adds", ADDS.1, "insert into t (id, a) values (9, 1)", "select exists (select from t where id = 9)"),
    ]);
    let report = boot(database.host(), two.path()).await.0.unwrap();
    assert_eq!(report.boot.ran, 2);
    assert_eq!(database.number(&format!("{together}'0003_adds'")).await, 0);
    assert_eq!(database.host().folder(two.path()).boot().await.unwrap().boot.round_trips, 1);
    // Nor is one that leaves a backfill for later, which the next boot must not take for the end of everything.
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("create table large (id bigint primary key, n int not null default 0)").await.unwrap();
    fs::copy(guests(&["fills_later"]).path().join("fills_later.wasm"), alone.path().join("fills_later.wasm")).unwrap();
    let report = boot(database.host(), alone.path()).await.0.unwrap();
    assert_eq!(report.block("fills_later").unwrap().outcome, Outcome::Background);
    assert_eq!(database.number(&format!("{together}'0001_adds'")).await, 0);
    assert!(database.host().folder(alone.path()).boot().await.unwrap().boot.round_trips > 1);
}

#[tokio::test]
async fn a_block_that_never_starts_takes_nothing_from_the_one_that_its_begin_rode_with() {
    let database = TestDatabase::with_t().await;
    let folder = folder(&[ADDS]);
    fs::write(folder.path().join("raw.wasm"), raw("initial_memory")).unwrap();
    let (booted, _) = boot(database.host(), folder.path()).await;
    let report = failed(booted);
    assert_eq!(report.block("0001_adds").unwrap().outcome, Outcome::Applied, "{report:?}");
    assert_eq!(report.block("initial_memory").unwrap().outcome, Outcome::Failed, "{report:?}");
    assert_eq!(database.number("select count(*) from t where id = 7").await, 1);
    let applied = "select count(*) from plinth.blocks where id = '0001_adds' and last_outcome = 'applied'";
    assert_eq!(database.number(applied).await, 1);
    assert_eq!(database.left_behind().await, 0);
}
