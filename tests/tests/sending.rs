//! Statements that a block sends without waiting for them: they share round trips, and nothing else is different.

use plinth::{BlockReport, BootError, ErrorClass, Limits, Outcome, Report};
use plinth_tests::{TestDatabase, guests};
use proptest::{prelude::*, test_runner::TestRunner};
use std::time::Duration;

/// Sessions must not be left, locks must not be held for longer than this.
const SOON: Duration = Duration::from_secs(30);

/// What `follows` is to do: see there.
type Program<'a> = &'a [(&'a str, &'a str)];

async fn with_program(program: Program<'_>) -> TestDatabase {
    let database = TestDatabase::with_t().await;
    let client = database.client().await;
    client.batch_execute("create table program (n serial, what text, statement text)").await.unwrap();
    for step in program {
        client.execute("insert into program (what, statement) values ($1, $2)", &[&step.0, &step.1]).await.unwrap();
    }
    database
}

async fn boot(database: &TestDatabase, limits: Limits) -> Report {
    let host = database.host().limits(limits).folder(guests(&["follows"]).keep());
    match tokio::time::timeout(SOON, host.boot()).await.expect("the boot hangs") {
        Ok(report) => report,
        Err(BootError::Failed(report)) => *report,
        Err(other) => panic!("{other}"),
    }
}

/// The block that follows a program, and the boot's round trips.
async fn follow(database: &TestDatabase) -> (BlockReport, u64) {
    let report = boot(database, Limits::default()).await;
    (report.block("follows").unwrap().clone(), report.boot.round_trips)
}

/// The statement that failed.
fn failed(block: &BlockReport) -> (Option<u64>, Option<&str>, Option<&str>) {
    assert_eq!(block.outcome, Outcome::Failed, "{block:?}");
    let error = block.error.as_ref().unwrap();
    (error.statement, error.sql.as_deref(), error.sqlstate.as_deref())
}

const DUPLICATE: &str = "insert into t (id) values (101)";

#[tokio::test]
async fn statements_that_are_sent_share_a_round_trip() {
    let mut took = Vec::new();
    for what in ["send", "send with a parameter", "execute"] {
        let statements: Vec<String> = (0..100)
            .map(|number| match what {
                "send with a parameter" => "insert into t (id) select 1000 + $1 + max(id) from t".to_owned(),
                _ => format!("insert into t (id) values ({number})"),
            })
            .collect();
        let program: Vec<_> = statements.iter().map(|statement| (what, statement.as_str())).collect();
        let database = with_program(&program).await;
        let (block, round_trips) = follow(&database).await;
        assert_eq!((block.outcome, block.rows["public.t"].inserted, block.statements), (Outcome::Applied, 100, 101), "{block:?}");
        took.push(round_trips);
    }
    let [sent, with_a_parameter, waited] = took[..] else { panic!("{took:?}") };
    assert!(sent + 90 < waited && with_a_parameter + 90 < waited, "{took:?}");
}

#[tokio::test]
async fn a_look_that_finds_no_row_knows_its_columns_and_takes_no_more_round_trips_than_one_that_does() {
    let looks = [
        ("look for one", "select 1 as a, date '2026-01-01' as b"),
        ("look for one", "select null::integer as a, null::date as b"),
        ("look for none", "select 1 as a, date '2026-01-01' as b where false"),
        // Of a type that only text can carry, as long as there is a value.
        ("look for none", "select 1 as a, null::point as b where false"),
    ];
    let mut took = Vec::new();
    for look in looks {
        let (block, round_trips) = follow(&with_program(&[look; 20]).await).await;
        assert_eq!((block.outcome, block.statements), (Outcome::Applied, 21), "{look:?}: {block:?}");
        took.push(round_trips);
    }
    // Whether two answers are read at once is the machine's.
    assert!(took.iter().all(|trips| trips.abs_diff(took[0]) < 10), "{took:?}");
}

