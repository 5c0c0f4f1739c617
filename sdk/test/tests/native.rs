//! The native tier: the same block source, on a real PostgreSQL, without WebAssembly.
#![allow(clippy::unwrap_used)]

use plinth_block::{Described, prelude::*, types::Value};
use plinth_test::{TestDatabase, deleted, inserted, updated};

/// A block whose manifest is not in a file.
macro_rules! described {
    ($block:ident, $kind:literal, $more:literal) => {
        impl Described for $block {
            fn manifest() -> &'static str {
                concat!("id = \"b\"\nkind = \"", $kind, "\"\ntitle = \"t\"\n", $more)
            }
        }
    };
}

fn stock() -> TestDatabase {
    let database = TestDatabase::empty();
    database.execute(
        "create table stock (id int primary key, pieces int); insert into stock select i, -i from generate_series(1, 3) i",
    );
    database
}

struct Zero;
described!(Zero, "rule", "writes = [\"stock.pieces\"]");

impl Rule for Zero {
    fn reconcile(db: &Db) -> Result<Outcome> {
        let negative: i64 = db.query_one("select count(*) from stock where pieces < 0", &[])?;
        if negative > 0 {
            db.info(format!("{negative} are negative"));
            db.execute("update stock set pieces = $1 where pieces < $1", &[&0])?;
        }
        done()
    }

    fn verify(db: &Db) -> Result<Checks> {
        let mut checks = Checks::new();
        checks.no_rows(db, "no stock is negative", "select from stock where pieces < 0", &[])?;
        Ok(checks)
    }
}

#[test]
fn a_rule_runs_and_again_without_effect() {
    let database = stock();
    let ran = database.reconcile::<Zero>();
    ran.expect_rows("stock", updated(3)).expect_change("stock: pieces was -1, is 0");
    assert_eq!(
        (ran.checks.len(), ran.statements.len(), ran.journal.as_slice()),
        (1, 2, ["info: 3 are negative".to_owned()].as_slice())
    );
    assert!(ran.locks.contains(&("stock".to_owned(), "RowExclusiveLock".to_owned())), "{:?}", ran.locks);
    database.reconcile::<Zero>().expect_nothing();
    // An UPDATE that finds no row locks the table all the same.
    struct Always;
    described!(Always, "rule", "writes = [\"stock.pieces\"]");
    impl Rule for Always {
        fn reconcile(db: &Db) -> Result<Outcome> {
            db.execute("update stock set pieces = 0 where pieces < 0", &[])?;
            done()
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let ran = database.reconcile::<Always>();
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ran.expect_nothing().rows.len())).unwrap_err();
    assert!(told.downcast_ref::<String>().unwrap().contains("RowExclusiveLock"));
}

