//! Blocks under a login of their own: what no policy sees, PostgreSQL refuses.

use plinth::{BootError, BootState, Database, Host, Outcome};
use plinth_tests::{TestDatabase, attack::Attack, campaign, guests, plinth, pooler::Pooler, server, value};
use std::time::Duration;

/// A database with its roles: the host's, which owns it, and the blocks'. Roles are the server's, so each database has its own.
async fn walled(attack: Attack) -> (TestDatabase, Host) {
    let database = attack.database;
    let owner = format!("owner_{}", database.name);
    let blocks = format!("blocks_{}", database.name);
    let admin = database.client().await;
    let setup = format!(
        "create role {owner} login createrole; alter database {0} owner to {owner}; alter schema public owner to {owner};
         do $$ declare t record; begin for t in select tablename from pg_tables where schemaname = 'public' loop
             execute format('alter table %I owner to {owner}', t.tablename); end loop;
             for t in select sequencename as tablename from pg_sequences where schemaname = 'public' and sequencename = 'begun' loop
             execute format('alter sequence %I owner to {owner}', t.tablename); end loop; end $$",
        database.name
    );
    admin.batch_execute(&setup).await.unwrap();
    let as_role = |role: &str| Database::from_url(&server().url(&database.name)).unwrap().as_role(role);
    let host = Host::new(as_role(&owner)).blocks_as(as_role(&blocks)).limits(attack.limits).cache(plinth_tests::cache());
    host.set_roles_up().await.unwrap();
    // It may be done again at any time.
    host.set_roles_up().await.unwrap();
    (database, host)
}

async fn attack(statements: &[&str]) -> Attack {
    let attack = Attack::new()
        .await
        .after("create table attack (n int generated always as identity, statement text, reads boolean)")
        .await;
    let client = attack.database.client().await;
    for statement in statements {
        client.execute("insert into attack (statement, reads) values ($1, false)", &[statement]).await.unwrap();
    }
    attack
}

/// Why a block under its own role failed; tables and ledger are as before, and nothing is left.
async fn fails(statements: &[&str]) -> plinth::ReportError {
    let (database, host) = walled(attack(statements).await).await;
    let before = database.snapshot().await;
    let Err(BootError::Failed(report)) = host.clone().folder(guests(&["sends_declared"]).path()).boot().await else {
        panic!("it was to fail")
    };
    assert_eq!(database.snapshot().await, before);
    assert_eq!(database.left_behind().await, 0);
    let ledger = database.text("select last_outcome || ' ' || count(*) over () from plinth.blocks").await;
    assert_eq!(ledger.as_deref(), Some("failed 1"));
    let next = host.accept_removal(["sends_declared"]).folder(guests(&["claims"]).path()).boot().await.unwrap();
    assert_eq!(next.boot.ran, 1, "the next boot works");
    report.block("sends_declared").unwrap().error.clone().unwrap()
}

#[tokio::test]
async fn blocks_run_under_their_own_role_and_the_report_says_so() {
    let (database, host) = walled(attack(&["create table made (a int)"]).await).await;
    let report = host.clone().folder(guests(&["sends"]).path()).boot().await.unwrap();
    let role = format!("blocks_{}", database.name);
    assert_eq!(report.boot.blocks_role.as_deref(), Some(&*role));
    assert_eq!(report.block("sends").unwrap().outcome, Outcome::Applied);
    assert_eq!(database.text("select tableowner from pg_tables where tablename = 'made'").await, Some(role));
    assert_eq!(database.text("select last_outcome from plinth.blocks where id = 'sends'").await.as_deref(), Some("applied"));
    let owner = format!("owner_{}", database.name);
    assert_eq!(database.text(&format!("select has_table_privilege('{owner}', 'made', 'select')")).await.as_deref(), Some("t"));
    let again = host.folder(guests(&["sends"]).path()).boot().await.unwrap();
    assert_eq!((again.boot.state, again.boot.ran), (BootState::Complete, 0));
}

