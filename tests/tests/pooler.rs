//! Behind a transaction pooler: a real pgbouncer, where sessions hold no locks.

use plinth::{BootState, Database, Host, LockMode, Outcome};
use plinth_tests::{TestDatabase, cache, campaign, crash, guests, pooler::Pooler, server, texts, value};
use std::time::Duration;

fn behind(pooler: &Pooler, database: &TestDatabase) -> Host {
    Host::new(Database::from_url(&pooler.url(&database.name)).unwrap()).cache(cache())
}

async fn until(database: &TestDatabase, query: &str, limit: Duration) {
    let client = database.client().await;
    let found = async {
        while value(&client, query).await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, found).await.unwrap_or_else(|_| panic!("never: {query}"));
}

#[tokio::test]
async fn a_pooler_is_found_out_and_the_lock_is_a_lease_that_the_report_names() {
    let Some(pooler) = Pooler::before(server()).await else { return };
    let database = TestDatabase::with_t().await;
    let blocks = crash::folder();
    let report = behind(&pooler, &database).folder(blocks.path()).boot().await.unwrap();
    assert!(report.boot.notes.iter().any(|note| note.contains("pooler") && note.contains("lease")), "{:?}", report.boot.notes);
    assert_eq!(crash::differences_in_a_pool(&database).await, [] as [String; 0]);
    assert_eq!(
        database.text("select mode || ' ' || (released is not null) from plinth.runners").await.as_deref(),
        Some("lease true")
    );
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(database.number(locks).await, 0, "no advisory lock stays on a connection of the pool");

    // Another boot on the pool's same connections, with other blocks and parameters, a direct one, and a forced choice.
    let more = guests(&["crash_first", "crash_second", "crash_rule", "outside", "claims", "array_parameter"]);
    let report = behind(&pooler, &database).folder(more.path()).boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    let report = database.host().folder(blocks.path()).boot().await.unwrap();
    assert!(!report.boot.notes.iter().any(|note| note.contains("lease")), "{:?}", report.boot.notes);
    let report = database.host().lock(LockMode::Lease).folder(blocks.path()).boot().await.unwrap();
    assert!(!report.boot.notes.iter().any(|note| note.contains("lease")), "it was chosen: {:?}", report.boot.notes);
    assert_eq!(database.text("select mode from plinth.runners").await.as_deref(), Some("lease"));
}

#[tokio::test]
async fn case_08_replicas_behind_a_pooler_and_without_one_apply_once_and_all_start() {
    let Some(pooler) = Pooler::before(server()).await else { return };
    let address = |database: &TestDatabase, replica: usize| {
        if replica.is_multiple_of(2) { pooler.url(&database.name) } else { database.url.clone() }
    };
    let differences = async |database: &TestDatabase| crash::differences_in_a_pool(database).await;
    campaign::crowd_with(server(), 16, false, address, differences).await.assert_at_least(1);
}

/// Stops a boot behind a pooler whose lease was renewed. Returns what is left: rows that were not given back, and statements that run.
async fn left_behind_by_a_stopped_boot(pooler: &Pooler) -> (i64, i64) {
    let database = TestDatabase::with_t().await;
    let host = behind(pooler, &database).folder(guests(&["slow"]).keep());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let booting = tokio::spawn(async move { host.boot_until(async { drop(stopped.await) }).await });
    let renewed = "select 1 from plinth.runners where released is null and expires > since + interval '31 seconds'";
    until(&database, "select 1 from pg_tables where tablename = 'runners'", Duration::from_secs(20)).await;
    until(&database, renewed, Duration::from_secs(30)).await;
    stop.send(()).unwrap();
    assert!(booting.await.unwrap().is_err());
    let sleeps = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and datname = current_database()";
    (database.number("select count(*) from plinth.runners where released is null").await, database.number(sleeps).await)
}

#[tokio::test]
async fn a_lease_is_renewed_while_its_block_runs_and_given_back_on_leaving() {
    let Some(pooler) = Pooler::before(server()).await else { return };
    // Who is told to stop leaves within a second, done or not: on a machine that is busy with other tests, one try may not be enough.
    let mut left = (0, 0);
    for _ in 0..3 {
        left = left_behind_by_a_stopped_boot(&pooler).await;
        if left == (0, 0) {
            return;
        }
    }
    panic!("a row that is not given back, and a statement that was not cancelled through the pooler: {left:?}");
}

#[tokio::test]
async fn a_runner_that_slept_beyond_its_lease_is_overtaken_and_writes_nothing_when_it_wakes() {
    let Some(pooler) = Pooler::before(server()).await else { return };
    let database = TestDatabase::with_t().await;
    database.client().await.batch_execute("delete from t").await.unwrap();
    let blocks = guests(&["three_writes"]);
    let sleeper = campaign::run(&pooler.url(&database.name), blocks.path(), &["--retry-for", "0"]).spawn().unwrap();
    let sleeping = "select pid from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and datname = current_database()";
    until(&database, sleeping, Duration::from_secs(20)).await;
    campaign::signal("STOP", sleeper.id());
    // Its transaction holds locks on the server; whoever takes over ends it.
    let report = behind(&pooler, &database).folder(blocks.path()).boot().await.unwrap();
    assert_eq!(report.block("three_writes").unwrap().outcome, Outcome::Applied);
    campaign::signal("CONT", sleeper.id());
    let ended = tokio::task::spawn_blocking(move || sleeper.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(database.number("select count(*) from t").await, 3);
    let boots = "select state from plinth.boots order by id";
    assert_eq!(texts(&database.client().await, boots).await, ["interrupted", "complete"]);
}