#[test]
fn a_migration_that_breaks_its_word_is_rolled_back() {
    struct Broken;
    described!(Broken, "migration", "");
    impl Migration for Broken {
        fn apply(db: &Db) -> Result<Outcome> {
            db.execute("alter table stock add column place text", &[])?;
            done()
        }
        fn verify(db: &Db) -> Result<Checks> {
            let mut checks = Checks::new();
            checks.column(db, "stock", "place", "text not null")?;
            Ok(checks)
        }
    }
    let database = stock();
    let before = database.snapshot();
    let failed = database.try_apply::<Broken>().unwrap_err();
    assert!(failed.to_string().contains("column stock.place is text not null (it is text)"), "{failed}");
    assert!(before.difference(&database.snapshot()).is_empty());

    struct Elsewhere;
    described!(Elsewhere, "migration", "writes = [\"other.a\"]");
    impl Migration for Elsewhere {
        fn apply(db: &Db) -> Result<Outcome> {
            db.execute("delete from stock", &[])?;
            done()
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let failed = database.try_apply::<Elsewhere>().unwrap_err();
    assert!(failed.to_string().contains("add \"stock.*\" to writes"), "{failed}");
    assert!(before.difference(&database.snapshot()).is_empty());
}

#[test]
fn a_failure_outside_a_savepoint_ends_the_block_and_one_inside_does_not() {
    struct Ignores;
    described!(Ignores, "migration", "provides = [{ table = \"made\" }]");
    impl Migration for Ignores {
        fn apply(db: &Db) -> Result<Outcome> {
            let _ = db.execute("select 1 / 0", &[]);
            done()
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let failed = stock().try_apply::<Ignores>().unwrap_err();
    assert_eq!(failed.sql().unwrap().sqlstate(), Some("22012"), "{failed}");

    struct Tries;
    described!(Tries, "migration", "writes = [\"stock.*\"]");
    impl Migration for Tries {
        fn apply(db: &Db) -> Result<Outcome> {
            let step = db.savepoint()?;
            db.execute("delete from stock", &[])?;
            assert!(db.execute("select 1 / 0", &[]).is_err());
            drop(step);
            let step = db.savepoint()?;
            db.execute("insert into stock values (4, 4)", &[])?;
            step.release()?;
            done()
        }
        fn verify(db: &Db) -> Result<Checks> {
            let mut checks = Checks::new();
            checks.value(db, "four pieces of stock", "select count(*) from stock", 4_i64)?;
            Ok(checks)
        }
    }
    let ran = stock().apply::<Tries>();
    assert_eq!(ran.difference.lines(), [r#"stock: row new {"id":4,"pieces":4}"#]);
}

#[test]
fn a_migration_outside_a_transaction_and_one_that_waits() {
    struct Concurrently;
    described!(Concurrently, "migration", "transaction = \"none\"");
    impl Migration for Concurrently {
        fn apply(db: &Db) -> Result<Outcome> {
            db.execute("create index concurrently if not exists stock_pieces_idx on stock (pieces)", &[])?;
            done()
        }
        fn verify(db: &Db) -> Result<Checks> {
            let mut checks = Checks::new();
            checks.relations(db, &["stock_pieces_idx"])?;
            Ok(checks)
        }
    }
    let database = stock();
    database.apply::<Concurrently>().expect_change("index stock_pieces_idx is new");
    database.apply::<Concurrently>().expect_nothing();

    struct Waits;
    described!(Waits, "migration", "writes = [\"stock.*\"]");
    impl Migration for Waits {
        fn apply(db: &Db) -> Result<Outcome> {
            db.execute("delete from stock", &[])?;
            defer("the shop is open")
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    database.apply::<Waits>().expect_deferred("shop is open").expect_nothing();
}

#[test]
fn a_backfill_runs_in_batches_and_what_does_not_come_on_is_caught() {
    struct Zero;
    described!(Zero, "backfill", "writes = [\"stock.pieces\"]");
    impl Backfill for Zero {
        type Cursor = i32;

        fn step(db: &Db, after: Option<i32>, batch: &Batch) -> Result<Step<i32>> {
            let last: Option<i32> = db.query_one(
                "with batch as (select id from stock where id > $1 order by id limit $2),
                      changed as (update stock s set pieces = 0 from batch where s.id = batch.id)
                 select max(id) from batch",
                &[&after.unwrap_or(0), &batch.limit()],
            )?;
            Ok(last.map_or_else(Step::done, more))
        }

        fn verify(db: &Db) -> Result<Checks> {
            let mut checks = Checks::new();
            checks.no_rows(db, "no stock is negative", "select from stock where pieces < 0", &[])?;
            Ok(checks)
        }
    }
    let ran = stock().backfill::<Zero>(2);
    ran.expect_rows("stock", updated(3));
    assert_eq!(ran.statements.len(), 3, "two batches, and one that finds nothing");

    struct Stuck;
    described!(Stuck, "backfill", "");
    impl Backfill for Stuck {
        type Cursor = i32;

        fn step(_: &Db, _: Option<i32>, _: &Batch) -> Result<Step<i32>> {
            Ok(more(7))
        }

        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let failed = stock().try_backfill::<Stuck>(2).unwrap_err().to_string();
    assert!(failed.contains("returned the cursor that it got, 7"), "{failed}");
}

/// Each value goes in as a parameter and comes back as a column, as text by the server's own cast.
#[test]
fn values_go_both_ways_as_in_a_host() {
    struct Values;
    described!(Values, "migration", "");
    impl Migration for Values {
        fn apply(db: &Db) -> Result<Outcome> {
            fn both<T>(db: &Db, of: &str, value: T, text: &str)
            where
                T: ToValue + plinth_block::FromValue + PartialEq + std::fmt::Debug,
            {
                let query = format!("select $1::{of}, $1::{of}::text");
                let (back, told): (T, String) = db.query_one(&query, &[&value]).unwrap_or_else(|error| panic!("{of}: {error}"));
                assert_eq!((back, told.as_str()), (value, text), "{of}");
            }
            both(db, "bool", true, "true");
            both(db, "int2", -5_i16, "-5");
            both(db, "int4", i32::MIN, "-2147483648");
            both(db, "int8", i64::MAX, "9223372036854775807");
            both(db, "float4", 1.5_f32, "1.5");
            both(db, "float8", f64::INFINITY, "Infinity");
            both(db, "numeric", Numeric("-12345.6780".into()), "-12345.6780");
            both(db, "text", "a\\\"'{b".to_owned(), "a\\\"'{b");
            both(db, "bytea", vec![0_u8, 255, 16], "\\x00ff10");
            both(db, "uuid", Uuid([0x11; 16]), "11111111-1111-1111-1111-111111111111");
            both(db, "date", Date(0), "2000-01-01");
            both(db, "date", Date(-36_524), "1900-01-01");
            both(db, "date", Date(i32::MAX), "infinity");
            both(db, "time", Time(3_723_000_001), "01:02:03.000001");
            both(db, "timestamp", Timestamp(-1), "1999-12-31 23:59:59.999999");
            db.execute("select set_config('timezone', 'UTC', true)", &[])?;
            both(db, "timestamptz", TimestampTz(86_400_000_000), "2000-01-02 00:00:00+00");
            both(db, "timestamptz", TimestampTz(i64::MIN), "-infinity");
            both(
                db,
                "interval",
                Interval { months: 14, days: -3, microseconds: 1_000_001 },
                "1 year 2 mons -3 days +00:00:01.000001",
            );
            both(db, "jsonb", Json("{\"a\": [1]}".into()), "{\"a\": [1]}");
            both(db, "text[]", vec![Some("a,\"b\"".to_owned()), None], "{\"a,\\\"b\\\"\",NULL}");
            both(db, "int8[]", Vec::<i64>::new(), "{}");
            both(db, "date[]", vec![Date(1)], "{2000-01-02}");
            both(db, "mood", Other::new("public.mood", "glad"), "glad");
            let dimensions: Value = db.query_one("select '[0:1][2:2]={{1},{2}}'::int4[]", &[])?;
            let text: String = db.query_one("select $1::int4[]::text", &[&dimensions])?;
            assert_eq!(text, "[0:1][2:2]={{1},{2}}");
            let error = db.query_one::<i32>("select $1::int4", &[&"five"]).unwrap_err();
            assert_eq!(error.to_string(), "parameter $1: a text was given, the statement wants int4");
            defer("only looked at")
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let database = TestDatabase::empty();
    database.execute("create type mood as enum ('glad', 'sad')");
    database.apply::<Values>();
}

#[test]
fn fixtures_run_once_and_each_test_has_its_own_copy() {
    let folder = std::env::temp_dir().join(format!("plinth-test-fixtures-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("1.sql"), "create table t (a int)").unwrap();
    std::fs::write(folder.join("2.sql"), "insert into t values (1)").unwrap();
    let (one, two) = (TestDatabase::with_fixtures(&folder), TestDatabase::with_fixtures(&folder));
    std::fs::remove_dir_all(&folder).unwrap();
    one.execute("delete from t");
    assert_eq!(
        (one.value("select count(*) from t").as_deref(), two.value("select count(*) from t").as_deref()),
        (Some("0"), Some("1"))
    );
    assert!(matches!((inserted(1).inserted, deleted(1).deleted), (1, 1)));
}

/// Rows in bulk, as in a component: a cursor with a parameter, a statement in between, COPY, its effects.
#[test]
fn rows_go_in_bulk_without_a_component() {
    struct Doubles;
    described!(Doubles, "migration", "writes = [\"doubled.*\", \"stock.pieces\"]");
    impl Migration for Doubles {
        fn apply(db: &Db) -> Result<Outcome> {
            let mut rows = db.read_bulk("select id, pieces, mood, tags from stock where id > $1 order by id;", &[&10])?;
            let mut doubled = db.write_bulk("doubled", &["id", "mood", "pieces", "tags"])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                count += 1;
                if count == 5 {
                    // The cursor sees what there was when it was opened.
                    db.execute("update stock set pieces = 0", &[])?;
                }
                let pieces = row.get::<Option<i32>>(1)?.map(|pieces| pieces * 2);
                doubled.row((row.get::<i32>(0)?, row.get::<&str>(2)?, pieces, row.get::<Value>(3)?))?;
            }
            Ok(Outcome::Done(Some(doubled.finish()?.to_string())))
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let database = TestDatabase::empty();
    database.execute(
        "create type mood as enum ('glad', 'sad');
         create table stock (id int primary key, pieces int, mood mood, tags text[]);
         insert into stock select i, nullif(i % 7, 0), (array['glad', 'sad'])[1 + i % 2]::mood, array['a', null, i::text]
         from generate_series(1, 2510) i;
         create table doubled (like stock)",
    );
    let ran = database.apply::<Doubles>();
    assert_eq!((ran.rows["doubled"], ran.rows["stock"]), (inserted(2500), updated(2510)));
    assert_eq!(ran.outcome, Outcome::Done(Some("2500".to_owned())));
    assert!(ran.statements.iter().any(|sql| sql.starts_with("copy \"doubled\"")), "{:?}", ran.statements);
    let sum = "select sum(id) || ' ' || sum(pieces) || ' ' || count(*) filter (where tags[3] = id::text and tags[2] is null
               and mood::text = case id % 2 when 0 then 'glad' else 'sad' end) from doubled";
    let expected =
        (11..=2510).sum::<i32>().to_string() + " " + &(11..=2510).map(|i| i % 7 * 2).sum::<i32>().to_string() + " 2500";
    assert_eq!(database.value(sum), Some(expected));
}

#[test]
fn what_the_server_has_against_rows_in_bulk_fails_the_block_although_it_was_swallowed() {
    struct Twice;
    described!(Twice, "migration", "writes = [\"stock.*\"]");
    impl Migration for Twice {
        fn apply(db: &Db) -> Result<Outcome> {
            let mut rows = db.write_bulk("stock", &["id"])?;
            rows.row((1,))?;
            match rows.finish() {
                Err(error) if error.sqlstate() == Some("23505") => done(),
                other => Err(Error::message(format!("{other:?}"))),
            }
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let database = stock();
    let failed = database.try_apply::<Twice>().unwrap_err();
    assert!(failed.to_string().contains("stock_pkey"), "{failed}");
    // What has no binary format is told, by its column.
    struct Addresses;
    described!(Addresses, "migration", "");
    impl Migration for Addresses {
        fn apply(db: &Db) -> Result<Outcome> {
            db.read_bulk("select 1, '10.0.0.1'::inet as at", &[])?;
            done()
        }
        fn verify(_: &Db) -> Result<Checks> {
            Ok(Checks::new())
        }
    }
    let failed = database.try_apply::<Addresses>().unwrap_err().to_string();
    assert!(failed.contains("column at") && failed.contains("cast it with ::text"), "{failed}");
}
