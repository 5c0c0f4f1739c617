//! Rows in bulk: the codec against the server's own, the policy, limits, statements in between.

use plinth::{BootError, ErrorClass, Outcome, Report};
use plinth_tests::{TestDatabase, guests};

fn failed(booted: Result<Report, BootError>) -> Report {
    match booted {
        Err(BootError::Failed(report)) => *report,
        other => panic!("the boot was to fail in a block: {other:?}"),
    }
}

/// Every type with a case in the contract, as a column and as an array; domains; types that are read as text and written as such.
const TYPES: [(&str, &str); 22] = [
    ("boolean", "random() < 0.5"),
    ("smallint", "((random() - 0.5) * 65535)::smallint"),
    ("integer", "((random() - 0.5) * 4294967295)::integer"),
    ("bigint", "((random() - 0.5) * 9e18)::bigint"),
    ("oid", "(random() * 4294967295)::bigint::oid"),
    ("real", "((random() - 0.5) * 1e30)::real"),
    ("double precision", "(random() - 0.5) * 1e300"),
    ("numeric", "round(((random() - 0.5) * 10 ^ (random() * 40 - 20)::integer)::numeric, (random() * 30)::integer)"),
    ("text", "md5(random()::text) || 'äöü' || chr((random() * 60000)::integer % 50000 + 32)"),
    ("varchar(100)", "md5(random()::text)"),
    ("char(40)", "md5(random()::text)"),
    ("name", "md5(random()::text)"),
    ("bytea", "decode(md5(random()::text), 'hex')"),
    ("uuid", "gen_random_uuid()"),
    ("date", "'2000-01-01'::date + ((random() - 0.5) * 1000000)::integer"),
    ("time", "'00:00'::time + random() * interval '23 hours'"),
    ("timestamp", "'2000-01-01'::timestamp + (random() - 0.5) * interval '20000 years' * 0.2"),
    ("timestamptz", "'2000-01-01'::timestamptz + (random() - 0.5) * interval '4000 years'"),
    ("interval", "make_interval(years => (random() * 100)::integer, days => -(random() * 100)::integer, secs => random() * 1e6)"),
    ("json", "json_build_object('a', random(), 'b', json_build_array(null, md5(random()::text)))"),
    ("jsonb", "jsonb_build_object('a', random(), 'b', jsonb_build_array(null, md5(random()::text)))"),
    ("positive", "(random() * 1000)::integer + 1"),
];

/// Values at the edge of their types.
const EDGES: [(&str, &[&str]); 10] = [
    ("real", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "3.4e38"]),
    ("double precision", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "4.9e-324"]),
    ("numeric", &["'NaN'", "'Infinity'", "'-Infinity'", "0", "0.0000", "-0.00001", "1e130", "1e-100", "99999999.9999", "10000"]),
    ("date", &["'infinity'", "'-infinity'", "'4713-01-01 BC'"]),
    ("timestamp", &["'infinity'", "'-infinity'"]),
    ("timestamptz", &["'infinity'", "'-infinity'"]),
    ("text", &["''", "repeat('x', 100000)"]),
    ("bytea", &["''", "decode(repeat('00ff', 50000), 'hex')"]),
    ("bigint", &["9223372036854775807", "'-9223372036854775808'"]),
    ("time", &["'00:00'", "'24:00'"]),
];