#[tokio::test]
async fn what_a_sub_step_undid_is_known_whatever_it_made_of_the_search_path() {
    let database = with_program(&[
        ("query", "select goes('evil, pg_catalog, public, pg_temp')"),
        ("execute", "insert into public.t (id) values (2)"),
        ("open", ""),
        ("execute", "insert into public.t (id) values (1)"),
        ("execute", DUPLICATE),
        ("close", ""),
        ("query", "select public.goes('public, pg_temp')"),
    ])
    .await;
    let evil = "create schema evil;
        create view evil.pg_class as select * from pg_catalog.pg_class where false;
        create function goes(text) returns text language sql as $$ select pg_catalog.set_config('search_path', $1, true) $$";
    database.client().await.batch_execute(evil).await.unwrap();
    let (block, _) = follow(&database).await;
    assert_eq!((block.outcome, block.rows["public.t"].inserted), (Outcome::Applied, 1), "{block:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_statement_that_was_sent_fails_the_block_and_names_it() {
    let (good, more) = ("insert into t (id) values (1)", "insert into t (id) values (2)");
    let begun = [("send", good), ("send", DUPLICATE), ("send", more)];
    // What the block does behind it, and what it makes of what it hears.
    let behind: [Program<'_>; 7] = [
        &[],
        &[("look", "select true")],
        &[("query", "select 1")],
        &[("execute", more)],
        &[("send with a parameter", "insert into t (id) values ($1)")],
        &[("execute and ignore", more)],
        &[("execute and ignore", more), ("look", "select true")],
    ];
    for behind in behind {
        let database = with_program(&[&begun, behind].concat()).await;
        let before = database.snapshot().await;
        let (block, _) = follow(&database).await;
        // The first statement reads the program.
        assert_eq!(failed(&block), (Some(3), Some(DUPLICATE), Some("23505")), "{behind:?}");
        let error = block.error.unwrap();
        assert_eq!(error.class, ErrorClass::Database);
        let ignored = behind.iter().any(|(what, _)| what.ends_with("ignore"));
        let told = error.hint.is_some_and(|hint| hint.contains("went on after this failure"));
        assert_eq!(told, ignored, "{behind:?}");
        assert_eq!(database.snapshot().await, before, "{behind:?}");
        assert_eq!(database.left_behind().await, 0);
    }
}

#[tokio::test]
async fn what_the_host_refuses_is_told_at_once() {
    for (statement, class) in [("commit", ErrorClass::Refused), ("insert into elsewhere values (1)", ErrorClass::Refused)] {
        let database = with_program(&[("send", "insert into t (id) values (1)"), ("send", statement), ("compute", "")]).await;
        let (block, _) = follow(&database).await;
        assert_eq!(failed(&block), (Some(3), Some(statement), None));
        assert_eq!(block.error.unwrap().class, class);
    }
}

#[tokio::test]
async fn a_sub_step_waits_for_what_was_sent_in_it_and_is_undone_alone() {
    let program = [
        ("send", "insert into t (id) values (1)"),
        ("open", ""),
        ("send", "insert into t (id) values (2)"),
        ("send", DUPLICATE),
        ("close", ""),
        ("send", "insert into t (id) values (3)"),
        ("open", ""),
        ("send", "insert into t (id) values (4)"),
        ("close", ""),
    ];
    let database = with_program(&program).await;
    let (block, _) = follow(&database).await;
    assert_eq!((block.outcome, block.rows["public.t"].inserted), (Outcome::Applied, 3), "{block:?}");
    assert_eq!(database.text("select string_agg(id::text, ' ' order by id) from t where id < 100").await.unwrap(), "1 3 4");
    let undone = block.journal.iter().filter(|line| line.message.starts_with("undone: ")).count();
    assert_eq!(undone, 1, "{:?}", block.journal);
}

#[tokio::test]
async fn a_block_that_ends_otherwise_leaves_nothing_of_what_it_sent() {
    let sent = [("send", "alter table t add column c int"), ("send", "select pg_sleep(600)")];
    let ends = [
        (("panic", ""), Outcome::Failed, "panicked"),
        (("give up", ""), Outcome::Failed, "as the program says"),
        (("defer", ""), Outcome::Deferred, "as the program says"),
        (("compute", ""), Outcome::Failed, "computed for longer"),
    ];
    for (end, outcome, says) in ends {
        let database = with_program(&[&sent[..], &[end]].concat()).await;
        let before = database.snapshot().await;
        let report = boot(&database, Limits { cpu: Duration::from_millis(300), ..Limits::default() }).await;
        let block = report.block("follows").unwrap();
        let told = block.error.as_ref().map_or(block.message.as_deref(), |error| Some(error.message.as_str()));
        assert_eq!(block.outcome, outcome, "{block:?}");
        assert!(told.is_some_and(|told| told.contains(says)), "{block:?}");
        assert_eq!(database.snapshot().await, before);
        assert_eq!(database.left_behind().await, 0, "{end:?}");
        let sleeps =
            "select count(*) from pg_stat_activity where state <> 'idle' and query like '%pg_sleep%' and pid <> pg_backend_pid()
                      and datname = current_database()";
        assert_eq!(database.number(sleeps).await, 0, "{end:?}");
    }
}

#[tokio::test]
async fn a_block_that_takes_too_long_names_the_statement_that_runs() {
    let sleeps = "select pg_sleep(600)";
    let program = [("send", "insert into t (id) values (1)"), ("send", sleeps), ("send", "insert into t (id) values (2)")];
    for behind in [&[][..], &[("query", "select 2")], &[("look", "select true")]] {
        let database = with_program(&[&program[..], behind].concat()).await;
        let report = boot(&database, Limits { wall: Duration::from_millis(1500), ..Limits::default() }).await;
        let error = report.block("follows").unwrap().error.clone().unwrap();
        assert_eq!(error.class, ErrorClass::Budget, "{error:?}");
        assert_eq!((error.statement, error.sql.as_deref()), (Some(3), Some(sleeps)), "{behind:?}");
        assert_eq!(database.left_behind().await, 0, "{behind:?}");
    }
}

#[tokio::test]
async fn more_can_be_sent_than_is_on_its_way_at_once_and_rows_of_an_answer_hold_up_nothing() {
    let many = "select repeat('x', 100) from generate_series(1, 100000)";
    let statements: Vec<String> =
        (0..300).map(|number| format!("insert into t (id) values ({number}) on conflict do nothing")).collect();
    let mut program = vec![("send", many); 2];
    program.extend(statements.iter().map(|statement| ("send", statement.as_str())));
    program.push(("send", many));
    let database = with_program(&program).await;
    let (block, _) = follow(&database).await;
    assert_eq!((block.outcome, block.rows["public.t"].inserted), (Outcome::Applied, 290), "{block:?}");
}

/// What a block did is asked before its post-conditions are looked at, so what these may do in the session is looked for after them.
#[tokio::test]
async fn post_conditions_leave_nothing_behind_that_outlasts_their_savepoint() {
    let replaces = "execute 'deallocate plinth_record'; execute 'prepare plinth_record(text) as select $1'";
    let takes_away = "execute 'deallocate plinth_fence'";
    let replaced = "what the host has prepared is not as it was before the block";
    let does = [
        (replaces, Some(replaced)),
        (takes_away, Some(replaced)),
        // These go with the savepoint.
        ("perform set_config('search_path', 'elsewhere', false); perform set_config('role', 'pg_monitor', false)", None),
        ("execute 'listen a'", None),
        ("perform pg_advisory_xact_lock(1)", None),
        // This one with COMMIT.
        ("perform pg_advisory_lock(1)", None),
    ];
    for (does, harm) in does {
        let database = with_program(&[("send", "insert into t (id) values (1)"), ("look", "select does()")]).await;
        let function = format!("create function does() returns bool language plpgsql as $$ begin {does}; return true; end $$");
        database.client().await.batch_execute(&function).await.unwrap();
        let (block, _) = follow(&database).await;
        let error = block.error.as_ref().map(|error| (error.class, error.message.as_str()));
        match harm {
            Some(harm) => {
                assert!(matches!(error, Some((ErrorClass::Effects, told)) if told.ends_with(harm)), "{does}: {error:?}")
            }
            None => assert_eq!((block.outcome, error), (Outcome::Applied, None), "{does}"),
        }
        assert_eq!(database.number("select count(*) from t where id = 1").await, i64::from(harm.is_none()), "{does}");
        assert_eq!(database.left_behind().await, 0, "{does}");
    }
}

#[tokio::test]
async fn a_look_that_is_refused_is_named() {
    // What was sent before it is not answered yet, or what the host asks before it.
    for what in ["send", "execute"] {
        let database = with_program(&[(what, "select pg_sleep(0.1)"), ("look", "commit")]).await;
        let (block, _) = follow(&database).await;
        assert_eq!(failed(&block), (Some(3), Some("commit"), None), "{what}");
    }
}

/// What is put off to the block's end comes before its post-conditions are looked at.
#[tokio::test]
async fn what_is_put_off_to_the_end_fails_the_block_before_anything_is_looked_at() {
    let database =
        with_program(&[("send", "insert into t (id, a) values (1, 7)"), ("look", "select false"), ("look", "select 1 / 0 = 1")])
            .await;
    let deferred = "create table of (a int primary key); update t set a = null;
                    alter table t add foreign key (a) references of deferrable initially deferred";
    database.client().await.batch_execute(deferred).await.unwrap();
    let (block, _) = follow(&database).await;
    let error = block.error.unwrap();
    assert!(error.message.starts_with("what was put off to the block's end: "), "{error:?}");
    assert_eq!(error.sqlstate.as_deref(), Some("23503"));
}

/// A block that only ever sends is not let go on for long behind a failure.
#[tokio::test]
async fn what_failed_is_heard_before_much_more_is_sent() {
    let statements: Vec<String> = (1000..2000).map(|number| format!("insert into t (id) values ({number})")).collect();
    let mut program = vec![("send", DUPLICATE)];
    program.extend(statements.iter().map(|statement| ("send", statement.as_str())));
    let database = with_program(&program).await;
    let (block, _) = follow(&database).await;
    assert_eq!(failed(&block), (Some(2), Some(DUPLICATE), Some("23505")));
    // The first reads the program, sixty-four are on their way at once, and one more hears of it.
    assert_eq!(block.statements, 66);
}

#[tokio::test]
async fn a_rehearsal_watches_each_statement_that_is_sent() {
    let program = [("send", "insert into t (id) values (1), (2)"), ("send", "create table made (id int)")];
    let database = with_program(&program).await;
    let host = database.host().folder(guests(&["follows"]).keep());
    let rehearsal = host.rehearse().await.unwrap();
    let statements = &rehearsal.block("follows").unwrap().statements;
    let seen: Vec<_> = statements.iter().map(|statement| (statement.sql.as_str(), statement.rows)).collect();
    assert_eq!(seen[1..], [(program[0].1, Some(2)), (program[1].1, Some(0))], "{statements:?}");
}

/// Steps in any order: statements that do something, that fail, and sub-steps around them.
fn steps() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let statement = prop_oneof![
        4 => (0..8_i32).prop_map(|id| format!("insert into t (id) values ({id})")),
        2 => (0..8_i32).prop_map(|id| format!("update t set a = a + 1 where id <= {id}")),
        1 => (0..3_i32).prop_map(|number| format!("create table made_{number} (id int)")),
        1 => (0..8_i32).prop_map(|id| format!("update t set a = 1 / (id - {id}) where id < 8")),
    ];
    let how = prop_oneof![6 => Just("send"), 1 => Just("execute"), 1 => Just("query")];
    let one = (how, statement).prop_map(|(how, statement)| match how {
        "query" => vec![(how, "select count(*) from t".to_owned())],
        _ => vec![(how, statement)],
    });
    let leaf = prop::collection::vec(one, 1..6).prop_map(|steps| steps.concat());
    let inside = leaf.prop_recursive(3, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| parts.concat()),
            inner.prop_map(|steps| [vec![("open", String::new())], steps, vec![("close", String::new())]].concat()),
        ]
    });
    // Each has a text of its own, by which a failure is known.
    inside.prop_map(|steps| {
        let named = |(number, (how, text)): (usize, (_, String))| match how {
            "open" | "close" => (how, text),
            _ => (how, format!("{text} /* {number} */")),
        };
        steps.into_iter().enumerate().map(named).collect()
    })
}

