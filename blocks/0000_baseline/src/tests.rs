use super::*;
use plinth_test::TestDatabase;

#[test]
fn an_empty_database_gets_the_tables() {
    let database = TestDatabase::empty();
    let made = database.apply::<Baseline>();
    for table in ["capabilities", "test_suites", "test_run_log", "test_results", "transactions"] {
        made.expect_change(&format!("table {table} is new"));
    }
    made.expect_no_rows();
    database.apply::<Baseline>().expect_no_rows();
    assert!(database.apply::<Baseline>().difference.is_empty(), "again it changes nothing");
}

#[test]
fn a_database_in_production_is_only_looked_at() {
    let database = TestDatabase::empty();
    database.execute(include_str!("../tables.sql"));
    database.execute("insert into capabilities (slug, name, price_cents) values ('a', 'A', 1)");
    assert!(database.apply::<Baseline>().expect_no_rows().difference.lines().iter().all(|line| line.starts_with("index ")));
}

#[test]
fn a_table_of_another_kind_is_not_taken_for_the_real_one() {
    let database = TestDatabase::empty();
    let text = include_str!("../tables.sql").replace("price_cents integer not null", "price_cents bigint not null");
    database.execute(&text);
    let failed = database.try_apply::<Baseline>().unwrap_err().to_string();
    assert!(failed.contains("capabilities.price_cents"), "{failed}");
}