#[tokio::test]
async fn every_type_makes_the_round_trip_through_the_component_unchanged() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let column = |place: usize| format!("c{place}");
    let mut columns = vec!["id bigint".to_owned()];
    let mut values = vec!["i".to_owned()];
    for (place, (of, random)) in TYPES.iter().enumerate() {
        // An array of a domain has elements of a type that only this database knows: those go through a text column.
        let element = if *of == "positive" { "integer" } else { of };
        columns.push(format!("{} {of}, {}s {element}[]", column(place), column(place)));
        // NULL, an array without elements, one with NULLs, two dimensions, another lower bound.
        values.push(format!("case when random() < 0.9 then {random} end"));
        values.push(format!(
            "case (random() * 4)::integer when 0 then null when 1 then array[]::{element}[] when 2 then array[{random}, null, {random}]::{element}[]
             when 3 then array[[{random}, {random}], [{random}, {random}]]::{element}[] else '[0:0]={{NULL}}'::{element}[] end"
        ));
    }
    columns.push("mood mood, place inet".to_owned());
    values.push("(array['glad', 'sad'])[1 + i % 2]::mood, ('10.0.0.' || i % 250)::inet".to_owned());
    let sql = format!(
        "create type mood as enum ('glad', 'sad'); create domain positive as integer check (value > 0);
         create table source ({0}); insert into source select {1} from generate_series(1, 500) i;
         create table target ({0}); alter table target alter place type text",
        columns.join(", "),
        values.join(", ")
    );
    client.batch_execute(&sql).await.unwrap();
    for (of, edges) in EDGES {
        let place = TYPES.iter().position(|(name, _)| *name == of).unwrap();
        for edge in edges {
            let insert = format!(
                "insert into source (id, {0}, {0}s) values (1000 + (select count(*) from source), {edge}::{of}, array[{edge}, null]::{of}[])",
                column(place)
            );
            client.batch_execute(&insert).await.unwrap_or_else(|error| panic!("{insert}: {error:?}"));
        }
    }
    // In another format of the server's, to show that none is involved.
    client.batch_execute(&format!("alter database {} set extra_float_digits = 0", database.name)).await.unwrap();
    let report = database.host().folder(guests(&["bulk_copies"]).path()).boot().await.unwrap();
    let block = report.block("bulk_copies").unwrap();
    assert_eq!(block.outcome, Outcome::Applied);
    let rows = database.number("select count(*) from source").await;
    assert_eq!(block.rows["public.target"].inserted as i64, rows, "COPY is counted as other writes are");
    assert_eq!(block.message.as_deref(), Some(format!("{rows} rows").as_str()));
    // As bytes, since a NaN equals itself there and -0 differs from 0.
    for (place, (of, _)) in TYPES.iter().enumerate() {
        let send = |table: &str, column: &str| format!("select id, {table}.{column}::text from {table}");
        for column in [column(place), format!("{}s", column(place))] {
            let differ = format!(
                "select count(*) from (({0} except {1}) union all ({1} except {0})) d",
                send("source", &column),
                send("target", &column)
            );
            client.batch_execute("set extra_float_digits = 3").await.unwrap();
            let found = plinth_tests::value(&client, &differ).await.unwrap();
            assert_eq!(found, "0", "{of} {column}");
        }
    }
    let rest = "select count(*) from source s join target t using (id) where s.mood is distinct from t.mood or s.place is distinct from t.place::inet";
    assert_eq!(database.number(rest).await, 0);
}

#[tokio::test]
async fn statements_go_on_while_rows_are_read_and_written() {
    let database = TestDatabase::empty().await;
    let sql = "create table large (id bigint primary key, n integer not null default 0);
               insert into large select i from generate_series(1, 200000) i; create table doubled (id bigint, n integer)";
    database.client().await.batch_execute(sql).await.unwrap();
    let report = database.host().folder(guests(&["bulk_interleaved"]).path()).boot().await.unwrap();
    let block = report.block("bulk_interleaved").unwrap();
    assert_eq!(block.rows["public.doubled"].inserted, 200_000, "{report:?}");
    assert_eq!(block.rows["public.large"].updated, 200_000, "the sub-step's row is no effect");
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn the_policy_and_the_limits_hold_for_rows_in_bulk() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let report = failed(database.host().folder(guests(&["bulk_elsewhere"]).path()).boot().await);
    let error = report.block("bulk_elsewhere").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
    assert!(error.message.contains("add \"t.a\" to writes"), "{error}");
    assert!(error.sql.as_ref().unwrap().starts_with("copy \"public\".\"t\" (\"id\", \"a\") from stdin"), "{error:?}");
    assert_eq!(database.snapshot().await, before);

    let sql = "create table large (id bigint primary key, n integer not null default 0);
               insert into large select i from generate_series(1, 200000) i; create table doubled (id bigint, n integer)";
    database.client().await.batch_execute(sql).await.unwrap();
    let before = database.snapshot().await;
    let limits = plinth::Limits { rows_per_block: 100_000, ..plinth::Limits::default() };
    let host = database.host().application("limited").limits(limits);
    let report = failed(host.folder(guests(&["bulk_interleaved"]).path()).boot().await);
    let error = report.block("bulk_interleaved").unwrap().error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Budget, "{error}");
    assert!(error.message.contains("rows-per-block"), "{error}");
    assert_eq!(database.snapshot().await, before);
    assert_eq!(database.left_behind().await, 0);
}

#[tokio::test]
async fn what_the_server_has_against_rows_in_bulk_fails_the_block_even_if_it_is_swallowed() {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let report = failed(database.host().folder(guests(&["bulk_duplicate"]).path()).boot().await);
    let block = report.block("bulk_duplicate").unwrap();
    let error = block.error.as_ref().unwrap();
    assert_eq!(error.sqlstate.as_deref(), Some("23505"), "{error:?}");
    assert!(error.sql.as_ref().unwrap().starts_with("copy \"public\".\"t\" (\"id\")"), "{error:?}");
    assert_eq!(block.journal[0].message, "23505", "the block was told as well");
    assert_eq!(database.snapshot().await, before);
    assert_eq!(database.left_behind().await, 0);
}
