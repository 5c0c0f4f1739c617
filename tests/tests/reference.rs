//! The main job: the reference service's eleven blocks on production-like data, as REFERENCE says.

use plinth::{BootState, Outcome};
use plinth_tests::{TestDatabase, blocks, copy_of_blocks, root};

const BRIDGE: &str = "0066_reconcile_eligibility_from_cost";
const SUITES: &str = "public.test_suites";

/// Fails with every expectation of tests/data/expected.sql that is not met.
async fn as_expected(database: &TestDatabase) {
    let sql = std::fs::read_to_string(root().join("tests/data/expected.sql")).unwrap();
    let rows = database.client().await.query(&sql, &[]).await.unwrap();
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| row.get::<_, i64>(1) != 0)
        .map(|row| format!("{}: {}", row.get::<_, &str>(0), row.get::<_, i64>(1)))
        .collect();
    assert!(rows.len() > 5, "the expectations were looked at");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn three_boots_reach_the_expected_state_and_the_second_writes_and_locks_nothing() {
    let database = TestDatabase::production_like().await;
    let host = database.host().folder(blocks()).build("one");

    let first = host.boot().await.unwrap();
    assert_eq!(first.boot.state, BootState::Complete);
    assert_eq!((first.boot.found, first.boot.ran, first.boot.skipped), (11, 11, 0));
    as_expected(&database).await;
    for rule in ["0062_paid_vendor_costs", "0063_invoice_extract_cost", "0064_always_llm_costs", BRIDGE] {
        assert_eq!(first.block(rule).unwrap().outcome, Outcome::Applied, "{rule}");
        assert!(first.block(rule).unwrap().rows[SUITES].updated > 0, "{rule}");
    }
    let order: Vec<&str> = first.blocks.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(order.last(), Some(&BRIDGE), "the bridge reads what the cost rules write: {order:?}");

    let before = database.snapshot().await;
    let second = host.boot().await.unwrap();
    assert_eq!((second.boot.ran, second.boot.skipped), (4, 7));
    for block in second.blocks.iter().filter(|block| block.outcome != Outcome::Skipped) {
        assert_eq!(block.outcome, Outcome::Unchanged, "{}", block.id);
        assert!(block.rows.is_empty() && block.objects.is_empty(), "{block:?}");
        assert!(block.locks.iter().all(|lock| lock.mode == "AccessShareLock"), "reading is all that it does: {:?}", block.locks);
    }
    assert_eq!(database.snapshot().await, before);
    as_expected(&database).await;

    let third = host.boot().await.unwrap();
    assert_eq!(third.boot.state, BootState::Complete);
    assert_eq!(database.snapshot().await, before);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn an_empty_database_is_built_from_the_blocks_alone() {
    let database = TestDatabase::empty().await;
    let report = database.host().folder(blocks()).boot().await.unwrap();
    assert_eq!(report.boot.state, BootState::Complete);
    let baseline = report.block("0000_baseline").unwrap();
    for table in ["capabilities", "test_suites", "test_run_log", "test_results", "transactions"] {
        assert!(
            baseline.objects.iter().any(|object| object.created && object.kind == "table" && object.object == table),
            "{table}"
        );
    }
    let found = database.host().folder(blocks()).verify().await.unwrap();
    assert!(found.holds() && found.not_applied.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn removing_the_bridge_is_deleting_its_file_and_putting_it_back_runs_it_again() {
    let database = TestDatabase::production_like().await;
    let folder = copy_of_blocks();
    let host = database.host().folder(folder.path());
    host.boot().await.unwrap();
    let before = database.snapshot().await;

    let file = folder.path().join(format!("{BRIDGE}.wasm"));
    std::fs::remove_file(&file).unwrap();
    let preview = host.plan().await.unwrap();
    assert_eq!(preview.retired, [BRIDGE], "plan says so before it is done");
    let report = host.boot().await.unwrap();
    assert_eq!(report.block(BRIDGE).unwrap().outcome, Outcome::Retired);
    assert_eq!(database.snapshot().await, before, "the column stays, and rows keep what they have");
    let status = host.status().await.unwrap();
    let retired = status.blocks.iter().find(|block| block.id == BRIDGE).unwrap();
    assert!(retired.retired_at.is_some());
    assert!(host.boot().await.unwrap().block(BRIDGE).is_none(), "it is told once");

    // What the bridge would set stays as inserted while it is gone.
    let insert = "insert into test_suites (capability_slug, test_name, test_type, input, validation_rules, external_cost_cents)
                  values ('some-capability', 'new', 'known_answer', '{}', '[]', 0)";
    database.client().await.batch_execute(insert).await.unwrap();
    std::fs::copy(blocks().join(format!("{BRIDGE}.wasm")), &file).unwrap();
    let report = host.boot().await.unwrap();
    let bridge = report.block(BRIDGE).unwrap();
    assert_eq!((bridge.outcome, bridge.rows[SUITES].updated), (Outcome::Applied, 1));
    let status = host.status().await.unwrap();
    assert!(status.blocks.iter().all(|block| block.retired_at.is_none()));
}

#[tokio::test]
async fn a_block_alone_runs_once_and_again_without_effect() {
    // Each block after those that it needs, on data: its second run, forced by forgetting that it was applied, changes nothing.
    let database = TestDatabase::production_like().await;
    let host = database.host().folder(blocks());
    host.boot().await.unwrap();
    let before = database.snapshot().await;
    let client = database.client().await;
    let ids: Vec<String> =
        client.query("select id from plinth.blocks order by id", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(ids.len(), 11);
    for id in ids {
        client.execute("update plinth.blocks set first_applied = null where id = $1", &[&id]).await.unwrap();
        let report = host.boot().await.unwrap();
        let block = report.block(&id).unwrap();
        assert!(matches!(block.outcome, Outcome::Applied | Outcome::Unchanged), "{id}: {block:?}");
        assert!(block.rows.is_empty() && block.objects.is_empty(), "{id} has no effect the second time: {block:?}");
        assert_eq!(database.snapshot().await, before, "{id}");
    }
}

#[tokio::test]
async fn the_index_that_is_built_concurrently_ends_valid_even_after_a_broken_build() {
    let database = TestDatabase::production_like().await;
    let client = database.client().await;
    // What a cancelled CREATE INDEX CONCURRENTLY leaves: an index of that name that is not valid.
    client
        .batch_execute("create index test_results_suite_executed_idx on test_results (test_suite_id, executed_at desc)")
        .await
        .unwrap();
    client
        .batch_execute("update pg_index set indisvalid = false where indexrelid = 'test_results_suite_executed_idx'::regclass")
        .await
        .unwrap();
    let report = database.host().folder(blocks()).boot().await.unwrap();
    let block = report.block("0031_test_results_suite_executed_idx").unwrap();
    assert_eq!(block.outcome, Outcome::Applied);
    let valid = "select count(*) from pg_index where indexrelid = 'test_results_suite_executed_idx'::regclass and indisvalid";
    assert_eq!(database.number(valid).await, 1);
}

#[tokio::test]
async fn the_invariant_holds_for_every_capability_that_always_calls_a_language_model() {
    let database = TestDatabase::production_like().await;
    database.host().folder(blocks()).boot().await.unwrap();
    // The list is data of 0064's crate, for whoever wants to read it.
    let list = include_str!("../../blocks/0064_always_llm_costs/always_llm.txt");
    let slugs: Vec<&str> = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(slugs.len(), 73);
    let broken = "select count(*) filter (where external_cost_cents > 0 and not scheduled_testing_eligible), count(*) from test_suites
                  where capability_slug = any($1) and active and test_mode = 'live' and test_type in ('known_answer', 'edge_case', 'negative', 'known_bad')";
    let row = database.client().await.query_one(broken, &[&slugs]).await.unwrap();
    let (held, all): (i64, i64) = (row.get(0), row.get(1));
    assert!(all >= 73 && held == all, "{held} of {all} live suites cost something and are not scheduled");
}
