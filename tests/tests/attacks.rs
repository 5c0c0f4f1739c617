//! Hostile components: each ends in bounded time with an error that names its block, leaves tables and sessions as they were,
//! and does not keep the next boot from working.

use plinth::ErrorClass;
use plinth_tests::{
    TestDatabase,
    attack::{Attack, attack, component, raw, refused_file},
    guest, guests,
};

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
    assert!(refused_file("no_manifest.wasm", &raw("no_manifest")).await.contains("carries no manifest"));
}

#[tokio::test]
async fn a_wasi_import_is_refused_with_what_to_do() {
    let error = refused_file("wasi_import.wasm", &raw("wasi_import")).await;
    assert!(error.contains("wasi:cli/environment") && error.contains("--target wasm32-unknown-unknown"), "{error}");
}

#[tokio::test]
async fn an_unknown_import_is_refused() {
    assert!(refused_file("unknown_import.wasm", &raw("unknown_import")).await.contains("other:thing/api"));
}

#[tokio::test]
async fn a_newer_contract_is_refused() {
    let error = refused_file("newer_contract.wasm", &raw("newer_contract")).await;
    assert!(error.contains("0.2.0") && error.contains("this host speaks"), "{error}");
}

#[tokio::test]
async fn a_wrong_world_is_refused() {
    assert!(
        refused_file("wrong_world.wasm", &raw("wrong_world"))
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
        ("core.wasm", component("(module)")),
    ] {
        let error = refused_file(file, &bytes).await;
        assert!(error.contains("component"), "{error}");
    }
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_unread() {
    assert!(refused_file("large.wasm", &vec![0; (4 << 20) + 1]).await.contains("a component may have 4194304"));
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

/// An attack by the guest that breaks the contract in the named way.
async fn breaks_contract(how: &str) -> plinth::ReportError {
    let table = format!("create table attack (statement text); insert into attack values ('{how}')");
    Attack::new().await.after(&table).await.by_guest("breaks_contract").await
}

#[tokio::test]
async fn an_endless_loop_at_the_start_is_interrupted() {
    let error = Attack::new().await.by_component("spin_at_start", &raw("spin_at_start")).await;
    assert!(error.message.contains("computed for longer than 1 s"), "{error}");
}

#[tokio::test]
async fn an_initial_memory_that_is_too_large_is_told_as_one() {
    let error = Attack::new().await.by_component("initial_memory", &raw("initial_memory")).await;
    assert!(error.message.contains("wanted more memory than its 64 MiB"), "{error}");
}

#[tokio::test]
async fn a_table_does_not_grow_without_end() {
    let error = Attack::new().await.by_component("table_growth", &raw("table_growth")).await;
    assert!(error.message.contains("more table elements than its 10000"), "{error}");
}

#[tokio::test]
async fn many_instances_are_not_made() {
    let instances = "(core instance (instantiate $m))".repeat(1000);
    let text = format!(
        r#"(component (core module $m (@custom "plinth:manifest" "id = \"many_instances\"\nkind = \"migration\"\ntitle = \"t\"\n"))
            {instances} (instance $migrate) (export "plinth:block/migrate@0.1.0" (instance $migrate)))"#
    );
    let error = Attack::new().await.by_component("many_instances", &component(&text)).await;
    assert!(error.message.contains("instance"), "{error}");
}

#[tokio::test]
async fn a_recursion_of_small_frames_ends_in_a_trap() {
    let bytes = raw("recursion_of_small_frames");
    let error = Attack::new().await.by_component("recursion_of_small_frames", &bytes).await;
    assert!(error.message.contains("stack overflowed"), "{error}");
}

#[tokio::test]
async fn an_async_component_is_refused() {
    let error = Attack::new().await.by_component("async_component", &raw("async_component")).await;
    assert_eq!(error.class, ErrorClass::Sandbox);
    assert!(error.message.contains("async"), "{error}");
}

#[tokio::test]
async fn imports_of_sockets_files_and_the_command_line_are_refused() {
    let text = std::fs::read_to_string(plinth_tests::root().join("tests/guests/raw/wasi_import.wat")).unwrap();
    for import in
        ["wasi:sockets/tcp", "wasi:filesystem/types", "wasi:cli/run", "wasi:http/outgoing-handler", "wasi:clocks/wall-clock"]
    {
        let bytes = component(&text.replace("wasi:cli/environment", import));
        assert!(refused_file("wasi.wasm", &bytes).await.contains(import));
    }
}

#[tokio::test]
async fn a_statement_of_invalid_utf8_is_a_broken_contract() {
    let error = breaks_contract("invalid_utf8").await;
    assert_eq!(error.class, ErrorClass::Sandbox);
    assert!(error.message.contains("broke its contract") && error.message.contains("utf-8"), "{error}");
}

#[tokio::test]
async fn an_argument_beyond_memory_is_a_broken_contract() {
    assert!(breaks_contract("argument_beyond_memory").await.message.contains("broke its contract"));
}

#[tokio::test]
async fn an_out_of_range_discriminant_is_a_broken_contract() {
    assert!(breaks_contract("out_of_range_discriminant").await.message.contains("discriminant"));
}

#[tokio::test]
async fn a_forged_handle_is_a_broken_contract() {
    assert!(breaks_contract("forged_handle").await.message.contains("unknown handle"));
}

#[tokio::test]
async fn a_handle_is_not_used_after_its_drop() {
    assert!(breaks_contract("use_after_drop").await.message.contains("unknown handle"));
    assert!(breaks_contract("dropped_twice").await.message.contains("unknown handle"));
}

#[tokio::test]
async fn leaked_handles_are_bounded() {
    assert!(breaks_contract("leaked_handles").await.message.contains("savepoints"));
}

#[tokio::test]
async fn a_statement_of_8_mib_is_not_sent() {
    let error = breaks_contract("statement_of_8_mib").await;
    assert_eq!(error.class, ErrorClass::Budget);
    assert!(error.message.contains("8388617 bytes") && error.message.contains("statement-bytes"), "{error}");
}

#[tokio::test]
async fn arguments_of_20_mib_do_not_reach_the_host() {
    assert!(breaks_contract("arguments_of_20_mib").await.message.contains("broke its contract"));
}

#[tokio::test]
async fn seventy_thousand_parameters_are_an_error_of_the_block() {
    let error = breaks_contract("seventy_thousand_parameters").await;
    assert_eq!(error.class, ErrorClass::Budget);
    assert!(error.message.contains("parameters"), "{error}");
}

#[tokio::test]
async fn nul_is_an_error_of_the_block() {
    assert!(breaks_contract("nul_in_statement").await.message.to_lowercase().contains("nul"));
    assert!(breaks_contract("nul_in_parameter").await.message.contains("NUL"));
}

#[tokio::test]
async fn a_flood_of_host_calls_is_ended() {
    let error = breaks_contract("host_call_flood").await;
    assert!(
        error.message.contains("more calls of the host than its 1000000") || error.message.contains("computed for longer"),
        "{error}"
    );
    let mut few =
        Attack::new().await.after("create table attack (statement text); insert into attack values ('host_call_flood')").await;
    few.limits.calls = 1000;
    let error = few.by_guest("breaks_contract").await;
    assert!(error.message.contains("more calls of the host than its 1000"), "{error}");
}

#[tokio::test]
async fn a_panic_in_a_drop_is_a_panic() {
    let error = breaks_contract("panic_in_drop").await;
    assert!(error.message.contains("panicked") && error.message.contains("dropped badly"), "{error}");
}

#[tokio::test]
async fn a_trap_after_the_first_write_undoes_it() {
    assert_eq!(breaks_contract("trap_after_first_write").await.class, ErrorClass::Sandbox);
}

#[tokio::test]
async fn a_compile_bomb_is_not_waited_for() {
    let functions: String = (0..20_000).map(|i| format!("(func (result i32) (i32.add (i32.const {i}) (i32.const 1)))")).collect();
    let text = format!(
        r#"(component (core module $m (@custom "plinth:manifest" "id = \"compile_bomb\"\nkind = \"migration\"\ntitle = \"t\"\n") {functions})
            (core instance (instantiate $m)) (instance $migrate) (export "plinth:block/migrate@0.1.0" (instance $migrate)))"#
    );
    let mut attack = Attack::new().await;
    attack.limits.compile = std::time::Duration::from_millis(100);
    let error = attack.by_component("compile_bomb", &component(&text)).await;
    assert!(error.message.contains("compiling it takes longer than 0.1 s"), "{error}");
}

