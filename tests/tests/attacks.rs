//! Hostile components: each ends in bounded time with an error that names its block, leaves tables and sessions as they were,
//! and does not keep the next boot from working.

use plinth::{BootError, ErrorClass, Limits, ReportError};
use plinth_tests::{TestDatabase, guest, guests};
use std::{path::Path, time::Duration};

/// Boots with one guest under short limits; returns why it failed, after looking that nothing was left behind and that the
/// next block works.
async fn attack(name: &str) -> ReportError {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let limits = Limits { cpu: Duration::from_secs(1), wall: Duration::from_secs(4), statements: u64::MAX, ..Limits::default() };
    let host = database.host().limits(limits);
    let booted = tokio::time::timeout(Duration::from_secs(20), host.clone().folder(guests(&[name]).path()).boot()).await;
    let report = match booted.expect("the boot ends in bounded time") {
        Err(BootError::Failed(report)) => report,
        other => panic!("{name} was to fail: {other:?}"),
    };
    assert!(report.failure().unwrap().starts_with(&format!("{name}: ")), "the error names the block: {:?}", report.failure());
    assert_eq!(database.snapshot().await, before, "tables are as before");
    assert_eq!(database.left_behind().await, 0, "no session or lock is left");
    let ledger = database
        .text(&format!("select last_outcome || ' ' || (first_applied is null) from plinth.blocks where id = '{name}'"))
        .await;
    assert_eq!(ledger.as_deref(), Some("failed true"), "the ledger has it as failed and not as applied");
    // What was begun outside a transaction is not dropped without a word.
    let accepted = name.starts_with("outside").then_some(name);
    let next = database.host().accept_removal(accepted).folder(guests(&["claims"]).path()).boot().await.unwrap();
    assert_eq!(next.boot.ran, 1, "the next boot works");
    report.block(name).unwrap().error.clone().unwrap()
}

/// What loading a file says.
async fn refused(file: &str, bytes: Vec<u8>) -> String {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), bytes).unwrap();
    std::fs::copy(guest("claims"), folder.path().join("claims.wasm")).unwrap();
    let Err(error @ BootError::Load(_)) = database.host().folder(folder.path()).boot().await else {
        panic!("{file} was to be refused")
    };
    assert!(error.is_usage());
    assert!(error.to_string().contains(file), "the error names the file: {error}");
    assert_eq!(database.snapshot().await, before, "no other block ran");
    error.to_string()
}

fn raw(name: &str) -> Vec<u8> {
    wat::parse_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/raw").join(format!("{name}.wat"))).unwrap()
}

#[tokio::test]
async fn an_endless_loop_is_interrupted() {
    let error = attack("spin").await;
    assert_eq!(error.class, ErrorClass::Sandbox);
    assert!(error.message.contains("computed for longer than 1 s"), "{error}");
}

#[tokio::test]
async fn an_endless_loop_of_statements_meets_the_clock_on_the_wall() {
    let error = attack("spin_between").await;
    assert_eq!(error.class, ErrorClass::Budget);
    assert!(error.message.contains("longer than 4 s") && error.sql.as_deref() == Some("select 1"), "{error}");
}

#[tokio::test]
async fn a_statement_that_sleeps_is_cancelled() {
    let error = attack("slow").await;
    assert!(error.message.contains("longer than 4 s") && error.sql.as_deref().unwrap().contains("pg_sleep"), "{error}");
}

#[tokio::test]
async fn a_memory_bomb_is_told_as_one() {
    let error = attack("memory_bomb").await;
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::Sandbox, "the block wanted more memory than its 64 MiB"));
}

#[tokio::test]
async fn a_panic_tells_its_message_and_undoes_the_write_before_it() {
    let error = attack("panics").await;
    assert_eq!(error.class, ErrorClass::Sandbox);
    assert!(error.message.contains("panicked") && error.message.contains("the widget is missing"), "{error}");
}

#[tokio::test]
async fn a_deep_recursion_ends_in_a_trap() {
    let error = attack("recursion").await;
    assert!(error.message.contains("stack overflowed"), "{error}");
}

#[tokio::test]
async fn commit_is_refused_before_it_is_sent() {
    let error = attack("commits").await;
    assert_eq!((error.class, error.statement), (ErrorClass::Refused, Some(2)));
    assert!(error.message.contains("transaction-control"), "{error}");
}

