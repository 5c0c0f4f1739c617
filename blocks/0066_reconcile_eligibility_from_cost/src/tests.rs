use super::*;
use plinth_test::updated;

#[test]
fn a_suite_is_eligible_exactly_if_it_costs_nothing() {
    let database = plinth_test::database!();
    let ran = database.reconcile::<Bridge>();
    ran.expect_rows("test_suites", updated(3));
    assert_eq!(ran.journal.len(), 3, "the newest that were wrong are told: {:?}", ran.journal);
    let eligible = "select string_agg(id::text, ' ' order by id) from test_suites where scheduled_testing_eligible";
    assert_eq!(database.value(eligible).as_deref(), Some("1 4"));
    database.reconcile::<Bridge>().expect_nothing();
}
