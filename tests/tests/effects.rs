//! What a block did, as the database tells it: every kind of object, whichever way it is found.

use plinth::ObjectChange;
use plinth_tests::attack::Attack;

/// What a guest is told to have made. `sends` declares nothing, so that the look begins at its locks; `sends_declared` declares everything,
/// so that the look is everywhere.
async fn objects(guest: &str, before: &str, statements: &[&str]) -> Vec<ObjectChange> {
    let report = Attack::new().await.after(before).await.succeeds(guest, statements).await;
    report.block(guest).unwrap().objects.clone()
}

fn told(objects: &[ObjectChange]) -> Vec<String> {
    let one = |object: &ObjectChange| {
        let done = if object.created { "created" } else { "changed" };
        format!("{done} {} {}", object.kind, object.object)
    };
    objects.iter().map(one).collect()
}

const THERE: &str = "create table old (id int primary key, a int, b int);
    create table parts (id int) partition by range (id);
    create view seen as select id from old;
    create materialized view kept as select id from old;
    create sequence numbers;
    create function makes() returns void language sql as 'create table made (id int)';
    create domain share as int;
    create function makes_within() returns void language plpgsql as
        'begin create table made (id int); exception when others then raise notice ''not made''; end';
    create function guards() returns void language sql as 'create policy own on old using (id = 1)'";

#[tokio::test]
async fn what_is_found_by_its_locks_is_what_is_found_everywhere() {
    for (statements, expected) in [
        (vec!["create table n (id bigint generated always as identity primary key, v text)"], "created table n"),
        (vec!["create table n as select 1 as a with no data"], "created table n"),
        (vec!["create table part partition of parts for values from (1) to (9)"], "created table part"),
        (vec!["alter table old add column c int default 7"], "created column old.c"),
        (vec!["alter table old alter column a type bigint"], "created column old.a"),
        (vec!["alter table old rename to older"], "changed table older"),
        (vec!["alter table old add constraint positive check (a > 0)"], "created constraint positive on old"),
        (vec!["alter table old add constraint to_t foreign key (a) references t (id)"], "created constraint to_t on old"),
        (vec!["create index old_a on old (a)"], "created index old_a"),
        (vec!["create view looked as select a from old"], "created view looked"),
        (vec!["create or replace view seen as select id, 1 as one from old"], "changed view seen"),
        (vec!["create materialized view held as select a from old with no data"], "created view held"),
        (vec!["create sequence counted"], "created sequence counted"),
        (vec!["create type weather as enum ('dry')"], "created type weather"),
        (vec!["create table n (id int)", "create type weather as enum ('dry')"], "created type weather"),
        (vec!["create domain percent as int constraint up_to_100 check (value <= 100)"], "created constraint up_to_100"),
        (vec!["create schema apart", "create table apart.n (id int)"], "created table apart.n"),
        (
            vec!["alter table old enable row level security", "create policy own on old using (id = 1)"],
            "created policy own on old",
        ),
        (vec!["alter domain share add constraint small check (value < 9)"], "created constraint small"),
        (
            vec!["create table n (id int)", "alter domain share add constraint small check (value < 9)"],
            "created constraint small",
        ),
        // In a sub-transaction, which is not the block's own.
        (vec!["create table n (id int)", "select makes_within()"], "created table made"),
        // Nothing in the text says that it does.
        (vec!["select makes()"], "created table made"),
        (vec!["select guards()"], "created policy own on old"),
        (vec!["truncate t"], "changed table t"),
        (vec!["update t set a = 5"], ""),
    ] {
        let by_locks = objects("sends", THERE, &statements).await;
        let everywhere = objects("sends_declared", THERE, &statements).await;
        assert_eq!(told(&by_locks), told(&everywhere), "{statements:?}");
        let found = told(&by_locks).iter().any(|object| object == expected);
        assert!(found || (expected.is_empty() && by_locks.is_empty()), "{statements:?}: {:?}", told(&by_locks));
    }
}

#[tokio::test]
async fn what_a_function_grants_without_any_lock_is_found_as_well() {
    let before = "create function opens() returns void language sql as 'grant select on t to public'";
    assert_eq!(told(&objects("sends", before, &["select opens()"]).await), ["changed table t"]);
}
