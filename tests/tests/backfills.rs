//! Backfills: batches that commit with their cursor, kills, replicas, the background.

use plinth::{BootError, BootState, ErrorClass, Event, Outcome, Report};
use plinth_tests::{TestDatabase, guests, plinth};
use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// A database with a table of so many rows, each with a counter, and a sequence that counts batches, rolled back ones included.
async fn with_large(rows: u32) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let sql = format!(
        "create table large (id bigint primary key, n integer not null default 0) with (fillfactor = 50);
         insert into large select i from generate_series(1, {rows}) i;
         create sequence begun; analyze large"
    );
    database.client().await.batch_execute(&sql).await.unwrap();
    database
}

fn failed(booted: Result<Report, BootError>) -> Report {
    match booted {
        Err(BootError::Failed(report)) => *report,
        other => panic!("it was to fail in a block: {other:?}"),
    }
}

async fn every_row_was_counted_once(database: &TestDatabase) {
    assert_eq!(database.text("select min(n) || ' ' || max(n) from large").await.as_deref(), Some("1 1"));
}

#[tokio::test]
async fn a_backfill_runs_in_batches_that_commit_with_their_cursor_and_is_done_once() {
    let database = with_large(20_000).await;
    let host = database.host().folder(guests(&["fills"]).keep());
    let mut events = host.events();
    let report = host.boot().await.unwrap();
    let block = report.block("fills").unwrap();
    assert_eq!(block.outcome, Outcome::Applied, "{report:?}");
    assert_eq!(block.rows["public.large"].updated, 20_000, "as the database counted, over all batches");
    every_row_was_counted_once(&database).await;
    let batches = database.number("select batches from plinth.backfills where id = 'fills' and finished is not null").await;
    assert!(batches > 3, "{batches}");
    assert_eq!(database.number("select last_value from begun").await, batches);
    assert_eq!(block.message.as_deref(), Some(format!("{batches} batches").as_str()));
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Batch { number, rows, done, total, .. } = event {
            told.push((number, rows, done, total));
        }
    }
    assert_eq!(told.len() as i64, batches, "{told:?}");
    assert_eq!(told.first().unwrap(), &(1, 200, Some(200), Some(20_000)));
    assert_eq!((told.last().unwrap().0 as i64, told.last().unwrap().1), (batches, 20_000));

    let again = host.boot().await.unwrap();
    assert_eq!((again.block("fills").unwrap().outcome, again.boot.round_trips), (Outcome::Skipped, 1));
    assert!(host.verify().await.unwrap().holds());
    assert_eq!(database.left_behind().await, 0);
}