#[tokio::test]
async fn without_one_the_report_says_that_too() {
    let report = Attack::new().await.succeeds("sends", &["select 1"]).await;
    assert_eq!(report.boot.blocks_role, None);
}

#[tokio::test]
async fn the_ledger_is_out_of_reach_of_dynamic_sql() {
    for statement in [
        "delete from plinth.blocks",
        "update plinth.boots set state = 'complete'",
        "drop schema plinth cascade",
        "drop table plinth.outcomes",
        "create trigger a before insert on plinth.outcomes for each row execute function pg_catalog.suppress_redundant_updates_trigger()",
        "lock table plinth.ledger",
        "perform from plinth.blocks",
        "create table plinth.mine (a int)",
    ] {
        let error = fails(&[&format!("do $a$ begin {statement}; end $a$")]).await;
        assert_eq!(error.sqlstate.as_deref(), Some("42501"), "{statement}: {error}");
    }
}

#[tokio::test]
async fn what_leaves_the_database_is_refused_by_postgresql_too() {
    for statement in [
        "perform set_config('role', 'postgres', false)",
        "execute 'set session authorization postgres'",
        "perform pg_read_file('/etc/passwd')",
        "copy t to program 'id'",
        "copy t from '/etc/passwd'",
        "execute 'alter system set fsync = off'",
        "create role mine superuser",
        "perform lo_import('/etc/passwd')",
        "execute 'create extension dblink'",
        "perform pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user",
    ] {
        let error = fails(&[&format!("do $a$ begin {statement}; end $a$")]).await;
        assert!(
            error.sqlstate.as_deref().is_some_and(|state| state.starts_with("42") || state == "25001"),
            "{statement}: {error}"
        );
    }
}

/// The ledger's door opens for the host's secret alone, and once.
#[tokio::test]
async fn a_block_cannot_speak_for_the_host() {
    let forged = "do $a$ begin perform plinth.as_host('guess', 'delete from plinth.blocks'); end $a$";
    let error = fails(&[forged]).await;
    assert!(error.message.contains("from its host alone"), "{error}");
    // A trigger that is put off to COMMIT reads what is sent with it, and uses what it finds there.
    let function = "create function spy() returns trigger language plpgsql as $f$
        declare found text := substring(current_query() from 'as_host\\(''([0-9a-f]+)');
        begin
            if found is not null then
                perform plinth.as_host(found, 'update plinth.blocks set last_outcome = ''forged''');
            end if;
            return null;
        end $f$";
    let trigger =
        "create constraint trigger spy after insert on t deferrable initially deferred for each row execute function spy()";
    let (database, host) = walled(attack(&[function, trigger, "insert into t (id) values (3)"]).await).await;
    let report = host.folder(guests(&["sends_declared"]).path()).boot().await.unwrap();
    assert_eq!(report.blocks[0].outcome, Outcome::Applied, "it had its turn before there was anything to read");
    assert_eq!(database.text("select last_outcome from plinth.blocks").await.as_deref(), Some("applied"));
    // Put off once more from inside, it runs with COMMIT: the secret is used up by then.
    let again = function.replace("if found is not null", "execute 'set constraints all deferred'; if found is null then update t set a = 1 where id = 3; end if; if found is not null");
    let trigger = trigger.replace("after insert", "after insert or update");
    let error = fails(&[&again, &trigger, "insert into t (id) values (3)"]).await;
    assert!(error.message.contains("from its host alone"), "{error}");
}

#[tokio::test]
async fn a_role_that_is_no_wall_is_refused() {
    let attack = Attack::new().await;
    let as_role = |role: &str| Database::from_url(&attack.database.url).unwrap().as_role(role);
    let host = Host::new(as_role("postgres")).blocks_as(as_role("postgres"));
    let error = host.folder(guests(&["claims"]).path()).boot().await.unwrap_err();
    assert!(error.is_usage());
    assert!(
        error.to_string().contains("is a superuser; it may") && error.to_string().contains("plinth setup --roles"),
        "{error}"
    );
}

