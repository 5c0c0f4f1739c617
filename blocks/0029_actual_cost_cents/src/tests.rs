use super::*;

#[test]
fn a_run_before_it_has_cost_nothing() {
    let database = plinth_test::database!();
    database
        .apply::<ActualCost>()
        .expect_no_rows()
        .expect_change("column test_run_log.actual_cost_cents is new: integer not null default 0");
    assert_eq!(database.value("select sum(actual_cost_cents) from test_run_log").as_deref(), Some("0"));
    database.apply::<ActualCost>().expect_nothing();
}

#[test]
fn a_column_of_another_type_is_not_taken_for_it() {
    let database = plinth_test::database!();
    database.execute("alter table test_run_log add column actual_cost_cents bigint");
    let failed = database.try_apply::<ActualCost>().unwrap_err().to_string();
    assert!(failed.contains("it is bigint"), "{failed}");
}
