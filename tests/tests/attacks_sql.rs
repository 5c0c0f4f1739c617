//! Hostile statements. Each test is an attack, sent by a block after a write of its own: the boot fails in bounded time with an
//! error that names the block, tables and ledger are as before, nothing is left behind and the next boot works.

use plinth::{BootError, ErrorClass};
use plinth_tests::{
    attack::{Attack, declared, refused, refused_though_declared},
    guests,
};

#[tokio::test]
async fn commit_rollback_and_begin() {
    for statement in
        ["COMMIT", "commit and chain", "end", "rollback", "abort", "begin", "start transaction", "rollback and chain"]
    {
        assert_eq!(refused_though_declared(&[statement]).await, "transaction-control", "{statement}");
    }
}

#[tokio::test]
async fn savepoints_with_the_hosts_names() {
    for statement in ["savepoint plinth_verify", "release plinth_verify", "rollback to savepoint plinth_verify"] {
        assert_eq!(refused_though_declared(&[statement]).await, "transaction-control", "{statement}");
    }
}

#[tokio::test]
async fn prepare_transaction() {
    for statement in ["prepare transaction 'a'", "commit prepared 'a'", "rollback prepared 'a'"] {
        assert_eq!(refused_though_declared(&[statement]).await, "transaction-control", "{statement}");
    }
}

#[tokio::test]
async fn two_statements_in_one_and_keywords_behind_comments() {
    assert_eq!(refused_though_declared(&["select 1; commit"]).await, "one-statement");
    assert_eq!(refused_though_declared(&["/* a /* nested */ b */ commit -- c"]).await, "transaction-control");
    assert_eq!(refused_though_declared(&["--\ncommit"]).await, "transaction-control");
}

#[tokio::test]
async fn do_and_call_with_commit() {
    assert_eq!(refused(&["do $$ begin commit; end $$"]).await, "do");
    assert_eq!(refused(&["call p()"]).await, "call");
    let error = declared(&["do $$ begin commit; end $$"]).await;
    assert_eq!(error.sqlstate.as_deref(), Some("2D000"), "PostgreSQL itself refuses it inside a transaction: {error}");
    let procedure = "create procedure p() language plpgsql as $$ begin insert into t (id) values (2); commit; end $$";
    assert_eq!(declared(&[procedure, "call p()"]).await.sqlstate.as_deref(), Some("2D000"));
}

#[tokio::test]
async fn set_and_reset_role() {
    for statement in [
        "set role none",
        "reset role",
        "set session authorization default",
        "reset all",
        "set local statement_timeout = 0",
        "set time zone 'UTC'",
    ] {
        assert_eq!(refused_though_declared(&[statement]).await, "session", "{statement}");
    }
}