#[tokio::test]
async fn setup_prints_what_it_does_and_no_password() {
    let attack = Attack::new().await;
    let role = format!("printed_{}", attack.database.name);
    let blocks = format!("host=localhost dbname={} user={role} password=s3cret", attack.database.name);
    let setup = |more: &[&str]| {
        let mut command = plinth();
        command.args(["setup", "--roles", "--database-url", &attack.database.url, "--blocks-url", &blocks]).args(more);
        command.output().unwrap()
    };
    let printed = setup(&[]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains(&format!("create role \"{role}\" login nosuperuser")) && !text.contains("s3cret"), "{text}");
    assert_eq!(attack.database.number(&format!("select count(*) from pg_roles where rolname = '{role}'")).await, 0);
    assert!(setup(&["--apply"]).status.success());
    assert_eq!(attack.database.number(&format!("select count(*) from pg_roles where rolname = '{role}'")).await, 1);
}

#[test]
fn the_embedded_default_has_a_role_for_blocks_without_a_word() {
    let data = tempfile::tempdir().unwrap();
    let folder = guests(&["claims"]);
    let run = |command: &str| {
        let mut plinth = plinth();
        plinth.args([command, "--embedded", "--data"]).arg(data.path().join("data")).arg("--blocks").arg(folder.path());
        plinth.output().unwrap()
    };
    let ran = run("run");
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(text.contains("blocks ran as plinth_blocks, which cannot write the ledger"), "{text}");
}