#[tokio::test]
async fn a_refused_commit_that_is_ignored_still_fails_the_block() {
    let error = attack("commits_quietly").await;
    assert!(
        error.message.contains("transaction-control") && error.hint.unwrap().contains("went on after"),
        "the row does not stay"
    );
}

#[tokio::test]
async fn commit_inside_do_fails() {
    assert_eq!(attack("do_commits").await.sqlstate.as_deref(), Some("2D000"));
}

#[tokio::test]
async fn two_statements_in_one_are_refused() {
    assert!(attack("two_statements").await.message.contains("one-statement"));
}

#[tokio::test]
async fn a_failed_statement_cannot_be_ignored() {
    let error = attack("fails_after_swallow").await;
    assert_eq!((error.sqlstate.as_deref(), error.statement), (Some("23505"), Some(2)));
}

#[tokio::test]
async fn a_post_condition_that_does_not_hold_undoes_the_work() {
    let error = attack("fails_post_condition").await;
    assert_eq!(error.class, ErrorClass::PostCondition);
    assert!(error.message.contains("t has two rows") && error.message.contains("found 11, expected 2"), "{error}");
}

#[tokio::test]
async fn a_giant_error_message_is_cut() {
    let error = attack("giant_message").await;
    assert!(error.message.len() < 5_000, "{} bytes", error.message.len());
}

#[tokio::test]
async fn a_write_outside_a_transaction_is_refused() {
    let error = attack("outside_writes").await;
    assert!(error.message.contains("needs-transaction"), "{error}");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_bounded_and_steers_no_terminal() {
    let database = TestDatabase::with_t().await;
    let report = database.host().folder(guests(&["log_flood"]).path()).boot().await.unwrap();
    let journal = &report.block("log_flood").unwrap().journal;
    assert_eq!(journal.len(), 201, "200 lines and how many were left out");
    assert_eq!(journal.last().unwrap().message, "9800 more lines were left out");
    assert!(journal.iter().all(|line| !line.message.contains('\u{1b}')), "no escape reaches a terminal");
    assert!(journal.iter().any(|line| line.message.contains("\\u{1b}")), "but it is shown");
}

#[tokio::test]
async fn what_needs_no_transaction_runs_without_one() {
    let database = TestDatabase::with_t().await;
    let report = database.host().folder(guests(&["outside"]).path()).boot().await.unwrap();
    assert_eq!(report.block("outside").unwrap().objects[0].object, "t_a_idx");
}

#[tokio::test]
async fn a_missing_manifest_is_refused() {
    assert!(refused("no_manifest.wasm", raw("no_manifest")).await.contains("carries no manifest"));
}

#[tokio::test]
async fn a_wasi_import_is_refused_with_what_to_do() {
    let error = refused("wasi_import.wasm", raw("wasi_import")).await;
    assert!(error.contains("wasi:cli/environment") && error.contains("--target wasm32-unknown-unknown"), "{error}");
}

#[tokio::test]
async fn an_unknown_import_is_refused() {
    assert!(refused("unknown_import.wasm", raw("unknown_import")).await.contains("other:thing/api"));
}

#[tokio::test]
async fn a_newer_contract_is_refused() {
    let error = refused("newer_contract.wasm", raw("newer_contract")).await;
    assert!(error.contains("0.2.0") && error.contains("this host speaks"), "{error}");
}

#[tokio::test]
async fn a_wrong_world_is_refused() {
    assert!(
        refused("wrong_world.wasm", raw("wrong_world"))
            .await
            .contains("is a rule by its manifest, but exports no plinth:block/reconcile")
    );
}

#[tokio::test]
async fn a_truncated_empty_or_random_file_is_refused() {
    let whole = std::fs::read(guest("claims")).unwrap();
    for (file, bytes) in [
        ("truncated.wasm", whole[..whole.len() / 2].to_vec()),
        ("empty.wasm", Vec::new()),
        ("random.wasm", (0..4096_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("core.wasm", wat::parse_str("(module)").unwrap()),
    ] {
        let error = refused(file, bytes).await;
        assert!(error.contains("component"), "{error}");
    }
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_unread() {
    assert!(refused("large.wasm", vec![0; (4 << 20) + 1]).await.contains("a component may have 4194304"));
}

#[tokio::test]
async fn all_broken_files_are_told_at_once() {
    let database = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.wasm", "b.wasm", "c.wasm"] {
        std::fs::write(folder.path().join(name), b"broken").unwrap();
    }
    let error = database.host().folder(folder.path()).boot().await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 3, "{error}");
}