/// Two blocks compute in one process; one is interrupted, the other one is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_of_one_block_alone() {
    let quiet = async { Attack::new().await.succeeds("sends", &["select pg_sleep(2)"]).await };
    let (error, report) = tokio::join!(attack("spin"), quiet);
    assert!(error.message.contains("computed for longer than 1 s"), "{error}");
    assert_eq!(report.boot.ran, 1);
}

#[tokio::test]
async fn a_fetch_of_nothing_and_of_four_gigabytes_comes_in_parts() {
    let database = TestDatabase::with_t().await;
    let large =
        "create table large (id int, text text); insert into large select i, repeat('x', 1000) from generate_series(1, 5000) i";
    database.client().await.batch_execute(large).await.unwrap();
    let report = database.host().folder(guests(&["fetches"]).path()).boot().await.unwrap();
    let told: Vec<Vec<u64>> = (report.block("fetches").unwrap().journal.iter())
        .map(|line| line.message.split(' ').map(|number| number.parse().unwrap()).collect())
        .collect();
    // Two bytes for the count of fields, four for each length, four for an integer.
    let bytes = 5000 * (2 + 4 + 4 + 4 + 1000);
    assert_eq!((told[0][1], told[1][1]), (bytes, bytes), "no row is lost and none comes twice");
    assert_eq!(told[0][0], 4901, "how large rows are is known after the first hundred; from then on each comes alone");
    assert!(told[1][2] <= 512 << 10, "a part is as large as the host allows: {told:?}");
    assert_eq!(database.left_behind().await, 0);
}