#[tokio::test]
async fn a_backfill_commits_its_cursor_through_the_same_door() {
    let large = "create table large (id bigint primary key, n integer not null default 0);
                 insert into large select i from generate_series(1, 3000) i; create sequence begun; analyze large";
    let (database, host) = walled(Attack::new().await.after(large).await).await;
    let report = host.folder(guests(&["fills"]).path()).boot().await.unwrap();
    assert_eq!(report.block("fills").unwrap().rows["public.large"].updated, 3000, "{report:?}");
    assert!(database.number("select batches from plinth.backfills where finished is not null").await > 1);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn a_migration_outside_a_transaction_is_recorded_by_the_host() {
    let (database, host) = walled(Attack::new().await).await;
    let report = host.folder(guests(&["outside"]).path()).boot().await.unwrap();
    assert_eq!(report.block("outside").unwrap().objects[0].object, "t_a_idx");
    assert_eq!(database.text("select last_outcome from plinth.blocks").await.as_deref(), Some("applied"));
    assert_eq!(database.left_behind().await, 0);
}

/// What goes on behind a boot says under which role as well.
#[tokio::test]
async fn a_backfill_in_the_background_says_as_which_role_it_ran() {
    let large = "create table large (id bigint primary key, n integer not null default 0);
                 insert into large select i from generate_series(1, 3000) i; create sequence begun; analyze large";
    let (database, host) = walled(Attack::new().await.after(large).await).await;
    let blocks = guests(&["fills_later"]);
    let host = host.folder(blocks.path());
    let role = format!("blocks_{}", database.name);
    assert_eq!(host.boot().await.unwrap().boot.blocks_role.as_deref(), Some(&*role));
    let report = host.background().await.unwrap();
    assert_eq!(report.block("fills_later").unwrap().outcome, Outcome::Applied, "{report:?}");
    assert_eq!(report.boot.blocks_role.as_deref(), Some(&*role));
}

/// A runner that sleeps, whose lock is gone and whose CREATE INDEX CONCURRENTLY goes on: no fence reaches that. The host's role is a
/// member of the blocks', and so may end their processes.
#[tokio::test]
async fn a_predecessor_under_the_blocks_role_is_ended() {
    let (database, host) = walled(Attack::new().await).await;
    let blocks = guests(&["outside"]);
    let url = |role: &str| database.url.replace("user=postgres", &format!("user={role}_{}", database.name));
    let client = database.client().await;
    let is = async |query: &str, what: Option<&str>| {
        for _ in 0..1500 {
            if value(&client, query).await.as_deref() == what {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never {what:?}: {query}")
    };
    // Building the index waits for this transaction.
    let mut other = database.client().await;
    let holds = other.transaction().await.unwrap();
    holds.batch_execute("update t set b = 1 where id = 101").await.unwrap();
    let more = ["--retry-for", "0", "--blocks-url", &url("blocks")];
    let sleeper = campaign::run(&url("owner"), blocks.path(), &more).spawn().unwrap();
    let building = "select pid from pg_stat_activity where query like 'create index concurrently%' and wait_event_type = 'Lock' and datname = current_database()";
    for _ in 0..1500 {
        if value(&client, building).await.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let process = value(&client, building).await.expect("the index is being built");
    campaign::signal("STOP", sleeper.id());
    let unlock = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
                  and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(value(&client, unlock).await.as_deref(), Some("t"));
    let next = tokio::spawn(async move { host.folder(blocks.keep()).boot().await });
    is(&format!("select count(*) from pg_stat_activity where pid = {process}"), Some("0")).await;
    holds.rollback().await.unwrap();
    let report = next.await.unwrap().unwrap();
    assert_eq!(report.block("outside").unwrap().outcome, Outcome::Applied, "{report:?}");
    campaign::signal("CONT", sleeper.id());
    let ended = tokio::task::spawn_blocking(move || sleeper.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(database.number("select count(*) from pg_index where indrelid = 't'::regclass and not indisvalid").await, 0);
    assert_eq!(database.left_behind().await, 0);
}

/// A pooler takes no settings when a connection is made, and gives the next statements to another session.
#[tokio::test]
async fn roles_work_behind_a_pooler() {
    let (database, _) = walled(attack(&["create table made (a int)"]).await).await;
    let roles = [format!("owner_{}", database.name), format!("blocks_{}", database.name)];
    let Some(pooler) = Pooler::of_roles(server(), &roles).await else { return };
    let as_role = |role: &str| Database::from_url(&pooler.url(&database.name)).unwrap().as_role(role);
    let host = Host::new(as_role(&roles[0])).blocks_as(as_role(&roles[1])).cache(plinth_tests::cache());
    host.set_roles_up().await.unwrap();
    let report = host.clone().folder(guests(&["sends"]).path()).boot().await.unwrap();
    assert_eq!(report.boot.blocks_role.as_deref(), Some(&*roles[1]));
    assert!(report.boot.notes.iter().any(|note| note.contains("lease")), "{report:?}");
    assert_eq!(database.text("select tableowner from pg_tables where tablename = 'made'").await.as_ref(), Some(&roles[1]));
    // The wall stands there as well, and the next boot goes on from the same pool.
    let client = database.client().await;
    let hidden = "do $a$ begin delete from plinth.blocks; end $a$";
    client.batch_execute("delete from attack; delete from t where id = 1").await.unwrap();
    client.execute("insert into attack (statement, reads) values ($1, false)", &[&hidden]).await.unwrap();
    let Err(BootError::Failed(report)) =
        host.clone().accept_removal(["sends"]).folder(guests(&["sends_declared"]).path()).boot().await
    else {
        panic!("it was to fail")
    };
    let error = report.block("sends_declared").unwrap().error.clone().unwrap();
    assert_eq!(error.sqlstate.as_deref(), Some("42501"), "{error}");
    let next = host.accept_removal(["sends", "sends_declared"]).folder(guests(&["claims"]).path()).boot().await.unwrap();
    assert_eq!(next.boot.ran, 1);
    assert_eq!(database.left_behind_in_a_pool().await, 0);
}
