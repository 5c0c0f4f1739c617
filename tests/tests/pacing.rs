//! A backfill goes on only as fast as others bear it: a real streaming standby that falls behind, a session that waits for the
//! batch's locks.

use plinth::{Event, Host, Limits, Outcome, embedded::Server};
use plinth_tests::{TestDatabase, connect, guests, value};
use std::{path::Path, process::Command, time::Duration};
use tokio::sync::broadcast::Receiver;

/// The table of the guest `fills`, whose first batch has 200 rows.
const LARGE: &str = "create table large (id bigint primary key, n integer not null default 0) with (fillfactor = 50);
                     insert into large select i from generate_series(1, 20000) i; create sequence begun; analyze large";
const FIRST: u64 = 200;

/// Far above what a machine under load needs, for what has to happen.
const SOON: Duration = Duration::from_secs(60);

async fn until(url: &str, query: &str) {
    let client = connect(url).await;
    let found = async {
        while value(&client, query).await.as_deref() != Some("t") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, found).await.unwrap_or_else(|_| panic!("never: {query}"));
}

/// The number of the next batch that was committed, its cursor's place and how large the one after it is to be.
async fn batch(events: &mut Receiver<Event>) -> (u64, u64, u64) {
    loop {
        let event = tokio::time::timeout(SOON, events.recv()).await.expect("no batch came").unwrap();
        if let Event::Batch { number, rows, next_rows, .. } = event {
            return (number, rows, next_rows);
        }
    }
}

/// A server that keeps what it has, so that a copy of its folder is a standby.
fn start(data: &Path, settings: &[(&str, &str)]) -> Server {
    let builder = Server::builder().data(data).durable(false);
    let builder = settings.iter().fold(builder, |builder, (name, value)| builder.setting(*name, *value));
    builder.start().unwrap_or_else(|error| panic!("{error}"))
}

/// A primary and a standby that streams from it.
fn with_standby(folder: &Path) -> (Server, Server) {
    let [first, second] = ["primary", "standby"].map(|name| folder.join(name));
    start(&first, &[]).stop().unwrap();
    let copied = Command::new("cp").arg("-a").args([&first, &second]).status().unwrap();
    assert!(copied.success());
    std::fs::write(second.join("standby.signal"), "").unwrap();
    let primary = start(&first, &[]);
    let from = format!("host={} port={} user=postgres", primary.socket_folder().display(), primary.port());
    // What was replayed is told at once, not every ten seconds.
    let standby = start(&second, &[("primary_conninfo", &from), ("wal_receiver_status_interval", "1")]);
    (primary, standby)
}

#[tokio::test]
async fn a_backfill_waits_for_a_streaming_standby_that_falls_behind_and_makes_its_batches_smaller() {
    // Where the server's user can enter.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().to_owned();
    let (primary, standby) = tokio::task::spawn_blocking(move || with_standby(&path)).await.unwrap();
    let (url, replica) = (primary.url("postgres"), standby.url("postgres"));
    let client = connect(&url).await;
    client.batch_execute(LARGE).await.unwrap();
    let streams =
        "select count(*) = 1 and bool_and(replay_lsn = pg_current_wal_lsn()) from pg_stat_replication where state = 'streaming'";
    until(&url, streams).await;

    // What a few batches write is more than this.
    let limits = Limits { replica_lag_bytes: 256 << 10, ..Limits::default() };
    let host = Host::new(plinth::Database::from_url(&url).unwrap()).cache(plinth_tests::cache());
    let host = host.folder(guests(&["fills"]).keep()).limits(limits);
    let mut events = host.events();
    let held_up = connect(&replica).await;
    held_up.batch_execute("select pg_wal_replay_pause()").await.unwrap();
    until(&replica, "select pg_get_wal_replay_pause_state() = 'paused'").await;
    let booting = tokio::spawn(async move { host.boot().await });
    let mut size = FIRST;
    loop {
        let (number, _, next) = batch(&mut events).await;
        assert!(number <= 6, "the standby is far behind by now: after a batch of {size} rows, {next}");
        if next <= size / 2 {
            break;
        }
        size = next;
    }
    let batches = "select batches from plinth.backfills";
    let stood = value(&client, batches).await.unwrap();
    // It waits for half a minute: in a second nothing may come.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(value(&client, batches).await.unwrap(), stood, "no batch is begun while the standby is behind");

    held_up.batch_execute("select pg_wal_replay_resume()").await.unwrap();
    let report = tokio::time::timeout(SOON * 5, booting).await.unwrap().unwrap().unwrap();
    assert_eq!(report.block("fills").unwrap().outcome, Outcome::Applied);
    until(&url, streams).await;
    let there = "select min(n) = 1 and max(n) = 1 and count(*) = 20000 from large";
    until(&replica, there).await;
    drop((client, held_up));
    tokio::task::spawn_blocking(move || (standby.stop().unwrap(), primary.stop().unwrap())).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_somebody_waits_for_lets_them_through_and_the_next_is_smaller() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    // The batch is still open when somebody waits for it: the first one does not come to its end before.
    client
        .batch_execute(&format!(
            "{LARGE};
             create function waited_for() returns trigger language plpgsql as $$ begin
               while (select last_value from begun) = 1
                     and not exists (select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))) loop
                 perform pg_sleep(0.01);
               end loop;
               return null;
             end $$;
             create trigger waited_for after update on large for each statement execute function waited_for()"
        ))
        .await
        .unwrap();
    let host = database.host().folder(guests(&["fills"]).keep());
    let mut events = host.events();
    let booting = tokio::spawn(async move { host.boot().await });
    // It is in the trigger, so it has changed its rows: the table's lock is taken when the statement is prepared, which is earlier.
    let sleeps = "select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')";
    until(&database.url, sleeps).await;
    let waiter = database.client().await;
    // Without the trigger, which would wait for a session that waits for this one.
    waiter.batch_execute("set session_replication_role = replica; update large set n = n where id = 1").await.unwrap();
    assert_eq!(value(&client, "select n from large where id = 1").await.as_deref(), Some("1"), "it came after the batch");
    let (number, rows, next) = batch(&mut events).await;
    assert_eq!((number, rows, next), (1, FIRST, FIRST / 2));
    let report = booting.await.unwrap().unwrap();
    assert_eq!(report.block("fills").unwrap().outcome, Outcome::Applied);
    assert_eq!(value(&client, "select min(n) || ' ' || max(n) from large").await.as_deref(), Some("1 1"));
}