#[tokio::test]
async fn set_config_by_name() {
    for setting in ["role", "session_authorization", "statement_timeout", "search_path"] {
        assert_eq!(refused_though_declared(&[&format!("select set_config('{setting}', 'none', false)")]).await, "function");
    }
    assert_eq!(refused_though_declared(&[r#"select U&"set\005fconfig"('role', 'none', false)"#]).await, "hidden-name");
    assert_eq!(
        refused_though_declared(&["update pg_settings set setting = '0' where name = 'statement_timeout'"]).await,
        "catalog"
    );
}

/// What the text does not show, the comparison around the block does.
#[tokio::test]
async fn set_config_inside_do_is_seen_afterwards() {
    for (change, what) in [
        ("set_config('role', (select rolname from pg_roles where rolname = 'pg_monitor'), false)", "current_user"),
        ("set_config('statement_timeout', '0', true)", "statement_timeout"),
        ("set_config('lock_timeout', '0', false)", "lock_timeout"),
        ("set_config('search_path', 'pg_catalog', false)", "search_path"),
        ("set_config('session_replication_role', 'replica', false)", "session_replication_role"),
        ("set_config('row_security', 'off', false)", "row_security"),
    ] {
        let error = declared(&[&format!("do $$ begin perform {change}; end $$")]).await;
        assert_eq!(error.class, ErrorClass::Effects, "{error}");
        assert!(error.message.contains(what), "{error}");
    }
    let error = declared(&["do $$ begin set session authorization pg_monitor; end $$"]).await;
    assert!(error.message.contains("not as it was before the block") || error.sqlstate.is_some(), "{error}");
}

#[tokio::test]
async fn functions_that_fit_the_hosts_questions_better_are_not_called() {
    // How a session stands is asked with a list of texts, which PostgreSQL's own function takes as one of anything.
    let answers = "create function public.array_to_string(text[], text, text) returns text language sql as $$ select '' $$";
    let attack = Attack::new().await.after(answers).await;
    let error =
        attack.by_statements("sends_declared", &["do $$ begin perform set_config('row_security', 'off', false); end $$"]).await;
    assert!(error.message.contains("row_security"), "{error}");
}

#[tokio::test]
async fn a_schema_before_postgresqls_own_does_not_answer_for_it() {
    // Its answers are what was there before: the search path as it was, and nothing that is locked.
    let before = "create schema evil;
        create view evil.pg_locks as select * from pg_catalog.pg_locks where false;
        create function evil.current_setting(text, boolean) returns text language sql as
            $$ select case $1 when 'search_path' then 'public, pg_temp' else pg_catalog.current_setting($1, $2) end $$;
        create table undeclared (id int)";
    for local in [true, false] {
        let attack = Attack::new().await.after(before).await;
        let evil = format!(
            "do $$ begin
                insert into public.undeclared values (1);
                perform set_config('search_path', 'evil, pg_catalog, public, pg_temp', {local});
            end $$"
        );
        let error = attack.by_statements("sends_declared", &[&evil]).await;
        assert_eq!(error.class, ErrorClass::Effects, "{error}");
        assert!(error.message.contains("search_path is not as it was before the block"), "{error}");
    }
}

#[tokio::test]
async fn copy_in_all_forms() {
    for statement in [
        "copy t from stdin",
        "copy t to stdout",
        "copy t from '/etc/passwd'",
        "copy (select 1) to '/tmp/plinth_attack'",
        "copy t from program 'id'",
        "copy (select 1) to program 'id'",
    ] {
        assert_eq!(refused_though_declared(&[statement]).await, "forbidden", "{statement}");
    }
    let error = declared(&["do $$ begin copy t from stdin; end $$"]).await;
    assert!(error.sqlstate.is_some(), "PL/pgSQL has no COPY from the client: {error}");
}

#[tokio::test]
async fn functions_that_leave_the_database() {
    for call in
        ["pg_read_file('/etc/passwd')", "lo_import('/etc/passwd')", "pg_ls_dir('/')", "dblink_connect('host=a')", "loread(1, 1)"]
    {
        assert_eq!(refused_though_declared(&[&format!("select {call}")]).await, "function", "{call}");
    }
    assert_eq!(refused_though_declared(&["select * from dblink('host=a', 'select 1') as t (a int)"]).await, "function");
    let c = "create function system(cstring) returns int language c as 'libc.so.6', 'system'";
    assert_eq!(refused_though_declared(&[c]).await, "language");
    assert_eq!(refused_though_declared(&["do language plpython3u $$ import os $$"]).await, "language");
}

#[tokio::test]
async fn pg_sleep_is_ended() {
    let error = declared(&["select pg_sleep(600)"]).await;
    assert!(error.message.contains("longer than 4 s"), "{error}");
}

#[tokio::test]
async fn pg_terminate_backend() {
    assert_eq!(refused_though_declared(&["select pg_terminate_backend(pg_backend_pid())"]).await, "function");
    assert_eq!(refused_though_declared(&["select pg_cancel_backend(pid) from pg_stat_activity"]).await, "function");
}

#[tokio::test]
async fn advisory_locks() {
    for call in ["pg_advisory_lock(1)", "pg_advisory_unlock_all()", "pg_try_advisory_xact_lock(1)", "pg_advisory_unlock(1)"] {
        assert_eq!(refused_though_declared(&[&format!("select {call}")]).await, "function", "{call}");
    }
    let error = declared(&["do $$ begin perform pg_advisory_lock(1); end $$"]).await;
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::Effects, "the block holds an advisory lock"));
    // It would outlive the rollback of a block that fails.
    let error = declared(&["do $$ begin perform pg_advisory_lock(1); raise 'failed'; end $$"]).await;
    assert_eq!(error.sqlstate.as_deref(), Some("P0001"));
}

#[tokio::test]
async fn lock_table() {
    assert_eq!(refused(&["lock table t in access exclusive mode"]).await, "lock-table");
    assert_eq!(refused_though_declared(&["lock table plinth.ledger"]).await, "ledger");
}

#[tokio::test]
async fn listen_and_notify() {
    for statement in ["listen a", "notify a", "unlisten *"] {
        assert_eq!(refused_though_declared(&[statement]).await, "session", "{statement}");
    }
    assert_eq!(refused_though_declared(&["select pg_notify('a', 'b')"]).await, "function");
}

#[tokio::test]
async fn cursors_and_prepared_statements() {
    for statement in [
        "declare c cursor with hold for select 1",
        "fetch all from c",
        "close all",
        "prepare p as select 1",
        "execute p",
        "deallocate all",
        "discard all",
        "discard plans",
    ] {
        assert_eq!(refused_though_declared(&[statement]).await, "session", "{statement}");
    }
}

#[tokio::test]
async fn create_extension() {
    assert_eq!(refused(&["create extension dblink"]).await, "create-extension");
}

#[tokio::test]
async fn create_function_security_definer() {
    let function = "create function f() returns int language sql security definer as 'select 1'";
    assert_eq!(refused(&[function]).await, "create-function");
    assert_eq!(refused(&["alter function f() security definer"]).await, "create-function");
}

#[tokio::test]
async fn triggers_and_rules_on_the_ledger() {
    let function = "create function f() returns trigger language plpgsql as $$ begin return null; end $$";
    let trigger = "create trigger a before insert on plinth.outcomes for each row execute function f()";
    let rule = "create rule a as on insert to plinth.outcomes do instead nothing";
    assert_eq!(refused_though_declared(&[function, trigger]).await, "ledger");
    assert_eq!(refused_though_declared(&[rule]).await, "ledger");
    for hidden in [format!("do $a$ begin {trigger}; end $a$"), format!("do $a$ begin {rule}; end $a$")] {
        let error = declared(&[function, &hidden]).await;
        assert_eq!((error.class, error.message.as_str()), (ErrorClass::Effects, "the block reached into the ledger"));
    }
}

#[tokio::test]
async fn drop_of_the_ledger() {
    for statement in
        ["drop schema plinth cascade", "drop table plinth.blocks", "alter table t set schema plinth", "truncate plinth.boots"]
    {
        assert_eq!(refused_though_declared(&[statement]).await, "ledger", "{statement}");
    }
    declared(&["do $$ begin drop schema plinth cascade; end $$"]).await;
    declared(&["do $$ begin drop table plinth.outcomes; end $$"]).await;
    let error = declared(&["do $$ begin delete from plinth.blocks; end $$"]).await;
    assert_eq!(error.class, ErrorClass::Effects, "{error}");
}

#[tokio::test]
async fn temporary_tables_that_shadow_names() {
    assert_eq!(refused(&["create temp table t (id int)"]).await, "temporary");
    // A shadow of what the host measures with, and one of the block's own table.
    let error = declared(&[
        "create temp table pg_locks (a int) on commit drop",
        "create temp table t (id int) on commit drop",
        "do $$ begin perform pg_advisory_lock(1); end $$",
    ])
    .await;
    assert_eq!(error.message, "the block holds an advisory lock", "the host still sees its own pg_locks");
}

#[tokio::test]
async fn alter_role_database_and_system() {
    for statement in [
        "alter role postgres superuser",
        "alter user postgres set statement_timeout = 0",
        "create role a superuser",
        "alter database postgres set statement_timeout = 0",
        "alter system set fsync = off",
        "create tablespace a location '/tmp'",
        "create subscription a connection 'host=a' publication b",
        "create server s foreign data wrapper w",
        "create event trigger e on ddl_command_start execute function f()",
    ] {
        assert_eq!(refused_though_declared(&[statement]).await, "forbidden", "{statement}");
    }
}

#[tokio::test]
async fn grant_to_itself() {
    assert_eq!(refused(&["grant all on t to public"]).await, "grant");
    assert_eq!(refused_though_declared(&["grant pg_execute_server_program to current_user"]).await, "forbidden");
    assert_eq!(refused_though_declared(&["grant all on all tables in schema plinth to public"]).await, "ledger");
}

#[tokio::test]
async fn a_deferred_constraint_that_fails_at_commit() {
    let prepared = "create table parent (id int primary key);
                    alter table t add constraint t_b foreign key (b) references parent deferrable initially deferred not valid";
    let attack = Attack::new().await.after(prepared).await;
    let error = attack.by_statements("sends", &["insert into t (id, b) values (2, 77)"]).await;
    assert_eq!(error.sqlstate.as_deref(), Some("23503"), "{error}");
    assert!(error.message.contains("put off to the block's end"), "{error}");
}

#[tokio::test]
async fn a_hundred_thousand_notices() {
    let flood = |count: u32| format!("do $$ begin for i in 1..{count} loop raise warning 'notice %', i; end loop; end $$");
    let error = declared(&[&flood(100_000)]).await;
    assert_eq!(error.class, ErrorClass::Budget, "{error}");
    assert!(error.message.contains("more than 10000 warnings (notices)"), "{error}");
    // They count over all statements of a block, and what is allowed is only thrown away.
    let error = declared(&[&flood(6_000), &flood(6_000)]).await;
    assert!(error.message.contains("notices") && error.statement.is_some_and(|number| number > 2), "{error}");
    Attack::new().await.succeeds("sends_declared", &[&flood(9_000), "select 1"]).await;
    let mut few = Attack::new().await;
    few.limits.set("notices", "10").unwrap();
    let error = few.by_statements("sends_declared", &[&flood(11)]).await;
    assert!(error.message.contains("more than 10 warnings"), "{error}");
}

/// What PostgreSQL says about rows stays in the database, unless somebody asks for it.
#[tokio::test]
async fn an_error_text_with_a_secret_in_it() {
    let people = "alter table t add email text unique; update t set email = 'ada@secret.example' where id = 101;
                  create table parent (email text primary key);
                  alter table t add constraint known foreign key (email) references parent (email)
                      deferrable initially deferred not valid";
    for (statement, sqlstate, shown) in [
        ("insert into t (id, email) select 3, email from t where id = 101", "23505", "t (t_email_key)"),
        ("select email::integer from t where id = 101", "22P02", "invalid input syntax for type integer: \"…\""),
        (
            "insert into t (id, email) select 2, 'the other ' || email from t where id = 101",
            "23503",
            "put off to the block's end",
        ),
        ("do $$ begin perform email::integer from t where id = 101; end $$", "22P02", "invalid input syntax"),
    ] {
        for asked in [false, true] {
            let attack = Attack::new().await.after(people).await;
            let database = &attack.database;
            let client = database.client().await;
            client.batch_execute("create table attack (n int, statement text, reads boolean)").await.unwrap();
            let reads = statement.starts_with("select");
            client.execute("insert into attack values (1, $1, $2)", &[&statement, &reads]).await.unwrap();
            let blocks = guests(&["sends_declared"]);
            let host = database.host().limits(attack.limits.clone()).folder(blocks.path());
            let booted = if asked { host.show_values().boot().await } else { host.boot().await };
            let Err(BootError::Failed(report)) = booted else { panic!("{statement} was to fail: {booted:?}") };
            let error = report.block("sends_declared").unwrap().error.clone().unwrap();
            assert_eq!(error.sqlstate.as_deref(), Some(sqlstate), "{error:?}");
            assert!(asked || error.to_string().contains(shown), "{error}");
            let kept = "select (select string_agg(o::text, ' ') from plinth.outcomes o) || (select string_agg(b::text, ' ') from plinth.boots b)";
            let kept = database.text(kept).await.unwrap();
            assert!(kept.contains(sqlstate), "{kept}");
            // The statement itself is the block's, and shown.
            assert_eq!(format!("{report:?}").contains("ada@"), asked, "{report:?}");
            assert_eq!(kept.contains("ada@"), asked, "{kept}");
        }
    }
}

/// What a block raises is shown as text and cut; parameters are never part of a report.
#[tokio::test]
async fn an_error_text_that_steers_a_terminal() {
    let error = declared(&[
        r"do $$ begin raise exception E'a\x1b[2Jb%', repeat('x', 100000) using detail = E'\x07', hint = E'\x1b[31m'; end $$",
    ])
    .await;
    let told = format!("{error:?}");
    assert!(error.message.contains("a\\u{1b}[2Jb") && error.message.len() < 5_000, "{error}");
    assert!(!told.contains('\u{1b}') && !told.contains('\u{7}'), "{told}");
}

#[tokio::test]
async fn a_name_that_steers_a_terminal() {
    let create = "create table \"evil\u{1b}[2J\nname\" (a int)";
    let report = Attack::new().await.succeeds("sends", &[create]).await;
    let object = &report.block("sends").unwrap().objects[0].object;
    assert_eq!(object, "evil\\u{1b}[2J\\nname", "{report:?}");
}

/// What nothing but the end of its process ends: cancelled, then terminated, from another connection.
#[tokio::test]
async fn a_do_block_that_swallows_cancels_is_ended() {
    let swallows = "do $$ begin loop begin perform pg_sleep(600); exception when query_canceled then null; end; end loop; end $$";
    let error = declared(&[swallows]).await;
    assert_eq!(error.class, ErrorClass::Budget);
    assert!(error.message.contains("longer than 4 s") && error.sql.as_deref() == Some(swallows), "{error}");
}

/// A server process that does nothing at all any more: the host gives the connection up. The process is let go afterwards, so that
/// the test can look at what was left behind.
#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let attack = Attack::new().await;
    let (name, url) = (attack.database.name.clone(), attack.database.url.clone());
    let stopper = tokio::spawn(async move {
        let client = plinth_tests::connect(&url).await;
        let asleep = format!(
            "select pid from pg_stat_activity where datname = '{name}' and query like '%pg_sleep(3600)%' and state = 'active' and pid <> pg_backend_pid()"
        );
        let pid = loop {
            if let Some(pid) = plinth_tests::value(&client, &asleep).await {
                break pid;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let signal = |signal: &str| std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(signal("-STOP").success());
        // Long enough for every step of the host's, and far shorter than the sleep.
        let started = std::time::Instant::now();
        let over = "select 1 from plinth.boots where state <> 'running'";
        while plinth_tests::value(&client, over).await.is_none() && started.elapsed() < std::time::Duration::from_secs(55) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(signal("-CONT").success());
        started.elapsed()
    });
    let error = attack.by_statements("sends", &["select pg_sleep(3600)"]).await;
    assert_eq!(error.class, ErrorClass::Budget);
    assert!(error.message.contains("longer than 4 s"), "{error}");
    assert!(stopper.await.unwrap() < std::time::Duration::from_secs(55), "the boot ended while the process still hung");
}

#[tokio::test]
async fn a_row_of_300_mb_is_not_held() {
    let mut attack = Attack::new().await;
    attack.limits.wall = std::time::Duration::from_secs(50);
    let error = attack.by_statements("sends", &["select repeat('x', 300000000)"]).await;
    assert_eq!(error.class, ErrorClass::Budget, "{error}");
    assert!(error.message.contains("answer-bytes"), "{error}");
}

#[tokio::test]
async fn a_trillion_rows_are_not_read() {
    let error = Attack::new().await.by_statements("sends", &["select generate_series(1, 1000000000000)"]).await;
    assert!(error.message.contains("rows-per-query"), "{error}");
    // Here the server works and no row comes: the clock ends it.
    let error = Attack::new().await.by_statements("sends", &["select count(*) from generate_series(1, 1000000000000) i"]).await;
    assert!(error.message.contains("longer than 4 s") || error.sqlstate.is_some(), "{error}");
}

#[tokio::test]
async fn rows_and_bytes_of_a_block_are_bounded() {
    for (name, most) in [("rows-per-block", "50"), ("bytes-per-block", "500"), ("bytes-per-query", "200")] {
        let mut attack = Attack::new().await;
        attack.limits.set(name, most).unwrap();
        let hundred = "select repeat('x', 10) from generate_series(1, 30)";
        let error = attack.by_statements("sends", &[hundred, hundred, hundred]).await;
        assert!(error.message.contains(name), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_flood_of_notices_is_bounded() {
    let mut attack = Attack::new().await;
    attack.limits.answer_bytes = 1 << 20;
    let flood = "do $$ begin for i in 1..100000 loop raise warning 'notice % %', i, repeat('x', 100); end loop; end $$";
    let error = attack.by_statements("sends_declared", &[flood]).await;
    assert!(error.message.contains("answer-bytes"), "{error}");
}

#[tokio::test]
async fn the_hosts_prepared_questions_are_not_replaced() {
    // The answer would otherwise be the block's own word for what it did, or for who may commit it.
    let edited = "replace(asked, 'l.relation >= ''16384''', 'false')";
    for (called, instead) in [("plinth_most", edited), ("plinth_fence", "'prepare plinth_fence (bigint) as select 1'")] {
        let replace = format!(
            "do $$ declare asked text := (select statement from pg_prepared_statements where name = '{called}'); begin
                execute 'deallocate {called}';
                execute {instead};
            end $$"
        );
        let error = Attack::new().await.by_statements("sends_declared", &[&replace]).await;
        assert_eq!(error.class, ErrorClass::Effects, "{called}: {error}");
        assert!(error.message.contains("what the host has prepared is not as it was before the block"), "{called}: {error}");
    }
}