/// A component is made while its transaction is still being begun, so that what it sends then would stand in none.
#[tokio::test]
async fn a_component_that_calls_the_host_before_it_is_called_is_stopped() {
    let bytes = component(
        r#"(component
            (import "plinth:block/journal@0.1.0" (instance $journal (export "panicked" (func (param "message" string)))))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $bytes))
            (core func $panicked (canon lower (func $journal "panicked") (memory $bytes)))
            (core module $m (@custom "plinth:manifest" "id = \"too_early\"\nkind = \"migration\"\ntitle = \"t\"\n")
                (import "host" "panicked" (func $panicked (param i32 i32)))
                (func $starts (call $panicked (i32.const 0) (i32.const 0)))
                (start $starts))
            (core instance (instantiate $m (with "host" (instance (export "panicked" (func $panicked))))))
            (instance $migrate) (export "plinth:block/migrate@0.1.0" (instance $migrate)))"#,
    );
    let told = "the block wanted to call the host before it is called itself";
    let error = Attack::new().await.by_component("too_early", &bytes).await;
    assert_eq!(error.message, told);
    // Behind another block, whose COMMIT is on its way meanwhile.
    let database = TestDatabase::with_t().await;
    let folder = guests(&["once"]);
    std::fs::write(folder.path().join("too_early.wasm"), &bytes).unwrap();
    let Err(plinth::BootError::Failed(report)) = database.host().folder(folder.path()).boot().await else {
        panic!("it was to fail")
    };
    assert_eq!(report.block("once").unwrap().outcome, plinth::Outcome::Applied);
    let error = report.block("too_early").unwrap().error.as_ref().unwrap();
    assert_eq!(error.message, told);
    assert_eq!(database.left_behind().await, 0);
}