/// Starts the command and kills it after a while. Whether it was still running.
async fn killed(database: &TestDatabase, blocks: &Path, command: &str, after: Duration) -> bool {
    let mut child: Child = plinth()
        .args([command, "--blocks", blocks.to_str().unwrap()])
        .env("DATABASE_URL", &database.url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + after;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

/// A million rows, killed over and over. PLINTH_KILLS says how often, for a longer run by hand.
#[tokio::test]
async fn a_million_rows_and_kills_no_row_is_worked_on_twice_and_a_kill_loses_one_batch_at_most() {
    let database = with_large(1_000_000).await;
    let folder = guests(&["fills"]);
    let most = std::env::var("PLINTH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut kills = 0;
    let mut cursor = 0;
    while kills < most {
        // At any moment of a batch, and of what comes before the first.
        let after = Duration::from_millis(300 + (kills * 137) % 700);
        if !killed(&database, folder.path(), "run", after).await {
            break;
        }
        kills += 1;
        let now = database.number("select coalesce(max(cursor::bigint), 0) from plinth.backfills").await;
        assert!(now >= cursor, "it never goes back: {now} after {cursor}");
        cursor = now;
        // The server process of the killed host may still end its batch, but cannot commit it half.
        let torn = "select count(*) from large l, plinth.backfills b where (l.n = 0) <> (l.id > b.cursor::bigint)";
        assert_eq!(database.number(torn).await, 0, "what is counted is exactly what the cursor says");
    }
    let report = database.host().folder(folder.path()).boot().await.unwrap();
    assert!(matches!(report.block("fills").unwrap().outcome, Outcome::Applied | Outcome::Skipped), "{report:?}");
    every_row_was_counted_once(&database).await;
    let (begun, batches) =
        (database.number("select last_value from begun").await, database.number("select batches from plinth.backfills").await);
    assert!(begun - batches <= kills as i64, "{begun} batches were begun, {batches} committed, with {kills} kills");
    assert_eq!(database.number("select (rows -> 'public.large' ->> 'updated')::bigint from plinth.backfills").await, 1_000_000);
    assert!(kills >= 3, "only {kills} kills hit: this showed too little");
    println!("{kills} kills, {batches} batches committed, {} lost", begun - batches);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn a_background_backfill_lets_the_boot_complete_and_what_needs_it_waits_uncounted() {
    let database = with_large(20_000).await;
    let folder = guests(&["fills_later", "after_fills"]);
    let host = database.host().folder(folder.path());
    let report = host.boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Deferred);
    assert_eq!(report.block("fills_later").unwrap().outcome, Outcome::Background);
    let waiting = report.block("after_fills").unwrap();
    assert_eq!(
        (waiting.outcome, waiting.message.as_deref()),
        (Outcome::Skipped, Some("waits for fills_later, which goes on in the background"))
    );
    assert_eq!(database.number("select count(*) from large where n > 0").await, 0, "the boot did none of it");
    assert!(host.plan().await.unwrap().is_waiting());

    // Alone, it lets the boot complete; yet the next boot looks again.
    let alone = guests(&["fills_later"]);
    let report = database.host().application("other").folder(alone.path()).boot().await.unwrap();
    assert_eq!((report.boot.state, report.boot.ran), (BootState::Complete, 0));
    let report = database.host().application("other").folder(alone.path()).boot().await.unwrap();
    assert_eq!(report.block("fills_later").unwrap().outcome, Outcome::Background);

    // Behind the API's start.
    let done = host.background().await.unwrap();
    assert_eq!(done.block("fills_later").unwrap().outcome, Outcome::Applied, "{done:?}");
    every_row_was_counted_once(&database).await;
    assert_eq!(database.number("select coalesce(max(deferrals), 0) from plinth.blocks where application = 'api'").await, 0);

    let report = host.boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    assert_eq!(report.block("after_fills").unwrap().outcome, Outcome::Applied);
    assert_eq!(host.boot().await.unwrap().boot.round_trips, 1);
    assert!(host.background().await.unwrap().blocks.is_empty());
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn two_replicas_share_a_background_backfill_and_a_killed_one_is_taken_over() {
    let database = with_large(200_000).await;
    let folder = guests(&["fills_later"]);
    let host = database.host().folder(folder.path());
    host.boot().await.unwrap();
    // One by the command, killed in the middle; meanwhile another waits for it, and a third.
    let (killed, first, second) = tokio::join!(
        killed(&database, folder.path(), "backfill", Duration::from_millis(700)),
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            host.background().await.unwrap()
        },
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            database.host().folder(folder.path()).background().await.unwrap()
        }
    );
    let outcomes = [&first, &second].map(|report| report.blocks.first().map(|block| block.outcome));
    every_row_was_counted_once(&database).await;
    // Whoever came late found nothing to do, or found it done while it waited.
    assert!(!outcomes.contains(&Some(Outcome::Failed)), "{outcomes:?}");
    assert!(killed || outcomes.iter().all(|outcome| matches!(outcome, None | Some(Outcome::Joined))), "{outcomes:?}");
    assert_eq!(
        database.number("select count(*) from plinth.blocks where id = 'fills_later' and first_applied is not null").await,
        1
    );
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn a_boot_that_is_told_to_stop_loses_one_batch_and_the_next_goes_on() {
    let database = with_large(100_000).await;
    let host = database.host().folder(guests(&["fills"]).keep());
    let mut events = host.events();
    let third = async {
        while let Ok(event) = events.recv().await {
            if matches!(event, Event::Batch { number: 3, .. }) {
                return;
            }
        }
    };
    assert!(matches!(host.boot_until(third).await, Err(BootError::Interrupted(_))));
    let stood = database.number("select batches from plinth.backfills").await;
    assert!(stood >= 3);
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("fills").unwrap().outcome, Outcome::Applied);
    every_row_was_counted_once(&database).await;
    let lost = database.number("select (select last_value from begun) - batches from plinth.backfills").await;
    assert!(lost <= 1, "{lost}");
}

#[tokio::test]
async fn case_14_a_backfill_that_stops_after_one_batch_is_found_by_its_post_condition_and_by_the_count() {
    let database = with_large(100).await;
    let report = failed(database.host().folder(guests(&["fills_too_early"]).path()).boot().await);
    let block = report.block("fills_too_early").unwrap();
    let error = block.error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::PostCondition);
    assert!(error.message.contains("every row was counted: 90 rows differ"), "{error}");
    assert_eq!(database.number("select count(*) from large where n > 0").await, 0, "that batch is rolled back");
    assert_eq!(database.number("select count(*) from plinth.blocks where first_applied is not null").await, 0);

    // One that looks at nothing cannot say that it is done.
    let report = failed(database.host().application("other").folder(guests(&["fills_no_checks"]).path()).boot().await);
    let error = report.block("fills_no_checks").unwrap().error.clone().unwrap();
    assert!(error.message.contains("checks nothing"), "{error}");

    // One that does not come on is stopped: the host looks at what changed, not at what is said.
    let report = failed(database.host().application("stuck").folder(guests(&["fills_stuck"]).path()).boot().await);
    let error = report.block("fills_stuck").unwrap().error.clone().unwrap();
    assert!(error.message.contains("go on for ever"), "{error}");
    assert!(error.hint.unwrap().contains("1 batches are committed and stay"));
    assert_eq!(database.number("select n from large where id = 1").await, 1);
}

#[tokio::test]
async fn a_batch_is_committed_only_when_what_it_sent_is_done() {
    let database = with_large(200).await;
    let check = "alter table large add constraint not_120 check (id <> 120 or n = 0)";
    database.client().await.batch_execute(check).await.unwrap();
    let host = database.host().folder(guests(&["fills_sends"]).keep());
    let report = failed(host.boot().await);
    let error = report.block("fills_sends").unwrap().error.clone().unwrap();
    // Of its own batch, and not of one that came after.
    assert_eq!((error.sqlstate.as_deref(), error.statement), (Some("23514"), Some(2)), "{error:?}");
    assert!(error.sql.unwrap().starts_with("update large") && error.hint.unwrap().contains("2 batches are committed and stay"));
    assert_eq!(database.text("select count(*) || ' ' || max(id) from large where n = 1").await.as_deref(), Some("100 100"));
    database.client().await.batch_execute("alter table large drop constraint not_120").await.unwrap();
    assert_eq!(host.boot().await.unwrap().block("fills_sends").unwrap().rows["public.large"].updated, 200);
    every_row_was_counted_once(&database).await;
}

#[tokio::test]
async fn a_backfill_that_puts_the_rest_off_keeps_what_was_committed_and_goes_on_from_there() {
    let database = with_large(100).await;
    let host = database.host().folder(guests(&["fills_defers"]).keep());
    for boot in 1..=2 {
        let report = host.boot().await.unwrap();
        let block = report.block("fills_defers").unwrap();
        assert_eq!((report.boot.state, block.outcome), (BootState::Deferred, Outcome::Deferred), "{report:?}");
        assert_eq!(database.number("select count(*) from large where n = 1").await, 20);
        assert_eq!(database.number("select max(n) from large").await, 1);
        assert_eq!(database.number("select deferrals from plinth.blocks").await, boot);
    }
}

#[tokio::test]
async fn a_batch_that_waits_for_a_lock_is_made_smaller_and_tried_again() {
    let database = with_large(2_000).await;
    let holder = database.client().await;
    holder.batch_execute("begin; update large set n = 0 where id = 150").await.unwrap();
    let limits = plinth::Limits { lock: Duration::from_millis(200), ..plinth::Limits::default() };
    let host = database.host().folder(guests(&["fills"]).keep()).limits(limits);
    let mut events = host.events();
    let (booted, ()) = tokio::join!(host.boot(), async {
        // Held until a batch has waited in vain.
        while !matches!(events.recv().await, Ok(Event::Retrying { .. })) {}
        holder.batch_execute("commit").await.unwrap();
    });
    assert_eq!(booted.unwrap().block("fills").unwrap().outcome, Outcome::Applied);
    every_row_was_counted_once(&database).await;
    let first = loop {
        if let Event::Batch { number: 1, rows, .. } = events.recv().await.unwrap() {
            break rows;
        }
    };
    assert!(first <= 100, "half of the 200 rows that it began with, or less: {first}");
}

#[tokio::test]
async fn a_backfill_is_refused_to_leave_while_it_is_not_done_and_a_rehearsal_tries_its_first_batch() {
    let database = with_large(1_000).await;
    let folder = guests(&["fills"]);
    let rehearsal = database.host().folder(folder.path()).rehearse().await.unwrap();
    assert!(rehearsal.passed, "{rehearsal:?}");
    assert_eq!(rehearsal.blocks[0].rows["public.large"].updated, 200);
    assert_eq!(rehearsal.blocks[0].message.as_deref(), Some("its first batch"));
    assert_eq!(database.number("select count(*) from large where n > 0").await, 0);

    let host = database.host().folder(folder.path());
    let mut events = host.events();
    let first = async { while !matches!(events.recv().await, Ok(Event::Batch { .. })) {} };
    let _ = host.boot_until(first).await;
    let empty = tempfile::tempdir().unwrap();
    if database.number("select count(*) from plinth.blocks where first_applied is not null").await == 0 {
        let Err(BootError::Plan(error)) = database.host().folder(empty.path()).boot().await else {
            panic!("its removal is refused")
        };
        assert!(error.to_string().contains("begun or put off and never done"), "{error}");
    }
}