/// What a boot with these steps comes to.
async fn comes_to(steps: &[(&'static str, String)], wait: bool) -> String {
    let program: Vec<_> =
        steps.iter().map(|(how, text)| (if wait && *how == "send" { "execute" } else { how }, text.as_str())).collect();
    let database = with_program(&program).await;
    let (block, _) = follow(&database).await;
    let undone = block.journal.iter().filter(|line| line.message.starts_with("undone")).count();
    let error = block.error.as_ref().map(|error| (&error.sql, &error.sqlstate, &error.message, &error.hint));
    let (told, rows) =
        (format!("{:?} {error:?} {undone} {:?}", block.outcome, block.rows), database.number("select count(*) from t").await);
    let sum = database.text("select string_agg(id || ' ' || coalesce(a, -1), ', ' order by id) from t").await;
    assert_eq!(database.left_behind().await, 0);
    let same = format!("{told} {:?} {rows} {sum:?} {}", block.objects, database.text(MADE).await.unwrap_or_default());
    database.remove(plinth_tests::server()).await;
    same
}

const MADE: &str = "select string_agg(relname, ' ' order by relname) from pg_class where relname like 'made%'";

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_sends_comes_to_the_same_as_one_that_waits() {
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() });
        let law = runner.run(&steps(), |steps| {
            let (sent, waited) = handle.block_on(async { (comes_to(&steps, false).await, comes_to(&steps, true).await) });
            prop_assert_eq!(sent, waited);
            Ok(())
        });
        law.unwrap_or_else(|broken| panic!("{broken}"));
    })
    .await
    .unwrap();
}
